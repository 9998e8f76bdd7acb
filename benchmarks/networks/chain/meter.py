"""What all chains send, and how their sinks measure it: the network here and the chains that it is compared with use the same code.

The first block's stamp is the moment of the first send. So a rate counts from the first send to the last arrival, and nothing
that waits in a queue at the end is left out.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import struct
import time

#: What an order has where it does not say otherwise. size: bytes of a payload. kind: of the payload: bytes, numpy (an array of uint8),
#: float (an array of float64), raw (the block is bytes without a stamp). count: blocks, unless seconds is above 0: then as many as go
#: in that time. rate: blocks a second, 0 = as fast as they go. hops: links from the source to a sink. sinks: how many get each block.
#: work: what the jobs between do: return, or double (`x * 2.0`). read: what the sink does with a block: nothing, read (each byte), sum.
#: keep: whether a sink keeps all delays.
DEFAULTS = {
    "size": 8,
    "kind": "bytes",
    "count": 1000,
    "seconds": 0.0,
    "rate": 0.0,
    "hops": 2,
    "sinks": 1,
    "work": "return",
    "read": "nothing",
    "keep": True,
}
#: So many blocks never end; what each was delayed is not kept then.
ENDLESS = 10**9
#: Of blocks of at least LARGE_BYTES, WARM_BYTES come first that are not measured, which is two windows: on virtual machines the first touch
#: of a page costs more than all else, and from then on memory is used again. Then comes a pause, in which they arrive; arbitrary.
LARGE_BYTES = 16_384
WARM_BYTES = 64 << 20
WARM_PAUSE_S = 1.0
#: A raw block begins with it: 0 in all blocks but the first one, which has the moment it was sent, and the last one, which has -count.
STAMP = struct.Struct("d")


def payload(order):
    """The payload of an order: the same object in each block."""
    size, kind = order["size"], order["kind"]
    if kind == "float":
        import numpy

        return numpy.arange(size // 8, dtype=numpy.float64)
    data = b"12345678" if size == 8 and kind == "bytes" else os.urandom(size)
    if kind == "numpy":
        import numpy

        return numpy.frombuffer(data, numpy.uint8).copy()
    return data


def blocks(order, pause=time.sleep):
    """Yield the blocks of an order: lists of a stamp and a payload; in the last one, the number of blocks stands for the payload.

    The stamp of blocks that are not measured is 0. Raw blocks are bytes that begin with STAMP.
    """
    value, now, rate = payload(order), time.time, order["rate"]
    if order["kind"] == "raw":
        yield from _raw_blocks(order, value[STAMP.size :])
        return
    for _ in range(warm_blocks(order)):
        yield [0.0, value]
    _let_arrive(order)
    due = time.perf_counter()
    sent, most = 0, ENDLESS if order["seconds"] else order["count"]
    until = now() + order["seconds"] if order["seconds"] else float("inf")
    while sent < most and (stamp := now()) <= until:
        yield [stamp, value]
        sent += 1
        if rate:
            due += 1 / rate
            pause(max(0.0, due - time.perf_counter()))
    yield [now(), sent]


def warm_blocks(order):
    """How many blocks come first that are not measured."""
    return WARM_BYTES // order["size"] if order["size"] >= LARGE_BYTES else 0


def _let_arrive(order):
    if warm_blocks(order):
        time.sleep(WARM_PAUSE_S)


def _raw_blocks(order, rest):
    block, now = STAMP.pack(0.0) + rest, time.time
    for _ in range(warm_blocks(order)):
        yield block
    _let_arrive(order)
    until = now() + order["seconds"] if order["seconds"] else float("inf")
    yield STAMP.pack(now()) + rest
    sent = 1
    while now() < until and sent < (ENDLESS if order["seconds"] else order["count"]):
        yield block
        sent += 1
    yield STAMP.pack(-float(sent)) + rest


def double(block):
    """What a job with work `double` returns."""
    stamp, value = block
    return [stamp, value if type(value) is int else value * 2.0]


def read_bytes(value):
    """Look at every byte of a payload, as fast as one core can."""
    import numpy

    view = numpy.frombuffer(value, numpy.uint8) if isinstance(value, (bytes, bytearray, memoryview)) else value.view(numpy.uint8)
    return view[: len(view) // 8 * 8].view(numpy.uint64).max()


def sum_of(value):
    """Add up an array."""
    return value.sum()


READS = {"nothing": None, "read": read_bytes, "sum": sum_of}


class Meter:
    """Takes the blocks of a sink and measures.

    Args:
        order: as in DEFAULTS.
    """

    def __init__(self, order):
        self.delays = []
        self.came = 0
        self.first = self.first_arrival = None
        self._read = READS[order["read"]]
        self._keep = order["keep"] and order["count"] < ENDLESS
        if order["kind"] == "raw":
            self.take = self._take_raw
        elif not self._keep:
            self.take = self._take_counting

    def take(self, block):
        """Take a block; return the result if it was the last one."""
        now = time.time()
        stamp, value = block
        if self.first is None:
            if not stamp:
                return self._take_unmeasured(value)
            self.first, self.first_arrival = stamp, now
        if type(value) is int:
            return self.result(value, len(self.delays), now)
        if self._read is not None:
            self._read(value)
            now = time.time()
        self.delays.append(now - stamp)
        return None

    def _take_counting(self, block):
        stamp, value = block
        if self.first is None:
            if not stamp:
                return self._take_unmeasured(value)
            self.first, self.first_arrival = stamp, time.time()
        if type(value) is int:
            self.delays = [time.time() - stamp]
            return self.result(value, self.came, time.time())
        self.came += 1
        return None

    def _take_raw(self, block):
        (stamp,) = STAMP.unpack_from(block)
        if stamp > 0:
            self.first, self.first_arrival = stamp, time.time()
        if self.first is None:
            return self._take_unmeasured(block)
        if self._read is not None:
            self._read(block)
        if stamp < 0:
            self.delays = [0.0]
            return self.result(int(-stamp), self.came, time.time())
        self.came += 1
        return None

    def _take_unmeasured(self, value):
        if self._read is not None:
            self._read(value)

    def result(self, count, came, last):
        """What a sink writes. Raises RuntimeError: blocks were lost."""
        if came != count:
            raise RuntimeError(f"{came} blocks came instead of {count}")
        delays = sorted(self.delays)
        return {
            "count": count,
            "blocks_per_s": count / (last - self.first),
            "p50_us": statistics.median(delays) * 1e6,
            "p99_us": delays[int(len(delays) * 0.99)] * 1e6,
            "first_block_at": self.first_arrival,
            "resident_bytes": _resident(),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def write_json(path, value):
    """Write a file of one value."""
    with open(path, "w") as file:
        json.dump(value, file)


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
