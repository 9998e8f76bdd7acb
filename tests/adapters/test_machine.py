"""Mean load of this machine: with a simulated machine, and with the real one."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fission.adapters.machine import SAMPLE_S, WINDOW_S, Load, Means
from fission.core.nodes import NodeInfo
from tests.waiting import eventually

Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")
GIB = 1 << 30


class Machine:
    """Stands for psutil, on a machine with two processors."""

    def __init__(self) -> None:
        self.times = Times(*[1000.0] * 10)
        self.available, self.free, self.swap = 4 * GIB, 10 * GIB, 0.0
        self.folders = {"/data/fission", "/data", "/"}
        self.calls = 0

    def works(self, seconds: float, busy: float) -> None:
        """Let time pass while this many of its two processors work."""
        times = self.times
        self.times = times._replace(
            user=times.user + seconds * busy,
            guest=times.guest + seconds * busy / 2,  # is part of user
            idle=times.idle + seconds * (2 - busy) / 2,
            iowait=times.iowait + seconds * (2 - busy) / 2,
        )

    def cpu_times(self) -> Times:
        self.calls += 1
        return self.times

    def virtual_memory(self) -> SimpleNamespace:
        return SimpleNamespace(available=self.available, free=0)

    def disk_usage(self, folder: str) -> SimpleNamespace:
        if folder not in self.folders:
            raise FileNotFoundError(folder)
        return SimpleNamespace(free=self.free)

    def swap_memory(self) -> SimpleNamespace:
        return SimpleNamespace(percent=self.swap)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def means(machine: Machine) -> Means:
    return Means(Path("/data/fission"), machine)


def test_nothing_is_known_before_the_first_sample(means: Means) -> None:
    assert means.load() == Load()
    info = NodeInfo("4", "10.0.0.4")
    assert {name: getattr(info, name) for name in asdict(means.load())} == asdict(Load())


def test_the_first_sample(means: Means) -> None:
    assert means.sample(100.0)
    assert means.load() == Load(cpu=100.0, memory=4 * GIB, disk=10 * GIB, swap=0.0)


def test_values_fit_a_node_info(means: Means) -> None:
    means.sample(0.0)
    info = replace(NodeInfo("4", "10.0.0.4"), **asdict(means.load()))
    assert (info.memory, info.disk) == (4 * GIB, 10 * GIB)


def test_samples_are_not_more_frequent_than_they_may(means: Means, machine: Machine) -> None:
    taken = [means.sample(step / 16) for step in range(16 * 10)]
    assert sum(taken) == machine.calls == 10 / SAMPLE_S
    assert not means.sample(0.0)  # nor if the clock should go back


@pytest.mark.parametrize("busy", [0.0, 0.5, 1.0, 2.0])
def test_free_processor_time(means: Means, machine: Machine, busy: float) -> None:
    for step in range(8):
        means.sample(step * SAMPLE_S)
        machine.works(SAMPLE_S, busy)
    assert means.load().cpu == pytest.approx(100 * (2 - busy) / 2)


def test_samples_older_than_the_window_are_forgotten(means: Means, machine: Machine) -> None:
    now = 50.0
    machine.available, machine.free, machine.swap = GIB, GIB, 80.0
    for _ in range(40):
        means.sample(now)
        machine.works(SAMPLE_S, 2.0)
        now += SAMPLE_S
    machine.available, machine.free, machine.swap = 3 * GIB, 3 * GIB, 20.0
    steps = int(WINDOW_S / SAMPLE_S)
    for step in range(steps + 1):
        means.sample(now)
        load = means.load()
        share = (step + 1) / (steps + 1)
        assert load.memory == load.disk == pytest.approx(GIB * (1 + 2 * share), rel=1e-6)
        assert load.swap == pytest.approx(80 - 60 * share)
        machine.works(SAMPLE_S, 0.0)
        now += SAMPLE_S
    assert load == Load(cpu=100.0, memory=3 * GIB, disk=3 * GIB, swap=20.0)


def test_a_rare_caller_gets_means_since_the_previous_sample(means: Means, machine: Machine) -> None:
    for now in (0.0, 10.0, 20.0):
        means.sample(now)
        machine.works(10.0, 1.0)
    assert means.load().cpu == pytest.approx(50.0)


def test_counters_that_go_back(means: Means, machine: Machine) -> None:
    means.sample(0.0)
    machine.times = machine.times._replace(user=machine.times.user + 1, iowait=machine.times.iowait - 0.5)
    means.sample(1.0)
    assert means.load().cpu == 0.0
    machine.times = machine.times._replace(user=machine.times.user - 5)
    means.sample(2.0)
    assert means.load().cpu == 100.0


def test_a_folder_that_is_not_there_yet(machine: Machine) -> None:
    machine.folders = {"/"}
    means = Means(Path("/data/fission"), machine)
    means.sample(0.0)
    assert means.load().disk == 10 * GIB


def test_values_that_the_system_does_not_report(means: Means, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(machine, "disk_usage", refuses)
    monkeypatch.setattr(machine, "swap_memory", refuses)
    means.sample(0.0)
    assert means.load() == Load(cpu=100.0, memory=4 * GIB, disk=0, swap=0.0)


def test_the_real_machine(tmp_path: Path) -> None:
    means = Means(tmp_path / "not" / "yet")
    means.sample(time.monotonic())

    def busy_and_measured() -> bool:
        sum(range(100_000))
        return means.sample(time.monotonic())

    eventually(busy_and_measured, 5, "the second sample")
    load = means.load()
    assert 0 <= load.cpu < 100
    assert 0 < load.memory <= psutil.virtual_memory().total
    assert 0.5 < load.disk / shutil.disk_usage(tmp_path).free < 2
    assert 0 <= load.swap <= 100


def test_a_sample_costs_next_to_nothing(tmp_path: Path) -> None:
    means = Means(tmp_path)
    means.sample(0.0)
    begin = sum(os.times()[:2])
    for step in range(1, 201):
        means.sample(float(step))
    spent = (sum(os.times()[:2]) - begin) / 200
    assert spent / SAMPLE_S < 0.02, f"{spent * 1e6:.0f} us a sample"
