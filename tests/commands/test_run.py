"""The sending commands as operators use them: exit codes, who is told what, and what is left behind."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batch.errors import JournalError, UsageError
from tests.sending import KEY, SIPBATCH, Desk, Done, Server, clean_environ, finished, main, serving

SANDBOX = ("--sandbox", "--yes", "--rate", "1000/s")

Invoke = Callable[..., Done]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a template in it."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(folder)


@pytest.fixture
def invoke(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command in this process, in the desk's folder, without a terminal."""
    monkeypatch.chdir(desk.folder)
    for name in ("BLAND_API_KEY", "BLAND_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def invoke_here(*arguments: str) -> Done:
        code = main(*arguments)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return invoke_here


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A sandbox of its own that takes one key and is slow enough to be interrupted."""
    with serving(tmp_path, latency="30ms") as running:
        yield running


def results(desk: Desk) -> list[dict[str, str]]:
    """The newest run's `results.csv`."""
    run = desk.workspace.records()[-1].id
    with (desk.workspace.run_folder(run) / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def states(desk: Desk) -> set[str]:
    return {row["result_state"] for row in results(desk)}


# --- the main job -----------------------------------------------------------------------------------


def test_sheet_is_sent_and_reported(desk: Desk, invoke: Invoke) -> None:
    """A sheet goes in, the sandbox is configured, a report comes out; talk is on stderr alone."""
    desk.sheet(6)
    done = invoke("run", "numbers.csv", *SANDBOX)
    assert (done.code, done.out) == (0, "")
    assert "numbers.csv: 6 rows, 6 requests" in done.err
    assert "6 numbers sent" in done.err
    run = desk.workspace.records()[0].id
    assert f"sipbatch-runs/{run}/results.csv" in done.err
    assert [row["result_state"] for row in results(desk)] == ["succeeded"] * 6


def test_json_is_alone_on_stdout(desk: Desk, invoke: Invoke) -> None:
    """`--json` gives scripts the summary, whatever is said on stderr."""
    desk.sheet(3)
    done = invoke("run", "numbers.csv", *SANDBOX, "--json")
    summary = json.loads(done.out)
    assert summary["counts"]["succeeded"] == 3
    assert summary["run"]["exit_code"] == 0


def test_quiet_says_nothing_when_all_is_well(desk: Desk, invoke: Invoke) -> None:
    """Cron sends no mail for a run that went well."""
    desk.sheet(3)
    assert invoke("run", "numbers.csv", *SANDBOX, "--quiet") == Done(0, "", "")


def test_quiet_says_what_went_wrong(desk: Desk, invoke: Invoke) -> None:
    """Cron sends a mail for one that did not."""
    desk.sheet(3)
    done = invoke("run", "numbers.csv", *SANDBOX, "--quiet", "--sandbox-fault", "400=1.0")
    assert (done.code, done.out) == (3, "")
    assert "3 refused" in done.err


def test_log_format_json_is_an_event_a_line(desk: Desk, invoke: Invoke) -> None:
    """Every line on stderr is an object with an event and a time."""
    desk.sheet(3)
    done = invoke("run", "numbers.csv", *SANDBOX, "--log-format", "json")
    events = [json.loads(line) for line in done.err.splitlines()]
    assert {"plan", "run", "progress", "finished"} <= {event["event"] for event in events}
    assert all(event["at"].endswith("Z") for event in events)
    assert events[-1]["exit_code"] == 0


def test_report_is_there_to_look_at_unasked(desk: Desk) -> None:
    """A run leaves the page and the workbook, and says where they are; no option is needed."""
    desk.sheet(3)
    done = desk.run("run", "numbers.csv", *SANDBOX, SIPBATCH_REPORT="")
    (folder,) = [path for path in desk.workspace.path.iterdir() if path.is_dir()]
    assert {path.name for path in folder.iterdir()} == {
        "results.csv",
        "results.jsonl",
        "results.xlsx",
        "report.html",
        "summary.json",
        "manifest.json",
    }
    page = f"sipbatch-runs/{folder.name}/report.html"
    assert f"To look at and hand on: {page}, and results.xlsx beside it.\n" in done.err
    assert desk.run("report", "--check").code == 0


def test_report_of_some_formats(desk: Desk, invoke: Invoke) -> None:
    """`--report` says what the report has, as does `report` in the settings file."""
    desk.sheet(1)
    (desk.folder / "sipbatch.toml").write_text('report = ["html"]\n', encoding="utf-8")
    by_file = invoke("run", "numbers.csv", *SANDBOX)
    by_option = invoke("run", "numbers.csv", *SANDBOX, "--report", "csv")
    assert (by_file.code, by_option.code) == (0, 0)
    names = [
        sorted(path.name for path in folder.iterdir())
        for folder in sorted(desk.workspace.path.iterdir())
        if folder.is_dir()
    ]
    assert names == [
        ["manifest.json", "report.html", "results.csv", "summary.json"],
        ["manifest.json", "results.csv", "summary.json"],
    ]


def test_error_is_an_event_too(desk: Desk, invoke: Invoke) -> None:
    """What ends a command is told in the form that was asked for."""
    done = invoke("run", "absent.csv", *SANDBOX, "--log-format", "json")
    (event,) = [json.loads(line) for line in done.err.splitlines()]
    assert (done.code, event["event"]) == (65, "error")
    assert "absent.csv" in event["text"]


def test_standard_input_is_a_sheet(desk: Desk) -> None:
    """`-` reads a sheet from a pipe."""
    text = desk.sheet(2).read_text(encoding="utf-8")
    done = subprocess.run(
        [*SIPBATCH, "run", "-", *SANDBOX],
        cwd=desk.folder,
        env=clean_environ(),
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert states(desk) == {"succeeded"}


def test_settings_file_is_in_force(desk: Desk, invoke: Invoke) -> None:
    """A workspace named in `sipbatch.toml` is used by `run`, and found by `runs`."""
    desk.sheet(1)
    (desk.folder / "sipbatch.toml").write_text('workspace = "elsewhere"\n', encoding="utf-8")
    assert invoke("run", "numbers.csv", *SANDBOX).code == 0
    assert (desk.folder / "elsewhere" / "journal.db").exists()
    assert not (desk.folder / "sipbatch-runs").exists()
    assert "completed" in invoke("runs").out


# --- nothing is sent --------------------------------------------------------------------------------


def test_rejects_stop_the_run_before_anything_is_sent(desk: Desk, invoke: Invoke) -> None:
    """All problems are listed at once by row and column; nothing is sent and nothing is made."""
    desk.sheet(2, extra=["12,codecs", "+14155550199,codec"])
    record = desk.folder / "record.jsonl"
    done = invoke("run", "numbers.csv", *SANDBOX, "--sandbox-record", str(record))
    assert (done.code, done.out) == (65, "")
    assert "numbers.csv:4 phone_number: " in done.err
    assert "numbers.csv:5 template: " in done.err
    assert "2 rows were rejected, so nothing was sent." in done.err
    assert "--skip-rejects" in done.err
    assert not record.exists()
    assert not desk.workspace.path.exists()


def test_skipped_rejects_are_exit_3_and_in_the_report(desk: Desk, invoke: Invoke) -> None:
    """The others are sent; that some were not is neither hidden nor a success."""
    desk.sheet(2, extra=["12,codecs"])
    done = invoke("run", "numbers.csv", *SANDBOX, "--skip-rejects")
    assert done.code == 3
    assert [row["result_state"] for row in results(desk)] == ["succeeded", "succeeded", "rejected"]


def test_command_for_the_rest_goes_where_the_run_went(
    desk: Desk, invoke: Invoke, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pasted as it is, it reads the rows as the run did, and sends to the same API: never to the live one."""
    desk.sheet(2, extra=["415-555,codecs"])
    monkeypatch.setenv("BLAND_API_KEY", KEY)
    monkeypatch.setenv("BLAND_BASE_URL", server.url)
    done = invoke("run", "numbers.csv", "--yes", "--rate", "1000/s", "--region", "US", "--skip-rejects")
    command = next(line.strip() for line in done.err.splitlines() if "result_state=rejected" in line)
    monkeypatch.delenv("BLAND_BASE_URL")
    words = shlex.split(command)
    assert words[words.index("--base-url") + 1] == server.url
    assert words[words.index("--region") + 1] == "US"
    report = desk.folder / words[2]
    report.write_text(report.read_text().replace("415-555", "(415) 555-0177"))
    done = invoke(*words[1:], "--yes", "--rate", "1000/s")
    assert (done.code, [row["phone_number"] for row in results(desk)]) == (0, ["+14155550177"]), done.err


def test_without_a_terminal_yes_is_required(desk: Desk) -> None:
    """A cron job that forgot `--yes` is told so, and nothing is sent."""
    desk.sheet(1)
    done = desk.run("run", "numbers.csv", "--sandbox")
    assert (done.code, done.out) == (2, "")
    assert "--yes" in done.err
    assert not desk.workspace.path.exists()


def test_missing_key_is_77_before_anything(desk: Desk, invoke: Invoke) -> None:
    """Without a key nothing is read, made or sent, and the message says where a key may stand."""
    desk.sheet(1)
    done = invoke("run", "numbers.csv", "--yes")
    assert (done.code, done.out) == (77, "")
    assert "BLAND_API_KEY" in done.err
    assert not desk.workspace.path.exists()


def test_nobody_at_the_address_is_75(desk: Desk) -> None:
    """A wrong address is told before a run is begun."""
    desk.sheet(1)
    done = desk.run("run", "numbers.csv", "--yes", "--base-url", "http://127.0.0.1:9", BLAND_API_KEY=KEY)
    assert done.code == 75
    assert "Nothing was sent." in done.err
    assert not desk.workspace.path.exists()


def test_reviewed_plan_is_the_only_one_that_runs(desk: Desk, invoke: Invoke) -> None:
    """`--plan-digest` runs what was reviewed, and stops what is not that."""
    desk.sheet(2)
    digest = json.loads(invoke("plan", "numbers.csv", "--sandbox", "--json").out)["digest"]
    desk.sheet(3)
    done = invoke("run", "numbers.csv", *SANDBOX, "--plan-digest", digest)
    assert done.code == 65
    assert "not the plan that was reviewed" in done.err
    desk.sheet(2)
    assert invoke("run", "numbers.csv", *SANDBOX, "--plan-digest", digest).code == 0


def test_journal_that_is_none_is_74(desk: Desk, invoke: Invoke) -> None:
    """Before the first send."""
    desk.sheet(1)
    (desk.folder / "sipbatch-runs").mkdir()
    (desk.folder / "sipbatch-runs" / "journal.db").write_bytes(b"this is no journal " * 100)
    record = desk.folder / "record.jsonl"
    done = invoke("run", "numbers.csv", *SANDBOX, "--sandbox-record", str(record))
    assert done.code == 74
    assert "journal.db" in done.err
    assert not record.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sandbox-limit", "5/s"], "--sandbox-limit has a meaning only with --sandbox"),
        (["--sandbox", "--base-url", "http://127.0.0.1:1"], "two different places"),
        (["--sandbox", "--sandbox-fault", "503"], "--sandbox-fault"),
        (["--sandbox", "--sandbox-latency", "soon"], "latency"),
        (["--sandbox", "--rate", "fast"], "rate"),
        (["--sandbox", "--max-failures", "some"], "--max-failures"),
    ],
)
def test_options_that_make_no_sense_are_told_first(
    desk: Desk, invoke: Invoke, options: list[str], message: str
) -> None:
    """Before a sheet is read."""
    done = invoke("run", "absent.csv", "--yes", *options)
    assert done.code == 2
    assert message in done.err


# --- the question -----------------------------------------------------------------------------------


def ask(desk: Desk, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal and answer its question; exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SIPBATCH, *arguments],
        cwd=desk.folder,
        env=clean_environ(),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return process.wait(timeout=60), shown.decode()


def test_question_says_how_much_goes_where(desk: Desk) -> None:
    """It asks before the first send, with count, address, rate and time; yes sends, under a bar."""
    desk.sheet(4)
    code, shown = ask(desk, "y\n", "run", "numbers.csv", "--sandbox", "--rate", "100/s")
    assert code == 0
    assert "Send 4 requests to the embedded sandbox" in shown
    assert "at 100/s, which takes about 1 s? [y/N]" in shown
    assert "100%|" in shown, shown
    assert states(desk) == {"succeeded"}


def test_no_sends_nothing(desk: Desk) -> None:
    """Anything but yes ends the command, with nothing begun."""
    desk.sheet(4)
    code, shown = ask(desk, "n\n", "run", "numbers.csv", "--sandbox")
    assert code == 130
    assert "nothing was sent" in shown.lower()
    assert not desk.workspace.path.exists()


# --- stopping and going on --------------------------------------------------------------------------


def wait_for_results(desk: Desk, process: subprocess.Popen[str], count: int) -> None:
    """Until so many results of the newest run are on disk."""
    while process.poll() is None:
        with contextlib.suppress(UsageError, JournalError, IndexError):  # not made yet
            journal = desk.workspace.reader()
            with contextlib.closing(journal):
                if journal.counts(journal.runs()[-1].id).succeeded >= count:
                    return
    raise AssertionError(f"the run ended before it had {count} results: {process.communicate()}")


def begin(desk: Desk, server: Server, rows: int) -> subprocess.Popen[str]:
    """A run of four requests at a time, that is begun and goes on."""
    desk.sheet(rows)
    return desk.start(
        "run", "numbers.csv", "--yes", "--concurrency", "4", "--rate", "1000/s", **server.environ
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_drains_and_resume_finishes(
    desk: Desk, server: Server, number: signal.Signals, code: int
) -> None:
    """What is in flight is finished and reported, nothing is sent twice, and `resume` does the rest."""
    process = begin(desk, server, 160)
    wait_for_results(desk, process, 20)
    process.send_signal(number)
    done = finished(process)
    assert done.code == code
    assert "sipbatch resume" in done.err
    stopped = [row["result_state"] for row in results(desk)]
    assert len(stopped) == 160
    assert set(stopped) == {"succeeded", "pending"}
    resumed = desk.run("resume", **server.environ)
    assert resumed.code == 0
    assert states(desk) == {"succeeded"}
    assert set(server.seen("received").values()) == {1}
    assert len(server.seen("applied")) == 160


def test_second_signal_ends_it_at_once(desk: Desk, tmp_path: Path) -> None:
    """A server that hangs holds nobody: what was in flight is in doubt, and is sent again."""
    with serving(tmp_path, faults={"hang": 1.0}, fault_after=20) as server:
        process = begin(desk, server, 60)
        wait_for_results(desk, process, 20)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("stopping" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert finished(process, timeout_s=20).code == 130
    by_state = Counter(row["result_state"] for row in results(desk))
    assert by_state["succeeded"] == 20
    assert 1 <= by_state["retrying"] <= 4


@pytest.mark.parametrize("after", [1, 60])
def test_killed_run_is_resumed_without_loss(desk: Desk, server: Server, after: int) -> None:
    """After SIGKILL `resume` finishes: all applied, and at most twice the concurrency sent twice."""
    process = begin(desk, server, 120)
    wait_for_results(desk, process, after)
    process.kill()
    process.communicate()
    status = json.loads(desk.run("status", "--json").out)
    assert (status["state"], status["is_going"]) == ("running", False)
    resumed = desk.run("resume", "--rate", "1000/s", **server.environ)
    assert resumed.code == 0
    applied = server.seen("applied")
    assert len(applied) == 120
    assert sum(applied.values()) - 120 <= 2 * 4
    assert states(desk) == {"succeeded"}


def test_second_run_is_refused_while_one_goes(desk: Desk, server: Server) -> None:
    """The second ends with 75 and names the first; `status` and `runs` work meanwhile."""
    process = begin(desk, server, 400)
    wait_for_results(desk, process, 5)
    second = desk.run("run", "numbers.csv", *SANDBOX)
    assert second.code == 75
    assert f"process {process.pid}" in second.err
    status = json.loads(desk.run("status", "--json").out)
    assert status["is_going"]
    assert status["holder"]["pid"] == process.pid
    assert status["counts"]["requests"] == 400
    assert status["rate_per_s"] > 0
    assert "running" in desk.run("runs").out
    assert desk.run("report", "--quiet").code == 0
    process.send_signal(signal.SIGINT)
    finished(process)


def test_wrong_key_stops_at_once_and_the_run_goes_on_with_the_right_one(desk: Desk, server: Server) -> None:
    """At most `concurrency` requests are lost to a wrong key; with the key mended, `resume` finishes."""
    desk.sheet(50)
    wrong = {**server.environ, "BLAND_API_KEY": "sk-wrong-4711"}
    done = desk.run("run", "numbers.csv", "--yes", "--rate", "1000/s", "--concurrency", "4", **wrong)
    assert done.code == 77
    assert "sipbatch resume" in done.err
    assert sum(server.seen("received").values()) <= 4
    assert states(desk) == {"pending"}
    assert desk.run("resume", **server.environ).code == 0
    assert len(server.seen("applied")) == 50


def test_too_many_failures_halt_the_run(desk: Desk, invoke: Invoke) -> None:
    """Exit 4, with what was counted and the way on."""
    desk.sheet(60)
    failing = ("--concurrency", "1", "--max-failures", "3", "--sandbox-fault", "400=1.0")
    done = invoke("run", "numbers.csv", *SANDBOX, *failing)
    assert done.code == 4
    assert "--max-failures allows 3" in done.err
    assert "sipbatch resume" in done.err
    assert "pending" in states(desk)


def test_canary_that_fails_halts_the_run(desk: Desk, invoke: Invoke) -> None:
    """Only the canary was sent."""
    desk.sheet(60)
    done = invoke("run", "numbers.csv", *SANDBOX, "--canary", "5", "--sandbox-fault", "400=1.0")
    assert done.code == 4
    assert sum(row["result_state"] == "failed" for row in results(desk)) == 5


def test_resume_says_what_differs_and_sends_what_was_pinned(desk: Desk, invoke: Invoke) -> None:
    """A sheet and a template edited in between change nothing in the run, and that is said."""
    desk.sheet(30)
    halted = invoke("run", "numbers.csv", *SANDBOX, "--canary", "2", "--sandbox-fault", "400=1.0")
    assert halted.code == 4
    before = {row["result_payload_sha256"] for row in results(desk)}
    desk.sheet(10)
    template = desk.folder / "templates" / "codecs.yaml"
    template.write_text(template.read_text().replace("PCMA", "Opus"), encoding="utf-8")
    resumed = invoke("resume")
    assert "numbers.csv was changed since" in resumed.err
    assert "template codecs was changed since" in resumed.err
    assert "remembers nothing" in resumed.err
    assert len(results(desk)) == 30
    assert {row["result_payload_sha256"] for row in results(desk)} == before


@pytest.mark.parametrize(("typed", "rate"), [((), "77/s"), (("--rate", "88/s"), "88/s")])
def test_resume_keeps_the_options_unless_others_are_typed(
    desk: Desk, invoke: Invoke, typed: tuple[str, ...], rate: str
) -> None:
    """A run goes on at its own rate, whatever the settings say by now; `--rate` changes it."""
    desk.sheet(10)
    invoke("run", "numbers.csv", *SANDBOX, "--rate", "77/s", "--canary", "1", "--sandbox-fault", "400=1.0")
    (desk.folder / "sipbatch.toml").write_text('rate = "66/s"\n', encoding="utf-8")
    assert f" at {rate}." in invoke("resume", *typed).err


def test_nothing_to_resume_is_said(desk: Desk, invoke: Invoke) -> None:
    """With no run at all, and with none that is unfinished."""
    assert "there are no runs here" in invoke("resume").err
    desk.sheet(1)
    invoke("run", "numbers.csv", *SANDBOX)
    done = invoke("resume")
    assert done.code == 2
    assert "There is no run that can be resumed." in done.err
    named = invoke("resume", desk.workspace.records()[0].id)
    assert named.code == 2
    assert "nothing is left to send" in named.err


# --- afterwards -------------------------------------------------------------------------------------


def test_retry_sends_again_what_failed(desk: Desk, tmp_path: Path) -> None:
    """Only what failed is sent again, as a run of its own that tells of its rows."""
    desk.sheet(10)
    with serving(tmp_path, faults={"400": 1.0}, fault_first=3) as server:
        first = desk.run("run", "numbers.csv", "--yes", "--rate", "1000/s", **server.environ)
        assert first.code == 3
        failed = [row["phone_number"] for row in results(desk) if row["result_state"] == "failed"]
        assert len(failed) == 3
        again = desk.run("retry", "--yes", **server.environ)
        assert again.code == 0
        assert [row["phone_number"] for row in results(desk)] == failed
        assert set(server.seen("applied").values()) == {1}
        assert len(server.seen("applied")) == 10


def test_retry_of_an_error_code_that_is_not_there_names_those_that_are(desk: Desk, invoke: Invoke) -> None:
    """A misspelt code sends nothing and is no success."""
    desk.sheet(3)
    invoke("run", "numbers.csv", *SANDBOX, "--sandbox-fault", "400=1.0")
    done = invoke("retry", "--yes", "--error-code", "NOT_FOUND")
    assert done.code == 2
    assert 'with error code "NOT_FOUND". There are: error codes ' in done.err
    assert len(desk.workspace.records()) == 1


def test_nothing_to_retry_is_well(desk: Desk, invoke: Invoke) -> None:
    """A run without failures needs no retry."""
    desk.sheet(1)
    invoke("run", "numbers.csv", *SANDBOX)
    done = invoke("retry", desk.workspace.records()[0].id, "--yes")
    assert done.code == 0
    assert "nothing to retry" in done.err


def test_report_is_a_sheet(desk: Desk, invoke: Invoke) -> None:
    """`run results.csv --where result_state=failed` sends just what failed."""
    desk.sheet(5)
    fault = ("--sandbox-fault", "400=1.0")
    invoke("run", "numbers.csv", *SANDBOX, *fault, "--canary", "2")
    run = desk.workspace.records()[0].id
    report = f"sipbatch-runs/{run}/results.csv"
    done = invoke("run", report, *SANDBOX, "--where", "result_state=failed")
    assert done.code == 0
    assert len(results(desk)) == 2


def test_status_tells_where_a_run_stands(desk: Desk, invoke: Invoke) -> None:
    """For people, and with stable fields for scripts."""
    desk.sheet(5)
    invoke("run", "numbers.csv", *SANDBOX)
    run = desk.workspace.records()[0].id
    text = invoke("status").out
    assert f"Run {run}: completed" in text
    assert "5 of 5 requests done" in text
    assert "results.csv" in text
    told = json.loads(invoke("status", run[:-1], "--json").out)
    assert (told["run"], told["state"], told["counts"]["succeeded"]) == (run, "completed", 5)
    assert told["holder"] is None


def test_runs_are_listed_newest_first(desk: Desk, invoke: Invoke) -> None:
    """One line a run, under a header; JSON has the same fields as `status`."""
    desk.sheet(2)
    for _ in range(2):
        invoke("run", "numbers.csv", *SANDBOX)
    ids = [record.id for record in desk.workspace.records()]
    header, *lines = invoke("runs").out.splitlines()
    assert header.split()[:3] == ["run", "state", "requests"]
    assert [line.split()[0] for line in lines] == ids[::-1]
    assert [one["run"] for one in json.loads(invoke("runs", "--json", "--limit", "1").out)] == ids[1:]


def test_report_is_written_again_and_checked(desk: Desk, invoke: Invoke) -> None:
    """From the journal alone, the same to the byte; a changed file is found."""
    desk.sheet(3)
    invoke("run", "numbers.csv", *SANDBOX)
    folder = desk.workspace.run_folder(desk.workspace.records()[0].id)
    before = (folder / "results.csv").read_bytes()
    assert invoke("report", "--check").code == 0
    (folder / "results.csv").write_bytes(before.replace(b"succeeded", b"failed"))
    checked = invoke("report", "--check")
    assert checked.code == 74
    assert "results.csv" in checked.err
    assert invoke("report").code == 0
    assert (folder / "results.csv").read_bytes() == before
    assert invoke("report", "--output", "elsewhere", "--json").out.startswith("{")
    assert (desk.folder / "elsewhere" / "results.csv").read_bytes() == before


def test_key_is_nowhere(desk: Desk, server: Server) -> None:
    """A canary key is in no output and in no file, neither after success nor after a refusal."""
    desk.sheet(5)
    ends = [
        desk.run("run", "numbers.csv", "--yes", "--rate", "100/s", "--json", "--debug", **server.environ),
        desk.run(
            "run", "numbers.csv", "--yes", **{**server.environ, "BLAND_API_KEY": "sk-canary-4711-wrong"}
        ),
    ]
    assert [done.code for done in ends] == [0, 77]
    assert not [done for done in ends if KEY in done.out + done.err]
    assert desk.files_with(KEY) == []
