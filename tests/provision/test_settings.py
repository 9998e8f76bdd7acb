"""Settings that change what is on a board: a user of its own for the service, and what is said of a wrong clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.provision.boards import Boards, lines_of

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def boards(make_boards: Callable[..., Boards]) -> Boards:
    return make_boards(1)


def test_a_user_of_its_own_and_a_clock_that_is_not_synchronised(boards: Boards, wheelhouse: Path) -> None:
    boards[0].sh("echo no > /etc/clock-synchronised")
    boards.write_hosts({"board1": {"fission_user": "fission", "dispy_ip": boards[0].ip}})
    lines = lines_of(boards.provision("servers", "--wheelhouse", str(wheelhouse)))["board1"]
    assert lines[0].startswith("ready, "), lines
    assert lines[1].startswith("note: its clock is not synchronised; on it, run: sudo apt-get install systemd-timesyncd"), lines
    assert boards[0].sh("stat -c '%U %a %n' /var/lib/fission/fission /etc/fission/keys /etc/fission/keys/pulse.key").splitlines() == [
        "fission 755 /var/lib/fission/fission",
        "fission 700 /etc/fission/keys",
        "fission 600 /etc/fission/keys/pulse.key",
    ]
    assert boards[0].sh("ps -o user= -p $(systemctl show fission --property=MainPID | cut -d= -f2)").strip() == "fission"
    assert f"node board1 at {boards[0].ip} waits for a client" in boards.provision("logs").stdout
    assert f"--ip {boards[0].ip}" in boards[0].sh("cat /etc/systemd/system/fission.service")
    boards[0].sh("printf '#!/bin/sh\\nexec /usr/bin/date --date=-1hour \"$@\"\\n' > /usr/local/bin/date; chmod 755 /usr/local/bin/date")
    lines = lines_of(boards.provision("servers", "--wheelhouse", str(wheelhouse)))["board1"]
    assert lines[0] == "ready, no change"
    assert re.match(r"note: its clock differs from the clock of this machine by 3[56]\d\d s; on it, run: sudo ", lines[1]), lines
