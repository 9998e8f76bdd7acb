"""What a worker process does with a job: retrieve, process, save."""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType, TracebackType
from typing import Any

from fission.pipelines.errors import DaemonError, StoreRaised
from fission.pipelines.executables import executable_worker
from fission.pipelines.slots import Slots
from fission.project.names import shown
from fission.protocol.messages.pipelines.router_to_worker import JobOrder
from fission.protocol.messages.pipelines.wire import convert, decode_object
from fission.protocol.pipeline_limits import DATA_DEPTH, NAME_LENGTH, deeper_than, is_name
from fission.protocol.pipeline_records import RESULT_LIMIT


def load_workers(name: str) -> tuple[ModuleType, dict[str, type]]:
    """Return a module of workers, and the classes that its ``__all__`` names.

    Raises:
        DaemonError: it cannot be imported, has no ``__all__``, or ``__all__`` names something else
            than workers.
    """
    if not isinstance(name, str):
        raise DaemonError(f"workers must be the name of a module, but is {name!r}: 'workers'")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise DaemonError(f"the workers' module {name!r} cannot be imported: {error}") from error
        raise DaemonError(f"there is no module {name!r} with workers: it must be in the current folder or on PYTHONPATH") from None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise DaemonError(f"the workers' module {name!r} cannot be imported: {where.filename}:{where.lineno}: {error!r}") from error
    names = getattr(module, "__all__", None)
    if not isinstance(names, (list, tuple)) or not names:
        raise DaemonError(
            f"the workers' module {name!r} must have an __all__ that names its workers, but has {names!r}: __all__ = ['MyWorker']"
        )
    found = {}
    for worker_name in names:
        if not is_name(worker_name) or len(worker_name) > NAME_LENGTH:
            raise DaemonError(
                f"{name}.__all__ must name classes, without spaces and of at most {NAME_LENGTH} characters, but names {shown(worker_name)}"
            )
        worker = getattr(module, worker_name, None)
        if not isinstance(worker, type) or not callable(getattr(worker, "process", None)):
            raise DaemonError(
                f"{name}.__all__ names {worker_name!r}, which must be a class with requires and process(data), but is {worker!r}"
            )
        found[worker_name] = worker
    return module, found


def load_all_workers(workers: Any, executables: Mapping[str, Any]) -> dict[str, type]:
    """Return the workers of a Broker by name: those of all its modules, and its programs.

    Args:
        workers: the name of a module, or a list of such names.
        executables: by name, as `executable_worker` takes them.

    Raises:
        DaemonError: a module or a program cannot be used, or a name exists twice; one line for each
            fault.
    """
    modules = [workers] if isinstance(workers, str) else workers
    if not isinstance(modules, (list, tuple)) or not (modules or executables):
        raise DaemonError(
            f"workers must be the name of a module or a list of them, but is {workers!r}: 'workers', or ['workers', 'more_workers']"
        )
    found: dict[str, type] = {}
    sources: dict[str, str] = {}
    faults: list[str] = []

    def add(name: str, worker: type, source: str) -> None:
        if found.setdefault(name, worker) is not worker:
            faults.append(f"worker {name!r} must be defined once, but is in {sources[name]} and {source}: rename one")
        sources.setdefault(name, source)

    for module in dict.fromkeys(map(str, modules)) if all(isinstance(each, str) for each in modules) else modules:
        try:
            for name, worker in load_workers(module)[1].items():
                add(name, worker, f"module {module!r}")
        except DaemonError as error:
            faults.append(str(error))
    for name, given in executables.items():
        try:
            add(name, executable_worker(name, given), "the executables")
        except DaemonError as error:
            faults.append(str(error))
    if faults:
        raise DaemonError("\n".join(faults))
    return found


