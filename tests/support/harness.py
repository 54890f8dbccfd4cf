"""A whole run against the emulator, over real sockets and files, on virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import runner
from runner.core.clock import Clock
from runner.core.models import Record
from runner.emulator import Emulator, InjectedFault
from runner.engine import operations
from runner.engine.catalogue import offers
from runner.engine.maintenance.reconcile import OpenPurchases, Resolution, parse_adopt, parse_name
from runner.engine.stop import Stop
from runner.engine.summary import Report
from runner.ledger.records import decode
from runner.manifest import Offer
from support.virtual_time import LoopClock

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"


@dataclass
class Service:
    """An emulator and a folder to run manifests against it."""

    emulator: Emulator
    folder: Path
    token: str = "test-token"
    seen: list[Record] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def manifest(self, *jobs: dict[str, Any], name: str = "batch.yaml", **settings: Any) -> runner.Manifest:
        """Write a manifest (JSON is YAML) and load it."""
        defaults = {"width": 64, "height": 64}
        document = {"model": KLEIN, "concurrency": 4, "output": "out", "defaults": defaults, **settings}
        path = self.folder / name
        path.write_bytes(msgspec.json.encode({**document, "jobs": list(jobs)}))
        return runner.load(path)

    async def read(self, text: str, name: str = "batch.yaml", *, offline: bool = False) -> runner.Manifest:
        """Write a manifest and load it as a command does, with what the catalogue or the cache knows."""
        path = self.folder / name
        path.write_text(f"output: out\n{text}")
        asked: list[str] = []

        def note(models: Sequence[str]) -> dict[str, Offer]:
            asked.extend(models)
            return {}

        with suppress(runner.ManifestError):
            runner.load(path, offers=note).jobs.close()
        found = await offers(asked, operations.RunOptions(offline=offline), self.environ, clock=LoopClock())
        return runner.load(path, offers=lambda _: found)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    async def run(
        self,
        manifest: runner.Manifest | None = None,
        *,
        jobs: int = 1,
        stop: Stop | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> Report:
        """Run ``manifest``, or one of ``jobs`` plain jobs."""
        manifest = manifest or self.manifest(*plain(jobs))
        return await operations.run(
            manifest,
            operations.RunOptions(**options),
            observer=self.seen.append,
            stop=stop,
            clock=clock or LoopClock(),
            environ=self.environ,
        )

    async def collect(self) -> Report:
        return await operations.collect(
            operations.Folder(self.output), observer=self.seen.append, clock=LoopClock(), environ=self.environ
        )

    async def reconcile(self, *words: str, **options: Any) -> OpenPurchases:
        """Say ``adopt a=r``, ``lost a``, ``rebuy all``."""
        parted = [text.partition(" ") for text in words]
        requests = [
            parse_adopt(name) if word == "adopt" else parse_name(Resolution(word), name) for word, _, name in parted
        ]
        return await operations.reconcile(
            operations.Folder(self.output),
            requests,
            operations.RunOptions(**options),
            observer=self.seen.append,
            clock=LoopClock(),
            environ=self.environ,
        )

    @property
    def environ(self) -> dict[str, str]:
        service = {"RUNCOMFY_MODEL_API_BASE": self.emulator.base, "RUNCOMFY_TOKEN": self.token}
        return {**service, "XDG_CACHE_HOME": str(self.cache)}

    def purchases(self, job_id: str) -> list[Record]:
        """The last line of each purchase of a job."""
        found = {record.purchase: record for record in self.lines() if record.id == job_id}
        return [found[number] for number in sorted(found)]

    def record(self, job_id: str = "a") -> Record:
        return self.purchases(job_id)[-1]

    def lines(self) -> list[Record]:
        """Every line of the results manifest, or of all of them."""
        found = sorted(self.output.glob("results*.jsonl"))
        return [decode(line) for path in found for line in path.read_bytes().splitlines()]

    def files(self) -> list[str]:
        """Everything in the output folder but ``runner``'s own."""
        found = (path.relative_to(self.output) for path in self.output.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if path.parts[0] != ".runner" and not path.match("results*.jsonl"))

    @property
    def submissions(self) -> int:
        return self.emulator.stats["submissions"]

    def fault(self, *faults: InjectedFault) -> None:
        self.emulator.set_faults(*faults)


def plain(count: int) -> list[dict[str, str]]:
    """Jobs ``a``, ``b``, … with a prompt each."""
    return [{"id": chr(97 + number), "prompt": f"picture {number}"} for number in range(count)]
