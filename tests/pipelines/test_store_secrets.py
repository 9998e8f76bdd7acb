"""Secrets of a store: read where the Broker runs, hidden in every log and error, and never in the Router's answers."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from fission.pipelines import DaemonError, Job, Pipeline, Router
from fission.pipelines.store_secrets import read_secret, scrubber, secrets_in
from tests.pipelines.daemons import Cluster
from tests.waiting import eventually

SECRET = "correct-horse"


def test_texts_that_look_like_secrets() -> None:
    arguments = {
        "password": "p1", "db_passwd": "p2", "API_KEY": "p3", "auth": {"token": "p4"}, "secrets": ["p5", {"x": "p6"}],
        "url": "postgresql://me:p7@host/name", "mirrors": ["http://a:p8@b", "http://b/c"],
    }  # fmt: skip
    harmless = {"folder": "docs", "url": "postgresql://me@host/name", "path": "a:b@c", "keyboard": "x", "number": 3, "password": None}
    assert secrets_in(arguments) == list(arguments)
    assert secrets_in(harmless) == []
    text = scrubber(arguments)(str(arguments))
    assert not [secret for secret in (f"p{number}'" for number in range(1, 9)) if secret in text], text
    assert "p7" not in text
    assert "me:***@host" in text
    assert scrubber({"dsn": SECRET}, ["dsn"])(f"cannot use {SECRET}") == "cannot use ***"


def test_sources_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text(f"{SECRET}\n")
    monkeypatch.setenv("OF_THE_STORE", SECRET)
    assert read_secret(f"password=file:{tmp_path / 'file'}") == ("password", SECRET)
    assert read_secret("password=env:OF_THE_STORE") == ("password", SECRET)
    for text in (f"password={SECRET}", f"password=file{SECRET}", "password", f"={SECRET}", "password=env:", "password=env:NOT_THERE"):
        with pytest.raises(DaemonError) as found:
            read_secret(text)
        assert SECRET not in str(found.value)


def test_a_router_without_keys_takes_no_secrets() -> None:
    for store in ({"password": SECRET}, {"url": f"postgresql://me:{SECRET}@host/name"}):
        with pytest.raises(DaemonError, match="which a Router without keys gives to every client: give it to the Brokers") as found:
            Router(("*", 5555), ("*", 5556), {"store": store})
        assert SECRET not in str(found.value)


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_secret_of_a_broker_stays_there(cluster: Cluster) -> None:
    (cluster.folder / "store.py").write_text(
        (cluster.folder / "store.py").read_text()
        + """

class SecretStore(Store):
    def __init__(self, password, **arguments):
        super().__init__(**arguments)
        self.password = password

    def retrieve(self, info):
        if info["data"] == {"tell": True}:
            raise OSError("cannot log in with " + self.password)
        assert self.password == "correct-horse"
        return info

    def save_monitoring(self, data):
        raise OSError("cannot log in with " + self.password)
"""
    )
    plain = (cluster.folder / "daemon.py").read_text()
    with_secret = plain.replace("Broker(store_class", "Broker(store_arguments={'password': open('secret').read()}, store_class")
    assert with_secret != plain
    (cluster.folder / "daemon.py").write_text(with_secret)
    (cluster.folder / "secret").write_text(SECRET)
    router = cluster.start("Router")
    pipeliner = cluster.start("Pipeliner")
    broker = cluster.start("Broker", store="SecretStore")
    cluster.ready()
    with cluster.manager() as manager:
        well = Pipeline({Job("A"): None})
        tells = Pipeline({Job("A", {"tell": True}): None})
        manager.start_all([well, tells])
        assert manager.wait(60), cluster.logs()
        assert well.error is None, well.error
        assert (tells.error or {})["error"] == "OSError: cannot log in with ***"
        shown = str(tells.error) + str(cluster.show(tells.id)) + str(cluster.ask(command="get configuration"))
    eventually(lambda: "monitoring information: OSError: cannot log in with ***" in broker.said, 30, cluster.logs)
    command_lines = [process.cmdline() for process in psutil.Process(broker.process.pid).children(recursive=True)]
    command_lines.append(psutil.Process(broker.process.pid).cmdline())
    for text in (shown, router.said, pipeliner.said, broker.said, str(command_lines)):
        assert SECRET not in text


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_nothing_serves_dasks_pages(cluster: Cluster) -> None:
    """The Router listens at its two addresses and at the scheduler's port; a worker process at one port, for the scheduler."""
    router, broker, _ = cluster.all(number_of_workers=1)
    scheduler = cluster.ask(command="get configuration")["fission"]["scheduler port"]

    def ports(pid: int) -> set[int]:
        return {one.laddr.port for one in psutil.Process(pid).net_connections("inet") if one.status == psutil.CONN_LISTEN}

    assert ports(router.process.pid) == {*cluster.ports, scheduler}
    inside = psutil.Process(broker.process.pid).children(recursive=True)
    assert sum(len(ports(process.pid)) for process in inside) == 1
