"""Storage: the files behind the links, drawn when they are asked for, the same every time."""

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

# Below this many pixels handing the work to a thread takes longer than the work.
_SMALL = 256 * 256


def no_such_file() -> Answer:
    """What a storage host says; it does not speak the API's language."""
    return Answer(status=404, body=b"no such file\n", media_type="text/plain")


async def stored(request: Request, name: str, options: Options, *, wider: int = 0) -> Answer:
    """The file of a completed request that is called so, so many pixels ``wider`` than it should be."""
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
    """Tell whether a completed request has such a file: ``0.png``."""
    number = name.partition(".")[0]
    return number.isdecimal() and int(number) < request.model.count(request.input)


def read_file(request: Request, name: str, options: Options, *, wider: int = 0) -> tuple[str, bytes]:
    """The type and the bytes of a file that there is. The name's ending decides where it names no picture or video."""
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
    """A video that browsers play, where Pillow can make its frames."""
    if features.check("avif"):
        return still_clip(picture(drawing, "avif"), seconds, drawing.width, drawing.height)
    return clip([picture(drawing, "jpeg")] * seconds, drawing.width, drawing.height)


def _drawing(request: Request, number: int, width: int, height: int) -> Drawing:
    # Small pictures bear no id: there is no room, and one drawing then serves every request with that prompt.
    label = f"{width} x {height}   {request.request_id}" if min(width, height) > 256 else ""
    return Drawing(prompt=request.input["prompt"], width=width, height=height, number=number, label=label)


def _side(options: Options, asked: int) -> int:
    if options.sizes == "round16":
        return (asked + 8) // 16 * 16
    return min(asked, 1024) if options.sizes == "clamp1024" else asked