def load_class(name: str) -> Any:
    """Return the class that ``MODULE.CLASS`` names.

    Raises:
        DaemonError: there is none.
    """
    module_name, _, class_name = name.rpartition(".")
    if not module_name:
        raise DaemonError(f"a StoreClass must be named as MODULE.CLASS, but is {name!r}: file_store.SimpleFileStore")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise DaemonError(f"the module of the StoreClass {name!r} cannot be imported: {error!r}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        there = [each for each, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__]
        raise DaemonError(f"{module_name} has no class {class_name!r}; it has {', '.join(there) or 'none'}")
    return found


def new_store(store_class: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Return a store of the user's class.

    Raises:
        DaemonError: it cannot be constructed with these arguments.
    """
    shown = getattr(store_class, "__name__", repr(store_class))
    try:
        return store_class(**arguments)
    except Exception as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise DaemonError(
            f"the store {shown}({given}) cannot be constructed: {error!r}; the arguments come from the Router's config['store'], and "
            "secret ones from this Broker (--store-secret)"
        ) from error


class JobRunner:
    """Runs jobs in this process, one at a time."""

    def __init__(
        self, workers: Mapping[str, type], make_store: Callable[[], Any], slots: Slots, slot: int, scrub: Callable[[str], str] = str
    ) -> None:
        """Prepare; the store is made with the first job.

        Args:
            workers: classes by name.
            make_store: makes an object with `retrieve` and `save`.
            slots: shared with the Broker.
            slot: in which the process notes what it runs.
            scrub: removes secrets from the text of an error.
        """
        self._workers = workers
        self._make_store = make_store
        self._scrub = scrub
        self._slots = slots
        self._slot = slot
        self._store: Any = None
        self._made: dict[str, Any] = {}

    def __call__(self, body: str) -> tuple[str, str] | str | None:
        """Run a job, a `JobOrder`; return None, JSON of the result if it must be stored, or (error,
        traceback).
        """
        order: JobOrder = convert(decode_object(body.encode()), JobOrder)
        self._slots.begin(self._slot, order)
        try:
            name = order.worker
            worker = self._made.get(name)
            if worker is None:
                worker = self._made[name] = self._workers[name]()
            if self._store is None:
                self._store = self._make_store()
            info = {"worker": name, "worker_requires": getattr(worker, "requires", ()), "data": order.data, "job id": order.id}
            given = self._store.retrieve(dict(info))
            result = worker.process(given)
            kept = result_text(result) if order.last else None
            self._store.save({**info, "worker_result": result})
        except BaseException as error:  # SystemExit and the like, too: a job must not end its process
            line, text = error_texts(error, __file__)
            return self._scrub(line), self._scrub(text)
        finally:
            self._slots.end(self._slot)
        return kept


def result_text(result: Any) -> str:
    """Return JSON of a worker's result: ``value``, or ``omitted`` with the reason."""
    try:
        text = json.dumps({"value": result}, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({"omitted": "it is not of JSON's types"})
    if len(text) > RESULT_LIMIT:
        return json.dumps({"omitted": f"it has {len(text)} characters of JSON, more than {RESULT_LIMIT}"})
    if deeper_than(DATA_DEPTH, result):
        return json.dumps({"omitted": f"it is nested more than {DATA_DEPTH} levels deep"})
    return text


def error_texts(error: BaseException, ours: str) -> tuple[str, str]:
    """Return an exception for the user: one line, and the traceback without the leading frames of
    the file *ours*.
    """
    if isinstance(error, StoreRaised):  # raised in another process, which has formatted it
        return str(error.args[0]), str(error.args[1])
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == ours:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, _or_all(error, trace)))
        line = traceback.format_exception_only(type(error), error)[-1].strip().splitlines()
    except Exception:  # a user's exception may have a __str__ that raises
        return type(error).__name__, ""
    return (line[0] if line else type(error).__name__)[:1000], text


def _or_all(error: BaseException, trace: TracebackType | None) -> TracebackType | None:
    return trace if trace is not None else error.__traceback__
