"""The guarantees of every `fission.ports.Links`.

Subclass `LinksConformance` with a fixture ``place`` that returns a `Place`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from fission.errors import EngineError, InternalError
from fission.ports import Links
from fission.protocol import frames
from fission.protocol.frames import Buffer
from fission.protocol.link_messages import Data, Message, Release
from tests.conformance.places import DEADLINE_S, Place
from tests.waiting import eventually

MANY = 500


def block(pipe: int, number: int) -> list[Buffer]:
    return [frames.encode_data(pipe, 1, 0, number, [b"%d" % number], None)]


def big(pipe: int, number: int, *buffers: Buffer) -> list[Buffer]:
    return frames.encode_big(pipe, 1, 0, number, [[b"payload", *buffers]], None)


def release(pipe: int, number: int) -> bytes:
    return frames.encode_release(Release(pipe, 1, 0, number, number))


def received(links: Links) -> Data:
    """Wait for the next data message and return it."""
    found = links.receive()
    assert found is not None, f"no message within {DEADLINE_S:g} s, or woken up"
    message = frames.decode(found)
    assert isinstance(message, Data)
    return message


def controlled(links: Links) -> Release:
    """Wait for the next control message and return it."""
    found = links.control(DEADLINE_S)
    assert found is not None, f"no control message within {DEADLINE_S:g} s, or woken up"
    message = frames.decode(found)
    assert isinstance(message, Release)
    return message


def listens(place: Place, data: str, control: str) -> Links:
    """Return links at addresses that have just become free.

    With a shared context, ZeroMQ frees them in a thread of its own.
    """

    def listen() -> Links | None:
        with contextlib.suppress(EngineError):
            return place.links(data=data, control=control)
        return None

    return eventually(listen, DEADLINE_S, "the addresses are free")


class Ends:
    """The addresses of pipe 1 from a producer to a consumer; each end is created on request."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.data, self.control = place.address(), place.address()

    def producer(self) -> Links:
        return self.place.links(control=self.control, outputs={1: self.data})

    def consumer(self) -> Links:
        return self.place.links(data=self.data, inputs={1: self.control})


