"""Checks of a network before it starts: how pipes join its jobs, and how `run` is written.

attribute_checks.py checks the types and ranges of class attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any

from fission.core.addresses import LOCALHOST, is_ip, same_key
from fission.core.attribute_checks import attribute_faults, job_classes
from fission.core.base_node import group_names
from fission.core.block_file import BlockFile
from fission.core.dummies import dummy_fault
from fission.core.executable_job import ExecutableJob
from fission.core.groups import ANNOUNCED
from fission.core.nodes import MultiNode
from fission.core.pipes import OptionalMixIn
from fission.core.python_job import LocalJob, PythonJob
from fission.core.registry import in_parentheses, place_of
from fission.errors import Fault, error_text, value_text

if TYPE_CHECKING:
    from fission.core.base_job import BaseJob
    from fission.core.base_node import BaseNode
    from fission.core.base_pipe import BasePipe
    from fission.core.job_graph import JobGraph


#: The name of the machine that runs a network, in messages.
CLIENT = "client"
_OWN_MODULES = {f"fission.core.{name}" for name in ("python_job", "predefined", "record_jobs")}


def check_network(network: JobGraph) -> list[Fault]:
    """Return all faults of a network, each once, in the order: jobs, pipes, cycles, nodes."""
    faults = [
        *_job_faults(network),
        *_name_faults(network),
        *attribute_faults(network),
        *_end_faults(network),
        *_pipe_faults(network),
        *_cycle_faults(network),
        *_node_faults(network),
    ]
    return list(dict.fromkeys(faults))  # a fault of a class is found at each of its jobs


def named(job: BaseJob) -> str:
    """Return a job's name and place, as in ``SourceJob 1 (config.py:12)``."""
    return job._fission_name + in_parentheses(job._fission_place)


def _these(jobs: tuple[BaseJob, ...]) -> str:
    return " and ".join(named(job) for job in jobs)


# -- pipes and their ends


def _end_faults(network: JobGraph) -> Iterator[Fault]:
    # A job whose __init__ does not reach BaseJob has lost its pipes: reports of their missing ends would only hide the cause.
    lost = any(not job._fission_initialised for job in network.jobs.values())
    for number, pipe in network.pipes.items():
        sources, destinations = network.producers(number), network.consumers(number)
        for jobs, end, side in ((sources, "sources", "outputs"), (destinations, "destinations", "inputs")):
            if len(jobs) > 1 and len(set(jobs)) == 1:
                yield Fault(
                    f"pipe {number} is listed more than once in the {side} of {named(jobs[0])}; list it once", jobs[0]._fission_place
                )
            elif len(jobs) > 1:
                many = "two" if len(jobs) == 2 else str(len(jobs))
                yield Fault(f"pipe {number} has {many} {end}: {_these(jobs)}; give each its own id", jobs[-1]._fission_place)
        if lost:
            continue
        if not sources and not destinations:
            yield Fault(
                f"pipe {number} ({type(pipe).__name__}) belongs to no job; list it in one job's outputs and another's inputs, or remove it",
                pipe.created_at,
            )
        elif not sources:
            yield Fault(
                f"pipe {number} has no source: {_these(destinations)} reads it, but no job has it in its outputs",
                destinations[0]._fission_place,
            )
        elif not destinations:
            yield Fault(
                f"pipe {number} has no destination: {_these(sources)} writes it, but no job has it in its inputs", sources[0]._fission_place
            )


def _pipe_faults(network: JobGraph) -> Iterator[Fault]:
    for number, pipe in network.pipes.items():
        yield from _end_class_faults(pipe, "SOURCE_JOBS", network.producers(number))
        yield from _end_class_faults(pipe, "DESTINATION_JOBS", network.consumers(number))
        if isinstance(pipe, OptionalMixIn) and not pipe.ASYNC:
            name = type(pipe).__name__
            yield Fault(
                f"{pipe}: {name} is an OptionalMixIn but not ASYNC; list OptionalMixIn before the pipe's class, "
                f"as in class {name}(OptionalMixIn, PicklePipe)",
                pipe.created_at,
            )
        if pipe.ASYNC is True and pipe.OPTIONAL_DEFAULT is not None:
            try:
                pipe.unpack(pipe.OPTIONAL_DEFAULT)
            except BaseException as error:  # unpack is user code
                yield Fault(
                    f"{pipe}: OPTIONAL_DEFAULT goes through unpack as if it had been read, but unpack refuses "
                    f"{value_text(pipe.OPTIONAL_DEFAULT)}: {error_text(error)}",
                    pipe.created_at,
                )

        if hasattr(pipe, "get_dummy"):
            text = _dummy_fault(pipe, pipe.get_dummy)
            if text:
                yield Fault(f"{pipe}: {text}", pipe.created_at)


