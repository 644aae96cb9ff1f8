"""Sends N requests and prints JSON: a whole run, its transport alone, or httpx's own client.

`engine` has journal and pacer; `loop` is its transport in a bare loop, `client` httpx's own client in one.

`python -m benchmarks.sending engine|loop|client BASE_URL N CONNECTIONS [RATE [direct|httpx]]`
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import cast

import anyio
import httpx
import numpy as np
from httpx_aiohttp import AiohttpTransport

from batch.bland.api import BlandTarget
from batch.bland.credentials import ApiKey
from batch.clock import real_clock
from batch.destinations import Carrier
from batch.engine.blocking import OwnThread
from batch.engine.pacer import parse_rates
from batch.journal.protocol import NewRun
from batch.journal.sqlite import SqliteJournal
from batch.plans import Payload, Plan, SheetPin, plan_digest
from batch.runner import RunOptions, run
from batch.target import Verdict

BLOCKS: dict[str, object] = {
    "failover_config": {
        "enabled": True,
        "endpoints": [
            {"host": "backup1.sip.provider.com", "port": 5061, "transport": "tls", "priority": 1},
            {"host": "backup2.sip.provider.com", "port": 5061, "transport": "tls", "priority": 2},
        ],
        "triggers": ["unreachable", "timeout"],
        "failback": "auto",
    },
    "codec_config": {"codecs": ["PCMU", "PCMA", "Opus"], "transcode": True},
    "alert_config": {
        "enabled": True,
        "thresholds": {"unreachable_minutes": 5, "failure_rate_percent": 20},
        "channels": {"email": True, "sms": False, "webhook": "https://hooks.example.com/sip-alerts"},
    },
}
FIRST_NUMBER = 14_150_000_000
_KEY = ApiKey("bench", source="the bench")


def plan_of(count: int) -> Plan:
    """So many requests of one payload, numbered from +14150000000."""
    numbers = np.arange(FIRST_NUMBER, FIRST_NUMBER + count, dtype=np.int64)
    directions, zeros = np.ones(count, np.uint8), np.zeros(count, np.int32)
    payloads = (Payload.of(BLOCKS),)
    pin = SheetPin("bench.csv", "bench.csv", "", ("phone_number", "direction", "template"), 0, 1, 2, count)
    return Plan(
        sheets=(pin,),
        payloads=payloads,
        templates=("bench",),
        numbers=numbers,
        directions=directions,
        payload_ids=zeros,
        template_ids=zeros,
        sheet_ids=zeros,
        rows=np.arange(2, count + 2, dtype=np.int32),
        duplicate_of=np.full(count, -1, np.int64),
        note_ids=zeros,
        notes=("",),
        rejects=(),
        warnings=(),
        digest=plan_digest(numbers, directions, zeros, payloads),
    )


async def engine(base_url: str, count: int, connections: int, rate: str, transport: Carrier) -> float:
    """The whole run, durable; returns its seconds, planning and pinning left out."""
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        run_id = journal.create_run(plan_of(count), NewRun("bench", time.time()))
        options = RunOptions(rates=parse_rates(rate), concurrency=connections)
        async with BlandTarget(base_url, _KEY, connections=connections, transport=transport) as target:
            began = time.perf_counter()
            with OwnThread() as in_own_thread:
                ending = await run(
                    journal, run_id, target, options, clock=real_clock(), run_blocking=in_own_thread
                )
            took_s = time.perf_counter() - began
        journal.close()
        assert ending.counts.succeeded == count, ending
    return took_s


async def loop(base_url: str, count: int, connections: int, _rate: str, transport: Carrier) -> float:
    """The client alone, as fast as it goes: no journal, no pace, no retries."""
    body = Payload.of(BLOCKS).body
    numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + count))
    async with BlandTarget(base_url, _KEY, connections=connections, transport=transport) as target:

        async def work() -> None:
            for number in numbers:
                outcome = await target.send(f"+{number}", "outbound", body)
                assert outcome.verdict is Verdict.ACCEPTED, outcome

        began = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(connections):
                group.start_soon(work)
        return time.perf_counter() - began


async def client(base_url: str, count: int, connections: int, _rate: str, _transport: Carrier) -> float:
    """httpx's own client over the aiohttp transport, in a bare loop, as a script would have it."""
    body = Payload.of(BLOCKS).body
    numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + count))
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(transport=AiohttpTransport(limits=limits), headers=headers) as http:

        async def work() -> None:
            for number in numbers:
                content = b'{"phone_number":"+%d","direction":"outbound",%b' % (number, body[1:])
                (await http.patch(f"{base_url}/v1/sip/config", content=content)).raise_for_status()

        began = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(connections):
                group.start_soon(work)
        return time.perf_counter() - began


if __name__ == "__main__":
    what, base_url, count, connections = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    rate = sys.argv[5] if len(sys.argv) > 5 else "1000000/s"
    transport = cast(Carrier, sys.argv[6] if len(sys.argv) > 6 else "direct")
    work = {"engine": engine, "loop": loop, "client": client}[what]
    gc.freeze()  # as a run does it
    before = resource.getrusage(resource.RUSAGE_SELF)
    took_s = anyio.run(
        partial(work, base_url, count, connections, rate, transport), backend_options={"use_uvloop": True}
    )
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"rows_per_s": count / took_s, "cpu_us": 1e6 * cpu_s / count}))
