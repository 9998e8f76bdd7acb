"""Duplicate keys in one mapping of a JSON or YAML text. The parsers silently take the last one."""

from __future__ import annotations

import json
import re

#: The tokens of a JSON text that matter: strings, brackets and colons.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]', re.DOTALL)


def json_duplicates(text: str) -> list[tuple[str, int, int]]:
    """Return each duplicate key of an object in a JSON text: (key, line of the one before, line);
    lines count from 1.
    """
    found = []
    open_ones: list[dict[str, int] | None] = []  # None: a list
    word = None
    line, at = 1, 0
    for token in TOKEN.finditer(text):
        line += text.count("\n", at, token.start())
        at = token.start()
        sign = token.group()
        if sign in "{[":
            open_ones.append({} if sign == "{" else None)
        elif sign in "}]":
            if open_ones:
                open_ones.pop()
        elif sign == ":":
            keys = open_ones[-1] if open_ones else None
            if keys is not None and word is not None:
                key = json.loads(word[0])
                if key in keys:
                    found.append((key, keys[key], word[1]))
                keys[key] = word[1]
        word = (sign, line) if sign.startswith('"') else None
    return found


def yaml_duplicates(text: str) -> list[tuple[str, int, int]]:
    """Return each duplicate key of a mapping in a YAML text; keys of a merge (``<<``) may be
    repeated.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    import yaml

    found = []
    nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                nodes.append(value)
                if not isinstance(key, yaml.ScalarNode):
                    continue
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in lines:
                    found.append((key.value, lines[name], line))
                lines[name] = line
    return sorted(found, key=lambda found_key: found_key[2])
