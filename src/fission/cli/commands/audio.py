"""``fission audio``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import click

from fission.cli.fitted_table import Column, FittedTable
from fission.cli.table import example
from fission.errors import EXIT_OK, DefinitionError, UserError

#: By heading. IN and OUT are numbers of channels.
COLUMNS: Mapping[str, Column] = {
    "NUMBER": Column(lambda device: str(device["number"])),
    "NAME": Column(lambda device: str(device["name"]), left=True, least=20),
    "IN": Column(lambda device: str(device["inputs"])),
    "OUT": Column(lambda device: str(device["outputs"])),
    "RATE": Column(lambda device: f"{device['rate']:g}"),
    "DEFAULT": Column(lambda device: _default(device), left=True),
}
#: Cells of a line without a terminal.
_WIDTH = 80


@click.group(name="audio", epilog=example("fission audio devices"), short_help="Show the sound devices of this machine.")
def command() -> None:
    """Work with the sound devices of this machine."""


@command.command(name="devices", epilog=example("fission audio devices", "fission audio devices --json"))
@click.option("--json", "as_json", is_flag=True, help="One JSON object: devices.")
def devices(as_json: bool) -> int:
    """List the microphones and loudspeakers of this machine.

    A job takes the name, a part of it, or the number as its device. Needs the extra audio.
    """
    from fission.cli.extras import install_command
    from fission.cli.jobs_table import terminal_width
    from fission.connectors.audio.devices import Devices

    try:
        found = [dataclasses.asdict(device) for device in Devices("fission audio devices").all()]
    except DefinitionError as why:
        text = str(why)
        if "portaudio" not in text.lower():
            text = f"{text.partition(';')[0]}; install the extra 'audio': {install_command('audio')}"
        raise UserError(text) from None
    if as_json:
        click.echo(json.dumps({"devices": found}, indent=2))
        return EXIT_OK
    if not found:
        click.echo("This machine has no sound device that PortAudio finds.", err=True)
        return EXIT_OK
    for line in FittedTable(COLUMNS, found, terminal_width() or _WIDTH).lines():
        click.echo(line)
    return EXIT_OK


def _default(device: Mapping[str, Any]) -> str:
    return ", ".join(word for word, value in (("in", device["default_input"]), ("out", device["default_output"])) if value)
