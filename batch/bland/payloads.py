"""Check what is to be sent to Bland's `PATCH /v1/sip/config`: problems and doubts in the operator's words.

Problems reject a row; doubts are warnings: the API may take it, and it is perhaps not what was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import get_type_hints, is_typeddict

from batch.bland.models import (
    AlertConfig,
    CodecConfig,
    ConfigBlocks,
    Endpoint,
    FailoverConfig,
    PatchBody,
    shown,
)
from batch.plans import Payload
from batch.schema import Checked, Finding, Kind, Path, did_you_mean, dotted

#: The vendor says of its signalling that it takes this and nothing else.
_SAFE: dict[str, object] = {"transport": "tls", "port": 5061}
#: The codecs of the telephone network itself.
_PLAIN_CODECS = frozenset({"PCMU", "PCMA"})
#: What other systems call the codecs, folded, where the spelling is not near.
_CODEC_NAMES = {
    **dict.fromkeys(("ulaw", "mulaw", "g711u", "g711ulaw", "g711mulaw"), "PCMU"),
    **dict.fromkeys(("alaw", "g711a", "g711alaw"), "PCMA"),
}

_BLOCKS = TypeAdapter(ConfigBlocks)
_BODY = TypeAdapter(PatchBody)


class BlandSchema:
    """What the API's models say of a payload; implements `batch.schema.Schema`."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """The config blocks, in the order of the vendor's page."""
        return tuple(_fields(ConfigBlocks))

    def check(self, blocks: Mapping[str, object]) -> Checked:
        """Check blocks that were filled; the payload holds just what was given, as it was given."""
        given = dict(blocks)
        problems: list[Finding] = []
        try:
            parsed = _BLOCKS.validate_python(given)
        except ValidationError as error:
            problems.extend(_problems(error, ConfigBlocks))
        problems.extend(_empty(given))
        if problems:
            return Checked(None, tuple(problems))
        return Checked(Payload.of(given), (), tuple(_doubts(parsed)))

    def kind_of(self, path: Sequence[str | int]) -> Kind | None:
        """What the field at a path holds, from the models' own annotations."""
        found = _annotation(path, ConfigBlocks)
        if found is None:
            return None
        if is_typeddict(found):
            return Kind.OBJECT
        if get_origin(found) is list:
            return Kind.OBJECTS if is_typeddict(_element(found)) else Kind.LIST
        return {bool: Kind.BOOLEAN, int: Kind.INTEGER, float: Kind.NUMBER}.get(found, Kind.TEXT)

    def fields_of(self, path: Sequence[str | int]) -> tuple[str, ...]:
        """The names below the object at a path, in the order of the vendor's page."""
        return tuple(_fields(_annotation(path, ConfigBlocks)))

    def choices_of(self, path: Sequence[str | int]) -> tuple[str, ...]:
        """The values that the field, or each element of the list, is picked from."""
        return _choices(_annotation(path, ConfigBlocks))

    def json_schema(self) -> dict[str, object]:
        """A JSON Schema of the blocks, with the field descriptions that an editor shows."""
        schema = _BLOCKS.json_schema()
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "minProperties": 1}


SCHEMA = BlandSchema()


def check_body(body: object) -> list[Finding]:
    """All problems of a complete PATCH body, number and direction included: what a strict API refuses."""
    if not isinstance(body, dict):
        return [Finding((), f"the body must be a JSON object, not {shown(body)}", "payload.type")]
    problems: list[Finding] = []
    try:
        _BODY.validate_python(body)
    except ValidationError as error:
        problems.extend(_problems(error, PatchBody))
    return [*problems, *_empty(body)]


# --- the models, asked by path ------------------------------------------------------------------


@cache
def _fields(model: Any) -> dict[str, Any]:
    """The fields of a model and what they hold; none where it is no model."""
    if not is_typeddict(model):
        return {}
    return {name: _bare(hint) for name, hint in get_type_hints(model, include_extras=True).items()}


