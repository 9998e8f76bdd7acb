"""What a Broker saves in its store about its machine and its processes."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import Any

import psutil

from fission.pipelines.errors import StoreRaised
from fission.pipelines.slots import CurrentJob
from fission.pipelines.utc import utc

#: Seconds in which the machine is looked at; the thread that does so has time.
_LOOK_S = 0.1


def cluster_ip(host: str) -> str:
    """The address of this machine on the way to *host*; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def host_data(ip: str) -> dict[str, Any]:
    """The machine: cpu, memory, swap, storage, network, uptime. Sizes in bytes, times in seconds."""
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
    """Saves what a Broker knows in its store, in a thread: a slow store, or a file system that hangs, must not stop the Broker's pulses."""

    def __init__(self, logger: logging.Logger, ip: str, number_of_workers: int) -> None:
        """Args: ip: this machine's address on the way to the Router. number_of_workers: of the Broker."""
        self._log = logger
        self._ip = ip
        self._number = number_of_workers
        self._processes = Processes()
        self._thread: threading.Thread | None = None

    def begin(self, store: Any, running: Sequence[tuple[int, CurrentJob | None]], scrub: Callable[[str], str]) -> None:
        """Look and save once; a warning if the store is still busy with the last time.

        Args:
            running: worker processes, with what they do.
            scrub: takes what is secret out of an error's text.
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
                "processes": [mine, *(one for one in others if one)],
            }
            store.save_monitoring(data)
        except Exception as error:  # the user's store; the next time it may do
            how = str(error.args[0]) if isinstance(error, StoreRaised) else repr(error)
            self._log.error("The store cannot save monitoring information: %s", scrub(how))
        else:
            self._log.info("Saved monitoring information")


class Processes:
    """Looks at processes again and again: how busy one was is known only since the last look at it. For one thread."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def data(self, pid: int, kind: str, doing: CurrentJob | None = None) -> dict[str, Any] | None:
        """A process: type, pid, cpu, memory, and the job that it runs; None if it is gone.

        ``cpu percent`` is of one CPU, since the last look at this process, at the first one since it was started.
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
        """Only these are still of interest."""
        self._known = {pid: process for pid, process in self._known.items() if pid in pids}
