"""Opening results folders: the network with the weights that it learned."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import yaml
from brian2 import mV, volt

from bsd.analysis.report import write_report
from bsd.equations import InputError, plasticity, pyramidal
from bsd.networks import BidirectionalNetwork
from bsd.runs.engine import Simulation
from bsd.runs.experiments import (
    experiment,
    learned_weights,
    open_cohort,
    open_run,
    run_experiment,
)
from bsd.runs.experiments import run as run_module
from bsd.runs.experiments import trained as trained_module
from bsd.runs.trials import test_trials as perception_trials


@pytest.fixture
def small(monkeypatch, dataset):
    """A one-epoch experiment on the made-up data."""
    monkeypatch.setattr(run_module, "load_data", lambda *_: dataset)
    monkeypatch.setattr(trained_module, "data_set", lambda *_: dataset)
    return experiment("demo").changed(hidden=(8, 7), epochs=1)


def test_opened_run_decides_as_at_its_end(small, tmp_path, dataset):
    metrics = run_experiment(small, tmp_path, device="runtime", seed=4)
    opened = open_run(tmp_path)
    (alone,) = open_cohort(tmp_path)
    assert alone.replica == 0 and np.array_equal(alone.weights["W0"], opened.weights["W0"])
    assert opened.seed == 4 and opened.metrics["accuracy"] == metrics["accuracy"]
    assert opened.network.parameters == small.parameters
    simulation = opened.simulation("runtime")
    with np.load(tmp_path / "weights.npz") as saved:
        for name, weights in simulation.weights().items():
            assert np.array_equal(weights, saved[name])
    # the last test of the run, with the same random numbers
    run = np.arange(len(perception_trials(dataset)))
    trials = run_module.experiment_table(small, dataset, 4)
    draws = trials.loc[trials["phase"] == "test", "trial"].to_numpy()
    result = simulation.run(perception_trials(dataset).assign(draw=draws[run]))
    assert result.trials["correct"].mean() == pytest.approx(metrics["accuracy"])


def test_replica_of_a_cohort_is_opened_with_its_own_parameters(small, tmp_path):
    varied = small.changed(varied={"learning.lam": (0.5, 1.5)})
    run_experiment(varied, tmp_path, device="runtime", seed=[4, 6])
    first, second = open_run(tmp_path, 0), open_run(tmp_path, 1)
    for replica in (None, 2):
        with pytest.raises(InputError, match="holds 2 replicas: name one of 0 to 1"):
            open_run(tmp_path, replica)
    assert (first.seed, second.seed) == (4, 6)
    assert second.network.parameters.learning.lam == 1.5
    assert [one.seed for one in open_cohort(tmp_path)] == [4, 6]
    assert [one.replica for one in open_cohort(tmp_path)] == [0, 1]
    assert not np.array_equal(first.weights["W0"], second.weights["W0"])


def test_folders_made_with_other_equations_are_refused(small, tmp_path, monkeypatch):
    run_experiment(small, tmp_path, device="runtime")
    for reset in (f"{pyramidal.RESET}  # a comment is no other equation", f"\n{pyramidal.RESET}\n"):
        monkeypatch.setattr(pyramidal, "RESET", reset)
        open_run(tmp_path)
    # a string that the network does without
    monkeypatch.setattr(plasticity, "ERROR_SOFTMAX", plasticity.ERROR_SOFTMAX + "teach = 0\n")
    open_run(tmp_path)
    monkeypatch.setattr(pyramidal, "RESET", "v_s -= theta - V_r")
    says = "other equations.*: give RESET the text that its provenance.json holds, or run it again"
    with pytest.raises(InputError, match=says):
        open_run(tmp_path)
    with pytest.raises(InputError, match=says):
        learned_weights(tmp_path, network=BidirectionalNetwork([9, 8, 7, 3], small.parameters))
    learned_weights(tmp_path)
    file = tmp_path / "provenance.json"
    provenance = json.loads(file.read_text())
    assert provenance.pop("equations")["RESET"].strip() == "v_s = V_r"
    file.write_text(json.dumps(provenance))  # as of older versions
    with pytest.raises(InputError, match="provenance.json names, or run it again"):
        open_run(tmp_path)
    with pytest.raises(InputError, match="was started with another equations"):
        run_experiment(small, tmp_path, device="runtime", resume=True)
    file = tmp_path / "config.yaml"
    older = yaml.safe_load(file.read_text())
    assert len(older.pop("equations")) == 64
    file.write_text(yaml.safe_dump(older))
    open_run(tmp_path)
    run_experiment(small, tmp_path, device="runtime", resume=True)
    assert yaml.safe_load(file.read_text()) == older


def test_strings_that_a_later_version_added_do_not_matter(small, tmp_path):
    run_experiment(small, tmp_path, device="runtime")
    config, provenance = tmp_path / "config.yaml", tmp_path / "provenance.json"
    older = json.loads(provenance.read_text())
    older["equations"].pop("ERROR_VECTOR")
    provenance.write_text(json.dumps(older))
    was = yaml.safe_load(config.read_text()) | {"equations": 64 * "0"}
    config.write_text(yaml.safe_dump(was))
    open_run(tmp_path)
    older["equations"]["RESET"] = "v_s -= theta - V_r"
    provenance.write_text(json.dumps(older))
    with pytest.raises(InputError, match="give RESET the text"):
        open_run(tmp_path)


def test_own_equations_and_values_stay_in_other_simulations(small, tmp_path):
    run_experiment(small, tmp_path, device="runtime")
    opened = open_run(tmp_path)
    own = BidirectionalNetwork(
        [9, 8, 7, 3],
        small.parameters,
        equations={
            "RESET": "v_s = V_r - dip",
            "CELL_PARAMETERS": f"{pyramidal.CELL_PARAMETERS}dip : volt (shared, constant)\n",
        },
        values={"cells.dip": 3 * mV},
    )
    blocked = {"cells.apical": np.zeros(own.layout.n_cells)}
    changed = replace(opened, network=own).simulation("runtime", values=blocked, capacity=5)
    assert changed.network.capacity == 5 and changed.network.equations == own.equations
    assert changed.network.values()["cells.dip"] == 0.003
    assert not changed.network.values()["cells.apical"].any()


def test_an_experiment_with_own_equations(small, tmp_path):
    """Trained, opened and resumed as any other, with those equations only."""
    equations = {
        "RESET": "v_s = V_r - dip",
        "CELL_PARAMETERS": f"{pyramidal.CELL_PARAMETERS}dip : volt (shared, constant)\n",
    }
    values = {"cells.dip": 3 * mV}
    own = small.changed(equations=equations, values=values)
    assert pickle.loads(pickle.dumps(own)) == own  # several seeds are processes
    metrics = run_experiment(own, tmp_path / "own", device="runtime", seed=4)
    plain = run_experiment(small, tmp_path / "plain", device="runtime", seed=4)
    assert metrics["trials"] == plain["trials"]
    weights, others = (np.load(tmp_path / name / "weights.npz") for name in ("own", "plain"))
    assert not np.array_equal(weights["W0"], others["W0"])

    opened = open_run(tmp_path / "own", equations=equations, values={"cells.dip": 0.003 * volt})
    assert opened.network.values()["cells.dip"] == 0.003
    for name, w in opened.simulation("runtime").weights().items():
        assert np.array_equal(w, weights[name])
    (alone,) = open_cohort(tmp_path / "own", equations=equations, values=values)
    assert alone.network.equations == opened.network.equations
    for given, says in (
        ({}, "give CELL_PARAMETERS, RESET the text .*in Python, open_run"),
        ({"equations": equations}, r"made with values=\{'cells.dip': '3\*mV'\}"),
        ({"equations": equations, "values": {"cells.dip": 4 * mV}}, "made with values="),
    ):
        with pytest.raises(InputError, match=says):
            open_run(tmp_path / "own", **given)

    write_report(tmp_path / "own")
    page = (tmp_path / "own" / "report.html").read_text()
    assert "Equations were changed: CELL_PARAMETERS, RESET" in page
    run_experiment(own, tmp_path / "own", device="runtime", seed=4, resume=True)
    for other, says in (
        (small, "another changed_equations"),
        (small.changed(equations=equations, values={"cells.dip": 4 * mV}), "another values"),
    ):
        with pytest.raises(InputError, match=says):
            run_experiment(other, tmp_path / "own", device="runtime", seed=4, resume=True)


def test_impossible_equations_of_an_experiment(small):
    with pytest.raises(InputError, match="unknown equation string 'TRESHOLD'"):
        small.changed(equations={"TRESHOLD": "v_s > theta"})
    for several in (np.zeros(15), [3] * mV):
        with pytest.raises(InputError, match="cells.apical.*takes one value"):
            small.changed(values={"cells.apical": several})


def test_changes_of_an_experiment_add_up(small):
    first = small.changed(equations={"RESET": "v_s -= theta - V_r"}, values={"cells.a": 3 * mV})
    both = first.changed(equations={"THRESHOLD": "v_s > theta"}, values={"cells.b": 4 * mV})
    assert both.equations == {"RESET": "v_s -= theta - V_r", "THRESHOLD": "v_s > theta"}
    assert both.values == {"cells.a": 3 * mV, "cells.b": 4 * mV}


def test_other_folders_are_refused(small, tmp_path):
    with pytest.raises(InputError, match="no results folder of a finished run"):
        open_run(tmp_path)
    run_experiment(small, tmp_path / "several" / "seed0-fold0", device="runtime")
    with pytest.raises(InputError, match="name one of them: seed0-fold0"):
        open_run(tmp_path / "several")
    wrong = {"W0": np.zeros((9, 3))}
    np.savez(tmp_path / "several" / "seed0-fold0" / "weights.npz", **wrong)
    with pytest.raises(InputError, match="W0 do not fit the layers"):
        open_run(tmp_path / "several" / "seed0-fold0")


def test_a_new_run_leaves_nothing_of_the_earlier_network(small, tmp_path):
    run_experiment(small, tmp_path, device="runtime", seed=[1, 2])
    (tmp_path / "experiments" / "recall").mkdir(parents=True)
    run_experiment(small, tmp_path, device="runtime", overwrite=True)
    assert not (tmp_path / "experiments").exists()
    assert [file.name for file in tmp_path.glob("weights*.npz")] == ["weights.npz"]


def test_weights_outside_receptive_fields_are_refused(small_network, dataset):
    network = small_network(assignments={"encoding.receptive_field": 2})
    simulation = Simulation(network, dataset, "runtime")
    simulation.set_weights(simulation.weights())
    with pytest.raises(InputError, match="W0 are not 0 outside the receptive fields"):
        simulation.set_weights({"W0": np.full((9, 12), 0.5)})


def test_initial_weights_are_within_their_bound(small_network, dataset):
    network = small_network(assignments={"learning.weight_max": 0.3})
    simulation = Simulation(network, dataset, "runtime")
    assert max(np.abs(w).max() for w in simulation.weights().values()) == 0.3
    simulation.set_weights(simulation.weights())


def test_weights_are_checked(small_network, dataset):
    simulation = Simulation(small_network(), dataset, "runtime")
    before = simulation.weights()
    simulation.set_weights({"W1": np.full((12, 11), 0.5)})
    after = simulation.weights()
    assert np.all(after["W1"] == 0.5)
    assert all(np.array_equal(after[name], before[name]) for name in before if name != "W1")
    for wrong, text in (
        ({"W9": np.zeros((12, 11))}, "the network has W0, Theta2"),
        ({"W1": np.zeros((11, 12))}, r"shape \(11, 12\), the network's \(12, 11\)"),
        ({"W1": np.full((12, 11), np.nan)}, "finite numbers"),
        ({"W1": np.full((12, 11), 9.0)}, "weight_max = 4.0"),
    ):
        with pytest.raises(InputError, match=text):
            simulation.set_weights(wrong)