def _bare(annotation: Any) -> Any:
    """An annotation without its constraints."""
    while get_origin(annotation) in (Annotated, Required, NotRequired):
        annotation = get_args(annotation)[0]
    return annotation


def _element(annotation: Any) -> Any:
    return _bare(get_args(annotation)[0])


def _annotation(path: Sequence[str | int], model: Any) -> Any:
    """The bare annotation at a path; None where there is no such field."""
    found = model
    for part in path:
        if isinstance(part, int) and part >= 0 and get_origin(found) is list:
            found = _element(found)
        else:
            found = _fields(found).get(str(part))
    return found


def _choices(annotation: Any) -> tuple[str, ...]:
    found = _element(annotation) if get_origin(annotation) is list else annotation
    return get_args(found) if get_origin(found) is Literal else ()


# --- problems -----------------------------------------------------------------------------------


def _problems(error: ValidationError, model: Any) -> Iterator[Finding]:
    """The faults that the models found: never in the validation library's words, which quote the input."""
    for detail in error.errors(include_url=False):
        kind, message = _sentence(detail, model)
        yield Finding(detail["loc"], message, kind)


_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number that JSON can hold",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "an object with fields",
}


def _sentence(detail: ErrorDetails, model: Any) -> tuple[str, str]:
    """The slug and the sentence for one fault."""
    kind, path, value, bounds = detail["type"], detail["loc"], detail["input"], detail.get("ctx", {})
    if kind.startswith("payload."):
        return kind, detail["msg"]
    if value is None:
        text = "is null, and the API does not say what that does: give a value, or leave it out"
        return "payload.null", text
    if kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        kind = "finite_number"  # a whole number of too many digits is one, and no float
    if kind in _EXPECTED:
        return "payload.type", f"must be {_EXPECTED[kind]}, not {shown(value)}"
    match kind:
        case "missing":
            return "payload.missing", "is missing, and must be given"
        case "extra_forbidden" | "invalid_key":
            return "payload.unknown_field", _unknown_field(path, model)
        case "literal_error":
            return "payload.choice", _not_a_choice(value, path, model)
        case "greater_than_equal":
            return "payload.range", f"must be {bounds['ge']:.16g} or more, not {shown(value)}"
        case "less_than_equal":
            return "payload.range", f"must be {bounds['le']:.16g} or less, not {shown(value)}"
        case "string_pattern_mismatch":
            return "payload.number", f"must be an E.164 number such as +14155550100, not {shown(value)}"
        case _:
            return "payload.type", "is nothing that can be sent as JSON"


def _unknown_field(path: Path, model: Any) -> str:
    owner, name = path[:-1], str(path[-1])
    known = tuple(_fields(_annotation(owner, model)))
    where = dotted(owner) or "the payload"
    return f"is no field: {where} takes {', '.join(known)}.{did_you_mean(name, known)}"


def _not_a_choice(value: object, path: Path, model: Any) -> str:
    choices = _choices(_annotation(path, model))
    hint = ""
    if isinstance(value, str):
        meant = _CODEC_NAMES.get("".join(filter(str.isalnum, value[:40].lower())), "")
        hint = f' Did you mean "{meant}"?' if meant in choices else did_you_mean(value, choices)
    listed = ", ".join(f'"{choice}"' for choice in choices)
    return f"must be one of {listed}, not {shown(value)}.{hint}"


def _empty(given: Mapping[str, object]) -> Iterator[Finding]:
    """A payload, or a block, that would set nothing."""
    blocks = _fields(ConfigBlocks)
    if not any(name in given for name in blocks):
        text = f"there is nothing to set: give at least one of {', '.join(blocks)}"
        yield Finding((), text, "payload.no_block")
    for name, model in blocks.items():
        if given.get(name) == {}:
            text = f"is empty: give at least one of {', '.join(_fields(model))}, or leave the block out"
            yield Finding((name,), text, "payload.empty_block")


# --- doubts -------------------------------------------------------------------------------------


