"""`PATCH /v1/sip/config` in the sandbox: who is let in, what is applied, what the client sees of it."""

from __future__ import annotations

import asyncio
import functools
import math
import time

from aiohttp import web

from batch.bland import sandbox_wire as wire
from batch.bland.faults import OK, Fault, FaultKind, Roll, roll
from batch.bland.sandbox_answers import (
    Answer,
    Reply,
    bad_gzip,
    bomb,
    failure,
    html_page,
    huge_headers,
    success,
)
from batch.bland.sandbox_calls import Call, CallReader
from batch.bland.sandbox_memory import Memory
from batch.bland.sandbox_options import Behaviour
from batch.bland.sandbox_reads import iso

#: For what is turned away: no fault, and the middle of the latency.
_NO_CHANCE = Roll(1.0, 0.5)

Headers = tuple[tuple[str, str], ...]


class KeyGate:
    """Takes the key as the API does, bare or after `Bearer`, until it expires."""

    def __init__(self) -> None:
        self.taken = 0  #: changes that came with a good key
        self.expires_after: int | None = None  #: how many of them the key is good for

    def is_good(self, request: web.BaseRequest, key: str | None) -> bool:
        """Whether the request has the key, or any at all if there is no particular one."""
        sent = request.headers.get("Authorization", "").strip()
        if sent[:7].lower() == "bearer ":
            sent = sent[7:].strip()
        elif sent.lower() == "bearer":
            sent = ""
        return sent == key if key is not None else bool(sent)

    @property
    def has_expired(self) -> bool:
        """Whether even a good key is refused by now."""
        return self.expires_after is not None and self.taken >= self.expires_after

    def renew(self, good_for: int | None) -> None:
        """Take a good key again, for so many changes from here on, or for good."""
        self.taken, self.expires_after = 0, good_for


