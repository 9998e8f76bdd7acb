"""Pipes as users write them: with `read` and `write` of their own."""

from __future__ import annotations

import pickle

from fission.core.pipes import BasePipe


class LengthPipe(BasePipe):
    """Bytes after their length."""

    BLOCK_SIZE = "length"

    def read(self, file):
        size = file.read(4)
        if len(size) < 4:
            raise EOFError
        return file.read(int.from_bytes(size, "big"))

    def write(self, file, data):
        file.write(len(data).to_bytes(4, "big"))
        file.write(data)


class OwnPicklePipe(BasePipe):
    """Pickles, written by hand."""

    BLOCK_SIZE = "pickle"

    def read(self, file):
        return pickle.load(file)

    def write(self, file, data):
        pickle.dump(data, file, 5)
