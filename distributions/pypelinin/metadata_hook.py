"""Tells the build which FISSION the package needs: that of its own version."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class SameVersion(MetadataHookInterface):
    """Adds the dependency."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add ``fission-networks`` of this version to the dependencies."""
        metadata["dependencies"] = [f"fission-networks=={metadata['version']}"]
