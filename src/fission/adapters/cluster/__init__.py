"""Nodes on other machines.

Dask connects the nodes and carries orders, ZeroMQ carries the nodes' reports, UDP their pulses.
"""
