"""Errors that spreadsheets show, as a CSV has them: told from what only begins with the same sign."""

from __future__ import annotations

import pytest

from batch.sheets.error_cells import is_error

EXCEL = ["#N/A", "#REF!", "#DIV/0!", "#NAME?", "#GETTING_DATA"]
GERMAN = ["#NV", "#WERT!", "#BEZUG!", "#ZAHL!"]
OTHERS = ["#VALEUR!", "#NOM?", "#¡VALOR!", "#¿NOMBRE?", "#N/D", "#Н/Д", "#ЗНАЧ!", "#DEĞER!", "#YOK"]
GOOGLE, LIBREOFFICE = ["#ERROR!", "Loading..."], ["Err:509"]


@pytest.mark.parametrize("text", [*EXCEL, *GERMAN, *OTHERS, *GOOGLE, *LIBREOFFICE])
def test_errors_of_every_program_are_known(text: str) -> None:
    """An error is one in whatever language the spreadsheet shows it."""
    assert is_error(text)


@pytest.mark.parametrize(
    "text", ["", "#", "#12", "#sales", "#1!", "Erie", "Loading", "Err:", "a#REF!", "#a b!"]
)
def test_other_texts_are_none(text: str) -> None:
    """A text that is only like one is a text."""
    assert not is_error(text)
