"""docs/boards.md is followed, command by command, from blank cards to a network that survives a pulled plug.

The laptop and the four boards are hosts with the page's addresses. What the page asks the reader to do by hand is done here: cards with
Python, ssh and the user, the password when a command asks for it, wheels for boards without the Internet, the plug.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Hosts, call, require
from tests.docs_runner import ROOT, Page, blocks_of
from tests.provision.boards import PASSWORD, PROGRAMS, PYTHON, Board, Boards
from tests.provision.networks import squares
from tests.waiting import eventually

TEXT = (ROOT / "docs" / "boards.md").read_text()
END = "\n## The client as a service\n"
DISK_BYTES = 1 << 30
#: Answers ssh in place of the reader.
ASKPASS = f"""#!/bin/sh
echo "$1" >> "$(dirname "$0")/asked"
case "$1" in *yes/no*) echo yes;; *) echo {PASSWORD};; esac
"""

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(580)]


class Garden:
    """Four boards with blank cards, and a laptop that has FISSION and nothing else.

    Attributes:
        boards: the boards, at 192.168.4.2 and following.
        home: the home folder on the laptop of the last page that was followed.
    """

    def __init__(self, folder: Path, wheelhouse: Path) -> None:
        require()
        if missing := [program for program in (*PROGRAMS, "ssh-copy-id") if shutil.which(program) is None]:
            pytest.skip(f"boards need {', '.join(missing)}: scripts/install-debian-packages")
        self._folder, self._wheelhouse = folder, wheelhouse
        self.home = folder
        no_key = folder / "no-key"
        no_key.with_suffix(".pub").touch()
        self.boards: list[Board] = []
        self._hosts = Hosts(5)
        self._laptop = self._hosts[4]
        self._files = Path("/etc/netns") / self._laptop.name  # `ip netns exec` mounts them over those of /etc
        try:
            for number, host in enumerate((self._laptop, *self._hosts[:4]), 1):
                call("ip", "-n", host.name, "address", "add", f"192.168.4.{number}/24", "dev", "eth0")
            self._files.mkdir(parents=True)
            for number, host in enumerate(self._hosts[:4], 1):
                board = Board(host, f"board{number}", folder / "boards" / f"board{number}", no_key, DISK_BYTES)
                self.boards.append(board)
                # the card's image has a Python; a script, as a virtual environment does not find the library of a link
                board.sh(f"printf '#!/bin/sh\\nexec {PYTHON} \"$@\"\\n' > /usr/local/bin/python3; chmod 755 /usr/local/bin/python3")
                board.put(wheelhouse, "/var/index")
                board.sh("printf '[global]\\nno-index = true\\nfind-links = /var/index\\n' > /etc/pip.conf")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for board in self.boards:
            board.close()
        self._hosts.close()
        shutil.rmtree(self._files, ignore_errors=True)

    def follow(self, text: str, acts: dict[str, Callable[[], None]] | None = None) -> None:
        """Follow a page up to the section `END`, on a laptop whose home folder is empty and with boards that know no key.

        Args:
            text: the page.
            acts: sentences that ask the reader to do something, and what does it.

        Raises:
            AssertionError: a command of the page did not do what the page says.
        """
        for board in self.boards:
            board.sh("rm -f /home/pi/.ssh/authorized_keys")
        folder = self._folder / f"laptop{len(list(self._folder.glob('laptop*')))}"
        folder.mkdir()
        self.home = folder / "page"
        askpass = folder / "askpass"
        askpass.write_text(ASKPASS)
        askpass.chmod(0o755)
        # ssh asks the system, not HOME, for the home folder
        others = [line for line in Path("/etc/passwd").read_text().splitlines(keepends=True) if ":x:0:" not in line]
        (self._files / "passwd").write_text("".join([f"root:x:0:0:root:{self.home}:/bin/bash\n", *others]))
        env = {
            "SSH_ASKPASS": str(askpass),
            "SSH_ASKPASS_REQUIRE": "force",
            # the socket's path must be short
            "ANSIBLE_SSH_CONTROL_PATH_DIR": os.environ["TMPDIR"] + "/cp",
        }
        waiting = {one_line(sentence): act for sentence, act in (acts or {}).items()}
        with contextlib.ExitStack() as stack:
            stack.callback(Boards.end_connections)
            page = stack.enter_context(Page(folder, within=["ip", "netns", "exec", self._laptop.name], env=env))
            (self.home / ".ssh").mkdir(mode=0o700)
            done = 0
            lines = text[: text.index(END)].splitlines()
            for block in blocks_of(text[: text.index(END)]):
                before = one_line(" ".join(lines[done : block.line]))
                for sentence in [each for each in waiting if each in before]:
                    waiting.pop(sentence)()
                if block.language == "console" and "--wheelhouse wheelhouse\n" in block.text:
                    shutil.copytree(self._wheelhouse, self.home / "garden" / "wheelhouse")
                block.options.pop("by", None)
                page.run(block)
                done = block.line
        assert not waiting, f"the page no longer says: {list(waiting)}"

    def rows(self) -> list[str]:
        """Return what the sink has written, without the header."""
        path = self.home / "garden" / "counters" / "local" / "3" / "squares.csv"
        return path.read_text().split()[1:] if path.is_file() else []


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[Garden]:
    made = Garden(tmp_path_factory.mktemp("garden"), wheelhouse)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("$ ssh-copy-id pi@192.168.4.5\n", "", "ssh -o BatchMode=yes"),
        ("ansible_host: 192.168.4.", "ansible_hst: 192.168.4.", "fission provision servers\n"),
    ],
)
def test_a_page_that_does_not_work(garden: Garden, old: str, new: str, line: str) -> None:
    assert old in TEXT
    with pytest.raises(AssertionError, match=re.escape(line)):
        garden.follow(TEXT.replace(old, new))


def test_the_page(garden: Garden) -> None:
    """No command is needed that the page does not have."""
    pulled: list[Board] = []
    came = 0

    def pull() -> None:
        nonlocal came
        eventually(lambda: len(garden.rows()) > 20, 60, "the table has 20 rows")
        came = len(garden.rows())
        # each job has a folder of its own, and works there
        (board,) = [board for board in garden.boards if "/counters/1\n" in board.sh("readlink /proc/[0-9]*/cwd", ok=False)]
        board.power_off()
        pulled.append(board)

    try:
        garden.follow(
            TEXT,
            {
                "Take the power from the board that runs CountJob.": pull,
                "Give the board its power back.": lambda: pulled[0].power_on(),
            },
        )
    finally:
        for board in pulled:
            if board.process.poll() is None:
                board.power_off()  # the processes of its second boot are this test's
    rows = garden.rows()
    assert len(rows) > came + 20
    assert rows == squares(len(rows))
