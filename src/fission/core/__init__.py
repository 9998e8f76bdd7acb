"""The words that networks are written with: jobs, pipes, nodes, groups, heads, and the network they
make.

Public: `base`, `groups`, `head`, `jobs`, `network`, `nodes` and `pipes`.
The other modules are internal.
"""
