"""Every command and output in README.md and docs/ is real; see tests/docs_runner.py."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fission.cli.table import COMMANDS
from fission.project.settings import SETTINGS
from tests.docs_runner import ROOT, Block, Page, blocks_of, fits

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("README.md"))]


@pytest.mark.slow
@pytest.mark.timeout(300)  # the blocks of a page depend on each other, so it is one test
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page(path: Path, tmp_path: Path) -> None:
    with Page(tmp_path) as page:
        for block in blocks_of(path.read_text(encoding="utf-8")):
            page.run(block)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    lines = re.sub(r"^(`{3,}).*?^\1`*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL).splitlines()
    headings = [line.lstrip("# ") for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_links(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        page = path.parent / file if file else path
        assert page.exists(), f"{target}: there is no {page}"
        assert not anchor or anchor in anchors(page), f"{target}: the headings there are {sorted(anchors(page))}"


def rows(page: str) -> dict[str, list[str]]:
    """Return the table rows that begin with a name in backquotes: name -> the cells after it."""
    lines = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {first.strip("`"): rest for first, *rest in cells}


def test_every_setting_is_described_with_its_default() -> None:
    described = rows("docs/config.md")
    for setting in SETTINGS.values():
        assert setting.name in described, f"docs/config.md has no row for {setting.name}"
        if not isinstance(setting.default, (tuple, dict)):
            default = described[setting.name][1]
            stated = ast.literal_eval(default)
            assert (stated, type(stated) is bool) == (setting.default, type(setting.default) is bool), f"{setting.name}: {default}"


def test_simulate_checks_what_the_page_says() -> None:
    described = rows("docs/config.md")
    unseen = {name for name in SETTINGS if described[name][-1] == "does not look at it"}
    assert unseen == {setting.name for setting in SETTINGS.values() if setting.remote}


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")
    assert [page for page in pages if f"]({page})" not in index] == []


#: A command that installs FISSION from a package index, which has another project of this name and none of ours.
FROM_AN_INDEX = re.compile(r"""(?m)pip install [^\n]*?(?<![\w/])fission(?:-networks(?:-pypelinin)?)?(?:\[|["'`]|==|\s|$)""")


def test_nothing_installs_the_other_fission_of_the_package_index() -> None:
    files = [
        *PAGES,
        ROOT / "CONTRIBUTING.md",
        ROOT / "Makefile",
        *sorted((ROOT / "src").rglob("*.*")),
        *sorted((ROOT / "examples").rglob("*.md")),
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in files if path.is_file() and path.suffix != ".pyc"}
    assert [str(path) for path, text in texts.items() if FROM_AN_INDEX.search(text)] == []


@pytest.mark.parametrize(
    "command",
    [
        "pip install fission",
        "pip install 'fission[cluster]'",
        "pip install --upgrade fission-networks",
        'pip install "fission-networks[viz]"',
    ],
)
def test_such_a_command_is_found(command: str) -> None:
    assert FROM_AN_INDEX.search(f"Type\n`{command}`\nthere.")


UNTRUE = ["only `simulate` runs", "this page describes `simulate`", "three machines, each with one table", "three machines that do no I/O"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_that_have_become_untrue_are_gone(path: Path) -> None:
    text = " ".join(path.read_text(encoding="utf-8").lower().split())
    assert [sentence for sentence in UNTRUE if sentence in text] == []


def test_every_command_is_described() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    assert [command for command in COMMANDS if f"\n## {command}\n" not in text] == []
    assert [command for command in COMMANDS if f"{command} --help" not in text] == []


# -- the runner itself ------------------------------------------------------------------------------------------------

GOOD = """
# A page

```console
$ echo one; echo two >&2
one
two
$ mkdir -p deep && cd deep && pwd
.../page/deep
$ cd deep
$ echo many \\
>   words
many words
```

<!-- test: file=net/config.py -->
```python
JOBS = []
```

<!-- test: append=net/config.py -->
```python
NODES = []
```

```console
$ cat net/config.py
JOBS = []


NODES = []
$ python3 -c 'for i in range(9): print("line", i)'
line 0
...
line 8
```

<!-- test: cwd=. exit=3 -->
```console
$ test -d deep && exit 3
```

<!-- test: for=0.2 -->
```console
$ echo begin; exec sleep 100
begin
```

<!-- test: any-order -->
```console
$ echo "two 2"; echo "one 1"; exec sleep 100
one ...
two ...
^C
$ echo one; echo two; echo three
three
...
one
```

<!-- test: retry -->
```console
$ echo x >>tries; cat tries
x
x
x
```

<!-- test: background -->
```console
$ exec python3 -c "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, [2]); print('up', flush=True); s.sigwait([2])"
up
```

<!-- test: by=Makefile -->
```console
$ make it
```

    indented text

```text
$ not run
```
"""


def run_page(text: str, folder: Path) -> None:
    (folder / "Makefile").write_text("# make it\n")
    with Page(folder, root=folder) as page:
        for block in blocks_of(text):
            page.run(block)


def test_good_page(tmp_path: Path) -> None:
    run_page(GOOD, tmp_path)


BAD = {
    "the output differs": "```console\n$ echo one\ntwo\n```",
    "exit code 1": "```console\n$ false\n```",
    "exit code 0": "<!-- test: exit=2 -->\n```console\n$ true\n```",
    "not ended within": "<!-- test: limit=0.1 -->\n```console\n$ exec sleep 100\n```",
    "ended too early": "<!-- test: background -->\n```console\n$ true\nup\n```",
    "early, with exit code 0": "```console\n$ echo one\none\ntwo\n^C\n```",
    "exit code 3": "```console\n$ trap 'exit 3' INT; echo one; sleep 100\none\n^C\n```",
    "the second time": "<!-- test: retry limit=0.1 -->\n```console\n$ echo one\nthe second time\n```",
    "does not run 'make that'": "<!-- test: by=Makefile -->\n```console\n$ make that\n```",
    "is not there": "<!-- test: by=Nofile -->\n```console\n$ make it\n```",
    "is not tested": "```bash\necho one\n```",
    "begins with a command": "```console\necho one\n```",
    "unknown": "<!-- test: fro=2 -->\n```console\n$ true\n```",
    "right before a block": "<!-- test: for=2 -->\nText.\n```console\n$ true\n```",
    "no such folder": "```console\n$ cd nowhere\n```",
}


@pytest.mark.parametrize("problem", BAD)
def test_bad_page(problem: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=problem):
        run_page(BAD[problem], tmp_path)


def test_python_blocks_must_compile(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError):
        run_page("```python\ndef f(:\n```", tmp_path)


def test_blocks_keep_their_text() -> None:
    page = "1. item\n\n   ````md\n   ```x\n   ````\n<!-- test: cwd='a b' for=1 -->\n\n~~~console\n$ x\n~~~"
    assert list(blocks_of(page)) == [
        Block("md", "```x\n", 3),
        Block("console", "$ x\n", 8, {"cwd": "a b", "for": "1"}),
    ]


@pytest.mark.parametrize(
    ("expected", "actual", "answer"),
    [
        ("a\nb", "a\nb", True),
        ("a", "a\nb", False),
        ("a\n...", "a\nb\nc", True),
        ("...\nc", "a\nb\nc", True),
        ("...", "", True),
        ("a\n...\nc", "a\nc", True),
        ("took ... s", "took 0.31 s", True),
        ("took ... s", "took\n0.31 s", False),
        ("a.c", "abc", False),
        ("a  ", "a", True),
    ],
)
def test_fits(expected: str, actual: str, answer: bool) -> None:
    assert fits(expected.splitlines(), actual.splitlines()) is answer


@pytest.mark.parametrize(
    ("expected", "actual", "answer"),
    [
        ("a\nb", "b\na", True),
        ("a\nb", "b\na\na", False),
        ("a\nb\n...", "b\na\na", True),
        ("a\na\n...", "b\na", False),
        ("a\n...", "", False),
        ("...", "", True),
        ("a...\nab...\n...", "x\nabc\nabd", True),  # whichever is tried first, each finds its own line
        ("...c\na...\n...", "abc\nx\nac", True),
        ("a...\nabc", "abc\nb", False),
    ],
)
def test_fits_in_any_order(expected: str, actual: str, answer: bool) -> None:
    assert fits(expected.splitlines(), actual.splitlines(), any_order=True) is answer
