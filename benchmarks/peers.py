"""The chains that FISSION's data plane is measured against, each a process per job.

- bare: ZeroMQ PUSH/PULL over ipc; each hop pickles and unpickles; there is nothing else.
- careful: what a good engineer would write by hand: pickle protocol 5 with buffers out of band, sent and received without a copy.
- ezmsg: benchmarks/ezmsg_chain.py.

All send the same blocks and measure alike (networks/chain/meter.py). What is under way on a link has the same bound as in FISSION:
WINDOW_BLOCKS and WINDOW_BYTES, shared by the queues of both ends. Kinds `raw` are sent as they are.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from benchmarks.networks.chain.meter import DEFAULTS, Meter, blocks, double, warm_blocks
from fission.protocol.window import WINDOW_BLOCKS, WINDOW_BYTES

#: Seconds after which a run that shows no result is given up.
LIMIT_S = 120.0


def queue_length(order: dict[str, Any]) -> int:
    """Messages that the queue of one end of a link takes."""
    return max(1, min(WINDOW_BLOCKS, WINDOW_BYTES // order["size"]) // 2)


def send_bare(sockets: list[Any], block: Any) -> None:
    """Send a block into each of the sockets."""
    data = pickle.dumps(block, 5)
    for socket in sockets:
        socket.send(data)


def receive_bare(socket: Any) -> Any:
    """Return the next block."""
    return pickle.loads(socket.recv())


def send_careful(sockets: list[Any], block: Any) -> None:
    """Send a block into each of the sockets, its buffers out of band."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(block, 5, buffer_callback=buffers.append)
    for socket in sockets:
        if buffers:
            socket.send(data, zmq.SNDMORE)
            socket.send_multipart(buffers, copy=False)
        else:
            socket.send(data)


def receive_careful(socket: Any) -> Any:
    """Return the next block; its buffers are those that ZeroMQ received."""
    data = socket.recv()
    if not socket.get(zmq.RCVMORE):
        return pickle.loads(data)
    return pickle.loads(data, buffers=[frame.buffer for frame in socket.recv_multipart(copy=False)])


def send_raw(sockets: list[Any], block: bytes) -> None:
    """Send bytes into each of the sockets."""
    for socket in sockets:
        socket.send(block)


def send_raw_careful(sockets: list[Any], block: bytes) -> None:
    """Send bytes into each of the sockets without a copy."""
    for socket in sockets:
        socket.send(block, copy=False)


def receive_raw(socket: Any) -> Any:
    """Return the next bytes."""
    return socket.recv()


#: Kind of chain and whether its blocks are raw: how it sends and receives.
CODECS: dict[tuple[str, bool], tuple[Callable[[list[Any], Any], None], Callable[[Any], Any]]] = {
    ("bare", False): (send_bare, receive_bare),
    ("careful", False): (send_careful, receive_careful),
    ("bare", True): (send_raw, receive_raw),
    ("careful", True): (send_raw_careful, receive_raw),
}


def _socket(kind: int, address: str, order: dict[str, Any]) -> Any:
    socket = zmq.Context.instance().socket(kind)
    socket.sndhwm = socket.rcvhwm = queue_length(order)
    if kind == zmq.PULL:
        socket.bind(address)
    else:
        socket.connect(address)
    return socket


def is_last(block: Any) -> bool:
    """Whether a block of networks/chain/meter.py is the last one."""
    return type(block[1]) is int if type(block) is list else block[7] & 0x80 != 0  # the sign of a raw block's stamp


def _source(codec: str, order: dict[str, Any], targets: list[str], results: Any, go: Any) -> None:
    send, _ = CODECS[codec, order["kind"] == "raw"]
    senders = [_socket(zmq.PUSH, target, order) for target in targets]
    results.put(("ready", 0, None))
    go.wait()
    before = time.process_time()
    for block in blocks(order):
        send(senders, block)
    results.put(("cpu", 0, time.process_time() - before))
    threading.Event().wait()  # until killed: what is under way must arrive


def _forward(codec: str, order: dict[str, Any], hop: int, source: str, target: str, results: Any) -> None:
    send, receive = CODECS[codec, order["kind"] == "raw"]
    receiver, senders = _socket(zmq.PULL, source, order), [_socket(zmq.PUSH, target, order)]
    results.put(("ready", hop, None))
    before = time.process_time()
    work = double if order["work"] == "double" else None
    while True:
        block = receive(receiver)
        last = is_last(block)
        send(senders, block if work is None else work(block))
        if last:
            break
    results.put(("cpu", hop, time.process_time() - before))
    threading.Event().wait()


