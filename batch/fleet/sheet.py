"""The fleet as a sheet: what is in force at every number, a line each, which can be run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from batch.errors import UsageError
from batch.fleet.comparison import BodyOf
from batch.guard import guard
from batch.journal.in_force import Blocks
from batch.journal.known import FleetEntry
from batch.plans import DIRECTIONS
from batch.report.causes import calling_code
from batch.schema import Path, Schema, dotted
from batch.sealing import discreet, names_in
from batch.states import RequestState
from batch.templates.overrides import in_order, override
from batch.timestamps import as_told, utc

#: The template that has nothing of its own: with it, a row gets what its columns say.
AS_GIVEN = "as-given"

#: What stands behind the columns that are read again; reports call the same things so.
RESULT_COLUMNS = (
    "result_state",
    "result_last_sent_at",
    "result_payload_sha256",
    "result_note",
    "result_sheet",
    "result_row",
    "result_run",
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which numbers of a fleet are wanted; what is empty or None leaves all.

    `country` is a calling code (`+44`) or a region (`GB`), as `read_country` gives it. Times are UTC, in
    seconds since the epoch, of the last change: from `since` on, and before `until`.
    """

    templates: tuple[str, ...] = ()
    country: str = ""
    since: float | None = None
    until: float | None = None
    only_in_doubt: bool = False

    def takes(self, entry: FleetEntry) -> bool:
        """Whether a number is wanted."""
        return (
            (not self.templates or entry.template in self.templates)
            and (self.since is None or as_told(entry.at) >= self.since)
            and (self.until is None or as_told(entry.at) < self.until)
            and (not self.only_in_doubt or bool(entry.doubt))
            and (not self.country or self._is_of_country(entry.number))
        )

    def _is_of_country(self, number: int) -> bool:
        if self.country.startswith("+"):
            return calling_code(number) == self.country
        return _region(number) == self.country


def _region(number: int) -> str | None:
    import phonenumbers

    region: str | None = phonenumbers.region_code_for_number(phonenumbers.parse(f"+{number}"))
    return region


def read_country(text: str) -> str:
    """`+44` or `GB`; `UsageError` if there is no such country."""
    import phonenumbers

    word = text.strip().upper().removeprefix("+")
    if word.isascii() and word.isdigit() and int(word) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        return f"+{int(word)}"
    if word in phonenumbers.SUPPORTED_REGIONS:
        return word
    raise UsageError(f'--country "{text}" is no country: write its two letters, such as GB, or +44.')


def parse_time(option: str, text: str) -> float:
    """`2026-07-28` or `2026-07-28T10:15:00Z`, UTC unless it says otherwise; `UsageError` says so."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f'{option} "{text}" is no time: write a day such as 2026-07-28, or 2026-07-28T10:15:00Z.'
        ) from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


class FleetSheet:
    """Turns what is in force into lines.

    Without `paths`, a line names the template that was applied last. With them, the template is `AS_GIVEN`,
    and the columns of these paths say what is in force. A block that cells cannot say, or that holds a
    secret, is left out as a whole: a block that a row does not have stays as it is.
    """

    def __init__(self, schema: Schema, kept: BodyOf, paths: Sequence[Path] | None) -> None:
        self._schema = schema
        self._kept = kept
        self._paths = paths
        self._cells_of = lru_cache(maxsize=4096)(self._cells)

    @classmethod
    def with_blocks(cls, schema: Schema, kept: BodyOf, payload_ids: Iterable[int]) -> FleetSheet:
        """One with a column for every field that any of these payloads sets."""
        paths: dict[Path, None] = {}
        for payload_id in payload_ids:
            paths.update(dict.fromkeys(path for path, _ in _leaves(orjson.loads(kept(payload_id)), ())))
        return cls(schema, kept, sorted(paths, key=in_order))

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the columns."""
        blocks = () if self._paths is None else (*map(dotted, self._paths), "result_template")
        return ("phone_number", "direction", "template", *blocks, *RESULT_COLUMNS)

    def line(self, entry: FleetEntry, sha256: str) -> list[str]:
        """One number, with the digest of what is in force."""
        notes = [f"in doubt: {', '.join(entry.doubt)}"] if entry.doubt else []
        own = [entry.template]
        if self._paths is not None:
            cells, left_out = self._cells_of(entry.payload_id)
            own = [AS_GIVEN, *cells, entry.template]
            notes += [f"left out: {', '.join(left_out)}"] if left_out else []
        state = RequestState.UNKNOWN if entry.doubt else RequestState.SUCCEEDED
        return [
            f"+{entry.number}",
            DIRECTIONS[entry.direction],
            *map(guard, own),
            state.value,
            utc(entry.at),
            sha256,
            "; ".join(notes),
            guard(entry.sheet),
            str(entry.row),
            entry.run_id,
        ]

    def _cells(self, payload_id: int) -> tuple[list[str], Blocks]:
        """The cells that say what a payload says, and the blocks that they cannot say."""
        body: dict[str, object] = orjson.loads(self._kept(payload_id))
        cells: dict[Path, str] = {}
        left_out = []
        for block, content in body.items():
            of_block = dict(_leaves({block: content}, ()))
            if _is_open(content) and self._says(of_block, {block: content}):
                cells.update(of_block)
            else:
                left_out.append(block)
        return [cells.get(path, "") for path in self._paths or ()], tuple(left_out)

    def _says(self, cells: dict[Path, str], blocks: dict[str, object]) -> bool:
        """Whether these cells, read again, make these blocks."""
        overridden = override(self._schema, {}, cells)
        return not overridden.wrong and _canonical(overridden.blocks) == _canonical(blocks)


def entry_json(entry: FleetEntry, kept: bytes, sha256: str) -> dict[str, object]:
    """One number as JSON values; what is secret is masked in `blocks`."""
    blocks: dict[str, object] = orjson.loads(kept)
    return {
        "phone_number": f"+{entry.number}",
        "direction": DIRECTIONS[entry.direction],
        "template": entry.template,
        "applied_at": utc(entry.at),
        "certain": not entry.doubt,
        "in_doubt": list(entry.doubt),
        "run": entry.run_id,
        "sheet": entry.sheet,
        "row": entry.row,
        "payload_sha256": sha256,
        "blocks": {name: discreet(block) for name, block in blocks.items()},
    }


def _leaves(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Every leaf with its path, as a cell says it; a list of texts is one."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from _leaves(inner, (*path, name))
        case list() if any(isinstance(one, dict) for one in value):
            for at, inner in enumerate(value):
                yield from _leaves(inner, (*path, at))
        case list():
            yield path, ";".join(map(str, value))
        case bool():
            yield path, str(value).lower()
        case None:
            yield path, ""
        case _:
            yield path, str(value)


def _is_open(content: object) -> bool:
    """Whether nothing in a block is secret."""
    return discreet(content) == content and not names_in(orjson.dumps(content))


def _canonical(blocks: dict[str, object]) -> bytes:
    return orjson.dumps(blocks, option=orjson.OPT_SORT_KEYS)
