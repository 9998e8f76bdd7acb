"""``fission provision client``: the service that runs a network on this machine."""

from __future__ import annotations

import os
import pwd
import re
import sys
from pathlib import Path
from typing import Any

import click

from fission.cli import interrupts
from fission.cli.commands.provision_hosts import ask_become_pass, perform
from fission.cli.table import Session, example

#: Characters that mean something else in the units of systemd.
_UNFIT = re.compile(r"""["'\\$\r\n]""")
ACTIONS = ("start", "stop", "restart", "status", "logs", "remove")


@click.command(name="client", epilog=example("fission provision client lights -K", "fission provision client lights status"))
@click.argument("network")
@click.argument("action", required=False, type=click.Choice(ACTIONS))
@click.option("--check", is_flag=True, help="Change nothing, and show what would change.")
@ask_become_pass
@click.option("--lines", type=click.IntRange(1), default=50, show_default=True, help="Number of lines of `logs`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: command, hosts, ok.")
@click.option("--verbose", is_flag=True, help="Show all that Ansible reports of failures, and what changed.")
@click.pass_obj
def client(session: Session, /, network: str, action: str | None, check: bool, lines: int, **options: Any) -> int:
    """Set up the service `fission-NETWORK` of systemd, which runs a network of this project on this machine from boot on, and start it.

    It calls `fission NETWORK run --resume-or-start` with the Python, the project and the user of this
    command. A second run changes nothing. With ACTION, use the service that is set up.
    """
    from fission.cli.loading import load_network
    from fission.project.finding import require_network
    from fission.provision.faults import Attempt
    from fission.provision.playbook import PlaybookRun

    interrupts.loaded()
    session.network = network
    variables: dict[str, object] = {
        "fission_action": action or "main",
        "fission_lines": lines,
        "fission_network": network,
        "fission_project": str(session.root),
        "ansible_python_interpreter": sys.executable,
    }
    if action != "remove" or not network.isidentifier():  # the service of a network that no longer exists can be removed
        require_network(session.root, network)
    if action is None:
        variables.update(service_settings(load_network(session)))
    words = f"fission provision client {network}{f' {action}' if action else ''}"
    attempt = Attempt(words, asked_sudo=options["ask_become_pass"], network=network)
    folder = session.root / "ansible"
    run = PlaybookRun("client", folder, "", f"{network},", check, False, options.pop("ask_become_pass"), variables)
    return perform(action or "client", run, attempt, **options)


def service_settings(loaded: Any) -> dict[str, object]:
    """Return the variables of the role, after a check of what the service needs.

    Raises:
        UserError: CLIENT_IP is not this machine's, there are no keys, or a path cannot be in a unit.
    """
    from fission.adapters.keys import default_folder, load_keys
    from fission.client.run.engines.listening import client_address
    from fission.client.run.nodes.configured_nodes import only_here
    from fission.errors import UserError

    config, keys = loaded.config, ""
    if not only_here(config.nodes) or config.cluster is not None:
        client_address(loaded)
        keys = str(load_keys(default_folder().absolute()).folder) if config.security else ""
    for what, path in (("the project", str(loaded.root)), ("Python", sys.executable), ("the keys", keys)):
        if _UNFIT.search(path):
            raise UserError(
                f"the path of {what} must have no quotes, $, backslashes or line ends, as it is in a unit, but is {path!r}; move it"
            )
    return {
        "fission_project": str(loaded.root),
        "fission_run_user": pwd.getpwuid(os.getuid()).pw_name,
        "fission_python": sys.executable,
        "fission_programs": str(Path(sys.executable).parent),
        "fission_keys": keys,
    }
