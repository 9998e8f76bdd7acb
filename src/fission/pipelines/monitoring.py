"""What a Broker tells its store about its machine and its processes."""

from __future__ import annotations

import socket
import time
from typing import Any

import psutil

from fission.pipelines.slots import Doing


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
        "cpu": {"number of cpus": psutil.cpu_count(), "cpu percent": psutil.cpu_percent()},
        "memory": dict(memory._asdict()),
        "swap": dict(swap._asdict()),
        "storage": storage,
        "network": {"cluster ip": ip, "interfaces": interfaces},
        "uptime": time.time() - psutil.boot_time(),
    }


def process_data(pid: int, kind: str, doing: Doing | None = None) -> dict[str, Any] | None:
    """A process: type, pid, cpu, memory, and the job that it runs; None if it is gone."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            memory = process.memory_info()
            found = {
                "type": kind,
                "pid": pid,
                "cpu percent": process.cpu_percent(),
                "resident memory": memory.rss,
                "virtual memory": memory.vms,
                "started at": process.create_time(),
            }
    except psutil.Error:
        return None
    if doing is not None:
        found |= {"worker": doing.worker, "data": doing.data}
    return found
