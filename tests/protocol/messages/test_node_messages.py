"""Messages between a client and nodes, and between nodes: all round-trip; all other input is refused."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission.adapters.sealing import MAX_PAYLOAD
from fission.errors import RemoteProtocolError
from fission.protocol.messages.client_to_node import ECHOES, ORDERS, LaunchJob, PulseEcho, StopJob
from fission.protocol.messages.codec import Codec
from fission.protocol.messages.job_to_client import InputTotals, JobCounts
from fission.protocol.messages.node_to_client import ANSWERS, PULSES, REPORTS, ExitReport, LeasePulse, OrderDone, OrderRefused
from fission.protocol.messages.node_to_node import PROBES, LinkProbe
from fission.protocol.messages.order_envelopes import unwrap_answer, unwrap_order, versions_of, wrap_answer, wrap_order
from fission.protocol.messages.process_to_engine import PROCESS_TO_ENGINE, ProcessReport
from tests.protocol.messages.any_messages import forged, messages

CODECS: list[Codec[Any]] = [ORDERS, ECHOES, ANSWERS, REPORTS, PROCESS_TO_ENGINE, PULSES, PROBES]
REPORT = ProcessReport(outcome="failed", counts=JobCounts(compute_blocks={0: 7}, inputs={1: InputTotals(received=8)}, outputs={}))
MAX_NUMBER = (1 << 63) - 1
STOP = StopJob(run="r", job=1, incarnation=2, grace_s=0.5)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.name))
@settings(deadline=None)  # a busy machine
@given(data=st.data())
def test_every_message_is_decoded_as_it_was_encoded(codec: Codec[Any], data: st.DataObject) -> None:
    message = data.draw(messages(codec))
    assert codec.decode(codec.encode(message)) == message


@given(messages(ORDERS), messages(ANSWERS))
def test_so_it_is_in_its_envelope(order: Any, answer: Any) -> None:
    assert unwrap_order(wrap_order(order)) == order
    assert versions_of(wrap_order(order)) == getattr(order, "versions", {})
    assert unwrap_answer(wrap_answer(answer)) == answer


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.name))
def test_no_direction_takes_the_messages_of_another(codec: Codec[Any]) -> None:
    for other in CODECS:
        if other is not codec:
            for cls in other.types:
                with pytest.raises(RemoteProtocolError, match=codec.name):
                    codec.decode(msgspec.json.encode({"type": cls.__struct_config__.tag}))


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (ORDERS, b'{"type":"stop_job","run":"r","job":-1,"incarnation":1,"grace_s":0}'),
        (ORDERS, b'{"type":"stop_job","run":"r","job":9223372036854775808,"incarnation":1,"grace_s":0}'),
        (ORDERS, b'{"type":"stop_job","run":"r","job":1,"incarnation":1,"grace_s":-0.1}'),
        (ORDERS, b'{"type":"stop_job","run":"r","job":1,"incarnation":1,"grace_s":1e300}'),
        (ORDERS, b'{"type":"stop_job","run":"r","job":1,"incarnation":1}'),
        (ORDERS, b'{"type":"stop_job","run":"r","job":1,"incarnation":1,"grace_s":0,"more":1}'),
        (ORDERS, b'{"type":"set_peers","run":"r","peers":[{"name":"a","ip":"b","port":65536,"lease":"c"}]}'),
        (ORDERS, b'{"type":"set_peers","run":"r","peers":[["a","b",1,"c"]]}'),
        (ORDERS, b'{"type":"store_snapshot","run":"r","job":1,"incarnation":1,"name":"1.1","start":0,"state":"some"}'),
        (ORDERS, b'{"do":"stop","run":"r","job":1,"incarnation":1,"grace":0}'),
        (ECHOES, b'{"type":"pulse_echo","number":1.5,"acknowledged":0,"connected":true}'),
        (ECHOES, b'{"type":"pulse_echo","number":1,"acknowledged":0,"connected":1}'),
        (ANSWERS, b'{"type":"node_claimed","name":"n"}'),
        (REPORTS, b'{"type":"exit_report","run":"r","lease":"l","number":1,"job":1,"incarnation":1,"code":99999999999}'),
        (REPORTS, b'{"type":"exit_report","run":"r","lease":"l","number":1,"job":1,"incarnation":1,"code":0,"report":[]}'),
        (REPORTS, b'{"type":"exit_report","run":"r","lease":"l","number":1,"job":1,"incarnation":1,"code":0,"report":{}}'),
        (PROCESS_TO_ENGINE, b'{"type":"process_report","outcome":"well"}'),
        (PROCESS_TO_ENGINE, b'{"type":"process_report","outcome":"failed","counts":{"compute_blocks":{"a":1},"inputs":{},"outputs":{}}}'),
        (REPORTS, b'{"type":"links_report","run":"r","lease":"l","links":{"n":{"quality":256}}}'),
        (REPORTS, b'{"type":"links_report","run":"r","lease":"l","links":{"n":{"quality":1,"rtt_s":-1}}}'),
        (REPORTS, b'{"type":"links_report","run":"r","lease":"l","links":{"n":{"quality":true}}}'),
        (REPORTS, b'{"type":"links_report","run":"r","lease":"l","links":{"n":[1,null]}}'),
        (REPORTS, b'{"type":"output_report","run":"r","lease":"l","job":1,"stream":"stdin","lines":[]}'),
        (PULSES, b'{"type":"lease_pulse","lease":"l","number":1,"echoed":0,"means":{"cpu":NaN}}'),
        (PULSES, b'{"type":"lease_pulse","lease":"l","number":1,"echoed":0,"means":{"cpu":null}}'),
        (PULSES, b'{"type":"lease_pulse","lease":7,"number":1,"echoed":0}'),
        (PROBES, b'{"type":"link_probe","lease":"l","number":"1"}'),
        (PROBES, b'{"type":"link_probe","lease":"l","number":1}x'),
    ],
)
def test_malformed_or_mistyped_messages_are_refused(codec: Codec[Any], data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=codec.name):
        codec.decode(data)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.name))
def test_messages_that_are_too_large_are_refused(codec: Codec[Any]) -> None:
    with pytest.raises(RemoteProtocolError, match="at most"):
        codec.decode(b" " * (codec.max_bytes + 1))


def test_the_largest_pulses_fit_into_a_datagram() -> None:
    means = dict.fromkeys(("cpu", "memory", "disk", "swap", "rtt"), 1234567890.123456789)
    for codec, message in (
        (PULSES, LeasePulse(lease=f"{'f' * 16}.{MAX_NUMBER}", number=MAX_NUMBER, echoed=MAX_NUMBER, means=means, leaving=True)),
        (ECHOES, PulseEcho(number=MAX_NUMBER, acknowledged=MAX_NUMBER, connected=False)),
        (PROBES, LinkProbe(lease=f"{'f' * 16}.{MAX_NUMBER}", number=MAX_NUMBER)),
    ):
        codec: Codec[Any]  # type: ignore[no-redef]
        assert codec.max_bytes <= MAX_PAYLOAD
        assert codec.decode(codec.encode(message)) == message


def test_an_error_of_odd_file_names_arrives() -> None:
    report = ProcessReport(outcome="failed", error="no \udc80")
    refused = ExitReport(run="r", lease="l", number=1, job=1, incarnation=1, code=1, report=report)
    assert REPORTS.decode(REPORTS.encode(refused)).report == ProcessReport(outcome="failed", error="no \\udc80")  # type: ignore[union-attr]


def test_clients_and_nodes_of_other_versions_understand_refusals() -> None:
    """Their messages have these members in every version, besides any others."""
    assert versions_of({"do": "enlist", "versions": {"fission": "0.0.9"}, "run": "r"}) == {"fission": "0.0.9"}
    assert versions_of({"do": "visit", "versions": {"fission": "9"}, "message": b"of another kind"}) == {"fission": "9"}
    assert unwrap_answer({"name": "n", "ip": "i", "error": "e", "since": 3}) == OrderRefused(error="e", name="n", ip="i")
    assert unwrap_answer({"error": "e", "message": b"of another kind"}) == OrderRefused(error="e")
    refused = wrap_answer(OrderRefused(error="e", name="n", ip="i"))
    assert (refused["error"], refused["name"], refused["ip"]) == ("e", "n", "i")
    assert "error" not in wrap_answer(OrderDone())


@pytest.mark.parametrize(
    "envelope", [None, 1, b"", [], {}, {"message": "text"}, {"message": b""}, {"do": "enlist", "versions": 3}, {"error": ""}]
)
def test_messages_without_an_envelope_are_refused(envelope: object) -> None:
    assert versions_of(envelope) == {}
    with pytest.raises(RemoteProtocolError):
        unwrap_order(envelope)
    with pytest.raises(RemoteProtocolError):
        unwrap_answer(envelope)


def fuzz(count: int, seed: int) -> None:
    """Forge messages of all directions; nothing but `RemoteProtocolError` is raised, and what is decoded can be encoded again."""
    random = Random(seed)
    found = [
        (ORDERS, STOP),
        (ORDERS, LaunchJob(run="r", job=1, incarnation=1, code="ab")),
        (ECHOES, PulseEcho(number=3, acknowledged=2, connected=True)),
        (ANSWERS, OrderRefused(error="ä", name="n")),
        (REPORTS, ExitReport(run="r", lease="l", number=1, job=1, incarnation=1, code=-9, report=REPORT)),
        (PULSES, LeasePulse(lease="l", number=2, echoed=1, means={"cpu": 3.5})),
        (PROBES, LinkProbe(lease="l", number=2)),
    ]
    encoded: list[tuple[Codec[Any], bytes]] = [(codec, codec.encode(message)) for codec, message in found]  # type: ignore[attr-defined]
    refused = 0
    for _ in range(count):
        codec, data = random.choice(encoded)
        try:
            message = codec.decode(forged(data, random))
        except RemoteProtocolError:
            refused += 1
        else:
            assert codec.decode(codec.encode(message)) == message
    assert refused > count / 2


def test_forged_messages() -> None:
    fuzz(5_000, 1)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
def test_a_million_forged_messages(seed: int) -> None:
    fuzz(250_000, seed)


@given(st.binary(max_size=100))
def test_bytes(data: bytes) -> None:
    for codec in CODECS:
        with contextlib.suppress(RemoteProtocolError):
            codec.decode(data)
