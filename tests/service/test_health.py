"""`fission node --healthcheck`: what a service answers, and services that are dead or hang."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fission.adapters.run_folder import make_run_folder, runtime_directories
from fission.service.health import SOCKET, HealthSocket, ask_services, run_folders


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run folder in a RuntimeDirectory of systemd's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # a socket's path is short
        monkeypatch.setenv("RUNTIME_DIRECTORY", f"{place}:/none")
        assert runtime_directories() == [place, "/none"]
        made = Path(make_run_folder())
        assert made.parent == Path(place)
        yield made


def test_a_service_answers(folder: Path) -> None:
    async def ask() -> None:
        health = HealthSocket(str(folder), lambda: {"name": "board1"})
        await health.open()
        assert folder in run_folders()
        assert await asyncio.to_thread(ask_services, [folder]) == ([{"name": "board1"}], [])
        health.close()
        assert await asyncio.to_thread(ask_services, [folder]) == ([], [])

    asyncio.run(ask())


def test_a_service_that_was_killed_is_none(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / SOCKET))
        listening.listen()
    assert (folder / SOCKET).exists()
    assert ask_services([folder]) == ([], [])


def test_a_service_that_hangs_is_named(folder: Path) -> None:
    """The kernel connects to it, but it never answers."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / SOCKET))
        listening.listen()
        assert ask_services([folder], answer_s=0.05) == ([], [folder])
