"""Makes the engines that start processes: on this machine, on the nodes, or both as one."""
