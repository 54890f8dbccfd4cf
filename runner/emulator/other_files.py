"""Files that are neither pictures nor videos: small, whole, the same every time."""

from __future__ import annotations

import json
import struct


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
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(corners), b"BIN\0") + corners
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


_SRT = b"1\n00:00:00,000 --> 00:00:02,000\nA picture, and what is said about it.\n"

OTHER_FILES: dict[str, tuple[str, bytes]] = {
    "wav": ("audio/wav", _wav()),
    "glb": ("model/gltf-binary", _glb()),
    "srt": ("text/plain", _SRT),
}
"""By their ending: the type that the storage gives them, and the bytes."""
