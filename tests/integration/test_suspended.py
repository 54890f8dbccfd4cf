"""A process that stands still while its answer comes: real processes, real signals, a short timeout."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.sampling import sampled

from runner.ledger.records import decode

TIMEOUT_SECONDS = 2.0
CHILD = f"""
import sys
from runner.api import client
from runner.core import running_time
from runner.core.http import AnswerTimeout
running_time.STEP_SECONDS = 100.0  # the standstill comes in the last step
client.SUBMIT_TIMEOUT = AnswerTimeout({TIMEOUT_SECONDS}, whole=True)
from runner.__main__ import main
sys.argv[0] = "runner"
main()
"""
MANIFEST = "model: blackforestlabs/flux-2-klein/4b/text-to-image\njobs: [{id: a, prompt: a mug}]\n"


def receive(connection: socket.socket) -> bytes:
    """One request: its head and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
@sampled("pieces", [pytest.param(1, id="whole answer"), pytest.param(2, id="answer in two pieces")], quick=1)
def test_what_came_while_the_process_stood_still_is_read(tmp_path: Path, pieces: int) -> None:
    """Stopped after its submission left, for longer than it would wait for an answer: the answer is read."""
    manifest = tmp_path / "batch.yaml"
    manifest.write_text(MANIFEST)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        base = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        environ = {**os.environ, "RUNCOMFY_MODEL_API_BASE": base, "RUNCOMFY_TOKEN": "test-token"}
        command = [sys.executable, "-c", CHILD, "run", str(manifest), "--output", str(tmp_path / "out"), "--offline"]
        child = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
        try:
            connection, _ = server.accept()
            with connection:
                assert receive(connection).startswith(b"POST ")
                child.send_signal(signal.SIGSTOP)
                body = json.dumps({"request_id": "req-1"}).encode()
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                half = len(answer) // pieces
                connection.sendall(answer[:half])
                time.sleep(1.25 * TIMEOUT_SECONDS)
                child.send_signal(signal.SIGCONT)
                connection.sendall(answer[half:])
                last = _last_record(tmp_path / "out" / "results.jsonl", {"submitted", "unknown"})
        finally:
            child.kill()
            child.wait()
    assert (last.state, last.request_id) == ("submitted", "req-1")


def _last_record(path: Path, states: set[str]):
    """The last record once it is in one of ``states``."""
    for _ in range(600):
        lines = path.read_bytes().splitlines() if path.exists() else []
        if lines and decode(lines[-1]).state in states:
            break
        time.sleep(0.1)
    return decode(lines[-1])
