"""Which jobs belong together, and what a product is called."""

from __future__ import annotations

import pytest
from support.results_folder import Shelf, data_of, record

from runner.cli.commands.report import command
from runner.report.products import LARGEST_SET, Place, arrange, places_of_records


def groups(records):
    """The ids of each product, without a manifest."""
    places = places_of_records(records)
    found: dict[object, list[str]] = {}
    for made in records:
        found.setdefault(places[made.id].group, []).append(made.id)
    return list(found.values())


def test_without_a_manifest_a_folder_is_a_product_unless_it_is_a_pile():
    """``{{ sku }}/{{ view }}`` makes a product's set; hundreds in a folder are just stored there."""
    views = [record(f"1-{view}", file=f"kitchen/1/{view}", inputs={"prompt": view}) for view in ("front", "side")]
    pile = [record(f"p{n}", file=f"all/{n}", inputs={"prompt": str(n)}) for n in range(LARGEST_SET + 1)]
    assert groups([*views, *pile]) == [["1-front", "1-side"], *([made.id] for made in pile)]
    assert places_of_records(views)["1-side"].keys == {"view": "side"}


def test_without_a_manifest_ids_tell_product_and_view():
    """A last word that several products have is a view; sizes at the end tell nothing."""
    names = ["kit-1-front-64x64", "kit-1-front-96x96", "kit-1-side-64x64", "kit-2-front-64x64", "kit-2-side-64x64"]
    records = [record(name, inputs={"prompt": name[:11]}) for name in names]
    assert groups(records) == [names[:3], names[3:]]
    assert places_of_records(records)["kit-2-side-64x64"].keys == {"view": "side"}


def test_without_a_manifest_jobs_of_one_prompt_are_a_product():
    """Sizes, seeds and copies of a job; another prompt or model is another product."""
    same = {"prompt": "mug"}
    records = [
        record("mug-64x64", inputs={**same, "width": 64}),
        record("mug-96x64", inputs={**same, "width": 96}),
        record("mug-2", inputs={**same, "seed": 2}),
        record("cup", inputs={"prompt": "cup"}),
        record("mug-other", inputs=same, model="other/model"),
    ]
    assert groups(records) == [["mug-64x64", "mug-96x64", "mug-2"], ["cup"], ["mug-other"]]


def test_products_stand_in_manifest_order_and_what_is_gone_comes_last():
    """Whatever the order of completion was."""
    records = [record(name) for name in ("old", "b-1", "a-2", "a-1")]
    places = {name: Place(group=name[0]) for name in ("a-1", "a-2", "b-1", "never bought")}
    together, _, products, numbers = arrange(records, places)
    assert [made.id for made in together] == ["a-1", "a-2", "b-1", "old"]
    assert [numbers[made.id] for made in together] == [0, 0, 1, 2]
    assert [product.title for product in products] == ["a", "b-1", "old"]


@pytest.mark.parametrize(
    ("ids", "prompts", "title", "about"),
    [
        (["KIT-1001-front", "KIT-1001-side"], ["Mug, front", "Mug, side"], "KIT-1001", "Mug"),
        (["mug", "mug-2"], ["a mug", "a mug"], "mug", "a mug"),
        (["red", "blue"], ["", ""], "red", ""),
        (["front", "frost"], ["a red mug", "a redder mug"], "front", "a"),
        (["only-one"], ["x" * 200], "only-one", "x" * 119 + "…"),
    ],
)
def test_a_product_is_called_what_its_ids_have_in_common(ids, prompts, title, about):
    """In whole words; the prompts' common beginning is what it is about."""
    records = [record(i, inputs={"prompt": prompt}) for i, prompt in zip(ids, prompts, strict=True)]
    _, _, (product,), _ = arrange(records, dict.fromkeys(ids, Place(group="all")))
    assert (product.title, product.about) == (title, about)


MANIFEST = """\
model: blackforestlabs/flux-2-klein/4b/text-to-image
output: out
jobs:
  - from: products.csv
    matrix: {view: [front, side], size: [64x64, 96x96]}
    id: "{{ view }} of {{ sku }}"
    prompt: "{{ view }} of a {{ name }}"
  - id: hero
    prompt: all of them
"""


@pytest.mark.parametrize("by_folder", [False, True])
def test_the_manifest_tells_rows_and_keys_of_the_matrix(shelf: Shelf, by_folder):
    """Also where only the folder is named: its records name the manifest. A row is a product, an entry without one."""
    manifest = shelf.folder / "batch.yaml"
    manifest.write_text(MANIFEST)
    (shelf.folder / "products.csv").write_text("sku,name\nk1,mug\nk2,cup\n")
    for job_id in ("hero", "side of k2-64x64", "front of k2-64x64", "side of k1-96x96", "front of k1-64x64"):
        shelf.done(job_id, file=str(len(shelf.records)))
    shelf.save()
    command.main([str(shelf.out if by_folder else manifest)], standalone_mode=False)
    page = (shelf.out / "report.html").read_text()
    cards = data_of(page)["cards"]
    assert [(card["id"], card.get("group", 0)) for card in cards] == [
        ("front of k1-64x64", 0),
        ("side of k1-96x96", 0),
        ("front of k2-64x64", 1),
        ("side of k2-64x64", 1),
        ("hero", 2),
    ]
    assert cards[1]["keys"] == {"view": "side"}
    assert '<option value="front">front (2)</option>' in page
    assert "not tried yet</dt><dd>4<" in page
