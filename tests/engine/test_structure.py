"""What shapes the generated code, and so needs compiling, and what does not."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from brian2 import Quantity, ms

from bsd.equations import BIOPHYSICAL, DISCRETE
from bsd.runs.engine import Simulation
from bsd.runs.engine.cpp import generate, structure_key

STRUCTURAL = {
    "timing.dt",
    "timing.duration",
    "cell.refractory",  # whether there is one
    "encoding.kind",
    "encoding.cells_per_concept",
    "encoding.receptive_field",  # whether there are any
    "encoding.deep_field",
    "encoding.contrast",  # whether there are ON and OFF afferents
    "encoding.context",
    "encoding.cutoff",  # whether there are two streams
    "learning.features",
    "learning.loss",
    "learning.memory_slots",
    "learning.top_rule",
}


def another_value(key, value, metadata):
    """A valid value of a parameter other than this one."""
    special = {"timing.dt": 0.5 * ms, "timing.duration": 12 * ms, "cell.refractory": 1 * ms}
    if key in special:
        return special[key]
    if metadata["choices"]:
        return next(c for c in metadata["choices"] if c != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    _, high = metadata["bounds"]
    number = float(value / metadata["unit"])
    changed = number * 0.9 if number else 0.5 * min(high, 2)
    return changed * metadata["unit"] if isinstance(value, Quantity) else changed


def all_changes(parameters):
    return {
        key: another_value(
            key,
            value,
            getattr(parameters, key.split(".")[0]).__dataclass_fields__[key.split(".")[1]].metadata,
        )
        for key, value in parameters.items()
    }


@pytest.mark.parametrize("key", DISCRETE.keys())
def test_only_structural_parameters_change_the_key(small_network, key):
    needed = {
        "learning.top_rule": {"encoding.concept_code": "tuning"},
        "encoding.deep_field": {"encoding.receptive_field": 2},
        "encoding.autoencoder": {"encoding.cells_per_concept": 1},
    }.get(key, {})
    base = small_network(layers=(9, 5, 3), assignments=needed)
    change = all_changes(base.parameters)[key]
    changed = small_network(layers=(9, 5, 3), assignments={**needed, key: change})
    assert dict(changed.parameters.items())[key] != dict(base.parameters.items())[key]
    assert (structure_key(changed) != structure_key(base)) == (key in STRUCTURAL)


def test_every_choice_of_a_structural_parameter_has_its_own_key(small_network):
    keys = {
        structure_key(
            small_network(
                assignments={"learning.top_rule": rule, "encoding.concept_code": "tuning"}
            )
        )
        for rule in ("delta", "vector", "softmax", "reco")
    }
    assert len(keys) == 4


def test_mse_needs_no_code_of_its_own(small_network):
    keys = {
        loss: structure_key(small_network(assignments={"learning.loss": loss}))
        for loss in ("reco", "mse", "infonce")
    }
    assert keys["mse"] == keys["reco"] != keys["infonce"]


def test_length_of_the_refractory_period_is_not_structural(small_network):
    keys = {
        structure_key(small_network("biophysical", assignments={"cell.refractory": t * ms}))
        for t in (1, 2)
    }
    assert len(keys) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"layers": (9, 12, 12, 3)},
        {"projection": "synapses"},
        {"capacity": 9},
        {"precision": "float32"},
        {"replicas": 2},
        {"equations": {"THRESHOLD": "v_s >= theta"}},
        {"probe_variables": ["u"]},
        {"base": "biophysical"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_network_are_structural(small_network, options):
    assert structure_key(small_network(**options)) != structure_key(small_network())


def test_key_does_not_depend_on_the_object(small_network):
    assert structure_key(small_network()) == structure_key(small_network())


def test_compiler_and_flags_are_part_of_the_key(small_network, monkeypatch):
    before = structure_key(small_network())
    monkeypatch.setattr("bsd.runs.engine.cpp.FLAGS", ["-O0"])
    assert structure_key(small_network()) != before


def unnumbered(text):
    """Without the numbers in names, which depend on what the process made before."""
    return re.sub(r"_\d+", "", text)


def lines(file):
    """Lines of a generated file; their order depends on the numbers, too."""
    return sorted(unnumbered(file.read_bytes().decode("latin-1")).splitlines())


@pytest.mark.parametrize("base", ["discrete", "biophysical"])
def test_same_key_means_the_same_code(small_network, tmp_path, base):
    """All other parameters changed at once: every generated file is the same."""
    parameters = {"discrete": DISCRETE, "biophysical": BIOPHYSICAL}[base]
    changes = {k: v for k, v in all_changes(parameters).items() if k not in STRUCTURAL}
    del changes["encoding.autoencoder"]  # not with a code of concepts
    del changes["learning.bottom_asymmetry"]  # not with the voltage rule
    if base == "biophysical":
        changes["cell.refractory"] = 1 * ms
    assert len(changes) > 20
    networks = [small_network(base), small_network(base, assignments=changes)]
    assert structure_key(networks[0]) == structure_key(networks[1])
    contents = []
    for number, network in enumerate(networks):
        folder = tmp_path / str(number)
        manifest = generate(network, folder)
        files = [f for f in folder.glob("**/*") if f.is_file()]
        code = {unnumbered(str(f.relative_to(folder))): lines(f) for f in files}
        contents.append((code, unnumbered(json.dumps(manifest))))
    (first, one), (second, two) = contents
    assert one == two
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    different = networks[0].values(), networks[1].values()
    assert sum(not np.array_equal(different[0][k], different[1][k]) for k in different[0]) > 20


@pytest.mark.parametrize("refractory, lists", [(0, 5), (2, 4)])
def test_code_of_spikes_is_as_fast_as_it_can_be(small_network, tmp_path, refractory, lists):
    """Spikes are kept in recorded trials alone; what fires is listed without branches, but for
    cells that become refractory."""
    generate(small_network(assignments={"cell.refractory": refractory * ms}), tmp_path)
    text = (tmp_path / "code_objects.cpp").read_text()
    assert text.count("if (!recorded) return;") == 4
    assert text.count("_count += _cond;") == lists


@pytest.mark.parametrize("slots, in_rows", [(16, 3), (6, 0)])
def test_memories_are_summed_in_rows_where_their_order_allows(
    small_network, dataset, trial_table, tmp_path, slots, in_rows
):
    """Four memories at a time; the result is that of NumPy either way (float64, 1e-9)."""
    network = small_network(assignments={"learning.memory_slots": slots}, replicas=2)
    generate(network, tmp_path)
    text = (tmp_path / "code_objects.cpp").read_text()
    assert text.count("for (const auto& _row : _rows)") == in_rows
    a, b = (Simulation(network, dataset, device, seed=1) for device in ("runtime", "cpp"))
    table = trial_table(12)
    pd.testing.assert_frame_equal(a.run(table).cosines, b.run(table).cosines, atol=1e-9)
    assert np.abs(a.state["memory_pattern.mu"]).max() > 0.1