def _dummy_fault(pipe: BasePipe, get_dummy: Any) -> str:
    """Return the fault of `get_dummy`.

    It is only called after another failure, so its faults must be found before.
    """
    try:
        payload = get_dummy()
    except BaseException as error:  # get_dummy is user code
        return f"get_dummy, which stands for a lost block, fails: {error_text(error)}"
    fault = dummy_fault(pipe, payload)
    if fault:
        return fault
    try:
        pipe.unpack(pipe.read(BlockFile(payload)))
    except BaseException as error:  # read and unpack may be user code
        return f"get_dummy returned {bytes(payload)!r:.60}, which the pipe's own read and unpack refuse: {error_text(error)}"
    return ""


def _end_class_faults(pipe: BasePipe, attribute: str, jobs: tuple[BaseJob, ...]) -> Iterator[Fault]:
    allowed: Any = getattr(pipe, attribute)
    if not allowed or not job_classes(allowed):
        return
    for job in jobs:
        if not isinstance(job, tuple(allowed)):
            end = "source" if attribute == "SOURCE_JOBS" else "destination"
            names = " or ".join(entry.__name__ for entry in allowed)
            yield Fault(f"{pipe}: its {end} must be of class {names} ({attribute}), but is {named(job)}", job._fission_place)


# -- cycles


def _cycle_faults(network: JobGraph) -> Iterator[Fault]:
    for number in network.pipes:
        for job in set(network.producers(number)) & set(network.consumers(number)):
            yield Fault(
                f"pipe {number} leads from {named(job)} back to the same job; keep the value in an attribute instead", job._fission_place
            )
    for cycle in _cycles(network):
        way = "".join(f"{job._fission_name} -> pipe {pipe.id} -> " for job, pipe in cycle)
        yield Fault(
            f"the jobs wait for each other in a cycle: {way}{cycle[0][0]._fission_name}; make one of its pipes optional (ASYNC)",
            cycle[0][0]._fission_place,
        )


def _cycles(network: JobGraph) -> Iterator[list[tuple[BaseJob, BasePipe]]]:
    """Yield cycles of at least two jobs through non-ASYNC pipes; each job on any cycle is on one
    of them.
    """
    ways = {
        number: [
            (destination, pipe)
            for pipe in job.outputs
            if not pipe.ASYNC
            for destination in network.consumers(pipe.id)
            if destination is not job and destination._fission_id in network.jobs
        ]
        for number, job in network.jobs.items()
    }
    seen: set[int] = set()
    for number, job in network.jobs.items():
        if number in seen:
            continue
        cycle = _shortest_cycle(job, ways)
        if cycle:
            seen.update(on._fission_id for on, _ in cycle)
            yield cycle


def _shortest_cycle(start: BaseJob, ways: dict[int, list[tuple[BaseJob, BasePipe]]]) -> list[tuple[BaseJob, BasePipe]]:
    came: dict[int, tuple[BaseJob, BasePipe]] = {}
    waiting = [start]
    for job in waiting:  # breadth first; grows during the loop
        for destination, pipe in ways[job._fission_id]:
            if destination._fission_id not in came:
                came[destination._fission_id] = (job, pipe)
                waiting.append(destination)
    if start._fission_id not in came:
        return []
    cycle = [came[start._fission_id]]
    while cycle[0][0] is not start:
        cycle.insert(0, came[cycle[0][0]._fission_id])
    return cycle


# -- jobs


