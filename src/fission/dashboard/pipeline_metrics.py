"""What Prometheus may know of a Router and its pipelines, as metric families. No I/O.

Names and units as in `fission.dashboard.metrics`. The counters begin at 0 with the Router's process.
The only labels are states and outcomes, so that the number of series is fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from fission.protocol.messages.pipelines.router_to_client import PipelineCounts, RouterStatus

#: (name, text, value): gauges without labels.
GAUGES: tuple[tuple[str, str, Callable[[RouterStatus, PipelineCounts], float]], ...] = (
    ("fission_router_start_time_seconds", "When the Router began, since the epoch.", lambda status, counts: counts.since),
    ("fission_brokers", "Brokers that are alive.", lambda status, counts: len(counts.brokers)),
    ("fission_pipeliners", "Pipeliners that are alive.", lambda status, counts: status.pipeliners),
    ("fission_worker_processes", "Worker processes: jobs that can run at a time.", lambda status, counts: status.processes),
    (
        "fission_worker_processes_busy",
        "Worker processes that have a job.",
        lambda status, counts: sum(broker.busy for broker in counts.brokers),
    ),
    ("fission_pipelines_unleased", "Pipelines that wait for a Pipeliner.", lambda status, counts: status.waiting),
    (
        "fission_pipeline_jobs_given",
        "Jobs that run, or wait for a process.",
        lambda status, counts: status.running,
    ),
    (
        "fission_pipeline_jobs_without_tag",
        "Jobs that wait for a tag that no Broker has.",
        lambda status, counts: sum(status.missing_tags.values()),
    ),
)


def families(version: str, answers: tuple[RouterStatus, PipelineCounts] | None) -> Iterator[Metric]:
    """Yield the metrics of a Router.

    Args:
        version: of FISSION, where the metrics are served.
        answers: of the Router, of about the same time; None: it does not answer; then only
            `fission_router_up` remains.
    """
    build = InfoMetricFamily("fission_build", "Version of FISSION that serves these metrics.")
    build.add_metric([], {"version": version})
    yield build
    yield GaugeMetricFamily("fission_router_up", "1 if the Router of the pipelines answers.", value=float(answers is not None))
    if answers is None:
        return
    status, counts = answers
    for name, text, value_of in GAUGES:
        yield GaugeMetricFamily(name, text, value=value_of(status, counts))
    pipelines = GaugeMetricFamily("fission_pipelines", "Pipelines in the Router's database.", labels=["state"])
    ended = CounterMetricFamily("fission_pipelines_ended", "Pipelines that have ended.", labels=["state"])
    jobs = CounterMetricFamily("fission_pipeline_job_tries", "Tries of jobs that have ended.", labels=["outcome"])
    for family, values in ((pipelines, counts.pipelines), (ended, counts.ended), (jobs, counts.jobs)):
        for label, number in sorted(values.items()):
            family.add_metric([label], number)
        yield family
