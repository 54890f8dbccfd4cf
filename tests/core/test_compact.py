"""Names in little memory behave as a dictionary of them would."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.name_sets import NameSet, Numbering, digest
from runner.planning.renames import RenameIndex

STEPS = st.lists(st.tuples(st.sampled_from(["add", "drop", "find"]), st.integers(0, 40)), max_size=200)


@settings(deadline=None)
@given(STEPS)
def test_numbers_are_given_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    """Each name has one number as long as it is not dropped, and a new one when it comes back."""
    numbering, known, given = Numbering(), dict[int, int](), 0
    for step, name in steps:
        key = digest(str(name))
        if step == "add":
            if name not in known:
                known[name], given = given, given + 1
            assert numbering.add(key) == known[name]
        elif step == "drop":
            numbering.drop(key)
            known.pop(name, None)
        assert numbering.find(key) == known.get(name)
        assert len(numbering) == given


def test_the_table_grows_and_keeps_what_it_holds() -> None:
    """Ten thousand names, every third of them dropped and half of those added again, are all told apart."""
    numbering = Numbering()
    keys = [digest(f"sku-{n}") for n in range(10_000)]
    assert [numbering.add(key) for key in keys] == list(range(10_000))
    for key in keys[::3]:
        numbering.drop(key)
    again = keys[::6]
    assert [numbering.add(key) for key in again] == list(range(10_000, 10_000 + len(again)))
    expected = {key: n for n, key in enumerate(keys) if n % 3} | {key: 10_000 + n for n, key in enumerate(again)}
    assert [numbering.find(key) for key in keys] == [expected.get(key) for key in keys]


def test_names_are_a_set() -> None:
    """Any text can be a name, a lone surrogate too."""
    names = NameSet()
    assert [names.add(name) for name in ("mug", "Mug", "mug", "\ud800", "")] == [True, True, False, True, True]
    assert ("mug" in names, "cup" in names, len(names)) == (True, False, 4)


ADDED = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["mug", "cup", "ÿ", "pot"])), max_size=20)


@given(ADDED, st.lists(st.sampled_from("abcd"), max_size=20))
def test_what_nobody_claims_is_given_out_oldest_first(added: list[tuple[str, str]], taken: list[str]) -> None:
    """Each id is taken over once, and a second pass is told the same as the first."""
    unclaimed, model = RenameIndex(), dict[str, dict[str, None]]()
    for fingerprint, job_id in added:
        unclaimed.add(fingerprint, job_id)
        model.setdefault(fingerprint, {})[job_id] = None
    left = {fingerprint: list(ids) for fingerprint, ids in model.items()}
    expected = [left[fingerprint].pop(0) if left.get(fingerprint) else None for fingerprint in taken]
    for _ in range(2):
        unclaimed.rewind()
        assert [unclaimed.take(fingerprint) for fingerprint in taken] == expected
