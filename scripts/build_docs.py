"""Builds the docs as a site, with the API reference, in build/site. Warnings are errors.

    .venv/bin/python scripts/build_docs.py

A public module is a line in `PUBLIC`; its page has what is in its ``__all__``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What users import. Everything else of the package is private: it may change without notice.
PUBLIC = (
    "fission",
    "fission.connectors.audio",
    "fission.core.base",
    "fission.core.groups",
    "fission.core.head",
    "fission.core.jobs",
    "fission.core.network",
    "fission.core.nodes",
    "fission.core.pipes",
    "fission.emulate",
    "fission.errors",
    "fission.manager",
    "fission.pipelines",
    "fission.recordings",
    "fission.testing.pytest_plugin",
    "fission.visualize",
    "pypelinin",
)


def collect(folder: Path) -> None:
    """Fill a folder, which is emptied, with the pages of the repository and one for each public module."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "images").glob("*.png")]
    for example in (ROOT / "examples").rglob("README.md"):
        pages += [example, *example.parent.glob("*.png")]
    for page in pages:
        copy = folder / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
    (folder / "api").mkdir()
    for module in PUBLIC:
        (folder / "api" / f"{module}.md").write_text(
            f"# {module}\n\n::: {module}\n    options:\n      show_root_heading: false\n", encoding="utf-8"
        )
    listed = "\n".join(f"- [`{module}`]({module}.md)" for module in PUBLIC)
    text = "What users import. Everything else in the package is private and may change without notice."
    (folder / "api" / "README.md").write_text(f"# API reference\n\n{text}\n\n{listed}\n", encoding="utf-8")


def build(folder: Path) -> int:
    """Build the site in ``folder/site``; return mkdocs' exit code, which is 1 if there were warnings. They go to standard error."""
    collect(folder / "docs")
    config = folder / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {folder / 'docs'}\nsite_dir: {folder / 'site'}\n", encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--config-file", str(config)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.writelines(line for line in done.stderr.splitlines(keepends=True) if not line.startswith("INFO"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(build(ROOT / "build"))
