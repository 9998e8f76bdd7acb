"""The ways in, and what becomes of every exception: a message and an exit code.

Exit codes: 0 done, 1 the network failed (or FISSION itself), 2 wrong use, 3 no place for a job, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from fission.cli import interrupts

# Everything else is loaded inside functions, when `interrupts` has taken Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import NoReturn

    from fission.cli.table import Session

#: What the system may refuse whoever asks: no room, no right, no memory, too many open files.
NOT_OURS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)


def run() -> NoReturn:
    """The script ``fission``: ``fission startproject NAME`` and, in a project, ``fission NETWORK COMMAND``. Exits."""
    interrupts.install()
    _exit(main())


def admin() -> NoReturn:
    """The script ``fission_admin.py``: ``fission_admin.py NAME startproject``. Exits."""
    interrupts.install()
    _exit(main(prog="fission_admin.py"))


def debug() -> NoReturn:
    """The script ``fission_debug.py``: what jobs of the running network write. Exits."""
    interrupts.install()
    _exit(_debug())


def _debug() -> int:
    try:
        _open_closed_streams()
        from fission.cli.marvelo_debug import translated
        from fission.cli.table import Session

        session = Session("fission_debug.py")
        words = translated(sys.argv[1:], session)
        return run_line(words, session) if words else 0
    except BaseException as error:
        return told(error)


def manage(manage_py_path: str | Path, argv: Sequence[str] | None = None) -> NoReturn:
    """A project's manage.py: ``NETWORK COMMAND`` for the project that *manage_py_path* lies in, from any current folder. Exits.

    Args:
        manage_py_path: ``__file__`` of manage.py.
        argv: the words behind manage.py; default: those of this process.
    """
    interrupts.install()
    from pathlib import Path

    _exit(main(argv, prog="python3 manage.py", project=Path(manage_py_path).resolve().parent))


def main(argv: Sequence[str] | None = None, *, prog: str = "fission", project: Path | None = None, config_module: str = "") -> int:
    """Runs one command line and returns its exit code; never raises, writes messages to stderr.

    Args:
        argv: the words; default: those of this process.
        prog: what was typed before them, for messages.
        project: the project's folder; default: the one that the current folder lies in.
        config_module: the module that has the settings; default: NETWORK.config.
    """
    try:
        _open_closed_streams()
        from fission.cli.table import Session

        return run_line(list(sys.argv[1:] if argv is None else argv), Session(prog, project=project, config_module=config_module))
    except BaseException as error:
        return told(error)


def run_line(words: Sequence[str], session: Session) -> int:
    """Runs one command line for a session and returns its exit code; never raises, writes messages to stderr."""
    try:
        from fission.cli.grammar import root

        result = root.main(args=list(words), prog_name=session.prog, complete_var="_FISSION_COMPLETE", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BaseException as error:
        try:
            return told(error)
        except OSError:  # stderr cannot be written either: there is nobody left to tell
            _give_up_stdout()
            return 1


def _exit(code: int) -> NoReturn:
    interrupts.ignore()
    # A KeyboardInterrupt out of a text that was executed (dataclasses and named tuples are made so) lets Python kill itself by SIGINT
    # at its end, although it was caught; the next text that is executed makes it forget.
    exec("")
    sys.exit(code)


def _open_closed_streams() -> None:
    """Puts /dev/null where a stream was closed by whoever started this process (`>&-`, some service managers).

    Python has None there, and the next file or socket would get the descriptor, and with it what is meant for the stream.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            found = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, and that is this one
            os.set_inheritable(found, found == descriptor)  # or the processes that we start would have the same trouble
            setattr(sys, name, open(found, mode, closefd=False))  # noqa: SIM115 - open as long as the process lives


def _give_up_stdout() -> None:
    """Lets what is not written yet go nowhere: Python would fail, or wait for the reader, when it flushes at exit."""
    with contextlib.suppress(OSError):  # a stdout without a descriptor has nothing to complain about
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def told(error: BaseException) -> int:
    """Writes what is to be said about *error* to stderr and returns the exit code."""
    import traceback

    import click

    from fission.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, ConfigError, FissionError, InternalError, LocalProtocolError

    if interrupts.came():
        _give_up_stdout()  # its reader may stand still
        return EXIT_INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK if error.code is None else EXIT_FAILED
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, click.Abort) and isinstance(error.__cause__, KeyboardInterrupt)):
        _give_up_stdout()  # its reader may stand still
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _give_up_stdout()  # its reader is gone (`| head`)
        return EXIT_FAILED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, FissionError) and not isinstance(error, (InternalError, LocalProtocolError)):
        for text in [str(fault) for fault in error.faults] if isinstance(error, ConfigError) else [str(error)]:
            click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(text, err=True)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in NOT_OURS:
        _give_up_stdout()  # it may be what has no room; what could be written was
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(f"the system refuses: {error.strerror}{f': {error.filename}' if error.filename else ''}", err=True)
        return EXIT_FAILED
    click.secho("This is a bug of FISSION; please report it with the text below.", fg="red", bold=True, err=True)
    click.echo("".join(traceback.format_exception(error)), nl=False, err=True)
    return EXIT_FAILED
