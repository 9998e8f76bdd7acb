"""The earlier name of `fission.recordings`."""

from __future__ import annotations

from fission.recordings import Block, Recorder, Recording, read_recording

__all__ = ["Block", "Recorder", "Recording", "read_recording"]
