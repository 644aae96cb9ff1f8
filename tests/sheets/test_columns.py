"""Promises of `batch.sheets.columns`: what a header says each column is, and what it cannot say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.errors import SheetError
from batch.sheets.columns import ALIASES, RESULT_COLUMNS, fold, letter, map_columns

BLOCKS = ("failover_config", "codec_config", "alert_config")


@pytest.mark.parametrize(
    "name",
    [
        "phone_number",
        "Phone Number",
        "PHONE-NUMBER",
        "phone\u00a0number",
        "phoneNumber",
        "phone\u2011number",
        "DID",
    ],
)
def test_case_spaces_and_dashes_do_not_count(name: str) -> None:
    """A column is known by its word, however it is spaced, joined or capitalised."""
    assert map_columns([name], blocks=BLOCKS).number == 0


@pytest.mark.parametrize("alias", ALIASES["phone_number"])
def test_every_alias_is_a_column_of_numbers(alias: str) -> None:
    """Every documented name for the number is taken for it."""
    columns = map_columns(["site", alias.upper()], blocks=BLOCKS)
    assert (columns.number, columns.variables) == (1, {"site": 0})


def test_the_other_words_are_found() -> None:
    """Template, direction and the end of a block are found by any of their names; the rest are variables."""
    header = ["Number", "Config Template", "Direction", "Phone_Number_To", "Backup Host", ""]
    columns = map_columns(header, blocks=BLOCKS)
    assert (columns.number, columns.template, columns.direction, columns.number_to) == (0, 1, 2, 3)
    assert columns.variables == {"backuphost": 4}
    assert columns.ignored == (5,)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("codec_config.transcode", ("codec_config", "transcode")),
        ("Codec Config.Transcode", ("codec_config", "transcode")),
        ("failover_config.endpoints.0.host", ("failover_config", "endpoints", 0, "host")),
        (
            "Alert-Config.thresholds.Failure Rate Percent",
            ("alert_config", "thresholds", "failure_rate_percent"),
        ),
    ],
)
def test_a_dotted_column_overrides(name: str, path: tuple[str | int, ...]) -> None:
    """A column named block.field is the place in the payload that it sets, at any depth."""
    columns = map_columns(["number", name], blocks=BLOCKS)
    assert columns.overrides == {1: path}
    assert columns.variables == {}


@pytest.mark.parametrize(
    "name", ["codec_config", "codec_config.", "codec_config..codecs", "alert_config.a.1000"]
)
def test_an_override_without_a_field_is_refused(name: str) -> None:
    """A column that names a block, and no field that could be in it, stops the sheet."""
    with pytest.raises(SheetError, match=f'"{name}"'):
        map_columns(["number", name], blocks=BLOCKS)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (["number", "phone"], '"number" (A) and "phone" (B) both stand for phone_number'),
        (["number", "Host", "host"], '"Host" (B) and "host" (C) have one name'),
        (["number", "codec_config.codecs", "Codec Config.codecs"], "both set codec_config.codecs"),
        (["number", "codec_config.codecs", "codec_config.codecs.0"], "both set codec_config.codecs"),
        (["number", "config", "profile"], "both stand for template"),
    ],
)
def test_two_headers_for_one_column_are_refused(header: list[str], named: str) -> None:
    """Two columns that stand for one thing stop the sheet, both named with their letters."""
    with pytest.raises(SheetError) as caught:
        map_columns(header, blocks=BLOCKS)
    assert named in str(caught.value)


def test_a_named_column_wins() -> None:
    """What --map names is settled: other columns that might have been meant are variables."""
    columns = map_columns(["number", "Main DID", "host"], blocks=BLOCKS, extra={"phone_number": "main did"})
    assert columns.number == 1
    assert columns.variables == {"number": 0, "host": 2}


def test_any_column_can_be_named() -> None:
    """--map names words, overrides and variables alike."""
    columns = map_columns(
        ["A", "B", "C", "D"],
        blocks=BLOCKS,
        extra={"did": "A", "profile": "B", "codec_config.transcode": "C", "backup_host": "D"},
    )
    assert (columns.number, columns.template) == (0, 1)
    assert columns.overrides == {2: ("codec_config", "transcode")}
    assert columns.variables == {"backuphost": 3}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            {"phone_number": "Main DDI"},
            'no column "Main DDI", which --map names for phone_number. Did you mean "Main DID"?',
        ),
        ({"template": "Vorlage"}, 'which --map names for template. The header has "Main DID", "site".'),
        ({"phone_number": "Main DID", "template": "main_did"}, "for both phone_number and template"),
    ],
)
def test_a_wrong_map_is_refused(extra: dict[str, str], said: str) -> None:
    """--map with a column that is not there, or the same one twice, says so and what was near."""
    with pytest.raises(SheetError) as caught:
        map_columns(["Main DID", "site"], blocks=BLOCKS, extra=extra)
    assert said in str(caught.value)


def test_no_column_of_numbers_says_what_there_is() -> None:
    """Without a column of numbers the message has the header, the nearest name, and the way out."""
    with pytest.raises(SheetError) as caught:
        map_columns(["site", "Phone Nubmer"], blocks=BLOCKS)
    message = str(caught.value)
    assert '"site", "Phone Nubmer"' in message
    assert 'Is it column "Phone Nubmer" (B)?' in message
    assert "--map phone_number=" in message


def test_a_sheet_without_a_header_is_told_so() -> None:
    """Where the first row is data, the message says that a header is missing."""
    with pytest.raises(SheetError, match="looks like a row of data: put a header row above it"):
        map_columns(["+14155550100", "alerts"], blocks=BLOCKS)


@pytest.mark.parametrize("slip", ["directon", "tempalte", "phone_number_ot", "templates"])
def test_a_slip_in_a_known_name_is_refused(slip: str) -> None:
    """A column one slip away from a known name is not silently a variable."""
    with pytest.raises(SheetError, match="Did you mean"):
        map_columns(["number", slip], blocks=BLOCKS)


@pytest.mark.parametrize("name", ["directory", "temperature", "site", "contemplate", "phone_number_type"])
def test_a_name_of_its_own_is_a_variable(name: str) -> None:
    """A column that is only somewhat like a known one is a variable."""
    assert map_columns(["number", name], blocks=BLOCKS).variables == {fold(name): 1}


def test_a_slip_in_a_block_is_refused() -> None:
    """A dotted column whose block is one slip away from a known block says which was meant."""
    with pytest.raises(SheetError, match='Did you mean "codec_config"'):
        map_columns(["number", "codec_confg.transcode"], blocks=BLOCKS)


def test_a_point_in_a_name_is_no_override() -> None:
    """A column whose name only has a point in it is a variable like any other."""
    assert map_columns(["number", "Acct. No."], blocks=BLOCKS).variables == {"acct.no.": 1}


def test_a_report_is_known_by_its_columns() -> None:
    """A header with result columns is a report, and those columns are no variables."""
    columns = map_columns(["phone_number", "site", *RESULT_COLUMNS], blocks=BLOCKS)
    assert columns.is_report
    assert columns.variables == {"site": 1}
    assert columns.ignored == tuple(range(2, 2 + len(RESULT_COLUMNS)))


def test_a_report_has_its_own_words() -> None:
    """In a report the words themselves count: the other column of a mapped sheet stays a variable."""
    header = ["phone_number", "number", "direction", "template", "config", "result_state"]
    columns = map_columns(header, blocks=BLOCKS)
    assert (columns.number, columns.template) == (0, 3)
    assert columns.variables == {"number": 1, "config": 4}


def test_result_columns_of_another_kind_are_no_report() -> None:
    """A column that is merely called result_something is ignored, and makes no report of the sheet."""
    columns = map_columns(["number", "result_owner"], blocks=BLOCKS)
    assert not columns.is_report
    assert columns.ignored == (1,)


@pytest.mark.parametrize(
    ("column", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16383, "XFD")]
)
def test_columns_have_the_letters_of_a_spreadsheet(column: int, letters: str) -> None:
    """Columns are named by the letters that stand over them."""
    assert letter(column) == letters


@given(st.text())
def test_folding_twice_changes_nothing(name: str) -> None:
    """A folded name is its own fold, so that names can be compared however they came."""
    assert fold(fold(name)) == fold(name)


def columns_taken(header: list[str]) -> set[int]:
    """Every column that stands for something; all of them where the header is refused in words."""
    try:
        columns = map_columns(header, blocks=BLOCKS)
    except SheetError as error:
        return set(range(len(header))) if str(error) else set()
    words = {columns.number, columns.template, columns.direction, columns.number_to} - {None}
    return {*words, *columns.overrides, *columns.variables.values(), *columns.ignored}


@given(
    st.lists(
        st.one_of(st.text(max_size=20), st.sampled_from(["number", "template", "codec_config.a"])), max_size=8
    )
)
def test_any_header_is_mapped_or_refused(header: list[str]) -> None:
    """Whatever a header holds, every column of it stands for something, or it is refused in words."""
    assert columns_taken(header) == set(range(len(header)))
