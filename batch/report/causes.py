"""Why requests failed: thousands of failures told as a few causes, each with the command that repeats it.

A cause is an error code and the shape of a message: the message without what differs from row to row
(digits, ids, addresses). Which templates and countries it hit is counted within it.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from batch.journal.protocol import ResultRow, RunRecord
from batch.json_schema import says
from batch.plans import DIRECTIONS
from batch.report.advice import is_worth_resending, meaning_of, next_action
from batch.report.lines import printable
from batch.states import RequestState

#: A server that never says the same twice must not fill the memory: what is beyond these is counted as one.
_MOST_CAUSES = 1_000
_MOST_PICKS = 10_000

#: The target's name when it is the embedded sandbox: see `batch.target.Target.name`.
SANDBOX = "sandbox"

#: Under this name a run's options hold the words by which its rows are planned anew.
AGAIN = "again"

_OTHERS = "(messages of many other kinds)"

_VARYING = re.compile(
    r"""
    (?P<address> \b[a-z][a-z0-9+.-]{1,15}://\S+ | [^\s@"'<>]+@[^\s@"'<>]+\.[^\s@"'<>]+ )
    | (?P<id> \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b
            | (?<![\w.-]) (?=[\w-]*[0-9]) (?=[\w-]*[a-z]) [\w-]{12,} (?![\w.-]) )
    | (?P<number> \+[0-9]{6,15}\b )
    | (?P<host> (?<![\w.]) (?: [0-9]{1,3}(?:\.[0-9]{1,3}){3} | (?:[a-z0-9-]+\.)+[a-z]{2,} )
                (?::[0-9]+)? (?![\w.]*\w)
            | (?<![\w:]) (?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{1,4} (?![\w:]) )
    | (?P<digits> (?<![0-9]) (?<!HTTP[ ]) [0-9]+ )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


@lru_cache(maxsize=4096)
def shape(message: str) -> str:
    """A message without what differs from row to row: `no such number <number> (request <id>)`."""
    return _VARYING.sub(_kind, printable(message)).strip()


def _kind(match: re.Match[str]) -> str:
    return "#" if match.lastgroup == "digits" else f"<{match.lastgroup}>"


@dataclass(frozen=True, slots=True)
class Example:
    """One request of those that a cause explains."""

    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    phone_number: str = field(metadata=says("The number, E.164."))
    direction: str = field(metadata=says("inbound or outbound."))
    template: str = field(metadata=says("The template."))
    error: str = field(metadata=says("The message as it came."))


@dataclass(frozen=True, slots=True)
class Cause:
    """Some requests that ended `failed` or `unknown` for one reason."""

    error_code: str = field(metadata=says("The error code; empty where there was none."))
    http_status: int | None = field(
        metadata=says("The HTTP status of the example; null where no answer came.")
    )
    message: str = field(
        metadata=says("The message without what differs from row to row, such as digits and ids.")
    )
    count: int = field(metadata=says("How many requests it explains."))
    failed: int = field(metadata=says("How many of them are failed."))
    unknown: int = field(metadata=says("How many of them are unknown."))
    templates: dict[str, int] = field(metadata=says("How many of them each template has, most first."))
    countries: dict[str, int] = field(
        metadata=says("How many of them each country calling code has, most first.")
    )
    example: Example = field(metadata=says("The first of them in sheet order."))
    what_to_do: str = field(metadata=says("What to do about it, in words."))
    is_resent: bool = field(
        metadata=says(
            "Whether the command sends what was planned again (retry) or plans the rows anew (run)."
        )
    )
    command: str = field(
        metadata=says("The command that sends them again; file names are relative to the report's folder.")
    )
    command_count: int = field(
        metadata=says("How many requests that command picks: `count` if it is exactly those.")
    )

    @property
    def title(self) -> str:
        """The cause on one line: `NOT_FOUND (404): no such number <number>`."""
        return title_of(self.error_code, self.http_status, self.message)


def title_of(error_code: str, http_status: int | None, message: str) -> str:
    """A code, a status and the shape of a message on one line."""
    status = f"HTTP {http_status}" if http_status is not None else "no answer"
    is_named = error_code not in ("", f"HTTP_{http_status}")
    head = f"{error_code} ({status})" if is_named else status
    if message.startswith(head):
        return message
    return f"{head}: {message}" if message else head


@dataclass(slots=True)
class _Group:
    first: ResultRow
    is_one_code: bool = True
    is_one_message: bool = True
    states: Counter[RequestState] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    countries: Counter[str] = field(default_factory=Counter)

    @property
    def is_worth_resending(self) -> bool:
        """Whether the very same payloads may fare better another time."""
        meaning = meaning_of(self.first.http_status, self.first.error_code)
        return self.states[RequestState.UNKNOWN] > 0 or is_worth_resending(meaning)


class CauseTally:
    """Groups failures as they come, in sheet order; its memory does not grow with them."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, int | None, str], _Group] = {}
        #: How many requests have a code and a template (None: any), with those unknown or without.
        self._picks: Counter[tuple[str, str | None, bool]] = Counter()
        self._total = self._failed = 0

    def add(self, result: ResultRow) -> None:
        """Count one request that is `failed` or `unknown`; others are no failures."""
        if result.state is not RequestState.FAILED and result.state is not RequestState.UNKNOWN:
            return
        code = result.error_code
        # An answer without a code is told apart by its status.
        key = (code, None if code else result.http_status, shape(result.error))
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _MOST_CAUSES:
                key = ("", None, _OTHERS)
            group = self._groups.setdefault(key, _Group(result))
        group.is_one_code &= result.error_code == group.first.error_code
        group.is_one_message &= result.error == group.first.error
        group.states[result.state] += 1
        group.templates[result.template] += 1
        group.countries[calling_code(result.number)] += 1
        self._total += 1
        self._failed += result.state is RequestState.FAILED
        for template in (None, result.template):
            self._count((code, template, True))
            if result.state is RequestState.FAILED:
                self._count((code, template, False))

    def _count(self, pick: tuple[str, str | None, bool]) -> None:
        if pick in self._picks or len(self._picks) < _MOST_PICKS:
            self._picks[pick] += 1

    def causes(self, run: RunRecord) -> tuple[Cause, ...]:
        """Every cause, the one that explains most first."""
        found = [self._cause(message, group, run) for (_, _, message), group in self._groups.items()]
        return tuple(sorted(found, key=lambda cause: -cause.count))

    def _cause(self, message: str, group: _Group, run: RunRecord) -> Cause:
        first = group.first
        count = group.states.total()
        code = printable(first.error_code) if group.is_one_code else ""
        command, command_count = self._command(group, count, run)
        state = RequestState.FAILED if group.states[RequestState.FAILED] else RequestState.UNKNOWN
        return Cause(
            error_code=code,
            http_status=first.http_status,
            message=message,
            count=count,
            failed=group.states[RequestState.FAILED],
            unknown=group.states[RequestState.UNKNOWN],
            templates=dict(group.templates.most_common()),
            countries=dict(group.countries.most_common()),
            example=Example(
                sheet=run.sheets[first.sheet_id].name,
                row=first.row,
                phone_number=f"+{first.number}",
                direction=DIRECTIONS[first.direction],
                template=first.template,
                error=printable(first.error),
            ),
            what_to_do=next_action(
                state, first.http_status, first.error_code, is_taken_back=run.rolls_back is not None
            ),
            is_resent=group.is_worth_resending or run.rolls_back is not None,
            command=command,
            command_count=command_count,
        )

    def _command(self, group: _Group, count: int, run: RunRecord) -> tuple[str, int]:
        """The widest command that picks exactly the group, else the narrowest that picks all of it.

        With it comes how many requests it picks. The same payloads are sent again by `retry`; where
        they would be refused again, the rows are run again, once the template or the sheet is mended. Those
        of a rollback are not: they say what was sent before it.
        """
        is_resent = group.is_worth_resending or run.rolls_back is not None
        code = group.first.error_code
        # One with control characters cannot be typed.
        has_code = group.is_one_code and code.isprintable()
        start = ["retry", run.id] if is_resent else [*run_words(run), "--where", "result_state=failed"]
        by_code = ["--error-code", code] if is_resent else ["--where", f"result_error_code={code}"]
        options = [(self._failed if not is_resent else self._total, start)]
        if has_code:
            options.append((self._picks[code, None, is_resent], [*start, *by_code]))
        if has_code and len(group.templates) == 1:
            template = next(iter(group.templates))
            by_template = ["--template", template] if is_resent else ["--where", f"template={template}"]
            options.append((self._picks[code, template, is_resent], [*start, *by_code, *by_template]))
        # Commands end up in logs, where no phone number may be.
        if has_code and group.is_one_message and not is_resent and "<number>" not in shape(group.first.error):
            message = f"result_error={printable(group.first.error)}"
            options.append((count, [*start, *by_code, "--where", message]))
        # Picks that were not counted (there were too many) are 0, and are no choice.
        exact = [option for option in options if option[0] == count]
        picked, words = exact[0] if exact else min(option for option in options if option[0] > count)
        return shlex.join(["sipbatch", *words]), picked


def run_words(run: RunRecord) -> list[str]:
    """The words, after `sipbatch`, that plan rows of the run's report anew, for the same target."""
    again = run.options.get(AGAIN)
    words = [str(word) for word in again] if isinstance(again, list) else []
    # What was tried out elsewhere must not reach the live API because somebody pasted a command.
    if run.target == SANDBOX:
        words.append("--sandbox")
    elif again is None and isinstance(base_url := run.options.get("base_url"), str):
        words += ["--base-url", base_url]
    return ["run", "results.csv", *words]


@lru_cache(maxsize=1 << 16)
def _calling_code(digits: str) -> str | None:
    # Here, and not above: a report without failures needs no numbering plan.
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    known = (digits[:length] for length in (1, 2, 3))
    return next((code for code in known if int(code) in COUNTRY_CODE_TO_REGION_CODE), None)


def calling_code(number: int) -> str:
    """The country calling code of an E.164 number: `+44`; `+?` where there is no such country."""
    return f"+{_calling_code(str(number)[:3]) or '?'}"
