"""The description of a network holds what its objects hold."""

import gc
import io
import subprocess
import sys

import numpy as np
import pytest
from brian2 import NeuronGroup, Synapses, get_device, prefs, set_device
from brian2.devices.device import reset_device
from brian2.equations.equations import Equations
from rich.console import Console

from bsd.equations import BIOPHYSICAL, DISCRETE, equation_set
from bsd.networks import BidirectionalNetwork
from bsd.networks.describe import describe
from bsd.networks.schedule import SCHEDULE
from bsd.runs.cli.show import render_description

PAPER = {
    "learning.features": "voltages",
    "learning.top_rule": "softmax",
    "learning.bottom_rule": "voltage",
    "encoding.kind": "poisson",
}
VECTOR = {"learning.top_rule": "vector", "encoding.concept_code": "tuning"}
NETWORKS = {
    "discrete": (DISCRETE, {}),
    "paper's options": (DISCRETE.updated(PAPER), {}),
    "biophysical": (BIOPHYSICAL, {"projection": "synapses"}),
    "infonce": (DISCRETE.updated({"learning.loss": "infonce"}), {}),
    "vector": (DISCRETE.updated(VECTOR), {}),
}


def make_network(name="discrete", layers=(6, 5, 4, 3), **options):
    parameters, more = NETWORKS[name]
    return BidirectionalNetwork(layers, parameters, capacity=4, **{**more, **options})


@pytest.fixture(scope="module", params=list(NETWORKS))
def described(request):
    """A network, its description, and its Brian2 objects, made anew."""
    network = make_network(request.param)
    description = describe(network)
    target = prefs["codegen.target"]
    prefs["codegen.target"] = "numpy"
    objects = network.create()
    prefs["codegen.target"] = target
    return network, description, objects


def lines(text):
    """Lines of code without comments and spaces."""
    bare = ("".join(line.split("#")[0].split()) for line in text.splitlines())
    return [line for line in bare if line]


def code_of(objects):
    """Name of each scheduled piece of code to its text in the Brian2 objects."""
    code = {}
    for thing in objects.network().objects:
        if type(thing) is NeuronGroup:
            code |= {(thing.name, event): text for event, text in thing.events.items()}
            code |= {(thing.name, "reset", e): text for e, text in thing.event_codes.items()}
            for runner in thing.contained_objects:
                code[thing.name, runner.name] = getattr(runner, "abstract_code", None)
        elif isinstance(thing, Synapses):
            for pathway in thing._pathways:
                code[thing.name, pathway.event] = pathway.code
            for name, updater in thing.summed_updaters.items():
                code[thing.name, name] = updater.expression.code
    return code


def test_displayed_equations_are_those_of_the_brian2_objects(described):
    _, description, objects = described
    shown = description.equations[description.equations["what"] == "equations"]
    for row in shown.itertuples():
        thing = getattr(objects, row.object)
        parsed = dict(Equations(row.text))
        if type(thing) is NeuronGroup:
            assert parsed == dict(thing.user_equations)
            continue
        summed = thing.summed_updaters
        assert {n: e for n, e in parsed.items() if n not in summed} == dict(thing.equations)
        assert parsed.keys() - dict(thing.equations).keys() == summed.keys()
        for name, updater in summed.items():
            assert parsed[name].expr.code == updater.expression.code
    groups = [o.name for o in objects.network().objects if isinstance(o, NeuronGroup)]
    assert set(groups) <= set(shown["object"])


def test_displayed_code_is_that_of_the_brian2_objects(described):
    _, description, objects = described
    expected = code_of(objects)
    seen = set()
    for row in description.equations.itertuples():
        if row.what in ("equations", "integration", "refractory", "function"):
            continue
        key = (row.object, row.what, row.name) if row.what == "reset" else (row.object, row.name)
        text = row.text.partition(" = sum over synapses of ")[2] or row.text
        assert lines(text) == lines(expected[key]), key
        seen.add(key)
    special = ("stateupdater", "thresholder", "resetter")
    assert seen == {key for key in expected if not key[1].endswith(special)}


def test_the_normaliser_of_the_output_holds_what_its_rule_pools(described):
    network, description, _ = described
    rule = network.parameters.learning.top_rule
    rows = description.interneurons.query("kind == 'normaliser'").set_index("population")["holds"]
    top = rows.index == f"F{network.layout.depth + 1}"
    assert top.sum() == 1 and rows[~top].nunique() == 1
    added = {"softmax": "exp(beta u)", "vector": "population vectors"}.get(rule)
    assert (rows[top].iloc[0] == rows[~top].iloc[0]) == (added is None)
    assert added is None or added in rows[top].iloc[0]


