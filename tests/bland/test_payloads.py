"""Which payloads may be sent, and what is said of the others."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.bland.payloads import SCHEMA, check_body
from batch.schema import Kind, dotted

#: The body that the vendor's page shows.
DOCUMENTED: dict[str, Any] = {
    "phone_number": "+14150000000",
    "direction": "outbound",
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
        "thresholds": {
            "unreachable_minutes": 5,
            "failure_rate_percent": 20,
            "failure_rate_window_minutes": 30,
            "response_time_ms": 500,
        },
        "channels": {"email": True, "sms": False, "webhook": "https://hooks.example.com/sip-alerts"},
    },
}
BLOCKS = {name: DOCUMENTED[name] for name in SCHEMA.blocks}


def changed(path: str, value: object) -> dict[str, Any]:
    """The documented blocks with one value changed or added; the path is dotted."""
    blocks = copy.deepcopy(BLOCKS)
    *parents, last = path.split(".")
    place: Any = blocks
    for part in parents:
        place = place[int(part)] if part.isdecimal() else place[part]
    place[int(last) if last.isdecimal() else last] = value
    return blocks


def problems(blocks: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the problems are, and of which kind."""
    checked = SCHEMA.check(blocks)
    assert (checked.payload is None) == bool(checked.problems)
    return [(dotted(finding.path), finding.kind.removeprefix("payload.")) for finding in checked.problems]


