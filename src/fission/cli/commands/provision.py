"""``fission provision ...``: sets machines up as nodes."""

from __future__ import annotations

import importlib

import click

from fission.cli.table import example
from fission.errors import EXIT_USAGE

#: Subcommand: (module in fission.cli.commands, name there, one line of help).
PARTS = {
    "init": ("provision_files", "init", "Write ansible/ into a project: the list of hosts, and settings."),
    "inventory": ("provision_files", "inventory", "Write the NODES of a network as hosts, or name those without one."),
    "servers": ("provision_hosts", "servers", "Install FISSION and its service on the hosts, and start it."),
    "client": ("provision_client", "client", "Have this machine run a network from boot on, as a service."),
    "start": ("provision_hosts", "start", "Start the service on the hosts."),
    "stop": ("provision_hosts", "stop", "Stop the service on the hosts."),
    "restart": ("provision_hosts", "restart", "Restart the service on the hosts, one after another."),
    "renew": ("provision_hosts", "renew", "Bring the hosts up to date and restart their services, one after another."),
    "status": ("provision_hosts", "status", "Show the state of the service on the hosts."),
    "logs": ("provision_hosts", "logs", "Show the log of the service on the hosts."),
    "remove": ("provision_hosts", "remove", "Remove FISSION and its service from the hosts."),
}


class Provision(click.Group):
    """Loads a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(PARTS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in PARTS:
            return None
        module, attribute, _ = PARTS[name]
        command = getattr(importlib.import_module(f"fission.cli.commands.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} must be a click command, but is {command!r}")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        from fission.errors import UnknownNameError
        from fission.project.names import did_you_mean

        if args[0] not in PARTS and not args[0].startswith("-") and not ctx.resilient_parsing:  # which is a shell that completes
            raise UnknownNameError(f"there is no command {args[0]!r}{did_you_mean(args[0], PARTS) or '.'} Commands: {', '.join(PARTS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in PARTS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(EXIT_USAGE)
        return super().parse_args(ctx, args)


command = Provision(
    name="provision",
    help="Set machines up as nodes, with Ansible: FISSION, its keys, and its service `fission`.",
    epilog=example("fission provision init", "fission provision servers --ask-become-pass", "fission provision status"),
    subcommand_metavar="COMMAND [OPTIONS]",
)
