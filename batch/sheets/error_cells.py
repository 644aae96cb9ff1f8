"""The errors that spreadsheets show in cells, as the texts that a CSV has of them, in any language."""

from __future__ import annotations

import re

#: Excel's (`#N/A`, `#REF!`; in German `#NV`, `#WERT!`; in Spanish `#¿NOMBRE?`), Google's, LibreOffice's
#: numbered ones, and what Google shows of a cell that is not there yet.
_ERROR = re.compile(
    r"#[¡¿]?[^\W\d]\w{0,14}(?:/0)?[!?]|#\w/\w|#(?:NA|NV|YOK|GETTING_DATA)|Err:\d{3}|Loading\.\.\.",
    re.IGNORECASE,
)


def is_error(text: str) -> bool:
    """Whether a cell's text, without blanks around it, is the error that a spreadsheet shows."""
    return text[:1] in ("#", "E", "L") and _ERROR.fullmatch(text) is not None
