"""Sound: blocks of samples, and jobs that read, write and process them.

Public: the names in ``__all__``. The modules are internal.

The extra ``audio`` has what the jobs need: soundfile, sounddevice and scipy. docs/audio.md shows how
to use them.
"""

from __future__ import annotations

from fission.connectors.audio.channel_jobs import MergeChannelsJob, SplitChannelsJob
from fission.connectors.audio.loudspeaker import LoudspeakerJob
from fission.connectors.audio.microphone import MicrophoneJob
from fission.connectors.audio.spectrum_block import SpectrumBlock
from fission.connectors.audio.stream_jobs import LevelJob, ResampleJob, StftJob
from fission.connectors.audio.wav_source import WavSourceJob
from fission.core.audio_block import AudioBlock
from fission.core.wav_sink import WavSinkJob

__all__ = [
    "AudioBlock",
    "LevelJob",
    "LoudspeakerJob",
    "MergeChannelsJob",
    "MicrophoneJob",
    "ResampleJob",
    "SpectrumBlock",
    "SplitChannelsJob",
    "StftJob",
    "WavSinkJob",
    "WavSourceJob",
]
