"""Populations, projections, and what passes between them."""

import re

import numpy as np
import pytest
from brian2 import Synapses, prefs
from brian2.devices.device import reset_device
from brian2.utils.stringtools import get_identifiers

from bsd.equations import DISCRETE, InputError, equation_set, plasticity, pyramidal
from bsd.networks import BidirectionalNetwork
from bsd.networks.dense import DenseProjection
from bsd.runs.data import contrast
from bsd.runs.engine import Simulation
from bsd.runs.engine.cpp import generate
from bsd.runs.trials import check_table, trial_arrays

PROJECTIONS = {  # of 9-12-11-3 with two cells per concept: kind, source, target, shape
    "W0": ("sensory", "S", "F1", (9, 12)),
    "W1": ("feedforward", "F1", "F2", (12, 11)),
    "W2": ("feedforward", "F2", "F3", (11, 6)),
    "Theta0": ("feedback", "B1", "B0", (12, 9)),
    "Theta1": ("feedback", "B2", "B1", (11, 12)),
    "Theta2": ("instructive", "C", "B2", (6, 11)),
}
PAIRS = {("F1", "B1"), ("F2", "B2"), ("F3", "C"), ("B1", "F1"), ("B2", "F2"), ("B0", "S")}


def create(network):
    reset_device()
    prefs.codegen.target = "numpy"
    return network.create()


def populations_of(network, group):
    """Population of each element of a group (interneurons: of the population they serve)."""
    layout = network.layout
    names = np.array([(p.name, p.replica) for p in layout.populations], dtype="U4,i4")
    if group.name == "afferents":
        return [(p.name, p.replica) for p in layout.afferents for _ in range(p.size)]
    if group.name == "cells":
        return [(p.name, p.replica) for p in layout.populations for _ in range(p.size)]
    if group.name == "normaliser":
        return [tuple(n) for n in names.tolist()]
    return [tuple(names[k].tolist()) for k in np.asarray(group.population[:])]


def connected(network, synapses):
    """Set of (source population, target population), each with its replica."""
    source = populations_of(network, synapses.source)
    target = populations_of(network, synapses.target)
    return {
        (source[i], target[j])
        for i, j in zip(np.asarray(synapses.i[:]), np.asarray(synapses.j[:]), strict=True)
    }


# ---------------------------------------------------------------- depth


@pytest.mark.parametrize("projection", ["dense", "synapses"])
def test_number_of_brian_objects_does_not_depend_on_depth(small_network, tmp_path, projection):
    """Objects, their names, and the generated code objects are those of one hidden layer."""
    objects, code = {}, {}
    for depth in (1, 6):
        network = small_network(layers=(9, *[7] * depth, 3), projection=projection)
        brian = create(network).network()
        objects[depth] = sorted(o.name for thing in brian.objects for o in family(thing))
        folder = tmp_path / str(depth)
        generate(network, folder)
        sources = (folder / "code_objects.cpp").read_text()
        names = re.findall(r"^namespace (in_\w+)", sources, re.MULTILINE)
        code[depth] = sorted(re.sub(r"_\d+", "", name) for name in names)
    assert objects[1] == objects[6]
    assert code[1] == code[6]
    assert len(code[1]) > 20


def family(thing):
    yield thing
    for contained in thing.contained_objects:
        yield from family(contained)


# ---------------------------------------------------------------- projections


def test_projections_are_all_to_all_in_row_order(small_network):
    network = small_network()
    objects = create(network)
    projections = {p.name: p for p in network.layout.projections}
    assert projections.keys() == PROJECTIONS.keys()
    covered = {"afferent_basal": [], "cortical_basal": []}
    for name, (kind, source, target, shape) in PROJECTIONS.items():
        p = projections[name]
        assert (p.kind, p.source.name, p.target.name, p.shape) == (kind, source, target, shape)
        synapses = getattr(objects, p.synapses)
        pre, post = (np.asarray(x[:])[p.synapse_slice] for x in (synapses.i, synapses.j))
        expected = np.indices(shape).reshape(2, -1)
        assert np.array_equal(pre - p.source.start, expected[0])
        assert np.array_equal(post - p.target.start, expected[1])
        covered[p.synapses].extend(range(p.synapse_slice.start, p.synapse_slice.stop))
    for name, indices in covered.items():  # every synapse belongs to one projection
        assert sorted(indices) == list(range(len(getattr(objects, name))))
    total = sum(np.prod(shape) for *_, shape in PROJECTIONS.values())
    assert network.n_synapses == total == sum(map(len, covered.values()))


