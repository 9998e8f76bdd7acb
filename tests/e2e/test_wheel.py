"""The wheels that `make wheel` builds: the same bytes each time, and all that FISSION needs besides its dependencies.

They are installed as the pages say, into clean virtual environments, without the repository.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fission
from tests.docs_runner import ROOT
from tests.provision.boards import make_wheelhouse

BUILD = "make wheel"
INSTALL = "python3 -m pip install 'dist/fission_networks-0.1.0-py3-none-any.whl[cluster]'"
INSTALL_NAMES = "python3 -m pip install dist/fission_networks_pypelinin-0.1.0-py3-none-any.whl"
OURS, NAMES = (f"fission_networks{more}-{fission.__version__}-py3-none-any.whl" for more in ("", "_pypelinin"))
#: Tests have no package index: what builds the wheels, and the dependencies, are those of this virtual environment.
OFFLINE = ["--no-index", "--disable-pip-version-check", "--quiet"]
#: The supported versions of Python; those that this machine has are tried.
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
CONFIG = """
from fission.core.jobs import CSVSinkJob, PythonJob
from fission.core.pipes import PicklePipe

class Count(PythonJob):
    HEAD = True

    def run(self):
        for number in range(1, 6):
            yield number
        self.finish()

JOBS = [Count(outputs=[PicklePipe(1)]), CSVSinkJob("numbers.csv", inputs=[PicklePipe(1)])]
"""
#: Names of this process's environment that would lead an installed FISSION back to the tests' one.
NOT_PASSED_ON = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")


def clean_environments(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that makes virtual environments and fills them: minutes on a busy machine."""
    for mark in (pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(400)):
        test = mark(test)
    return test


