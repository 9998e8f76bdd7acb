"""A long cable for a host: each frame waits for a random time, in each direction, whatever the others do.

It stands in for ``tc netem``, which not every kernel has: the host gets another eth0, a virtual one (TAP), and a program that carries
frames between it and the cable::

    delay(network[0], out=(0.003, 0.007), back=(0.003, 0.007))     # seconds, least and most

The program ends with the host.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import stat
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from tests.cluster.hosts import Host, call
from tests.waiting import eventually

#: <linux/if_tun.h>, <linux/if_ether.h>, <linux/if_packet.h>
TUNSETIFF, IFF_TAP, IFF_NO_PI, ETH_P_ALL, PACKET_OUTGOING = 0x400454CA, 0x0002, 0x1000, 0x0003, 4
#: <linux/sockios.h>, <linux/ethtool.h>
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
TUN = Path("/dev/net/tun")
MOST_BYTES = 1 << 16
DEADLINE_S = 10.0


def delay(host: Host, out: tuple[float, float], back: tuple[float, float]) -> None:
    """Delay what leaves a host, and what comes to it, by a random time between two limits, in seconds."""
    inside = ["ip", "-n", host.name]
    mac = call(*inside, "-o", "link", "show", "eth0").split("link/ether ")[1].split()[0]
    call(*inside, "link", "set", "eth0", "down")
    call(*inside, "link", "set", "eth0", "name", "wire0")
    call(*inside, "address", "flush", "dev", "wire0")
    # with another hardware address the host itself does not hear what comes to it there
    call(*inside, "link", "set", "wire0", "address", "02:00:00:00:00:01", "arp", "off")
    call(*inside, "link", "set", "wire0", "up", "promisc", "on")
    _finish_checksums(host.cable)
    host.run([sys.executable, "-m", "tests.cluster.delay_line", mac, *map(str, (*out, *back))], cwd=Path(__file__).parents[2])
    eventually(lambda: _exists(host, "eth0"), DEADLINE_S, f"{host.name} has its other eth0")
    call(*inside, "address", "add", f"{host.ip}/24", "dev", "eth0")
    call(*inside, "link", "set", "eth0", "up")


def _exists(host: Host, interface: str) -> bool:
    words = ["ip", "-n", host.name, "link", "show", interface]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _finish_checksums(interface: str) -> None:
    """Let the kernel compute the checksums of what goes through an interface, which it leaves out between virtual cables."""
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request.ljust(40, b"\0"))


def carry(mac: str, out: tuple[float, float], back: tuple[float, float]) -> None:
    """Make eth0, and carry frames between it and wire0 until the process is killed."""
    if not TUN.exists():  # as in a container
        TUN.parent.mkdir(exist_ok=True)
        os.mknod(TUN, stat.S_IFCHR | 0o600, os.makedev(10, 200))
    tap = os.open(TUN, os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", b"eth0", IFF_TAP | IFF_NO_PI))
    call("ip", "link", "set", "eth0", "address", mac)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
        wire.bind(("wire0", 0))
        rng = random.Random()
        waiting: list[tuple[float, int, bool, bytes]] = []
        number = 0
        arrived: deque[tuple[bool, bytes]] = deque()
        while True:
            wait_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            for ready in select.select([tap, wire], [], [], wait_s)[0]:
                if ready is tap:
                    arrived.append((True, os.read(tap, MOST_BYTES)))
                else:
                    frame, address = wire.recvfrom(MOST_BYTES)
                    if address[2] != PACKET_OUTGOING:
                        arrived.append((False, frame))
            while arrived:
                leaves, frame = arrived.popleft()
                due = time.monotonic() + rng.uniform(*(out if leaves else back))
                heapq.heappush(waiting, (due, number := number + 1, leaves, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, leaves, frame = heapq.heappop(waiting)
                if leaves:
                    wire.send(frame)
                else:
                    os.write(tap, frame)


if __name__ == "__main__":
    words = [float(word) for word in sys.argv[2:]]
    carry(sys.argv[1], (words[0], words[1]), (words[2], words[3]))
