"""The bare chain: the limit that FISSION's data plane is measured against.

Three processes joined by ZeroMQ PUSH/PULL over ipc. Each hop pickles and unpickles; there is nothing else.
"""

from __future__ import annotations

import multiprocessing
import pickle
import statistics
import tempfile
import time
from typing import Any

import zmq

#: Seconds after which a run that shows no result is given up.
LIMIT_S = 120.0


def _forward(source: str, target: str) -> None:
    context = zmq.Context()
    receiver, sender = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    receiver.bind(source)
    sender.connect(target)
    while True:
        sender.send(pickle.dumps(pickle.loads(receiver.recv()), 5))


def _sink(count: int, source: str, results: Any) -> None:
    receiver = zmq.Context().socket(zmq.PULL)
    receiver.bind(source)
    results.put("ready")
    delays: list[float] = []
    first = 0.0
    for _ in range(count):
        value = pickle.loads(receiver.recv())
        now = time.time()
        first = first or now
        delays.append(now - value[0])
    results.put((count / (time.time() - first), sorted(delays)))


def bare_chain(count: int, payload: bytes, rate: float = 0.0) -> dict[str, float]:
    """Send ``count`` blocks over two hops, as fast as they go or ``rate`` a second; return blocks/s and delays in microseconds."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        first, second = f"ipc://{folder}/first", f"ipc://{folder}/second"
        results = spawn.Queue()
        processes = [
            spawn.Process(target=_sink, args=(count, second, results), daemon=True),
            spawn.Process(target=_forward, args=(first, second), daemon=True),
        ]
        for process in processes:
            process.start()
        results.get(timeout=LIMIT_S)
        with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
            sender.linger = 0
            sender.connect(first)
            due = time.perf_counter()
            for _ in range(count):
                sender.send(pickle.dumps([time.time(), payload], 5))
                if rate:
                    due += 1 / rate
                    time.sleep(max(0.0, due - time.perf_counter()))
            blocks_per_s, delays = results.get(timeout=LIMIT_S)
        for process in processes:
            process.kill()
            process.join()
    return {
        "blocks_per_s": blocks_per_s,
        "p50_us": statistics.median(delays) * 1e6,
        "p99_us": delays[int(len(delays) * 0.99)] * 1e6,
    }
