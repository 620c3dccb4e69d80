"""What goes on beside a test, in a thread."""

import contextlib
import threading


@contextlib.contextmanager
def in_background(work):
    """Run ``work(stopping)`` in a thread meanwhile; at the end ``stopping`` is set."""
    stopping = threading.Event()
    thread = threading.Thread(target=work, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
