"""The local error is the gradient of the layer's loss, by finite differences.

The error comes from the model's own objects: a network's groups are given features and
memories, and run for the one step that holds the learning tick.
"""

import numpy as np
import pytest
from brian2 import prefs
from brian2.devices.device import reset_device

K = 4
HIDDEN = ("F1", "F2", "B1", "B2")


@pytest.fixture(scope="module")
def tick(small_network):
    """Function from (case, features, apical features, memories) to delta, by hidden population.

    A case is a kind of features of ReCo, or the name of another loss on spikes.
    """
    changes = {
        "learning.memory_slots": K,
        "learning.margin_gating": False,
        "learning.lam": 1.7,
        "learning.epsilon": 0.3,
    }
    networks = {}
    cases = {
        "spikes": {"learning.features": "spikes"},
        "voltages": {"learning.features": "voltages"},
        "infonce": {"learning.loss": "infonce", "learning.temperature": 0.3},
        "mse": {"learning.loss": "mse"},
    }
    for case, choice in cases.items():
        network = small_network(assignments={**changes, **choice})
        reset_device()
        prefs.codegen.target = "numpy"
        objects = network.create()
        brian = objects.network()
        for name, value in {**network.values(), **network.initial_state(0)}.items():
            owner, variable = name.split(".")
            var = getattr(objects, owner).variables[variable]
            var.set_value(np.ravel(value)[0] if var.scalar else value)
        brian.store()
        networks[case] = network, objects, brian

    def run(case, r, r_apical, memories, psi):
        network, objects, brian = networks[case]
        layout, pairs = network.layout, network.memory_pairs()
        brian.restore()
        cells = objects.cells.variables
        unit = cells["count_unit"].get_value().item()
        own, apical, slope = (np.zeros(layout.n_cells) for _ in range(3))
        mu = np.zeros((K, layout.n_cells))
        for population in network.memory_populations:
            name = population.name
            own[population.cells] = r[name]
            apical[population.cells] = r_apical[name]
            slope[population.cells] = psi[name]
            mu[:, population.cells] = memories[name]
        by_spikes = case != "voltages"
        cells["n_s"].set_value(own / unit if by_spikes else 0 * own)
        cells["n_a"].set_value(apical / unit if by_spikes else 0 * own)
        cells["u"].set_value(own)
        if not by_spikes:
            cells["u_a"].set_value(apical)
        cells["psi"].set_value(slope)
        slots = np.asarray(objects.memory.slot)[pairs[0]]
        objects.memory_pattern.variables["mu"].set_value(mu[slots, pairs[1]])
        brian.run(network.parameters.timing.dt, namespace={})
        delta = cells["delta"].get_value()
        return {p.name: delta[p.cells].copy() for p in network.memory_populations}

    run.parameters = networks["spikes"][0].parameters
    run.temperature = networks["infonce"][0].parameters.learning.temperature
    run.sizes = {p.name: p.size for p in networks["spikes"][0].memory_populations}
    return run


def unit_vector(r, eps):
    return r / np.sqrt(r @ r + eps**2)


def gradient(loss, x):
    """Central differences."""
    out, step = np.empty_like(x), 1e-5
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        out[index] = (loss(up) - loss(down)) / (2 * step)
    return out


def relative_error(measured, expected):
    return np.linalg.norm(measured - expected) / np.linalg.norm(expected)


def features_of_trials(sizes, sign):
    """Features of K + 1 trials; some cosines are negative unless all features are rates."""
    generator = np.random.default_rng(8)
    lowest = 0 if sign == "rates" else -1
    return {name: generator.uniform(lowest, 1, (K + 1, size)) for name, size in sizes.items()}


PARTNER = {"F1": "B1", "F2": "B2", "B1": "F1", "B2": "F2"}


