"""The client: loads a network, starts its jobs, follows them to the end.

simulate.py runs a network on this machine, consoles.py brings typed lines to its InteractiveJobs, summary.py is what is told
at the end.
"""

from __future__ import annotations

from fission.client.run.faults import Chaos, InjectedFault, parse_chaos, parse_cut, parse_kill
from fission.client.run.simulate import simulate
from fission.client.run.summary import JobSummary, Summary
from fission.client.serve.consoles import send_lines

__all__ = ["Chaos", "InjectedFault", "JobSummary", "Summary", "parse_chaos", "parse_cut", "parse_kill", "send_lines", "simulate"]
