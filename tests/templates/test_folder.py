"""Templates: merged, filled and checked, with every problem laid at the door of the column that has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from batch.bland.payloads import SCHEMA
from batch.errors import TemplateError
from batch.plans import Problem
from batch.templates.folder import Filled, TemplateFolder

WriteFolder = Callable[..., TemplateFolder]

ALERTS = """
description: The base
direction: inbound
alert_config:
  enabled: true
  thresholds: {unreachable_minutes: 5, response_time_ms: 500}
  channels: {email: true, webhook: "https://hooks.example.com/a"}
codec_config: {codecs: [PCMU, PCMA, Opus], transcode: true}
"""
FAILOVER = """
direction: outbound
failover_config:
  enabled: true
  endpoints:
    - {host: "${backup_host}", port: "${backup_port:-5061}", transport: tls, priority: 1}
  triggers: [unreachable, timeout]
  failback: auto
"""


@pytest.fixture
def write_folder(tmp_path: Path) -> WriteFolder:
    """Make a folder of templates out of texts by file name (`.yaml` where the name has no ending)."""

    def write(environ: Mapping[str, str] | None = None, **texts: str) -> TemplateFolder:
        for name, text in texts.items():
            file = name.replace("__", ".") if "__" in name else f"{name}.yaml"
            (tmp_path / file).write_text(text, encoding="utf-8")
        return TemplateFolder(tmp_path, SCHEMA, environ=environ or {})

    return write


def body(filled: Filled) -> dict[str, object]:
    """The blocks of a template that was filled without problems."""
    assert filled.problems == ()
    assert filled.payload is not None
    loaded: dict[str, object] = json.loads(filled.payload.body)
    return loaded


def columns(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.column for problem in problems]


# --- merging ------------------------------------------------------------------------------------


def test_extends_merges_mappings_and_replaces_the_rest(write_folder: WriteFolder) -> None:
    """A template laid upon its base changes single fields of it; a list is replaced as a whole."""
    folder = write_folder(
        base=ALERTS,
        child="extends: base\nalert_config: {thresholds: {response_time_ms: 9}}\n"
        "codec_config: {codecs: [PCMU]}",
    )
    assert body(folder.get("child").fill({}, {})) == {
        "alert_config": {
            "enabled": True,
            "thresholds": {"unreachable_minutes": 5, "response_time_ms": 9},
            "channels": {"email": True, "webhook": "https://hooks.example.com/a"},
        },
        "codec_config": {"codecs": ["PCMU"], "transcode": True},
    }


def test_extends_chains(write_folder: WriteFolder) -> None:
    """A base may have a base: the direction is the nearest one's, and each is laid upon what it names."""
    folder = write_folder(
        a=ALERTS, b="extends: a\ncodec_config: {transcode: false}", c="extends: b\ndescription: The last"
    )
    template = folder.get("c")
    assert (template.direction, template.extends, template.description) == ("inbound", ("b",), "The last")
    assert template.body()["codec_config"] == {"codecs": ["PCMU", "PCMA", "Opus"], "transcode": False}


def test_joined_left_to_right(write_folder: WriteFolder) -> None:
    """`a + b` lays b upon a: the later one wins, in its fields and its direction."""
    folder = write_folder(a=ALERTS, b="direction: outbound\ncodec_config: {transcode: false}")
    one, other = folder.get(" a + b "), folder.get("b+a")
    assert (one.name, one.direction, one.body()["codec_config"]) == (
        "a+b",
        "outbound",
        {"codecs": ["PCMU", "PCMA", "Opus"], "transcode": False},
    )
    assert (other.direction, other.body()["codec_config"]) == (
        "inbound",
        {"transcode": True, "codecs": ["PCMU", "PCMA", "Opus"]},
    )


def test_cycles_are_named_in_full(write_folder: WriteFolder) -> None:
    """A template that is its own base, however far round, is refused with the whole way round."""
    folder = write_folder(a="extends: b", b__json='{"extends": "c"}', c__yml="extends: a")
    with pytest.raises(TemplateError, match="a → b → c → a"):
        folder.get("a")


