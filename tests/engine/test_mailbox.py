"""The box for orders: what is put into it is read once, answered, and never left behind."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from batch.engine.controls import Answer, Controls, Order, Verb
from batch.engine.mailbox import LOOK_EVERY_S, Mailbox, obey_letters, order_and_wait
from batch.engine.pacer import Rate
from batch.states import StopReason
from tests.simulation.virtual_time import run_virtual

T = TypeVar("T")

DONE = Answer(is_done=True, text="paused")


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    """A box that somebody looks into."""
    box = Mailbox(tmp_path / "control")
    box.open()
    return box


async def inline(work: Callable[[], T]) -> T:
    return work()


# --- the box ----------------------------------------------------------------------------------------


def test_an_order_is_found_and_its_answer_comes_back(mailbox: Mailbox) -> None:
    """Once; then nothing is left of either."""
    posted = mailbox.post(Order(Verb.RATE, "50/s"))
    assert mailbox.answer_to(posted) is None
    (letter,) = mailbox.letters()
    assert letter.order == Order(Verb.RATE, "50/s")
    mailbox.answer(letter, DONE)
    assert mailbox.letters() == []
    assert mailbox.answer_to(posted) == DONE
    assert list(mailbox.path.iterdir()) == []


def test_orders_are_read_in_the_order_of_their_giving(mailbox: Mailbox) -> None:
    """A pause and then a continue are not the reverse."""
    given = []
    for nth, verb in enumerate([Verb.PAUSE, Verb.CONTINUE, Verb.STOP, Verb.PAUSE]):
        path = mailbox.post(Order(verb))
        os.utime(path, ns=(nth, nth))
        given.append(verb)
    assert [letter.order.verb for letter in mailbox.letters()] == given


def test_only_its_owner_can_give_orders(mailbox: Mailbox) -> None:
    """Neither the folder nor a file in it is open to others."""
    path = mailbox.post(Order(Verb.STOP))
    assert stat.S_IMODE(mailbox.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_orders_for_another_process_are_gone(mailbox: Mailbox) -> None:
    """A stop that nobody took must not stop tomorrow's run."""
    mailbox.post(Order(Verb.STOP))
    again = Mailbox(mailbox.path)
    again.open()
    assert again.letters() == []


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'"stop"', b'{"verb": "explode", "value": ""}', b'{"verb": "stop"}', b"\xff\xfe"],
)
def test_what_is_no_order_is_thrown_away(mailbox: Mailbox, text: bytes) -> None:
    """And those beside it are read."""
    (mailbox.path / "0.order").write_bytes(text)
    mailbox.post(Order(Verb.PAUSE))
    assert [letter.order.verb for letter in mailbox.letters()] == [Verb.PAUSE]
    assert len(list(mailbox.path.glob("*.order"))) == 1


def test_a_half_written_order_is_not_seen(mailbox: Mailbox) -> None:
    """Files get their names when they are whole."""
    (mailbox.path / "1.order.part").write_text(json.dumps({"verb": "stop", "value": ""}), encoding="utf-8")
    assert mailbox.letters() == []


def test_an_order_that_was_taken_back_is_not_answered(mailbox: Mailbox) -> None:
    """Nobody waits for it; no file stays."""
    posted = mailbox.post(Order(Verb.PAUSE))
    (letter,) = mailbox.letters()
    mailbox.take_back(posted)
    mailbox.answer(letter, DONE)
    assert list(mailbox.path.iterdir()) == []


# --- the process that sends -------------------------------------------------------------------------


class Played:
    """A run that remembers what it was told."""

    is_stopping = False
    in_flight = 0

    def __init__(self) -> None:
        self.told: list[str] = []

    def stop(self, reason: StopReason, message: str) -> None:
        self.told.append(f"stop {reason.value}")

    def abort(self) -> None:
        self.told.append("abort")

    def pause(self) -> bool:
        self.told.append("pause")
        return True

    def go_on(self) -> bool:
        self.told.append("go on")
        return True

    def change_rate(self, rates: tuple[Rate, ...]) -> str:
        self.told.append(f"rate {rates[0]}")
        return "5/s"


