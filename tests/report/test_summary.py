"""Promises of the summary, its text and its next steps: a run told in a few lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.journal.events import Event
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Counts, NewRun, Pick
from batch.plans import Problem
from batch.report.summary import Summary, exit_code_of, summarise
from batch.report.summary_text import command_line, masked, render_summary
from batch.report.tally import Tally
from batch.reporting import write_report
from batch.states import RequestState, StopReason
from tests.report_runs import (
    DOWN,
    INVALID,
    MIXED,
    NO_ANSWER,
    NO_KEY,
    NOT_FOUND,
    START,
    SUCCEEDED,
    Draft,
    Step,
    create,
    mixed_draft,
    play,
)

FAILED = RequestState.FAILED


def run_of(
    endings: dict[int, tuple[Step, ...]], *, requests: int, rejects: int = 0, **ending: Any
) -> tuple[MemoryJournal, str]:
    """A run of so many numbers, each in a row of its own."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    for seq in range(requests):
        draft.row(seq + 2, f"+{14155550100 + seq}", "", "voice").request(14155550100 + seq)
    for seq in range(rejects):
        problem = Problem("phone_number", "is no number", "number.letters")
        draft.row(requests + seq + 2, "x", "", "voice").reject(problem)
    journal = MemoryJournal()
    run_id = create(journal, draft.plan())
    play(journal, run_id, endings, **ending)
    return journal, run_id


def text_of(summary: Summary, **options: Any) -> str:
    return render_summary(summary, Path("sipbatch-runs/run"), **options)


# --- the value ----------------------------------------------------------------------------------


def test_the_summary_alone_is_that_of_the_report(tmp_path: Path) -> None:
    """`summarise` and the report tell the same, but for the files that only the report has."""
    journal = MemoryJournal()
    run_id = create(journal, mixed_draft().plan())
    play(journal, run_id, MIXED)
    report = write_report(journal, run_id, tmp_path)
    assert summarise(journal, run_id, files=report.summary.files) == report.summary
    assert summarise(journal, run_id).files == ()


def test_counts_add_up() -> None:
    """Requests are the sum of their states, over the whole and over templates."""
    journal = MemoryJournal()
    run_id = create(journal, mixed_draft().plan())
    play(journal, run_id, MIXED)
    summary = summarise(journal, run_id)
    counts = summary.counts
    assert counts.requests == sum(getattr(counts, state.value) for state in RequestState) == 11
    assert sum(template.requests for template in summary.templates) == counts.requests
    assert sum(cause.count for cause in summary.causes) == counts.failed + counts.unknown
    assert counts.rows == sum(sheet.rows for sheet in summary.sheets) == 10


HEADLINES: list[tuple[dict[int, tuple[Step, ...]], int, int, str]] = [
    ({0: SUCCEEDED}, 1, 0, "1 number sent."),
    ({0: SUCCEEDED, 1: SUCCEEDED}, 2, 0, "2 numbers sent."),
    (
        {**dict.fromkeys(range(338), SUCCEEDED)}
        | dict.fromkeys((338, 339, 340), ((FAILED, NOT_FOUND),))
        | {341: ((RequestState.UNKNOWN, NO_ANSWER),)},
        342,
        0,
        "342 numbers sent, 3 refused, 1 unknown.",
    ),
    (
        {0: ((FAILED, DOWN),)},
        2,
        1,
        "1 number sent, 1 failed after every attempt, 1 still to send, 1 row rejected.",
    ),
    ({}, 1_200, 2, "0 numbers sent, 1,200 still to send, 2 rows rejected."),
]


@pytest.mark.parametrize(("endings", "requests", "rejects", "said"), HEADLINES)
def test_the_headline(endings: dict[int, tuple[Step, ...]], requests: int, rejects: int, said: str) -> None:
    """What happened is one sentence without jargon, and names the file."""
    journal, run_id = run_of(endings, requests=requests, rejects=rejects, reason=StopReason.SIGTERM)
    assert summarise(journal, run_id).headline == f"{said} See results.csv."


