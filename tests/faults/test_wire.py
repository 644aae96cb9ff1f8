"""Every mishap of a network and of a server, met by the command that operators give."""

from __future__ import annotations

import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from batch.bland.direct_transport import DirectTransport
from batch.journal.protocol import AttemptRow
from batch.states import RequestState, RunState, StopReason
from tests.bland.wires import OK, Wire, always, answer
from tests.faults.accounts import assert_all_agree, audited, report_rows, rows_of
from tests.faults.hardship import MEASURED
from tests.faults.record import Account
from tests.faults.stage import FIRST_NUMBER, KEY, Done, Stage, staged, until
from tests.faults.wiring import SOMEBODY_ELSE, TRUSTED, tls_of, wired

CONCURRENCY = 4
RUN = ("run", "numbers.csv", "--yes", "--rate", "1000/s", "--concurrency", str(CONCURRENCY))


def attempts_of(stage: Stage) -> dict[str, list[AttemptRow]]:
    """Every attempt of the newest run, by number."""
    run_id = stage.newest.id
    number_of = {row.seq: number for (number, _), row in rows_of(stage, run_id).items()}
    attempts: dict[str, list[AttemptRow]] = {number: [] for number in number_of.values()}
    with stage.journal() as journal:
        for attempt in journal.attempts(run_id):
            attempts[number_of[attempt.seq]].append(attempt)
    return attempts


# --- one request at a time --------------------------------------------------------------------------

DEADLINE_S = 0.5

#: A fault at the first arrival of one number each, what its outcome is called, and what that means.
MISHAPS = {
    "reset_before": ("ambiguous", "CONNECTION_LOST"),
    "reset_after": ("ambiguous", "CONNECTION_LOST"),
    "hang": ("ambiguous", "DEADLINE"),
    "drip": ("ambiguous", "DEADLINE"),
    "endless_headers": ("ambiguous", "DEADLINE"),
    "truncated": ("ambiguous", "ANSWER_CUT_OFF"),
    "bad_gzip": ("ambiguous", "BAD_ANSWER"),
    "garbage": ("ambiguous", "BAD_ANSWER"),
    "huge_headers": ("ambiguous", "BAD_ANSWER"),
    "html": ("ambiguous", "NOT_THE_API"),
    "500": ("ambiguous", "HTTP_500"),
    "504+applied": ("ambiguous", "HTTP_504"),
}


@dataclass(frozen=True, slots=True)
class Met:
    """What came of a run that met every mishap once."""

    done: Done
    wanted: dict[str, str]
    number_of: dict[str, str]
    attempts: dict[str, list[AttemptRow]]
    account: Account


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """One run of two numbers a mishap: one that meets it, and a healthy one between it and the next."""
    with staged(tmp_path_factory.mktemp("met")) as stage:
        wanted = stage.sheet(2 * len(MISHAPS))
        number_of = {fault: f"+{FIRST_NUMBER + 2 * nth}" for nth, fault in enumerate(MISHAPS)}
        server = stage.sandbox()
        server.told(script={f"{number} outbound": [fault] for fault, number in number_of.items()})
        done = stage.run(*RUN, "--deadline", str(DEADLINE_S), environ=server.environ)
        assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)
        yield Met(done, wanted, number_of, attempts_of(stage), server.record.read())


def test_every_mishap_is_outlived(met: Met) -> None:
    """A run that meets each of them once ends with every request applied, and says so."""
    assert met.done.code == 0, met.done.err
    assert len(met.account.applied) == len(met.wanted)


@pytest.mark.parametrize("fault", MISHAPS)
def test_mishap_is_never_a_success(met: Met, fault: str) -> None:
    """It is taken for what it is, retried, and answered well the second time."""
    first, *others = met.attempts[met.number_of[fault]]
    verdict, code = MISHAPS[fault]
    assert (first.verdict, first.error_code) == (verdict, code)
    assert "may have been applied" in first.message or first.http_status is not None
    assert [attempt.verdict for attempt in others] == ["accepted"]


@pytest.mark.parametrize("fault", ["hang", "drip", "endless_headers"])
def test_deadline_is_for_the_whole_request(met: Met, fault: str) -> None:
    """However the time is spent: no byte, a byte now and then, headers without end."""
    first = met.attempts[met.number_of[fault]][0]
    assert DEADLINE_S - 0.001 <= first.duration_s < DEADLINE_S + 1.0


def test_reset_before_and_after_look_the_same(met: Met) -> None:
    """Nobody can tell from here whether it was applied: both are said to be in doubt."""
    before, after = (met.attempts[met.number_of[fault]][0] for fault in ("reset_before", "reset_after"))
    assert (before.verdict, before.error_code, before.message) == (
        after.verdict,
        after.error_code,
        after.message,
    )