def test_forward_and_backward_weights_are_separate(small_network, dataset):
    simulation = Simulation(small_network(), dataset, "runtime", seed=0)
    weights = simulation.weights()
    assert {n: w.shape for n, w in weights.items()} == {n: p[3] for n, p in PROJECTIONS.items()}
    between_hidden = np.corrcoef(weights["W1"].ravel(), weights["Theta1"].T.ravel())[0, 1]
    assert abs(between_hidden) < 4 / np.sqrt(weights["W1"].size)
    for name in PROJECTIONS:
        changed = dict(simulation.state)
        p = simulation.network.layout.projection(name)
        w = np.array(changed[f"{p.synapses}.w"])
        w[p.synapse_slice] += 1
        changed[f"{p.synapses}.w"] = w
        simulation.restore(changed)
        now = simulation.weights()
        assert np.array_equal(now[name], weights[name] + 1)
        for other in PROJECTIONS.keys() - {name}:
            assert np.array_equal(now[other], weights[other])
        weights = now


def test_initial_weights(small_network):
    """SD g / sqrt(n_pre) within 4 standard errors, with a gain of their own for read-outs."""
    gains = {"learning.init_gain": 1.5, "learning.init_gain_readout": 0.7}
    network = small_network(layers=(100, 80, 70, 5), assignments=gains)
    state = network.initial_state(4)
    for p in network.layout.projections:
        w = state[f"{p.synapses}.w"][p.synapse_slice]
        gain = 0.7 if p.target.name in ("F3", "B0") else 1.5
        sd = gain / np.sqrt(p.shape[0])
        assert abs(w.mean()) < 4 * sd / np.sqrt(w.size)
        assert w.std() == pytest.approx(sd, rel=4 / np.sqrt(2 * w.size))
    again, other = network.initial_state(4), network.initial_state(5)
    for name in ("afferent_basal.w", "cortical_basal.w"):
        assert np.array_equal(state[name], again[name])
        assert not np.array_equal(state[name], other[name])


def test_cells_are_paired_one_to_one(small_network):
    network = small_network()
    objects = create(network)
    cell, afferent = (populations_of(network, g) for g in (objects.cells, objects.afferents))
    place = {}
    for p in network.layout.afferents + network.layout.populations:
        place[p.name] = p.start
    pairs = []
    for synapses, source, target in (
        (objects.afferent_apical, afferent, cell),
        (objects.cortical_apical, cell, cell),
        (objects.relay, cell, afferent),
    ):
        for i, j in zip(np.asarray(synapses.i[:]), np.asarray(synapses.j[:]), strict=True):
            (a, _), (b, _) = source[i], target[j]
            assert i - place[a] == j - place[b]
            pairs.append((a, int(i), b, int(j)))
    found = {(b, a) for a, _, b, _ in pairs}
    assert found == PAIRS | {("S", "B0"), ("C", "F3")}  # the last two are the relay's
    assert len(set(pairs)) == len(pairs)
    onto_cells = [(b, j) for _, _, b, j in pairs if b not in "SC"]
    assert sorted(j for _, j in onto_cells) == list(range(len(cell)))  # one partner each


# ---------------------------------------------------------------- locality