@pytest.mark.parametrize("sign", ["rates", "signed"])
@pytest.mark.parametrize("features", ["spikes", "voltages"])
def test_error_is_the_gradient_of_the_present_trials_row(tick, features, sign):
    """delta / psi = -n d/dr [(1 - C)^2 + lambda/K sum_m max(0, c_m)^2], relative 1e-6."""
    learning = tick.parameters.learning
    trials = features_of_trials(tick.sizes, sign)
    patterns = {
        name: np.array([unit_vector(r, learning.epsilon) for r in trials[name]]) for name in HIDDEN
    }
    generator = np.random.default_rng(9)
    psi = {name: generator.uniform(0.1, 1, size) for name, size in tick.sizes.items()}
    delta = tick(
        features,
        {name: trials[name][K] for name in HIDDEN},
        {name: trials[PARTNER[name]][K] for name in HIDDEN},
        {name: patterns[PARTNER[name]][:K] for name in HIDDEN},
        psi,
    )
    overlaps = []
    for name in HIDDEN:
        h_partner, memories = patterns[PARTNER[name]][K], patterns[PARTNER[name]][:K]

        def row(r, h_partner=h_partner, memories=memories):
            h = unit_vector(r, learning.epsilon)
            c = np.maximum(0, memories @ h)
            return (1 - h_partner @ h) ** 2 + learning.lam / K * (c**2).sum()

        r = trials[name][K]
        overlaps.extend(memories @ patterns[name][K])
        n = np.sqrt(r @ r + learning.epsilon**2)
        slope = psi[name] if features == "spikes" else 1
        assert relative_error(delta[name] / slope, -n * gradient(row, r)) < 1e-6, name
    assert np.max(overlaps) > 0.1
    assert (np.min(overlaps) < -0.1) == (sign == "signed")  # rectified


@pytest.mark.parametrize("sign", ["rates", "signed"])
@pytest.mark.parametrize("loss", ["infonce", "mse"])
def test_error_of_the_other_losses(tick, loss, sign):
    """InfoNCE: delta / psi = -n d/dr [-log p_0]; MSE: -d/dr |r - r^|^2 / 2; relative 1e-6."""
    eps = tick.parameters.learning.epsilon
    trials = features_of_trials(tick.sizes, sign)
    patterns = {name: np.array([unit_vector(r, eps) for r in trials[name]]) for name in HIDDEN}
    generator = np.random.default_rng(9)
    psi = {name: generator.uniform(0.1, 1, size) for name, size in tick.sizes.items()}
    delta = tick(
        loss,
        {name: trials[name][K] for name in HIDDEN},
        {name: trials[PARTNER[name]][K] for name in HIDDEN},
        {name: patterns[PARTNER[name]][:K] for name in HIDDEN},
        psi,
    )
    for name in HIDDEN:
        r, r_partner = trials[name][K], trials[PARTNER[name]][K]
        rows = np.vstack([patterns[PARTNER[name]][:K], patterns[PARTNER[name]][K]])

        def minus_log_p(r, rows=rows):
            logits = rows @ unit_vector(r, eps) / tick.temperature
            return np.log(np.exp(logits).sum()) - logits[K]

        def squares(r, r_partner=r_partner):
            return ((r - r_partner) ** 2).sum() / 2

        if loss == "infonce":
            expected = -np.sqrt(r @ r + eps**2) * gradient(minus_log_p, r)
        else:
            expected = -gradient(squares, r)
        assert relative_error(delta[name] / psi[name], expected) < 1e-6, name


@pytest.mark.parametrize("sign", ["rates", "signed"])
def test_both_pathways_together_follow_one_undetached_loss(tick, sign):
    """Each of the K + 1 trials in turn is the present one, the others are its memories."""
    learning = tick.parameters.learning
    eps = learning.epsilon
    trials = features_of_trials(tick.sizes, sign)
    patterns = {name: np.array([unit_vector(r, eps) for r in trials[name]]) for name in HIDDEN}
    ones = {name: np.ones(size) for name, size in tick.sizes.items()}
    deltas = {name: [] for name in HIDDEN}
    for k in range(K + 1):
        others = np.arange(K + 1) != k
        delta = tick(
            "spikes",
            {name: trials[name][k] for name in HIDDEN},
            {name: trials[PARTNER[name]][k] for name in HIDDEN},
            {name: patterns[PARTNER[name]][others] for name in HIDDEN},
            ones,
        )
        for name in HIDDEN:
            deltas[name].append(delta[name])

    def loss(forward, backward):
        h = np.array([unit_vector(r, eps) for r in forward])
        h_backward = np.array([unit_vector(r, eps) for r in backward])
        cosines = h @ h_backward.T
        positive = np.maximum(0, cosines - np.diag(np.diag(cosines)))
        attraction = ((1 - np.diag(cosines)) ** 2).sum()
        return attraction + learning.lam / K * (positive**2).sum()

    for forward, backward in (("F1", "B1"), ("F2", "B2")):
        x, y = trials[forward], trials[backward]
        whole = {
            forward: gradient(lambda v, y=y: loss(v, y), x),
            backward: gradient(lambda v, x=x: loss(x, v), y),
        }
        for name, expected in whole.items():
            n = np.sqrt((trials[name] ** 2).sum(axis=1, keepdims=True) + eps**2)
            assert relative_error(np.array(deltas[name]), -n * expected) < 1e-6, name
