"""Overrides: what a column such as `codec_config.transcode` does to the template of its row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batch.bland.payloads import SCHEMA
from batch.templates.folder import Filled, Template, TemplateFolder

ALERTS = """
alert_config:
  enabled: true
  thresholds: {unreachable_minutes: 5, response_time_ms: 500}
  channels: {email: true, webhook: "https://hooks.example.com/a"}
codec_config: {codecs: [PCMU, PCMA, Opus], transcode: true}
"""
FAILOVER = """
failover_config:
  enabled: true
  endpoints:
    - {host: "${backup_host}", port: "${backup_port:-5061}", transport: tls, priority: 1}
"""


@pytest.fixture
def alerts(tmp_path: Path) -> Template:
    (tmp_path / "alerts.yaml").write_text(ALERTS, encoding="utf-8")
    return TemplateFolder(tmp_path, SCHEMA).get("alerts")


@pytest.fixture
def failover(tmp_path: Path) -> Template:
    (tmp_path / "failover.yaml").write_text(FAILOVER, encoding="utf-8")
    return TemplateFolder(tmp_path, SCHEMA).get("failover")


def body(filled: Filled) -> dict[str, object]:
    """The blocks of a template that was filled without problems."""
    assert filled.problems == ()
    assert filled.payload is not None
    loaded: dict[str, object] = json.loads(filled.payload.body)
    return loaded


def test_overrides_are_typed_and_blank_ones_are_none(alerts: Template) -> None:
    """An override takes its field's type; a blank one overrides nothing, 0 and false do."""
    filled = alerts.fill(
        {},
        {
            ("codec_config", "codecs"): "PCMA, PCMU",
            ("codec_config", "transcode"): "0",
            ("alert_config", "thresholds", "response_time_ms"): "0",
            ("alert_config", "thresholds", "unreachable_minutes"): " ",
            ("alert_config", "channels", "sms"): "false",
            ("failover_config", "endpoints", 1, "host"): "b.example.com",
            ("failover_config", "endpoints", 0, "port"): "5061",
            ("failover_config", "endpoints", 0, "host"): "a.example.com",
        },
    )
    assert body(filled) == {
        "codec_config": {"codecs": ["PCMA", "PCMU"], "transcode": False},
        "alert_config": {
            "enabled": True,
            "thresholds": {"unreachable_minutes": 5, "response_time_ms": 0},
            "channels": {"email": True, "webhook": "https://hooks.example.com/a", "sms": False},
        },
        "failover_config": {
            "endpoints": [{"port": 5061, "host": "a.example.com"}, {"host": "b.example.com"}]
        },
    }


def test_an_override_gives_what_a_column_did_not(failover: Template) -> None:
    """A leaf that is overridden needs no value of its own column."""
    override = {("failover_config", "endpoints", 0, "host"): "o.example.com"}
    assert body(failover.fill({"backuphost": ""}, override)) == body(
        failover.fill({"backuphost": "o.example.com"}, {})
    )


@pytest.mark.parametrize(
    ("path", "cell", "said"),
    [
        (("codec_config", "transcod"), "1", 'Did you mean "transcode"?'),
        (("codec_config", "codecs", "first"), "PCMU", "a number comes after it"),
        (("codec_config", "transcode", "x"), "1", "holds no fields"),
        (("codec_config", "transcode"), "perhaps", "neither true nor false"),
        (("failover_config", "endpoints"), "a", "cannot fill a list of objects"),
        (("failover_config", "endpoints", 0), "a", "cannot fill an object"),
        (("failover_config", "endpoints", 2, "host"), "a.example.com", "has only 1 here, so the next is 1"),
        (("failover_config", "endpoints", 0, "port"), "0", "must be 1 or more"),
        (("failover_config", "endpoints", 1, "port"), "5061", "failover_config.endpoints.1.host is missing"),
        (("alert_config", "thresholds", "failure_rate_percent"), "12,5", "such as 12.5"),
    ],
)
def test_overrides_at_fault(failover: Template, path: tuple[str | int, ...], cell: str, said: str) -> None:
    """An override that cannot be is a problem of its own column, with what there is instead."""
    filled = failover.fill({"backuphost": "h.example.com"}, {path: cell})
    assert filled.payload is None
    assert [one.column for one in filled.problems] == [".".join(map(str, path))]
    assert said in filled.problems[0].message


def test_an_element_of_an_override_is_not_the_templates(alerts: Template) -> None:
    """A wrong element of a list cell is told of its column, though the template has such a list."""
    filled = alerts.fill({}, {("codec_config", "codecs"): "PCMU;opus"})
    [problem] = filled.problems
    assert problem.column == "codec_config.codecs"
    assert problem.message.startswith("codec_config.codecs.1 must be one of")
    assert 'Did you mean "Opus"?' in problem.message
