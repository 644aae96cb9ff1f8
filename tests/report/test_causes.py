"""Promises of causes and advice: few causes for many failures, and what to do about each."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Counts, Journal, NewRun, Pick, ResultRow
from batch.journal.sqlite import SqliteJournal
from batch.plans import Problem
from batch.report.advice import after_reject, is_worth_resending, meaning_of, next_action
from batch.report.causes import Cause, CauseTally, calling_code, shape
from batch.report.next_steps import next_steps
from batch.report.proofs import ProofTally
from batch.states import RequestState, StopReason
from batch.target import Outcome, Verdict
from tests.report_runs import START, Draft, create, play

Failure = tuple[str, str, int, Outcome]  # template, direction, number, outcome


def refused(message: str, code: str = "VALIDATION_ERROR", status: int | None = 400) -> Outcome:
    return Outcome(Verdict.REFUSED, http_status=status, error_code=code, message=message)


def failing_run(journal: Journal, failures: Iterable[Failure]) -> str:
    """A run whose requests all failed, each in a row of its own."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "template", "direction")
    script = {}
    for seq, (template, direction, number, outcome) in enumerate(failures):
        draft.row(seq + 2, f"+{number}", template, direction)
        draft.request(number, direction, template)
        state = RequestState.UNKNOWN if outcome.verdict is Verdict.AMBIGUOUS else RequestState.FAILED
        script[seq] = ((state, outcome),)
    run_id = create(journal, draft.plan())
    play(journal, run_id, script)
    return run_id


def causes_of(journal: Journal, run_id: str) -> tuple[Cause, ...]:
    tally = CauseTally()
    for result in journal.results(run_id):
        tally.add(result)
    return tally.causes(journal.run(run_id))


@pytest.mark.parametrize(
    ("message", "folded"),
    [
        ("no such number +14155550123", "no such number <number>"),
        ("request req_8f3kasd9d22k failed", "request <id> failed"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id <id>"),
        ("connect to sip.example.com:5061 refused", "connect to <host> refused"),
        ("10.0.0.1:5060 and 2001:db8::1 are down", "<host> and <host> are down"),
        ("https://hooks.example.com/x?y=1 is no webhook", "<address> is no webhook"),
        ("ops@example.com is unknown", "<address> is unknown"),
        ("failover_config.endpoints.3.port: 70000", "failover_config.endpoints.#.port: #"),
        ("HTTP 503 Service Unavailable", "HTTP 503 Service Unavailable"),
        ("busy since 12:30:55", "busy since #:#:#"),
        ("two\nlines", "two\\nlines"),
        ("", ""),
    ],
)
def test_what_differs_from_row_to_row_is_folded_out(message: str, folded: str) -> None:
    """The shape of a message is what failures of one cause have in common."""
    assert shape(message) == folded


@given(st.integers(1, 10**15), st.integers(1, 10**15))
def test_two_numbers_of_any_kind_give_one_shape(one: int, other: int) -> None:
    """Messages that differ in a number alone have one shape."""
    text = "limit is {} for this row"
    assert shape(text.format(one)) == shape(text.format(other))


def test_three_causes_explain_412_failures(tmp_path: Path) -> None:
    """Failures are grouped by code and message shape, most first, and none is left out."""
    failures: list[Failure] = [
        ("voice", "outbound", 14155550000 + i, refused(f"no number +{14155550000 + i}", "NOT_FOUND", 404))
        for i in range(300)
    ]
    failures += [("voice", "inbound", 442079460000 + i, refused(f"port {i} is taken")) for i in range(100)]
    failures += [("backup", "inbound", 493012340000 + i, refused("codec G.722 is off")) for i in range(12)]
    journal = MemoryJournal()
    causes = causes_of(journal, failing_run(journal, failures))
    assert [(cause.count, cause.message) for cause in causes] == [
        (300, "no number <number>"),
        (100, "port # is taken"),
        (12, "codec G.# is off"),
    ]
    assert causes[0].title == "NOT_FOUND (HTTP 404): no number <number>"
    assert causes[0].countries == {"+1": 300}
    assert causes[1].templates == {"voice": 100}
    assert causes[1].example.error == "port 0 is taken"
    assert (causes[1].example.row, causes[1].example.phone_number) == (302, "+442079460000")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_command_retries_exactly_the_cause(kind: str, tmp_path: Path) -> None:
    """What the command of a cause picks is what the cause explains, no more and no less."""
    journal: Journal = MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "journal.db")
    down = refused("HTTP 500 Internal Server Error", "HTTP_500", 500)
    lost = Outcome(Verdict.AMBIGUOUS, error_code="TIMEOUT", message="no answer within 30 s")
    run_id = failing_run(
        journal,
        [
            ("voice", "outbound", 14155550100, refused("no such number", "NOT_FOUND", 404)),
            ("voice", "outbound", 14155550101, lost),
            ("backup", "outbound", 14155550102, lost),
            ("voice", "outbound", 14155550103, down),
            ("backup", "outbound", 14155550104, down._replace(message="HTTP 500 with an HTML page")),
            ("a 'b'", "outbound", 14155550105, down._replace(error_code="IT'S $BAD")),
        ],
    )
    for cause in causes_of(journal, run_id):
        words = shlex.split(cause.command)
        assert words[:3] == ["sipbatch", "retry", run_id]
        options = dict(zip(words[3::2], words[4::2], strict=True))
        pick = Pick(
            frozenset({RequestState.FAILED, RequestState.UNKNOWN}),
            options.get("--error-code"),
            options.get("--template"),
        )
        derived = journal.derive_run(run_id, pick, NewRun("https://api.example.com", START + 100))
        assert journal.counts(derived).requests == cause.count == cause.command_count
        assert cause.is_resent
    journal.close()


