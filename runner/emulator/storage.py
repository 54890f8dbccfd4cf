"""Storage: the files behind the links, drawn on request and always the same."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from PIL import features

from .catalogue import KINDS_OF_FILES
from .other_files import OTHER_FILES
from .pictures import Drawing, picture, stamped
from .responses import Answer
from .video import clip, still_clip

if TYPE_CHECKING:
    from .options import Options
    from .queue import Request

# Below this number of pixels the handover to a thread takes longer than the drawing.
_SMALL = 256 * 256


def no_such_file() -> Answer:
    """Return the 404 of a storage host, which is not in the form of the API."""
    return Answer(status=404, body=b"no such file\n", media_type="text/plain")


async def stored(request: Request, name: str, options: Options, *, wider: int = 0) -> Answer:
    """Return the file ``name`` of a completed request; ``wider``: pixels added to the width of a picture."""
    width, height = (request.model.value(request.input, side) for side in ("width", "height"))
    if width * height <= _SMALL:
        media_type, body = read_file(request, name, options, wider=wider)
    else:
        work = partial(read_file, request, name, options, wider=wider)
        media_type, body = await asyncio.get_running_loop().run_in_executor(None, work)
    return Answer(
        body=body,
        media_type="application/octet-stream" if options.octet_stream else media_type,
        manner="chunked" if options.no_length else "whole",
    )


def has_file(request: Request, name: str) -> bool:
    """Tell whether a completed request has the file ``name``, for example ``0.png``."""
    number = name.partition(".")[0]
    return number.isdecimal() and int(number) < request.model.count(request.input)


def read_file(request: Request, name: str, options: Options, *, wider: int = 0) -> tuple[str, bytes]:
    """Return the media type and the bytes of an existing file.

    The extension in ``name`` decides, unless it is one of a picture or video.
    """
    first, _, asked = name.partition(".")
    number = int(first)
    own = KINDS_OF_FILES.get(request.model.shape, ("",) * (number + 1))[number]
    for ending in (asked, own):
        if ending in OTHER_FILES:
            return OTHER_FILES[ending]
    width, height = (_side(options, request.model.value(request.input, side)) for side in ("width", "height"))
    drawing = _drawing(request, number, width + wider, height)
    if request.model.shape == "video":
        return "video/mp4", _clip(drawing, request.model.seconds(request.input))
    body = picture(drawing, options.picture)
    if options.picture == "png":
        body = stamped(body, request.request_id)
    return f"image/{options.picture}", body


def _clip(drawing: Drawing, seconds: int) -> bytes:
    """Return a video; browsers can play it if Pillow supports AVIF."""
    if features.check("avif"):
        return still_clip(picture(drawing, "avif"), seconds, drawing.width, drawing.height)
    return clip([picture(drawing, "jpeg")] * seconds, drawing.width, drawing.height)


def _drawing(request: Request, number: int, width: int, height: int) -> Drawing:
    # Small pictures have no id: there is no room, and all requests with the same prompt share one drawing.
    label = f"{width} x {height}   {request.request_id}" if min(width, height) > 256 else ""
    return Drawing(
        prompt=request.input["prompt"], width=width, height=height, number=number, label=label, insets=request.insets
    )


def _side(options: Options, asked: int) -> int:
    if options.sizes == "round16":
        return (asked + 8) // 16 * 16
    return min(asked, 1024) if options.sizes == "clamp1024" else asked
