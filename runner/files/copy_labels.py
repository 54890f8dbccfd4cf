"""Metadata of copies: an XMP packet, and IPTC records for JPEG.

The terms are those of the IPTC Photo Metadata Standard 2025.1. Prompt and model stand in its properties for AI, so
that no program shows them as the caption.
"""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape

from runner.core.copies import CopyRecipe

MADE_BY_AI: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TOOL: Final = "runcomfy-runner"
MOST_PROMPT: Final = 8000
MOST_TEXT: Final = 1000
"""Characters of any other text. A JPEG holds an XMP packet of 64 KiB, and a character may become five bytes."""
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAMESPACES: Final = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}


def xmp_of(recipe: CopyRecipe, *, prompt: str, model: str) -> bytes:
    """Return the XMP packet of a copy; empty if its recipe asks for no metadata."""
    found = [
        ("Iptc4xmpExt:DigitalSourceType", MADE_BY_AI if recipe.label else ""),
        ("dc:title", _in_any_language(recipe.title)),
        ("dc:rights", _in_any_language(recipe.copyright)),
        ("xmpRights:Marked", "True" if recipe.copyright else ""),
        ("Iptc4xmpExt:AIPromptInformation", _text(prompt, MOST_PROMPT) if recipe.prompt else ""),
        ("Iptc4xmpExt:AISystemUsed", _text(model) if recipe.model else ""),
    ]
    given = [(name, value) for name, value in found if value]
    if not given:
        return b""
    spaces = "".join(f' xmlns:{name}="{address}"' for name, address in _NAMESPACES.items())
    body = "".join(f"<{name}>{value}</{name}>" for name, value in [("xmp:CreatorTool", TOOL), *given])
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about=""{spaces}>{body}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def _in_any_language(text: str) -> str:
    return f'<rdf:Alt><rdf:li xml:lang="x-default">{_text(text)}</rdf:li></rdf:Alt>' if text else ""


def _text(text: str, most: int = MOST_TEXT) -> str:
    """Return at most ``most`` characters of ``text`` for XML, without the characters that XML cannot hold."""
    return escape(_NO_XML.sub("\ufffd", text[:most]))


def iptc_of(recipe: CopyRecipe) -> bytes:
    """Return the segment of a JPEG with title and copyright as older programs read them; empty if there are none."""
    records = b"".join(
        b"\x1c\x02" + bytes([number]) + len(data).to_bytes(2, "big") + data
        for number, data in ((5, _cut(recipe.title, 64)), (116, _cut(recipe.copyright, 128)))
        if data
    )
    if not records:
        return b""
    records = b"\x1c\x01\x5a\x00\x03\x1b%G" + records  # the texts are UTF-8
    block = b"8BIM\x04\x04\x00\x00" + len(records).to_bytes(4, "big") + records + b"\0" * (len(records) % 2)
    segment = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment


def _cut(text: str, most: int) -> bytes:
    """Return ``text`` in UTF-8, cut to ``most`` bytes at a character."""
    return _NO_XML.sub("\ufffd", text).encode()[:most].decode(errors="ignore").encode()
