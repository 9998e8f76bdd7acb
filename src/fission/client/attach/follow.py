"""The viewers' side: blocks on the pipes of a running network, and its jobs as rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from fission.client.serve.control_server import Viewer
from fission.client.serve.taps import split
from fission.errors import UserError
from fission.protocol import tapped
from fission.protocol.messages.client_to_viewer import ClientToViewer, JobsLocated, JobsMeasured, PipesTapped
from fission.protocol.messages.codec import DISCRIMINATOR
from fission.protocol.messages.viewer_to_client import LocateJobs, MeasureJobs, TapPipes
from fission.protocol.tapped import Follower, Seen, Timeline

#: How a job can spend its time (`fission.protocol.activity`).
SHARES = ("busy", "idle", "starved", "blocked")


class WatchedPipes:
    """Follows pipes of a running network. A context manager: stops at its end.

    Attributes:
        followers: state of each pipe, by id; they count ``missed`` and ``restarts``.
        cut: pipes whose end was not seen although the network has ended: last blocks may be missing.
            Known at the end of `seen` or `moments`.
    """

    def __init__(
        self, folder: Path, pipes: Sequence[int], *, payload: bool = True, credit: int = 1 << 20, everything: bool = False
    ) -> None:
        """Begin to follow.

        Args:
            folder: the network's folder.
            pipes: ids of the pipes.
            payload: whether more than numbers and times is wanted.
            credit: bytes that may be in flight; blocks beyond that are missed.
            everything: copy each large block out of shared memory, even if that slows the job down.

        Raises:
            UserError: the network is not running on this machine, or a pipe is unknown or
                has ended.
        """
        self.followers = {pipe: Follower() for pipe in pipes}
        self.cut: tuple[int, ...] = ()
        self._timeline = Timeline(time.time(), time.monotonic())
        self._viewer = Viewer(folder)
        try:
            self._viewer.ask(TapPipes(pipes=tuple(self.followers), credit=credit, payload=payload, everything=everything), PipesTapped)
        except BaseException:
            self._viewer.__exit__(None, None, None)
            raise

    def _at(self, pipe: int, stamp: float) -> float:
        return self._timeline.at(pipe, stamp, time.monotonic())

    def __enter__(self) -> WatchedPipes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._viewer.__exit__(kind, error, trace)

    def seen(self, deadline: float | None = None) -> Iterator[tuple[int, Seen]]:
        """Yield (pipe, blocks) as they pass, until all the pipes or the network have ended.

        Args:
            deadline: moment (`time.monotonic`) at which it ends; None: no limit.

        Raises:
            RemoteProtocolError: a malformed batch arrived.
        """
        for packet in self._viewer.packets(deadline):
            if packet is not None:
                pipe, batch = split(packet)
                for stamp, message in tapped.decode(batch):
                    seen = self.followers[pipe].take(self._at(pipe, stamp), message)
                    if seen is not None:
                        yield pipe, seen
        self._note_cut(deadline)

    def moments(self, deadline: float | None, every: float) -> Iterator[Seen | None]:
        """Yield the blocks of one pipe as `seen` does, and None about every ``every`` seconds.

        Args:
            deadline: moment (`time.monotonic`) at which it ends; None: no limit.
            every: seconds between two None.
        """
        for packet in self._viewer.packets(deadline, every):
            if packet is None:
                yield None
                continue
            pipe, batch = split(packet)
            for stamp, message in tapped.decode(batch):
                seen = self.followers[pipe].take(self._at(pipe, stamp), message)
                if seen is not None:
                    yield seen
        self._note_cut(deadline)

    def _note_cut(self, deadline: float | None) -> None:
        if deadline is None or time.monotonic() < deadline:
            self.cut = tuple(pipe for pipe, follower in self.followers.items() if not follower.ended)


def measure(folder: Path) -> dict[str, Any]:
    """Return the measures of all jobs of a running network as JSON values (`JobsMeasured`).

    Raises:
        UserError: the network is not running on this machine.
    """
    with Viewer(folder) as viewer:
        return as_json(viewer.ask(MeasureJobs(), JobsMeasured))


def as_json(answer: ClientToViewer) -> dict[str, Any]:
    """Return the members of an answer as JSON values."""
    values: dict[str, Any] = msgspec.to_builtins(answer, str_keys=True)
    del values[DISCRIMINATOR]
    return values


def placement(folder: Path) -> dict[int, str]:
    """Return the node of each running job; empty if the network is not running on this machine."""
    try:
        with Viewer(folder) as viewer:
            return viewer.ask(LocateJobs(), JobsLocated).nodes
    except UserError:
        return {}


def rates(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what happened between two answers of `measure`, as one row per job.

    Rates are blocks per second over all inputs, or all outputs, of a job. ``memory`` is what the
    processes of the job use, in bytes, and ``cpu`` their time on processors, in percent of one.
    ``busy``, ``idle``, ``starved`` and ``blocked`` are shares of the time
    (`fission.protocol.activity`), and ``mostly`` is the name of the largest. ``standing`` is None,
    or has the ``seconds`` for which the job has made no progress, and the ``reason``. Unknown
    values (the job is not running, or has begun in between) are None.

    Args:
        before: the earlier answer.
        after: the later answer.
    """
    earlier = {row["id"]: row["measured"] for row in before["jobs"]}
    return [_rates(row, earlier.get(row["id"]), row["measured"]) for row in after["jobs"]]


