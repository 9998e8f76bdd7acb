"""The example demo_dxcp: on nodes that die its CSV file is that of one process; and the table in its README is true."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.failover import Stage
from tests.waiting import CommandLine

pytest.importorskip("scipy.signal")
soundfile = pytest.importorskip("soundfile")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "demo_dxcp"
#: The commands of README.md that no page test runs; both are run here, the first one with a kill at a row instead of at a time.
COMMANDS = ("python3 manage.py demo_dxcp simulate --nodes 3 --kill 3@2", "python3 demo_dxcp/make_table.py")
#: The network of the example's own config, with recordings of 12 s, the last of which waits for a file "go".
CONFIG = """
import os, time
from demo_dxcp.jobs.jobs import RecordingJob

class Gated(RecordingJob):
    DEPENDENCIES = "net/recordings"
    def run(self):
        while self.next_sample >= 11 * 16000 and not os.path.exists({go!r}):
            time.sleep(0.005)
        return super().run()

PULSE_INTERVAL = 2  # a busy machine loses no node by itself
"""


def copied(root: Path) -> None:
    shutil.copytree(EXAMPLE, root / "demo_dxcp", ignore=shutil.ignore_patterns("simulation", "recordings", "tests", "__pycache__"))


@pytest.mark.slow
def test_the_csv_is_that_of_one_process_when_the_node_of_the_loop_dies(fission: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    go = fission.root / "go"
    text = (EXAMPLE / "config.py").read_text()
    for name, value in (("SECONDS", "12.0"), ("SPEED", "None"), ("RATE_OFFSET_PPM", "-150.0")):
        text, found = re.subn(rf"(?m)^{name} = \S+", f"{name} = {value}", text)
        assert found == 1
    text = text.replace("offsets.csv", "result.csv").replace("[RecordingJob(", "[Gated(")
    fission.project({"net/config.py": text.replace("\n# --- The network", CONFIG.format(go=str(go)) + "\n# --- The network")})
    copied(fission.root)

    async def script(stage: Stage) -> None:
        await stage.rows(28)  # there has been an estimate since row 26: the loop is closed
        node = stage.node_of(3)
        assert node
        stage.kill_node(node)
        await stage.until(lambda: stage.failovers, "a failover")
        go.touch()

    ran = Stage(fission, sink=4).run(script, nodes=3)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    assert any("SynchroniserJob 3" in line for line in ran.failovers), ran
    assert any(re.fullmatch(r"estimated -1[45]\d\.\d{3} ppm, true -150\.000 ppm", line) for line in ran.printed(3)), ran
    rows = ran.result.read_text().splitlines()
    assert rows[0] == "seconds,rate_offset_ppm,time_offset_ms,residual_ppm"
    assert rows[1:] == in_one_process(monkeypatch, fission.root)


def in_one_process(monkeypatch: pytest.MonkeyPatch, project: Path) -> list[str]:
    """Return the rows that the method alone computes from the same recordings, without jobs and blocks of pipes."""
    program = """
import sys
import soundfile
from demo_dxcp import dxcp
first, second = (soundfile.read(f"net/recordings/microphone_{number}.wav", dtype="int16")[0] / 32768 for number in (1, 2))
made = dxcp.Synchroniser()
for start in range(0, len(first), dxcp.SHIFT):
    made.add(first[start : start + dxcp.SHIFT], second[start : start + dxcp.SHIFT])
    found = made.estimate
    print(round(found.seconds, 3), round(found.rate_offset_ppm, 4), round(found.time_offset_ms, 5), round(found.residual_ppm, 4), sep=",")
"""
    monkeypatch.setenv("PYTHONPATH", str(project))
    done = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def table(text: str) -> dict[tuple[str, str], list[float]]:
    """Return the rows of the README's table: true ppm and SNR -> the other numbers."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if re.match(r"\| -?\d", line)]
    return {(row[0], row[1]): [float(cell) for cell in row[2:]] for row in rows}


def test_the_commands_of_the_readme_that_are_run_here() -> None:
    text = (EXAMPLE / "README.md").read_text()
    assert all(f"$ {command}\n" in text for command in COMMANDS)


def test_the_table_of_the_readme_is_within_the_limits() -> None:
    rows = table((EXAMPLE / "README.md").read_text())
    good = {int(ppm): numbers for (ppm, snr), numbers in rows.items() if snr == "20 dB"}
    assert sorted(good) == [-1000, -500, -200, -75, -10, 0, 10, 75, 200, 500, 1000]
    for ppm, (_, _, minute, error, true_ms, ms, error_ms) in good.items():
        assert error == pytest.approx(minute - ppm, abs=0.011)
        assert error_ms == pytest.approx(ms - true_ms, abs=0.0011)
        assert abs(error) <= (1 if abs(ppm) <= 200 else 3)
        assert abs(error_ms) <= 0.03


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_command_makes_the_table_and_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    copied(tmp_path)
    readme = tmp_path / "demo_dxcp/README.md"
    stated = readme.read_text()
    readme.write_text(re.sub(r"(?m)^\| -?\d.*\n", "", stated))
    (tmp_path / "demo_dxcp/estimates.png").unlink()
    command = [sys.executable, *COMMANDS[1].split()[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    made, expected = table(readme.read_text()), table(stated)
    assert made.keys() == expected.keys()
    for key, numbers in made.items():
        assert numbers == pytest.approx(expected[key], abs=0.05), key  # other processors and libraries round differently
    assert (tmp_path / "demo_dxcp/estimates.png").read_bytes().startswith(b"\x89PNG")
