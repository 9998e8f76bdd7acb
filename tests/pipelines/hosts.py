"""Hosts in network namespaces: each has its own address on one wire, and can be cut off.

They need root and `ip`. A host is a namespace; a switch, in one more namespace, joins them. The
next run removes what a killed run left.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from pathlib import Path

from tests.waiting import is_running

PREFIX = "fpipe"
_numbers = itertools.count(1)


class Hosts:
    """Hosts with the addresses 10.77.N.1, 10.77.N.2 and so on. A context manager."""

    def __init__(self, number: int) -> None:
        if shutil.which("ip") is None or os.geteuid() != 0:
            raise AssertionError("hosts in network namespaces need root and the program ip: scripts/install-debian-packages iproute2")
        self._mark = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._switch = f"{self._mark}-switch"
        self.names = [f"{self._mark}-{host}" for host in range(number)]
        self._made: list[str] = []

    def __enter__(self) -> Hosts:
        remove_left_overs()
        try:
            self._make(self._switch)
            _ip("-n", self._switch, "link", "add", "wire", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "wire", "up")
            for host, name in enumerate(self.names):
                self._make(name)
                port = f"port{host}"
                _ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
                _ip("-n", self._switch, "link", "set", port, "master", "wire", "up")
                _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
                _ip("-n", name, "link", "set", "eth0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._made:
            _ip("netns", "del", name)
        self._made = []

    def _make(self, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def address(self, host: int) -> str:
        return f"10.77.0.{host + 1}"

    def inside(self, host: int) -> list[str]:
        """Return the words before a command that make it run on this host."""
        return ["ip", "netns", "exec", self.names[host]]

    def cut(self, host: int) -> None:
        """Drop all traffic to and from this host from now on, without any notification."""
        _ip("-n", self._switch, "link", "set", f"port{host}", "down")

    def join(self, host: int) -> None:
        """Reconnect the wire."""
        _ip("-n", self._switch, "link", "set", f"port{host}", "up")


def remove_left_overs() -> None:
    """Remove the namespaces of runs that no longer exist."""
    folder = Path("/run/netns")
    for name in os.listdir(folder) if folder.is_dir() else []:
        words = name.split("-")
        if words[0] == PREFIX and len(words) > 1 and words[1].isdecimal() and not is_running(int(words[1])):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=10)