def _rates(row: Mapping[str, Any], old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("id", "name", "node", "state", "restarts")
    found: dict[str, Any] = {name: row[name] for name in names}
    found |= dict.fromkeys(("cpu", "memory", "blocks", "in_per_s", "out_per_s", "queue", "latency_s", *SHARES, "mostly"))
    found |= {name: row.get(name) for name in ("standing", "pid", "late", "judged")}
    if new is None:
        return found
    outputs = new["outputs"].values()
    found |= {"memory": new["memory"], "blocks": new["blocks"], "queue": sum(output["queue"] for output in outputs)}
    seconds = new["at"] - old["at"] if old else 0.0
    if old is None or old["incarnation"] != new["incarnation"] or seconds <= 0:
        return found  # a new incarnation counts from zero
    past = old["outputs"].values()
    way_s, ways = (sum(one[name] for one in outputs) - sum(one[name] for one in past) for name in ("way_s", "way_blocks"))
    shares = {name: round(min(1.0, max(0.0, (new[f"{name}_s"] - old[f"{name}_s"]) / seconds)), 3) for name in SHARES}
    cpu = max(0.0, (new["cpu_s"] - old["cpu_s"]) / seconds)
    done, sent = (  # at least 0: numbering may have begun again in between
        max(0, sum(one[name] for one in new[side].values()) - sum(one[name] for one in old[side].values()))
        for side, name in (("inputs", "done"), ("outputs", "sent"))
    )
    return found | {
        "cpu": round(100 * cpu, 1),
        "in_per_s": round(done / seconds, 2),
        "out_per_s": round(sent / seconds, 2),
        "latency_s": round(way_s / ways, 6) if ways > 0 else None,
        **shares,
        "mostly": max(shares, key=lambda name: shares[name]),
    }


def paths(answer: Mapping[str, Any], member: str = "paths") -> list[dict[str, Any]]:
    """Return the latency of each path of an answer of `measure`, over the last minute.

    Each row has the members of a `PathRow`, ``source_name`` and ``sink_name``, and of the sink
    ``late`` and ``judged``, as in a `JobRow`.

    Args:
        answer: the answer.
        member: of the answer; "inner_paths" has those to jobs that are not sinks.
    """
    jobs = {row["id"]: row for row in answer["jobs"]}
    found = []
    for path in answer.get(member, ()):
        source, sink = jobs[path["source"]], jobs[path["sink"]]
        found.append(
            {**path, "source_name": source["name"], "sink_name": sink["name"], "late": sink.get("late"), "judged": sink.get("judged")}
        )
    return found
