"""The bare chain between machines: ZeroMQ PUSH/PULL over TCP with CURVE; each hop only pickles and unpickles.

Each part is a process: ``python -m benchmarks.bare_hosts source|forward|sink WORDS``, see `bare_hosts`. All use one certificate.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from typing import Any

import zmq

from benchmarks.machines import Machines
from benchmarks.networks.chain.meter import DEFAULTS, Meter, blocks
from benchmarks.peers import queue_length

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
    """Send what networks/chain/meter.py says, until killed."""
    sender = _sending(target, order)
    for block in blocks(order):
        sender.send(pickle.dumps(block, 5))
    sys.stdin.read()


def forward(order: dict[str, Any], ip: str, target: str) -> None:
    """Forward blocks until killed."""
    receiver, sender = _listening(ip, order), _sending(target, order)
    while True:
        sender.send(pickle.dumps(pickle.loads(receiver.recv()), 5))


def sink(order: dict[str, Any], ip: str) -> None:
    """Receive all blocks; print what the meter says."""
    receiver = _listening(ip, order)
    take = Meter(order).take
    while (result := take(pickle.loads(receiver.recv()))) is None:
        pass
    print(json.dumps(result), flush=True)


def bare_hosts(machines: Machines, order: dict[str, Any]) -> dict[str, float]:
    """The source on the first host, a hop on the second, the sink on this machine; return what the meter says.

    Args:
        machines: three of them.
        order: what networks/chain/meter.py lists.
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
        result: dict[str, float] = json.loads(last.communicate(timeout=LIMIT_S)[0])
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return result


if __name__ == "__main__":
    {"source": source, "forward": forward, "sink": sink}[sys.argv[1]](json.loads(sys.argv[2]), *sys.argv[3:])
