"""Two journals walked through the same steps: whatever can be read of them must be the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batch.errors import JournalError
from batch.journal.events import FOUND_RATE, Event
from batch.journal.known import Applied
from batch.journal.protocol import EVERYTHING, Claim, Ended, Journal, Pick, Shard
from batch.states import RequestState, StopReason
from batch.target import Outcome, Verdict
from tests.journal_promises.play import START, new_run
from tests.small_plans import FIRST_NUMBER, small_plan

_T = TypeVar("_T")

_CODES = ("", "DOWN", "BAD_REQUEST")
_REFUSED = "refused"

outcomes = st.builds(
    Outcome,
    verdict=st.sampled_from(Verdict),
    http_status=st.sampled_from([None, 200, 503]),
    error_code=st.sampled_from(_CODES),
    message=st.sampled_from(["", 'a "quoted" word', "naïve ☎"]),
    request_id=st.sampled_from(["", "req_1"]),
)
quarters = st.integers(0, 16).map(lambda quarter: quarter / 4)
cuts = st.sampled_from(
    [
        EVERYTHING,
        (Shard(0, 3), Shard(3, 6)),
        (Shard(3, 6), Shard(0, 3)),
        (Shard(2, 5),),
        (Shard(0, 2), Shard(4, 9)),
        (),
    ]
)
few = st.integers(0, 8)
moves = st.tuples(
    st.sampled_from(RequestState), outcomes, st.booleans(), st.booleans(), st.one_of(st.none(), quarters)
)


class JournalMachine(RuleBasedStateMachine):
    """Subclasses say what `make` is: two empty journals, and how to let go of them."""

    make: Callable[[], tuple[Journal, Journal, Callable[[], None]]]

    def __init__(self) -> None:
        super().__init__()
        one, other, self._let_go = type(self).make()
        self._journals = (one, other)
        self._runs: list[str] = []
        #: The claims in flight of every run that is going, by request, as each journal numbers them.
        self._open: dict[str, dict[int, tuple[Claim, Claim]]] = {}
        self._template_ids: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._now = START

    def teardown(self) -> None:
        self._let_go()

    # --- steps ----------------------------------------------------------------------------------

    @rule(
        count=few,
        templates=st.integers(1, 3),
        duplicates=st.dictionaries(st.integers(4, 7), st.integers(0, 3), max_size=2),
        rejects=st.integers(0, 2),
        blocks=st.sampled_from([0, 1, 10]),
        block=st.sampled_from(["alert_config", "codec_config", "alert_config+codec_config"]),
        account=st.sampled_from(["", "acme"]),
    )
    def create(self, account: str, **what: Any) -> None:
        """Pin a plan."""
        plan = small_plan(**what)
        run_id = self._both(lambda j: j.create_run(plan, new_run(account=account, at=self._now)))
        self._runs.append(run_id)

    @precondition(lambda self: self._runs)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Begin a run, or go on with one whose process died."""
        run_id = self._some_run(data)
        if self._both(lambda j: j.begin(run_id, self._now)) != _REFUSED:
            self._open[run_id] = {}

    @precondition(lambda self: self._open)
    @rule(
        data=st.data(),
        want=few,
        shards=cuts,
        later=quarters,
        max_retries=st.one_of(st.none(), st.integers(0, 3)),
        barred=st.sets(st.sampled_from(["template-0", "template-1"])),
    )
    def claim(
        self,
        data: st.DataObject,
        want: int,
        shards: tuple[Shard, ...],
        later: float,
        max_retries: int | None,
        barred: set[str],
    ) -> None:
        """Claim some, with every condition there is."""
        run_id = self._some_run_that_is_going(data)
        self._now += later
        self._exchange(run_id, barred, want=want, shards=shards, now=self._now, max_retries=max_retries)

    @precondition(lambda self: any(self._open.values()))
    @rule(data=st.data(), later=quarters, want=st.sampled_from([0, 0, 3]))
    def finish(self, data: st.DataObject, later: float, want: int) -> None:
        """End some claims and release others, mostly as is allowed; in the same commit, claim more."""
        run_id = data.draw(st.sampled_from([run_id for run_id, claims in self._open.items() if claims]))
        self._now += later
        seqs = sorted(self._open[run_id])
        chosen = data.draw(st.lists(st.sampled_from(seqs), unique=True, min_size=1))
        released = data.draw(st.lists(st.sampled_from(seqs), unique=True, max_size=1))
        ways = {seq: data.draw(moves) for seq in chosen if seq not in released}
        self._finish(run_id, ways, released, want)

    @precondition(lambda self: self._open)
    @rule(data=st.data(), seq=few, move=moves, is_release=st.booleans())
    def meddle(self, data: st.DataObject, seq: int, move: Any, is_release: bool) -> None:
        """End or release what may not be in flight at all."""
        run_id = self._some_run_that_is_going(data)
        claims = self._open[run_id].get(seq)
        if claims is not None and is_release:
            self._finish(run_id, {seq: move}, [seq], 0)
        elif is_release and seq < len(list(self._journals[0].results(run_id))):
            self._exchange(run_id, set(), released=[seq])

    @precondition(lambda self: self._runs)
    @rule(data=st.data(), reason=st.sampled_from(StopReason))
    def end(self, data: st.DataObject, reason: StopReason) -> None:
        """End a run; what is in flight then stays so, as if it had died."""
        run_id = self._some_run(data)
        if self._both(lambda j: j.end(run_id, reason, self._now)) != _REFUSED:
            self._open.pop(run_id)

    @precondition(lambda self: self._runs)
    @rule(
        data=st.data(),
        states=st.sets(st.sampled_from(RequestState)),
        code=st.sampled_from([None, *_CODES]),
        template=st.sampled_from([None, "template-0"]),
    )
    def derive(
        self, data: st.DataObject, states: set[RequestState], code: str | None, template: str | None
    ) -> None:
        """Take up some requests again."""
        parent = self._some_run(data)
        pick = Pick(frozenset(states), code, template)
        run_id = self._both(lambda j: j.derive_run(parent, pick, new_run(at=self._now)))
        self._runs.append(run_id)

    @precondition(lambda self: self._open)
    @rule(data=st.data(), kind=st.sampled_from(["paused", FOUND_RATE]), rate_per_s=quarters)
    def note(self, data: st.DataObject, kind: str, rate_per_s: float) -> None:
        """Something happened to a run."""
        self._exchange(
            self._some_run_that_is_going(data),
            set(),
            events=[Event(self._now, kind, {"rate_per_s": rate_per_s})],
        )

    @rule()
    def settle(self) -> None:
        """Take in what runs did whose process died; one that goes on is none the worse for it."""
        self._both(lambda j: j.settle())

    # --- the comparison -------------------------------------------------------------------------

    @invariant()
    def all_that_can_be_read_is_the_same(self) -> None:
        """Both journals tell the same story."""
        self._both(lambda j: j.runs())
        for account in ("", "acme"):
            self._both(lambda j, account=account: _plain(j.applied("https://api.test", account)))
            self._both(lambda j, account=account: _entries(j, account))
        for number in range(FIRST_NUMBER, FIRST_NUMBER + 2):
            self._both(lambda j, number=number: _history(j, number))
        for run_id in self._runs:
            self._both(lambda j, run_id=run_id: _story(j, run_id))

    def _some_run(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self._runs), label="run")

    def _some_run_that_is_going(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self._open)), label="run")

    def _finish(self, run_id: str, ways: dict[int, Any], released: list[int], want: int) -> None:
        endings = [
            [
                Ended(claims[side], state, outcome, self._now, 0.5, counted, due_at, is_free)
                for seq, (state, outcome, counted, is_free, due_s) in ways.items()
                for claims in [self._open[run_id][seq]]
                for due_at in [None if due_s is None else self._now + due_s]
            ]
            for side in (0, 1)
        ]
        if self._exchange(
            run_id,
            set(),
            endings=endings,
            released=released,
            want=want,
            shards=EVERYTHING,
            now=self._now,
        ):
            for seq in {*ways, *released}:
                if self._journals[0].counts(run_id) and not self._is_in_flight(run_id, seq):
                    self._open[run_id].pop(seq, None)

    def _is_in_flight(self, run_id: str, seq: int) -> bool:
        rows = list(self._journals[0].results(run_id))
        return rows[seq].state is RequestState.IN_FLIGHT

    def _exchange(self, run_id: str, barred: set[str], *, endings: Any = ((), ()), **what: Any) -> bool:
        """The same exchange with both; returns whether it was made."""
        results: list[Any] = []
        for side, journal in enumerate(self._journals):
            ids = self._template_ids[side]
            try:
                claims = journal.exchange(
                    run_id,
                    **what,
                    ended=endings[side],
                    barred_templates={ids[name] for name in barred if name in ids},
                )
            except JournalError:
                results.append(_REFUSED)
                continue
            results.append(claims)
        assert (results[0] == _REFUSED) == (results[1] == _REFUSED), results
        if results[0] == _REFUSED:
            return False
        one, other = ([self._told(side, run_id, claim) for claim in results[side]] for side in (0, 1))
        assert one == other
        for pair in zip(*results, strict=True):
            self._open[run_id][pair[0].seq] = pair
        return True

    def _told(self, side: int, run_id: str, claim: Claim) -> tuple[Any, ...]:
        """A claim without what each journal numbers in its own way."""
        journal = self._journals[side]
        template = list(journal.results(run_id))[claim.seq].template
        assert self._template_ids[side].setdefault(template, claim.template_id) == claim.template_id
        return (claim._replace(payload_id=0, template_id=0), template, journal.payload(claim.payload_id))

    def _both(self, ask: Callable[[Journal], _T]) -> _T:
        answers: list[Any] = []
        for journal in self._journals:
            try:
                answers.append(ask(journal))
            except JournalError:
                answers.append(_REFUSED)
        assert answers[0] == answers[1]
        answer: _T = answers[0]
        return answer


