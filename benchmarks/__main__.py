"""`make bench`: measures on the machine it is on, and prints each figure beside its peer's.

`--rounds N` interleaved rounds (default 3), `--full` for the sizes of a million rows, `--json FILE` for the
figures, `--compare FILE` to print what changed since another run's figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import urllib.request
from pathlib import Path

from benchmarks import planning, reporting, resuming
from benchmarks.measuring import Row, child, load_server, python, table, write_json
from benchmarks.sending import BLOCKS, FIRST_NUMBER

_CURL_ROWS = 20_000
_XARGS_ROWS = 600


def _curl_config(folder: Path, base_url: str, count: int) -> Path:
    """One transfer a request, each with its own body, as an operator's script would make them."""
    path = folder / "curl.config"
    url = f"{base_url}/v1/sip/config"
    with path.open("w") as file:
        for number in range(FIRST_NUMBER, FIRST_NUMBER + count):
            if number > FIRST_NUMBER:
                file.write("next\n")
            body = json.dumps({"phone_number": f"+{number}", "direction": "outbound", **BLOCKS})
            quoted = body.replace('"', '\\"')
            file.write(
                f'url = "{url}"\nrequest = "PATCH"\nheader = "Content-Type: application/json"\n'
                f'header = "Authorization: Bearer bench"\ndata = "{quoted}"\noutput = "/dev/null"\n'
            )
    return path


def _curl(folder: Path, base_url: str, connections: int) -> float:
    config = _curl_config(folder, base_url, _CURL_ROWS)
    took = child(
        [
            "curl",
            "--silent",
            "-Z",
            "--parallel-max",
            str(connections),
            "--parallel-immediate",
            "-K",
            str(config),
        ]
    )
    return _CURL_ROWS / took.wall_s


def _xargs(folder: Path, base_url: str, connections: int) -> float:
    body = json.dumps({"phone_number": f"+{FIRST_NUMBER}", "direction": "outbound", **BLOCKS})
    (folder / "body.json").write_text(body)
    command = (
        f"seq {_XARGS_ROWS} | xargs -P {connections} -n 1 -I N curl --silent -X PATCH "
        f"-H 'Content-Type: application/json' -H 'Authorization: Bearer bench' "
        f"-d @{folder}/body.json -o /dev/null {base_url}/v1/sip/config"
    )
    return _XARGS_ROWS / child(["sh", "-c", command]).wall_s


def _sent(
    what: str, base_url: str, count: int, connections: int, rate: str = "1000000/s"
) -> dict[str, float]:
    figures: dict[str, float] = json.loads(
        python("benchmarks.sending", what, base_url, count, connections, rate).stdout
    )
    return figures


def throughput(rounds: int, folder: Path) -> list[Row]:
    """Durable rows a second against an instant server, beside what people use."""
    rows = []
    for connections in (16, 64, 256):
        name = f"durable rows/s, {connections} connections, instant server"
        goal = "≥ 0.25" if connections == 64 else ""
        curl = Row(name, goal, unit="/s", peer_name="curl -Z")
        bare = Row("… beside the same client's bare loop", "≥ 0.8", unit="/s", peer_name="bare loop")
        cpu = Row("… CPU a row", "", unit=" µs", peer_name="bare loop")
        xargs = Row("… beside xargs -P curl", "", unit="/s", peer_name="xargs -P curl")
        with load_server() as base_url:
            for _ in range(rounds):
                ours = _sent("engine", base_url, 20_000, connections)
                loop = _sent("loop", base_url, 20_000, connections)
                for row in (curl, bare, xargs):
                    row.ours.append(ours["rows_per_s"])
                cpu.ours.append(ours["cpu_us"])
                cpu.peers.append(loop["cpu_us"])
                bare.peers.append(loop["rows_per_s"])
                curl.peers.append(_curl(folder, base_url, connections))
                if connections == 64:
                    xargs.peers.append(_xargs(folder, base_url, connections))
        rows += [curl, bare, cpu, xargs] if connections == 64 else [curl, bare]
    return rows


def latency(rounds: int) -> list[Row]:
    """The share of what so many connections can do against a server that takes 50 ms."""
    rows = []
    for connections, goal in ((64, "≥ 0.9"), (256, "")):
        row = Row(
            f"50-ms server, {connections} connections", goal, unit="/s", peer_name="connections ÷ 50 ms"
        )
        with load_server(50) as base_url:
            for _ in range(rounds):
                row.ours.append(_sent("engine", base_url, connections * 100, connections)["rows_per_s"])
                row.peers.append(connections / 0.05)
        rows.append(row)
    return rows


def pacing() -> list[Row]:
    """Mean rate and the worst one-second window, as the server saw them."""
    rows = []
    for rate in (50, 200, 1000):
        mean = Row(f"pacing at {rate}/s, mean", "≥ 0.97", unit="/s", peer_name="asked")
        worst = Row(f"pacing at {rate}/s, worst second", "≤ 1", unit="", peer_name="asked")
        with load_server() as base_url:
            _sent("engine", base_url, rate * 6, 64, f"{rate}/s")
            with urllib.request.urlopen(f"{base_url}/seen") as answer:
                seen: list[float] = sorted(json.load(answer))
        mean.ours.append((len(seen) - 1) / (seen[-1] - seen[0]))
        mean.peers.append(float(rate))
        worst.ours.append(float(_most_in_a_second(seen)))
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


def startup(rounds: int) -> list[Row]:
    """CPU of `sipbatch --version`, beside a Python that does nothing."""
    row = Row("sipbatch --version, CPU", "≤ 0.25 s", unit=" s", peer_name="python -c pass")
    for _ in range(max(5, rounds)):
        row.ours.append(python("batch", "--version").cpu_s)
        row.peers.append(child([sys.executable, "-c", "pass"]).cpu_s)
    return [row]


def _compare(rows: list[Row], before: Path) -> str:
    old = {row["name"]: row for row in json.loads(before.read_text())}
    lines = []
    for row in rows:
        was = old.get(row.name)
        if was and was["ours"] and row.ours:
            ratio = statistics.median(row.ours) / statistics.median(was["ours"])
            lines.append(f"{row.name}: {ratio:.2f} of what it was")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--compare", type=Path)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sipbatch-bench-"))
    try:
        rows = [
            *throughput(given.rounds, folder),
            *latency(given.rounds),
            *pacing(),
            *planning.plans(given.rounds, folder, full=given.full),
            *planning.workbooks(given.rounds, folder, full=given.full),
            *resuming.resumes(given.rounds, full=given.full),
            *reporting.reports(given.rounds, folder, full=given.full),
            *startup(given.rounds),
        ]
    finally:
        shutil.rmtree(folder)
    print(table(rows))
    if given.json:
        write_json(rows, given.json)
    if given.compare:
        print(_compare(rows, given.compare))


if __name__ == "__main__":
    main()
