"""Real hosts on one machine: network namespaces, each with its cable to a switch, and faults of cables, lines and power.

::

    def test_talk(hosts):
        network = hosts(3)                             # the machine itself is the client: network.client_ip
        node = network[0].run(["fission", "node", "--client", network.client_ip])    # a subprocess.Popen, in a session of its own
        network[0].link(False)                         # pull the cable; a process sees nothing but silence
        network[0].interrupt(0.3, "host")              # ip link set eth0 down there, and up again: a process sees no way out
        network[1].lose(10, "out")                     # percent of packets, in one direction or both; no process is notified
        network[1].limit(256)                          # kbit/s
        network[1].heal()                              # as it was
        network[2].kill()                              # power loss: nothing says goodbye

After the test all of it is removed: processes, namespaces, the switch. What an earlier, killed run left is removed first.

Needs root, and ``ip``, ``tc`` and ``iptables`` (scripts/debian-packages.txt). Without them a test is skipped, which is a failure with
CI=true. Where the machine's firewall inspects bridged packets and drops forwarded ones, hosts reach only the client.

**Names.** A network has a number N from 0 to 255: the switch ``fissionNb``, the addresses ``10.77.N.0/24``, .1 is the client's, the
cables ``fissionNhM`` and the namespaces ``fission-PID-N-M``. The process that has bound the abstract socket ``fission-hosts-N`` owns
the number; the kernel frees it when the owner dies. Whatever exists for a free number is therefore left over.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
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
FORWARDING = "3"  # BR_STATE_FORWARDING, <linux/if_bridge.h>
ETH_P_IP = 0x0800  # <linux/if_ether.h>
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35  # <asm-generic/socket.h>; x86 and Arm use it


def require() -> None:
    """Skip the calling test where hosts cannot be made; with CI=true this is a failure: see tests/hygiene.py."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"hosts need the programs {', '.join(missing)}: scripts/install-debian-packages")
    if os.geteuid() != 0:
        pytest.skip("hosts are network namespaces, and only root can make them")
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"hosts are network namespaces, and this machine refuses them: {done.stderr.strip()}")


