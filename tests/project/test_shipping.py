"""Sending a job to its process: faults that prevent it, and the files that are copied."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.jobs import ExecutableJob, PythonJob
from fission.core.pipes import PicklePipe
from fission.errors import DefinitionError, UserError
from fission.project import shipping
from fission.project.shipping import copy_dependencies, pickled, shipping_faults

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture
def registry() -> Any:
    with collecting() as found:
        yield found


class Plain(PythonJob):
    """Can be sent."""

    def __init__(self, value: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value

    def run(self, *values: Any) -> Any:
        return values


class Guarded(PicklePipe):
    """Cannot be sent unless it leaves out its guard."""

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.guard = threading.Lock()


class LeavesOut(Guarded):
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "guard"}


class StateOfAnotherKind(Plain):
    def __getstate__(self) -> Any:
        return self.value


class StateFails(Plain):
    def __getstate__(self) -> Any:
        raise LookupError("no state")


class Renamed(Plain):
    """Written twice, as it happens in a long file."""


Former = Renamed


class Renamed(Plain):  # type: ignore[no-redef]
    """The one that its name means."""


class Program(ExecutableJob):
    DEPENDENCIES = "source"
    EXECUTABLE = "./program"


def faults(job: PythonJob | ExecutableJob, root: Path, *, here: bool = True) -> list[str]:
    return [fault.text for fault in shipping_faults(job, root, here=here)]


def one_fault(job: PythonJob | ExecutableJob, root: Path, *, here: bool = True) -> str:
    (fault,) = faults(job, root, here=here)
    return fault


def depending(on: Any) -> Plain:
    job = Plain()
    job.DEPENDENCIES = on
    return job


# -- what cannot be pickled


def test_a_job_that_can_be_sent(tmp_path: Path) -> None:
    job = Plain({"a": [1, 2]}, inputs=[PicklePipe(1)], outputs=[LeavesOut(2)])
    assert faults(job, tmp_path) == []
    again = pickle.loads(pickled(job))
    assert (again.name, again.value, str(again.inputs[0])) == ("Plain 1", {"a": [1, 2]}, "PicklePipe 1")


def test_an_attribute_that_cannot_be_sent_is_named_with_its_type(tmp_path: Path) -> None:
    for value, kind, why in (
        (threading.Lock(), "lock", "cannot pickle '_thread.lock' object"),
        ({"deep": [threading.Lock()]}, "dict", "cannot pickle '_thread.lock' object"),
        (lambda: None, "function", "lambda"),
        ((number for number in range(3)), "generator", "cannot pickle 'generator' object"),
    ):
        job = Plain(value)
        fault = one_fault(job, tmp_path)
        assert fault.startswith(f"{job.name}: its attribute value ({kind}) cannot be sent to the job's process: ")
        assert why in fault
        assert fault.endswith("; create it in setup, which runs there, not in __init__")
        with pytest.raises(DefinitionError, match=r"its attribute value \("):
            pickled(job)


def test_the_fault_is_where_the_job_was_created(tmp_path: Path) -> None:
    (fault,) = shipping_faults(Plain(threading.Lock()), tmp_path, here=True)
    assert fault.where.startswith("tests/project/test_shipping.py:") or fault.where.startswith(__file__)


def test_a_pipe_that_cannot_be_sent_is_named_with_its_attribute(tmp_path: Path) -> None:
    job = Plain(inputs=[PicklePipe(1), Guarded(2)])
    assert one_fault(job, tmp_path) == (
        "Plain 1: Guarded 2 cannot be sent to the job's process, because of its attribute guard (lock): "
        "TypeError: cannot pickle '_thread.lock' "
        "object; leave it out in __getstate__, or create it when it is first used"
    )


def test_a_class_inside_of_a_function(tmp_path: Path) -> None:
    class Inner(Plain):
        pass

    fault = one_fault(Inner(), tmp_path)
    assert fault.startswith("Inner 1: its class test_a_class_inside_of_a_function.<locals>.Inner is defined inside a function")
    assert fault.endswith("define it at the top level of a module")


def test_a_class_whose_name_now_means_another_class(tmp_path: Path) -> None:
    fault = one_fault(Former(), tmp_path)
    assert fault.startswith("Renamed 1: it cannot be sent to its process: PicklingError: Can't pickle <class ")
    assert "it's not the same object as " in fault


def test_a_state_of_the_users_own(tmp_path: Path) -> None:
    assert one_fault(StateFails(), tmp_path) == "StateFails 1: its __getstate__ fails: LookupError: no state"
    assert faults(StateOfAnotherKind((1, 2)), tmp_path) == []
    fault = one_fault(StateOfAnotherKind((1, threading.Lock())), tmp_path)
    assert fault == "StateOfAnotherKind 3: it cannot be sent to its process: TypeError: cannot pickle '_thread.lock' object"


def test_modules_are_not_pickled(tmp_path: Path) -> None:
    job = depending([json, socket])
    assert faults(job, tmp_path) == []
    assert pickle.loads(pickled(job)).DEPENDENCIES == []


# -- dependencies


@pytest.mark.parametrize(
    ("on", "fault"),
    [
        ("missing", "DEPENDENCIES: 'missing' must be a directory of the project ({root}), but is missing"),
        ("file.txt", "DEPENDENCIES: 'file.txt' must be a directory of the project ({root}), but is a file"),
        (["one", "two"], "DEPENDENCIES must have at most one directory, but has 2; move them below one"),
        ([json, 7], "DEPENDENCIES must be a directory, modules, or a list of them, but 7 is a int"),
    ],
)
def test_wrong_dependencies_are_refused(tmp_path: Path, on: Any, fault: str) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert one_fault(depending(on), tmp_path) == f"Plain 1: {fault.format(root=tmp_path)}"


@pytest.mark.parametrize("on", [None, "", [], "one", Path("one"), ["one", json], json])
def test_valid_dependencies(tmp_path: Path, on: Any) -> None:
    (tmp_path / "one").mkdir()
    assert faults(depending(on), tmp_path) == []


def test_files_that_cannot_be_copied_are_found_before_the_start(tmp_path: Path) -> None:
    deep = tmp_path / "material" / "deep"
    deep.mkdir(parents=True)
    os.mkfifo(deep / "queue")
    (deep / "dangling").symlink_to("nowhere")
    (deep / "to_the_queue").symlink_to("queue")
    assert one_fault(depending("material"), tmp_path) == (
        f"Plain 1: DEPENDENCIES: {deep}/queue is a named pipe, a socket or a device, which cannot be copied; remove it"
    )


@pytest.mark.parametrize("on", ["/", "..", "../.."])
def test_a_directory_that_contains_the_project_is_refused_at_once(tmp_path: Path, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "_uncopyable", lambda directory, root: pytest.fail("it was searched"))
    project = tmp_path / "project"
    project.mkdir()
    assert one_fault(depending(on), project) == (
        f"Plain 1: DEPENDENCIES: '{on}' must be a directory of the project, but contains the project ({project})"
    )


def test_a_directory_with_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "MOST_FILES", 5)
    (tmp_path / "material/deep").mkdir(parents=True)
    for number in range(4):
        (tmp_path / f"material/deep/{number}").touch()
    assert faults(depending("material"), tmp_path) == []
    (tmp_path / "material/last").touch()
    assert one_fault(depending("material"), tmp_path).removeprefix("Plain 2: ") == (
        f"DEPENDENCIES: {tmp_path}/material must have at most 5 files and folders, because each start of the job copies all, "
        "but has more; list a smaller directory, or let the job read them where they are"
    )


def test_the_contents_are_copied_into_the_folder(tmp_path: Path) -> None:
    source, folder = tmp_path / "material", tmp_path / "net" / "simulation" / "1"
    (source / "deep").mkdir(parents=True)
    folder.mkdir(parents=True)
    (source / "deep" / "file").write_text("text")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("deep/file")
    copy_dependencies(depending(["material", json]), tmp_path, folder)
    assert (folder / "deep" / "file").read_text() == "text"
    assert os.access(folder / "run.sh", os.X_OK)
    assert os.readlink(folder / "link") == "deep/file"


def test_jobs_without_a_directory_get_nothing(tmp_path: Path) -> None:
    for on in (None, "", json, [json]):
        copy_dependencies(depending(on), tmp_path, tmp_path / "not there")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("on", [".", "net", "net/../net"])
def test_folders_of_runs_are_not_copied(tmp_path: Path, on: str) -> None:
    """Least of all the folder that is copied into."""
    for path in ("config.py", "simulation/1/old", "local/2/old", "collection/old", "data/simulation/kept"):
        (tmp_path / "net" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "net" / path).touch()
    os.mkfifo(tmp_path / "net/simulation/1/.pipe_1.fifo")  # of an executable that was killed
    assert faults(depending(on), tmp_path) == []
    folder = tmp_path / "net/simulation/3"
    folder.mkdir()
    copy_dependencies(depending(on), tmp_path, folder)
    net = folder / "net" if on == "." else folder
    assert sorted(path.name for path in net.iterdir()) == ["config.py", "data"]
    assert (net / "data/simulation/kept").exists()


def test_folders_of_the_same_names_elsewhere_are_copied(tmp_path: Path) -> None:
    (tmp_path / "shared/simulation").mkdir(parents=True)
    (tmp_path / "shared/simulation/model").touch()
    (tmp_path / "to").mkdir()
    copy_dependencies(depending("shared"), tmp_path, tmp_path / "to")
    assert (tmp_path / "to/simulation/model").exists()


def test_a_copy_that_fails_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "material/deep").mkdir(parents=True)
    (tmp_path / "to").mkdir()
    (tmp_path / "to/deep").touch()  # in the way
    for folder in ("to", "to/deep"):
        with pytest.raises(UserError) as raised:
            copy_dependencies(depending("material"), tmp_path, tmp_path / folder)
        assert f"DEPENDENCIES cannot be copied into {tmp_path}/{folder}: " in str(raised.value)
        assert f"File exists: '{tmp_path}/to/deep'" in str(raised.value)


# -- executables


def write_program(root: Path, text: bytes, mode: int = 0o755) -> Path:
    path = root / "source" / "program"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "{path} is empty"),
        (b"print('hello')\n", "{path} is text without a first line like #!/bin/sh or #!/usr/bin/env python3"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "{path} is text without a first line like #!/bin/sh or #!/usr/bin/env python3"),  # a byte order mark
        (b"#!/bin/sh\r\nexit\r\n", "{path} has Windows line endings; convert it: sed -i 's/\\r$//' {path}"),
        (b"#!\n", "{path} names no program after the #! of its first line"),
        (b"#!/no/such/shell -x\n", "the first line of {path} names /no/such/shell, which does not exist"),
        (b"#!/usr/bin/env pyhton9\n", "the first line of {path} names pyhton9, which is not on PATH"),
        (b"#! /usr/bin/env -S A=1 pyhton9 -u\n", "the first line of {path} names pyhton9, which is not on PATH"),
    ],
)
def test_files_that_the_system_would_not_start(tmp_path: Path, text: bytes, fault: str) -> None:
    path = write_program(tmp_path, text)
    fault = fault.format(path=path)
    assert one_fault(Program(), tmp_path) == f"Program 1: EXECUTABLE './program' cannot be started: {fault}"
    program = subprocess.run(["sh", "-c", fault.partition("convert it: ")[2] or "true"], check=False)
    assert program.returncode == 0
    if "convert" in fault:
        assert faults(Program(), tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        b"#!/bin/sh",
        b"#!/bin/sh\n",
        b"#! /bin/sh -e\n",
        b"#!/usr/bin/env sh\n",
        b"#!/usr/bin/env -S A=1 sh -e\n",
        b"\x7fELF\x02\x01\x01\0\0",
        b"MZ\0",
    ],
)
def test_files_that_it_would_start(tmp_path: Path, text: bytes) -> None:
    write_program(tmp_path, text)
    assert faults(Program(), tmp_path) == []


def test_faults_that_only_a_node_can_find(tmp_path: Path) -> None:
    """Whether a program is installed is looked at only where the job will run."""
    write_program(tmp_path, b"#!/no/such/shell\n")
    assert faults(Program(), tmp_path, here=False) == []
    write_program(tmp_path, b"#!/usr/bin/env pyhton9\n")
    assert faults(Program(), tmp_path, here=False) == []
    write_program(tmp_path, b"text\n")
    assert "is text without" in one_fault(Program(), tmp_path, here=False)
    job = Program()
    job.EXECUTABLE = "no_such_program --flag"
    assert faults(job, tmp_path, here=False) == []
    assert one_fault(job, tmp_path).endswith("EXECUTABLE 'no_such_program' is not on PATH")
    job.GROUPS = ["LOCAL"]
    assert one_fault(job, tmp_path, here=False).endswith("EXECUTABLE 'no_such_program' is not on PATH")


def test_paths_of_executables(tmp_path: Path) -> None:
    path = write_program(tmp_path, b"#!/bin/sh\n", mode=0o644)
    job = Program()
    assert one_fault(job, tmp_path) == f"Program 1: EXECUTABLE './program' is not executable; run: chmod +x {path}"
    path.chmod(0o755)
    job.EXECUTABLE = "program"
    assert one_fault(job, tmp_path).endswith("EXECUTABLE 'program' is not on PATH; it is in the job's DEPENDENCIES: write './program'")
    job.EXECUTABLE = "./other"
    assert one_fault(job, tmp_path).endswith(f"EXECUTABLE './other' is missing: there is no file {tmp_path}/source/other")
    job.EXECUTABLE = str(path)
    assert faults(job, tmp_path) == []
    job.DEPENDENCIES = None
    assert faults(job, tmp_path) == []
    job.EXECUTABLE = "./program"
    assert one_fault(job, tmp_path).endswith("is relative to the job's folder; list the directory that contains it in DEPENDENCIES")
    job.EXECUTABLE = "'./program"
    assert "EXECUTABLE and PARAMETERS must be quoted as in a shell: No closing quotation" in one_fault(job, tmp_path)


@pytest.mark.parametrize(
    ("attribute", "value"), [("EXECUTABLE", 1), ("EXECUTABLE", b"./program"), ("PARAMETERS", 1), ("PARAMETERS", ["a"])]
)
def test_commands_of_a_wrong_type_are_left_to_the_networks_check(tmp_path: Path, attribute: str, value: Any) -> None:
    write_program(tmp_path, b"#!/bin/sh\n", mode=0o755)
    job = Program()
    setattr(job, attribute, value)
    assert faults(job, tmp_path) == []


def test_all_faults_of_a_job(tmp_path: Path) -> None:
    job = Program()
    job.lock = threading.Lock()  # type: ignore[attr-defined]
    (tmp_path / "source").mkdir()
    assert [fault.partition(" (")[0].partition(" is ")[0] for fault in faults(job, tmp_path)] == [
        "Program 1: EXECUTABLE './program'",
        "Program 1: its attribute lock",
    ]
