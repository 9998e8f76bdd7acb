"""The client: loads a network, starts its jobs, follows them to the end.

simulate.py runs a network on this machine, consoles.py brings typed lines to its InteractiveJobs, summary.py is what is told
at the end.
"""

from __future__ import annotations

from fission.client.consoles import send_lines
from fission.client.faults import Chaos, Fault, parse_chaos, parse_cut, parse_kill
from fission.client.simulate import simulate
from fission.client.summary import JobSummary, Summary

__all__ = ["Chaos", "Fault", "JobSummary", "Summary", "parse_chaos", "parse_cut", "parse_kill", "send_lines", "simulate"]
