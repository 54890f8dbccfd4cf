"""Nightly cron: bounded in money and time, one line of JSON a night, and gentle when the machine shuts down.

    15 2 * * *  cd /srv/shop && .venv/bin/python jobs/nightly.py >> /var/log/pictures.jsonl || mail-somebody $?

The exit code says what is left to do; the README lists them.
"""

import asyncio
import json
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

import runner

MANIFEST = Path(__file__).with_name("nightly.yaml")
HOURS = 4
DOLLARS = 5.00


async def night(*, emulator: bool) -> int:
    stop = runner.Stop()
    for number in (signal.SIGTERM, signal.SIGINT):  # buy nothing more, bring home what is paid for, then end
        asyncio.get_running_loop().add_signal_handler(number, stop.interrupt, f"interrupted by {number.name}")
    options = runner.RunOptions(
        emulator=emulator,
        budget=runner.Budget(usd=DOLLARS, per_day=True),  # days by the API's clock; open purchases count in full
        until=(datetime.now().astimezone() + timedelta(hours=HOURS)).timestamp(),
    )
    failures: list[dict[str, str]] = []

    def watch(record: runner.Record) -> None:
        if record.state is runner.State.FAILED and record.error is not None:
            failures.append({"id": record.id, "why": record.error.message})

    report = await runner.run(runner.load(MANIFEST), options, observer=watch, stop=stop)
    line = {**report.as_json(), "exit": report.exit_code, "failures": failures}
    if report.stopped is not None:
        line["stopped"] = report.stopped.reason
    print(json.dumps(line))
    return report.exit_code


def main() -> int:
    try:
        return asyncio.run(night(emulator="--emulator" in sys.argv[1:]))
    except runner.Locked:  # last night's run is still at it, and will end what it began
        return 0
    except runner.RunnerError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
