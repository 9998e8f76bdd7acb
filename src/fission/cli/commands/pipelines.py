"""``fission pipelines ...``: the daemons, and what is done with pipelines from a terminal."""

from __future__ import annotations

import importlib

import click

from fission.cli.table import example
from fission.errors import EXIT_USAGE

#: Subcommand: (module in fission.cli.commands, name there, one line of help).
PARTS = {
    "up": ("pipelines_daemons", "up", "Run Router, Broker and Pipeliner on this machine until Ctrl-C."),
    "router": ("pipelines_daemons", "router", "Run only a Router."),
    "broker": ("pipelines_daemons", "broker", "Run only a Broker."),
    "pipeliner": ("pipelines_daemons", "pipeliner", "Run only a Pipeliner."),
    "submit": ("pipelines_clients", "submit", "Submit the pipelines of a file."),
    "send": ("pipelines_clients", "send", "Submit pipelines and wait for their end, with a progress bar."),
    "list": ("pipelines_clients", "list_", "List the newest pipelines."),
    "show": ("pipelines_clients", "show", "Show a pipeline and its jobs."),
    "retry": ("pipelines_clients", "retry", "Run the rest of a failed or cancelled pipeline."),
    "cancel": ("pipelines_clients", "cancel", "Cancel a pipeline."),
    "dashboard": ("pipelines_dashboard", "command", "Serve a web page of a running Router's pipelines."),
}


class Pipelines(click.Group):
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


command = Pipelines(
    name="pipelines",
    help="Run graphs of jobs over stored data: a Router keeps them, Brokers run their jobs, Pipeliners drive them.",
    epilog=example(
        "fission pipelines up --workers workers --store file_store.SimpleFileStore",
        "fission pipelines send pipelines.yaml",
        "fission pipelines list",
    ),
    subcommand_metavar="COMMAND [OPTIONS]",
)