def warnings(blocks: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the warnings are, and of which kind; the payload may be sent all the same."""
    checked = SCHEMA.check(blocks)
    assert checked.problems == ()
    return [(dotted(finding.path), finding.kind.removeprefix("payload.")) for finding in checked.warnings]


def test_documented_example_passes_unchanged() -> None:
    """The vendor's own example is sent as it is, without a word."""
    checked = SCHEMA.check(BLOCKS)
    assert checked.payload is not None
    assert json.loads(checked.payload.body) == BLOCKS
    assert (checked.problems, checked.warnings) == ((), ())
    assert check_body(DOCUMENTED) == []


@pytest.mark.parametrize(
    "blocks",
    [
        {"codec_config": {"codecs": ["PCMU"]}},
        {"failover_config": {"enabled": False}},
        {"failover_config": {"endpoints": [{"host": "a.example.com"}]}},
        {"failover_config": {"endpoints": [], "triggers": []}},
        {"alert_config": {"thresholds": {}, "channels": {}}},
        {"alert_config": {"thresholds": {"unreachable_minutes": 0, "response_time_ms": 0.5}}},
        {"codec_config": {"codecs": []}},
    ],
)
def test_nothing_is_added_or_left_out(blocks: dict[str, Any]) -> None:
    """Only what was given is sent: no default, no null, no field more."""
    checked = SCHEMA.check(blocks)
    assert checked.payload is not None
    assert json.loads(checked.payload.body) == blocks


def test_equal_blocks_are_equal_payloads() -> None:
    """The order in which a template writes its fields makes no other payload."""
    backwards = dict(reversed(BLOCKS.items()))
    assert SCHEMA.check(backwards).payload == SCHEMA.check(BLOCKS).payload


@pytest.mark.parametrize("blocks", [{}, {"codecs": ["PCMU"]}])
def test_without_any_block_there_is_nothing_to_send(blocks: dict[str, Any]) -> None:
    """A payload that would set nothing is a problem of its own."""
    assert ("", "no_block") in problems(blocks)


@pytest.mark.parametrize("name", SCHEMA.blocks)
def test_empty_block_sets_nothing(name: str) -> None:
    """A block without a field is named, with the fields it could have."""
    assert problems({**BLOCKS, name: {}}) == [(name, "empty_block")]
    assert dotted(SCHEMA.check({name: {}}).problems[0].path) == name
    assert SCHEMA.fields_of((name,))[0] in SCHEMA.check({name: {}}).problems[0].message


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("failover_config", [], "type"),
        ("failover_config", "on", "type"),
        ("failover_config", None, "null"),
        ("failover_config.enabled", "true", "type"),
        ("failover_config.enabled", 1, "type"),
        ("failover_config.enabled", None, "null"),
        ("failover_config.endpoints", {}, "type"),
        ("failover_config.endpoints.0", "a.example.com", "type"),
        ("failover_config.endpoints.0.host", "", "host"),
        ("failover_config.endpoints.0.host", "a b", "host"),
        ("failover_config.endpoints.0.host", "a..b", "host"),
        ("failover_config.endpoints.0.host", "sip:a.example.com", "host"),
        ("failover_config.endpoints.0.host", "https://a.example.com", "host"),
        ("failover_config.endpoints.0.host", "a.example.com:5061", "host"),
        ("failover_config.endpoints.0.host", "10.0.0.256", "host"),
        ("failover_config.endpoints.0.host", "10.0.1", "host"),
        ("failover_config.endpoints.0.host", "${backup_host}", "host"),
        ("failover_config.endpoints.0.host", "a\u200b.example.com", "host"),
        ("failover_config.endpoints.0.host", "\ud800", "host"),
        ("failover_config.failback", "\ud800", "type"),
        ("failover_config.endpoints.0.host", 5, "type"),
        ("failover_config.endpoints.0.port", 0, "range"),
        ("failover_config.endpoints.0.port", 65536, "range"),
        ("failover_config.endpoints.0.port", "5061", "type"),
        ("failover_config.endpoints.0.port", 5061.0, "type"),
        ("failover_config.endpoints.0.port", True, "type"),
        ("failover_config.endpoints.0.transport", "TLS", "choice"),
        ("failover_config.endpoints.0.transport", "sctp", "choice"),
        ("failover_config.endpoints.0.priority", -1, "range"),
        ("failover_config.endpoints.0.priority", 10**400, "range"),
        ("failover_config.endpoints.0.weight", 1, "unknown_field"),
        ("failover_config.triggers.0", "auth-failure", "choice"),
        ("failover_config.triggers", "timeout", "type"),
        ("failover_config.failback", "later", "choice"),
        ("codec_config.codecs.0", "G711", "choice"),
        ("codec_config.codecs.0", "pcmu", "choice"),
        ("codec_config.codecs.0", 3, "choice"),
        ("codec_config.codecs.0", "PCMA", "duplicate_codec"),
        ("codec_config.transcode", "no", "type"),
        ("codec_config.codec", "PCMU", "unknown_field"),
        ("alert_config.thresholds.failure_rate_percent", 100.5, "range"),
        ("alert_config.thresholds.unreachable_minutes", -0.1, "range"),
        ("alert_config.thresholds.response_time_ms", float("nan"), "type"),
        ("alert_config.thresholds.response_time_ms", 10**400, "type"),
        ("alert_config.thresholds.response_time_ms", False, "type"),
        ("alert_config.channels.email", "yes", "type"),
        ("alert_config.channels.webhook", "hooks.example.com/x", "webhook"),
        ("alert_config.channels.webhook", "ftp://hooks.example.com/x", "webhook"),
        ("alert_config.channels.webhook", "https://", "webhook"),
        ("alert_config.channels.webhook", "https://a b.example.com/", "webhook"),
        ("alert_config.channels.webhook", "https://[bad/", "webhook"),
        ("alert_config.channels.webhook", None, "null"),
        ("alert_config.channels.pager", True, "unknown_field"),
        ("failover", {}, "unknown_field"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(path: str, value: object, kind: str) -> None:
    """One wrong value is one problem, under its own path, of its own kind."""
    where = path.removesuffix(".0") if kind == "duplicate_codec" else path
    assert problems(changed(path, value)) == [(where, kind)]


@pytest.mark.parametrize(
    "host",
    [
        "backup",
        "a.example.com.",
        "under_score.example.com",
        "10.0.0.1",
        "2001:db8::1",
        "[2001:db8::1]",
        "bücher.de",
    ],
)
def test_hosts_and_addresses_of_every_kind_are_taken(host: str) -> None:
    """Whatever may name a server is left to the API."""
    assert problems(changed("failover_config.endpoints.0.host", host)) == []


def test_all_problems_are_told_at_once() -> None:
    """Nobody mends one mistake to be shown the next."""
    blocks = {
        "failover_config": {"endpoints": [{"port": 0}, {"host": "a.example.com", "transport": "tcpp"}]},
        "codec_config": {"codecs": ["Opus", "opus"], "transcode": "x"},
        "alert_config": {},
    }
    assert problems(blocks) == [
        ("failover_config.endpoints.0.host", "missing"),
        ("failover_config.endpoints.0.port", "range"),
        ("failover_config.endpoints.1.transport", "choice"),
        ("codec_config.codecs.1", "choice"),
        ("codec_config.transcode", "type"),
        ("alert_config", "empty_block"),
    ]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("codec_config.codecs.0", "g729", 'Did you mean "G.729"?'),
        ("codec_config.codecs.0", "ulaw", 'Did you mean "PCMU"?'),
        ("codec_config.codecs.0", "G.711 A-law", 'Did you mean "PCMA"?'),
        ("failover_config.triggers.0", "unreachble", 'Did you mean "unreachable"?'),
        ("failover_config.endpoints.0.transprt", "tls", 'Did you mean "transport"?'),
        ("codec_confg", {"codecs": ["PCMU"]}, 'Did you mean "codec_config"?'),
        ("failover_config.endpoints.0.port", "5061", 'must be a whole number, not "5061"'),
        ("failover_config.endpoints.0.port", 70000, "must be 65535 or less, not 70000"),
        ("failover_config.enabled", "yes", 'must be true or false, not "yes"'),
        (
            "failover_config.endpoints.0.host",
            "a.example.com:5061",
            'write "a.example.com" here, and the port in port',
        ),
        ("alert_config.thresholds.failure_rate_percent", 120, "must be 100 or less, not 120"),
    ],
)
def test_sentence_says_what_is_there_and_what_to_write(path: str, value: object, said: str) -> None:
    """An operator can mend the value from the sentence alone."""
    (problem,) = SCHEMA.check(changed(path, value)).problems
    assert said in problem.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("alert_config.channels.webhook", "htp://hooks.example.com/services/CANARY"),
        ("alert_config.channels.webhok", "https://hooks.example.com/services/CANARY"),
        ("failover_config.endpoints.0.host", "sip:user:CANARY@a.example.com"),
        ("failover_config.failback", "https://hooks.example.com/CANARY"),
        ("codec_config.codecs.0", "x@CANARY"),
    ],
)
def test_what_may_be_a_secret_is_not_quoted(path: str, value: str) -> None:
    """A webhook or a password in the wrong place is reported without being shown."""
    checked = SCHEMA.check(changed(path, value))
    assert checked.problems
    assert "CANARY" not in repr(checked.problems)


