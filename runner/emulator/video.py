"""Videos: MP4 files whose frames are pictures, one for each second.

A still picture in AVIF is one complete AV1 frame, which browsers play. JPEG frames are for readers without AV1.
"""

from __future__ import annotations

import struct

_UNIT_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_DELIMITER = b"\x12\0"
"""Delimiter between AV1 frames, which is not used in an MP4, where each frame is a sample."""
_FTYP = b"isom\0\0\2\0isomiso2mp41"


def clip(frames: list[bytes], width: int, height: int, av1_config: bytes = b"") -> bytes:
    """Return a video of the frames, each shown for a second; frames are JPEG, or AV1 if ``av1_config`` is given."""
    ftyp = _box(b"ftyp", _FTYP)
    entry = _entry(width, height, av1_config)
    # The sample table comes before the samples: its length determines where the samples start.
    start = len(ftyp) + len(_movie(frames, width, height, entry, 0)) + 8
    return ftyp + _movie(frames, width, height, entry, start) + _box(b"mdat", *frames)


def still_clip(avif: bytes, seconds: int, width: int, height: int) -> bytes:
    """Return a video of one picture that is shown for ``seconds``."""
    place = avif.index(b"av1C")
    length = int.from_bytes(avif[place - 4 : place])
    frame = avif[avif.index(b"mdat") + 4 :].removeprefix(_DELIMITER)
    return clip([frame] * seconds, width, height, avif[place + 4 : place - 4 + length])


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", len(content) + 8) + kind + content


def _movie(frames: list[bytes], width: int, height: int, entry: bytes, start: int) -> bytes:
    seconds = len(frames)
    times = struct.pack(">5I", 0, 0, 0, 1, seconds)
    header = times + struct.pack(">IH10x", 0x10000, 0x100) + _UNIT_MATRIX + struct.pack(">24xI", 2)
    return _box(b"moov", _box(b"mvhd", header), _track(frames, width, height, entry, start))


def _track(frames: list[bytes], width: int, height: int, entry: bytes, start: int) -> bytes:
    seconds = len(frames)
    # Flags 3: enabled, and part of the movie.
    header = (
        struct.pack(">6I16x", 3, 0, 0, 1, 0, seconds) + _UNIT_MATRIX + struct.pack(">2I", width << 16, height << 16)
    )
    medium = struct.pack(">5I2H", 0, 0, 0, 1, seconds, 0x55C4, 0)
    handler = struct.pack(">2I", 0, 0) + b"vide" + bytes(12) + b"frames\0"
    reference = struct.pack(">2I", 0, 1) + _box(b"url ", struct.pack(">I", 1))
    information = _box(
        b"minf",
        _box(b"vmhd", struct.pack(">I8x", 1)),
        _box(b"dinf", _box(b"dref", reference)),
        _samples(frames, entry, start),
    )
    return _box(
        b"trak",
        _box(b"tkhd", header),
        _box(b"mdia", _box(b"mdhd", medium), _box(b"hdlr", handler), information),
    )


def _entry(width: int, height: int, av1_config: bytes) -> bytes:
    inches = 72 << 16
    entry = struct.pack(">6xH16x2H2I4xH32xHh", 1, width, height, inches, inches, 1, 24, -1)
    return _box(b"av01", entry, _box(b"av1C", av1_config)) if av1_config else _box(b"jpeg", entry)


def _samples(frames: list[bytes], entry: bytes, start: int) -> bytes:
    count = len(frames)
    sizes = struct.pack(f">3I{count}I", 0, 0, count, *map(len, frames))
    return _box(
        b"stbl",
        _box(b"stsd", struct.pack(">2I", 0, 1), entry),
        _box(b"stts", struct.pack(">4I", 0, 1, count, 1)),
        # All frames lie in one chunk.
        _box(b"stsc", struct.pack(">5I", 0, 1, 1, count, 1)),
        _box(b"stsz", sizes),
        _box(b"stco", struct.pack(">3I", 0, 1, start)),
    )
