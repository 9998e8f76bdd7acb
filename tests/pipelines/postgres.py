"""A real PostgreSQL for tests, in its own folder, on a port of loopback.

It refuses to run as root, so root starts it as the user "nobody".
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.ports import free_ports
from tests.waiting import eventually


def programs() -> Path:
    """Return the folder with initdb and postgres.

    Raises:
        AssertionError: there is none; the text names what to install.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    plain = shutil.which("initdb")
    if not found and plain is None:
        raise AssertionError("these tests need PostgreSQL's initdb and postgres: scripts/install-debian-packages postgresql")
    return found[-1].parent if found else Path(str(plain)).resolve().parent


class Postgres:
    """A PostgreSQL server. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._bin = programs()
        # not below pytest's folders, which are closed to other users
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._log = folder / "postgres.log"
        self._user = "nobody" if os.geteuid() == 0 else None
        self.port = free_ports(1)[0]
        self._databases = 0

    def __enter__(self) -> Postgres:
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._folder.chmod(0o700)
        data = self._folder / "data"
        arguments = [self._bin / "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"]
        subprocess.run(arguments, check=True, user=self._user, cwd="/", capture_output=True, timeout=60)
        settings = [
            "-c",
            "fsync=off",
            "-c",
            "autovacuum=off",
            "-c",
            "listen_addresses=127.0.0.1",
            "-p",
            str(self.port),
            "-k",
            str(self._folder),
        ]
        self._command = [self._bin / "postgres", "-D", data, *settings]
        self.start()
        return self

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, user=self._user, cwd="/", stdout=log, stderr=subprocess.STDOUT)
        eventually(self._answers, 40, lambda: f"PostgreSQL\n{self._log.read_text()}")

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop the server at once, even with open connections."""
        self._process.send_signal(number)
        self._process.wait(40)

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._address("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _address(self, name: str) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{name}"

    def database(self) -> str:
        """Create a fresh database and return its URL."""
        self._databases += 1
        name = f"d{self._databases}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return self._address(name)
