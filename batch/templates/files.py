"""Reads one template file, YAML or JSON, within bounds, and keeps the line on which everything stands."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from batch.errors import TemplateError

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a template file may ask for; each is far more than a template that is meant holds."""

    file_bytes: int = 256 * 1024
    depth: int = 32
    values: int = 10_000  #: mappings, lists and scalars, with what aliases repeat counted again
    aliases: int = 100


class Place(NamedTuple):
    """Where something stands: `failover.yaml:7`. `line` is counted from 1; 0: not known (JSON)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Fault(NamedTuple):
    """One thing wrong in a template, in words for who writes templates; reads on after the place."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Written:
    """A value as a file has it, with its line. A mapping's keys are text, and no key is there twice."""

    value: dict[str, Written] | list[Written] | str | int | float | bool | None
    line: int


def read_template_file(path: Path, folder: Path, bounds: Bounds) -> tuple[bytes, Written | None, list[Fault]]:
    """The bytes of a template file, what is written in it, and what is wrong with that.

    The value is None if the file cannot be read as one. The file has to lie in the folder, after all
    symbolic links are followed, and to be a regular file.
    """
    at = Place(path.name, 0)
    try:
        raw = _read(path, folder, bounds)
        text = raw.decode("utf-8-sig")
    except TemplateError as error:
        return b"", None, [Fault(at, str(error))]
    except OSError as error:
        return b"", None, [Fault(at, f"cannot be read: {error.strerror or 'it cannot be opened'}")]
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return raw, None, [Fault(Place(path.name, line), "is not UTF-8 text: save it as UTF-8")]
    read = _Json(path.name, bounds).read if path.suffix.lower() == ".json" else _Yaml(path.name, bounds).read
    written, faults = read(text)
    return raw, written, faults


def _read(path: Path, folder: Path, bounds: Bounds) -> bytes:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a link to itself is a RuntimeError before Python 3.13
        raise TemplateError("is a link to a file that is not there") from None
    if not real.is_relative_to(folder.resolve()):
        raise TemplateError("is a link that leads out of the folder: copy the file into the folder")
    if not real.is_file():
        raise TemplateError("is no regular file")
    with real.open("rb") as file:
        raw = file.read(bounds.file_bytes + 1)
    if len(raw) > bounds.file_bytes:
        raise TemplateError(f"is larger than {bounds.file_bytes:,} bytes, the most that a template may have")
    return raw


class _UnreadableError(Exception):
    """Reading cannot go on after this."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Counting:
    """What both formats bound."""

    def __init__(self, file: str, bounds: Bounds) -> None:
        self._file = file
        self._bounds = bounds
        self._faults: list[Fault] = []
        self._values = 0

    def _fault(self, line: int, message: str) -> None:
        self._faults.append(Fault(Place(self._file, line), message))

    def _count(self, line: int, values: int = 1) -> None:
        self._values += values
        if self._values > self._bounds.values:
            raise _UnreadableError(line, f"holds more than {self._bounds.values:,} values, aliases followed")

    @property
    def _too_deep(self) -> str:
        return f"is nested more than {self._bounds.depth} levels deep"

    def _check_depth(self, line: int, depth: int) -> None:
        if depth > self._bounds.depth:
            raise _UnreadableError(line, self._too_deep)


# --- JSON ---------------------------------------------------------------------------------------


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys as often as they are written."""