def test_a_long_chain_is_refused(write_folder: WriteFolder) -> None:
    """Chains of bases are bounded, whichever of their templates is asked for first."""
    chain = {f"t{i}": f"extends: t{i + 1}" for i in range(30)}
    with pytest.raises(TemplateError, match="more than 16 templates"):
        write_folder(**chain, t30=ALERTS).get("t0")


@pytest.mark.parametrize("ref", ["failovr", "alerts+failovr", "Failover", "failover.yaml"])
def test_unknown_templates_are_met_with_the_nearest(write_folder: WriteFolder, ref: str) -> None:
    """A template that is not there is answered with the one that was meant."""
    folder = write_folder(failover=FAILOVER, alerts=ALERTS)
    with pytest.raises(TemplateError, match='Did you mean "failover"') as refused:
        folder.get(ref)
    assert "there is no template" in str(refused.value)


def test_an_ending_is_no_part_of_a_name(write_folder: WriteFolder) -> None:
    """A short name with its file's ending is answered with the name."""
    with pytest.raises(TemplateError, match='Did you mean "t1"'):
        write_folder(t1=FAILOVER, alerts=ALERTS).get("t1.yaml")


@pytest.mark.parametrize("ref", ["failover,alerts", "failover; alerts"])
def test_templates_joined_by_another_sign(write_folder: WriteFolder, ref: str) -> None:
    """Templates that are listed as in a sentence are answered with how they are joined."""
    with pytest.raises(TemplateError, match=r"Templates are joined by \+: failover\+alerts\."):
        write_folder(failover=FAILOVER, alerts=ALERTS).get(ref)


@pytest.mark.parametrize("ref", ["failover+", "+failover", "failover + + alerts"])
def test_a_joint_without_a_template(write_folder: WriteFolder, ref: str) -> None:
    """A + that joins nothing is named as that."""
    with pytest.raises(TemplateError, match="joins templates by \\+ and lacks one"):
        write_folder(failover=FAILOVER, alerts=ALERTS).get(ref)


def test_unknown_templates_without_a_near_one(write_folder: WriteFolder) -> None:
    """Where nothing comes near, the templates that there are get listed."""
    with pytest.raises(TemplateError, match=r"There are: alerts, failover\."):
        write_folder(failover=FAILOVER, alerts=ALERTS).get("xyz")


def test_digests_are_those_of_the_files_used(write_folder: WriteFolder, tmp_path: Path) -> None:
    """The digests name just the files that were used, bases included, by their content."""
    folder = write_folder(base=ALERTS, child="extends: base", other=FAILOVER)
    assert folder.digests() == {}
    folder.get("child")
    assert folder.digests() == {
        name: hashlib.sha256((tmp_path / f"{name}.yaml").read_bytes()).hexdigest()
        for name in ("base", "child")
    }


def test_yaml_and_json_say_the_same(write_folder: WriteFolder) -> None:
    """A template means the same in YAML and in JSON."""
    folder = write_folder(
        one="codec_config: {codecs: ['${codecs}'], transcode: true}",
        two__json='{"$schema": "x", "codec_config": {"codecs": ["${codecs}"], "transcode": true}}',
        three__yml="codec_config:\n  transcode: yes\n  codecs: ${codecs}\n",
    )
    filled = [folder.get(name).fill({"codecs": "PCMU|PCMA"}, {}) for name in ("one", "two", "three")]
    assert filled[0] == filled[1] == filled[2]
    assert folder.names() == ("one", "three", "two")


# --- filling ------------------------------------------------------------------------------------


def test_the_design_example(write_folder: WriteFolder) -> None:
    """The design's own example: a base, a required column, a default that becomes a number."""
    folder = write_folder(alerts=ALERTS, failover=f"extends: alerts\n{FAILOVER}")
    template = folder.get("failover")
    assert template.variables == {"backuphost", "backupport"}
    assert template.required == {"backuphost"}
    assert body(template.fill({"backuphost": " b.example.com "}, {}))["failover_config"] == {
        "enabled": True,
        "endpoints": [{"host": "b.example.com", "port": 5061, "transport": "tls", "priority": 1}],
        "triggers": ["unreachable", "timeout"],
        "failback": "auto",
    }


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("yes", {"transcode": True}), ("0", {"transcode": False}), ("FALSE", {"transcode": False})],
)
def test_a_lone_placeholder_takes_the_type(
    write_folder: WriteFolder, cell: str, expected: dict[str, object]
) -> None:
    """A leaf that is one placeholder becomes what the field wants; 0 and false are values."""
    template = write_folder(t="codec_config: {transcode: '${transcode:-true}'}").get("t")
    assert body(template.fill({"transcode": cell}, {})) == {"codec_config": expected}


