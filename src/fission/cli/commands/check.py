"""``fission NETWORK check``."""

from __future__ import annotations

import json
from typing import Any

import click

from fission.cli import interrupts
from fission.cli.loading import prints_apart
from fission.cli.table import Session, example
from fission.errors import EXIT_NO_PLACE, EXIT_OK, ConfigError

#: Default of --jobs-per-node: the number of CPUs of the boards on which such networks run.
JOBS_PER_NODE = 4


@click.command(
    name="check",
    epilog=example("fission my_network check", "fission my_network check --json", "fission my_network check --survive --pairs"),
)
@click.option("--survive", is_flag=True, help="For each node, say whether all jobs would find a place without it.")
@click.option("--pairs", is_flag=True, help="With --survive: also for each pair of nodes.")
@click.option(
    "--jobs-per-node",
    type=click.IntRange(min=1),
    default=JOBS_PER_NODE,
    metavar="N",
    help=f"With --survive: number of jobs on a node without max_jobs. Default: {JOBS_PER_NODE}.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.pass_obj
def command(session: Session, survive: bool, pairs: bool, jobs_per_node: int, as_json: bool) -> int:
    """Load the network and check all of its config, jobs and pipes, without starting anything.

    All faults are reported at once, with file and line. The exit code is 2 if there are faults;
    warnings do not count. With --survive it is 3 if some job would be left without a place.
    """
    from fission.errors import UserError
    from fission.project.config import load
    from fission.project.foresight import warnings_of

    if pairs and not survive:
        raise click.UsageError("--pairs must be used with --survive; add --survive")
    try:
        with interrupts.Noticed(), prints_apart():
            loaded = load(session.root, session.network, module=session.config_module)
    except ConfigError as error:
        if not as_json:
            raise
        _write(session.network, False, faults=[{"where": fault.where, "text": fault.text} for fault in error.faults])
        return error.exit_code
    network = loaded.network
    warnings = warnings_of(loaded)
    if loaded.config.preload:
        from fission.client.dry_run.preloading import try_preload

        try:
            warnings += try_preload(loaded)
        except UserError as error:
            if not as_json:
                raise
            _write(session.network, False, faults=[{"where": "", "text": str(error)}])
            return error.exit_code
    counts = {"jobs": len(network.jobs), "pipes": len(network.pipes), "nodes": len(loaded.config.nodes)}
    losses = _losses(network, jobs_per_node, pairs) if survive else []
    if survive:
        from fission.client.dry_run.survival import guessed

        warnings += guessed(network)
    if as_json:
        survived = {"survive": [_loss_json(loss) for loss in losses]} if survive else {}
        _write(session.network, True, warnings=warnings, **counts, **survived)
    else:
        for warning in warnings:
            click.secho("Warning: ", fg="yellow", bold=True, nl=False, err=True)
            click.echo(warning, err=True)
        found = ", ".join(f"{count} {name if count != 1 else name[:-1]}" for name, count in counts.items())
        click.echo(f"{session.network}: OK ({found})")
        for loss in losses:
            for line in _loss_lines(loss):
                click.echo(line)
    return EXIT_NO_PLACE if any(loss.unplaced for loss in losses) else EXIT_OK


def _losses(network: Any, jobs_per_node: int, pairs: bool) -> list[Any]:
    from fission.client.dry_run.survival import survival

    return list(survival(network, jobs_per_node=jobs_per_node, pairs=pairs))


def _loss_lines(loss: Any) -> list[str]:
    without = f"without {' and '.join(loss.nodes)}" if loss.nodes else "with all nodes"
    if loss.unplaced:
        lines = [f"  {without}: no place for {', '.join(loss.unplaced)}"]
        return lines + [f"    {job}: {why}" for job, why in loss.unplaced.items()]
    if not loss.nodes:
        return [f"  {without}: every job has a place"]
    moved = ", ".join(f"{job} to {node}" for job, node in loss.moved.items())
    return [f"  {without}: every job has a place" + (f" ({moved})" if moved else " (it has none)")]


def _loss_json(loss: Any) -> dict[str, object]:
    return {"lost": list(loss.nodes), "ok": not loss.unplaced, "moved": loss.moved, "unplaced": loss.unplaced}


def _write(network: str, right: bool, **rest: object) -> None:
    click.echo(json.dumps({"network": network, "ok": right, "faults": [], "warnings": [], **rest}, indent=2))
