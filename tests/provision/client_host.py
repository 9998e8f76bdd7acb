"""A board that runs a network as a service: `counters` of tests/provision/networks.py, as docs/boards.md sets it up."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.provision.boards import PYTHON, Board, Boards
from tests.provision.networks import squares, write_network
from tests.waiting import eventually

#: Folders on the board, and the service.
VENV, PROJECT, UNIT = "/home/pi/venv", "/home/pi/garden", "fission-counters"
WAIT_S = 100.0


class ClientHost:
    """The board of the client, and the boards that are its nodes."""

    def __init__(self, boards: Boards, board: Board, nodes: Sequence[Board]) -> None:
        self.boards, self.board, self.nodes = boards, board, nodes

    def install(self, wheel: Path, wheelhouse: Path) -> None:
        """Install FISSION for the user pi from wheels alone, and bring the keys of its networks."""
        self.board.put(wheelhouse, "/tmp/wheels")
        self.board.put(self.boards.home / ".fission", "/home/pi/.fission")
        self.board.sh("chown -R pi:pi /home/pi /tmp/wheels")
        pip = f"{VENV}/bin/python -m pip install --quiet --no-index --no-cache-dir --disable-pip-version-check --find-links /tmp/wheels"
        self.run(f"{PYTHON} -m venv {VENV} && {pip} '/tmp/wheels/{wheel.name}[cluster,provision]'", limit_s=200)
        self.board.sh("rm -r /tmp/wheels")

    def write_network(self, limit: int) -> None:
        """Bring the project; its network ends after this many blocks (0: never)."""
        write_network(self.boards, limit, client_ip=self.board.ip, nodes_on=self.nodes)
        self.board.put(self.boards.project, PROJECT)
        self.board.sh(f"rm -r {PROJECT}/ansible; chown -R pi:pi {PROJECT}")

    def run(self, command: str, *, ok: bool = True, limit_s: float = WAIT_S) -> str:
        """Run a shell command as pi, in the project if there is one; return its output."""
        words = f"cd {PROJECT} 2>/dev/null; PATH={VENV}/bin:$PATH; {command}"
        return self.board.sh(f"runuser --login pi --command {shlex.quote(words)}", ok=ok, limit_s=limit_s)

    def provision(self, *words: str) -> list[str]:
        """Run ``fission provision client counters WORDS``; return its lines without the name of the network."""
        try:
            output = self.run(shlex.join(["fission", "provision", "client", "counters", *words]))
        except AssertionError as why:
            raise AssertionError(f"{why}\n{self.logs()}") from None
        return [line.partition(": ")[2] for line in output.splitlines()]

    def service(self) -> dict[str, str]:
        """Return what the service manager says about the service."""
        lines = self.board.sh(f"systemctl show {UNIT}").splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def until_service(self, **wanted: str) -> None:
        """Wait until the service manager says this."""
        eventually(lambda: wanted.items() <= self.service().items(), WAIT_S, lambda: f"{wanted}: {self.service()}\n{self.logs()}")

    def change_unit(self, old: str, new: str) -> None:
        """Change a line of the unit behind the back of `fission provision`."""
        path = f"/etc/systemd/system/{UNIT}.service"
        text = self.board.sh(f"cat {path}")
        assert old in text
        self.board.sh(f"cat > {path} <<'END'\n{text.replace(old, new)}END\nsystemctl daemon-reload")

    def rows(self) -> list[str]:
        """Return what the sink has written in all runs, oldest first, without headers and a line that is not yet whole."""
        text = self.board.sh(f"cat $(ls -d {PROJECT}/counters/runs/*/3/squares.csv) /dev/null", ok=False)
        header, *lines = text.split("\n")[:-1] or [""]
        return [line for line in lines if line != header]

    def more_rows(self, count: int = 100, deadline_s: float = WAIT_S) -> None:
        """Wait for this many more rows; all of them must be exact."""
        wanted = len(self.rows()) + count
        eventually(lambda: len(self.rows()) >= wanted, deadline_s, lambda: f"{wanted} rows: {len(self.rows())}\n{self.logs()}")
        self.check_rows()

    def check_rows(self) -> None:
        """Check that no block is missing, came twice, or in another order."""
        found = self.rows()
        wrong = next((index for index, (came, due) in enumerate(zip(found, squares(len(found)), strict=True)) if came != due), None)
        assert wrong is None, f"row {wrong} of {len(found)}: {found[max(0, wrong - 3) : wrong + 3]}\n{self.logs()}"

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return these kinds of entries of the last run's event log, all of them by default."""
        text = self.board.sh(f"cat {PROJECT}/counters/local/events.jsonl", ok=False)
        entries = [json.loads(line) for line in text.split("\n")[:-1]]
        return [entry for entry in entries if not kinds or entry["what"] in kinds]

    def board_of(self, job: int) -> Board:
        """Return the board on which the newest incarnation of a job is."""
        name = [entry["node"] for entry in self.events("Launch") if entry["job"] == job][-1]
        return next(board for board in self.nodes if board.name == name)

    def logs(self) -> str:
        """Return what the client has logged, and the nodes."""
        events = [entry for entry in self.events() if entry["what"] in ("Launch", "NodeJoined", "NodeLost", "Ended", "Run", "Finished")]
        lines = [re.sub(r"\s+", " ", json.dumps(entry)) for entry in events[-30:]]
        log = self.board.sh(f"tail -n 60 /var/log/units/{UNIT}.log", ok=False)
        return "\n".join([f"--- the client\n{log}", "--- its events", *lines, self.boards.logs()])
