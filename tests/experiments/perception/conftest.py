"""A small trained network on the runtime device, for all experiments."""

import pytest

from bsd.runs.experiments import experiment, open_run, run_experiment
from bsd.runs.experiments import run as run_module
from bsd.runs.experiments import trained as trained_module


@pytest.fixture(scope="package")
def folder(dataset, tmp_path_factory):
    """Results folder of a run on the made-up data."""
    folder = tmp_path_factory.mktemp("perception") / "run"
    small = experiment("demo").changed(
        hidden=(12, 11), epochs=4, assignments={"encoding.cells_per_concept": 4}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "load_data", lambda *_: dataset)
        run_experiment(small, folder, device="runtime", seed=2)
    return folder


@pytest.fixture(scope="package")
def trained(folder, dataset):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained_module, "data_set", lambda *_: dataset)
        return open_run(folder)
