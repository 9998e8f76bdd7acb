"""The client: loads a network, starts its jobs and follows them to the end.

Internal: may change without notice.

Its rooms, each of which imports only from those before it:

- ``folders``: the folders and files of runs.
- ``reports``: what the user reads of a run.
- ``serve``: what a running network answers and shows to other terminals.
- ``run``: one run of a network, with its jobs, nodes, engines and storage.
- ``attach``: what other terminals do with a running network, or with its nodes without one.
- ``dry_run``: placement without processes.
"""

from __future__ import annotations

from fission.client.reports.summary import JobSummary, Summary
from fission.client.run.faults import Chaos, InjectedFault, parse_chaos, parse_cut, parse_kill
from fission.client.run.simulate import simulate
from fission.client.serve.consoles import send_lines

__all__ = ["Chaos", "InjectedFault", "JobSummary", "Summary", "parse_chaos", "parse_cut", "parse_kill", "send_lines", "simulate"]
