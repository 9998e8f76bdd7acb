"""Jobs that leave threads, processes or open files when they end. The ends are "raise", "finish", "exit" and "stop"."""

from __future__ import annotations

import asyncio
import atexit
import gzip
import io
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fission.core.jobs import PythonJob

FOR_EVER = 1e5


class Finalized:
    def __del__(self) -> None:
        time.sleep(FOR_EVER)


def thread() -> Any:
    threading.Thread(target=time.sleep, args=(FOR_EVER,)).start()


def thread_pool() -> Any:
    pool = ThreadPoolExecutor()
    pool.submit(time.sleep, FOR_EVER)
    return pool


def timer() -> Any:
    threading.Timer(FOR_EVER, print).start()


def asyncio_loop() -> Any:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever).start()
    return loop


def process() -> Any:
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(FOR_EVER,))
    child.start()
    return child


def process_pool() -> Any:
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    pool.submit(time.sleep, FOR_EVER)
    return pool


def queue() -> Any:
    unsent = multiprocessing.get_context("fork").Queue()
    unsent.put(bytes(1 << 20))
    return unsent


def at_exit() -> Any:
    atexit.register(time.sleep, FOR_EVER)


def finalizer() -> Any:
    return Finalized()


LINGERING: dict[str, Callable[[], Any]] = {
    made.__name__: made for made in (thread, thread_pool, timer, asyncio_loop, process, process_pool, queue, at_exit, finalizer)
}


class Ends(PythonJob):
    """Prints "now" and ends in the given way."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.end = end

    def run(self) -> Iterator[Any]:
        self.begin()
        print("now")
        if self.end == "raise":
            raise ValueError("on purpose")
        if self.end == "exit":
            sys.exit(3)
        if self.end == "stop":
            time.sleep(FOR_EVER)
        yield from ()

    def begin(self) -> None:
        """Called first."""


class Lingers(Ends):
    def __init__(self, what: str, end: str) -> None:
        super().__init__(end)
        self.what = what

    def begin(self) -> None:
        self.held = LINGERING[self.what]()


def in_module(text: str) -> None:
    """Open a file that only this module knows."""
    global _file
    _file = open("module.txt", "w")  # noqa: SIM115  # that nothing closes it is what is tested
    _file.write(text)


class Opens(Ends):
    """Opens files of many kinds, writes to them, and closes none."""

    def begin(self) -> None:
        self.text = open("text.txt", "w")  # noqa: SIM115
        self.text.write("text")
        self.data = open("data.bin", "wb")  # noqa: SIM115
        self.data.write(b"data")
        self.packed = gzip.open("packed.gz", "wb")  # noqa: SIM115
        self.packed.write(b"packed")
        self.wrapped = io.TextIOWrapper(gzip.open("wrapped.gz", "wb"))  # noqa: SIM115
        self.wrapped.write("wrapped")
        self.sound = wave.open("sound.wav", "wb")  # noqa: SIM115
        self.sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        self.sound.writeframesraw(bytes(2000))
        self.circle: list[Any] = [open("circle.txt", "w")]  # noqa: SIM115
        self.circle.append(self.circle)
        self.circle[0].write("circle")
        in_module("module")
        atexit.register(Path("atexit.txt").write_text, "atexit")


def written(folder: Path) -> dict[str, Any]:
    """Return what a reader finds in the files of `Opens`."""
    with wave.open(str(folder / "sound.wav")) as sound:
        frames = sound.getnframes()
    return {
        "text": (folder / "text.txt").read_text(),
        "data": (folder / "data.bin").read_text(),
        "packed": gzip.decompress((folder / "packed.gz").read_bytes()).decode(),
        "wrapped": gzip.decompress((folder / "wrapped.gz").read_bytes()).decode(),
        "frames": frames,
        "circle": (folder / "circle.txt").read_text(),
        "module": (folder / "module.txt").read_text(),
        "atexit": (folder / "atexit.txt").read_text(),
    }


WRITTEN = {
    "text": "text",
    "data": "data",
    "packed": "packed",
    "wrapped": "wrapped",
    "frames": 1000,
    "circle": "circle",
    "module": "module",
    "atexit": "atexit",
}


class OpensAndLingers(Opens):
    """The same, beside a thread that does not end."""

    def begin(self) -> None:
        super().begin()
        thread()


class TearsDown(Ends):
    """Its `teardown` records each call in a file, and may raise, or not return."""

    def __init__(self, end: str, teardown: str = "") -> None:
        super().__init__(end)
        self.how = teardown

    def setup(self, *args: Any, **kwargs: Any) -> None:
        if self.how == "no setup":
            raise LookupError("in setup")

    def teardown(self) -> None:
        with open("teardown.txt", "a") as file:
            file.write("called\n")
        if self.how == "raise":
            raise LookupError("in teardown")
        if self.how == "hang":
            time.sleep(FOR_EVER)


# what leaves the process group


def started(process: int) -> None:
    print("daemon", process)


def session() -> None:
    """Start a child in its own session."""
    started(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)


def daemon() -> None:
    """Start a daemon: its parent ends, so it is not a child of any process here."""
    script = "setsid sh -c 'sleep 600 >/dev/null 2>&1 & echo $!' </dev/null"
    done = subprocess.run(["sh", "-c", f"{script} & wait"], stdout=subprocess.PIPE, check=True, text=True)
    started(int(done.stdout))


def family() -> None:
    """Start a daemon that has children in other sessions."""
    script = "setsid sh -c 'setsid sleep 600 & echo $!; exec sleep 600' & sleep 0.1; echo $!"
    child = subprocess.Popen(["setsid", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in [child.stdout.readline() for _ in range(2)]:
        started(int(line))


def forked() -> None:
    """Fork this process into a session of its own."""
    process = os.fork()
    if process == 0:
        os.setsid()
        time.sleep(FOR_EVER)
    started(process)


def no_environment() -> None:
    """Start a child in its own session, without our environment."""
    started(subprocess.Popen(["/bin/sleep", "600"], start_new_session=True, env={}).pid)


LEAVING: dict[str, Callable[[], None]] = {made.__name__: made for made in (session, daemon, family, forked, no_environment)}


class Leaves(Ends):
    """Starts a process that leaves the job's process group. The end "wait" waits for ever."""

    def __init__(self, what: str, end: str) -> None:
        super().__init__(end)
        self.what = what

    def begin(self) -> None:
        LEAVING[self.what]()

    def run(self) -> Iterator[Any]:
        if self.end != "wait":
            yield from super().run()
            return
        self.begin()
        print("now")
        time.sleep(FOR_EVER)