def test_source_strings_are_shown_as_they_are_written(described):
    network, description, _ = described
    text = "\n".join(description.equations["text"])
    parameters, learning = network.parameters, network.parameters.learning
    absent = {"APICAL_SPIKES"} if learning.features == "voltages" else {"APICAL_VOLTAGES"}
    if learning.features != "voltages":
        absent |= {"TRIAL_AVERAGES_APICAL", "READ_PARTNER"}
    if learning.top_rule != "softmax":
        absent |= {name for name in equation_set() if name.endswith("_SOFTMAX")}
    if learning.top_rule != "vector":
        absent |= {name for name in equation_set() if name.endswith("_VECTOR")}
    if learning.loss == "infonce":
        absent |= {"GATE", "POOL_MEMORY", "RESPOND"}
    else:
        absent |= {name for name in equation_set() if name.endswith("_INFONCE")}
    if not parameters.encoding.context:
        absent |= {"HOLD_CONTEXT"}
    if float(parameters.cell.refractory) == 0:
        absent |= {"END_REFRACTORY"}
    if network.projection == "dense":
        absent |= {"PROPAGATE"}
    strings = {name: t for name, t in equation_set().items() if isinstance(t, str)}
    strings["ENCODERS"] = equation_set()["ENCODERS"][parameters.encoding.kind]
    for name, source in strings.items():
        assert (source.strip("\n") in text) == (name not in absent), name
    assert "INTEGRATION_ORDER" in equation_set() and "v_b, v_a, v_s, I_b, I_a" in text


def test_a_changed_equation_is_shown():
    network = make_network(equations={"THRESHOLD": "v_s > theta - excitability + 1*mV"})
    rows = describe(network).equations
    threshold = rows[(rows["object"] == "cells") & (rows["what"] == "threshold")]
    assert list(threshold["text"]) == ["v_s > theta - excitability + 1*mV"]
    assert list(threshold["slot"]) == ["thresholds"]
    assert list(threshold["strings"]) == ["THRESHOLD"]


def test_equations_name_the_strings_that_hold_them():
    rows = describe(make_network()).equations.set_index(["object", "what", "name"])["strings"]
    assert rows["cells", "reset", "spike"] == "COUNT_SPIKE, RESET"
    assert rows["cells", "code", "cells_begin"] == "READ_CONTROL, START_TRIAL"
    assert rows["afferents", "reset", "spike"] == "COUNT_AFFERENT_SPIKE"
    assert rows["memory", "code", "memory_begin"] == "READ_LEARN"
    assert rows["relay", "on_pre", "spike"] == "RELAY"
    assert rows["cells", "event", "recorded"] == ""


def test_populations_and_projections_are_those_of_the_layout(described):
    network, description, objects = described
    layout, populations = network.layout, description.populations.set_index("name")
    assert populations["cells"].sum() == layout.n_cells + layout.n_afferents
    assert all(populations["partner"][populations["partner"]] == populations.index)
    projections = description.projections
    basal = projections[projections["connectivity"] == "all-to-all"].set_index("name")
    assert set(basal.index) == {p.name for p in layout.projections}
    assert basal["synapses"].sum() == network.n_synapses == description.summary["plastic synapses"]
    for name, rows in projections.groupby("object"):
        assert rows["synapses"].sum() == len(getattr(objects, name)), name


def test_synapses_of_two_streams_are_between_the_cells_that_are_named():
    parameters = DISCRETE.updated({"encoding.cutoff": 0.2})
    description = describe(BidirectionalNetwork([9, 5, 4, 3], parameters))
    cells = description.populations.set_index("name")["cells"]
    projections = description.projections
    basal = projections[projections["connectivity"] == "all-to-all"].set_index("name")
    assert tuple(basal.loc["Theta0", ["source", "target"]]) == ("B1+B1_high", "B0+B0_high")
    for row in basal.itertuples():
        pre, post = (cells[names.split("+")].sum() for names in (row.source, row.target))
        assert row.synapses == pre * post


def test_interneurons_are_those_of_the_brian2_objects(described):
    _, description, objects = described
    table = description.interneurons.groupby("kind")
    assert table["cells"].sum()["normaliser"] == len(objects.normaliser)
    assert table["cells"].sum()["memory"] == len(objects.memory)
    assert table["synapses"].sum()["normaliser"] == len(objects.pooling)
    assert table["synapses"].sum()["memory"] == len(objects.memory_pattern)


