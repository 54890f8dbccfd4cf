"""What was accepted outlives the process that accepted it."""

import asyncio
import json
import sys

import aiohttp
import pytest

from runner.emulator import InjectedFault, serve

pytestmark = pytest.mark.anyio


async def test_a_later_process_goes_on(emulate, clock, tmp_path):
    """The same ids, work done in between, links to where it listens now, counts that include the past."""
    async with emulate(state=tmp_path, workers=1, seconds=10) as client:
        first, second, third = [await client.bought(f"prompt {n}", width=64, height=64) for n in range(3)]
        await client.cancel(second)
        before = client.emulator.origin
    clock.pass_by(12)
    async with emulate(state=tmp_path, workers=1, seconds=10) as client:
        result = (await client.result(first)).json
        assert result["finished_at"] == "2027-01-15T08:00:10.000Z"
        url = result["output"]["image"]
        assert url.startswith(client.emulator.origin)
        assert client.emulator.origin != before
        assert (await client.call("GET", url, headers={})).status == 200
        assert (await client.status(second)).json["status"] == "cancelled"
        assert (await client.status(third)).json["status"] == "in_progress"
        fourth = await client.bought("prompt 0", width=64, height=64)
        assert fourth not in {first, second, third}
        stats = client.emulator.stats
        assert (stats["submissions"], stats["accepted"], list(stats["duplicates"].values())) == (4, 4, [2])


async def test_an_accepted_request_is_on_disk_before_the_answer(emulate, tmp_path):
    """Even one whose answer was never sent: killing the process right now would not lose it."""
    async with emulate(state=tmp_path) as client:
        client.emulator.script("submit", InjectedFault(on="submit", kind="status", when="after"))
        assert (await client.submit("line one\nline two")).status == 503
        lines = (tmp_path / "requests.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["input"] == {"prompt": "line one\nline two"}


async def test_a_torn_last_line_is_cut(emulate, tmp_path):
    """At whatever byte it was torn; what comes after is whole again."""
    async with emulate(state=tmp_path) as client:
        kept = await client.bought("kept")
        torn = await client.bought("torn")
    path = tmp_path / "requests.jsonl"
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for end in (start, start + 1, (start + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        async with emulate(state=tmp_path) as client:
            assert (await client.status(kept)).status == 200
            assert (await client.status(torn)).status == 404
            new = await client.bought("new")
        async with emulate(state=tmp_path) as client:
            assert (await client.status(new)).status == 200
            assert client.emulator.stats["accepted"] == 2


async def test_damage_before_the_tail_is_refused(emulate, tmp_path):
    """By file and line, and without touching it."""
    path = tmp_path / "requests.jsonl"
    for damage in (b'{"event":\n', b"[]\n", b"{}\n", b'{"event":"cancelled","at":1,"request_id":"?"}\n'):
        path.write_bytes(b'{"event":"started","at":0,"workers":1}\n' + damage + b"{}\n")
        with pytest.raises(ValueError, match=r"requests\.jsonl:2|event 2"):
            async with emulate(state=tmp_path):
                pass
        assert path.read_bytes().endswith(damage + b"{}\n")


async def test_fates_are_kept(emulate, clock, tmp_path, fault):
    """A request doomed by one process fails in the next."""
    async with emulate(state=tmp_path, faults=(fault("job fail message=broken"),)) as client:
        request_id = await client.bought()
    clock.pass_by(1)
    async with emulate(state=tmp_path) as client:
        assert (await client.result(request_id)).json["error"]["message"] == "broken"


async def test_what_was_over_stays_over_with_fewer_workers(emulate, clock, tmp_path):
    """History is replayed with the workers it had; more or fewer count from the start on."""
    async with emulate(state=tmp_path, workers=5, seconds=10) as client:
        ids = [await client.bought(f"prompt {n}") for n in range(9)]
    clock.pass_by(10)
    async with emulate(state=tmp_path, workers=1, seconds=10) as client:
        states = [(await client.status(request_id)).json["status"] for request_id in ids]
        assert states == ["completed"] * 5 + ["in_progress"] * 4
        waiting = await client.bought("one more")
        assert (await client.status(waiting)).json["queue_position"] == 0
        clock.pass_by(10)
        assert (await client.status(waiting)).json["status"] == "in_progress"


async def test_without_a_folder_nothing_is_kept(emulate, tmp_path, monkeypatch):
    """An emulator in memory leaves no trace and knows nothing of earlier ones."""
    monkeypatch.chdir(tmp_path)
    async with emulate() as client:
        request_id = await client.bought()
    async with emulate() as client:
        assert (await client.status(request_id)).json["error_code"] == 404001
    assert list(tmp_path.iterdir()) == []


async def test_killing_the_process_loses_nothing(tmp_path):
    """SIGKILL right after the answer: the next process knows the request."""
    code = (
        "import asyncio, sys, pathlib; from runner.emulator import serve\n"
        "async def main():\n"
        "    async with serve(state=pathlib.Path(sys.argv[1])) as emulator:\n"
        "        print(emulator.base, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    base = (await process.stdout.readline()).decode().strip()
    headers = {"Authorization": "Bearer token"}
    model = "blackforestlabs/flux-2-klein/4b/text-to-image"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{base}/models/{model}", json={"prompt": "a fox"}) as response:
            request_id = (await response.json())["request_id"]
        process.kill()
        await process.communicate()
    async with serve(state=tmp_path) as emulator:
        assert [row["request_id"] for row in emulator.requests] == [request_id]
