"""All commands. To add one: a file in `fission.cli.commands` with the command's name and a ``command`` in it, and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True)
class Entry:
    """One command as lists show it; its file is only imported when it is called.

    Attributes:
        name: as typed.
        help: one line.
        scope: "anywhere" (no network), "new" (a network that need not exist) or "network" (one that must exist).
    """

    name: str
    help: str
    scope: str = "network"

    def load(self) -> click.Command:
        """Imports the command."""
        command = importlib.import_module(f"fission.cli.commands.{self.name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"fission.cli.commands.{self.name}.command must be a click command, is {command!r}")
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
        Entry("status", "Show the nodes and jobs of a running network."),
        Entry("debug", "Show what the jobs of a running network write."),
        Entry("collect", "Copy the nodes' log files here."),
        Entry("senddata", "Send code and files to the nodes ahead of a run."),
        Entry("removedata", "Remove what the nodes have of the network."),
        Entry("send", "Send lines to an InteractiveJob of a running network."),
        Entry("echo", "Show the blocks that go by on a pipe of a running network."),
        Entry("hz", "Show the rate at which blocks go by on a pipe of a running network."),
        Entry("top", "Show how the jobs of a running network get on."),
        Entry("record", "Write the blocks that go by on pipes of a running network to a file."),
        Entry("replay", "Feed a recording to one job of the network."),
        Entry("interactive", "Open a Python console with the network loaded."),
        Entry("graphviz", "Draw the network with graphviz, into a PDF, SVG or PNG."),
        Entry("show", "Draw the network with matplotlib, in a window or a file."),
        Entry("graph", "Write the network as a graph for Mermaid, graphviz or a browser."),
        Entry("shell", "Open a prompt for the commands of one network."),
        Entry("test", "Run the network's tests with pytest."),
        Entry("node", "Serve as a node.", scope="anywhere"),
        Entry("keys", "Make the keys that machines know each other by.", scope="anywhere"),
        Entry("completion", "Write what makes a shell complete commands.", scope="anywhere"),
    )
}


#: Words that are no commands here, and what does what they did: of MARVELO's shell, and what people try instead.
INSTEAD: Mapping[str, str] = {
    "startcluster": "there is no cluster to start: {prog} {network} run gathers the nodes itself; {prog} {network} allocate shows them",
    "closecluster": "there is no cluster to close: the network's own end, {prog} {network} stop or Ctrl-C, lets the nodes go",
    "reboot": "restart a node's machine with: ssh NODE sudo reboot; a running network moves its jobs, and uses it again when it is back",
    "start": "start the network on its nodes with: {prog} {network} run; on this machine with: {prog} {network} simulate",
    "clear": "Ctrl-L clears the terminal",
}


@dataclass
class Session:
    """What a command knows about where it was called; click hands it over as the context's ``obj``.

    Attributes:
        prog: what was typed to get here, for messages.
        network: the name before the command; empty for commands without one.
        project: its folder, if it is known before it is looked for.
        config_module: the module that has the settings, if it is not NETWORK.config (a manage.py of MARVELO says so).
    """

    prog: str
    network: str = ""
    project: Path | None = None
    config_module: str = ""

    @property
    def root(self) -> Path:
        """The project: manage.py's folder, or the one that the current folder lies in. Raises UserError if there is none."""
        if self.project is None:
            from fission.project.finding import find_project

            self.project = find_project(Path.cwd())
        return self.project


def example(*lines: str) -> str:
    """An epilog for ``--help``: lines that can be typed as they stand, not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
