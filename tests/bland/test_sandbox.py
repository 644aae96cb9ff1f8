"""The sandbox over real HTTP: what the documented API takes, refuses, keeps and tells."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.bland.sandbox_calls import CallReader
from batch.bland.sandbox_options import read_numbers
from batch.errors import SheetError
from batch.plans import Payload
from tests.bland.sandbox_client import CODECS, DOCUMENTED, KEY, NUMBER, documented, sandboxed

pytestmark = pytest.mark.anyio

BLOCKS = {name: value for name, value in DOCUMENTED.items() if name.endswith("_config")}
SIP = f"/v1/sip?phone_number=%2B{NUMBER[1:]}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- changing -------------------------------------------------------------------------------------


async def test_the_documented_example_is_applied_as_it_is() -> None:
    """The body on the vendor's page is taken, applied word for word, and answered by a success."""
    async with sandboxed() as client:
        heard = await client.patch()
        assert heard.status == 200
        assert heard.json["errors"] is None
        assert heard.json["data"]["phone_number"] == NUMBER
        assert client.sandbox.applied == {KEY: BLOCKS}
        assert client.sandbox.applied_sha256 == {KEY: Payload.of(BLOCKS).sha256}
        assert client.sandbox.counts == {"200": 1}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{not json", "not JSON"),
        (b"[]", "object"),
        (documented(phone_number="4150000000"), "phone_number"),
        (documented(phone_number=14150000000), "phone_number"),
        (documented(direction="both"), "direction"),
        ({k: v for k, v in DOCUMENTED.items() if k != "direction"}, "direction"),
        ({"phone_number": NUMBER, "direction": "outbound"}, "codec_config"),
        (documented(codec_config=None), "codec_config"),
        (documented(colour="red"), "colour"),
        (documented(codec_config={"codecs": ["pcmu"]}), "codec_config.codecs.0"),
        (documented(codec_config={"codecs": ["PCMU"], "transcode": "yes"}), "codec_config.transcode"),
        (
            documented(failover_config={"endpoints": [{"host": "a", "port": 0}]}),
            "failover_config.endpoints.0.port",
        ),
        (documented(failover_config={"triggers": ["busy"]}), "failover_config.triggers.0"),
        (documented(alert_config={"channels": {"webhook": "ftp://a"}}), "alert_config.channels.webhook"),
    ],
)
async def test_what_the_page_does_not_allow_is_refused(body: object, names: str) -> None:
    """A wrong body gets 400 in failure body 3, which names what is wrong, and applies nothing."""
    async with sandboxed() as client:
        heard = await client.patch(body)
        assert heard.status == 400
        assert heard.json["status"] == "error"
        assert heard.json["message"] == "Invalid parameters"
        assert any(names in text for text in heard.json["errors"]), heard.json
        assert client.sandbox.applied == {}
        assert client.sandbox.received == 1


async def test_a_body_that_is_not_declared_json_is_refused() -> None:
    """Without `Content-Type: application/json` the body is not looked at."""
    async with sandboxed() as client:
        heard = await client.patch(headers={"Content-Type": "text/plain"})
        assert heard.status == 400
        assert client.sandbox.applied == {}


async def test_a_body_beyond_all_measure_is_refused() -> None:
    """More than a megabyte gets 413, and the sandbox goes on."""
    async with sandboxed() as client:
        heard = await client.patch(io.BytesIO(b" " * 1_100_000))
        assert heard.status == 413
        assert (await client.patch()).status == 200


async def test_a_body_that_does_not_unpack_is_refused() -> None:
    """What says that it is gzip and is not gets 400, and the sandbox goes on."""
    async with sandboxed() as client:
        assert (await client.patch(headers={"Content-Encoding": "gzip"})).status == 400
        assert (await client.patch()).status == 200


