"""The pipes of custom_pipe."""

from __future__ import annotations

import struct

from fission.core.pipes import BasePipe

INTEGER = struct.Struct("<i")  # signed, 4 bytes, little endian: what source/append_integers.py reads


class IntPipe(BasePipe):
    """Carries integers from -2**31 to 2**31 - 1 as 4 bytes each, for programs that know no Python objects."""

    BLOCK_SIZE = 4

    def pack(self, value):
        """From what `run` has returned to the bytes of a block."""
        return INTEGER.pack(value)

    def unpack(self, data):
        """From the bytes of a block to what `run` is given."""
        return INTEGER.unpack(data)[0]
