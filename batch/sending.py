"""How a run is sent, as an operator says it and as the journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from batch.engine.run_options import RunOptions, fitting
from batch.errors import UsageError
from batch.journal.events import Event

if TYPE_CHECKING:
    from batch.engine.windows import Windows

DEFAULT_RATE = "5/s"

#: A window must last longer than one attempt may take, and than this, or nothing can be sent in it.
_LEAST_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Sending:
    """How a run is sent: what the operator may choose, as it is pinned in the journal.

    `rate` is as people write it (`20/s`, `600/m`, several with commas, or `auto`). `concurrency` None is what
    the rate needs; `deadline_s` bounds each request. `max_failures` is `200` or `5%`; `canary` is how many
    requests must succeed before the others are sent, or `auto`. `snapshot` reads what is there before,
    `verify` what is there afterwards. `waves` is how far each wave goes that follows (`1%,10%,100%`), with a
    pause of `soak_s` after each. `windows` are as `22:00-05:00@Europe/Berlin`; outside of them the run waits,
    or ends with `window_exit`.
    """

    rate: str = DEFAULT_RATE
    concurrency: int | None = None
    max_attempts: int = 5
    deadline_s: float = 30.0
    max_failures: str | None = None
    canary: int | str | None = None
    snapshot: bool = False
    verify: bool = False
    waves: str | None = None
    soak_s: float = 0.0
    windows: Sequence[str] = ()
    window_exit: bool = False

    def run_options(self) -> RunOptions:
        """The same for the engine; `UsageError` if one of it is not understood, or cannot be kept."""
        from batch.engine.breaker import FailureLimit
        from batch.engine.pacer import parse_rates
        from batch.engine.retrying import RetryPolicy
        from batch.engine.waves import parse_canary, parse_waves
        from batch.engine.windows import Windows

        windows = Windows.parse(self.windows) if self.windows else None
        if windows is not None:
            self._check_length(windows)
        return RunOptions(
            rates=parse_rates(self.rate),
            concurrency=fitting(self.concurrency),
            retry=RetryPolicy(max_attempts=self.max_attempts),
            canary=None if self.canary is None else parse_canary(str(self.canary)),
            deadline_s=self.deadline_s,
            max_failures=None if self.max_failures is None else FailureLimit.parse(self.max_failures),
            waves=() if self.waves is None else parse_waves(self.waves),
            soak_s=self.soak_s,
            windows=windows,
            leaves_window=self.window_exit,
        )

    def _check_length(self, windows: Windows) -> None:
        least_s = self.deadline_s + _LEAST_WINDOW_S
        for window in windows.windows:
            if (window.closes - window.opens) * 60 < least_s:
                raise UsageError(
                    f"--window {window} is too short: a request may take {self.deadline_s:g} s (--deadline), "
                    "and so much before it closes nothing more is sent. It must be open for "
                    f"{least_s:g} s at least"
                )

    def pinned(self) -> dict[str, object]:
        """As JSON values, for the journal."""
        return asdict(self) | {"windows": list(self.windows)}

    @classmethod
    def from_pinned(cls, options: Mapping[str, Any]) -> Sending:
        """As the journal has it; what is not there is the default."""
        found = {field.name: options[field.name] for field in fields(cls) if field.name in options}
        return cls(**found | {"windows": tuple(found.get("windows", ()))})

    def changed(self, **given: Any) -> Sending:
        """The same but for what is given and not None."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def at_last_rate(self, events: Sequence[Event]) -> Sending:
        """The same at the rate that the run had last, which its operator may have changed while it went."""
        told = (
            event.detail.get("rate") for event in reversed(events) if event.kind in ("began", "rate_changed")
        )
        rate = next(told, None)
        return replace(self, rate=rate) if isinstance(rate, str) and rate else self