class _Json(_Counting):
    """JSON: what it has no lines for is named by its keys."""

    def read(self, text: str) -> tuple[Written | None, list[Fault]]:
        try:
            parsed = json.loads(text, object_pairs_hook=_Pairs, parse_constant=self._no_constant)
            return self._written(parsed, 1), self._faults
        except json.JSONDecodeError as error:
            return None, [
                Fault(Place(self._file, error.lineno), f"is no JSON: {error.msg[:1].lower()}{error.msg[1:]}")
            ]
        except RecursionError:
            return None, [Fault(Place(self._file, 0), self._too_deep)]
        except _UnreadableError as error:
            return None, [Fault(Place(self._file, error.line), error.message)]
        except ValueError:  # int() refuses thousands of digits
            return None, [Fault(Place(self._file, 0), "holds a number of too many digits")]

    def _no_constant(self, name: str) -> None:
        raise _UnreadableError(0, f"holds {name}, which is no JSON")

    def _written(self, value: Any, depth: int) -> Written:
        self._count(0)
        self._check_depth(0, depth)
        if isinstance(value, _Pairs):
            mapping: dict[str, Written] = {}
            for key, inner in value:
                if key in mapping:
                    self._fault(0, f'holds the key "{_short(key)}" twice in one object')
                self._check_text(key)
                mapping[key] = self._written(inner, depth + 1)
            return Written(mapping, 0)
        if isinstance(value, list):
            return Written([self._written(inner, depth + 1) for inner in value], 0)
        if isinstance(value, str):
            self._check_text(value)
        if isinstance(value, float) and not math.isfinite(value):
            self._fault(0, "holds a number beyond what a computer's numbers reach")
        return Written(value, 0)

    def _check_text(self, text: str) -> None:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self._fault(
                0, f'holds half a character in "{_short(text)}": escapes such as \\ud83d come in pairs'
            )


# --- YAML ---------------------------------------------------------------------------------------

# The C parser where PyYAML was built with it. Only its events are used: no constructor ever runs.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# What YAML readers differ on stays text, and the field's own type says so: 0640, 0x1F, 1_000, 12:30.
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})\.[0-9]{1,18}(?:[eE][+-]?[0-9]{1,2})?")


