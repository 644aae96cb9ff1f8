"""What a template says of itself at its top, beside its blocks: what it is for and what it builds on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batch.plans import DIRECTIONS
from batch.schema import did_you_mean
from batch.templates.files import Fault, Place, Written
from batch.templates.placeholders import ENVIRONMENT_NAME

#: A template's own keys, beside the schema's blocks.
OWN_KEYS = ("description", "extends", "direction", "allow_env")
TEMPLATE_DIRECTIONS = (*DIRECTIONS, "both")
#: Where a JSON file names the schema that an editor checks it by; YAML has a comment for that.
JSON_SCHEMA_KEY = "$schema"


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """One file, read: what it says for itself, before what it builds on is laid under it."""

    place: Place
    sha256: str
    faults: tuple[Fault, ...] = ()
    description: str = ""
    extends: tuple[str, ...] = ()
    extends_line: int = 0
    direction: str | None = None
    allow_env: frozenset[str] = frozenset()
    blocks: Mapping[str, Written] = field(default_factory=dict)


def read_head(
    written: Written, file: str, sha256: str, faults: Sequence[Fault], blocks: Sequence[str]
) -> TemplateFile:
    """What is written in a file, told apart; `faults` are those that reading it has found."""
    head = _Head(file, list(faults), blocks)
    place = Place(file, 0)
    if not isinstance(written.value, dict):
        head.fault(written, f"is no template: it holds no `key: value` lines such as `{blocks[0]}: ...`")
        return TemplateFile(place, sha256, tuple(head.faults))
    top = written.value
    head.check_keys(top)
    extends = top.get("extends")
    return TemplateFile(
        place,
        sha256,
        description=" ".join(head.text(top, "description").split()),
        extends=tuple(part.strip() for part in head.text(top, "extends").split("+") if part.strip()),
        extends_line=extends.line if extends else 0,
        direction=head.direction(top),
        allow_env=head.allow_env(top),
        blocks={key: value for key, value in top.items() if key in blocks},
        faults=tuple(head.faults),
    )


class _Head:
    def __init__(self, file: str, faults: list[Fault], blocks: Sequence[str]) -> None:
        self._file = file
        self._blocks = blocks
        self.faults = faults

    def fault(self, written: Written, message: str) -> None:
        self.faults.append(Fault(Place(self._file, written.line), message))

    def check_keys(self, top: Mapping[str, Written]) -> None:
        known = (*OWN_KEYS, *self._blocks)
        for key, written in top.items():
            if key in known or (key == JSON_SCHEMA_KEY and self._file.lower().endswith(".json")):
                continue
            text = f'"{key[:60]}" is no key of a template: there are {", ".join(known)}.'
            self.fault(written, text + did_you_mean(key, known))

    def text(self, top: Mapping[str, Written], key: str) -> str:
        """The text of a key; empty where there is none."""
        written = top.get(key)
        if written is None:
            return ""
        if not isinstance(written.value, str) or not written.value.strip():
            self.fault(written, f"{key} must be a text")
            return ""
        return written.value

    def direction(self, top: Mapping[str, Written]) -> str | None:
        text = self.text(top, "direction").strip()
        if text and text not in TEMPLATE_DIRECTIONS:
            hint = did_you_mean(text, TEMPLATE_DIRECTIONS)
            choices = ", ".join(f'"{choice}"' for choice in TEMPLATE_DIRECTIONS)
            self.fault(top["direction"], f'direction must be one of {choices}, not "{text[:40]}".{hint}')
            return None
        return text or None

    def allow_env(self, top: Mapping[str, Written]) -> frozenset[str]:
        written = top.get("allow_env")
        if written is None:
            return frozenset()
        elements = written.value if isinstance(written.value, list) else [None]
        names = [one.value for one in elements if one is not None and isinstance(one.value, str)]
        if len(names) < len(elements) or not all(map(ENVIRONMENT_NAME.fullmatch, names)):
            self.fault(
                written, "allow_env must be a list of names of environment variables, such as [ALERT_WEBHOOK]"
            )
            return frozenset()
        return frozenset(names)