def _name_faults(network: JobGraph) -> Iterator[Fault]:
    first: dict[str, BaseJob] = {}
    for job in network.jobs.values():
        other = first.setdefault(job._fission_name, job)
        if other is not job:
            text = f"two jobs are called {job._fission_name}: {named(other)} and {named(job)}; give each another name"
            yield Fault(text, job._fission_place)


def _job_faults(network: JobGraph) -> Iterator[Fault]:
    for job in network.jobs.values():
        if not job._fission_initialised:
            yield _forgotten_init(job)
            continue
        name, place = job._fission_name, job._fission_place
        python, executable = isinstance(job, PythonJob), isinstance(job, ExecutableJob)
        if python and executable:
            yield Fault(f"{name} is a PythonJob and an ExecutableJob; derive it from one of them", place)
        elif python:
            yield from _run_faults(job)
            yield from _setup_faults(job)
        elif not executable:
            yield Fault(f"{name} cannot be run: {type(job).__name__} must also derive from PythonJob or an ExecutableJob", place)
        if isinstance(job, LocalJob) and "LOCAL" not in group_names(job.GROUPS):
            yield Fault(f'{name} is a LocalJob, so its GROUPS must contain "LOCAL", but is {job.GROUPS!r}', place)
        for text in job._fission_faults():
            yield Fault(f"{name}: {text}", place)


def _forgotten_init(job: BaseJob) -> Fault:
    code = getattr(type(job).__init__, "__code__", None)
    for cls in type(job).__mro__:
        if "__init__" in cls.__dict__:
            owner = cls.__name__
            break
    place = place_of(code.co_filename, code.co_firstlineno) if code else job._fission_place
    return Fault(f"{named(job)}: {owner}.__init__ must call super().__init__(*args, **kwargs), so that FISSION learns its pipes", place)


def _run_faults(job: BaseJob) -> Iterator[Fault]:
    method = job._fission_run if isinstance(job, PythonJob) else "run"
    run = getattr(job, method)
    function = getattr(run, "__func__", run)
    if getattr(function, "__module__", None) in _OWN_MODULES:
        if function.__qualname__ in ("PythonJob.run", "LoggingJob.run_job"):
            yield Fault(f"{job._fission_name}: {type(job).__name__} must override {method}", job._fission_place)
        return
    code = getattr(function, "__code__", None)
    place = place_of(code.co_filename, code.co_firstlineno) if code else job._fission_place
    what = f"{type(job).__name__}.{method}"
    if not callable(run):
        yield Fault(f"{named(job)}: {what} must be a method, but is {run!r}", job._fission_place)
        return
    if iscoroutinefunction(run) or isasyncgenfunction(run):
        yield Fault(f"{named(job)}: {what} must not be async: a job has its own process, and may block", place)
    if isgeneratorfunction(run) and not job._fission_is_source:
        yield Fault(
            f"{named(job)}: {what} is a generator (it has a yield), which only a job without inputs, or with only ASYNC ones, may have; "
            "return the value instead",
            place,
        )
    try:
        taken = signature(run)
    except ValueError:
        yield Fault(f"{named(job)}: {what} has no self; write def {method}(self, ...)", place)
        return
    except TypeError:  # a callable without a signature, such as some that are not written in Python
        return
    try:
        taken.bind(*job.inputs)
    except TypeError as error:
        numbers = ", ".join(str(pipe.id) for pipe in job.inputs)
        many = "1 input (pipe " if len(job.inputs) == 1 else f"{len(job.inputs)} inputs (pipes "
        many = f"{many}{numbers})" if numbers else "no inputs"
        yield Fault(
            f"{named(job)} has {many}, but {what}{taken} cannot be called with as many arguments: {error}",
            place,
        )


