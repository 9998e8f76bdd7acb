"""Pipe classes as users of the first FISSION wrote them: for named pipes, with files and descriptors. Each takes small ints."""

import array
import json
import os
import pickle
import struct

import numpy as np

from fission.core.base import BasePipe
from fission.core.pipes import (
    JSONMixIn,
    JSONPipe,
    OptionalMixIn,
    PickleMixIn,
    PicklePipe,
    ReadJSONMixIn,
    ReadPickleMixIn,
    WriteJSONMixIn,
    WritePickleMixIn,
)


class Pickled(PickleMixIn, BasePipe):
    pass


class PickledWithSize(PickleMixIn, BasePipe):
    """With a BLOCK_SIZE, which had no meaning there, but which many wrote."""

    BLOCK_SIZE = 4


class PickledByHand(ReadPickleMixIn, BasePipe):
    BLOCK_SIZE = "PKL"

    def write(self, file_obj, data):
        while True:
            try:
                pickle.dump(data, file_obj)
                file_obj.flush()
                break
            except BrokenPipeError:
                pass


class UnpickledByHand(WritePickleMixIn, BasePipe):
    def read(self, file_obj):
        return pickle.load(file_obj)

    def read_wrapper(self, file_obj):
        return ReadPickleMixIn.read_wrapper(PicklePipe(999), file_obj)


class JSONLines(JSONMixIn, BasePipe):
    pass


class JSONWithSize(JSONMixIn, BasePipe):
    BLOCK_SIZE = 1


class JSONReader(ReadJSONMixIn, BasePipe):
    BLOCK_SIZE = "LINES"

    def pack(self, data):
        return f" {json.dumps(data)} \n".encode()


class JSONWriter(WriteJSONMixIn, BasePipe):
    BLOCK_SIZE = "LINES"

    def read(self, file_obj):
        return file_obj.readline()

    def unpack(self, data):
        return json.loads(data.decode())


class Envelope(JSONPipe):
    def pack(self, data):
        return super().pack({"value": data})

    def unpack(self, data):
        return super().unpack(data)["value"]


class Exits(BasePipe):
    """Copies what the base class did at the end of a stream."""

    BLOCK_SIZE = 4

    def pack(self, data):
        return struct.pack("!I", data)

    def unpack(self, data):
        return struct.unpack("!I", data)[0]

    def read(self, file_obj):
        data = file_obj.read(self.BLOCK_SIZE)
        if not data:
            exit(0)
        return data

    def write(self, file_obj, data):
        return file_obj.write(data)


class Descriptors(BasePipe):
    """Uses descriptors and os instead of a file."""

    BLOCK_SIZE = "OS"

    def pack(self, data):
        return b"x" * (data % 7) + struct.pack("<I", data)

    def unpack(self, data):
        return struct.unpack("<I", data[-4:])[0]

    def write(self, file_obj, data):
        os.write(file_obj.fileno(), struct.pack("<H", len(data)))
        os.write(file_obj.fileno(), data)

    def read(self, file_obj):
        return self.read_wrapper(file_obj)[2:]

    def read_wrapper(self, file_obj):
        size = self._all(file_obj.fileno(), 2)
        if not size:
            return b""
        return size + self._all(file_obj.fileno(), struct.unpack("<H", size)[0])

    def _all(self, descriptor, size):
        data = b""
        while len(data) < size:
            piece = os.read(descriptor, size - len(data))
            if not piece:
                break
            data += piece
        return data


class Both(Descriptors):
    """Reads the size from a file, the rest from its descriptor."""

    def write(self, file_obj, data):
        file_obj.write(struct.pack("<H", len(data)))
        file_obj.flush()
        os.write(file_obj.fileno(), data)

    def read_wrapper(self, file_obj):
        descriptor = file_obj.fileno()
        size = file_obj.read(2)
        return size + self._all(descriptor, struct.unpack("<H", size)[0]) if size else b""


class Arrays(BasePipe):
    BLOCK_SIZE = 12

    def pack(self, data):
        return np.array([data, data + 1, data + 2], dtype="<i4")

    def write(self, file_obj, data):
        data.tofile(file_obj)

    def unpack(self, data):
        return int(np.frombuffer(data, dtype="<i4")[0])


class StandardArrays(BasePipe):
    BLOCK_SIZE = 8

    def pack(self, data):
        return array.array("i", [data, -data])

    def write(self, file_obj, data):
        data.tofile(file_obj)

    def read(self, file_obj):
        values = array.array("i")
        values.fromfile(file_obj, 2)
        return values

    def unpack(self, data):
        return data[0]


class KeepsTheFile(BasePipe):
    """Makes its pickler and unpickler once, as is usual for a stream."""

    BLOCK_SIZE = "PKL"
    pickler = None
    unpickler = None

    def write(self, file_obj, data):
        if self.pickler is None:
            self.pickler = pickle.Pickler(file_obj)
        self.pickler.dump(data)

    def read(self, file_obj):
        if self.unpickler is None:
            self.unpickler = pickle.Unpickler(file_obj)
        return self.unpickler.load()

    def read_wrapper(self, file_obj):
        return ReadPickleMixIn.read_wrapper(PicklePipe(999), file_obj)


class Padded(BasePipe):
    """Lines on one side, blocks of a fixed length on the other; `read_wrapper` converts."""

    BLOCK_SIZE = 16

    def pack(self, data):
        return str(data).encode()

    def write(self, file_obj, data):
        file_obj.write(data + b"\n")

    def read_wrapper(self, file_obj):
        return file_obj.readline().ljust(self.BLOCK_SIZE) if file_obj.peek(1) else b""

    def unpack(self, data):
        return int(data)


class WithNew(BasePipe):
    BLOCK_SIZE = 8

    def __new__(cls, id, order="<"):
        return super().__new__(cls, id)

    def __init__(self, id, order="<"):
        super().__init__(id)
        self.BLOCK_SIZE = self.BLOCK_SIZE
        self.order = order

    def pack(self, data):
        return struct.pack(f"{self.order}q", data)

    def unpack(self, data):
        return struct.unpack(f"{self.order}q", data)[0]


class LastPickled(OptionalMixIn, PickleMixIn, BasePipe):
    OPTIONAL_DEFAULT = 0


class LastLine(OptionalMixIn, JSONMixIn, BasePipe):
    OPTIONAL_DEFAULT = b"0"
    OPTIONAL_STORE = False
    OPTIONAL_BUFFER_SIZE = 1


class Stripped(OptionalMixIn, PicklePipe):
    """The text of an interactive job, of which only the newest line counts."""

    OPTIONAL_DEFAULT = 0
    OPTIONAL_BUFFER_SIZE = 1
    OPTIONAL_DELETE_MODE = "oldest"

    def pack(self, data):
        return int(str(data).strip() or 0)


class Named(OptionalMixIn, Exits):
    """Calls its bases by name, and has a default from its caller that must be unpacked."""

    def __init__(self, id, default=0):
        OptionalMixIn.__init__(self, id)
        self.OPTIONAL_DEFAULT = struct.pack("!I", default)


OLD_PIPES = [
    Pickled,
    PickledWithSize,
    PickledByHand,
    UnpickledByHand,
    JSONLines,
    JSONWithSize,
    JSONReader,
    JSONWriter,
    Envelope,
    Exits,
    Descriptors,
    Both,
    Arrays,
    StandardArrays,
    KeepsTheFile,
    Padded,
    WithNew,
]
OPTIONAL_PIPES = [LastPickled, LastLine, Stripped, Named]