def test_requests_are_counted_where_a_number_has_several() -> None:
    """A number with both directions is two requests, and the headline does not call them numbers."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    draft.row(2, "+14155550100", "both", "voice")
    draft.request(14155550100, "inbound").request(14155550100, "outbound")
    journal = MemoryJournal()
    run_id = create(journal, draft.plan())
    play(journal, run_id, {0: SUCCEEDED, 1: SUCCEEDED})
    summary = summarise(journal, run_id)
    assert summary.headline == "2 requests sent. See results.csv."
    assert (summary.sending.sends, summary.sending.numbers) == (2, 1)


def test_what_sending_was_like() -> None:
    """Rate and latencies are those of the attempts that were made."""
    journal, run_id = run_of(dict.fromkeys(range(101), SUCCEEDED), requests=101)
    sending = summarise(journal, run_id).sending
    assert sending.sends_per_s == 10.0
    assert (sending.latency_p50_ms, sending.latency_p95_ms, sending.latency_max_ms) == (90.0, 135.0, 140.0)
    assert sending.first_sent_at == "2026-07-27T09:30:00.250Z"
    assert sending.last_sent_at == "2026-07-27T09:30:10.250Z"


def test_nothing_is_made_up_before_the_first_send() -> None:
    """Where nothing was sent there is no time, no rate and no latency."""
    journal, run_id = run_of({}, requests=1, reason=None)
    summary = summarise(journal, run_id)
    assert summary.sending.sends == 0
    assert {summary.sending.first_sent_at, summary.sending.sends_per_s, summary.sending.latency_p50_ms} == {
        None
    }
    assert (summary.run.state, summary.run.reason, summary.run.exit_code) == ("running", None, None)


def test_why_it_stopped_is_told_until_it_goes_on() -> None:
    """What a run said when it stopped itself is in its summary, and gone once it was resumed."""
    said = "5 of the last 5 requests got 404: is it the right account?"
    journal, run_id = run_of({0: SUCCEEDED}, requests=2, reason=StopReason.SAFETY, message=said)
    halted = summarise(journal, run_id)
    assert (halted.run.message, halted.run.state, halted.run.exit_code) == (said, "halted", 4)
    assert said in text_of(halted)
    play(journal, run_id, {1: SUCCEEDED})
    assert summarise(journal, run_id).run.message == ""


@pytest.mark.parametrize(
    ("reason", "counts", "code"),
    [
        (StopReason.DONE, Counts(succeeded=3, skipped=1), 0),
        (StopReason.DONE, Counts(succeeded=3, failed=1), 3),
        (StopReason.DONE, Counts(succeeded=3, unknown=1), 3),
        (StopReason.DONE, Counts(succeeded=3, rejected=1), 3),
        (StopReason.SAFETY, Counts(failed=3, pending=1), 4),
        (StopReason.JOURNAL, Counts(pending=1), 74),
        (StopReason.TRY_LATER, Counts(pending=1), 75),
        (StopReason.UNTRUSTED, Counts(pending=1), 75),
        (StopReason.CREDENTIALS, Counts(pending=1), 77),
        (StopReason.SIGINT, Counts(pending=1), 130),
        (StopReason.SIGTERM, Counts(pending=1), 143),
    ],
)
def test_exit_codes(reason: StopReason, counts: Counts, code: int) -> None:
    """The exit code is 0 only if every request succeeded or needed nothing."""
    assert exit_code_of(reason, counts) == code


# --- what to do next ----------------------------------------------------------------------------


def steps(journal: MemoryJournal, run_id: str) -> list[tuple[str, str]]:
    return [(step.text, step.command) for step in summarise(journal, run_id).next_steps]


def test_nothing_is_left_to_do_after_a_success() -> None:
    """A run in which all went well asks for nothing."""
    assert steps(*run_of({0: SUCCEEDED}, requests=1)) == [("Nothing is left to do.", "")]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (None, "Go on with the 2 requests that are left."),
        (StopReason.SIGINT, "Go on with the 2 requests that are left."),
        (StopReason.SIGTERM, "Go on with the 2 requests that are left."),
        (
            StopReason.CREDENTIALS,
            "Mend the API key or the account, then go on with the 2 requests that are left.",
        ),
        (StopReason.SAFETY, "Look at what went wrong, then go on with the 2 requests that are left."),
        (StopReason.TRY_LATER, "When it is time, or the API can be reached again, go on with the 2 requests"),
        (StopReason.UNTRUSTED, "Have the server's certificate mended, or check the address, then go on with"),
        (StopReason.JOURNAL, "Make room for the journal, then go on with the 2 requests that are left."),
    ],
)
def test_a_run_that_stopped_is_resumed(reason: StopReason | None, text: str) -> None:
    """Whatever stopped a run, the first step is what to mend and the command that goes on."""
    journal, run_id = run_of({0: SUCCEEDED}, requests=3, reason=reason)
    ((said, command),) = steps(journal, run_id)
    assert said.startswith(text)
    assert command == f"sipbatch resume {run_id}"


def test_one_request_is_not_several() -> None:
    """The one request that is left is spoken of as one."""
    ((said, _),) = steps(*run_of({}, requests=1, reason=StopReason.SIGINT))
    assert said == "Go on with the one request that is left."


def test_one_cause_is_one_step() -> None:
    """Where one cause explains all failures, its remedy and its command are the next step."""
    journal, run_id = run_of({0: ((FAILED, NOT_FOUND),), 1: SUCCEEDED}, requests=2)
    said = "Check the number with the carrier, then retry."
    assert steps(journal, run_id) == [(said, f"sipbatch retry {run_id}")]


def test_several_causes_that_pass_are_retried_together() -> None:
    """Where all failures are worth sending again, one command does it."""
    endings = {0: ((FAILED, NOT_FOUND),), 1: ((FAILED, DOWN),), 2: SUCCEEDED}
    journal, run_id = run_of(endings, requests=3)
    said = "See the causes, then send again what failed or is unknown."
    assert steps(journal, run_id) == [(said, f"sipbatch retry {run_id}")]


def test_what_is_sent_again_is_kept_apart_from_what_is_mended() -> None:
    """With a payload that was refused among the failures, each cause has a step of its own."""
    endings = {0: ((FAILED, NOT_FOUND),), 1: ((FAILED, INVALID),), 2: ((FAILED, INVALID),)}
    journal, run_id = run_of(endings, requests=3, rejects=1)
    assert [command for _, command in steps(journal, run_id)] == [
        "sipbatch run results.csv --where result_state=failed --where result_error_code=VALIDATION_ERROR",
        f"sipbatch retry {run_id} --error-code NOT_FOUND",
        "sipbatch run results.csv --where result_state=rejected",
    ]


# --- for people ---------------------------------------------------------------------------------


def test_commands_fit_where_the_operator_stands() -> None:
    """In the text, commands have the report's path and the options of the workspace, safe to paste."""
    journal, run_id = run_of({0: ((FAILED, INVALID),)}, requests=1, rejects=1)
    folder = Path("my runs/run")
    text = render_summary(summarise(journal, run_id), folder, options=("--workspace", "my runs"))
    command = "sipbatch run --workspace 'my runs' 'my runs/run/results.csv' --where result_state=rejected"
    assert f"    {command}\n" in text
    assert "See my runs/run/results.csv." in text
    assert command_line("sipbatch retry x", "y", ()) == "sipbatch retry x"


