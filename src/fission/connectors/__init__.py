"""Jobs that connect networks with the world: sound.

Public: `audio`.
The other modules are internal.
"""
