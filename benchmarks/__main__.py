"""`make bench`: measures on the machine it is on, and prints each figure beside its peer's.

Figures and their peers are taken in turn, round by round, and what counts are their ratios: how fast a
machine is today is in both. `--rounds N` (default 3), `--quick` for a tenth of the rows, `--only NAME`
(repeatable) for some of the parts, `--json FILE` for the figures, `--compare FILE` to print what changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import planning, reporting, resuming, running
from benchmarks.budget import budget
from benchmarks.measuring import Row, child, load_server, python, seen, table, write_json
from benchmarks.peers import all_peers

_ROWS = 20_000
_FAST_PEER = "curl -Z"
#: A load server that answers less than this many times what the fastest client sends measures itself.
_HEADROOM = 1.5


def _sent(
    what: str,
    base_url: str,
    connections: int,
    *,
    count: int = _ROWS,
    rate: str = "1000000/s",
    by: str = "direct",
) -> dict[str, float]:
    done = python("benchmarks.sending", what, base_url, count, connections, rate, by)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def throughput(rounds: int, folder: Path) -> list[Row]:
    """Durable rows a second against an instant server, beside the same client's bare loop and `curl -Z`."""
    curl = next(peer for peer in all_peers() if peer.name == _FAST_PEER)
    rows = []
    for connections in (16, 64, 256):
        name = f"durable rows/s, {connections} connections, instant server"
        is_goal = connections == 64
        beside_curl = Row(name, "≥ 0.25, then 1" if is_goal else "", unit="/s", peer_name=curl.name)
        beside_loop = Row(
            "… beside its transport's bare loop",
            "≥ 0.8, then 0.9" if is_goal else "",
            unit="/s",
            peer_name="bare loop",
        )
        cpu = Row("… CPU a row", "", unit=" µs", peer_name="bare loop")
        by_client = Row(
            "… over httpx, beside httpx's client in a bare loop",
            "≥ 0.8, then 0.9" if is_goal else "",
            unit="/s",
            peer_name="httpx.AsyncClient",
        )
        httpx = Row(
            "… over httpx, beside that transport's bare loop",
            "≥ 0.8, then 0.9" if is_goal else "",
            unit="/s",
            peer_name="bare loop",
        )
        most = Row("… what the load server can answer", "", unit="/s", peer_name="the fastest of these")
        with load_server() as base_url:
            for _ in range(rounds):
                ours, loop = (_sent(what, base_url, connections) for what in ("engine", "loop"))
                by_httpx, httpx_loop = (
                    _sent(what, base_url, connections, by="httpx") for what in ("engine", "loop")
                )
                blast = json.loads(python("benchmarks.load_client", base_url, 2 * _ROWS, connections).stdout)
                beside_curl.ours.append(ours["rows_per_s"])
                by_client.ours.append(by_httpx["rows_per_s"])
                by_client.peers.append(_sent("client", base_url, connections)["rows_per_s"])
                beside_curl.peers.append(curl.send(folder, base_url, connections))
                beside_loop.ours.append(ours["rows_per_s"])
                beside_loop.peers.append(loop["rows_per_s"])
                cpu.ours.append(ours["cpu_us"])
                cpu.peers.append(loop["cpu_us"])
                httpx.ours.append(by_httpx["rows_per_s"])
                httpx.peers.append(httpx_loop["rows_per_s"])
                most.ours.append(blast["rows_per_s"])
                most.peers.append(max(loop["rows_per_s"], beside_curl.peers[-1]))
        if statistics.median(most.ratios) < _HEADROOM:
            most.note = "TOO SLOW: these figures are the server's"
        rows += [beside_curl, beside_loop, cpu, by_client, httpx, most]
    return rows


