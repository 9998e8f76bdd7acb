"""The commands of ``fission provision`` that work on hosts."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fission.cli import interrupts
from fission.cli.table import example
from fission.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from fission.provision.faults import Attempt
    from fission.provision.playbook import PlaybookRun


#: Ansible's setting of a file with the password, by option: for where no one can be asked.
PASSWORD_FILES = {"ask_pass": "ANSIBLE_CONNECTION_PASSWORD_FILE", "ask_become_pass": "ANSIBLE_BECOME_PASSWORD_FILE"}


def _at_a_terminal(ctx: click.Context, option: click.Parameter, value: bool) -> bool:
    """Check that there is a terminal before Ansible asks for a password: without one, it takes the password for empty."""
    from fission.errors import UserError

    if value and not ctx.resilient_parsing and not _has_terminal():
        assert option.name is not None
        raise UserError(
            f"{option.opts[0]} must be used at a terminal, which asks for the password, but there is none; leave it out, and name a file "
            f"with the password: {PASSWORD_FILES[option.name]}=FILE fission provision ..."
        )
    return value


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin is not None and sys.stdin.isatty()
    return True


ask_become_pass = click.option("--ask-become-pass", "-K", is_flag=True, callback=_at_a_terminal, help="Ask for the sudo password.")


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all of these commands have."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object: command, hosts, ok."),
        ask_become_pass,
        click.option("--ask-pass", "-k", is_flag=True, callback=_at_a_terminal, help="Ask for the ssh password."),
        click.option("--limit", "-l", default="", metavar="HOSTS", help="Only these hosts: names, separated by commas, or a pattern."),
        click.option("--verbose", is_flag=True, help="Show all that Ansible reports of failures, and what changed."),
    ):
        function = option(function)
    return function


_check = click.option("--check", is_flag=True, help="Change nothing, and show what would change.")


def _installing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the commands that install."""
    folder = click.Path(path_type=Path)
    for option in (
        click.option("--keys", "keys_folder", type=folder, metavar="DIR", help="The network's keys. Default: as for `fission keys`."),
        click.option("--wheelhouse", type=folder, metavar="DIR", help="Install from this folder of wheels, without a package index."),
        click.option("--wheel", type=folder, metavar="FILE", help="A wheel of FISSION. Default: of the version that runs here."),
    ):
        function = option(function)
    return _check(_options(function))


@click.command(
    name="servers",
    epilog=example("fission provision servers -K", "fission provision servers --limit board1,board2 --wheelhouse wheelhouse"),
)
@_installing
def servers(**options: Any) -> int:
    """Install FISSION, the keys and the service `fission` on the hosts, and start it.

    A second run changes nothing. Services that run are restarted if something has changed, one after
    another, so that a running network keeps going.
    """
    return _install("servers", **options)


@click.command(
    name="renew", epilog=example("fission provision renew", "fission provision renew --wheel dist/fission_networks-0.2.0-py3-none-any.whl")
)
@_installing
def renew(**options: Any) -> int:
    """Bring the hosts up to date, as `servers` does, and restart every service, one after another.

    A running network keeps going, also with a new version of FISSION whose first two numbers are the
    same. Other versions are refused while a network of this project runs.
    """
    return _install("renew", **options)


def _install(command: str, *, wheel: Path | None, wheelhouse: Path | None, keys_folder: Path | None, **options: Any) -> int:
    from fission.adapters.keys import NoKeysError, default_folder, load_keys
    from fission.client.attach.running import check_update
    from fission.provision.places import find_folder
    from fission.provision.wheel import obtain_pypelinin, obtain_wheel
    from fission.provision.wheelhouse import pack_wheelhouse
    from fission.service.versions import versions

    interrupts.loaded()
    project = find_folder(Path.cwd()).parent  # before the wheel is built, which takes some seconds
    try:
        keys: Path | None = load_keys((keys_folder or default_folder()).absolute()).folder
    except NoKeysError:
        if keys_folder is not None:
            raise
        keys = None  # hosts with fission_insecure need none
    with tempfile.TemporaryDirectory(prefix="fission-") as folder:
        made = obtain_wheel(wheel, Path(folder))
        check_update(project, made.version)
        names = obtain_pypelinin(made, wheel, Path(folder))
        variables = {
            "fission_wheel": str(made.path),
            "fission_more_wheels": [] if names is None else [str(names.path)],
            "fission_wheel_digest": made.digest + ("" if names is None else f" {names.digest}"),
            "fission_wheelhouse": str(pack_wheelhouse(wheelhouse, Path(folder))) if wheelhouse is not None else "",
            "fission_dask": versions()["Dask"],
            **_keys_variables(keys, Path(folder)),
            "fission_renew": command == "renew",
        }
        return _run(command, "servers", variables, wheelhouse=wheelhouse is not None, **options)


