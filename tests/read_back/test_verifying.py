"""Promises of what verifies, of snapshots, and of reading along with a run, in virtual time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import orjson
import pytest

from batch.clock import Clock
from batch.engine.controls import Controls
from batch.engine.pacer import Rate
from batch.engine.run_options import RunOptions
from batch.errors import UsageError
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import EVERYTHING, Journal, NewRun, Shard
from batch.journal.verification import Proof, Verification, unfinished_since
from batch.plans import DIRECTIONS, Plan
from batch.read_back.along import ReadAlong, send_reading_along
from batch.read_back.rounds import Reader
from batch.read_back.snapshots import SnapshotTaken, restorable, take_snapshot
from batch.read_back.verifying import Verified, verify
from batch.report.proofs import VerificationPart
from batch.report.summary import summarise
from batch.states import RequestState, RunState, StopReason
from batch.target import Outcome
from tests.readings import (
    DOWN,
    FAST,
    NO_ANSWER,
    NO_KEY,
    PlayedApi,
    inline,
    pacer_of,
    throttled,
)
from tests.simulation.virtual_time import BACKENDS, run_virtual
from tests.small_plans import FIRST_NUMBER, small_plan
from tests.told_target import ToldTarget

EPOCH = 1_785_144_600.0
REFUSED = Outcome(DOWN.verdict.REFUSED, http_status=400, error_code="VALIDATION_ERROR")

BOTH = "alert_config+codec_config"


@dataclass
class World:
    """A journal and an API that outlive what is done with them."""

    journal: Journal
    api: PlayedApi
    backend: str = "trio"

    def run(self, plan: Plan, **given: Any) -> tuple[str, ReadAlong]:
        """Send a plan as a new run."""
        run_id = self.journal.create_run(plan, NewRun(self.api.name, EPOCH))
        return run_id, self.go_on(run_id, **given)

    def go_on(
        self,
        run_id: str,
        *,
        snapshot: bool = False,
        verify: bool = False,
        options: RunOptions = FAST,
        stop_after_s: float | None = None,
    ) -> ReadAlong:
        """Send what is left of a run."""

        async def main() -> ReadAlong:
            controls = Controls()
            async with anyio.create_task_group() as tasks:
                if stop_after_s is not None:
                    tasks.start_soon(_stop, controls, stop_after_s)
                done = await send_reading_along(
                    self.journal,
                    run_id,
                    self.api,
                    options,
                    is_to_snapshot=snapshot,
                    is_to_verify=verify,
                    clock=Clock(),
                    controls=controls,
                    run_blocking=inline,
                    dice=random.Random(0).random,
                )
                tasks.cancel_scope.cancel()
            return done

        return run_virtual(main, backend=self.backend)

    def verify(
        self,
        run_id: str,
        *,
        shards: Sequence[Shard] = EVERYTHING,
        is_anew: bool = False,
        options: RunOptions = FAST,
        stop_after_s: float | None = None,
    ) -> Verified:
        """Read back a run."""
        self.api.calls.clear()

        async def main() -> Verified:
            clock, controls = Clock(), Controls()
            reader = Reader(
                options, pacer_of(options, clock), clock, controls, inline, random.Random(0).random
            )
            async with anyio.create_task_group() as tasks:
                if stop_after_s is not None:
                    tasks.start_soon(_stop, controls, stop_after_s)
                done = await verify(self.journal, run_id, self.api, reader, shards=shards, is_anew=is_anew)
                tasks.cancel_scope.cancel()
            return done

        return run_virtual(main, backend=self.backend)

    def snapshot(self, run_id: str) -> SnapshotTaken:
        """Read what is there before a run."""

        async def main() -> SnapshotTaken:
            clock = Clock()
            reader = Reader(FAST, pacer_of(FAST, clock), clock, run_blocking=inline)
            return await take_snapshot(self.journal, run_id, self.api, reader)

        return run_virtual(main, backend=self.backend)

    def found(self, run_id: str) -> list[Verification]:
        """What the journal says was found."""
        return list(self.journal.verifications(run_id))

    def side(self, seq: int) -> dict[str, Any]:
        """What is there of a request of `small_plan`."""
        return self.api.sides[f"+{FIRST_NUMBER + seq // 2}", DIRECTIONS[seq % 2]]


async def _stop(controls: Controls, after_s: float) -> None:
    await anyio.sleep(after_s)
    controls.drain(StopReason.SIGTERM)


@pytest.fixture
def world() -> World:
    return World(MemoryJournal(), PlayedApi())


def proofs(found: Iterable[Verification]) -> list[str]:
    return [one.proof.value for one in found]


def part_of(world: World, run_id: str) -> VerificationPart:
    return summarise(world.journal, run_id).verification


# --- verify -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_sent_and_is_there_is_verified(backend: str) -> None:
    """Every request of the run, and each number is asked for once for both of its directions."""
    world = World(MemoryJournal(), PlayedApi(), backend)
    run_id, _ = world.run(small_plan(20, payloads=3))
    verified = world.verify(run_id)
    assert (verified.reason, verified.exit_code, verified.left) == (StopReason.DONE, 0, 0)
    assert verified.counts == {Proof.VERIFIED: 20}
    assert sorted(world.api.of("read")) == [f"+{FIRST_NUMBER + nth}" for nth in range(10)]
    assert [one.seq for one in world.found(run_id)] == list(range(20))


def test_what_somebody_changed_is_drifted(world: World) -> None:
    """What differs is named with what was sent and what is there; all else is verified; it is exit 3."""
    run_id, _ = world.run(small_plan(6, block=BOTH))
    world.side(3)["codec_config"]["enabled"] = False
    verified = world.verify(run_id)
    assert verified.exit_code == 3
    assert proofs(world.found(run_id)) == ["verified"] * 3 + ["drifted"] + ["verified"] * 2
    drifted = world.found(run_id)[3]
    assert drifted.blocks == {"alert_config": Proof.VERIFIED, "codec_config": Proof.DRIFTED}
    assert drifted.in_words == "codec_config.enabled: sent true, there is false"
    (told,) = part_of(world, run_id).drifts
    assert (told.path, told.count, told.row, told.direction) == ("codec_config.enabled", 1, 5, "outbound")


def test_what_is_gone_is_missing(world: World) -> None:
    """A direction that is not set up any more."""
    run_id, _ = world.run(small_plan(2))
    del world.api.sides[f"+{FIRST_NUMBER}", "inbound"]
    assert world.verify(run_id).exit_code == 3
    assert proofs(world.found(run_id)) == ["missing", "verified"]


def test_what_is_not_shown_is_never_verified(world: World) -> None:
    """With one block of two hidden, the request is not readable; that by itself is exit 0."""
    world.api.hidden = frozenset({"alert_config"})
    run_id, _ = world.run(small_plan(2, block=BOTH))
    verified = world.verify(run_id)
    assert (verified.counts, verified.exit_code) == ({Proof.NOT_READABLE: 2}, 0)
    assert world.found(run_id)[0].blocks == {
        "alert_config": Proof.NOT_READABLE,
        "codec_config": Proof.VERIFIED,
    }
    assert part_of(world, run_id).not_shown == {"alert_config": 2}


def test_what_cannot_be_read_is_told_so(world: World) -> None:
    """After the last attempt a number is unread, which is neither verified nor drifted, and exit 3."""
    run_id, _ = world.run(small_plan(4))
    bad = f"+{FIRST_NUMBER}"
    world.api.fault = lambda index, kind: DOWN if world.api.calls[index][1] == bad else None
    verified = world.verify(run_id)
    assert (verified.counts, verified.exit_code) == ({Proof.UNREAD: 2, Proof.VERIFIED: 2}, 3)
    assert world.found(run_id)[0].in_words == "could not be read: HTTP 500 INTERNAL_SERVER_ERROR"


def test_only_what_was_or_may_have_been_applied_is_read(world: World) -> None:
    """Refused requests are not; an unknown one that is there was applied after all."""
    sends = iter([REFUSED, NO_ANSWER])

    def fault(index: int, kind: str) -> Outcome | None:
        return next(sends, None) if kind == "send" else None

    world.api.fault = fault
    options = replace(FAST, concurrency=1, retry=replace(FAST.retry, max_attempts=1))
    run_id, _ = world.run(small_plan(6), options=options)
    counts = world.journal.counts(run_id)
    assert (counts.failed, counts.unknown, counts.succeeded) == (1, 1, 4)
    world.verify(run_id)
    assert [one.seq for one in world.found(run_id)] == [1, 2, 3, 4, 5]
    assert part_of(world, run_id).unknown_verified == 1


def test_what_a_later_run_sent_is_not_held_against_an_earlier_one(world: World) -> None:
    """A block that was sent anew is replaced, and no number is asked for in vain."""
    first, _ = world.run(small_plan(4, block=BOTH))
    second, _ = world.run(small_plan(2, block=BOTH, blocks=7))
    third, _ = world.run(small_plan(4, block="codec_config", blocks=9))
    assert world.verify(first).exit_code == 0
    assert proofs(world.found(first)) == ["replaced", "replaced", "verified", "verified"]
    assert world.api.of("read") == [f"+{FIRST_NUMBER + 1}"]
    assert second in world.found(first)[0].message or third in world.found(first)[0].message
    kept = world.found(first)[2]
    assert kept.blocks == {"alert_config": Proof.VERIFIED, "codec_config": Proof.REPLACED}
    assert kept.message == f"codec_config: sent anew by run {third}"
    assert proofs([*world.found(first), *world.found(third)]).count("drifted") == 0


def test_the_same_sent_again_is_no_replacement(world: World) -> None:
    """A later run that sent the same leaves the earlier one to be verified."""
    first, _ = world.run(small_plan(4))
    world.run(small_plan(4))
    assert world.verify(first).counts == {Proof.VERIFIED: 4}


def test_interrupted_it_goes_on_where_it_stopped(world: World) -> None:
    """What was read is in the journal, and is not read again; the counts are of both parts."""
    slow = replace(FAST, rates=(Rate(20, 1.0),))
    run_id, _ = world.run(small_plan(100))
    stopped = world.verify(run_id, options=slow, stop_after_s=1.0)
    assert (stopped.reason, stopped.exit_code) == (StopReason.SIGTERM, 143)
    read = set(world.api.of("read"))
    assert unfinished_since(world.journal.events(run_id)) is not None
    assert not part_of(world, run_id).is_finished
    done = world.verify(run_id)
    assert len(set(world.api.of("read")) & read) <= 2
    assert len(set(world.api.of("read")) | read) == 50
    assert done.counts == {Proof.VERIFIED: 100}
    assert unfinished_since(world.journal.events(run_id)) is None
    assert part_of(world, run_id).is_finished


def test_it_reads_all_again(world: World) -> None:
    """What a verification found that came to its end does not count: it may have drifted since."""
    run_id, _ = world.run(small_plan(4))
    world.verify(run_id)
    world.side(0)["alert_config"]["enabled"] = False
    assert world.verify(run_id).counts == {Proof.VERIFIED: 3, Proof.DRIFTED: 1}


def test_anew_it_does_not_go_on(world: World) -> None:
    """What an interrupted one has read is read again, if that is asked for."""
    run_id, _ = world.run(small_plan(40))
    world.verify(run_id, options=replace(FAST, rates=(Rate(10, 1.0),)), stop_after_s=1.0)
    world.side(0)["alert_config"]["enabled"] = False
    assert world.verify(run_id, is_anew=True).counts == {Proof.VERIFIED: 39, Proof.DRIFTED: 1}
    assert len(world.api.of("read")) == 20


def test_what_was_not_well_is_read_again_by_one_that_goes_on(world: World) -> None:
    """Who mends what drifted and goes on is told whether it is mended."""
    run_id, _ = world.run(small_plan(40))
    slow = replace(FAST, rates=(Rate(10, 1.0),), concurrency=1)
    world.side(0)["alert_config"]["enabled"] = False
    world.verify(run_id, options=slow, stop_after_s=1.0)
    assert world.found(run_id)[0].proof is Proof.DRIFTED
    world.side(0)["alert_config"]["enabled"] = True
    assert world.verify(run_id).counts == {Proof.VERIFIED: 40}


def test_a_refused_key_ends_it_with_77(world: World) -> None:
    """A key that may write and not read; what was not read is left."""
    run_id, _ = world.run(small_plan(10))
    world.api.fault = lambda _, kind: NO_KEY
    verified = world.verify(run_id)
    assert (verified.exit_code, verified.left) == (77, 5)
    assert "sip:read" in verified.message


def test_a_part_of_a_run_can_be_verified(world: World) -> None:
    """Only the requests of these shards, and only they are counted."""
    run_id, _ = world.run(small_plan(20))
    verified = world.verify(run_id, shards=[Shard(4, 6), Shard(10, 14)])
    assert verified.counts == {Proof.VERIFIED: 6}
    assert [one.seq for one in world.found(run_id)] == [4, 5, 10, 11, 12, 13]


@pytest.mark.parametrize("seed", range(20))
def test_verified_means_that_it_is_there(seed: int) -> None:
    """However the API was changed and however reads fail: verified is what is there, drifted what is not."""
    dice = random.Random(seed)
    world = World(MemoryJournal(), PlayedApi())
    plan = small_plan(40, payloads=4, block=BOTH)
    run_id, _ = world.run(plan)
    changed = set()
    for seq in dice.sample(range(40), 12):
        side = world.side(seq)
        block = dice.choice(sorted(side))
        dice.choice(
            [side[block]["thresholds"].clear, side.clear, lambda b=side[block]: b.update(enabled=1)]
        )()
        changed.add(seq)
    world.api.fault = lambda _, __: dice.choice([NO_ANSWER, DOWN, throttled(0.5), *([None] * 9)])
    world.verify(run_id)
    for one in world.found(run_id):
        is_read = one.proof is not Proof.UNREAD
        if one.seq in changed:
            assert one.proof in (Proof.DRIFTED, Proof.NOT_READABLE, Proof.UNREAD)
        else:
            assert one.proof is (Proof.VERIFIED if is_read else Proof.UNREAD)
    assert len(world.found(run_id)) == 40


# --- along with a run ---------------------------------------------------------------------------


def test_run_with_verify_reads_back_what_it_sent(world: World) -> None:
    """After the last send each number is read once."""
    run_id, done = world.run(small_plan(10), verify=True)
    assert done.verified is not None
    assert (done.ending.reason, done.verified.counts) == (StopReason.DONE, {Proof.VERIFIED: 10})
    kinds = [kind for kind, *_ in world.api.calls]
    assert kinds == ["send"] * 10 + ["read"] * 5
    assert world.journal.run(run_id).state is RunState.COMPLETED


def test_all_of_it_keeps_the_rate(world: World) -> None:
    """Snapshot, sends and read-back together: no second sees more than the rate, between them too."""
    world.run(small_plan(60), snapshot=True, verify=True, options=replace(FAST, rates=(Rate(20, 1.0),)))
    times = [at for *_, at in world.api.calls]
    assert len(times) == 30 + 60 + 30
    assert max(sum(at <= other < at + 1.0 for other in times) for at in times) <= 20
    assert times[-1] - times[0] < 120 / 20 * 1.1


def test_run_that_stops_is_not_read_back(world: World) -> None:
    """What is left is sent first; `resume` reads back all of it."""
    options = replace(FAST, rates=(Rate(20, 1.0),))
    run_id, done = world.run(small_plan(60), verify=True, options=options, stop_after_s=1.0)
    assert (done.ending.reason, done.verified) == (StopReason.SIGTERM, None)
    assert not world.api.of("read")
    done = world.go_on(run_id, verify=True)
    assert done.verified is not None
    assert done.verified.counts == {Proof.VERIFIED: 60}


def test_a_target_that_cannot_be_read_is_refused_before_anything_is_sent(world: World) -> None:
    """Better than a run that nobody can verify."""
    target = ToldTarget()
    run_id = world.journal.create_run(small_plan(2), NewRun("told", EPOCH))

    async def main() -> None:
        await send_reading_along(
            world.journal, run_id, target, FAST, is_to_snapshot=False, is_to_verify=True, clock=Clock()
        )

    with pytest.raises(UsageError, match="cannot be read back"):
        run_virtual(main, backend="trio")
    assert target.sent == []


# --- snapshot -----------------------------------------------------------------------------------


def test_snapshot_has_what_was_there_before(world: World) -> None:
    """All that the API shows of a number's side, whichever block the run sends; and where nothing was."""
    first, _ = world.run(small_plan(2, block=BOTH, blocks=3))
    run_id, done = world.run(small_plan(4, block="codec_config", blocks=8), snapshot=True)
    assert done.snapshot is not None
    assert (done.snapshot.read, done.snapshot.shown, done.snapshot.unread) == (4, 2, 0)
    taken = list(world.journal.snapshots(run_id))
    assert [(one.seq, one.is_there) for one in taken] == [(0, True), (1, True), (2, False), (3, False)]
    before = small_plan(2, block=BOTH, blocks=3).payloads[0]
    assert taken[0].payload == before
    assert taken[2].payload is None
    assert world.side(0)["codec_config"] != world.side(0)["alert_config"]
    assert first != run_id


