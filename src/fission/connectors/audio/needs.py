"""The libraries of the extra ``audio``, imported when a job needs them."""

from __future__ import annotations

import importlib
from typing import Any

from fission.errors import DefinitionError, error_text

#: What pip installs for a module, if the names differ.
_PACKAGES = {"_cffi_backend": "cffi", "scipy.signal": "scipy", "scipy.fft": "scipy"}


def needed(job: str, module: str) -> Any:
    """Return a module of the extra.

    Args:
        job: name of the job, for messages.
        module: dotted name.

    Raises:
        DefinitionError: it, or a library that it needs, is not installed; the message says what to do.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as why:
        package = _PACKAGES.get(why.name or "", why.name)
        raise DefinitionError(f"{job} needs {package}, which is not installed; install it: pip install {package}") from None
    except OSError as why:  # the package is there, but not the library that it loads
        raise DefinitionError(f"{job} needs a library that {module} loads, but: {why}; {_help(module)}") from None
    except Exception as why:  # PortAudio does not start, for example
        raise DefinitionError(f"{job} needs {module}, which cannot be loaded: {error_text(why)}; install it again") from None


def _help(module: str) -> str:
    return "install it: apt install libportaudio2" if module == "sounddevice" else f"install {module} with its library"
