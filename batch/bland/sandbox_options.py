"""What the sandbox can be told: its limit, latency, faults and the answers to what the API leaves open."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import ssl
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, get_args

from batch.bland.faults import FAILURE_FORMS, SUCCESS_FORMS, Dice, Fault, parse_fault
from batch.bland.sandbox_answers import Reply
from batch.engine.pacer import Rate, parse_rates
from batch.errors import SheetError, UsageError
from batch.plans import DIRECTIONS

#: A number and a direction: what the sandbox keeps a configuration for.
Key = tuple[str, str]

#: The key of a script for every key that has none of its own.
ANY_KEY: Key = ("*", "*")

NumbersForm = Literal["directions", "direction"]
ShowBlocks = Literal["none", "side", "options"]
LimitHeaders = Literal["none", "x-ratelimit", "ratelimit", "ratelimit-policy"]

_E164 = re.compile(r"\+[1-9]\d{1,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """How a sandbox behaves. Wrong values are a `UsageError` when it starts.

    `host` must be a loopback address; `port` 0 is any free one. `key` is the only API key accepted, None
    accepts any that is not empty. `limit` is `50/s` or several (`50/s, 600/m`), None is none.

    `retry_after` is what a 429 or 503 says in that header: `auto` (whole seconds until there is room),
    `auto-date` (the same as an HTTP date), `date+5` or `date-5` (a date so many seconds away), None (no
    header), or any text, sent as it is. `limit_headers` adds the headers by which some APIs tell their limit.

    `failure_form` puts every failure into one of the API's failure bodies (`1` to `5`, `html`), and
    `success_form` every success (see `batch.bland.faults`). `latency` is `50ms`, `20ms..80ms` (uniform) or
    `lognormal:50ms,0.5` (median and sigma).

    `faults` are probabilities by fault (see `batch.bland.faults`), `seed` is their chance. They hold for
    requests after the first `fault_after` and until `fault_first` (in the order of arrival), and for the
    first `fault_arrivals` arrivals of each key. `script` gives the faults of a key's first arrivals exactly.
    Only requests with a good key, within the limit and with a valid body are faulted, and only they count.

    `expire_key_after` lets so many requests through and answers 401 from then on. `numbers` are those
    attached to the account, each with its directions (a mapping) or with both; None attaches every number.
    `numbers_form` lists them as the API's page does, or (`direction`) as one of the vendor's tools reads it.
    `show_blocks` is where a read shows the config blocks. `merge_blocks` merges a sent block into the one
    that is there; otherwise it replaces it. `record` is a file of JSON lines to which every event is
    appended, and from which what was applied is read back (see `batch.bland.sandbox_record`). `drip_s` is the
    pause between the bytes of a `drip`. `clock_offset_s` puts the server's clock wrong. `tls` serves https.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = field(default=None, repr=False)
    limit: str | None = None
    retry_after: str | None = "auto"
    limit_headers: LimitHeaders = "none"
    failure_form: str = ""
    success_form: str = "data"
    latency: str = "0ms"
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    fault_first: int | None = None
    fault_after: int = 0
    fault_arrivals: int | None = None
    script: Mapping[Key, Sequence[str | Fault | Reply]] = field(default_factory=dict)
    expire_key_after: int | None = None
    numbers: Mapping[str, Collection[str]] | Collection[str] | None = None
    numbers_form: NumbersForm = "directions"
    show_blocks: ShowBlocks = "none"
    merge_blocks: bool = False
    record: Path | None = None
    drip_s: float = 0.05
    clock_offset_s: float = 0.0
    tls: ssl.SSLContext | None = None


