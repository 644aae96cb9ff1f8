"""What holds of a filled template whatever the cells of a row are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.bland.payloads import SCHEMA
from batch.templates.folder import Template, TemplateFolder
from batch.templates.placeholders import escape

_EVERYWHERE = """
failover_config:
  enabled: ${a:-}
  endpoints:
    - {host: "${b:-h.example.com}", port: "${c:-1}", priority: "${d:-}"}
    - {host: "x${b:-}"}
  triggers: ["${e:-}", timeout]
  failback: "${f:-}"
codec_config: {codecs: "${e:-PCMU}", transcode: true}
alert_config:
  channels: {webhook: "https://h.example.com/${b:-x}${c:-}"}
  thresholds: {response_time_ms: "${d:-1}"}
"""
_CELLS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            '{"a": 1}',
            "a: 1",
            "${b}",
            "$$",
            "x\ny: 2",
            "[1]",
            "!!map",
            "*a",
            "true",
            "0",
            "5061",
            "PCMU;PCMA",
            "~",
            "=1+1",
        ]
    ),
)
_ROWS = st.dictionaries(st.sampled_from("abcdef"), _CELLS)
_OVERRIDES = st.dictionaries(
    st.sampled_from(
        [
            ("codec_config", "transcode"),
            ("codec_config", "codecs"),
            ("failover_config", "failback"),
            ("failover_config", "endpoints", 2, "host"),
            ("alert_config", "channels", "webhook"),
        ]
    ),
    _CELLS,
)


def _keys(value: object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every key of a body by its path, whatever elements of lists it lies in."""
    found: set[tuple[str, ...]] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= {(*path, key)} | _keys(inner, (*path, key))
    if isinstance(value, list):
        for inner in value:
            found |= _keys(inner, path)
    return found


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("templates")
    (folder / "t.yaml").write_text(_EVERYWHERE, encoding="utf-8")
    return TemplateFolder(folder, SCHEMA, environ={}).get("t")


@given(row=_ROWS, overrides=_OVERRIDES)
@settings(max_examples=300)
def test_no_cell_adds_a_key(
    everywhere: Template, row: dict[str, str], overrides: dict[tuple[str | int, ...], str]
) -> None:
    """Whatever cells hold, the keys of a payload are those of the template and of the overrides' headers."""
    allowed = _keys(everywhere.body())
    for path in overrides:
        names = tuple(part for part in path if isinstance(part, str))
        allowed |= {names[:end] for end in range(1, len(names) + 1)}
    assert _keys(everywhere.preview(row, overrides)) <= allowed
    filled = everywhere.fill(row, overrides)
    if filled.payload is not None:
        assert _keys(json.loads(filled.payload.body)) <= allowed


@given(row=_ROWS, overrides=_OVERRIDES)
def test_filling_is_deterministic(
    everywhere: Template, row: dict[str, str], overrides: dict[tuple[str | int, ...], str]
) -> None:
    """The same cells give the same payload or the same problems, in whatever order they are given."""
    again = everywhere.fill(dict(reversed(row.items())), dict(reversed(overrides.items())))
    assert everywhere.fill(row, overrides) == again


@given(row=_ROWS, overrides=_OVERRIDES)
def test_a_payload_or_problems(
    everywhere: Template, row: dict[str, str], overrides: dict[tuple[str | int, ...], str]
) -> None:
    """Filling never raises: there is a payload exactly if there is no problem, and each problem has words."""
    filled = everywhere.fill(row, overrides)
    assert (filled.payload is None) == bool(filled.problems)
    for problem in (*filled.problems, *filled.warnings):
        assert problem.column
        assert problem.message
        assert problem.kind


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
@settings(max_examples=50)
def test_dollars_round_trip_through_a_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """A text written with its dollars doubled is filled as that text."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / "t.json").write_text(
        json.dumps({"alert_config": {"channels": {"webhook": escape(text)}}}), encoding="utf-8"
    )
    template = TemplateFolder(folder, SCHEMA, environ={}).get("t")
    assert template.preview({}, {}) == {"alert_config": {"channels": {"webhook": text}}}
    assert template.body() == {"alert_config": {"channels": {"webhook": escape(text)}}}
