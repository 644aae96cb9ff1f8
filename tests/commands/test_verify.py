"""Reading back as operators do it, over HTTP: `verify`, `run --verify`, `run --snapshot`, `plan --online`."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from batch.json_shapes import SCHEMAS
from tests.json_validation import faults
from tests.sending import FIRST_NUMBER, KEY, Desk, Server, serving
from tests.verifying_desk import TRANSCODE, YES, Invoke, change, control, desk, invoke, results, server

__all__ = ["desk", "invoke", "server"]


def verified(desk: Desk) -> Counter[str]:
    return Counter(row["result_verified"] for row in results(desk))


# --- verify -------------------------------------------------------------------------------------


@pytest.mark.parametrize("show", ["side", "options"])
def test_what_the_api_shows_is_verified(desk: Desk, invoke: Invoke, server: Server, show: str) -> None:
    """Wherever it shows it: exit 0, and the report has a column that says so."""
    control(server, show_blocks=show)
    desk.sheet(6)
    assert invoke("run", "numbers.csv", *YES).code == 0
    assert "result_verified" not in results(desk)[0]
    done = invoke("verify")
    assert done.code == 0
    assert "Read back: 6 of 6 requests verified." in done.out
    assert verified(desk) == {"verified": 6}
    assert (
        "6 verified"
        in (desk.workspace.run_folder(desk.workspace.records()[0].id) / "summary.json").read_text()
    )


def test_what_the_api_does_not_show_is_not_readable(desk: Desk, invoke: Invoke, server: Server) -> None:
    """It is never called verified; nothing differs as far as is known, which is exit 0, and said."""
    control(server, show_blocks="none")
    desk.sheet(4)
    invoke("run", "numbers.csv", *YES)
    done = invoke("verify")
    assert done.code == 0
    assert "nothing could be verified" in done.out
    assert "The API does not show codec_config of 4" in done.out
    assert verified(desk) == {"not_readable": 4}


def test_drift_is_exit_3_and_told_with_what_to_do(desk: Desk, invoke: Invoke, server: Server) -> None:
    """What was sent and what is there, the row as an example, and the command that sends it again."""
    desk.sheet(6)
    invoke("run", "numbers.csv", *YES)
    change(server, 2)
    change(server, 3)
    done = invoke("verify")
    assert done.code == 3
    assert "2 requests are not there as sent" in done.out
    assert "2 × codec_config.transcode" in done.out
    assert "numbers.csv:4 outbound: sent true, there is false" in done.out
    assert f"results.csv --base-url {server.url} --where result_verified=drifted" in done.out
    assert verified(desk) == {"verified": 4, "drifted": 2}
    assert results(desk)[2]["result_drift"] == "codec_config.transcode: sent true, there is false"
    again = invoke("run", str(_results_path(desk)), "--where", "result_verified=drifted", *YES, "--verify")
    assert again.code == 0
    assert verified(desk) == {"verified": 2}
    assert invoke("verify", desk.workspace.records()[0].id).code == 0


def _results_path(desk: Desk) -> Path:
    return desk.workspace.run_folder(desk.workspace.records()[-1].id) / "results.csv"


def test_json_has_what_differs(desk: Desk, invoke: Invoke, server: Server) -> None:
    """For scripts: the counts, and every request that needs a look with its drifts."""
    desk.sheet(3)
    invoke("run", "numbers.csv", *YES)
    change(server, 1)
    done = invoke("verify", "--json")
    told = json.loads(done.out)
    assert (done.code, told["exit_code"], told["schema"]) == (3, 3, "sipbatch.verify/1")
    assert (told["verification"]["verified"], told["verification"]["drifted"]) == (2, 1)
    (one,) = told["differing"]
    assert (one["row"], one["phone_number"], one["verified"]) == (3, f"+{FIRST_NUMBER + 1}", "drifted")
    assert one["drifts"] == [{"path": "codec_config.transcode", "sent": "true", "there": "false"}]
    assert one["blocks"] == {"codec_config": "drifted"}


def test_number_that_is_gone_is_missing(desk: Desk, invoke: Invoke, server: Server) -> None:
    """One that was taken off the account."""
    desk.sheet(3)
    invoke("run", "numbers.csv", *YES)
    control(server, numbers=[f"+{FIRST_NUMBER}", f"+{FIRST_NUMBER + 1}"])
    done = invoke("verify")
    assert done.code == 3
    assert "1 × the number or its direction is not there" in done.out
    assert verified(desk) == {"verified": 2, "missing": 1}


def test_key_that_is_refused_is_exit_77(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Nothing is called anything; the same command goes on with the right key."""
    desk.sheet(3)
    invoke("run", "numbers.csv", *YES)
    control(server, key="another")
    done = invoke("verify")
    assert done.code == 77
    assert "3 numbers are left" in done.err
    control(server, key=KEY)
    assert invoke("verify").code == 0