def test_a_command_that_picks_more_says_so(tmp_path: Path) -> None:
    """Where options cannot tell a cause from another, the count of what its command sends is given."""
    journal = MemoryJournal()
    run_id = failing_run(
        journal,
        [
            ("voice", "outbound", 14155550100 + i, refused(text, "HTTP_500", 500))
            for i, text in enumerate(["one thing", "one thing", "another thing"])
        ],
    )
    first, second = causes_of(journal, run_id)
    assert (first.count, first.command_count) == (2, 3)
    assert (second.count, second.command_count) == (1, 3)


def test_a_payload_that_was_refused_is_not_sent_again_as_it_is() -> None:
    """For what the API will not take, the command plans the rows anew, once they are mended."""
    journal = MemoryJournal()
    run_id = failing_run(
        journal,
        [
            ("voice", "outbound", 14155550100, refused("codecs[0] is wrong")),
            ("voice", "outbound", 14155550101, refused("ports are wrong")),
            ("voice", "outbound", 14155550102, refused("no such number", "NOT_FOUND", 404)),
        ],
    )
    first, second, third = causes_of(journal, run_id)
    start = "sipbatch run results.csv --where result_state=failed --where result_error_code=VALIDATION_ERROR"
    assert first.command == f"{start} --where 'result_error=codecs[0] is wrong'"
    assert second.command == f"{start} --where 'result_error=ports are wrong'"
    assert not first.is_resent
    assert first.what_to_do == "mend the template or the sheet, then run those rows again"
    assert third.is_resent


def test_no_phone_number_is_in_a_command() -> None:
    """Commands are pasted and logged: a message with a number in it is not used to pick requests."""
    journal = MemoryJournal()
    run_id = failing_run(
        journal,
        [
            ("voice", "outbound", 14155550100, refused("+14155550100 is no SIP number")),
            ("voice", "outbound", 14155550101, refused("ports are wrong")),
        ],
    )
    first, _ = causes_of(journal, run_id)
    assert first.message == "<number> is no SIP number"
    assert first.command == "sipbatch run results.csv --where result_state=failed"
    assert (first.count, first.command_count) == (1, 2)