def test_interrupted_snapshot_leaves_the_run_untouched(world: World) -> None:
    """Nothing was sent; `resume` reads the rest of what was there, and then sends."""
    options = replace(FAST, rates=(Rate(20, 1.0),))
    run_id, done = world.run(small_plan(60), snapshot=True, options=options, stop_after_s=1.0)
    assert done.ending.reason is StopReason.SIGTERM
    assert world.api.of("send") == []
    assert world.journal.run(run_id).state is RunState.PLANNED
    read = set(world.api.of("read"))
    world.api.calls.clear()
    assert world.go_on(run_id, snapshot=True).ending.reason is StopReason.DONE
    assert len(read & set(world.api.of("read"))) <= 2
    assert len(list(world.journal.snapshots(run_id))) == 60
    assert [kind for kind, *_ in world.api.calls[: len(world.api.of("read"))]] == ["read"] * len(
        world.api.of("read")
    )


def test_snapshot_is_of_what_was_never_sent(world: World) -> None:
    """Going on with a run, nothing is taken for what was there before that the run itself put there."""
    options = replace(FAST, rates=(Rate(20, 1.0),))
    run_id, _ = world.run(small_plan(60), options=options, stop_after_s=1.0)
    sent = sum(row.sends > 0 for row in world.journal.results(run_id))
    assert 0 < sent < 60
    world.snapshot(run_id)
    assert len(list(world.journal.snapshots(run_id))) == 60 - sent


