"""TensorFlow and the converters write to the process's stdout and stderr from C++; this keeps that,
and their Python warnings, from burying our own lines.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what is written to file descriptors 1 and 2; shown on stderr when the block raises
    an Exception.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        failed = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception:
            failed = True
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])
            if failed and os.environ.get("EDGEEMO_DEBUG") == "1":
                output.seek(0)
                os.write(2, output.read()[-20_000:])
