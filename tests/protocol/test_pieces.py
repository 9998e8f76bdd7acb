"""Messages in pieces: no part is larger than a piece, and the receiver gets the same frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fission.errors import RemoteProtocolError
from fission.protocol.frames import announces_more, decode, encode_big
from fission.protocol.pieces import MAX_PART_BYTES, PIECE_BYTES, is_split, joined, split

SIZES = st.integers(0, 50) | st.sampled_from([PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES + 7])
FRAMES = st.lists(SIZES.map(lambda size: bytes(range(256)) * (size // 256) + bytes(size % 256)), min_size=1, max_size=5)


@given(FRAMES)
def test_frames_arrive_unchanged(frames: list[bytes]) -> None:
    parts = split(frames)
    assert all(len(part) <= PIECE_BYTES < MAX_PART_BYTES for part in parts)
    assert joined([bytes(part) for part in parts]) == frames
    assert is_split(parts[0]) == any(len(frame) > PIECE_BYTES for frame in frames)
    assert not is_split(parts[0]) or announces_more(parts[0])


def test_many_frames() -> None:
    frames = [b"ab"] * 5000 + [bytes(PIECE_BYTES + 1)]
    parts = split(frames)
    assert max(map(len, parts)) == PIECE_BYTES
    assert joined([bytes(part) for part in parts]) == frames


@given(FRAMES, st.data())
def test_parts_that_do_not_add_up_are_no_message(frames: list[bytes], data: st.DataObject) -> None:
    """A part is missing, doubled or cut, or the header is wrong: the parts are not joined, and the decoder refuses them."""
    parts = [bytes(part) for part in split([*frames, bytes(PIECE_BYTES + 3)])]
    index = data.draw(st.integers(0, len(parts) - 1))
    kind = data.draw(st.sampled_from(["drop", "double", "cut", "lie"]))
    if kind == "drop":
        del parts[index]
    elif kind == "double":
        parts.insert(index, parts[index])
    elif kind == "cut":
        parts[index] = parts[index][:-1]
    else:
        parts[0] = parts[0][:-1] + bytes([255])
    assert joined(parts) == parts
    try:
        decode(parts)
    except RemoteProtocolError:
        pass
    else:
        raise AssertionError(f"{kind} of part {index} is taken for a message")


@given(st.lists(st.binary(max_size=60), max_size=4), st.binary(max_size=44))
def test_noise_raises_nothing(parts: list[bytes], rest: bytes) -> None:
    joined(parts)
    joined([b"\x01\x08\x02\x00" + rest, *parts])


def test_a_big_block_survives() -> None:
    message = encode_big(1, 1, 1, 1, [[b"head", bytes(100_000), bytes(3)]], None)
    found = decode(joined([bytes(part) for part in split(message)]))
    assert found.payloads == [[b"head", bytes(100_000), bytes(3)]]  # type: ignore[union-attr]
