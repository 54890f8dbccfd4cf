"""The real command, with less patience, names that lead where an attacker wants, and a note of how much it needed.

    python driver.py NOTE run batch.yaml …

``NOTE`` is a file that gets the most memory that the process ever had, in bytes. The bounds that are shortened here
are the same ones that a user has; a test of each has the rest.
"""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import Any

from runner.api import client
from runner.cli.main import main
from runner.core.http import AnswerTimeout
from runner.engine.steps import poll
from runner.files import body, download

client.SUBMIT_TIMEOUT = AnswerTimeout(8.0, whole=True)
client.ASK_TIMEOUT = AnswerTimeout(3.0, whole=True)
poll.GRACE_SECONDS = 1.0
download.READ_TIMEOUT = AnswerTimeout(3.0, whole=False)
body.SLOW_SECONDS = 1.5

NAMES = {
    "loopback.runcomfy.net": ["127.0.0.1"],
    "mapped.runcomfy.net": ["::ffff:127.0.0.1"],
    "inside.runcomfy.net": ["10.1.2.3", "192.168.1.1"],
    "metadata.runcomfy.net": ["169.254.169.254"],
    "turning.runcomfy.net": ["127.0.0.2", "127.0.0.1"],
}
"""A name server in the hands of an attacker."""

really_look_up = socket.getaddrinfo


def look_up(host: Any, port: Any, *rest: Any, **named: Any) -> list[Any]:
    """Nothing leaves this machine: a name that is not one of ours does not exist."""
    if host in NAMES:
        NAMES[host] = NAMES[host][1:] + NAMES[host][:1]  # another one first the next time
        return [(_family(each), socket.SOCK_STREAM, 6, "", (each, port)) for each in NAMES[host]]
    if re.fullmatch(r"[\d.]+|[\da-f:]*:[\da-f:.]*|localhost", str(host)):
        return really_look_up(host, port, *rest, **named)
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def peak_bytes() -> int:
    """The most memory that this program had; what its parent had before it was started does not count."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    socket.getaddrinfo = look_up
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # its loop asks the system for names, and not Python
    note = Path(sys.argv[1])
    sys.argv = ["runner", *sys.argv[2:]]
    code = main()
    note.write_text(str(peak_bytes()))
    sys.exit(code)
