"""A project on disk: its config, CSV and XML files become one frozen `config.Config`; `scaffold`
makes new ones.

Internal: may change without notice.
"""
