"""Jobs and nodes from an XML file of an older MARVELO.

::

    <network>
      <node pi_id="192.168.4.2">
        <algorithm path="demo/source/fobi" executable="./whiten.py">
          <parameter param="--gain 2"/>
          <input pipe_id="1" block_size="1024" block_count="1"/>
          <output pipe_id="2" block_size="1024"/>
        </algorithm>
      </node>
    </network>

Each algorithm is a `DynamicMARVELOJob` whose DEFAULT_NODE is the node's address; ``path`` is its
DEPENDENCIES, and the parameters are joined by spaces in order. The depth of an element determines
its kind: the root, nodes and algorithms may have any tags (``<job>``). A pipe is a `BytesPipe`; its
sizes are needed at one of its ends only (default 1), and not at all if config.py creates the pipe.
``path`` is relative to the current folder, the project or the network, in this order. Other
attributes of existing files (``target_pi_id``, ``source_pi_id``) are ignored. XML_ARGS renames
attributes, and the tags inside an algorithm. A document type (DTD), entities and external
references are refused: they can make a small file fill the memory, or read other files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler

from fission.core.addresses import is_host
from fission.core.base import BaseJob, BasePipe
from fission.core.jobs import DynamicMARVELOJob
from fission.core.pipes import BytesPipe
from fission.project.making import Maker
from fission.project.names import did_you_mean, nearest
from fission.project.settings import XML_NAMES
from fission.project.xml_encoding import UnreadableText, as_utf8


@dataclass
class _End:
    """One end of a pipe; None where an attribute is missing."""

    pipe_id: int
    block_size: int | None
    block_count: int | None
    line: int


@dataclass
class _Algorithm:
    ip: str
    executable: str
    dependencies: str | None
    line: int
    parameters: list[str] = field(default_factory=list)
    inputs: list[_End] = field(default_factory=list)
    outputs: list[_End] = field(default_factory=list)


def read_network(path: Path, xml_args: Mapping[str, str], maker: Maker) -> tuple[list[BaseJob], list[str]]:
    """Return the jobs of an XML file and the addresses of its nodes, in order; report faults to
    *maker*.

    Args:
        path: the file.
        xml_args: role -> name in this file, for the renamed roles of `settings.XML_NAMES`.
        maker: creates the jobs and takes the faults.
    """
    names = {**XML_NAMES, **xml_args}
    if _ambiguous(names, maker):
        return [], []
    handler = _Handler(names, path, maker)
    if not _parse(path, handler, maker):
        return [], []
    pipes = _pipes(handler.algorithms, path, maker)
    jobs = []
    for algorithm in handler.algorithms:
        job = _job(algorithm, pipes, maker.place(path, algorithm.line), maker)
        if job is not None:
            jobs.append(job)
    return jobs, list(dict.fromkeys(handler.ips))


def _ambiguous(names: Mapping[str, str], maker: Maker) -> bool:
    """Report tags, or attributes of one tag, with the same name; return whether there are any."""
    together = (("input", "output", "parameter_tag"), ("executable", "dependencies"), ("pipe_id", "block_size", "block_count"))
    found = False
    for group in ({role: names[role] for role in roles} for roles in together):
        seen: dict[str, str] = {}
        for role, name in group.items():
            if name in seen:
                maker.fault(f"XML_ARGS must give each role its own name, but {seen[name]} and {role} are both {name!r}", "")
                found = True
            seen.setdefault(name, role)
    return found


def _parse(path: Path, handler: _Handler, maker: Maker) -> bool:
    """Parse the file with *handler*; return False after a fault that ends parsing."""
    from defusedxml.common import DefusedXmlException, DTDForbidden, EntitiesForbidden
    from defusedxml.sax import make_parser

    parser: Any = make_parser()
    parser.forbid_dtd = True
    parser.forbid_entities = True
    parser.forbid_external = True
    parser.setContentHandler(handler)
    try:
        parser.parse(io.BytesIO(as_utf8(path.read_bytes())))
    except DTDForbidden:
        text = "has a document type (<!DOCTYPE ...>), which is refused, and with it all entities; remove it and write the values in place"
        maker.fault(text, maker.place(path, parser.getLineNumber()))
    except EntitiesForbidden as error:
        text = f"defines the entity {error.name!r}; entities are refused, write the value in place"
        maker.fault(text, maker.place(path, parser.getLineNumber()))
    except DefusedXmlException as error:
        maker.fault(f"refers to an external resource, which is refused: {error}", maker.place(path, parser.getLineNumber()))
    except SAXParseException as error:
        maker.fault(f"is not well-formed XML: {error.getMessage()}", maker.place(path, error.getLineNumber() or 1))
    except OSError as error:
        maker.fault(f"cannot be read: {error.strerror}", maker.place(path))
    except UnreadableText as error:
        maker.fault(str(error), maker.place(path, error.line))
    else:
        return True
    return False


class _Handler(ContentHandler):
    """Checks the elements in order and stores them with their lines.

    Depth determines their kind: root, node, algorithm, part.
    """

    def __init__(self, names: Mapping[str, str], path: Path, maker: Maker) -> None:
        super().__init__()
        self.algorithms: list[_Algorithm] = []
        self.ips: list[str] = []
        self._names = names
        self._path = path
        self._maker = maker
        self._open: list[str] = []  # the open tags, outermost first
        self._unknown = 0  # depth of the unknown element around the parser's position; 0: none
        self._ip = ""
        self._current: _Algorithm | None = None
        self._locator: Any = None
        self._ends = (names["input"], names["output"])
        self._parts = (names["parameter_tag"], *self._ends)

    def setDocumentLocator(self, locator: Any) -> None:
        self._locator = locator

    @property
    def _line(self) -> int:
        return int(self._locator.getLineNumber() or 1)

    def _fault(self, text: str) -> None:
        self._maker.fault(text, self._maker.place(self._path, self._line))

    def startElement(self, name: str, attrs: Any) -> None:
        self._open.append(name)
        depth = len(self._open)
        if self._unknown:  # reported once, at its start
            return
        if depth == 2:
            self._node(name, attrs)
        elif depth == 3:
            self._algorithm(name, attrs)
        elif depth == 4 and name in self._parts:
            if name in self._ends:
                self._end(name, attrs)
            else:
                self._parameter(name, attrs)
        elif depth >= 4:
            self._unknown = depth
            allowed = self._parts if depth == 4 else ()
            here = f"in <{self._open[-2]}>"
            must = f"only {' or '.join(f'<{tag}>' for tag in allowed)} is allowed {here}" if allowed else f"no element is allowed {here}"
            self._fault(f"{must}, but there is <{name}>{did_you_mean(name, allowed)}")

    def endElement(self, name: str) -> None:
        if len(self._open) == self._unknown:
            self._unknown = 0
        self._open.pop()

    def _misspelt(self, tag: str, attrs: Any, roles: Sequence[str]) -> None:
        known = [self._names[role] for role in roles]
        for attribute in attrs.getNames():
            meant = nearest(attribute, known)
            if attribute not in known and meant is not None and meant not in attrs.getNames():
                self._fault(f"<{tag}> has an unknown attribute {attribute!r}; did you mean {meant!r}?")

    def _required(self, tag: str, role: str, attrs: Any) -> str | None:
        attribute = self._names[role]
        value = str(attrs.get(attribute, "")).strip()
        if value:
            return value
        problem = "is empty" if attribute in attrs.getNames() else "is missing"
        renamed = f" (or name the attribute that has it: XML_ARGS = {{{role!r}: ...}})" if problem == "is missing" else ""
        self._fault(f'the attribute {attribute!r} of <{tag}> {problem}; write <{tag} {attribute}="...">{renamed}')
        return None

    def _node(self, tag: str, attrs: Any) -> None:
        if self._names["ip"] not in attrs.getNames() and "ip" in attrs.getNames():
            ip = str(attrs["ip"]).strip() or self._required(tag, "ip", attrs)
        else:
            self._misspelt(tag, attrs, ("ip",))
            ip = self._required(tag, "ip", attrs)
        self._ip = ip or ""
        if ip is None:
            return
        if is_host(ip):
            self.ips.append(ip)
        else:
            self._fault(f"{self._names['ip']} must be an IP address or host name, but is {ip!r}")

    def _algorithm(self, tag: str, attrs: Any) -> None:
        self._misspelt(tag, attrs, ("executable", "dependencies"))
        executable = self._required(tag, "executable", attrs)
        dependencies = str(attrs.get(self._names["dependencies"], "")).strip() or None
        self._current = _Algorithm(self._ip, executable or "", dependencies, self._line)
        if executable is not None:
            self.algorithms.append(self._current)

    def _parameter(self, tag: str, attrs: Any) -> None:
        self._misspelt(tag, attrs, ("parameter",))
        attribute = self._names["parameter"]
        value = str(attrs[attribute]).strip() if attribute in attrs.getNames() else self._required(tag, "parameter", attrs)
        if value and self._current is not None:  # in existing files param="" means none
            self._current.parameters.append(value)

    def _end(self, tag: str, attrs: Any) -> None:
        self._misspelt(tag, attrs, ("pipe_id", "block_size", "block_count"))
        given = self._required(tag, "pipe_id", attrs) is not None
        pipe_id = self._number("pipe_id", attrs) if given else None
        size, count = self._number("block_size", attrs), self._number("block_count", attrs)
        if pipe_id is not None and self._current is not None:
            ends = self._current.inputs if tag == self._ends[0] else self._current.outputs
            ends.append(_End(pipe_id, size, count, self._line))

    def _number(self, role: str, attrs: Any) -> int | None:
        attribute = self._names[role]
        text = str(attrs.get(attribute, "")).strip()
        if not text:
            return None
        if text.isascii() and text.isdigit() and int(text[:20]) >= 1 and len(text) <= 18:
            return int(text)
        self._fault(f"{attribute} must be a whole number, 1 or more, but is {text!r}")
        return None


def _pipes(algorithms: list[_Algorithm], path: Path, maker: Maker) -> dict[int, BasePipe]:
    """Return the pipes in the file; leaves out those without a valid size, after a fault."""
    ends: dict[int, list[_End]] = {}
    for algorithm in algorithms:
        for end in (*algorithm.inputs, *algorithm.outputs):
            ends.setdefault(end.pipe_id, []).append(end)
    pipes: dict[int, BasePipe] = {}
    for pipe_id, both in ends.items():
        where = maker.place(path, both[0].line)
        sizes = {end.block_size: end.line for end in both if end.block_size is not None}
        counts = {end.block_count: end.line for end in both if end.block_count is not None}
        conflict = [(name, found) for name, found in (("block_size", sizes), ("block_count", counts)) if len(found) > 1]
        for name, found in conflict:
            values = " and ".join(f"{value} in line {line}" for value, line in found.items())
            maker.fault(f"the ends of pipe {pipe_id} must have the same {name}, but have {values}", where)
        known = maker.registry.pipes.get(pipe_id)
        if conflict:
            continue
        if known is not None and all(size == known.BLOCK_SIZE for size in sizes) and all(count == known.BLOCK_COUNT for count in counts):
            pipes[pipe_id] = known
        else:
            size, count = next(iter(sizes), 1), next(iter(counts), 1)
            made = maker.make(f"pipe {pipe_id}", where, lambda i=pipe_id, s=size, c=count: BytesPipe(i, s, c))  # type: ignore[misc]
            if made is not None:
                pipes[pipe_id] = made
    return pipes


def _job(algorithm: _Algorithm, pipes: Mapping[int, BasePipe], where: str, maker: Maker) -> BaseJob | None:
    ends = (*algorithm.inputs, *algorithm.outputs)
    if any(end.pipe_id not in pipes for end in ends):
        return None  # reported with the pipe

    def build() -> BaseJob:
        return DynamicMARVELOJob(
            executable=algorithm.executable,
            dependencies=_folder(algorithm.dependencies, maker),
            parameters=" ".join(algorithm.parameters),
            default_node=algorithm.ip or None,
            inputs=[pipes[end.pipe_id] for end in algorithm.inputs],
            outputs=[pipes[end.pipe_id] for end in algorithm.outputs],
        )

    return maker.make(f"the job of {algorithm.executable}", where, build)


def _folder(text: str | None, maker: Maker) -> str | None:
    """Return the folder for DEPENDENCIES: as written if it is in the project (or missing),
    otherwise absolute.
    """
    if text is None:
        return None
    found = maker.first(text, Path.is_dir)
    return text if found is None or found == maker.root / text else str(found)
