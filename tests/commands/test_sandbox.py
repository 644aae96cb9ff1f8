"""`sipbatch sandbox` as a process: what it prints, what it serves, how it ends, what it remembers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from batch.bland.guesses import GUESSES
from batch.cli import main

COMMAND = [sys.executable, "-m", "batch", "sandbox"]
BODY = {"phone_number": "+14150000000", "direction": "outbound", "codec_config": {"codecs": ["PCMU"]}}


class Running:
    """A sandbox in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.base_url = process.stdout.readline().strip()

    def call(self, method: str, path: str, body: object = None, key: str = "sandbox") -> tuple[int, Any]:
        """Status and JSON of one call."""
        request = Request(
            self.base_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def patch(self, **changes: object) -> int:
        return self.call("PATCH", "/v1/sip/config", {**BODY, **changes})[0]

    def stop(self, number: signal.Signals) -> tuple[int, str, str]:
        """Exit code, what was left of stdout, and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def running(*arguments: str | Path) -> Iterator[Running]:
    """A sandbox with these arguments, gone at the end however the test went."""
    words = [*COMMAND, *(str(word) for word in arguments)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """The URL alone is on stdout, how to use it on stderr; a signal ends it with a summary and exit 0."""
    with running() as sandbox:
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert sandbox.patch() == 200
        assert sandbox.patch(direction="inbound") == 200
        assert sandbox.patch(direction="sideways") == 400
        code, out, err = sandbox.stop(number)
    assert (code, out) == (0, "")
    assert f"export BLAND_BASE_URL={sandbox.base_url} BLAND_API_KEY=sandbox" in err
    assert f"{sandbox.base_url}/_sandbox" in err
    assert "guesses" in err
    assert "3 changes received, 2 applied, to 2 keys" in err
    assert "Answers: 2 × 200, 1 × 400." in err


def test_quiet_says_nothing() -> None:
    """With `--quiet` stderr is empty."""
    with running("--quiet") as sandbox:
        assert sandbox.patch() == 200
        assert sandbox.stop(signal.SIGTERM) == (0, "", "")


def test_its_options_reach_the_server(tmp_path: Path) -> None:
    """Key, numbers, limit, Retry-After, faults, forms and all else are in force."""
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("+14150000000 outbound\n")
    with running(
        "--key=sk-secret", "--numbers", numbers, "--limit=50/s, 600/m", "--retry-after=none", "--seed=9",
        "--latency=1ms..2ms", "--fault=503=2%", "--fault=403:SIP_NOT_ENABLED=0.5", "--fault-first=7",
        "--fault-after=3", "--fault-arrivals=2", "--success-form=bare", "--failure-form=5",
        "--show-blocks=options", "--merge-blocks", "--expire-key-after=8", "--limit-headers=x-ratelimit",
    ) as sandbox:  # fmt: skip
        assert sandbox.call("PATCH", "/v1/sip/config", BODY)[0] == 401
        assert sandbox.call("PATCH", "/v1/sip/config", BODY, key="sk-secret")[0] == 200
        status, told = sandbox.call(
            "PATCH", "/v1/sip/config", {**BODY, "direction": "inbound"}, key="sk-secret"
        )
        assert (status, told) == (404, {"error": "Phone number not found"})
        side = sandbox.call("GET", "/v1/sip?phone_number=%2B14150000000", key="sk-secret")[1]["data"][
            "outbound"
        ]
        assert side["options"] == {"codec_config": {"codecs": ["PCMU"]}}
        options = sandbox.call("GET", "/_sandbox")[1]["options"]
        _, _, err = sandbox.stop(signal.SIGTERM)
    assert options == {
        "key": "one",
        "numbers": 1,
        "limit": "50/s, 600/m",
        "retry_after": None,
        "limit_headers": "x-ratelimit",
        "seed": 9,
        "latency": "1ms..2ms",
        "faults": {"503": 0.02, "403:SIP_NOT_ENABLED": 0.5},
        "fault_first": 7,
        "fault_after": 3,
        "fault_arrivals": 2,
        "script": {},
        "success_form": "bare",
        "failure_form": "5",
        "numbers_form": "directions",
        "show_blocks": "options",
        "merge_blocks": True,
        "expire_key_after": 8,
        "drip_s": 0.05,
    }
    assert "sk-secret" not in err


def test_a_killed_sandbox_lost_nothing(tmp_path: Path) -> None:
    """After SIGKILL the record holds all that was answered, and the next sandbox goes on from it."""
    record = tmp_path / "record.jsonl"
    with running("--record", record) as sandbox:
        statuses = [sandbox.patch(phone_number=f"+1415555000{n}") for n in range(5)]
        sandbox.process.send_signal(signal.SIGKILL)
        sandbox.process.wait()
    assert statuses == [200] * 5
    with running("--record", record, "--port", sandbox.base_url.rpartition(":")[2]) as again:
        assert again.base_url == sandbox.base_url
        assert again.call("GET", "/_sandbox")[1]["applied"] == 5
        _, _, err = again.stop(signal.SIGTERM)
    assert f"From {record} it remembers what 5 keys got." in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--fault", "503"], 2, '"503" must be a fault and its probability'),
        (["--fault", "teapot=0.1"], 2, '"teapot" is no fault of the sandbox'),
        (["--fault", "503=0.9", "--fault", "hang=0.2"], 2, "add up to 1.1"),
        (["--limit", "fast"], 2, 'rate "fast" is not understood'),
        (["--latency", "soon"], 2, '"soon" is no latency'),
        (["--key", ""], 2, "key is empty"),
        (["--numbers", "nowhere.txt"], 65, "nowhere.txt: the file of numbers cannot be read"),
        (
            ["--record", "nowhere/record.jsonl"],
            74,
            "nowhere/record.jsonl: the sandbox's record cannot be opened",
        ),
    ],
)
def test_what_is_wrong_is_said_before_it_serves(
    arguments: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong option ends it with the exit code of its kind, one message and no URL."""
    monkeypatch.chdir(tmp_path)
    assert main(["sandbox", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_help_lists_the_guesses(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` ends with every behaviour that nothing published confirms, and what changes it."""
    assert main(["sandbox", "--help"]) == 0
    out, _ = capsys.readouterr()
    assert "Guessed" in out
    assert all(guess.about in out for guess in GUESSES)
    assert "(--merge-blocks)" in out
