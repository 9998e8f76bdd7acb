"""Real hosts on one machine: network namespaces, each with its cable to a switch, and faults of cables, lines and power.

::

    def test_talk(hosts):
        network = hosts(3)                             # the machine itself is the client: network.client_ip
        node = network[0].run(["fission", "node", "--client", network.client_ip])    # a subprocess.Popen, in a session of its own
        network[0].link(False)                         # pull the cable; a process sees nothing but silence
        network[1].lose(10, "out")                     # percent of packets, on one way or both; nobody is told
        network[1].limit(256)                          # kbit/s
        network[1].heal()                              # as it was
        network[2].kill()                              # power loss: nothing says goodbye

All of it is gone after the test: processes, namespaces, the switch. What an earlier run left because it was killed goes first.

Needs root, and ``ip``, ``tc`` and ``iptables`` (scripts/debian-packages.txt). Without them a test is skipped, which is a failure with
CI=true. Where the firewall of the machine looks at bridged packets and drops what is forwarded, hosts reach the client only.

**Names.** A network has a number N from 0 to 255: the switch ``fissionNb``, the addresses ``10.77.N.0/24``, .1 is the client's, the
cables ``fissionNhM`` and the namespaces ``fission-PID-N-M``. Who has bound the abstract socket ``fission-hosts-N`` owns the number; the
kernel takes it back when the owner dies, however that happens. So what is there for a number that can be had is a left-over.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import eventually

TOOLS = ("ip", "tc", "iptables")
NAMESPACES = Path("/run/netns")
NAME = re.compile(r"fission-(?P<pid>\d+)-(?P<number>\d+)-(?P<host>\d+)")
LINK = re.compile(r"fission(?P<number>\d+)(b|h\d+)")
MAX_HOSTS = 99  # a link's name has 15 characters
LOST_MARK = "0x77"
DEADLINE_S = 10.0


def require() -> None:
    """Skips the test that asks where hosts cannot be made. With CI=true that is a failure; see tests/hygiene.py."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"hosts need the programs {', '.join(missing)}: scripts/install-debian-packages")
    if os.geteuid() != 0:
        pytest.skip("hosts are network namespaces, and only root can make them")
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"hosts are network namespaces, and this machine refuses them: {done.stderr.strip()}")


