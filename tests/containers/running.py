"""Runs containers of images that tests/containers/image.py has made, on hosts of tests/cluster/hosts.py.

A container has the namespaces, the user, the variables, the limits and the first process that a runtime would give it by the compose file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.hosts import Host
from tests.containers.image import Builder, Image, as_user
from tests.waiting import eventually

#: ``cap_drop: [ALL]`` and ``no-new-privileges``.
LIMITS = "--bounding-set=-all --inh-caps=-all --no-new-privs"
START_S = 30.0
HEALTHY_S = 60.0
STOP_S = 20.0  # stop_grace_period of the compose file
#: ``init: true``: a first process that passes SIGTERM on, and waits for orphans.
INIT = """
import os, signal, sys
pid = os.fork()
if not pid:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
while True:
    ended, status = os.wait()
    if ended == pid:
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True)
class Options:
    """What the user of a runtime says.

    Attributes:
        command: words in place of the image's CMD.
        env: variables.
        mounts: files and folders of this machine, by their paths in the container.
    """

    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)


class Container:
    """A running container. A context manager, which kills it.

    Attributes:
        process: ends with the container, and has its exit code.
        log_file: what it prints.
    """

    def __init__(self, builder: Builder, image: Image, host: Host, log_file: Path, options: Options) -> None:
        self.image, self.log_file, self._env = image, log_file, {**image.env, **options.env}
        layer = builder.new_layer(log_file.stem)
        mounts = "".join(
            f'mkdir -p "$(dirname "$root{path}")"; {"mkdir -p" if there.is_dir() else "touch"} "$root{path}"; '
            f'mount --bind {there} "$root{path}"; '
            for path, there in options.mounts.items()
        )
        words = ["nsenter", f"--mount=/proc/{builder.holder.pid}/ns/mnt", "--wdns=/"]
        words += ["unshare", "--pid", "--ipc", "--mount", "--fork", "--kill-child", *builder.enter(image.layers, layer, mounts)]
        program = ["python", "-I", "-c", INIT, *image.entrypoint, *(options.command or image.command)]
        with open(log_file, "wb") as output:
            self.process = host.run(
                [*words, *as_user(image.folder, image.user, self._env, program, LIMITS)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        eventually(lambda: self.process.poll() is not None or self._runs(), START_S, lambda: f"the container starts\n{self.log}")

    def _runs(self) -> bool:
        """Return whether its first process is that of the container, and no longer what prepares it."""
        with contextlib.suppress(IndexError, OSError):
            return Path(f"/proc/{self.first_pid}/cmdline").read_bytes().startswith(b"python\0")
        return False

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self.log_file.read_text(errors="replace")

    @property
    def first_pid(self) -> int:
        """The container's first process, as this machine numbers it."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def execute(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run another program in the container, as `podman exec` does."""
        nsenter = ["nsenter", "--target", str(self.first_pid), "--mount", "--pid", "--ipc", "--net", "--root", "--wdns=/"]
        program = as_user(self.image.folder, self.image.user, self._env, words, LIMITS)
        return subprocess.run([*nsenter, *program], capture_output=True, text=True, timeout=30, check=False)

    def becomes_healthy(self) -> None:
        """Wait until HEALTHCHECK succeeds; fail if the container ends before that, or if nothing is checked."""
        assert self.image.healthcheck, "no HEALTHCHECK"
        seen = ""

        def healthy() -> bool:
            nonlocal seen
            assert self.process.poll() is None, f"ended with exit code {self.process.returncode}\n{self.log}"
            try:
                done = self.execute(self.image.healthcheck)
            except IndexError:
                return False  # it is just ending
            seen = f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
            return done.returncode == 0

        eventually(healthy, HEALTHY_S, lambda: f"HEALTHCHECK {self.image.healthcheck} succeeds: {seen}\n{self.log}")

    def users(self) -> set[int]:
        """Return the ids of the users, real and effective, of all its processes."""
        found = set()
        wanted = os.readlink(f"/proc/{self.first_pid}/ns/pid")
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if os.readlink(folder / "ns" / "pid") == wanted:
                        line = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("Uid:"))
                        found.update(map(int, line.split()[1:]))
                except OSError:
                    continue  # it has ended
        return found

    def stop(self) -> int:
        """End it as `podman stop` does, within its time; return its exit code."""
        os.kill(self.first_pid, signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """Kill all its processes."""
        with contextlib.suppress(OSError):  # it has ended
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            os.kill(int(children[0]) if children else self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_S)
