"""What a plan says against what the run after it does: stories of runs, faults and edits, and how to compare.

A story is data, so that the same one can be told to a planner with a fault of its own (``planner_with``). What a run
does is judged without its rules: by the requests that the emulator accepted, the files that came, and the lines that
were written.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import anyio
import msgspec
from hypothesis import strategies as st

from runner import RunnerError
from runner.core.models import Record, State
from runner.emulator import InjectedFault, Options, serve
from runner.engine import forecast, operations
from runner.engine.catalogue import quote
from runner.engine.config import RunConfig
from runner.engine.redo import RedoMode
from runner.manifest import OnUnknown
from support.harness import Service
from support.virtual_time import LoopClock, VirtualLoop

PROMPTS = ("ash", "elm", "fir", "oak")
"""None is part of another: faults are aimed by them."""
PRICE = 0.0045

TROUBLES: dict[str, tuple[InjectedFault, ...]] = {
    "failed": (InjectedFault(on="job", kind="fail"),),
    "failed for good": (InjectedFault(on="submit", kind="status", status=422, body="detail"),),
    "unknown": (InjectedFault(on="submit", kind="reset", when="after"),),
    "released": (InjectedFault(on="submit", kind="status", status=402, code=400002),),
    "submitted": (InjectedFault(on="result", kind="state", text="in_progress"),),
    "generated": (InjectedFault(on="file", kind="status", status=500),),
    "stuck": (InjectedFault(on="result", kind="forget"), InjectedFault(on="status", kind="forget")),
    "cancelled": (InjectedFault(on="job", kind="cancel"),),
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the manifest's ``jobs``."""

    name: str
    """Its id, unless ``own_id`` is off."""
    prompt: str
    own_id: bool = True
    sizes: tuple[str, ...] = ("64x64",)
    repeat: int = 1
    file: str = ""

    def as_manifest(self) -> dict[str, Any]:
        sizes: dict[str, Any] = {"sizes": list(self.sizes)} if len(self.sizes) > 1 else {"size": self.sizes[0]}
        several = {"repeat": self.repeat} if self.repeat > 1 else {}
        own = {"id": self.name} if self.own_id else {}
        file = {"file": self.file} if self.file and self.own_id else {}
        return {"prompt": self.prompt, **sizes, **several, **own, **file}


@dataclass(frozen=True, kw_only=True)
class Round:
    """What is done to the folder, and a run."""

    entries: tuple[Entry, ...]
    options: dict[str, Any] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    """By prompt, which of ``TROUBLES`` happens; a run with any is not compared."""
    crash_after: int | None = None
    """End the run once so many records are durable."""
    lose: tuple[int, ...] = ()
    """Which of the folder's pictures are deleted first, counted around."""
    words: tuple[str, ...] = ()
    """What is said to ``reconcile`` first about everything that is open."""
    budget: int | None = None
    """In pictures of the smallest size."""

    @property
    def well_behaved(self) -> bool:
        return not self.troubles and self.crash_after is None


Story = tuple[Round, ...]

SIZES = st.sampled_from([("64x64",), ("64x64",), ("64x64",), ("80x64", "64x64"), ("1600x640",)])
TROUBLE = st.dictionaries(st.sampled_from(PROMPTS), st.sampled_from(sorted(TROUBLES)), max_size=3)


@st.composite
def manifests(draw: st.DrawFn) -> tuple[Entry, ...]:
    """Entries with different names; those without an id of their own differ in what they ask for."""
    entries = []
    for name in draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)):
        entry = Entry(
            name=name,
            prompt=draw(st.sampled_from(PROMPTS)),
            own_id=draw(st.sampled_from([True, True, True, False])),
            sizes=draw(SIZES),
            repeat=draw(st.sampled_from([1, 1, 1, 2])),
        )
        entries.append(entry)
    return distinct(entries)


def distinct(entries: list[Entry]) -> tuple[Entry, ...]:
    """``entries`` without those that would be refused: a name twice, or the same inputs without an id twice."""
    kept: dict[str, Entry] = {}
    nameless = set()
    for entry in entries:
        if entry.own_id or entry.prompt not in nameless:
            kept.setdefault(entry.name, entry)
        if not entry.own_id:
            nameless.add(entry.prompt)
    return tuple(kept.values())


