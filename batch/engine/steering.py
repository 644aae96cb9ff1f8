"""Why nothing may be sent although it could be: the operator has paused the run, or its window is closed."""

from __future__ import annotations

from collections.abc import Callable

from batch.clock import Clock
from batch.engine.windows import Windows
from batch.timestamps import utc

#: So much longer before a window closes than a request may take, nothing more is sent: it is looked at once a
#: second, and what has ended is written down.
MARGIN_S = 2.0


class Steering:
    """Holds a run back, and lets it go on.

    `hold` is called when that begins, `move_on` with its seconds when it is over. `margin_s` is how long
    before a window closes nothing more is sent, so that all has ended when it does.
    """

    def __init__(
        self,
        windows: Windows | None,
        *,
        margin_s: float,
        clock: Clock,
        note: Callable[..., None],
        hold: Callable[[], None],
        move_on: Callable[[float], None],
    ) -> None:
        self._windows = windows
        self._margin_s = margin_s + MARGIN_S
        self._clock = clock
        self._note = note
        self._hold = hold
        self._move_on = move_on
        self._is_paused = False
        self._opens_at: float | None = None
        self._held_since_s: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether nothing may be sent now."""
        return self._held_since_s is not None

    @property
    def waiting_for(self) -> str:
        """What is waited for, in words for the operator; empty if nothing is."""
        if self._is_paused:
            return "paused by the operator"
        if self._opens_at is not None and self._windows is not None:
            return f"the window is closed until {self._windows.shown(self._opens_at)}"
        return ""

    @property
    def wait_s(self) -> float:
        """For how many seconds more, as far as that is known; else 0."""
        if self._is_paused or self._opens_at is None:
            return 0.0
        return max(0.0, self._opens_at - self._clock.wall())

    @property
    def opens_in_words(self) -> str:
        """When the window opens that is closed now; empty if none is."""
        if self._opens_at is None or self._windows is None:
            return ""
        return f"{self._windows.shown(self._opens_at)} ({utc(self._opens_at)})"

    def pause(self) -> bool:
        """The operator wants nothing to be sent; false if that is so already."""
        if self._is_paused:
            return False
        self._is_paused = True
        self._note("paused")
        self._see()
        return True

    def go_on(self) -> bool:
        """The operator lets it go on; false if he had not paused it."""
        if not self._is_paused:
            return False
        self._is_paused = False
        self._note("continued")
        self._see()
        return True

    def look(self) -> None:
        """See by the wall clock whether a window is open; to be called once a second."""
        if self._windows is None:
            return
        now = self._clock.wall()
        opening = self._windows.at(now)
        if opening.opens_at <= now < opening.closes_at - self._margin_s:
            if self._opens_at is not None:
                self._opens_at = None
                self._note("window_opened", closes_at=utc(opening.closes_at))
                self._see()
            return
        is_ahead = opening.opens_at > now
        opens_at = (opening if is_ahead else self._windows.at(opening.closes_at)).opens_at
        was, self._opens_at = self._opens_at, opens_at
        if was is None:
            self._note("window_closed", opens_at=utc(opens_at), wait_s=round(opens_at - now, 3))
            self._see()

    def _see(self) -> None:
        is_held = self._is_paused or self._opens_at is not None
        if is_held and self._held_since_s is None:
            self._held_since_s = self._clock.now()
            self._hold()
        elif not is_held and self._held_since_s is not None:
            held_s = self._clock.now() - self._held_since_s
            self._held_since_s = None
            self._move_on(held_s)
