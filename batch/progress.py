"""What is shown while a run goes: a bar on a terminal, lines or JSON events elsewhere.

It is fed counts that are already on disk, so it never runs ahead of the journal. It must never stop a
run either: a terminal or a pipe that has gone away is put up with.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TextIO

from batch.masking import masked, masked_value
from batch.states import RequestState
from batch.timestamps import utc

if TYPE_CHECKING:
    from tqdm import tqdm

    from batch.journal.protocol import Counts

#: States in the order in which they are shown; `in_flight` and `pending` show in the bar itself.
SHOWN = (
    RequestState.SUCCEEDED,
    RequestState.FAILED,
    RequestState.UNKNOWN,
    RequestState.RETRYING,
    RequestState.SKIPPED,
)

Clock = Callable[[], float]


class Progress(Protocol):
    """Is told where a run stands; called often, from one thread, and never blocks for long."""

    def update(self, counts: Counts, rate_per_s: float, note: str, *, wait_s: float = 0.0) -> None:
        """Take in committed counts.

        `rate_per_s` is the rate allowed now, in sends a second. `note` says what is waited for ("" for
        nothing), and `wait_s` how much longer in seconds, where that is known.
        """
        ...

    def close(self) -> None:
        """Show where things stand for the last time; doing it twice does nothing."""
        ...


class Silent:
    """Shows nothing."""

    def update(self, counts: Counts, rate_per_s: float, note: str, *, wait_s: float = 0.0) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Pace:
    """How fast requests end, and how long the rest will take.

    `now` is a monotonic clock in seconds; the rate is that of the last `window_s` seconds. Short pauses
    are part of the pace; of a long one only the first `pause_s` count, so that a minute's wait for the API
    makes the end a minute later, and not an hour.
    """

    _GRAIN_S = 0.1

    def __init__(self, *, now: Clock = time.monotonic, window_s: float = 20.0, pause_s: float = 2.0) -> None:
        self._now = now
        self._window_s = window_s
        self._pause_s = pause_s
        self._marks: deque[tuple[float, int]] = deque()  # (seconds that count, requests ended)
        self._active_s = 0.0
        self._last_s: float | None = None
        self._was_waiting = False
        self._waited_s = 0.0

    def told(self, ended: int, *, waiting: bool) -> None:
        """Take in how many requests have ended by now, and whether everyone waits from now on."""
        now = self._now()
        if self._last_s is not None:
            self._count(now - self._last_s)
        self._last_s, self._was_waiting = now, waiting
        if len(self._marks) > 1 and self._active_s - self._marks[-2][0] < self._GRAIN_S:
            self._marks.pop()  # a fast run commits hundreds of times a second
        self._marks.append((self._active_s, ended))
        while len(self._marks) > 2 and self._marks[1][0] <= self._active_s - self._window_s:
            self._marks.popleft()

    def _count(self, elapsed_s: float) -> None:
        if not self._was_waiting:
            self._waited_s = 0.0
            self._active_s += elapsed_s
        else:
            self._active_s += min(elapsed_s, max(0.0, self._pause_s - self._waited_s))
            self._waited_s += elapsed_s

    @property
    def rate_per_s(self) -> float:
        """Requests that ended per second of late; 0 while nothing can be said."""
        if len(self._marks) < 2:
            return 0.0
        (from_s, before), (to_s, ended) = self._marks[0], self._marks[-1]
        return (ended - before) / (to_s - from_s) if to_s > from_s else 0.0

    def eta_s(self, left: int, *, allowed_per_s: float, wait_s: float = 0.0) -> float | None:
        """Seconds until `left` requests have ended: the rest of a pause, then the pace of late.

        Until there is a pace, the rate allowed is taken for it; None if neither says anything.
        """
        if left == 0:
            return 0.0
        rate = self.rate_per_s or allowed_per_s
        return wait_s + left / rate if rate > 0 else None


class _Paced(ABC):
    """What all that show have in common: the last that was told, and the pace."""

    def __init__(self, *, now: Clock = time.monotonic, interval_s: float) -> None:
        self._now = now
        self._interval_s = interval_s
        self._shown_at_s: float | None = None
        self._shown_note = ""
        self._pace = Pace(now=now)
        self._allowed_per_s = 0.0
        self._last: tuple[Counts, float, str, float] | None = None
        self._is_aside = False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Show nothing for as long as something else stands on the terminal's last line."""
        self._show_last()
        self._is_aside = True
        try:
            yield
        finally:
            self._is_aside = False

    def update(self, counts: Counts, rate_per_s: float, note: str, *, wait_s: float = 0.0) -> None:
        """See `Progress`."""
        # Whatever is waited for, also with no end in sight: the pace is that of sending.
        self._pace.told(counts.requests - counts.left, waiting=bool(note))
        self._last = (counts, rate_per_s, note, wait_s)
        now = self._now()
        since = self._interval_s if self._shown_at_s is None else now - self._shown_at_s
        if since >= self._interval_s or (note != self._shown_note and since >= 1.0):
            self._shown_at_s, self._shown_note = now, note
            self._show_last()

    def close(self) -> None:
        """See `Progress`."""
        if self._last is not None:
            self._show_last()
            self._last = None

    def _show_last(self) -> None:
        if self._last is None or self._is_aside:
            return
        counts, self._allowed_per_s, note, wait_s = self._last
        eta_s = self._pace.eta_s(counts.left, allowed_per_s=self._allowed_per_s, wait_s=wait_s)
        with suppress(OSError, ValueError):  # ValueError: the stream was closed
            self._show(counts, eta_s, note, wait_s)

    @abstractmethod
    def _show(self, counts: Counts, eta_s: float | None, note: str, wait_s: float) -> None:
        """Show this, now."""