@pytest.mark.parametrize("projection", ["dense", "synapses"])
@pytest.mark.parametrize("top_rule", ["delta", "vector", "softmax", "reco"])
def test_nothing_but_spikes_passes_between_layers(small_network, projection, top_rule):
    """Only basal Synapses leave a layer; they read the presynaptic cell's spikes, and at the
    tick their number."""
    rule = {"learning.top_rule": top_rule, "encoding.concept_code": "tuning"}
    network = small_network(projection=projection, assignments=rule)
    objects = create(network)
    layer = {p.name: p.layer for p in network.layout.afferents + network.layout.populations}
    basal = ("afferent_basal", "cortical_basal")
    everything = [o for o in objects.network().objects if isinstance(o, Synapses)]
    assert {o.name for o in everything} >= {*basal, "memory_pattern", "pooling", "relay"}
    for synapses in everything:
        links = {(a, b) for (a, _), (b, _) in connected(network, synapses)}
        if synapses.name not in basal:
            for a, b in links:
                assert layer[a] == layer[b], (synapses.name, a, b)
                assert a == b or (a, b) in PAIRS or (b, a) in PAIRS
            continue
        assert all(abs(layer[a] - layer[b]) == 1 for a, b in links)
        assert not synapses.summed_updaters
        pathways = {pathway.event: pathway.code for pathway in synapses._pathways}
        assert set(pathways) == ({"spike", "learn"} if projection == "synapses" else set())
        for event, code in pathways.items():
            read = {n for n in get_identifiers(code) if n.endswith("_pre")}
            assert read <= ({"r_learn_pre"} if event == "learn" else set())
    if projection == "dense":
        assert set(objects.dense) == set(basal)
        assert DenseProjection.reads["drive"]["pre"] == ["_spikespace", "emit"]  # who fired, twice
        assert DenseProjection.reads["update"]["pre"] == ["r_learn"]


def test_what_synapses_read_at_the_tick_is_a_number_of_spikes(small_network):
    """Every assignment to r_learn and n_s in the equations of cells and afferents."""
    equations = small_network().equations
    found = {"r_learn": set(), "n_s": set()}
    for name, text in equations.items():
        for block in text.values() if isinstance(text, dict) else np.atleast_1d(text):
            for line in block.splitlines():
                match = re.match(r"\s*(\w+)\s*([-+*/]?=)\s*(.*)", line)
                if match and match[1] in found:
                    found[match[1]].add((match[2], match[3].strip()))
                assert not re.match(r"\s*(r_learn|n_s)\s*(_post|_pre)", line), name
    assert found["n_s"] == {("=", "0"), ("+=", "1")}
    assert found["r_learn"] == {("=", "0"), ("=", "int(learn > 0)*n_s*count_unit")}


def test_interneurons_serve_one_population(small_network):
    network = small_network()
    objects = create(network)
    for synapses in (objects.pooling, objects.memory_pattern, objects.memory_pooling):
        links = connected(network, synapses)
        assert links and all(a == b for a, b in links)
    assert len(objects.memory) == 3 * 4  # K for each of F1, F2, B1, B2
    cells = populations_of(network, objects.cells)
    normaliser = populations_of(network, objects.normaliser)
    assert cells == [normaliser[k] for k in np.asarray(objects.cells.population[:])]


def test_graded_signals_stay_inside_the_pair(small_network):
    network = small_network(assignments={"learning.features": "voltages"})
    cells = create(network).cells
    values = network.values()["cells.graded"]
    names = populations_of(network, cells)
    start = {p.name: p.start for p in network.layout.populations}
    for k, other in enumerate(np.asarray(cells.partner_cell[:])):
        (name, _), (partner, _) = names[k], names[other]
        if values[k]:
            assert (name, partner) in PAIRS
            assert k - start[name] == other - start[partner]
        else:
            assert name in ("F3", "B0") and other == k


def test_learning_costs_nothing_within_a_trial(small_network):
    """All that belongs to the learning tick runs once a trial, on the trial's clock."""
    network = small_network("biophysical")
    brian = create(network).network()
    slots = brian.schedule[brian.schedule.index("features") : brian.schedule.index("encode")]
    late = [
        thing.name
        for top in brian.objects
        for thing in family(top)
        if thing.when in slots and thing.clock.dt != network.parameters.timing.duration
    ]
    assert late == []


