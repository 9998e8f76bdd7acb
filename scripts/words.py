"""Lists the words that FISSION does not use: metaphors, and phrases that are not plain technical English.

    .venv/bin/python scripts/words.py                    all places where one is used
    .venv/bin/python scripts/words.py src/fission/core   those below a folder or in a file
    .venv/bin/python scripts/words.py --update           lowers tests/words_left.json to what is found

A new entry needs a replacement: one concept has one word. tests/words_left.json says how many places are
left below each path; a path that is not listed counts for its nearest listed parent. The numbers only shrink,
and a folder without any such word is listed with 0 from then on.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LEFT = ROOT / "tests" / "words_left.json"
PLACES = ("src", "tests", "docs", "examples", "benchmarks", "scripts", "distributions", "Makefile", "pyproject.toml")
SUFFIXES = {".py", ".md", ".txt", ".toml", ""}
# These files are about the words themselves.
EXEMPT = {"scripts/words.py", "tests/test_words.py", "tests/words_left.json"}
NOT_OURS = {"__pycache__", "simulation", "local", "runs", "collection", "results"}

# A regular expression, without regard to case, and what to write instead. Names are cut into words before they are
# compared (`HatchedNest` and `hatched_nest` are "hatched nest").
WORDS = {
    # metaphors
    "zygotes?": "fork server",
    "nests?": "fork server",
    "(?<!tool.)hatch(ed|es|ing)?": "fork",
    "conductors?": "coordinator",
    "switchboards?": "job channel",
    "baggage": "archives",
    "rosters?": "nodes",
    "lookers?": "viewer",
    "(?<!intended )audiences?": "viewers, subscribers",  # a trove classifier of packages
    "seats?": "subscription",
    "(door)?keepers?": "checkpointer, guard",
    "stor(y|ies)": "history, report, what happened",
    "residences?": "node lease",
    "stock(s|ed|er|ers)?": "archive store",
    "crowds?": "unbounded outputs",
    "inlets?": "inputs",
    "outlets?": "output",
    "mouths?": "sender, the socket that sends",
    "ears?": "receiver, the socket that receives",
    "desks?": "API, channel",
    "hotels?": "node lease",
    "theat(re|er)s?": "the thing's own name",
    "lives(?! untold)": "incarnations; is (in a place)",  # `lives_untold` is a published name
    "life": "incarnation; lifetime",
    # phrases
    "whoever": "the role: the client, the user, the sender",
    "whomever": "the role",
    '(?<!user )(?!(?<=")nobody")nobody': "no client, no job, no process ...",  # "nobody" alone is an account of the system
    "somebody": "the role: a job, a user, another program",
    "told": "reported, notified, sent, was given",
    "(?<!lives )untold": "not reported",
    "go(es|ing)? on": "continues",
    "went on": "continued",
    "any more": "any longer, no longer",
    "as it came": "unchanged",
    "as they came": "unchanged",
    "commonest": "most frequent",
    "what was held( back)?": "the blocks held back; queued blocks",
    "(is|are) to be": "will be, must be",
    "(?<!there )(?<!where )is no(?= (?!longer|more|such))": "is not a",
    "mend(s|ed|ing)?": "fix, repair",
    "without a word": "without reporting an error",
    "(block|message)'s way": "the path of a block",
    "(bug|mistake) of fission": "a bug in FISSION",
    "stand(s|ing)? still": "is stalled, is frozen",
    "stood still": "stalled, was frozen",
    "for who": "for those who; name the role",
    "who has not": "without",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(f'(?P<w{number}>{word})' for number, word in enumerate(WORDS))})\b", re.IGNORECASE)
_JOINT = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")


class Use(NamedTuple):
    """A place where one of the words is used."""

    path: str
    line: int
    word: str
    instead: str


def in_text(text: str, path: str = "") -> Iterator[Use]:
    """Yield the uses in a text, and in the name of its file (as line 0)."""
    for number, line in enumerate([path, *text.splitlines()]):
        for found in PATTERN.finditer(_JOINT.sub(" ", line)):
            yield Use(path, number, found.group(), [*WORDS.values()][int(str(found.lastgroup)[1:])])


def files() -> Iterator[Path]:
    """Yield the files that are read: sources, pages, examples, templates and this repository's own pages."""
    yield from sorted(ROOT.glob("*.md"))
    for place in PLACES:
        top = ROOT / place
        if top.is_file():
            yield top
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(each for each in folders if each not in NOT_OURS and not each.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix in SUFFIXES and path.relative_to(ROOT).as_posix() not in EXEMPT:
                    yield path


def uses() -> list[Use]:
    """Return all uses in the repository."""
    found: list[Use] = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # data of an example
            continue
        found += in_text(text, path.relative_to(ROOT).as_posix())
    return found


def count(left: dict[str, int], found: list[Use]) -> dict[str, int]:
    """Return how many uses are below each listed path; a use counts for the longest of them, or for its own file."""
    counts = Counter(dict.fromkeys(left, 0))
    for use in found:
        parents = [listed for listed in left if use.path == listed or use.path.startswith(f"{listed}/")]
        counts[max(parents, key=len, default=use.path)] += 1
    return dict(counts)


def lowered(left: dict[str, int], found: list[Use]) -> dict[str, int]:
    """Return the list with lower numbers where less is found, and with the folders that have become clean."""
    listed_paths = [path for path in left if (ROOT / path).exists()]
    new = {path: min(left[path], number) for path, number in count(left, found).items() if path in listed_paths}
    used = {parent.as_posix() for use in found for parent in (Path(use.path), *Path(use.path).parents)}
    for listed in left:
        for child in sorted((ROOT / listed).glob("*/")):
            path = child.relative_to(ROOT).as_posix()
            if child.name not in NOT_OURS and not child.name.startswith(".") and path not in used and _has_files(child):
                new.setdefault(path, 0)
    return dict(sorted(new.items()))


def _has_files(folder: Path) -> bool:
    return any(path.suffix in SUFFIXES and path.is_file() for path in folder.rglob("*") if "__pycache__" not in path.parts)


def main(arguments: list[str]) -> int:
    """List the uses or lower the numbers; return the exit code: 1 if a use was listed."""
    found = uses()
    if arguments == ["--update"]:
        left = lowered(json.loads(LEFT.read_text(encoding="utf-8")), found)
        LEFT.write_text(json.dumps(left, indent=2) + "\n", encoding="utf-8")
        return 0
    below = [path.rstrip("/") for path in arguments]
    listed = [use for use in found if not below or any(use.path == path or use.path.startswith(f"{path}/") for path in below)]
    for use in listed:
        sys.stdout.write(f"{use.path}:{use.line}: {use.word!r}: write {use.instead}\n")
    sys.stdout.write(f"{len(listed)} uses\n")
    return 1 if listed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
