"""``fission completion SHELL``."""

from __future__ import annotations

import click

from fission.cli.table import Session, example

#: The environment variable by which the shell asks; click's convention for a program of this name.
VARIABLE = "_FISSION_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command(
    name="completion",
    epilog=example(
        "fission completion bash >> ~/.bashrc",
        "fission completion zsh >> ~/.zshrc",
        "fission completion fish > ~/.config/fish/completions/fission.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_obj
def command(session: Session, shell: str) -> None:
    """Write the script with which SHELL completes networks, commands, options, pipes and jobs of
    `fission`.
    """
    from click.shell_completion import get_completion_class

    from fission.cli.grammar import root

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click has no completion for {shell}")
    maker = kind(root, {}, "fission", VARIABLE)
    click.echo(maker.source_template % maker.source_vars())
