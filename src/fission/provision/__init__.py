"""Sets machines up as nodes, with Ansible: FISSION, its keys and its service.

Internal: may change without notice; ``fission provision`` is the interface.

`ansible/` has the role and the playbooks, and a callback plugin that reports what happens as JSON
lines. Ansible itself is only used through its commands, and is not imported.
"""
