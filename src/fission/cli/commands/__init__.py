"""One file a command, each with its click command as ``command``; `fission.cli.table` lists them
and loads them when they are called.
"""
