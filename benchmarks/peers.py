"""What people use today, each sending the same bodies to the same server: rows a second.

A peer that is not installed is left out, and the table says so. `make bench-peers` installs what it can.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import ROOT, child, python
from benchmarks.sending import BLOCKS, FIRST_NUMBER

#: Where `make bench-peers` puts the vendor's command-line tool.
VENDOR_TOOL = ROOT / "build" / "peers" / "node_modules" / ".bin" / "bland"

_PATH = "/v1/sip/config"
_HEADERS = ("Content-Type: application/json", "Authorization: Bearer bench")


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to send many requests: `send` takes folder, base URL and connections, gives rows a second."""

    name: str
    is_here: bool
    send: Callable[[Path, str, int], float]


def _body(number: int) -> str:
    return json.dumps({"phone_number": f"+{number}", "direction": "outbound", **BLOCKS})


def curl(folder: Path, base_url: str, connections: int, count: int = 20_000) -> float:
    """`curl -Z`: one transfer a request, each with its own body, as an operator's script would make them."""
    path = folder / "curl.config"
    with path.open("w") as file:
        for number in range(FIRST_NUMBER, FIRST_NUMBER + count):
            if number > FIRST_NUMBER:
                file.write("next\n")
            quoted = _body(number).replace('"', '\\"')
            headers = "".join(f'header = "{header}"\n' for header in _HEADERS)
            file.write(
                f'url = "{base_url}{_PATH}"\nrequest = "PATCH"\n{headers}data = "{quoted}"\n'
                'output = "/dev/null"\n'
            )
    words = ["curl", "--silent", "-Z", "--parallel-immediate", "--parallel-max", str(connections)]
    return count / child([*words, "-K", str(path)]).wall_s


def _curl_words(folder: Path, base_url: str) -> str:
    (folder / "body.json").write_text(_body(FIRST_NUMBER))
    headers = " ".join(f"-H '{header}'" for header in _HEADERS)
    return f"curl --silent -X PATCH {headers} -d @{folder}/body.json -o /dev/null {base_url}{_PATH}"


def xargs(folder: Path, base_url: str, connections: int, count: int = 600) -> float:
    """`xargs -P curl`: a process a request."""
    command = f"seq {count} | xargs -P {connections} -n 1 -I N {_curl_words(folder, base_url)}"
    return count / child(["sh", "-c", command]).wall_s


def parallel(folder: Path, base_url: str, connections: int, count: int = 400) -> float:
    """GNU parallel with curl: a process a request, and a job log."""
    words = _curl_words(folder, base_url)
    job = f"parallel --will-cite -j {connections} --joblog {folder}/joblog -N0 {json.dumps(words)}"
    return count / child(["sh", "-c", f"seq {count} | {job}"]).wall_s


def vendor(folder: Path, base_url: str, connections: int, count: int = 12) -> float:
    """The vendor's command-line tool in a loop, a request after the other: it takes one number a run."""
    del connections
    (folder / "codecs.json").write_text(json.dumps(BLOCKS["codec_config"]))
    words = (
        f"{VENDOR_TOOL} sip patch-config +{FIRST_NUMBER} --direction outbound --codecs @{folder}/codecs.json"
    )
    loop = f"for i in $(seq {count}); do {words} > {os.devnull} || exit 1; done"
    environ = f"BLAND_API_KEY=bench BLAND_BASE_URL={base_url}"
    return count / child(["sh", "-c", f"export {environ}; {loop}"]).wall_s


def requests_threads(folder: Path, base_url: str, connections: int, count: int = 3_000) -> float:
    """requests with a thread and a session for each connection, as a script would have it."""
    del folder
    return float(python("benchmarks.peers", base_url, connections, count).stdout)


def all_peers() -> list[Peer]:
    """Every peer, the fastest first."""
    try:
        import requests  # noqa: F401
    except ImportError:
        has_requests = False
    else:
        has_requests = True
    return [
        Peer("curl -Z", shutil.which("curl") is not None, curl),
        Peer("requests + threads", has_requests, requests_threads),
        Peer("xargs -P curl", shutil.which("xargs") is not None, xargs),
        Peer("GNU parallel + curl", shutil.which("parallel") is not None, parallel),
        Peer("the vendor's tool in a loop", VENDOR_TOOL.exists(), vendor),
    ]


def _threads(base_url: str, connections: int, count: int) -> float:
    import threading
    import time

    import requests

    numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + count))
    lock = threading.Lock()

    def work() -> None:
        with requests.Session() as session:
            session.headers.update(dict(header.split(": ") for header in _HEADERS))
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                session.patch(base_url + _PATH, data=_body(number), timeout=30).raise_for_status()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    print(_threads(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
