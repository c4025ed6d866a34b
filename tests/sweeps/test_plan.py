"""Sweep files: what they expand to, and what is refused before anything is run."""

import itertools

import pytest
from brian2 import mV
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bsd.equations import InputError
from bsd.runs.experiments import experiment
from bsd.runs.sweeps import SHIPPED, read_sweep

START = "experiment: demo\n"


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "names and values"),
        ("[1, 2]", "names and values"),
        ("experiment: [demo", "no YAML"),
        ("!!python/object/apply:os.system ['true']", "no YAML"),
        ("layers: [8]", "experiment is missing"),
        ("experiment: dmo", "did you mean 'demo'"),
        ("experiment: demo\nexperiment: mnist", "'experiment' is given twice"),
        (START + "grit: {}", "did you mean 'grid'"),
        (START, "give grid, random or list"),
        (START + "data: digit\ngrid: {epochs: [1]}", "did you mean 'digits'"),
        (START + "device: cp\ngrid: {epochs: [1]}", "did you mean 'cpp'"),
        (START + "seeds: [0, 0]\ngrid: {epochs: [1]}", "different whole numbers"),
        (START + "seeds: [-1]\ngrid: {epochs: [1]}", "not negative"),
        (START + "set: {learning.lamm: 1}\ngrid: {epochs: [1]}", "did you mean learning.lam"),
        (START + "grid: {cell.tau_som: [1*ms]}", "cell.tau_soma"),
        (START + "grid: {layer: [[8]]}", "did you mean layers"),
        (START + "grid: {cell.tau_soma: [10*mV]}", "unit is wrong"),
        (START + "grid: {cell.tau_soma: [10*msx]}", "unknown unit"),
        (START + "grid: {cell.tau_soma: [10]}", "unit is wrong"),
        (START + "grid: {learning.loss: [mes]}", "'mse'"),
        (START + "grid: {learning.lam: 1}", "give a list"),
        (START + "grid: {learning.lam: [[1]]}", "one value"),
        (START + "grid: {learning.lam: [~]}", "one value"),
        (START + "grid: {learning.lam: [1, 1.0]}", "is the same as"),
        (START + "grid: {layers: [[0]]}", "positive whole numbers"),
        (START + "grid: {layers: [[]]}", "positive whole numbers"),
        (START + "grid: {epochs: [1.5]}", "whole number"),
        (START + "grid: {epochs: [0]}", "positive whole number"),
        (START + "list: [{label: a, learning.lamb: 1}]", "learning.lam"),
        (START + "list: [{label: a}, {label: a, epochs: 1}]", "given twice"),
        (START + "list: [{label: 3}]", "text is needed"),
        (START + "list: [5]", "names and values"),
        (START + "random: {n: 0, ranges: {learning.lam: {uniform: [0, 1]}}}", "at least 1"),
        (START + "random: {n: 1}", "names and values"),
        (START + "random: {n: 1, ranges: {}}", "ranges is empty"),
        (START + "random: {n: 1, ranges: {learning.lam: {normal: [0, 1]}}}", "uniform"),
        (START + "random: {n: 1, ranges: {learning.lam: {uniform: [1, 0]}}}", "smaller first"),
        (START + "random: {n: 1, ranges: {learning.lam: {loguniform: [0, 1]}}}", "positive"),
        (START + "random: {n: 1, ranges: {cell.tau_soma: {uniform: [1, 2]}}}", "unit"),
        (START + "random: {n: 1, ranges: {learning.loss: {uniform: [reco, mse]}}}", "numbers"),
        (START + "random: {n: 3, ranges: {learning.loss: {choice: [reco, mse]}}}", "only 2"),
    ],
)
def test_mistakes_are_named(read, text, says):
    with pytest.raises(InputError) as caught:
        read(text)
    assert says in str(caught.value) and "sweep.yaml" in str(caught.value)


def test_missing_file_names_what_ships(tmp_path):
    with pytest.raises(InputError, match="did you mean 'ablations'"):
        read_sweep("ablation")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_sweep(tmp_path / "binary.yaml")