def _sink(codec: str, order: dict[str, Any], hop: int, source: str, results: Any) -> None:
    _, receive = CODECS[codec, order["kind"] == "raw"]
    receiver = _socket(zmq.PULL, source, order)
    results.put(("ready", hop, None))
    before = time.process_time()
    take = Meter(order).take
    while (result := take(receive(receiver))) is None:
        pass
    results.put(("cpu", hop, time.process_time() - before))
    results.put(("result", hop, result))


def zmq_chain(codec: str, order: dict[str, Any]) -> dict[str, float]:
    """Run the bare or the careful chain; return what `merged` returns.

    Args:
        codec: bare or careful.
        order: what chain/meter.py lists.
    """
    order = DEFAULTS | order
    hops, sinks = order["hops"], order["sinks"]
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        address = [f"ipc://{folder}/{number}" for number in range(hops + sinks)]
        results, go = spawn.Queue(), spawn.Event()
        first = address[1:2] if hops > 1 else address[hops : hops + sinks]
        work = [spawn.Process(target=_sink, args=(codec, order, hops + one, address[hops + one], results)) for one in range(sinks)]
        work += [spawn.Process(target=_forward, args=(codec, order, hop, *address[hop : hop + 2], results)) for hop in range(1, hops)]
        work.append(spawn.Process(target=_source, args=(codec, order, first, results, go)))
        found: list[tuple[str, int, Any]] = []
        started = []
        try:
            for process in work:
                process.daemon = True
                process.start()
                started.append(process)
            for _ in work:
                found.append(_next(results, work))
            go.set()
            for _ in range(len(work) + sinks):
                found.append(_next(results, work))
        finally:
            for process in started:
                process.kill()
                process.join()
    cpu = sorted((hop, value) for what, hop, value in found if what == "cpu")
    return merged([value for what, _, value in found if what == "result"], [value for _, value in cpu], order)


def _next(results: Any, processes: list[Any]) -> Any:
    """Return the next message of the processes. Raises RuntimeError: one has failed, or none comes."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            return results.get(timeout=0.2)
        except queue.Empty:
            if any(process.exitcode for process in processes):
                break
    raise RuntimeError(f"a process of the chain failed or shows no result: exit codes {[process.exitcode for process in processes]}")


def merged(results: list[dict[str, float]], cpu: list[float], order: dict[str, Any]) -> dict[str, float]:
    """One result of those of all sinks and of the processor seconds of each job, the source first.

    The slowest sink counts; `cpu_us` are microseconds of all processes for one block, `hop_cpu_us` those of one job in the middle.
    """
    slowest = min(results, key=lambda one: one["blocks_per_s"])
    order = DEFAULTS | order
    count = slowest["count"] + warm_blocks(order)
    middle = sorted(cpu[1 : order["hops"]]) or [0.0]
    return slowest | {
        "p50_us": max(one["p50_us"] for one in results),
        "p99_us": max(one["p99_us"] for one in results),
        "cpu_us": sum(cpu) / count * 1e6,
        "hop_cpu_us": middle[len(middle) // 2] / count * 1e6,
    }


def ezmsg_chain(order: dict[str, Any]) -> dict[str, float]:
    """Run the chain of ezmsg; return what `merged` returns."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.ezmsg_chain", json.dumps(DEFAULTS | order), folder],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        hops, sinks = order.get("hops", 2), order.get("sinks", 1)
        files = [Path(folder) / f"{number}.json" for number in range(hops + sinks)]
        if done.returncode or not all(file.exists() for file in files):
            raise RuntimeError(f"the chain of ezmsg failed with exit code {done.returncode}\n{done.stderr[-3000:]}")
        found = [json.loads(file.read_text()) for file in files]
    return merged([one["result"] for one in found[hops:]], [one["cpu_s"] for one in found], order)


PEERS: dict[str, Callable[[dict[str, Any]], dict[str, float]]] = {
    "bare": lambda order: zmq_chain("bare", order),
    "careful": lambda order: zmq_chain("careful", order),
    "ezmsg": ezmsg_chain,
}


def here(peers: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the peers that are installed; say which one is not."""
    if "ezmsg" in peers and importlib.util.find_spec("ezmsg") is None:
        print("ezmsg is not installed and is left out: pip install -e '.[bench]'")
        return tuple(peer for peer in peers if peer != "ezmsg")
    return peers
