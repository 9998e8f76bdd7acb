"""Draws docs/glossary.md from the table in this file.

    .venv/bin/python -m scripts.draw_glossary            writes the page
    .venv/bin/python -m scripts.draw_glossary --check    exits with 1 if the page differs

A term names a class, function or constant; the page links to the file that defines it, wherever that is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from scripts.drawn_page import ROOT, page_path, write_or_check

PAGE = page_path("glossary.md")

HEAD = """\
# Glossary

The words of FISSION, the words that other systems use for the same thing, and the file in `src/fission/` that defines it.
Drawn by `scripts/draw_glossary.py`, which has the table.
"""


class Term(NamedTuple):
    """A row of the page: our word, the field's word, one sentence, and the name in src/fission that stands for it."""

    word: str
    field: str
    meaning: str
    name: str


SECTIONS: dict[str, list[Term]] = {
    "Networks": [
        Term("network", "dataflow graph, topology, job graph", "Jobs joined by pipes, loaded from a `config.py`.", "Network"),
        Term("job", "operator, vertex, actor", "A Python class or an executable that turns input blocks into output blocks.", "BaseJob"),
        Term("pipe", "edge, channel, stream", "A one-way connection between two jobs with a format for its blocks.", "BasePipe"),
        Term("block", "record, message, element", "One value that a job sends through a pipe.", "Data"),
        Term("compute block", "aligned input tuple, micro-batch", "The blocks of all inputs that one call of `run` works on.", "Aligner"),
        Term("source", "source, producer", "A job without inputs.", "Network"),
        Term("sink", "sink, consumer", "A job without outputs; the file sinks keep each block exactly once.", "FileSinkJob"),
        Term("optional input", "side input", "An input that `run` does not wait for; it holds the last retained value.", "OptionalInput"),
        Term("head", "record header", "Small integers that travel with a block.", "Head"),
        Term("dummy", "placeholder, gap filler", "A block that stands in for one that is lost.", "dummy_fault"),
        Term("executable job", "external process operator", "A job whose work is done by any program.", "ExecutableJob"),
        Term("RATIO", "selectivity", "How many blocks an executable gives for how many compute blocks.", "Relay"),
        Term("registry", "registry", "Collects the jobs and pipes that a config makes, and the faults found so far.", "Registry"),
    ],
    "Delivery": [
        Term(
            "sqn",
            "sequence number, offset",
            "The number of a block in its pipe: the index of the compute block that produced it.",
            "SendWindow",
        ),
        Term(
            "window", "send window, flow control", "The blocks that are sent and not yet released; a full one blocks `put`.", "SendWindow"
        ),
        Term("replay buffer", "retransmission buffer", "Keeps sent blocks until their release, for replay.", "ReplayBuffer"),
        Term("release", "cumulative acknowledgement", "Says that a consumer will never need the blocks up to an sqn again.", "Release"),
        Term("mark", "low watermark", "The sqn up to which the blocks of a link are released; each link opens with it.", "Open"),
        Term("replay", "replay, retransmission", "Sending all unreleased blocks to a new incarnation of the consumer.", "ReplayBuffer"),
        Term("de-duplication", "de-duplication", "A receiver drops the blocks that it already has.", "Receiver"),
        Term("incarnation", "incarnation, fencing token", "Counts how often a job was started; older ones are fenced off.", "JobBundle"),
        Term("generation", "epoch", "Counts how often the numbering of a part of the network has restarted.", "encode_data"),
        Term("coalescing", "batching, Nagle's algorithm", "Sending many small blocks in one message on a busy link.", "COALESCE_BLOCKS"),
        Term("back-pressure", "back-pressure", "A producer waits while its window is full.", "Output"),
        Term(
            "MAX_QUEUE", "bounded queue, drop-oldest", "Limits waiting blocks; the oldest is dropped instead of waiting.", "DroppingOutput"
        ),
        Term("needed blocks", "buffer sizing", "The window that a pipe needs so that joins after it cannot stall.", "needed_blocks"),
        Term("frame", "frame, wire format", "Bytes of a message on a socket; the only codec of blocks.", "encode_data"),
        Term("large block", "shared-memory transport", "A buffer from 64 KiB; jobs of one machine share its memory.", "Arena"),
        Term("handing on", "zero-copy forwarding", "An unchanged array goes to the next job without a copy.", "HandedOn"),
    ],
    "State": [
        Term("snapshot, checkpoint", "checkpoint", "The state of a job after a block, stored by the client.", "Checkpoints"),
        Term("stable checkpoint", "completed checkpoint", "A stored one before which all outputs are released.", "Checkpoints"),
        Term("sink position", "committed offset", "The last block whose effect a sink has written to disk.", "SinkFile"),
        Term("event log", "journal, write-ahead log", "Every event and instruction of a run, in `events.jsonl`.", "EventLog"),
        Term("resume", "recovery, restart from journal", "A new client continues a run from its event log.", "ResumeState"),
        Term("durable file", "atomic write, fsync", "A file that is whole or absent after a crash.", "WholeFile"),
    ],
    "Runs": [
        Term("client", "driver, coordinator, master", "The process that loads a network and supervises its run.", "Coordinator"),
        Term("node", "worker, host, agent", "A machine, or a virtual one, that runs jobs.", "BaseNode"),
        Term("group", "label, node selector", "A name for nodes that may run a job.", "BaseGroup"),
        Term("node service", "agent, daemon, kubelet", "The process `fission node`: starts jobs and sends pulses.", "NodeService"),
        Term("fork server", "prefork server", "A process with everything loaded that forks a job in milliseconds.", "ForkServer"),
        Term("run plan", "execution plan", "What `simulate` or `run` decided before anything starts.", "RunPlan"),
        Term("engine", "cluster backend, executor", "Starts and stops job processes: on this machine or on many.", "Engine"),
        Term("supervisor", "supervisor, scheduler", "The state machine that knows where each job is and what to start.", "Supervisor"),
        Term("placement", "scheduling, placement", "Finds a node for a job, and gives the reason.", "place"),
        Term("pulse", "heartbeat", "A datagram that a node sends every `PULSE_INTERVAL`.", "Pulse"),
        Term("lost node", "failed, suspected node", "A node that missed five pulses, or whose end was reported.", "Liveness"),
        Term("node lease", "lease", "Binds a node to one client until the client is silent for too long.", "NodeLease"),
        Term("failover", "failover", "Starting the jobs of a lost node on other nodes.", "Failover"),
        Term("restart policy", "back-off, crash loop limit", "When and how often a failed job is restarted.", "RestartPolicy"),
        Term("stalled job", "stall, watchdog", "A job that makes no progress though it has work.", "Progress"),
        Term("bundle", "task specification", "All that a process needs to become a job.", "JobBundle"),
        Term("archive", "code package", "Code and DEPENDENCIES, sent to a node once per content hash.", "ArchiveSender"),
        Term("job channel", "control channel", "The messages between the client and its jobs.", "JobChannel"),
        Term(
            "control server",
            "control plane, admin API",
            "Answers the commands of other terminals, such as `top` and `stop`.",
            "ControlServer",
        ),
        Term("tap", "tap, mirror", "Copies the blocks of a pipe to a viewer.", "Taps"),
    ],
    "Pipelines": [
        Term("pipeline", "DAG, workflow", "A directed acyclic graph of worker jobs over stored data.", "Pipeline"),
        Term("worker", "task function", "A class whose `process` does one job of a pipeline.", "Worker"),
        Term("store", "artifact store", "Retrieves the inputs of a job and saves its results.", "Store"),
        Term("Router", "broker, scheduler", "Keeps accepted pipelines and hands out their jobs.", "Router"),
        Term("Broker", "worker pool", "Runs worker processes on one machine.", "Broker"),
        Term("Pipeliner", "DAG runner", "Leases pipelines and decides which job runs next.", "Pipeliner"),
        Term("leased pipeline", "lease, visibility timeout", "Belongs to one Pipeliner until it is silent for too long.", "LeasedPipeline"),
    ],
    "Code": [
        Term("machine", "sans-I/O state machine", "Decides without sockets, threads or clocks: events in, instructions out.", "Supervisor"),
        Term("port", "port, interface", "What a part needs from outside, as a Protocol.", "Engine"),
        Term("adapter", "adapter, driver", "Implements a port with one outside thing.", "ZmqLinks"),
        Term("emulator", "test harness", "Runs one job without a network.", "JobEmulator"),
        Term("recording", "bag file, capture", "The blocks of pipes in a file, for replay.", "Recording"),
    ],
}


