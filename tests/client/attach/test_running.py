"""Which networks would lose their nodes by a new version of FISSION."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fission.client.attach.running import check_update, running_on_nodes
from fission.errors import UserError

Start = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that makes a network of the project here, and a client that listens for requests."""
    listening: list[socket.socket] = []
    monkeypatch.chdir(tmp_path)

    def make(network: str, version: str, *, nodes: bool = True, alive: bool = True) -> None:
        run = tmp_path / network / "local"
        run.mkdir(parents=True)
        (tmp_path / network / "config.py").touch()
        address = f"{network}.socket"  # a short path
        (run / "running.json").write_text(json.dumps({"pid": 1, "requests": address, "version": version, "nodes": nodes}))
        if alive:
            listening.append(socket.socket(socket.AF_UNIX))
            listening[-1].bind(address)
            listening[-1].listen()

    yield make
    for one in listening:
        one.close()


def test_networks_on_nodes_are_found(start: Start, tmp_path: Path) -> None:
    start("counters", "1.2.3")
    start("killed", "1.1.0", alive=False)
    start("here", "1.1.0", nodes=False)
    (tmp_path / "idle").mkdir()
    (tmp_path / "idle" / "config.py").touch()
    assert running_on_nodes(tmp_path) == {"counters": "1.2.3"}


@pytest.mark.parametrize("damage", ["", "{", "[]", "3", '{"nodes": true}'])
def test_a_damaged_file_names_none(start: Start, tmp_path: Path, damage: str) -> None:
    start("counters", "1.2.3")
    (tmp_path / "counters" / "local" / "running.json").write_text(damage)
    assert running_on_nodes(tmp_path) == {}


def test_only_versions_that_work_together_may_be_brought(start: Start, tmp_path: Path) -> None:
    check_update(tmp_path, "9.9.9")
    start("counters", "1.2.3")
    check_update(tmp_path, "1.2.4")
    with pytest.raises(UserError) as error:
        check_update(tmp_path, "1.3.0")
    assert str(error.value) == (
        "the network counters is running with FISSION 1.2.3: a new version must have the same first two numbers, but is 1.3.0; "
        "stop the network first: fission counters stop"
    )
