"""Old projects run with their own manage.py and with users' scripts, from start to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.seeds.old import CONFIG, MANAGE, ROWS, SHORT_MANAGE, old_project, python, table

TABLE = "net/simulation/3/tone.csv"


@pytest.mark.parametrize("manage", [MANAGE, SHORT_MANAGE], ids=["old template", "S1"])
def test_an_old_project_runs_by_its_manage_py(tmp_path: Path, manage: str) -> None:
    root = old_project(tmp_path / "project", {"manage.py": manage})
    done = python(root, "manage.py", "net", "simulate")
    assert done.returncode == 0, done.stderr
    assert table(root / TABLE).endswith(ROWS)
    assert "Tone" in (root / "net/simulation/info.txt").read_text()


def test_its_other_commands_work_and_from_any_folder(tmp_path: Path) -> None:
    root = old_project(tmp_path / "project")
    manage = str(root / "manage.py")
    assert "net: OK (3 jobs" in python(root, manage, "net", "check", cwd=tmp_path).stdout
    assert python(root, "manage.py", "more", "startnetwork").returncode == 0
    assert (root / "more/config.py").is_file()
    refused = python(root, "manage.py", "nett", "simulate")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "did you mean 'net'" in refused.stderr
    failed = python(root, "manage.py", "net", "simulat")
    assert (failed.returncode, "Traceback" in failed.stderr) == (2, False)


LAB = CONFIG + "JOBS[1].factor = 5\n"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("net.lab", ["net", "simulate"]),
        ("net.lab", ["simulate"]),
        ("settings.lab", ["net", "simulate"]),
    ],
)
@pytest.mark.parametrize("manage", [MANAGE, SHORT_MANAGE], ids=["old template", "S1"])
def test_fission_config_module_names_the_config(tmp_path: Path, module: str, words: list[str], manage: str) -> None:
    root = old_project(tmp_path, {"manage.py": manage, module.replace(".", "/") + ".py": LAB, "net/config.py": ""})
    (root / "net/config.py").unlink()  # the network needs no other config
    done = python(root, "manage.py", *words, env={"FISSION_CONFIG_MODULE": module})
    assert done.returncode == 0, done.stderr
    assert table(root / TABLE).endswith("0,5\n10,15\n")


def test_mistakes_in_another_config_are_reported_with_its_file(tmp_path: Path) -> None:
    root = old_project(tmp_path, {"net/lab.py": CONFIG + "HEAD_SIZE = 9\n"})
    done = python(root, "manage.py", "net", "check", env={"FISSION_CONFIG_MODULE": "net.lab"})
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: net/lab.py:{CONFIG.count(chr(10)) + 1}: HEAD_SIZE must be")


def test_an_old_fission_admin_command_makes_a_project(tmp_path: Path) -> None:
    (tmp_path / "fission_admin.py").write_text(SHORT_MANAGE)
    done = python(tmp_path, "fission_admin.py", "mine", "startproject")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine/manage.py").is_file()


SCRIPT = """\
import os
from importlib import import_module
from fission.manager import execute_simulation

network = "net"
os.environ.setdefault("FISSION_CONFIG_MODULE", network + ".config")
config = import_module(os.environ["FISSION_CONFIG_MODULE"])
"""


def test_a_script_simulates_a_config_that_it_has_imported(tmp_path: Path) -> None:
    root = old_project(tmp_path, {"simulate.py": SCRIPT + "execute_simulation(config, network)\nprint('behind it')\n"})
    done = python(root, "simulate.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("behind it\n")
    assert table(root / TABLE).endswith(ROWS)


def test_a_script_simulates_repeatedly_with_its_changes(tmp_path: Path) -> None:
    """A study of parameters: the config is imported once, its jobs are changed between the runs."""
    loop = """\
for factor in (1, 2, 3):
    config.JOBS[1].factor = factor
    print("code", execute_simulation(config, network, f"out/{factor}"))
"""
    root = old_project(tmp_path, {"study.py": SCRIPT + loop})
    done = python(root, "study.py")
    assert done.stdout.count("code 0\n") == 3, done.stderr
    assert [table(root / f"out/{factor}/3/tone.csv").splitlines()[-1] for factor in (1, 2, 3)] == ["2,3", "4,6", "6,9"]
    assert not (root / "net/simulation").exists()


def test_a_script_simulates_xml_jobs_joined_to_its_own_twice(tmp_path: Path) -> None:
    xml = '<network><node pi_id="pi"><job executable="cat"><parameter param="-"/><input pipe_id="7" block_size="1"/></job></node></network>'
    config = """\
from fission.core.jobs import PythonJob
from fission.core.pipes import BytesPipe
class Letters(PythonJob):
    def run(self):
        yield b"x"
JOBS = [Letters(outputs=[BytesPipe(7, 1)])]
XML_FILE = "net.xml"
"""
    program = "#!/usr/bin/env python3\nimport os, sys\nos.read(int(sys.argv[-1]), 1)\n"
    xml = xml.replace('executable="cat"', 'path="net/source" executable="./read"').replace('<parameter param="-"/>', "")
    files = {"net/config.py": config, "net.xml": xml, "net/source/read": program}
    root = old_project(tmp_path, {**files, "twice.py": SCRIPT + "print([execute_simulation(config, network) for _ in range(2)])\n"})
    (root / "net/source/read").chmod(0o755)
    done = python(root, "twice.py")
    assert done.stdout.endswith("[0, 0]\n"), done.stderr


def test_mistakes_are_reported_to_a_script_without_a_traceback(tmp_path: Path) -> None:
    root = old_project(tmp_path, {"simulate.py": SCRIPT + "config.HEAD_SIZE = 'x'\nexecute_simulation(config, network)\nprint('behind')\n"})
    done = python(root, "simulate.py")
    assert done.returncode == 2
    assert "behind" not in done.stdout
    assert done.stderr.startswith("Error: net/config.py:")
    assert "Traceback" not in done.stderr


def test_a_config_that_is_not_a_module(tmp_path: Path) -> None:
    changed = "from types import SimpleNamespace\nexecute_simulation(SimpleNamespace(JOBS=config.JOBS, HEAD_SIZE=2), network)\n"
    root = old_project(tmp_path, {"simulate.py": SCRIPT + changed})
    done = python(root, "simulate.py")
    assert done.returncode == 0, done.stderr
    assert table(root / TABLE).endswith(ROWS)


def test_the_log_and_the_second_run_are_as_by_our_own_manage_py(tmp_path: Path) -> None:
    root = old_project(tmp_path)
    for _ in range(2):
        assert python(root, "manage.py", "net", "simulate").returncode == 0
    assert (root / "FISSION.log").read_text().count("net starts") == 2
    assert table(root / TABLE).endswith(ROWS)
