"""Files that are neither pictures nor videos: small, complete, and always the same."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from zipfile import ZipFile, ZipInfo


def _wav() -> bytes:
    sound = b"".join(struct.pack("<h", (number % 64 - 32) * 256) for number in range(8000))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    chunks = b"WAVE" + form + struct.pack("<4sI", b"data", len(sound)) + sound
    return struct.pack("<4sI", b"RIFF", len(chunks)) + chunks


def _glb() -> bytes:
    corners = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    scene = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(corners)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(corners)}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(corners), b"BIN\0") + corners
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _mp3() -> bytes:
    """Return a second of silence: MPEG 1, layer III, 128 kbit/s, 44.1 kHz; each frame is a header and zeros."""
    return (b"\xff\xfb\x90\xc4" + bytes(413)) * 38


def _ogg() -> bytes:
    """Return a second of silence as Opus: fifty packets of 20 ms on three pages."""
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 0, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 8) + b"emulator" + struct.pack("<I", 0)
    packets = [b"\xf8\xff\xfe"] * 50
    return _page(0, 2, 0, [head]) + _page(1, 0, 0, [tags]) + _page(2, 4, 960 * len(packets), packets)


def _page(number: int, flags: int, position: int, packets: list[bytes]) -> bytes:
    lengths = bytes(map(len, packets))
    parts = struct.pack("<4sBBqII", b"OggS", 0, flags, position, 1, number), bytes([len(packets)]) + lengths
    body = b"".join(packets)
    checksum = _ogg_checksum(parts[0] + bytes(4) + parts[1] + body)
    return parts[0] + struct.pack("<I", checksum) + parts[1] + body


def _ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


def _zip() -> bytes:
    body = BytesIO()
    with ZipFile(body, "w") as archive:
        archive.writestr(ZipInfo("readme.txt"), "Files beside a picture.\n")
    return body.getvalue()


_OBJ = b"# a triangle\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 64 64">'
    b'<circle cx="32" cy="32" r="24" fill="#27517a"/></svg>\n'
)
_JSON = b'{"boxes": [[0, 0, 32, 32]], "score": 0.5}\n'
_SRT = b"1\n00:00:00,000 --> 00:00:02,000\nA picture, and what is said about it.\n"

OTHER_FILES: dict[str, tuple[str, bytes]] = {
    "wav": ("audio/wav", _wav()),
    "glb": ("model/gltf-binary", _glb()),
    "srt": ("text/plain", _SRT),
    "mp3": ("audio/mpeg", _mp3()),
    "ogg": ("audio/ogg", _ogg()),
    "svg": ("image/svg+xml", _SVG),
    "obj": ("text/plain", _OBJ),
    "json": ("application/json", _JSON),
    "zip": ("application/zip", _zip()),
}
"""Media type at the storage, and bytes, by extension."""
