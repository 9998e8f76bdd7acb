"""The import path of the published pypelinin: what `fission.pipelines` has, and nothing else."""

from fission.pipelines import *  # noqa: F403
from fission.pipelines import __all__ as __all__
