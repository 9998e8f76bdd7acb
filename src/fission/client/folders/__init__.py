"""The folders and files of a network's runs: where a run works, where it was, and how it ended.

The client that runs a network writes them; other terminals find the run through them.
"""
