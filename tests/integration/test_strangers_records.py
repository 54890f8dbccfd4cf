"""Owed purchases in a results manifest from elsewhere: only the API that the user names is asked, with the token."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import pytest
from support.harness import Service

from runner.core.models import Output, Record, State
from runner.ledger.records import encode

pytestmark = pytest.mark.anyio


def owed(job_id: str, api: str, *urls: str, **more: Any) -> Record:
    """A request that somebody says was bought; with addresses it is complete."""
    fields: dict[str, Any] = {"at": "2026-11-22T01:02:03.456Z", "model": "a/b", "inputs": {}, "fingerprint": "f"}
    fields |= {"manifest": "-", "file": job_id, "request_id": f"r-{job_id}", "submitted_at": fields["at"]}
    state = State.GENERATED if urls else State.SUBMITTED
    outputs = tuple(Output(url=url) for url in urls)
    return Record(id=job_id, purchase=1, state=state, api=api, outputs=outputs, **{**fields, **more})


def save(service: Service, *records: Record) -> None:
    service.output.mkdir(parents=True)
    (service.output / "results.jsonl").write_bytes(b"".join(map(encode, records)))


async def test_an_api_that_only_a_record_names_hears_nothing(make_service: Any) -> None:
    """Neither a question nor the token goes there, and its purchases stay as they are."""
    mine, theirs = await make_service("mine"), await make_service("theirs")
    records = [owed("a", theirs.emulator.base), owed("b", "https://evil.example/v1", f"{theirs.emulator.base}/x.png")]
    save(mine, *records)
    report = await mine.collect()
    assert report.done == 0
    assert sum(theirs.emulator.stats["calls"].values()) == 0
    assert [record for record in mine.lines() if record.state in (State.SUBMITTED, State.GENERATED)] == records


ELSEWHERE = {
    "another port of this machine": "http://127.0.0.1:{port}/x.png",
    "by https": "https://127.0.0.1:{port}/x.png",
    "by name": "https://localhost:{port}/x.png",
    "in six parts": "https://[::ffff:127.0.0.1]:{port}/x.png",
    "with a name before it": "http://a.runcomfy.net@127.0.0.1:{port}/x.png",
    "a file": "file:///etc/passwd",
    "nothing": "x",
    "half an address": "http://[::1",
}


@pytest.mark.parametrize("url", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_what_a_record_trusts_does_not_open_this_machine(service: Service, url: str) -> None:
    """A record may name hosts to trust, as collecting needs no manifest; private addresses stay closed all the same."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        address = url.format(port=listening.getsockname()[1])
        trusted = ("127.0.0.1", "localhost", "::ffff:127.0.0.1", "*", "", "[", "\0")
        save(service, owed("a", service.emulator.base, address, trusted_hosts=trusted, max_file_bytes=2**62))
        await service.collect()
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert service.record().owed
    assert service.files() == []


async def test_a_request_of_a_record_brings_no_file_out_of_the_folder(service: Service) -> None:
    """The paths are those of the record, which was checked when it was read; the bytes are the API's."""
    await service.run()
    bought = service.record()
    stranger = msgspec.structs.replace(bought, state=State.SUBMITTED, outputs=(), file="x/../../y")
    (service.output / "results.jsonl").write_bytes(encode(stranger))
    with pytest.raises(Exception, match="leaves the output folder"):
        await service.collect()
    assert not (service.folder / "y.png").exists()