# ---------------------------------------------------------------- replicas, sizes


def test_synapses_outside_receptive_fields_do_not_count(small_network):
    network = small_network(assignments={"encoding.receptive_field": 2})
    weights = network.initial_state(0)
    there = sum(np.count_nonzero(weights[f"{name}.w"]) for name in
                ("afferent_basal", "cortical_basal"))
    assert network.n_synapses == there == small_network().n_synapses - 12 * (9 - 4)
    stimulus = network.layout.population("S")
    inside = network.connectivity(network.layout.projection("W0"))
    assert network.fan_out(stimulus).tolist() == inside.sum(axis=1).tolist()
    assert not network.fan_out(network.layout.population("B0")).any()


RETINOTOPIC = {"encoding.receptive_field": 2, "encoding.deep_field": 2, "encoding.contrast": 2.0}


def test_retinotopic_cells_receive_their_surroundings(small_network):
    """Squares of 2 pixels with all their afferents; of 2 x 2 places below, seen from 3 pixels."""
    network = small_network(layers=(36, 80, 70, 3), assignments=RETINOTOPIC)
    inside = {p.name: network.connectivity(p) for p in network.layout.projections}
    pixels = inside["W0"].reshape(6, 6, 3, 80)
    assert np.all(pixels == pixels[:, :, :1]) and np.all(pixels[:, :, 0].sum(axis=(0, 1)) == 4)
    first = np.array([np.argwhere(cell)[0] for cell in np.moveaxis(pixels[:, :, 0], -1, 0)])
    assert np.array_equal(network.fields.places(1), first[:, ::-1] + 1)
    assert np.all(np.diff(first[:, 0]) >= 0) and len(np.unique(first, axis=0)) == 25
    for received, place in zip(inside["W1"].T, network.fields.places(2), strict=True):
        corner = place[::-1] - 1.5  # it sees 3 x 3 pixels
        offset = first - corner
        assert np.array_equal(received, ((offset >= 0) & (offset < 2)).all(axis=1))
        assert received.any()
    for layer in (0, 1):
        assert np.array_equal(inside[f"Theta{layer}"], inside[f"W{layer}"].T)
    assert inside["W2"].all() and inside["Theta2"].all()


@pytest.mark.parametrize("replicas", [1, 2])
def test_synapses_of_retinotopic_networks_are_ranges(small_network, replicas):
    """What is stored holds all that is connected, in order; the rest keeps the weight 0."""
    network = small_network(layers=(36, 80, 70, 3), assignments=RETINOTOPIC, replicas=replicas)
    objects, state, values = create(network), network.initial_state(0), network.values()
    for p in network.layout.projections:
        synapses, own = getattr(objects, p.synapses), p.synapse_slice
        pre, post = (np.asarray(x[:])[own] for x in (synapses.i, synapses.j))
        expected = np.argwhere(p.stored) + [p.source.start, p.target.start]
        assert np.array_equal(np.stack([pre, post], axis=1), expected)
        connected = network.connectivity(p)
        assert np.all(p.stored | ~connected)
        assert np.array_equal(p.of_synapses(connected), values[f"{p.synapses}.w_max"][own] > 0)
        w = p.matrix(state[f"{p.synapses}.w"])
        assert np.array_equal(w != 0, connected)
        assert np.array_equal(p.of_synapses(w), state[f"{p.synapses}.w"][own])
    one = network.layout.projection("W0")
    assert 1.5 * one.stored.sum() < np.prod(one.shape)  # it saves something
    total = sum(network.connectivity(p).sum() for p in network.layout.projections)
    assert network.n_synapses == total


