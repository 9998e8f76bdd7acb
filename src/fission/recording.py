"""Recordings in Python: what `fission NETWORK record` has written, block by block.

```
from fission.recording import read_recording

for block in read_recording("evening.rec"):
    print(block.pipe, block.sqn, block.time, block.value)
```
"""

from __future__ import annotations

from fission.testing.recordings import Block, Recorder, Recording, read_recording

__all__ = ["Block", "Recorder", "Recording", "read_recording"]