class TqdmProgress(_Paced):
    """A bar: on a terminal as wide as that is, in a notebook as a widget."""

    def __init__(self, stream: TextIO, *, now: Clock = time.monotonic, interval_s: float = 0.1) -> None:
        super().__init__(now=now, interval_s=interval_s)
        self._stream = stream
        self._bar: tqdm[Any] | None = None
        self._is_widget = False

    def _show(self, counts: Counts, eta_s: float | None, note: str, wait_s: float) -> None:
        bar = self._bar
        if bar is None:
            bar = self._bar = self._made(counts.requests)
        bar.total = counts.requests
        bar.n = ended = counts.requests - counts.left
        parts = _parts(counts, self._pace.rate_per_s, eta_s, note, wait_s)
        if self._is_widget:
            text = _joined(parts)
        else:
            columns = _columns(self._stream) or _UNKNOWN_COLUMNS
            # One column stays free: there are terminals that go to the next line as soon as one is full.
            bar_width, text = _fitted(parts, columns - 1, f"{ended}/{counts.requests}")
            bar.ncols = columns
            bar.bar_format = _BAR.replace("{bar}", f"{{bar:{bar_width}}}") if bar_width else _NO_BAR
        bar.set_postfix_str(text, refresh=True)

    def _made(self, total: int) -> tqdm[Any]:
        kind, self._is_widget = _bar_class()
        kind.monitor_interval = 0  # its thread would wake a bar that is told of everything anyway
        # The width of a terminal is set each time, the first time too: with a delay, tqdm draws nothing yet.
        columns, delay_s = (None, 0.0) if self._is_widget else (_UNKNOWN_COLUMNS, 1e-9)
        bar: tqdm[Any] = kind(
            total=total,
            file=self._stream,
            ncols=columns,
            nrows=24,
            mininterval=0,
            delay=delay_s,
            bar_format=_BAR,
        )
        return bar

    def close(self) -> None:
        """See `Progress`."""
        super().close()
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.close()
            self._bar = None


def aside(progress: Progress) -> AbstractContextManager[None]:
    """Have the progress show nothing while an operator is asked; one of somebody else's own goes on."""
    return progress.aside() if isinstance(progress, _Paced) else nullcontext()


