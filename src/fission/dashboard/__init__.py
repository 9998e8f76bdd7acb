"""The web page of a running network: a process of its own, which asks the network's client as other
terminals do.

Internal: may change without notice.
"""
