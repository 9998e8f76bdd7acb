"""``fission NETWORK test``."""

from __future__ import annotations

import importlib.util
import os
import sys

import click

from fission.cli import interrupts
from fission.cli.table import Session, example
from fission.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, UserError

PLUGIN = "fission.testing.pytest_plugin"


@click.command(
    name="test",
    context_settings={"ignore_unknown_options": True},
    epilog=example("fission my_network test", "fission my_network test --runslow -k join -x"),
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]...")
@click.pass_obj
def command(session: Session, arguments: tuple[str, ...]) -> int:
    """Run the tests in NETWORK/tests with pytest and FISSION's fixtures.

    Further arguments go to pytest: -x, -k TEXT, -v, or --runslow for tests marked slow. The exit
    code is 1 if a test fails.
    """
    folder = session.root / session.network / "tests"
    if not folder.is_dir():
        raise UserError(f"{session.network} has no tests: there is no folder {folder}; write tests there, in files test_*.py")
    if importlib.util.find_spec("pytest") is None:
        raise UserError("pytest is not installed for this Python; install it: python3 -m pip install pytest")
    import pytest

    from fission.project.importing import put_first

    interrupts.loaded()
    os.chdir(session.root)  # paths of tests and of .emulate are relative to the project
    put_first(session.root)
    code = pytest.main(["-p", PLUGIN, *([] if _names_tests(arguments) else [str(folder)]), *arguments])
    sys.stdout.flush()
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and not arguments:
        raise UserError(f"{session.network} has no tests in {folder}; write them in files test_*.py, as functions test_*")
    kinds = {pytest.ExitCode.OK: EXIT_OK, pytest.ExitCode.INTERRUPTED: EXIT_INTERRUPTED, pytest.ExitCode.USAGE_ERROR: EXIT_USAGE}
    if code == pytest.ExitCode.INTERRUPTED and not interrupts.came():
        return EXIT_FAILED  # pytest also uses this code when a test file cannot be loaded
    return kinds.get(pytest.ExitCode(code), EXIT_USAGE if code == pytest.ExitCode.NO_TESTS_COLLECTED else EXIT_FAILED)


def _names_tests(arguments: tuple[str, ...]) -> bool:
    """Return whether files or folders were named, instead of all tests of the network."""
    return any(not argument.startswith("-") and os.path.exists(argument.partition("::")[0]) for argument in arguments)
