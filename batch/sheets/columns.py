"""What the columns of a sheet stand for: the number, its template, overrides, variables, earlier results."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from batch.errors import SheetError
from batch.schema import Path, did_you_mean, dotted

#: The words that a column is known by, and the other names that sheets have for them, all folded.
ALIASES: dict[str, tuple[str, ...]] = {
    "phone_number": ("phonenumber", "number", "phone", "telephone", "did", "tn", "msisdn", "e164"),
    "template": ("template", "config", "configtemplate", "profile"),
    "direction": ("direction",),
    "phone_number_to": ("phonenumberto",),
}
_WORD_OF = {alias: word for word, aliases in ALIASES.items() for alias in aliases}

#: What the report adds to a sheet; a sheet that has any of them is a report that is fed back.
RESULT_COLUMNS = (
    "result_state",
    "result_attempts",
    "result_http_status",
    "result_error_code",
    "result_error",
    "result_next_action",
    "result_first_sent_at",
    "result_last_sent_at",
    "result_duration_ms",
    "result_request_id",
    "result_payload_sha256",
    "result_note",
    "result_sheet",
    "result_row",
    "result_run",
)

#: What the report of a run that was read back adds to these.
VERIFIED_COLUMNS = ("result_verified", "result_drift")

#: An override may name an element of a list up to this; beyond it a header is a slip of the keyboard.
_LAST_ELEMENT = 999

_LOOKS_LIKE_DATA = re.compile(r"\d{7}")
_NOT_COUNTED = re.compile(
    "[\\s_\\-\u00ad\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]+"
)


def own_count(header: Sequence[str]) -> int:
    """How many of a report's columns stand before those that the report adds."""
    is_verified = tuple(header[-len(VERIFIED_COLUMNS) :]) == VERIFIED_COLUMNS
    return len(header) - len(RESULT_COLUMNS) - is_verified * len(VERIFIED_COLUMNS)


def fold(name: str) -> str:
    """A column's name as it is compared: lower case, without spaces, `_` and `-` of any kind."""
    while (folded := unicodedata.normalize("NFKC", _NOT_COUNTED.sub("", name)).casefold()) != name:
        # What one step leaves may make up something for the next: a letter and its accent, a space.
        name = folded
    return name


def word_of(name: str) -> str | None:
    """The word (a key of `ALIASES`) that a column of this name stands for, if any."""
    return _WORD_OF.get(fold(name))


def nearest(name: str, header: Sequence[str]) -> str:
    """What to say to a name that no column has: the column that was meant, or all that there are."""
    return did_you_mean(name, filter(fold, header)) or f" The header has {listed(header)}."


def listed(header: Sequence[str]) -> str:
    """The names in a header as messages have them, not too many."""
    names = [f'"{name.strip()}"' for name in header if name.strip()]
    return (", ".join(names[:20]) + (", ..." if len(names) > 20 else "")) or "nothing in it"


