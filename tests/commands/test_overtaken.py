"""Going on with a run after another has changed its numbers: it is said that what is sent is older."""

from __future__ import annotations

import pytest

from tests.fleet_desk import FAST, Invoke, control, desk, held, invoke, number, rows_of, server, write
from tests.sending import KEY, Desk, Server

__all__ = ["desk", "invoke", "server"]


def test_what_a_retry_sends_may_be_older_than_what_is_in_force(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """What failed then, and was changed since by another run; without such a run nothing is said."""
    control(server, script={f"{number(nth)} outbound": ["400", "400"] for nth in range(2)})
    write(desk, rows_of(4))
    assert invoke("run", "numbers.csv", *FAST).code == 3
    first = invoke("retry", "--yes", "--quiet")
    assert first.code == 3
    assert "changed since" not in first.err
    failed = desk.workspace.records()[-1].id
    write(desk, rows_of(1, codecs="Opus"))
    assert invoke("run", "numbers.csv", *FAST).code == 0
    later = desk.workspace.records()[-1].id
    again = invoke("retry", failed, "--yes", "--quiet")
    assert f"1 of them was changed since by run {later}; what is sent was planned before that." in again.err
    assert held(server, 0)["codec_config"]["codecs"] == ["PCMU"]


def test_what_a_resume_sends_may_be_older_than_what_is_in_force(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """What an interrupted run has left, and to which a later one has sent something else."""
    control(server, expire_key_after=1)
    write(desk, rows_of(4))
    assert invoke("run", "numbers.csv", *FAST, "--concurrency", "1").code == 77
    run = desk.workspace.records()[-1].id
    control(server, key=KEY)
    write(desk, rows_of(4, codecs="Opus")[2:])
    assert invoke("run", "numbers.csv", *FAST).code == 0
    later = desk.workspace.records()[-1].id
    resumed = invoke("resume", run, "--quiet")
    assert resumed.code == 0
    assert (
        f"2 of them were changed since by run {later}; what is sent was planned before that." in resumed.err
    )


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_what_no_later_run_has_changed_is_not_spoken_of(
    desk: Desk, invoke: Invoke, server: Server, command: str
) -> None:
    """Neither what an earlier run changed, nor what another one skipped."""
    write(desk, rows_of(3))
    assert invoke("run", "numbers.csv", *FAST).code == 0
    control(server, script={f"{number(1)} outbound": ["400"]}, reset="counts", expire_key_after=2)
    write(desk, rows_of(3, codecs="Opus"))
    assert invoke("run", "numbers.csv", *FAST, "--concurrency", "1").code == 77
    run = desk.workspace.records()[-1].id
    control(server, key=KEY)
    done = invoke(command, run, *(("--yes",) if command == "retry" else ()), "--quiet")
    assert "changed since" not in done.err
