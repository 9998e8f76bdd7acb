"""A repository of Debian packages in a folder of a board: tiny ones, built here, for apt steps without a network."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.provision.boards import Board

#: Where the repository is on the board.
PLACE = "/var/packages"
#: Newer than any that the packages of the system break.
VERSION = "99.0"


def build(folder: Path, packages: Mapping[str, Mapping[str, str]]) -> None:
    """Build packages, and the index that apt reads.

    Args:
        folder: folder of the repository.
        packages: by name of the package, the contents of its files, by their paths. All are executable.
    """
    stanzas = []
    for name, files in packages.items():
        control = f"Package: {name}\nVersion: {VERSION}\nArchitecture: all\nMaintainer: tests <tests@localhost>\nDescription: of a test\n"
        tree = folder / f"{name}-tree"
        for path, text in {"DEBIAN/control": control, **files}.items():
            target = tree / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755)
        made = folder / f"{name}_{VERSION}_all.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(made)], check=True, capture_output=True, timeout=50)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        stanzas.append(f"{control}Filename: ./{made.name}\nSize: {made.stat().st_size}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(stanzas))


def install_sources(board: Board, folder: Path) -> None:
    """Let the board's apt know this repository only."""
    board.put(folder, PLACE)
    board.sh(
        "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*; "
        f"echo 'deb [trusted=yes] file:{PLACE} ./' > /etc/apt/sources.list; chmod -R a+rX {PLACE}"
    )
