"""What a shop's export costs: told by `plan`, bought by `run`, and counted by both."""

from __future__ import annotations

import json

VARIANTS = """Handle,Title,Option1 Value,Variant SKU
oak-mug,Oak Mug,250 ml,MUG-1
oak-mug,,350 ml,MUG-2
,,,
linen-tote,Linen Tote,,TOTE-1
"""
MANIFEST = """output: out
model: blackforestlabs/flux-2-klein/4b/text-to-image
jobs:
  - from: shop.csv
    id: "{{ row['Variant SKU'] }}"
    prompt: "{{ Title }} on white, {{ row['Variant SKU'] }}"
    size: 64x64
"""
WHERE = '    where: "{{ Title }}"\n'


def test_rows_of_variants_are_told_and_left_out(desk, serve):
    """`plan` names column and row; with `where` only the right ones are bought, said and counted, exit 0."""
    desk.base = serve().base
    desk.write(VARIANTS, "shop.csv")
    doubtful = desk("plan", desk.write(MANIFEST), "--offline")
    assert doubtful.returncode == 0
    assert "`prompt` prints `Title`, which is empty in the row at" in doubtful.stderr
    assert "shop.csv:3:1" in doubtful.stderr

    batch = desk.write(MANIFEST + WHERE)
    plan = desk("plan", batch, "--offline")
    assert plan.stderr == ""
    assert "left out by where: 1\n" in plan.stdout
    assert json.loads(desk("plan", batch, "--offline", "--json").stdout)["left_out"] == 1
    run = desk("run", batch)
    assert run.returncode == 0
    assert "left out by where: 1\n" in run.stderr
    assert set(desk.records()) == {"MUG-1", "TOTE-1"}


def test_rows_that_vanish_or_move_are_not_bought_again(desk, serve):
    """A feed that is exported anew, with `;` and without its empty rows, is the same batch."""
    api = serve()
    desk.base = api.base
    batch = desk.write(MANIFEST + WHERE)
    desk.write(VARIANTS, "shop.csv")
    assert desk("run", batch).returncode == 0
    kept = [line for line in VARIANTS.splitlines() if line.strip(",")]
    desk.write("sep=;\n" + "\n".join(kept).replace(",", ";"), "shop.csv")
    again = desk("run", batch)
    assert (again.returncode, api.stats["accepted"]) == (0, 2)
    assert "2 done before" in again.stderr
