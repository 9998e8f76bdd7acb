"""scripts/install-debian-packages installs missing packages, or says that it cannot.

With nothing missing, it does nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "install-debian-packages"
LIST = "# a comment\n\nhere: true\nspoon: no-such-command-1\nfork: no-such-command-2 --version\n"


def install(folder: Path, *names: str, root: bool = True, apt: bool = True, packages: str = LIST) -> tuple[str, str]:
    """Return the script's output and its calls of apt-get, on a machine with these properties."""
    programs = folder / "bin"
    programs.mkdir()
    stand_ins = {"id": f"echo {0 if root else 1000}", "true": "exit 0"}
    if apt:
        stand_ins["apt-get"] = f'echo "$@" >>{folder}/calls; /bin/cat {folder}/policy >>{folder}/policies'
    for name, text in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    for name in ("sh", "dirname", "chmod", "rm"):
        (programs / name).symlink_to(f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}")
    (folder / "list.txt").write_text(packages)
    env = {"PATH": str(programs), "DEBIAN_PACKAGES": str(folder / "list.txt"), "POLICY_RC_D": str(folder / "policy")}
    done = subprocess.run(["/bin/sh", str(SCRIPT), *names], env=env, capture_output=True, text=True, timeout=20, check=True)
    calls = folder / "calls"
    return done.stderr, calls.read_text() if calls.exists() else ""


def test_missing_packages_are_installed(tmp_path: Path) -> None:
    said, calls = install(tmp_path)
    assert said.startswith("installing Debian packages: spoon fork\n")
    assert calls == "update -qq\ninstall -y -qq --no-install-recommends spoon fork\n"


def test_no_service_of_a_package_is_started(tmp_path: Path) -> None:
    install(tmp_path)
    assert set((tmp_path / "policies").read_text().splitlines()) == {"#!/bin/sh", "exit 101"}
    assert not (tmp_path / "policy").exists(), "services may be started again"


def test_a_policy_of_the_machine_stays(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("its own\n")
    install(tmp_path)
    assert (tmp_path / "policy").read_text() == "its own\n"


def test_only_what_is_named(tmp_path: Path) -> None:
    assert install(tmp_path, "fork")[1].endswith(" fork\n")


def test_nothing_missing_is_quiet(tmp_path: Path) -> None:
    assert install(tmp_path, packages="here: true\n") == ("", "")


@pytest.mark.parametrize(("root", "apt", "advice"), [(False, True, "as root: apt-get install spoon fork"), (True, False, "no apt-get")])
def test_packages_that_cannot_be_installed_are_named(tmp_path: Path, root: bool, apt: bool, advice: str) -> None:
    said, calls = install(tmp_path, root=root, apt=apt)
    assert advice in said
    assert "spoon fork" in said
    assert calls == ""