def test_afferents_of_contrast_are_driven_and_not_shown(small_network, dataset, trial_table):
    """ON and OFF beside the intensity of each pixel; what is recalled are intensities."""
    network = small_network(assignments={"encoding.contrast": 2.0})
    table = trial_table(2).assign(source="stimulus", learn=0.0)
    drive, _ = trial_arrays([check_table(table, dataset, 3)], dataset, network, [0])
    stimulus = network.layout.population("S")
    own = drive[:2, stimulus.cells].reshape(2, 3, 3, 3)
    np.testing.assert_array_equal(own[..., 0], dataset.x_train[:2])
    both = contrast(dataset.x_train[:2], 2.0, network.parameters.encoding.surround)
    np.testing.assert_array_equal(own[..., 1], both[:, 0])
    np.testing.assert_array_equal(own[..., 2], both[:, 1])
    assert network.intensity_cells.tolist() == list(range(0, 27, 3))
    assert network.cells_per_layer == small_network().cells_per_layer
    simulation = Simulation(network, dataset, "runtime", seed=0)
    recalled = simulation.run(trial_table(1, learn=0.0)).recalled
    counts = simulation.run(trial_table(1, learn=0.0)).cell_counts
    spikes = counts[counts["population"] == "B0"].sort_values("cell")["spikes"].to_numpy()
    np.testing.assert_allclose(recalled["rate"], spikes[::3] / 8)
    colour = BidirectionalNetwork([12, 4, 3], DISCRETE.updated({"encoding.contrast": 1.0}))
    assert colour.intensity_cells.tolist() == [0, 1, 2, 9, 10, 11, 18, 19, 20, 27, 28, 29]


def test_replicas_are_independent_copies(small_network):
    one, two = small_network(), small_network(replicas=2)
    a, b = one.layout, two.layout
    assert (b.n_cells, b.n_afferents) == (2 * a.n_cells, 2 * a.n_afferents)
    assert two.n_synapses == 2 * one.n_synapses
    objects = create(two)
    for name in ("afferent_basal", "cortical_basal", "cortical_apical", "relay", "pooling",
                 "memory_pattern", "memory_pooling"):
        synapses = getattr(objects, name)
        links = connected(two, synapses)
        assert {r for (_, r), _ in links} == {0, 1}
        assert all(i == j for (_, i), (_, j) in links), name
    state = two.initial_state([5, 9])
    keys = two.encoder_keys([5, 9])["afferents.key"]
    for replica, seed in enumerate((5, 9)):  # each is what it would be alone
        alone = one.initial_state(seed)
        for p in a.projections:
            q = b.projection(p.name, replica)
            assert np.array_equal(
                state[f"{q.synapses}.w"][q.synapse_slice], alone[f"{p.synapses}.w"][p.synapse_slice]
            )
        for p in a.afferents:
            q = b.population(p.name, replica)
            assert np.array_equal(
                keys[q.cells], one.encoder_keys(seed)["afferents.key"][p.cells]
            )
    state = two.initial_state(5)  # one seed: the replicas have it and the next
    for name in ("W0", "W1", "Theta1", "Theta2"):
        p, q = b.projection(name, 0), b.projection(name, 1)
        w = state[f"{p.synapses}.w"]
        assert abs(np.corrcoef(w[p.synapse_slice], w[q.synapse_slice])[0, 1]) < 0.4
    keys = two.encoder_keys(5)["afferents.key"]
    assert len(np.unique(keys)) == len(keys)


def test_concepts_are_population_codes(small_network):
    network = small_network(assignments={"encoding.concept_rate": 0.8})
    expected = 0.8 * np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]])
    assert np.array_equal(network.encoding_matrix(), expected)
    assert network.layout.population("F3").size == network.layout.population("C").size == 6


@pytest.mark.parametrize(
    "changes, projection",
    [
        ({}, "dense"),
        ({"LEARN": equation_set()["LEARN"] + "  # as it is"}, "dense"),
        ({"THRESHOLD": "v_s > theta"}, "dense"),
        ({"LEARN": "w = clip(w + r_learn_pre*teach_post, 0, w_max)"}, "synapses"),
        ({"PROPAGATE": "I_b_post += 0.5*w*I_epsc_post"}, "synapses"),
    ],
)
def test_what_dense_projections_compute_otherwise_makes_plain_synapses(
    changes, projection, monkeypatch
):
    """Changed in a call, and in the file."""
    assert BidirectionalNetwork([9, 12, 3], equations=changes).projection == projection
    for name, text in changes.items():
        for module in (plasticity, pyramidal):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, text)
    network = BidirectionalNetwork([9, 12, 3])
    assert network.projection == network.structure["projection"] == projection


