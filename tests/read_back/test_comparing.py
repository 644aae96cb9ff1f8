"""Promises of `batch.read_back.comparing`: what is verified is there whole, and what differs is named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.journal.verification import Drift, Proof, of_blocks
from batch.read_back.comparing import compare, has_hidden

SENT: dict[str, Any] = {
    "failover_config": {
        "enabled": True,
        "endpoints": [
            {"host": "backup1.sip.provider.com", "port": 5061, "transport": "tls", "priority": 1},
            {"host": "backup2.sip.provider.com", "port": 5061, "transport": "tls", "priority": 2},
        ],
        "triggers": ["unreachable", "timeout"],
        "failback": "auto",
    },
    "codec_config": {"codecs": ["PCMU", "PCMA", "Opus"], "transcode": True},
    "alert_config": {
        "enabled": True,
        "thresholds": {"unreachable_minutes": 5, "failure_rate_percent": 20},
        "channels": {"email": True, "webhook": "https://hooks.example.com/sip-alerts/s3cr3t-p4th"},
    },
}


def there(path: str, value: Any) -> dict[str, Any]:
    """What is there if one place differs from what was sent; None takes the place away."""
    shown = copy.deepcopy(SENT)
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner: Any = shown
    for part in way:
        inner = inner[part]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return shown


GONE = object()


def test_what_is_there_as_it_was_sent_is_verified() -> None:
    """Every block is verified, and nothing is told."""
    compared = compare(SENT, copy.deepcopy(SENT))
    assert compared.blocks == dict.fromkeys(SENT, Proof.VERIFIED)
    assert compared.drifts == compared.hidden == ()


@pytest.mark.parametrize(
    ("path", "value", "drift"),
    [
        ("codec_config.transcode", False, ("codec_config.transcode", "true", "false")),
        ("codec_config.transcode", 1, ("codec_config.transcode", "true", "1")),
        ("codec_config.transcode", GONE, ("codec_config.transcode", "true", "nothing")),
        (
            "codec_config.codecs",
            ["PCMA", "PCMU", "Opus"],
            ("codec_config.codecs", '["PCMU","PCMA","Opus"]', '["PCMA","PCMU","Opus"]'),
        ),
        (
            "codec_config.codecs",
            ["PCMU", "PCMA"],
            ("codec_config.codecs", '["PCMU","PCMA","Opus"]', '["PCMU","PCMA"]'),
        ),
        (
            "failover_config.endpoints.1.port",
            5060,
            ("failover_config.endpoints.1.port", "5061", "5060"),
        ),
        (
            "failover_config.endpoints.0.host",
            "Backup1.sip.provider.com",
            (
                "failover_config.endpoints.0.host",
                '"backup1.sip.provider.com"',
                '"Backup1.sip.provider.com"',
            ),
        ),
        ("alert_config.thresholds", None, ("alert_config.thresholds",)),
        (
            "alert_config.thresholds.unreachable_minutes",
            "5",
            ("alert_config.thresholds.unreachable_minutes",),
        ),
    ],
)
def test_what_differs_is_drift_and_named(path: str, value: Any, drift: tuple[str, ...]) -> None:
    """A value that is changed, gone, reordered or of another type drifts its block, and no other."""
    compared = compare(SENT, there(path, value))
    block = path.partition(".")[0]
    assert compared.blocks == {name: Proof.DRIFTED if name == block else Proof.VERIFIED for name in SENT}
    (told,) = compared.drifts
    assert tuple(told)[: len(drift)] == drift


def test_a_list_of_another_length_is_told_as_a_whole() -> None:
    """One endpoint less shows both lists."""
    (told,) = compare(SENT, there("failover_config.endpoints.1", GONE)).drifts
    assert told.path == "failover_config.endpoints"
    assert told.sent.count("host") > told.there.count("host")


def test_what_the_api_adds_is_no_drift() -> None:
    """Keys that nobody sent are the API's own, at the top, inside blocks and inside lists; 5.0 is 5."""
    shown = copy.deepcopy(SENT)
    shown["sip_endpoint"] = "sip:x"
    shown["codec_config"]["negotiated"] = "PCMU"
    shown["failover_config"]["endpoints"][0]["id"] = 7
    shown["alert_config"]["thresholds"]["unreachable_minutes"] = 5.0
    assert set(compare(SENT, shown).blocks.values()) == {Proof.VERIFIED}