def call(*words: str) -> str:
    """Run a program and return its output; the error's text has its standard error."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Host:
    """One host. Made by `Hosts`.

    Attributes:
        name: name of its namespace.
        ip: its address; other hosts and the client reach it there.
        ipv6: its IPv6 address.
        network: the network that it belongs to.
        cable: name of the switch's end of its cable.
    """

    def __init__(self, network: Hosts, index: int) -> None:
        self.ip = f"10.77.{network.number}.{index + 1}"
        self.name = f"fission-{os.getpid()}-{network.number}-{index}"
        self.cable = f"fission{network.number}h{index}"  # the switch's end; the host's end is its eth0
        self.network = network
        self._processes: list[subprocess.Popen[Any]] = []
        call("ip", "netns", "add", self.name)
        call("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        call("ip", "link", "set", self.cable, "master", network.switch, "up")
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "address", "add", f"{self.ip}/24", "dev", "eth0")
        self.ipv6 = f"fd77:{network.number + 1:x}::{index + 1:x}"
        self._inside("ip", "address", "add", f"{self.ipv6}/64", "dev", "eth0", "nodad")
        self._inside("ip", "link", "set", "eth0", "up")
        # Where lost packets go: a switch without cables. If iptables dropped them on their way out, the sender would get EPERM.
        self._inside("ip", "link", "add", "nowhere", "type", "bridge")
        self._inside("ip", "link", "set", "nowhere", "arp", "off", "up")
        self._inside("ip", "route", "add", "default", "dev", "nowhere", "table", "77")
        self._inside("ip", "rule", "add", "fwmark", LOST_MARK, "lookup", "77")

    def run(self, args: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program there, in a session of its own.

        Args:
            options: those of `subprocess.Popen`.
        """
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *args], start_new_session=True, **options)
        self._processes.append(process)
        return process

    def pids(self) -> list[int]:
        """Return the ids of all processes that run there, whatever started them."""
        return [int(word) for word in call("ip", "netns", "pids", self.name).split()]

    def link(self, up: bool, end: str = "switch") -> None:
        """Plug the cable in, or pull it. Plugged in, it works at once.

        Args:
            end: whose interface is set down or up by ``ip link set``. With "switch" the processes of the host see nothing but
                silence. With "host", its eth0, they get an error: until it is up again there is no route.
        """
        if end not in {"switch", "host"}:
            raise ValueError(f"end must be switch or host, is {end!r}")
        where, interface = ([], self.cable) if end == "switch" else (["-n", self.name], "eth0")
        call("ip", *where, "link", "set", interface, "up" if up else "down")
        if up:
            eventually(lambda: self._of_cable("brport/state") == FORWARDING, DEADLINE_S, f"the switch forwards what {self.name} sends")
            # Meanwhile, requests for a hardware address got no answer. Linux asks again after a second, or at once if it forgets that.
            for where, interface in (([], self.network.switch), *((["-n", host.name], "eth0") for host in self.network)):
                call("ip", *where, "neighbour", "flush", "dev", interface, "nud", "incomplete")

    def interrupt(self, seconds: float, end: str = "switch") -> None:
        """Pull the cable for this many seconds.

        Args:
            end: that of `link`.

        Raises:
            RuntimeError: something came out of the host meanwhile.
        """
        self.link(False, end)
        over, sent = time.monotonic() + seconds, self.sent()
        eventually(lambda: time.monotonic() >= over, seconds + DEADLINE_S, "time passes")
        came = self.sent() - sent
        self.link(True, end)
        if came:
            raise RuntimeError(f"{came} packets came out of {self.name} while its link was down")

    def readdress(self, ip: str) -> None:
        """Replace its address by another one of the same network, as DHCP does. Connections from the old one end silently.

        An IPv6 address replaces its IPv6 address.
        """
        old, bits, words = (self.ipv6, 64, ["nodad"]) if ":" in ip else (self.ip, 24, [])
        self._inside("ip", "address", "del", f"{old}/{bits}", "dev", "eth0")
        self._inside("ip", "address", "add", f"{ip}/{bits}", "dev", "eth0", *words)
        if ":" in ip:
            self.ipv6 = ip
        else:
            self.ip = ip

    def addresses(self, on: bool) -> None:
        """Take its IPv4 address away or give it back, as before and after the network is up at boot."""
        self._inside("ip", "address", "add" if on else "del", f"{self.ip}/24", "dev", "eth0")

    def sent(self) -> int:
        """Return the number of packets that it has sent."""
        return int(self._of_cable("statistics/rx_packets"))

    def lose(self, percent: float, direction: str = "both", peer: Host | None = None) -> None:
        """Lose packets at random on their way in, out, or both, without an error. Replaces an earlier loss; 0 ends it.

        Args:
            peer: lose only what goes to this host or comes from it (IPv4).
        """
        if direction not in {"in", "out", "both"}:
            raise ValueError(f"direction must be in, out or both, is {direction!r}")
        self._inside("iptables", "-w", "-F", "INPUT")
        self._inside("iptables", "-w", "-t", "mangle", "-F", "OUTPUT")
        chance = ["-m", "statistic", "--mode", "random", "--probability", f"{percent / 100:.6f}"]
        source, destination = ([], []) if peer is None else (["-s", peer.ip], ["-d", peer.ip])
        if percent and direction != "out":
            self._inside("iptables", "-w", "-A", "INPUT", "-i", "eth0", *source, *chance, "-j", "DROP")
        if percent and direction != "in":
            words = ["-o", "eth0", *destination, *chance, "-j", "MARK", "--set-mark", LOST_MARK]
            self._inside("iptables", "-w", "-t", "mangle", "-A", "OUTPUT", *words)

    def limit(self, kbit: int) -> None:
        """Limit the rate to this many kbit/s in each direction. Replaces an earlier limit."""
        burst = max(3200, kbit * 1000 // 8 // 50)  # 20 ms, but at least two packets
        words = ["root", "tbf", "rate", f"{kbit}kbit", "burst", str(burst), "latency", "200ms"]
        self._inside("tc", "qdisc", "replace", "dev", "eth0", *words)
        call("tc", "qdisc", "replace", "dev", self.cable, *words)

    def heal(self) -> None:
        """Plug the cable in, and end all losses and limits. Processes that were killed stay dead."""
        self.lose(0)
        call("ip", "-n", self.name, "link", "set", "eth0", "up")
        for words in (["ip", "netns", "exec", self.name, "tc", "qdisc", "del", "dev", "eth0"], ["tc", "qdisc", "del", "dev", self.cable]):
            subprocess.run([*words, "root"], capture_output=True, check=False)  # there may be none
        self.link(True)

    def kill(self) -> None:
        """Cut the power: the cable dies, then every process there. `heal` restores the cable."""
        self.link(False)
        end(self.name)
        for process in self._processes:
            process.wait(DEADLINE_S)

    def close(self) -> None:
        """End the host; called by `Hosts`."""
        end(self.name)
        for process in self._processes:
            process.wait(DEADLINE_S)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def _of_cable(self, what: str) -> str:
        """Return what the kernel reports for the switch's end."""
        return Path("/sys/class/net", self.cable, what).read_text().strip()

    def _inside(self, *words: str) -> str:
        return call("ip", "netns", "exec", self.name, *words)


class Listener:
    """Observes when datagrams (UDP) come from a host to the client. A context manager."""

    def __init__(self, host: Host) -> None:
        number = struct.unpack("!I", socket.inet_aton(host.ip))[0]
        # of an IPv4 packet: byte 9 must be UDP, bytes 12 to 15 this host; see "Socket filtering" in the kernel's documentation
        steps = [(0x30, 0, 0, 9), (0x15, 0, 3, socket.IPPROTO_UDP), (0x20, 0, 0, 12), (0x15, 0, 1, number), (6, 0, 0, 65535), (6, 0, 0, 0)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        self._socket.settimeout(DEADLINE_S)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(steps), ctypes.addressof(program)))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((host.network.switch, ETH_P_IP))

    def wait(self) -> float:
        """Wait for the next datagram; return when the kernel received it, in seconds of the wall clock."""
        _, ancillary, _, _ = self._socket.recvmsg(1, socket.CMSG_SPACE(16))
        seconds, nanoseconds = struct.unpack("ll", ancillary[0][2])
        return float(seconds + nanoseconds / 1e9)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()