def defining_files() -> dict[str, list[str]]:
    """Return for each class, function and constant of src/fission the files (relative to it) that define it at their top level."""
    source = ROOT / "src" / "fission"
    found: dict[str, list[str]] = {}
    for path in sorted(source.rglob("*.py")):
        for match in re.finditer(r"^(?:class |def |async def )?([A-Za-z]\w*)(?=\(|:| =)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(match[1], []).append(path.relative_to(source).as_posix())
    return found


def file_of(term: Term, files: dict[str, list[str]]) -> str:
    """Return the file that defines the term's name.

    Raises:
        LookupError: no file does, or several do.
    """
    found = files.get(term.name, [])
    if len(found) != 1:
        raise LookupError(f"{term.word}: one file in src/fission must define {term.name}, found {found}; correct {Path(__file__).name}")
    return found[0]


def page() -> str:
    """Return the whole page, as it must be in docs/."""
    files = defining_files()
    lines = [HEAD]
    for title, terms in SECTIONS.items():
        lines += [f"## {title}\n", "| word | elsewhere | meaning | file |", "|---|---|---|---|"]
        lines += [f"| {term.word} | {term.field} | {term.meaning} | `{file_of(term, files)}` |" for term in terms]
        lines.append("")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the page, or check it; return the exit code."""
    return write_or_check(PAGE, page(), arguments, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
