"""Finds the end of a pickle without executing it.

A pickle is a sequence of opcodes, the last of which is STOP. An opcode has an argument of a fixed
length, of a length in a prefix, or of one or two lines. This module only uses these lengths:
it decodes, imports and calls nothing, so the output of an untrusted executable does no harm here.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import BinaryIO

from fission.core.base_pipe import TruncatedBlock, read_exactly
from fission.errors import ValueFitError

STOP = b"."


def read_pickle(file: BinaryIO, name: str) -> bytes:
    """Read one pickle of any protocol, from the first opcode to STOP, and return its bytes. Blocks.

    Args:
        file: positioned at the start of a pickle; not read beyond its end.
        name: name of the stream in messages, as in ``PicklePipe 101``.

    Raises:
        EOFError: the stream has ended; `TruncatedBlock` if inside the pickle.
        ValueFitError: the bytes are not a pickle.
    """
    arguments = _arguments()
    block = bytearray()

    def take(size: int) -> bytes:
        data = read_exactly(file, size)
        block.extend(data)
        if len(data) < size:
            raise TruncatedBlock(name, len(block))
        return data

    code = file.read(1)
    if not code:
        raise EOFError(f"{name}: the stream has ended")
    while True:
        block += code
        if code == STOP:
            return bytes(block)
        argument = arguments.get(code)
        if argument is None:
            raise ValueFitError(f"{name}: the data is not a pickle: byte {len(block) - 1} is {code!r}, which begins no opcode")
        if isinstance(argument, int):
            take(argument)
        elif isinstance(argument, struct.Struct):
            (size,) = argument.unpack(take(argument.size))
            if size < 0:
                raise ValueFitError(f"{name}: the data is not a pickle: opcode {code!r} before byte {len(block)} has the length {size}")
            take(size)
        else:
            for _ in argument:
                line = file.readline()
                block += line
                if not line.endswith(b"\n"):
                    raise TruncatedBlock(name, len(block))
        code = file.read(1)
        if not code:
            raise TruncatedBlock(name, len(block))


@lru_cache(maxsize=1)
def _arguments() -> dict[bytes, int | struct.Struct | tuple[str, ...]]:
    """Return opcode -> argument: a number of bytes, the format of a length prefix, or a number of
    lines.
    """
    import pickletools  # large, and needed only for streams of executables

    lengths = {
        pickletools.TAKEN_FROM_ARGUMENT1: struct.Struct("<B"),
        pickletools.TAKEN_FROM_ARGUMENT4: struct.Struct("<i"),
        pickletools.TAKEN_FROM_ARGUMENT4U: struct.Struct("<I"),
        pickletools.TAKEN_FROM_ARGUMENT8U: struct.Struct("<Q"),
    }
    table: dict[bytes, int | struct.Struct | tuple[str, ...]] = {}
    for opcode in pickletools.opcodes:
        code, size = opcode.code.encode("latin-1"), opcode.arg.n if opcode.arg else 0
        if size == pickletools.UP_TO_NEWLINE:
            table[code] = ("module", "name") if opcode.name in ("GLOBAL", "INST") else ("text",)
        else:
            table[code] = lengths.get(size, size)
    return table
