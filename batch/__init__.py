"""Roll a spreadsheet of phone numbers out to a telephony API: planned, paced, journaled, resumable.

    import batch

    plan = batch.plan("numbers.csv", templates="templates")
    finished = batch.run(plan, target=batch.sandbox(), workspace="runs")
    finished.results        # a pandas DataFrame

`batch.library` documents the functions. Nothing is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from batch.version import __version__ as __version__

if TYPE_CHECKING:
    from batch import errors as errors
    from batch.errors import BatchError as BatchError
    from batch.journal.protocol import Counts as Counts
    from batch.library import api as api
    from batch.library import plan as plan
    from batch.library import resume as resume
    from batch.library import retry as retry
    from batch.library import run as run
    from batch.library import sandbox as sandbox
    from batch.plans import Plan as Plan
    from batch.progress import Progress as Progress
    from batch.rollout import Finished as Finished
    from batch.states import RequestState as RequestState
    from batch.states import RunState as RunState
    from batch.states import StopReason as StopReason
    from batch.target import Advice as Advice
    from batch.target import Outcome as Outcome
    from batch.target import Target as Target
    from batch.target import Verdict as Verdict

#: Every name that is offered, and the module that it is taken from; "" for a module itself.
_OFFERED = {
    "Advice": "batch.target",
    "BatchError": "batch.errors",
    "Counts": "batch.journal.protocol",
    "Finished": "batch.rollout",
    "Outcome": "batch.target",
    "Plan": "batch.plans",
    "Progress": "batch.progress",
    "RequestState": "batch.states",
    "RunState": "batch.states",
    "StopReason": "batch.states",
    "Target": "batch.target",
    "Verdict": "batch.target",
    "api": "batch.library",
    "errors": "",
    "plan": "batch.library",
    "resume": "batch.library",
    "retry": "batch.library",
    "run": "batch.library",
    "sandbox": "batch.library",
}

__all__ = ["__version__", *_OFFERED]


if not TYPE_CHECKING:  # a type checker knows every name from above, and so sees a wrong one

    def __getattr__(name: str) -> object:
        if name not in _OFFERED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = _OFFERED[name]
        value = getattr(import_module(module), name) if module else import_module(f"batch.{name}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
