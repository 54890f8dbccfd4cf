"""Help text of a command: options in groups, and the page of the manual."""

from __future__ import annotations

from typing import Any

import click

FEW = 8
"""Number of options up to which a command has one list of options."""

GROUPS = {
    "Where": ("--emulator", "--output", "--api", "--same-api-as", "--offline", "--concurrency", "--cluster"),
    "Choosing": ("--only", "--only-from", "--failed", "--limit", "--shard", "--redo", "--missing", "--all", "--gone"),
    "Money": ("--budget", "--buy", "--until", "--for", "--on-unknown", "--yes"),
    "Decisions": ("--adopt", "--lost", "--rebuy", "--accept", "--repair", "--repair-log"),
    "Page": ("--thumbnails", "--contact-sheet", "--share", "--with-prompts"),
    "Service": ("--port", "--workers", "--seconds", "--spread", "--seed", "--token", "--balance", "--state"),
    "Faults": ("--fault", "--faults", "--max-in-flight", "--not-found-seconds", "--unfinished-status"),
    "Answers": (
        "--sizes",
        "--picture",
        "--cost",
        "--charge-failed",
        "--no-length",
        "--octet-stream",
        "--no-queue-position",
    ),
    "Output": (
        *("--sample", "--jobs", "--watch", "--to", "--format", "--bom", "--selection", "--feed"),
        *("--json", "--quiet", "--verbose", "--log-format", "--on-finish", "--help"),
    ),
}
"""Headings of the help, in their order, and the options under each. An option has the same heading in every command."""


class Command(click.Command):
    """Command whose help groups its options and ends with the page of the manual that explains the command."""

    def __init__(self, *arguments: Any, page: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.page = page

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options: in one list if they are few, else a list for each heading."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        rows = {option.opts[-1]: option.get_help_record(ctx) or ("", "") for option in options}
        if len(rows) <= FEW + 1:  # with --help
            super().format_options(ctx, formatter)
            return
        width = max(len(name) for name, _ in rows.values())
        formatter.write_paragraph()
        for heading, names in GROUPS.items():
            found = [(rows[name][0].ljust(width), rows[name][1]) for name in names if name in rows]
            if found:
                formatter.write_heading(heading)
                with formatter.indentation():
                    formatter.write_dl(found)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the page of the manual."""
        super().format_epilog(ctx, formatter)
        formatter.write(f"Manual: runner guide {self.page}\n")