class Hosts(Sequence[Host]):
    """A switch with hosts. Use it by the fixture ``hosts``.

    Attributes:
        client_ip: the address, on the switch, of this machine, where the tests run.
        client_ipv6: its IPv6 address.
        number: number of the network; see the head of this file.
    """

    def __init__(self, count: int) -> None:
        if not 0 < count <= MAX_HOSTS:
            raise ValueError(f"from 1 to {MAX_HOSTS} hosts, not {count}")
        sweep()
        self._hosts: list[Host] = []
        self.number, self._claim = _free_number()
        self.switch = f"fission{self.number}b"
        self.client_ip = f"10.77.{self.number}.1"
        self.client_ipv6 = f"fd77:{self.number + 1:x}::1"
        try:
            call("ip", "link", "add", self.switch, "type", "bridge")
            call("ip", "address", "add", f"{self.client_ip}/24", "dev", self.switch)
            call("ip", "address", "add", f"{self.client_ipv6}/64", "dev", self.switch, "nodad")
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
        """Remove everything: processes, namespaces, links."""
        if self._claim.fileno() == -1:
            return  # closed already; the number may belong to another process by now
        try:
            for host in self._hosts:
                host.close()
        finally:
            remove(self.number)
            self._claim.close()


def claim(number: int) -> socket.socket | None:
    """Claim a number for as long as the socket is open; return None if another process has it."""
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
    """Return the names of all namespaces that are hosts, of any run, and their numbers."""
    names = os.listdir(NAMESPACES) if NAMESPACES.is_dir() else []
    return {name: int(found["number"]) for name in names if (found := NAME.fullmatch(name))}


def links() -> dict[str, int]:
    """Return the same for switches and cables."""
    found = (LINK.fullmatch(name) for _, name in socket.if_nameindex())
    return {match[0]: int(match["number"]) for match in found if match}


def sweep() -> None:
    """Remove what ended runs have left."""
    for number in {*namespaces().values(), *links().values()}:
        right = claim(number)
        if right is not None:
            remove(number)
            right.close()


def remove(number: int) -> None:
    """Remove everything of this number, which must be ours."""
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
    """Kill every process in a namespace until there is none."""

    def none_left() -> bool:
        pids = [int(word) for word in call("ip", "netns", "pids", name).split()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Orphans are adopted by pytest (tests/hygiene.py), which must wait for them.
        psutil.wait_procs([child for child in psutil.Process().children(recursive=True) if child.pid in pids], timeout=1)
        return not pids

    eventually(none_left, DEADLINE_S, f"all processes in {name} are dead")
