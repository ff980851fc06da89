"""An engine's own words held back: notices, warnings and compilation that a user cannot act on."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_SHOWN_BYTES = 4000  # of what an engine wrote before it failed to start


@contextmanager
def silent() -> Iterator[None]:
    """Hold back what libraries write past Python to the standard error (NUMA and Triton notices); shown if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(before, kept.read()[-_SHOWN_BYTES:])
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of libraries that a user of uqkd cannot act on, and no compilation, which costs 5 to 18 s at the first step."""
    import torch

    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")
        yield
