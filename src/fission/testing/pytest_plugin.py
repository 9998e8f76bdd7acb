"""The pytest plugin: fixtures for tests of networks, and the marker ``slow``.

The plugin is active wherever FISSION is installed, in every pytest run. It therefore imports large
modules only when a fixture is used, and changes only tests in a FISSION project (below a folder
with its manage.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

__all__ = [
    "fission_cfg",
    "fission_cfg_jobs",
    "fission_network",
    "fission_reset",
    "fission_test_emulator",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_load_initial_conftests",
]

if TYPE_CHECKING:
    from fission.testing.emulator import JobEmulator
    from fission.testing.small_network import Ran


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--runslow``."""
    parser.getgroup("fission").addoption(
        "--runslow", action="store_true", default=False, help="also run tests of FISSION networks that are marked slow"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Put the current folder's project on sys.path: its networks import from each other."""
    project = _project_of(Path(early_config.invocation_params.dir))
    if project is not None and str(project) not in sys.path:
        sys.path.insert(0, str(project))


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker ``slow``."""
    config.addinivalue_line("markers", "slow: takes long; in a project of FISSION only run with --runslow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests of networks, unless ``--runslow`` is given."""
    if config.getoption("--runslow"):
        return
    for item in items:
        if item.get_closest_marker("slow") is not None and _network_of(item.path) is not None:
            item.add_marker(pytest.mark.skip(reason="slow: run it with --runslow"))


def _project_of(path: Path) -> Path | None:
    for folder in (path, *path.parents):
        manage = folder / "manage.py"
        try:
            if manage.is_file() and "fission" in manage.read_text("utf-8", errors="replace"):
                return folder
        except OSError:
            continue
    return None


def _network_of(path: Path) -> tuple[Path, str] | None:
    """Return the project and the name of the network that contains a file, if any."""
    project = _project_of(path.parent)
    if project is None:
        return None
    name = path.relative_to(project).parts[0]
    return (project, name) if (project / name / "config.py").is_file() else None


@pytest.fixture
def fission_reset() -> Iterator[None]:
    """Remove all jobs, pipes, nodes and groups before and after the test, which frees all ids.

    The objects stay valid.
    """
    from fission.core.base import reset

    reset()
    yield
    reset()


@pytest.fixture
def fission_cfg(request: pytest.FixtureRequest) -> Any:
    """The module config.py of the test's network, freshly imported."""
    import importlib

    from fission.core.base import reset
    from fission.project.finding import list_networks
    from fission.project.importing import import_fresh, put_first

    found = _network_of(request.path)
    if found is None:
        raise pytest.UsageError(
            f"fission_cfg needs a test below a network's folder in a project, but {request.path} is in none; move it there"
        )
    project, name = found
    put_first(project)
    reset()
    module = import_fresh(f"{name}.config", [f"{network}.config" for network in list_networks(project)])
    reset()
    importlib.invalidate_caches()
    return module


@pytest.fixture
def fission_cfg_jobs(fission_cfg: Any) -> Iterator[Callable[..., JobEmulator]]:
    """A function: ``fission_cfg_jobs(index)`` returns the emulator of ``JOBS[index]``.

    The emulator is killed after the test.
    """
    from fission.errors import DefinitionError
    from fission.testing.emulator import emulate

    made: list[JobEmulator] = []

    def jobs(index: int, path: str = ".emulate", **options: Any) -> JobEmulator:
        listed = fission_cfg.JOBS
        if not -len(listed) <= index < len(listed):
            names = ", ".join(f"{number}: {job._fission_name}" for number, job in enumerate(listed))
            raise DefinitionError(f"the argument of fission_cfg_jobs must be an index of JOBS, but is {index!r}; there are {names}")
        made.append(emulate(listed[index], path, head_size=getattr(fission_cfg, "HEAD_SIZE", 1), **options))
        return made[-1]

    yield jobs
    for emulator in made:
        emulator.kill()


@pytest.fixture
def fission_test_emulator(fission_test_job: Any, fission_reset: None) -> Iterator[JobEmulator]:
    """The emulator of the job that the fixture ``fission_test_job`` returns.

    The emulator is killed after the test.
    """
    from fission.testing.emulator import emulate

    with emulate(fission_test_job) as emulator:
        yield emulator


@pytest.fixture
def fission_network(tmp_path: Path) -> Callable[..., Ran]:
    """A function: ``fission_network(jobs, inputs)`` runs a network and returns what sinks received.

    See `fission.testing.small_network.run_network`; jobs work in folders below ``tmp_path``.
    """
    runs = 0

    def run(jobs: Any, inputs: Any = None, **options: Any) -> Ran:
        nonlocal runs
        from fission.testing.small_network import run_network

        runs += 1
        return run_network(jobs, inputs, folder=options.pop("folder", tmp_path / f"network_{runs}"), **options)

    return run
