"""The sandbox's own endpoint: what it received and applied, what it guesses, and changing it while it runs.

    GET  /_sandbox           counts, the busiest second, every key (not with `?keys=no`), options, guesses
    GET  /_sandbox/applied   what was last applied to each key, a JSON line each
    GET  /_sandbox/log       the latest events, a JSON line each (`?last=100`)
    GET  /_sandbox/guesses   where nothing published says what the API does
    POST /_sandbox           {"limit": "10/s", "faults": {"503": 0.5}, "reset": "counts"}

The POST takes the options of `SandboxOptions` that can be changed (all but address, record and TLS), with
null for none, and `reset`: `counts`, or `all` for what was applied too. It answers with the summary. It
asks for no key: it is reachable from this machine only, as the whole sandbox is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import orjson
from aiohttp import web

from batch.bland.guesses import GUESSES
from batch.bland.sandbox_memory import Memory
from batch.bland.sandbox_options import Behaviour, Key
from batch.errors import UsageError

PATH = "/_sandbox"
_LINES = "application/x-ndjson"
_LINES_A_WRITE = 500


class Sandbox(Protocol):
    """What this endpoint tells of and changes; `batch.bland.sandbox.Sandbox` is one."""

    base_url: str
    memory: Memory
    behaviour: Behaviour

    def change(self, changes: Mapping[str, object]) -> None: ...

    def recount(self) -> None: ...

    def forget(self) -> None: ...


async def answer(sandbox: Sandbox, request: web.BaseRequest) -> web.StreamResponse:
    """Answer a request to a path at or below `PATH`."""
    match request.method, request.path.removeprefix(PATH).rstrip("/"):
        case "GET" | "HEAD", "":
            return _json(summary(sandbox, with_keys=request.query.get("keys") != "no"))
        case "GET", "/applied":
            return await _applied(sandbox, request)
        case "GET", "/log":
            last = request.query.get("last", "")
            events = list(sandbox.memory.log)[-int(last) if last.isdecimal() else 0 :]
            return web.Response(body=b"".join(e.to_json() + b"\n" for e in events), content_type=_LINES)
        case "GET", "/guesses":
            return _json([guess._asdict() for guess in GUESSES])
        case "POST", "":
            return await _change(sandbox, request)
        case _:
            return _json({"error": "There is no such call. " + (__doc__ or "").split("\n\n")[1]}, status=404)


def summary(sandbox: Sandbox, *, with_keys: bool = True) -> dict[str, object]:
    """What happened so far, as JSON values. `let_in` counts what had a good key and room in the limit."""
    memory = sandbox.memory
    told: dict[str, object] = {
        "base_url": sandbox.base_url,
        "received": memory.received,
        "admitted": memory.admitted,
        "applied": memory.applied,
        "keys_received": sum(side.received > 0 for side in memory.sides.values()),
        "keys_applied": sum(side.last is not None for side in memory.sides.values()),
        "answers": dict(sorted(memory.answers.items())),
        "faults": dict(sorted(memory.faults.items())),
        "worst_second": memory.busiest_received.most,
        "worst_second_let_in": memory.busiest_let_in.most,
        "per_second": [
            {"second": second, "received": received, "applied": applied}
            for second, (received, applied) in sorted(memory.per_second.items())
        ],
        "options": options(sandbox),
        "guesses": [guess._asdict() for guess in GUESSES],
    }
    if with_keys:
        told["keys"] = {
            f"{number} {direction}": {"received": side.received, "applied": side.applied}
            for (number, direction), side in memory.sides.items()
        }
    return told


def options(sandbox: Sandbox) -> dict[str, object]:
    """The options that can be changed, as they are now; of the key only whether there is a particular one."""
    now = sandbox.behaviour.options
    told: dict[str, object] = {name: getattr(now, name) for name in _CHANGEABLE}
    told["key"] = "any" if now.key is None else "one"
    told["script"] = {
        " ".join(key): [step if isinstance(step, str) else step.name for step in steps]
        for key, steps in now.script.items()
    }
    told["numbers"] = None if now.numbers is None else len(now.numbers)
    return told


async def _applied(sandbox: Sandbox, request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": _LINES})
    await response.prepare(request)
    lines: list[bytes] = []
    for (number, direction), side in list(sandbox.memory.sides.items()):
        if side.last is None:
            continue
        line = {
            "phone_number": number,
            "direction": direction,
            "received": side.received,
            "applied": side.applied,
            "at": side.updated_at,
            "sha256": side.last.payload.sha256,
            "body": orjson.Fragment(side.last.payload.body),
        }
        lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(lines) == _LINES_A_WRITE:
            await response.write(b"".join(lines))
            lines.clear()
    await response.write(b"".join(lines))
    await response.write_eof()
    return response


# --- changing it -----------------------------------------------------------------------------------


async def _change(sandbox: Sandbox, request: web.BaseRequest) -> web.StreamResponse:
    try:
        changes = _changes(await request.read())
        reset = changes.pop("reset", None)
        sandbox.change(changes)
    except UsageError as error:
        return _json({"error": str(error)}, status=400)
    if reset == "counts":
        sandbox.recount()
    elif reset == "all":
        sandbox.forget()
    return _json(summary(sandbox, with_keys=False))


def _changes(body: bytes) -> dict[str, object]:
    """The options that a body changes, each of the right kind; `UsageError` if it is no such body."""
    try:
        asked: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UsageError("The body is not JSON.") from None
    if not isinstance(asked, dict):
        raise UsageError('The body must be a JSON object, such as {"limit": "10/s"}.')
    changes: dict[str, object] = {}
    for name, value in asked.items():
        if name not in _CHANGEABLE and name != "reset":
            raise UsageError(f'"{name}" cannot be changed. There are: {", ".join((*_CHANGEABLE, "reset"))}.')
        is_right, wanted = _CHANGEABLE[name] if name != "reset" else _RESET
        if not is_right(value):
            raise UsageError(f"{name} must be {wanted}.")
        changes[name] = _script(value) if name == "script" else value
    return changes


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pause(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 60


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_chances(value: object) -> bool:
    return isinstance(value, dict) and all(_is_number(chance) for chance in value.values())


def _is_script(value: object) -> bool:
    return isinstance(value, dict) and all(
        len(key.split()) == 2 and _is_texts(steps) for key, steps in value.items()
    )


def _is_attached(value: object) -> bool:
    by_number = isinstance(value, dict) and all(_is_texts(directions) for directions in value.values())
    return value is None or _is_texts(value) or by_number


def _script(value: object) -> dict[Key, list[str]]:
    assert isinstance(value, dict)
    return {(key.split()[0], key.split()[1]): steps for key, steps in value.items()}


_Check = tuple[Callable[[object], bool], str]

_TEXT: _Check = (lambda value: isinstance(value, str), "a text")
_TEXT_OR_NONE: _Check = (lambda value: value is None or isinstance(value, str), "a text or null")
_COUNT: _Check = (_is_count, "a whole number, 0 or more")
_COUNT_OR_NONE: _Check = (
    lambda value: value is None or _is_count(value),
    "a whole number, 0 or more, or null",
)
_RESET: _Check = (lambda value: value in ("counts", "all"), '"counts" or "all"')

#: The options that can be changed while it runs, and what each must be.
_CHANGEABLE: dict[str, _Check] = {
    "key": _TEXT_OR_NONE,
    "limit": _TEXT_OR_NONE,
    "retry_after": _TEXT_OR_NONE,
    "limit_headers": _TEXT,
    "failure_form": _TEXT,
    "success_form": _TEXT,
    "latency": _TEXT,
    "faults": (_is_chances, 'an object such as {"503": 0.02}'),
    "seed": _COUNT,
    "fault_first": _COUNT_OR_NONE,
    "fault_after": _COUNT,
    "fault_arrivals": _COUNT_OR_NONE,
    "script": (_is_script, 'an object such as {"+14155550100 outbound": ["503", "ok"]}'),
    "expire_key_after": _COUNT_OR_NONE,
    "numbers": (_is_attached, "a list of numbers, an object of lists of directions, or null"),
    "numbers_form": _TEXT,
    "show_blocks": _TEXT,
    "merge_blocks": (lambda value: isinstance(value, bool), "true or false"),
    "drip_s": (_is_pause, "seconds, at most 60"),
}


def _json(value: object, *, status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(status=status, body=body, content_type="application/json")
