"""The bare chain between machines: ZeroMQ PUSH/PULL over TCP with CURVE; each hop only pickles and unpickles.

Each part is a process: ``python -m benchmarks.bare_hosts source|forward|sink WORDS``, see `bare_hosts`. All use one certificate.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import subprocess
import sys
import time
from typing import Any

import zmq

from benchmarks.machines import Machines
from benchmarks.networks.chain.meter import DEFAULTS, Meter, blocks
from benchmarks.peers import is_last, merged, queue_length

#: Seconds after which a run without a result is aborted.
LIMIT_S = 120.0
PORT = 7100


def _socket(kind: int, server: bool, order: dict[str, Any]) -> Any:
    public, secret = os.environ["FISSION_BENCH_CURVE"].encode().split()
    socket = zmq.Context.instance().socket(kind)
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.sndhwm = socket.rcvhwm = queue_length(order)
    if server:
        socket.curve_server = True
    else:
        socket.curve_serverkey = public
    return socket


def _listening(ip: str, order: dict[str, Any]) -> Any:
    socket = _socket(zmq.PULL, True, order)
    socket.bind(f"tcp://{ip}:{PORT}")
    print("ready", flush=True)
    return socket


def _sending(ip: str, order: dict[str, Any]) -> Any:
    socket = _socket(zmq.PUSH, False, order)
    socket.connect(f"tcp://{ip}:{PORT}")
    return socket


def source(order: dict[str, Any], target: str) -> None:
    """Send what networks/chain/meter.py says."""
    sender = _sending(target, order)
    before = time.process_time()
    for block in blocks(order):
        sender.send(pickle.dumps(block, 5))
    _say_used(before)


def forward(order: dict[str, Any], ip: str, target: str) -> None:
    """Forward blocks up to the last one."""
    receiver, sender = _listening(ip, order), _sending(target, order)
    before = time.process_time()
    last = False
    while not last:
        block = pickle.loads(receiver.recv())
        sender.send(pickle.dumps(block, 5))
        last = is_last(block)
    _say_used(before)


def sink(order: dict[str, Any], ip: str) -> None:
    """Receive all blocks; print what the meter says."""
    receiver = _listening(ip, order)
    take = Meter(order).take
    before = time.process_time()
    while (result := take(pickle.loads(receiver.recv()))) is None:
        pass
    print(json.dumps(result), flush=True)
    _say_used(before)


def _say_used(before: float) -> None:
    """When the last block has arrived, print the processor seconds since ``before``: ZeroMQ's thread sends after the last call too."""
    sys.stdin.readline()
    print(time.process_time() - before, flush=True)


def bare_hosts(machines: Machines, order: dict[str, Any]) -> dict[str, float]:
    """The source on the first host, a hop on the second, the sink on this machine; return what `benchmarks.peers.merged` returns.

    Args:
        machines: three of them.
        order: what networks/chain/meter.py lists; two hops.
    """
    order = DEFAULTS | order
    public, secret = zmq.curve_keypair()
    options: Any = {
        "env": {**os.environ, "FISSION_BENCH_CURVE": f"{public.decode()} {secret.decode()}"},
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "text": True,
    }
    one, two = machines.hosts[0], machines.hosts[1]
    client_ip = machines.hosts.client_ip

    def command(end: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "benchmarks.bare_hosts", end, json.dumps(order), *words]

    last = subprocess.Popen(command("sink", client_ip), **options)
    processes = [last]
    try:
        last.stdout.readline()
        middle = two.run(command("forward", two.ip, client_ip), **options)
        processes.append(middle)
        middle.stdout.readline()
        processes.append(one.run(command("source", two.ip), **options))
        if not select.select([last.stdout], [], [], LIMIT_S)[0]:
            raise RuntimeError(f"the bare chain shows no result within {LIMIT_S:g} s")
        result: dict[str, float] = json.loads(last.stdout.readline())
        cpu = [float(process.communicate("\n", timeout=LIMIT_S)[0]) for process in reversed(processes)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return merged([result], cpu, order)


if __name__ == "__main__":
    {"source": source, "forward": forward, "sink": sink}[sys.argv[1]](json.loads(sys.argv[2]), *sys.argv[3:])
