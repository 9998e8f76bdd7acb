"""``fission provision init`` and ``inventory``: the files of ``ansible/``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.table import Session, example
from fission.errors import EXIT_FAILED, EXIT_OK

#: Addresses of NODES that mean this machine.
HERE = ("localhost", "127.0.0.1", "::1")


@click.command(name="init", epilog=example("fission provision init", "fission provision init --roles"))
@click.option("--roles", is_flag=True, help="Copy the role too, to change it: ansible/roles/setup is used from then on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: folder, made.")
def init(roles: bool, as_json: bool) -> None:
    """Write ansible/ into the current folder: the list of hosts, their settings, and a README.

    Existing files stay as they are.
    """
    from fission.provision.places import HOSTS, SETTINGS, make_folder

    interrupts.loaded()
    here = Path.cwd()
    made = make_folder(here, roles=roles)
    if as_json:
        click.echo(json.dumps({"folder": str(here / "ansible"), "made": [str(path.relative_to(here)) for path in made]}))
        return
    for path in made:
        click.echo(f"made {path.relative_to(here)}")
    click.echo(f"List your hosts in ansible/{HOSTS}, set ansible_user in ansible/{SETTINGS}, then: fission provision servers")


@click.command(
    name="inventory", epilog=example("fission provision inventory my_network", "fission provision inventory my_network --replace")
)
@click.argument("network")
@click.option("--replace", is_flag=True, help="Write hosts.yml anew, even if it lists hosts.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: file, written, hosts, without_host, patterns.")
@click.pass_obj
def inventory(session: Session, network: str, replace: bool, as_json: bool) -> int:
    """Write the NODES of a network's config as hosts into the project's ansible/.

    If its hosts.yml lists hosts, it stays as it is, and the NODES without a host are named; the exit
    code is 1 if there are any.
    """
    from fission.cli.loading import load_network
    from fission.core.nodes import LocalNode, MultiNode
    from fission.provision.inventory import ListedNode, inventory_text, read_hosts, without_host
    from fission.provision.places import HOSTS, make_folder

    session.network = network
    config = load_network(session).config
    make_folder(session.root)
    path = session.root / "ansible" / HOSTS
    patterns = [node.ip for node in config.nodes if isinstance(node, MultiNode)]
    listed = [node for node in config.nodes if not isinstance(node, (LocalNode, MultiNode)) and node.ip not in HERE]
    nodes = [ListedNode(node.name, node.ip) for node in listed]
    hosts = read_hosts(path)
    written = replace or not hosts
    if written:
        settings = {"fission_client": config.client_ip, "fission_port": config.port, "fission_root": config.remote_root}
        text = inventory_text(nodes, {name: value for name, value in settings.items() if value}, config.user or "")
        path.write_text(text, encoding="utf-8")
        hosts = nodes
    missing = without_host(nodes, hosts)
    if as_json:
        found = {"file": str(path), "written": written, "hosts": [host.name for host in hosts]}
        click.echo(json.dumps({**found, "without_host": [node.name for node in missing], "patterns": patterns}))
        return EXIT_FAILED if missing else EXIT_OK
    shown = path.relative_to(session.root)
    if written:
        click.echo(f"wrote {len(nodes)} hosts to {shown}; set them up with: fission provision servers")
    elif not missing:
        click.echo(f"every one of the NODES has a host in {shown}")
    for node in missing:
        address = f" ({node.address})" if node.name != node.address else ""
        click.echo(f"{node.name}{address}: no host in {shown}; add it there, or write the file anew: --replace")
    for pattern in patterns:
        click.echo(f"{pattern} is a pattern: list the hosts that match it in {shown} yourself")
    return EXIT_FAILED if missing else EXIT_OK
