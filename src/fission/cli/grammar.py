"""The grammar ``NETWORK COMMAND [options]`` as click groups: the first word is a network or a
command that needs none.
"""

from __future__ import annotations

import contextlib

import click
from click.shell_completion import CompletionItem

import fission
from fission.cli.table import COMMANDS, INSTEAD, Session, example
from fission.errors import EXIT_USAGE, UnknownNameError, UserError

#: The options that show a command's help.
HELP_OPTIONS = ("-h", "--help")


def _wants_help(args: list[str]) -> bool:
    return any(option in args for option in HELP_OPTIONS)


class _Group(click.Group):
    """A group that needs another word: without one its help goes to stderr, with the exit code for
    incorrect use.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:  # click's own way of doing this changed its exit code in 8.2
            click.echo(ctx.get_help(), err=True)
            ctx.exit(EXIT_USAGE)
        return super().parse_args(ctx, args)


class Root(_Group):
    """The whole command line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete networks of the project, commands that need none, and options."""
        from fission.project.finding import list_networks

        networks: list[str] = []
        with contextlib.suppress(UserError):  # no project here
            networks = list_networks(ctx.obj.root)
        anywhere = [entry.name for entry in COMMANDS.values() if entry.scope == "anywhere"]
        words = [*networks, *anywhere, *(option for option in (*HELP_OPTIONS, "--version") if incomplete)]
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        word, rest = args[0], args[1:]
        session: Session = ctx.obj
        entry = COMMANDS.get(word)
        if entry is None:
            return word, NetworkCommands(word), rest
        if entry.scope == "anywhere":
            return word, entry.load(), rest
        if not _wants_help(rest) and not ctx.resilient_parsing:
            network = rest[0] if rest and not rest[0].startswith("-") else "NETWORK"
            raise UserError(f"{word!r} is a command of a network; put the network first: {session.prog} {network} {word}")
        return "NETWORK", NetworkCommands("NETWORK"), args

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_commands(formatter, "Commands", "anywhere")
        _write_commands(formatter, "Commands after the name of a network", "new", "network")

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "NETWORK COMMAND [OPTIONS]")
        formatter.write_usage(ctx.command_path, "startproject NAME")


class NetworkCommands(_Group):
    """The commands of one network.

    Args:
        network: its name, as typed; verified when a command that needs it runs.
    """

    def __init__(self, network: str) -> None:
        super().__init__(
            name=network,
            help="Work with one network of the project.",
            epilog=example(f"fission {network} simulate", f"fission {network} simulate --help"),
            subcommand_metavar="COMMAND [OPTIONS]",
        )
        self.network = network

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            self.require_known(ctx.obj)
        return super().parse_args(ctx, args)

    def require_known(self, session: Session) -> None:
        """Refuse a single word that names neither a network nor a command.

        Raises:
            UnknownNameError: the current project has no such network.
        """
        from fission.project.finding import list_networks
        from fission.project.names import did_you_mean

        try:
            root = session.root
        except UserError:  # no project here: every name is possible
            return
        networks = list_networks(root)
        if self.network not in networks:
            hint = did_you_mean(self.network, [*networks, *COMMANDS]) or "."
            raise UnknownNameError(
                f"{self.network!r} is neither a network of {root} nor a command{hint} "
                f"Networks: {', '.join(networks) or 'none yet'}. Commands: {session.prog} --help"
            )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [entry.name for entry in COMMANDS.values() if entry.scope != "anywhere"]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands of a network, with their descriptions."""
        entries = [entry for entry in COMMANDS.values() if entry.scope != "anywhere"]
        return [CompletionItem(entry.name, help=entry.help) for entry in entries if entry.name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_commands(formatter, "Commands", "new", "network")

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        word, rest = args[0], args[1:]
        session: Session = ctx.obj
        session.network = self.network
        entry = COMMANDS.get(word)
        if entry is None and ctx.resilient_parsing:  # completion only
            return None, None, []
        if entry is None:
            raise UnknownNameError(self._unknown(word, session))
        if word == "startproject":  # NAME startproject, the word order of fission_admin.py
            return word, entry.load(), [self.network, *rest]
        if entry.scope == "anywhere":
            if not _wants_help(rest) and not ctx.resilient_parsing:
                raise UserError(f"{word!r} is a command without a network: {' '.join([session.prog, word, *rest])}")
            return word, entry.load(), rest
        if entry.scope == "network" and not session.config_module and not _wants_help(rest) and not ctx.resilient_parsing:
            from fission.project.finding import require_network

            require_network(session.root, self.network)
        return word, entry.load(), rest

    def _unknown(self, word: str, session: Session) -> str:
        from fission.project.finding import require_network
        from fission.project.names import did_you_mean

        text = f"there is no command {word!r}"
        if word in INSTEAD:
            text += f": {INSTEAD[word].format(prog=session.prog, network=self.network)}"
        else:
            text += f"{did_you_mean(word, COMMANDS) or '.'} Commands: {', '.join(COMMANDS)}"
        try:
            require_network(session.root, self.network)
        except UnknownNameError as error:  # both words are wrong: report both
            return f"{text}\n{error}"
        except UserError:  # no project: the command is the more likely mistake
            pass
        return text


def _write_commands(formatter: click.HelpFormatter, title: str, *scopes: str) -> None:
    with formatter.section(title):
        formatter.write_dl([(entry.name, entry.help) for entry in COMMANDS.values() if entry.scope in scopes])


root = Root(
    name="fission",
    help="Networks of jobs, joined by pipes, that survive the loss of the machines they run on.",
    context_settings={"help_option_names": list(HELP_OPTIONS)},
    epilog=example(
        "fission startproject my_project", "cd my_project", "fission my_network startnetwork", "fission my_network simulate --for 10"
    ),
)
click.version_option(fission.__version__, message="fission %(version)s")(root)
