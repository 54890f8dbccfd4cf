"""Draws the photos in this folder: a dozen products, each in a colour of its own. Run it to draw them again."""

from __future__ import annotations

import colorsys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIDE = 320
SHAPES = ("mug", "bowl", "plate", "vase", "jug", "basin", "saucer", "carafe", "cup", "dish", "clock", "bottle")


def draw(number: int) -> Image.Image:
    """Draw one product on a pale ground, with a soft shadow."""
    hue = number / len(SHAPES)
    ground, product = (_colour(hue, *tone) for tone in ((0.12, 0.95), (0.85, 0.8)))
    image = Image.new("RGB", (SIDE, SIDE), ground)
    pen = ImageDraw.Draw(image)
    pen.ellipse((50, 235, 270, 290), fill=_colour(hue, 0.2, 0.7))
    image = image.filter(ImageFilter.GaussianBlur(8))
    _FORMS[number % len(_FORMS)](ImageDraw.Draw(image), product, _colour(hue, 0.85, 0.6))
    return image


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _vessel(pen: ImageDraw.ImageDraw, light: tuple[int, ...], dark: tuple[int, ...]) -> None:
    pen.ellipse((190, 110, 275, 205), outline=light, width=16)
    pen.rounded_rectangle((70, 80, 230, 265), 28, fill=light)
    pen.ellipse((70, 62, 230, 104), fill=dark)


def _bowl(pen: ImageDraw.ImageDraw, light: tuple[int, ...], dark: tuple[int, ...]) -> None:
    pen.pieslice((40, 20, 280, 270), 0, 180, fill=light)
    pen.ellipse((40, 115, 280, 175), fill=dark)


def _round(pen: ImageDraw.ImageDraw, light: tuple[int, ...], dark: tuple[int, ...]) -> None:
    pen.ellipse((45, 45, 275, 275), fill=light)
    pen.ellipse((95, 95, 225, 225), outline=dark, width=6)


def _tall(pen: ImageDraw.ImageDraw, light: tuple[int, ...], dark: tuple[int, ...]) -> None:
    pen.polygon([(120, 40), (200, 40), (185, 110), (250, 265), (70, 265), (135, 110)], fill=light)
    pen.ellipse((120, 28, 200, 54), fill=dark)


_FORMS = (_vessel, _bowl, _round, _tall)

if __name__ == "__main__":
    for number, shape in enumerate(SHAPES):
        draw(number).save(Path(__file__).with_name(f"{shape}.jpg"), quality=80, optimize=True)
