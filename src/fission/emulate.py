"""Jobs and pipes as functions, executed by the same code as in a network.

```
from fission.emulate import emulate

    emulate(PicklePipe(1))(400)             # (400, b"...", 400, 400), and prints every stage
with emulate(JoinJob(inputs=[...], outputs=[...])) as join:
    assert join(1, 2, 3) == [6]
```
"""

from __future__ import annotations

from fission.testing.emulator import NOTHING, JobEmulator, emulate
from fission.testing.pipe_emulator import PipeEmulator

__all__ = ["NOTHING", "JobEmulator", "PipeEmulator", "emulate"]
