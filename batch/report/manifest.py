"""`manifest.json`: what a report was made of and what it consists of, by digests and counts that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from batch.journal.protocol import RunRecord
from batch.json_schema import says, schema_of
from batch.report.summary import CountsPart, SheetPart, Summary
from batch.staging import FileDigest
from batch.version import __version__

NAME = "manifest.json"

#: Raised when a field of `manifest.json` goes or changes its meaning; not when one is added.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file of the report."""

    sha256: str = field(metadata=says("Its digest, in hex."))
    size_bytes: int = field(metadata=says("Its size in bytes."))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a report was made of, and what it consists of."""

    schema_version: int = field(metadata=says("1; raised when a field goes or changes its meaning."))
    run: str = field(metadata=says("The run's id."))
    state: str = field(metadata=says("The state of the run when the report was written."))
    reason: str | None = field(metadata=says("Why it was no longer going; null while it was."))
    target: str = field(metadata=says("What the requests were sent to."))
    plan_digest: str = field(metadata=says("SHA-256 of what was to be sent, in hex."))
    version: str = field(metadata=says("The version of sipbatch that ran it."))
    report_version: str = field(metadata=says("The version of sipbatch that wrote the report."))
    sheets: tuple[SheetPart, ...] = field(metadata=says("The sheets that were planned."))
    templates: dict[str, str] = field(metadata=says("SHA-256 of each template that was used, by name."))
    counts: CountsPart = field(metadata=says("How many requests and rows, by state."))
    lines: int = field(metadata=says("Lines of results.csv below its header: requests + rejected."))
    attempts: int = field(metadata=says("Attempts in all."))
    files: dict[str, FilePart] = field(metadata=says("The other files of the report, by name."))

    @classmethod
    def of(cls, run: RunRecord, summary: Summary, files: Mapping[str, FileDigest]) -> Manifest:
        """The manifest of a report whose other files are whole."""
        return cls(
            schema_version=SCHEMA_VERSION,
            run=run.id,
            state=run.state.value,
            reason=run.reason.value if run.reason is not None else None,
            target=run.target,
            plan_digest=run.plan_digest,
            version=run.version,
            report_version=__version__,
            sheets=summary.sheets,
            templates=dict(sorted(run.template_digests.items())),
            counts=summary.counts,
            lines=summary.counts.requests + summary.counts.rejected,
            attempts=summary.sending.sends,
            files={name: FilePart(digest.sha256, digest.size_bytes) for name, digest in files.items()},
        )

    def to_json(self) -> bytes:
        """The bytes of `manifest.json`."""
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of `manifest.json`."""
    return schema_of(Manifest, title="manifest.json of a sipbatch report")
