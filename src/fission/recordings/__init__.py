"""Recordings: files with the blocks that went by on pipes. docs/recordings.md describes the format.

A recording is written from front to end, in entries that each have a checksum, so whatever ends the writing (Ctrl-C, a full disk, a
power cut), what was written whole can be read.

```
from fission.recordings import read_recording

for block in read_recording("evening.rec"):
    print(block.pipe, block.sqn, block.time, block.value)
```
"""

from __future__ import annotations

from fission.recordings.reader import Block, Recording, read_recording
from fission.recordings.writer import Recorder

__all__ = ["Block", "Recorder", "Recording", "read_recording"]
