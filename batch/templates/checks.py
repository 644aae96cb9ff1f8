"""Finds every fault in a folder of templates at once, each template filled with values made up for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batch.schema import Finding, Kind, Path, Schema, dotted
from batch.templates.blame import Blame
from batch.templates.files import Fault, Place, wrong_name
from batch.templates.folder import Template, TemplateFolder
from batch.templates.tree import Giving, Source

#: Made-up values are exchanged at most so often: a host's name for a URL, say.
_ROUNDS = 40

#: A variable, or an environment variable, as made-up values are kept for it.
_Key = tuple[bool, str]


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """What a check of a folder found; `faults` are in the order of files and lines."""

    names: tuple[str, ...]
    faults: tuple[Fault, ...]


def check_folder(folder: TemplateFolder) -> FolderCheck:
    """Find what is wrong in any template of a folder, whether a sheet uses it or not.

    A template is filled twice, with a value for every blank and with those alone that must have one. One that
    others extend may leave out what they add. Raises `TemplateError` if there is no such folder.
    """
    names = folder.names()
    bases = {base for name in names for base in folder.file(name).extends}
    found: dict[Fault, None] = {}
    for name in names:
        wrong = wrong_name(name)
        if wrong:
            found[Fault(folder.file(name).place, f"no row can name it: {wrong}")] = None
        known = folder.resolve(name).faults
        found.update(dict.fromkeys(known))
        # Where something could not be read, what seems missing may stand there.
        partial = name in bases or bool(known)
        for fault in _faults(folder.draft(name), folder.file(name).place, partial=partial):
            if _subject(fault) not in map(_subject, known):
                found[fault] = None
    return FolderCheck(names, tuple(sorted(found)))


def _subject(fault: Fault) -> tuple[Place, str]:
    """What a fault is about: its place, and the path with which its message begins."""
    return fault.place, fault.message.split(" ", 1)[0]


def _faults(template: Template, place: Place, *, partial: bool) -> Iterator[Fault]:
    """What the schema has against a template, whatever its blanks are filled with."""
    sets_something = True
    told: set[Finding] = set()
    for made_up in (_MadeUp(template, required_only=False), _MadeUp(template, required_only=True)):
        findings, trace = made_up.findings()
        for finding in findings:
            path = finding.path
            # What is missing has no place of its own; a base leaves it to those that extend it.
            if partial and (not path or path not in trace):
                continue
            # A template may leave everything to its columns; one that sets nothing at all is a fault.
            if made_up.required_only and not path and sets_something:
                continue
            sets_something &= bool(path)
            if finding in told:
                continue
            told.add(finding)
            ends = (end for end in range(len(path), 0, -1) if path[:end] in trace)
            source = next((trace[path[:end]] for end in ends), Source(place))
            text = f"{dotted(path)} {finding.message}".lstrip()
            yield Fault(source.place, text + made_up.condition(source))


class _MadeUp:
    """Values for the blanks of one template, exchanged until the schema has nothing against them."""

    def __init__(self, template: Template, *, required_only: bool) -> None:
        self._template = template
        self.required_only = required_only
        self._candidates: dict[_Key, list[str]] = {}
        for path, kind, placeholder in template.placeholders:
            if not required_only or placeholder.required:
                key = (placeholder.from_env, placeholder.key)
                values = _candidates(template.schema, path, kind, len(self._candidates))
                self._candidates.setdefault(key, []).extend(values)
        self._at = dict.fromkeys(self._candidates, 0)
        self._key_of = {
            (one.from_env, one.name): (one.from_env, one.key) for _, _, one in template.placeholders
        }

    def condition(self, source: Source) -> str:
        """What a finding holds for, if it is about a value that was made up."""
        if not (source.columns or source.environment):
            return ""
        return (
            " (where every blank that may be is left blank)"
            if self.required_only
            else " (with a made-up value)"
        )

    def findings(self) -> tuple[list[Finding], dict[Path, Source]]:
        """What the schema finds with the best values there are, and where each value comes from."""
        findings: list[Finding] = []
        trace: dict[Path, Source] = {}
        for _ in range(_ROUNDS):
            findings, trace = self._fill()
            blame = Blame(trace, frozenset(), {})
            doubtful = {key for finding in findings if (key := self._doubtful(blame, finding)) is not None}
            for key in doubtful:
                self._at[key] += 1
            if not doubtful:
                break
        return findings, trace

    def _fill(self) -> tuple[list[Finding], dict[Path, Source]]:
        given = {key: values[self._at[key]] for key, values in self._candidates.items()}
        values = {name: text for (from_env, name), text in given.items() if not from_env}
        environment = {name: text for (from_env, name), text in given.items() if from_env}
        giving = Giving(values, environment, trace={})
        filled = self._template.tree.fill((), giving)
        findings = [Finding(miss.path, miss.message, miss.kind) for miss in giving.misses]
        blocks = filled if isinstance(filled, dict) else {}
        findings += self._template.schema.check(blocks).problems
        return findings, giving.trace or {}

    def _doubtful(self, blame: Blame, finding: Finding) -> _Key | None:
        """One of the blanks that a finding is about and that has another value to try."""
        culprits = blame.culprits(finding.path, finding.message)
        named = [(False, name) for name in culprits.columns] + [(True, name) for name in culprits.environment]
        for key in (self._key_of[one] for one in reversed(named)):
            if key in self._at and self._at[key] + 1 < len(self._candidates[key]):
                return key
        return None


def _candidates(schema: Schema, path: Path, kind: Kind, nth: int) -> list[str]:
    """Values that a field might take, the likeliest first; `nth` keeps blanks apart from one another."""
    choices = schema.choices_of(path)
    if choices:
        turned = choices[nth % len(choices) :] + choices[: nth % len(choices)]
        return list(turned)
    match kind:
        case Kind.BOOLEAN:
            return ["true", "false"]
        case Kind.INTEGER | Kind.NUMBER:
            return ["1", "5061", "0"]
        case Kind.TEXT | Kind.LIST | Kind.OBJECT | Kind.OBJECTS:
            name = f"sample{nth + 1}"
            return [f"{name}.example.com", f"https://{name}.example.com/", name, str(nth + 1)]
