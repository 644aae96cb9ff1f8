"""Templates: named configs with blanks, which a folder holds and a row fills."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from batch.errors import TemplateError
from batch.plans import Payload, Problem
from batch.schema import Kind, Schema, did_you_mean, dotted
from batch.schema import Path as BodyPath
from batch.templates.blame import Blame, along
from batch.templates.files import (
    SUFFIXES,
    Bounds,
    Fault,
    Place,
    read_template_file,
    template_files,
    wrong_name,
)
from batch.templates.heads import TemplateFile, read_head
from batch.templates.overrides import Overridden, override
from batch.templates.placeholders import Placeholder
from batch.templates.tree import Branch, Giving, Node, Source, merge
from batch.templates.tree_reader import TreeReader

#: How many templates may stand behind one another, by `extends` and by `+`.
MAX_CHAIN = 16
_TOO_LONG = f"extends goes through more than {MAX_CHAIN} templates"
#: How many faults an error names; `sipbatch templates check` names all.
_NAMED_FAULTS = 5
#: How many templates an error names where none comes near.
_NAMED_NAMES = 20


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling a template made: a payload, or the problems that stopped it.

    A problem's `column` is the variable as the template writes it, or the override's dotted path, where
    one is at fault; else `template`.
    """

    payload: Payload | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, eq=False)  # no slots: what follows from the fields is kept beside them
