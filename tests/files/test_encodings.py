"""Files that come compressed although nobody asked for that: decoded within bounds, and only where they are."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from runner.core.http import TooLarge
from runner.files.containers import BadMedia
from runner.files.download import _finish, _Limits
from runner.files.encodings import decode_file
from runner.files.resume import PartialFile

BODY = bytes(range(256)) * 4000


def decoded(folder: Path, body: bytes, encoding: str, max_bytes: int = 10**7) -> bytes:
    path = folder / "file"
    path.write_bytes(body)
    decode_file(path, encoding, max_bytes, lambda _: None)
    assert [left.name for left in folder.iterdir()] == ["file"]
    return path.read_bytes()


def test_gzip_and_deflate_are_decoded(tmp_path: Path) -> None:
    """Several parts one after the other as one."""
    assert decoded(tmp_path, gzip.compress(BODY), "gzip") == BODY
    assert decoded(tmp_path, gzip.compress(BODY) + gzip.compress(b"more"), "x-gzip") == BODY + b"more"
    assert decoded(tmp_path, zlib.compress(BODY), "deflate") == BODY


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "aws-chunked"])
def test_bytes_that_are_not_encoded_stay_as_they_are(tmp_path: Path, encoding: str) -> None:
    """A store keeps the header that an upload bore, whatever the bytes are."""
    assert decoded(tmp_path, b"\x89PNG\r\n" + BODY, encoding) == b"\x89PNG\r\n" + BODY


def test_a_bomb_is_bounded(tmp_path: Path) -> None:
    """What a few bytes unpack to is no longer than `max_file` allows, and nothing of it is left."""
    with pytest.raises(TooLarge, match="max_file"):
        decoded(tmp_path, gzip.compress(bytes(10**7)), "gzip", max_bytes=10**7 - 1)
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("body", [gzip.compress(BODY)[:-5], gzip.compress(BODY)[:-600], gzip.compress(BODY) + b"x"])
def test_compressed_bytes_that_are_cut_short_or_damaged_are_refused(tmp_path: Path, body: bytes) -> None:
    """Else part of a file would be taken for all of it."""
    with pytest.raises(BadMedia, match="compressed and"):
        decoded(tmp_path, body, "gzip")


def test_a_file_under_an_encoding_that_cannot_be_undone_must_show_that_it_is_whole(tmp_path: Path) -> None:
    """Of a kind that cannot be checked nobody knows what those bytes are."""
    path = tmp_path / "file"
    path.write_bytes(b"v 0 0 0\n")
    limits = _Limits(10**6, 10**6, "https://storage.example/a.obj")
    assert _finish(path, limits, PartialFile(content_type="text/plain")).extension == "obj"
    with pytest.raises(BadMedia, match="'br'-encoded, which was not requested"):
        _finish(path, limits, PartialFile(content_type="text/plain", encoding="br"))
