"""The examples in the docstrings of the analysis."""

import doctest
import importlib

import pytest

MODULES = ["spike_trains", "populations", "information", "energy", "hypotheses"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    module = importlib.import_module(f"bsd.analysis.{name}")
    failed, attempted = doctest.testmod(module)
    assert attempted and not failed
    exempt = {"recorded"} if name == "spike_trains" else {"trials_with_concept"}
    for function in vars(module).values():
        if getattr(function, "__module__", None) == module.__name__ and callable(function):
            if not function.__name__.startswith("_") and function.__name__ not in exempt:
                assert ">>>" in function.__doc__, f"{function.__name__} has no example"