def _setup_faults(job: BaseJob) -> Iterator[Fault]:
    """Check the methods that FISSION calls without arguments, on the node: `setup`, and `setup_job`
    of jobs that log.
    """
    logs = isinstance(job, PythonJob) and job._fission_run == "run_job"
    for name in ("setup", "setup_job") if logs else ("setup",):
        method = getattr(job, name, None)
        function = getattr(method, "__func__", method)
        if method is None or getattr(function, "__module__", None) in _OWN_MODULES:
            continue
        code = getattr(function, "__code__", None)
        place = place_of(code.co_filename, code.co_firstlineno) if code else job._fission_place
        what = f"{named(job)}: {type(job).__name__}.{name}"
        if not callable(method):
            yield Fault(f"{what} must be a method, but is {method!r}", job._fission_place)
            continue
        if iscoroutinefunction(method) or isasyncgenfunction(method) or isgeneratorfunction(method):
            yield Fault(f"{what} must be a plain method: with async def or yield its body would not run", place)
        try:
            taken = signature(method)
        except ValueError:
            yield Fault(f"{what} has no self; write def {name}(self, *args, **kwargs)", place)
            continue
        except TypeError:  # a callable without a signature, such as some that are not written in Python
            continue
        try:
            taken.bind()
        except TypeError as error:
            yield Fault(
                f"{what}{taken} must take no arguments besides self, because it is called without any: {error}; store the values that it "
                "needs in attributes in __init__",
                place,
            )


# -- nodes


def _named_like(node: BaseNode, nodes: Iterable[BaseNode]) -> BaseNode | None:
    """Return another node whose address is the name of this one."""
    return next((other for other in nodes if other is not node and _is_address_of(node.name, other) and not node.admits(node.name)), None)


def _is_address_of(name: str, node: BaseNode) -> bool:
    if isinstance(node, MultiNode):
        return is_ip(name) and node.admits(name)
    return same_key(name) == same_key(node.ip)


def _node_faults(network: JobGraph) -> Iterator[Fault]:
    first: dict[str, Any] = {}
    names: dict[str, Any] = {}
    for node in network.nodes:
        key = same_key(node.ip)
        if node.named and not isinstance(node, MultiNode):
            if (other := _named_like(node, network.nodes)) is not None:
                text = f"the node {node.ip} is called {node.name}, which is the address of {other}{in_parentheses(other.created_at)}"
                yield Fault(f"{text}; give it another name", node.created_at)
            if node.name == CLIENT:
                yield Fault(
                    f"a node is called {CLIENT}, which is the name of the machine that runs the network; rename it", node.created_at
                )
            elif node.name in names and key not in first:
                other = names[node.name]
                text = (
                    f"two nodes are called {node.name}: {other.ip} and {node.ip}{in_parentheses(other.created_at)}; give each its own name"
                )
                yield Fault(text, node.created_at)
            names.setdefault(node.name, node)
        if key in first:
            yield Fault(f"the node {node.ip} is listed twice{in_parentheses(first[key].created_at)}; list it once", node.created_at)
        first.setdefault(key, node)
        groups: Any = node.GROUPS
        if not isinstance(groups, str) and not (isinstance(groups, (list, tuple)) and all(isinstance(group, str) for group in groups)):
            yield Fault(f"{node}: GROUPS must be a text or a list of texts, but is {groups!r}", node.created_at)


def place_warnings(network: JobGraph) -> list[str]:
    """Return a warning about jobs that no node can take: at most one text, none for a network on
    this machine.
    """
    nodes = network.nodes
    if all(not isinstance(node, MultiNode) and node.ip in LOCALHOST for node in nodes):
        return []
    lost = [job for job in network.jobs.values() if not _can_go(job, nodes)]
    if not lost:
        return []
    groups = dict.fromkeys(name for job in lost for name in group_names(job.GROUPS))
    wanted = f"none of the nodes is in {' or '.join(groups)}" if groups else "none of the nodes is their DEFAULT_NODE"
    without = [node.name for node in nodes if not node.groups]
    why = f"; {', '.join(without)}: in no group (of a CSV row without groups, write ALL into its third column)" if without else ""
    return [f"no node for {', '.join(job._fission_name for job in lost)}: {wanted}{why}"]


def _can_go(job: BaseJob, nodes: Sequence[BaseNode]) -> bool:
    wanted = set(group_names(job.GROUPS))
    default = str(job.DEFAULT_NODE or "")
    if "LOCAL" in wanted:
        return True
    if nodes and not wanted.isdisjoint(ANNOUNCED):
        return True  # which nodes have one is not known before they answer
    return any(not wanted.isdisjoint(node.groups) or (default and (default == node.name or node.admits(default))) for node in nodes)