def _doubts(blocks: ConfigBlocks) -> Iterator[Finding]:
    if "failover_config" in blocks:
        yield from _failover_doubts(blocks["failover_config"])
    if "codec_config" in blocks:
        yield from _codec_doubts(blocks["codec_config"])
    if "alert_config" in blocks:
        yield from _alert_doubts(blocks["alert_config"])


def _partial(name: str, block: Mapping[str, object]) -> Iterator[Finding]:
    """A block of which a part is left out; one that only switches itself off is whole enough."""
    absent = [field for field in _fields(_fields(ConfigBlocks)[name]) if field not in block]
    if absent and block.get("enabled") is not False:
        text = f"leaves out {', '.join(absent)}: the API does not say whether what was set there stays"
        yield Finding((name,), text, "payload.partial_block")


def _failover_doubts(failover: FailoverConfig) -> Iterator[Finding]:
    top, endpoints = "failover_config", failover.get("endpoints", [])
    yield from _partial(top, failover)
    if failover.get("enabled") and not endpoints:
        text = "is on without any endpoint: there is nowhere for calls to go"
        yield Finding((top, "enabled"), text, "payload.failover_without_endpoints")
    if failover.get("enabled") and failover.get("triggers") == []:
        text = "is empty while failover is on: nothing would set it off"
        yield Finding((top, "triggers"), text, "payload.failover_without_triggers")
    for index, endpoint in enumerate(endpoints):
        yield from _endpoint_doubts((top, "endpoints", index), endpoint)
    yield from _repeats(endpoints, _address, "payload.repeated_endpoint", "is the same server as")
    yield from _repeats(endpoints, _priority, "payload.priority_tie", "has the same priority as")


def _endpoint_doubts(path: Path, endpoint: Endpoint) -> Iterator[Finding]:
    absent = [name for name in _fields(Endpoint) if name not in endpoint]
    if absent:
        text = f"leaves out {', '.join(absent)}: the API does not say what it then takes"
        yield Finding(path, text, "payload.partial_endpoint")
    given = {"transport": endpoint.get("transport"), "port": endpoint.get("port")}
    odd = [f"{name} {value}" for name, value in given.items() if value not in (None, _SAFE[name])]
    if odd:
        text = f"has {' and '.join(odd)}: Bland says its signalling takes tls on port 5061 only"
        yield Finding(path, text, "payload.not_tls_5061")


def _address(endpoint: Endpoint) -> object:
    return endpoint["host"].lower().removesuffix("."), endpoint.get("port"), endpoint.get("transport")


def _priority(endpoint: Endpoint) -> object:
    return endpoint.get("priority")


def _repeats(
    endpoints: Sequence[Endpoint], feature: Callable[[Endpoint], object], kind: str, says: str
) -> Iterator[Finding]:
    seen: dict[object, int] = {}
    for index, endpoint in enumerate(endpoints):
        value = feature(endpoint)
        first = seen.setdefault(value, index)
        if value is not None and first != index:
            path = ("failover_config", "endpoints", index)
            yield Finding(path, f"{says} {dotted((*path[:2], first))}", kind)


def _codec_doubts(codec: CodecConfig) -> Iterator[Finding]:
    yield from _partial("codec_config", codec)
    codecs = codec.get("codecs")
    if codecs == []:
        text = "is empty: a call needs at least one codec"
        yield Finding(("codec_config", "codecs"), text, "payload.no_codec")
    needing = [name for name in codecs or [] if name not in _PLAIN_CODECS]
    if needing and codec.get("transcode") is False:
        text = f"is off, and {', '.join(needing)} may not reach the telephone network without it"
        yield Finding(("codec_config", "transcode"), text, "payload.transcode_off")


def _alert_doubts(alert: AlertConfig) -> Iterator[Finding]:
    yield from _partial("alert_config", alert)
    channels = alert.get("channels", {})
    if alert.get("enabled") and not any(channels.values()):
        text = "is on without any channel: nobody would be told"
        yield Finding(("alert_config", "enabled"), text, "payload.alerts_without_channel")
