"""Jobs and nodes from CSV files.

Files are UTF-8, separated by commas, semicolons or tabs. The header line is optional if the columns
have the order below; empty lines and lines that begin with # are ignored. A first line ``sep=;``
names the separator.

**Jobs**: ``class,inputs,outputs,options``. *class* is a predefined job (``CSVSinkJob``) or one of
the user's with its module (``demo.jobs.jobs.SourceJob``). *inputs* and *outputs* are pipes,
separated by
semicolons, each ``Class:id``. Numbers after the id are further arguments of the pipe's class:
``BytesPipe:3:64`` has blocks of 64 bytes and ``BytesPipe:3:64:4`` four of them in a compute block.
*options* is a JSON object with the job's keyword arguments. The jobs get ids in the order of the
lines, after the jobs that config.py itself has created::

    class,inputs,outputs,options
    demo.jobs.jobs.SourceJob,,PicklePipe:1,"{""start"": 20, ""step"": 2}"
    CSVSinkJob,PicklePipe:1,,"{""path"": ""numbers.csv""}"

**Nodes**: ``name,ip,group...``. *name* may be empty; an *ip* with * or / is a MultiNode; all
further
columns are groups. Without any, the node is in no group: it takes only jobs that name it as their
DEFAULT_NODE::

    name,ip,group
    kitchen,192.168.4.2,HAS_MIC,ALL
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fission.core.base import BaseJob, BaseNode, BasePipe
from fission.project.making import Maker

JOB_COLUMNS = ("class", "inputs", "outputs", "options")
NODE_COLUMNS = ("name", "ip")
#: The first line with which a file tells a spreadsheet its separator.
_DECLARED = re.compile(r"sep=([,;\t])\r?\n", re.IGNORECASE)
_FIRST_CELL = re.compile(r'\s*(?:"(?:[^"]|"")*"|[^",;\t]*)\s*([,;\t])')


def read_jobs(path: Path, maker: Maker) -> list[BaseJob]:
    """Return the jobs of a CSV file, in order.

    Reports faults to *maker*, with their lines; leaves out faulty jobs.
    """
    jobs: list[BaseJob] = []
    for line, cells in _rows(path, maker):
        where = maker.place(path, line)
        columns = JOB_COLUMNS
        if cells[0].casefold() == "class":
            if [cell.casefold() for cell in cells] != list(JOB_COLUMNS)[: len(cells)]:
                maker.fault(f"the columns must be {','.join(JOB_COLUMNS)}, but are {','.join(cells)}", where)
                return jobs
            continue
        if len(cells) > len(columns):
            text = f"a job must have at most {len(columns)} columns ({','.join(columns)}), but this line has {len(cells)}"
            maker.fault(f"{text}; put a cell that contains the file's separator (comma or semicolon) into quotes", where)
            continue
        name, inputs, outputs, options = (*cells, "", "", "", "")[:4]
        if not name:
            maker.fault("the class of the job is missing; write it into the first column", where)
            continue
        pipes_in, pipes_out, keywords = _pipes(inputs, where, maker), _pipes(outputs, where, maker), _options(options, where, maker)
        if pipes_in is not None and pipes_out is not None and keywords is not None:
            job = maker.job(name, where, keywords, pipes_in, pipes_out)
            if job is not None:
                jobs.append(job)
    return jobs


def read_nodes(path: Path, maker: Maker) -> list[BaseNode]:
    """Return the nodes of a CSV file, in order.

    Reports faults to *maker*, with their lines; leaves out faulty nodes.
    """
    nodes: list[BaseNode] = []
    for line, cells in _rows(path, maker):
        where = maker.place(path, line)
        if [cell.casefold() for cell in cells[:2]] == list(NODE_COLUMNS):
            continue
        if len(cells) < 2 or not cells[1]:
            maker.fault("the address of the node is missing; write a line as name,ip,group,...", where)
            continue
        node = maker.node(cells[1], cells[0] or None, [cell for cell in cells[2:] if cell], where)
        if node is not None:
            nodes.append(node)
    return nodes


def _rows(path: Path, maker: Maker) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line, and the stripped cells, of each row that counts."""
    text = maker.read(path)
    if text is None:
        return
    declared = _DECLARED.match(text)
    before = 0 if declared is None else 1
    text = text if declared is None else text[declared.end() :]
    separator = _separator(text) if declared is None else declared[1]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=separator)
    line = before + 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith("#"):
                yield line, cells
            line = before + reader.line_num + 1
    except csv.Error as error:
        rule = f"put a cell that contains {separator!r} or quotes into quotes, and write each quote in it twice"
        maker.fault(f"is not CSV: {error}; {rule}", maker.place(path, line))


def _separator(text: str) -> str:
    """Return the separator after the first cell: spreadsheets use semicolons where commas are
    decimal points.
    """
    for line in text.splitlines():
        if line.strip(" ,;\t") and not line.lstrip().startswith("#"):
            found = _FIRST_CELL.match(line)
            return found[1] if found else ","
    return ","


def _pipes(cell: str, where: str, maker: Maker) -> Sequence[BasePipe] | None:
    pipes = [maker.pipe(text, where) for text in cell.split(";") if text.strip()]
    found = [pipe for pipe in pipes if pipe is not None]
    return found if len(found) == len(pipes) else None


def _options(cell: str, where: str, maker: Maker) -> dict[str, object] | None:
    if not cell:
        return {}
    must = "options must be a JSON object with the job's keyword arguments"
    try:
        options = json.loads(cell, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        maker.fault(f"{must}, but are {cell!r}: {error}", where)
        return None
    if not isinstance(options, dict):
        maker.fault(f"{must}, but are {cell!r}", where)
        return None
    misplaced = [key for key in options if key in ("inputs", "outputs")]
    if misplaced:
        maker.fault(f"{' and '.join(misplaced)} cannot be options; write the pipes into their columns", where)
        return None
    wrong = [key for key in options if not key.isidentifier()]
    if wrong:
        maker.fault(f"options must have names of arguments as keys, but one is {wrong[0]!r}", where)
        return None
    return options


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object's pairs as a dict; refuses duplicate keys, which JSON itself permits."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is duplicate")
    return made
