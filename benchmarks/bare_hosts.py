"""The bare chain between machines: ZeroMQ PUSH/PULL over TCP with CURVE, each hop pickles and unpickles; there is nothing else.

Each end is a process of its own: ``python -m benchmarks.bare_hosts source|forward|sink WORDS``, see `bare_hosts`. One certificate for all.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from typing import Any

import zmq

from benchmarks.chain import SMALL
from benchmarks.machines import Machines

#: Seconds after which a run that shows no result is given up.
LIMIT_S = 120.0
PORT = 7100


def _socket(kind: int, server: bool) -> Any:
    public, secret = os.environ["FISSION_BENCH_CURVE"].encode().split()
    socket = zmq.Context.instance().socket(kind)
    socket.curve_publickey, socket.curve_secretkey = public, secret
    if server:
        socket.curve_server = True
    else:
        socket.curve_serverkey = public
    return socket


def _listening(ip: str) -> Any:
    socket = _socket(zmq.PULL, True)
    socket.bind(f"tcp://{ip}:{PORT}")
    print("ready", flush=True)
    return socket


def _speaking(ip: str) -> Any:
    socket = _socket(zmq.PUSH, False)
    socket.connect(f"tcp://{ip}:{PORT}")
    return socket


def source(target: str, count: str, size: str) -> None:
    """Send blocks [time, payload] as fast as they go."""
    payload = SMALL if int(size) == len(SMALL) else os.urandom(int(size))
    sender = _speaking(target)
    for _ in range(int(count)):
        sender.send(pickle.dumps([time.time(), payload], 5))
    sender.close(-1)
    zmq.Context.instance().term()


def forward(ip: str, target: str) -> None:
    """Hand on, until killed."""
    receiver, sender = _listening(ip), _speaking(target)
    while True:
        sender.send(pickle.dumps(pickle.loads(receiver.recv()), 5))


def sink(ip: str, count: str) -> None:
    """Take them all; print blocks/s."""
    receiver = _listening(ip)
    first = 0.0
    for _ in range(int(count)):
        pickle.loads(receiver.recv())
        first = first or time.time()
    print(json.dumps({"blocks_per_s": int(count) / (time.time() - first)}), flush=True)


def bare_hosts(machines: Machines, count: int, size: int) -> dict[str, float]:
    """The source on the first host, a hop on the second, the sink on this machine; return blocks/s."""
    public, secret = zmq.curve_keypair()
    options: Any = {
        "env": {**os.environ, "FISSION_BENCH_CURVE": f"{public.decode()} {secret.decode()}"},
        "stdout": subprocess.PIPE,
        "text": True,
    }
    one, two = machines.hosts[0], machines.hosts[1]
    command = [sys.executable, "-m", "benchmarks.bare_hosts"]
    client_ip = machines.hosts.client_ip
    last = subprocess.Popen([*command, "sink", client_ip, str(count)], **options)
    processes = [last]
    try:
        last.stdout.readline()
        middle = two.run([*command, "forward", two.ip, client_ip], **options)
        processes.append(middle)
        middle.stdout.readline()
        processes.append(one.run([*command, "source", two.ip, str(count), str(size)], **options))
        result: dict[str, float] = json.loads(last.communicate(timeout=LIMIT_S)[0])
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return result


if __name__ == "__main__":
    {"source": source, "forward": forward, "sink": sink}[sys.argv[1]](*sys.argv[2:])