_SAFE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=8)
_TREES = st.recursive(
    _SCALARS | st.sampled_from(["10*ms", "demo", "mse", "learning.lam", "layers", "[256]"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["label", "learning.lam", "layers", "epochs", "n", "ranges", "uniform", "choice"]
        )
        | st.text(max_size=4),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)


@_SAFE
@given(
    content=st.dictionaries(
        st.sampled_from(["set", "seeds", "device", "grid", "random", "list", "layers", "epochs"]),
        _TREES,
        max_size=4,
    )
)
def test_any_content_is_run_or_refused(read, content):
    import yaml

    try:
        sweep = read(START + yaml.safe_dump(content))
    except InputError as error:
        assert str(error)
    else:
        assert sweep.points


@_SAFE
@given(
    lam=st.lists(st.floats(0, 100), min_size=1, max_size=4, unique=True),
    depth=st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
    epochs=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
)
def test_grid_holds_every_combination_once(read, lam, depth, epochs):
    layers = [[16] * d for d in depth]
    sweep = read(START + f"grid: {{learning.lam: {lam}, layers: {layers}, epochs: {epochs}}}")
    found = [
        (p.experiment.parameters.learning.lam, len(p.experiment.hidden), p.experiment.epochs)
        for p in sweep.points
    ]
    assert found == list(itertools.product(lam, depth, epochs))
    own = {"learning.lam": lam, "layers": layers, "epochs": epochs}
    assert set(sweep.varied) == {key for key, values in own.items() if len(values) > 1}


@_SAFE
@given(seed=st.integers(0, 1000), n=st.integers(1, 20))
def test_random_points_lie_in_their_ranges(read, seed, n):
    text = START + f"""
random:
  n: {n}
  seed: {seed}
  ranges:
    learning.eta: {{loguniform: [0.01, 1]}}
    cell.V_threshold: {{uniform: [-60*mV, -50*mV]}}
    learning.memory_slots: {{loguniform: [1, 64]}}
    epochs: {{uniform: [2, 3]}}
    learning.loss: {{choice: [mse, infonce]}}
"""
    sweep = read(text)
    assert len(sweep.points) == n
    for point in sweep.points:
        own = point.experiment.parameters
        assert 0.01 <= own.learning.eta <= 1
        assert -60 * mV <= own.cell.V_threshold <= -50 * mV
        assert 1 <= own.learning.memory_slots <= 64
        assert own.learning.loss in ("mse", "infonce")
        assert point.experiment.epochs in (2, 3)
    assert read(text).points == sweep.points
    if n > 1:
        assert len({p.experiment.parameters.learning.eta for p in sweep.points}) > 1


def test_list_changes_what_it_says_and_nothing_else(read):
    sweep = read(START + """
layers: [32]
set: {learning.lam: 3}
list:
  - {label: reference}
  - {label: slow, factor: membrane, cell.tau_soma: 5*ms}
  - {label: deep, factor: depth, layers: [8, 9], epochs: 2}
grid: {learning.eta: [0.2]}
""")
    grid, reference, slow, deep = sweep.points
    base = experiment("demo").changed(hidden=[32], assignments={"learning.lam": 3})
    assert reference.experiment == base and sweep.is_reference(reference)
    assert [p.factor for p in sweep.points] == ["", "", "membrane", "depth"]
    assert grid.label == "eta = 0.2" and not sweep.is_reference(grid)
    assert sweep.varied == ("layers", "epochs", "cell.tau_soma", "learning.eta")
    assert sweep.columns(slow) == {
        "layers": "32", "depth": 1, "epochs": 5, "cell.tau_soma_ms": 5.0, "learning.eta": 0.15,
    }
    assert sweep.columns(deep)["layers"] == "8-9" and sweep.columns(deep)["depth"] == 2


def test_shipped_ablations_cover_the_model():
    sweep = read_sweep("ablations")
    assert "ablations" in SHIPPED and len(sweep.seeds) >= 3
    assert sum(sweep.is_reference(point) for point in sweep.points) == 1
    points = [sweep.columns(point) for point in sweep.points]
    values = {column: {point[column] for point in points} for column in points[0]}
    assert values["learning.loss"] == {"reco", "infonce", "mse"}
    assert values["learning.features"] == {"spikes", "voltages"}
    assert values["learning.memory_slots"] == {1, 4, 16, 64}
    assert values["timing.duration_ms"] == {2, 4, 8, 10, 16}
    assert values["learning.top_rule"] == {"delta", "softmax", "reco"}
    assert values["depth"] == {1, 2, 3, 4, 5, 6}
    assert values["learning.diversity"] == {0, 0.9}
    for name in (
        "learning.feedback", "learning.hidden", "learning.margin_gating", "learning.familiarity",
        "learning.homeostasis",
    ):
        assert len(values[name]) == 2
    assert values["encoding.receptive_field"] == {0, 3, 5}
    for name in ("learning.lam", "cell.V_threshold_mV"):
        assert len(values[name]) >= 4


def test_options_of_the_data_can_be_varied(read):
    sweep = read("experiment: forecast\nset: {data.column: channel1}\ngrid: {data.horizon: [1, 3]}")
    assert sweep.varied == ("data.horizon",)
    assert [sweep.columns(point) for point in sweep.points] == [
        {"data.horizon": 1}, {"data.horizon": 3}
    ]
    for point in sweep.points:
        assert point.experiment.options["column"] == "channel1"
    assert [point.experiment.options["horizon"] for point in sweep.points] == [1, 3]


@pytest.mark.parametrize(
    "text, says",
    [
        ("experiment: forecast\ngrid: {data.horizn: [1]}", "unknown option data.horizn"),
        ("experiment: demo\ngrid: {data.path: [a, b]}", "no options"),
        ("experiment: forecast\nrandom: {n: 1, ranges: {data.horizon: {uniform: [1, 9]}}}",
         "by choice"),
    ],
)
def test_wrong_options_of_the_data_are_named(read, text, says):
    with pytest.raises(InputError, match=says):
        read(text)
