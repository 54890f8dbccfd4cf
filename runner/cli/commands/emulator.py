"""``runner emulator``: a server of the emulated Model API on the loopback address."""

from __future__ import annotations

from pathlib import Path

import anyio
import click

from runner.cli.command_help import Command
from runner.cli.signals import signals
from runner.core.aio import run_loop
from runner.emulator import InjectedFault, Options, load_faults, parse_fault, serve

PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0)


def _faults(lines: tuple[str, ...], file: Path | None) -> tuple[int | None, tuple[InjectedFault, ...]]:
    try:
        seed, loaded = load_faults(file) if file is not None else (None, ())
        return seed, loaded + tuple(parse_fault(line) for line in lines)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None


@click.command("emulator", cls=Command, page="emulator")
@click.option("--port", type=PORT, metavar="N", default=8188, show_default="8188", help="Port; 0 for any free one.")
@click.option("--workers", type=COUNT, metavar="N", default=4, show_default=True, help="Requests processed at once.")
@click.option("--seconds", type=POSITIVE, metavar="X", default=0.5, show_default=True, help="Seconds per request.")
@click.option("--spread", type=POSITIVE, metavar="X", default=0.0, help="Lognormal sigma of these seconds.")
@click.option("--max-in-flight", type=COUNT, metavar="N", help="Refuse further requests with 429.")
@click.option("--token", metavar="TEXT", help="Accept only this token. [default: any]")
@click.option("--state", type=click.Path(path_type=Path), help="Keep requests in this folder across restarts.")
@click.option("--seed", type=int, metavar="N", default=1, show_default=True, help="Seed of the random numbers.")
@click.option("--fault", "faults", multiple=True, metavar="TEXT", help="Inject a fault: 'OP KIND k=v ...'. Repeatable.")
@click.option("--faults", "fault_file", type=click.Path(path_type=Path), help="Inject faults of a YAML or JSON file.")
@click.option(
    "--sizes",
    type=click.Choice(["exact", "round16", "clamp1024"]),
    metavar="MODE",
    default="exact",
    help="Size of pictures: exact, round16 or clamp1024.",
)
@click.option(
    "--picture",
    type=click.Choice(["png", "jpeg", "webp"]),
    metavar="TYPE",
    default="png",
    help="Format of pictures: png, jpeg or webp.",
)
@click.option(
    "--cost",
    type=click.Choice(["base", "missing", "megapixels"]),
    metavar="MODE",
    default="base",
    help="Cost in answers: base, missing or megapixels.",
)
@click.option("--balance", type=POSITIVE, metavar="USD", help="Refuse submissions beyond this balance.")
@click.option("--unfinished-status", type=int, metavar="N", default=200, help="/result status of unfinished requests.")
@click.option("--not-found-seconds", type=float, metavar="X", default=0.0, help="Answer 404 first, for X seconds.")
@click.option("--no-length", is_flag=True, help="Send files without Content-Length.")
@click.option("--octet-stream", is_flag=True, help="Send files as application/octet-stream.")
@click.option("--no-queue-position", is_flag=True, help="Answer /result without queue_position.")
@click.option("--charge-failed", is_flag=True, help="Charge failed requests.")
def command(
    port: int,
    state: Path | None,
    faults: tuple[str, ...],
    fault_file: Path | None,
    seed: int,
    no_queue_position: bool,
    **modes: object,
) -> int:
    """Serve an emulator of the Model API on 127.0.0.1 until interrupted. Costs nothing.

    \b
    Examples:
      runner emulator --state /tmp/emulator
      runner emulator --fault 'submit status status=503 p=0.2 retry_after=2'
      export RUNCOMFY_MODEL_API_BASE=http://127.0.0.1:8188/v1 RUNCOMFY_TOKEN=any
    """
    own_seed, rules = _faults(faults, fault_file)
    options = Options(
        seed=own_seed if own_seed is not None else seed,
        faults=rules,
        queue_position=not no_queue_position,
        **modes,  # type: ignore[arg-type]  # click has checked each of them against its option
    )
    run_loop(lambda: _serve(options, port, state))
    return 0


async def _serve(options: Options, port: int, state: Path | None) -> None:
    try:
        async with serve(options, port=port, state=state) as emulator:
            click.echo(emulator.base)
            with anyio.open_signal_receiver(*signals()) as received:
                async for _ in received:
                    return
    except OSError as error:
        raise click.ClickException(f"port {port} cannot be opened: {error.strerror}") from None
