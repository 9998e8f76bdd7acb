"""Creates jobs, pipes and nodes from files: every error becomes a fault at the file's line, and the
rest continues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fission.core import jobs as predefined_jobs
from fission.core import pipes as predefined_pipes
from fission.core.base import BaseJob, BaseNode, BasePipe, Registry, at
from fission.core.nodes import MultiNode
from fission.errors import ConfigError, DefinitionError, Fault
from fission.project.importing import exception_fault, import_class, relative
from fission.project.names import did_you_mean

Made = TypeVar("Made")


class Maker:
    """Creates objects in *registry*, which must be the current one and collect faults.

    Args:
        root: the project; places are relative to it.
        folder: the network's folder; searched for paths that are not in the project.
        registry: takes the faults.
    """

    def __init__(self, root: Path, folder: Path, registry: Registry) -> None:
        self.root = root
        self.folder = folder
        self.registry = registry

    def fault(self, text: str, where: str) -> None:
        """Report one fault."""
        self.registry.report(Fault(text, where))

    def place(self, path: Path, line: int = 0) -> str:
        """Return ``file:line`` for messages; without a line, the file."""
        shown = relative(path, self.root)
        return f"{shown}:{line}" if line else shown

    def find(self, text: str) -> Path | None:
        """Return the file that a config names: absolute, in the project, or in the network's
        folder.
        """
        for base in (self.root, self.folder):
            path = base / text
            if path.is_file():
                return path
        return None

    def first(self, text: str, wanted: Callable[[Path], bool]) -> Path | None:
        """Return the path that an XML file or XML_FILE names: in the current folder, the project or
        the network.
        """
        return next((path for path in (base / text for base in (Path.cwd(), self.root, self.folder)) if wanted(path)), None)

    def read(self, path: Path) -> str | None:
        """Return the text of a UTF-8 file, without a byte-order mark; None after a fault."""
        try:
            return path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            self.fault(f"must be UTF-8 text, but byte {error.start} is not ({error.reason}); save it as UTF-8", self.place(path))
        except OSError as error:
            self.fault(f"cannot be read: {error.strerror}", self.place(path))
        return None

    def make(self, what: str, where: str, build: Callable[[], Made]) -> Made | None:
        """Return the result of *build*; None if it raised, after a fault at *where*, which is also
        the object's place.

        Args:
            what: the object's name in a message.
        """
        try:
            with at(where):
                return build()
        except ConfigError as error:
            for fault in error.faults:
                self.registry.report(fault)
        except DefinitionError as error:
            self.fault(str(error), where)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the user's constructor may raise anything
            self._report(f"{what} cannot be created", error, where)
        return None

    def _report(self, text: str, error: BaseException, where: str) -> None:
        """Report an exception of the user's code at *where*, with the place in the code if there is
        one.
        """
        fault = exception_fault(error, self.root, where)
        self.fault(f"{text}: {fault.text}" + (f" (at {fault.where})" if fault.where != where else ""), where)

    def job(
        self, name: str, where: str, options: Mapping[str, Any], inputs: Sequence[BasePipe], outputs: Sequence[BasePipe]
    ) -> BaseJob | None:
        """Create a job of the class *name*, predefined or dotted; return None after a fault."""
        cls = self._class(name, where, BaseJob, predefined_jobs, "job")
        if cls is None:
            return None
        ends: dict[str, Any] = {key: list(pipes) for key, pipes in (("inputs", inputs), ("outputs", outputs)) if pipes}
        return self.make(name, where, lambda: cls(**options, **ends))

    def pipe(self, text: str, where: str) -> BasePipe | None:
        """Create the pipe that ``Class:id`` or ``Class:id:number...`` names; return None after a
        fault.
        """
        name, *parts = (part.strip() for part in text.split(":"))
        must = "a pipe must be written Class:id, like PicklePipe:1, or BytesPipe:1:64 with its sizes"
        if not name or not parts or not all(part.isascii() and part.isdigit() for part in parts):
            self.fault(f"{must}, but is {text!r}", where)
            return None
        cls = self._class(name, where, BasePipe, predefined_pipes, "pipe")
        if cls is None:
            return None
        return self.make(text, where, lambda: cls(*(int(part) for part in parts)))

    def node(self, ip: str, name: str | None, groups: Sequence[str] | None, where: str) -> BaseNode | None:
        """Create a node; an address with * or / is a MultiNode.

        ``groups``: None: those of its class. None after a fault.
        """
        multi = "*" in ip or "/" in ip
        base = MultiNode if multi else BaseNode
        # Groups belong to a class of nodes, so nodes with groups get their own class, as if written in Python.
        cls = type(base.__name__, (base,), {"GROUPS": list(groups)}) if groups is not None else base
        return self.make(f"node {ip}", where, lambda: cls(ip) if name is None else cls(ip, name))

    def _class(self, name: str, where: str, base: type[Made], predefined: object, what: str) -> type[Made] | None:
        if "." in name:
            try:
                found = import_class(name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # importing runs the user's module
                self._report(f"{name} cannot be imported", error, where)
                return None
        else:
            known = [key for key, value in vars(predefined).items() if isinstance(value, type) and issubclass(value, base)]
            found = getattr(predefined, name, None) if name in known else None
            if found is None:
                own = f"one of your own with its module, like my_network.{what}s.{what}s.{name or 'My' + what.title()}"
                self.fault(f"{name!r} is not a predefined {what}{did_you_mean(name, known) or '.'} Write {own}", where)
                return None
        if not (isinstance(found, type) and issubclass(found, base)):
            self.fault(f"{name} must be a class of {what}s, but is {found!r}", where)
            return None
        return found
