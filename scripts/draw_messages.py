"""Draws docs/messages.md from the classes of the messages, so that the page cannot differ from the code.

    .venv/bin/python -m scripts.draw_messages            writes the page
    .venv/bin/python -m scripts.draw_messages --check    exits with 1 if the page differs

A direction is a module of `fission.protocol.messages.directions.DIRECTIONS`: the first paragraph of its docstring introduces its table.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import msgspec

from fission.protocol.messages.codec import DISCRIMINATOR, Codec
from fission.protocol.messages.directions import DIRECTIONS, codecs_of
from scripts.drawn_page import cell, first_paragraph, page_path, write_or_check

PAGE = page_path("messages.md")

HEAD = f"""\
# The messages

The messages between the processes of FISSION. Drawn from the classes by `scripts/draw_messages.py`. Each message is one JSON object; its
member `{DISCRIMINATOR}` names its class, unless its section says otherwise. Decoding is strict: an unknown type, an unknown, missing or
mistyped member, or a message above the size limit of its direction raises `RemoteProtocolError`; the receiver drops the message and
continues. `Whole` is an integer from 0 to 2^63 - 1; from and to a Router, one from -2^53 to 2^53. Members that are
optional or have a default may be left out.
"""

_NONE = re.compile(r"\bNone\b")
_LIMITED = re.compile(r"`Annotated\[(\w+), msgspec\.Meta\((.*)\)\]`")
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "max_length": "length at most"}


def page() -> str:
    """Return the whole page, as it must be in docs/."""
    return "\n".join([HEAD, "\n\n".join(map(section, DIRECTIONS)), ""])


def section(direction: str) -> str:
    """Return the section of one direction: what it is, and the tables of its codecs."""
    codecs = codecs_of(direction)
    heading = direction.rpartition(".")[2].replace("_", " ")
    parts = [f"## {heading[:1].upper()}{heading[1:]}\n", f"{first_paragraph(import_module(direction).__doc__)}\n"]
    for codec in codecs:
        parts += [f"### {codec.name[:1].upper()}{codec.name[1:]}\n"] if len(codecs) > 1 else []
        parts += [f"At most {codec.max_bytes} bytes.\n", table(codec), ""]
    return "\n".join(parts[:-1])


def table(codec: Codec[Any]) -> str:
    """Return the table of the messages of a codec, and that of their parts."""
    parts = dict.fromkeys(part for kind in codec.types for part in _parts(kind))
    return "\n".join(
        [
            f"| `{codec.discriminator}` | Meaning | Members |",
            "|---|---|---|",
            *(_row(title(kind), kind) for kind in codec.types),
            *(["", "| Part | Meaning | Members |", "|---|---|---|"] if parts else []),
            *(_row(f"`{part.__name__}`", part) for part in parts),
        ]
    )


def title(kind: type[msgspec.Struct]) -> str:
    """Return the first cell of a message's row: the value of its discriminator, or its class if it has none."""
    tag = kind.__struct_config__.tag
    return f"({kind.__name__})" if tag is None else f"`{tag}`"


def members(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return what the docstring of a class says of each of its fields."""
    doc = inspect.getdoc(kind) or ""
    lines = doc.split("\nAttributes:\n")[1].split("\n\n")[0].splitlines() if "\nAttributes:\n" in doc else []
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if line.startswith("    ") and not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            found[name] = text
        elif name:
            found[name] += f" {line.strip()}"
    return found


def _row(title: str, kind: type[msgspec.Struct]) -> str:
    meanings = members(kind)
    cells = []
    for field in msgspec.structs.fields(kind):
        written = _type(kind, field.name)
        if written == "None":
            cells.append(f"`{field.encode_name}`: always `null`")
            continue
        optional = "UNSET" in written or (not field.required and field.default is msgspec.UNSET)
        default = "" if field.required else ", optional" if optional else f", default `{_default(field)}`"
        cells.append(f"`{field.encode_name}` ({_described(written)}{default}): {_NONE.sub('null', meanings[field.name])}")
    return f"| {title} | {cell(first_paragraph(kind.__doc__))} | {cell('<br>'.join(cells))} |"


def _type(kind: type, name: str) -> str:
    """Return the annotation of a field, as it is written."""
    written = (inspect.get_annotations(base) for base in kind.__mro__)
    return str(next(each[name] for each in written if name in each))


def _described(annotation: str) -> str:
    """Return an annotation as the page shows it: null for None, limits in words."""
    kinds = [kind for kind in re.split(r" \| (?![^\[]*\])", annotation) if kind != "msgspec.UnsetType"]
    return " or ".join("`null`" if kind == "None" else _LIMITED.sub(_in_words, f"`{kind}`") for kind in kinds)


def _in_words(limited: re.Match[str]) -> str:
    kind, limits = limited.groups()
    return ", ".join([f"`{kind}`", *(f"{_LIMITS[name]} {value}" for name, value in re.findall(r"(\w+)=([^,]+)", limits))])


def _default(field: Any) -> str:
    """Return the default of a field, as JSON has it."""
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return msgspec.json.encode(value).decode()


def _parts(kind: type) -> Iterator[type[msgspec.Struct]]:
    """Yield all parts of a class, and theirs, in the order of its fields."""
    for hint in typing.get_type_hints(kind).values():
        for found in _within(hint):
            yield found
            yield from _parts(found)


def _within(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for argument in typing.get_args(hint):
        yield from _within(argument)


def main(arguments: list[str]) -> int:
    """Write the page, or check it; return the exit code."""
    return write_or_check(PAGE, page(), arguments, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
