"""The steps of the Containerfile, executed without a network; then a client and two nodes in the containers of the compose file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import yaml

from fission.adapters.keys import make_keys
from tests.cluster.hosts import Hosts, call
from tests.containers import running
from tests.containers.image import Builder, StepFailed
from tests.containers.running import Container, Options
from tests.provision.boards import make_wheelhouse
from tests.provision.networks import CONFIG, JOBS, squares
from tests.waiting import MANAGE, eventually

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "containers" / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "containers" / "compose.yml").read_text())["services"]
UID = 1000  # of the Containerfile and the compose file
ROWS = 300
#: Prints which of two packages can be imported.
ASK = """python -c 'from importlib.util import find_spec as f; print(*(s and s.name for s in map(f, ["pypelinin", "sqlalchemy"])))'"""

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(400)]


def with_(old: str, new: str) -> str:
    """Return a broken Containerfile."""
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """A builder without a network; pip finds what an index would have."""
    wheelhouse = make_wheelhouse(tmp_path_factory.mktemp("wheelhouse"), "cluster", "pipelines", more=["hatchling"])
    with Builder(tmp_path_factory.mktemp("images"), ROOT, wheelhouse) as made:
        yield made


class Compose:
    """The services of the compose file, each on a host of its own with the address that the file gives it. A context manager.

    Attributes:
        project: the project, with the network `counters`, which ends after `ROWS` blocks.
    """

    def __init__(self, builder: Builder, folder: Path, text: str = TEXT) -> None:
        self._builder, self._folder, self._text = builder, folder, text
        self.project = folder / "project"
        self._keys = folder / "keys"
        make_keys(self._keys)
        addresses = {name: service["networks"]["boards"]["ipv4_address"] for name, service in COMPOSE.items()}
        nodes = ", ".join(f"BaseNode({addresses[name]!r}, name={name!r})" for name in ("node1", "node2"))
        config = re.sub("(?m)^REMOTE_ROOT.*$", "", CONFIG) + f"CLIENT_IP = {addresses['client']!r}\nNODES = [{nodes}]\n"
        files = {"manage.py": MANAGE, "counters/config.py": config, "counters/jobs/jobs.py": JOBS.replace("LIMIT", str(ROWS))}
        for path, content in {**files, "counters/__init__.py": "", "counters/jobs/__init__.py": ""}.items():
            (self.project / path).parent.mkdir(parents=True, exist_ok=True)
            (self.project / path).write_text(content)
        for path in (self.project, self._keys, *self.project.rglob("*"), *self._keys.rglob("*")):
            os.chown(path, UID, UID)  # the user of the images owns the keys
        self._ending = ExitStack()
        self._hosts = Hosts(len(COMPOSE))
        self._ending.callback(self._hosts.close)
        self._host_of = dict(zip(COMPOSE, self._hosts, strict=True))
        for name, host in self._host_of.items():
            call("ip", "-n", host.name, "address", "add", f"{addresses[name]}/24", "dev", "eth0")

    def __enter__(self) -> Compose:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.__exit__(kind, error, trace)

    def start(self, name: str) -> Container:
        """Start a service."""
        service = COMPOSE[name]
        image = self._builder.build(self._text, service["build"]["target"])
        mounts = {f"/run/secrets/{secret}": self._keys / secret for secret in service["secrets"]}
        mounts |= {"/project": self.project} if name == "client" else {}
        options = Options(command=service.get("command", ()), mounts=mounts)
        log = self._folder / f"{name}-{len(list(self._folder.glob('*.log')))}.log"
        return self._ending.enter_context(Container(self._builder, image, self._host_of[name], log, options))

    def rows(self) -> list[str]:
        """Return what the sink has written, without the header."""
        path = self.project / "counters" / "local" / "3" / "squares.csv"
        return path.read_text().split()[1:] if path.is_file() else []


def node_works(compose: Compose) -> Container:
    """Start a node; it must be healthy, and none of its processes root's."""
    node = compose.start("node1")
    node.becomes_healthy()
    assert node.users() == {UID}
    return node


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("COPY src src\n", "", "python -m pip wheel"),
        ("COPY distributions distributions\n", "", "python -m pip wheel"),
        ("COPY --from=wheel /wheels /wheels\n", "", 'fission="\\$\\(ls /wheels'),
    ],
)
def test_a_step_that_fails(builder: Builder, old: str, new: str, step: str) -> None:
    with pytest.raises(StepFailed, match=f"^{step}"):
        builder.build(with_(old, new), "base")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('CMD ["--client", "172.28.0.2"]', 'CMD ["--clients", "172.28.0.2"]', "exit code 2"),
        ('ENTRYPOINT ["fission", "node", ', 'ENTRYPOINT ["fission", "nodes", ', "exit code 2"),
        ('"node", "--healthcheck"]', '"node", "--health"]', "HEALTHCHECK .* succeeds"),
        ("USER ${UID}\n", "", "must belong to the user who runs this"),
    ],
)
def test_a_node_that_does_not_work(builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, why: str) -> None:
    if why.startswith("HEALTHCHECK"):
        monkeypatch.setattr(running, "HEALTHY_S", 5.0)  # it never succeeds
    monkeypatch.setitem(COMPOSE["node1"], "command", ())  # the image's own
    with Compose(builder, tmp_path, with_(old, new)) as compose, pytest.raises(AssertionError, match=why):
        node_works(compose)


def test_the_names_of_pypelinin(builder: Builder) -> None:
    """A build argument brings them; without it there are none."""
    for given, found in (("", "None None"), ("yes", "pypelinin sqlalchemy")):
        text = f"{TEXT}\nFROM client AS asked\nRUN {ASK} | grep -x '{found}'\n"
        builder.build(text, "asked", PYPELININ=given)


def test_a_network_in_containers(builder: Builder, tmp_path: Path) -> None:
    """A node is healthy while it waits; the client continues after it was killed; each block comes once and in order."""
    with Compose(builder, tmp_path) as compose:
        nodes = [node_works(compose), compose.start("node2")]
        client = compose.start("client")
        eventually(lambda: len(compose.rows()) > 50, 100, lambda: f"50 rows\n{client.log}\n{nodes[0].log}")
        client.becomes_healthy()
        assert client.users() == {UID}
        client.kill()
        came = len(compose.rows())
        assert came < ROWS
        client = compose.start("client")
        assert client.process.wait(100) == 0, client.log
        assert compose.rows() == squares(ROWS), client.log
        assert [node.stop() for node in nodes] == [0, 0], nodes[0].log
    assert compose.project.stat().st_uid == UID
