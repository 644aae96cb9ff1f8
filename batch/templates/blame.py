"""Who put a value into a filled body: the column, the environment or the template that a problem is for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from batch.plans import Problem
from batch.schema import Finding, Path, dotted
from batch.templates.files import Place
from batch.templates.overrides import in_order
from batch.templates.tree import MASK, Miss, Source


class Culprits(NamedTuple):
    """Who filled what stands at a path: variables, an override, the environment; else the template."""

    place: Place | None
    columns: tuple[str, ...] = ()
    override: Path | None = None
    environment: tuple[str, ...] = ()


class Blame:
    """Turns what is wrong at a path of a filled body into the problem of the column that put it there.

    `trace` is what filling noted of its sources, `overridden` are the overrides of the row. The values
    in `environment` appear in no message.
    """

    def __init__(
        self, trace: Mapping[Path, Source], overridden: frozenset[Path], environment: Mapping[str, str]
    ) -> None:
        self._trace = trace
        self._overridden = sorted(overridden, key=in_order)
        self._secrets = sorted({text.strip() for text in environment.values()} - {""}, key=len, reverse=True)

    def missed(self, miss: Miss) -> Problem:
        """The problem of a leaf that could not be filled."""
        if miss.column:
            return Problem(miss.column, self._safe(miss.message), miss.kind)
        return Problem(
            "template", self._safe(f"{miss.place}: {dotted(miss.path)}: {miss.message}"), miss.kind
        )

    def found(self, finding: Finding) -> Problem:
        """The problem of what the schema found."""
        whole = f"{dotted(finding.path)} {finding.message}".lstrip()
        culprits = self.culprits(finding.path, finding.message)
        if culprits.override is not None:
            exact = culprits.override == finding.path
            message = finding.message if exact else whole
            return Problem(dotted(culprits.override), self._safe(message), finding.kind)
        if culprits.environment:
            named = " and ".join(culprits.environment)
            whole = f"{dotted(finding.path)} is not accepted with what the environment has for {named}"
        elif culprits.columns:
            return Problem(culprits.columns[0], self._safe(whole), finding.kind)
        at = f"{culprits.place}: " if culprits.place else ""
        return Problem("template", self._safe(at + whole), finding.kind)

    def culprits(self, path: Path, message: str = "") -> Culprits:
        """Who filled what stands at a path, or what lies around it where nothing does.

        Of an object, it is those who filled the fields that the message names.
        """
        # An override replaces all that the template has below it; what it replaced is still in the trace.
        override = next((path[:end] for end in range(len(path) + 1) if path[:end] in self._overridden), None)
        if override is not None:
            return Culprits(None, override=override)
        for end in range(len(path), -1, -1):
            part = path[:end]
            source = self._trace.get(part)
            if source is None:
                made_by = next(self._overrides_below(part), None)
                if made_by is not None:
                    return Culprits(None, override=made_by)
                continue
            if source.columns or source.environment:
                return Culprits(source.place, source.columns, None, source.environment)
            if part and end == len(path):
                return self._below(part, source.place, message)
            return Culprits(source.place)
        return Culprits(None)

    def _below(self, path: Path, place: Place, message: str) -> Culprits:
        """Who filled the elements of the list at a path, or the fields that a message names of an object."""
        named = {*re.findall(r"\w+", message)}
        for other, source in self._trace.items():
            if other[:-1] == path and (isinstance(other[-1], int) or other[-1] in named) and source.columns:
                return Culprits(place, source.columns)
        for other in self._overrides_below(path):
            if isinstance(other[len(path)], int) or other[len(path)] in named:
                return Culprits(place, override=other)
        return Culprits(place)

    def _overrides_below(self, path: Path) -> Iterator[Path]:
        return (other for other in self._overridden if other[: len(path)] == path)

    def _safe(self, message: str) -> str:
        for secret in self._secrets:
            message = message.replace(secret, MASK)
        return message


def along(one: Path, other: Path) -> bool:
    """Whether one path leads on from the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