async def test_only_the_blocks_that_are_sent_change() -> None:
    """A block that a change leaves out stays; one that it sends is replaced whole."""
    async with sandboxed() as client:
        await client.patch()
        await client.patch(
            {"phone_number": NUMBER, "direction": "outbound", "codec_config": {"codecs": ["G.722"]}}
        )
        assert client.sandbox.config(*KEY) == {**BLOCKS, "codec_config": {"codecs": ["G.722"]}}
        assert client.sandbox.applied == {KEY: {"codec_config": {"codecs": ["G.722"]}}}
        assert client.sandbox.applied_of(*KEY) == 2


async def test_blocks_are_merged_where_that_is_asked_for() -> None:
    """With `merge_blocks` a field that a change leaves out stays, and a list is replaced."""
    async with sandboxed(merge_blocks=True) as client:
        await client.patch()
        await client.patch(
            {"phone_number": NUMBER, "direction": "outbound", "codec_config": {"codecs": ["G.722"]}}
        )
        assert client.sandbox.config(*KEY)["codec_config"] == {"codecs": ["G.722"], "transcode": True}


async def test_directions_are_apart() -> None:
    """A change of one direction leaves the other as it is."""
    async with sandboxed() as client:
        await client.patch_number(NUMBER, "inbound")
        assert client.sandbox.applied == {(NUMBER, "inbound"): CODECS}
        assert client.sandbox.config(NUMBER, "outbound") == {}


# --- the key ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["sk-good", "Bearer sk-good", "bearer sk-good"])
async def test_the_key_is_taken_bare_and_as_bearer(sent: str) -> None:
    """The vendor's page sends `Bearer KEY`, the vendor's tools the bare key: both are let in."""
    async with sandboxed(key="sk-good") as client:
        assert (await client.patch(key=sent)).status == 200


@pytest.mark.parametrize("sent", ["sk-bad", "Bearer sk-bad", "Bearer", "Basic sk-good", ""])
async def test_a_wrong_key_is_refused(sent: str) -> None:
    """Any other key gets 401 with the code AUTH_FAILURE, for changes and for reads, and applies nothing."""
    async with sandboxed(key="sk-good") as client:
        for heard in (await client.patch(key=sent), await client.get(SIP, key=sent)):
            assert heard.status == 401
            assert heard.json["data"] is None
            assert heard.json["errors"][0]["error"] == "AUTH_FAILURE"
        assert client.sandbox.applied == {}


@pytest.mark.parametrize("sent", [None, "", "Bearer "])
async def test_no_key_is_refused_even_where_any_will_do(sent: str | None) -> None:
    """By default any key is good, but there must be one."""
    async with sandboxed() as client:
        assert (await client.patch(key="anything")).status == 200
        assert (await client.get(SIP, key=sent)).status == 401


async def test_a_key_can_expire_and_be_mended() -> None:
    """With `expire_key_after` the key is good for so many changes, then for nothing, until it is mended."""
    async with sandboxed(key="old", expire_key_after=2) as client:
        statuses = [(await client.patch(key="old")).status for _ in range(4)]
        assert statuses == [200, 200, 401, 401]
        assert (await client.get(SIP, key="old")).status == 401
        assert (await client.control(key="new")).status == 200
        assert (await client.patch(key="old")).status == 401
        assert [(await client.patch(key="new")).status for _ in range(3)] == [200, 200, 200]


async def test_an_expiry_set_anew_counts_from_then() -> None:
    """`expire_key_after` by the control endpoint lets so many more changes through."""
    async with sandboxed() as client:
        await client.patch()
        await client.control(expire_key_after=1)
        assert [(await client.patch()).status for _ in range(2)] == [200, 401]
        await client.control(expire_key_after=None)
        assert (await client.patch()).status == 200


# --- reading ----------------------------------------------------------------------------------------


async def test_a_number_that_was_never_configured_reads_as_null() -> None:
    """Both directions are null until something is applied."""
    async with sandboxed() as client:
        assert (await client.get(SIP)).json == {"data": {"inbound": None, "outbound": None}, "errors": None}


