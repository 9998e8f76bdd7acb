"""Peers without the network's keys are refused, and nothing of theirs is taken."""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from fission.adapters.keys import make_keys
from fission.adapters.sealing import seal
from fission.protocol.messages.node_to_client import PULSES, REPORTS, ExitReport, LeasePulse
from fission.protocol.replay import pulse_context
from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import eventually

MakeSite = Callable[..., Site]
STEADY = 30
PORT = 8786


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def log_of(site: Site) -> str:
    return (site.local / "fission.log").read_text(encoding="utf-8")


def test_a_node_with_other_keys_is_refused(cluster: MakeSite, tmp_path: Path) -> None:
    site = cluster(2, start=False)
    other = tmp_path / "other"
    make_keys(other)
    site[1].start()
    site[2].start("--keys", str(other))
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    site[2].logged("its keys are not this node's")
    site.until(lambda: site[2].ip in log_of(site), "a line of the client's log that names the stranger")
    done = site.finish(client, chain_rows)
    assert {node for _, node in site.incarnations().values()} == {"n1", "client"}
    assert "n2" not in {entry["name"] for entry in site.events("NodeJoined")}
    assert "Traceback" not in done.stderr


def test_a_node_without_keys(cluster: MakeSite, tmp_path: Path) -> None:
    """It reports that and ends; with --insecure it is refused."""
    site = cluster(2, start=False)
    site[1].start("--keys", str(tmp_path / "nothing"))
    assert site[1].process.wait(20) == 2
    assert f"there are no keys in {tmp_path / 'nothing'}" in site[1].log
    assert "Traceback" not in site[1].log
    site[1].start()
    site[2].start("--insecure")
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    site[2].logged("its handshake is not a client's")
    site.finish(client, chain_rows)
    assert "n2" not in {entry["name"] for entry in site.events("NodeJoined")}


def test_the_client_without_keys(cluster: MakeSite, tmp_path: Path) -> None:
    site = cluster(1, start=False)
    site.project(CHAIN.format(limit=0))
    site.env["FISSION_KEYS"] = str(tmp_path / "nothing")
    done = site.start().wait(exit_code=2)
    assert f"there are no keys in {tmp_path / 'nothing'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_security_it_works_and_warns(cluster: MakeSite) -> None:
    site = cluster(2, start=False, secure=False)
    for node in site.nodes.values():
        node.start("--insecure")
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    done = site.finish(client, chain_rows)
    assert "SECURITY = False: nothing is encrypted" in done.stderr


@pytest.mark.parametrize("encrypts", [False, True], ids=["plain", "other keys"])
def test_strangers_messages_are_dropped(cluster: MakeSite, tmp_path: Path, encrypts: bool) -> None:
    """They go to the ports for jobs, nodes and pulses, and to a job's ports; nothing is unpickled, no job is disturbed."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    keys = make_keys(tmp_path / "strange") if encrypts else None
    boom = tmp_path / "boom"
    ip = site.network.client_ip
    addresses = [f"tcp://{ip}:{PORT + offset}" for offset in (1, 2)]
    hellos = site.events("Hello")
    addresses += [address for hello in hellos for address in hello["addresses"].values() if address.startswith("tcp://")]
    assert len(addresses) > 4
    exited = ExitReport(run="x", lease="y", number=1, job=1, incarnation=1, code=0)
    messages = [pickle.dumps(Bomb(boom)), b"", b"\0" * 100, REPORTS.encode(exited)]
    context, senders = zmq.Context(), []
    try:
        for address in addresses:
            sender = context.socket(zmq.PUSH)
            senders.append(sender)
            sender.setsockopt(zmq.LINGER, 0)
            if keys is not None:
                sender.curve_publickey, sender.curve_secretkey, sender.curve_serverkey = keys.public, keys.secret, keys.public
            sender.connect(address)
            for message in messages:
                with contextlib.suppress(zmq.Again):  # the handshake has failed already
                    sender.send(message, zmq.NOBLOCK)
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            run = json.loads((site.local / "run.json").read_text())["run"]
            pulse = LeasePulse(lease=f"{b'stranger'.hex()}.1", number=10**9, echoed=0)
            sealed = seal(keys, PULSES.encode(pulse), 1, b"stranger", pulse_context(run, "0" * 16))
            for message in [*messages, sealed, struct.pack("!Q", 1) * 200]:
                datagrams.sendto(message, (ip, PORT))
        with socket.create_connection((ip, PORT)) as dask:  # of Dask's protocol: a length, and what it would unpickle
            dask.sendall(struct.pack("<QQ", 1, len(messages[0])) + messages[0])
            eventually(lambda: "dropped a pulse from" in log_of(site), 10, "a line about pulses in the client's log")
            eventually(lambda: "refused a connection from" in log_of(site), 10, "a line about connections in the client's log")
            site.more_rows(STEADY)
    finally:
        for sender in senders:
            sender.close(0)
        context.term()
    site.finish(client, chain_rows)
    assert not boom.exists()
    assert all(incarnation == 1 for incarnation, _ in site.incarnations().values())
