"""The error of a job whose node lacks something that this machine has."""

from __future__ import annotations

import numpy

from fission.client.reports.job_outcome import located


def test_a_package_that_is_not_there() -> None:
    text = located("ModuleNotFoundError: No module named 'scipy'", "pi")
    assert text.endswith(
        "the module scipy is missing on node pi: install it there, with the pip of its service (python3 -m pip install scipy), "
        "or add it to the job's DEPENDENCIES"
    )


def test_the_older_pypelinin_is_not_recommended() -> None:
    text = located("ModuleNotFoundError: No module named 'pypelinin'", "pi")
    assert text.endswith("install its wheel here, then run fission provision renew")
    assert "pip install pypelinin" not in text


def test_a_package_of_another_version() -> None:
    """What numpy 2 has pickled names numpy._core, which numpy 1 has not."""
    text = located("ModuleNotFoundError: No module named 'numpy._core'", "pi")
    here = numpy.__version__
    assert text.endswith(
        f"node pi has another version of numpy, without numpy._core (here it is {here}): install the same there, with the pip of its "
        f"service (python3 -m pip install numpy=={here})"
    )


def test_a_module_of_a_package_that_is_not_here_either() -> None:
    assert "the module plant is missing on node pi" in located("ModuleNotFoundError: No module named 'plant.pumps'", "pi")


def test_any_other_error_stays() -> None:
    assert located("ValueError: no", "pi") == "ValueError: no"