async def test_a_number_reads_in_the_documented_shape() -> None:
    """A side has `number` (not `phone_number`) and all that the vendor's page lists, and no block."""
    async with sandboxed() as client:
        await client.patch()
        data = (await client.get(SIP)).json["data"]
        assert data["inbound"] is None
        assert set(data["outbound"]) == {
            "id",
            "org_id",
            "number",
            "direction",
            "sip_endpoint",
            "headers",
            "options",
            "created_at",
            "updated_at",
        }
        assert data["outbound"]["number"] == NUMBER
        assert data["outbound"]["direction"] == "outbound"
        assert data["outbound"]["options"] == {}


async def test_blocks_are_shown_where_they_are_asked_for() -> None:
    """`show_blocks` puts the blocks in force on the side itself, or inside its options."""
    async with sandboxed(show_blocks="side") as client:
        await client.patch()
        side = (await client.get(SIP)).json["data"]["outbound"]
        assert {name: side[name] for name in BLOCKS} == BLOCKS
        assert side["options"] == {}
        await client.control(show_blocks="options")
        side = (await client.get(SIP)).json["data"]["outbound"]
        assert side["options"] == BLOCKS
        assert not set(BLOCKS) & set(side)


async def test_numbers_are_listed_in_the_documented_shape() -> None:
    """Without a list of attached numbers those are listed that were configured, with their directions."""
    async with sandboxed() as client:
        await client.patch()
        await client.patch_number("+14150000001", "outbound")
        await client.patch_number("+14150000001", "inbound")
        answer = (await client.get("/v1/sip/numbers")).json
        assert answer["errors"] is None
        listed = {number.pop("phone_number"): number for number in answer["data"]["numbers"]}
        assert listed == {
            NUMBER: {
                "directions": ["outbound"],
                "sip_endpoint": f"sip:{NUMBER}@sip.sandbox.invalid",
                "health_status": "healthy",
            },
            "+14150000001": {
                "directions": ["inbound", "outbound"],
                "sip_endpoint": "sip:+14150000001@sip.sandbox.invalid",
                "health_status": "healthy",
            },
        }


async def test_numbers_can_be_listed_as_one_of_the_vendors_tools_reads_them() -> None:
    """With `numbers_form` a number is listed once a direction, under `direction` and `status`."""
    async with sandboxed(numbers={NUMBER: ("outbound", "inbound")}, numbers_form="direction") as client:
        listed = (await client.get("/v1/sip/numbers")).json["data"]["numbers"]
        assert [(n["direction"], n["status"]) for n in listed] == [
            ("inbound", "unchecked"),
            ("outbound", "unchecked"),
        ]


async def test_health_is_told_in_the_documented_shape() -> None:
    """A number is unchecked, without a response time, until it is configured."""
    path = SIP.replace("/v1/sip", "/v1/sip/status")
    async with sandboxed() as client:
        before = (await client.get(path)).json["data"]
        await client.patch()
        after = (await client.get(path)).json["data"]
        assert (before["status"], before["response_time_ms"]) == ("unchecked", None)
        assert (after["status"], after["response_time_ms"]) == ("healthy", 42)
        assert after["checked_at"].endswith("Z")


async def test_a_read_must_name_its_number() -> None:
    """Without `phone_number` a read gets 400."""
    async with sandboxed() as client:
        assert (await client.get("/v1/sip")).status == 400


async def test_only_attached_numbers_are_known() -> None:
    """With a list of numbers any other, and a direction that is not attached, gets 404 with NOT_FOUND."""
    async with sandboxed(
        numbers={"+14150000001": ("inbound",), "+14150000002": ("inbound", "outbound")}
    ) as client:
        assert (await client.patch_number("+14150000001", "inbound")).status == 200
        assert (await client.patch_number("+14150000002", "outbound")).status == 200
        for heard in (
            await client.patch_number("+14150000001", "outbound"),
            await client.patch(),
            await client.get(SIP),
        ):
            assert heard.status == 404
            assert heard.json["errors"][0]["error"] == "NOT_FOUND"
        listed = (await client.get("/v1/sip/numbers")).json["data"]["numbers"]
        assert [(n["phone_number"], n["directions"]) for n in listed] == [
            ("+14150000001", ["inbound"]),
            ("+14150000002", ["inbound", "outbound"]),
        ]


