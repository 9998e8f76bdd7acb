"""Nodes on other machines: Dask hosts and orders, ZeroMQ brings their words, UDP their pulses."""
