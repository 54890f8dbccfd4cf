"""Making of copies: the bytes of an original and recipes in, the bytes of the copies out.

The original is decoded once for all of its copies. Nothing of its own metadata gets into a copy: services write
prompts and whole workflows into their pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from tempfile import TemporaryFile
from threading import Lock
from typing import Final

import msgspec
from PIL import Image, ImageCms, ImageColor, ImageOps, PngImagePlugin

from runner.core.copies import FORMATS, CopyRecipe
from runner.core.media_formats import PICTURES
from runner.files.containers import BadMedia, check_pixels
from runner.files.copy_labels import iptc_of, xmp_of

LEAST_QUALITY: Final = 20
"""Lowest quality that is tried for ``max_bytes``."""
_LARGE: Final = 16_000_000
"""Pixels above which only one original is decoded at a time."""
_MODES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Modes of a picture by the colour space of its profile."""

_turn = Lock()
"""Lock that is held while the copies of a large original are made."""


class CopyImpossible(Exception):
    """Copy that cannot be made of this original; ``str()`` gives the reason."""


class CopyBytes(msgspec.Struct, frozen=True):
    """Copy in memory."""

    data: bytes
    width: int
    height: int


def make_copies(
    data: bytes, recipes: Sequence[CopyRecipe], *, prompt: str, model: str, max_pixels: int
) -> Iterator[CopyBytes | CopyImpossible]:
    """Yield the copy of the picture ``data`` for each of ``recipes``, or the reason why it cannot be made."""
    try:
        with _opened(data, max_pixels) as original:
            for recipe in recipes:
                xmp = xmp_of(recipe, prompt=prompt, model=model)
                yield _attempt(original, recipe, xmp)
    except CopyImpossible as why:
        yield from [why] * len(recipes)


def _attempt(original: _Original, recipe: CopyRecipe, xmp: bytes) -> CopyBytes | CopyImpossible:
    try:
        return _make(original, recipe, xmp)
    except CopyImpossible as why:
        return why
    except Exception as error:  # noqa: BLE001 - codecs raise any exception; one copy does not affect the others
        return CopyImpossible(f"{type(error).__name__}: {error}")


class _Original:
    """Decoded original, turned upright, in its own colours or in sRGB."""

    def __init__(self, image: Image.Image) -> None:
        found: bytes | None = image.info.get("icc_profile")
        self.as_is = _plain(ImageOps.exif_transpose(image))
        self.profile = found if found and _fits(found, self.as_is) else None
        """Profile of the pixels; None: there is none, or it is not one for such pixels."""

    @cached_property
    def srgb(self) -> Image.Image:
        image = self.as_is
        alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
        colours = image if alpha is None else image.convert(image.mode[:-1])
        target = _to_srgb(colours, self.profile)
        target = target if target.mode == "RGB" else target.convert("RGB")
        if alpha is not None:
            target.putalpha(alpha)
        return target


def _fits(profile: bytes, image: Image.Image) -> bool:
    """Tell whether ``profile`` is one for pixels like those of ``image``."""
    try:
        space = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space
    except Exception:  # noqa: BLE001 - LittleCMS raises any exception for a damaged profile
        return False
    return _MODES.get(space) == image.mode.removesuffix("A")


def _plain(image: Image.Image) -> Image.Image:
    """Return ``image`` as grey, RGB or CMYK with 8 bits, with alpha if it has any."""
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("L", "LA", "1") else "RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None:
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        done = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except ImageCms.PyCMSError as error:
        raise CopyImpossible(f"its colour profile cannot be used: {error}; `srgb: false` keeps it") from None
    return done or image


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[_Original]:
    """Decode a picture, if it is large only one at a time. Raises ``CopyImpossible``."""
    Image.init()
    Image.MAX_IMAGE_PIXELS = None  # checked below, before anything is decoded
    try:
        image = Image.open(BytesIO(data), formats=[name for name in PICTURES if name in Image.OPEN])
        check_pixels(image.width, image.height, max_pixels)
    except (BadMedia, OSError, ValueError, SyntaxError) as error:
        raise CopyImpossible(f"the original cannot be opened: {error}") from None
    alone = image.width * image.height > _LARGE
    if alone:
        _turn.acquire()
    try:
        yield _decoded(image)
    finally:
        if alone:
            _turn.release()


def _decoded(image: Image.Image) -> _Original:
    try:
        image.load()
        return _Original(image)
    except Exception as error:  # noqa: BLE001 - decoders raise any exception on unexpected bytes
        raise CopyImpossible(f"the original cannot be decoded: {error}") from None