def call(*words: str) -> str:
    """Runs a program and returns what it says; its complaints are the error's text."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Host:
    """One host. Made by `Hosts`.

    Attributes:
        name: of its namespace.
        ip: its address; other hosts and the client reach it there.
    """

    def __init__(self, network: Hosts, index: int) -> None:
        self.ip = f"10.77.{network.number}.{index + 1}"
        self.name = f"fission-{os.getpid()}-{network.number}-{index}"
        self._cable = f"fission{network.number}h{index}"  # the switch's end; the host's end is its eth0
        self._switch = network.switch
        self._processes: list[subprocess.Popen[Any]] = []
        call("ip", "netns", "add", self.name)
        call("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        call("ip", "link", "set", self._cable, "master", self._switch, "up")
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "address", "add", f"{self.ip}/24", "dev", "eth0")
        self._inside("ip", "link", "set", "eth0", "up")
        # Where lost packets go: a switch without cables. Dropped by iptables on their way out, the sender would be told (EPERM).
        self._inside("ip", "link", "add", "nowhere", "type", "bridge")
        self._inside("ip", "link", "set", "nowhere", "arp", "off", "up")
        self._inside("ip", "route", "add", "default", "dev", "nowhere", "table", "77")
        self._inside("ip", "rule", "add", "fwmark", LOST_MARK, "lookup", "77")

    def run(self, args: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program there, in a session of its own.

        Args:
            options: as of `subprocess.Popen`.
        """
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *args], start_new_session=True, **options)
        self._processes.append(process)
        return process

    def pids(self) -> list[int]:
        """Every process that runs there, whoever started it."""
        return [int(word) for word in call("ip", "netns", "pids", self.name).split()]

    def link(self, up: bool) -> None:
        """Plug the cable in, or pull it."""
        call("ip", "link", "set", self._cable, "up" if up else "down")

    def lose(self, percent: float, direction: str = "both") -> None:
        """Lose packets at random on their way in, out, or both. Nobody is told. Replaces an earlier loss; 0 ends it."""
        if direction not in {"in", "out", "both"}:
            raise ValueError(f"direction must be in, out or both, is {direction!r}")
        self._inside("iptables", "-w", "-F", "INPUT")
        self._inside("iptables", "-w", "-t", "mangle", "-F", "OUTPUT")
        chance = ["-m", "statistic", "--mode", "random", "--probability", f"{percent / 100:.6f}"]
        if percent and direction != "out":
            self._inside("iptables", "-w", "-A", "INPUT", "-i", "eth0", *chance, "-j", "DROP")
        if percent and direction != "in":
            self._inside("iptables", "-w", "-t", "mangle", "-A", "OUTPUT", "-o", "eth0", *chance, "-j", "MARK", "--set-mark", LOST_MARK)

    def limit(self, kbit: int) -> None:
        """Let only so many kbit a second through, on each way. Replaces an earlier limit."""
        burst = max(3200, kbit * 1000 // 8 // 50)  # 20 ms, but at least two packets
        words = ["root", "tbf", "rate", f"{kbit}kbit", "burst", str(burst), "latency", "200ms"]
        self._inside("tc", "qdisc", "replace", "dev", "eth0", *words)
        call("tc", "qdisc", "replace", "dev", self._cable, *words)

    def heal(self) -> None:
        """The cable is in, nothing is lost, no limit. Processes that were killed stay dead."""
        self.lose(0)
        for words in (["ip", "netns", "exec", self.name, "tc", "qdisc", "del", "dev", "eth0"], ["tc", "qdisc", "del", "dev", self._cable]):
            subprocess.run([*words, "root"], capture_output=True, check=False)  # there may be none
        self.link(True)

    def kill(self) -> None:
        """Power loss: the cable is dead, then every process there. `heal` brings the cable back."""
        self.link(False)
        end(self.name)
        for process in self._processes:
            process.wait(DEADLINE_S)

    def close(self) -> None:
        """Called by `Hosts`."""
        end(self.name)
        for process in self._processes:
            process.wait(DEADLINE_S)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def _inside(self, *words: str) -> str:
        return call("ip", "netns", "exec", self.name, *words)


class Hosts(Sequence[Host]):
    """A switch with hosts. Use it by the fixture ``hosts``.

    Attributes:
        client_ip: the address of this machine, from where the tests run, on the switch.
        number: see the head of this file.
    """

    def __init__(self, count: int) -> None:
        if not 0 < count <= MAX_HOSTS:
            raise ValueError(f"from 1 to {MAX_HOSTS} hosts, not {count}")
        sweep()
        self._hosts: list[Host] = []
        self.number, self._claim = _free_number()
        self.switch = f"fission{self.number}b"
        self.client_ip = f"10.77.{self.number}.1"
        try:
            call("ip", "link", "add", self.switch, "type", "bridge")
            call("ip", "address", "add", f"{self.client_ip}/24", "dev", self.switch)
            call("ip", "link", "set", self.switch, "up")
            for index in range(1, count + 1):
                self._hosts.append(Host(self, index))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._hosts)

    def __getitem__(self, index: Any) -> Any:
        return self._hosts[index]

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def close(self) -> None:
        """Everything goes: processes, namespaces, links."""
        if self._claim.fileno() == -1:
            return  # closed already; the number may be somebody else's by now
        try:
            for host in self._hosts:
                host.close()
        finally:
            remove(self.number)
            self._claim.close()


def claim(number: int) -> socket.socket | None:
    """The right to a number as long as the socket is open; None if somebody has it."""
    right = socket.socket(socket.AF_UNIX)
    try:
        right.bind(f"\0fission-hosts-{number}")
    except OSError:
        right.close()
        return None
    return right


def _free_number() -> tuple[int, socket.socket]:
    taken = call("ip", "-4", "-o", "address")
    for number in range(256):
        if f" 10.77.{number}." not in taken and (right := claim(number)) is not None:
            return number, right
    raise RuntimeError("all of 10.77.0.0/16 is taken")


def namespaces() -> dict[str, int]:
    """The names of the namespaces that are hosts, of whatever run, and their numbers."""
    names = os.listdir(NAMESPACES) if NAMESPACES.is_dir() else []
    return {name: int(found["number"]) for name in names if (found := NAME.fullmatch(name))}


def links() -> dict[str, int]:
    """The same for switches and cables."""
    found = (LINK.fullmatch(name) for _, name in socket.if_nameindex())
    return {match[0]: int(match["number"]) for match in found if match}


def sweep() -> None:
    """Removes what runs that are no more have left."""
    for number in {*namespaces().values(), *links().values()}:
        right = claim(number)
        if right is not None:
            remove(number)
            right.close()


def remove(number: int) -> None:
    """Removes everything of this number, which must be ours."""
    for name, its in namespaces().items():
        if its == number:
            end(name)
            call("ip", "netns", "delete", name)
    # A cable goes with its namespace, but not at once: deleting a namespace is put off until nothing uses it.
    for name, its in sorted(links().items(), reverse=True):
        if its == number:
            subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
    eventually(lambda: number not in links().values(), DEADLINE_S, f"the links of network {number} are gone: {links()}")


def end(name: str) -> None:
    """Kills every process in a namespace, by number, until there is none."""

    def none_left() -> bool:
        pids = [int(word) for word in call("ip", "netns", "pids", name).split()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Orphans are adopted by pytest (tests/hygiene.py), which must wait for them.
        psutil.wait_procs([child for child in psutil.Process().children(recursive=True) if child.pid in pids], timeout=1)
        return not pids

    eventually(none_left, DEADLINE_S, f"all processes in {name} are dead")
