"""Makes a tree of what a template file has written, and says what in it cannot be filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batch.errors import TemplateError
from batch.schema import Kind, Path, dotted
from batch.templates.files import Fault, Place, Written
from batch.templates.placeholders import Placeholder, WhenBlank, read_placeholders
from batch.templates.tree import OMIT, Branch, Constant, Items, Node, Slot, Wording
from batch.templates.typed_cells import Misread, read_cell, shown

KindOf = Callable[[Path], Kind | None]


@dataclass(slots=True)
class TreeReader:
    """Makes a tree of what one file has written, and notes what is wrong with it in `faults`.

    `allowed` are the environment variables that this file may name.
    """

    file: str
    kind_of: KindOf
    allowed: frozenset[str]
    faults: list[Fault]

    def read(self, written: Written, path: Path) -> Node:
        """The node for what is written at a path."""
        place = Place(self.file, written.line)
        value = written.value
        if isinstance(value, dict):
            for key in value:
                if "${" in key:
                    self._fault(place, path, f'has the key "{key[:40]}", and keys are never filled')
            return Branch.of({key: self.read(inner, (*path, key)) for key, inner in value.items()}, place)
        if isinstance(value, list):
            of_texts = self.kind_of(path) is Kind.LIST
            return Items.of(
                tuple(
                    self._element(inner, (*path, i)) if of_texts else self.read(inner, (*path, i))
                    for i, inner in enumerate(value)
                ),
                place,
            )
        if isinstance(value, str):
            return self._text(value, path, place, self.kind_of(path))
        if value is None:
            self._fault(place, path, "has no value: give it one, or take the line out")
        return Constant(value, place)

    def _element(self, written: Written, path: Path) -> Node:
        """An element of a list of texts: one that is a placeholder is a list in itself."""
        if not isinstance(written.value, str):
            return self.read(written, path)
        place = Place(self.file, written.line)
        return self._text(written.value, path, place, self.kind_of(path), spliced=True)

    def _text(self, text: str, path: Path, place: Place, kind: Kind | None, *, spliced: bool = False) -> Node:
        try:
            parts = read_placeholders(text)
        except TemplateError as error:
            self._fault(place, path, f"cannot be read: {error}")
            return Constant(text, place, text)
        named = [part for part in parts if isinstance(part, Placeholder)]
        for placeholder in named:
            if placeholder.from_env and placeholder.name not in self.allowed:
                self._fault(
                    place,
                    path,
                    f"reads the environment variable {placeholder.name}, which the template does not allow: "
                    f"add `allow_env: [{placeholder.name}]` at its top",
                )
        if not named:
            return Constant("".join(map(str, parts)), place, text)
        if len(parts) == 1:
            return self._slot(named[0], text, path, place, Kind.LIST if spliced else kind, spliced=spliced)
        if kind not in (Kind.TEXT, None):
            self._fault(
                place, path, f"wants {_WANTS[kind]}: write one placeholder there, with nothing around it"
            )
        return Wording(parts, place, text)

    def _slot(
        self,
        placeholder: Placeholder,
        text: str,
        path: Path,
        place: Place,
        kind: Kind | None,
        *,
        spliced: bool,
    ) -> Node:
        # A field that is not there is the schema's to report, in the words that it has for all of them.
        wanted = Kind.TEXT if kind is None else kind
        if wanted in (Kind.OBJECT, Kind.OBJECTS):
            self._fault(place, path, f"wants {_WANTS[wanted]}: a cell fills one of the fields below it")
            return Constant(text, place, text)
        default: object = OMIT
        if placeholder.when_blank is WhenBlank.DEFAULT:
            default = read_cell(placeholder.text, wanted)
            if isinstance(default, Misread):
                self._fault(place, path, f"has a default, {shown(placeholder.text)}, that {default.message}")
                default = OMIT
        return Slot(placeholder, wanted, place, text, default, spliced)

    def _fault(self, place: Place, path: Path, message: str) -> None:
        self.faults.append(Fault(place, f"{dotted(path)} {message}".lstrip()))


_WANTS = {
    Kind.TEXT: "text",
    Kind.INTEGER: "a whole number",
    Kind.NUMBER: "a number",
    Kind.BOOLEAN: "true or false",
    Kind.LIST: "a list",
    Kind.OBJECT: "an object",
    Kind.OBJECTS: "a list of objects",
}
