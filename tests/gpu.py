"""Whether the tests that need a GPU can run here."""

import pytest

from bsd.equations import InputError
from bsd.runs.engine import cuda


def _missing():
    try:
        cuda.check_machine()
    except InputError as error:
        return str(error)


MISSING = _missing()
needs_gpu = pytest.mark.skipif(MISSING is not None, reason=f"needs a GPU: {MISSING}")
