"""A cell that calls `batch.run`, in a kernel made of stand-ins: prints each state of the bar as JSON.

`python notebook_cell.py WORKSPACE`; with `interrupt` behind it, the cell is interrupted while it sends.
The stand-ins have what tqdm's notebook bar uses of ipykernel, IPython and ipywidgets, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

SHOWN: list[Any] = []


IS_INTERRUPTED = "interrupt" in sys.argv


class Widget:
    """Anything that holds a value."""

    def __init__(self, children: tuple[Widget, ...] = (), **values: Any) -> None:
        self.layout = SimpleNamespace()
        self.style = SimpleNamespace()
        self.children = children
        self.value: Any = None
        self.bar_style = ""
        self.__dict__.update(values)


class Bar(Widget):
    """Interrupts the cell, as the button does, once the bar has come so far: a KeyboardInterrupt there."""

    is_pressed = not IS_INTERRUPTED

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "value" and (value or 0) >= 3 and not self.is_pressed:
            self.is_pressed = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def write(line: dict[str, Any]) -> None:
    """One line for the test to read."""
    sys.stdout.write(json.dumps(line) + "\n")


def tell() -> None:
    """Print what the displayed bar says now."""
    for box in SHOWN:
        left, bar, right = box.children
        text = f"{left.value}{right.value}".replace("\u2007", " ").strip()
        write({"value": bar.value, "max": bar.max, "style": bar.bar_style, "text": text})


def module(name: str, **content: Any) -> ModuleType:
    """A module that can be imported by this name."""
    made = sys.modules[name] = ModuleType(name)
    made.__dict__.update(content)
    return made


class ZMQInteractiveShell:
    """What a notebook's kernel calls its shell."""


module("ipywidgets", HTML=Widget, FloatProgress=Bar, HBox=Widget)
module("IPython", get_ipython=ZMQInteractiveShell, display=module("IPython.display", display=SHOWN.append))
module("ipykernel", zmqshell=module("ipykernel.zmqshell"))


async def cell(workspace: str) -> None:
    """What a user types; a kernel runs it within its own event loop."""
    import batch
    from tests.small_plans import small_plan

    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's own would cancel the cell
    plan = small_plan(30)
    rate = "20/s" if IS_INTERRUPTED else "1000/s"
    finished = batch.run(plan, target=batch.sandbox(), workspace=workspace, rate=rate)
    tell()
    write({"reason": finished.reason, "left": finished.counts.left})


asyncio.run(cell(sys.argv[1]))