def test_what_was_tried_on_the_sandbox_is_run_again_there() -> None:
    """A command that plans rows of a sandbox run anew does not send them to the live API."""
    journal = MemoryJournal()
    run_id = failing_run(journal, [("voice", "outbound", 14155550100, refused("no"))])
    run = replace(journal.run(run_id), target="sandbox")
    tally = CauseTally()
    for result in journal.results(run_id):
        tally.add(result)
    (cause,) = tally.causes(run)
    assert cause.command == "sipbatch run results.csv --sandbox --where result_state=failed"
    (step,) = next_steps(run, Counts(succeeded=1, rejected=1), (), ProofTally().part(run, is_finished=True))
    assert step.command == "sipbatch run results.csv --sandbox --where result_state=rejected"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["voice", "backup"]),
            st.sampled_from(["outbound", "inbound"]),
            st.integers(14155550000, 14155559999),
            st.builds(
                refused,
                st.text(max_size=20),
                st.sampled_from(["", "NOT_FOUND", "BAD\n", "HTTP_500"]),
                st.sampled_from([None, 200, 400, 404, 500]),
            ),
        ),
        max_size=20,
    )
)
def test_causes_add_up(failures: list[Failure]) -> None:
    """Whatever the API says, the causes together explain every failure exactly once."""
    journal = MemoryJournal()
    causes = causes_of(journal, failing_run(journal, failures))
    assert sum(cause.count for cause in causes) == len(failures)
    for cause in causes:
        assert cause.failed + cause.unknown == cause.count
        assert sum(cause.templates.values()) == sum(cause.countries.values()) == cause.count
        assert cause.count <= cause.command_count <= len(failures)
        assert shlex.split(cause.command)[0] == "sipbatch"


def test_a_server_that_never_says_the_same_twice_does_not_fill_the_memory() -> None:
    """Beyond a thousand causes the rest is counted as one, and the sum is still right."""
    journal = MemoryJournal()
    run_id = failing_run(journal, [("voice", "outbound", 14155550100, refused("no"))])
    row = next(journal.results(run_id))
    tally = CauseTally()
    letters = "abcdefghij"
    for i in range(3_000):
        word = "".join(letters[int(digit)] for digit in str(i))
        tally.add(row._replace(seq=i, error=f"never {word} again", error_code=word))
    causes = tally.causes(journal.run(run_id))
    assert len(causes) == 1_001
    assert causes[0].count == 2_000
    assert causes[0].error_code == ""
    assert sum(cause.count for cause in causes) == 3_000
    assert causes[0].command == "sipbatch run results.csv --where result_state=failed"


def test_only_failures_have_causes() -> None:
    """A request that succeeded, or waits, is explained by nothing."""
    journal = MemoryJournal()
    run_id = failing_run(journal, [("voice", "outbound", 14155550100, refused("no"))])
    row = next(journal.results(run_id))
    tally = CauseTally()
    for state in RequestState:
        tally.add(row._replace(state=state))
    (cause,) = tally.causes(journal.run(run_id))
    assert (cause.count, cause.failed, cause.unknown) == (2, 1, 1)


@pytest.mark.parametrize(
    ("number", "code"),
    [(14155550100, "+1"), (442079460018, "+44"), (35312345678, "+353"), (2101234567, "+?"), (7, "+7")],
)
def test_calling_codes(number: int, code: str) -> None:
    """A number's country is told by its calling code, or not at all."""
    assert calling_code(number) == code


