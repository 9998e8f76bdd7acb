"""What Prometheus may know of a running network, as metric families. No I/O.

Names and units follow the conventions of Prometheus: base units (seconds, bytes, ratios from 0 to
1), ``_total`` for counters. A counter falls only with a real reset: those of blocks, failovers and
checkpoints begin at 0 with the client's process, and those of `JOB_MEASURES` with each process of a job.
The labels are network, job (class and number), pipe (number), node, and the states of jobs, so
config.py bounds their number; of nodes that come and go (`MultiNode`), `MOST_NODES` are shown, and
of paths from sources to sinks `MOST_PATHS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric, SummaryMetricFamily

from fission.protocol.messages.client_to_viewer import (
    JobRow,
    JobsMeasured,
    JobTotals,
    MeasuredJob,
    NetworkDescribed,
    NodeRow,
    PathRow,
    PipeCounts,
    RunCounted,
    RunStatus,
)
from fission.protocol.messages.job_to_client import InputTotals
from fission.protocol.supervision_messages import JobState

#: Label with the name of a job. Not "job": that is what Prometheus calls the scraped targets, and it renames a metric's own.
JOB_LABEL = "job_name"
#: Nodes with series of their own. Arbitrary: more than a network has, and fewer than a Prometheus minds.
MOST_NODES = 500
#: The same for paths: their number is that of sources times that of sinks.
MOST_PATHS = 200
#: Quality of a link (TQ) that is perfect, as B.A.T.M.A.N. has it.
MOST_TQ = 255


@dataclass(frozen=True)
class Answers:
    """What the client of a network has answered at about the same time."""

    description: NetworkDescribed
    status: RunStatus
    measured: JobsMeasured
    counted: RunCounted


def families(network: str, version: str, answers: Answers | None) -> Iterator[Metric]:
    """Yield the metrics of a network.

    Args:
        network: its name.
        version: of FISSION, where the metrics are served.
        answers: None: it is not running, or does not answer; then only `fission_network_up` remains.
    """
    build = InfoMetricFamily("fission_build", "Version of FISSION that serves these metrics.")
    build.add_metric([], {"version": version})
    yield build
    up = float(answers is not None)
    yield _gauge("fission_network_up", "1 if the client of the network answers.", ["network"], [([network], up)])
    if answers is not None:
        yield from _network(network, answers)
        yield from _jobs(network, answers)
        yield from _pipes(network, answers)
        yield from _paths(network, answers.measured)
        yield from _nodes(network, answers.status.nodes)


def _network(network: str, answers: Answers) -> Iterator[Metric]:
    counted = answers.counted
    text = "When the client began, since the epoch."
    yield _gauge("fission_network_start_time_seconds", text, ["network"], [([network], counted.since)])
    failovers = SummaryMetricFamily(
        "fission_failover_duration_seconds", "Failovers, and how long they took until all their jobs ran again.", labels=["network"]
    )
    failovers.add_metric([network], counted.failovers, counted.failover_s)
    yield failovers


#: (name, text, value of a job's totals): counters that begin with the client.
JOB_TOTALS: tuple[tuple[str, str, Callable[[JobTotals], float]], ...] = (
    ("compute_blocks", "Compute blocks done, each once.", lambda job: job.compute_blocks),
    ("malformed_messages", "Messages that were dropped because they are malformed.", lambda job: job.malformed),
    ("unshared_blocks", "Large blocks that found no space in shared memory.", lambda job: job.not_shared),
    ("checkpoints", "Snapshots stored.", lambda job: job.checkpoints.stored),
    ("checkpoint_failures", "Attempts to store something for the job that failed.", lambda job: job.checkpoints.failed),
    ("checkpoint_bytes", "Size of the stored snapshots.", lambda job: job.checkpoints.bytes),
)
#: The same for what a running job has measured: counters that begin with its process.
JOB_MEASURES: tuple[tuple[str, str, Callable[[MeasuredJob], float]], ...] = (
    ("cpu_seconds", "Processor time of the job's process and those it has started.", lambda measured: measured.cpu_s),
    ("busy_seconds", "Time for which the job computed.", lambda measured: measured.busy_s),
    ("idle_seconds", "Time for which the job slept in its own code.", lambda measured: measured.idle_s),
    ("starved_seconds", "Time for which the job waited for blocks.", lambda measured: measured.starved_s),
    ("blocked_seconds", "Time for which the job waited for space in its outputs.", lambda measured: measured.blocked_s),
)


#: The same for jobs with a DEADLINE: counters that begin with the client.
JOB_DEADLINES: tuple[tuple[str, str, Callable[[JobRow], int | None]], ...] = (
    ("late_blocks", "Measured blocks that came later than the DEADLINE of the job.", lambda row: row.late),
    ("judged_blocks", "Measured blocks that were compared with the DEADLINE of the job.", lambda row: row.judged),
)


def _jobs(network: str, answers: Answers) -> Iterator[Metric]:
    names = {row.id: row.name for row in answers.measured.jobs}
    totals = [(names[job.id], job) for job in answers.counted.jobs if job.id in names]
    yield from _job_states(network, totals, answers.measured.jobs)
    restarts = CounterMetricFamily("fission_job_restarts", "Incarnations of the job after its first one.", labels=["network", JOB_LABEL])
    for row in answers.measured.jobs:
        restarts.add_metric([network, row.name], row.restarts)
    yield restarts
    for name, text, total_of in JOB_TOTALS:
        found = CounterMetricFamily(f"fission_job_{name}", text, labels=["network", JOB_LABEL])
        for job, total in totals:
            found.add_metric([network, job], total_of(total))
        yield found
    for name, text, measure_of in JOB_MEASURES:
        found = CounterMetricFamily(f"fission_job_{name}", text, labels=["network", JOB_LABEL])
        for row in answers.measured.jobs:
            if row.measured is not None:
                found.add_metric([network, row.name], measure_of(row.measured))
        yield found
    yield _gauge(
        "fission_job_memory_bytes",
        "Memory of the job's process and those it has started.",
        ["network", JOB_LABEL],
        [([network, row.name], row.measured.memory) for row in answers.measured.jobs if row.measured is not None],
    )
    yield _gauge(
        "fission_job_stalled_seconds",
        "Time for which the job has made no progress; 0 if it makes some.",
        ["network", JOB_LABEL],
        [([network, row.name], row.standing.seconds if row.standing else 0) for row in answers.measured.jobs],
    )
    for name, text, count_of in JOB_DEADLINES:
        found = CounterMetricFamily(f"fission_job_{name}", text, labels=["network", JOB_LABEL])
        for row in answers.measured.jobs:
            if (count := count_of(row)) is not None:
                found.add_metric([network, row.name], count)
        yield found
    yield _gauge(
        "fission_job_last_checkpoint_timestamp_seconds",
        "When the last snapshot was stored.",
        ["network", JOB_LABEL],
        [([network, job], total.checkpoints.last) for job, total in totals],
    )


def _job_states(network: str, totals: Iterable[tuple[str, JobTotals]], rows: Iterable[JobRow]) -> Iterator[Metric]:
    states = GaugeMetricFamily("fission_job_state", "1 for the state that the job is in.", labels=["network", JOB_LABEL, "state"])
    for job, total in totals:
        for state in JobState:
            states.add_metric([network, job, state.name.lower()], float(state.name.lower() == total.state))
    yield states
    places = InfoMetricFamily("fission_job", "The node of each job that runs.", labels=["network", JOB_LABEL])
    for row in rows:
        if row.node is not None:
            places.add_metric([network, row.name], {"node": row.node})
    yield places


#: (name, text, value): counters of what a job has sent on a pipe.
PIPE_SENT: tuple[tuple[str, str, Callable[[PipeCounts], float]], ...] = (
    ("sent_blocks", "Blocks sent, each once.", lambda pipe: pipe.sent),
    ("lost_blocks", "Blocks that no consumer can get.", lambda pipe: pipe.lost),
    ("dropped_blocks", "Blocks dropped before they were sent because of MAX_QUEUE.", lambda pipe: pipe.dropped),
    ("replayed_blocks", "Blocks sent again to a new incarnation of the consumer.", lambda pipe: pipe.replayed),
    ("blocked_seconds", "Time for which the producer waited for space in the pipe.", lambda pipe: pipe.blocked_s),
)
#: The same for what a job has received from a pipe.
PIPE_RECEIVED: tuple[tuple[str, str, Callable[[InputTotals], float]], ...] = (
    ("received_blocks", "Blocks that arrived for the first time in an incarnation of the consumer.", lambda pipe: pipe.received),
    ("duplicate_blocks", "Blocks that arrived again.", lambda pipe: pipe.duplicates),
    ("missing_blocks", "Blocks that never arrived.", lambda pipe: pipe.lost),
    ("discarded_blocks", "Blocks that the consumer gave up because of MAX_QUEUE.", lambda pipe: pipe.dropped),
    ("dummy_blocks", "Blocks delivered in place of missing and discarded ones.", lambda pipe: pipe.dummies),
    ("unmatched_blocks", "Blocks dropped because their partners on other inputs are missing.", lambda pipe: pipe.unmatched),
)


def _pipes(network: str, answers: Answers) -> Iterator[Metric]:
    names = {job.id: job.name for job in answers.description.jobs}
    shapes = InfoMetricFamily("fission_pipe", "The jobs at both ends of each pipe.", labels=["network", "pipe"])
    for shape in answers.description.pipes:
        ends = {"source": names[shape.source], "target": names[shape.target]}
        shapes.add_metric([network, str(shape.id)], {**ends, "kind": shape.kind})
    yield shapes
    sent = {pipe: counts for job in answers.counted.jobs for pipe, counts in job.outputs.items()}
    for name, text, sent_of in PIPE_SENT:
        found = CounterMetricFamily(f"fission_pipe_{name}", text, labels=["network", "pipe"])
        for pipe, counts in sorted(sent.items()):
            found.add_metric([network, str(pipe)], sent_of(counts))
        yield found
    received = {pipe: counts for job in answers.counted.jobs for pipe, counts in job.inputs.items()}
    for name, text, received_of in PIPE_RECEIVED:
        found = CounterMetricFamily(f"fission_pipe_{name}", text, labels=["network", "pipe"])
        for pipe, totals in sorted(received.items()):
            found.add_metric([network, str(pipe)], received_of(totals))
        yield found
    yield _gauge(
        "fission_pipe_queue_blocks",
        "Blocks that the consumer has not released.",
        ["network", "pipe"],
        [([network, str(pipe)], counts.queue) for pipe, counts in sorted(sent.items())],
    )


#: (name, text, value): gauges of a path from a source to a sink, over the last minute.
PATH_GAUGES: tuple[tuple[str, str, Callable[[PathRow], float]], ...] = (
    ("latency_min_seconds", "Least time from making a block in the source until the sink is done with it.", lambda path: path.min_s),
    ("latency_p50_seconds", "Time that half of the blocks do not exceed.", lambda path: path.p50_s),
    ("latency_p99_seconds", "Time that 99 of 100 blocks do not exceed.", lambda path: path.p99_s),
    ("latency_uncertainty_seconds", "Largest error that the clocks of two machines cause.", lambda path: path.uncertainty_s),
    ("measured_blocks", "Blocks that were measured.", lambda path: path.blocks),
)


def _paths(network: str, measured: JobsMeasured) -> Iterator[Metric]:
    names = {row.id: row.name for row in measured.jobs}
    measurable = [path for path in measured.paths if path.source in names and path.sink in names]
    known = sorted(measurable, key=lambda path: (-path.p99_s, path.source, path.sink))
    shown, omitted = known[:MOST_PATHS], known[MOST_PATHS:]
    for name, text, value_of in PATH_GAUGES:
        values = [([network, names[path.source], names[path.sink]], value_of(path)) for path in shown]
        yield _gauge(f"fission_path_{name}", text, ["network", "source", "sink"], values)
    text = "Paths without series of their own, because there are too many; their 99th percentiles are the least."
    yield _gauge("fission_paths_omitted", text, ["network"], [([network], len(omitted))])


#: (name, text, value): gauges of a node; None is not known.
NODE_GAUGES: tuple[tuple[str, str, Callable[[NodeRow], float | None]], ...] = (
    ("up", "1 if the node pulses.", lambda node: float(node.up)),
    ("jobs", "Jobs on the node.", lambda node: len(node.jobs)),
    ("max_jobs", "Jobs that the node takes.", lambda node: node.max_jobs),
    ("cpu_free_ratio", "Share of processor time that is free.", lambda node: _ratio(node.cpu, 100)),
    ("memory_free_bytes", "Free memory.", lambda node: node.memory),
    ("disk_free_bytes", "Free disk space.", lambda node: node.disk),
    ("swap_used_ratio", "Share of the swap space in use.", lambda node: _ratio(node.swap, 100)),
    ("link_quality_ratio", "Quality of the link from the client.", lambda node: _ratio(node.TQ, MOST_TQ)),
    ("round_trip_seconds", "Round trip from the client.", lambda node: node.rtt),
    ("clock_offset_seconds", "Time by which the node's time of day is ahead of the client's.", lambda node: node.clock_offset),
    ("clock_uncertainty_seconds", "Largest error of fission_node_clock_offset_seconds.", lambda node: node.clock_error),
)


def _nodes(network: str, rows: Iterable[NodeRow]) -> Iterator[Metric]:
    known = sorted(rows, key=lambda node: (not node.up, node.name))
    shown, omitted = known[:MOST_NODES], known[MOST_NODES:]
    for name, text, value_of in NODE_GAUGES:
        yield _gauge(f"fission_node_{name}", text, ["network", "node"], [([network, node.name], value_of(node)) for node in shown])
    text = "Nodes without series of their own, because there are too many."
    yield _gauge("fission_nodes_omitted", text, ["network"], [([network], len(omitted))])


def _ratio(value: float | None, whole: float) -> float | None:
    return None if value is None else value / whole


def _gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float | None]]) -> Metric:
    """Return a gauge that leaves out what is not known."""
    found = GaugeMetricFamily(name, text, labels=labels)
    for labelled, value in values:
        if value is not None:
            found.add_metric(labelled, value)
    return found
