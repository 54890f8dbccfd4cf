"""Broken manifests and feeds that a repository does not keep well: other encodings, NUL, very long lines, bombs.

Each function writes its files into a folder and returns what ``runner plan`` is given there.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from support.made_sheets import sheet_xml, workbook

KLEIN: Final = "model: blackforestlabs/flux-2-klein/4b/text-to-image\n"
MILLION: Final = 1_000_000
BY_SKU: Final = '{from: %s, id: "{{ sku }}", prompt: "a {{ name }}"}'

Make = Callable[[Path], str]


def _file(data: bytes | str) -> Make:
    def make(folder: Path) -> str:
        (folder / "batch.yaml").write_bytes(data if isinstance(data, bytes) else data.encode())
        return "batch.yaml"

    return make


def _jobs(*entries: str) -> Make:
    return _file(f"{KLEIN}jobs:\n" + "".join(f"- {entry}\n" for entry in entries))


def _entries(entries: list[str], **feeds: bytes) -> Make:
    """The entries, with ``feeds`` beside the manifest; ``mugs_csv`` is called ``mugs.csv``."""

    def make(folder: Path) -> str:
        for name, data in feeds.items():
            (folder / name.replace("_", ".")).write_bytes(data)
        return _jobs(*entries)(folder)

    return make


def _sheets(*entries: str, **books: bytes) -> Make:
    """The entries and one more for each spreadsheet that is beside the manifest."""
    return _entries([*entries, *(BY_SKU % name.replace("_", ".") for name in books)], **books)


ROWS: Final = [["sku", "name"], ["a", "b"], ["c", "d"]]


def _pictures(folder: Path) -> str:
    (folder / "photos").mkdir()
    for name in (b"a.jpg", b"caf\xe9.jpg", b"b\n.jpg", b"c.JPEG"):
        Path(os.fsdecode(bytes(folder / "photos") + b"/" + name)).touch()
    return _jobs(
        '{from: "photos/*.jpg", id: "{{ stem }}", prompt: "a {{ name }}"}',
        '{from: "gone/*/x?.png", id: "{{ stem }}", prompt: "a {{ name }}"}',
        '{from: "photos/*.png", id: "{{ stem }}", prompt: "a {{ name }}"}',
    )(folder)


def _feeds(**feeds: bytes) -> Make:
    """An entry for each feed; ``mugs_csv`` is called ``mugs.csv``."""

    def make(folder: Path) -> str:
        for name, data in feeds.items():
            (folder / name.replace("_", ".")).write_bytes(data)
        return _jobs(*(BY_SKU % name.replace("_", ".") for name in feeds))(folder)

    return make


def _bomb() -> str:
    levels = ["x-a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n"]
    levels += [f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)]
    return "".join(levels)


def _named_like_a_device(folder: Path) -> str:
    (folder / "con.yaml").write_text(f"{KLEIN}jobs: [{{prompt: a mug}}]\n")
    return "con.yaml"


def _folder(folder: Path) -> str:
    (folder / "batch.yaml").mkdir()
    return "batch.yaml"


def _too_long(folder: Path) -> str:
    with (folder / "batch.yaml").open("wb") as file:
        file.truncate((256 << 20) + 1)  # of holes: it takes no room
    return "batch.yaml"


def _folder_as_feed(folder: Path) -> str:
    (folder / "mugs.csv").mkdir()
    return _jobs("{from: mugs.csv, prompt: a mug}")(folder)


def _too_many_rows(folder: Path) -> str:
    (folder / "mugs.csv").write_text("sku\na\nb\n")
    return _jobs('{from: mugs.csv, prompt: "{{ sku }}", repeat: 10000000, sizes: [64x64, 96x96]}')(folder)


_BIG_TEMPLATES: Final = (
    "{{ " + "9" * 5000 + " }}",
    "{{ [" + "copy," * 1001 + "]|join }}",
    "{{ copy }}" + "x" * 100_000,
    ("{{ '" + "a" * 250 + "'|replace('a', '" + "b" * 240 + "') }}") * 2,
    "{{ 'aa'|replace('a', '" + "x" * 999 + "')|replace('x', '" + "y" * 999 + "') }}",
    "{{ ['" + "x" * 400 + "']|join|replace('x', 'yyyyyyyyyyyyyyyyyyyy')|split('y')|join('" + "z" * 20 + "') }}",
    "{{ ('"
    + "a" * 250
    + "'|replace('a', '"
    + "b" * 240
    + "')) + ('"
    + "a" * 250
    + "'|replace('a', '"
    + "c" * 240
    + "')) }}",
)


def _png(width: int, height: int) -> bytes:
    """A black PNG with one bit a pixel."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress(bytes((width // 8 + 2) * height)[: (-(-width // 8) + 1) * height])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _files(folder: Path) -> str:
    """Files of this machine as inputs, each wrong in another way."""
    photos = folder / "photos"
    (photos / "folder.png").mkdir(parents=True)
    whole = _png(8, 8)
    for name, data in {
        "mug.png": whole,
        "cut.png": whole[:-20],
        "empty.png": b"",
        "text.jpg": b"no picture\n",
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h8"/></svg>',
        "giant.png": _png(8000, 4001),
    }.items():
        (photos / name).write_bytes(data)
    for name, size in {"large.png": 6 << 20, "long.mp4": 32 << 20, "loud.wav": 16 << 20}.items():
        with (photos / name).open("wb") as file:  # a hole: no byte of it is read
            file.truncate(size + 1)
    os.mkfifo(photos / "pipe.png")
    (folder / "rows.csv").write_text("sku,photo\na,mug.png\nb,jug.png\nc,cut.png\n")
    names = ["mugs.png", "cut.png", "empty.png", "text.jpg", "drawing.svg", "giant.png", "large.png", "folder.png",
             "pipe.png"]  # fmt: skip
    entries = [f"{{prompt: {name}, image_url: photos/{name}}}" for name in names]
    others = [
        "{prompt: a, image_url: gone/mug.png}",
        "{prompt: b, image_url: www.shop.example/mug.png}",
        "{prompt: c, image_url: http://shop.example/mug.png}",
        "{prompt: d, image_url: //shop.example/mug.png}",
        "{prompt: e, video_urls: [photos/long.mp4, photos/mug.png]}",
        "{prompt: f, voice: photos/loud.wav}",
        "{prompt: g, source_url: photos/drawing.svg}",
        "{prompt: h, image_url: photos/mug.png}",
        '{prompt: i, image_url: "photos/a\\tb.png"}',
        f"{{prompt: j, image_url: {'n' * 300}.png}}",
        '{from: rows.csv, id: "{{ sku }}", prompt: "{{ sku }}", image_url: "photos/{{ photo }}"}',
        '{from: "photos/m*.png", id: "{{ stem }}", prompt: "{{ stem }}", image_url: "{{ path }}.png"}',
    ]
    text = "".join(f"- {entry}\n" for entry in [*entries, *others])
    return _file(f"model: example/film\njobs:\n{text}")(folder)


