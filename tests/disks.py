"""Small real file systems in a file, for tests of full disks and power cuts.

They need root and e2fsprogs (scripts/debian-packages.txt). Without them a test is skipped, which is
a failure with CI=true.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from pathlib import Path

import pytest


class Disk:
    """A mounted ext4 file system in a file. A context manager, which unmounts it at its end.

    Attributes:
        mount: its mount point.
    """

    def __init__(self, image: Path, mount: Path, *, megabytes: int = 24, new: bool = True) -> None:
        """Create or reuse an image and mount it.

        Within the time of a test, only `fsync` brings data to the device.
        """
        self.image, self.mount = image, mount
        if new:
            with image.open("wb") as file:
                file.truncate(megabytes << 20)
            _call("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        mount.mkdir(exist_ok=True)
        _call("mount", "-o", "loop,commit=300", str(image), str(mount))

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        if os.path.ismount(self.mount):
            _call("umount", "--lazy", str(self.mount))

    def power_cut(self, copy: Path) -> Path:
        """Copy the present content of the device.

        Writers must be stopped: the copy is repeated until two copies are the same.
        """
        shutil.copyfile(self.image, copy)
        for _ in range(100):
            again = copy.with_suffix(".again")
            shutil.copyfile(self.image, again)
            same = filecmp.cmp(copy, again, shallow=False)
            again.replace(copy)
            if same:
                return copy
        raise AssertionError("the device is not at rest")

    def fill(self) -> Path:
        """Fill the disk; return the file that takes the space."""
        path = self.mount / "filler"
        with path.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return path

    def fail(self) -> None:
        """Refuse all writes from now on, as after a device error."""
        _call("mount", "-o", "remount,abort", str(self.mount))


def require() -> None:
    """Skip the calling test where file systems cannot be mounted."""
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"disks need the programs {', '.join(missing)}: scripts/install-debian-packages")
    if os.geteuid() != 0:
        pytest.skip("only root can mount file systems")


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode and words[0] == "mount" and "loop" in done.stderr:
        pytest.skip(f"this machine refuses loop devices: {done.stderr.strip()}")
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
