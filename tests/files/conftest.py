"""Pictures to send and files to look at."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any

import pytest
from PIL import Image

Picture = Callable[..., bytes]
Chunk = Callable[[bytes, bytes], bytes]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def picture() -> Picture:
    """The bytes of a noisy picture in a format that Pillow writes."""

    def made(kind: str = "PNG", size: tuple[int, int] = (23, 17), mode: str = "RGB", **options: Any) -> bytes:
        noise = Random(7).randbytes(size[0] * size[1] * 3)
        body = BytesIO()
        Image.frombytes("RGB", size, noise).convert(mode).save(body, kind, **options)
        return body.getvalue()

    return made


@pytest.fixture(scope="session")
def exiftool() -> None:
    """Skip a test where exiftool is missing, except where everything is to be tested."""
    if shutil.which("exiftool") is None:
        if os.environ.get("CI"):
            pytest.fail("exiftool is missing: install libimage-exiftool-perl")
        pytest.skip("exiftool is missing")


@pytest.fixture(scope="session")
def chunk() -> Chunk:
    """One chunk of a PNG with a right checksum."""

    def made(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return made
