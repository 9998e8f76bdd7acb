"""The client: loads a network, starts its jobs and follows them to the end.

run/simulate.py runs a network on this machine, serve/consoles.py passes typed lines to its
InteractiveJobs, and run/summary.py holds the summary shown at the end.
"""

from __future__ import annotations

from fission.client.run.faults import Chaos, InjectedFault, parse_chaos, parse_cut, parse_kill
from fission.client.run.simulate import simulate
from fission.client.run.summary import JobSummary, Summary
from fission.client.serve.consoles import send_lines

__all__ = ["Chaos", "InjectedFault", "JobSummary", "Summary", "parse_chaos", "parse_cut", "parse_kill", "send_lines", "simulate"]
