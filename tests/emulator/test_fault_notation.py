"""Faults as people write them: on a command line, and in a file."""

import json

import pytest

from runner.emulator import InjectedFault, load_faults, parse_fault


def test_the_command_line_form_says_everything():
    """Operation, kind, and any parameter by its name and type."""
    counts = "p=0.2 times=3 each=1 after=4 match='a cat'"
    assert parse_fault(f"submit status status=503 {counts} retry_after=2 date=true when=after") == InjectedFault(
        on="submit",
        kind="status",
        status=503,
        p=0.2,
        retry_after=2.0,
        date=True,
        times=3,
        each=1,
        after=4,
        when="after",
        match="a cat",
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "OPERATION KIND"),
        ("submit", "OPERATION KIND"),
        ("submit p=1", "OPERATION KIND"),
        ("submit explode", "unknown kind of fault 'explode'; known: status, error200"),
        ("buy status", "unknown operation 'buy'|unknown operation for status 'buy'"),
        ("result no_id", "unknown operation for no_id 'result'; known: submit"),
        ("submit status loud=1", "unknown parameter of status 'loud'; known: p, times"),
        ("status status when=after", "unknown parameter of status 'when'"),
        ("submit reset seconds=2", "unknown parameter of reset 'seconds'"),
        ("submit status status=many", "status takes a int, not 'many'"),
        ("submit status date=perhaps", "date takes a bool"),
        ("submit status p=2", "between 0 and 1"),
        ("submit status p", "'p' has no value"),
        ("submit status when=never", "unknown when 'never'; known: before, after"),
        ("submit status body=xml", "unknown body 'xml'; known: api"),
        ("submit status match='open", "quotation"),
    ],
)
def test_nonsense_is_refused_with_what_is_known(text, complaint):
    """The message names what would have been right."""
    with pytest.raises(ValueError, match=complaint):
        parse_fault(text)


@pytest.mark.parametrize("name", ["plan.yaml", "plan.json"])
def test_a_plan_is_a_file(tmp_path, name):
    """YAML or JSON, with a seed for those who want to share it."""
    faults = [{"on": "job", "kind": "fail", "p": 1}, {"on": "file", "kind": "trickle", "seconds": 2}]
    path = tmp_path / name
    path.write_text(json.dumps({"seed": 7, "faults": faults}, indent="\t" if name.endswith("json") else 1))
    seed, rules = load_faults(path)
    assert (seed, len(rules)) == (7, 2)
    assert rules[1] == InjectedFault(on="file", kind="trickle", seconds=2)
    path.write_text('{"faults": []}')
    assert load_faults(path) == (None, ())


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ("[]", "expected a mapping"),
        ("{faults: {}}", "expected a mapping"),
        ("{faults: [], sead: 1}", "expected a mapping"),
        ("{faults: [], seed: x}", "seed is a whole number"),
        ("{faults: [{on: submit}]}", "fault 1: expected a mapping with on and kind"),
        ("{faults: [{on: job, kind: fail}, {on: job, kind: die}]}", "fault 2: unknown kind of fault 'die'"),
        ("{faults: [{on: file, kind: slow, seconds: '2'}]}", "fault 1: seconds takes a float, not '2'"),
        ("{faults: [{on: file, kind: slow, p: true}]}", "p takes a float, not True"),
        ("{", "plan.yaml"),
    ],
)
def test_a_wrong_plan_is_refused_by_its_place(tmp_path, plan, complaint):
    """The file, which fault, and what is wrong with it."""
    path = tmp_path / "plan.yaml"
    path.write_text(plan.replace("{on", "{'on'").replace(", on", ", 'on'"))
    with pytest.raises(ValueError, match=complaint):
        load_faults(path)


def test_the_key_on_needs_no_quotes_in_yaml(tmp_path):
    """YAML 1.1 reads it as true; who writes faults does not have to know that."""
    path = tmp_path / "faults.yaml"
    path.write_text("faults:\n  - {on: job, kind: fail, p: 1}\n")
    assert load_faults(path)[1] == (parse_fault("job fail p=1"),)
