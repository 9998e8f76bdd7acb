"""``fission pipelines up|router|broker|pipeliner``."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from fission.cli import interrupts
from fission.cli.page_process import page_option_of
from fission.cli.table import example
from fission.errors import EXIT_INTERRUPTED, EXIT_OK, UserError

API = "tcp://127.0.0.1:5555"
BROADCAST = "tcp://127.0.0.1:5556"

api_option = click.option(
    "--api", default=API, show_default=True, metavar="ADDRESS", envvar="FISSION_API", show_envvar=True, help="The Router's api."
)
broadcast_option = click.option(
    "--broadcast",
    default=BROADCAST,
    show_default=True,
    metavar="ADDRESS",
    envvar="FISSION_BROADCAST",
    show_envvar=True,
    help="The Router's broadcast.",
)
keys_option = click.option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of `fission keys`, the same for all parts of the cluster. [default: none, nothing is encrypted]",
)
verbose_option = click.option("--verbose", is_flag=True, help="Log more.")


def _router_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--interval", type=float, default=60.0, show_default=True, metavar="SECONDS", help="Interval of monitoring."),
        click.option(
            "--store-arg",
            "store_args",
            multiple=True,
            metavar="NAME=VALUE",
            help="An argument of the store; JSON or text. Not for secrets: `ps` shows it. Repeatable.",
        ),
        click.option(
            "--state",
            metavar="FILE|URL",
            help="Database of the pipelines: an SQLite file or postgresql://... [default: router-PORT.sqlite]",
        ),
    ):
        command = option(command)
    return command


def _broker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--number-of-workers", type=click.IntRange(1, 10000), metavar="N", help="Number of worker processes. [default: number of CPUs]"
        ),
        click.option(
            "--store-secret",
            "store_secrets",
            multiple=True,
            metavar="NAME=file:PATH|env:VARIABLE",
            help="A secret argument of the store, from a file or the environment. Repeatable.",
        ),
        click.option("--store", metavar="CLASS", help="The StoreClass, as MODULE.CLASS. [required]"),
        click.option("--tag", "tags", multiple=True, metavar="NAME", help="A tag: jobs with this tag run only here. Repeatable."),
        click.option(
            "--executable",
            "executables",
            multiple=True,
            metavar="NAME=COMMAND",
            help="A worker that is a program: JSON on standard input and output. COMMAND may be a JSON object. Repeatable.",
        ),
        click.option("--workers", multiple=True, metavar="MODULE", help="A module of workers; its __all__ names them. Repeatable."),
    ):
        command = option(command)
    return command


@click.command(
    name="up",
    epilog=example(
        "fission pipelines up --workers workers --store file_store.SimpleFileStore",
        "fission pipelines up --workers workers --store fission.pipelines.stores.SQLStore --store-arg url=results.sqlite",
    ),
)
@_broker_options
@_router_options
@api_option
@broadcast_option
@keys_option
@page_option_of("Serve a web page of the pipelines meanwhile, at PORT or HOST:PORT; without ADDR at 8787.")
@verbose_option
def up(**options: Any) -> int:
    """Run Router, Broker and Pipeliner on this machine until Ctrl-C, each in a process that starts
    again if it dies.

    A line says when jobs can run. Pipelines that were accepted before continue.
    """
    from fission.pipelines.daemon_group import DaemonGroup

    interrupts.loaded()
    _here()
    _refuse_faults(options)
    _warn_of_secrets(options["store_args"])
    number = _broker(options).number_of_workers  # mistakes in the workers or the store are reported once, here
    group = DaemonGroup(
        router=lambda: _router(options),
        broker=lambda: _broker(options),
        pipeliner=lambda: _pipeliner(options),
        api=options["api"],
        keys=options["keys"],
        page=_page(options),
        number=number,
        say=lambda line: click.echo(line, err=True),
    )
    group.run()
    return EXIT_INTERRUPTED


@click.command(name="router", epilog=example("fission pipelines router --api 'tcp://*:5555' --broadcast 'tcp://*:5556'"))
@_router_options
@api_option
@broadcast_option
@keys_option
@verbose_option
def router(**options: Any) -> int:
    """Run the Router until Ctrl-C: it stores pipelines and assigns jobs. A cluster has one."""
    _refuse_faults(options)
    _warn_of_secrets(options["store_args"])
    return _serve(_router(options))


@click.command(
    name="broker", epilog=example("fission pipelines broker --workers workers --store file_store.SimpleFileStore --api tcp://10.0.0.1:5555")
)
@_broker_options
@api_option
@broadcast_option
@keys_option
@verbose_option
def broker(**options: Any) -> int:
    """Run a Broker until Ctrl-C: it runs jobs in worker processes. One or more on each machine,
    each with its own workers.
    """
    _here()
    _refuse_faults(options)
    return _serve(_broker(options))


@click.command(name="pipeliner", epilog=example("fission pipelines pipeliner --api tcp://10.0.0.1:5555 --broadcast tcp://10.0.0.1:5556"))
@api_option
@broadcast_option
@keys_option
@verbose_option
def pipeliner(**options: Any) -> int:
    """Run a Pipeliner until Ctrl-C: it decides which job runs next. One is enough; several share
    the work.
    """
    return _serve(_pipeliner(options))


def _refuse_faults(options: Any) -> None:
    """Check each argument by itself, so that all mistakes are reported together.

    Raises:
        UserError: one line for each fault.
    """
    from fission.pipelines.broker import checked_tags
    from fission.pipelines.daemon import read_keys
    from fission.pipelines.errors import DaemonError
    from fission.pipelines.jobs import load_all_workers, load_class
    from fission.pipelines.router import checked_config
    from fission.pipelines.store_secrets import read_secret

    faults: list[str] = []

    def check(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except UserError as error:
            faults.extend(str(error).splitlines())
            return None

    def each(option: str, function: Callable[[str], tuple[str, Any]], texts: Iterable[str]) -> dict[str, Any]:
        pairs = [pair for text in texts if (pair := check(function, text)) is not None]
        names = [name for name, _ in pairs]
        faults.extend(f"{option} {name} is given twice; remove one" for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    check(_host_port, options["api"], "--api")
    check(_host_port, options["broadcast"], "--broadcast")
    check(read_keys, options["keys"])
    store = each("--store-arg", _argument, options.get("store_args", ()))
    if "interval" in options:
        check(checked_config, {"store": store, "monitoring interval": options["interval"]})
    if "workers" in options:
        executables = each("--executable", _executable, options["executables"])
        if options["workers"] or executables or not options["executables"]:
            check(load_all_workers, list(options["workers"]), executables)
        check(checked_tags, options["tags"])
        each("--store-secret", read_secret, options["store_secrets"])
        if options["store"] is None:
            faults.append("--store must be given: --store MODULE.CLASS")
        else:
            check(load_class, options["store"])
    if faults:
        raise DaemonError("\n".join(dict.fromkeys(faults)))


def _serve(daemon: Any) -> int:
    interrupts.loaded()
    daemon.start()
    return EXIT_INTERRUPTED if daemon.interrupted else EXIT_OK


def _router(options: Any) -> Any:
    from fission.pipelines import Router
    from fission.pipelines.store_secrets import secrets_in

    store = dict(map(_argument, options["store_args"]))
    if "workers" in options:  # `up`: its own Broker gets the secrets directly
        store = {name: value for name, value in store.items() if name not in secrets_in(store)}
    config = {"store": store, "monitoring interval": options["interval"]}
    return Router(
        _host_port(options["api"], "--api"),
        _host_port(options["broadcast"], "--broadcast"),
        config,
        _logger("Router", options),
        state=options["state"],
        keys=options["keys"],
    )


def _broker(options: Any) -> Any:
    from fission.pipelines import Broker
    from fission.pipelines.jobs import load_class
    from fission.pipelines.store_secrets import read_secret, secrets_in

    written = dict(map(_argument, options.get("store_args", ())))
    own = {name: written[name] for name in secrets_in(written)} | dict(map(read_secret, options["store_secrets"]))
    return Broker(
        options["api"],
        options["broadcast"],
        load_class(options["store"]),
        list(options["workers"]),
        _logger("Broker", options),
        number_of_workers=options["number_of_workers"],
        keys=options["keys"],
        store_arguments=own,
        executables=dict(map(_executable, options["executables"])),
        tags=options["tags"],
    )


def _page(options: Any) -> Callable[[], Any] | None:
    """Return what makes the page of `up`, in its process; None: there is none."""
    if options["page_at"] is None:
        return None
    from fission.cli.pipelines_page import PipelinesPage
    from fission.dashboard import server  # noqa: F401 - a missing extra is reported here, once

    return lambda: PipelinesPage(options["api"], options["keys"], options["page_at"], browser=True, err=True, choose="--dashboard ADDR")


def _warn_of_secrets(arguments: Iterable[str]) -> None:
    from fission.pipelines.store_secrets import secrets_in

    for name in secrets_in(dict(map(_argument, arguments))):
        click.echo(
            f"Warning: --store-arg {name} contains a secret, which `ps` shows to all users of this machine; pass it with "
            f"--store-secret {name}=file:PATH or --store-secret {name}=env:VARIABLE",
            err=True,
        )


def _pipeliner(options: Any) -> Any:
    from fission.pipelines import Pipeliner

    return Pipeliner(options["api"], options["broadcast"], _logger("Pipeliner", options), keys=options["keys"])


def _host_port(address: str, option: str) -> tuple[str, int]:
    protocol, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if protocol != "tcp" or not host or not port.isdecimal():
        raise UserError(f"{option} must be like tcp://HOST:PORT, but is {address!r}")
    return host, int(port)


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--store-arg must be NAME=VALUE, but is {text.partition('=')[0]!r}")
    try:
        found = json.loads(value)
    except ValueError:
        return name, value
    _refuse_duplicates(f"--store-arg {name}", value)
    return name, found


def _executable(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--executable must be NAME=COMMAND, but is {text!r}: Count='./count --fast'")
    if not value.lstrip().startswith("{"):
        return name, value
    try:
        found = json.loads(value)
    except ValueError as error:
        raise UserError(f"--executable {name} must be NAME=COMMAND or NAME=JSON, but is not valid JSON: {error}") from None
    _refuse_duplicates(f"--executable {name}", value)
    return name, found


def _refuse_duplicates(what: str, text: str) -> None:
    """Raise UserError if an object of a JSON text has a key twice, of which one would be ignored."""
    from fission.pipelines.duplicate_keys import json_duplicates

    for key, _, _ in json_duplicates(text):
        raise UserError(f"{what}: the key {key!r} appears twice; remove one")


def _here() -> None:
    """Import workers and stores from the current folder, as a script there would."""
    if "" not in sys.path:
        sys.path.insert(0, "")


def _logger(name: str, options: Any) -> logging.Logger:
    logger = logging.Logger(name, logging.DEBUG if options["verbose"] else logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    logger.addHandler(handler)
    return logger
