"""`make bench` runs every benchmark, and `make bench-quick` a short version of each that a claim about speed rests on."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import OVER_HOSTS, PROGRAMS
from benchmarks.chain import COLUMNS
from benchmarks.peers import PEERS

FOLDER = Path(__file__).resolve().parent.parent.parent / "benchmarks"
ALL = PROGRAMS | OVER_HOSTS
#: What FISSION must be fast at, and the benchmark of it.
SHAPES = {
    "snapshots of large blocks": "checkpoint_large",
    "a snapshot after each small block, and large states": "checkpoint_every",
    "executables": "executables",
    "long chains": "long_chains",
    "fan-out": "fan_out",
    "arrays that a job changes": "changed_arrays",
    "bytes, and pipes of a user's own": "pipe_kinds",
    "between machines": "hosts_throughput",
    "small blocks": "small_blocks",
    "paced delay": "latency",
    "many jobs that import numpy": "many_imports",
    "placement on many nodes": "placement",
}
#: Those of chains that ezmsg can run too.
CHAINS = ("small_blocks", "latency", "big_blocks", "changed_arrays", "long_chains", "fan_out", "pipe_kinds")
#: Not benchmarks that `make bench` runs: it compares two trees.
COMPARES = "compare"


class Parsed(Exception):
    """The options of a program were understood."""


def program(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


def test_every_program_is_run() -> None:
    programs = {
        file.stem
        for file in FOLDER.glob("*.py")
        if re.search(r"^    python -m benchmarks\.\w+ .*--json|^python -m .*--json", file.read_text(), re.M)
    }
    assert programs - {COMPARES} == set(ALL)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_quick_round_has_every_shape(shape: str) -> None:
    assert ALL[SHAPES[shape]] is not None


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("quick", [False, True])
def test_a_program_takes_the_options_that_it_is_given(name: str, quick: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser) -> None:
        raise Parsed(parse(self).json)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    options = ((ALL[name] or "") if quick else "").split()
    monkeypatch.setattr(sys, "argv", [name, *options, "--json", str(tmp_path / "rows.json")])
    with pytest.raises(Parsed, match=r"rows\.json"):
        program(name).main()


def rounds_of(name: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Run a benchmark with chains that do nothing; return the peers of each of its comparisons."""
    found: list[tuple[str, ...]] = []
    module = program(name)
    compare = module.against_peers

    def compared(case: str, order: Any, figures: Any, runs: int, peers: Any = tuple(PEERS)) -> Any:
        found.append(tuple(peers))
        return compare(case, order, figures, runs, peers)

    figures = dict.fromkeys(("blocks_per_s", "cpu_us", "hop_cpu_us", "p50_us", "p99_us"), 1.0)
    for peer in PEERS:
        monkeypatch.setitem(PEERS, peer, lambda order: figures)
    monkeypatch.setattr("benchmarks.chain.fission_chain", lambda order: figures)
    monkeypatch.setattr(module, "fission_chain", lambda order: figures, raising=False)
    monkeypatch.setattr(module, "memory_copies", lambda seconds: figures, raising=False)
    monkeypatch.setattr(module, "against_peers", compared)
    monkeypatch.setattr(sys, "argv", [name, "--runs", "1"])
    assert module.main() == 0
    return found


@pytest.mark.parametrize("name", CHAINS)
def test_all_three_ratios_are_printed(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ezmsg")
    compared = rounds_of(name, monkeypatch)
    assert compared
    assert set(compared) == {("bare", "careful", "ezmsg")}
    printed = capsys.readouterr().out.splitlines()[0]
    assert [title for title in COLUMNS if title.startswith("to ")] == ["to bare", "to careful", "to ezmsg"]
    assert all(title in printed for title in COLUMNS)
