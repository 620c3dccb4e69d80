"""Compresses bodies for tests, in the formats that senders use and in those of attackers."""

import gzip
import importlib
import sys
import zlib

import brotli

zstd = importlib.import_module(
    "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
)
MIB = 1024 * 1024


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def members(compress):
    """Return what compresses each half of the data on its own."""

    def make(data):
        half = len(data) // 2
        return compress(data[:half]) + compress(data[half:])

    return make


def zstd_stream(data, window=None):
    """Compress as a program does that does not know the size; ``window`` is its log2."""
    parameter = zstd.CompressionParameter
    options = {parameter.checksum_flag: 1}
    if window is not None:
        options[parameter.window_log] = window
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(data) + compressor.flush()


SKIPPED = b"\x50\x2a\x4d\x18\x03\0\0\0abc"  # a frame that decoders skip (RFC 8878 section 3.1.2)

# The name, the Content-Encoding, and what compresses.
WAYS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip in two members": ("gzip", members(gzip.compress)),
    "deflate": ("deflate", zlib.compress),
    "deflate without zlib's frame": ("deflate", raw_deflate),
    "deflate, stored": ("deflate", lambda data: zlib.compress(data, 0)),
    "zstd": ("zstd", zstd.compress),
    "zstd with a checksum": ("zstd", zstd_stream),
    "zstd in two frames": ("zstd", members(zstd.compress)),
    "zstd after a frame to skip": ("zstd", lambda data: SKIPPED + zstd.compress(data)),
    "br": ("br", brotli.compress),
    "br of little memory": ("br", lambda data: brotli.compress(data, quality=1, lgwin=10)),
}


def deflate_bomb(unit, mebibytes, start=b""):
    """Return raw deflate of ``start`` and then so many MiB of a unit, made in no time.

    Each MiB is compressed on its own, so it is the same bytes each time.
    """
    compressor = zlib.compressobj(wbits=-15)
    first = compressor.compress(start) + compressor.flush(zlib.Z_FULL_FLUSH)
    again = compressor.compress(unit * (MIB // len(unit))) + compressor.flush(zlib.Z_FULL_FLUSH)
    return first + again * mebibytes + compressor.flush()


def gzip_bomb(unit, mebibytes, start=b""):
    """Return the same as gzip. Its checksum is wrong, which shows at the end only."""
    return gzip.compress(b"")[:10] + deflate_bomb(unit, mebibytes, start) + b"\0" * 8