class Latency:
    """How long an answer takes."""

    def __init__(self, text: str) -> None:
        """`50ms`, `20ms..80ms` or `lognormal:50ms,0.5`; `UsageError` for anything else."""
        low, dots, high = text.partition("..")
        self._sigma = 0.0
        if text.startswith("lognormal:"):
            median, comma, sigma = text.removeprefix("lognormal:").partition(",")
            self._low_s = self._high_s = _duration_s(median, text)
            try:
                self._sigma = float(sigma) if comma else 0.5
            except ValueError:
                raise _no_latency(text) from None
        else:
            self._low_s = _duration_s(low, text)
            self._high_s = _duration_s(high, text) if dots else self._low_s
        if self._high_s < self._low_s or not 0 <= self._sigma <= 5:
            raise _no_latency(text)

    @property
    def varies(self) -> bool:
        """Whether chance has a part in it."""
        return self._sigma > 0 or self._high_s > self._low_s

    def draw_s(self, chance: float) -> float:
        """The latency in seconds for a number in [0, 1)."""
        if self._sigma:
            within = min(max(chance, 1e-9), 1 - 1e-9)
            return self._low_s * math.exp(self._sigma * NormalDist().inv_cdf(within))
        return self._low_s + (self._high_s - self._low_s) * chance


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s)")


