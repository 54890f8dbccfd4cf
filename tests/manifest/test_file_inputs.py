"""Inputs that are files: which they are, and which addresses the service could fetch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.manifest.models.file_inputs import check_address, is_hosted
from runner.manifest.problems import Invalid


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("image", {"type": "string", "format": "image_uri"}),
        ("anything", {"type": "string", "format": "uri"}),
        ("anything", {"type": "array", "format": "video_uris"}),
        ("refs", {"type": "array", "items": {"type": "string", "format": "uri"}}),
        ("refs", {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]}),
        ("image_url", {"type": "string"}),
        ("image_url_2", {"type": ["string", "null"]}),
        ("end_image_url", {"type": "string", "default": ""}),
        ("image_urls", {"type": "array"}),
        ("images", {"type": "array", "items": {"type": "string"}}),
        ("reference_image", {"type": "string"}),
        ("video", {"type": "string", "default": "https://example.com/a.mp4"}),
    ],
)
def test_a_file_is_known_by_its_format_or_else_by_its_name(name, rule):
    """The formats that the catalogue uses, the standard's, and names that say it."""
    assert is_hosted(name, rule)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("prompt", {"type": "string"}),
        ("image_size", {"type": "string"}),
        ("image", {"type": "string", "format": "binary"}),
        ("image", {"type": "string", "enum": ["none", "first"]}),
        ("image", {"type": "string", "default": "none"}),
        ("image", {"type": "object"}),
        ("images", {"type": "integer"}),
        ("images", {"type": "array", "items": {"type": "object"}}),
        ("enable_audio", {"type": "boolean"}),
        ("curl", {"type": "string"}),
        ("image", {}),
        ("link", {"type": "string", "format": "uri-template"}),
    ],
)
def test_what_may_be_something_else_is_let_be(name, rule):
    """A wrong suspicion would refuse a manifest that is right."""
    assert not is_hosted(name, rule)


GOOD = [
    "https://example.com/mug.png",
    "HTTPS://cdn.example.com:8443/a%20b.png?sig=x&exp=1#y",
    "https://bücher.example/mug.png",
    "https://example.com./mug.png",
    "https://8.8.8.8/mug.png",
]
BAD = {
    "": "not an https address",
    "./mug.png": "not an https address",
    "mug.png": "not an https address",
    "/home/me/mug.png": "not an https address",
    "C:\\mug.png": "not an https address",
    "file:///home/me/mug.png": "not an https address",
    "data:image/png;base64,iVBORw0KGgo=": "content of a file",
    "http://example.com/mug.png": "not https",
    "s3://bucket/mug.png": "not https",
    "https:///mug.png": "not a valid address",
    "https://": "not a valid address",
    "https://example.com/a b.png": "not a valid address",
    "https://exa\tmple.com/mug.png": "not a valid address",
    "https://[::1/mug.png": "not a valid address",
    "https://example.com:port/mug.png": "not a valid address",
    "https://me:secret@example.com/mug.png": "login",
    "https://localhost/mug.png": "not a public",
    "https://nas/mug.png": "not a public",
    "https://nas.local/mug.png": "not a public",
    "https://127.0.0.1/mug.png": "not a public",
    "https://127.1/mug.png": "not a public",
    "https://0x7f000001/mug.png": "not a public",
    "https://2130706433/mug.png": "not a public",
    "https://10.0.0.7/mug.png": "not a public",
    "https://192.168.1.5:8080/mug.png": "not a public",
    "https://169.254.169.254/latest": "not a public",
    "https://[::1]/mug.png": "not a public",
    "https://[fe80::1]/mug.png": "not a public",
    "https://[::ffff:127.0.0.1]/mug.png": "not a public",
    "https://１２７.0.0.1/mug.png": "not a public",
    "https://*.example.com/mug.png": "not a public",
}


@pytest.mark.parametrize("address", GOOD)
def test_a_public_https_address_is_fine(address):
    """Signed links, ports, international names: whatever the service can fetch."""
    check_address(address)


@pytest.mark.parametrize(("address", "why"), BAD.items())
def test_what_the_service_cannot_fetch_is_refused_with_what_would_be_right(address, why):
    """Files of this machine, other schemes, logins and private hosts: each says why, and the limits that there are."""
    with pytest.raises(Invalid) as caught:
        check_address(address)
    assert why in caught.value.what
    assert "https address" in caught.value.advice
    assert "50 MB" in caught.value.advice
    assert "100 MB" in caught.value.advice
    assert "secret" not in caught.value.what


@given(st.text() | st.text().map("https://".__add__) | st.text().map("https://example.com/".__add__))
def test_any_text_is_an_address_or_refused(text):
    """Nothing that a user can write raises anything else, and what passes is https."""
    try:
        check_address(text)
    except Invalid:
        return
    assert text.lower().startswith("https://")
