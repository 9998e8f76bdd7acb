"""The wheel that is copied to hosts: given, built or packed from what is installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import fission
from fission.cli.extras import distribution
from fission.errors import UserError
from fission.provision import wheel as module
from fission.provision.wheel import Wheel, obtain_pypelinin, obtain_wheel, pack_distribution, source_tree
from fission.provision.wheelhouse import pack_wheelhouse


def small_wheel(path: Path, names: tuple[str, ...] = ("fission/__init__.py",), stamp: tuple[int, ...] = (1990, 1, 1, 0, 0, 0)) -> Path:
    """Write a wheel with these files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name, stamp), b"text")  # type: ignore[arg-type]
    return path


def test_a_packed_distribution_installs(tmp_path: Path) -> None:
    """A wheel that is packed from an installation has the same files, and pip accepts its hashes."""
    packed = pack_distribution(metadata.distribution("click"), tmp_path)
    assert packed.name == f"click-{metadata.version('click')}-py3-none-any.whl"
    words = [
        "-m",
        "pip",
        "install",
        "--no-index",
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([sys.executable, *words, str(packed)], check=True, timeout=50)
    installed = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site" / "click").rglob("*.py")}
    assert installed == {path.as_posix() for path in metadata.files("click") or () if path.match("click/*.py")}


def test_tags_of_compiled_wheels(tmp_path: Path) -> None:
    packed = pack_distribution(metadata.distribution("msgspec"), tmp_path)
    assert packed.name.startswith(f"msgspec-{metadata.version('msgspec')}-cp3")


def test_the_tests_run_from_a_source_tree() -> None:
    assert source_tree() == Path(fission.__file__).parents[2]


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    name = "fission_networks-1.0-py3-none-any.whl"
    for folder in "abc":
        (tmp_path / folder).mkdir()
    first = obtain_wheel(small_wheel(tmp_path / "a" / name), tmp_path)
    again = obtain_wheel(small_wheel(tmp_path / "b" / name, stamp=(2020, 1, 1, 0, 0, 0)), tmp_path)
    other = obtain_wheel(small_wheel(tmp_path / "c" / name, ("fission/__init__.py", "fission/more.py")), tmp_path)
    assert first.digest == again.digest != other.digest
    assert first.version == "1.0"


def test_the_names_of_pypelinin_go_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the source tree it is built; a wheel of FISSION that is given may have the other one beside it, of its version."""
    built = obtain_pypelinin(Wheel(tmp_path, fission.__version__, ""), None, tmp_path)
    assert built is not None
    assert built.path.name == f"fission_networks_pypelinin-{fission.__version__}-py3-none-any.whl"
    given = obtain_wheel(small_wheel(tmp_path / "fission_networks-1.0-py3-none-any.whl"), tmp_path)
    small_wheel(tmp_path / "fission_networks_pypelinin-1.1-py3-none-any.whl", ("fission_networks_pypelinin/__init__.py",))
    assert obtain_pypelinin(given, given.path, tmp_path) is None
    beside = small_wheel(tmp_path / "fission_networks_pypelinin-1.0-py3-none-any.whl", ("fission_networks_pypelinin/__init__.py",))
    found = obtain_pypelinin(given, given.path, tmp_path)
    assert found is not None
    assert found.path == beside
    monkeypatch.setattr(module, "source_tree", lambda: None)
    assert obtain_pypelinin(given, None, tmp_path) is None  # FISSION is installed, without the names


def test_the_installed_names_of_pypelinin_are_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / f"fission_networks_pypelinin-{fission.__version__}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fission-networks-pypelinin\nVersion: {fission.__version__}\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    (tmp_path / "fission_networks_pypelinin.pth").write_text("import fission_networks_pypelinin\n")
    (info / "RECORD").write_text(f"fission_networks_pypelinin.pth,,\n{info.name}/WHEEL,,\n{info.name}/METADATA,,\n")
    monkeypatch.setattr(module, "source_tree", lambda: None)
    monkeypatch.syspath_prepend(tmp_path)
    packed = obtain_pypelinin(Wheel(tmp_path, fission.__version__, ""), None, tmp_path)
    assert packed is not None
    with zipfile.ZipFile(packed.path) as archive:
        assert "fission_networks_pypelinin.pth" in archive.namelist()
    assert obtain_pypelinin(Wheel(tmp_path, "9.9.9", ""), None, tmp_path) is None  # it needs FISSION of its own version


def test_a_new_installation_is_found_beside_an_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FISSION's distribution was named `fission` once, and both may list the same files."""
    for name in ("fission", "fission_networks"):
        info = tmp_path / f"{name}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.1.0\n")
        (info / "WHEEL").write_text("Tag: py3-none-any\n")
        (info / "entry_points.txt").write_text("[console_scripts]\nfission = fission.cli.main:run\n")
        (info / "RECORD").write_text(f"fission/__init__.py,,\n{info.name}/WHEEL,,\n{info.name}/METADATA,,\n")
    (tmp_path / "fission").mkdir()
    (tmp_path / "fission" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fission, "__file__", str(tmp_path / "fission" / "__init__.py"))
    (tmp_path / "made").mkdir()
    assert module.pack_installed(tmp_path / "made").name == "fission_networks-0.1.0-py3-none-any.whl"
    found = distribution()
    assert found is not None
    assert found.metadata["Name"] == "fission-networks"


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    small_wheel(tmp_path / "click-8.0-py3-none-any.whl", ("click/__init__.py",))
    with pytest.raises(UserError, match=r"must be a file NAME-VERSION-TAGS\.whl, but is .*notes\.txt; build one elsewhere"):
        obtain_wheel(tmp_path / "notes.txt", tmp_path)
    with pytest.raises(UserError, match=r"has no fission/__init__\.py"):
        obtain_wheel(tmp_path / "click-8.0-py3-none-any.whl", tmp_path)


def test_an_installation_without_a_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "source_tree", lambda: None)
    monkeypatch.setattr(metadata, "distributions", list)
    with pytest.raises(UserError, match=r"was not installed from one; build one elsewhere .*--wheel"):
        obtain_wheel(None, tmp_path)


def test_a_wheelhouse_is_packed(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    with pytest.raises(UserError, match=r"must be a folder of wheels, but .*house has none"):
        pack_wheelhouse(house, tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        pack_wheelhouse(tmp_path / "nowhere", tmp_path)
    small_wheel(house / "a-1-py3-none-any.whl")
    (house / "notes.txt").write_text("")
    with tarfile.open(pack_wheelhouse(house, tmp_path)) as archive:
        assert archive.getnames() == ["a-1-py3-none-any.whl"]
