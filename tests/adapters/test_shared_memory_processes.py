"""Arena and views in separate processes, which are stopped and killed; and a /dev/shm that is really full."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest

from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.segments import FOLDER, sweep
from fission.protocol.shared_blocks import ALIGNMENT, Descriptor
from tests.adapters.shared_support import put, used_again

MB = 1 << 20

# Runs the code that it is sent, and answers with the value of `result`.
REMOTE = """
import gc, os, pickle, sys
from random import Random
from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.views import Views
from fission.protocol.shared_blocks import BlockGone, Descriptor
space = dict(globals())
while True:
    try:
        code, names = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    space.update(names, result=None)
    exec(code, space)
    pickle.dump(space.pop("result"), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


class Remote:
    """Another process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", REMOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def tell(self, code: str, **names: Any) -> None:
        """Sends code, with values for its names."""
        assert self.process.stdin is not None
        pickle.dump((code, names), self.process.stdin)
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Wait for an answer."""
        assert self.process.stdout is not None
        return pickle.load(self.process.stdout)

    def do(self, code: str, **names: Any) -> Any:
        """Sends code and waits for its answer."""
        self.tell(code, **names)
        return self.hear()

    def kill(self) -> None:
        """Ends it without a warning."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it at once."""
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@pytest.fixture
def remote() -> Iterator[Callable[[], Remote]]:
    """Starts processes, and ends them with the test."""
    started: list[Remote] = []

    def start() -> Remote:
        started.append(Remote())
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def two_readers(prefix: str) -> Iterator[Arena]:
    """An arena with two readers in their first incarnations, and room for eight buffers of 1 MB."""
    one = Arena(prefix, 1, 1, [1, 1], limit=8 * MB + 64 * ALIGNMENT, segment_bytes=16 * MB)
    yield one
    one.close()


TAKE = "view = Views(incarnation).get(Descriptor.unpack(packed)); result = bytes(view), view.readonly"


@pytest.mark.slow
def test_the_others_see_what_was_put_until_they_let_go(two_readers: Arena, remote: Callable[[], Remote]) -> None:
    readers = [remote(), remote()]
    data = os.urandom(MB)
    block = put(two_readers, data)
    both = [block._replace(reader=number) for number in range(2)]
    for reader, descriptor in zip(readers, both, strict=True):
        assert reader.do(TAKE, incarnation=1, packed=descriptor.pack()) == (data, True)
    for descriptor in both:
        assert not used_again(two_readers, block)
        two_readers.release(descriptor)
    for reader in readers:
        assert not used_again(two_readers, block)
        assert reader.do("result = bytes(view); del view") == data
    assert used_again(two_readers, block)


ARRAY = """
import numpy
array = pickle.loads(payload, buffers=[Views(1).get(Descriptor.unpack(packed))])
try:
    array["x"] = 0
except ValueError as why:
    result = str(array.dtype), float(array["x"].sum()), str(why)
"""


@pytest.mark.slow
def test_arrays_are_read_only_at_the_other_side(two_readers: Arena, remote: Callable[[], Remote]) -> None:
    array = np.ones(50_000, dtype=[("x", "f8"), ("y", "S3")])
    buffers: list[pickle.PickleBuffer] = []
    payload = pickle.dumps(array, 5, buffer_callback=buffers.append)
    packed = put(two_readers, buffers[0].raw(), readers=[0]).pack()
    dtype, total, error = remote().do(ARRAY, payload=payload, packed=packed)
    assert (dtype, total) == (str(array.dtype), 50_000)
    assert "read-only" in error


@pytest.mark.slow
def test_memory_held_by_a_killed_reader_waits_for_its_next_incarnation(two_readers: Arena, remote: Callable[[], Remote]) -> None:
    first, second = remote(), remote()
    released, unreleased = put(two_readers, b"r" * MB, readers=[0]), put(two_readers, b"u" * MB, readers=[0])
    for block in (released, unreleased):
        first.do(
            TAKE.replace("view =", "views = globals().setdefault('views', []); view =") + "; views.append(view)",
            incarnation=1,
            packed=block.pack(),
        )
    two_readers.release(released)
    first.kill()
    assert not used_again(two_readers, released)
    two_readers.forget_reader(0, 2)
    assert used_again(two_readers, released)
    assert second.do(TAKE, incarnation=2, packed=unreleased.pack()) == (b"u" * MB, True)
    two_readers.release(unreleased)
    put(two_readers, b"n" * MB, readers=[0])
    assert not used_again(two_readers, unreleased)
    assert second.do("result = bytes(view); del view") == b"u" * MB
    assert used_again(two_readers, unreleased)


@pytest.mark.slow
def test_a_stopped_reader_that_wakes_up_does_no_harm(two_readers: Arena, remote: Callable[[], Remote]) -> None:
    zombie, successor = remote(), remote()
    block = put(two_readers, b"b" * MB, readers=[0])
    zombie.do(TAKE, incarnation=1, packed=block.pack())
    zombie.process.send_signal(signal.SIGSTOP)
    two_readers.forget_reader(0, 2)
    successor.do(TAKE, incarnation=2, packed=block.pack())
    two_readers.release(block)
    zombie.tell("del view; result = 'let go'")
    assert not used_again(two_readers, block)
    zombie.process.send_signal(signal.SIGCONT)
    assert zombie.hear() == "let go"
    assert not used_again(two_readers, block)
    assert successor.do("result = bytes(view); del view") == b"b" * MB
    assert used_again(two_readers, block)


PRODUCE = """
arena = Arena(prefix, 1, 1, [1], segment_bytes=1 << 20)
result = [arena.put(bytes([number]) * (1 << 20)).pack() for number in range(3)]
"""


@pytest.mark.slow
def test_blocks_of_a_killed_producer_stay_until_they_are_swept(prefix: str, remote: Callable[[], Remote]) -> None:
    producer, reader, late = remote(), remote(), remote()
    packed = producer.do(PRODUCE, prefix=prefix)
    assert reader.do(TAKE, incarnation=1, packed=packed[0]) == (b"\0" * MB, True)
    producer.kill()
    assert late.do(TAKE, incarnation=1, packed=packed[2]) == (b"\2" * MB, True)
    assert sweep(prefix) == 3
    assert [name for name in os.listdir(FOLDER) if name.startswith(prefix)] == []
    assert late.do("result = bytes(view)") == b"\2" * MB
    gone = "try: Views(1).get(Descriptor.unpack(packed))\nexcept BlockGone as why: result = str(why)"
    assert "removed" in late.do(gone, packed=packed[1])


# Holds some of the blocks for a while, and checks each when it gets it and before it releases it.
CONSUME = """
views, random, held, bad = Views(1), Random(reader), [], []
def right(number, view):
    return bytes(view) == number.to_bytes(4, "big") * (len(view) // 4)
for _ in range(blocks):
    number, packed = pickle.load(sys.stdin.buffer)
    view = views.get(Descriptor.unpack(packed))
    if not right(number, view):
        bad.append(number)
    held.append((number, view))
    del view
    while held and random.random() < len(held) / 12:
        number_then, view = held.pop(random.randrange(len(held)))
        if not right(number_then, view):
            bad.append(number_then)
        del view
    pickle.dump(number, sys.stdout.buffer)
    sys.stdout.buffer.flush()
result = bad
"""


def stream(arena: Arena, readers: list[Remote], blocks: int) -> list[int]:
    """Sends many blocks to the readers at once; returns the numbers of those that changed under a reader's feet."""
    random = Random(1)
    under_way: deque[tuple[int, Descriptor]] = deque()
    for number, reader in enumerate(readers):
        reader.tell(CONSUME, reader=number, blocks=blocks)
    for number in range(blocks):
        descriptor = put(arena, number.to_bytes(4, "big") * random.randrange(1, 30_000))
        under_way.append((number, descriptor))
        for index, reader in enumerate(readers):
            assert reader.process.stdin is not None
            pickle.dump((number, descriptor._replace(reader=index).pack()), reader.process.stdin)
            reader.process.stdin.flush()
        if len(under_way) == 6:
            answer(arena, readers, under_way)
    while under_way:
        answer(arena, readers, under_way)
    return [number for reader in readers for number in reader.hear()]


def answer(arena: Arena, readers: list[Remote], under_way: deque[tuple[int, Descriptor]]) -> None:
    """Waits until the oldest block was released."""
    number, descriptor = under_way.popleft()
    for index, reader in enumerate(readers):
        assert reader.hear() == number
        arena.release(descriptor._replace(reader=index))


@pytest.mark.slow
def test_thousands_of_blocks_do_not_change_under_their_readers(two_readers: Arena, remote: Callable[[], Remote]) -> None:
    readers = [remote(), remote()]
    assert stream(two_readers, readers, 20_000) == []
    assert two_readers.committed < 8 * MB
    assert two_readers.slots < 40


@pytest.mark.slow
def test_an_arena_that_ignores_its_readers_is_caught(prefix: str, remote: Callable[[], Remote], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arena, "_is_held", lambda arena, slot: False)
    one = Arena(prefix, 1, 1, [1])
    assert stream(one, [remote()], 500)
    one.close()


# In its own mount namespace, so that nothing is left to unmount. A write to missing memory would be a SIGBUS.
FULL = """
import logging, os, subprocess, sys
from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.views import Views
logging.basicConfig(stream=sys.stdout, format="%(levelname)s")
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
views = Views(1, folder=folder)
arena = Arena("fission-full", 1, 1, [1], folder=folder)
blocks = []
while (block := arena.put(bytes([len(blocks)]) * 100_000)) is not None:
    blocks.append(block)
for _ in range(70):
    assert arena.put(bytes(200_000)) is None
assert 5 < len(blocks) < 11, len(blocks)
for number, block in enumerate(blocks):
    assert views.get(block) == bytes([number]) * 100_000
arena.release(blocks[1])
assert arena.put(bytes(90_000)) is not None
free = os.statvfs(folder)
with open(folder + "/other", "wb") as file:
    file.write(bytes(free.f_bavail * free.f_bsize))
other = Arena("fission-full", 2, 1, [1], folder=folder)
assert other.put(bytes(70_000)) is None
assert sorted(os.listdir(folder)) == ["fission-full-1.1-0", "other"], os.listdir(folder)
arena.close()
views.close()
assert all(other.put(bytes(70_000)) is None for _ in range(64)) and other.put(bytes(70_000)) is not None
print(len(blocks))
"""


@pytest.mark.slow
def test_a_full_file_system_gives_none_and_one_warning(tmp_path: Any) -> None:
    ways = [["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]]
    way = next((way for way in ways if not subprocess.run([*way, "true"], capture_output=True, check=False).returncode), None)
    if way is None:
        pytest.skip("needs a mount namespace: root, or user namespaces")
    done = subprocess.run([*way, sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[:-1] == ["WARNING", "WARNING"]
