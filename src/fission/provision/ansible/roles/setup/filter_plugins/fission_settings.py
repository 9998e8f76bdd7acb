"""Filter of the role: finds mistakes in the settings of a host.

Run by ansible-playbook, not by FISSION. A mistake that Ansible would take for something else, as a string for a list, must
not reach a host.
"""

from __future__ import annotations

import difflib
import re

#: What Ansible accepts as the name of a host in every place; systemd's units take no space without quotes.
NAME = re.compile(r"\w[\w.:-]*")
#: Characters of paths that mean themselves in units, in fstab and in the shell.
PATH = re.compile(r"(/[\w.+@:=,-]+)+/?")
PROGRAM = re.compile(r"[\w./+-]+")
USER = re.compile(r"[A-Za-z_][\w.-]*\$?")
#: Host names and addresses; an IPv6 address may have a zone.
HOST = re.compile(r"[\w.:-]+(%[\w.-]+)?")
PACKAGE = re.compile(r"[A-Za-z0-9][^\r\n]*")
VERSION = re.compile(r"[A-Za-z0-9][\w.!+*-]*")
#: The words that Ansible takes for true and false.
BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")
PREFIX = "fission_"
#: How alike two names must be, after the prefix, for one to be a misspelling of the other; arbitrary.
ALIKE = 0.75


def setting_faults(settings, names=(), addresses=None):
    """Return a clause about each mistake, without an end.

    Args:
        settings: the settings of the role by name, and inventory_hostname, node_ip, dispy_ip, fission_folder.
        names: all names of variables that begin with "fission_".
        addresses: (address, port) of ssh by the name of each host of the inventory; the address may be empty.
    """
    found = [_text(name, must, settings[name]) for name, must, valid in _RULES if name in settings and not valid(settings[name])]
    found += _packages(settings.get("pip3_packages"))
    for name in sorted(set(names) - set(settings)):
        known = [other.removeprefix(PREFIX) for other in settings if other.startswith(PREFIX)]
        if close := difflib.get_close_matches(name.removeprefix(PREFIX), known, 1, ALIKE):
            found.append(f"there is no setting {name}; it may be {PREFIX}{close[0]}")
    return found + _same_address(settings.get("inventory_hostname"), addresses or {})


def _same_address(own, addresses):
    """Return a clause if another host is the same machine: both would be set up there at once."""
    places = {name: (str(address or name), str(port)) for name, (address, port) in addresses.items()}
    same = [name for name, place in places.items() if name != own and place == places.get(own)]
    return [f"ansible_host must be another one for each host, but {own} and {same[0]} have {places[own][0]}"] if same else []


def _text(name, must, value):
    shown = str(value) if isinstance(value, (int, float)) else repr(str(value))
    return f"{name} must be {must}, but is {shown:.100}"


def _matching(pattern, empty=False):
    return lambda value: (empty and value in ("", None)) or (isinstance(value, str) and pattern.fullmatch(value) is not None)


def _folder(parts, empty=False):
    def valid(value):
        if empty and value in ("", None):
            return True
        text = value if isinstance(value, str) else ""
        return PATH.fullmatch(text) is not None and ".." not in text.split("/") and len(text.strip("/").split("/")) >= parts

    return valid


def _number(least, most=10**9, empty=False):
    def valid(value):
        if empty and value in ("", None):
            return True
        text = str(value).strip()
        return not isinstance(value, bool) and text.isascii() and text.isdecimal() and least <= int(text) <= most

    return valid


def _boolean(value):
    return str(value).lower() in BOOLEANS


def _packages(packages):
    if packages in ("", None):
        return []
    if not isinstance(packages, (list, tuple)):
        return [_text("pip3_packages", "a list, a line '- name: PACKAGE' for each", packages)]
    return [text for package in packages for text in _package(package)]


def _package(package):
    if isinstance(package, str):
        return [] if PACKAGE.fullmatch(package) else [_text("an entry of pip3_packages", "the name of a package", package)]
    if not isinstance(package, dict) or not isinstance(package.get("name"), str) or not PACKAGE.fullmatch(package["name"]):
        return [_text("an entry of pip3_packages", "'- name: PACKAGE'", package)]
    if unknown := sorted(set(map(str, package)) - {"name", "version"}):
        return [f"the package {package['name']} of pip3_packages must have name and version only, but has {', '.join(unknown)}"]
    version = package.get("version", "1")
    if isinstance(version, (float, bool)):  # YAML reads 1.20 as 1.2
        return [_text(f"the version of {package['name']} in pip3_packages", 'in quotes, as in version: "1.20"', version)]
    return [] if VERSION.fullmatch(str(version)) else [_text(f"the version of {package['name']} in pip3_packages", "a version", version)]


_BELOW = "an absolute path below a top-level folder, of letters, digits and _ . + @ : = , - only"
_ADDRESS = "a host name or an address"
_RULES = (
    ("inventory_hostname", "of letters, digits and _ . - : only, as it is the name of a host", _matching(NAME)),
    ("fission_root", _BELOW, _folder(2, empty=True)),
    ("fission_folder", f"{_BELOW}: set fission_root", _folder(2)),
    ("fission_home", _BELOW, _folder(2)),
    ("fission_keys", _BELOW, _folder(2)),
    ("fission_client", _ADDRESS, _matching(HOST, empty=True)),
    ("fission_controller", f"{_ADDRESS}: set fission_client", _matching(HOST)),
    ("node_ip", _ADDRESS, _matching(HOST, empty=True)),
    ("dispy_ip", _ADDRESS, _matching(HOST, empty=True)),
    ("fission_port", "a number from 1 to 65535", _number(1, 65535)),
    ("fission_jobs", "a number from 1 on, or empty", _number(1, empty=True)),
    ("fission_tmpfs_mb", "a number of MB", _number(0)),
    ("fission_disk_mb", "a number of MB", _number(0)),
    ("fission_user", "the name of a user", _matching(USER, empty=True)),
    ("fission_python", "a program's name or path", _matching(PROGRAM)),
    ("fission_batctl", "true or false", _boolean),
    ("fission_insecure", "true or false", _boolean),
)


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        """Return the filters by their names."""
        return {"fission_setting_faults": setting_faults}
