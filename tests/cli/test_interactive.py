"""fission NETWORK interactive: the three consoles, in a terminal and without one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import fission as package
from tests.e2e.support import network
from tests.waiting import CommandLine, Running

JOBS = """
class Double(PythonJob):
    def run(self, value):
        print("doubling", value)
        return 2 * value
"""
LISTED = "Count(outputs=[PicklePipe(1)]), Double(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), Show(inputs=[PicklePipe(2)])"


def typed(fission: CommandLine, *lines: str, options: tuple[str, ...] = ()) -> str:
    return fission.run("net", "interactive", *options, stdin="".join(f"{line}\n" for line in lines), exit_code=0).stdout


def test_what_is_known(fission: CommandLine) -> None:
    fission.project(network(JOBS, LISTED))
    asked = ["network", "sorted(JOBS)", "PIPES", "list(NODES)", "sorted(GROUPS)", "JOBS[2].inputs"]
    out = typed(fission, *asked, "from fission.core.base import JOBS as J", "J[2] is JOBS[2]", "import net.jobs.jobs")
    answers = [line.replace(">>> ", "").strip() for line in out.splitlines()]
    assert answers[:6] == [
        "Network('net', 3 jobs, 2 pipes)",
        "[1, 2, 3]",
        "{1: PicklePipe 1, 2: PicklePipe 2}",
        "[]",
        "['ALL']",
        "[PicklePipe 1]",
    ]
    assert answers[6] == "True"


def test_emulate(fission: CommandLine) -> None:
    fission.project(network(JOBS, LISTED))
    out = typed(fission, "double = emulate(JOBS[2])", "double(4)", "double(5)", "emulate(PIPES[1])(400)[3]", "double.cwd")
    assert re.search(r"Putting 4 in PicklePipe 1\.\ndoubling 4\nGot 8 from PicklePipe 2\.\n\[8\]", out)
    assert "[10]" in out
    assert "Unpacked to: 400\n400" in out
    assert "'.emulate/2'" in out


def test_mistakes_are_reported_without_a_traceback_of_ours(fission: CommandLine) -> None:
    fission.project(network(JOBS, LISTED))
    done = fission.run("net", "interactive", stdin="emulate(7)\nemulate(JOBS[2])({})\n1/0\n", exit_code=0)
    assert "DefinitionError: the argument of emulate must be a job or a pipe, but is 7 (int)" in done.stderr
    assert "JobFailed: Double 2 failed:" in done.stderr
    assert "return 2 * value" in done.stderr
    assert "src/fission" not in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr


def test_incomplete_networks_are_loaded_too(fission: CommandLine) -> None:
    fission.project(network(JOBS, "Double(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])", extra="NODES = 7"))
    done = fission.run("net", "interactive", stdin="emulate(JOBS[1])(3)\nPIPES[2].destination\n", exit_code=0)
    assert "Fault: " in done.stderr
    assert "NODES must be" in done.stderr
    assert "pipe 1 has no source" in done.stderr
    assert "[6]" in done.stdout


def test_a_config_that_cannot_be_run(fission: CommandLine) -> None:
    fission.project({"net/config.py": "import nothing_like_that\n"})
    done = fission.run("net", "interactive", exit_code=2)
    assert "Error: net/config.py:1: ModuleNotFoundError" in done.stderr


def terminal(fission: CommandLine, home: Path, *options: str) -> Running:
    environment = {"HOME": str(home), "XDG_STATE_HOME": None, "XDG_CONFIG_HOME": None, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    return fission.start("net", "interactive", *options, terminal=True, env=environment)


def test_plain_console_in_a_terminal_has_completion_and_history(fission: CommandLine, tmp_path: Path) -> None:
    fission.project(network(JOBS, LISTED))
    console = terminal(fission, tmp_path, "--console", "plain")
    console.wait_for(">>> ", partial=True)
    console.send("emul\tJOBS[2])(21)\n")
    console.wait_for("[42]")
    console.send("netw\t.name\n")
    console.wait_for("'net'")
    console.send("exit()\n")
    console.wait(exit_code=0)
    history = (tmp_path / ".local/state/fission/interactive_history").read_text()
    assert "emulate(JOBS[2])(21)" in history
    again = terminal(fission, tmp_path, "--console", "plain")
    again.wait_for(">>> ", partial=True)
    again.send("\x1b[A\x1b[A\x1b[A\n")  # up, three times
    again.wait_for("[42]")
    again.send("exit()\n")
    again.wait(exit_code=0)


def test_ptpython_in_a_terminal(fission: CommandLine, tmp_path: Path) -> None:
    fission.project(network(JOBS, LISTED))
    console = terminal(fission, tmp_path)
    console.wait_for("The network net: network, JOBS, PIPES, NODES, GROUPS, emulate")
    console.wait_for(re.compile(r"F2|\[1\]|>>>"), partial=True)
    console.send("emulate(JOBS[2])(21)\r")
    console.wait_for("doubling 21")
    console.wait_for("42")
    console.send("exit()\r")
    console.wait(exit_code=0)
    assert (tmp_path / ".local/state/fission/interactive_history").exists()


def test_a_console_that_is_not_installed(fission: CommandLine) -> None:
    fission.project(network(JOBS, LISTED))
    blocked = fission.root / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['IPython'] = None\n")
    done = fission.run(
        "net",
        "interactive",
        "--console",
        "ipython",
        exit_code=2,
        env={"PYTHONPATH": f"{blocked}{os.pathsep}{Path(package.__path__[0]).parent}"},
    )
    assert "ipython is not installed for this Python" in done.stderr


def test_ipython_is_handed_the_names(fission: CommandLine) -> None:
    """A replacement for IPython receives our arguments."""
    fission.project(network(JOBS, LISTED))
    stand_in = fission.root / "stand_in"
    stand_in.mkdir()
    (stand_in / "IPython.py").write_text("def start_ipython(argv, user_ns):\n    print('IPython', argv, *sorted(user_ns))\n")
    path = f"{stand_in}{os.pathsep}{Path(package.__path__[0]).parent}"
    done = fission.run("net", "interactive", "--console", "ipython", exit_code=0, env={"PYTHONPATH": path})
    assert done.stdout.splitlines() == [
        "The network net: network, JOBS, PIPES, NODES, GROUPS, emulate",
        "IPython ['--no-banner'] GROUPS JOBS NODES PIPES emulate network",
    ]


def test_ctrl_c_keeps_the_console(fission: CommandLine, tmp_path: Path) -> None:
    fission.project(network(JOBS, LISTED))
    console = terminal(fission, tmp_path, "--console", "plain")
    console.wait_for(">>> ", partial=True)
    console.send("import time; print('sleeps'); time.sleep(100)\n")
    console.wait_for(re.compile("^sleeps"))
    console.send("\x03")
    console.wait_for("KeyboardInterrupt")
    console.send("6 * 7\n")
    console.wait_for(re.compile("^42"))
    console.send("exit()\n")
    console.wait(exit_code=0)
