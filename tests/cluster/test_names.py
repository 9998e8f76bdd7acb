"""Names instead of addresses: the client, too, is a host, each host has its own /etc/hosts, and addresses change while networks run."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.cluster.hosts import Host
from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import Running, eventually

MakeSite = Callable[..., Site]
STEADY = 40
SOAK = (pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(150))
FAMILIES = ["IPv4", pytest.param("IPv6", marks=SOAK)]


#: Makes the client's name be looked up only at the start.
ONCE = {
    "service": """
        import fission.service.route as route
        found = []
        def once(*args):
            found[:] = found or [look(*args)]
            return found[0]
        look, route._look = route._look, once
    """,
    "client": """
        import asyncio
        import fission.client.run.on_nodes as runs
        async def never(*args):
            await asyncio.sleep(1e6)
        runs.until_moved = never
    """,
}
#: Makes a service take the first address of a name that has a route.
FIRST = """
    import fission.service.route as route
    route._look = lambda client, port, own, before: route._routes(client, port, own)[0]
"""


def broken(folder: Path, patch: str) -> list[str]:
    """Return how to start a ``fission`` that is broken by a patch."""
    program = folder / "broken.py"
    program.write_text(f"{textwrap.dedent(patch)}\nimport sys\nfrom fission.cli.main import main\nsys.exit(main())\n")
    return [sys.executable, str(program)]


class Office:
    """Two nodes, ``cam1.office`` and ``cam2.office``, and the client on ``centre.office``.

    Attributes:
        site: its hosts; the third one is the client.
    """

    def __init__(self, site: Site, files: Callable[[Host], Path], family: str) -> None:
        self.site, self.family = site, family
        site.client = site.network[2]
        self.names = {"cam1.office": site.network[0], "cam2.office": site.network[1], "centre.office": site.network[2]}
        self.files = {name: files(host) for name, host in self.names.items()}
        self.know()

    def ip(self, name: str) -> str:
        host = self.names[name]
        return str(host.ipv6 if self.family == "IPv6" else host.ip)

    def other(self, name: str, number: int = 0x77) -> str:
        """Return another address that DHCP may give it."""
        ip = self.ip(name)
        return f"{ip[: ip.rindex(':')]}:{number:x}" if ":" in ip else f"{ip[: ip.rindex('.')]}.{number}"

    def know(self, **instead: str) -> None:
        """Write the present addresses, as a name server learns them from DHCP. ``instead``: lines by host (cam1, cam2, centre)."""
        lines = "".join(f"{self.ip(name)} {name}\n" for name in self.names)
        for name, file in self.files.items():
            file.write_text(f"127.0.0.1 localhost\n{instead.get(name.partition('.')[0], lines)}")

    def start(
        self,
        *,
        nodes: str = "BaseNode('cam1.office'), BaseNode('cam2.office')",
        client: str = "centre.office",
        client_ip: str = "centre.office",
        extra: str = "",
        programs: Mapping[str, Sequence[str]] | None = None,
    ) -> Running:
        """Start the services and the client.

        Args:
            nodes: NODES.
            client: ``--client`` of the services.
            client_ip: CLIENT_IP.
            extra: further lines of the config.
            programs: how to start another "service" or "client" than ``python -m fission``.
        """
        for number in (1, 2):
            self.site[number].client_ip = client
            self.site[number].start(jobs=3, **{"program": programs["service"]} if programs and "service" in programs else {})
        self.site.project(CHAIN.format(limit=0), extra=f"CLIENT_IP = {client_ip!r}\nNODES = [{nodes}]\n{extra}")
        return self.site.start(**{"program": programs["client"]} if programs and "client" in programs else {})

    def both_work(self) -> None:
        """Wait for rows of jobs on both nodes."""
        self.site.more_rows(STEADY)
        assert {self.site.node_of(job) for job in (1, 2, 3, 4)} == {"cam1.office", "cam2.office"}


@pytest.fixture
def office(cluster: MakeSite, hosts_file: Callable[[Host], Path]) -> Callable[..., Office]:
    """Return a function that makes an `Office`."""
    return lambda family="IPv4", **options: Office(cluster(3, start=False, **options), hosts_file, family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("what", ["node", pytest.param("client", marks=SOAK)])
def test_an_address_changes_while_a_network_runs(office: Callable[..., Office], what: str, family: str) -> None:
    """With keys. No block is lost, none comes twice, and both nodes work on: each peer has learned the new address."""
    place = office(family)
    site = place.site
    client = place.start()
    place.both_work()
    name = "cam1.office" if what == "node" else "centre.office"
    joined, new = len(site.events("NodeJoined")), place.other(name)
    place.names[name].readdress(new)
    place.know()
    if what == "client":
        client.wait_for(f"is {new} now: the network continues there", 30, stream="stderr")
        site.happened("NodeJoined", joined + 2)
    else:
        assert site.happened("NodeJoined", joined + 1)[-1]["ip"] == new
    site.more_rows(STEADY)
    site.finish(client, chain_rows)


@pytest.mark.parametrize(
    ("nodes", "client_ip", "client", "family"),
    [
        ("name", "ip", "ip", "IPv4"),
        ("ip", "name", "ip", "IPv4"),
        ("ip", "ip", "name", "IPv4"),
        ("ip", "name", "name", "IPv6"),
        ("name", "ip", "name", "IPv6"),
        ("name", "name", "ip", "IPv6"),
    ],
)
@pytest.mark.slow
@pytest.mark.soak
def test_names_and_addresses_mixed(office: Callable[..., Office], nodes: str, client_ip: str, client: str, family: str) -> None:
    """What is named in one place may be an address in another; the names have addresses of one family, and not all of the other."""
    place = office(family)
    form = {"name": lambda name: name, "ip": place.ip}
    listed = ", ".join(f"BaseNode({form[nodes](f'cam{number}.office')!r}, 'cam{number}.office')" for number in (1, 2))
    running = place.start(client=form[client]("centre.office"), client_ip=form[client_ip]("centre.office"), nodes=listed)
    place.both_work()
    done = place.site.finish(running, chain_rows)
    assert all(place.ip(f"cam{number}.office") in done.stderr + done.stdout for number in (1, 2))


@pytest.mark.parametrize("dead", ["IPv6", "IPv4"])
@pytest.mark.slow
@pytest.mark.soak
def test_a_name_with_two_addresses_of_which_one_answers(office: Callable[..., Office], dead: str) -> None:
    """Both have a route: only a connection shows that no machine is there."""
    place = office("IPv4" if dead == "IPv6" else "IPv6")
    both = f"{place.ip('centre.office')} centre.office\n"
    unused = f"fd77:{place.site.network.number + 1:x}::dead" if dead == "IPv6" else f"10.77.{place.site.network.number}.250"
    both += f"{unused} centre.office\n"
    place.know(cam1=both, cam2=both)
    client = place.start()
    place.both_work()
    place.site.finish(client, chain_rows)


@pytest.mark.slow
@pytest.mark.soak
def test_the_first_address_would_not_do(office: Callable[..., Office], tmp_path: Path) -> None:
    """The system names IPv6 first; a service that leaves it at that never finds its client."""
    place = office()
    both = f"{place.ip('centre.office')} centre.office\nfd77:{place.site.network.number + 1:x}::dead centre.office\n"
    place.know(cam1=both)
    client = place.start(programs={"service": broken(tmp_path, FIRST)})
    place.site.happened("NodeJoined", name="cam2.office")
    with pytest.raises(AssertionError, match="x NodeJoined"):
        place.site.happened("NodeJoined", name="cam1.office", deadline_s=5)
    client.interrupt()
    client.wait(10, exit_code=130)


@pytest.mark.slow
@pytest.mark.soak
def test_names_that_are_known_later(office: Callable[..., Office]) -> None:
    """No name server at boot: the services wait with one line; so does the client, for a node whose name it does not know."""
    place = office()
    site = place.site
    for file in place.files.values():
        (file.parent / "resolv.conf").write_text(f"nameserver 10.77.{site.network.number}.250\noptions timeout:1 attempts:1\n")
    cam2 = "".join(f"{place.ip(name)} {name}\n" for name in ("cam2.office", "centre.office"))
    place.know(cam1="", centre=cam2)
    client = place.start(extra="ALLOCATION_TIMEOUT = 60")
    line = client.wait_for("node cam1.office is not there", 30, stream="stderr")
    assert line.endswith("its host name cam1.office is not known on this machine; enter it in /etc/hosts, or write its address into NODES")
    site[1].logged("waits for a route to the client")
    assert "the name centre.office is not known" in site[1].log
    site[2].logged("connected to the client")
    seconds = time.monotonic() + 3
    eventually(lambda: time.monotonic() > seconds, 10, "it has looked three times")
    assert site[1].log.count("\n") == 1, site[1].log
    place.know()
    site.happened("NodeJoined", 2)
    client.interrupt()
    client.wait(10, exit_code=130)
    site.no_jobs_left()


@pytest.mark.slow
@pytest.mark.soak
def test_nodes_that_have_only_addresses_of_the_other_kind(office: Callable[..., Office]) -> None:
    """The client listens at an IPv4 address: both sides say in one line what is wrong and what to do."""
    place = office()
    centre, cam1, cam2 = (place.names[name] for name in ("centre.office", "cam1.office", "cam2.office"))
    nodes = f"{cam1.ipv6} cam1.office\n{cam2.ipv6} cam2.office\n"
    # cam1 knows only the client's IPv4 address; cam2 calls at the IPv6 address, where nothing listens
    place.know(cam1=f"{centre.ip} centre.office\n", cam2=f"{centre.ip} centre.office\n{centre.ipv6} centre.office\n", centre=nodes)
    cam1.addresses(False)
    cam2.addresses(False)
    client = place.start(client_ip=centre.ip, extra="ALLOCATION_TIMEOUT = 60")
    for name, host in (("cam1.office", cam1), ("cam2.office", cam2)):
        line = client.wait_for(f"node {name} is not there", 30, stream="stderr")
        assert line.endswith(
            f"its address {host.ipv6} is IPv6, but this machine listens at {centre.ip} (CLIENT_IP), which is IPv4; "
            "write an IPv6 address of this machine into CLIENT_IP, or an IPv4 address of the node into NODES"
        )
    place.site[1].logged(
        f"its address {centre.ip} is IPv4, but this machine has IPv6 addresses only; give both machines addresses of one kind"
    )
    client.interrupt()
    client.wait(10, exit_code=130)


@pytest.mark.parametrize("what", ["service", "client"])
@pytest.mark.slow
@pytest.mark.soak
def test_looking_up_once_would_not_do(office: Callable[..., Office], tmp_path: Path, what: str) -> None:
    """The same with a service, or a client, that looks up the client's name only when it starts: the network is stalled."""
    place = office()
    site = place.site
    client = place.start(programs={what: broken(tmp_path, ONCE[what])}, extra="ALLOCATION_TIMEOUT = 60")
    place.both_work()
    joined = len(site.events("NodeJoined"))
    place.names["centre.office"].readdress(place.other("centre.office"))
    place.know()
    with pytest.raises(AssertionError, match="x NodeJoined"):
        site.happened("NodeJoined", joined + 2, deadline_s=12)
    client.process.kill()
    client.process.wait()