def test_a_block_that_is_not_shown_is_not_readable() -> None:
    """It is neither verified nor drifted; one that is shown as null is there, and empty."""
    shown = copy.deepcopy(SENT)
    del shown["alert_config"]
    shown["codec_config"] = None
    compared = compare(SENT, shown)
    assert compared.blocks["alert_config"] is Proof.NOT_READABLE
    assert compared.blocks["codec_config"] is Proof.DRIFTED
    assert compared.drifts == (
        Drift("codec_config", '{"codecs":["PCMU","PCMA","Opus"],"transcode":true}', "nothing"),
    )


@pytest.mark.parametrize("shown", ["https://hooks.example.com/***", "[REDACTED]", "••••••", "********"])
def test_what_is_masked_is_not_readable(shown: str) -> None:
    """A secret that the API does not show is no drift, and not verified either."""
    compared = compare(SENT, there("alert_config.channels.webhook", shown))
    assert compared.blocks["alert_config"] is Proof.NOT_READABLE
    assert compared.hidden == ("alert_config.channels.webhook",)
    assert compared.drifts == ()
    assert has_hidden(there("alert_config.channels.webhook", shown))


def test_drift_beside_something_masked_is_drift() -> None:
    """What is masked hides nothing else."""
    shown = there("alert_config.channels.webhook", "***")
    shown["alert_config"]["enabled"] = False
    compared = compare(SENT, shown)
    assert compared.blocks["alert_config"] is Proof.DRIFTED
    assert [drift.path for drift in compared.drifts] == ["alert_config.enabled"]


def test_what_opens_a_webhook_is_never_told() -> None:
    """Of a webhook that differs only the host and the plain words of its path are shown, on either side."""
    other = "https://hooks.example.com/sip-alerts/0th3r-p4th"
    (told,) = compare(SENT, there("alert_config.channels.webhook", other)).drifts
    assert "p4th" not in str(told)
    assert told.there.startswith("another such")
    assert "hooks.example.com" in told.sent


def test_a_secret_of_the_environment_is_never_told() -> None:
    """Where the journal keeps a mark, the mark is told, and of what is there that it is something else."""
    sent = {"failover_config": {"endpoints": [{"host": "hidden.example.com"}]}}
    kept = {"failover_config": {"endpoints": [{"host": "${env:BACKUP}"}]}}
    shown = {"failover_config": {"endpoints": [{"host": "old-hidden.example.com"}]}}
    (told,) = compare(sent, shown, kept=kept).drifts
    assert tuple(told) == ("failover_config.endpoints.0.host", '"${env:BACKUP}"', "something else")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), JSON, min_size=1), JSON)
def test_a_block_is_verified_only_if_it_is_there(sent: dict[str, Any], other: Any) -> None:
    """A value is verified against itself, and never against one that lacks some of what was sent."""
    assert set(compare(sent, copy.deepcopy(sent)).blocks.values()) == {Proof.VERIFIED}
    found = compare(sent, dict.fromkeys(sent, other)).blocks
    for name, proof in found.items():
        assert (proof is Proof.VERIFIED) == holds(sent[name], other)


def holds(sent: Any, shown: Any) -> bool:
    """The rule again, as plainly as it can be said."""
    if isinstance(sent, dict):
        return isinstance(shown, dict) and all(k in shown and holds(v, shown[k]) for k, v in sent.items())
    if isinstance(sent, list):
        if not isinstance(shown, list) or len(sent) != len(shown):
            return False
        if sent and all(isinstance(e, dict) for e in (*sent, *shown)):
            return all(map(holds, sent, shown))
        return json.dumps(sent, sort_keys=True) == json.dumps(shown, sort_keys=True)
    return type(sent) is type(shown) and bool(sent == shown)


def test_blocks_come_to_the_worst_of_them() -> None:
    """A request is verified only if each of its blocks is, or has been replaced since."""
    assert of_blocks([Proof.VERIFIED, Proof.VERIFIED]) is Proof.VERIFIED
    assert of_blocks([Proof.VERIFIED, Proof.NOT_READABLE]) is Proof.NOT_READABLE
    assert of_blocks([Proof.NOT_READABLE, Proof.DRIFTED]) is Proof.DRIFTED
    assert of_blocks([Proof.VERIFIED, Proof.REPLACED]) is Proof.VERIFIED
    assert of_blocks([Proof.REPLACED, Proof.NOT_READABLE]) is Proof.NOT_READABLE
    assert of_blocks([Proof.REPLACED]) is Proof.REPLACED
