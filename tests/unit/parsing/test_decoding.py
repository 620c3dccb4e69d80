"""The decoder of compressed bodies: what it takes, what it refuses, and in what pieces."""

import contextlib
import gzip
import itertools
import subprocess
import sys
import time
import tracemalloc
import zlib

import brotli
import pytest
from codings import MIB, SKIPPED, WAYS, deflate_bomb, gzip_bomb, raw_deflate, zstd, zstd_stream
from hypothesis import given
from hypothesis import strategies as st

from statelessd.gateway.slices import at_once
from statelessd.message import Outcome, RequestError
from statelessd.parsing.decoding import PIECE, Decoder, coding_of, decompress

TEXT = b'{"routing_key": "k", "body": "x"}\n' * 20_000
ENDINGS = ["gzip", "deflate", "deflate without zlib's frame", "zstd with a checksum", "br"]


def decoder(name):
    return Decoder(coding_of({b"content-encoding": name.encode()}))


def decode(name, *pieces):
    made = decoder(name)
    found = [part for piece in pieces for part in made.feed(piece)]
    made.end()
    return b"".join(found)


def refusal(name, *pieces):
    with pytest.raises(RequestError) as error:
        decode(name, *pieces)
    assert error.value.outcome is Outcome.BAD_REQUEST
    return error.value.detail


def cut(data, places):
    """Cut the data at these places, each between 0 and 1."""
    at = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at)]


class TestWhatIsTaken:
    @pytest.mark.parametrize("way", WAYS)
    @given(
        st.binary(max_size=300),
        st.sampled_from([1, 1, 1, 1000]),
        st.lists(st.floats(0, 1), max_size=5),
    )
    def test_any_data_in_any_pieces(self, way, data, times, places):
        name, compress = WAYS[way]
        data *= times
        assert decode(name, *cut(compress(data), places)) == data

    @pytest.mark.parametrize("way", WAYS)
    def test_one_byte_after_the_other(self, way):
        name, compress = WAYS[way]
        assert decode(name, *cut(compress(TEXT[:500]), [n / 400 for n in range(400)])) == TEXT[:500]

    @pytest.mark.parametrize("level", range(10))
    def test_every_level_of_deflate_begins_so_that_its_format_is_known(self, level):
        for wbits in (-15, -9, 15, 9):
            compressor = zlib.compressobj(level, wbits=wbits)
            for data in (b"", b"x", TEXT):
                made = compressor.copy()
                assert decode("deflate", made.compress(data) + made.flush()) == data

    def test_what_gzip_itself_writes(self, tmp_path):
        file = tmp_path / "a name in the header"
        file.write_bytes(TEXT)
        for option in ("-1", "-9", "-n"):
            made = subprocess.run(["gzip", "-c", option, file], capture_output=True, check=True)
            assert decode("gzip", made.stdout) == TEXT

    @pytest.mark.parametrize("window", [10, 16, 21, 23])
    def test_windows_of_up_to_8_mib(self, window):
        assert decode("zstd", zstd_stream(TEXT, window)) == TEXT

    @pytest.mark.parametrize("window", [10, 15, 16, 17, 18, 22, 24])
    def test_every_window_of_brotli_is_known_and_counted(self, window):
        data = bytes(range(256)) * 40_000
        made, largest = decoder("br"), 0
        for _ in made.feed(brotli.compress(data, quality=5, lgwin=window)):
            largest = max(largest, made.held)
        assert min(1 << window, len(data) - MIB) < largest < (1 << window) + MIB

    @pytest.mark.parametrize("window", [17, 21, 23])
    def test_the_window_of_zstd_is_counted(self, window):
        made = decoder("zstd")
        data = bytes(range(256)) * 40_000
        largest = 0
        for _ in made.feed(zstd_stream(data, window)):
            largest = max(largest, made.held)
        assert 1 << window <= largest < (1 << window) + MIB


class TestWhatIsRefused:
    @pytest.mark.parametrize("way", WAYS)
    def test_data_that_is_cut_short(self, way):
        name, compress = WAYS[way]
        data = compress(b"some text, which is not empty")
        assert "cut short" in refusal(name, data[:-1])
        assert "cut short" in refusal(name)

    @pytest.mark.parametrize("way", ENDINGS)
    def test_bytes_behind_the_end(self, way):
        name, compress = WAYS[way]
        for garbage in (b"\0", b"garbage that is longer"):
            refusal(name, compress(TEXT) + garbage)
            refusal(name, compress(TEXT), garbage)

    @pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "br"])
    def test_what_is_not_compressed(self, name):
        assert f"not valid {name} data" in refusal(name, b"body=this is plain")

    def test_checksums_are_verified(self):
        for name, data, at in (
            ("gzip", gzip.compress(TEXT), -8),
            ("deflate", zlib.compress(TEXT), -1),
            ("zstd", zstd_stream(TEXT), -1),
        ):
            changed = bytearray(data)
            changed[at] ^= 1
            assert "check" in refusal(name, bytes(changed))

    def test_a_large_window_of_zstd_is_named(self):
        assert "window is larger than 8 MiB" in refusal("zstd", zstd_stream(TEXT, 24))

    def test_dictionaries(self):
        compressor = zlib.compressobj(zdict=b"known to both")
        refusal("deflate", compressor.compress(TEXT) + compressor.flush())
        dictionary = zstd.ZstdDict(b"known to both " * 20, is_raw=True)
        refusal("zstd", zstd.compress(b"known to both " * 9, zstd_dict=dictionary))

    @pytest.mark.parametrize("way", ENDINGS)
    @given(st.data())
    def test_random_changes_are_refused_or_change_the_data(self, way, data):
        name, compress = WAYS[way]
        changed = bytearray(compress(TEXT[:300]))
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(RequestError):  # and no other error
            decode(name, bytes(changed))


