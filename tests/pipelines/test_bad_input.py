"""Users' mistakes with the daemons: each is a message that says what to do, before anything starts."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fission.pipelines import Broker, DaemonError, Job, Pipeline, PipelineError, PipelineManager, Pipeliner, Router
from fission.pipelines.jobs import load_class, load_workers, new_store
from fission.pipelines.stores import FileStore

API, BROADCAST = "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a module of this text and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(text: str) -> str:
        name = f"made_workers_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return make


def named(name: str) -> str:
    """A module whose worker has this name."""
    return f"__all__ = [{name!r}]\nglobals()[__all__[0]] = type('Some', (), {{'process': print}})"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class A: pass", "must have an __all__ that names its workers, but has None: __all__ = ['MyWorker']"),
        ("__all__ = []", "must have an __all__ that names its workers, but has []"),
        ("__all__ = 'A'", "must have an __all__ that names its workers, but has 'A'"),
        ("__all__ = ['A']", "names 'A', which must be a class with requires and process(data), but is None"),
        ("__all__ = ['A']\nclass A: pass", "names 'A', which must be a class with requires and process(data)"),
        ("__all__ = ['a']\ndef a(data): pass", "names 'a', which must be a class"),
        ("__all__ = [3]", "must name classes, without spaces and of at most 200 characters, but names 3"),
        (named("a b"), "without spaces and of at most 200 characters, but names 'a b'"),
        (named("x" * 201), "of at most 200 characters, but names 'xxx"),
        ("import nothing_of_that_name", "cannot be imported: No module named 'nothing_of_that_name'"),
        ("x = 1\nraise ValueError('no')", ".py:2: ValueError('no')"),
        ("def f(:", "cannot be imported"),
    ],
)
def test_modules_of_workers(module: Callable[[str], str], text: str, message: str) -> None:
    name = module(text)
    with pytest.raises(DaemonError) as found:
        load_workers(name)
    assert message in str(found.value)
    assert name in str(found.value)
    with pytest.raises(DaemonError):
        Broker(API, BROADCAST, FileStore, name)
    sys.modules.pop(name, None)


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(DaemonError, match="there is no module 'no_such_workers' with workers: it must be in the current folder"):
        load_workers("no_such_workers")
    with pytest.raises(DaemonError, match="workers must be the name of a module, but is 3"):
        load_workers(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Store", "must be named as MODULE.CLASS, but is 'Store'"),
        ("no_such_module.Store", "cannot be imported: ModuleNotFoundError"),
        ("fission.pipelines.stores.Stor", "has no class 'Stor'; it has Store, FileStore, SQLStore"),
    ],
)
def test_store_classes_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(DaemonError, match=message):
        load_class(name)


def test_a_store_that_cannot_be_constructed() -> None:
    with pytest.raises(DaemonError, match=r"the store FileStore\(\) cannot be constructed: TypeError.*from the Router's config\['store'\]"):
        new_store(FileStore, {})
    with pytest.raises(DaemonError, match=r"FileStore\(folder='/proc/none'\) cannot be constructed"):
        new_store(FileStore, {"folder": "/proc/none"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"store_class": 3}, "store_class must be a class with retrieve, save and save_monitoring, but is 3"),
        ({"number_of_workers": 0}, "number_of_workers must be a whole number above 0, but is 0"),
        ({"number_of_workers": "2"}, "number_of_workers must be a whole number above 0, but is '2'"),
    ],
)
def test_brokers(module: Callable[[str], str], arguments: dict[str, Any], message: str) -> None:
    name = module("from fission.pipelines import Worker\n__all__ = ['A']\nclass A(Worker):\n    def process(self, data): pass")
    with pytest.raises(DaemonError, match=message):
        Broker(**{"api": API, "broadcast": BROADCAST, "store_class": FileStore, "workers": name, **arguments})
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"api_host_port": "tcp://*:5555"},
            r"api_host_port must be \(host, port\) with a port from 1 to 65535, such as .* but is 'tcp://\*:5555'",
        ),
        ({"broadcast_host_port": ("*", 70000)}, "broadcast_host_port must be"),
        ({"config": None}, "config must be a dict such as .* but is None"),
        ({"config": {"store": 3}}, r"config\['store'\] must be a dict of arguments of the StoreClass, but is 3"),
        ({"config": {"monitoring interval": 0}}, r"config\['monitoring interval'\] must be a number of seconds above 0, but is 0"),
        ({"config": {"store": {"x": object()}}}, "config must be of JSON's types"),
    ],
)
def test_routers(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DaemonError, match=message):
        Router(**{"api_host_port": ("*", 5555), "broadcast_host_port": ("*", 5556), "config": {}, **arguments})


@pytest.mark.parametrize("address", ["127.0.0.1:5555", "tcp://nowhere", "http://127.0.0.1:5555"])
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(DaemonError, match=r"is not the address of a Router: .*; it must be like tcp://HOST:5555"):
        PipelineManager(address, BROADCAST)
    with pytest.raises(DaemonError, match="is not the address of a Router"):
        Pipeliner(address, BROADCAST).start()


def test_a_host_that_this_machine_is_not(tmp_path: Path) -> None:
    router = Router(("203.0.113.7", 5555), ("*", 5556), {}, state=str(tmp_path / "state.sqlite"))
    with pytest.raises(DaemonError, match=r"the Router's api address tcp://203.0.113.7:5555 cannot be bound: "):
        router.start()


def test_a_manager_takes_pipelines_once() -> None:
    with PipelineManager(API, BROADCAST, timeout=0.2) as manager:
        manager._number = 0
        with pytest.raises(PipelineError, match="starts Pipeline objects, but was given Job"):
            manager.start(Job("A"))  # type: ignore[arg-type]
        pipeline = Pipeline({Job("A"): None})
        with pytest.raises(PipelineError, match="was given twice; make another Pipeline"):
            manager.start_all([pipeline, pipeline])
        with pytest.raises(PipelineError, match="was not started by this PipelineManager"):
            manager.finished(pipeline)
        pipeline.started_at = 1.0
        with pytest.raises(PipelineError, match="was already started, with id"):
            manager.start(pipeline)