class Template:
    """A template with all that it builds on laid under it, ready to be filled.

    `name` is what the sheet calls it (`a+b` for two joined). `direction` is `inbound`, `outbound`, `both`
    or None. `extends` are the templates that it names as its base.
    """

    name: str
    description: str
    direction: str | None
    extends: tuple[str, ...]
    schema: Schema = field(repr=False)
    tree: Node = field(repr=False)
    _environ: Mapping[str, str] = field(repr=False)

    @cached_property
    def placeholders(self) -> tuple[tuple[BodyPath, Kind, Placeholder], ...]:
        """Every placeholder, with its place in the body and what is wanted there."""
        return tuple(self.tree.placeholders(()))

    @cached_property
    def variables(self) -> frozenset[str]:
        """The columns that filling looks at, folded."""
        return frozenset(one.key for _, _, one in self.placeholders if not one.from_env)

    @cached_property
    def required(self) -> frozenset[str]:
        """Those of the variables that must have a value in every row."""
        named = (one for _, _, one in self.placeholders if not one.from_env)
        return frozenset(one.key for one in named if one.required)

    @cached_property
    def names(self) -> dict[str, str]:
        """The variables as the template writes them, by folded name, in its order."""
        named: dict[str, str] = {}
        for _, _, placeholder in self.placeholders:
            if not placeholder.from_env:
                named.setdefault(placeholder.key, placeholder.name)
        return named

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the environment has for the names that the template may read and does."""
        named = {one.name for _, _, one in self.placeholders if one.from_env}
        return {name: self._environ[name] for name in named if name in self._environ}

    def body(self) -> dict[str, object]:
        """The merged body as the templates write it, with its blanks."""
        plain = self.tree.plain()
        assert isinstance(plain, dict)
        return plain

    def fill(self, values: Mapping[str, str], overrides: Mapping[BodyPath, str]) -> Filled:
        """Fill the template for one row, and check what came of it.

        `values` are cells by folded column name, `overrides` cells by their place in the body; a blank
        one is no value. Never raises for what a cell holds; finds all problems at once.
        """
        giving = Giving(values, self.environment)
        laid = self._laid(giving, overrides)
        checked = self.schema.check(laid.blocks)
        if checked.payload is not None and not (giving.misses or laid.wrong or checked.warnings):
            return Filled(checked.payload)
        # Something is to be said: fill once more, now noting where every value comes from.
        blame = Blame(self.trace(values), laid.paths, self.environment)
        # An override gives a leaf what its own column did not; what only follows from a leaf that was
        # not filled is no problem of its own.
        misses = [miss for miss in giving.misses if not any(along(miss.path, path) for path in laid.paths)]
        unfilled = [miss.path for miss in misses] + list(laid.wrong)
        problems = [
            *map(blame.missed, misses),
            *(Problem(dotted(path), wrong.message, wrong.kind) for path, wrong in laid.wrong.items()),
            *(blame.found(one) for one in checked.problems if not _any_along(one.path, unfilled)),
        ]
        if problems or checked.payload is None:
            return Filled(None, tuple(dict.fromkeys(problems)))
        return Filled(checked.payload, (), tuple(dict.fromkeys(map(blame.found, checked.warnings))))

    def preview(self, values: Mapping[str, str], overrides: Mapping[BodyPath, str]) -> dict[str, object]:
        """The filled body to show to people: what comes from the environment is `***` in it."""
        return self._laid(Giving(values, self.environment, masked=True), overrides).blocks

    def trace(self, values: Mapping[str, str]) -> dict[BodyPath, Source]:
        """Where every value of the body comes from that these values fill, by its path."""
        trace: dict[BodyPath, Source] = {}
        self.tree.fill((), Giving(values, self.environment, trace=trace))
        return trace

    def _laid(self, giving: Giving, overrides: Mapping[BodyPath, str]) -> Overridden:
        filled = self.tree.fill((), giving)
        blocks: dict[str, object] = filled if isinstance(filled, dict) else {}
        return override(self.schema, blocks, overrides) if overrides else Overridden(blocks, frozenset(), {})


def _any_along(path: BodyPath, others: Iterable[BodyPath]) -> bool:
    return any(along(path, other) for other in others)


# --- the folder ---------------------------------------------------------------------------------


class Resolved(NamedTuple):
    """A file with what it builds on laid under it, and everything that is wrong in any of them."""

    tree: Node
    direction: str | None
    allow_env: frozenset[str]
    names: frozenset[str]
    depth: int  #: how many templates stand behind one another, this one included
    faults: tuple[Fault, ...]


class TemplateFolder:
    """The templates of one folder; each file is read once, when it is first needed.

    `environ` is where `${env:NAME}` looks: the process' environment unless given.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        *,
        environ: Mapping[str, str] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.path = path
        self.schema = schema
        self._environ = os.environ if environ is None else environ
        self._bounds = bounds or Bounds()
        self._files: dict[str, TemplateFile] = {}
        self._resolved: dict[str, Resolved] = {}
        self._got: dict[str, Template] = {}
        self._digests: dict[str, str] = {}

    @cached_property
    def paths(self) -> dict[str, tuple[Path, ...]]:
        """The files by template name; `TemplateError` if there is no such folder."""
        return template_files(self.path)

    def names(self) -> tuple[str, ...]:
        """The names of all templates, sorted."""
        return tuple(sorted(self.paths))

    def digests(self) -> dict[str, str]:
        """The SHA-256 of the file of each template that was got, or that one that was got builds on."""
        return dict(sorted(self._digests.items()))

    def environment(self) -> dict[str, str]:
        """What the templates that were got took from the environment, by name: secrets."""
        return {name: value for got in self._got.values() for name, value in got.environment.items()}

    def get(self, ref: str) -> Template:
        """The template of a name, or of several joined by `+`, merged left to right.

        Raises `TemplateError` if there is none, or what is there is faulty.
        """
        names = [part.strip() for part in ref.split("+")]
        name = "+".join(names)
        if name not in self._got:
            self._got[name] = self._joined(name, names)
        return self._got[name]

    def _joined(self, name: str, names: Sequence[str]) -> Template:
        if len(names) > MAX_CHAIN:
            raise TemplateError(f"{len(names)} templates are joined by +, and {MAX_CHAIN} are the most")
        for part in names:
            if not part and any(names):
                raise TemplateError(
                    f'"{name}" joins templates by + and lacks one: name it, or take the + out'
                )
            if part not in self.paths or wrong_name(part):
                raise TemplateError(self._unknown(part, f" in {self.path}"))
        parts = [self.resolve(part) for part in names]
        faults = sorted({fault for part in parts for fault in part.faults})
        if faults:
            more = len(faults) - _NAMED_FAULTS
            listed = "; ".join(map(str, faults[:_NAMED_FAULTS])) + (f"; and {more} more" if more > 0 else "")
            raise TemplateError(f"{listed} (`sipbatch templates check` finds all of a folder)")
        for used in frozenset().union(*(part.names for part in parts)):
            self._digests[used] = self.file(used).sha256
        return self._template(name, names, parts)

    def draft(self, name: str) -> Template:
        """One template as far as it can be read, whatever is wrong with it: for finding more that is."""
        return self._template(name, [name], [self.resolve(name)])

    def _template(self, name: str, names: Sequence[str], parts: Sequence[Resolved]) -> Template:
        files = [self.file(part) for part in names]
        return Template(
            name,
            "; ".join(file.description for file in files if file.description),
            next((part.direction for part in reversed(parts) if part.direction), None),
            tuple(dict.fromkeys(base for file in files for base in file.extends)),
            self.schema,
            functools.reduce(merge, (part.tree for part in parts)),
            self._environ,
        )

    def _unknown(self, name: str, where: str = "") -> str:
        wrong = wrong_name(name)
        if wrong:
            return f'"{name[:100]}" names no template: {wrong}'
        known = self.names()
        hint = self._meant(name) or (
            f" There are: {', '.join(known[:_NAMED_NAMES])}{', ...' if len(known) > _NAMED_NAMES else ''}."
            if known
            else " The folder holds none."
        )
        return f'there is no template "{name}"{where}.{hint}'

    def _meant(self, name: str) -> str:
        """The template that was meant, or the several, as a sentence; nothing where none comes near."""
        several = [part.strip() for part in re.split(r"[,;|&]", name)]
        if len(several) > 1 and self.paths.keys() >= set(several):
            return f" Templates are joined by +: {'+'.join(several)}."
        stem, suffix = Path(name).stem, Path(name).suffix.lower()
        if suffix in SUFFIXES and stem in self.paths:
            return f' Did you mean "{stem}"?'
        return did_you_mean(name, self.paths)

    def file(self, name: str) -> TemplateFile:
        """What the file of a template says for itself, and what is wrong with it."""
        if name not in self._files:
            path, *more = self.paths[name]
            if more:
                also = " and ".join(other.name for other in more)
                text = f'is not the only template named "{name}": there is {also} too. Rename or remove one'
                self._files[name] = TemplateFile(Place(path.name, 0), "", (Fault(Place(path.name, 0), text),))
            else:
                self._files[name] = self._file(path)
        return self._files[name]

    def _file(self, path: Path) -> TemplateFile:
        raw, written, faults = read_template_file(path, self.path, self._bounds)
        sha256 = hashlib.sha256(raw).hexdigest()
        if written is None:
            return TemplateFile(Place(path.name, 0), sha256, tuple(faults))
        return read_head(written, path.name, sha256, faults, self.schema.blocks)

    def resolve(self, name: str, behind: tuple[str, ...] = ()) -> Resolved:
        """A template of this folder with its bases laid under it; `behind` are those that build on it."""
        if name not in self._resolved:
            self._resolved[name] = self._resolve(name, behind)
        return self._resolved[name]

    def _resolve(self, name: str, behind: tuple[str, ...]) -> Resolved:
        file = self.file(name)
        faults = list(file.faults)
        extends_place = Place(file.place.file, file.extends_line)
        names = frozenset({name})
        tree: Node = Branch.of({}, file.place)
        direction, allowed, depth = file.direction, file.allow_env, 1
        for base in file.extends:
            wrong = self._wrong_base(base, (*behind, name))
            if wrong:
                faults.append(Fault(extends_place, wrong))
                continue
            under = self.resolve(base, (*behind, name))
            depth = max(depth, under.depth + 1)
            tree = merge(tree, under.tree)
            direction = file.direction or under.direction or direction
            allowed |= under.allow_env
            names |= under.names
            faults.extend(under.faults)
        if depth > MAX_CHAIN:
            faults.append(Fault(extends_place, _TOO_LONG))
        reader = TreeReader(file.place.file, self.schema.kind_of, allowed, faults)
        own = {block: reader.read(written, (block,)) for block, written in file.blocks.items()}
        tree = merge(tree, Branch.of(own, file.place))
        return Resolved(tree, direction, allowed, names, depth, tuple(dict.fromkeys(faults)))

    def _wrong_base(self, base: str, chain: tuple[str, ...]) -> str:
        """Why a template cannot be the base of the last one in a chain, or nothing."""
        if base in chain:
            return f"extends goes round in a circle: {' → '.join((*chain[chain.index(base) :], base))}"
        if base not in self.paths or wrong_name(base):
            return f"extends: {self._unknown(base)}"
        return _TOO_LONG if len(chain) >= MAX_CHAIN else ""
