"""Jobs go to the nodes that have a microphone, which the nodes find out themselves."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cluster.support import Site
from tests.e2e.failover import CHAIN
from tests.sound_server import SoundServer

pytest.importorskip("sounddevice")

MakeSite = Callable[..., Site]

HEARS = """
class Hears(Numbers):
    GROUPS = "HAS_MIC"

class Plays(Double):
    GROUPS = "HAS_LOUDSPEAKER"
"""


def test_a_job_goes_where_a_microphone_is(cluster: MakeSite) -> None:
    """The first node has no sound device, the second one has, the third one is said to have a loudspeaker only."""
    with SoundServer() as server:
        site = cluster(3, start=False)
        site[1].start("--announce", "auto", env={**server.environment, "PULSE_SERVER": "unix:/nowhere"})
        site[2].start("--announce", "auto", env=dict(server.environment))
        site[3].start("--announce", "HAS_LOUDSPEAKER", env=dict(server.environment))
        listed = CHAIN.format(limit=0).replace("Numbers(", "Hears(").replace("Double(", "Plays(")
        site.project(listed.replace("Hears(0", "Hears(10**6"), HEARS)
        done = site.fission.run("net", "allocate", "--json", exit_code=0, env=site.env, deadline_s=60)
        nodes = {row["id"]: row["node"] for row in json.loads(done.stdout)["jobs"]}
        assert nodes[1] == "n2"
        client = site.start()
        site.rows(20)
        assert site.node_of(1) == "n2"
        assert site.node_of(3) in ("n2", "n3")
        client.interrupt()
        client.wait(60)
