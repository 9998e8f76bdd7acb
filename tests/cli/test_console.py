"""What the observer of the command line writes."""

from __future__ import annotations

import io
import threading

import pytest

from fission.cli.console import ConsoleObserver


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLORTERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_plain_when_piped() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = ConsoleObserver(out, err)
    console.job_started("JoinJob 5", 5)
    console.job_output("JoinJob 5", 5, "stdout", "[bold]6[/bold] :smile: http://x")
    console.job_output("JoinJob 5", 5, "stderr", "careful")
    console.job_ended("JoinJob 5", 5, "finished")
    console.job_failed("JoinJob 5", 5, "  File 'jobs.py'\nValueError: [x]\n")
    console.notice("replayed 3 blocks")
    console.warning("pipe 1 runs ahead")
    assert out.getvalue() == "[JoinJob 5] [bold]6[/bold] :smile: http://x\n"
    assert err.getvalue() == (
        "JoinJob 5 started\n[JoinJob 5] careful\nJoinJob 5 finished\nJoinJob 5 failed:\n  File 'jobs.py'\nValueError: [x]\n"
        "replayed 3 blocks\nWarning: pipe 1 runs ahead\n"
    )


def test_colours_on_a_terminal_and_the_users_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = Terminal()
    text = "[red]x[/red]\t\x1b[7mtheirs\x1b[0m " + "long " * 50
    console = ConsoleObserver(out, Terminal())
    console.job_output("A 1", 1, "stdout", text)
    console.job_output("B 2", 2, "stdout", text)
    first, second = out.getvalue().splitlines()
    assert first.endswith(f" {text}")
    assert second.endswith(f" {text}")
    before = [line[: -len(text) - 1] for line in (first, second)]
    assert ["[A 1]" in before[0], "[B 2]" in before[1]] == [True, True]
    assert all(part.startswith("\x1b[") and part.endswith("\x1b[0m") for part in before)
    assert before[0].split("m")[0] != before[1].split("m")[0], "jobs have different colours"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    out, err = Terminal(), Terminal()
    console = ConsoleObserver(out, err)
    console.job_output("A 1", 1, "stdout", "x")
    console.warning("y")
    assert "\x1b[3" not in out.getvalue() + err.getvalue()
    assert "[A 1]" in out.getvalue()


def test_characters_that_the_terminal_has_not() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    ConsoleObserver(stream, io.StringIO()).job_output("A 1", 1, "stdout", "grün \udc80")
    assert raw.getvalue() == b"[A 1] gr\\xfcn \\udc80\n"


def test_lines_of_several_threads_stay_whole() -> None:
    out = io.StringIO()
    console = ConsoleObserver(out, io.StringIO())

    def write(job_id: int) -> None:
        for number in range(200):
            console.job_output(f"A {job_id}", job_id, "stdout", f"{number} " + "x" * 100)

    threads = [threading.Thread(target=write, args=(job_id,)) for job_id in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 800
    for job_id in range(4):
        mine = [line for line in lines if line.startswith(f"[A {job_id}] ")]
        assert mine == [f"[A {job_id}] {number} " + "x" * 100 for number in range(200)]