def test_no_whole_phone_number_is_in_the_text() -> None:
    """The text ends up in logs of cron jobs: numbers are masked in it, and rows named instead."""
    endings = {0: ((FAILED, NOT_FOUND),), 1: ((FAILED, INVALID),)}
    journal, run_id = run_of(endings, requests=2, rejects=1)
    text = text_of(summarise(journal, run_id))
    assert not re.search(r"\+\d{8}", text)
    assert "numbers.csv:2 outbound: no such number +14155…11" in text
    assert masked("+14155550100, +1 and 14155550100") == "+14155…00, +1 and 14155550100"


def test_many_causes_are_told_shortly() -> None:
    """Of a hundred causes the text tells the biggest, and where the others are."""
    endings = {
        seq: ((FAILED, NOT_FOUND._replace(message=f"because of {chr(97 + seq) * 3}")),) for seq in range(20)
    }
    journal, run_id = run_of(endings, requests=20)
    text = text_of(summarise(journal, run_id))
    assert "20 causes explain 20 failures:" in text
    assert "and 12 causes more: see summary.json" in text
    assert len(text.splitlines()) < 70


def test_a_message_cannot_take_over_the_terminal() -> None:
    """Control characters in what the API says do not reach the terminal."""
    endings = {0: ((FAILED, NOT_FOUND._replace(message="\x1b[2J\r\ngone", error_code="\x07X")),)}
    journal, run_id = run_of(endings, requests=1)
    text = text_of(summarise(journal, run_id))
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\x1b[2J\\r\\ngone" in text


@given(st.floats(0, 1e7))
def test_durations_are_readable(duration_s: float) -> None:
    """However long a run took, the title says it in seconds, minutes or hours."""
    journal = MemoryJournal()
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    run_id = create(journal, draft.plan())
    journal.begin(run_id, START)
    journal.end(run_id, StopReason.DONE, START + duration_s)
    title = text_of(summarise(journal, run_id)).splitlines()[0]
    assert re.search(r"· (\d+\.\d s|\d+ min \d+ s|\d+ h \d+ min)$", title)


def test_a_derived_run_names_its_parent() -> None:
    """A retry is a run of its own that says what it repeats."""
    journal, parent = run_of({0: ((FAILED, NOT_FOUND),)}, requests=1)
    run_id = journal.derive_run(parent, Pick(frozenset({FAILED})), NewRun("t", START))
    assert summarise(journal, run_id).run.parent == parent


def test_what_the_wrong_key_cost_is_not_a_failure() -> None:
    """Requests that met a wrong key wait; nothing is called failed, and the key is to be mended."""
    endings = {0: ((RequestState.PENDING, NO_KEY),)}
    journal, run_id = run_of(endings, requests=2, reason=StopReason.CREDENTIALS)
    summary = summarise(journal, run_id)
    assert summary.causes == ()
    assert (summary.counts.pending, summary.run.exit_code) == (2, 77)


def test_an_event_without_words_is_no_message() -> None:
    """A stop that says nothing leaves the message empty."""
    journal, run_id = run_of({0: SUCCEEDED}, requests=1)
    journal.exchange(run_id, events=[Event(START, "stopped", {})])
    assert summarise(journal, run_id).run.message == ""


def test_a_kind_of_problem_is_counted_once_a_row() -> None:
    """A row with the same problem in two columns is one row with it."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    twice = [Problem(column, "is not filled in", "cell.blank") for column in ("phone_number", "template")]
    draft.row(2, "", "", "").reject(*twice)
    draft.row(3, "", "", "").reject(twice[0], Problem("direction", "is no direction", "direction.unknown"))
    journal = MemoryJournal()
    run_id = create(journal, draft.plan())
    rejects = summarise(journal, run_id).rejects
    assert [(problem.kind, problem.count, problem.row) for problem in rejects] == [
        ("cell.blank", 2, 2),
        ("direction.unknown", 1, 3),
    ]


def test_a_tally_of_nothing_is_zero() -> None:
    """Without requests and rejects all counts are zero."""
    assert Tally().counts == Counts()