def test_text_around_stays_text(write_folder: WriteFolder) -> None:
    """A leaf with text around its placeholders is text, filled from several columns; `$$` is a dollar."""
    text = "alert_config: {channels: {webhook: 'https://${host}/${site:-main}?price=$$${n}'}}"
    filled = write_folder(t=text).get("t").fill({"host": "h.example.com", "n": "5"}, {})
    assert body(filled) == {"alert_config": {"channels": {"webhook": "https://h.example.com/main?price=$5"}}}


def test_blank_leaves_out(write_folder: WriteFolder) -> None:
    """`${column:-}` leaves its key out when blank, in a list its element, and what becomes empty by that."""
    template = write_folder(
        t="""
codec_config: {codecs: [PCMU, "${second:-}", PCMA], transcode: "${transcode:-}"}
alert_config: {channels: {webhook: "https://h.example.com/${path:-}"}}
"""
    ).get("t")
    assert body(template.fill({"second": " ", "transcode": ""}, {})) == {
        "codec_config": {"codecs": ["PCMU", "PCMA"]}
    }
    full = body(template.fill({"second": "Opus", "transcode": "no", "path": "x"}, {}))
    assert full == {
        "codec_config": {"codecs": ["PCMU", "Opus", "PCMA"], "transcode": False},
        "alert_config": {"channels": {"webhook": "https://h.example.com/x"}},
    }


def test_a_list_cell_splits_within_a_list_too(write_folder: WriteFolder) -> None:
    """An element that is one placeholder gives as many elements as its cell has."""
    template = write_folder(t="codec_config: {codecs: [PCMU, '${more:-}']}").get("t")
    assert body(template.fill({"more": "PCMA;Opus"}, {})) == {
        "codec_config": {"codecs": ["PCMU", "PCMA", "Opus"]}
    }


def test_missing_values_are_told_apart(write_folder: WriteFolder) -> None:
    """A blank cell, a column that the sheet does not have, and a template's own message are three answers."""
    template = write_folder(
        t="""
failover_config:
  endpoints: [{host: "${backup_host}", port: "${Backup Port}", priority: "${p:?write 1 or 2}"}]
"""
    ).get("t")
    filled = template.fill({"backuphost": "  ", "p": ""}, {})
    assert filled.payload is None
    assert filled.problems == (
        Problem("backup_host", "is blank, and failover_config.endpoints.0.host needs it", "template.blank"),
        Problem(
            "Backup Port",
            "the sheet has no such column, and failover_config.endpoints.0.port needs it",
            "template.no_column",
        ),
        Problem("p", "write 1 or 2", "template.required"),
    )


def test_all_problems_at_once_each_with_its_column(write_folder: WriteFolder) -> None:
    """What a cell says wrong is told of its column, what the template says wrong of the template's line."""
    text = f"{FAILOVER}codec_config:\n  codecs: ['${{codecs}}']\n  transcode: ${{t}}\n  bitrate: 64000\n"
    filled = (
        write_folder(t=text)
        .get("t")
        .fill({"backuphost": "h:5061", "backupport": "70000", "codecs": "PCMU;opus", "t": "perhaps"}, {})
    )
    assert columns(filled.problems) == ["t", "backup_host", "backup_port", "codecs", "template"]
    assert filled.problems[3].message.startswith("codec_config.codecs.1 must be one of")
    assert 'Did you mean "Opus"' in filled.problems[3].message
    assert filled.problems[4].message.startswith("t.yaml:12: codec_config.bitrate is no field")


def test_a_spreadsheets_error_is_no_value(write_folder: WriteFolder) -> None:
    """An error that a CSV shows in a cell is filled in nowhere, neither alone nor into a text."""
    text = """
alert_config:
  channels: {webhook: "https://hooks.example.com/${site}"}
codec_config: {codecs: "${codecs}"}
"""
    filled = write_folder(t=text).get("t").fill({"site": "#NV", "codecs": "#REF!"}, {})
    assert filled.payload is None
    assert [(one.column, one.kind) for one in filled.problems] == [
        ("site", "cell.error"),
        ("codecs", "cell.error"),
    ]
    assert filled.problems[0].message == (
        '"#NV" is a spreadsheet\'s error: mend its formula, or put the value in its place '
        "(alert_config.channels.webhook)"
    )


