"""An autoencoder: what drives its top, what a run keeps, what it generates."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from brian2 import ms

from bsd.analysis.energy import energy_per_trial
from bsd.analysis.report import write_report
from bsd.equations import InputError
from bsd.runs.cli.app import _network
from bsd.runs.engine import Simulation
from bsd.runs.experiments import experiment, open_run, run_experiment
from bsd.runs.experiments import run as run_module
from bsd.runs.experiments import trained as trained_module
from bsd.runs.experiments.perception import generation, save
from bsd.runs.experiments.perception.generation import decode, draw_codes, encode
from bsd.runs.experiments.perception.lesions import Manipulation
from bsd.runs.trials import trial_arrays

CODE = {"encoding.autoencoder": True, "encoding.cells_per_concept": 1, "learning.top_rule": "reco",
        "timing.duration": 12 * ms}


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoder") / "run"
    small = experiment("autoencoder").changed(
        hidden=(12, 5), epochs=1, assignments={"encoding.cutoff": 0.2, "learning.init_gain": 4.0}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "load_data", lambda *_: dataset)
        run_experiment(small, folder, device="runtime", seed=2)
    return folder


@pytest.fixture(scope="module")
def trained(folder, dataset):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained_module, "data_set", lambda *_: dataset)
        return open_run(folder)


@pytest.fixture(scope="module")
def simulation(small_network, dataset):
    network = small_network(layers=(9, 12, 5), assignments=CODE)
    simulation = Simulation(network, dataset, "runtime", seed=3)
    generator = np.random.default_rng(5)
    for name in ("afferent_basal.w", "cortical_basal.w"):
        simulation.state[name] = generator.normal(0.2, 0.5, np.shape(simulation.state[name]))
    return simulation


def test_metrics_are_those_of_the_images(folder, dataset):
    """All six test images are kept; squared error recomputed from them, to 1e-6."""
    metrics = json.loads((folder / "metrics.json").read_text())
    with np.load(folder / "reconstructed.npz") as kept:
        stimulus, found = kept["stimulus"], kept["reconstructed"]
    np.testing.assert_array_equal(stimulus, dataset.x_test)
    assert found.std() > 0.05, "nothing was reconstructed, so nothing was tested"
    assert metrics["reconstruction_mse"] == pytest.approx(((stimulus - found) ** 2).mean(), 1e-6)
    assert metrics["accuracy"] is None and metrics["layers"] == [9, 12, 5]
    assert not (folder / "recall.npz").exists()


def test_code_drives_the_backward_network_one_step_later(simulation):
    table = pd.DataFrame({"stimulus": [0, 1], "source": "stimulus+percept", "record": True})
    spikes = simulation.run(table).spikes
    step = np.rint(spikes["t_ms"]).astype(int)
    spikes = spikes.assign(step=step)

    def trains(name, delay):
        own = spikes[spikes["population"] == name]
        kept = own[own["step"] + delay < 12]
        return {(t, s + delay, c) for t, s, c in kept[["trial", "step", "cell"]].to_numpy()}

    assert len(trains("C", 0)) > 10
    assert trains("F2", 1) == trains("C", 0)


def test_delays_are_as_documented(simulation):
    """The recalled stimulus is silent in the first `n_delays` steps and not after."""
    table = pd.DataFrame({"stimulus": np.arange(6), "source": "stimulus+percept", "record": True})
    spikes = simulation.run(table).spikes
    first = spikes[spikes["population"] == "B0"]["t_ms"].min()
    assert round(first) == simulation.network.n_delays == 3


def test_codes_are_what_the_backward_network_receives(simulation):
    codes, images = encode(simulation, np.arange(4))
    table = pd.DataFrame({"stimulus": np.arange(4), "source": "stimulus+percept", "record": True})
    counts = simulation.run(table.assign(phase="reconstruct")).cell_counts
    relayed = counts[counts["population"] == "C"]["spikes"].to_numpy().reshape(4, 5)
    np.testing.assert_allclose(codes, np.minimum(relayed / 12, 1))
    assert relayed.max() > 2 and images.shape == (4, 3, 3)


def test_codes_take_the_place_of_concepts(simulation, dataset):
    """Intensities of the concept afferents, and of blends of two codes."""
    codes = np.random.default_rng(0).random((3, 5))
    shown = pd.DataFrame({"concept": [2, 0], "other_concept": [-1, 1], "blend": [0, 0.25]})
    seen = {}

    def arrays(tables, data, *rest):
        seen["codes"], seen["drive"] = data.codes, trial_arrays(tables, data, *rest)[0]
        return seen["drive"], trial_arrays(tables, data, *rest)[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bsd.runs.engine.simulation.trial_arrays", arrays)
        images = decode(simulation, codes, shown)
    concept = simulation.network.layout.population("C").cells
    expected = [codes[2], 0.75 * codes[0] + 0.25 * codes[1]]
    np.testing.assert_allclose(seen["drive"][:2, concept], expected)
    assert images.shape == (2, 3, 3) and simulation.dataset is dataset


def test_drawn_codes_have_the_moments_of_the_given_ones():
    """Away from the bounds, 20000 draws: means to 0.005, covariances to 0.0005."""
    generator = np.random.default_rng(0)
    codes = 0.5 + 0.05 * generator.normal(size=(300, 3)) @ [[1, 0.8, 0], [0, 0.6, 0], [0, 0, 0.1]]
    drawn = draw_codes(codes, 20_000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=5e-3)
    found, given = np.cov(drawn, rowvar=False), np.cov(codes, rowvar=False)
    np.testing.assert_allclose(found, given, atol=5e-4)
    assert given[0, 1] > 1.5e-3, "nothing correlates, so nothing was tested"


def test_generation_and_its_report(folder, trained):
    study = generation(trained, "runtime", samples=8)
    save(folder, study, "bsd generate")
    quality, images = study.frames["quality"], study.frames["images"]
    assert quality["kind"].value_counts().to_dict() == {"sampled": 8, "reconstructed": 6}
    assert set(images["kind"]) == {"stimulus", "reconstructed", "sampled", "nearest", "between"}
    assert study.summary["code_cells"] == 5
    page = write_report(folder).read_text()
    for section in ("generate_reconstructed", "generate_sampled", "generate_between"):
        assert (folder / "figures" / f"{section}.png").exists()
    assert "Samples: codes drawn at random" in page


def test_what_an_autoencoder_is_not(simulation, trained, folder, dataset, bsd, monkeypatch):
    with pytest.raises(InputError, match="autoencoder and has no concepts"):
        simulation.run(pd.DataFrame({"concept": [0], "source": "concept"}))
    with pytest.raises(InputError, match="codes of 4 cells"):
        decode(simulation, np.zeros((2, 4)))
    with pytest.raises(InputError, match="codes must be"):
        decode(simulation, np.full((2, 5), 1.5))
    monkeypatch.setattr(trained_module, "data_set", lambda *_: dataset)
    code, _, err = bsd("recall", folder)
    assert code == 2 and "bsd generate" in err


def test_shown_and_audited_network_has_no_concepts():
    assert _network(experiment("autoencoder5k")).cells_per_layer == [784, 512, 128]


def test_energy_of_two_streams(folder):
    """Stimulus spikes count for the forward network; those of high frequencies reach no synapse."""
    counts, trials = (pd.read_parquet(folder / f"{n}.parquet") for n in ("counts", "trials"))
    energy = energy_per_trial(counts, trials)
    assert set(energy["pathway"]) == {"forward", "backward"}
    high = counts[counts["population"] == "S_high"]
    assert high["spikes"].sum() > 0 and (high["synaptic_events"] == 0).all()
    own = counts[(counts["pathway"] == "forward") | counts["population"].isin(["S", "S_high"])]
    own = own[own["population"] != "F2"]
    expected = (own["synaptic_events"] + own["spikes"]).sum()
    forward = energy[energy["pathway"] == "forward"]
    assert forward["accumulates"].sum() == pytest.approx(expected)


@pytest.mark.parametrize("name, cells", [("B1", slice(0, 6)), ("B1_high", slice(6, 12))])
def test_lesion_of_one_stream(folder, trained, name, cells):
    """All cells of the stream lose their input, those of the other none."""
    network = trained.network
    weights = {p.name: np.ones(p.shape) for p in network.layout.projections}
    cut = Manipulation("all", "silenced", silenced={name: 1.0}).weights(network, weights, 1)
    silenced = np.flatnonzero((cut["Theta1"] == 0).all(axis=0))
    assert silenced.tolist() == list(range(12))[cells]
    assert (cut["W0"] == weights["W0"]).all()


def test_codes_are_for_autoencoders(small_network, dataset):
    with pytest.raises(InputError, match="no autoencoder"):
        Simulation(
            small_network(layers=(9, 6, 3)),
            dataclasses.replace(dataset, codes=np.zeros((1, 3))), "runtime",
        )
