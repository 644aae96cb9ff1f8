"""What a plan changes, like a patch for people, and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from batch.fleet.comparison import DIFFERENCES, Comparison, Difference
from batch.fleet.plan_diff import UNSET, FieldChange, Patch, PlanDiff, Unset
from batch.plans import DIRECTIONS, keys_of
from batch.report.lines import printable

#: How many changes of a template the text shows; the JSON has all.
_SHOWN = 20

#: What is said of a change in which no field differs by what the journal knows.
_WITHOUT_FIELDS = {
    Difference.IN_DOUBT: "the same was sent last, and may not have been applied",
    Difference.DRIFTED: "the same was sent last, and reading back shows something else",
}
_MASKED = "what differs is secret"

_SIGNS = {
    Difference.NEW: "+",
    Difference.CHANGED: "~",
    Difference.IN_DOUBT: "?",
    Difference.UNCHANGED: " ",
    Difference.DRIFTED: "!",
}


def counts_text(comparison: Comparison) -> str:
    """`3 new, 9 changed, 40 unchanged; 2 known are in no sheet`, in requests."""
    counts = [(one, comparison.count(one)) for one in DIFFERENCES]
    parts = [f"{count:,} {words(one)}" for one, count in counts if count] or ["no requests"]
    known = ((comparison.missing, "in no sheet"), (comparison.rejected, "in rejected rows"))
    told = (
        f"{len(keys):,} known {'is' if len(keys) == 1 else 'are'} {where}"
        for keys, where in known
        if len(keys)
    )
    return "; ".join([", ".join(parts), *told])


def words(difference: Difference) -> str:
    """A difference in words."""
    return difference.value.replace("_", " ")


def counts_json(comparison: Comparison) -> dict[str, int]:
    """How many requests differ in which way, and how many known keys are `missing`, or in rows `rejected`."""
    return {
        **{one.value: comparison.count(one) for one in DIFFERENCES},
        "missing": len(comparison.missing),
        "rejected": len(comparison.rejected),
    }


def changes_text(diff: PlanDiff, most: int) -> Iterator[str]:
    """The changes that most requests make, a line each: which fields, from what to what."""
    changed = [patch for patch in diff.patches if patch.difference is Difference.CHANGED]
    changed.sort(key=lambda patch: -patch.count)
    for patch in changed[:most]:
        fields = "; ".join(map(change_text, patch.changes[:most])) or _MASKED
        more = f"; and {len(patch.changes) - most} more fields" if len(patch.changes) > most else ""
        yield f"{printable(patch.template)}, {_many(patch.count)}: {fields}{more}"
    if len(changed) > most:
        yield f"and {len(changed) - most:,} more changes; --diff shows them"


def change_text(change: FieldChange) -> str:
    """`codec_config.codecs: PCMU, PCMA → PCMU, PCMA, Opus`; what was not set has no left side."""
    if change.before is UNSET:
        return f"{printable(change.path)}: {value_text(change.after)}"
    return f"{printable(change.path)}: {value_text(change.before)} → {value_text(change.after)}"


def value_text(value: object) -> str:
    """A value as people write it in a cell."""
    match value:
        case Unset():
            return value.value
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case tuple():
            return ", ".join(map(value_text, value)) or "(empty)"
        case _:
            return printable(str(value)) or '""'


def diff_text(diff: PlanDiff, *, with_missing: bool = True) -> Iterator[str]:
    """The changes by template, then by number, a line each; with what is known and in no sheet, if wanted."""
    by_template: dict[str, list[tuple[int, Patch]]] = {}
    for no, patch in enumerate(diff.patches, start=1):
        by_template.setdefault(patch.template, []).append((no, patch))
    for template, patches in by_template.items():
        for no, patch in patches[:_SHOWN]:
            yield from _hunk(diff, no, patch)
        if len(patches) > _SHOWN:
            rest = sum(patch.count for _, patch in patches[_SHOWN:])
            more = f"{len(patches) - _SHOWN:,} more changes of {printable(template)}"
            yield f"and {more}, by {_many(rest)}; --json lists them"
            yield ""
    yield from _by_number(diff, with_missing=with_missing)


def _hunk(diff: PlanDiff, no: int, patch: Patch) -> Iterator[str]:
    what = f"{_many(patch.count)} {words(patch.difference)}"
    since = f", in force since run {patch.since}" if patch.since else ""
    template = printable(patch.template)
    yield f"@@ #{no} {template}: {what}, such as {_request(diff, patch.example)}{since} @@"
    for change in patch.changes:
        if change.before is not UNSET:
            yield f"-{printable(change.path)}: {value_text(change.before)}"
        if change.after is not UNSET:
            yield f"+{printable(change.path)}: {value_text(change.after)}"
    if not patch.changes:
        yield f" {_WITHOUT_FIELDS.get(patch.difference, _MASKED)}"
    yield ""


def _by_number(diff: PlanDiff, *, with_missing: bool) -> Iterator[str]:
    missing = list(_missing(diff.comparison)) if with_missing else []
    plan = diff.comparison.plan
    requests = np.flatnonzero(diff.patch_ids >= 0)
    by_number = np.argsort(keys_of(plan.numbers[requests], plan.directions[requests]), kind="stable")
    changing = requests[by_number].tolist()
    if changing or missing:
        yield "By number:"
    for at in changing:
        no = int(diff.patch_ids[at])
        drift = diff.comparison.drifts.get(at)
        told = f": {printable(drift)}" if drift else ""
        yield f"{_SIGNS[diff.patches[no].difference]} {_request(diff, at)} #{no + 1}{told}"
    for key, run in missing:
        yield f"- +{key >> 1} {DIRECTIONS[key & 1]} is in no sheet; in force since run {run}"


def _missing(comparison: Comparison) -> Iterator[tuple[int, str]]:
    applied = comparison.applied
    for at in comparison.missing.tolist():
        yield int(applied.keys[at]), applied.runs[applied.run_ids[at]]


def _request(diff: PlanDiff, at: int) -> str:
    plan = diff.comparison.plan
    place = printable(plan.place(int(plan.sheet_ids[at]), int(plan.rows[at])))
    return f"+{plan.numbers[at]} {DIRECTIONS[plan.directions[at]]} ({place})"


def _many(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"


def diff_json(diff: PlanDiff) -> dict[str, object]:
    """The changes as JSON values. Field names are stable.

    - `patches`: `template`, `difference` (new, changed, in_doubt, drifted), `requests` (how many), `since`
      (the run that put in force what is changed, or null), `changes`: `path`, and `from` and `to` where set
    - `requests`: `phone_number`, `direction`, `sheet`, `row`, `patch` (its place in `patches`), `drift` (what
      was sent and what is there instead, or null)
    - `missing`: `phone_number`, `direction`, `since`: known, and in no sheet
    """
    plan = diff.comparison.plan
    return {
        "patches": [
            {
                "template": patch.template,
                "difference": patch.difference.value,
                "requests": patch.count,
                "since": patch.since or None,
                "changes": [change.as_json() for change in patch.changes],
            }
            for patch in diff.patches
        ],
        "requests": [
            {
                "phone_number": f"+{plan.numbers[at]}",
                "direction": DIRECTIONS[plan.directions[at]],
                "sheet": plan.sheets[plan.sheet_ids[at]].name,
                "row": int(plan.rows[at]),
                "patch": int(diff.patch_ids[at]),
                "drift": diff.comparison.drifts.get(at),
            }
            for at in np.flatnonzero(diff.patch_ids >= 0).tolist()
        ],
        "missing": [
            {"phone_number": f"+{key >> 1}", "direction": DIRECTIONS[key & 1], "since": run}
            for key, run in _missing(diff.comparison)
        ],
    }
