"""``fission NETWORK interactive``."""

from __future__ import annotations

import code
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import click

from fission.cli import interrupts
from fission.cli.loading import load_incomplete_network
from fission.cli.table import Session, example

#: The names that the console defines.
NAMES = ("network", "JOBS", "PIPES", "NODES", "GROUPS", "emulate")


@click.command(name="interactive", epilog=example("fission my_network interactive", "fission my_network interactive --console plain"))
@click.option(
    "--console",
    type=click.Choice(["ptpython", "ipython", "plain"]),
    help="Default: ptpython or IPython if installed and there is a terminal, otherwise Python's own.",
)
@click.pass_obj
def command(session: Session, console: str | None) -> None:
    """Open a Python console with the network loaded: network, JOBS, PIPES, NODES, GROUPS (by id,
    address or name) and emulate.

    emulate(PIPES[101])(400) sends a value through a pipe, emulate(JOBS[5])(1, 2, 3) calls a job
    like a function. Incomplete networks are loaded too.
    """
    from fission.core.base import use
    from fission.errors import UserError
    from fission.testing.emulator import emulate

    loaded, registry, faults = load_incomplete_network(session)
    use(registry)
    kind = console or _best()
    if kind != "plain" and importlib.util.find_spec(_MODULES[kind]) is None:
        raise UserError(f"{kind} is not installed for this Python; install it: python3 -m pip install {kind}")
    values = (loaded.network, registry.jobs, registry.pipes, registry.nodes, registry.groups, emulate)
    names: dict[str, Any] = dict(zip(NAMES, values, strict=True))
    banner = [f"The network {session.network}: {', '.join(NAMES)}"]
    banner += [f"Fault: {fault}" for fault in faults]
    os.chdir(session.root)
    if sys.path[:1] != [""]:
        sys.path.insert(0, "")
    try:
        {"ptpython": _ptpython, "ipython": _ipython, "plain": _plain}[kind]("\n".join(banner), names)
    finally:
        interrupts.taken()  # it ended a statement, not the console


_MODULES = {"ptpython": "ptpython", "ipython": "IPython"}


def _best() -> str:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "plain"
    return next((kind for kind, module in _MODULES.items() if importlib.util.find_spec(module) is not None), "plain")


def _history() -> Path:
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fission"
    return folder / "interactive_history"


def _ptpython(banner: str, names: dict[str, Any]) -> None:
    from ptpython.repl import embed

    click.echo(banner)
    history = _history()
    history.parent.mkdir(parents=True, exist_ok=True)
    embed(names, names, configure=_configure, history_filename=str(history))


def _configure(repl: Any) -> None:
    repl.confirm_exit = False  # Ctrl-D ends it without a question, as elsewhere


def _ipython(banner: str, names: dict[str, Any]) -> None:
    import IPython  # type: ignore[import-not-found,unused-ignore]  # only where installed

    click.echo(banner)
    IPython.start_ipython(argv=["--no-banner"], user_ns={**names})  # type: ignore[no-untyped-call,unused-ignore]


class _Console(code.InteractiveConsole):
    """Python's own console; shows FISSION's errors without a traceback."""

    def showtraceback(self) -> None:
        from fission.errors import FissionError

        error = sys.exc_info()[1]
        if isinstance(error, FissionError):
            self.write(f"{type(error).__name__}: {error}\n")
        else:
            super().showtraceback()


def _plain(banner: str, names: dict[str, Any]) -> None:
    _complete(names)
    _Console(names).interact(banner=banner, exitmsg="")


def _complete(names: dict[str, Any]) -> None:
    """Set up completion and history, if Python has readline and standard input is a terminal."""
    if not sys.stdin.isatty():
        return
    try:
        import atexit
        import readline
        import rlcompleter
    except ImportError:
        return
    readline.set_completer(rlcompleter.Completer(names).complete)
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
    history = _history()
    try:
        history.parent.mkdir(parents=True, exist_ok=True)
        if history.exists():
            readline.read_history_file(history)
        atexit.register(readline.write_history_file, history)
    except OSError:
        pass  # the console then has no history
