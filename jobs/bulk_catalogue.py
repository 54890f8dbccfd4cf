"""Bulk catalogue: products from your own data, two pictures of each, whatever their number.

    python jobs/bulk_catalogue.py --emulator

Run it again after the data changed: new products are bought, changed ones are bought anew, the rest is left alone.
"""

import asyncio
import csv
import json
import sys
from pathlib import Path

import runner

HERE = Path(__file__).parent
VIEWS = {"front": "centred on a seamless white background", "scene": "in use, natural light, editorial photography"}


def jobs() -> list[dict[str, object]]:
    """From a database, say. By its id the next run knows a picture again, so ids come from keys that stay."""
    with (HERE / "products.csv").open(encoding="utf-8", newline="") as feed:
        return [
            {
                "id": f"{product['sku']}-{view}",
                "prompt": f"A {product['colour']} {product['name']} of {product['material']}, {words}",
                "file": f"{product['sku']}/{view}",
            }
            for product in csv.DictReader(feed)
            for view, words in VIEWS.items()
        ]


def tell(record: runner.Record) -> None:
    """Called with every step of every purchase once it is safe on disk."""
    if record.state is runner.State.DONE:
        print(record.id, "→", ", ".join(str(output.path) for output in record.outputs))
    elif record.error is not None:
        print(record.id, record.state, record.error.message, file=sys.stderr)


async def main(*, emulator: bool) -> int:
    document = {
        "model": "blackforestlabs/flux-2-klein/4b/text-to-image",
        "concurrency": 16,
        "budget": 5.00,  # USD, for this folder, ever
        "defaults": {"width": 512, "height": 512},
        "jobs": jobs(),
    }
    folder = HERE.parent / "output" / ("products-emulator" if emulator else "products")
    try:
        manifest = runner.load("-", text=json.dumps(document).encode())  # JSON is YAML
        report = await runner.run(manifest, runner.RunOptions(output=folder, emulator=emulator), observer=tell)
    except runner.RunnerError as error:  # every fault of a manifest at once, no token, a disk that is full …
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{report.done} new, {report.skipped} done before, {report.failed} failed, ${report.cost_usd:.4f} this time")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(main(emulator="--emulator" in sys.argv[1:])))
