"""Jobs and nodes from CSV files.

Both kinds are UTF-8, separated by commas, with a header line that may be left out when the columns have the order below; empty lines
and lines that begin with # do not count.

**Jobs**: ``class,inputs,outputs,options``. *class* is a predefined job (``CSVSinkJob``) or an own one with its module
(``demo.jobs.jobs.SourceJob``). *inputs* and *outputs* are pipes, separated by semicolons, each ``Class:id``; numbers behind the id are
passed to the pipe's class behind the id, so ``BytesPipe:3:64`` has blocks of 64 bytes and ``BytesPipe:3:64:4`` four of them in a compute
block. *options* is a JSON object with the job's keyword arguments. The jobs get their ids in the order of the lines, behind those that
config.py itself has made::

    class,inputs,outputs,options
    demo.jobs.jobs.SourceJob,,PicklePipe:1,"{""start"": 20, ""step"": 2}"
    CSVSinkJob,PicklePipe:1,,"{""path"": ""numbers.csv""}"

**Nodes**: ``name,ip,group...``. *name* may be empty; an *ip* with * or / is a MultiNode; all further columns are groups. Without any, the
node is in no group: it takes only jobs that name it as their DEFAULT_NODE::

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
_FIRST_CELL = re.compile(r'\s*(?:"(?:[^"]|"")*"|[^",;\t]*)\s*([,;\t])')


def read_jobs(path: Path, maker: Maker) -> list[BaseJob]:
    """The jobs of a CSV file, in its order. What is wrong is reported to *maker*, with its line; such jobs are left out."""
    jobs: list[BaseJob] = []
    for line, cells in _rows(path, maker):
        where = maker.place(path, line)
        columns = JOB_COLUMNS
        if cells[0].casefold() == "class":
            if [cell.casefold() for cell in cells] != list(JOB_COLUMNS)[: len(cells)]:
                maker.fault(f"the columns must be {','.join(JOB_COLUMNS)}, are {','.join(cells)}", where)
                return jobs
            continue
        if len(cells) > len(columns):
            text = f"a job has at most {len(columns)} columns ({','.join(columns)}), this line has {len(cells)}"
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
    """The nodes of a CSV file, in its order. What is wrong is reported to *maker*, with its line; such nodes are left out."""
    nodes: list[BaseNode] = []
    for line, cells in _rows(path, maker):
        where = maker.place(path, line)
        if [cell.casefold() for cell in cells[:2]] == list(NODE_COLUMNS):
            continue
        if len(cells) < 2 or not cells[1]:
            maker.fault("the address of the node is missing; a line is name,ip,group,...", where)
            continue
        node = maker.node(cells[1], cells[0] or None, [cell for cell in cells[2:] if cell], where)
        if node is not None:
            nodes.append(node)
    return nodes


def _rows(path: Path, maker: Maker) -> Iterator[tuple[int, list[str]]]:
    """Line number (of its first line) and stripped cells of each row that counts."""
    text = maker.read(path)
    if text is None:
        return
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=separator)
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith("#"):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        rule = f"put a cell that contains {separator!r} or quotes into quotes, and write each quote in it twice"
        maker.fault(f"is not CSV: {error}; {rule}", maker.place(path, line))


def _separator(text: str) -> str:
    """What ends the first cell of the first line that counts: spreadsheets write semicolons where a comma is part of numbers."""
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
        maker.fault(f"{must}, are {cell!r}: {error}", where)
        return None
    if not isinstance(options, dict):
        maker.fault(f"{must}, are {cell!r}", where)
        return None
    misplaced = [key for key in options if key in ("inputs", "outputs")]
    if misplaced:
        maker.fault(f"{' and '.join(misplaced)} cannot be options; write the pipes into their columns", where)
        return None
    wrong = [key for key in options if not key.isidentifier()]
    if wrong:
        maker.fault(f"options must have names of arguments as keys, {wrong[0]!r} is none", where)
        return None
    return options


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object's pairs as a dict; a key that is there twice is a slip that JSON itself lets pass."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return made
