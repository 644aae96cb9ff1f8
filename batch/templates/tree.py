"""A template's body as a tree that was read once, and is filled for one row after the other.

Only leaves are ever filled: whatever a cell holds, the keys are those of the template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar, NamedTuple

from batch.schema import Kind, Path, dotted
from batch.templates.files import Place
from batch.templates.placeholders import Parts, Placeholder, WhenBlank
from batch.templates.typed_cells import Misread, error_in, read_cell, shown

#: What is shown in place of a secret.
MASK = "***"


class _Omit(Enum):
    OMIT = auto()


#: What a node gives for a row that leaves it out.
OMIT = _Omit.OMIT


class Miss(NamedTuple):
    """A leaf that a row cannot fill. `column` is the variable as the template writes it, or empty."""

    path: Path
    column: str
    place: Place
    message: str
    kind: str


class Source(NamedTuple):
    """Where a value of a filled body comes from: the variables and the environment's that fill it."""

    place: Place
    columns: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


@dataclass(slots=True)
class Giving:
    """What one row gives to the leaves, and what came of it.

    `values` are cells by folded column name. `environment` are the variables that the template may
    read; `masked` shows `***` for them. With a `trace`, every value's source is noted by its path.
    """

    values: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)
    masked: bool = False
    misses: list[Miss] = field(default_factory=list)
    trace: dict[Path, Source] | None = None

    def text(self, placeholder: Placeholder) -> str | None:
        """The text for a placeholder; None where there is no such column or variable."""
        given = self.environment if placeholder.from_env else self.values
        text = given.get(placeholder.key)
        return None if text is None else text.strip()

    def miss(self, path: Path, place: Place, placeholder: Placeholder, given: str | None) -> None:
        """Note that a placeholder which must have a value has none."""
        if placeholder.from_env:
            message = placeholder.text or f"the environment variable {placeholder.name} is not set"
            self.misses.append(Miss(path, "", place, message, "template.environment"))
            return
        if placeholder.text:
            message, kind = placeholder.text, "template.required"
        elif given is None:
            message, kind = f"the sheet has no such column, and {dotted(path)} needs it", "template.no_column"
        else:
            message, kind = f"is blank, and {dotted(path)} needs it", "template.blank"
        self.misses.append(Miss(path, placeholder.name, place, message, kind))

    def misread(self, path: Path, place: Place, placeholder: Placeholder, why: Misread) -> None:
        """Note that a placeholder has a text which its field cannot take."""
        if placeholder.from_env:
            message = f"the value of the environment variable {placeholder.name} {why.message}"
            self.misses.append(Miss(path, "", place, message, why.kind))
        else:
            message = f"{shown(self.text(placeholder) or '')} {why.message} ({dotted(path)})"
            self.misses.append(Miss(path, placeholder.name, place, message, why.kind))


@dataclass(frozen=True, slots=True)
class Constant:
    """A leaf without placeholders: `text` is as the template writes it, where it is a text."""

    value: object
    place: Place
    text: str | None = None
    settled: ClassVar[bool] = True

    def fill(self, path: Path, giving: Giving) -> object:
        if giving.trace is not None:
            giving.trace[path] = Source(self.place)
        return self.value

    def plain(self) -> object:
        return self.value if self.text is None else self.text

    def placeholders(self, path: Path) -> Iterator[tuple[Path, Kind, Placeholder]]:
        del path  # there is none to be found below a constant
        return iter(())


@dataclass(frozen=True, slots=True)
class Slot:
    """A leaf that is exactly one placeholder: it takes the type that the field wants.

    `spliced`: it is an element of a list of texts, and gives as many elements as its cell has.
    """

    placeholder: Placeholder
    kind: Kind
    place: Place
    text: str
    default: object = OMIT
    spliced: bool = False
    settled: ClassVar[bool] = False

    def fill(self, path: Path, giving: Giving) -> object:
        placeholder = self.placeholder
        text = giving.text(placeholder)
        if giving.trace is not None:
            giving.trace[path] = _source(self.place, (placeholder,))
        if not text:
            if placeholder.when_blank is WhenBlank.REJECT:
                giving.miss(path, self.place, placeholder, text)
            return self.default
        if giving.masked and placeholder.from_env:
            return [MASK] if self.kind is Kind.LIST else MASK
        value = read_cell(text, self.kind)
        if isinstance(value, Misread):
            giving.misread(path, self.place, placeholder, value)
            return OMIT
        return value

    def plain(self) -> object:
        return self.text

    def placeholders(self, path: Path) -> Iterator[tuple[Path, Kind, Placeholder]]:
        yield path, self.kind, self.placeholder


