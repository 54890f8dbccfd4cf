"""Connections that a server or a proxy has spoilt, in whole runs."""

from __future__ import annotations

import asyncio
import gzip
from hashlib import sha256

import aiohttp
import pytest
from support.harness import plain
from support.virtual_time import LoopClock

from runner.core import proxies
from runner.core.errors import UsageError
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.emulator.faults import FORMS
from runner.engine import operations
from runner.engine.stop import Stop

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("operation", ["submit", "result", "file"])
async def test_a_second_answer_that_nobody_asked_for_is_nobodys(service, operation):
    """Each answer comes once more, a moment later: every job gets its own request and its own picture."""
    service.fault(InjectedFault(on=operation, kind="twice", seconds=0.01))
    report = await service.run(service.manifest(*plain(8), concurrency=2))
    assert (report.done, report.exit_code, service.submissions) == (8, 0, 8)
    service.fault()
    async with aiohttp.ClientSession() as client:
        for name in "abcdefgh":
            (output,) = service.record(name).outputs
            async with client.get(output.url) as response:
                assert sha256(await response.read()).hexdigest() == output.sha256
    assert len({service.record(name).request_id for name in "abcdefgh"}) == 8


@pytest.mark.parametrize("operation", ["submit", "result", "status"])
@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_in_an_odd_form_is_read(service, form, operation):
    """Compressed, with a BOM, a NaN, a long header, a wrong length: the id and the links in it are worth money."""
    hidden = [InjectedFault(on="result", kind="status", status=425, times=1)] if operation == "status" else []
    service.fault(*hidden, InjectedFault(on=operation, kind="form", text=form))
    report = await service.run(service.manifest(*plain(1), timeout="1m"))
    assert (report.done, report.exit_code, service.submissions) == (1, 0, 1)
    assert service.emulator.stats["faults"]["form"] >= 1


async def test_a_refusal_that_a_gateway_compressed_is_a_refusal(service):
    """The whole of it came, and it is the API's own JSON: the job failed, and is not in doubt."""
    plain_refusal = b'{"error_code": 400123, "error_message": "no"}'

    async def refuse(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        body = gzip.compress(plain_refusal)
        lines = b"HTTP/1.1 400 Bad Request", b"Content-Encoding: gzip", b"Content-Length: %d" % len(body)
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        environ = {**service.environ, "RUNCOMFY_MODEL_API_BASE": base}
        options = operations.RunOptions(offline=True)
        report = await operations.run(service.manifest(*plain(1)), options, clock=LoopClock(), environ=environ)
    assert (report.failed, report.unknown) == (1, 0)


@pytest.fixture
def behind_a_proxy(service, monkeypatch):
    """Run ``service``'s jobs at an API behind a proxy on that port."""
    proxies._proxy_for_origin.cache_clear()

    async def run(port, *jobs, scheme="http", **options):
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{port}")
        environ = {**service.environ, "RUNCOMFY_MODEL_API_BASE": "https://api.example.test/v1"}
        return await operations.run(
            service.manifest(*jobs), operations.RunOptions(offline=True), clock=LoopClock(), environ=environ, **options
        )

    yield run
    proxies._proxy_for_origin.cache_clear()


async def test_a_proxy_that_hangs_up_is_a_pause_and_no_purchase_in_doubt(service, behind_a_proxy, caplog):
    """Nothing was sent: the jobs are released, all lanes pause, the proxy is named, and after 15 minutes exit 69."""
    asked = 0

    async def hang_up(reader, writer):
        nonlocal asked
        asked += 1
        await reader.read(4096)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        report = await behind_a_proxy(port, *plain(4))
    assert (report.exit_code, report.left, report.unknown) == (69, 4, 0)
    assert {service.record(name).state for name in "abcd" if service.purchases(name)} == {State.RELEASED}
    assert f"the proxy http://127.0.0.1:{port}" in report.stopped.reason
    assert any(f"the proxy http://127.0.0.1:{port}" in text for text in caplog.messages)
    assert asked < 100


async def test_a_run_that_ends_while_a_proxy_says_nothing_leaves_nothing_in_doubt(service, behind_a_proxy):
    """The grace period is over before there was a connection: released, and exit 75."""

    async def say_nothing(reader, writer):
        await reader.read()
        writer.close()

    stop = Stop()
    asyncio.get_running_loop().call_later(5.0, stop.interrupt, "interrupted by SIGTERM")
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        report = await behind_a_proxy(server.sockets[0].getsockname()[1], *plain(2), stop=stop)
    assert (report.exit_code, report.left, report.unknown) == (75, 2, 0)
    assert {service.record(name).state for name in "ab"} == {State.RELEASED}


async def test_a_socks_proxy_without_its_extra_ends_a_run_before_anything_is_bought(
    service, behind_a_proxy, monkeypatch
):
    """Refused by name, exit 64: no intent is written."""
    monkeypatch.setattr(proxies, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"socks5://127\.0\.0\.1:9 .*runcomfy-runner\[socks\]"):
        await behind_a_proxy(9, *plain(1), scheme="socks5")
    assert service.lines() == []
