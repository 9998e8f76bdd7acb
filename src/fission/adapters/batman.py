"""The quality of the routes to other machines of a B.A.T.M.A.N. mesh, from batctl.

batctl identifies a machine by the MAC address with which it originates messages; the neighbour
table has the address of its mesh interface (bat0). ``batctl translate`` maps the second to the
first.

The output of ``batctl originators`` changed in 2016: earlier versions print one line per
originator, with all possible routes after a colon; later ones print one line per route, with an
asterisk before the chosen one. BATMAN_V has throughputs instead of qualities, which do not show how
many messages get through: its originators have no quality here.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

#: Seconds that batctl and ip may take; arbitrary: they take a few milliseconds.
TIMEOUT_S = 2.0
MAX_TQ = 255
#: Folders of administration programs, which not every user has in PATH.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_ARP = Path("/proc/net/arp")
_MAC = r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}"
# An optional asterisk, the originator, the time since it was last heard (not in the first versions), the quality, the next hop.
_ROUTE = re.compile(rf"\s*(?P<best>\*)?\s*(?P<originator>{_MAC})\s+(?:\d+\.\d+s\s+)?\(\s*(?P<tq>\d+)\)\s+{_MAC}\s+\[")
_NO_MAC = "00:00:00:00:00:00"

Run = Callable[[Sequence[str]], str]


def find(program: str) -> str | None:
    """Return the path of an administration program; None if it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    return shutil.which(program, path=path)


def available() -> bool:
    """Return whether batctl is installed on this machine."""
    return find("batctl") is not None


def parse_originators(text: str) -> dict[str, int]:
    """Map the MAC address of each originator (lower case) to the quality of its route, 0 to 255.

    The route is the chosen one, or the best one where none is chosen.

    Args:
        text: output of any version of ``batctl originators``; unknown lines are ignored.
    """
    chosen: dict[str, int] = {}
    others: dict[str, int] = {}
    for line in text.splitlines():
        route = _ROUTE.match(line)
        if route is None or int(route["tq"]) > MAX_TQ:
            continue
        originator, tq = route["originator"].lower(), int(route["tq"])
        into = chosen if route["best"] else others
        into[originator] = max(tq, into.get(originator, 0))
    return {**others, **chosen}


def parse_translation(text: str) -> str | None:
    """Return the originator (lower case) from ``batctl translate``; None if it knows none."""
    found = re.fullmatch(_MAC, text.strip())
    return found[0].lower() if found else None


def parse_arp(text: str) -> dict[str, str]:
    """Map IP to MAC addresses (lower case) from ``/proc/net/arp``, without incomplete entries."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {row[0]: row[3].lower() for row in rows if len(row) >= 6 and re.fullmatch(_MAC, row[3]) and row[3] != _NO_MAC}


def parse_neighbours(text: str) -> dict[str, str]:
    """Map IP to MAC addresses from ``ip neighbour show``, including IPv6."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if "lladdr" in words[1:-1] and "FAILED" not in words:
            mac = words[words.index("lladdr") + 1]
            if re.fullmatch(_MAC, mac):
                found[words[0]] = mac.lower()
    return found


def _run(words: Sequence[str]) -> str:
    """Return the output of a program.

    Raises:
        OSError: the program cannot be run.
        subprocess.SubprocessError: the program failed or took too long.
    """
    program = find(words[0])
    if program is None:
        raise FileNotFoundError(f"{words[0]} is not installed")
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=True, env=environment
    )
    return done.stdout.decode(errors="replace")


class Batman:
    """Queries batctl.

    Not for an event loop's thread: a call takes a few milliseconds per machine, and `TIMEOUT_S` if
    batctl hangs.
    """

    def __init__(self, log: logging.Logger, run: Run = _run, arp: Path = _ARP) -> None:
        """Prepare.

        Args:
            log: logger that receives each reason for missing qualities once.
            run: returns the output of a command line, or raises OSError or
                subprocess.SubprocessError.
            arp: file with the kernel's neighbour table.
        """
        self._log = log
        self._arp = arp
        self._run = run
        self._reported: set[str] = set()

    def qualities(self, ips: Collection[str]) -> Mapping[str, int]:
        """Map the IP addresses of machines in the mesh to the quality of their route, 0 to 255.

        Never raises. batctl drops a machine some time after its last message; the result drops it
        at the same moment.
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
            # A machine that batctl cannot translate is an error to batctl too, but nothing new.
            command = " ".join(words[:2])
            if command not in self._reported:
                self._reported.add(command)
                self._log.info("no mesh quality from %s: %s", command, _reason(why))
            return ""


def _reason(why: Exception) -> str:
    output = why.stderr if isinstance(why, subprocess.CalledProcessError) else b""
    return (output or b"").decode(errors="replace").strip() or str(why)
