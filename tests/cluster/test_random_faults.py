"""Random faults, one after another and several at once: the sink's file is the same as without them.

FISSION_FAULT_SECONDS spreads the 50 faults over so long (default: one right after the other, about a minute; `make test-slow`: ten
minutes, as CI does), FISSION_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.support import Node, Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import Running, eventually

MakeSite = Callable[..., Site]
SECONDS = float(os.environ.get("FISSION_FAULT_SECONDS", "0"))
FAULTS, HOSTS = 50, 3
ROOT = Path(__file__).parents[2]


class Storm:
    """Does the faults. At least one host is left in peace at any moment."""

    def __init__(self, site: Site, client: Running, rng: random.Random) -> None:
        self.site, self.client, self.rng = site, client, rng
        self.done: list[str] = []

    def one(self) -> None:
        """One fault, on one or two hosts, and its end."""
        faults = [self.job, self.service, self.power, self.still, self.cable, self.one_way, self.loss, self.limit, self.two, self.resume]
        self.rng.choice(faults)()
        self.site.more_rows(20)

    def over(self) -> None:
        """Wait until every node is there again: what a lost one still runs is stopped when it returns, or after ORPHAN_TIMEOUT."""

        def lost() -> list[str]:
            newest = {entry["node"]: entry["what"] for entry in self.site.events() if entry["what"] in ("NodeUp", "NodeLost")}
            return [name for name, what in newest.items() if what == "NodeLost"]

        self.site.until(lambda: not lost(), f"all nodes are up, not {lost()}")

    def host(self) -> Node:
        return self.rng.choice(list(self.site.nodes.values()))

    def tell(self, what: str) -> None:
        self.done.append(what)
        print(f"{len(self.done)}: {what}")  # noqa: T201 - pytest shows it with a failure

    def pause(self, least: float = 0.1, most: float = 2.5) -> float:
        """Return a random length of time, in seconds."""
        return self.rng.uniform(least, most)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        eventually(lambda: time.monotonic() >= end, max(0.0, seconds) + 5, "time passes")

    def job(self) -> None:
        number = self.rng.choice([1, 2, 3, 4])
        node = self.site.nodes[self.site.node_of(number)]
        process = node.job(number)
        self.tell(f"process of job {number} on {node.name} killed{'' if process else ': there is none'}")
        if process is not None:
            process.kill()

    def service(self) -> None:
        node = self.host()
        self.tell(f"service of {node.name} killed and started again")
        node.kill()
        self.wait(self.pause(0, 1))
        node.start()

    def power(self) -> None:
        node = self.host()
        self.tell(f"{node.name} loses its power and gets it again")
        node.power_off()
        self.wait(self.pause())
        node.host.heal()
        node.start()

    def still(self) -> None:
        node, seconds = self.host(), self.pause()
        self.tell(f"{node.name} frozen for {seconds:.1f} s")
        node.signal(signal.SIGSTOP)
        self.wait(seconds)
        node.signal(signal.SIGCONT)

    def cable(self) -> None:
        node, seconds = self.host(), self.pause()
        self.tell(f"cable of {node.name} pulled for {seconds:.1f} s")
        node.host.link(False)
        self.wait(seconds)
        node.host.link(True)

    def one_way(self) -> None:
        node, way, seconds = self.host(), self.rng.choice(["in", "out", "both"]), self.pause()
        self.tell(f"everything {way} of {node.name} lost for {seconds:.1f} s")
        node.host.lose(100, way)
        self.wait(seconds)
        node.host.heal()

    def loss(self) -> None:
        node, percent = self.host(), self.rng.choice([1, 10, 30])
        self.tell(f"{percent} percent of {node.name} lost")
        node.host.lose(percent)
        self.wait(self.pause())
        node.host.heal()

    def limit(self) -> None:
        node, kbit = self.host(), self.rng.choice([500, 2000])
        self.tell(f"{node.name} limited to {kbit} kbit/s")
        node.host.limit(kbit)
        self.wait(self.pause())
        node.host.heal()

    def two(self) -> None:
        nodes, seconds = self.rng.sample(list(self.site.nodes.values()), 2), self.pause()
        self.tell(f"cables of {nodes[0].name} and {nodes[1].name} pulled for {seconds:.1f} s")
        for node in nodes:
            node.host.link(False)
        self.wait(seconds)
        for node in nodes:
            node.host.link(True)

    def resume(self) -> None:
        self.tell("client killed and resumed")
        self.client.process.kill()
        self.client.wait(exit_code=-signal.SIGKILL)
        self.client = self.site.start("--resume")


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_random_faults(cluster: MakeSite) -> None:
    seed = int(os.environ.get("FISSION_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"FISSION_FAULT_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    site = cluster(HOSTS)
    storm = Storm(site, site.run(CHAIN.format(limit="0, pace=0.01"), extra="ALLOCATION_TIMEOUT = 60"), random.Random(seed))
    site.rows(20)
    begin = time.monotonic()
    for number in range(FAULTS):
        storm.wait(begin + SECONDS * number / FAULTS - time.monotonic())
        storm.one()
    storm.over()
    site.finish(storm.client, chain_rows)
    assert len(storm.done) == FAULTS


def test_ci_spreads_them_over_ten_minutes() -> None:
    assert re.search(r"^(exec )?make test-slow$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    recipe = re.search(r"^test-slow:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    last = recipe[1].splitlines()[-1]
    assert "FISSION_FAULT_SECONDS=600 " in last
    assert last.endswith(f" {Path(__file__).relative_to(ROOT)}")