def test_what_is_masked_or_unread_is_in_no_snapshot(world: World) -> None:
    """It could not be put back."""
    world.run(small_plan(2, block=BOTH))
    world.side(0)["alert_config"]["channels"] = {"webhook": "https://hooks.example.com/***"}
    run_id = world.journal.create_run(small_plan(4, blocks=5), NewRun("played", EPOCH))
    unread = f"+{FIRST_NUMBER + 1}"
    world.api.fault = lambda index, _: DOWN if world.api.calls[index][1] == unread else None
    taken = world.snapshot(run_id)
    assert (taken.read, taken.shown, taken.unread) == (2, 2, 2)
    (masked, whole) = world.journal.snapshots(run_id)
    assert masked.payload is not None
    assert list(orjson.loads(masked.payload.body)) == ["codec_config"]
    assert whole.payload is not None
    assert list(orjson.loads(whole.payload.body)) == ["alert_config", "codec_config"]


def test_what_can_be_put_back_is_what_the_schema_knows() -> None:
    """What the API adds of its own is left out; what is no valid payload cannot be put back."""
    from batch.bland.payloads import SCHEMA

    shown = {
        "codec_config": {"codecs": ["PCMU"], "transcode": True, "updated_at": "today"},
        "failover_config": {
            "enabled": True,
            "endpoints": [
                {"host": "a.example.com", "port": 5061, "transport": "tls", "priority": 1, "id": 4}
            ],
            "failback": None,
        },
        "health": {"status": "ok"},
    }
    payload = restorable(shown, SCHEMA)
    assert payload is not None
    assert payload.body == (
        b'{"codec_config":{"codecs":["PCMU"],"transcode":true},"failover_config":{"enabled":true,'
        b'"endpoints":[{"host":"a.example.com","port":5061,"priority":1,"transport":"tls"}]}}'
    )
    assert restorable({"codec_config": {"codecs": ["MP3"]}}, SCHEMA) is None
    assert restorable({"health": {}}, SCHEMA) is None