class LinksConformance:
    """The conformance suite."""

    # messages that were sent arrive

    def test_messages_keep_their_order(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        for number in range(1, MANY + 1):
            producer.send(1, block(1, number))
            consumer.answer(1, release(1, number))
        assert [received(consumer).sqn for _ in range(MANY)] == list(range(1, MANY + 1))
        assert [controlled(producer).released for _ in range(MANY)] == list(range(1, MANY + 1))
        assert consumer.receive(wait=False) is None
        assert producer.control(0) is None

    def test_sending_works_before_the_other_end_listens(self, place: Place) -> None:
        ends = Ends(place)
        producer = ends.producer()
        for number in range(1, 11):
            producer.send(1, block(1, number))
        consumer = ends.consumer()
        assert [received(consumer).sqn for _ in range(10)] == list(range(1, 11))

    def test_answers_work_before_the_other_end_listens(self, place: Place) -> None:
        ends = Ends(place)
        consumer = ends.consumer()
        for number in range(1, 11):
            consumer.answer(1, release(1, number))
        producer = ends.producer()
        assert [controlled(producer).released for _ in range(10)] == list(range(1, 11))

    def test_sending_never_blocks(self, place: Place) -> None:
        """The window bounds the traffic, even without a reader."""
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        rounds = 20_000

        def send_all() -> None:
            for number in range(1, rounds + 1):
                producer.send(1, block(1, number))

        place.start(send_all).result()
        assert [received(consumer).sqn for _ in range(rounds)] == list(range(1, rounds + 1))

    def test_pipes_of_many_producers_meet_in_one_consumer(self, place: Place) -> None:
        data = place.address()
        controls = {pipe: place.address() for pipe in (1, 2, 3)}
        consumer = place.links(data=data, inputs=controls)
        producers = {pipe: place.links(control=control, outputs={pipe: data}) for pipe, control in controls.items()}

        def send_all(pipe: int) -> None:
            for number in range(1, MANY + 1):
                producers[pipe].send(pipe, block(pipe, number))

        tasks = [place.start(partial(send_all, pipe)) for pipe in producers]
        found: dict[int, list[int]] = {pipe: [] for pipe in producers}
        for _ in range(3 * MANY):
            message = received(consumer)
            found[message.pipe].append(message.sqn)
        for task in tasks:
            task.result()
        assert found == {pipe: list(range(1, MANY + 1)) for pipe in producers}
        for pipe in producers:
            consumer.answer(pipe, release(pipe, 10 * pipe))
        assert [controlled(producer).released for producer in producers.values()] == [10, 20, 30]

    def test_outputs_of_one_producer_reach_their_consumers(self, place: Place) -> None:
        data = {pipe: place.address() for pipe in (1, 2)}
        producer = place.links(outputs=data)
        consumers = {pipe: place.links(data=address) for pipe, address in data.items()}
        for number in range(1, 11):
            for pipe in data:
                producer.send(pipe, block(pipe, number))
        for pipe, consumer in consumers.items():
            assert [(one.pipe, one.sqn) for one in (received(consumer) for _ in range(10))] == [(pipe, n) for n in range(1, 11)]
            assert consumer.receive(wait=False) is None

    def test_large_blocks_arrive_whole_and_in_order(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        sizes = [(), (0,), (1, 0, 3), (65_535, 65_536, 65_537), (3 << 20, 0, 7)]
        contents = [[bytes([index + 1]) * size for index, size in enumerate(row)] for row in sizes]
        number = 0
        for row in contents:
            number += 2
            producer.send(1, block(1, number - 1))
            producer.send(1, big(1, number, *row))
        long = b"x" * 200_000
        producer.send(1, [frames.encode_data(1, 1, 0, number + 1, [long], None)])
        for row in contents:
            small = received(consumer)
            assert small.payloads == [b"%d" % small.sqn]
            parts = received(consumer).payloads[0]
            assert [bytes(part) for part in parts] == [b"payload", *row]
        assert received(consumer).payloads == [long]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_frames_may_be_any_buffers(self, place: Place, kind: Callable[[bytes], Buffer]) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        producer.send(1, [kind(bytes(frame)) for frame in block(1, 1)])
        producer.send(1, [kind(bytes(frame)) for frame in big(1, 2, b"x" * 100_000, b"")])
        consumer.answer(1, kind(release(1, 7)))
        assert received(consumer).payloads == [b"1"]
        assert [bytes(part) for part in received(consumer).payloads[0]] == [b"payload", b"x" * 100_000, b""]
        assert controlled(producer).released == 7

    # waiting and waking

    def test_nothing_is_there_without_waiting(self, place: Place) -> None:
        links = place.links()
        assert links.receive(wait=False) is None
        assert links.control(0) is None

    def test_control_gives_up_after_its_timeout(self, place: Place) -> None:
        links = place.links()
        started = time.monotonic()
        assert links.control(0.05) is None
        assert 0.05 <= time.monotonic() - started + 0.001 < DEADLINE_S

    def test_a_waiting_receive_gets_the_next_message(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        waiting = place.start(lambda: received(consumer).sqn)
        producer.send(1, block(1, 3))
        assert waiting.result() == 3
        waiting = place.start(lambda: controlled(producer).released)
        consumer.answer(1, release(1, 4))
        assert waiting.result() == 4

    def test_a_receive_that_waits_is_woken(self, place: Place) -> None:
        links = place.links()
        waiting = place.start(links.receive)
        links.wake()
        assert waiting.result() is None

    def test_a_control_that_waits_is_woken(self, place: Place) -> None:
        links = place.links()
        for timeout in (None, DEADLINE_S):
            waiting = place.start(partial(links.control, timeout))
            links.wake_control()
            assert waiting.result(DEADLINE_S / 2) is None

    def test_the_next_receive_is_woken(self, place: Place) -> None:
        links = place.links()
        links.wake()
        assert place.start(links.receive).result() is None
        links.wake_control()
        assert place.start(partial(links.control, None)).result() is None

    def test_waking_one_reader_does_not_wake_the_other(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        consumer.wake_control()
        producer.send(1, block(1, 1))
        assert received(consumer).sqn == 1
        producer.wake()
        consumer.answer(1, release(1, 1))
        assert controlled(producer).released == 1

    def test_waking_loses_no_message(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()

        def wake_often() -> None:
            for _ in range(MANY):
                consumer.wake()
                producer.wake_control()

        wakers = [place.start(wake_often) for _ in range(2)]
        for number in range(1, MANY + 1):
            producer.send(1, block(1, number))
            consumer.answer(1, release(1, number))
            consumer.wake()
            producer.wake_control()
        for waker in wakers:
            waker.result()

        def all_of(take: Callable[[], list[Buffer] | None]) -> Iterator[Message]:
            found = 0
            while found < MANY:
                message = take()
                if message is not None:
                    found += 1
                    yield frames.decode(message)
                else:
                    assert not place.overdue, f"only {found} of {MANY} messages came"

        numbers = list(range(1, MANY + 1))
        assert [one.sqn for one in all_of(consumer.receive) if isinstance(one, Data)] == numbers
        assert [one.released for one in all_of(partial(producer.control, DEADLINE_S)) if isinstance(one, Release)] == numbers

    def test_any_thread_may_answer(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()

        def answer_all(thread: int) -> None:
            for number in range(1, MANY + 1):
                consumer.answer(1, release(1, 1000 * thread + number))

        tasks = [place.start(partial(answer_all, thread)) for thread in range(1, 4)]
        found: dict[int, list[int]] = {1: [], 2: [], 3: []}
        for _ in range(3 * MANY):
            number = controlled(producer).released
            found[number // 1000].append(number % 1000)
        for task in tasks:
            task.result()
        assert found == {thread: list(range(1, MANY + 1)) for thread in found}

    def test_main_thread_and_control_thread_do_not_meet(self, place: Place) -> None:
        """A job at work: one thread receives and sends, the other takes releases and answers."""
        data = [place.address(), place.address()]
        control = [place.address(), place.address()]
        first = place.links(data[0], control[0], {1: data[1]}, {2: control[1]})
        second = place.links(data[1], control[1], {2: data[0]}, {1: control[0]})

        def main_thread(links: Links, into: int, begins: bool) -> None:
            for number in range(1, MANY + 1):
                if begins or number > 1:
                    links.send(into, block(into, number))
                assert received(links).sqn == number
            if not begins:
                links.send(into, block(into, MANY + 1))

        def control_thread(links: Links, into: int) -> None:
            for number in range(1, MANY + 1):
                links.answer(into, release(into, number))
                assert controlled(links).released == number

        def play_back() -> None:
            for number in range(1, MANY + 1):
                assert received(second).sqn == number
                second.send(2, block(2, number))

        tasks = [
            place.start(partial(main_thread, first, 1, True)),
            place.start(play_back),
            place.start(partial(control_thread, first, 2)),
            place.start(partial(control_thread, second, 1)),
        ]
        for task in tasks:
            task.result()

    # another address

    def test_an_output_goes_to_another_consumer(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        producer.send(1, block(1, 1))
        assert received(consumer).sqn == 1
        elsewhere = place.address()
        producer.redirect(1, elsewhere)
        producer.send(1, block(1, 2))  # before any job listens there
        other = place.links(data=elsewhere)
        producer.send(1, block(1, 3))
        assert [received(other).sqn, received(other).sqn] == [2, 3]
        assert consumer.receive(wait=False) is None

    def test_answers_go_to_another_producer(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        consumer.answer(1, release(1, 1))
        assert controlled(producer).released == 1
        other = place.links(control=(elsewhere := place.address()))
        place.start(partial(consumer.redirect, 1, elsewhere)).result()  # the control thread's work
        consumer.answer(1, release(1, 2))
        assert controlled(other).released == 2
        assert producer.control(0) is None

    def test_a_pipe_of_another_job_has_no_address(self, place: Place) -> None:
        with pytest.raises(InternalError, match="pipe 9"):
            place.links().redirect(9, place.address())

    # the end

    def test_close_is_idempotent(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        for _ in range(2):
            producer.close(0)
            consumer.close(1)

    def test_waking_and_answering_after_the_end_do_nothing(self, place: Place) -> None:
        """The other threads of a job may be late."""
        consumer = Ends(place).consumer()
        consumer.close(0)
        consumer.wake()
        consumer.wake_control()
        consumer.answer(1, release(1, 1))

    def test_sent_messages_go_out_before_the_end(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        for number in range(1, MANY + 1):
            producer.send(1, block(1, number))
            consumer.answer(1, release(1, number))
        place.start(partial(producer.close, DEADLINE_S)).result()
        assert [received(consumer).sqn for _ in range(MANY)] == list(range(1, MANY + 1))

    def test_blocks_that_no_consumer_takes_do_not_delay_the_end(self, place: Place) -> None:
        ends = Ends(place)
        producer = ends.producer()
        for number in range(1, MANY + 1):
            producer.send(1, block(1, number))
        place.start(partial(producer.close, 0)).result()

    def test_sending_to_a_consumer_that_has_gone_does_not_block(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        producer.send(1, block(1, 1))
        received(consumer)
        consumer.close(0)

        def send_all() -> None:
            for number in range(2, MANY):
                producer.send(1, block(1, number))
                producer.send(1, big(1, number, b"x"))

        place.start(send_all).result()

    def test_answering_a_producer_that_has_gone_does_not_block(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        consumer.answer(1, release(1, 1))
        controlled(producer)
        producer.close(0)

        def answer_all() -> None:
            for number in range(2, MANY):
                consumer.answer(1, release(1, number))

        place.start(answer_all).result()

    def test_an_address_has_one_owner(self, place: Place) -> None:
        ends = Ends(place)
        producer, consumer = ends.producer(), ends.consumer()
        free = place.address()
        with pytest.raises(EngineError, match="cannot listen at"):
            place.links(data=ends.data, control=free)
        with pytest.raises(EngineError, match="cannot listen at"):
            place.links(data=free, control=ends.control)
        # the first owners have not noticed, and the addresses of the failed links are free again
        producer.send(1, block(1, 1))
        assert received(consumer).sqn == 1
        consumer.answer(1, release(1, 1))
        assert controlled(producer).released == 1
        listens(place, free, place.address())

    def test_an_address_is_free_after_the_end(self, place: Place) -> None:
        data, control = place.address(), place.address()
        place.links(data=data, control=control).close(0)
        again = listens(place, data, control)
        producer = place.links(outputs={1: data})
        producer.send(1, block(1, 1))
        assert received(again).sqn == 1

    def test_nothing_is_left_behind(self, place: Place) -> None:
        ends = Ends(place)
        ends.producer().send(1, block(1, 1))
        received(ends.consumer())
        place.close_links()
        assert place.leftovers() == []
