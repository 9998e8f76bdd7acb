"""PRELOAD on nodes: a fork server for each run, which ends with it; a module that one node lacks."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest

from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import eventually

pytestmark = pytest.mark.slow

#: Notes the processes that import it.
COUNTED = "import os\nwith open({!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"
USES = """
class Uses(Double):
    def setup(self):
        super().setup()
        import counted
"""
USED = CHAIN.replace("Double(", "Uses(").format(limit=0)
PRELOAD = 'PRELOAD = ["json", "counted"]\nORPHAN_TIMEOUT = 3'


def fork_servers(site: Site, node: str) -> dict[str, int]:
    """Return the process ids of the fork servers of a node by their titles."""
    found = {}
    for pid in site.nodes[node].host.pids():
        try:
            words = " ".join(psutil.Process(pid).cmdline()).split()
        except psutil.Error:
            continue
        if "fork" in words:
            found[" ".join(words)] = pid
    return found


def test_a_run_has_a_fork_server_of_its_own_on_each_node(cluster: Callable[..., Site]) -> None:
    """A killed job and a killed fork server come back with the module; the end of the run, or of the client, ends the fork server. The
    next run gets another one, and a run without PRELOAD none.
    """
    site = cluster(2, start=False)
    note, installed = site.folder / "imports", site.folder / "installed"
    installed.mkdir()
    (installed / "counted.py").write_text(COUNTED.format(str(note)))
    site.env["PYTHONPATH"] = str(installed)  # for the client
    for node in site.nodes.values():
        node.start(env={"PYTHONPATH": str(installed)})
    imports = lambda: [int(line) for line in note.read_text().split()]  # noqa: E731

    client = site.run(USED, USES, PRELOAD)
    site.rows(20)
    first = imports()
    own = {name: fork_servers(site, name)[f"fission: node {name} fork server net 1"] for name in site.nodes}
    where = site.nodes[site.node_of(3)]
    job = site.until(lambda: where.job(3), "the job")
    assert job.ppid() in own.values()
    assert set(own.values()) < set(first)
    job.kill()
    site.happened("JobReady", job=3, incarnation=2)
    assert imports() == first, "no job imports it itself"
    (without_source,) = set(site.nodes) - {site.node_of(1)}
    psutil.Process(own[without_source]).kill()
    site.until(lambda: len(imports()) == len(first) + 1, "another import")
    site.more_rows(20)
    site.finish(client, chain_rows)
    for name in site.nodes:
        site.until(lambda: len(fork_servers(site, name)) == 1, "the end of the run's fork server")  # noqa: B023

    site.end.unlink()
    (site.folder / "end.number").unlink()
    client = site.start()
    site.until(lambda: len(imports()) == 3 + 1 + 3, "imports by the client's own node and the two nodes")  # one was killed before
    client.process.send_signal(signal.SIGKILL)
    client.wait(exit_code=-signal.SIGKILL)
    eventually(lambda: all(len(fork_servers(site, name)) == 1 for name in site.nodes), 30, "the end of the fork servers with the client")


def test_a_module_that_one_node_lacks_is_a_warning(cluster: Callable[..., Site]) -> None:
    site = cluster(2, start=False)
    installed = site.folder / "installed"
    installed.mkdir()
    (installed / "counted.py").write_text("")
    site.env["PYTHONPATH"] = str(installed)
    site[1].start(env={"PYTHONPATH": str(installed)})
    site[2].start()
    client = site.run(CHAIN.format(limit=0), extra=PRELOAD)
    site.rows(20)
    client.wait_for(
        "node n2: PRELOAD names 'counted', which cannot be imported: ModuleNotFoundError: No module named 'counted'", stream="stderr"
    )
    done = site.finish(client, chain_rows)
    assert "node n1: PRELOAD" not in done.stderr
