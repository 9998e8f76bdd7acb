"""Link qualities of a B.A.T.M.A.N. mesh, parsed from the output of all versions of batctl."""

from __future__ import annotations

import logging
import subprocess
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.adapters import batman
from fission.adapters.batman import Batman, parse_arp, parse_neighbours, parse_originators, parse_translation

A, B, C, D = (f"02:4d:00:00:00:{number:02x}" for number in (0x0A, 0x0B, 0x0C, 0x0D))
#: The addresses of their mesh interfaces.
A_BAT, B_BAT, C_BAT = (f"66:aa:00:00:00:{number:02x}" for number in (0x0A, 0x0B, 0x0C))

SINCE_2016 = f"""\
[B.A.T.M.A.N. adv 2023.1, MainIF/MAC: wlan0/{D} (bat0/66:aa:00:00:00:0d BATMAN_IV)]
   Originator        last-seen (#/255) Nexthop           [outgoingIF]
   {B}    0.120s   (201) {A} [     wlan0]
 * {B}    0.120s   (188) {B} [     wlan0]
   {B}    0.120s   ( 90) {C} [      eth1]
 * {A}    0.860s   (255) {A} [     wlan0]
 * {C}   12.300s   (  7) {A} [     wlan0]
   {D}    1.100s   ( 33) {A} [     wlan0]
   {D}    1.100s   ( 44) {B} [     wlan0]
"""
BEFORE_2016 = f"""\
[B.A.T.M.A.N. adv 2013.4.0, MainIF/MAC: wlan0/{D} (bat0 BATMAN_IV)]
  Originator      last-seen (#/255)           Nexthop [outgoingIF]:   Potential nexthops ...
{A}    0.350s   (255) {A} [     wlan0]: {B} (144) {A} (255)
{B}    7.150s   (188) {A} [     wlan0]: {A} (188) {B} (  0)
{C.upper()}    0.010s   (  7) {B} [      eth1]: {B} (  7)
"""
FIRST = f"""\
  Originator  (#/255)         Nexthop [outgoingIF]:   Potential nexthops ... [B.A.T.M.A.N. adv 0.2, MainIF/MAC: wlan0/{D}]
{A}  (255) {A} [     wlan0]: {B} (144) {A} (255)
{B}  (188) {A} [     wlan0]: {A} (188) {B} (  0)
{C}  (  7) {B} [      eth1]: {B} (  7)
"""
BATMAN_V = f"""\
[B.A.T.M.A.N. adv 2023.1, MainIF/MAC: wlan0/{D} (bat0/66:aa:00:00:00:0d BATMAN_V)]
   Originator        last-seen ( throughput)  Nexthop           [outgoingIF]
 * {A}    0.340s (       87.4)  {A} [     wlan0]
 * {B}    0.340s (        1.0)  {A} [     wlan0]
"""
NO_NEIGHBOURS = f"""\
[B.A.T.M.A.N. adv 2013.4.0, MainIF/MAC: wlan0/{D} (bat0 BATMAN_IV)]
  Originator      last-seen (#/255)           Nexthop [outgoingIF]:   Potential nexthops ...
No batman nodes in range ...
"""


@pytest.mark.parametrize("text", [SINCE_2016, BEFORE_2016, FIRST], ids=["since 2016", "before", "first"])
def test_originators_of_all_versions(text: str) -> None:
    found = parse_originators(text)
    assert {originator: found[originator] for originator in (A, B, C)} == {A: 255, B: 188, C: 7}


def test_without_a_chosen_path_the_best_one_counts() -> None:
    assert parse_originators(SINCE_2016)[D] == 44


def test_without_header() -> None:
    assert parse_originators("\n".join(SINCE_2016.splitlines()[2:])) == parse_originators(SINCE_2016)


@pytest.mark.parametrize(
    "text", [BATMAN_V, NO_NEIGHBOURS, "", f" * {A}    0.860s   (256) {A} [     wlan0]", "Error - interface bat0 is not present"]
)
def test_no_qualities(text: str) -> None:
    assert parse_originators(text) == {}


def test_translation() -> None:
    assert parse_translation(f"{A.upper()}\n") == A
    for text in ("", f"mac address: {A}", "no originator", A[:-1]):
        assert parse_translation(text) is None


ARP = f"""\
IP address       HW type     Flags       HW address            Mask     Device
10.0.0.1         0x1         0x2         {A_BAT}     *        bat0
10.0.0.2         0x1         0x2         {B_BAT.upper()}     *        bat0
10.0.0.9         0x1         0x0         00:00:00:00:00:00     *        bat0
"""
NEIGHBOURS = f"""\
10.0.0.3 dev bat0 lladdr {C_BAT} STALE
fd00::3 dev bat0 lladdr {C_BAT} router REACHABLE
10.0.0.9 dev bat0  FAILED
10.0.0.8 dev bat0 INCOMPLETE
"""


