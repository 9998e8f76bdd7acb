"""A node's service answers every order, of clients of any version, and any other message."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fission.adapters.sealing import Seals
from fission.errors import RemoteProtocolError
from fission.protocol.messages.client_to_node import (
    DismissNode,
    FollowOutput,
    InspectJob,
    InstallArchive,
    LaunchJob,
    Order,
    ReadLog,
    SetPeers,
    StopJob,
    StoreSnapshot,
)
from fission.protocol.messages.node_to_client import Answer, OrderDone, OrderRefused
from fission.protocol.messages.order_envelopes import unwrap_answer, unwrap_order, wrap_order
from fission.service.node import NodeService
from fission.service.options import NodeOptions
from tests.protocol.messages.any_messages import forged

VERSIONS = {"fission": "2", "Python": "3.11"}
#: Of a client that has not claimed the node.
STRANGE: tuple[Order, ...] = (
    StopJob(run="r", job=1, incarnation=1, grace_s=0.5),
    SetPeers(run="r", peers=()),
    DismissNode(run="r"),
    LaunchJob(run="r", job=1, incarnation=1, code="ab"),
    StoreSnapshot(run="r", job=1, incarnation=1, name="1.1", start=0, state="more"),
    FollowOutput(on=True),
)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeService]:
    """One that does not run."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    options = NodeOptions("10.0.0.9", 8786, None, "n1", 4, tmp_path / "root", "", VERSIONS, (), "")
    yield NodeService(options, tls=None, guard=None, sealing=Seals(None))
    shutil.rmtree(tmp_path)


def answer_to(service: NodeService, envelope: object, blob: bytes = b"") -> Answer:
    return unwrap_answer(asyncio.run(service.handle(envelope, blob)))  # type: ignore[arg-type]  # whatever comes


@pytest.mark.parametrize(
    "envelope",
    [
        {"do": "enlist", "versions": {"fission": "1", "Python": "3.11"}, "run": "r", "pulses": ["10.0.0.9", 1]},
        {"do": "visit", "versions": {"fission": "1", "Python": "3.11"}, "root": "", "first": True},
        {"do": "enlist", "versions": {"fission": "1", "Python": "3.11"}, "message": b'{"type":"claim_node_anew","run":"r"}'},
        {"do": "enlist", "versions": {"fission": "1", "Python": "3.11"}, "message": "of another kind"},
    ],
)
def test_a_client_of_another_version_is_refused_for_its_version(service: NodeService, envelope: dict[str, object]) -> None:
    """Also by members that are not in the message, which are all that an older client reads."""
    found = asyncio.run(service.handle(envelope, b""))
    assert found["error"] == (
        "the versions differ: fission is 1 on the client and 2 on the node; install the client's on it: fission provision renew --limit n1"
    )
    assert found["name"] == "n1"
    assert unwrap_answer(found) == OrderRefused(error=found["error"], name="n1")


@pytest.mark.parametrize(
    "envelope",
    [
        *(
            None,
            7,
            [],
            {},
            {"do": ["enlist"]},
            {"message": b""},
            {"message": b"\x80"},
            {"versions": VERSIONS, "message": b'{"type":"new"}'},
        ),
        {"message": b'{"type":"stop_job","run":"r","job":"1","incarnation":1,"grace_s":0}'},
        {"message": b'{"type":"lease_pulse","lease":"l","number":1,"echoed":0}'},
    ],
)
def test_anything_but_an_order_is_refused(service: NodeService, envelope: object) -> None:
    found = answer_to(service, envelope)
    assert isinstance(found, OrderRefused)
    assert "client to node: " in found.error


def test_a_client_without_a_lease_reaches_nothing(service: NodeService) -> None:
    for order in STRANGE:
        expected = OrderRefused if isinstance(order, (LaunchJob, StoreSnapshot)) else OrderDone
        assert isinstance(answer_to(service, wrap_order(order)), expected), order
    for needs in (InstallArchive(digest="ab", start=0, size=1), ReadLog(network="net")):
        assert answer_to(service, wrap_order(needs)) == OrderRefused(error="no client has claimed the node", name="n1")


def test_forged_orders_have_an_answer(service: NodeService) -> None:
    random = Random(1)

    async def main() -> int:
        refused = 0
        for _ in range(3000):
            envelope = wrap_order(random.choice(STRANGE))
            envelope["message"] = forged(envelope["message"], random)
            answer = unwrap_answer(await service.handle(envelope, random.randbytes(9)))
            refused += isinstance(answer, OrderRefused)
            try:
                unwrap_order(envelope)
            except RemoteProtocolError:
                assert isinstance(answer, OrderRefused)
        return refused

    assert asyncio.run(main()) > 1000


def test_an_order_about_a_job_that_is_not_here(service: NodeService) -> None:
    """A mistake of ours in an order is in the answer, too."""
    assert isinstance(answer_to(service, wrap_order(InspectJob(run="r", job=1, incarnation=1))), OrderRefused)