def test_bomb_is_not_unpacked(stage: Stage) -> None:
    """An answer that unpacks to 200 MB costs no memory to speak of, and is no success."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join((*(packer.compress(bytes(10**6)) for _ in range(200)), packer.flush()))
    headers = ("Content-Type: application/json", "Content-Encoding: gzip")
    stage.sheet(1)
    sent = 0

    async def bomb_first(wire: Wire) -> None:
        nonlocal sent
        sent += 1
        await wire.write(answer(200, bomb, headers) if sent == 1 else OK)

    with wired(bomb_first) as server:
        environ = {"BLAND_BASE_URL": server.url, "BLAND_API_KEY": KEY}
        done = stage.launch((stage.sipbatch[0], "-c", MEASURED, *RUN), environ=environ).done()
    assert done.code == 0, done.err
    (attempts,) = attempts_of(stage).values()
    assert [one.error_code for one in attempts] == ["ANSWER_TOO_LARGE", ""]
    assert int(done.out) < 150e6, done.out


# --- before the first send --------------------------------------------------------------------------


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "says"),
    [
        # No name has a part this long, so that nobody is asked for it.
        (f"https://{'a' * 64}.example", "was not found"),
        ("http://127.0.0.1:1", "refused the connection"),
    ],
)
def test_nobody_there_is_told_before_anything_is_made(stage: Stage, address: str, says: str) -> None:
    """Exit 75 in one line that says what is wrong, with no run begun: nothing to resume, nothing to doubt."""
    stage.sheet(3)
    done = stage.run(*RUN, "--base-url", address, environ={"BLAND_API_KEY": KEY})
    assert done.code == 75
    line = done.err.splitlines()[-1]
    assert says in line
    assert "Nothing was sent" in line
    assert not stage.workspace.path.exists()


def test_certificate_of_nobody_is_told_before_anything_is_made(stage: Stage) -> None:
    """A certificate that signs itself ends it: nothing is sent, neither encrypted nor in clear."""
    stage.sheet(3)
    with wired(always(OK), tls=tls_of(SOMEBODY_ELSE)) as server:
        done = stage.run(*RUN, "--base-url", server.tls_url, environ={"BLAND_API_KEY": KEY})
        assert done.code == 75
        assert "cannot be verified" in done.err
        assert server.requests == []
    assert not stage.workspace.path.exists()


# --- in the middle of a run -------------------------------------------------------------------------


def test_server_that_goes_and_comes_back(stage: Stage) -> None:
    """While nobody listens the run waits and looks again; when the server is back it goes on by itself."""
    wanted = stage.sheet(160)
    server = stage.sandbox_process("--latency", "10ms")
    command = stage.start(*RUN, environ=server.environ)
    stage.is_sending(command, 20)
    server.stop()
    until(lambda: "outage" in events_of(stage) or not command.is_going, "the outage is noticed")
    assert command.is_going, command.err
    before = stage.succeeded()
    server = stage.sandbox(port=server.port)
    done = command.done()
    assert done.code == 0, done.err
    assert before < len(wanted)
    assert events_of(stage).count("outage_over") == 1
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


def test_name_that_is_lost_in_mid_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the name is found again the run waits and looks; nothing was sent, so nothing is in doubt."""
    wanted = stage.sheet(60)
    # uvloop asks the system itself: there is no way in below this.
    find, asked = DirectTransport._addresses, 0

    async def find_until_it_is_noticed(transport: DirectTransport) -> list[Any]:
        nonlocal asked
        asked += 1
        if asked > 20 and "outage" not in events_of(stage):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await find(transport)

    closing = answer(200, b"{}", ("Connection: close",))
    with wired(always(closing, close=True)) as server:
        monkeypatch.setattr(DirectTransport, "_addresses", find_until_it_is_noticed)
        environ = {"BLAND_BASE_URL": f"http://localhost:{server.port}", "BLAND_API_KEY": KEY}
        done = stage.here(*RUN, environ=environ)
    assert done.code == 0, done.err
    assert events_of(stage).count("outage_over") == 1
    assert audited(stage, stage.newest.id).succeeded == len(wanted)
    lost = [one for ones in attempts_of(stage).values() for one in ones if one.verdict != "accepted"]
    assert {(one.verdict, one.error_code) for one in lost} == {("transient", "NAME_NOT_FOUND")}
    assert len(server.requests) == len(wanted)


def events_of(stage: Stage) -> list[str]:
    """What has happened to the newest run."""
    if not stage.records():
        return []
    with stage.journal() as journal:
        return [event.kind for event in journal.events(stage.newest.id)]


