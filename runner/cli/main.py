"""Command line: the table of commands, and the exit code for every way that a command can end.

The module of a command is imported when the command is called. ``runner --help`` therefore starts fast.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module

import click

from runner import __version__
from runner.cli.console import show_error
from runner.core.errors import RunnerError

COMMANDS = {
    "init": "Write a commented manifest to start from.",
    "run": "Submit the jobs of a manifest and download their results.",
    "plan": "Show what a run would do and cost, without buying.",
    "status": "Show the state of a batch, during a run or after it.",
    "export": "Write receipts as CSV or JSON, one row per file with its cost.",
    "copies": "Make the copies of pictures that are missing or stale.",
    "collect": "Download results that are paid, not downloaded yet.",
    "verify": "Verify downloaded files against the results log, and repair them.",
    "reconcile": "List purchases whose outcome is uncertain, and resolve them.",
    "cancel": "Cancel requests that wait in the queue of the API.",
    "merge": "Merge the results logs of all shards into one.",
    "report": "Write an HTML page with pictures, failures, timings and cost.",
    "models": "List the models of the catalogue, with their prices and inputs.",
    "schema": "Print the JSON Schema of the manifest, for editors.",
    "guide": "Print a page of the manual, or list its topics.",
    "emulator": "Serve an emulator of the Model API on this machine.",
}


class Commands(click.Group):
    """Group of the commands in ``COMMANDS``; each module is imported when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"runner.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` begins with. The error about an unknown command names the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from runner.cli import other_tools  # noqa: PLC0415 - needed here only

            if args[0] in other_tools.COMMANDS:
                raise click.UsageError(f"{error.message} {other_tools.COMMANDS[args[0]]}", ctx) from None
            nearest = other_tools.SAME_COMMAND.get(args[0]) or next(iter(get_close_matches(args[0], COMMANDS, 1)), None)
            if nearest is None:
                raise
            raise click.UsageError(f"{error.message} Did you mean `runner {nearest}`?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


COMPLETION = """\b
Completion in bash, with this line in ~/.bashrc (other shells: zsh_source,
fish_source):
  eval "$(_RUNNER_COMPLETE=bash_source runner)"
"""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=COMPLETION)
@click.version_option(__version__, prog_name="runner")
def cli() -> None:
    """Run batch jobs on the RunComfy Model API: a YAML manifest in, images and a results log out.

    After the process dies for any reason, running the same command again loses nothing and buys nothing twice.

    \b
    Examples:
      runner init
      runner run jobs/demo.yaml --emulator
    """


def main() -> int:
    """Run the command line and return its exit code. Only a bug in the program prints a traceback."""
    _open_standard_streams()
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        from runner.cli import other_tools  # noqa: PLC0415 - needed here only

        if isinstance(error, click.NoSuchOption) and error.ctx is not None:
            command = error.ctx.command
            known = {name for param in command.params for name in param.opts}
            if (answer := other_tools.answer_option(error.option_name, command.name or "", known)) is not None:
                error = click.UsageError(f"{error.message} {answer}", error.ctx)
        with suppress(OSError):
            error.show()
        code = 64
    except (click.Abort, KeyboardInterrupt):
        code = 75
    except RunnerError as error:
        show_error(error)
        code = error.exit_code
    except Exception:  # noqa: BLE001 - any other exception is a bug in the program, and has an exit code of its own
        import traceback  # noqa: PLC0415 - needed here only

        with suppress(OSError):
            traceback.print_exc()
            click.echo(
                "runner: this is a bug in runner. All purchases are recorded; run the same command again to continue.",
                err=True,
            )
        code = 70
    return code if isinstance(code, int) else 0


def _open_standard_streams() -> None:
    """Open the null device in place of each closed standard stream, for example after ``2>&-``.

    Otherwise the results log would get the number of standard error, and messages would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
