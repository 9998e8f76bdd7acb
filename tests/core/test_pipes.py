from __future__ import annotations

import io
import pickle
import pickletools
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.core.base import BasePipe, TruncatedBlock, collecting, reset
from fission.core.pickle_frames import read_pickle
from fission.core.pipes import (
    BytesPipe,
    JSONPipe,
    OptionalBytesPipe,
    OptionalJSONPipe,
    OptionalMixIn,
    OptionalPicklePipe,
    PicklePipe,
)
from fission.errors import DefinitionError, ValueFitError

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**2000, 2**2100)
    | st.floats(allow_nan=False)
    | st.text()
    | st.text("aé", min_size=250, max_size=300)
    | st.binary(max_size=70_000)
    | st.complex_numbers(allow_nan=False)
    | st.binary().map(bytearray)
    | st.sampled_from([int, pickle.dumps, BytesPipe, Ellipsis])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.integers())
)


class Dribble(io.RawIOBase):
    """A stream that gives one byte at a time, as a pipe of a slow executable may."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(min(size, 1))


class Four(BasePipe):
    BLOCK_SIZE = 4


class Named(BasePipe):
    BLOCK_SIZE = "LINES"


class Trap:
    """Unpickling it would raise."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("something was executed",)


# -- BasePipe


@pytest.mark.parametrize("method", ["read", "read_wrapper"])
def test_blocks_of_a_fixed_length(method: str) -> None:
    for file in (io.BytesIO(b"aaaabbbbcc"), Dribble(b"aaaabbbbcc")):
        read = getattr(Four(1), method)
        assert read(file) == b"aaaa"
        assert read(file) == b"bbbb"
        with pytest.raises(TruncatedBlock, match="Four 1: the stream ended inside a block, after 2 of 4 bytes") as raised:
            read(file)
        assert (raised.value.received, raised.value.expected) == (2, 4)
        with pytest.raises(EOFError) as clean:
            read(file)
        assert not isinstance(clean.value, TruncatedBlock)


def test_truncation_is_an_end_of_file() -> None:
    assert issubclass(TruncatedBlock, EOFError)


@pytest.mark.parametrize("method", ["read", "read_wrapper"])
def test_a_custom_protocol_must_define_how_to_read(method: str) -> None:
    with pytest.raises(DefinitionError, match=f"Named 1: BLOCK_SIZE is the name 'LINES', so Named must override {method} to read"):
        getattr(Named(1), method)(io.BytesIO(b"x\n"))


def test_a_length_that_lies_allocates_nothing() -> None:
    class Huge(BasePipe):
        BLOCK_SIZE = 2**62

    with pytest.raises(TruncatedBlock, match="after 3 of"):
        Huge(1).read(io.BytesIO(b"abc"))


def test_pack_unpack_write_of_the_base() -> None:
    pipe, file = Four(1), io.BytesIO()
    value = object()
    assert pipe.pack(value) is value
    assert pipe.unpack(value) is value
    pipe.write(file, b"abcd")
    assert file.getvalue() == b"abcd"
    assert not hasattr(pipe, "get_dummy")


# -- pickles


@given(VALUES, st.integers(0, 5), st.binary(max_size=20))
def test_read_wrapper_finds_the_end_of_any_pickle(value: object, protocol: int, rest: bytes) -> None:
    block = pickle.dumps(value, protocol)
    file = io.BytesIO(block + rest)
    assert read_pickle(file, "pipe") == block
    assert file.read() == rest


@given(VALUES, st.integers(0, 5), st.data())
def test_a_pickle_that_is_cut(value: object, protocol: int, data: st.DataObject) -> None:
    block = pickle.dumps(value, protocol)
    cut = data.draw(st.integers(1, len(block) - 1))
    with pytest.raises(TruncatedBlock) as raised:
        read_pickle(io.BytesIO(block[:cut]), "pipe")
    assert raised.value.received == cut


@given(st.binary())
def test_garbage_gives_bytes_or_one_of_two_errors(garbage: bytes) -> None:
    try:
        block = read_pickle(io.BytesIO(garbage), "PicklePipe 1")
    except (EOFError, ValueFitError):
        return
    assert garbage.startswith(block)
    assert block.endswith(b".")


@given(st.lists(st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes]) | st.binary(max_size=9)))
def test_garbage_of_opcodes(parts: list[bytes]) -> None:
    test_garbage_gives_bytes_or_one_of_two_errors.hypothesis.inner_test(b"".join(parts))  # type: ignore[attr-defined]


def test_nothing_is_executed() -> None:
    block = pickle.dumps(Trap())
    assert PicklePipe(1).read_wrapper(io.BytesIO(block)) == block
    with pytest.raises(pytest.fail.Exception):
        PicklePipe(1).read(io.BytesIO(block))


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (b"\xff", r"PicklePipe 1: the data is not a pickle: byte 0 is b'\\xff', which begins no opcode"),
        (b"N\x00.", r"byte 1 is b'\\x00'"),
        (b"T\xff\xff\xff\xff.", r"opcode b'T' before byte 5 has the length -1"),
    ],
)
def test_a_damaged_pickle_is_refused(block: bytes, text: str) -> None:
    with pytest.raises(ValueFitError, match=text):
        PicklePipe(1).read_wrapper(io.BytesIO(block))


