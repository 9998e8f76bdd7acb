"""One run of a network.

`simulate` and `on_nodes` plan it (`plan`), `network_run` performs the plan, and the `coordinator`
handles what happens (`inbox`) until the network is over. The coordinator's parts are in ``jobs``,
``nodes`` and ``storage``; ``engines`` makes what starts processes.
"""
