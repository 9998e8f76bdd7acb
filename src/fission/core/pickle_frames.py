"""Finds where a pickle ends without executing it.

A pickle is a row of opcodes, the last of which is STOP; an opcode has an argument of a fixed length, of a length that stands
before it, or of one or two lines. Only lengths are looked at: nothing is decoded, imported or called, so bytes of an
executable that is not trusted do no harm here.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import BinaryIO

from fission.core.base_pipe import TruncatedBlock, read_exactly
from fission.errors import ValueFitError

STOP = b"."


def read_pickle(file: BinaryIO, name: str) -> bytes:
    """The bytes of one pickle of any protocol, from the first opcode to STOP. Blocks until they are there.

    Args:
        file: positioned at the beginning of a pickle; not read beyond its end.
        name: what messages call the stream, as in ``PicklePipe 101``.

    Raises:
        EOFError: the stream has ended; `TruncatedBlock` if it did so inside the pickle.
        ValueFitError: the bytes are no pickle.
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
            raise ValueFitError(f"{name}: what came is no pickle: byte {len(block) - 1} of it is {code!r}, which begins no opcode")
        if isinstance(argument, int):
            take(argument)
        elif isinstance(argument, struct.Struct):
            (size,) = argument.unpack(take(argument.size))
            if size < 0:
                raise ValueFitError(f"{name}: what came is no pickle: opcode {code!r} before byte {len(block)} gives {size} as a length")
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
    """Opcode -> what follows: so many bytes, a length and so many bytes, or so many lines."""
    import pickletools  # large, and only streams of executables need it

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
