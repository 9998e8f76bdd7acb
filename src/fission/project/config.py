"""Loading a network's config.py: one frozen `Config` and a checked `Network`, or all of their
faults at once.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fission.core.base import BaseJob, BaseNode, Registry, collecting, collecting_copy
from fission.core.network import Network
from fission.core.nodes import LocalNode
from fission.errors import ConfigError, Fault
from fission.project.csv import read_jobs, read_nodes
from fission.project.finding import find_project, list_networks, require_network
from fission.project.importing import exception_fault, import_fresh, put_first, relative, relocate
from fission.project.making import Maker
from fission.project.names import nearest, shown
from fission.project.preload import preload_faults
from fission.project.settings import SETTINGS, InvalidValue
from fission.project.shipping import shipping_faults

log = logging.getLogger("fission.project")

__all__ = ["Config", "LoadedNetwork", "find_project", "list_networks", "load", "load_incomplete", "loaded_here", "require_network"]


@dataclass(frozen=True)
class Config:
    """The checked settings of a network, each the lower-case name of a setting; sizes in bytes,
    times in seconds.

    Attributes:
        jobs: from JOBS, its CSV files and XML_FILE, in this order.
        nodes: from NODES, its CSV files and XML_FILE; empty if loaded for a simulation.
        log_file: relative to the project, unless absolute.
        xml_file: resolved path; None if there is none.
        user, remote_root, client_ip, cluster: None if not set.
    """

    user: str | None = None
    remote_root: str | None = None
    log_level: str = "INFO"
    log_file: str = "FISSION.log"
    client_ip: str | None = None
    debug_window: bool = False
    jobs: tuple[BaseJob, ...] = ()
    nodes: tuple[BaseNode, ...] = ()
    pre_copy: bool = False
    xml_file: Path | None = None
    xml_args: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    pulse_interval: float = 0.1
    head_size: int = 1
    cluster: str | None = None
    port: int = 8786
    allocation_timeout: float = 30.0
    restarts: int | None = 5
    restart_window: float = 60.0
    orphan_timeout: float = 60.0
    deadline: float | None = None
    keep_runs: int | None = 10
    security: bool = True
    dashboard: int | str | None = None


@dataclass(frozen=True)
class LoadedNetwork:
    """A network that was loaded without faults.

    Attributes:
        name: its name.
        root: the project's folder, absolute.
        folder: the network's folder, absolute.
        config: its settings.
        network: its jobs and pipes.
        notes: accepted values that have no effect, one line each, for the log.
    """

    name: str
    root: Path
    folder: Path
    config: Config
    network: Network
    notes: tuple[str, ...] = ()


def load(root: Path, name: str, *, simulation: bool = False, module: str = "") -> LoadedNetwork:
    """Load and check the network *name* of the project *root*; executes config.py each time.

    Puts *root* first on sys.path. Not thread-safe, because imports are global.

    Args:
        root: the project's folder.
        name: name of the network.
        simulation: whether to ignore NODES, CLIENT_IP, USER, REMOTE_ROOT and CLUSTER.
        module: dotted name of another module with the settings; default: ``NAME.config``.

    Raises:
        UnknownNameError: there is no such network.
        ConfigError: with all faults, each with its file and line if known, relative to the project.
    """
    root = root.resolve()
    _require(root, name, module)
    put_first(root)
    with collecting() as registry:
        loaded = _Loader(root, name, registry, simulation, module).load()
        faults = registry.faults or []
    return _right(loaded, faults, root)


@contextlib.contextmanager
def loaded_here(root: Path, name: str, config: object, *, simulation: bool = False) -> Iterator[LoadedNetwork]:
    """Use the network *name*, from a config that is already imported, with its present jobs, in the
    with-block.

    Args:
        root: the project's folder.
        name: name of the network; its folder is created if necessary.
        config: the module, or any object with the settings as attributes. Its jobs are those of the
            current registry.
        simulation: as for `load`.

    Raises:
        ConfigError: as for `load`.
    """
    root = root.resolve()
    put_first(root)
    with collecting_copy() as registry:
        loaded = _Loader(root, name, registry, simulation, given=config).load()
        found = _right(loaded, registry.faults or [], root)
        found.folder.mkdir(exist_ok=True)
        yield found


def _require(root: Path, name: str, module: str) -> None:
    """Like `require_network`; a network with settings in another module needs only a folder."""
    if not (module and (root / name).is_dir()):
        require_network(root, name)


def _right(loaded: LoadedNetwork | None, faults: Sequence[Fault], root: Path) -> LoadedNetwork:
    if loaded is None or faults:
        raise ConfigError(dict.fromkeys(relocate(fault, root) for fault in faults))
    return loaded


def load_incomplete(root: Path, name: str, *, module: str = "") -> tuple[LoadedNetwork, Registry, tuple[Fault, ...]]:
    """Load the network *name* despite faults: pipes may have open ends, settings may be refused.

    Args:
        root, name, module: as for `load`.

    Returns:
        The network with the jobs that could be created, the registry of all jobs, pipes, nodes and
        groups, and the faults.

    Raises:
        UnknownNameError: there is no such network.
        ConfigError: its config.py cannot be executed.
    """
    root = root.resolve()
    _require(root, name, module)
    put_first(root)
    with collecting() as registry:
        loaded = _Loader(root, name, registry, False, module).load()
        faults = tuple(dict.fromkeys(relocate(fault, root) for fault in registry.faults or []))
    if loaded is None:
        raise ConfigError(faults)
    return loaded, registry, faults


class _Loader:
    """One load of one config, by its module's name or as a given object; the registry collects the
    faults.
    """

    def __init__(self, root: Path, name: str, registry: Registry, simulation: bool, module: str = "", given: object = None) -> None:
        self.root, self.name, self.registry, self.simulation = root, name, registry, simulation
        self.folder = root / name
        self.module = module or f"{name}.config"
        self.given = given
        self.file = self.module.replace(".", "/") + ".py"
        if given is not None:
            self.file = relative(getattr(given, "__file__", None) or type(given).__name__, root)
        self.maker = Maker(root, self.folder, registry)
        self.lines = _assigned(root / self.file)
        self.refused: set[str] = set()  # settings with invalid values
        self.notes: list[str] = []  # for the log: values without effect
        self.complete = True  # False once a job could not be created: checks of the network would only repeat that

    def fault(self, text: str, setting: str | None = None) -> None:
        line = self.lines.get(setting or "")
        self.registry.report(Fault(text, f"{self.file}:{line}" if line else self.file))

    @property
    def _faults(self) -> list[Fault]:
        return self.registry.faults if self.registry.faults is not None else []

    def load(self) -> LoadedNetwork | None:
        config = self._run() if self.given is None else self.given
        if config is None:
            self._misspelt(dict.fromkeys(self.lines))
            return None
        return self._build(vars(config))

    def _build(self, names: Mapping[str, Any]) -> LoadedNetwork:
        self._misspelt(names)
        values = self._settings(names)
        jobs = self._jobs(values["jobs"], values.get("xml_file") is not None)
        nodes = () if self.simulation else self._nodes(values["nodes"])
        xml_jobs, xml_nodes = self._xml(values, nodes)
        values.update(jobs=(*jobs, *xml_jobs), nodes=(*nodes, *xml_nodes))
        for text in preload_faults(values.get("preload", ()), self.root):
            self.fault(text, "PRELOAD")
        config = Config(**values)
        network = Network(self.name, {job._fission_id: job for job in config.jobs}, config.nodes)
        if self.complete:
            faults = network.check()
            shipping = [fault for job in config.jobs for fault in shipping_faults(job, self.root, here=self.simulation)]
            for fault in (*faults, *shipping):
                self.registry.report(fault)
            if faults:
                self._unlisted(config.jobs)
        return LoadedNetwork(self.name, self.root, self.folder, config, network, tuple(self.notes))

    def _run(self) -> types.ModuleType | None:
        try:
            # If this config imports another network's config, that one's jobs must enter this registry, so it is imported again.
            return import_fresh(self.module, [f"{network}.config" for network in list_networks(self.root)])
        except ConfigError as error:
            for fault in error.faults:
                self.registry.report(fault)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the user's module may raise anything, or call exit()
            self.registry.report(exception_fault(error, self.root, self.file))
        return None

    def _misspelt(self, names: Mapping[str, object]) -> None:
        for name, value in names.items():
            if (
                name in SETTINGS
                or name.startswith("_")
                or not name.isupper()
                or isinstance(value, (type, types.ModuleType))
                or callable(value)
            ):
                continue
            meant = nearest(name, SETTINGS)
            if meant is not None and not name.startswith(f"{meant}_"):  # DEADLINE_S is a constant, not a slip of the pen
                self.fault(f"{name} is not a setting; did you mean {meant}? If it is a constant of your own, give it another name", name)

    def _settings(self, names: Mapping[str, object]) -> dict[str, Any]:
        """Return field of `Config` -> value, for all valid settings in config.py."""
        values: dict[str, Any] = {"jobs": (), "nodes": ()}
        for setting in SETTINGS.values():
            if setting.name not in names or (self.simulation and setting.remote):
                continue
            value = names[setting.name]
            if setting.name == "REMOTE_ROOT" and names.get("USER") == "" and isinstance(value, str) and "//" in value:
                log.debug("REMOTE_ROOT %r contains an empty USER, so it counts as not set", value)
                continue
            try:
                parsed = setting.parse(value)
            except InvalidValue as refused:
                hint = f"; {refused}" if str(refused) else ""
                self.fault(f"{setting.name} must be {setting.must}, but is {shown(value)}{hint}", setting.name)
                self.refused.add(setting.name)
                self.complete = self.complete and setting.name not in ("JOBS", "XML_FILE", "XML_ARGS")
            else:
                values[setting.field] = parsed
        if "JOBS" not in names and not names.get("XML_FILE"):
            other = next((name for name in names if name.casefold() == "jobs" and isinstance(names[name], list)), None)
            hint = f"; rename {other}: settings are written in capitals" if other else ""
            self.fault(f"JOBS is missing; it must be {SETTINGS['JOBS'].must}{hint}")
            self.complete = False
        return values

    def _path(self, text: str, setting: str) -> Path | None:
        path = self.maker.find(text)
        if path is None:
            self.fault(f"{setting} names the file {text!r}, which is neither in the project nor in {self.name}; correct the path", setting)
        return path

    def _jobs(self, entries: Sequence[object], has_xml: bool) -> list[BaseJob]:
        jobs: list[BaseJob] = []
        listed: set[int] = set()  # by id(): a job of the user may compare as it likes
        faults = self._faults
        for number, entry in enumerate(entries, 1):
            before = len(faults)
            if isinstance(entry, (str, Path)):
                path = self._path(str(entry), "JOBS")
                if path is not None:
                    jobs += read_jobs(path, self.maker)
                    listed.update(map(id, jobs))
                    if len(faults) == before and not jobs:
                        self.fault(f"JOBS names the file {str(entry)!r}, which has no jobs", "JOBS")
            elif not isinstance(entry, BaseJob):
                call = f"; create one: {entry.__name__}(...)" if isinstance(entry, type) and issubclass(entry, BaseJob) else ""
                self.fault(f"entry {number} of JOBS must be a job, but is {shown(entry)}{call}", "JOBS")
            elif id(entry) in listed:
                self.fault(f"{entry._fission_name} is listed twice in JOBS; list it once", "JOBS")
            elif self.registry.jobs.get(entry._fission_id) is not entry:
                made = f"{entry._fission_name} was created by a module that is loaded only once ({entry._fission_place})"
                text = f"{made}; create it in {self.file}"
                self.fault(text, "JOBS")
            else:
                jobs.append(entry)
                listed.add(id(entry))
            self.complete = self.complete and len(faults) == before
        if not entries and not has_xml and self.complete:
            self.fault("JOBS is empty; put at least one job into it", "JOBS")
            self.complete = False
        return jobs

    def _nodes(self, entries: Sequence[object]) -> tuple[BaseNode, ...]:
        nodes: list[BaseNode] = []
        for number, entry in enumerate(entries, 1):
            if isinstance(entry, (str, Path)):
                path = self._path(str(entry), "NODES")
                if path is not None:
                    nodes += read_nodes(path, self.maker)
            elif isinstance(entry, LocalNode):
                self.notes.append(f"{entry} in NODES has no effect: the client is always a node")
            elif isinstance(entry, BaseNode):
                nodes.append(entry)
                if entry.without_effect:
                    self.notes.append(f"{entry}: {', '.join(entry.without_effect)} without effect here")
            else:
                call = f"; create one: {entry.__name__}('192.168.4.2')" if isinstance(entry, type) and issubclass(entry, BaseNode) else ""
                self.fault(f"entry {number} of NODES must be a node or the path of a CSV file, but is {shown(entry)}{call}", "NODES")
        return tuple(nodes)

    def _xml(self, values: dict[str, Any], nodes: Sequence[BaseNode]) -> tuple[list[BaseJob], list[BaseNode]]:
        if values.get("xml_file") is None:
            return [], []
        text = str(values["xml_file"])
        path = self.maker.first(text, Path.is_file)
        if path is None:
            places = f"the current folder, nor in the project, nor in {self.name}"
            self.fault(f"XML_FILE names the file {text!r}, which is neither in {places}; correct the path", "XML_FILE")
            self.complete = False
            return [], []
        values["xml_file"] = path
        if "XML_ARGS" in self.refused:  # without its names a valid file would seem full of faults
            return [], []
        from fission.project.xml import read_network  # not at the top: the parser is needed only with such a file

        faults = self._faults
        before = len(faults)
        jobs, addresses = read_network(path, values.get("xml_args", {}), self.maker)
        line = self.lines.get("XML_ARGS", 1)  # a fault without a place is a fault of XML_ARGS
        faults[before:] = [fault if fault.where else Fault(fault.text, f"{self.file}:{line}") for fault in faults[before:]]
        if not jobs and not values["jobs"] and len(faults) == before:
            self.fault(f"XML_FILE names the file {text!r}, which has no jobs", "XML_FILE")
        self.complete = self.complete and len(faults) == before
        if self.simulation:
            return jobs, []
        new = [ip for ip in addresses if not any(node.admits(ip) for node in nodes)]
        made = [self.maker.node(ip, None, None, self.maker.place(path)) for ip in new]
        return jobs, [node for node in made if node is not None]

    def _unlisted(self, jobs: Sequence[BaseJob]) -> None:
        """Report jobs that were created but not listed: not a fault by itself, but the cause of a
        pipe without an end.
        """
        listed = {job._fission_id for job in jobs}
        for job in self.registry.jobs.values():
            if job._fission_id not in listed:
                self.registry.report(
                    Fault(f"{job._fission_name} was created but is not in JOBS; add it to the list, or remove it", job._fission_place)
                )


def _assigned(path: Path) -> dict[str, int]:
    """Return name -> line of its last assignment or import at a file's top level; empty if it
    cannot be parsed.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    lines: dict[str, int] = {}
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue  # a scope of its own
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lines[node.id] = max(node.lineno, lines.get(node.id, 0))
        elif isinstance(node, ast.alias):
            lines[node.asname or node.name] = max(node.lineno, lines.get(node.asname or node.name, 0))
        waiting.extend(ast.iter_child_nodes(node))
    return lines
