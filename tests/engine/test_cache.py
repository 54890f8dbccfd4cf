"""The cache of schemas: what was kept is found again, and nothing that happens to it is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.catalogue import CachedSchema, SchemaCache, find_cache

KEPT = CachedSchema(api="https://a/v1", model="v/m", at=1_800_000_000.0, input_schema={"properties": {"prompt": {}}})


def test_what_was_kept_is_found_by_api_and_model(tmp_path: Path):
    """Each API has its own copy; a later one takes the place of an earlier."""
    cache = SchemaCache(tmp_path / "made" / "here")
    assert cache.get(KEPT.api, KEPT.model) is None
    cache.put(KEPT)
    assert cache.get(KEPT.api, KEPT.model) == KEPT
    assert cache.get("https://b/v1", KEPT.model) is None
    assert cache.get(KEPT.api, "v/other") is None
    later = CachedSchema(api=KEPT.api, model=KEPT.model, at=KEPT.at + 1, input_schema={})
    cache.put(later)
    assert cache.get(KEPT.api, KEPT.model) == later
    assert len(list((tmp_path / "made" / "here").iterdir())) == 1


@pytest.mark.parametrize("model", ["../../escape", "a" * 5000, "a\0b", "é/ü", "C:\\x", "."])
def test_no_model_id_leaves_the_folder(tmp_path: Path, model: str):
    """Ids come from a manifest: they never become a path."""
    cache = SchemaCache(tmp_path / "cache")
    kept = CachedSchema(api=KEPT.api, model=model, at=1.0, input_schema={})
    cache.put(kept)
    assert cache.get(KEPT.api, model) == kept
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "cache"]


@given(st.binary(max_size=80) | st.sampled_from([b"", b"{}", b"[" * 5000, b"null"]))
def test_damage_is_as_good_as_nothing(tmp_path_factory: pytest.TempPathFactory, damage: bytes):
    """A broken file is ignored, and replaced by the next answer."""
    folder = tmp_path_factory.mktemp("cache")
    cache = SchemaCache(folder)
    cache.put(KEPT)
    (file,) = folder.iterdir()
    file.write_bytes(damage)
    assert cache.get(KEPT.api, KEPT.model) is None
    cache.put(KEPT)
    assert cache.get(KEPT.api, KEPT.model) == KEPT


@pytest.mark.parametrize("at", [-1.0, 1e300])
def test_a_time_that_cannot_be_is_damage(tmp_path: Path, at: float):
    """A copy from nowhen cannot be called fresh or old."""
    cache = SchemaCache(tmp_path)
    cache.put(CachedSchema(api=KEPT.api, model=KEPT.model, at=at, input_schema={}))
    assert cache.get(KEPT.api, KEPT.model) is None


def test_a_file_where_the_folder_should_be_is_no_error(tmp_path: Path):
    """Nothing can be kept, and nothing fails for it."""
    (tmp_path / "cache").write_text("mine")
    cache = SchemaCache(tmp_path / "cache")
    cache.put(KEPT)
    assert cache.get(KEPT.api, KEPT.model) is None
    assert (tmp_path / "cache").read_text() == "mine"


def test_the_surroundings_say_where_it_is(tmp_path: Path):
    """``XDG_CACHE_HOME`` if it is absolute, else the home; a process without either keeps nothing."""
    for environ, folder in [
        ({"XDG_CACHE_HOME": str(tmp_path / "x"), "HOME": str(tmp_path / "h")}, tmp_path / "x"),
        ({"XDG_CACHE_HOME": "relative", "HOME": str(tmp_path / "h")}, tmp_path / "h" / ".cache"),
        ({"HOME": str(tmp_path / "i")}, tmp_path / "i" / ".cache"),
    ]:
        find_cache(environ).put(KEPT)
        assert len(list((folder / "runcomfy-runner").rglob("*.json"))) == 1
    cache = find_cache({})
    cache.put(KEPT)
    assert cache.get(KEPT.api, KEPT.model) is None