class _Yaml(_Counting):
    """YAML from the parser's events: bounded before anything is built, and every value knows its line."""

    def __init__(self, file: str, bounds: Bounds) -> None:
        super().__init__(file, bounds)
        self._anchors: dict[str, tuple[Written, int, int] | None] = {}
        self._aliases = 0
        self._loader: Any = None

    def read(self, text: str) -> tuple[Written | None, list[Fault]]:
        try:
            self._loader = _LOADER(text)
            try:
                return self._document(), self._faults
            finally:
                self._loader.dispose()
        except _UnreadableError as error:
            return None, [*self._faults, Fault(Place(self._file, error.line), error.message)]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 0
            if "maximum nesting depth" in str(
                error.problem
            ):  # libyaml reads ahead, and has a bound of its own
                why = self._too_deep
            else:
                why = f"is no YAML: {_reason(error)}"
            return None, [*self._faults, Fault(Place(self._file, line), why)]
        except yaml.YAMLError:
            fault = Fault(Place(self._file, 0), "is no YAML: it holds a character that text never has")
            return None, [fault]

    def _next(self) -> Any:
        return self._loader.get_event()

    def _document(self) -> Written:
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise _UnreadableError(0, "is empty")
        written, _ = self._value(self._next(), 1)
        self._next()  # the document's end
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise _UnreadableError(
                after.start_mark.line + 1, "holds a second document: one file is one template"
            )
        return written

    def _value(self, event: Any, depth: int) -> tuple[Written, int]:
        """A value, and how deep it is in itself."""
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line, depth)
        self._count(line)
        self._check_depth(line, depth)
        if event.tag is not None:
            self._refuse_tag(event.tag, line)
        anchor, before = event.anchor, self._values
        if anchor is not None:
            self._anchors[anchor] = None  # until it is whole: an alias in it would never end
        inner = 0
        if isinstance(event, yaml.MappingStartEvent):
            written, inner = self._mapping(line, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            elements = []
            while not isinstance(event := self._next(), yaml.SequenceEndEvent):
                element, deep = self._value(event, depth + 1)
                elements.append(element)
                inner = max(inner, deep + 1)
            written = Written(elements, line)
        else:
            value = _plain(event.value) if event.implicit[0] else event.value
            written = Written(value, line)
        if anchor is not None:
            self._anchors[anchor] = (written, 1 + self._values - before, inner)
        return written, inner

    def _mapping(self, line: int, depth: int) -> tuple[Written, int]:
        mapping: dict[str, Written] = {}
        first: dict[str, int] = {}
        deepest = 0
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            at = event.start_mark.line + 1
            key = self._key(event, at, depth + 1)
            value, deep = self._value(self._next(), depth + 1)
            deepest = max(deepest, deep + 1)
            if key is None:
                continue
            if key in mapping:
                self._fault(at, f'holds the key "{_short(key)}" again, after line {first[key]}')
                continue
            # A value's own place is that of its key: there is where an editor looks for it.
            mapping[key] = Written(value.value, at) if isinstance(value.value, dict | list) else value
            first[key] = at
        return Written(mapping, line), deepest

    def _key(self, event: Any, line: int, depth: int) -> str | None:
        """A key as it is written, whatever YAML would take it for; None if it cannot be one."""
        if not isinstance(event, yaml.ScalarEvent):
            self._value(event, depth)
            self._fault(line, "holds a key that is not a plain word")
            return None
        self._count(line)
        if event.tag is not None:
            self._refuse_tag(event.tag, line)
        if event.value == "<<" and event.implicit[0]:
            self._fault(
                line, "holds the merge key <<: name the template that this one builds on in `extends`"
            )
            return None
        return str(event.value)

    def _refuse_tag(self, tag: str, line: int) -> None:
        short = _short(tag.replace("tag:yaml.org,2002:", "!!"))
        self._fault(line, f'holds the tag "{short}": templates take no tags')

    def _alias(self, anchor: str, line: int, depth: int) -> tuple[Written, int]:
        self._aliases += 1
        if self._aliases > self._bounds.aliases:
            raise _UnreadableError(line, f"holds more than {self._bounds.aliases} aliases")
        if anchor not in self._anchors:
            raise _UnreadableError(
                line, f'has the alias "*{_short(anchor)}" of nothing that stands before it'
            )
        known = self._anchors[anchor]
        if known is None:
            raise _UnreadableError(line, f'has the alias "*{_short(anchor)}" within what it stands for')
        written, values, inner = known
        self._count(line, values)
        self._check_depth(line, depth + inner)
        return written, inner


def _plain(text: str) -> str | int | float | bool | None:
    """An unquoted scalar: null, true and false in YAML's words, a decimal number, else text."""
    if text in _NULLS:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _WORDS.get(text.lower(), text)


def _reason(error: yaml.MarkedYAMLError) -> str:
    """The parser's reason, which names no content but single characters, with the usual cause."""
    reason = str(error.problem or "it ends too early").rstrip(".")
    if "mapping values are not allowed" in reason:
        return f'{reason}. Put a text that holds ": " in quotes'
    if "cannot start any token" in reason:
        return f"{reason}. Indent with spaces, and put texts that begin with a special character in quotes"
    return reason


def _short(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:41])
    return f"{plain[:40]}…" if len(plain) > 40 else plain


def template_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The template files of a folder by template name; more than one of a name is a fault.

    Raises `TemplateError` if there is no such folder. Other files, hidden ones and folders are let be.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        reason = "is no folder" if folder.exists() else "is not there"
        if isinstance(error, PermissionError):
            reason = "cannot be read: permission denied"
        raise TemplateError(
            f"{folder}: the templates' folder {reason}. Name the one that holds them with --templates."
        ) from None
    found: dict[str, tuple[Path, ...]] = {}
    for path in paths:
        if not path.name.startswith(".") and not path.is_dir():
            name = path.name[: -len(path.suffix)]
            found[name] = (*found.get(name, ()), path)
    return found


def wrong_name(name: str) -> str:
    """Why a name can be no template's, or nothing: no name leads out of the folder."""
    if not name or name != name.strip():
        return "a template's name is not blank, and neither begins nor ends with a blank"
    if ".." in name or any(letter in "/\\:+" or not letter.isprintable() for letter in name):
        return "a template's name holds no / \\ : + or .., and nothing invisible"
    if name.startswith("."):
        return "a template's name does not begin with a dot"
    return "a template's name is at most 100 characters" if len(name) > 100 else ""
