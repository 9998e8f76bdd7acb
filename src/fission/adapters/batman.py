"""The quality of the ways to other machines of a B.A.T.M.A.N. mesh, from batctl.

batctl names machines by the MAC address that they originate messages from, the neighbour table knows them by the address of their mesh
interface (bat0); ``batctl translate`` leads from the second to the first.

What ``batctl originators`` prints changed in 2016: before, a line an originator, with all possible ways behind a colon; since then a line
a way, the chosen one with an asterisk in front. BATMAN_V has throughputs in place of qualities, which say nothing about what gets through:
its originators have no quality here.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

#: What batctl and ip get to answer; arbitrary: they take some milliseconds.
TIMEOUT_S = 2.0
MAX_TQ = 255
#: Of the system's administration, which is not on everybody's PATH.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_ARP = Path("/proc/net/arp")
_MAC = r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}"
# An optional asterisk, the originator, in all versions but the first ones when it was heard last, the quality, the next hop.
_WAY = re.compile(rf"\s*(?P<best>\*)?\s*(?P<originator>{_MAC})\s+(?:\d+\.\d+s\s+)?\(\s*(?P<tq>\d+)\)\s+{_MAC}\s+\[")
_NO_MAC = "00:00:00:00:00:00"

Run = Callable[[Sequence[str]], str]


def find(program: str) -> str | None:
    """The path of a program of the system's administration; None if it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    return shutil.which(program, path=path)


def available() -> bool:
    """Whether batctl is installed here."""
    return find("batctl") is not None


def parse_originators(text: str) -> dict[str, int]:
    """MAC address of each originator (lower case) -> quality of the chosen way to it, 0 to 255; where none is chosen, of the best one.

    Args:
        text: what ``batctl originators`` has printed, of any version; lines that it does not know are left out.
    """
    chosen: dict[str, int] = {}
    others: dict[str, int] = {}
    for line in text.splitlines():
        way = _WAY.match(line)
        if way is None or int(way["tq"]) > MAX_TQ:
            continue
        originator, tq = way["originator"].lower(), int(way["tq"])
        into = chosen if way["best"] else others
        into[originator] = max(tq, into.get(originator, 0))
    return {**others, **chosen}


def parse_translation(text: str) -> str | None:
    """The originator (lower case) that ``batctl translate`` has printed; None if it knows none."""
    found = re.fullmatch(_MAC, text.strip())
    return found[0].lower() if found else None


def parse_arp(text: str) -> dict[str, str]:
    """IP -> MAC address (lower case), from ``/proc/net/arp``; without entries that are not complete."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {row[0]: row[3].lower() for row in rows if len(row) >= 6 and re.fullmatch(_MAC, row[3]) and row[3] != _NO_MAC}


def parse_neighbours(text: str) -> dict[str, str]:
    """The same from ``ip neighbour show``, for IPv6 too."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if "lladdr" in words[1:-1] and "FAILED" not in words:
            mac = words[words.index("lladdr") + 1]
            if re.fullmatch(_MAC, mac):
                found[words[0]] = mac.lower()
    return found


def _run(words: Sequence[str]) -> str:
    """What a program prints. Raises OSError or subprocess.SubprocessError."""
    program = find(words[0])
    if program is None:
        raise FileNotFoundError(f"{words[0]} is not installed")
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=True, env=environment
    )
    return done.stdout.decode(errors="replace")


class Batman:
    """Asks batctl. Not for an event loop's thread: a call takes some milliseconds a machine, and `TIMEOUT_S` where batctl hangs."""

    def __init__(self, log: logging.Logger, run: Run = _run, arp: Path = _ARP) -> None:
        """Args:
        log: told once why there are no qualities.
        run: gives what a command line prints, or raises OSError or subprocess.SubprocessError.
        arp: where the kernel shows its neighbours.
        """
        self._log = log
        self._arp = arp
        self._run = run
        self._told: set[str] = set()

    def qualities(self, ips: Collection[str]) -> Mapping[str, int]:
        """IP address -> quality of the way there, 0 to 255; without those that are not in the mesh. Never raises.

        A machine that has been in the mesh and is not heard of any more is left out by batctl after a while, and here at once with it.
        """
        originators = parse_originators(self._ask("batctl", "originators", "-n"))
        if not originators:
            return {}
        found = {}
        for ip, mac in self._neighbours(ips).items():
            originator = mac if mac in originators else parse_translation(self._ask("batctl", "translate", mac))
            if originator in originators:
                found[ip] = originators[originator]
        return found

    def _neighbours(self, ips: Iterable[str]) -> dict[str, str]:
        try:
            known = parse_arp(self._arp.read_text(encoding="ascii", errors="replace"))
        except OSError:
            known = {}
        wanted = set(ips)
        if not wanted <= known.keys():
            known = {**parse_neighbours(self._ask("ip", "neighbour", "show")), **known}
        return {ip: known[ip] for ip in sorted(wanted & known.keys())}

    def _ask(self, *words: str) -> str:
        try:
            return self._run(words)
        except (OSError, subprocess.SubprocessError) as why:
            # A machine that batctl cannot translate is an error to it, too, and no news.
            told = " ".join(words[:2])
            if told not in self._told:
                self._told.add(told)
                self._log.info("no quality of the mesh from %s: %s", told, _reason(why))
            return ""


def _reason(why: Exception) -> str:
    said = why.stderr if isinstance(why, subprocess.CalledProcessError) else b""
    return (said or b"").decode(errors="replace").strip() or str(why)