def run(command: str, *more: str, cwd: Path, python: str = sys.executable, deadline_s: float = 100) -> str:
    """Run a command of a page, with this interpreter and the scripts beside it, and return what it prints."""
    words = [python if word == "python3" else word for word in shlex.split(command)]
    env = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    env["PATH"] = f"{Path(python).parent}{os.pathsep}{env['PATH']}"
    done = subprocess.run([*words, *more], cwd=cwd, env=env, capture_output=True, text=True, timeout=deadline_s, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what the wheels are built from, as a clone has it; return the copy."""
    for name in ("src", "distributions", "scripts", "browser", "pyproject.toml", "Makefile", "README.md", "LICENSE", ".gitignore"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def make_wheels(tree: Path) -> str:
    """Run `make wheel` in a tree, with the build tool of this virtual environment, and return what it prints."""
    for stamp in (".made", ".installed-build", ".browser"):  # the libraries of the page are in the copy
        (tree / ".venv").mkdir(exist_ok=True)
        (tree / ".venv" / stamp).touch()
    return run(BUILD, f"BIN={Path(sys.executable).parent}", cwd=tree)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which `make wheel` has run; its output is in the file `said`."""
    made = copy_of_the_tree(tmp_path_factory.mktemp("tree"))
    (made / "said").write_text(make_wheels(made))
    return made


@pytest.mark.slow
def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """Another folder, other times of the files, other rights, leftovers of Python: the same wheels."""
    other = copy_of_the_tree(tmp_path)
    (other / "src" / "fission" / "__pycache__").mkdir()
    (other / "src" / "fission" / "__pycache__" / "left.cpython-311.pyc").write_bytes(b"left")
    for path in (other / "src").rglob("*.py"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    make_wheels(other)
    assert sorted(path.name for path in (tree / "dist").iterdir()) == [OURS, NAMES]
    assert [(tree / "dist" / name).read_bytes() == (other / "dist" / name).read_bytes() for name in (OURS, NAMES)] == [True, True]
    (other / "src" / "fission" / "errors.py").write_text("# changed\n")
    make_wheels(other)
    assert (tree / "dist" / OURS).read_bytes() != (other / "dist" / OURS).read_bytes()


@pytest.mark.slow
def test_the_page_and_its_libraries_are_in_the_wheel(tree: Path) -> None:
    with zipfile.ZipFile(tree / "dist" / OURS) as wheel:
        found = {name.removeprefix("fission/dashboard/page/") for name in wheel.namelist() if name.startswith("fission/dashboard/page/")}
    libraries = ("dagre.esm.js", "dagre.LICENSE.txt", "uPlot.esm.js", "uPlot.min.css", "uPlot.LICENSE.txt")
    ours = {path.name for path in (ROOT / "src" / "fission" / "dashboard" / "page").iterdir() if path.is_file()}
    assert {"index.html", "main.js", "style.css"} <= ours
    assert found == ours | {f"libraries/{name}" for name in libraries}


@pytest.mark.slow
def test_what_make_wheel_says_and_makes(tree: Path) -> None:
    said = (tree / "said").read_text()
    assert f"dist/{OURS}  sha256 " in said
    assert f"python3 -m pip install 'dist/{OURS}[cluster]'" in said
    assert f"python3 -m pip install 'dist/{OURS}[pipelines]' dist/{NAMES}" in said
    assert fission.__version__ in INSTALL
    with zipfile.ZipFile(tree / "dist" / OURS) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"fission", f"fission_networks-{fission.__version__}.dist-info"}
        metadata = archive.read(f"fission_networks-{fission.__version__}.dist-info/METADATA").decode()
    assert "Name: fission-networks\n" in metadata
    assert "Requires-Python: >=3.10\n" in metadata
    with zipfile.ZipFile(tree / "dist" / NAMES) as archive:
        assert not [name for name in archive.namelist() if name.startswith("pypelinin/")]  # the place of the older package
        assert (
            f"Requires-Dist: fission-networks=={fission.__version__}\n"
            in archive.read(f"fission_networks_pypelinin-{fission.__version__}.dist-info/METADATA").decode()
        )


@pytest.mark.slow
def test_the_wheel_makes_a_project(tree: Path, tmp_path: Path) -> None:
    """Beside the dependencies of this virtual environment; a clean one takes longer, below."""
    run(INSTALL, "--no-deps", "--no-compile", "--target", str(tmp_path / "site"), *OFFLINE, cwd=tree)
    run(INSTALL_NAMES, "--no-deps", "--no-compile", "--target", str(tmp_path / "site"), *OFFLINE, cwd=tree)
    start = f"import site, sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); site.addsitedir(sys.path[0]); import fission, pypelinin; "
    where = run(f"python3 -c {shlex.quote(start + 'print(fission.__file__, pypelinin.__file__)')}", cwd=tmp_path).split()
    names = tmp_path / "site" / "fission_networks_pypelinin" / "names" / "pypelinin"
    assert where == [str(tmp_path / "site" / "fission" / "__init__.py"), str(names / "__init__.py")]
    run(f"python3 -c {shlex.quote(start + 'from fission.cli.main import run; run()')}", "startproject", "weather", cwd=tmp_path)
    assert (tmp_path / "weather" / "manage.py").is_file()
    for path in ("roles/setup/templates/fission.service.j2", "playbooks/servers.yml", "plugins/callback/fission_events.py"):
        assert (tmp_path / "site" / "fission" / "provision" / "ansible" / path).is_file()
    assert (tmp_path / "site" / "fission" / "py.typed").is_file()


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What FISSION with the extra `cluster` needs, as wheels."""
    return make_wheelhouse(tmp_path_factory.mktemp("wheelhouse"), "cluster")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, tree: Path, wheelhouse: Path) -> str:
    """The interpreter of a virtual environment in which the page's commands have installed both wheels."""
    folder = tmp_path_factory.mktemp("clean")
    run("python3 -m venv .venv", cwd=folder)
    python = str(folder / ".venv" / "bin" / "python")
    run(INSTALL, *OFFLINE, "--no-compile", "--find-links", str(wheelhouse), cwd=tree, python=python)
    run(INSTALL_NAMES, *OFFLINE, "--no-compile", cwd=tree, python=python)
    return python


@clean_environments
def test_a_project_runs_with_the_installed_wheel(clean: str, tmp_path: Path) -> None:
    assert run("fission --version", cwd=tmp_path, python=clean).split()[:2] == ["fission", fission.__version__]
    run("fission startproject weather", cwd=tmp_path, python=clean)
    run("python3 manage.py station startnetwork", cwd=tmp_path / "weather", python=clean)
    (tmp_path / "weather" / "station" / "config.py").write_text(CONFIG)
    run("fission station simulate", cwd=tmp_path / "weather", python=clean)
    rows = (tmp_path / "weather" / "station" / "simulation" / "2" / "numbers.csv").read_text().split()
    assert rows[1:] == ["1", "2", "3", "4", "5"]
    site = Path(run("python3 -c 'import fission; print(fission.__file__)'", cwd=tmp_path, python=clean).strip()).parent
    assert site.is_relative_to(Path(clean).parent.parent)


@clean_environments
def test_a_missing_extra_is_installed_by_the_command_that_is_named(clean: str, tmp_path: Path) -> None:
    """It needs neither the wheel nor the repository, and no index has FISSION."""
    code = "from fission.cli.extras import install_command; print(install_command('viz'))"
    assert run(f"python3 -c {shlex.quote(code)}", cwd=tmp_path, python=clean).startswith("python3 -m pip install 'matplotlib>=")


def older_pypelinin(folder: Path) -> Path:
    """Make a wheel like the older pypelinin's, which has files of the same names; return it."""
    info = "pypelinin-0.1.1.dist-info"
    files = {
        "pypelinin/__init__.py": "from pypelinin.client import WHO\n",
        "pypelinin/client.py": "WHO = 'the older one'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: pypelinin\nVersion: 0.1.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    made = folder / "pypelinin-0.1.1-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made


@pytest.fixture
def in_use(clean: str, tmp_path: Path) -> Iterator[object]:
    """Tells which pypelinin a program imports: ours or the older one. The older one is uninstalled at the end."""

    def which() -> str:
        code = "import pypelinin; print(getattr(pypelinin, 'WHO', 'ours'), hasattr(pypelinin, 'PipelineManager'))"
        said = run(f"python3 -c {shlex.quote(code)}", cwd=tmp_path, python=clean).strip()
        return {"ours True": "ours", "the older one False": "older"}[said]

    yield which
    run("python3 -m pip uninstall --yes --quiet pypelinin", cwd=tmp_path, python=clean)


@clean_environments
def test_the_older_pypelinin_and_ours_side_by_side(clean: str, tree: Path, tmp_path: Path, in_use: object) -> None:
    """No file of either is overwritten, in whichever order they are installed; ours is found while it is installed."""
    assert callable(in_use)
    assert in_use() == "ours"
    run(f"python3 -m pip install {older_pypelinin(tmp_path)}", *OFFLINE, cwd=tmp_path, python=clean)
    assert in_use() == "ours"
    run("python3 -m pip uninstall --yes --quiet fission-networks-pypelinin", cwd=tmp_path, python=clean)
    assert in_use() == "older"
    run(INSTALL_NAMES, *OFFLINE, cwd=tree, python=clean)
    assert in_use() == "ours"
    run("python3 -m pip uninstall --yes --quiet pypelinin", cwd=tmp_path, python=clean)
    assert in_use() == "ours"


def found_pythons() -> dict[str, str]:
    """Return the interpreters of supported versions on this machine, by version: those on PATH, and pyenv's."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in PYTHONS:
        for path in (sys.executable, shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))):
            code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
            done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=20, check=False) if path else None
            if done is not None and done.stdout.strip() == version and path is not None:
                found[version] = path
                break
    return found


@clean_environments
def test_every_python_of_this_machine_takes_the_wheels(tree: Path, tmp_path: Path) -> None:
    """Without dependencies, whose compiled parts are there for one Python only: it installs, compiles and imports."""
    found = found_pythons()
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in found
    for version, path in found.items():
        run(f"{shlex.quote(path)} -m venv {version}", cwd=tmp_path)
        python = str(tmp_path / version / "bin" / "python")
        run(INSTALL, *OFFLINE, "--no-deps", "--no-compile", cwd=tree, python=python)
        run(INSTALL_NAMES, *OFFLINE, "--no-deps", "--no-compile", cwd=tree, python=python)
        code = "import fission, importlib.metadata as m; print(m.version('fission-networks'), fission.__version__, fission.__file__)"
        said = run(f"python3 -c {shlex.quote(code)}", cwd=tmp_path, python=python).split()
        assert said[:2] == [fission.__version__] * 2
        assert Path(said[2]).is_relative_to(tmp_path / version)
        run(
            f"python3 -W error -m compileall -q {Path(said[2]).parent} {Path(said[2]).parent.parent / 'fission_networks_pypelinin'}",
            cwd=tmp_path,
            python=python,
        )
        where = "import importlib.util as u; print(u.find_spec('pypelinin').origin)"
        assert "fission_networks_pypelinin/names/" in run(f"python3 -c {shlex.quote(where)}", cwd=tmp_path, python=python)
