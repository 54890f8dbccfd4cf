"""``runner emulator``: a server of the emulated Model API on the loopback address."""

from __future__ import annotations

from pathlib import Path

import anyio
import click

from runner.cli.signals import signals
from runner.core.aio import run_loop
from runner.emulator import InjectedFault, Options, load_faults, parse_fault, serve


def _faults(lines: tuple[str, ...], file: Path | None) -> tuple[int | None, tuple[InjectedFault, ...]]:
    try:
        seed, loaded = load_faults(file) if file is not None else (None, ())
        return seed, loaded + tuple(parse_fault(line) for line in lines)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None


@click.command("emulator")
@click.option("--port", type=click.IntRange(0, 65535), default=8188, show_default=True, help="0 takes a free one.")
@click.option("--workers", type=click.IntRange(min=1), default=4, show_default=True, help="Requests made at once.")
@click.option("--seconds", type=click.FloatRange(min=0), default=0.5, show_default=True, help="For one request.")
@click.option("--spread", type=click.FloatRange(min=0), default=0.0, help="Lognormal sigma of those seconds.")
@click.option("--max-in-flight", type=click.IntRange(min=1), help="More requests at once are refused with 429.")
@click.option("--token", help="The only token that is accepted; without it any is.")
@click.option("--state", type=click.Path(path_type=Path), help="Keep requests here, so that they outlive the process.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--fault", "faults", multiple=True, metavar="'OP KIND k=v …'", help="A fault on request; repeatable.")
@click.option("--faults", "fault_file", type=click.Path(path_type=Path), help="A YAML or JSON file of faults.")
@click.option("--sizes", type=click.Choice(["exact", "round16", "clamp1024"]), default="exact", show_default=True)
@click.option("--picture", type=click.Choice(["png", "jpeg", "webp"]), default="png", show_default=True)
@click.option("--cost", type=click.Choice(["base", "missing", "megapixels"]), default="base", show_default=True)
@click.option("--balance", type=click.FloatRange(min=0), help="USD in the account; submissions beyond are refused.")
@click.option("--unfinished-status", type=int, default=200, help="What /result answers for unfinished requests.")
@click.option("--not-found-seconds", type=float, default=0.0, help="404 for so long after a submission.")
@click.option("--no-length", is_flag=True, help="Files without Content-Length.")
@click.option("--octet-stream", is_flag=True, help="Files as application/octet-stream.")
@click.option("--no-queue-position", is_flag=True, help="/result without queue_position.")
@click.option("--charge-failed", is_flag=True, help="Failed requests are charged.")
def command(
    port: int,
    state: Path | None,
    faults: tuple[str, ...],
    fault_file: Path | None,
    seed: int,
    no_queue_position: bool,
    **modes: object,
) -> int:
    """Serve the Model API on 127.0.0.1 until interrupted; pictures are real, nothing is paid.

    \b
    Example:
      runner emulator --state /tmp/emulator &
      RUNCOMFY_MODEL_API_BASE=http://127.0.0.1:8188/v1 RUNCOMFY_TOKEN=any runner run jobs/demo.yaml
      runner emulator --fault 'submit status status=503 p=0.2 retry_after=2'
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
