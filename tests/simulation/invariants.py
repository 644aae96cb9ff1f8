"""What must hold in every simulated run, at every send, at every death, and at its end."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import cast

from batch.journal.protocol import Counts, Journal, ResultRow
from batch.plans import DIRECTIONS, Plan
from batch.reporting import write_report
from batch.runner import Ending, RunOptions
from batch.states import RequestState, StopReason
from batch.target import Verdict
from tests.simulation.mortal_journals import MortalJournal
from tests.simulation.scripted_target import LONGEST_WAIT_S, Key, ScriptedTarget, Send
from tests.simulation.world import World

_FINAL = [state for state in RequestState if state.is_final]
_FAILED = (RequestState.FAILED, RequestState.UNKNOWN)
_ENDED = (RequestState.SUCCEEDED, *_FAILED)

#: What the spacing of sends may differ by, in seconds, because clocks are made of floats.
_FLOAT_S = 1e-6


def key_of(row: ResultRow) -> Key:
    """A result's key as the target names it."""
    return f"+{row.number}", DIRECTIONS[row.direction]


class Invariants:
    """Looks at one run through all its lives, and tells its world which promises were broken."""

    def __init__(
        self, world: World, target: ScriptedTarget, plan: Plan, run_id: str, options: RunOptions
    ) -> None:
        self._world = world
        self._target = target
        self._plan = plan
        self._run_id = run_id
        self._options = options
        self._ended: set[Key] = set()
        self._sent_in_life: set[Key] = set()
        self._is_past_canary = False
        self._canary = 0

    # --- while it goes on -----------------------------------------------------------------------

    def begin_life(self, journal: MortalJournal) -> None:
        """What is known when a process begins."""
        rows = list(journal.results(self._run_id))
        self._ended = {key_of(row) for row in rows if row.state in _ENDED}
        self._sent_in_life.clear()
        left = [row for row in rows if not row.state.is_final]
        groups = len({(row.template, row.direction) for row in left})
        canary = self._options.canary if isinstance(self._options.canary, int) else len(left)
        self._canary = min(max(canary, groups), len(left))

    def check_send(self, journal: MortalJournal, send: Send) -> None:
        """What is sent is claimed on disk, was not ended before, and does not run ahead of the canary."""
        if send.key in self._ended:
            self._world.broken(f"{send.key} was sent although it had ended")
        if self._target.in_flight.total() > self._options.most_workers:
            self._world.broken(f"{self._target.in_flight.total()} requests are in flight at once")
        self._sent_in_life.add(send.key)
        if len(self._sent_in_life) > self._canary and not self._has_passed_canary(journal):
            self._world.broken("more was sent than the canary, before it had passed")

    def _has_passed_canary(self, journal: MortalJournal) -> bool:
        if not self._is_past_canary:
            kinds = {event.kind for event in journal.events(self._run_id)}
            self._is_past_canary = "canary_passed" in kinds
        return self._is_past_canary

    def check_shown(self, journal: MortalJournal, shown: Counts) -> None:
        """Progress never runs ahead of what is on disk, and loses nothing."""
        on_disk = journal.counts(self._run_id)
        if any(shown.of(state) > on_disk.of(state) for state in _FINAL):
            self._world.broken(f"progress shows {shown}, on disk are {on_disk}")
        if shown.requests != self._plan.request_count:
            self._world.broken(f"progress shows {shown.requests} of {self._plan.request_count} requests")

    # --- when a process has ended ---------------------------------------------------------------

    def check_crash(self, journal: MortalJournal) -> None:
        """Little has to be sent again; what was ended stays so."""
        sent = Counter(send.key for send in self._target.sends)
        again = [
            row
            for row in journal.results(self._run_id)
            if row.state is RequestState.IN_FLIGHT and sent[key_of(row)] > row.sends
        ]
        if len(again) > 2 * self._options.most_workers:
            self._world.broken(f"{len(again)} requests are sent again after a crash")
        self._check_rows(journal)

    def check_cancelled(self, journal: MortalJournal) -> None:
        """A caller who cancels a run finds all that was sent in the journal."""
        self._check_rows(journal)
        self._check_none_in_flight(journal)

    def check_ending(self, journal: MortalJournal, ending: Ending) -> None:
        """What a run says when it ends is what the journal says."""
        rows = self._check_rows(journal)
        self._check_none_in_flight(journal)
        record = journal.run(self._run_id)
        if (record.state, record.reason) != (ending.reason.run_state, ending.reason):
            self._world.broken(f"the run ended by {ending.reason}, the journal says {record.state}")
        if journal.counts(self._run_id) != ending.counts:
            self._world.broken(f"the run ended with {ending.counts}, the journal has otherwise")
        if ending.reason is StopReason.DONE and ending.counts.left:
            self._world.broken(f"the run is done, and {ending.counts.left} requests are left")
        if "asked to wait" in ending.message and self._target.longest_asked_s <= LONGEST_WAIT_S:
            self._world.broken(f"the run ended with {ending.message!r}, and nobody asked it to")
        if "in quarantine" in ending.message:
            self._check_quarantine(journal, rows)
        self._check_failures(rows)

    def check_done(self, journal: MortalJournal, folder: Path) -> None:
        """What must be true at the very end of a run; its report is written into `folder`."""
        self._check_rates()
        self._check_sends(journal)
        self._check_applied(journal)
        self._check_report(journal, folder)

    def _check_none_in_flight(self, journal: MortalJournal) -> None:
        if journal.counts(self._run_id).in_flight:
            self._world.broken("requests are in flight, and nobody is sending")

    def _check_rows(self, journal: MortalJournal) -> list[ResultRow]:
        """Every row of the plan is there, in order, in a state that is true."""
        broken, plan = self._world.broken, self._plan
        if not journal.is_sound():
            broken("the journal's file is damaged")
        rows = list(journal.results(self._run_id))
        if [(row.row, row.number) for row in rows] != list(
            zip(plan.rows.tolist(), plan.numbers.tolist(), strict=True)
        ):
            broken("the journal's rows are not the plan's")
        if len(list(journal.rejects(self._run_id))) != len(plan.rejects):
            broken("the journal's rejects are not the plan's")
        if sum(chunk.row_count for chunk in journal.cells(self._run_id)) != plan.sheets[0].row_count:
            broken("the journal's cells are not the sheet's")
        counted = Counter(row.state.value for row in rows)
        if Counts(**counted, rejected=len(plan.rejects)) != journal.counts(self._run_id):
            broken(f"the counts do not add up: {journal.counts(self._run_id)}")
        verdicts = self._verdicts(journal)
        for row in rows:
            self._check_row(row, verdicts[row.seq])
        return rows

    def _verdicts(self, journal: MortalJournal) -> defaultdict[int, list[str]]:
        verdicts: defaultdict[int, list[str]] = defaultdict(list)
        for attempt in journal.attempts(self._run_id):
            verdicts[attempt.seq].append(attempt.verdict)
        return verdicts

    def _check_row(self, row: ResultRow, verdicts: Sequence[str]) -> None:
        key, cap = key_of(row), self._options.retry.max_attempts
        if row.attempts > cap:
            self._world.broken(f"{key} had {row.attempts} attempts")
        if len(verdicts) != row.sends:
            self._world.broken(f"{key} was sent {row.sends} times and has {len(verdicts)} attempts")
        last = verdicts[-1] if verdicts else ""
        is_used_up = row.attempts == cap
        match row.state:
            case RequestState.SUCCEEDED:
                is_true = self._was_accepted(key) and self._payload_of(row) in self._target.applied[key]
            case RequestState.FAILED:
                was_never_in_doubt = "ambiguous" not in verdicts
                is_true = last == "refused" or (last == "transient" and is_used_up and was_never_in_doubt)
            case RequestState.UNKNOWN:
                is_true = is_used_up and "ambiguous" in verdicts
            case RequestState.RETRYING:
                is_true = row.due_at is not None and last in ("transient", "ambiguous")
            case RequestState.SKIPPED:
                is_true = not verdicts and row.duplicate_of is not None
            case RequestState.PENDING | RequestState.IN_FLIGHT:
                is_true = True
        if not is_true:
            self._world.broken(
                f"{key} is {row.state} after {list(verdicts)}, {row.attempts} of {cap} counted"
            )

    def _was_accepted(self, key: Key) -> bool:
        return any(
            send.outcome is not None and send.outcome.verdict is Verdict.ACCEPTED
            for send in self._target.sends
            if send.key == key
        )

    def _payload_of(self, row: ResultRow) -> bytes:
        return self._plan.payloads[self._plan.payload_ids[row.seq]].body

    def _check_failures(self, rows: Sequence[ResultRow]) -> None:
        """Sent in waves, a run fails for no more than `--max-failures`, and the one that stops it."""
        limit = self._options.max_failures
        if self._world.is_peaceful or limit is None or limit.count is None or not self._has_waves:
            return
        failed = [row for row in rows if row.state in _FAILED and key_of(row) not in self._ended]
        if len(failed) > limit.count + 1:
            self._world.broken(f"{len(failed)} requests failed in one life, of {limit.count} that may")

    @property
    def _has_waves(self) -> bool:
        return self._options.canary is not None or bool(self._options.waves)

    def _check_quarantine(self, journal: MortalJournal, rows: Sequence[ResultRow]) -> None:
        """A run that ends because of a template's quarantine has sent all others."""
        left = {row.template for row in rows if not row.state.is_final}
        barred = sum(event.kind == "template_quarantined" for event in journal.events(self._run_id))
        if len(left) > barred:
            self._world.broken(
                f"requests of {sorted(left)} are left, and {barred} templates are in quarantine"
            )

    # --- at the very end ------------------------------------------------------------------------

    def _check_rates(self) -> None:
        """In any window the target saw at most the rate, retries included."""
        for (life, rates), sends in groupby(self._target.sends, key=lambda send: (send.life, send.rates)):
            times = [send.at_s for send in sends]
            for rate in rates:
                most = int(rate.sends)
                for first, after in zip(times, times[most:], strict=False):
                    if after - first < rate.per_s - _FLOAT_S:
                        self._world.broken(f"more than {rate} from {first:.3f} s on, in life {life}")
                        return

    def _check_sends(self, journal: MortalJournal) -> None:
        """Every send is in the journal, and nothing else is but what a dead process may have sent."""
        sent = Counter(send.key for send in self._target.sends)
        lost = Counter(
            attempt.seq for attempt in journal.attempts(self._run_id) if attempt.error_code == "LOST"
        )
        for row in journal.results(self._run_id):
            if row.state is RequestState.SKIPPED:
                continue
            if not row.sends - lost[row.seq] <= sent[key_of(row)] <= row.sends:
                self._world.broken(
                    f"{key_of(row)} was sent {sent[key_of(row)]} times; the journal has {row.sends} sends, "
                    f"of which {lost[row.seq]} were lost"
                )

    def _check_report(self, journal: MortalJournal, folder: Path) -> None:
        """The report has every row of the sheet once, with what the journal and the target say of it."""
        write_report(cast("Journal", journal), self._run_id, folder, formats=("csv",))
        with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        rows = Counter(int(line["result_row"]) for line in lines)
        if rows != Counter([*self._plan.rows.tolist(), *(reject.row for reject in self._plan.rejects)]):
            self._world.broken("the report's rows are not the sheet's")
        told = {int(line["result_row"]): line for line in lines}
        for row in journal.results(self._run_id):
            line, sha256 = told.get(row.row, {}), self._plan.payloads[self._plan.payload_ids[row.seq]].sha256
            says = [line.get(name) for name in ("phone_number", "direction", "result_state")]
            if says != [*key_of(row), row.state.value] or line.get("result_payload_sha256") != sha256:
                self._world.broken(f"the report says {says} of {key_of(row)}, which is {row.state}")

    def _check_applied(self, journal: MortalJournal) -> None:
        """What was last applied to a number is the plan's payload, and the fleet's record says so."""
        applied = journal.applied(self._target.name)
        shas = {payload.body: payload.sha256 for payload in self._plan.payloads}
        known = {
            (f"+{key // 2}", DIRECTIONS[key % 2]): (applied.sha256s[payload_id], bool(certain))
            for key, payload_id, certain in zip(
                applied.keys.tolist(), applied.payload_ids.tolist(), applied.certain, strict=True
            )
        }
        for row in journal.results(self._run_id):
            key = key_of(row)
            if row.state is RequestState.SKIPPED:
                continue
            payloads = self._target.applied[key]
            if payloads and payloads[-1] != self._payload_of(row):
                self._world.broken(f"the last payload applied to {key} is not the plan's")
            if payloads and known.get(key, ("", False))[0] != shas[payloads[-1]]:
                self._world.broken(f"{key} was given a payload that the fleet's record does not know of")
            if known.get(key, ("", False))[1] and not payloads:
                self._world.broken(f"the fleet's record is certain of {key}, which was given nothing")
