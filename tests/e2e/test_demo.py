"""`make demo`: a virtual node is killed half-way, and the WAV files are those of an undisturbed run, byte for byte."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.support import finish
from tests.waiting import CommandLine

ROOT = Path(__file__).resolve().parents[2]
FILES = ("9/separated_1.wav", "10/separated_2.wav", "12/levels.csv")


def demo_command() -> list[str]:
    """Return the Makefile's command after the name of the network."""
    found = re.search(r"^\t\$\(BIN\)/python examples/manage\.py source_separation (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    return found[1].split()


@pytest.mark.slow
@pytest.mark.timeout(240)  # two runs beside other tests
def test_the_demo_with_and_without_a_killed_node(fission: CommandLine, tmp_path: Path) -> None:
    fission.root = tmp_path / "examples"
    for name in ("source_separation", "shared"):
        shutil.copytree(ROOT / "examples" / name, fission.root / name, ignore=shutil.ignore_patterns("simulation", "tests", "__pycache__"))
    shutil.copy(ROOT / "examples/manage.py", fission.root)
    config = fission.root / "source_separation/config.py"
    paced = config.read_text()
    simulation = fission.root / "source_separation/simulation"

    config.write_text(re.sub(r"(?m)^PACE = .*$", "PACE = None", paced))
    quiet = finish(fission.start("source_separation", "simulate"), fission.root, 0, 100)
    assert "Failover" not in quiet.stderr
    undisturbed = [(simulation / name).read_bytes() for name in FILES]

    config.write_text(paced)
    assert demo_command() == ["simulate", "--nodes", "3", "--kill", "2@3"]
    disturbed = finish(fission.start("source_separation", *demo_command()), fission.root, 0, 100)
    assert "killed node 2" in disturbed.stderr
    assert re.search(r"^Failover: node 2 is lost: its fork server died; \w+ \d+ -> [13], ", disturbed.stderr, re.MULTILINE)
    assert [(simulation / name).read_bytes() for name in FILES] == undisturbed
    assert all(f"voice_{number}.wav: separated by" in disturbed.stdout for number in (1, 2))