def test_certificate_that_changes_stops_the_run(stage: Stage) -> None:
    """Somebody else at the address in mid-run gets nothing: the run stops, and can be resumed."""
    stage.sheet(60)
    context = tls_of(TRUSTED)
    answered = 0

    async def twenty_and_then_another(wire: Wire) -> None:
        nonlocal answered
        await wire.write(OK)
        answered += 1
        if answered == 20:
            context.load_cert_chain(SOMEBODY_ELSE)
        if answered >= 20:
            wire.writer.close()

    bundle = stage.folder / "authorities.pem"
    shutil.copy(TRUSTED, bundle)
    with wired(twenty_and_then_another, tls=context) as server:
        done = stage.run(
            *RUN,
            "--base-url",
            server.tls_url,
            environ={"BLAND_API_KEY": KEY, "SSL_CERT_FILE": str(bundle)},
        )
        received = len(server.requests)
    assert done.code == 75, done.err
    assert "cannot be verified" in done.err
    record = stage.newest
    assert (record.state, record.reason) == (RunState.HALTED, StopReason.UNTRUSTED)
    counts = audited(stage, record.id)
    assert counts.failed == 0
    assert counts.left > 0
    assert received <= 20 + CONCURRENCY
    attempts = [one for ones in attempts_of(stage).values() for one in ones]
    assert sum(one.error_code == "TLS_UNTRUSTED" for one in attempts) <= CONCURRENCY


def test_page_in_place_of_answers_is_no_success(stage: Stage) -> None:
    """200 with HTML: the breaker stops after some, every row waits, and nothing ends by it."""
    wanted = stage.sheet(60)
    server = stage.sandbox(faults={"html+unapplied": 1.0})
    command = stage.start(*RUN, environ=server.environ)
    until(lambda: "outage" in events_of(stage) or not command.is_going, "the breaker opens")
    with stage.journal() as journal:
        assert journal.counts(stage.newest.id).left == len(wanted)
    assert server.record.received() <= 5 + CONCURRENCY + 1
    server.told(faults={})
    done = command.done()
    assert done.code == 0, done.err
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


@pytest.mark.parametrize("status", ["401", "402", "403"])
def test_refused_credentials_stop_at_once(stage: Stage, status: str) -> None:
    """At most `concurrency` more requests; their rows are pending; with the key mended `resume` finishes."""
    wanted = stage.sheet(80)
    after = 24
    server = stage.sandbox(latency="10ms", faults={status: 1.0}, fault_after=after)
    if status == "401":
        server.told(faults={}, expire_key_after=after)
    done = stage.run(*RUN, environ=server.environ)
    assert done.code == 77, done.err
    assert "sipbatch resume" in done.err
    account = server.record.read()
    assert len(account.arrivals) - after <= CONCURRENCY
    counts = audited(stage, stage.newest.id)
    assert (counts.succeeded, counts.pending) == (after, len(wanted) - after)
    report = report_rows(stage.workspace.run_folder(stage.newest.id))
    assert {row["result_state"] for row in report} == {"succeeded", "pending"}
    new_key = "sk-test-another-47110815"
    server.told(key=new_key, faults={})
    environ = {**server.environ, "BLAND_API_KEY": new_key}
    assert stage.here("resume", environ=environ).code == 0
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


def test_redirect_is_not_followed(stage: Stage) -> None:
    """The key goes nowhere but where it was meant to; the message says where it was sent to."""
    stage.sheet(30)
    with wired(always(OK)) as elsewhere:
        location = f"Location: {elsewhere.url}/v2/sip/config?token=abc"
        with wired(always(answer(308, b"", (location,)))) as server:
            environ = {"BLAND_BASE_URL": server.url, "BLAND_API_KEY": KEY}
            done = stage.run(*RUN, environ=environ)
            assert 20 <= len(server.requests) <= 20 + CONCURRENCY
        assert elsewhere.connections == 0
    assert done.code == 4, done.err
    assert "wrong" in done.err
    failed = [row for row in rows_of(stage, stage.newest.id).values() if row.state is RequestState.FAILED]
    assert len(failed) >= 20
    assert all(f"127.0.0.1:{elsewhere.port}" in row.error for row in failed)
    assert all("token=abc" not in row.error for row in failed)


def test_wait_beyond_what_is_sensible_ends_with_the_time_to_come_back(stage: Stage) -> None:
    """A server that asks for a day is not sat out: exit 75 says how long, and `resume` is for then."""
    stage.sheet(40)
    server = stage.sandbox(limit="10/s", retry_after="86400")
    began_s = time.monotonic()
    done = stage.run(*RUN, environ=server.environ)
    assert done.code == 75, done.err
    assert "86400 s" in done.err
    assert time.monotonic() - began_s < 20
    counts = audited(stage, stage.newest.id)
    assert counts.failed == counts.unknown == 0
