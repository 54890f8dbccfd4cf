"""Command line: the table of commands, and the exit code for every way that a command can end.

The module of a command is imported when the command is called. ``runner --help`` therefore starts fast.
"""

from __future__ import annotations

import gc
from importlib import import_module

import click

from runner import __version__
from runner.cli.console import show_error
from runner.core.errors import RunnerError

COMMANDS = {
    "init": "Write a commented manifest to start from, which runs as it is.",
    "run": "Submit a manifest's jobs, collect and deliver them; go on where the last run ended.",
    "plan": "Say what a run would do, job by job if asked; submit nothing.",
    "status": "Say where a batch stands: during a run, after it, after a crash.",
    "export": "Write the receipts as CSV or JSON: a row per file, with what it cost.",
    "collect": "Bring home what is paid for and not delivered; buy nothing.",
    "verify": "Hold every file against its record; put right what can be had without buying.",
    "reconcile": "List what may have been bought or cannot be had, and settle it by your word.",
    "cancel": "Call off what still waits at the API; what cannot be called off is collected later.",
    "merge": "Make one results manifest again of those of all shards.",
    "report": "Write one page with the pictures, the failures, the timings and the cost.",
    "models": "List the models of the catalogue, their prices and inputs.",
    "schema": "Print the JSON Schema of the manifest, for completion and checks in editors.",
    "guide": "Print a page of the manual, or list its topics.",
    "emulator": "Serve the Model API on this machine, with prices, pictures and faults on request.",
}


class Commands(click.Group):
    """Group of the commands in ``COMMANDS``; each module is imported when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"runner.cli.commands.{cmd_name}").command
        gc.freeze()  # a command's modules live until the end: exclude them from garbage collection
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


COMPLETION = """\b
Names of commands, options and files complete themselves after this line in ~/.bashrc (zsh_source, fish_source for
other shells):
  eval "$(_RUNNER_COMPLETE=bash_source runner)"
"""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=COMPLETION)
@click.version_option(__version__, prog_name="runner")
def cli() -> None:
    """Batch jobs for the RunComfy Model API: a YAML manifest in, images and a results manifest out.

    After the process dies for any reason, running the same command again loses nothing and buys nothing twice.

    \b
    Examples:
      runner init
      runner run jobs/demo.yaml --emulator
    """


def main() -> int:
    """Run the command line and return its exit code. Only a bug in the program prints a traceback."""
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = 64
    except (click.Abort, KeyboardInterrupt):
        code = 75
    except RunnerError as error:
        show_error(error)
        code = error.exit_code
    except Exception:  # noqa: BLE001 - any other exception is a bug in the program, and has an exit code of its own
        import traceback  # noqa: PLC0415 - needed here only

        traceback.print_exc()
        click.echo(
            "runner: a bug of runner's; what was bought is recorded, and the same command again goes on", err=True
        )
        code = 70
    return code if isinstance(code, int) else 0
