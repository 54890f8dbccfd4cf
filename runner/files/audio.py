"""Structure checks of audio files: completeness without decoding the sound.

WAV, MP3 and Ogg files are walked to their end. The last frame of a FLAC has no mark, so only its beginning is checked.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from runner.files.containers import BadMedia, count_parts, exactly

_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)
"""Lengths of the sound in a WAV whose writer could not seek back to fill in the length."""
_BITRATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits a second of layer III; True: MPEG 1, False: MPEG 2 and 2.5."""
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_TAGS = (b"TAG", b"APETAGEX", b"ID3", b"LYRICS")
"""Tags that may follow the last frame of an MP3."""
_OGG_HEAD = struct.Struct("<4sBBqIIIB")


def check_wav(file: BinaryIO, size: int) -> None:
    """Check that a WAV has a format, followed by sound that ends within the file. Raises ``BadMedia``."""
    position, formatted = 12, False
    for _ in count_parts("WAV"):
        if position + 8 > size:
            raise BadMedia("the WAV is cut short: it has no audio data")
        file.seek(position)
        kind, length = struct.unpack("<4sI", exactly(file, 8, "WAV"))
        formatted = formatted or kind == b"fmt "
        if kind == b"data":
            if not formatted:
                raise BadMedia("the WAV is damaged: its audio data comes before its format")
            if length not in _UNKNOWN_LENGTHS and position + 8 + length > size:
                raise BadMedia(f"the WAV is cut short: {length:,} bytes of audio data in a file of {size:,}")
            return
        position += 8 + length + length % 2


def begins_mp3(head: bytes) -> bool:
    """Tell whether ``head`` begins with two frames of MPEG layer III; the mark of a single frame is too short."""
    length = _frame_length(head)
    return length is not None and (len(head) < length + 4 or _frame_length(head[length:]) is not None)


def _frame_length(head: bytes) -> int | None:
    """Return the length in bytes of the frame whose header ``head`` begins with; None: not a frame header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    samples = 144 if version == 3 else 72
    return samples * 1000 * _BITRATES[version == 3][bitrate] // _RATES[version][rate] + (head[2] >> 1 & 1)


def check_mp3(file: BinaryIO, size: int) -> None:
    """Walk the frames after the tag to the end of the file, or to the tags at its end. Raises ``BadMedia``."""
    position, head = _skip_tags(file), b""
    for frames in count_parts("MP3"):
        file.seek(position)
        head = file.read(10)
        length = _frame_length(head) or 0
        if not length and not frames:
            raise BadMedia("the MP3 is damaged: no audio data where it should begin")
        if not length:
            break
        position += length
    if position > size:
        raise BadMedia("the MP3 is cut short in its last frame")
    if head.strip(b"\0") and not head.startswith(_TAGS):
        raise BadMedia("the MP3 is damaged: there is other data between its frames")


def _skip_tags(file: BinaryIO) -> int:
    """Return the position after the ID3 tags, where the sound of an MP3 begins."""
    position = 0
    for _ in count_parts("MP3"):
        file.seek(position)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        position += 10 + length + (10 if head[5] & 0x10 else 0)
    return position


def check_flac(file: BinaryIO, size: int) -> None:
    """Walk the blocks before the sound, the first of which describes the sound. Raises ``BadMedia``."""
    position, last = 4, False
    for number in count_parts("FLAC"):
        file.seek(position)
        kind, *digits = exactly(file, 4, "FLAC")
        length = int.from_bytes(digits)
        if number == 0 and (kind & 0x7F, length) != (0, 34):
            raise BadMedia("the FLAC is damaged: its first block is not the stream description")
        position += 4 + length
        last = bool(kind & 0x80)
        if position > size:
            raise BadMedia("the FLAC is cut short before its audio data")
        if last:
            break
    file.seek(position)
    begin = file.read(2)
    if begin and (len(begin) < 2 or begin[0] != 0xFF or begin[1] & 0xFC != 0xF8):
        raise BadMedia("the FLAC is damaged: no audio data where it should begin")


def check_ogg(file: BinaryIO, size: int) -> None:
    """Walk the pages, which must fill the file. Raises ``BadMedia``."""
    position = 0
    for _ in count_parts("Ogg file"):
        file.seek(position)
        mark, version, _, _, _, _, _, segments = _OGG_HEAD.unpack(exactly(file, _OGG_HEAD.size, "Ogg file"))
        if mark != b"OggS" or version:
            raise BadMedia("the Ogg file is damaged: a page does not begin where the previous page ends")
        position += _OGG_HEAD.size + segments + sum(exactly(file, segments, "Ogg file"))
        if position > size:
            raise BadMedia("the Ogg file is cut short in its last page")
        if position == size:
            return
