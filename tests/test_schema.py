"""What the words of a schema promise to templates and columns."""

from __future__ import annotations

import pytest

from batch.bland.payloads import SCHEMA
from batch.schema import Kind, Schema, did_you_mean, dotted


def test_path_is_written_as_columns_write_it() -> None:
    """A path reads as the header of a column that overrides the field."""
    assert dotted(("failover_config", "endpoints", 0, "port")) == "failover_config.endpoints.0.port"
    assert dotted(()) == ""


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("G729", "G.729"),
        ("pcmu", "PCMU"),
        ("opus ", "Opus"),
        ("PMCU", "PCMU"),
    ],
)
def test_near_word_is_suggested(word: str, meant: str) -> None:
    """Case, spaces, punctuation and one slip do not hide what was meant."""
    assert did_you_mean(word, ["PCMU", "PCMA", "G.729", "Opus"]) == f' Did you mean "{meant}"?'


@pytest.mark.parametrize("word", ["", "banana", "x" * 1_000_000])
def test_far_word_suggests_nothing(word: str) -> None:
    """A suggestion is made only where it helps, and a huge cell costs nothing."""
    assert did_you_mean(word, ["PCMU", "PCMA"]) == ""


def test_blands_schema_is_a_schema() -> None:
    """The API's models answer all that templates and columns ask."""
    schema: Schema = SCHEMA
    assert schema.blocks == ("failover_config", "codec_config", "alert_config")
    assert schema.kind_of(()) is Kind.OBJECT