def test_messages_are_short_single_lines() -> None:
    """A cell of a megabyte, or one with control characters, makes no message that hurts a terminal."""
    for value in ("x" * 1_000_000, "a\nb\x1b[31m\u202e"):
        (problem,) = SCHEMA.check(changed("failover_config.failback", value)).problems
        assert len(problem.message) < 200
        assert problem.message.isprintable()


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        (
            changed("failover_config.endpoints.0.port", 5060),
            [("failover_config.endpoints.0", "not_tls_5061")],
        ),
        (
            changed("failover_config.endpoints.1.transport", "udp"),
            [("failover_config.endpoints.1", "not_tls_5061")],
        ),
        (
            changed("failover_config.endpoints.1.priority", 1),
            [("failover_config.endpoints.1", "priority_tie")],
        ),
        (
            changed("failover_config.endpoints.1.host", "BACKUP1.sip.provider.com."),
            [("failover_config.endpoints.1", "repeated_endpoint")],
        ),
        (
            changed("failover_config.endpoints", []),
            [("failover_config.enabled", "failover_without_endpoints")],
        ),
        (
            changed("failover_config.triggers", []),
            [("failover_config.triggers", "failover_without_triggers")],
        ),
        (changed("codec_config.transcode", False), [("codec_config.transcode", "transcode_off")]),
        (changed("codec_config.codecs", []), [("codec_config.codecs", "no_codec")]),
        (
            changed("alert_config.channels", {"email": False, "sms": False}),
            [("alert_config.enabled", "alerts_without_channel")],
        ),
        ({"codec_config": {"codecs": ["PCMU"]}}, [("codec_config", "partial_block")]),
        (
            changed("failover_config.endpoints.0", {"host": "a.example.com"}),
            [("failover_config.endpoints.0", "partial_endpoint")],
        ),
    ],
)
def test_what_is_doubtful_is_sent_with_a_warning(
    blocks: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """What the API may take and is perhaps not meant is told, and does not stop the row."""
    assert warnings(blocks) == expected


@pytest.mark.parametrize(
    "blocks",
    [
        {"codec_config": {"codecs": ["PCMU", "PCMA"], "transcode": False}},
        {"failover_config": {"enabled": False}},
        {"alert_config": {"enabled": False}},
        changed(
            "failover_config.endpoints.1",
            {
                **BLOCKS["failover_config"]["endpoints"][0],
                "port": 5061,
                "priority": 2,
                "host": "c.example.com",
            },
        ),
    ],
)
def test_what_is_plainly_meant_is_not_doubted(blocks: dict[str, Any]) -> None:
    """A warning that always comes is read by nobody."""
    assert warnings(blocks) == []


@pytest.mark.parametrize(
    ("path", "kind", "fields", "choices"),
    [
        ((), Kind.OBJECT, ("failover_config", "codec_config", "alert_config"), ()),
        (("failover_config",), Kind.OBJECT, ("enabled", "endpoints", "triggers", "failback"), ()),
        (("failover_config", "endpoints"), Kind.OBJECTS, (), ()),
        (("failover_config", "endpoints", 3), Kind.OBJECT, ("host", "port", "transport", "priority"), ()),
        (("failover_config", "endpoints", 3, "port"), Kind.INTEGER, (), ()),
        (("failover_config", "endpoints", 0, "transport"), Kind.TEXT, (), ("tls", "tcp", "udp")),
        (("failover_config", "triggers"), Kind.LIST, (), ("unreachable", "auth_failure", "timeout")),
        (("codec_config", "codecs", 0), Kind.TEXT, (), ("PCMU", "PCMA", "G.729", "Opus", "G.722")),
        (("alert_config", "thresholds", "response_time_ms"), Kind.NUMBER, (), ()),
        (("alert_config", "channels", "sms"), Kind.BOOLEAN, (), ()),
        (("alert_config", "channels", "webhook"), Kind.TEXT, (), ()),
        (("codec_config", "codec"), None, (), ()),
        (("failover_config", "endpoints", "port"), None, (), ()),
        (("codec_config", 0), None, (), ()),
        (("failover_config", "endpoints", -1), None, (), ()),
        (("alert_config", "enabled", "x"), None, (), ()),
    ],
)
def test_schema_answers_by_path(
    path: tuple[str | int, ...], kind: Kind | None, fields: tuple[str, ...], choices: tuple[str, ...]
) -> None:
    """Templates and columns learn every field from the models."""
    assert (SCHEMA.kind_of(path), SCHEMA.fields_of(path), SCHEMA.choices_of(path)) == (kind, fields, choices)


def test_json_schema_is_as_strict_as_the_models() -> None:
    """An editor that follows the schema refuses unknown fields, wrong words and an empty payload."""
    schema: Any = SCHEMA.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["additionalProperties"], schema["minProperties"]) == (False, 1)
    definitions = schema["$defs"]
    assert all(model["additionalProperties"] is False for model in definitions.values())
    codecs = definitions["CodecConfig"]["properties"]["codecs"]
    assert codecs["items"]["enum"] == ["PCMU", "PCMA", "G.729", "Opus", "G.722"]
    assert codecs["uniqueItems"] is True
    assert definitions["Endpoint"]["required"] == ["host"]
    assert "null" not in json.dumps(schema)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], [("", "type")]),
        ({}, [("phone_number", "missing"), ("direction", "missing"), ("", "no_block")]),
        ({**DOCUMENTED, "phone_number": "4150000000"}, [("phone_number", "number")]),
        ({**DOCUMENTED, "phone_number": "+04150000000"}, [("phone_number", "number")]),
        ({**DOCUMENTED, "phone_number": "+1415000000०"}, [("phone_number", "number")]),
        ({**DOCUMENTED, "phone_number": "+1234567890123456"}, [("phone_number", "number")]),
        ({**DOCUMENTED, "phone_number": "+14150000000\n"}, [("phone_number", "number")]),
        ({**DOCUMENTED, "phone_number": 14150000000}, [("phone_number", "type")]),
        ({**DOCUMENTED, "direction": "both"}, [("direction", "choice")]),
        ({**DOCUMENTED, "extension": "5"}, [("extension", "unknown_field")]),
        ({"phone_number": "+14150000000", "direction": "inbound"}, [("", "no_block")]),
        ({**DOCUMENTED, "codec_config": {}}, [("codec_config", "empty_block")]),
    ],
)
def test_whole_body_is_checked_as_a_strict_api_would(body: object, expected: list[tuple[str, str]]) -> None:
    """The sandbox refuses what the page does not allow, number and direction included."""
    found = [(dotted(finding.path), finding.kind.removeprefix("payload.")) for finding in check_body(body)]
    assert found == expected


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["tls", "PCMU"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["endpoints", "host", "codecs", "enabled", "channels", "webhook", "thresholds"])
            | st.text(max_size=5)
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(SCHEMA.blocks), _JSON, max_size=3))
def test_check_never_raises_and_changes_nothing(blocks: dict[str, Any]) -> None:
    """Whatever a template holds, it is either sent as it is or refused with a reason."""
    checked = SCHEMA.check(blocks)
    assert (checked.payload is None) == bool(checked.problems)
    assert checked.payload is None or json.loads(checked.payload.body) == blocks
    assert check_body(blocks)
