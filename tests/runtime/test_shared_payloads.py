"""Large blocks of every kind of pipe go through shared memory, and arrive as they always did."""

from __future__ import annotations

import json
import pickle
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fission.adapters.shared_memory.arena import Arena
from fission.core.base import BasePipe, collecting
from fission.core.jobs import PythonJob
from fission.core.network import Network as Graph
from fission.core.pipes import BytesPipe, JSONPipe, OptionalMixIn, PicklePipe
from fission.errors import ValueFitError
from fission.runtime import codec
from fission.runtime.codec import OUT_OF_BAND_BYTES, WHOLE_BYTES
from tests.conformance.networks import Network, Sink, Source
from tests.conformance.places import Place
from tests.runtime.test_handing_on import Shared
from tests.runtime.test_new_arrays import Far, Full

COUNT = 40
SIZE = WHOLE_BYTES + 8


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    with collecting():
        yield


class ViewPipe(BytesPipe):
    VIEW = True


class LengthPipe(BasePipe):
    """Bytes after their length."""

    BLOCK_SIZE = "length"

    def read(self, file: Any) -> bytes:
        size = file.read(4)
        if len(size) < 4:
            raise EOFError
        return bytes(file.read(int.from_bytes(size, "big")))

    def write(self, file: Any, data: Any) -> None:
        file.write(len(data).to_bytes(4, "big"))
        file.write(data)


class OwnPicklePipe(BasePipe):
    """Pickles, written by hand."""

    BLOCK_SIZE = "pickle"

    def read(self, file: Any) -> Any:
        return pickle.load(file)

    def write(self, file: Any, data: Any) -> None:
        pickle.dump(data, file, 5)


class KeepsFile(LengthPipe):
    """Keeps the file that it reads from, and asks for its descriptor."""

    def read(self, file: Any) -> bytes:
        if not hasattr(self, "file"):
            self.file = file
            file.fileno()
        return super().read(self.file)


class Packs(BytesPipe):
    """Has a `pack` and an `unpack` of its own."""

    def pack(self, data: Any) -> bytes:
        return super().pack(data[::-1])

    def unpack(self, data: Any) -> Any:
        assert type(data) is bytes
        return data[::-1]


