"""Promises of `batch.page.timeline`: what happened, in episodes that people can read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from batch.journal.events import Event
from batch.journal.memory import MemoryJournal
from batch.page.timeline import Episode, Timeline, Tone, timeline_of
from batch.page.words import per_second, span
from batch.states import RequestState, RunState
from tests.report_runs import create, mixed_draft

AT = 1_785_200_400.0

BEGAN = Event(AT, "began", {"left": 5_000, "lost": 0, "rate": "20/s"})


def told(*events: Event, state: RunState = RunState.RUNNING) -> Timeline:
    journal = MemoryJournal()
    run = journal.run(create(journal, mixed_draft().plan()))
    return timeline_of(replace(run, state=state, ended_at=AT + 900), events, {})


def throttled(at: float, wait_s: float, rate_per_s: float = 14.0) -> Event:
    return Event(AT + at, "throttled", {"wait_s": wait_s, "rate_per_s": rate_per_s})


def outage(at: float, message: str = "HTTP 502 Bad Gateway", pause_s: float = 1.0) -> Event:
    return Event(AT + at, "outage", {"pause_s": pause_s, "message": message, "failed_probes": 0})


def over(at: float) -> Event:
    return Event(AT + at, "outage_over", {})


def texts(timeline: Timeline) -> list[tuple[str, str]]:
    return [(episode.title, episode.text) for episode in timeline.episodes]


def test_a_run_from_beginning_to_end() -> None:
    """The beginning says how much and how fast, the end that it is one."""
    assert texts(told(BEGAN, state=RunState.COMPLETED)) == [
        ("Sending began", "5,000 requests to send, at most 20/s."),
        ("Completed", "Nothing was left to send."),
    ]


def test_a_resumed_run_says_what_was_in_doubt() -> None:
    """The second beginning is a resume, and says how many requests a dead process left in flight."""
    resumed = Event(AT + 600, "began", {"left": 100, "lost": 3, "rate": "20/s"})
    assert texts(told(BEGAN, resumed))[1] == (
        "Sending resumed",
        "100 requests to send, at most 20/s. 3 requests had been in flight when the last process died.",
    )


def test_a_hundred_waits_are_one_episode() -> None:
    """Waits close to each other are told together: how many, how long in all, and the lowest rate."""
    timeline = told(BEGAN, *(throttled(10 * n, 2.0, 14.0 - n / 10) for n in range(100)))
    assert texts(timeline)[1:] == [
        (
            "Told to wait",
            "The API asked to wait 100 times; the whole run paused for 3 min 20 s. The rate was lowered to"
            " 4.1 a second.",
        )
    ]
    assert timeline.paused_s == pytest.approx(200)


def test_waits_far_apart_are_told_apart() -> None:
    """An hour between two waits makes two episodes of them."""
    episodes = told(throttled(0, 2.0), throttled(3_600, 2.0)).episodes
    assert [episode.from_at - AT for episode in episodes] == [0, 3_600]


def test_pauses_that_overlap_count_once() -> None:
    """Two waits at a time, or a wait within an outage, make nobody wait twice as long."""
    assert told(throttled(0, 10.0), throttled(5, 10.0)).paused_s == pytest.approx(15)
    assert told(outage(0, pause_s=30), throttled(10, 5.0), over(60)).paused_s == pytest.approx(60)


def test_an_outage_is_told_with_its_end() -> None:
    """From the first failure to the first answer is one episode, with what came back and the probes."""
    (episode,) = told(outage(0), outage(30), outage(90), over(120)).episodes
    assert episode == Episode(
        AT,
        AT + 120,
        Tone.BAD,
        "Outage",
        "For 2 min the API did not answer as it should: HTTP 502 Bad Gateway. 2 probes failed. Then it"
        " answered again.",
    )


def test_an_outage_without_an_end_does_not_claim_one() -> None:
    """An outage in which the process died lasts as long as is known, and nobody says that it was over."""
    resumed = Event(AT + 3_600, "began", {"left": 1, "lost": 0, "rate": "20/s"})
    episode = told(outage(0), outage(30, pause_s=2.0), resumed).episodes[0]
    assert episode.to_at == AT + 32
    assert "answered again" not in episode.text


def test_short_outages_are_told_together() -> None:
    """The breaker that opens for a second now and then is one line, not seven."""
    events = [event for n in range(7) for event in (outage(10 * n), over(10 * n + 0.01))]
    timeline = told(*events)
    assert texts(timeline) == [
        (
            "Outages",
            "7 times, several answers in a row were not as they should be, and sending paused for 7.0 s in"
            " all. The first: HTTP 502 Bad Gateway.",
        )
    ]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("HTTP 502 HTTP_502 HTTP 502 Bad Gateway", "HTTP 502 Bad Gateway"),
        ("HTTP 200 NOT_THE_API HTTP 200 OK, but an HTML page", "HTTP 200 OK, but an HTML page"),
        ("CONNECTION_LOST the connection broke", "CONNECTION_LOST: the connection broke"),
        ("HTTP 500 INTERNAL_ERROR Something went wrong.", "HTTP 500 INTERNAL_ERROR: Something went wrong"),
        ("the name cannot be resolved", "the name cannot be resolved"),
    ],
)
def test_an_answer_is_not_said_twice(message: str, said: str) -> None:
    """What the engine notes of an answer is told once, with its code set off."""
    assert f": {said}." in told(outage(0, message)).episodes[0].text


def test_a_quarantined_template_is_named_if_it_is_known() -> None:
    """The name stands in the event, or only one template fits; else none is guessed."""
    journal = MemoryJournal()
    run = journal.run(create(journal, mixed_draft().plan()))
    event = Event(AT, "template_quarantined", {"template_id": 7, "message": "HTTP 400 no"})
    failed, fine = Counter({RequestState.FAILED: 10}), Counter({RequestState.SUCCEEDED: 1})

    def text(event: Event, templates: dict[str, Counter[RequestState]]) -> str:
        return timeline_of(run, [event], templates).episodes[0].text

    assert "from the template bad, so no more" in text(event, {"bad": failed, "good": fine})
    assert "from one template, so no more" in text(event, {"bad": failed, "worse": failed})
    named = replace(event, detail={**event.detail, "template": "voice"})
    assert "from the template voice, so no more" in text(named, {"bad": failed, "worse": failed})


def test_being_stopped_and_stopping_are_two_things() -> None:
    """An operator interrupts a run; a run that halts stops itself, and says why."""
    stops = [
        Event(AT, "stopped", {"reason": "sigint", "message": "interrupted by SIGINT"}),
        Event(
            AT + 1,
            "stopped",
            {"reason": "safety", "message": "the first 20 requests all ended with HTTP 404"},
        ),
    ]
    assert texts(told(*stops)) == [
        ("Interrupted", "Interrupted by SIGINT."),
        ("Stopped itself", "The first 20 requests all ended with HTTP 404."),
    ]


def test_what_is_not_known_is_told_by_its_name() -> None:
    """An event of a newer version, or one without the details it should have, is told and breaks nothing."""
    kinds = ("began", "throttled", "outage", "canary_passed", "template_quarantined", "stopped", "rate_found")
    timeline = told(*(Event(AT + n, kind, {}) for n, kind in enumerate((*kinds, "moved_house"))))
    assert "Moved house" in [episode.title for episode in timeline.episodes]
    assert len(timeline.episodes) == len(kinds) + 1


@pytest.mark.parametrize(
    ("duration_s", "said"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3_600, "1 h"),
        (3_605, "1 h"),
        (29_100, "8 h 5 min"),
        (180_000, "2 d 2 h"),
    ],
)
def test_lengths_of_time(duration_s: float, said: str) -> None:
    """A length is said by its two largest units, next to each other."""
    assert span(duration_s) == said


@pytest.mark.parametrize(
    ("rate", "said"), [(0.25, "0.25"), (63.84, "63.8"), (99.96, "100"), (1_352.3, "1,352")]
)
def test_rates(rate: float, said: str) -> None:
    """A rate is said to three figures, and never as a power of ten."""
    assert per_second(rate) == said
