"""How a run's requests fared by template, direction and country: where on the page failures gather."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from batch.journal.protocol import ResultRow
from batch.plans import DIRECTIONS
from batch.report.causes import calling_code
from batch.states import RequestState

#: Calling codes that two large countries share; elsewhere the main one stands for all.
_SHARED = {"+1": "US, CA", "+7": "RU, KZ"}

#: Template, index of the direction, calling code, state.
_Key = tuple[str, int, str, RequestState]


@dataclass(frozen=True, slots=True)
class Share:
    """The requests that have one thing in common, by how they ended; `left` have not."""

    name: str
    requests: int
    succeeded: int
    failed: int
    unknown: int
    skipped: int
    left: int

    @property
    def failures(self) -> int:
        """Those that failed or are unknown."""
        return self.failed + self.unknown

    @property
    def ended(self) -> int:
        """Those that were sent and ended."""
        return self.succeeded + self.failures

    @property
    def failure_rate(self) -> float | None:
        """Failures among those that ended, between 0 and 1; None if none did."""
        return self.failures / self.ended if self.ended else None


class ShareTally:
    """Counts results as they go by; `sends` has how many requests were sent how often."""

    def __init__(self) -> None:
        self.sends: Counter[int] = Counter()
        self._counts: Counter[_Key] = Counter()

    def add(self, result: ResultRow) -> None:
        """Count one request."""
        _, _, _, number, direction, template, state, _, sends, *_ = result
        self._counts[template, direction, calling_code(number), state] += 1
        if sends:
            self.sends[sends] += 1

    @property
    def templates(self) -> tuple[Share, ...]:
        """By template, the one with most failures first."""
        return self._by(lambda key: key[0])

    @property
    def directions(self) -> tuple[Share, ...]:
        """By direction, likewise."""
        return self._by(lambda key: DIRECTIONS[key[1]])

    @property
    def countries(self) -> tuple[Share, ...]:
        """By country calling code, likewise, named as `country` names it."""
        return self._by(lambda key: country(key[2]))

    @property
    def states(self) -> dict[str, Counter[RequestState]]:
        """The counts by state of each template."""
        found: dict[str, Counter[RequestState]] = {}
        for (template, _, _, state), count in self._counts.items():
            found.setdefault(template, Counter())[state] += count
        return found

    def _by(self, name_of: Callable[[_Key], str]) -> tuple[Share, ...]:
        groups: dict[str, Counter[RequestState]] = {}
        for key, count in self._counts.items():
            groups.setdefault(name_of(key), Counter())[key[3]] += count
        shares = [
            Share(
                name=name,
                requests=states.total(),
                succeeded=states[RequestState.SUCCEEDED],
                failed=states[RequestState.FAILED],
                unknown=states[RequestState.UNKNOWN],
                skipped=states[RequestState.SKIPPED],
                left=sum(count for state, count in states.items() if not state.is_final),
            )
            for name, states in groups.items()
        ]
        return tuple(sorted(shares, key=lambda share: (-share.failures, -share.requests, share.name)))


@lru_cache(maxsize=512)
def country(code: str) -> str:
    """A calling code with the country that it is known for: `+44 GB`, `+1 US, CA`; as it is if none is."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    digits = code.removeprefix("+")
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits), ()) if digits.isdecimal() else ()
    known = _SHARED.get(code) or (regions[0] if regions and regions[0].isalpha() else "")
    return f"{code} {known}".rstrip()