# --- waves --------------------------------------------------------------------------------------


def test_drift_in_the_canary_stops_the_run(world: World) -> None:
    """With `--verify`, a canary that is accepted and not there as sent is the last that was sent."""
    api = world.api
    send = api.send

    async def forgetful(number: str, direction: str, payload: bytes) -> Outcome:
        outcome = await send(number, direction, payload)
        api.sides[number, direction].clear()
        api.sides[number, direction]["alert_config"] = None
        return outcome

    api.send = forgetful  # type: ignore[method-assign]
    run_id, done = world.run(small_plan(40), verify=True, options=replace(FAST, canary=3))
    assert done.ending.reason is StopReason.SAFETY
    assert "of 3 requests that were read back, 3 drifted" in done.ending.message
    assert len(api.of("send")) == 3
    assert world.journal.run(run_id).state is RunState.HALTED


def test_a_canary_that_is_there_lets_the_others_follow(world: World) -> None:
    """It is read back once, not again at the end."""
    run_id, done = world.run(small_plan(40), verify=True, options=replace(FAST, canary=4))
    assert done.verified is not None
    assert (done.ending.reason, done.verified.counts) == (StopReason.DONE, {Proof.VERIFIED: 40})
    assert max(Counter(world.api.of("read")).values()) == 1
    assert world.journal.counts(run_id).of(RequestState.SUCCEEDED) == 40


def test_what_is_not_shown_is_no_reason_to_stop(world: World) -> None:
    """Where the API shows nothing, nobody would ever get beyond the canary."""
    world.api.hidden = frozenset({"alert_config"})
    _, done = world.run(small_plan(20), verify=True, options=replace(FAST, canary=2))
    assert done.ending.reason is StopReason.DONE
    assert done.verified is not None
    assert done.verified.counts == {Proof.NOT_READABLE: 20}
