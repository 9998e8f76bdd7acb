"""The test hosts work: they communicate, each fault has its effect, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import hosts as module
from tests.cluster.hosts import Host, Hosts, Listener, claim, links, namespaces, sweep
from tests.waiting import eventually, is_running

MakeHosts = Callable[[int], Hosts]
TALKER = str(Path(__file__).with_name("talker.py"))
PORT = 7000
COUNT = 400
DEADLINE_S = 20


@pytest.fixture
def pair(hosts: MakeHosts) -> tuple[Host, Host]:
    """Two hosts; the second one answers."""
    one, two = hosts(2)
    answer_at(two)
    return one, two


def answer_at(host: Host) -> None:
    process = host.run([sys.executable, TALKER, "echo", host.ip, str(PORT)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def ask(host: Host | None, what: str, whom: Host, number: int) -> float:
    """Return what `talker.py` prints on this host, or on this machine."""
    words = [sys.executable, TALKER, what, whom.ip, str(PORT), str(number)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, **options) if host is None else host.run(words, **options)  # type: ignore[call-overload]
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    return float(out)


def test_hosts_and_client_reach_each_other(hosts: MakeHosts) -> None:
    network = hosts(3)
    assert len({host.ip for host in network} | {network.client_ip}) == 4
    for host in network:
        answer_at(host)
    for asker in (None, network[0], network[2]):
        for host in network:
            assert ask(asker, "udp", host, 3) == 3
            ask(asker, "tcp", host, 100_000)


def test_two_networks_at_once_do_not_meet(hosts: MakeHosts) -> None:
    one, two = hosts(1), hosts(1)
    assert one.number != two.number
    answer_at(two[0])
    assert ask(None, "udp", two[0], 3) == 3
    with pytest.raises(AssertionError, match="unreachable"):
        ask(one[0], "udp", two[0], 3)


def test_a_pulled_cable_is_silence(pair: tuple[Host, Host]) -> None:
    one, two = pair
    two.link(False)
    assert ask(None, "udp", two, 20) == 0
    two.link(True)
    assert ask(one, "udp", two, 3) == 3


@pytest.mark.parametrize("end", ["switch", "host"])
def test_an_interrupted_link_works_again_at_once(pair: tuple[Host, Host], end: str) -> None:
    """Two in a row, because Linux limits how often it looks at links. Without what `link` does a second may pass."""
    one, two = pair
    for number in (1, 2):
        words = [sys.executable, TALKER, "silence", two.ip, str(PORT), str(COUNT + 1000)]
        talk, begin = one.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), one.sent()
        eventually(lambda: one.sent() > begin + 20, DEADLINE_S, "some questions")  # noqa: B023
        one.interrupt(0.3, end)
        out, err = talk.communicate(timeout=DEADLINE_S)
        assert talk.returncode == 0, err
        assert 0.3 <= float(out) < 0.6, number


def test_a_sender_that_takes_its_own_link_down_gets_an_error(pair: tuple[Host, Host]) -> None:
    one, two = pair
    answer_at(one)
    two.link(False, "host")
    with pytest.raises(AssertionError, match="unreachable"):
        ask(two, "udp", one, 3)
    assert ask(None, "udp", two, 20) == 0
    two.heal()
    assert ask(two, "udp", one, 20) == 20


def test_a_wrong_end(pair: tuple[Host, Host]) -> None:
    with pytest.raises(ValueError, match="switch or host"):
        pair[0].link(False, "middle")


def test_datagrams_from_a_host_are_observed(pair: tuple[Host, Host]) -> None:
    one, two = pair
    with Listener(two) as listener:
        assert ask(None, "udp", two, 5) == 5
        assert ask(one, "udp", two, 5) == 5  # not the client's
        ask(None, "tcp", two, 1000)  # no datagrams
        begin = time.time()
        assert ask(None, "udp", two, 1) == 1
        times = [listener.wait() for _ in range(6)]
    assert times == sorted(times)
    assert times[4] < begin < times[5] < time.time()


@pytest.mark.parametrize(("direction", "ways"), [("in", 1), ("out", 1), ("both", 2)])
def test_some_packets_are_lost(pair: tuple[Host, Host], direction: str, ways: int) -> None:
    one, two = pair
    two.lose(30, direction)
    answers = ask(one, "udp", two, COUNT)
    # six standard deviations to each side
    share = 0.7**ways
    spread = 6 * (share * (1 - share) / COUNT) ** 0.5
    assert share - spread < answers / COUNT < share + spread
    two.heal()
    assert ask(one, "udp", two, 20) == 20


@pytest.mark.parametrize("direction", ["in", "out"])
def test_all_packets_of_one_direction_are_lost_and_the_sender_gets_no_error(pair: tuple[Host, Host], direction: str) -> None:
    one, two = pair
    answer_at(one)
    two.lose(100, direction)
    assert ask(one, "udp", two, 20) == 0
    assert ask(two, "udp", one, 20) == 0
    assert ask(two, "udp", two, 20) == 20  # itself it still reaches
    two.lose(0)
    assert ask(two, "udp", one, 20) == 20


def test_tcp_survives_loss(pair: tuple[Host, Host]) -> None:
    one, two = pair
    two.lose(5)
    ask(one, "tcp", two, 200_000)


def test_a_wrong_direction(pair: tuple[Host, Host]) -> None:
    with pytest.raises(ValueError, match="in, out or both"):
        pair[0].lose(1, "sideways")


@pytest.mark.parametrize("asked", [0, 1])
def test_a_limit_holds_in_both_directions(pair: tuple[Host, Host], asked: int) -> None:
    one, two = pair
    size = 100_000
    pair[asked].limit(2000)
    seconds = ask(one, "tcp", two, size)
    assert seconds > 0.6 * size * 8 / 2_000_000, "faster than the line"
    pair[asked].heal()
    assert ask(one, "tcp", two, size) < seconds


def test_processes_have_a_session_and_their_host_knows_them(pair: tuple[Host, Host]) -> None:
    one, _ = pair
    process = one.run(["sh", "-c", "sleep 1000 & wait"])
    assert os.getsid(process.pid) == process.pid
    eventually(lambda: len(one.pids()) == 2, DEADLINE_S, "shell and sleep")
    assert process.pid in one.pids()


def test_power_loss_sends_no_goodbye(pair: tuple[Host, Host]) -> None:
    one, two = pair
    code = f"import socket\ns = socket.create_connection(('{two.ip}', {PORT}))\ns.settimeout(0.5)\nprint('open', flush=True)\ninput()\n"
    code += "try:\n    print(s.recv(1))\nexcept TimeoutError:\n    print('silence')\n"
    talk = one.run([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert talk.stdout is not None
    assert talk.stdout.readline() == "open\n"
    two.run(["sh", "-c", "sleep 1000 & wait"])
    two.kill()
    assert two.pids() == []
    assert talk.communicate("\n", timeout=DEADLINE_S)[0] == "silence\n"
    two.heal()
    answer_at(two)
    eventually(lambda: ask(one, "udp", two, 3) == 3, DEADLINE_S, "it is back")


def test_nothing_is_left(hosts: MakeHosts) -> None:
    network = hosts(2)
    pids = [network[0].run(["sh", "-c", "sleep 1000 & wait"]).pid]
    eventually(lambda: len(network[0].pids()) == 2, DEADLINE_S, "shell and sleep")
    pids += network[0].pids()
    network[1].limit(100)
    network[1].lose(50)
    network.close()
    assert not [pid for pid in pids if is_running(pid)]
    assert network.number not in {*namespaces().values(), *links().values()}
    right = claim(network.number)
    assert right is not None
    right.close()


KILLED = """
import sys
from tests.cluster.hosts import Hosts
network = Hosts(2)
print(network.number, network[0].run(["sleep", "1000"]).pid, flush=True)
sys.stdin.read()
"""


def test_the_next_run_removes_what_a_killed_run_left(hosts: MakeHosts) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    words = [sys.executable, "-c", KILLED]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        number, sleeper = map(int, run.stdout.readline().split())
        sweep()  # its process runs, so nothing of it is removed
        theirs = {name for name, its in namespaces().items() if its == number}
        assert len(theirs) == 2
        assert number in links().values()
        assert is_running(sleeper)
        assert hosts(1).number != number
        os.kill(run.pid, signal.SIGKILL)
    assert theirs <= namespaces().keys()
    sweep()
    assert not theirs & namespaces().keys()
    assert number not in links().values()
    assert not is_running(sleeper)


def test_the_next_number_is_taken_when_one_is_not_free(hosts: MakeHosts) -> None:
    number, right = module._free_number()
    assert hosts(1).number != number
    right.close()


def test_without_root_or_programs_the_test_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(pytest.skip.Exception, match="only root can make them"):
        module.require()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.skip.Exception, match="the programs ip, tc, iptables"):
        module.require()
