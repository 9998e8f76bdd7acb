"""Runs what a page of the documentation shows. How to write a page:

Commands stand in ``console`` blocks, each on a line that begins with ``$ ``; the lines up to the
next command are the output that a reader will see::

    <!-- test: cwd=examples any-order -->
    ```console
    $ fission example_1 simulate
    [SourceJob 1] SourceJob: 0
    ...
    ^C
    example_1: interrupted after ... s
    ```

The commands of a page run one after another, by bash, in one temporary folder. It looks like a
clone after ``make demo``: it has a copy of examples/, the Makefile, and a .venv/bin with the
programs under test, which is on PATH as if it were activated.

A command without output in the block may print anything. Stated output must be complete (stdout and
stderr together, as a terminal shows them), where ``...`` stands for anything within a line, and on
a line of its own for any number of lines. The line ``^C`` marks where the reader presses Ctrl-C: it
is pressed when the output above it has appeared, and the exit code must be 130. A command that ends
with a backslash continues in the next line. ``cd`` holds for the rest of the page.

The comment right before a block sets options, as ``name=value`` words:

========== =======================================================================================
cwd=DIR    go there first (relative to the temporary folder) and stay for the rest of the page
for=S      Ctrl-C after S seconds; the exit code may then be 130
exit=N     the expected exit code, default 0, or 130 with ``^C``
limit=S    the command must end within S seconds, default `LIMIT_S`
any-order  the stated lines may come in any order: several jobs print at the same time
retry      the command is repeated, for up to `limit`, until its output fits: it may need a moment
background the command keeps running once its stated output has appeared; Ctrl-C at the page's end
by=FILE    not run here: FILE of the repository runs it, and contains the command's text
           (``make test`` is run by .ci/run), or reads the page and runs its blocks
file=PATH  for a block of any other language: write it to PATH (relative to the page's present
           folder), as the reader is asked to
append=PATH as file=, but add it, after two empty lines, to the end of that file
========== =======================================================================================

Python blocks are compiled, so they must be whole statements. Blocks called sh, bash or shell are
refused: they would not be tested.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fission
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
LIMIT_S = 60.0
OPTIONS = {"cwd", "for", "exit", "limit", "any-order", "retry", "background", "by", "file", "append"}
CTRL_C = "^C"
COMMENT = re.compile(r"^\s*<!--\s*test:(.*?)-->\s*$")
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*([\w+-]*)")


@dataclass
class Block:
    """A fenced block: language, text without the fences, line of its first fence, and options."""

    language: str
    text: str
    line: int
    options: dict[str, str] = field(default_factory=dict)

    def commands(self) -> list[tuple[str, list[str]]]:
        """Return (command, lines of its stated output), in order."""
        found: list[tuple[str, list[str]]] = []
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith("$ "):
                command = line[2:]
                while command.endswith("\\"):
                    command = command[:-1] + next(lines).strip().removeprefix("> ")
                found.append((command, []))
            elif found:
                found[-1][1].append(line)
            elif line.strip():
                raise AssertionError(f"line {self.line}: a console block begins with a command, `$ ...`, this one with {line!r}")
        return found


def blocks_of(page: str) -> Iterator[Block]:
    """Yield every fenced block of a page in Markdown.

    Raises:
        AssertionError: a comment has an unknown option, or no block follows it.
    """
    options: dict[str, str] | None = None
    lines = iter(enumerate(page.splitlines(), 1))
    for number, line in lines:
        if comment := COMMENT.match(line):
            words = (word.partition("=") for word in shlex.split(comment[1]))
            options = {name: value for name, _, value in words}
            assert options.keys() <= OPTIONS, f"line {number}: unknown {sorted(options.keys() - OPTIONS)}; there are {sorted(OPTIONS)}"
        elif fence := FENCE.match(line):
            text = []
            for _, inner in lines:
                if inner.strip().startswith(fence[2]) and not inner.strip().strip(fence[2][0]):
                    break
                text.append(inner)
            yield Block(fence[3], textwrap.dedent("\n".join(text)) + "\n", number, options or {})
            options = None
        elif line.strip():
            assert options is None, f"line {number}: the test comment before it belongs right before a block"


def fits(expected: list[str], actual: list[str], *, any_order: bool = False) -> bool:
    """Return whether output fits the stated output; the head of this file explains ``...``.

    Blanks at the ends of lines do not matter.
    """
    if any_order:
        return _fits_in_any_order(expected, actual)
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "..." else _line_pattern(line) + r"\n" for line in expected)
    return re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in actual)) is not None


def _line_pattern(line: str) -> str:
    return ".*?".join(re.escape(part) for part in line.rstrip().split("..."))


def _fits_in_any_order(expected: list[str], actual: list[str]) -> bool:
    stated = [re.compile(_line_pattern(line)) for line in expected if line.strip() != "..."]
    if len(stated) > len(actual) or (len(stated) < len(actual) and len(stated) == len(expected)):
        return False
    taken: dict[int, int] = {}  # output line -> its stated line

    def place(number: int, tried: set[int]) -> bool:
        """Find an output line for a stated line; another stated line may have to move for it.

        This is a matching in a bipartite graph.
        """
        for index, line in enumerate(actual):
            if index not in tried and stated[number].fullmatch(line.rstrip()):
                tried.add(index)
                if index not in taken or place(taken[index], tried):
                    taken[index] = number
                    return True
        return False

    return all(place(number, set()) for number in range(len(stated)))


class Page:
    """Runs the blocks of one page in a temporary folder.

    A context manager, which ends background commands at its end.

    Args:
        folder: where the page's temporary folder is made.
        root: the clone.
        within: words before each command, which say where it runs.
        env: further variables of commands.
    """

    def __init__(self, folder: Path, root: Path = ROOT, *, within: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self._root, self._within = root, within
        self._folder = folder / "page"
        self._folder.mkdir()
        self._here = self._folder
        if (root / "examples").is_dir():
            leavings = shutil.ignore_patterns("simulation", "local", "runs", ".fission-lock", "collection", "__pycache__", "*.log")
            shutil.copytree(root / "examples", self._folder / "examples", ignore=leavings)
        self._environment = _environment(self._folder / ".venv" / "bin") | {"HOME": str(self._folder)} | {**(env or {})}
        for name in ("Makefile", "pyproject.toml"):
            if (root / name).is_file():
                shutil.copy2(root / name, self._folder)
        for name in (".made", ".installed-demo"):  # so that `make demo` finds its .venv made and continues
            (self._folder / ".venv" / name).touch()
        self._background: list[tuple[str, subprocess.Popen[bytes], Path]] = []

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        for command, process, output in self._background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            code = _end(process, 10)
            assert code in (0, 130), f"$ {command}\nexit code {code} after Ctrl-C\n{output.read_text()}"

    def run(self, block: Block) -> None:
        """Run, write or compile a block, according to its language.

        Raises:
            AssertionError: the result is not what the page says; the message has the command and
                its output.
        """
        assert block.language not in {"sh", "bash", "shell"}, (
            f"line {block.line}: a {block.language} block is not tested; make it a console block"
        )
        if block.language == "python":
            compile(block.text, f"line {block.line}", "exec")
        if "cwd" in block.options:
            self._here = self._folder / block.options["cwd"]
        if "file" in block.options:
            target = self._here / block.options["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif "append" in block.options:
            with (self._here / block.options["append"]).open("a", encoding="utf-8") as file:
                file.write("\n\n" + block.text)
        elif block.language == "console":
            for command, expected in block.commands():
                if "by" in block.options:
                    runner = self._root / block.options["by"]
                    assert runner.is_file(), f"line {block.line}: by={runner} is not there"
                    text = runner.read_text(encoding="utf-8")
                    assert command in text or "blocks_of(" in text, f"line {block.line}: {runner} does not run {command!r}"
                elif command.startswith("cd "):
                    self._here = (self._here / command[3:].strip()).resolve()
                    assert self._here.is_dir(), f"line {block.line}: {command}: no such folder"
                elif "retry" in block.options:
                    self._retry(command, expected, block)
                else:
                    self._run(command, expected, block)

    def _retry(self, command: str, expected: list[str], block: Block) -> None:
        failure = ""

        def attempt() -> bool:
            nonlocal failure
            try:
                self._run(command, expected, block)
            except AssertionError as why:
                failure = str(why)
                return False
            return True

        eventually(attempt, float(block.options.get("limit", LIMIT_S)), lambda: failure)

    def _run(self, command: str, expected: list[str], block: Block) -> None:
        options = block.options
        with tempfile.NamedTemporaryFile(prefix="output-", delete=False) as file:
            output = Path(file.name)
            process = subprocess.Popen(
                [*self._within, "bash", "-c", command],
                cwd=self._here,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def report(why: str) -> str:
            return f"line {block.line}: $ {command}\n{why}\n--- stated\n" + "\n".join(expected) + f"\n--- output\n{output.read_text()}"

        def lines() -> list[str]:
            return output.read_text(errors="replace").splitlines()

        def wait_for(stated: list[str]) -> None:
            def there() -> bool:
                return fits([*stated, "..."], lines(), any_order=any_order)

            eventually(lambda: there() or process.poll() is not None, limit, lambda: report("its stated output"))
            assert process.poll() is None, report(f"ended too early, with exit code {process.returncode}")

        limit, any_order = float(options.get("limit", LIMIT_S)), "any-order" in options
        if "background" in options:
            self._background.append((command, process, output))
            wait_for(expected)
            return
        allowed = {int(options.get("exit", 0))}
        if CTRL_C in expected:
            at = expected.index(CTRL_C)
            allowed = {int(options.get("exit", 130))}
            try:
                wait_for(expected[:at])
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                _end(process, limit)
            expected = [*expected[:at], "...", *expected[at + 1 :]]  # more output may come before it takes effect
        if "for" in options:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(float(options["for"]))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            allowed.add(130)
        code = _end(process, limit)
        assert code is not None, report(f"not ended within {limit:g} s")
        assert code in allowed, report(f"exit code {code}")
        assert not expected or fits(expected, lines(), any_order=any_order), report("the output differs")


def _end(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    """Return the exit code as shells report it; None if the group was killed after *limit_s*."""
    try:
        code = process.wait(limit_s)
        return code if code >= 0 else 128 - code
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _environment(programs: Path) -> dict[str, str]:
    """Return an environment whose ``fission``, scripts and ``python3`` are the ones under test."""
    programs.mkdir(parents=True)
    python = shlex.quote(sys.executable)
    scripts = {f"fission_{name}.py": f"-c 'from fission.cli.main import {name}; {name}()'" for name in ("admin", "debug")}
    for name, command in {"fission": "-m fission", **scripts, "python3": "", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {python} {command} "$@"\n')
        (programs / name).chmod(0o755)
    (programs / "activate").touch()
    source = str(Path(fission.__path__[0]).parent)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    # no variables of a make that runs the tests, and no desktop: consoles would open windows
    unwanted = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DISPLAY", "WAYLAND_DISPLAY"}
    outside = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**outside, "PATH": path, "PYTHONPATH": source, "COLUMNS": "120", "LC_ALL": "C.UTF-8"}