def test_warnings_come_from_the_schema(write_folder: WriteFolder) -> None:
    """What the schema doubts is a warning of the column that put it there, and the payload stands."""
    filled = write_folder(t=FAILOVER).get("t").fill({"backuphost": "h.example.com", "backupport": "5062"}, {})
    assert filled.payload is not None
    assert [(one.column, one.kind) for one in filled.warnings] == [("backup_port", "payload.not_tls_5061")]


def test_filling_changes_nothing_in_the_template(write_folder: WriteFolder) -> None:
    """Rows share what their template has, and no row's override is seen by the next."""
    template = write_folder(t=ALERTS).get("t")
    before = body(template.fill({}, {}))
    body(
        template.fill(
            {},
            {("alert_config", "thresholds", "response_time_ms"): "1", ("codec_config", "codecs", 0): "G.729"},
        )
    )
    assert body(template.fill({}, {})) == before


# --- the environment ----------------------------------------------------------------------------

SECRET = "s3cr3t-canary"
WITH_ENV = """
allow_env: [HOOK, PORT]
alert_config:
  thresholds: {response_time_ms: "${env:PORT:-500}"}
  channels: {webhook: "${env:HOOK}"}
"""


def test_the_environment_is_read_where_it_is_allowed(write_folder: WriteFolder) -> None:
    """`${env:NAME}` is what the environment has, where the template or a base of it allows the name."""
    folder = write_folder({"HOOK": "https://h.example.com/x", "PORT": "9"}, t=WITH_ENV, child="extends: t")
    assert body(folder.get("child").fill({}, {})) == {
        "alert_config": {
            "thresholds": {"response_time_ms": 9},
            "channels": {"webhook": "https://h.example.com/x"},
        }
    }
    assert folder.get("t").variables == frozenset()


def test_the_environment_is_not_read_elsewhere(write_folder: WriteFolder) -> None:
    """A template that does not allow a name cannot read it, even joined to one that does."""
    folder = write_folder(
        {"HOOK": "x"}, t=WITH_ENV, other="alert_config: {channels: {webhook: '${env:HOOK}'}}"
    )
    with pytest.raises(TemplateError, match=r"add `allow_env: \[HOOK\]`"):
        folder.get("t+other")


@pytest.mark.parametrize(
    "environ",
    [
        {"HOOK": f"ftp://{SECRET}", "PORT": "1"},
        {"HOOK": f"https://h.example.com/{SECRET}", "PORT": SECRET},
        {"HOOK": f"{SECRET} {SECRET}", "PORT": f"{SECRET},5"},
    ],
)
def test_secrets_appear_in_no_problem(write_folder: WriteFolder, environ: dict[str, str]) -> None:
    """What the environment gives is never quoted, neither in a problem nor in what is shown to people."""
    template = write_folder(environ, t=WITH_ENV).get("t")
    filled = template.fill({}, {})
    assert filled.problems
    assert {one.column for one in filled.problems} == {"template"}
    assert SECRET not in f"{filled!r} {template!r} {template.preview({}, {})!r} {template.body()!r}"


def test_an_environment_without_the_name(write_folder: WriteFolder) -> None:
    """A variable that is not set is named, with the line that wants it."""
    filled = write_folder(t=WITH_ENV).get("t").fill({}, {})
    assert [one.message for one in filled.problems] == [
        "t.yaml:5: alert_config.channels.webhook: the environment variable HOOK is not set"
    ]


def test_previews_mask_the_environment(write_folder: WriteFolder) -> None:
    """The filled body that people are shown has *** for what the environment gives."""
    template = write_folder({"HOOK": f"https://{SECRET}", "PORT": "7"}, t=WITH_ENV).get("t")
    assert template.preview({}, {}) == {
        "alert_config": {"thresholds": {"response_time_ms": "***"}, "channels": {"webhook": "***"}}
    }
