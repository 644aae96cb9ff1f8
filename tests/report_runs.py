"""Runs for the tests of reports: plans written down by hand, and journals in which they were played."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from batch.guard import unguard
from batch.journal.events import Event
from batch.journal.protocol import Claim, Ended, Journal, NewRun, Shard
from batch.plans import DIRECTIONS, CellChunk, Payload, Plan, Problem, Reject, SheetPin, Warned, plan_digest
from batch.reporting import check_report
from batch.states import RequestState, StopReason
from batch.target import Advice, Outcome, Verdict

START = 1_785_144_600.0  #: 2026-07-27T09:30:00Z
EVERYTHING = (Shard(0, 1 << 40),)

ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200, request_id="req_1")
NOT_FOUND = Outcome(
    Verdict.REFUSED, Advice.WRONG_ADDRESS, 404, "NOT_FOUND", "no such number +14155550111", "req_2"
)
INVALID = Outcome(
    Verdict.REFUSED, http_status=400, error_code="VALIDATION_ERROR", message="=codecs[0] must be one of PCMU"
)
BUSY = Outcome(Verdict.TRANSIENT, Advice.THROTTLED, 429, "TOO_MANY_REQUESTS", "Rate limit exceeded", "req_3")
DOWN = Outcome(Verdict.TRANSIENT, Advice.THROTTLED, 503, "HTTP_503", "HTTP 503 Service Unavailable")
NO_ANSWER = Outcome(Verdict.AMBIGUOUS, error_code="TIMEOUT", message="no answer within 30 s")
NO_KEY = Outcome(Verdict.REFUSED, Advice.CREDENTIALS, 401, "AUTH_FAILURE", "The key is not valid")

Step = tuple[RequestState, Outcome]

SUCCEEDED: tuple[Step, ...] = ((RequestState.SUCCEEDED, ACCEPTED),)


@dataclass
class Draft:
    """A plan being written down: sheets with their rows, and what each row became."""

    pins: list[SheetPin] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    keeps_cells: bool = True
    _headers: list[tuple[str, ...]] = field(default_factory=list)
    _rows: list[list[tuple[int, tuple[str, ...]]]] = field(default_factory=list)
    _requests: list[tuple[int, int, int, str, int, str, int]] = field(default_factory=list)

    def sheet(self, name: str, *header: str) -> None:
        """Begin a sheet with this header; `phone_number`, `direction` and `template` are in it."""
        self._headers.append(header)
        self._rows.append([])

        words = [header.index(word) for word in ("phone_number", "direction", "template")]
        self.pins.append(SheetPin(name, f"sheets/{name}", "5" * 64, header, *words, 0))

    def row(self, row: int, *cells: str) -> Draft:
        """A row of the sheet that was begun last."""
        self._rows[-1].append((row, cells))
        return self

    def request(
        self,
        number: int,
        direction: str = "outbound",
        template: str = "voice",
        *,
        note: str = "",
        duplicate_of: int = -1,
    ) -> Draft:
        """A request of the row that was written down last."""
        sheet_id = len(self._rows) - 1
        row = self._rows[-1][-1][0]
        at = DIRECTIONS.index(direction)
        self._requests.append((number, at, sheet_id, template, row, note, duplicate_of))
        return self

    def reject(self, *problems: Problem) -> Draft:
        """The row that was written down last is rejected."""
        self.rejects.append(Reject(len(self._rows) - 1, self._rows[-1][-1][0], problems))
        return self

    def plan(self) -> Plan:
        """The plan of all of it."""
        requests = self._requests
        templates = tuple(dict.fromkeys(request[3] for request in requests))
        notes = ("", *dict.fromkeys(request[5] for request in requests if request[5]))
        payloads = tuple(Payload.of({"codec_config": {"codecs": [name]}}) for name in templates)
        numbers = np.array([request[0] for request in requests], dtype=np.int64)
        directions = np.array([request[1] for request in requests], dtype=np.uint8)
        template_ids = np.array([templates.index(request[3]) for request in requests], dtype=np.int32)
        cells = [
            CellChunk.pack(sheet_id, [row for row, _ in part], list(zip(*(c for _, c in part), strict=True)))
            for sheet_id, rows in enumerate(self._rows)
            for part in (rows[:3], rows[3:])
            if part and self.keeps_cells
        ]
        return Plan(
            sheets=tuple(
                SheetPin(
                    pin.name,
                    pin.path,
                    pin.sha256,
                    pin.header,
                    pin.number_column,
                    pin.direction_column,
                    pin.template_column,
                    len(rows),
                )
                for pin, rows in zip(self.pins, self._rows, strict=True)
            ),
            payloads=payloads,
            templates=templates,
            numbers=numbers,
            directions=directions,
            payload_ids=template_ids,
            template_ids=template_ids,
            sheet_ids=np.array([request[2] for request in requests], dtype=np.int32),
            rows=np.array([request[4] for request in requests], dtype=np.int32),
            duplicate_of=np.array([request[6] for request in requests], dtype=np.int64),
            note_ids=np.array([notes.index(request[5]) for request in requests], dtype=np.int32),
            notes=notes,
            rejects=tuple(self.rejects),
            warnings=tuple(self.warnings),
            digest=plan_digest(numbers, directions, template_ids, payloads),
            template_digests=dict.fromkeys(templates, "7" * 64),
            cells=tuple(cells),
        )


def mixed_draft(*, keeps_cells: bool = True) -> Draft:
    """Two sheets with something of everything: 11 requests and 2 rejects of 10 rows."""
    draft = Draft(keeps_cells=keeps_cells)
    draft.sheet("numbers.csv", "phone_number", "template", "direction", "customer", "backup_host")
    draft.row(2, "(415) 555-0100", "voice", "", "Möller & Söhne", "sip.a.example").request(
        14155550100, note='was "{was}", taken for {number} of the region US'
    )
    draft.row(3, "+14155550110..0112", "voice", "outbound", '=HYPERLINK("http://x")', "")
    draft.request(14155550110).request(14155550111).request(14155550112)
    draft.row(4, "1.41556E+10", "nobody", "", "'=quoted", "-5").reject(
        Problem("phone_number", '"1.41556E+10" has lost digits: write it as text', "number.lost_digits"),
        Problem("template", 'there is no template "nobody"', "template.unknown"),
    )
    draft.row(5, "+14155550100", "voice", "", "line\nbreak", "a\rb").request(14155550100, duplicate_of=0)
    draft.row(7, "+442079460018", "backup", "outbound", ' "quotes", commas ', "").request(
        442079460018, template="backup"
    )
    draft.row(8, "+442079460019", "backup", "outbound", "@sum", "+1+1").request(
        442079460019, template="backup"
    )
    draft.sheet(
        "book.xlsx#Main", "phone_number", "phone_number_to", "Customer", "site", "direction", "template"
    )
    draft.row(2, "+4930123456", "", "Acme", "Berlin", "both", "")
    draft.request(4930123456, "inbound", "voice").request(4930123456, "outbound", "voice")
    draft.row(3, "+4930123457", "+4930123400", "=Acme", "", "", "voice").reject(
        Problem("", "the block ends before it begins", "block.order")
    )
    draft.row(4, "+4930123458", "", "", "", "inbound", "voice").request(4930123458, "inbound", "voice")
    draft.row(5, "+4930123459", "", "", "", "inbound", "voice").request(4930123459, "inbound", "voice")
    draft.warnings.append(
        Warned("columns.unused", 1, 0, 1, "customer", 'no template uses the values of: "customer"')
    )
    return draft


#: How the requests of `mixed_draft` ended, by their place in the plan; 4 is a duplicate.
MIXED: dict[int, tuple[Step, ...]] = {
    0: SUCCEEDED,
    1: SUCCEEDED,
    2: ((RequestState.FAILED, NOT_FOUND),),
    3: ((RequestState.FAILED, NOT_FOUND),),
    5: ((RequestState.FAILED, INVALID),),
    6: ((RequestState.RETRYING, NO_ANSWER), (RequestState.UNKNOWN, NO_ANSWER)),
    7: ((RequestState.RETRYING, BUSY), *SUCCEEDED),
    8: ((RequestState.RETRYING, DOWN), (RequestState.FAILED, DOWN)),
    9: SUCCEEDED,
    10: SUCCEEDED,
}


def create(journal: Journal, plan: Plan) -> str:
    """Pin the plan as a run."""
    return journal.create_run(plan, NewRun("https://api.example.com", START - 5, version="1.2.3"))


def play(
    journal: Journal,
    run_id: str,
    script: Mapping[int, Sequence[Step]],
    *,
    reason: StopReason | None = StopReason.DONE,
    message: str = "",
    left_in_flight: Sequence[int] = (),
) -> None:
    """Begin a run, end its attempts as written down, and end it for a reason, or not at all.

    What is not in the script is claimed and let go again, or kept where `left_in_flight` has it.
    """
    journal.begin(run_id, START)
    journal.exchange(run_id, events=[Event(START, "began", {"left": len(script)})])
    waiting = {seq: list(steps) for seq, steps in script.items()}
    released: list[int] = []
    while claims := journal.exchange(run_id, want=1_000, shards=EVERYTHING, now=START + 1_000):
        ended = [_ended(claim, waiting[claim.seq].pop(0)) for claim in claims if waiting.get(claim.seq)]
        taken = {end.claim.seq for end in ended}
        released += [c.seq for c in claims if c.seq not in taken and c.seq not in left_in_flight]
        journal.exchange(run_id, ended=ended)
    journal.exchange(run_id, released=released)
    if reason is not None:
        stopped = Event(START + 60, "stopped", {"reason": reason.value, "message": message})
        journal.exchange(run_id, events=[stopped] if message else [])
        journal.end(run_id, reason, START + 60)


def _ended(claim: Claim, step: Step) -> Ended:
    state, outcome = step
    sent_at = START + claim.seq / 10 + claim.sends * 7 + 0.25
    return Ended(
        claim=claim,
        state=state,
        outcome=outcome,
        sent_at=sent_at,
        duration_s=0.04 + claim.seq / 1000,
        counted=outcome.http_status != 429,
        due_at=sent_at + 1 if state is RequestState.RETRYING else None,
    )


def mixed_run(journal: Journal) -> str:
    run_id = create(journal, mixed_draft().plan())
    play(journal, run_id, MIXED)
    return run_id


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a report, with the guards taken off."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: unguard(cell) for name, cell in line.items()} for line in csv.DictReader(file)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_conserved(journal: Journal, run_id: str, folder: Path) -> None:
    """The law of conservation, from the file alone: every request and reject once, in its state."""
    counts = journal.counts(run_id)
    states = Counter(line["result_state"] for line in read(folder / "results.csv"))
    expected = Counter({state.value: counts.of(state) for state in RequestState})
    expected["rejected"] = counts.rejected
    assert states == +expected
    assert check_report(journal, run_id, folder) == []
