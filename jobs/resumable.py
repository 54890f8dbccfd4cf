"""Resumable rerun: the same run again until nothing is left to do. Kill it whenever you like and start it anew.

    python jobs/resumable.py jobs/demo.yaml --emulator      (a number after the manifest: seconds between two runs)

Going on needs no code of its own: what is paid for is fetched first, what is done is skipped, what may have been bought
is never bought again unasked. Only the codes that mean "again" are repeated here; the others need a person.
"""

import asyncio
import sys
from pathlib import Path

import runner

AGAIN = (69, 75)  # the API is unavailable; work is left: owed, interrupted, locked
TRIES = 5
PAUSE_SECONDS = 30.0


async def once(path: Path, *, emulator: bool) -> int:
    """One run from beginning to end; what concerns it as a whole is an exception with the same exit codes."""
    try:
        report = await runner.run(runner.load(path), runner.RunOptions(emulator=emulator))
    except runner.RunnerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{report.done} done, {report.skipped} before, {report.owed} owed, {report.left} left: {report.results}")
    if report.unknown:
        print(f"{report.unknown} may have been bought: settle them with `runner reconcile {path}`", file=sys.stderr)
    return report.exit_code


async def main(path: Path, *, emulator: bool, pause_seconds: float) -> int:
    code = await once(path, emulator=emulator)
    for again in range(2, TRIES + 1):
        if code not in AGAIN:
            break
        await asyncio.sleep(pause_seconds)
        print(f"run {again} of at most {TRIES}")
        code = await once(path, emulator=emulator)
    return code


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    manifest = Path(words[0]) if words else Path(__file__).with_name("demo.yaml")
    pause = float(words[1]) if len(words) > 1 else PAUSE_SECONDS
    sys.exit(asyncio.run(main(manifest, emulator="--emulator" in sys.argv, pause_seconds=pause)))
