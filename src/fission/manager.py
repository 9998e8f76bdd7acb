"""What manage.py and scripts of MARVELO's users call: `execute_from_command_line` and `execute_simulation`.

Projects of today have a manage.py that calls `fission.cli.main.manage`; both ways do the same. Nothing of FISSION imports this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fission.cli import interrupts

__all__ = ["execute_from_command_line", "execute_simulation"]

#: The environment variable in which an old manage.py says which module has the settings.
CONFIG_MODULE = "FISSION_CONFIG_MODULE"


def execute_from_command_line(argv: Sequence[str] | None = None) -> None:
    """Run one command line of a project; returns if it was done, else exits the process with the command's exit code.

    The settings are those of the module that FISSION_CONFIG_MODULE names (``NETWORK.config`` if there is none). If it names one and the
    words do not begin with a network, the network is the package that the module is in.

    Args:
        argv: the path of manage.py (or of fission_admin.py) and the words that follow it; default: those of this process.

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
    """Run a network on this machine until all its jobs have finished or Ctrl-C, as ``simulate`` does. Blocks; main thread only.

    What the script has changed of the jobs and settings counts. May be called again, also with other changes.

    Args:
        config: the imported module with the settings, or any object that has them as attributes.
        network: the network's name, which is its folder in the project.
        root: the folder in which the jobs work; default: ``NETWORK/simulation``.

    Returns:
        The exit code: 0 if the network has finished, else that of the command ``simulate``.

    Raises:
        SystemExit: something is wrong that `simulate` would end with; the messages are written.
    """
    from fission.cli.commands.simulate import simulate_loaded
    from fission.cli.main import told
    from fission.errors import FissionError
    from fission.project.config import loaded_here

    try:
        with loaded_here(_home(config, network), network, config, simulation=True) as loaded:
            return simulate_loaded(loaded, folder=Path(root) if root else None)
    except FissionError as error:
        raise SystemExit(told(error)) from None


def _end(code: int) -> None:
    if code:
        interrupts.ignore()
        sys.exit(code)


def _is_command(word: str) -> bool:
    from fission.cli.table import COMMANDS

    return word in COMMANDS and COMMANDS[word].scope != "anywhere"


def _project(program: str, words: Sequence[str]) -> Path:
    """The folder of manage.py; of a script that lies elsewhere, the project that the current folder lies in, else that folder."""
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
    """The project of an imported config: what its package lies in, if that is the network, else the current folder."""
    file = getattr(config, "__file__", None)
    folder = Path(file).resolve().parent if file else None
    return folder.parent if folder is not None and folder.name == network else Path.cwd()
