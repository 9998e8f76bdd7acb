"""A pipe as a function. See `fission.emulate`."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from fission.core.base import BasePipe
from fission.core.base_pipe import set_head_size
from fission.core.block_file import BlockFile
from fission.core.head import Head
from fission.errors import DefinitionError, FissionError, ValueFitError, error_text
from fission.project.names import shown
from fission.runtime import codec

#: Longest printed text of a value, in characters; arbitrary.
SHOWN = 400


class PipeEmulator:
    """A pipe as a function: sends a value through, and shows each stage.

    `put` and `get` are its two ends for values, `put_head` and `get_head` for heads; first in,
    first out.

    Attributes:
        pipe: the pipe.
    """

    def __init__(self, pipe: BasePipe, *, quiet: bool = False, head_size: int = 1) -> None:
        """Create an empty emulator.

        Args:
            pipe: the pipe.
            quiet: whether calls print nothing.
            head_size: size of heads in bytes.
        """
        self.pipe = pipe
        self._quiet = quiet
        self._head_size = head_size
        self._encode, self._decode = codec.encoder(pipe, plain=True), codec.decoder(pipe, self._unreadable)
        self._payloads: deque[Any] = deque()
        self._heads: deque[int] = deque()

    def put(self, value: Any) -> None:
        """Put one block in, with `pack`, `write` and `read_wrapper`.

        Raises:
            ValueFitError: the value does not fit the pipe.
        """
        self._payloads.append(self._stage("write", lambda: self._encode(value), value))

    def get(self) -> Any:
        """Take the next block out, with `read` and `unpack`.

        Raises:
            DefinitionError: the pipe is empty.
            ValueFitError: the block cannot be read.
        """
        if not self._payloads:
            raise DefinitionError(f"{self.pipe} is empty; put a value in first")
        return self._decode(self._payloads.popleft())

    def put_head(self, head: int | Head) -> None:
        """Put the head of a block in, with `write_head`.

        Raises:
            DefinitionError: it is not a head of the network's size.
        """
        number = int.from_bytes(head_bytes(head, self._head_size), "big")
        set_head_size(self.pipe, self._head_size)
        file = BlockFile()
        self.pipe.write_head(file, Head(number, self._head_size))
        self._heads.append(int(self.pipe.read_head(BlockFile(file.take()))))

    def get_head(self) -> int:
        """Take the head of the next block out, with `read_head`.

        Raises:
            DefinitionError: there is no head.
        """
        if not self._heads:
            raise DefinitionError(f"{self.pipe} has no head; put one in first with put_head")
        return self._heads.popleft()

    def kill(self) -> None:
        """Discard the content. Idempotent."""
        self._payloads.clear()
        self._heads.clear()

    def __repr__(self) -> str:
        return f"<emulator of {self.pipe}>"

    def __call__(self, value: Any, head: int | Head | None = None) -> tuple[Any, bytes, Any, Any]:
        """Send a value through and return the result of each stage.

        The stages are ``pack``, ``read_wrapper``, ``read`` and ``unpack``.

        Args:
            value: the value, as a job would return it.
            head: head in front of the block, as between executables; only printed.

        Raises:
            ValueFitError: the value does not fit the pipe, or one end does not read what the other
                has written.
        """
        pipe = self.pipe
        front = b"" if head is None else head_bytes(head)
        if head is not None:
            self._print(f"Head: {int.from_bytes(front, 'big'):0{8 * len(front)}b}")
        packed = self._stage("pack", lambda: pipe.pack(value), value)
        self._print(f"Packed to: {cut(packed)}")
        file = BlockFile()
        file.write(front)
        self._stage("write", lambda: pipe.write(file, packed), value)
        self._print(f"Wrote to pipe: {len(file.getvalue())} bytes.")
        written = file.getvalue()[len(front) :]
        default = type(pipe).read_wrapper is BasePipe.read_wrapper and type(pipe).read is not BasePipe.read
        wrapped = self._whole("read" if default else "read_wrapper", lambda file: bytes(pipe.read_wrapper(file)), written, value)
        self._print(f"Read in pipe.read_wrapper: {cut(wrapped)}")
        try:
            read = self._whole("read", pipe.read, wrapped, value)
        except ValueFitError as why:
            if wrapped == written or default:
                raise
            must = "read_wrapper must return the bytes of the block unchanged, or as read needs them"
            raise ValueFitError(f"{pipe}: {must}: {cut(written)}, but returned {cut(wrapped)}, and {why}") from why
        self._print(f"Read in pipe.read: {cut(read)}")
        unpacked = self._stage("unpack", lambda: pipe.unpack(read), value)
        self._print(f"Unpacked to: {cut(unpacked)}")
        return packed, wrapped, read, unpacked

    def _unreadable(self, why: BaseException) -> Exception:
        return ValueFitError(f"{self.pipe}: the value cannot be read: {error_text(why)}")

    def _print(self, text: str) -> None:
        if not self._quiet:
            sys.stdout.write(text + "\n")

    def _stage(self, name: str, call: Any, value: Any) -> Any:
        try:
            return call()
        except FissionError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as why:
            raise ValueFitError(f"{self.pipe}: {name} refuses a value of type {type(value).__name__}: {error_text(why)}") from why

    def _whole(self, name: str, read: Any, data: bytes, value: Any) -> Any:
        """Return what a method reads from the block; check that it reads all of it."""
        file = BlockFile(data)
        try:
            result = read(file)
        except EOFError as why:
            text = f"{self.pipe}: {name} needs more than the {len(data)} bytes that were written for a value of type {type(value).__name__}"
            raise ValueFitError(f"{text}: {why}") from why
        except FissionError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as why:
            raise ValueFitError(f"{self.pipe}: {name} cannot read the written block: {error_text(why)}") from why
        if file.tell() != len(data):
            raise ValueFitError(
                f"{self.pipe}: {name} must read the whole block, but left {len(data) - file.tell()} of its {len(data)} bytes"
            )
        return result


def head_bytes(head: int | Head, size: int = 1) -> bytes:
    """Return the bytes of a head on the wire.

    Raises:
        DefinitionError: it is not a head of this size.
    """
    if isinstance(head, Head):
        return int(head).to_bytes(len(head), "big")
    most = (1 << 8 * size) - 1
    if type(head) is not int or not 0 <= head <= most:
        raise DefinitionError(f"head must be a Head, or a number from 0 to {most}, but is {shown(head)}")
    return head.to_bytes(size, "big")


def cut(value: Any) -> str:
    """Return the printed form of a value, shortened."""
    try:
        text = str(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the user's __str__ may raise anything
        return shown(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
