"""TensorFlow's start-up notes, kept from burying what a person should read."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_start() -> Iterator[None]:
    """Holds back what is written to stderr meanwhile, and shows it only if the start fails.

    TensorFlow writes its notes on processor and devices from C++, before any log level is read, so the file descriptor
    itself is turned away.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(original, notes.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
