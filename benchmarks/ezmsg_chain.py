"""The chain of ezmsg, as its documentation writes units: a process per unit, and its default buffers.

    python -m benchmarks.ezmsg_chain ORDER FOLDER

The order is JSON with what networks/chain/meter.py lists. Each unit writes N.json into the folder, the source 0.json: its processor
seconds as `cpu_s`, and a sink also its `result`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Any

import ezmsg.core as ez

from benchmarks.networks.chain.meter import Meter, blocks, double

#: Seconds from the start to the first block. ezmsg drops what is sent before a subscriber has connected; arbitrary.
SETTLE_S = 1.0


class Settings(ez.Settings):
    order: dict[str, Any]
    file: Path


class Measured(ez.Unit):
    """Writes its file."""

    SETTINGS = Settings

    async def initialize(self) -> None:
        self.result: Any = None
        self.cpu_before = time.process_time()
        self.take = Meter(self.SETTINGS.order).take

    async def shutdown(self) -> None:
        cpu_s = time.process_time() - self.cpu_before
        self.SETTINGS.file.write_text(json.dumps({"cpu_s": cpu_s, "result": self.result}))


class Source(Measured):
    OUTPUT = ez.OutputStream(list)

    @ez.publisher(OUTPUT)
    async def send(self) -> AsyncGenerator[Any, None]:
        await asyncio.sleep(SETTLE_S)
        pauses: list[float] = []
        for block in blocks(self.SETTINGS.order, pauses.append):
            if pauses:
                # the stamp is of before the pause, and the pause is of the loop that also receives acknowledgements
                await asyncio.sleep(pauses.pop())
                block[0] = time.time()
            yield self.OUTPUT, block
        raise ez.Complete


class Forward(Measured):
    INPUT = ez.InputStream(list)
    OUTPUT = ez.OutputStream(list)

    @ez.subscriber(INPUT)
    @ez.publisher(OUTPUT)
    async def forward(self, block: list[Any]) -> AsyncGenerator[Any, None]:
        yield self.OUTPUT, double(block) if self.SETTINGS.order["work"] == "double" else block


class Sink(Measured):
    INPUT = ez.InputStream(list)

    @ez.subscriber(INPUT)
    async def receive(self, block: list[Any]) -> None:
        self.result = self.take(block)
        if self.result is not None:
            # termination ends all units: the other sinks have blocks to take
            done = self.SETTINGS.file.with_suffix(".done")
            done.touch()
            while len(list(done.parent.glob("*.done"))) < self.SETTINGS.order["sinks"]:
                await asyncio.sleep(0.05)
            raise ez.NormalTermination


def main() -> int:
    """Run the chain."""
    order, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    hops, sinks = order["hops"], order["sinks"]
    kinds = [Source, *[Forward] * (hops - 1), *[Sink] * sinks]
    units = {f"U{number}": kind(Settings(order, folder / f"{number}.json")) for number, kind in enumerate(kinds)}
    chain = list(units.values())
    connections = [(one.OUTPUT, two.INPUT) for one, two in pairwise(chain[: hops + 1])]
    connections += [(chain[hops - 1].OUTPUT, sink.INPUT) for sink in chain[hops + 1 :]]
    ez.run(components=units, connections=connections, process_components=chain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