def test_neighbours() -> None:
    assert parse_arp(ARP) == {"10.0.0.1": A_BAT, "10.0.0.2": B_BAT}
    assert parse_neighbours(NEIGHBOURS) == {"10.0.0.3": C_BAT, "fd00::3": C_BAT}


@given(st.text() | st.lists(st.sampled_from([*SINCE_2016, *ARP, *NEIGHBOURS.split(), A, "\n", " "]), max_size=60).map("".join))
def test_no_text_makes_a_parser_fail(text: str) -> None:
    for parse in (parse_originators, parse_translation, parse_arp, parse_neighbours):
        parse(text)


# -- asking


class Machine:
    """Answers as a machine's programs would, and counts the calls."""

    def __init__(self, originators: str | Exception = SINCE_2016) -> None:
        self.originators = originators
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, words: Sequence[str]) -> str:
        self.asked.append(tuple(words))
        if words[:2] == ("batctl", "originators"):
            if isinstance(self.originators, Exception):
                raise self.originators
            return self.originators
        if words[:2] == ("batctl", "translate"):
            if words[2] not in {A_BAT, B_BAT, C_BAT}:
                raise subprocess.CalledProcessError(1, list(words), stderr=b"Error - mac address was not found")
            return {A_BAT: A, B_BAT: B, C_BAT: C}[words[2]] + "\n"
        return NEIGHBOURS


@pytest.fixture
def arp(tmp_path: Path) -> Path:
    (tmp_path / "arp").write_text(ARP)
    return tmp_path / "arp"


def test_qualities_of_addresses(arp: Path) -> None:
    machine = Machine()
    asker = Batman(logging.getLogger("mesh"), machine, arp)
    assert asker.qualities(["10.0.0.1", "10.0.0.2"]) == {"10.0.0.1": 255, "10.0.0.2": 188}
    assert ("ip", "neighbour", "show") not in machine.asked
    wanted = ["10.0.0.1", "10.0.0.3", "fd00::3", "10.0.0.8", "10.0.0.9", "192.168.1.1"]
    assert asker.qualities(wanted) == {"10.0.0.1": 255, "10.0.0.3": 7, "fd00::3": 7}


def test_an_address_on_the_originating_interface_needs_no_translation(arp: Path) -> None:
    arp.write_text(ARP.replace(A_BAT, A))
    machine = Machine()
    assert Batman(logging.getLogger("mesh"), machine, arp).qualities(["10.0.0.1"]) == {"10.0.0.1": 255}
    assert len(machine.asked) == 1


def test_a_machine_outside_of_the_mesh(arp: Path) -> None:
    arp.write_text(ARP.replace(A_BAT, "66:aa:00:00:00:ff"))
    assert Batman(logging.getLogger("mesh"), Machine(), arp).qualities(["10.0.0.1", "10.0.0.2"]) == {"10.0.0.2": 188}


@pytest.mark.parametrize(
    "trouble",
    [
        FileNotFoundError("batctl is not installed"),
        PermissionError(13, "Permission denied"),
        subprocess.CalledProcessError(1, ["batctl"], stderr=b"Error - interface bat0 is not present\n"),
        subprocess.TimeoutExpired(["batctl"], 2.0),
    ],
)
def test_trouble_is_reported_once(arp: Path, caplog: pytest.LogCaptureFixture, trouble: Exception) -> None:
    caplog.set_level(logging.INFO, "mesh")
    asker = Batman(logging.getLogger("mesh"), Machine(trouble), arp)
    for _ in range(3):
        assert asker.qualities(["10.0.0.1"]) == {}
    (record,) = caplog.records
    said = "interface bat0 is not present" if isinstance(trouble, subprocess.CalledProcessError) else str(trouble)
    assert said in record.getMessage()


def program(folder: Path, text: str) -> None:
    """A batctl of this test's own."""
    (folder / "batctl").write_text("#!/bin/sh\n" + textwrap.dedent(text))
    (folder / "batctl").chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(batman, "_SBIN", ())
    return tmp_path


def test_a_real_program(path: Path, arp: Path) -> None:
    assert not batman.available()
    assert Batman(logging.getLogger("mesh"), arp=arp).qualities(["10.0.0.1"]) == {}
    (path / "table").write_text(SINCE_2016)
    program(path, f'[ "$1" = originators ] && cat {path}/table || echo {A}')
    assert batman.available()
    assert Batman(logging.getLogger("mesh"), arp=arp).qualities(["10.0.0.1"]) == {"10.0.0.1": 255}


def test_a_program_that_hangs(path: Path, arp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(batman, "TIMEOUT_S", 0.05)
    caplog.set_level(logging.INFO, "mesh")
    program(path, "exec sleep 1000")
    assert Batman(logging.getLogger("mesh"), arp=arp).qualities(["10.0.0.1"]) == {}
    assert "timed out" in caplog.text
