"""The functions that MARVELO's manage.py and scripts call: `execute_from_command_line` and
`execute_simulation`.

A manage.py of FISSION calls `fission.cli.main.manage`, which does the same. No module of FISSION
imports this one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fission.cli import interrupts

__all__ = ["execute_from_command_line", "execute_simulation"]

#: The environment variable in which a MARVELO manage.py names the module with the settings.
CONFIG_MODULE = "FISSION_CONFIG_MODULE"


def execute_from_command_line(argv: Sequence[str] | None = None) -> None:
    """Run one command line of a project; return after success, otherwise exit with the command's
    exit code.

    FISSION_CONFIG_MODULE names the module with the settings (default: ``NETWORK.config``). If it is
    set and the arguments do not begin with a network, the network is the package of that module.

    Args:
        argv: path of manage.py (or of fission_admin.py) and its arguments; default: those of this
            process.

    Raises:
        SystemExit: the command has failed; its messages are written.
    """
    interrupts.install()
    from fission.cli.main import main

    program, *words = [str(word).strip() for word in (sys.argv if argv is None else argv)] or ["manage.py"]
    if Path(program).name == "fission_admin.py":
        _end(main(words, prog="fission_admin.py"))
        return
    project = _project(program, words)
    module = os.environ.get(CONFIG_MODULE, "").strip()
    package = module.partition(".")[0]
    if package and words and _is_command(words[0]) and not (project / words[0] / "config.py").is_file():
        words = [package, *words]
    network = words[0] if words else ""
    other = "" if module == f"{network}.config" else module
    _end(main(words, prog=f"python3 {Path(program).name}", project=project, config_module=other))


def execute_simulation(config: object, network: str, root: str | os.PathLike[str] = "") -> int:
    """Simulate a network until all its jobs have finished or Ctrl-C, like ``simulate``.

    Blocks; main thread only.

    Uses the jobs and settings as the script has changed them. May be called again, with other
    changes.

    Args:
        config: the imported module with the settings, or any object with them as attributes.
        network: the network's name, which is its folder in the project.
        root: the folder in which the jobs work; default: ``NETWORK/simulation``.

    Returns:
        The exit code: 0 if the network has finished, otherwise that of the command ``simulate``.

    Raises:
        SystemExit: a fault that `simulate` would end with; the messages are written.
    """
    from fission.cli.commands.simulate import simulate_loaded
    from fission.cli.main import report_error
    from fission.errors import FissionError
    from fission.project.config import loaded_here

    try:
        with loaded_here(_home(config, network), network, config, simulation=True) as loaded:
            return simulate_loaded(loaded, folder=Path(root) if root else None)
    except FissionError as error:
        raise SystemExit(report_error(error)) from None


def _end(code: int) -> None:
    if code:
        interrupts.ignore()
        sys.exit(code)


def _is_command(word: str) -> bool:
    from fission.cli.table import COMMANDS

    return word in COMMANDS and COMMANDS[word].scope != "anywhere"


def _project(program: str, words: Sequence[str]) -> Path:
    """Return the folder of manage.py; for a script elsewhere, the project of the current folder, or
    else that folder.
    """
    from fission.errors import UserError
    from fission.project.finding import find_project

    folder = Path(program).resolve().parent
    if Path(program).is_file() and (Path(program).name == "manage.py" or (words and (folder / words[0]).is_dir())):
        return folder
    try:
        return find_project(Path.cwd())
    except UserError:
        return Path.cwd()


def _home(config: object, network: str) -> Path:
    """Return the project of an imported config: the parent of its package, if that is the network,
    or the current folder.
    """
    file = getattr(config, "__file__", None)
    folder = Path(file).resolve().parent if file else None
    return folder.parent if folder is not None and folder.name == network else Path.cwd()
