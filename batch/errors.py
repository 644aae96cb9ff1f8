"""Every exception this package raises on purpose.

Each says what to do next and owns the exit code of the command that it ends. A bad row is
not an exception: it is a `batch.plans.Reject`, and all of them are collected.

    BatchError             stop the command and show this to the operator        1
      UsageError           an option, a setting or a name given is wrong         2
      SheetError           the sheet cannot be read as a sheet                   65
      TemplateError        a template, or the folder of them, is wrong           65
      RejectedError        rows were rejected, and nothing was sent              65
      PlanChangedError     the plan is not the one that was reviewed             65
      TooMuchError         more would change than may; nothing was sent          4
      JournalError         the journal cannot be read, written or trusted        74
        OtherJournalError  it is another version's, or no journal at all         74
        BusyJournalError   another process is writing to it just now             74
      ReportError          the report cannot be written; the journal is intact   74
        WorkbookError      the workbook cannot; a report without it can          74
      LockedError          another run holds the workspace                       75
      UnreachableError     the API cannot be reached; nothing was sent           75
      OrderError           the run that is going did not do as it was told       75
      CredentialsError     no API key, or one that is refused                    77
"""

from __future__ import annotations

from typing import ClassVar


class BatchError(Exception):
    """Stop the command and show `str(error)` to the operator: what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(BatchError):
    """An option, a setting or a name given on the command line is wrong."""

    exit_code = 2


class SheetError(BatchError):
    """The sheet cannot be read as a sheet: nothing in it can be planned."""

    exit_code = 65


class TemplateError(BatchError):
    """A template, or the folder that holds them, is wrong."""

    exit_code = 65


class RejectedError(BatchError):
    """Rows were rejected, and the operator has not said to go on without them; nothing was sent."""

    exit_code = 65


class PlanChangedError(BatchError):
    """The plan made now is not the one whose digest the operator reviewed; nothing was sent."""

    exit_code = 65


class TooMuchError(BatchError):
    """More of what is known would change, or is missing, than may be; nothing was sent."""

    exit_code = 4


class JournalError(BatchError):
    """The journal cannot be read, written or trusted."""

    exit_code = 74


class OtherJournalError(JournalError):
    """What is in the journal's place is whole, but another version's, or no journal: nothing to mend."""


class BusyJournalError(JournalError):
    """Another process is writing to the journal just now; who can wait tries again."""


class ReportError(BatchError):
    """The report cannot be written; the journal is intact, and `sipbatch report` writes it later."""

    exit_code = 74


class WorkbookError(ReportError):
    """The workbook cannot be put together; a report without it can be written."""


class LockedError(BatchError):
    """Another run holds the workspace; it is free the moment that run ends, however it ends."""

    exit_code = 75


class UnreachableError(BatchError):
    """The API cannot be reached, and nothing was sent."""

    exit_code = 75


class OrderError(BatchError):
    """The run that is going did not do what another terminal told it; it goes on as before."""

    exit_code = 75


class CredentialsError(BatchError):
    """There is no API key, or the one there is was refused, or its file can be read by others."""

    exit_code = 77


class InterruptedReportError(KeyboardInterrupt):
    """The operator has interrupted the writing of a report, and is told where the run stands all the same.

    No `BatchError`: a program that goes on after those, from sheet to sheet, is to be stopped by it.
    """