def test_attached_numbers_are_read_from_a_file(tmp_path: Path) -> None:
    """One number a line, with a direction if only one is attached; a wrong line is named by its place."""
    path = tmp_path / "numbers.txt"
    path.write_text(
        "# ours\n+14150000001\n\n+14150000002, inbound\n+14150000003 outbound\n+14150000003 inbound\n"
    )
    assert read_numbers(path) == {
        "+14150000001": ("inbound", "outbound"),
        "+14150000002": ("inbound",),
        "+14150000003": ("outbound", "inbound"),
    }
    path.write_text("+14150000001\n4150000001\n")
    with pytest.raises(SheetError, match=r"numbers\.txt:2: write an E\.164 number"):
        read_numbers(path)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/sip/config", 405, "PATCH"),
        ("POST", "/v1/sip/config", 405, "PATCH"),
        ("DELETE", "/v1/sip/numbers", 405, "GET, HEAD"),
        ("GET", "/v1/calls", 404, None),
        ("PATCH", "/v1/sip/configs", 404, None),
        ("GET", "/", 404, None),
    ],
)
async def test_other_calls_fail_in_the_apis_shape(
    method: str, path: str, status: int, allow: str | None
) -> None:
    """What is not there gets 404, what cannot be done 405 with `Allow`, both in failure body 1."""
    async with sandboxed() as client:
        heard = await client.call(method, path)
        assert heard.status == status
        assert heard.headers.get("Allow") == allow
        assert heard.json["data"] is None
        assert heard.json["errors"][0]["error"]


# --- reading bodies ---------------------------------------------------------------------------------

_DECOYS = st.sampled_from(
    [
        {},
        {"direction": "inbound"},
        {"colour": "red"},
        {"codec_config": {"codecs": ["PCMA"], "phone_number": "+14150000009"}},
        {"failover_config": {"endpoints": [{"host": "a.example.com", "phone_number": "+14150000009"}]}},
        {"alert_config": {"channels": {"webhook": 'https://a.example.com/"phone_number":"+14150000009"'}}},
    ]
)
_NUMBERS = st.sampled_from(["+14150000000", "+14150000009", "+442071838750", "4150000000", "+1"])


@given(bodies=st.lists(st.tuples(_NUMBERS, _DECOYS, st.booleans()), min_size=1, max_size=8))
def test_what_was_read_before_changes_no_reading(bodies: list[tuple[str, dict[str, Any], bool]]) -> None:
    """A body reads the same whether the reader has seen others like it or nothing at all."""
    seasoned = CallReader()
    for number, decoy, number_last in bodies:
        rest = {"direction": "outbound", **CODECS, **decoy}
        body = orjson.dumps(
            {**rest, "phone_number": number} if number_last else {"phone_number": number, **rest}
        )
        assert seasoned.read(body) == CallReader().read(body)


@pytest.mark.parametrize("spelled", [b'"phone_number"', b'"phone\\u005fnumber"'])
def test_a_second_number_in_a_body_is_not_mistaken(spelled: bytes) -> None:
    """Where a body has its number twice the last one counts, however it is spelled and what came before."""
    reader = CallReader()
    for last in ("+14150000001", "+14150000002"):
        body = (
            b'{"phone_number": "+14150000009", "direction": "outbound", '
            b'"codec_config": {"codecs": ["PCMU"]}, ' + spelled + b': "' + last.encode() + b'"}'
        )
        assert reader.read(body).number == last
