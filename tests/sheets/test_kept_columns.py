"""What is kept of a sheet for its report: its own cells, without what opens a webhook."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import orjson

from batch.bland.payloads import SCHEMA
from batch.plan_text import request_body, write_rejects
from batch.planning import PlanOptions, make_plan
from batch.plans import Plan
from batch.sheets.opening import SheetOptions, open_sheets
from batch.templates.folder import TemplateFolder

HOOK = "https://hooks.example.com/services/T0AB/s3cret"
SHOWN = "https://hooks.example.com/services/***/***"
TEMPLATE = """\
direction: outbound
allow_env: [OPS_HOOK]
alert_config:
  enabled: true
  channels: {email: true, sms: false, webhook: "%s"}
"""


def plan_of(
    folder: Path,
    webhook: str,
    header: str,
    row: str,
    *,
    environ: dict[str, str] | None = None,
    options: PlanOptions | None = None,
) -> Plan:
    """A sheet of one row."""
    (folder / "alerts.yaml").write_text(TEMPLATE % webhook, encoding="utf-8")
    sheet = folder / "numbers.csv"
    sheet.write_text(f"phone_number,template,{header}\n+14155550100,alerts,{row}\n", encoding="utf-8")
    templates = TemplateFolder(folder, SCHEMA, environ=environ or {})
    return make_plan(open_sheets([sheet], SheetOptions(), blocks=SCHEMA.blocks), templates, options)


def cells(plan: Plan) -> list[str]:
    """The cells that are kept of the one row."""
    (chunk,) = plan.cells
    return [column[0] for column in chunk.unpack()[1]]


def webhook_shown(plan: Plan) -> object:
    body = orjson.loads(orjson.dumps(request_body(plan, 0)))
    return body["alert_config"]["channels"]["webhook"]


def webhook_sent(plan: Plan) -> object:
    return orjson.loads(plan.payloads[0].body)["alert_config"]["channels"]["webhook"]


def test_webhook_of_a_variable_is_masked(tmp_path: Path) -> None:
    """In what the journal keeps for the report, and in the plan; what is sent is whole."""
    plan = plan_of(tmp_path, "${hook}", "hook,ticket", f"{HOOK},https://tickets.example.com/OPS-1")
    assert not plan.rejects
    assert HOOK not in cells(plan)
    assert SHOWN in cells(plan)
    assert webhook_shown(plan) == SHOWN
    assert webhook_sent(plan) == HOOK


def test_url_that_goes_nowhere_is_kept(tmp_path: Path) -> None:
    """A column that no template uses is the operator's own, as it is."""
    plan = plan_of(tmp_path, "${hook}", "hook,ticket", f"{HOOK},https://tickets.example.com/OPS-1")
    assert "https://tickets.example.com/OPS-1" in cells(plan)


def test_webhook_of_an_override_is_masked(tmp_path: Path) -> None:
    """The same for a column that overrides the template."""
    plan = plan_of(tmp_path, "https://h.example.com/a", "alert_config.channels.webhook", HOOK)
    assert SHOWN in cells(plan)
    assert webhook_sent(plan) == HOOK


def test_masked_webhook_is_not_sent(tmp_path: Path) -> None:
    """A report that is fed back has the mask where the secret was: that row is rejected, with what to do."""
    plan = plan_of(tmp_path, "${hook}", "hook", SHOWN)
    assert len(plan.payloads) == 0
    (problem,) = plan.rejects[0].problems
    assert problem.kind == "payload.masked_webhook"
    assert "put the real one there" in problem.message


def test_webhook_of_the_environment_is_shown_by_its_name(tmp_path: Path) -> None:
    """The plan says where the value comes from, and is what the journal needs to seal it."""
    plan = plan_of(tmp_path, "${env:OPS_HOOK}", "x", "", environ={"OPS_HOOK": HOOK, "OTHER": "x"})
    assert webhook_shown(plan) == "${env:OPS_HOOK}"
    assert webhook_sent(plan) == HOOK
    assert dict(plan.environment) == {"OPS_HOOK": HOOK}
    assert "s3cret" not in repr(plan)


def test_rejects_to_mend_have_what_the_sheet_had(tmp_path: Path) -> None:
    """Rows that are given back to be mended are whole, in a file that nobody else can read."""
    row = f"{HOOK}\n+1415,alerts,{HOOK}"
    plan = plan_of(tmp_path, "${hook}", "hook", row, options=PlanOptions(keep_secrets=True))
    before = os.umask(0)
    try:
        write_rejects(plan, tmp_path / "mend.csv")
    finally:
        os.umask(before)
    assert f"+1415,alerts,{HOOK}," in (tmp_path / "mend.csv").read_text(encoding="utf-8")
    assert stat.S_IMODE((tmp_path / "mend.csv").stat().st_mode) == 0o600