def test_opcodes_that_newer_protocols_do_not_write() -> None:
    block = b"(icollections\nOrderedDict\n."
    assert PicklePipe(1).read_wrapper(io.BytesIO(block + b"rest")) == block


@pytest.mark.parametrize("size", [b"\x8e" + b"\xff" * 8, b"\x8d" + b"\xff" * 8, b"B\xff\xff\xff\xff"])
def test_a_pickle_with_a_wrong_length(size: bytes) -> None:
    with pytest.raises(TruncatedBlock):
        PicklePipe(1).read_wrapper(io.BytesIO(size + b"abc"))


def test_a_pickle_pipe_reads_its_own_blocks() -> None:
    pipe, file = PicklePipe(1), io.BytesIO()
    for value in (1, [2.5, b"x"], None):
        assert pipe.pack(value) is value
        pipe.write(file, value)
    assert pickle.loads(file.getvalue()[: file.getvalue().index(b".") + 1]) == 1
    assert file.getvalue()[:2] == b"\x80\x05"
    file.seek(0)
    assert [pipe.unpack(pipe.read(file)) for _ in range(3)] == [1, [2.5, b"x"], None]
    with pytest.raises(EOFError):
        pipe.read(file)
    with pytest.raises(EOFError) as raised:
        pipe.read_wrapper(file)
    assert not isinstance(raised.value, TruncatedBlock)


def test_a_value_that_cannot_be_pickled_writes_nothing() -> None:
    file = io.BytesIO()
    with pytest.raises(Exception, match=r"pickle|local object"):
        PicklePipe(1).write(file, [b"x" * 100_000, lambda: 0])
    assert file.getvalue() == b""


# -- JSON


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_pipe_is_one_line_a_block(value: object) -> None:
    reset()
    pipe, file = JSONPipe(1), io.BytesIO()
    pipe.write(file, pipe.pack(value))
    assert file.getvalue().count(b"\n") == 1
    file.write(b"rest\n")
    for method in (pipe.read, pipe.read_wrapper):
        file.seek(0)
        assert pipe.unpack(method(file)) == value


@pytest.mark.parametrize("method", ["read", "read_wrapper"])
def test_json_lines_that_end_early(method: str) -> None:
    file = io.BytesIO(b"1\n12")
    read = getattr(JSONPipe(1), method)
    assert read(file) == b"1\n"
    with pytest.raises(TruncatedBlock, match="JSONPipe 1: the stream ended inside a block, after 2 bytes"):
        read(file)
    with pytest.raises(EOFError, match="the stream has ended"):
        read(file)


def test_json_refuses_what_it_cannot_express() -> None:
    with pytest.raises(ValueFitError, match="JSONPipe 1 takes only what JSON can represent: JSON has no type for object"):
        JSONPipe(1).pack(object())
    with pytest.raises(ValueError, match="Expecting"):
        JSONPipe(1).unpack(b"nonsense\n")


# -- bytes


def test_a_bytes_pipe_takes_bytes_like_objects() -> None:
    pipe = BytesPipe(1, 4, 3)
    assert (pipe.BLOCK_SIZE, pipe.BLOCK_COUNT) == (4, 3)
    buffer = bytearray(b"abcd")
    packed = pipe.pack(buffer)
    buffer[:] = b"wxyz"
    assert packed == b"abcd"
    assert type(packed) is bytes
    assert pipe.pack(memoryview(b"abcdefgh")[::2]) == b"aceg"
    assert pipe.pack(b"abcd") == b"abcd"
    assert pipe.pack(array("h", [1, 2])) == array("h", [1, 2]).tobytes()
    assert pipe.read(io.BytesIO(b"abcde")) == b"abcd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"abc", "BytesPipe 1 takes bytes of length 4, not of length 3"),
        (b"abcde", "BytesPipe 1 takes bytes of length 4, not of length 5"),
        ("abcd", "BytesPipe 1 takes bytes of length 4, not str"),
        (4, "BytesPipe 1 takes bytes of length 4, not int"),
        (None, "BytesPipe 1 takes bytes of length 4, not NoneType"),
    ],
)
def test_bytes_pipe_refuses(value: object, text: str) -> None:
    with pytest.raises(ValueFitError, match=f"^{text}$"):
        BytesPipe(1, 4).pack(value)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "4", None])
def test_bytes_pipe_with_no_size(wrong: object) -> None:
    with collecting() as registry:
        BytesPipe(1, wrong)
        BytesPipe(2, 4, wrong)
    assert [fault.text for fault in registry.faults or ()] == [
        f"BytesPipe 1: block_size must be an int of at least 1, but is {wrong!r}",
        f"BytesPipe 2: block_count must be an int of at least 1, but is {wrong!r}",
    ]


# -- optional


@pytest.mark.parametrize(("pipe", "kind"), [(OptionalPicklePipe, PicklePipe), (OptionalJSONPipe, JSONPipe), (OptionalBytesPipe, BytesPipe)])
def test_optional_pipes(pipe: type[BasePipe], kind: type[BasePipe]) -> None:
    assert issubclass(pipe, OptionalMixIn)
    assert issubclass(pipe, kind)
    assert pipe.ASYNC is True
    assert kind.ASYNC is False
    assert (pipe.OPTIONAL_DEFAULT, pipe.OPTIONAL_STORE, pipe.OPTIONAL_BUFFER_SIZE, pipe.OPTIONAL_DELETE_MODE) == (None, True, 0, "oldest")