def _duration_s(text: str, whole: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise _no_latency(whole)
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def _no_latency(text: str) -> UsageError:
    return UsageError(
        f'"{text}" is no latency. Write 50ms or 0.2s, 20ms..80ms for any between, or lognormal:50ms,0.5 '
        "for a median and a sigma."
    )


class Limit:
    """The rate limit: in no window of its length are more admitted than its count.

    A true sliding window, not a counter that starts anew each second: every admission is remembered for as
    long as it counts. What is turned away does not count.
    """

    def __init__(self, text: str | None) -> None:
        """`50/s`, `600/m`, or several that hold at once; None admits everything."""
        rates = parse_rates(text) if text else ()
        self._windows = [_Window(rate) for rate in rates]

    def admit_s(self, now: float) -> float:
        """Admit an arrival (0.0), or say in how many seconds there will be room. `now` never goes back."""
        wait_s = max((window.wait_s(now) for window in self._windows), default=0.0)
        if wait_s <= 0:
            for window in self._windows:
                window.times.append(now)
        return wait_s

    def headers(self, form: LimitHeaders, now: float, at: float) -> tuple[tuple[str, str], ...]:
        """The limit as headers, of the window with the least room. `now` is monotonic, `at` the epoch's."""
        if form == "none" or not self._windows:
            return ()
        window = min(self._windows, key=lambda w: w.room(now))
        room, reset_s = window.room(now), math.ceil(window.reset_s(now))
        match form:
            case "x-ratelimit":
                return (
                    ("X-RateLimit-Limit", str(window.count)),
                    ("X-RateLimit-Remaining", str(room)),
                    ("X-RateLimit-Reset", str(math.ceil(at + reset_s))),
                )
            case "ratelimit":
                return (
                    ("RateLimit-Limit", str(window.count)),
                    ("RateLimit-Remaining", str(room)),
                    ("RateLimit-Reset", str(reset_s)),
                )
            case "ratelimit-policy":
                return (
                    ("RateLimit-Policy", f'"default";q={window.count};w={math.ceil(window.per_s)}'),
                    ("RateLimit", f'"default";r={room};t={reset_s}'),
                )


class _Window:
    def __init__(self, rate: Rate) -> None:
        # 0.5/s is one in two seconds: a window admits at least one.
        self.count = max(1, math.floor(rate.sends))
        self.per_s = rate.per_s / min(1.0, rate.sends)
        self.times: deque[float] = deque()

    def _forget(self, now: float) -> None:
        while self.times and self.times[0] <= now - self.per_s:
            self.times.popleft()

    def wait_s(self, now: float) -> float:
        self._forget(now)
        return 0.0 if len(self.times) < self.count else self.times[0] + self.per_s - now

    def room(self, now: float) -> int:
        self._forget(now)
        return self.count - len(self.times)

    def reset_s(self, now: float) -> float:
        """Until the window is empty, if nothing more comes."""
        return max(0.0, self.times[-1] + self.per_s - now) if self.times else 0.0


class Behaviour:
    """The options, read: everything that a request's answer is decided by."""

    def __init__(self, options: SandboxOptions) -> None:
        """Raises `UsageError` that names the option at fault."""
        _check(options)
        self.options = options
        self.limit = Limit(options.limit)
        self.latency = Latency(options.latency)
        self.dice = Dice(options.faults)
        self.script = {
            key: tuple(parse_fault(step) if isinstance(step, str) else step for step in steps)
            for key, steps in options.script.items()
        }
        self.numbers = _attached(options.numbers)
        self.needs_chance = bool(options.faults) or self.latency.varies

    def changed(self, changes: Mapping[str, Any]) -> Behaviour:
        """The same with some options changed; the limit's memory is kept unless the limit is changed."""
        after = Behaviour(dataclasses.replace(self.options, **changes))
        if after.options.limit == self.options.limit:
            after.limit = self.limit
        return after

    def scripted(self, key: Key, arrival: int) -> Fault | Reply | None:
        """What the script says of a key's how-many-th arrival, from 1."""
        steps = self.script.get(key) or self.script.get(ANY_KEY, ())
        return steps[arrival - 1] if arrival <= len(steps) else None

    def faults_hold(self, admitted: int, arrival: int) -> bool:
        """Whether chance decides: for the how-many-th request of all and of its key, both from 1."""
        options = self.options
        return (
            admitted > options.fault_after
            and (options.fault_first is None or admitted <= options.fault_first)
            and (options.fault_arrivals is None or arrival <= options.fault_arrivals)
        )


def _check(options: SandboxOptions) -> None:
    if options.host != "localhost":
        try:
            loopback = ipaddress.ip_address(options.host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise UsageError(
                f'The sandbox listens on this machine only, and "{options.host}" is not a loopback address. '
                "Leave the host out, or use 127.0.0.1."
            )
    if options.key is not None and not options.key.strip():
        raise UsageError("The sandbox's key is empty: give it one, or leave it out to take any.")
    for name, value, choices in (
        ("success_form", options.success_form, SUCCESS_FORMS),
        ("failure_form", options.failure_form, ("", *FAILURE_FORMS)),
        ("numbers_form", options.numbers_form, get_args(NumbersForm)),
        ("show_blocks", options.show_blocks, get_args(ShowBlocks)),
        ("limit_headers", options.limit_headers, get_args(LimitHeaders)),
    ):
        if value not in choices:
            known = ", ".join(choice for choice in choices if choice)
            raise UsageError(f'{name} "{value}" is unknown. There are: {known}.')
    retry_after = options.retry_after or ""
    if not retry_after.isprintable():
        raise UsageError("retry_after holds a line break, which no header can.")
    if retry_after.startswith(("date+", "date-")) and not retry_after[5:].isdecimal():
        raise UsageError(f'retry_after "{retry_after}" must end in whole seconds, such as date+5.')


def _attached(
    numbers: Mapping[str, Collection[str]] | Collection[str] | None,
) -> dict[str, tuple[str, ...]] | None:
    if numbers is None:
        return None
    if not isinstance(numbers, Mapping):
        numbers = dict.fromkeys(numbers, DIRECTIONS)
    for number, directions in numbers.items():
        if not _E164.fullmatch(number) or not set(directions) <= set(DIRECTIONS):
            raise UsageError(
                f'"{number}" cannot be attached: write an E.164 number such as +14155550100, '
                "and inbound, outbound or both."
            )
    return {number: tuple(d for d in DIRECTIONS if d in directions) for number, directions in numbers.items()}


def read_numbers(path: Path) -> dict[str, tuple[str, ...]]:
    """The attached numbers of a file: one a line, perhaps followed by `inbound` or `outbound`.

    A comma may stand between; blank lines and those that begin with `#` are left out.
    """
    numbers: dict[str, tuple[str, ...]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SheetError(f"{path}: the file of numbers cannot be read: {error}.") from None
    for place, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        direction = words[1] if len(words) > 1 else "both"
        directions = DIRECTIONS if direction == "both" else (direction,)
        if len(words) > 2 or direction not in (*DIRECTIONS, "both") or not _E164.fullmatch(words[0]):
            raise SheetError(
                f"{path}:{place}: write an E.164 number such as +14155550100, and after it inbound or "
                "outbound if only one direction of it is attached."
            )
        numbers[words[0]] = (*numbers.get(words[0], ()), *directions)
    return numbers