@dataclass(frozen=True, slots=True)
class Wording:
    """A leaf with text around its placeholders: it stays text."""

    parts: Parts
    place: Place
    text: str
    settled: ClassVar[bool] = False

    def fill(self, path: Path, giving: Giving) -> object:
        if giving.trace is not None:
            giving.trace[path] = _source(
                self.place, tuple(part for part in self.parts if isinstance(part, Placeholder))
            )
        words: list[str] = []
        complete = True
        for part in self.parts:
            if isinstance(part, str):
                words.append(part)
                continue
            text = giving.text(part)
            if text:
                words.append(MASK if giving.masked and part.from_env else text)
                if error := error_in(text):
                    giving.misread(path, self.place, part, error)
                    complete = False
            elif part.when_blank is WhenBlank.DEFAULT:
                words.append(part.text)
            else:
                complete = False
                if part.when_blank is WhenBlank.REJECT:
                    giving.miss(path, self.place, part, text)
        return "".join(words) if complete else OMIT

    def plain(self) -> object:
        return self.text

    def placeholders(self, path: Path) -> Iterator[tuple[Path, Kind, Placeholder]]:
        for part in self.parts:
            if isinstance(part, Placeholder):
                yield path, Kind.TEXT, part


@dataclass(frozen=True, slots=True)
class Branch:
    """A mapping. `value` is what it is filled with where no row changes it."""

    children: Mapping[str, Node]
    place: Place
    settled: bool
    value: object = None

    @classmethod
    def of(cls, children: Mapping[str, Node], place: Place) -> Branch:
        """A mapping of these nodes, filled once and for all if none of them needs a row."""
        if all(child.settled for child in children.values()):
            value = {key: _settled(child) for key, child in children.items()}
            return cls(children, place, settled=True, value=value)
        return cls(children, place, settled=False)

    def fill(self, path: Path, giving: Giving) -> object:
        if giving.trace is not None:
            giving.trace[path] = Source(self.place)
        elif self.settled:
            return self.value
        filled: dict[str, object] = {}
        for key, child in self.children.items():
            value = child.fill((*path, key), giving)
            if value is not OMIT:
                filled[key] = value
        # A mapping that is left with nothing is left out as well: an empty one could mean "clear it".
        return filled if filled or not self.children else OMIT

    def plain(self) -> object:
        return {key: child.plain() for key, child in self.children.items()}

    def placeholders(self, path: Path) -> Iterator[tuple[Path, Kind, Placeholder]]:
        for key, child in self.children.items():
            yield from child.placeholders((*path, key))


@dataclass(frozen=True, slots=True)
class Items:
    """A list. Elements that a row leaves out close up."""

    children: tuple[Node, ...]
    place: Place
    settled: bool
    value: object = None

    @classmethod
    def of(cls, children: tuple[Node, ...], place: Place) -> Items:
        """A list of these nodes, filled once and for all if none of them needs a row."""
        if all(child.settled for child in children):
            return cls(children, place, settled=True, value=[_settled(child) for child in children])
        return cls(children, place, settled=False)

    def fill(self, path: Path, giving: Giving) -> object:
        if giving.trace is not None:
            giving.trace[path] = Source(self.place)
        elif self.settled:
            return self.value
        filled: list[object] = []
        for child in self.children:
            at = (*path, len(filled))
            value = child.fill(at, giving)
            if value is OMIT:
                continue
            if isinstance(child, Slot) and child.spliced and isinstance(value, list):
                if giving.trace is not None:
                    source = giving.trace[at]
                    giving.trace.update(((*path, len(filled) + i), source) for i in range(len(value)))
                filled.extend(value)
            else:
                filled.append(value)
        return filled if filled or not self.children else OMIT

    def plain(self) -> object:
        return [child.plain() for child in self.children]

    def placeholders(self, path: Path) -> Iterator[tuple[Path, Kind, Placeholder]]:
        for index, child in enumerate(self.children):
            yield from child.placeholders((*path, index))


Node = Constant | Slot | Wording | Branch | Items


def merge(under: Node, over: Node) -> Node:
    """`over` laid upon `under`: mappings merge deeply, everything else is replaced."""
    if not (isinstance(under, Branch) and isinstance(over, Branch)):
        return over
    children = dict(under.children)
    for key, child in over.children.items():
        children[key] = merge(children[key], child) if key in children else child
    return Branch.of(children, over.place)


def _settled(node: Node) -> object:
    assert not isinstance(node, Slot | Wording)
    return node.value


def _source(place: Place, placeholders: tuple[Placeholder, ...]) -> Source:
    return Source(
        place,
        tuple(placeholder.name for placeholder in placeholders if not placeholder.from_env),
        tuple(placeholder.name for placeholder in placeholders if placeholder.from_env),
    )