@st.composite
def edited(draw: st.DrawFn, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The manifest after one or two edits."""
    found = list(entries)
    for _ in range(draw(st.integers(0, 2))):
        number = draw(st.integers(0, len(found) - 1))
        entry = found[number]
        match draw(
            st.sampled_from(["prompt", "prompt", "rename", "rename", "remove", "turn", "repeat", "size", "add", "file"])
        ):
            case "prompt":
                found[number] = replace(entry, prompt=draw(st.sampled_from(PROMPTS)))
            case "rename":
                found[number] = replace(entry, name=draw(st.sampled_from("abcdxyz")), own_id=True)
            case "remove" if len(found) > 1:
                del found[number]
            case "turn":
                found.reverse()
            case "repeat":
                found[number] = replace(entry, repeat=draw(st.integers(1, 3)))
            case "size":
                found[number] = replace(entry, sizes=draw(SIZES))
            case "file":
                found[number] = replace(entry, file=f"shelf/{entry.name}")
            case "add":
                found.append(Entry(name=draw(st.sampled_from("abcdxyz")), prompt=draw(st.sampled_from(PROMPTS))))
    return distinct(found)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """What the command line says; mostly nothing."""
    found: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        found["only"] = draw(st.sampled_from(["[ab]*", "a*", "*2", "[!a]*"]))
    if draw(st.integers(0, 3)) == 0:
        found["limit"] = draw(st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        found["on_unknown"] = OnUnknown.RESUBMIT
    if draw(st.integers(0, 5)) == 0:
        found["redo"] = RedoMode.SELECTED if "only" in found and draw(st.booleans()) else RedoMode.ALL
    return found


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A troubled run, then edits and runs, the last of which is well-behaved."""
    entries = draw(manifests())
    rounds = [Round(entries=entries, troubles=draw(TROUBLE), crash_after=draw(st.none() | st.integers(1, 9)))]
    before = [entries]
    for _ in range(draw(st.integers(1, 3))):
        back = draw(st.integers(0, 4)) == 0
        entries = draw(st.sampled_from(before)) if back else draw(edited(entries))
        before.append(entries)
        troubled = draw(st.integers(0, 3)) == 0
        rounds.append(
            Round(
                entries=entries,
                options=draw(options()),
                troubles=draw(TROUBLE) if troubled else {},
                crash_after=draw(st.none() | st.integers(1, 9)) if troubled else None,
                lose=tuple(draw(st.lists(st.integers(0, 5), max_size=2))),
                words=tuple(draw(st.sampled_from([(), (), (), ("lost all",), ("rebuy all",)]))),
                budget=draw(st.sampled_from([None, None, None, *range(8)])),
            )
        )
    last = Round(entries=draw(edited(entries)), lose=tuple(draw(st.lists(st.integers(0, 5), max_size=1))))
    return (*rounds, last)


Foretell = Callable[..., forecast.Forecast]


class Mismatch(AssertionError):
    """A plan said something else than the run after it did."""


class Crash(BaseException):
    """Nothing in the program knows this: the run ends where it stands."""


class Seen(list[Record]):
    """What a run wrote; ends it once so many records are durable."""

    def __init__(self, crash_after: int | None) -> None:
        super().__init__()
        self._crash_after = crash_after

    def append(self, record: Record) -> None:
        super().append(record)
        if len(self) == self._crash_after:
            raise Crash


def check(story: Story, foretell: Foretell = forecast.make_forecast) -> None:
    """Tell ``story`` in a folder of its own; raise ``Mismatch`` at the first plan that does not come true."""
    with TemporaryDirectory() as folder:
        backend = {"loop_factory": VirtualLoop}
        anyio.run(_tell, Path(folder), story, foretell, backend="asyncio", backend_options=backend)


async def _tell(folder: Path, story: Story, foretell: Foretell) -> None:
    behaviour = Options(seconds=1.0, workers=4, cost="megapixels")
    async with serve(behaviour, now=LoopClock().now) as emulator:
        service = Service(emulator, folder)
        for number, told in enumerate(story):
            await _live(service, told, foretell, f"round {number}")


async def _live(service: Service, told: Round, foretell: Foretell, where: str) -> None:
    """Edit, lose, settle, plan, run, compare."""
    await anyio.sleep(1)  # what a crashed run had sent is still on its way to the emulator
    service.seen = []
    _lose(service, told.lose)
    await _settle(service, told.words)
    cap = {"budget": f"{told.budget * PRICE:.4f}"} if told.budget is not None and told.well_behaved else {}
    jobs = [entry.as_manifest() for entry in told.entries]
    manifest = service.manifest(*jobs, retries=0, timeout="45s", **cap)
    service.fault(*(replace(f, match=prompt) for prompt, name in told.troubles.items() for f in TROUBLES[name]))
    service.seen = Seen(told.crash_after)
    if told.well_behaved:
        expected = await Expectation.of(service, manifest, told.options, foretell)
        expected.compare(service, await _outcome(service, manifest, told.options), where)
    else:
        with suppress(BaseExceptionGroup, Crash):
            await _outcome(service, manifest, told.options)
    manifest.jobs.close()


def _lose(service: Service, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        files = service.files() if service.output.exists() else []
        if files:
            (service.output / files[number % len(files)]).unlink()


async def _settle(service: Service, words: tuple[str, ...]) -> None:
    for word in words:
        if (service.output / "results.jsonl").exists():
            questions = await service.reconcile()
            names = [f"{record.id}/{record.purchase}" for record in questions.open]
            await service.reconcile(*(f"{word.split()[0]} {name}" for name in names))


async def _outcome(service: Service, manifest: Any, options: dict[str, Any]) -> Any:
    """The report, or the error that ended the run."""
    try:
        return await service.run(manifest, **options)
    except RunnerError as error:
        return type(error)


@dataclass(kw_only=True)
class Expectation:
    """What a plan said, and how things were before the run."""

    said: dict[str, Any] | type
    """The plan's object, or the error that it ended with."""
    jobs: dict[str, Any]
    actions: dict[str, str]
    reasons: dict[str, str]
    lines: dict[tuple[str, int], Record]
    pictures: set[str]
    requests: set[str]
    resubmit: bool

    @classmethod
    async def of(cls, service: Service, manifest: Any, options: dict[str, Any], foretell: Foretell) -> Expectation:
        found: dict[str, tuple[Any, str, str]] = {}
        given = operations.RunOptions(**options)

        def visit(job: Any, action: Any, reason: str, _: Any) -> None:
            found[job.id] = job, action.value, reason

        said: dict[str, Any] | type
        try:
            config = RunConfig.resolve(manifest, given, service.environ)
            plan = foretell(config, manifest.jobs, now=LoopClock().now(), visit=visit)
            said = plan.as_json(await quote(plan.estimate.models, given, service.environ))
        except RunnerError as error:
            said = type(error)
        return cls(
            said=said,
            jobs={name: job for name, (job, _, _) in found.items()},
            actions={name: action for name, (_, action, _) in found.items()},
            reasons={name: reason for name, (_, _, reason) in found.items()},
            lines=_last_lines(service),
            pictures=set(_pictures(service).values()),
            requests={request["request_id"] for request in service.emulator.requests},
            resubmit="on_unknown" in options,
        )

    def compare(self, service: Service, report: Any, where: str) -> None:
        if isinstance(self.said, type) or isinstance(report, type):
            _same(
                self.said if isinstance(self.said, type) else None, report if isinstance(report, type) else None, where
            )
            return
        new = [r for r in service.emulator.requests if r["request_id"] not in self.requests]
        capped = self.said["affordable"] is not None and self.said["affordable"] < self.said["buy"]
        _same(self.said["affordable"] if capped else self.said["buy"], len(new), f"{where}: purchases")
        self._compare_jobs(service, where, capped=capped)
        _same(self.said["total"] + self.said["owed_by_others"], report.total, f"{where}: total")
        if not capped:
            self._compare_money(new, report, where)

    def _compare_jobs(self, service: Service, where: str, *, capped: bool) -> None:
        after, pictures = _last_lines(service), _pictures(service)
        for name, job in self.jobs.items():
            happened = self._happened(service, job, after, pictures)
            if not (capped and happened != "buy" and self.actions[name] == "buy"):
                _same(self.actions[name], happened, f"{where}: {name} ({self.reasons[name]})")
        _same(self.said["total"], len(self.jobs), where)
        counts = Counter(action.replace(" ", "_") for action in self.actions.values())
        for key in forecast.KEYS.values():
            _same(self.said[key], counts[key], f"{where}: {key}")

    def _compare_money(self, new: list[dict[str, Any]], report: Any, where: str) -> None:
        bought = Counter((r["input"]["prompt"], r["input"]["width"]) for r in new)
        wanted = (job.inputs for name, job in self.jobs.items() if self.actions[name] == "buy")
        _same(Counter((inputs["prompt"], inputs["width"]) for inputs in wanted), bought, f"{where}: what was bought")
        if new:
            _same(self.said["up_to_usd"], round(sum(r["cost"] for r in new), 6), f"{where}: bill")
            _same(round(len(new) * PRICE, 6), self.said["from_usd"], f"{where}: least")
        if not any("; then:" in reason for reason in self.reasons.values()):
            _same(self.said["reuse"], report.skipped, f"{where}: skipped")

    def _happened(
        self, service: Service, job: Any, after: dict[tuple[str, int], Record], pictures: dict[str, str]
    ) -> str:
        """What the run did with a job, by what it wrote and what is on the disk."""
        written = [record for record in service.seen if record.id == job.id]
        if any(record.state is State.SUBMITTING for record in written):
            return "buy"
        taken = {r.purchase: r for r in reversed(written) if r.renamed_from and (job.id, r.purchase) not in self.lines}
        before = [record for (name, _), record in self.lines.items() if name == job.id] or list(taken.values())
        if any(record.owed and not record.rebuy for record in before):
            return "collect"
        hashes = {output.sha256 for record in written if record.state is State.DONE for output in record.outputs}
        if hashes & set(pictures.values()) - self.pictures:
            return "deliver again"
        return self._standing(job, [r for (name, _), r in after.items() if name == job.id], pictures)

    def _standing(self, job: Any, history: list[Record], pictures: dict[str, str]) -> str:
        """Where a job stands for which nothing was sent."""
        history = sorted((r for r in history if r.state is not State.RELEASED), key=lambda record: record.purchase)
        own = [record for record in history if record.inputs == job.inputs]
        if history and history[-1].open and not history[-1].rebuy and not self.resubmit:
            return "held"
        here = {sha for path, sha in pictures.items() if path.rpartition(".")[0] == job.file}
        if any({output.sha256 for output in record.outputs} & here for record in own if record.state is State.DONE):
            return "reuse"
        return "failed" if own and own[-1].state is State.FAILED else "held" if history else "nothing"


def _same(said: object, happened: object, where: str) -> None:
    if said != happened:
        raise Mismatch(f"{where}: the plan said {said!r}, and the run came to {happened!r}")


def _last_lines(service: Service) -> dict[tuple[str, int], Record]:
    if not (service.output / "results.jsonl").exists():
        return {}
    return {(record.id, record.purchase): record for record in service.lines()}


def _pictures(service: Service) -> dict[str, str]:
    """The hash of every picture in the folder, set aside or in place."""
    names = service.files() if service.output.exists() else []
    return {name: sha256((service.output / name).read_bytes()).hexdigest() for name in names}


MODULES = (
    "planning.rules",
    "planning.planner",
    "planning.survey",
    "planning.selection",
    "engine.config",
    "engine.forecast",
)
"""What a plan is made of, in the order in which these import each other."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A fault in the plan's rules: ``old`` is replaced by ``new`` in the source of one of ``MODULES``."""

    module: str
    old: str
    new: str


def planner_with(mutation: Mutation) -> Foretell:
    """``foretell`` as it would be with that fault. What a run goes by stays as it is."""
    with _modules_aside():
        for name in MODULES:
            found = _load(f"runner.{name}", mutation if name == mutation.module else None)

    def foretell(config: RunConfig, jobs: Any, **more: Any) -> forecast.Forecast:
        own = found.RunConfig(**msgspec.structs.asdict(config))
        plan: forecast.Forecast = found.make_forecast(own, jobs, **more)
        return plan

    return foretell


@contextmanager
def _modules_aside() -> Iterator[None]:
    ours = {f"runner.{name}": sys.modules[f"runner.{name}"] for name in MODULES}
    try:
        yield
    finally:
        sys.modules.update(ours)


def _load(name: str, mutation: Mutation | None) -> ModuleType:
    """A second copy of a module. Raises ``LookupError`` where a fault finds nothing, or too much, to replace."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    if mutation is not None:
        if source.count(mutation.old) != 1:
            raise LookupError(f"{name} holds {mutation.old!r} {source.count(mutation.old)} times; seed the fault anew")
        source = source.replace(mutation.old, mutation.new)
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, spec.origin, "exec"), vars(module))
    return module