def default_progress() -> Progress:
    """What shows a run that a program began: in a notebook its bar, elsewhere nothing."""
    return TqdmProgress(sys.stderr) if _is_notebook() and _bar_class()[1] else Silent()


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel, told without importing anything."""
    return "ipykernel.zmqshell" in sys.modules


def _bar_class() -> tuple[type[tqdm[Any]], bool]:
    """The bar that fits where this runs, and whether it is a widget; tqdm itself knows the notebooks."""
    from tqdm.std import tqdm as plain

    if not _is_notebook():
        return plain, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of itself as an experiment, and of widgets that are not installed
        from tqdm.autonotebook import tqdm as chosen
    return chosen, chosen is not plain


class LineProgress(_Paced):
    """A plain line every few seconds, for logs."""

    def __init__(self, stream: TextIO, *, now: Clock = time.monotonic, interval_s: float = 5.0) -> None:
        super().__init__(now=now, interval_s=interval_s)
        self._stream = stream

    def _show(self, counts: Counts, eta_s: float | None, note: str, wait_s: float) -> None:
        line = line_of(counts, self._pace.rate_per_s, eta_s, note, wait_s)
        self._stream.write(f"{masked(line)}\n")  # what the API said may stand in the note
        self._stream.flush()


class JsonProgress(_Paced):
    """One JSON object a line, of the event `progress`."""

    def __init__(
        self,
        stream: TextIO,
        *,
        now: Clock = time.monotonic,
        wall: Clock = time.time,
        interval_s: float = 1.0,
    ) -> None:
        super().__init__(now=now, interval_s=interval_s)
        self._stream = stream
        self._wall = wall

    def _show(self, counts: Counts, eta_s: float | None, note: str, wait_s: float) -> None:
        event = {
            "event": "progress",
            "at": utc(self._wall()),
            "text": line_of(counts, self._pace.rate_per_s, eta_s, note, wait_s),
            "requests": counts.requests,
            **{state.value: counts.of(state) for state in RequestState},
            "rejected": counts.rejected,
            "rate_per_s": round(self._pace.rate_per_s, 3),
            "allowed_per_s": round(self._allowed_per_s, 3),
            "eta_s": None if eta_s is None else round(eta_s, 1),
            "waiting_for": note,
            "wait_s": round(wait_s, 1),
        }
        self._stream.write(json.dumps(masked_value(event)) + "\n")
        self._stream.flush()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def duration_text(seconds: float) -> str:
    """A duration as people say it: `8 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class _Part(NamedTuple):
    """One thing that is said of a run; where there is no room, what weighs least is shortened or left out."""

    text: str
    weight: int
    short: str = ""


#: How much it matters to see a state; what failed is the last to go.
_WEIGHTS = {
    RequestState.SUCCEEDED: 3,
    RequestState.FAILED: 7,
    RequestState.UNKNOWN: 6,
    RequestState.RETRYING: 4,
    RequestState.SKIPPED: 1,
}


def _parts(counts: Counts, rate_per_s: float, eta_s: float | None, note: str, wait_s: float) -> list[_Part]:
    parts = [
        _Part(f"{counts.of(state)} {state.value}", _WEIGHTS[state]) for state in SHOWN if counts.of(state)
    ]
    if counts.left:
        if rate_per_s:
            parts.append(_Part(f"{rate_per_s:.1f}/s", 5))
        if eta_s is not None:
            parts.append(_Part(f"{duration_text(eta_s)} left", 9))
    if note:
        waiting = f"waiting {duration_text(wait_s)}"
        parts.append(_Part(f"{waiting}: {note}", 8, waiting) if wait_s >= 1 else _Part(note, 2))
    return parts


def _joined(parts: Sequence[_Part]) -> str:
    return ", ".join(part.text for part in parts) or "starting"


def line_of(counts: Counts, rate_per_s: float, eta_s: float | None, note: str, wait_s: float) -> str:
    """Where a run stands on a line, for logs: `29 of 340 done: 20 succeeded, 9 failed, 9.8/s, 32 s left`."""
    said = _joined(_parts(counts, rate_per_s, eta_s, note, wait_s))
    return f"{counts.requests - counts.left} of {counts.requests} done: {said}"


#: A bar with what is said behind it; tqdm puts a comma between.
_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
_NO_BAR = "{percentage:3.0f}% {n_fmt}/{total_fmt}{postfix}"
_BAR_WIDTHS = (20, 10)

#: What weighs so much is shown rather than a bar.
_MATTERS = 5

#: How wide a terminal is taken to be that does not know its size.
_UNKNOWN_COLUMNS = 100


def _fitted(parts: list[_Part], width: int, share: str) -> tuple[int, str]:
    """How wide the bar is, 0 for none, and what is said behind it, so that all of it fits into `width`."""
    from tqdm.utils import disp_len, disp_trim

    fixed = len("100% ") + len(share) + len(", ")
    while True:
        text = _joined(parts)
        for bar_width in _BAR_WIDTHS:
            if fixed + len("| ") + bar_width + disp_len(text) <= width:
                return bar_width, text
        if all(part.weight >= _MATTERS and not part.short for part in parts) and (
            len(parts) < 2 or fixed + disp_len(text) <= width
        ):
            return 0, disp_trim(text, max(0, width - fixed))
        least = min(parts, key=lambda part: (not part.short, part.weight))
        at = parts.index(least)
        parts = [*parts[:at], *([_Part(least.short, least.weight)] if least.short else ()), *parts[at + 1 :]]