def test_api_that_is_gone_is_exit_75(
    desk: Desk, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told before anything is asked."""
    desk.sheet(3)
    with serving(tmp_path) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        invoke("run", "numbers.csv", *YES)
    done = invoke("verify")
    assert (done.code, done.out) == (75, "")
    assert "cannot be reached" in done.err


def test_run_that_sent_nothing_has_nothing_to_verify(desk: Desk, invoke: Invoke, server: Server) -> None:
    """It is said, and is no fault."""
    desk.sheet(2)
    control(server, numbers=[])
    assert invoke("run", "numbers.csv", *YES).code == 3
    done = invoke("verify", desk.workspace.records()[0].id)
    assert done.code == 0
    assert "nothing was sent that could be read back" in done.err


def test_quiet_says_only_what_was_found(desk: Desk, invoke: Invoke, server: Server) -> None:
    """What was found is data; talk is left out."""
    desk.sheet(2)
    invoke("run", "numbers.csv", *YES)
    done = invoke("verify", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert "2 of 2 requests verified" in done.out


def test_rate_that_the_api_refuses_is_waited_for(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Reads that are told to wait are read again, and none is lost."""
    desk.sheet(12)
    invoke("run", "numbers.csv", *YES)
    control(server, limit="20/s", latency="5ms")
    assert invoke("verify", "--rate", "500/s").code == 0
    assert verified(desk) == {"verified": 12}


def test_what_opens_a_webhook_is_in_no_report(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Neither the one that was sent nor the one that is there."""
    desk.sheet(2)
    template = "direction: outbound\nalert_config:\n  enabled: true\n  channels: {webhook: https://hooks.example.com/T0P5ECRET}\n"
    (desk.folder / "templates" / "codecs.yaml").write_text(template, encoding="utf-8")
    invoke("run", "numbers.csv", *YES)
    other = {
        "alert_config": {"enabled": True, "channels": {"webhook": "https://hooks.example.com/0TH3RSECRET"}}
    }
    change(server, 0, other)
    done = invoke("verify", "--json")
    assert verified(desk) == {"verified": 1, "drifted": 1}
    told = done.out + done.err
    assert "alert_config.channels.webhook" in told
    for secret in ("T0P5ECRET", "0TH3RSECRET"):
        assert secret not in told
    assert not desk.files_with("0TH3RSECRET")
    assert {path.name for path in desk.files_with("T0P5ECRET")} <= {
        "codecs.yaml",
        "journal.db",
        "journal.db-wal",
    }


# --- along with a run ---------------------------------------------------------------------------


def test_run_with_verify_against_the_embedded_sandbox(desk: Desk, invoke: Invoke) -> None:
    """Try it out with nothing at stake: it is read back before the sandbox is gone."""
    desk.sheet(5)
    done = invoke("run", "numbers.csv", "--sandbox", "--sandbox-show-blocks", "options", "--verify", *YES)
    assert done.code == 0
    assert "5 verified" in done.err
    assert verified(desk) == {"verified": 5}


def test_embedded_sandbox_is_gone_afterwards(desk: Desk, invoke: Invoke) -> None:
    """To read it back later, it must have been told to remember."""
    desk.sheet(2)
    invoke("run", "numbers.csv", "--sandbox", *YES)
    done = invoke("verify")
    assert done.code == 2
    assert "--sandbox-record" in done.err
    record = ("--sandbox", "--sandbox-record", "seen.jsonl", "--sandbox-show-blocks", "side")
    invoke("run", "numbers.csv", *record, *YES)
    assert invoke("verify").code == 0


def test_accepted_and_not_there_is_exit_3(desk: Desk, invoke: Invoke, server: Server) -> None:
    """The API said yes and did nothing: the request succeeded, and only reading back finds it out."""
    desk.sheet(3)
    control(server, script={f"+{FIRST_NUMBER + 1} outbound": ["ok+unapplied"]})
    done = invoke("run", "numbers.csv", *YES, "--verify", "--json")
    summary = json.loads(done.out)
    assert (done.code, summary["run"]["exit_code"], summary["counts"]["succeeded"]) == (3, 3, 3)
    assert verified(desk) == {"verified": 2, "missing": 1}


def test_drift_that_came_later_is_in_the_summary(desk: Desk, invoke: Invoke, server: Server) -> None:
    """`summary.json` says what was found last."""
    desk.sheet(3)
    assert invoke("run", "numbers.csv", *YES, "--verify").code == 0
    change(server, 1, {"codec_config": {"codecs": ["Opus"], "transcode": True}})
    assert invoke("verify").code == 3
    summary = json.loads((_results_path(desk).parent / "summary.json").read_text())
    assert summary["run"]["exit_code"] == 3
    assert summary["verification"]["drifts"][0]["path"] == "codec_config.codecs"


def test_resume_verifies_what_was_to_be_verified(desk: Desk, invoke: Invoke, server: Server) -> None:
    """`--verify` belongs to the run: whoever goes on with it need not say it again."""
    desk.sheet(4)
    control(server, expire_key_after=2)
    assert invoke("run", "numbers.csv", *YES, "--verify").code == 77
    control(server, expire_key_after=None)
    assert invoke("resume").code == 0
    assert verified(desk) == {"verified": 4}


def test_snapshot_is_in_the_journal(desk: Desk, invoke: Invoke, server: Server) -> None:
    """What the API showed before, also of what no run of this workspace had sent."""
    desk.sheet(3)
    change(server, 0)
    done = invoke("run", "numbers.csv", *YES, "--snapshot")
    assert done.code == 0
    assert "it is known what was there before for 1 of 3 requests" in done.err
    with closing(desk.workspace.reader()) as journal:
        taken = list(journal.snapshots(desk.workspace.records()[0].id))
    assert [(one.seq, one.is_there) for one in taken] == [(0, True), (1, False), (2, False)]
    assert taken[0].payload is not None
    assert json.loads(taken[0].payload.body) == TRANSCODE


# --- plan --online ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["directions", "direction"])
def test_plan_online_tells_what_is_not_attached(
    desk: Desk, invoke: Invoke, server: Server, form: str
) -> None:
    """By both shapes of the list; it is a warning, and the plan is as good as without."""
    desk.sheet(3)
    numbers = {
        f"+{FIRST_NUMBER}": ["outbound"],
        f"+{FIRST_NUMBER + 1}": ["inbound"],
        "+442079460018": ["inbound"],
    }
    control(server, numbers=numbers, numbers_form=form)
    done = invoke("plan", "numbers.csv", "--online")
    assert done.code == 0
    assert (
        "1 of the 3 numbers to be configured is not attached to the account: "
        f"numbers.csv:4 +{FIRST_NUMBER + 2}" in done.out
    )
    assert f"numbers.csv:3 +{FIRST_NUMBER + 1} outbound" in done.out
    assert "1 attached number is in no sheet: +442079460018" in done.out
    printed = json.loads(invoke("plan", "numbers.csv", "--online", "--json").out)
    assert faults(printed, SCHEMAS["plan"]()) == []
    told = printed["online"]
    assert [one["row"] for one in told["not_attached"]] == [4]
    assert server.seen("received") == {}


def test_plan_online_with_a_refused_key_is_exit_77(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Before a single change."""
    desk.sheet(3)
    control(server, key="another")
    done = invoke("plan", "numbers.csv", "--online")
    assert (done.code, done.out) == (77, "")
    assert "refused the credentials" in done.err
    assert server.seen("received") == {}


def test_plan_online_without_a_key_or_an_api(
    desk: Desk, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """77 without a key, 75 with nobody there, 2 with the embedded sandbox, which has no numbers."""
    desk.sheet(1)
    nobody = ("plan", "numbers.csv", "--online", "--base-url", "http://127.0.0.1:9")
    assert invoke(*nobody).code == 77
    monkeypatch.setenv("BLAND_API_KEY", KEY)
    assert invoke(*nobody).code == 75
    assert invoke("plan", "numbers.csv", "--online", "--sandbox").code == 2


def test_plan_online_says_how_to_run_it(desk: Desk, invoke: Invoke, server: Server) -> None:
    """The command that runs the plan has no `--online`."""
    desk.sheet(2)
    done = invoke("plan", "numbers.csv", "--online")
    (command,) = [line for line in done.out.splitlines() if "--plan-digest" in line]
    assert "--online" not in command


# --- waves --------------------------------------------------------------------------------------


def test_waves_are_read_back_one_by_one(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Between the waves, beside the journal's other work; at the end all is verified, once."""
    desk.sheet(60)
    done = invoke("run", "numbers.csv", *YES, "--canary", "5", "--waves", "30%,100%", "--verify")
    assert done.code == 0
    assert verified(desk) == {"verified": 60}
    with closing(desk.workspace.reader()) as journal:
        kinds = Counter(event.kind for event in journal.events(desk.workspace.records()[0].id))
    assert (kinds["canary_passed"], kinds["verify_began"], kinds["verify_ended"]) == (1, 1, 1)


def test_canary_that_is_not_there_stops_the_run(desk: Desk, invoke: Invoke, server: Server) -> None:
    """The API accepts it and does nothing: exit 4 after the canary, and the others are pending."""
    desk.sheet(30)
    control(server, script={f"+{FIRST_NUMBER + nth} outbound": ["ok+unapplied"] for nth in range(30)})
    done = invoke("run", "numbers.csv", *YES, "--canary", "3", "--verify")
    assert done.code == 4
    assert "of 3 requests that were read back, 3 not there" in done.err
    assert sum(server.seen("received").values()) == 3
    assert verified(desk) == {"missing": 3, "": 27}
