"""The service of a node, which ``fission node`` runs.

Internal: may change without notice.
"""
