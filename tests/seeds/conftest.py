"""Hosts, as in tests/cluster, for projects that run on several machines."""

from __future__ import annotations

from tests.cluster.conftest import cluster, hosts

__all__ = ["cluster", "hosts"]
