"""The table of commands.

To add one, write `fission.cli.commands.NAME` with a ``command``, and add a line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True)
class Entry:
    """One command in the table; its module is imported only when the command is called.

    Attributes:
        name: the word that the user types.
        help: one line for lists.
        scope: "anywhere" (needs no network), "new" (a network that need not exist) or "network"
            (a network that must exist).
    """

    name: str
    help: str
    scope: str = "network"

    def load(self) -> click.Command:
        """Import the command."""
        command = importlib.import_module(f"fission.cli.commands.{self.name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"fission.cli.commands.{self.name}.command must be a click command, but is {command!r}")
        return command


COMMANDS: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("startproject", "Make a new project folder.", scope="anywhere"),
        Entry("list", "List the networks of the project.", scope="anywhere"),
        Entry("help", "Show the help of a command.", scope="anywhere"),
        Entry("pipelines", "Run graphs of jobs over stored data; see pipelines --help.", scope="anywhere"),
        Entry("startnetwork", "Make a new network in the project.", scope="new"),
        Entry("check", "Load and check everything without starting it."),
        Entry("allocate", "Show which node each job would go to now, without starting it."),
        Entry("simulate", "Run the network on this machine."),
        Entry("run", "Run the network on its nodes."),
        Entry("attach", "Follow a network that runs elsewhere."),
        Entry("stop", "Stop a running network."),
        Entry("dashboard", "Serve a web page that shows the network while it runs."),
        Entry("status", "Show the nodes and jobs of a running network."),
        Entry("debug", "Show the output of a running network's jobs."),
        Entry("collect", "Copy the nodes' log files here."),
        Entry("senddata", "Send code and files to the nodes before a run."),
        Entry("removedata", "Remove the network's files from the nodes."),
        Entry("send", "Send lines to an InteractiveJob of a running network."),
        Entry("echo", "Show the blocks on a pipe of a running network."),
        Entry("hz", "Show the rate of blocks on a pipe of a running network."),
        Entry("top", "Show the rates and loads of a running network's jobs."),
        Entry("record", "Record the blocks on pipes of a running network to a file."),
        Entry("replay", "Feed a recording to one job of the network."),
        Entry("interactive", "Open a Python console with the network loaded."),
        Entry("graphviz", "Draw the network with graphviz, into a PDF, SVG or PNG."),
        Entry("show", "Draw the network with matplotlib, in a window or a file."),
        Entry("graph", "Write the network as a graph for Mermaid, graphviz or a browser."),
        Entry("shell", "Open a prompt for the commands of one network."),
        Entry("test", "Run the network's tests with pytest."),
        Entry("node", "Serve as a node.", scope="anywhere"),
        Entry("provision", "Set machines up as nodes; see provision --help.", scope="anywhere"),
        Entry("keys", "Make the keys with which machines authenticate each other.", scope="anywhere"),
        Entry("audio", "List the microphones and loudspeakers of this machine.", scope="anywhere"),
        Entry("completion", "Write the completion script of a shell.", scope="anywhere"),
    )
}


#: Commands of MARVELO's shell, and other words that users try, with what to use instead.
INSTEAD: Mapping[str, str] = {
    "startcluster": "there is no cluster to start: {prog} {network} run finds the nodes itself; {prog} {network} allocate shows them",
    "closecluster": "there is no cluster to close: the end of the network, by {prog} {network} stop or Ctrl-C, releases the nodes",
    "reboot": "restart a node's machine with: ssh NODE sudo reboot; a running network moves its jobs, and uses it again when it returns",
    "start": "start the network on its nodes with: {prog} {network} run; on this machine with: {prog} {network} simulate",
    "clear": "Ctrl-L clears the terminal",
}


@dataclass
class Session:
    """Where a command was called; click passes it on as the context's ``obj``.

    Attributes:
        prog: the program's name, for messages.
        network: the name before the command; empty for commands without one.
        project: the project's folder; None until it is found.
        config_module: the module with the settings, if it is not NETWORK.config (from a MARVELO
            manage.py).
    """

    prog: str
    network: str = ""
    project: Path | None = None
    config_module: str = ""

    @property
    def root(self) -> Path:
        """The project: manage.py's folder, or the one that contains the current folder.

        Raises UserError.
        """
        if self.project is None:
            from fission.project.finding import find_project

            self.project = find_project(Path.cwd())
        return self.project


def example(*lines: str) -> str:
    """Return an epilog for ``--help``: example lines that are not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
