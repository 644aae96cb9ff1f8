"""Checking a folder: every fault in it at once, and nothing that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.bland.payloads import SCHEMA
from batch.templates.checks import check_folder
from batch.templates.folder import TemplateFolder

FIXTURES = Path(__file__).parent.parent / "fixtures" / "templates"


def faults(tmp_path: Path, **texts: str) -> list[str]:
    """What a check says of templates with these texts."""
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [str(fault) for fault in check_folder(TemplateFolder(tmp_path, SCHEMA, environ={})).faults]


def test_every_fault_at_once() -> None:
    """A folder with one of each fault is answered with all of them, by file and line.

    `faulty.txt` is what `sipbatch templates check` says of it, without the folder.
    """
    checked = check_folder(TemplateFolder(FIXTURES / "faulty", SCHEMA, environ={}))
    expected = (FIXTURES / "faulty.txt").read_text(encoding="utf-8").splitlines()
    assert [str(fault) for fault in checked.faults] == expected


def test_every_faulty_template_is_named() -> None:
    """No template of the faulty folder passes, but those that are only near to others."""
    checked = check_folder(TemplateFolder(FIXTURES / "faulty", SCHEMA, environ={}))
    named = {Path(fault.place.file).stem for fault in checked.faults}
    # Those that go round in a circle are named by the one that closes it.
    assert set(checked.names) - named == {"back", "round"}


@pytest.mark.parametrize(
    "text",
    [
        "codec_config: {codecs: ['${a}', '${b}', '${c:-}'], transcode: '${t}'}",
        "alert_config: {channels: {webhook: '${hook}'}}",
        "alert_config: {channels: {webhook: '${scheme}://${host}/${path:-}'}}",
        "alert_config: {channels: {webhook: 'https://${host}/'}, thresholds: {failure_rate_percent: '${p}'}}",
        "allow_env: [A, B]\nalert_config: {channels: {webhook: '${env:A}', email: '${env:B}'}}",
        "failover_config: {endpoints: [{host: '${h}', port: '${p}'}, {host: '${i}', priority: '${q}'}]}",
        "failover_config: {endpoints: [{host: '${h:-}', port: '${p:-}'}], triggers: '${t}'}",
        "codec_config: {codecs: '${codecs:-}'}",
    ],
)
def test_blanks_of_every_kind_are_no_fault(tmp_path: Path, text: str) -> None:
    """A template is not blamed for blanks that some value fits, whatever is made up for it."""
    assert faults(tmp_path, t=text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alert_config: {channels: {webhook: 'ftp://${host}/'}}", "webhook is no http(s) URL"),
        ("failover_config: {endpoints: [{host: '${h:-}', port: 5061}]}", "endpoints.0.host is missing"),
        (
            "failover_config: {endpoints: [{host: '${x}', port: '${x}'}]}",
            "t.yaml:1: failover_config.endpoints.0",
        ),
        ("codec_config: {codecs: [PCMU, '${c:-PCMU}']}", "names PCMU more than once"),
        ("codec_config: {codecs: '${c:-pcmu}'}", 'Did you mean "PCMU"?'),
        ("codec_config: {}", "codec_config is empty"),
    ],
)
def test_what_no_value_fits_is_a_fault(tmp_path: Path, text: str, said: str) -> None:
    """A template that nothing in the sheet could make right is a fault, as is a wrong default."""
    assert said in faults(tmp_path, t=text)[0]


def test_a_base_may_be_incomplete(tmp_path: Path) -> None:
    """What a base lacks is looked for in the templates that extend it; what it has is its own."""
    base = "failover_config: {endpoints: [{port: 5061}], failback: automatic}"
    child = "extends: base\nfailover_config: {endpoints: [{host: a.example.com}]}"
    assert faults(tmp_path, base=base, child=child) == [
        'base.yaml:1: failover_config.failback must be one of "auto", "manual", not "automatic". '
        'Did you mean "auto"?'
    ]
    assert len(faults(tmp_path, child="codec_config: {transcode: true}")) == 2


def test_a_fault_that_many_inherit_is_one(tmp_path: Path) -> None:
    """A fault of a base is told once, at its place, however many extend it."""
    texts = {f"t{i}": "extends: base" for i in range(5)}
    assert len(faults(tmp_path, base="codec_config: {codecs: [opus]}", **texts)) == 1
