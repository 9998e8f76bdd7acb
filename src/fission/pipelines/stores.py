"""Two stores for documents, each of which has values by name.

A pipeline's ``data`` names its document: ``data={"document": "page-1", "url": "http://..."}``. A
worker gets the values that it `requires`, from the document or, where that has none, from ``data``;
what it returns, a dict, is added to the document. A job that is run twice (because the record of
its end was lost) adds its values once: the store recognises it by its ``job id``.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from fission.durable import make_folder, sync_folder, write_whole
from fission.posix.lock_files import open_lock

if TYPE_CHECKING:
    from fission.adapters.sqlalchemy_results import SqlResults


class Store(Protocol):
    """The methods of a StoreClass.

    There is one store in each Broker, in a process of its own, and its methods are called one after
    the other. A class with the attribute ``parallel = True`` is constructed in each worker process,
    and in the Broker for monitoring; their methods run concurrently.
    """

    def retrieve(self, info: Mapping[str, Any]) -> Any:
        """Return what `Worker.process` gets.

        *info*: ``worker``, ``worker_requires``, ``data``, ``job id``.
        """
        ...

    def save(self, info: Mapping[str, Any]) -> None:
        """Store what `Worker.process` returned. *info*: as for `retrieve`, and ``worker_result``.

        The job is finished when this returns. A job that is run twice has the same ``job id`` both
        times.
        """
        ...

    def save_monitoring(self, data: Mapping[str, Any]) -> None:
        """Store the monitoring information of a Broker: its machine and its processes."""
        ...


class FileStore:
    """Each document is a JSON file of a folder, changed as a whole or not at all.

    For one machine, or a shared folder that can lock.

    A document is on the disk when `save` returns.
    """

    parallel = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a folder of documents.

        Args:
            folder: created if it does not exist.

        Raises:
            OSError: it cannot be created.
        """
        self._folder = Path(folder).absolute()  # whatever a job makes the current folder
        make_folder(self._folder)

    def retrieve(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that the worker requires.

        Raises:
            KeyError: one is neither in the document nor in the pipeline's data.
        """
        return _required(info, self._read(self._path(info))["values"])

    def save(self, info: Mapping[str, Any]) -> None:
        """Add the result to the document, unless this job has done so before.

        Raises:
            TypeError: the result is not a dict, or not of JSON's types.
        """
        result = _checked(info)
        path = self._path(info)
        with self._locked(path):
            content = self._read(path)
            if info["job id"] in content["jobs"]:
                sync_folder(self._folder)  # an earlier call may have failed after it had renamed the file
                return
            content["values"].update(result)
            content["jobs"].append(info["job id"])
            write_whole(path, json.dumps(content, indent=1).encode())

    def values(self, document: str) -> dict[str, Any]:
        """Return all values of a document; empty if there is none."""
        found: dict[str, Any] = self._read(self._folder / f"{quote(document, safe='')}.json")["values"]
        return found

    def save_monitoring(self, data: Mapping[str, Any]) -> None:
        """Add a line to ``monitoring.jsonl``."""
        with open(self._folder / "monitoring.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(data) + "\n")

    def _path(self, info: Mapping[str, Any]) -> Path:
        return self._folder / f"{quote(_document(info), safe='')}.json"

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"values": {}, "jobs": []}
        except ValueError as error:
            raise OSError(f"{path} is damaged: {error}; restore a copy, or move it away and run its pipelines again") from None
        if not _is_document(content):
            raise OSError(f"{path} is not a document of a FileStore: it must have 'values' and 'jobs'; move it away")
        return content

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        with open(open_lock(path.with_suffix(".lock")), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class SQLStore:
    """Documents in a database: SQLite for one machine, PostgreSQL for many."""

    parallel = True

    def __init__(self, url: str) -> None:
        """Open a database of documents.

        Args:
            url: path of an SQLite file, or ``postgresql://USER:PASSWORD@HOST:PORT/NAME``.

        Raises:
            UserError: it cannot be opened.
        """
        from fission.adapters.sqlalchemy_results import SqlResults

        self._results: SqlResults = SqlResults(url)

    def retrieve(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that the worker requires.

        Raises:
            KeyError: one is neither in the document nor in the pipeline's data.
        """
        return _required(info, self._results.values(_document(info)))

    def save(self, info: Mapping[str, Any]) -> None:
        """Add the result to the document, unless this job has done so before.

        Raises:
            TypeError: the result is not a dict, or not of JSON's types.
        """
        self._results.put(_document(info), info["worker"], info["job id"], _checked(info))

    def values(self, document: str) -> dict[str, Any]:
        """Return all values of a document; empty if there is none."""
        return self._results.values(document)

    def save_monitoring(self, data: Mapping[str, Any]) -> None:
        """Add a row to the table ``fission_monitoring``."""
        self._results.put_monitoring(float(data["timestamp"]), json.dumps(data))

    def monitoring(self, limit: int = 10) -> list[Any]:
        """Return the newest monitoring information, newest first.

        Args:
            limit: maximum number of entries.
        """
        return self._results.monitoring(limit)

    def close(self) -> None:
        """Close the connections."""
        self._results.close()


def _is_document(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("values"), dict) and isinstance(content.get("jobs"), list)


def _document(info: Mapping[str, Any]) -> str:
    data = info["data"]
    if not isinstance(data, Mapping) or not isinstance(data.get("document"), str) or not data["document"]:
        raise KeyError(f"the pipeline's data must name its document, but are {data!r}: Pipeline(..., data={{'document': 'page-1'}})")
    found: str = data["document"]
    return found


def _required(info: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name in info["worker_requires"]:
        if name not in values and name not in info["data"]:
            raise KeyError(
                f"{info['worker']} requires {name!r}; the document {_document(info)!r} has {', '.join(sorted(values)) or 'nothing'}"
            )
        found[name] = values[name] if name in values else info["data"][name]
    return found


def _checked(info: Mapping[str, Any]) -> dict[str, Any]:
    result = info["worker_result"]
    if not isinstance(result, dict) or not all(isinstance(name, str) for name in result):
        raise TypeError(f"{info['worker']}.process must return a dict with names for this store, returned {result!r}")
    json.dumps(result)
    return result
