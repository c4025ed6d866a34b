"""Whether the tests that need a GPU can run here."""

import pytest

from bsd.equations import InputError
from bsd.runs.engine import cuda


def _missing():
    try:
        cuda.check_machine()
    except InputError as error:
        return str(error)


needs_gpu = pytest.mark.skipif(_missing() is not None, reason=f"needs a GPU: {_missing()}")