def letter(column: int) -> str:
    """The letters over a column in a spreadsheet: 0 is `A`, 26 is `AA`."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """What each column of one sheet stands for, by its index in the header.

    `overrides` has the place in the payload that a column sets, `variables` the column of each
    variable by its folded name. `ignored` are `result_*` columns and those without a name.
    `is_report` says that the sheet is a report, whose cells carry formula guards.
    """

    number: int
    template: int | None = None
    direction: int | None = None
    number_to: int | None = None
    overrides: dict[int, Path] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)
    ignored: tuple[int, ...] = ()
    is_report: bool = False


def map_columns(
    header: Sequence[str], *, blocks: tuple[str, ...], extra: Mapping[str, str] | None = None
) -> ColumnMap:
    """Say what each column is.

    `blocks` are the names at the top of a payload, by which overrides are known. `extra` is what
    `--map` named: from `phone_number` (or another of the words, an override such as
    `codec_config.transcode`, or a variable) to the header of the column that is it.

    Raises `SheetError`, naming the columns, where there is no column of numbers, where two stand for
    one thing, where an override names no field, or where a name is so near to a known one that it
    must be a slip.
    """
    return _Mapping(header, blocks).map(extra or {})


class _Mapping:
    """One header while its columns are told apart."""

    def __init__(self, header: Sequence[str], blocks: tuple[str, ...]) -> None:
        self._header = header
        self._blocks = {fold(block): block for block in blocks}
        self._words: dict[str, int] = {}
        self._paths: dict[Path, int] = {}
        self._variables: dict[str, int] = {}

    def map(self, extra: Mapping[str, str]) -> ColumnMap:
        header = self._header
        results = [at for at, name in enumerate(header) if name.strip().casefold().startswith("result_")]
        is_report = any(header[at].strip().casefold() in RESULT_COLUMNS for at in results)
        left = [at for at, name in enumerate(header) if fold(name) and at not in set(results)]

        named: dict[int, str] = {}
        for meaning, name in extra.items():
            at = self._named(meaning, name)
            if at in named:
                raise SheetError(f"--map names {self._places([at])} for both {named[at]} and {meaning}")
            named[at] = meaning
            self._take(at, meaning)
        given = set(self._words)
        for at in left:
            if at in named:
                continue
            word = word_of(header[at])
            # What `--map` named is settled, and a report writes the words themselves: any other
            # column that might have been taken for one is a variable.
            if word in given or (is_report and word and word in header and word != header[at]):
                self._take_variable(at, header[at])
            else:
                self._take(at, header[at])

        number = self._words.get("phone_number")
        if number is None:
            raise SheetError(self._no_number())
        self._refuse_slips()
        return ColumnMap(
            number,
            self._words.get("template"),
            self._words.get("direction"),
            self._words.get("phone_number_to"),
            {at: path for path, at in self._paths.items()},
            self._variables,
            tuple(at for at in range(len(header)) if at not in set(left)),
            is_report,
        )

    def _named(self, meaning: str, name: str) -> int:
        header = self._header
        places = [at for at, other in enumerate(header) if other == name] or [
            at for at, other in enumerate(header) if fold(name) and fold(other) == fold(name)
        ]
        if not places:
            raise SheetError(
                f'there is no column "{name}", which --map names for {meaning}.{nearest(name, header)}'
            )
        if len(places) > 1:
            raise SheetError(
                f'--map names "{name}" for {meaning}, and {self._places(places)} are called that: rename one'
            )
        return places[0]

    def _take(self, at: int, name: str) -> None:
        """Take a column for what a name says: a word, an override, else a variable."""
        word = word_of(name)
        path = None if word else self._path(name)
        if word:
            if word in self._words:
                both = [self._words[word], at]
                raise SheetError(
                    f"{self._places(both)} both stand for {word}: rename one, or pick one with "
                    f'--map {word}="{self._header[at].strip()}"'
                )
            self._words[word] = at
        elif path:
            for other, place in self._paths.items():
                shorter = min(len(other), len(path))
                if other[:shorter] == path[:shorter]:
                    raise SheetError(
                        f"{self._places([place, at])} both set {dotted(path[:shorter])}: leave one out"
                    )
            self._paths[path] = at
        else:
            self._take_variable(at, name)

    def _take_variable(self, at: int, name: str) -> None:
        known = self._variables.setdefault(fold(name), at)
        if known != at:
            raise SheetError(
                f"{self._places([known, at])} have one name (case, spaces, _ and - do not count): rename one"
            )

    def _path(self, name: str) -> Path | None:
        """The place that a header such as `codec_config.transcode` overrides; None if it is no override."""
        first, *rest = name.split(".")
        block = self._blocks.get(fold(first))
        if block is None:
            hint = did_you_mean(first, self._blocks.values()) if _is_dotted(name) else ""
            if hint and is_slip(fold(first), self._blocks):
                raise SheetError(
                    f'column "{name}" overrides nothing, because there is no block "{first}".{hint} '
                    "If it is a column of another kind, name it without the point"
                )
            return None
        parts = [re.sub(r"[\s\-]+", "_", part.strip()).lower() for part in rest]
        if not parts or not all(parts):
            raise SheetError(f'column "{name}" names no field: write {block}.field, as in the API')
        path: list[str | int] = [block]
        for part in parts:
            if not (part.isascii() and part.isdigit()):
                path.append(part)
            elif len(part) > len(str(_LAST_ELEMENT)):
                raise SheetError(f'column "{name}": elements of a list are counted from 0 to {_LAST_ELEMENT}')
            else:
                path.append(int(part))
        return tuple(path)

    def _no_number(self) -> str:
        hint = "".join(
            f" Is it {self._places([at])}?"
            for at, name in enumerate(self._header)
            if is_slip(fold(name), ALIASES["phone_number"])
        )
        known = ", ".join(ALIASES["phone_number"][1:])
        if any(_LOOKS_LIKE_DATA.search(name) for name in self._header):
            hint = " That looks like a row of data: put a header row above it."
        return (
            f"there is no column of phone numbers: the header has {listed(self._header)}.{hint} "
            f'Call it phone_number ({known} are understood too), or name it with --map phone_number="..."; '
            "if the header stands in another row, name that with --header-row"
        )

    def _refuse_slips(self) -> None:
        """Refuse a variable that was surely meant as one of the words: it would silently do nothing."""
        for word in ("template", "direction", "phone_number_to"):
            if word in self._words:
                continue
            for name, at in self._variables.items():
                if is_slip(name, (fold(word),)):
                    raise SheetError(
                        f'{self._places([at])} is no known name. Did you mean "{word}"? Rename it, or use '
                        f'--map {word}="{self._header[at].strip()}"; a variable needs a name less like it'
                    )

    def _places(self, columns: Iterable[int]) -> str:
        names = [f'"{self._header[at].strip()}" ({letter(at)})' for at in columns]
        return ("column " if len(names) == 1 else "columns ") + " and ".join(names)


def _is_dotted(name: str) -> bool:
    return re.fullmatch(r"\s*\w[\w \-]*(\.\w[\w \-]*)+\s*", name) is not None


def is_slip(name: str, words: Iterable[str]) -> bool:
    """Whether a folded name is one slip of the keyboard away from a folded word of some length."""
    return any(len(word) >= 6 and name != word and _distance_is_one(name, word) for word in words)


def _distance_is_one(one: str, other: str) -> bool:
    """One letter wrong, missing or too many, or two letters exchanged."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    swapped = one[:start] + one[start + 1 : start + 2] + one[start : start + 1] + one[start + 2 :]
    return one[start + 1 :] == other[start + 1 :] or swapped == other
