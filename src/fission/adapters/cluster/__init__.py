"""Nodes on other machines.

Dask hosts the connections and carries orders, ZeroMQ carries the nodes' reports, UDP their pulses.
"""