def _much(folder: Path) -> str:
    """More files than one request may hold, and limits in the manifest."""
    (folder / "mug.png").write_bytes(_png(400, 400))
    entries = "- {prompt: a, image_url: mug.png, source_url: mug.png}\n- {prompt: b, image_url: mug.png}\n"
    entries += f"- {{prompt: {'c' * 300}, image_url: mug.png}}\n"
    return _file(f"model: example/film\njobs:\n{entries}")(folder)


def _max_inline(value: str) -> Make:
    def make(folder: Path) -> str:
        (folder / "mug.png").write_bytes(_png(400, 400))
        entry = "- {prompt: a, image_url: mug.png}\n"
        return _file(f"model: example/film\nmax_inline: {value}\njobs:\n{entry}")(folder)

    return make


MADE: Final[dict[str, Make]] = {
    "bytes/files-of-this-machine": _files,
    "bytes/files-that-are-too-much": _much,
    "bytes/files-above-their-own-limit": _max_inline("50B"),
    "bytes/files-with-a-limit-too-high": _max_inline("6.1MiB"),
    "bytes/files-with-a-limit-of-nothing": _max_inline("0MB"),
    "bytes/utf-16": _file("jobs:\n".encode("utf-16")),
    "bytes/latin-1": _file("model: a/b\nname: café\n".encode("latin-1")),
    "bytes/latin-1-behind-a-byte-order-mark": _file(b"\xef\xbb\xbfname: a\r\nfile: \xff\n"),
    "bytes/nul": _file("name: a\0b\n"),
    "bytes/line-separator": _file("name: a\n  b\u2028c\n"),
    "bytes/bell": _file("name: \x07\n"),
    "bytes/alias-bomb": _file(_bomb()),
    "bytes/aliases-too-deep": _file(
        "x-a: &a " + "[" * 40 + "]" * 40 + "\nx-b: &b " + "[" * 40 + "*a" + "]" * 40 + "\n"
    ),
    "bytes/million-characters-in-a-prompt": _jobs("prompt: " + "mug " * (MILLION // 4)),
    "bytes/million-characters-without-a-quote": _jobs('prompt: "' + "x" * MILLION),
    "bytes/million-characters-in-every-place": _file(
        f"{'k' * 1000}: 1\n{KLEIN}name: {'n' * MILLION}\nrate: {'r' * MILLION}\njobs:\n- id: {'i' * MILLION}\n"
        f"  width: {'w' * MILLION}\n  prompt: !{'t' * MILLION} a\n- prompt: *{'a' * MILLION}\n"
        f"- file: con.{'f' * MILLION}\n  prompt: a\n  height: '{'h' * MILLION}'\n  {'p' * 1000}: 3\n- {'j' * MILLION}\n"
    ),
    "bytes/million-characters-in-a-template": _jobs(
        *(f"{{repeat: 2, prompt: '{{{{ {text} }}}}'}}" for text in ("n" * 99_000, "1 is " + "t" * 99_000, "%"))
    ),
    "bytes/templates-too-deep": _jobs("{repeat: 2, prompt: '{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}'}"),
    "bytes/large-templates": _jobs(*(f'{{repeat: 2, prompt: "{template}"}}' for template in _BIG_TEMPLATES)),
    "bytes/no-such-file": lambda _: "batch.yaml",
    "bytes/folder": _folder,
    "bytes/too-long": _too_long,
    "bytes/path-too-long": lambda _: f"{'x' * 300}.yaml",
    "bytes/names-too-long": _jobs(
        f"{{id: {'x' * 248}, prompt: a mug}}",
        f"{{id: {'y' * 245}, prompt: a mug, sizes: [64x64]}}",
        f"{{file: mugs/{'z' * 248}, prompt: a mug}}",
    ),
    "bytes/named-like-a-device": _named_like_a_device,
    "bytes/folder-as-feed": _folder_as_feed,
    "bytes/too-many-rows": _too_many_rows,
    "bytes/encodings-of-feeds": _feeds(
        utf16_csv="sku,name\n".encode("utf-16"),
        latin1_csv=b"sku,name\na,caf\xe9\nb,\xff\n",
        header_csv=b"sku,\xff\na,b\n",
        nul_csv=b"sku,name\na,b\x00\n",
        oldmac_csv=b"sku,name\ra,b\r",
        return_csv=b"sku,name\na,b\rc,d\n",
        latin1_jsonl=b"\xff\n",
        prompts_txt=b"a\xff mug\n",
    ),
    "bytes/encodings-by-name": _entries(
        [
            '{from: marked.csv, encoding: cp1252, prompt: "{{ sku }}"}',
            '{from: wide.csv, encoding: utf-8, prompt: "{{ sku }}"}',
            '{from: unmarked.csv, prompt: "{{ sku }}"}',
            '{from: backwards.csv, prompt: "{{ sku }}"}',
            '{from: hole.csv, encoding: Windows-1252, prompt: "{{ sku }}"}',
            '{from: half.csv, encoding: utf-16, prompt: "{{ sku }}"}',
            '{from: cut.csv, prompt: "{{ sku }}"}',
            '{from: wide.csv, encoding: utf-16-le, prompt: "{{ sku }}"}',
        ],
        marked_csv=b"\xef\xbb\xbfsku\na\n",
        wide_csv="sku\nb\n".encode("utf-16"),
        unmarked_csv="sku\nc\n".encode("utf-16-le"),
        backwards_csv="sku\nd\n".encode("utf-16-be"),
        hole_csv=b"sku\ne\x81\n",
        half_csv="sku\nf\ud800\ng\0\n".encode("utf-16", "surrogatepass"),
        cut_csv="sku\nh\n".encode("utf-16") + b"\0",
    ),
    "bytes/wide-feed-that-breaks-off": _feeds(mugs_csv=b""),
    "bytes/spreadsheets": _sheets(
        '{from: mugs.xlsx, sheet: Mug, id: "{{ sku }}", prompt: "a {{ name }}"}',
        mugs_xlsx=workbook({"Mugs": sheet_xml([["sku", "name", None], ["a", "b", "c"]]), "Jugs": sheet_xml([])}),
        empty_xlsx=workbook({"Mugs": sheet_xml([])}),
        none_xlsx=workbook({}),
        locked_xlsx=b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000),
        text_xlsx=b"sku,name\na,b\n",
        torn_xlsx=workbook({"Mugs": "<worksheet><sheetData><row"}),
        far_xlsx=workbook({"Mugs": sheet_xml(ROWS, dimension="A1:XFD1048576")}),
    ),
    "bytes/spreadsheet-with-many-rows": _sheets(many_xlsx=workbook({"Mugs": sheet_xml(ROWS)})),
    "bytes/spreadsheet-that-unpacks-to-much": _sheets(much_xlsx=workbook({"Mugs": sheet_xml(ROWS)})),
    "bytes/spreadsheet-without-the-extra": _sheets(mugs_xlsx=workbook({"Mugs": sheet_xml(ROWS)})),
    "bytes/list-too-long": _feeds(mugs_json=b'[{"sku": "a", "name": "b"}]'),
    "bytes/pictures": _pictures,
    "bytes/too-many-pictures": _pictures,
    "bytes/folder-that-cannot-be-read": _pictures,
    "bytes/feed-that-breaks-off": _feeds(mugs_csv=b""),
    "bytes/feed-that-cannot-be-opened": _feeds(mugs_csv=b""),
    "bytes/feeds-too-long": _feeds(
        cell_csv=b"sku,name\na," + b"x" * 131_073,
        text_csv=b"sku,name\na," + b"y" * 100_001,
        line_csv=b"sku,name\n" + b"z" * 10_000_001,
        deep_jsonl=b"[" * 3000,
    ),
}