@pytest.mark.parametrize(
    ("state", "status", "code", "action"),
    [
        (RequestState.SUCCEEDED, 200, "", "nothing"),
        (RequestState.SKIPPED, None, "", "nothing"),
        (RequestState.PENDING, None, "", "resume"),
        (RequestState.PENDING, 401, "AUTH_FAILURE", "mend the API key, then resume"),
        (RequestState.PENDING, 503, "HTTP_503", "resume"),
        (RequestState.PENDING, None, "TLS_UNTRUSTED", "have the server's certificate mended, or check"),
        (RequestState.PENDING, 402, "HTTP_402", "settle the account's balance, then resume"),
        (RequestState.IN_FLIGHT, None, "", "resume: it may have been applied"),
        (RequestState.RETRYING, 429, "", "resume: it is sent again when its time comes"),
        (RequestState.UNKNOWN, None, "TIMEOUT", "retry: it may have been applied"),
        (RequestState.FAILED, 404, "HTTP_404", "check the number with the carrier, then retry"),
        (RequestState.FAILED, 200, "NOT_FOUND", "check the number with the carrier, then retry"),
        (RequestState.FAILED, 403, "SIP_NOT_ENABLED", "have the account or the key given the right"),
        (RequestState.FAILED, 400, "HTTP_400", "mend the template or the sheet, then run those rows again"),
        (RequestState.FAILED, 422, "", "mend the template or the sheet, then run those rows again"),
        (RequestState.FAILED, 429, "Rate Limit Exceeded", "lower the rate, then retry"),
        (RequestState.FAILED, 500, "INTERNAL_SERVER_ERROR", "retry"),
        (RequestState.FAILED, 302, "REDIRECT", "check the base URL, then retry"),
        (RequestState.FAILED, 409, "", "see what else changes this number, then retry"),
        (RequestState.FAILED, None, "CONNECT_FAILED", "see whether the API can be reached, then retry"),
        (RequestState.FAILED, 200, "ERROR_IN_ANSWER", "read the API's message, then retry"),
    ],
)
def test_every_ending_has_its_next_action(
    state: RequestState, status: int | None, code: str, action: str
) -> None:
    """The report says in plain words what to do about a request, whatever became of it."""
    assert next_action(state, status, code).startswith(action)


@given(st.sampled_from(RequestState), st.one_of(st.none(), st.integers(100, 599)), st.text(max_size=12))
def test_there_is_always_a_next_action(state: RequestState, status: int | None, code: str) -> None:
    """No answer of any API leaves the operator without a word; what is over needs nothing."""
    action = next_action(state, status, code)
    is_well = state in (RequestState.SUCCEEDED, RequestState.SKIPPED)
    assert (action == "nothing") == is_well
    assert is_well or any(word in action for word in ("resume", "retry", "run those rows again"))


def test_what_was_refused_for_its_content_is_not_worth_resending() -> None:
    """Only a payload that the API will not take is better not sent again."""
    assert not is_worth_resending(meaning_of(400, "VALIDATION_ERROR"))
    assert is_worth_resending(meaning_of(404, ""))
    assert is_worth_resending(meaning_of(503, ""))


def test_a_rejected_row_is_to_be_mended_where_it_is_wrong() -> None:
    """The columns at fault are named once each; a row that is wrong as a whole names none."""
    twice, once = (Problem(column, "is wrong", "test") for column in ("phone_number", "template"))
    assert after_reject((twice, once, twice)) == "mend the sheet: phone_number, template"
    assert after_reject((Problem("", "is ragged", "test"),)) == "mend the sheet"


def test_rows_of_results_are_what_is_tallied() -> None:
    """The rows of a journal that was interrupted have no causes yet, only what waits."""
    journal = MemoryJournal()
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "template", "direction")
    draft.row(2, "+14155550100", "voice", "").request(14155550100)
    run_id = create(journal, draft.plan())
    play(journal, run_id, {}, reason=StopReason.SIGINT)
    results: list[ResultRow] = list(journal.results(run_id))
    assert [row.state for row in results] == [RequestState.PENDING]
    assert causes_of(journal, run_id) == ()
