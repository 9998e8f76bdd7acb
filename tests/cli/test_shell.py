"""fission NETWORK shell, and the completion of other shells."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fission as package
from fission.cli.table import COMMANDS
from tests.cli.conftest import Outcome
from tests.e2e.support import network
from tests.waiting import CommandLine, Running

LISTED = "Endless(outputs=[PicklePipe(101)]), Show(inputs=[PicklePipe(101)])"
Cli = Callable[..., Outcome]


def shell(fission: CommandLine) -> Running:
    fission.project(network("", LISTED))
    prompt = fission.start("net", "shell", terminal=True, env={"TERM": "xterm", "INPUTRC": "/dev/null"})
    prompt.wait_for("net> ", partial=True)
    return prompt


# -- the prompt -------------------------------------------------------------------------------------------------------


def test_commands_at_a_prompt(fission: CommandLine) -> None:
    prompt = shell(fission)
    assert "net: 2 jobs, 1 pipes; help lists the commands, Ctrl-D ends" in prompt.stdout
    prompt.send("check\n")
    prompt.wait_for("net: OK (2 jobs, 1 pipe, 0 nodes)")
    prompt.send("graph --format mermaid\n")
    prompt.wait_for("1 -->|101 PicklePipe| 2")
    prompt.send("help\n")
    prompt.wait_for("Show the blocks on a pipe")
    prompt.send("exit\n")
    prompt.wait(exit_code=0)


def test_completion_at_the_prompt(fission: CommandLine) -> None:
    prompt = shell(fission)
    prompt.send("che\t\n")
    prompt.wait_for("net: OK")
    prompt.send("simulate --fo\t0.3\n")
    prompt.wait_for("net: time is over after")
    prompt.send("echo 10\t--count 1\n")
    prompt.wait_for("the network net is not running on this machine")
    prompt.send("quit\n")
    prompt.wait()
    assert "echo 101 --count 1" in prompt.stdout


def test_ctrl_c_ends_a_command_and_not_the_prompt(fission: CommandLine) -> None:
    prompt = shell(fission)
    prompt.send("simulate\n")
    prompt.wait_for(re.compile(r"got \d+"), count=3)
    prompt.send("\x03")
    prompt.wait_for("net: interrupted after")
    prompt.send("check\n")
    prompt.wait_for("net: OK")
    prompt.send("exit\n")
    prompt.wait(exit_code=0)


def test_ctrl_d_ends_the_prompt(fission: CommandLine) -> None:
    prompt = shell(fission)
    prompt.end_input()
    prompt.wait(exit_code=0)


def test_mistakes_do_not_end_the_prompt(fission: CommandLine) -> None:
    prompt = shell(fission)
    for typed, message in {
        "chek": "there is no command 'chek'; did you mean 'check'?",
        "echo": "Missing argument 'PIPE'",
        "echo 'x": "No closing quotation",
        "shell": "the shell is already open",
    }.items():
        prompt.send(f"{typed}\n")
        prompt.wait_for(message)
    prompt.send("exit\n")
    prompt.wait(exit_code=2)  # that of the last command


def test_a_script_of_commands(fission: CommandLine) -> None:
    fission.project(network("", LISTED))
    done = fission.run("net", "shell", stdin="# looks\n\ncheck\ngraph\n", exit_code=0)
    assert done.stdout.startswith("net: OK")
    assert "graph LR" in done.stdout
    assert fission.run("net", "shell", stdin="check\necho 7\n", exit_code=2).stderr.startswith("Error: there is no pipe 7 in net")


# -- other shells -----------------------------------------------------------------------------------------------------


def completed(fission: CommandLine, shell: str, line: str) -> list[str]:
    words = line.split(" ")
    environment = {"_FISSION_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        environment["COMP_CWORD"] = words[-1]
    return [word for word in re.split(r"[\n,\t]", fission.run(env=environment, exit_code=0).stdout) if word not in ("", "plain", "_")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_words_that_can_follow(fission: CommandLine, shell: str) -> None:
    fission.project({**network("", LISTED), **network("", LISTED, name="nets")})

    def asked(line: str) -> list[str]:
        return completed(fission, shell, line)

    assert set(asked("fission ")) >= {"net", "nets", "startproject", "completion"}
    assert asked("fission ne") == ["net", "nets"]
    assert set(asked("fission net ")) >= {name for name, entry in COMMANDS.items() if entry.scope != "anywhere"}
    assert "simulate" in asked("fission net si")
    assert "--nodes" in asked("fission net simulate --no")
    assert "101" in asked("fission net echo 1")
    assert "101" in asked("fission net record 1")
    assert asked("fission help sim") == ["simulate"]
    assert "2" in asked("fission net replay x.rec --job ")
    assert set(asked("fission net graph --format ")) == {"mermaid", "dot", "html", "svg"}
    assert "simulate" in asked("fission net dance ")  # there is no such command, so one may follow


def test_completion_where_nothing_can_be_known(fission: CommandLine, tmp_path: Path) -> None:
    assert set(completed(fission, "bash", "fission ")) == {name for name, entry in COMMANDS.items() if entry.scope == "anywhere"}
    fission.project({"net/config.py": "1 / 0\n"})
    assert completed(fission, "bash", "fission net echo ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_config_prints_is_not_a_word(fission: CommandLine, shell: str) -> None:
    files = network("", LISTED)
    prints = "import os, sys\nprint('plain,from Python')\nsys.stderr.write('and from here')\nos.system('echo plain; echo from a program')\n"
    fission.project({**files, "net/config.py": prints + files["net/config.py"]})
    assert "101" in completed(fission, shell, "fission net echo 1")
    words = ["fission", "net", "echo", "1"]
    env = {"_FISSION_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": "1" if shell == "fish" else "3"}
    done = fission.run(env=env, exit_code=0)
    assert "from" not in done.stdout
    assert done.stderr == ""


def test_bash_really_completes(fission: CommandLine, tmp_path: Path) -> None:
    fission.project(network("", LISTED))
    script = fission.run("completion", "bash", exit_code=0).stdout
    program = tmp_path / "bin/fission"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={Path(package.__path__[0]).parent} exec {sys.executable} -m fission "$@"\n')
    program.chmod(0o755)
    ask = 'COMP_WORDS=(fission net sim); COMP_CWORD=2; _fission_completion fission; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"PATH={program.parent}:$PATH\n{script}\n{ask}"],
        cwd=fission.root,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("simulate\n", "")


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o nosort -F"), ("zsh", "#compdef fission"), ("fish", "complete --no-files --command fission")]
)
def test_scripts(cli: Cli, shell: str, mark: str) -> None:
    done = cli("completion", shell)
    assert (done.code, mark in done.out, "_FISSION_COMPLETE" in done.out) == (0, True, True)


def test_an_unknown_shell(cli: Cli) -> None:
    done = cli("completion", "csh")
    assert (done.code, "'csh' is not one of 'bash', 'zsh', 'fish'" in done.err) == (2, True)


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(cli: Cli, name: str) -> None:
    entry = COMMANDS[name]
    words = [name] if entry.scope == "anywhere" else ["my_network", name]
    done = cli(*words, "--help")
    assert done.code == 0
    assert re.search(r"Examples:\n( +\S.*\n?)+", done.out), done.out
    for option in re.findall(r"^  (--[\w-]+)", done.out, re.MULTILINE):
        assert re.search(rf"^  {option}\b.*\n?.*[a-z]{{3}}", done.out, re.MULTILINE)