def content(number: int, size: int = SIZE) -> bytes:
    return (b"%7d|" % number) * (size // 8)


#: For each: a pipe, what is sent in place of bytes, and how bytes come of what arrives.
KINDS: dict[str, tuple[Callable[[int], BasePipe], Callable[[bytes], Any], type, Callable[[Any], bytes]]] = {
    "BytesPipe": (lambda n: BytesPipe(n, SIZE), bytes, bytes, bytes),
    "BytesPipe, bytearray": (lambda n: BytesPipe(n, SIZE), bytearray, bytes, bytes),
    "BytesPipe, memoryview": (lambda n: BytesPipe(n, SIZE), memoryview, bytes, bytes),
    "BytesPipe, array": (lambda n: BytesPipe(n, SIZE), lambda b: array("d", b), bytes, bytes),
    "BytesPipe, numpy": (lambda n: BytesPipe(n, SIZE), lambda b: np.frombuffer(b, ">i4").reshape(-1, 2), bytes, bytes),
    "BytesPipe, Fortran": (lambda n: BytesPipe(n, SIZE), lambda b: np.asfortranarray(np.frombuffer(b, "i2").reshape(4, -1)), bytes, bytes),
    "BytesPipe, dates": (lambda n: BytesPipe(n, SIZE), lambda b: np.frombuffer(b, "M8[s]"), bytes, bytes),
    "BytesPipe, VIEW": (lambda n: ViewPipe(n, SIZE), bytes, memoryview, bytes),
    "own pack": (lambda n: Packs(n, SIZE), bytes, bytes, bytes),
    "own read and write": (LengthPipe, bytes, bytes, bytes),
    "own file": (KeepsFile, bytes, bytes, bytes),
    "own pickles": (OwnPicklePipe, lambda b: {"x": b}, dict, lambda value: value["x"]),
    "JSONPipe": (JSONPipe, bytes.decode, str, str.encode),
    "PicklePipe, bytes": (PicklePipe, bytes, bytes, bytes),
    "PicklePipe, bytes in a list": (PicklePipe, lambda b: [1, b], list, lambda value: value[1]),
    "PicklePipe, text in a dict": (PicklePipe, lambda b: {"x": b.decode()}, dict, lambda value: value["x"].encode()),
}


def line(kind: str, sinks: int = 1) -> tuple[Source, list[Sink]]:
    make, sent, _, _ = KINDS[kind]
    pipes = [make(number) for number in range(1, sinks + 1)]
    return Source((sent(content(number)) for number in range(COUNT)), pipes), [Sink([pipe]) for pipe in pipes]


def check(kind: str, sink: Sink) -> None:
    _, _, kept, back = KINDS[kind]
    assert len(sink.got) == COUNT
    for number, value in enumerate(sink.got):
        assert isinstance(value, kept)
        assert back(value) == content(number), f"block {number}"


@pytest.mark.parametrize("network", [Shared, Far, Full, Network])
@pytest.mark.parametrize("kind", KINDS)
def test_what_arrives_is_what_was_sent(place: Place, copies: list[int], kind: str, network: Any) -> None:
    source, (sink,) = line(kind)
    network(place, [source, sink]).run()
    check(kind, sink)
    assert len(copies) == (COUNT if network in (Shared, Full) else 0)


@pytest.mark.parametrize("kind", ["BytesPipe", "BytesPipe, VIEW", "own pickles", "PicklePipe, bytes in a list"])
def test_one_copy_for_many_consumers(place: Place, copies: list[int], kind: str) -> None:
    source, sinks = line(kind, 4)
    Shared(place, [source, *sinks], blocks=5).run()
    for sink in sinks:
        check(kind, sink)
    assert len(copies) == COUNT


@pytest.mark.parametrize(
    ("size", "pipe", "shared"),
    [(WHOLE_BYTES - 8, BytesPipe, 0), (OUT_OF_BAND_BYTES - 8, ViewPipe, 0), (OUT_OF_BAND_BYTES, ViewPipe, COUNT)],
)
def test_smaller_blocks_use_sockets(place: Place, copies: list[int], size: int, pipe: Any, shared: int) -> None:
    source, sink = Source((content(number, size) for number in range(COUNT)), [pipe(1, size)]), Sink([pipe(1, size)])
    Shared(place, [source, sink]).run()
    assert [bytes(value) for value in sink.got] == [content(number, size) for number in range(COUNT)]
    assert len(copies) == shared


def test_a_buffer_that_the_job_fills_again(place: Place) -> None:
    class Refills(PythonJob):
        def run(self) -> Iterator[Any]:
            buffer = bytearray(SIZE)
            for number in range(COUNT):
                buffer[:] = content(number)
                yield buffer

    sink = Sink([ViewPipe(1, SIZE)])
    Shared(place, [Refills(outputs=[ViewPipe(1, SIZE)]), sink], blocks=4).run()
    check("BytesPipe, VIEW", sink)


def test_views_are_read_only_of_any_size() -> None:
    for size in (8, SIZE):
        pipe = ViewPipe(size, size)
        decode = codec.decoder(pipe, lambda why: RuntimeError(str(why)))
        data = codec.encoder(pipe)(content(1, size))
        for payload in (data, [b"", data], [b"", bytearray(data)], [b"", memoryview(data)]):
            view = decode(payload)
            assert type(view) is memoryview
            assert view.readonly
            assert view == content(1, size)


def test_a_view_that_is_returned_is_handed_on(place: Place, copies: list[int]) -> None:
    class Returns(PythonJob):
        def run(self, view: Any) -> Any:
            return view

    pipes = [ViewPipe(number, SIZE) for number in (1, 2, 3)]
    source, sink = Source(map(content, range(COUNT)), [pipes[0]]), Sink([pipes[2]])
    Shared(place, [source, Returns(inputs=pipes[:1], outputs=pipes[1:2]), Returns(inputs=pipes[1:2], outputs=pipes[2:]), sink]).run()
    check("BytesPipe, VIEW", sink)
    assert len(copies) == COUNT


def test_an_array_of_new_array_as_bytes(place: Place, copies: list[int]) -> None:
    class Makes(PythonJob):
        def run(self) -> Iterator[Any]:
            for number in range(COUNT):
                made = self.new_array(SIZE, np.uint8)
                made[:] = np.frombuffer(content(number), np.uint8)
                yield made
                assert not made.flags.writeable

    sink = Sink([BytesPipe(1, SIZE)])
    Shared(place, [Makes(outputs=[BytesPipe(1, SIZE)]), sink]).run()
    check("BytesPipe", sink)
    assert copies == []


def test_several_blocks_for_one_run(place: Place) -> None:
    class Pairs(BytesPipe):
        VIEW = True

    source, sink = Source(map(content, range(COUNT)), [Pairs(1, SIZE, 2)]), Sink([Pairs(1, SIZE, 2)])
    Shared(place, [source, sink]).run()
    assert [bytes(value) for pair in sink.got for value in pair] == [content(number) for number in range(COUNT)]


def test_a_pipe_whose_consumer_does_not_wait(place: Place) -> None:
    class Latest(OptionalMixIn, BytesPipe):
        pass

    class Looks(PythonJob):
        def run(self, value: Any) -> Any:
            assert value is None or (type(value) is bytes and value == content(int(value[:7])))
            return 0

    sink = Sink([PicklePipe(2)])
    sink.run = lambda value: None  # type: ignore[method-assign]  # keeps nothing
    source = Source(map(content, range(COUNT)), [Latest(1, SIZE)])
    Shared(place, [source, Looks(inputs=[Latest(1, SIZE)], outputs=[PicklePipe(2)]), sink]).run()


@pytest.mark.parametrize("value", [bytes(SIZE - 1), bytes(SIZE + 1), np.zeros(SIZE // 8 + 1), np.zeros(SIZE // 8, object), "text", None])
def test_what_does_not_fit_is_refused_as_without_shared_memory(value: Any) -> None:
    pipe = BytesPipe(1, SIZE)
    texts = []
    for lend in (None, lambda buffer: pytest.fail("lent")):
        with pytest.raises(ValueFitError) as caught:
            codec.encoder(pipe, lend=lend)(value)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_an_executable_gets_the_format_of_its_pipe() -> None:
    for pipe, value in (
        (JSONPipe(2), content(1).decode()),
        (LengthPipe(3), content(1)),
        (PicklePipe(4), content(1)),
    ):
        payload = codec.encoder(pipe, plain=True, lend=lambda buffer: pytest.fail("lent"))(value)
        assert type(payload) is bytes
    lease = object()
    assert codec.encoder(BytesPipe(1, SIZE), plain=True, lend=lambda buffer: lease)(content(1)) == [b"", lease]  # bytes, wherever they are
    assert json.loads(codec.encoder(JSONPipe(2), plain=True)("x" * SIZE)) == "x" * SIZE


def test_view_must_be_true_or_false() -> None:
    class Wrong(BytesPipe):
        VIEW: Any = "yes"

    jobs = [Source((), [Wrong(1, 8)]), Sink([Wrong(1, 8)])]
    faults = [str(fault) for fault in Graph("net", {job.id: job for job in jobs}).check()]
    assert [text for text in faults if "Wrong.VIEW must be True or False, but is 'yes'" in text]


# -- broken on purpose ------------------------------------------------------------------------------------------------


def test_memory_that_is_used_again_too_early_is_caught(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arena, "_is_held", lambda self, slot: False)
    source, (sink,) = line("BytesPipe, VIEW")
    Shared(place, [source, sink], blocks=4).run()
    with pytest.raises(AssertionError):
        check("BytesPipe, VIEW", sink)
