"""What the sandbox tells of itself, how it is changed while it runs, and what it remembers on disk."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from batch.bland.guesses import GUESSES
from batch.bland.sandbox import ANY_KEY, SandboxOptions, serve
from batch.errors import JournalError
from batch.plans import Payload
from tests.bland.sandbox_client import CODECS, DOCUMENTED, KEY, NUMBER, sandboxed

pytestmark = pytest.mark.anyio

CODECS_SHA256 = Payload.of(CODECS).sha256


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- what it tells ----------------------------------------------------------------------------------


async def test_the_summary_adds_up() -> None:
    """Received, admitted and applied, by answer, fault, second and key, are parts of the same whole."""
    async with sandboxed(script={KEY: ["503", "hang+applied"]}) as client:
        await client.patch()
        await client.patch_in_vain()
        await client.patch()
        await client.patch_number("+14150000001", "inbound")
        await client.patch(b"{}")
        told = (await client.get("/_sandbox", key=None)).json
        assert (told["received"], told["admitted"], told["applied"]) == (5, 4, 3)
        assert told["answers"] == {"200": 2, "400": 1, "503": 1, "hang": 1}
        assert told["faults"] == {"503": 1, "hang+applied": 1, "ok": 2}
        assert told["keys"] == {
            f"{NUMBER} outbound": {"received": 3, "applied": 2},
            "+14150000001 inbound": {"received": 1, "applied": 1},
        }
        assert (told["keys_received"], told["keys_applied"]) == (2, 2)
        assert sum(second["received"] for second in told["per_second"]) == 5
        assert sum(second["applied"] for second in told["per_second"]) == 3
        assert 1 <= told["worst_second"] == client.sandbox.worst_second() <= 5
        assert told["guesses"] == [guess._asdict() for guess in GUESSES]
        assert "keys" not in (await client.get("/_sandbox?keys=no")).json


async def test_the_key_is_not_told() -> None:
    """Neither summary, log nor `repr` holds the key: only whether there is one."""
    async with sandboxed(key="sk-canary") as client:
        await client.patch(key="sk-canary")
        for path in ("/_sandbox", "/_sandbox/log", "/_sandbox/applied"):
            assert b"sk-canary" not in (await client.get(path)).body
        assert (await client.get("/_sandbox")).json["options"]["key"] == "one"
        assert "sk-canary" not in repr(client.sandbox.behaviour.options)


async def test_what_was_applied_is_told_line_by_line() -> None:
    """Every key that has something, with its last body, how often it came and was applied, and the digest."""
    async with sandboxed() as client:
        await client.patch()
        await client.patch_number(NUMBER)
        await client.patch_number("+14150000001", "inbound")
        lines = {
            (line["phone_number"], line["direction"]): line
            for line in (await client.get("/_sandbox/applied")).lines
        }
        assert set(lines) == {KEY, ("+14150000001", "inbound")}
        assert lines[KEY]["body"] == CODECS
        assert lines[KEY]["sha256"] == CODECS_SHA256
        assert (lines[KEY]["received"], lines[KEY]["applied"]) == (2, 2)


async def test_what_was_applied_is_told_whole_when_it_is_much() -> None:
    """More keys than are written at a time all arrive."""
    async with sandboxed() as client:
        for n in range(501):
            client.sandbox.memory.note_applied((f"+1415555{n:04}", "outbound"), Payload.of(CODECS))
        assert len((await client.get("/_sandbox/applied")).lines) == 501


async def test_the_log_tells_each_event() -> None:
    """Received, applied and answered, in order; `last` shortens it."""
    async with sandboxed() as client:
        await client.patch_number(NUMBER)
        lines = (await client.get("/_sandbox/log")).lines
        assert [line["event"] for line in lines] == ["received", "applied", "answered"]
        assert lines[0]["sha256"] == lines[1]["sha256"] == CODECS_SHA256
        assert (lines[2]["answer"], lines[2]["fault"]) == ("200", "ok")
        assert (await client.get("/_sandbox/log?last=1")).lines == lines[2:]


async def test_the_guesses_are_told() -> None:
    """Each says what it is about and what the sandbox does; most say what changes it."""
    async with sandboxed() as client:
        told = (await client.get("/_sandbox/guesses")).json
        assert {"rate limit", "success body", "null", "reading back"} <= {guess["about"] for guess in told}
        assert all(guess["says"].endswith(".") for guess in told)


@pytest.mark.parametrize(("method", "path"), [("GET", "/_sandbox/nothing"), ("DELETE", "/_sandbox")])
async def test_other_calls_say_which_there_are(method: str, path: str) -> None:
    """A wrong call of the endpoint gets 404 with the list of the right ones."""
    async with sandboxed() as client:
        heard = await client.call(method, path)
        assert heard.status == 404
        assert "GET  /_sandbox/applied" in heard.json["error"]


# --- changing it while it runs ------------------------------------------------------------------------


async def test_options_change_while_it_runs() -> None:
    """Faults, script, latency and the rest hold from the next request on."""
    async with sandboxed() as client:
        assert (await client.patch()).status == 200
        await client.control(faults={"404": 1.0})
        assert (await client.patch()).status == 404
        await client.control(faults={}, script={"* *": ["ok", "ok", "409", "ok"]})
        assert [(await client.patch()).status for _ in range(2)] == [409, 200]
        told = (await client.control(seed=3)).json
        assert told["options"]["seed"] == 3
        assert told["options"]["script"] == {" ".join(ANY_KEY): ["ok", "ok", "409", "ok"]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": "red"}, '"colour" cannot be changed'),
        ({"port": 80}, '"port" cannot be changed'),
        ({"record": "/etc/passwd"}, '"record" cannot be changed'),
        ({"seed": "7"}, "seed must be a whole number"),
        ({"fault_after": None}, "fault_after must be a whole number"),
        ({"faults": {"503": "often"}}, "faults must be an object"),
        ({"faults": {"teapot": 0.1}}, "is no fault of the sandbox"),
        ({"script": {"+14150000000": ["503"]}}, "script must be an object"),
        ({"limit": "fast"}, "is not understood"),
        ({"key": ""}, "key is empty"),
        ({"merge_blocks": 1}, "merge_blocks must be true or false"),
        ({"drip_s": 3600}, "drip_s must be seconds"),
        ({"numbers": "all"}, "numbers must be a list"),
        ({"reset": "everything"}, "reset must be"),
    ],
)
async def test_a_wrong_change_changes_nothing(changes: dict[str, Any], says: str) -> None:
    """It gets 400 with what is wrong; the right ones beside it are not made either."""
    async with sandboxed() as client:
        heard = await client.control(latency="1ms", **changes)
        assert heard.status == 400
        assert says in heard.json["error"]
        assert client.sandbox.behaviour.options == SandboxOptions()


@pytest.mark.parametrize("body", [b"{", b"[]"])
async def test_a_change_must_be_an_object(body: bytes) -> None:
    """What is not a JSON object gets 400."""
    async with sandboxed() as client:
        assert (await client.call("POST", "/_sandbox", data=body)).status == 400


async def test_counters_can_be_reset() -> None:
    """`reset` counts anew and keeps what was applied, or with `all` forgets that too."""
    async with sandboxed() as client:
        await client.patch()
        told = (await client.control(reset="counts")).json
        assert (told["received"], told["applied"], told["worst_second"]) == (0, 0, 0)
        assert set(client.sandbox.applied) == {KEY}
        await client.control(reset="all")
        assert client.sandbox.applied == {}


# --- the record -------------------------------------------------------------------------------------


def lines_of(record: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in record.read_bytes().splitlines()]


async def test_each_event_is_on_disk_before_its_answer(tmp_path: Path) -> None:
    """Received, payload, applied and answered are in the file when the client hears; a payload only once."""
    record = tmp_path / "record.jsonl"
    async with sandboxed(record=record) as client:
        await client.patch_number("+14150000001")
        assert [line["event"] for line in lines_of(record)] == ["received", "payload", "applied", "answered"]
        await client.patch_number("+14150000002", "inbound")
        await client.patch(b"{}")
    assert [{k: v for k, v in line.items() if k != "at"} for line in lines_of(record)[4:]] == [
        {
            "event": "received",
            "phone_number": "+14150000002",
            "direction": "inbound",
            "sha256": CODECS_SHA256,
        },
        {"event": "applied", "phone_number": "+14150000002", "direction": "inbound", "sha256": CODECS_SHA256},
        {
            "event": "answered",
            "phone_number": "+14150000002",
            "direction": "inbound",
            "answer": "200",
            "fault": "ok",
        },
        {"event": "received"},
        {"event": "answered", "answer": "400"},
    ]
    assert stat.S_IMODE(record.stat().st_mode) == 0o600


async def test_a_restarted_sandbox_remembers(tmp_path: Path) -> None:
    """What was applied, how often each key came, and where the dice stand, are as before."""
    options: dict[str, Any] = {
        "record": tmp_path / "record.jsonl",
        "script": {KEY: ["503", "ok", "409", "ok"]},
    }
    async with sandboxed(**options) as client:
        assert [(await client.patch()).status for _ in range(2)] == [503, 200]
        before = (await client.get(f"/v1/sip?phone_number=%2B{NUMBER[1:]}")).json
    async with sandboxed(**options) as client:
        assert client.sandbox.applied == {KEY: {k: v for k, v in DOCUMENTED.items() if k.endswith("_config")}}
        assert (client.sandbox.received_of(*KEY), client.sandbox.applied_of(*KEY)) == (2, 1)
        assert client.sandbox.counts == {"503": 1, "200": 1}
        assert (await client.get(f"/v1/sip?phone_number=%2B{NUMBER[1:]}")).json == before
        assert (await client.patch()).status == 409


async def test_a_reset_is_remembered_too(tmp_path: Path) -> None:
    """After `reset` a restarted sandbox knows as little as the one that was told to forget."""
    record = tmp_path / "record.jsonl"
    async with sandboxed(record=record) as client:
        await client.patch()
        await client.control(reset="all")
        await client.patch_number("+14150000001")
    async with sandboxed(record=record) as client:
        assert set(client.sandbox.applied) == {("+14150000001", "outbound")}
        assert client.sandbox.received == 1


async def test_a_line_cut_short_is_taken_off(tmp_path: Path) -> None:
    """A last line without its end, as a power failure leaves it, is dropped; all before it counts."""
    record = tmp_path / "record.jsonl"
    async with sandboxed(record=record) as client:
        await client.patch()
    whole = record.read_bytes()
    record.write_bytes(whole + b'{"at": 1.0, "event": "rec')
    async with sandboxed(record=record) as client:
        assert record.read_bytes() == whole
        assert client.sandbox.received == 1
        await client.patch()
    assert len(lines_of(record)) == 7


@pytest.mark.parametrize(
    "line",
    [
        b"phone_number,template\n",
        b'{"a": 1}\n',
        b"[]\n",
        b'{"at": 1, "event": "born"}\n',
        b'{"at": 1, "event": "applied", "phone_number": "+1", "direction": "x", "sha256": "0"}\n',
    ],
)
async def test_somebody_elses_file_is_not_written_to(tmp_path: Path, line: bytes) -> None:
    """A file that the sandbox did not write is refused, and left as it is."""
    record = tmp_path / "numbers.csv"
    record.write_bytes(line)
    with pytest.raises(JournalError, match=r"numbers\.csv"):
        async with serve(SandboxOptions(record=record)):
            pass
    assert record.read_bytes() == line


async def test_a_record_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """A folder that is not there is an error that names the file."""
    with pytest.raises(JournalError, match=r"nowhere/record\.jsonl: .* cannot be opened"):
        async with serve(SandboxOptions(record=tmp_path / "nowhere" / "record.jsonl")):
            pass


async def test_a_record_must_be_a_file() -> None:
    """A device swallows what is written to it, and nothing could be remembered."""
    with pytest.raises(JournalError, match=r"/dev/null: .* must be an ordinary file"):
        async with serve(SandboxOptions(record=Path("/dev/null"))):
            pass


@pytest.fixture
def full_record(tmp_path: Path) -> Iterator[Path]:
    """A record to which not one more line can be written."""
    record, limit_bytes = tmp_path / "record.jsonl", 1_000_000
    line = b'{"at": 1.0, "event": "received"}\n'
    record.write_bytes(line * (limit_bytes // len(line)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (record.stat().st_size, before[1]))
    yield record
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_what_cannot_be_recorded_is_not_applied(full_record: Path) -> None:
    """With no room left a change gets 500 with the reason, and the number stays as it was."""
    async with sandboxed(record=full_record) as client:
        heard = await client.patch()
        assert heard.status == 500
        assert "record.jsonl: the sandbox's record cannot be written: " in heard.json["message"]
        assert client.sandbox.applied == {}