class TestCodings:
    @pytest.mark.parametrize("value", [None, b"", b"identity", b"Identity, identity", b" , "])
    def test_the_identity_is_none(self, value):
        headers = {} if value is None else {b"content-encoding": value}
        assert coding_of(headers) is None

    @pytest.mark.parametrize("value", [b"GZIP", b"identity, gzip", b"gzip,", b" x-gzip "])
    def test_gzip_in_several_spellings(self, value):
        assert coding_of({b"content-encoding": value}).name == "gzip"

    @pytest.mark.parametrize(
        "value", [b"compress", b"gzip, br", b"gzip;q=1", b"\xff", b"gzip, gzip"]
    )
    def test_others_are_not_known(self, value):
        with pytest.raises(RequestError) as error:
            coding_of({b"content-encoding": value})
        assert error.value.outcome is Outcome.UNKNOWN_CODING

    @pytest.mark.parametrize(
        ("missing", "accepted"),
        [
            ([], "gzip, deflate, zstd, br"),
            (["brotli"], "gzip, deflate, zstd"),
            (["compression", "backports"], "gzip, deflate, br"),
            (["compression", "backports", "brotli"], "gzip, deflate"),
        ],
    )
    def test_what_is_not_installed_is_not_accepted(self, missing, accepted):
        code = f"""if True:
            import sys
            sys.modules |= dict.fromkeys({missing!r})
            from statelessd.parsing.decoding import ACCEPTED, coding_of
            print(ACCEPTED)
            for name in ACCEPTED.encode().split(b", "):
                coding_of({{b"content-encoding": name}})
        """
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == accepted

    def test_a_brotli_whose_output_has_no_bound_is_not_used(self):
        code = """if True:
            import sys, types
            old = sys.modules["brotli"] = types.ModuleType("brotli")
            old.Decompressor, old.error = type("Decompressor", (), {"process": None}), ValueError
            from statelessd.parsing.decoding import ACCEPTED
            print(ACCEPTED)
        """
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "gzip, deflate, zstd"


BOMBS = {
    "gzip": gzip_bomb(b"\0", 1000),
    "deflate": deflate_bomb(b"\n", 1000),
    "zstd": zstd_stream(bytes(100 * MIB)),
    "br": brotli.compress(bytes(100 * MIB), quality=5),
}


class TestBounds:
    @pytest.mark.parametrize("name", BOMBS)
    def test_a_bomb_is_decompressed_up_to_the_limit_only(self, name):
        bomb, limit = BOMBS[name], 4 * MIB
        began = time.process_time()
        tracemalloc.start()
        try:
            with pytest.raises(RequestError) as error:
                at_once(decompress(coding_of({b"content-encoding": name.encode()}), bomb, limit))
            assert tracemalloc.get_traced_memory()[1] < 4 * limit
        finally:
            tracemalloc.stop()
        assert error.value.outcome is Outcome.TOO_LARGE
        assert time.process_time() - began < 1

    @pytest.mark.parametrize("name", BOMBS)
    def test_pieces_are_small_and_all_of_them_come(self, name):
        made, size = decoder(name), 0
        for part in made.feed(BOMBS[name]):
            assert len(part) < 2 * PIECE
            size += len(part)
            if size >= 100 * MIB:
                return
        raise AssertionError(size)

    @pytest.mark.parametrize(
        ("name", "member"),
        [("gzip", gzip.compress(b"")), ("zstd", zstd.compress(b"")), ("zstd", SKIPPED)],
        ids=["gzip", "zstd", "zstd to skip"],
    )
    def test_members_of_nothing_are_not_free(self, name, member):
        coding = coding_of({b"content-encoding": name.encode()})
        began = time.process_time()
        with pytest.raises(RequestError) as error:
            at_once(decompress(coding, member * 500_000, 4 * MIB))
        assert error.value.outcome is Outcome.TOO_LARGE
        assert time.process_time() - began < 1

    def test_the_memory_that_is_needed_is_told_at_each_step(self):
        body = raw_deflate(bytes(5 * MIB))
        steps = decompress(coding_of({b"content-encoding": b"deflate"}), body, 5 * MIB)
        told = list(steps)
        assert 5 * MIB <= max(told) < 6 * MIB
        assert told[0] < MIB