def _plain(applied: Applied) -> list[tuple[Any, ...]]:
    return [
        (key, applied.sha256s[payload_id], applied.doubts[doubt_id], applied.runs[run_id])
        for key, payload_id, doubt_id, run_id in zip(
            applied.keys.tolist(),
            applied.payload_ids.tolist(),
            applied.doubt_ids.tolist(),
            applied.run_ids.tolist(),
            strict=True,
        )
    ]


def _entries(journal: Journal, account: str) -> list[tuple[Any, ...]]:
    return [
        (entry._replace(payload_id=0), journal.payload(entry.payload_id))
        for entry in journal.fleet("https://api.test", account)
    ]


def _history(journal: Journal, number: int) -> list[tuple[Any, ...]]:
    return [
        (
            chapter._replace(payload_id=0, before_id=None),
            *_bodies(journal, chapter.payload_id, chapter.before_id),
        )
        for chapter in journal.history(number)
    ]


def _touches(journal: Journal, run_id: str) -> list[tuple[Any, ...]]:
    return [
        (
            touch._replace(payload_id=0, before_id=None, now_id=0),
            *_bodies(journal, touch.payload_id, touch.before_id, touch.now_id),
        )
        for touch in journal.touches(run_id)
    ]


def _bodies(journal: Journal, *payload_ids: int | None) -> list[bytes]:
    return [b"" if payload_id is None else journal.payload(payload_id) for payload_id in payload_ids]


def _story(journal: Journal, run_id: str) -> tuple[Any, ...]:
    return (
        journal.run(run_id),
        journal.counts(run_id),
        list(journal.results(run_id)),
        list(journal.attempts(run_id)),
        list(journal.rejects(run_id)),
        list(journal.cells(run_id)),
        journal.events(run_id),
        journal.next_due(run_id),
        journal.next_due(run_id, shards=(Shard(0, 2), Shard(4, 5))),
        journal.shards(run_id, 3),
        journal.found_rate(run_id),
        _touches(journal, run_id),
    )
