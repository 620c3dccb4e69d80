"""Settings of the C library's memory allocator.

glibc returns freed memory to the kernel when 128 KiB of it are free in a row. For the
next body it gets the memory back, page by page. With bodies of 64 KiB that is half the
cost of a publish (docs/development/hot-path.md).
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEPT = 32 * 1024 * 1024  # bytes that may stay unused
FROM_HEAP = 16 * 1024 * 1024  # bytes of one block; larger ones are returned when freed


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees (mallopt(3)), if it has glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, FROM_HEAP)
