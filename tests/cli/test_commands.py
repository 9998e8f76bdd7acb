"""The commands: their words, their effects and their exit codes."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from fission.cli.extras import requirements
from fission.cli.main import EXTRAS
from fission.cli.table import COMMANDS
from fission.errors import AllocationError, EngineError, InternalError, JobFailed, UserError
from fission.ports import Observer
from fission.project.scaffold import COMMAND_NAMES
from fission.project.settings import LOG_LEVELS
from tests.cli.conftest import CONFIG, FakeClient, Outcome

Cli = Callable[..., Outcome]


def test_every_command_is_reserved_loads_and_shows_an_example() -> None:
    assert set(COMMANDS) <= COMMAND_NAMES
    for entry in COMMANDS.values():
        command = entry.load()
        assert command.name == entry.name
        assert command.help
        assert "Examples:\n  fission " in str(command.epilog)


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("words", [(), ("net",), ("startproject",), *(("net", name) for name in COMMANDS if name != "startproject")])
def test_help_everywhere_without_a_project(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli(*words, option)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage: fission" in outcome.out
    assert "Examples:\n    fission " in outcome.out


def test_help_of_a_command_without_a_network(cli: Cli) -> None:
    assert "Usage: fission NETWORK simulate [OPTIONS]" in cli("simulate", "--help").out


def test_version(cli: Cli) -> None:
    outcome = cli("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("fission 0.")


def test_words_missing(cli: Cli) -> None:
    for words in ((), ("net",)):
        outcome = cli(*words)
        assert outcome.code == 2
        assert "Usage: fission" in outcome.err


# -- keys


def test_keys(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FISSION_KEYS", str(tmp_path / "named" / "keys"))
    outcome = cli("keys")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"in {tmp_path}/named/keys." in outcome.out
    assert f"scp -pr {tmp_path}/named/keys USER@NODE:.fission/" in outcome.out
    assert "call it keys" not in outcome.out
    again = cli("keys")
    assert (again.code, again.out) == (2, "")
    assert again.err.endswith(f"to replace them, here and on every node: fission keys --dir {tmp_path}/named/keys --renew\n")
    assert cli("keys", "--renew").out != outcome.out
    other = cli("keys", "--dir", "a b", "--json")
    assert json.loads(other.out)["folder"] == str(tmp_path / "a b")
    assert "secret" not in other.out.replace("curve.secret", "")
    assert f"scp -pr '{tmp_path}/a b'" in cli("keys", "--dir", "a b", "--renew").out


def test_keys_without_the_library(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    outcome = cli("keys", "--dir", str(tmp_path / "keys"))
    assert (outcome.code, outcome.out) == (2, "")
    how = "install it: python3 -m pip install cryptography"
    assert outcome.err == f"Error: making keys needs the package cryptography, which is not installed; {how}\n"
    assert not (tmp_path / "keys").exists()


# -- startproject, startnetwork


@pytest.mark.parametrize("words", [("startproject", "my_project"), ("my_project", "startproject")])
def test_start_in_both_orders(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli(*words)
    assert (outcome.code, outcome.err) == (0, "")
    assert (tmp_path / "my_project" / "shared" / "jobs" / "jobs.py").is_file()
    monkeypatch.chdir(tmp_path / "my_project")
    assert cli("net", "startnetwork").code == 0
    assert (tmp_path / "my_project" / "net" / "config.py").is_file()
    again = cli("net", "startnetwork")
    assert (again.code, again.out) == (2, "")
    assert "exists; choose" in again.err


def test_a_fresh_network_says_what_to_do_next(cli: Cli, root: Path) -> None:
    cli("fresh", "startnetwork")
    outcome = cli("fresh", "check")
    assert outcome.code == 2
    assert "JOBS is empty; put at least one job into it" in outcome.err
    assert outcome.err.startswith("Error: fresh/config.py:")
    assert outcome.err.count("\n") == 1


def test_bad_names(cli: Cli, root: Path) -> None:
    for words in (("startproject", "1x"), ("my-net", "startnetwork"), ("json", "startnetwork")):
        outcome = cli(*words)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("Error: ")


def test_a_project_inside_a_project_is_warned_of(cli: Cli, root: Path) -> None:
    outcome = cli("startproject", "inner")
    assert outcome.code == 0
    assert outcome.err == f"Warning: inner is inside the project {root}; to add a network to that project: fission NAME startnetwork\n"
    assert (root / "inner" / "manage.py").is_file()


def test_the_suggested_commands_can_be_typed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli("startproject", "weather")
    assert outcome.out == "Made the project weather. Next: cd weather; fission my_network startnetwork\n"


# -- list and help


def test_list(cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("other", "startnetwork")
    (root / "no_network").mkdir()
    assert cli("list").out == "net\nother\n"
    assert json.loads(cli("list", "--json").out) == {"project": str(root), "networks": ["net", "other"]}


def test_list_of_an_empty_project_says_what_to_do(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli("startproject", "empty")
    monkeypatch.chdir(tmp_path / "empty")
    outcome = cli("list")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"{tmp_path}/empty has no network yet; make one with: fission NAME startnetwork\n"


@pytest.mark.parametrize("name", ["", "simulate", "keys", "startproject"])
def test_help_is_the_option(cli: Cli, root: Path, name: str) -> None:
    words = (name,) if name else ()
    helped, asked = cli("help", *words), cli(*words, "--help")
    assert (helped.code, helped.out, helped.err) == (0, asked.out, "")


# -- networks and commands that do not exist


@pytest.mark.parametrize("before", [(), ("help",)], ids=["alone", "after help"])
@pytest.mark.parametrize(("word", "meant"), [("lst", "list"), ("nett", "net"), ("simulat", "simulate")])
def test_a_single_word_that_names_nothing(cli: Cli, root: Path, word: str, meant: str, before: tuple[str, ...]) -> None:
    outcome = cli(*before, word)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {word!r} is neither a network of {root} nor a command; did you mean {meant!r}? Networks: net.")
    assert outcome.err.count("\n") == 1


def test_unknown_network(cli: Cli, root: Path, client: FakeClient) -> None:
    for command in ("check", "simulate", "send"):
        outcome = cli("nett", command)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == f"Error: there is no network 'nett' in {root}; did you mean 'net'? Networks: net\n"
    assert client.calls == []


def test_unknown_command(cli: Cli, root: Path) -> None:
    outcome = cli("net", "simulat")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(
        "Error: there is no command 'simulat'; did you mean 'simulate'? Commands: startproject, list, help, pipelines, startnetwork, "
    )


def test_both_unknown(cli: Cli, root: Path) -> None:
    outcome = cli("ent", "chekc")
    assert outcome.code == 2
    assert "did you mean 'check'?" in outcome.err
    assert "did you mean 'net'?" in outcome.err


def test_the_command_before_the_network(cli: Cli, root: Path) -> None:
    outcome = cli("simulate", "net")
    assert outcome.code == 2
    assert outcome.err == "Error: 'simulate' is a command of a network; put the network first: fission net simulate\n"


def test_unknown_option(cli: Cli, root: Path) -> None:
    outcome = cli("net", "check", "--jsn")
    assert outcome.code == 2
    assert "--json" in outcome.err


def test_outside_of_a_project(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("net", "check"), ("net", "startnetwork")):
        outcome = cli(*words)
        assert outcome.code == 2
        assert "there is no project here" in outcome.err
    assert "there is no command 'chekc'" in cli("net", "chekc").err


def test_a_project_elsewhere(cli: Cli, root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("away"))
    assert cli("net", "check", project=root, prog="python3 manage.py").code == 0


# -- check


def test_check(cli: Cli, root: Path) -> None:
    outcome = cli("net", "check")
    assert (outcome.code, outcome.out, outcome.err) == (0, "net: OK (2 jobs, 1 pipe, 0 nodes)\n", "")
    assert json.loads(cli("net", "check", "--json").out) == {
        "network": "net",
        "ok": True,
        "faults": [],
        "warnings": [],
        "jobs": 2,
        "pipes": 1,
        "nodes": 0,
    }


def test_check_reports_all_faults(cli: Cli, root: Path) -> None:
    with (root / "net" / "config.py").open("a") as file:
        file.write("LOG_LEVEL = 'x'\nPORT = 0\n")
    outcome = cli("net", "check")
    assert (outcome.code, outcome.out) == (2, "")
    assert [line.split(": ")[:3] for line in outcome.err.splitlines()] == [
        ["Error", "net/config.py:16", f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, but is 'x' (str)"],
        ["Error", "net/config.py:17", "PORT must be a port number from 1 to 65535, but is 0 (int)"],
    ]
    outcome = cli("net", "check", "--json")
    assert (outcome.code, outcome.err) == (2, "")
    found = json.loads(outcome.out)
    assert found["ok"] is False
    assert [fault["where"] for fault in found["faults"]] == ["net/config.py:16", "net/config.py:17"]


def test_check_shows_warnings(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fission.core.network import Network

    monkeypatch.setattr(Network, "warnings", lambda self: ["pipe 1 runs ahead"])
    outcome = cli("net", "check")
    assert (outcome.code, outcome.err) == (0, "Warning: pipe 1 runs ahead\n")
    assert json.loads(cli("net", "check", "--json").out)["warnings"] == ["pipe 1 runs ahead"]


# -- simulate


def test_simulate(cli: Cli, root: Path, client: FakeClient) -> None:
    client.behave = lambda observer: observer.job_output("SinkJob 2", 2, "stdout", "1")
    outcome = cli("net", "simulate")
    assert (outcome.code, outcome.out, outcome.err) == (0, "[SinkJob 2] 1\n2 jobs finished\n", "")
    assert cli("net", "simulate", "--for", "2.5").code == 0
    assert client.calls == [("net", None), ("net", 2.5)]


def test_simulate_as_json(cli: Cli, root: Path, client: FakeClient) -> None:
    client.behave = lambda observer: observer.job_output("SinkJob 2", 2, "stdout", "1")
    client.summary.exit_code = 1
    outcome = cli("net", "simulate", "--json")
    assert (outcome.code, json.loads(outcome.out), outcome.err) == (1, {"jobs": 2}, "[SinkJob 2] 1\n")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_for_must_be_a_time(cli: Cli, root: Path, client: FakeClient, seconds: str) -> None:
    outcome = cli("net", "simulate", "--for", seconds)
    assert outcome.code == 2
    assert "--for" in outcome.err
    assert client.calls == []


def test_simulate_does_not_need_nodes(cli: Cli, root: Path, client: FakeClient) -> None:
    with (root / "net" / "config.py").open("a") as file:
        file.write("NODES = ['nowhere.csv']\nCLIENT_IP = 1\n")
    assert cli("net", "simulate").code == 0
    assert cli("net", "check").code == 2


def test_a_wrong_config_starts_nothing(cli: Cli, root: Path, client: FakeClient) -> None:
    (root / "net" / "config.py").write_text("import nothing_of_that_name\n")
    outcome = cli("net", "simulate")
    assert outcome.code == 2
    assert "net/config.py:1: ModuleNotFoundError: No module named 'nothing_of_that_name'" in outcome.err
    assert "Traceback" not in outcome.err
    assert client.calls == []


def raiser(error: BaseException) -> Callable[[Observer], None]:
    def behave(observer: Observer) -> None:
        raise error

    return behave


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("wrong"), 2, "Error: wrong\n"),
        (AllocationError("no place for SinkJob 2"), 3, "Error: no place for SinkJob 2\n"),
        (EngineError("a process could not be started"), 1, "Error: a process could not be started\n"),
        (JobFailed("SinkJob 2", "ValueError: x"), 1, "Error: SinkJob 2 failed:\nValueError: x\n"),
        (KeyboardInterrupt(), 130, "\n"),  # click ends the line that shows ^C
        (click.UsageError("not so"), 2, "Error: not so\n"),
        (SystemExit(7), 7, ""),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_exceptions_become_messages_and_exit_codes(
    cli: Cli, root: Path, client: FakeClient, error: BaseException, code: int, text: str
) -> None:
    client.behave = raiser(error)
    outcome = cli("net", "simulate")
    assert outcome.code == code
    assert outcome.err == text or (isinstance(error, click.UsageError) and outcome.err.endswith(text))
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), InternalError("a state that must not occur")])
def test_a_bug_of_ours_is_reported_as_one(cli: Cli, root: Path, client: FakeClient, error: Exception) -> None:
    client.behave = raiser(error)
    outcome = cli("net", "simulate")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[0] == "This is a bug in FISSION; please report it with the text below."
    assert "Traceback" in outcome.err
    assert str(error) in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(("package", "extra"), sorted(EXTRAS.items()))
def test_a_missing_extra_is_named(cli: Cli, root: Path, client: FakeClient, package: str, extra: str) -> None:
    client.behave = raiser(ModuleNotFoundError(f"No module named '{package}'", name=package))
    outcome = cli("net", "simulate")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: this needs the package {package}, which FISSION's extra '{extra}' installs; ")
    installed = {re.split(r"[\[><=]", line)[0].lower() for line in requirements(extra)}
    assert outcome.err.splitlines()[0].endswith(f"install all of that extra: python3 -m pip install {shlex.join(requirements(extra))}")
    assert {"dask": "distributed", "yaml": "pyyaml"}.get(package, package) in installed


# -- send


def test_send_lines_of_the_command_line(cli: Cli, root: Path, client: FakeClient) -> None:
    assert cli("net", "send", "1", "--line", "a", "--line", " b ").code == 0
    assert client.calls == [(root / "net", 1, ["a", " b "])]


def test_send_can_end_the_console(cli: Cli, root: Path, client: FakeClient) -> None:
    assert cli("net", "send", "1", "--line", "a", "--end").code == 0
    assert client.calls == [(root / "net", 1, ["a"], "end")]


def test_send_standard_input(cli: Cli, root: Path, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo"))
    assert cli("net", "send", "3").code == 0
    assert client.calls == [(root / "net", 3, ["one", "", "two"])]


@pytest.mark.parametrize("job", ["0", "-1", "x", ""])
def test_send_needs_the_id_of_a_job(cli: Cli, root: Path, client: FakeClient, job: str) -> None:
    assert cli("net", "send", job).code == 2
    assert client.calls == []


# -- what a config prints


PRINTS = """
import os, subprocess, sys
print("from Python")
os.write(1, b"from the descriptor\\n")
subprocess.run(["echo", "from a program"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", [("check", "--json"), ("simulate", "--json"), ("graph",)])
def test_output_of_a_config_does_not_get_into_json(fission: Any, words: tuple[str, ...]) -> None:
    fission.project({"net/config.py": PRINTS + CONFIG})
    done = fission.run("net", *words, exit_code=0)
    printed = ["from Python", "from the descriptor", "from a program"]
    if "--json" in words:
        assert isinstance(json.loads(done.stdout), dict)
    assert all(line in (done.stderr if "--json" in words else done.stdout) for line in printed)


@pytest.mark.parametrize("root", ["/", "/srv", "/srv/..", "//", "/srv/fission/.."])
def test_a_node_never_works_in_a_top_level_folder(cli: Cli, root: str) -> None:
    done = cli("node", "--client", "127.0.0.1", "--insecure", "--root", root)
    assert done.code == 2
    assert f"--root must be a folder below a top-level folder, like /home/pi/fission, but is {root!r}" in done.err


def test_renewing_is_only_suggested_where_keys_exist(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    none = cli("node", "--client", "127.0.0.1", "--keys", str(folder)).err
    assert f"make new ones for all machines: fission keys --dir {folder}. Only for networks with SECURITY = False" in none
    assert "--renew" not in none
    cli("keys", "--dir", str(folder))
    (folder / "node.key").unlink()
    assert f"fission keys --dir {folder} --renew" in cli("node", "--client", "127.0.0.1", "--keys", str(folder)).err