def _keys_variables(keys: Path | None, folder: Path) -> dict[str, object]:
    """Return variables of the role: a folder with the keys, made in an existing one, and the digest of its files, ordered by name."""
    import hashlib

    from fission.adapters.keys import only_keys

    if keys is None:
        return {"fission_keys_from": "", "fission_keys_digest": ""}
    made = only_keys(keys, folder)
    content = b"".join(path.read_bytes() for path in sorted(made.iterdir()))
    return {"fission_keys_from": str(made), "fission_keys_digest": hashlib.sha256(content).hexdigest()}


def _simple(name: str, text: str, *, check: bool) -> click.Command:
    def call(**options: Any) -> int:
        interrupts.loaded()
        return _run(name, name, {}, **options)

    examples = example(f"fission provision {name}", f"fission provision {name} --limit board1")
    return click.command(name=name, help=text, epilog=examples)(_options(_check(call) if check else call))


start = _simple("start", "Start the service on the hosts.", check=True)
stop = _simple("stop", "Stop the service on the hosts, until `start` or the next boot.", check=True)
restart = _simple("restart", "Restart the service on the hosts, one after another.", check=True)
status = _simple("status", "Show the state of the service on the hosts, and which FISSION is installed.", check=False)


@click.command(name="remove", epilog=example("fission provision remove --limit board1", "fission provision remove --purge"))
@click.option("--purge", is_flag=True, help="Also what networks have stored in REMOTE_ROOT, and the user that `servers` has made.")
@_check
@_options
def remove(purge: bool, **options: Any) -> int:
    """Remove FISSION, its keys and its service from the hosts.

    What networks have stored in REMOTE_ROOT stays, unless --purge is given.
    """
    interrupts.loaded()
    return _run("remove", "remove", {"fission_purge": purge}, **options)


@click.command(name="logs", epilog=example("fission provision logs --limit board1", "fission provision logs --lines 500"))
@click.option("--lines", type=click.IntRange(1), default=50, show_default=True, help="Number of lines for each host.")
@_options
def logs(lines: int, **options: Any) -> int:
    """Show the log of the service on the hosts."""
    interrupts.loaded()
    return _run("logs", "logs", {"fission_lines": lines}, **options)


def _run(
    command: str,
    playbook: str,
    variables: dict[str, object],
    *,
    limit: str,
    ask_pass: bool,
    ask_become_pass: bool,
    as_json: bool,
    verbose: bool,
    check: bool = False,
    wheelhouse: bool = False,
) -> int:
    """Run a playbook on hosts of the inventory."""
    from fission.provision.faults import Attempt
    from fission.provision.places import find_folder
    from fission.provision.playbook import PlaybookRun

    attempt = Attempt(f"fission provision {command} --limit", ask_pass, ask_become_pass, wheelhouse)
    run = PlaybookRun(playbook, find_folder(Path.cwd()), limit, "", check, ask_pass, ask_become_pass, variables)
    return perform(command, run, attempt, as_json=as_json, verbose=verbose)


def perform(command: str, run: PlaybookRun, attempt: Attempt, *, as_json: bool, verbose: bool) -> int:
    """Run a playbook, write a line for each host, and return the exit code."""
    from fission.cli.host_lines import HostLines
    from fission.provision.playbook import run_playbook

    lines = HostLines(command, attempt, check=run.check, verbose=verbose, quiet=as_json)
    with lines.progress():
        report = run_playbook(run, lines.on_event)
    if as_json:
        click.echo(json.dumps(lines.as_json(report), indent=2))
    else:
        lines.finish(report)
    return EXIT_FAILED if report.failed() else EXIT_OK