class Reading:
    """Something that can only be stopped."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stop(self, reason: StopReason, message: str) -> None:
        self.told.append(f"stop: {message}")

    def abort(self) -> None:
        self.told.append("abort")


def test_a_run_obeys_what_it_finds_in_the_box(tmp_path: Path) -> None:
    """Within half a second, each order once; when it ends, the box is gone."""
    mailbox, controls, run = Mailbox(tmp_path / "control"), Controls(), Played()

    async def main() -> list[Answer | None]:
        answers: list[Answer | None] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: obey_letters(mailbox, controls, run_blocking=inline))
            await anyio.sleep(LOOK_EVERY_S)
            early = mailbox.post(Order(Verb.PAUSE))
            await anyio.sleep(2 * LOOK_EVERY_S)
            answers.append(mailbox.answer_to(early))
            controls.attach(run)
            for order in (Order(Verb.RATE, "50/s"), Order(Verb.STOP)):
                posted = mailbox.post(order)
                await anyio.sleep(LOOK_EVERY_S * 1.1)
                answers.append(mailbox.answer_to(posted))
            answers.append(mailbox.answer_to(early))
            tasks.cancel_scope.cancel()
        return answers

    answers = run_virtual(main, backend="trio")
    assert run.told == ["pause", "rate 50/s", "stop sigint"]
    assert answers == [
        None,
        Answer(is_done=True, text="sending at 50/s; it was 5/s"),
        Answer(is_done=True, text="stopping"),
        Answer(is_done=True, text="paused"),
    ]
    assert not mailbox.path.exists()


def test_what_reads_back_can_only_be_stopped(tmp_path: Path) -> None:
    """And says so to whoever wants it to pause."""
    controls, run = Controls(), Reading()
    controls.attach(run)
    refused = controls.obey(Order(Verb.PAUSE))
    assert not refused.is_done
    assert "can only be stopped" in refused.text
    assert controls.obey(Order(Verb.STOP)) == Answer(is_done=True, text="stopping")
    assert run.told == ["stop: stopped from another terminal"]


def test_a_run_goes_on_where_no_box_can_be_made(tmp_path: Path) -> None:
    """Nobody can give it orders then; that is no reason not to send."""
    (tmp_path / "control").write_text("a file", encoding="utf-8")

    async def main() -> None:
        await obey_letters(Mailbox(tmp_path / "control" / "box"), Controls(), run_blocking=inline)

    run_virtual(main, backend="trio")


def test_an_answer_is_left_for_a_moment_when_the_run_ends(tmp_path: Path) -> None:
    """A stop ends the run at once; whoever gave it still finds what became of it."""
    mailbox, controls = Mailbox(tmp_path / "control"), Controls()
    controls.attach(Played())

    async def main() -> Answer | None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: obey_letters(mailbox, controls, run_blocking=inline))
            await anyio.sleep(0.1)
            posted = mailbox.post(Order(Verb.STOP))
            await anyio.sleep(LOOK_EVERY_S)
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.2)
            return mailbox.answer_to(posted)
        raise AssertionError("a cancelled group swallows nothing")

    assert run_virtual(main, backend="trio") == Answer(is_done=True, text="stopping")
    assert not mailbox.path.exists()


# --- whoever gives orders ---------------------------------------------------------------------------


class Waiting:
    """Time that passes as it is slept, with something that happens at a moment of it."""

    def __init__(self, at_s: float = 1e9, happens: Callable[[], None] = lambda: None) -> None:
        self.now_s = 0.0
        self._at_s = at_s
        self._happens = happens

    def now(self) -> float:
        return self.now_s

    def sleep(self, for_s: float) -> None:
        before, self.now_s = self.now_s, self.now_s + for_s
        if before < self._at_s <= self.now_s:
            self._happens()


def test_whoever_gives_an_order_waits_for_its_answer(mailbox: Mailbox) -> None:
    """And has it as soon as it is there."""

    def answer() -> None:
        (letter,) = mailbox.letters()
        mailbox.answer(letter, DONE)

    time = Waiting(3.0, answer)
    given = order_and_wait(mailbox, Order(Verb.PAUSE), is_held=lambda: True, now=time.now, sleep=time.sleep)
    assert given == DONE
    assert time.now_s == pytest.approx(3.1, abs=0.2)


def test_an_order_that_nobody_answers_is_taken_back(mailbox: Mailbox) -> None:
    """After a bounded time; whoever wakes later must not find it."""
    time = Waiting()
    given = order_and_wait(mailbox, Order(Verb.STOP), is_held=lambda: True, now=time.now, sleep=time.sleep)
    assert given is None
    assert time.now_s == pytest.approx(15, abs=1)
    assert list(mailbox.path.iterdir()) == []


def test_nobody_waits_for_a_process_that_is_gone(mailbox: Mailbox) -> None:
    """Half a second, not fifteen."""
    time = Waiting()
    assert (
        order_and_wait(mailbox, Order(Verb.PAUSE), is_held=lambda: False, now=time.now, sleep=time.sleep)
        is None
    )
    assert time.now_s < 1
    assert list(mailbox.path.iterdir()) == []


def test_an_order_waits_for_a_box_that_is_being_made(tmp_path: Path) -> None:
    """A run that has just begun opens it in a moment."""
    mailbox = Mailbox(tmp_path / "control")
    opened: list[bool] = []

    def open_and_answer() -> None:
        mailbox.open()
        opened.append(True)

    class Answering(Waiting):
        def sleep(self, for_s: float) -> None:
            super().sleep(for_s)
            for letter in mailbox.letters() if opened else []:
                mailbox.answer(letter, DONE)

    time = Answering(2.0, open_and_answer)
    given = order_and_wait(mailbox, Order(Verb.PAUSE), is_held=lambda: True, now=time.now, sleep=time.sleep)
    assert given == DONE


def test_an_order_that_was_cleared_away_is_given_again(mailbox: Mailbox) -> None:
    """A run that begins makes its box anew, and may find an order for it there already."""

    class Answering(Waiting):
        def sleep(self, for_s: float) -> None:
            super().sleep(for_s)
            for letter in mailbox.letters() if self.now_s > 3 else []:
                mailbox.answer(letter, DONE)

    time = Answering(1.0, mailbox.open)
    given = order_and_wait(mailbox, Order(Verb.PAUSE), is_held=lambda: True, now=time.now, sleep=time.sleep)
    assert given == DONE