def others(rounds: int, folder: Path) -> list[Row]:
    """The same against everything else that people use, at 64 connections, without and with a delay."""
    rows = []
    for delay_ms, server in ((0, "instant server"), (50, "50-ms server")):
        with load_server(delay_ms) as base_url:
            for peer in all_peers():
                row = Row(f"durable rows/s, 64 connections, {server}", "", unit="/s", peer_name=peer.name)
                rows.append(row)
                if not peer.is_here:
                    row.note = "not installed"
                    continue
                for _ in range(rounds):
                    row.ours.append(_sent("engine", base_url, 64, count=_ROWS // 2)["rows_per_s"])
                    row.peers.append(peer.send(folder, base_url, 64))
    return rows


def latency(rounds: int, folder: Path) -> list[Row]:
    """The share of what so many connections can do against a server that takes 50 ms.

    Once of a whole run, with its beginning and its end, and once from the first request to the last, by the
    server's account.
    """
    del folder
    rows = []
    for connections, goal in ((16, ""), (64, "≥ 0.9"), (256, "then ≥ 0.95")):
        row = Row(
            f"50-ms server, {connections} connections", goal, unit="/s", peer_name="connections ÷ 50 ms"
        )
        sending = Row("… while it sends", "", unit="/s", peer_name=row.peer_name)
        with load_server(50) as base_url:
            for _ in range(rounds):
                count = connections * 100
                row.ours.append(_sent("engine", base_url, connections, count=count)["rows_per_s"])
                times = seen(base_url)
                sending.ours.append((len(times) - 1) / (times[-1] - times[0]))
                for one in (row, sending):
                    one.peers.append(connections / 0.05)
        rows += [row, sending]
    return rows


def pacing(rounds: int, folder: Path) -> list[Row]:
    """Mean rate and the worst one-second window, as the server saw them."""
    del folder
    rows = []
    for rate in (50, 200, 1000):
        mean = Row(f"pacing at {rate}/s, mean", "≥ 0.97, then 0.99", unit="/s", peer_name="asked")
        worst = Row(f"pacing at {rate}/s, worst second", "≤ 1", unit="", peer_name="asked")
        with load_server() as base_url:
            for _ in range(rounds):
                _sent("engine", base_url, 64, count=rate * 6, rate=f"{rate}/s")
                times = seen(base_url)
                mean.ours.append((len(times) - 1) / (times[-1] - times[0]))
                mean.peers.append(float(rate))
                worst.ours.append(float(_most_in_a_second(times)))
                worst.peers.append(float(rate))
        rows += [mean, worst]
    return rows


def _most_in_a_second(times: list[float]) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def startup(rounds: int, folder: Path) -> list[Row]:
    """CPU of `sipbatch --version`, beside a Python that does nothing."""
    del folder
    row = Row("sipbatch --version, CPU", "≤ 0.25 s, then 0.12", unit=" s", peer_name="python -c pass")
    for _ in range(max(5, rounds)):
        row.ours.append(python("batch", "--version").cpu_s)
        row.peers.append(child([sys.executable, "-c", "pass"]).cpu_s)
    return [row]


def _parts(tenth: int) -> dict[str, Callable[[int, Path], list[Row]]]:
    """Every part by its name; `tenth` is 10 where a tenth of the rows is to do."""
    million = 1_000_000 // tenth
    return {
        "throughput": throughput,
        "others": others,
        "latency": latency,
        "pacing": pacing,
        "plan": partial(planning.plans, count=million),
        "workbook": partial(planning.workbooks, count=200_000 // tenth),
        "run": partial(running.runs, count=million),
        "resume": partial(resuming.resumes, count=million),
        "report": partial(reporting.reports, count=million),
        "startup": startup,
        "budget": partial(budget, count=100_000 // tenth),
    }


def _compare(rows: list[Row], before: Path) -> str:
    old = {(row["name"], row["peer"]): row for row in json.loads(before.read_text())}
    lines = [f"Beside {before}: what it is, of what it was, by itself and beside its peer"]
    for row in rows:
        was = old.get((row.name, row.peer_name))
        if was and was["ours"] and row.ours:
            ratio = statistics.median(row.ours) / statistics.median(was["ours"])
            beside = (
                f", {statistics.median(row.ratios) / was['ratio']:.2f}" if row.peers and was["ratio"] else ""
            )
            lines.append(f"{row.name} ({row.peer_name}): {ratio:.2f}{beside}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=list(_parts(1)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--compare", type=Path)
    given = parser.parse_args()
    parts = _parts(10 if given.quick else 1)
    rows: list[Row] = []
    folder = Path(tempfile.mkdtemp(prefix="sipbatch-bench-"))
    try:
        for name in given.only or parts:
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows += parts[name](given.rounds, folder)
    finally:
        shutil.rmtree(folder)
    print(table(rows))
    if given.json:
        write_json(rows, given.json)
    if given.compare:
        print(_compare(rows, given.compare))


if __name__ == "__main__":
    main()
