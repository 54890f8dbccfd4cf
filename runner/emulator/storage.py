"""Storage: the files behind the links, drawn when they are asked for, the same every time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .catalogue import KINDS_OF_FILES
from .other_files import OTHER_FILES
from .pictures import Drawing, picture, stamped
from .responses import Answer
from .video import clip

if TYPE_CHECKING:
    from .options import Options
    from .queue import Request

# Below this many pixels handing the work to a thread takes longer than the work.
_SMALL = 256 * 256


def no_such_file() -> Answer:
    """What a storage host says; it does not speak the API's language."""
    return Answer(status=404, body=b"no such file\n", media_type="text/plain")


async def stored(request: Request, number: int, options: Options, *, wider: int = 0) -> Answer:
    """File ``number`` of a completed request, so many pixels ``wider`` than it should be."""
    width, height = (_side(options, request.model.value(request.input, name)) for name in ("width", "height"))
    drawing = _drawing(request, number, width + wider, height)
    loop = asyncio.get_running_loop()
    if width * height <= _SMALL:
        media_type, body = _file(request, drawing, options)
    else:
        media_type, body = await loop.run_in_executor(None, _file, request, drawing, options)
    return Answer(
        body=body,
        media_type="application/octet-stream" if options.octet_stream else media_type,
        manner="chunked" if options.no_length else "whole",
    )


def _file(request: Request, drawing: Drawing, options: Options) -> tuple[str, bytes]:
    ending = KINDS_OF_FILES.get(request.model.shape, ("",) * (drawing.number + 1))[drawing.number]
    if ending in OTHER_FILES:
        return OTHER_FILES[ending]
    if request.model.shape == "video":
        seconds = request.model.seconds(request.input)
        return "video/mp4", clip([picture(drawing, "jpeg")] * seconds, drawing.width, drawing.height)
    body = picture(drawing, options.picture)
    if options.picture == "png":
        body = stamped(body, request.request_id)
    return f"image/{options.picture}", body


def _drawing(request: Request, number: int, width: int, height: int) -> Drawing:
    # Small pictures bear no id: there is no room, and one drawing then serves every request with that prompt.
    label = f"{width} x {height}   {request.request_id}" if min(width, height) > 256 else ""
    return Drawing(prompt=request.input["prompt"], width=width, height=height, number=number, label=label)


def _side(options: Options, asked: int) -> int:
    if options.sizes == "round16":
        return (asked + 8) // 16 * 16
    return min(asked, 1024) if options.sizes == "clamp1024" else asked