class Changes:
    """Decides the answer to every change, and plays it."""

    def __init__(self, memory: Memory, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.wire = wire.Wire(behaviour.options.clock_offset_s)
        self.gate = KeyGate()
        self.gate.expires_after = behaviour.options.expire_key_after
        self.faults_from = 0  #: how many had been admitted when the faults' bounds were set
        self._memory = memory
        self._reader = CallReader()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take one change to its end. What it leaves in the memory is there before its latency begins."""
        form = self.behaviour.options.failure_form
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self.wire.whole(request, failure(413, form=form), keep_alive=False)
        except web.RequestPayloadError:
            return self.wire.whole(request, failure(400, form=form), keep_alive=False)
        call, now = self._reader.read(body), time.monotonic()
        sha256 = call.payload.sha256 if call.payload else ""
        self._memory.note_received(call.number, call.direction, sha256, now)
        turned_away = self._turned_away(request, call, now)
        if turned_away:
            self._memory.note_answered(call.number, call.direction, answer=str(turned_away.status))
            return await self.unhurried(request, turned_away)
        fault, chance = self._let_in(call)
        await self._delay(chance)
        return await self._play(request, call, fault)

    async def unhurried(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        """An answer that chance has no part in, after a latency in the middle of what there is."""
        await self._delay(_NO_CHANCE)
        return self.wire.whole(request, answer)

    # --- deciding -------------------------------------------------------------------------------------

    def _turned_away(self, request: web.BaseRequest, call: Call, now: float) -> Answer | None:
        """The refusal of a change that has no good key, no room in the limit, or is not valid."""
        options = self.behaviour.options
        fail = functools.partial(failure, form=options.failure_form)
        if not self.gate.is_good(request, options.key):
            return fail(401)
        if self.gate.has_expired:
            return fail(401, message="The API key has expired")
        self.gate.taken += 1
        wait_s = self.behaviour.limit.admit_s(now)
        if wait_s > 0:
            return fail(429, headers=self._throttle_headers(wait_s))
        self._memory.note_let_in(now)
        if request.content_type != "application/json":
            return fail(400, details=("the Content-Type must be application/json",))
        if call.payload is None:
            return fail(400, details=call.problems)
        attached = self.behaviour.numbers
        if attached is not None and call.direction not in attached.get(call.number, ()):
            return fail(404)
        return None

    def _let_in(self, call: Call) -> tuple[Fault | Reply, Roll]:
        """What happens to a change that was admitted; it is applied here, if it ever is."""
        key, behaviour = (call.number, call.direction), self.behaviour
        arrival = self._memory.next_arrival(key)
        chance = roll(behaviour.options.seed, *key, arrival) if behaviour.needs_chance else _NO_CHANCE
        fault = behaviour.scripted(key, arrival)
        if fault is None:
            admitted = self._memory.admitted + 1 - self.faults_from
            hold = behaviour.faults_hold(admitted, arrival)
            fault = behaviour.dice.pick(chance.fault) if hold else OK
        if fault.applies and call.payload:
            self._memory.note_applied(key, call.payload)
        self._memory.note_answered(*key, answer=_label(fault), fault=fault.name)
        return fault, chance

    async def _delay(self, chance: Roll) -> None:
        delay_s = self.behaviour.latency.draw_s(chance.latency)
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    # --- answering ------------------------------------------------------------------------------------

    async def _play(self, request: web.BaseRequest, call: Call, fault: Fault | Reply) -> web.StreamResponse:
        if isinstance(fault, Reply):
            return self.wire.whole(request, fault.answer)
        options = self.behaviour.options
        match fault.kind:
            case FaultKind.OK:
                form = fault.form or options.success_form
                return self.wire.whole(request, self._success(call, form))
            case FaultKind.STATUS:
                throttles = fault.status in (429, 503)
                headers = self._throttle_headers(1.0) if throttles else self._limit_headers()
                form = fault.form or options.failure_form
                failed = failure(fault.status, form=form, code=fault.code, headers=headers)
                return self.wire.whole(request, failed)
            case FaultKind.HTML:
                return self.wire.whole(request, html_page())
            case FaultKind.REDIRECT:
                away = f"{request.scheme}://{request.host}/v1/sip/moved"
                return self.wire.whole(request, Answer(fault.status, headers=(("Location", away),)))
            case FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER:
                return wire.reset(request)
            case FaultKind.HANG:
                return await wire.hang()
            case FaultKind.DRIP:
                return await self.wire.drip(request, self._success(call), options.drip_s)
            case FaultKind.ENDLESS_HEADERS:
                return await wire.endless_headers(request, options.drip_s)
            case FaultKind.TRUNCATED:
                return self.wire.truncated(request, self._success(call))
            case FaultKind.BAD_GZIP:
                return self.wire.whole(request, bad_gzip(self._success(call)))
            case FaultKind.BOMB:
                return self.wire.whole(request, await asyncio.to_thread(bomb), keep_alive=False)
            case FaultKind.GARBAGE:
                return wire.Sent(wire.GARBAGE)
            case FaultKind.HUGE_HEADERS:
                return self.wire.whole(request, huge_headers(self._success(call)), keep_alive=False)

    def _success(self, call: Call, form: str = "data") -> Answer:
        data = {
            "phone_number": call.number,
            "direction": call.direction,
            "updated_at": iso(time.time()),
        }
        return success(data, form, headers=self._limit_headers())

    def _limit_headers(self) -> Headers:
        form = self.behaviour.options.limit_headers
        return self.behaviour.limit.headers(form, time.monotonic(), time.time())

    def _throttle_headers(self, wait_s: float) -> Headers:
        """`Retry-After` and the limit's headers, in the forms that the options name."""
        limits, at = self._limit_headers(), time.time()
        match self.behaviour.options.retry_after:
            case None:
                return limits
            case "auto":
                text = str(math.ceil(wait_s))
            case "auto-date":
                text = self.wire.date(at + math.ceil(wait_s))
            case given if given.startswith(("date+", "date-")):
                text = self.wire.date(at + float(given[4:]))
            case given:
                text = given
        return (("Retry-After", text), *limits)


def _label(fault: Fault | Reply) -> str:
    """The status, or what happens where none reaches the client whole."""
    if isinstance(fault, Reply):
        return str(fault.answer.status)
    match fault.kind:
        case FaultKind.OK:
            return "204" if fault.form == "204" else "200"
        case FaultKind.STATUS | FaultKind.HTML | FaultKind.REDIRECT:
            return str(fault.status)
        case _:
            return fault.kind.value
