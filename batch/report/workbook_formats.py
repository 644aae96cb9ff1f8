"""The looks of a workbook's cells, shared by its worksheets."""

from __future__ import annotations

from typing import Any

from batch.report.lines import REJECTED
from batch.states import RequestState

#: The colours of states, text on fill; they stay apart in print and for most who are colour-blind.
_COLOURS = {
    RequestState.SUCCEEDED.value: ("#0B5D1E", "#DDF3E1"),
    RequestState.FAILED.value: ("#8A1020", "#FBDDE1"),
    RequestState.UNKNOWN.value: ("#7A4A00", "#FFEBC8"),
    RequestState.SKIPPED.value: ("#555555", "#EEEEEE"),
    RequestState.RETRYING.value: ("#1F4E79", "#DCEBF7"),
    RequestState.IN_FLIGHT.value: ("#1F4E79", "#DCEBF7"),
    RequestState.PENDING.value: ("#1F4E79", "#DCEBF7"),
    REJECTED: ("#5B2A86", "#ECE0F5"),
}

_TEXT = {"num_format": "@", "valign": "top"}


class Formats:
    """The looks, by what they are for.

    All but counts are marked as text, so that a cell which is edited does not become a formula or a number.
    """

    def __init__(self, book: Any) -> None:
        self.text = book.add_format(_TEXT)
        self.wrapped = book.add_format({**_TEXT, "text_wrap": True})
        self.number = book.add_format({"num_format": "0", "valign": "top"})
        self.count = book.add_format({"num_format": "#,##0", "valign": "top", "align": "right", "indent": 1})
        self.header = book.add_format({**_TEXT, "bold": True, "font_color": "#FFFFFF", "bg_color": "#24425C"})
        self.title = book.add_format({**_TEXT, "bold": True, "font_size": 16})
        self.headline = book.add_format({**_TEXT, "font_size": 12})
        self.heading = book.add_format(
            {**_TEXT, "bold": True, "font_size": 12, "bottom": 1, "bottom_color": "#9AA7B2"}
        )
        self.label = book.add_format({**_TEXT, "font_color": "#555555"})
        self.command = book.add_format({**_TEXT, "font_name": "Consolas", "text_wrap": True})
        self.indented = book.add_format({**_TEXT, "font_name": "Consolas", "align": "left", "indent": 2})
        self.states = {
            state: book.add_format({**_TEXT, "font_color": text, "bg_color": fill})
            for state, (text, fill) in _COLOURS.items()
        }


def clean(text: str) -> str:
    """Without halves of surrogate pairs, which no file can hold; control characters XlsxWriter escapes."""
    return text if text.isascii() else text.encode("utf-8", errors="backslashreplace").decode()
