"""Recordings: files of the blocks that passed through pipes.

Public: the names in ``__all__``. The modules are internal.

docs/recordings.md describes the format. A recording is written sequentially, in entries that each
have a checksum. However writing ends (Ctrl-C, a full disk, a power cut), every entry that was
written completely can be read.

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
