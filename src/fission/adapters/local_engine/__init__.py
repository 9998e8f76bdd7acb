"""Job processes of this machine, on any number of virtual nodes, each with its own fork server.

``engine`` is the engine, ``node`` its view of one node and its fork server, ``running_job`` its
view of one incarnation of a job, and ``kernel`` what the kernel says of a process.
"""

from __future__ import annotations

from fission.adapters.local_engine.engine import LocalEngine

__all__ = ["LocalEngine"]
