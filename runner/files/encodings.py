"""Decoding of downloads with a content encoding that was not requested.

Storages keep the header of the upload, whatever the bytes are. A file whose bytes are not encoded stays unchanged.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from runner.core.http import TooLarge
from runner.files.containers import BLOCK, BadMedia

_GZIP = b"\x1f\x8b"
_DECODABLE = ("gzip", "x-gzip", "deflate")


def is_decodable(encoding: str) -> bool:
    return encoding in _DECODABLE


def decode_file(target: Path, encoding: str, max_bytes: int, check_room: Callable[[int], None]) -> None:
    """Decode the file in place if its bytes are encoded as ``encoding`` says.

    Raises ``TooLarge`` above ``max_bytes``, ``BadMedia`` for an incomplete or damaged body, and ``OSError``.
    """
    with target.open("rb") as file:
        window = _window(encoding, file.read(2))
        if window is None:
            return
        file.seek(0)
        decoded = target.with_name(f"{target.name}.decoded")
        try:
            with decoded.open("wb") as out:
                _copy_decoded(file.read, out.write, window, max_bytes, check_room)
            decoded.replace(target)
        finally:
            decoded.unlink(missing_ok=True)


def _window(encoding: str, begin: bytes) -> int | None:
    """Return zlib's ``wbits`` for bytes that begin with ``begin``; None: not encoded in ``encoding``."""
    if encoding in ("gzip", "x-gzip"):
        return 31 if begin == _GZIP else None
    if encoding == "deflate":
        zlib_header = len(begin) == 2 and begin[0] & 15 == 8 and int.from_bytes(begin) % 31 == 0
        return 15 if zlib_header else None
    return None


def _copy_decoded(
    read: Callable[[int], bytes],
    write: Callable[[bytes], int],
    window: int,
    max_bytes: int,
    check_room: Callable[[int], None],
) -> None:
    unpack, total = zlib.decompressobj(window), 0
    try:
        while block := unpack.unconsumed_tail or unpack.unused_data or read(BLOCK):
            if unpack.eof:  # consecutive compressed streams form one file
                unpack = zlib.decompressobj(window)
            part = unpack.decompress(block, BLOCK)
            total += len(part)
            if total > max_bytes:
                raise TooLarge(f"the file is longer than max_file allows, {max_bytes:,} bytes")
            check_room(len(part))
            write(part)
    except zlib.error as error:
        raise BadMedia(f"the file is compressed and damaged: {error}") from None
    if not unpack.eof:
        raise BadMedia("the file is compressed and cut short")
