"""Bytes that are nearly right: whole ones with a few of them changed, and ways to cut them up."""

from hypothesis import strategies as st


@st.composite
def mutated(draw, valid):
    """Draw what ``valid`` draws, with up to four changes."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["flip", "remove", "double", "insert", "truncate"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "remove":
                del data[at : at + draw(st.integers(1, 8))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 32))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "truncate":
                if draw(st.booleans()):
                    del data[at:]
    return bytes(data)


def cuts(draw, data):
    """Return the same bytes in some pieces, at random."""
    places = sorted(draw(st.sets(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def octets(data):
    """Return the same bytes, one by one."""
    return [data[i : i + 1] for i in range(len(data))]
