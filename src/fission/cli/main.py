"""The entry points of the scripts, and the mapping of every exception to a message and an exit
code.

Exit codes: 0 success, 1 the network (or FISSION itself) failed, 2 incorrect use, 3 no place for
a job, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from fission.cli import interrupts

# Import everything else inside functions, after `interrupts` has installed its handler for Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import NoReturn

    from fission.cli.table import Session

#: Errors of the operating system that are not FISSION's: no space, no permission, no memory, too many open files.
NOT_OURS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)

#: The extra of FISSION that installs a package which some commands import.
EXTRAS = {
    "cryptography": "cluster",
    "dask": "cluster",
    "distributed": "cluster",
    "psycopg": "pipelines",
    "sqlalchemy": "pipelines",
    "starlette": "dashboard",
    "uvicorn": "dashboard",
    "yaml": "pipelines",
}


def run() -> NoReturn:
    """The script ``fission``: ``startproject NAME``, or in a project ``NETWORK COMMAND``. Exits."""
    interrupts.install()
    _exit(main)


def admin() -> NoReturn:
    """The script ``fission_admin.py``: ``NAME startproject``. Exits."""
    interrupts.install()
    _exit(lambda: main(prog="fission_admin.py"))


def debug() -> NoReturn:
    """The script ``fission_debug.py``: shows the output of the running network's jobs. Exits."""
    interrupts.install()
    _exit(_debug)


def _debug() -> int:
    try:
        _open_closed_streams()
        from fission.cli.marvelo_debug import translated
        from fission.cli.table import Session

        session = Session("fission_debug.py")
        words = translated(sys.argv[1:], session)
        return run_line(words, session) if words else 0
    except BaseException as error:
        return report_error(error)


def manage(manage_py_path: str | Path, argv: Sequence[str] | None = None) -> NoReturn:
    """The entry point of a project's manage.py: ``NETWORK COMMAND``, from any current folder.

    Exits.

    Args:
        manage_py_path: ``__file__`` of manage.py; its folder is the project.
        argv: the arguments of manage.py; default: those of this process.
    """
    interrupts.install()
    from pathlib import Path

    _exit(lambda: main(argv, prog="python3 manage.py", project=Path(manage_py_path).resolve().parent))


def main(argv: Sequence[str] | None = None, *, prog: str = "fission", project: Path | None = None, config_module: str = "") -> int:
    """Run one command line, write messages to stderr, and return the exit code. Never raises.

    Args:
        argv: the arguments; default: those of this process.
        prog: the program's name, for messages.
        project: the project's folder; default: the one that contains the current folder.
        config_module: the module with the settings; default: NETWORK.config.
    """
    try:
        _open_closed_streams()
        from fission.cli.table import Session

        return run_line(list(sys.argv[1:] if argv is None else argv), Session(prog, project=project, config_module=config_module))
    except BaseException as error:
        return report_error(error)


def run_line(words: Sequence[str], session: Session) -> int:
    """Run one command line of a session and return its exit code.

    Never raises; messages go to stderr.
    """
    try:
        from fission.cli.grammar import root

        result = root.main(args=list(words), prog_name=session.prog, complete_var="_FISSION_COMPLETE", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BaseException as error:
        try:
            return report_error(error)
        except OSError:  # stderr cannot be written either, so the error cannot be reported
            _give_up_stdout()
            return 1


def _exit(command: Callable[[], int]) -> NoReturn:
    """Run a command, which never raises, and exit with its code.

    Ctrl-C may come when it has returned and is not ignored yet: it neither shows a traceback nor
    kills.
    """
    code = interrupts.EXIT_INTERRUPTED
    try:
        code = command()
        interrupts.ignore()
    except KeyboardInterrupt:
        interrupts.ignore()
    # If a KeyboardInterrupt was raised while exec() ran (dataclasses and named tuples use it), Python kills itself by SIGINT
    # at exit, although the exception was caught. The next exec() clears that state.
    exec("")
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open /dev/null for each standard stream that the parent process has closed (`>&-`, service
    managers).

    Python sets such a stream to None. The next file or socket would get its descriptor, and with
    it the data that is meant for the stream.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            found = os.open(os.devnull, os.O_RDWR)  # returns the lowest free descriptor, which is this one
            os.set_inheritable(found, found == descriptor)  # otherwise our child processes would have the same problem
            setattr(sys, name, open(found, mode, closefd=False))  # noqa: SIM115 - open until the process ends


def _give_up_stdout() -> None:
    """Discard output that is not written yet: at exit Python would fail, or wait for the reader,
    when it flushes.
    """
    with contextlib.suppress(OSError):  # a stdout without a descriptor needs nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_error(error: BaseException) -> int:
    """Write the message for an exception to stderr and return the exit code."""
    import traceback

    import click

    from fission.errors import (
        EXIT_FAILED,
        EXIT_INTERRUPTED,
        EXIT_OK,
        ConfigError,
        FissionError,
        InternalError,
        LocalProtocolError,
        UserError,
    )

    if interrupts.came():
        _give_up_stdout()  # its reader may be stopped
        return EXIT_INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK if error.code is None else EXIT_FAILED
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, click.Abort) and isinstance(error.__cause__, KeyboardInterrupt)):
        _give_up_stdout()  # its reader may be stopped
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
        _give_up_stdout()  # it may be the file that has no space
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(f"the operating system refuses: {error.strerror}{f': {error.filename}' if error.filename else ''}", err=True)
        return EXIT_FAILED
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        from fission.cli.extras import install_command

        extra = EXTRAS[error.name]
        how = f"install all of that extra: {install_command(extra)}"
        return report_error(UserError(f"this needs the package {error.name}, which FISSION's extra '{extra}' installs; {how}"))
    click.secho("This is a bug in FISSION; please report it with the text below.", fg="red", bold=True, err=True)
    click.echo("".join(traceback.format_exception(error)), nl=False, err=True)
    return EXIT_FAILED