@pytest.mark.parametrize(
    "assignments, rules",
    [
        ({}, {"F1": "ReCo on spikes", "F3": "delta rule on spikes", "B0": "delta rule on spikes"}),
        (
            PAPER,
            {
                "B2": "ReCo on dendritic voltages",
                "F3": "softmax cross-entropy on the basal drive",
                "B0": "delta rule on the basal drive",
            },
        ),
        ({"learning.top_rule": "reco"}, {"F3": "ReCo on spikes"}),
        (
            VECTOR,
            {
                "F2": "ReCo on spikes",
                "F3": "delta rule on spikes and their population vector",
                "B0": "delta rule on spikes",
            },
        ),
        ({"learning.loss": "infonce"}, {"F1": "InfoNCE on spikes", "F3": "delta rule on spikes"}),
        ({"learning.loss": "mse"}, {"F1": "delta rule on spikes", "B2": "delta rule on spikes"}),
        ({"learning.feedback": "fixed"}, {"B1": "fixed (ReCo on spikes at rate 0)"}),
    ],
)
def test_learning_rules(assignments, rules):
    network = BidirectionalNetwork([6, 5, 4, 3], DISCRETE.updated(assignments), capacity=4)
    description = describe(network)
    learns_by = description.populations.set_index("name")["learns_by"]
    assert {name: learns_by[name] for name in rules} == rules
    plastic = description.projections.set_index("name")["plastic"]
    assert plastic["W1"]
    assert plastic["Theta1"] == (assignments.get("learning.feedback") != "fixed")


def test_parameters_have_value_unit_and_source():
    network = BidirectionalNetwork(
        [6, 5, 3], BIOPHYSICAL.updated({"learning.margin_gating": False}), capacity=4
    )
    table = describe(network).parameters.set_index("key")
    assert list(table.index) == network.parameters.keys()
    assert table["value"]["cell.tau_soma"] == "20 ms"
    assert table["source"]["cell.tau_soma"].startswith("set for this network; default 2.88539 ms:")
    assert table["value"]["cell.R_basal"] == "400 Mohm"
    assert table["value"]["learning.memory_slots"] == "16"
    assert table["value"]["learning.margin_gating"] == "false"
    assert table["value"]["encoding.kind"] == "regular"
    assert table["symbol"]["cell.V_threshold"] == "theta"
    assert table["source"]["cell.g_leak"] == "ours"
    assert table.map(bool).all(axis=None)


def test_schedule_is_in_the_order_of_the_slots(described):
    network, description, _ = described
    slots = description.schedule["slot"].str.replace("before_|after_", "", regex=True)
    positions = [SCHEDULE.index(slot) for slot in slots]
    assert positions == sorted(positions)
    assert not description.schedule.duplicated(["object", "what", "name"]).any()
    # whatever has an equation and a slot is in the schedule, with the same slot and clock
    scheduled = description.equations[description.equations["slot"] != ""]
    columns = ["object", "what", "name", "slot", "clock_ms"]
    rows = set(description.schedule[columns].itertuples(index=False, name=None))
    assert set(scheduled[columns].itertuples(index=False, name=None)) <= rows
    begin = description.schedule[description.schedule["slot"] == "begin"]
    assert set(begin["clock_ms"]) == {float(network.parameters.timing.duration) * 1e3}


def test_only_one_replica_is_listed():
    one, three = (describe(make_network(replicas=n)) for n in (1, 3))
    assert one.populations.equals(three.populations)
    assert one.projections.equals(three.projections)
    assert one.interneurons.equals(three.interneurons)
    assert three.summary["replicas"] == 3


def test_describing_leaves_brian2_as_it_was():
    names = ("core.default_float_dtype", "codegen.target", "codegen.cpp.extra_compile_args_gcc")
    before = {name: prefs[name] for name in names}
    set_device("cpp_standalone", build_on_run=False)
    try:
        device = get_device()
        prefs["core.default_float_dtype"] = np.float64
        arrays = len(device.array_cache)
        describe(make_network(precision="float32"))
        assert get_device() is device
        assert device.build_on_run is False
        assert len(device.array_cache) == arrays
        assert prefs["core.default_float_dtype"] is np.float64
        assert prefs["codegen.target"] == before["codegen.target"]
    finally:
        reset_device()
        prefs["core.default_float_dtype"] = before["core.default_float_dtype"]
    assert {name: prefs[name] for name in names} == before


def test_no_brian2_objects_stay_behind():
    def alive():
        gc.collect()
        return sum(type(thing) is NeuronGroup for thing in gc.get_objects())

    describe(make_network())
    before = alive()
    description = describe(make_network())
    assert alive() == before
    assert len(description.equations)


def test_describing_says_nothing():
    """Brian2 warns of objects that never run; here they are only read."""
    script = (
        "import gc; from bsd.networks import BidirectionalNetwork, describe\n"
        "describe(BidirectionalNetwork([6, 5, 3])); gc.collect(); print('described')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "described", "")


@pytest.mark.parametrize("width", [80, 120])
def test_rendering_breaks_no_equation_and_crops_no_table(described, width):
    _, description, _ = described
    console = Console(file=io.StringIO(), width=width)
    render_description(description, console)
    text = console.file.getvalue()
    printed = [line.strip() for line in text.splitlines()]
    for block in description.equations["text"]:
        assert all(line.strip() in printed for line in block.splitlines())
    for name in [*description.parameters["key"], *description.parameters["value"]]:
        assert name in text
    for row in description.projections.itertuples():
        line = next(line for line in printed if line.startswith(f"{row.name} "))
        assert f"{row.kind} " in line and f" {row.connectivity} " in line
    assert "…" not in text