@pytest.mark.parametrize(
    "name, used",
    [
        ("ERROR_VECTOR", {"encoding.concept_code": "tuning", "learning.top_rule": "vector"}),
        ("GATE_INFONCE", {"learning.loss": "infonce"}),
        ("HOLD_CONTEXT", {"encoding.context": 1}),
        ("APICAL_VOLTAGES", {"learning.features": "voltages"}),
    ],
)
def test_changed_strings_that_are_not_in_use_are_refused(name, used, small_network):
    """They would change nothing, without a word."""
    text = equation_set()[name]
    for same in (text, f"{text}  # a comment"):
        small_network(equations={name: same}).create()
    changed = {name: f"{text}\n{text.strip().splitlines()[-1]}"}
    if name == "APICAL_VOLTAGES":
        changed = {name: text.replace("R_a", "2*R_a")}
        assert changed[name] != text
    with pytest.raises(InputError, match=f"{name}'. is not in use with these parameters"):
        small_network(equations=changed).create()
    small_network(assignments=used, equations=changed).create()


@pytest.mark.parametrize(
    "layers, options, text",
    [
        ([], {}, "layers = \\[\\]"),
        ([64, 10], {}, "at least one hidden width and the number of concepts"),
        (64, {}, "layers = \\[64\\]"),
        (None, {}, "layers = \\[None\\]"),
        ("64,32,10", {}, "positive whole number"),
        ([64, 0, 10], {}, "positive whole number"),
        ([64, 12.5, 10], {}, "positive whole number"),
        ([64, -3, 10], {}, "positive whole number"),
        ([9, 12, 3], {"projection": "sparse"}, "'dense' or 'synapses'"),
        ([9, 12, 3], {"precision": "float16"}, "'float32' or 'float64'"),
        ([9, 12, 3], {"capacity": 0}, "positive whole number"),
        ([9, 12, 3], {"capacity": 1.5}, "positive whole number"),
        ([9, 12, 3], {"capacity": "all"}, "positive whole number"),
        ([9, 12, 3], {"replicas": 0}, "positive whole number"),
        ([8, 12, 3], {"parameters": RETINOTOPIC}, "contrast = 2.0: needs a square"),
        ([8, 12, 3], {"parameters": {"encoding.receptive_field": 2}}, "needs a square"),
        ([9, 12, 3], {"parameters": {"encoding.deep_field": 2}}, "receptive_field smaller"),
        ([9, 12, 3], {"parameters": {"encoding.receptive_field": 3, "encoding.deep_field": 2}},
         "smaller than the image, not 3"),
        ([9, 12, 3], {"parameters": {"encoding.contrast": 1.0, "encoding.context": 1}},
         "contrast = 1.0: context cells"),
        ([9, 12, 3], {"equations": {"RESETS": ""}}, "unknown equation string"),
        ([9, 12, 3], {"equations": {"RESET": 1}}, "must be of the same kind"),
        ([9, 12, 3], {"equations": {"LEARN": "w = w"}, "projection": "dense"},
         "LEARN was changed.*use projection='synapses'"),
        ([9, 12, 3], {"equations": {"PROPAGATE": ""}, "projection": "dense"},
         "PROPAGATE was changed.*use projection='synapses'"),
    ],
)
def test_impossible_networks_are_refused(layers, options, text):
    with pytest.raises(InputError, match=text) as error:
        parameters = DISCRETE.updated(options.get("parameters", {}))
        BidirectionalNetwork(layers, **{**options, "parameters": parameters})
    assert "\n" not in str(error.value)
