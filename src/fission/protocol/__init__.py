"""The decisions of FISSION without I/O: no socket, thread, clock, file or log; whatever they need
is handed in.

Internal: may change without notice.
"""
