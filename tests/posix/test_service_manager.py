"""What a process reports to the service manager that started it."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from fission.posix.service_manager import VARIABLE, ServiceManager


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A service manager's socket, whose address is in the environment."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.settimeout(10)
    path = str(Path(tempfile.mkdtemp(), "s"))
    receiver.bind(path)
    monkeypatch.setenv(VARIABLE, path)
    return receiver


def test_ready_arrives(manager: socket.socket) -> None:
    with manager:
        notified = ServiceManager()
        assert VARIABLE not in os.environ  # a job could report in place of the node
        notified.ready()
        assert manager.recv(100) == b"READY=1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract addresses")
def test_abstract_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"test-service-manager-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(10)
        receiver.bind(f"\0{name}")
        monkeypatch.setenv(VARIABLE, f"@{name}")
        ServiceManager().ready()
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "x" * 300])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(VARIABLE, address)
    ServiceManager().ready()
