"""A fault does not affect later runs: killed jobs and absent clients leave nothing on a node."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import Running, eventually

MakeSite = Callable[..., Site]
STEADY = 40
#: A job that cannot be stopped in order: it computes for ever, in one call of C.
DEAF = """
class Deaf(PythonJob):
    def run(self, value):
        if os.path.exists({gate!r}):
            sum(range(10**12))
        return 2 * value
"""


def kill_a_job(site: Site, client: Running) -> None:
    """Send SIGKILL, as the kernel does when memory is short; then Ctrl-C."""
    for job in (1, 2, 4):
        node = site.nodes[site.node_of(job)]
        site.until(lambda: node.job(job), f"the process of job {job}").kill()  # type: ignore[union-attr]  # noqa: B023
        site.happened("JobReady", job=job, incarnation=2)
    interrupt(site, client)


def kill_the_client(site: Site, client: Running) -> None:
    """Its jobs stop by themselves, killed by the node's service."""
    client.process.send_signal(signal.SIGKILL)
    client.wait(exit_code=-signal.SIGKILL)
    for node in site.nodes.values():
        node.logged("no message from the client for too long: its jobs are stopped")


def close_the_clients_output(site: Site, client: Running) -> None:
    """``fission net run | head``: the client ends when it next writes."""
    client.process.send_signal(signal.SIGPIPE)
    client.process.send_signal(signal.SIGHUP)
    client.wait(45, exit_code=None)


def interrupt(site: Site, client: Running) -> None:
    """Jobs that do not stop within a second are killed."""
    (site.folder / "gate").touch()
    client.interrupt()
    client.wait(exit_code=130)


LONG = (pytest.mark.slow, pytest.mark.soak)


@pytest.mark.parametrize(
    "end",
    [
        kill_a_job,
        pytest.param(interrupt, marks=LONG),
        pytest.param(kill_the_client, marks=LONG),
        pytest.param(close_the_clients_output, marks=LONG),
    ],
)
def test_remains_of_killed_jobs_disturb_no_later_run(cluster: MakeSite, end: Callable[[Site, Running], None]) -> None:
    """Jobs of the same numbers land on the same node, first of the same network, then of another one."""
    site = cluster(1)
    jobs, listed = DEAF.format(gate=str(site.folder / "gate")), CHAIN.format(limit=0).replace("Double(", "Deaf(")
    client = site.run(listed, jobs, extra="ORPHAN_TIMEOUT = 1")
    site.rows(STEADY)
    end(site, client)
    site.no_jobs_left()
    for name in ("project", "other"):
        (site.folder / "gate").unlink(missing_ok=True)
        site.end.unlink(missing_ok=True)
        Path(f"{site.end}.number").unlink(missing_ok=True)
        client = site.start() if name == "project" else site.run(CHAIN.format(limit=0), name=name)
        site.rows(STEADY)
        done = site.finish(client, chain_rows)
        assert "in use" not in done.stdout + done.stderr
        assert all(incarnation == 1 for incarnation, _ in site.incarnations().values()), "no job had to be started twice"


def stop_the_client(site: Site, client: Running) -> Callable[[], None]:
    """A suspended laptop: it does not know that it was away."""
    client.process.send_signal(signal.SIGSTOP)
    return lambda: client.process.send_signal(signal.SIGCONT)


def ready(site: Site, job: int, least: int) -> int:
    """Wait until an incarnation of a job from this one on has run; return the newest. On a busy machine the node may be lost once more."""

    def found() -> list[int]:
        return [one["incarnation"] for one in site.events("JobReady") if one["job"] == job and one["incarnation"] >= least]

    return max(site.until(found, f"job {job} has run from incarnation {least} on"))


def cut_the_node_off(site: Site, client: Running) -> Callable[[], None]:
    """Both run, but cannot reach each other."""
    site[1].host.link(False)
    return lambda: site[1].host.link(True)


@pytest.mark.parametrize("leave", [stop_the_client, pytest.param(cut_the_node_off, marks=LONG)])
def test_a_client_that_returns_after_orphan_timeout(cluster: MakeSite, leave: Callable[[Site, Running], Callable[[], None]]) -> None:
    """The node has reported ends of jobs before, and its jobs have stopped. Ends are received, and jobs that die are restarted."""
    site = cluster(1)
    client = site.run(CHAIN.format(limit=0), extra="ORPHAN_TIMEOUT = 2\nALLOCATION_TIMEOUT = 60")
    site.rows(STEADY)
    node = site[1]
    for job in (4, 3):
        site.until(lambda: node.job(job), f"the process of job {job}").kill()  # type: ignore[union-attr]  # noqa: B023
        site.happened("JobReady", job=job, incarnation=2)
    site.more_rows(STEADY)
    back = leave(site, client)
    node.logged("no message from the client for too long: its jobs are stopped")
    eventually(lambda: not node.jobs(), 5, "its jobs are gone")
    time_out = time.monotonic() + 1
    eventually(lambda: time.monotonic() > time_out, 2, "a second passes")
    back()
    site.happened("NodeUp", 2, node=node.name)
    for job in (1, 4):
        incarnation = ready(site, job, 2)
        site.until(lambda: node.job(job), f"the process of job {job}").kill()  # type: ignore[union-attr]  # noqa: B023
        ready(site, job, incarnation + 1)
        site.more_rows(STEADY)
    site.finish(client, chain_rows)
