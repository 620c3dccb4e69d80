"""What the C library does with memory that was freed.

glibc gives it back to the kernel whenever 128 KiB of it are free in a row, and
gets it again, page by page, for the next body: for bodies of 64 KiB that is half
of what a publish costs. mallopt(3).
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEPT = 32 * 1024 * 1024  # bytes that may stay unused
FROM_HEAP = 16 * 1024 * 1024  # bytes of one block; larger ones are given back when freed


def keep_freed_memory() -> None:
    """Of this process, from here on; elsewhere than on glibc nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, FROM_HEAP)
