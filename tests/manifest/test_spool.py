"""Where checked jobs wait until their turn comes."""

from __future__ import annotations

from runner.manifest.claims import key_of
from runner.manifest.spool import Spool
from runner.model import Job


def test_a_job_is_found_as_soon_as_it_is_added_and_under_no_other_id() -> None:
    """Whoever looks for an id while jobs still come sees those that have come, letter for letter."""
    spool = Spool()
    for name in ("Mug", "cup"):
        job = Job(id=name, model="a/b", inputs={"prompt": name}, file=name, fingerprint="f")
        spool.claims.ids.take(key_of(name), spool.add(job))
        assert name in spool
    assert "mug" not in spool
    spool.close()
