"""Structure checks of GLB and SVG files."""

from __future__ import annotations

import struct
from typing import BinaryIO
from xml.parsers import expat

from runner.files.containers import BLOCK, BadMedia, count_parts, exactly

MAX_DEPTH = 1000
"""Maximum depth of nested elements in an SVG."""


class _Entities(Exception):
    """Document with entity definitions, which could expand without end."""


def check_glb(file: BinaryIO, size: int) -> None:
    """Check that the length in the header is the size of the file, and that chunks fill it. Raises ``BadMedia``."""
    file.seek(4)
    version, told = struct.unpack("<II", exactly(file, 8, "GLB"))
    if version != 2:
        raise BadMedia(f"a GLB of version {version} is not accepted")
    if told != size:
        raise BadMedia(f"the GLB is cut short or too long: {size:,} bytes, and its header says {told:,}")
    position = 12
    for number in count_parts("GLB"):
        if position == size:
            if number == 0:
                break
            return
        file.seek(position)
        length, kind = struct.unpack("<I4s", exactly(file, 8, "GLB"))
        position += 8 + length
        if position > size or (number == 0 and kind != b"JSON"):
            break
    raise BadMedia("the GLB is damaged: its chunks do not fill it")


def begins_svg(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` looks like an SVG."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in start)


def check_svg(file: BinaryIO) -> bool:
    """Read the XML to its end without keeping it or loading references. Raises ``BadMedia``.

    Returns False, with the rest unread, if the document defines entities, which are not expanded here.
    """
    depth = 0

    def begin(name: str, _attributes: object) -> None:
        nonlocal depth
        if not depth and name.rpartition(":")[2] != "svg":
            raise BadMedia(f"an XML document of another kind came instead of an SVG: {name[:40]!r}")
        depth += 1
        if depth > MAX_DEPTH:
            raise BadMedia(f"an SVG with elements nested more than {MAX_DEPTH:,} deep is not accepted")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_about: object) -> None:
        raise _Entities

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.EntityDeclHandler = refuse
    file.seek(0)
    try:
        while block := file.read(BLOCK):
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise BadMedia(f"the SVG is cut short or damaged: {error}") from None
    except _Entities:
        return False
    return True