def _make(original: _Original, recipe: CopyRecipe, xmp: bytes) -> CopyBytes:
    image = original.srgb if recipe.srgb else original.as_is
    if recipe.format == "jpeg" and image.mode[-1] == "A":
        image = _over(image, recipe.background)
    if recipe.fit is not None:
        image = _fitted(image, recipe.fit, recipe)
    if recipe.format != "jpeg" and image.mode == "CMYK":
        image = image.convert("RGB")
    profile = original.profile if not recipe.srgb and original.as_is.mode[0] == image.mode[0] else None
    return CopyBytes(_encoded(image, recipe, xmp, profile), image.width, image.height)


def _over(image: Image.Image, background: str) -> Image.Image:
    """Return ``image`` without transparency, over the background."""
    mode = image.mode[:-1]
    below = Image.new(mode, image.size, _colour(background, mode))
    below.paste(image.convert(mode), mask=image.getchannel("A"))
    return below


def _colour(background: str, mode: str) -> int | tuple[int, ...]:
    if mode == "CMYK":
        red, green, blue = ImageColor.getrgb(background)[:3]
        return 255 - red, 255 - green, 255 - blue, 0
    return ImageColor.getcolor(background, mode)


def _fitted(image: Image.Image, fit: tuple[int, int], recipe: CopyRecipe) -> Image.Image:
    """Return ``image`` in the size that the recipe asks for. Only ``cover`` enlarges."""
    scales = fit[0] / image.width, fit[1] / image.height
    scale = max(scales) if recipe.mode == "cover" else min(*scales, 1.0)
    if recipe.mode == "cover":
        width, height = fit[0] / scale, fit[1] / scale
        left, top = (image.width - width) / 2, (image.height - height) / 2
        return image.resize(
            fit, Image.Resampling.LANCZOS, box=(max(left, 0), max(top, 0), left + width, top + height), reducing_gap=3.0
        )
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if recipe.mode == "contain" or size == fit:
        return image
    colour = _colour(recipe.background, image.mode.removesuffix("A"))
    whole = Image.new(image.mode, fit, _with_alpha(colour) if image.mode[-1] == "A" else colour)
    place = (fit[0] - size[0]) // 2, (fit[1] - size[1]) // 2
    whole.paste(image, place)
    return whole


def _with_alpha(colour: int | tuple[int, ...]) -> tuple[int, ...]:
    return (colour, 255) if isinstance(colour, int) else (*colour, 255)


def _encoded(image: Image.Image, recipe: CopyRecipe, xmp: bytes, profile: bytes | None) -> bytes:
    """Return the bytes of ``image``. With ``max_bytes``, the quality is the best that stays below."""
    image = image.copy() if image.info else image
    image.info = {}  # Pillow writes some of what it has read
    whole = _save(image, recipe, xmp, profile, recipe.quality)
    most = recipe.max_bytes
    if most is None or len(whole) <= most:
        return whole
    if recipe.quality is None:
        raise CopyImpossible(f"it has {len(whole):,} bytes, more than `max_bytes`, {most:,}; a {recipe.format} has no "
                             "quality to lower: choose another format, or a smaller `fit`")  # fmt: skip
    low, high, best = min(LEAST_QUALITY, recipe.quality), recipe.quality - 1, None
    while low <= high:
        middle = (low + high) // 2
        data = _save(image, recipe, xmp, profile, middle)
        if len(data) <= most:
            best, low = data, middle + 1
        else:
            high = middle - 1
    if best is None:
        raise CopyImpossible(f"it has more than {most:,} bytes (`max_bytes`) even at quality {LEAST_QUALITY}; choose "
                             "a smaller `fit`, or another format")  # fmt: skip
    return best


def _save(image: Image.Image, recipe: CopyRecipe, xmp: bytes, profile: bytes | None, quality: int | None) -> bytes:
    more: dict[str, object] = {} if quality is None else {"quality": quality}
    if recipe.format == "png":
        texts = PngImagePlugin.PngInfo()
        if xmp:
            texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        more["pnginfo"] = texts
    elif xmp:
        more["xmp"] = xmp
    if recipe.format == "jpeg":
        more |= {"optimize": True, "progressive": True, "extra": iptc_of(recipe)}
    if profile is not None:
        more["icc_profile"] = profile
    # Pillow lets other threads run while it encodes a JPEG to a file, but not while it encodes one in memory.
    with TemporaryFile() if recipe.format == "jpeg" else BytesIO() as file:
        image.save(file, FORMATS[recipe.format].pillow, **more)
        file.seek(0)
        return file.read()
