"""The monitoring information about machine and processes that a Broker saves in its store."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import Any

import psutil

from fission.core.addresses import canonical
from fission.pipelines.errors import StoreRaised
from fission.pipelines.slots import CurrentJob
from fission.pipelines.utc import utc

#: Seconds over which the load of the machine is measured, in a thread of its own.
_LOOK_S = 0.1


def cluster_ip(host: str) -> str:
    """Return the address of this machine on the route to *host*; nothing is sent."""
    with contextlib.suppress(OSError):
        for family, kind, _, _, address in socket.getaddrinfo(canonical(host), 9, type=socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(family, kind) as probe:
                probe.connect(address)
                return str(probe.getsockname()[0])
    return "127.0.0.1"


def host_data(ip: str) -> dict[str, Any]:
    """Return cpu, memory, swap, storage, network and uptime of the machine.

    Sizes are bytes, times seconds.
    """
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    storage = {}
    for partition in psutil.disk_partitions():
        try:
            usage = psutil.disk_usage(partition.mountpoint)
        except OSError:
            continue
        storage[partition.device] = {
            "mount point": partition.mountpoint,
            "file system": partition.fstype,
            "total bytes": usage.total,
            "total used bytes": usage.used,
            "total free bytes": usage.free,
            "percent used": usage.percent,
        }
    interfaces = {
        name: {
            "bytes sent": count.bytes_sent,
            "bytes received": count.bytes_recv,
            "packets sent": count.packets_sent,
            "packets received": count.packets_recv,
        }
        for name, count in psutil.net_io_counters(pernic=True).items()
    }
    return {
        "cpu": {"number of cpus": psutil.cpu_count(), "cpu percent": psutil.cpu_percent(_LOOK_S)},
        "memory": dict(memory._asdict()),
        "swap": dict(swap._asdict()),
        "storage": storage,
        "network": {"cluster ip": ip, "interfaces": interfaces},
        "uptime": time.time() - psutil.boot_time(),
    }


class Monitor:
    """Saves monitoring information in a thread: a slow store, or a file system that hangs, must not
    stop the Broker's pulses.
    """

    def __init__(self, logger: logging.Logger, ip: str, number_of_workers: int) -> None:
        """Prepare; `begin` saves.

        Args:
            logger: the Broker's.
            ip: address of this machine on the route to the Router.
            number_of_workers: of the Broker.
        """
        self._log = logger
        self._ip = ip
        self._number = number_of_workers
        self._processes = Processes()
        self._thread: threading.Thread | None = None

    def begin(self, store: Any, running: Sequence[tuple[int, CurrentJob | None]], scrub: Callable[[str], str]) -> None:
        """Measure and save once; log a warning if the store is still busy with the last call.

        Args:
            store: of the Broker.
            running: (pid, current job) of each worker process.
            scrub: removes secrets from the text of an error.
        """
        if self._thread is not None and self._thread.is_alive():
            self._log.warning("The store is still busy with the last monitoring information")
            return
        self._thread = threading.Thread(target=self._save, args=(store, running, scrub), name="monitoring", daemon=True)
        self._thread.start()

    def _save(self, store: Any, running: Sequence[tuple[int, CurrentJob | None]], scrub: Callable[[str], str]) -> None:
        try:
            self._processes.forget_others({os.getpid(), *(pid for pid, _ in running)})
            mine = self._processes.data(os.getpid(), "broker") or {}
            mine |= {"number of workers": self._number, "active workers": sum(doing is not None for _, doing in running)}
            others = [self._processes.data(pid, "worker", doing) for pid, doing in running]
            now = time.time()
            data = {
                "host": host_data(self._ip),
                "timestamp": now,
                "timestamp utc": utc(now),
                "processes": [mine, *(process for process in others if process)],
            }
            store.save_monitoring(data)
        except Exception as error:  # the user's store; the next call may succeed
            how = str(error.args[0]) if isinstance(error, StoreRaised) else repr(error)
            self._log.error("The store cannot save monitoring information: %s", scrub(how))
        else:
            self._log.info("Saved monitoring information")


class Processes:
    """Measures processes repeatedly: CPU usage is only known since the last measurement.

    For one thread.
    """

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def data(self, pid: int, kind: str, doing: CurrentJob | None = None) -> dict[str, Any] | None:
        """Return type, pid, cpu, memory and current job of a process; None: it is gone.

        ``cpu percent`` is of one CPU, since the last call for this process, in the first call since
        its start.
        """
        try:
            process = self._known.get(pid)
            first = process is None or not process.is_running()
            if process is None or first:
                process = self._known[pid] = psutil.Process(pid)
            with process.oneshot():
                memory = process.memory_info()
                found = {
                    "type": kind,
                    "pid": pid,
                    "cpu percent": process.cpu_percent(),
                    "resident memory": memory.rss,
                    "virtual memory": memory.vms,
                    "started at": process.create_time(),
                    "started at utc": utc(process.create_time()),
                }
                if first:
                    times = process.cpu_times()
                    found["cpu percent"] = round(100 * (times.user + times.system) / max(0.01, time.time() - process.create_time()), 1)
        except psutil.Error:
            self._known.pop(pid, None)
            return None
        if doing is not None:
            found |= {"worker": doing.worker, "data": doing.data}
        return found

    def forget_others(self, pids: Container[int]) -> None:
        """Forget all processes but these."""
        self._known = {pid: process for pid, process in self._known.items() if pid in pids}
