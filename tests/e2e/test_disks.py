"""The client's disk fails: it is full or read-only for a while, or the power is cut. Real file systems; see tests/disks.py."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import disks
from tests.disks import Disk
from tests.e2e.support import column, descendants, finish, network
from tests.e2e.test_run_here import JOBS, Site
from tests.waiting import DEADLINE_S, CommandLine, Running, eventually

SUMS = """
Numbers({end!r}, outputs=[PicklePipe(1)]),
Sum(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
CSVSinkJob({out!r}, inputs=[PicklePipe(2)]),
"""


ELSEWHERE = """
class Elsewhere(PythonJob):
    def __init__(self, out, **kwargs):
        super().__init__(**kwargs)
        self.out = out
    def run(self, value):
        with open(self.out, "a") as file:
            file.write(f"{value}\\n")
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disks.require()
    with Disk(tmp_path / "image", tmp_path / "disk") as made:
        yield made


class OnDisk(Site):
    """The project is on the disk; what ends the network is not."""

    def __init__(self, fission: CommandLine, disk: Disk, out: str = "sums.csv", jobs: str = JOBS, listed: str = SUMS) -> None:
        self.fission = fission
        self.end_file = disk.mount.parent / "end"
        fission.project(network(jobs, listed.format(end=str(self.end_file), out=out)))
        shutil.copytree(fission.root, disk.mount / "project")
        fission.root = disk.mount / "project"
        os.sync()
        self.out = Path(out) if out.startswith("/") else self.folder / "3" / out

    def all_sums(self) -> list[int]:
        """What a sink without a header has written.

        After a power cut a file system may have kept the length of a row that was not synced, but not its text: then there are zeros.
        """
        text = self.out.read_text().replace("\0", "") if self.out.exists() else ""
        return [int(line) for line in text[: text.rfind("\n") + 1].split()]

    def sums(self) -> list[int]:
        return column(self.out)


class WritesElsewhere(OnDisk):
    """A sink of the user's writes to another disk. Ours would wait: where it stands is written into its job's folder."""

    def __init__(self, fission: CommandLine, disk: Disk, out: Path) -> None:
        super().__init__(fission, disk, str(out), JOBS + ELSEWHERE, SUMS.replace("CSVSinkJob(", "Elsewhere("))

    def sums(self) -> list[int]:
        return self.all_sums()


def warned_of_a_full_disk(client: Running, disk: Disk) -> Path:
    """Fill it until the client warns, for a snapshot that is replaced meanwhile leaves room for another; return what takes the room."""
    eventually(lambda: disk.fill() and "Warning: " in client.stderr, 20, lambda: f"a warning of a full disk in {client.stderr}")
    return disk.fill()


@pytest.mark.slow
def test_a_network_runs_on_while_the_disk_is_full(fission: CommandLine, disk: Disk, tmp_path: Path) -> None:
    site = WritesElsewhere(fission, disk, tmp_path / "sums.txt")
    client = fission.start("net", "run")
    site.flows(20)
    filler = warned_of_a_full_disk(client, disk)
    assert str(fission.root / "net" / "runs") in client.stderr
    assert "free space on this disk, or repair it" in client.stderr
    before = len(site.sums())
    site.flows(before + 20)  # the windows have room for that
    filler.unlink()
    client.wait_for("can be written again", stream="stderr")
    site.flows(before + 2000)  # much more than windows hold
    site.end()
    done = finish(client, fission.root, 0)
    assert "net: finished after" in done.stdout
    assert done.stderr.count("Warning: ") <= 2, "one for the event log, one for snapshots"
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr
    site.check()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["full", "fails"])
def test_the_summary_is_shown_even_if_the_disk_fails(fission: CommandLine, disk: Disk, tmp_path: Path, fault: str) -> None:
    site = WritesElsewhere(fission, disk, tmp_path / "sums.txt")
    client = fission.start("net", "run")
    site.flows(20)
    if fault == "full":
        warned_of_a_full_disk(client, disk)
    else:
        disk.fail()
        client.wait_for("Warning: ", stream="stderr")
    site.flows(len(site.sums()) + 20)
    client.interrupt()
    done = finish(client, fission.root, 130)
    assert "net: interrupted after" in done.stdout
    assert "Sum 2" in done.stdout
    assert "Traceback" not in done.stderr


SYNCED = """
class SyncedSink(PythonJob):
    def run(self, value):
        with open("sums.csv", "a") as file:
            file.write(f"{value}\\n")
            file.flush()
            os.fsync(file.fileno())
"""


def cut_power(client: Running, site: OnDisk, disk: Disk, image: Path) -> Disk:
    """End everything at once; return the disk with what had reached the device."""
    others = descendants(client.pid)
    for process in (psutil.Process(client.pid), *others):
        process.suspend()
    disk.power_cut(image)
    client.signal(signal.SIGKILL)
    for process in others:  # they end with the client, and tidy up what is not on the disk
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
    client.wait(exit_code=-signal.SIGKILL)
    site.gone()
    disk.__exit__()
    eventually(lambda: not os.path.ismount(disk.mount), DEADLINE_S, "it is unmounted")
    return Disk(image, disk.mount, new=False)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_run_is_resumed_after_a_power_cut(fission: CommandLine, disk: Disk, tmp_path: Path) -> None:
    """What survives is only what was synced: first at the earliest moment, then with rows that the sink has acknowledged."""
    site = OnDisk(fission, disk, jobs=JOBS + SYNCED, listed=SUMS.replace("CSVSinkJob({out!r}, ", "SyncedSink("))
    arguments = ["net", "run"]
    for rows in (1, 60, 150):
        client = fission.start(*arguments)
        eventually(lambda rows=rows: len(site.all_sums()) >= rows, DEADLINE_S, f"{rows} rows")
        acknowledged = len(site.all_sums()) - 1  # the last one may not be synced yet
        disk = cut_power(client, site, disk, tmp_path / f"after {rows}")
        assert len(site.all_sums()) >= acknowledged
        arguments = ["net", "run", "--resume"]
    client = fission.start(*arguments)
    eventually(lambda: len(site.all_sums()) >= 250, DEADLINE_S, "250 rows")
    site.end()
    finish(client, fission.root, 0)
    # such a sink may get a block twice, but none is missing
    found = sorted(set(site.all_sums()))
    assert found == [number * (number + 1) // 2 for number in range(1, len(found) + 1)]
    disk.__exit__()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_predefined_sink_has_each_row_once_after_power_cuts(fission: CommandLine, disk: Disk, tmp_path: Path) -> None:
    site = OnDisk(fission, disk)
    arguments = ["net", "run"]
    for rows in (1, 60):
        client = fission.start(*arguments)
        site.flows(rows)
        disk = cut_power(client, site, disk, tmp_path / f"after {rows}")
        arguments = ["net", "run", "--resume"]
    client = fission.start(*arguments)
    site.flows(150)
    site.end()
    finish(client, fission.root, 0)
    site.check()
    disk.__exit__()
