"""The weight change that Brian2 makes equals the rule, computed in NumPy from what was recorded.

`Rule` is written from the description of the model, not from its equation strings: from the
spikes and potentials of each trial it works out rate features, memories, local errors, and the
change of every weight.
"""

import numpy as np
import pytest
from brian2 import Mohm, ms, mV, nS

from bsd.runs.engine import Simulation

DEPTH = 2
SIZES = {"S": 9, "F1": 12, "F2": 11, "F3": 6, "C": 6, "B2": 11, "B1": 12, "B0": 9}
PARTNER = {"F1": "B1", "F2": "B2", "B1": "F1", "B2": "F2", "F3": "C", "B0": "S"}
PROJECTIONS = {
    "W0": ("S", "F1"),
    "W1": ("F1", "F2"),
    "W2": ("F2", "F3"),
    "Theta0": ("B1", "B0"),
    "Theta1": ("B2", "B1"),
    "Theta2": ("C", "B2"),
}
#: With a stream of high frequencies, whose afferents only teach.
SIZES_2 = {**SIZES, "S_high": 18, "F1": 6, "F1_high": 6, "B1": 6, "B1_high": 6, "B0_high": 18}
PARTNER_2 = {**PARTNER, "F1_high": "B1_high", "B1_high": "F1_high", "B0_high": "S_high"}
PROJECTIONS_2 = {
    **PROJECTIONS,
    "W0": ("S", "F1+F1_high"),
    "W1": ("F1+F1_high", "F2"),
    "Theta0": ("B1+B1_high", "B0+B0_high"),
    "Theta1": ("B2", "B1+B1_high"),
}


class Rule:
    """Streaming ReCo and delta rules for a network of two hidden layers."""

    def __init__(self, parameters):
        self.p = parameters
        self.sizes, self.partner, self.projections = (
            (SIZES_2, PARTNER_2, PROJECTIONS_2)
            if parameters.encoding.cutoff
            else (SIZES, PARTNER, PROJECTIONS)
        )
        self.memories = {name: [] for name in self.partner}
        self.mean_rate = {name: parameters.learning.rate_target for name in self.partner}
        self.forgiven = 0  # memories that were familiar
        self.seen = []  # (population, C, gate) of every ReCo error

    def uses_reco(self, population):
        if population == "F3":
            return self.p.learning.top_rule == "reco"
        return not population.startswith("B0")

    def trial(self, seen, learn):
        """Changes of all weights, shaped (n_pre, n_post); keeps the memories."""
        timing = self.p.timing
        most = float(timing.duration) * float(timing.f_max)
        rate = {name: data["spikes"].sum(axis=0) / most for name, data in seen.items()}
        if learn == 0:
            return {name: 0.0 for name in self.projections}
        patterns = {
            name: rate[name] / np.sqrt(rate[name] @ rate[name] + self.p.learning.epsilon**2)
            for name in rate
        }
        self.familiar = self.familiar_trials(patterns)
        delta = {name: self.error(name, seen[name], rate) for name in self.partner}
        window = self.p.learning.rate_window
        for name in self.partner:
            missing = rate[name] - self.mean_rate[name]
            self.mean_rate[name] = self.mean_rate[name] + missing / window
        def both(values, streams):
            return np.concatenate([values[stream] for stream in streams.split("+")])

        return {
            name: learn * self.learning_rate(post) * np.outer(both(rate, pre), both(delta, post))
            for name, (pre, post) in self.projections.items()
        }

    def familiar_trials(self, patterns):
        """Per layer: past trials whose apical pattern, in either population, is like today's."""
        familiar = {}
        for name in self.partner:
            both = {name, self.partner[name]} & self.partner.keys()
            like = np.array([
                [mu @ patterns[self.partner[one]] for mu in self.memories[one]]
                for one in both if self.uses_reco(one)
            ])
            familiar[name] = (like >= self.p.learning.familiarity).any(axis=0)
        return familiar

    def learning_rate(self, population):
        learning = self.p.learning
        if population == "F3":
            return learning.eta_top
        if population.startswith("B0"):
            return learning.eta_bottom
        return learning.eta if population[0] == "F" else learning.eta_feedback

    def error(self, name, data, rate):
        cell, learning = self.p.cell, self.p.learning
        rest = float(cell.E_leak)
        basal = (data["v_b"] - rest).mean(axis=0) / float(cell.R_basal * cell.I_unit)
        apical = (data["v_a"] - rest).mean(axis=0) / float(cell.R_apical * cell.I_unit)
        distance = data["v_s"] - float(cell.V_threshold)
        slope = np.pi * distance / float(cell.surrogate_width)
        psi = (1 / (1 + slope**2)).mean(axis=0)
        taught, own = rate[self.partner[name]], rate[name]
        if learning.loss == "mse" and name not in ("F3", "B0", "B0_high"):
            self.reco(name, own, taught)  # only to remember
            return psi * (taught - own)
        if self.uses_reco(name):
            if learning.features == "voltages":
                return self.reco(name, basal, apical)
            missing = learning.rate_target - self.mean_rate[name]
            return psi * (self.reco(name, own, taught) + learning.homeostasis * missing)
        if name == "B0" and learning.bottom_rule == "voltage":
            return taught - basal
        if name == "F3" and learning.top_rule == "softmax":
            odds = np.exp(learning.softmax_gain * basal)
            return taught / taught.sum() - odds / odds.sum()
        missing = taught - own
        if name in ("B0", "B0_high"):
            missing = missing + learning.bottom_asymmetry * np.abs(missing)
        if name == "F3":  # cells of one concept, from cautious to bold
            n = self.p.encoding.cells_per_concept
            bias = learning.diversity * (2 * (np.arange(SIZES[name]) % n) + 1 - n) / n
            missing = missing * np.where(missing > 0, 1 + bias, 1 - bias)
        if name == "F3" and learning.top_rule == "vector":
            found, wanted = (self.read_out(r) for r in (own, taught))
            steps = 1e-30j * np.eye(SIZES[name])  # complex: exact to rounding
            slope = np.array([self.read_out(own + step).imag for step in steps]) / 1e-30
            votes = self.tuning().sum(axis=0)
            sum_of_votes = own @ votes / votes.max()
            missing = missing + learning.vector_gain * sum_of_votes * (wanted - found) * slope
        return psi * missing

    def tuning(self):
        """Rows are concepts, columns are output cells."""
        encoding, cells = self.p.encoding, np.arange(SIZES["F3"])
        preferred = (cells + 0.5) / encoding.cells_per_concept - 0.5
        distance = np.arange(3)[:, None] - preferred
        return np.exp(-(distance**2) / (2 * encoding.tuning_width**2))

    def read_out(self, r):
        """The mean concept, each weighted with the spikes for it, as a forecast is read out."""
        evidence = self.tuning() @ r
        return np.arange(3) @ evidence / evidence.sum()

    def reco(self, name, r, r_partner):
        """The error without psi; stores the apical pattern."""
        learning, eps = self.p.learning, self.p.learning.epsilon
        h = r / np.sqrt(r @ r + eps**2)
        h_partner = r_partner / np.sqrt(r_partner @ r_partner + eps**2)
        cosine = h @ h_partner
        memories = np.reshape(self.memories[name], (-1, len(h)))
        self.memories[name] = [*self.memories[name], h_partner][-learning.memory_slots :]
        if learning.loss == "infonce":
            return self.infonce(name, h, h_partner, memories)
        c = np.maximum(0, memories @ h)
        c[self.familiar[name]] = 0
        self.forgiven += self.familiar[name].sum()
        attraction = 2 * (1 - cosine) * (h_partner - cosine * h)
        weight = learning.lam_high if name.endswith("_high") else learning.lam
        repulsion = 2 * weight / learning.memory_slots * (c @ memories - (c @ c) * h)
        gate = 1.0
        if learning.margin_gating:
            strongest = (c**9).sum() / ((c**8).sum() + 1e-12)
            missing = (learning.margin - (cosine - strongest)) / learning.margin
            gate = min(max(missing, 0), 2)
        self.seen.append((name, cosine, gate))
        return gate * (attraction - repulsion)

    def infonce(self, name, h, h_partner, memories):
        """-n times the gradient of -log softmax; slots that are empty count as orthogonal."""
        tau = self.p.learning.temperature
        empty = np.zeros((self.p.learning.memory_slots - len(memories), len(h)))
        patterns = np.vstack([h_partner, memories, empty])
        cosines = patterns @ h
        odds = np.exp(cosines / tau)
        p = odds / odds.sum()
        self.seen.append((name, cosines[0], 1 - p[0]))
        p[0] -= 1
        return -(p @ patterns - (p @ cosines) * h) / tau


BIO = {"timing.duration": 40 * ms}
#: Every hidden layer local, in both pathways.
RETINOTOPIC = {"encoding.receptive_field": 1, "encoding.deep_field": 2}

#: Trials are long enough for the code to come back to the bottom.
CODE = {"encoding.autoencoder": True, "encoding.cells_per_concept": 1, "learning.top_rule": "reco",
        "timing.duration": 16 * ms}
VECTOR = {"learning.top_rule": "vector", "encoding.concept_code": "tuning"}
CASES = [
    (
        "discrete",
        "dense",
        {"learning.features": f, "learning.top_rule": t, "learning.bottom_rule": b},
    )
    for f in ("spikes", "voltages")
    for t in ("delta", "softmax", "reco")
    for b in ("delta", "voltage")
] + [
    ("discrete", "dense", VECTOR),
    ("discrete", "synapses", {**VECTOR, "learning.diversity": 0.0, "learning.vector_gain": 4.0}),
    ("biophysical", "dense", {**BIO, **VECTOR}),
    ("discrete", "dense", {"learning.margin_gating": False}),
    ("discrete", "dense", {"learning.diversity": 0.0}),
    ("discrete", "dense", {"learning.bottom_asymmetry": 0.6}),
    ("discrete", "dense", {"learning.familiarity": 0.8}),
    ("discrete", "dense", {"learning.homeostasis": 3.0, "learning.rate_window": 4.0}),
    ("discrete", "dense", {"encoding.receptive_field": 2}),
    ("discrete", "dense", RETINOTOPIC),
    ("discrete", "dense", {"learning.loss": "mse"}),
    ("discrete", "dense", {"learning.loss": "infonce"}),
    ("discrete", "dense", {"learning.loss": "infonce", "learning.temperature": 0.4,
                           "learning.features": "voltages", "learning.top_rule": "reco"}),
    ("discrete", "synapses", {"learning.loss": "infonce"}),
    ("discrete", "dense", {"learning.weight_max": 0.4}),
    ("discrete", "dense", CODE),
    ("discrete", "dense", {**CODE, "encoding.cutoff": 0.2}),
    ("discrete", "synapses", {**CODE, "encoding.cutoff": 0.2, "learning.homeostasis": 1.0,
                              "learning.bottom_asymmetry": -0.3}),
    ("discrete", "dense", {**CODE, "learning.loss": "mse", "learning.homeostasis": 1.0,
                           "learning.bottom_asymmetry": 0.3, "encoding.cutoff": 0.2}),
    ("discrete", "dense", {"cell.g_apical": 3 * nS, "encoding.kind": "poisson"}),
    ("discrete", "dense", {"cell.V_threshold": -57 * mV, "learning.margin": 0.9}),
    ("discrete", "synapses", {}),
    ("discrete", "synapses", {"learning.homeostasis": 1.0, "learning.familiarity": 0.8,
                              "encoding.receptive_field": 2}),
    ("discrete", "synapses", RETINOTOPIC),
    ("discrete", "synapses", {"learning.features": "voltages", "learning.top_rule": "reco"}),
    ("discrete", "synapses", {"learning.weight_max": 0.4, "learning.top_rule": "softmax"}),
    ("biophysical", "dense", BIO),
    ("biophysical", "dense", {**BIO, "learning.features": "voltages"}),
    ("biophysical", "dense", {**BIO, "learning.top_rule": "softmax",
                              "learning.bottom_rule": "voltage", "cell.g_apical": 3 * nS}),
    ("biophysical", "synapses", {**BIO, "learning.top_rule": "reco"}),
    ("biophysical", "synapses", {**BIO, "learning.features": "voltages",
                                 "learning.bottom_rule": "voltage"}),
]


def describe(case):
    base, projection, changes = case
    values = [f"{k.split('.')[1]}={v}" for k, v in changes.items() if k != "timing.duration"]
    return "-".join([base, projection, *values])


@pytest.mark.parametrize("case", CASES, ids=describe)
def test_weight_change_equals_the_rule(
    case, small_network, observed, observe, dataset, trial_table
):
    """The sixth of six trials, with three memories filled; norm-relative 1e-9 per projection."""
    base, projection, changes = case
    layers = (9, 12, 11, 6) if "encoding.autoencoder" in changes else (9, 12, 11, 3)
    network = observed(
        small_network(base, assignments=changes, projection=projection, layers=layers)
    )
    parameters = network.parameters
    simulation = Simulation(network, dataset, "runtime", seed=3)
    start_with_firing_readouts(simulation)
    table = trial_table(6, learn=[1.0, 1.0, 0.0, 0.5, 1.0, 0.7])
    if parameters.encoding.autoencoder:
        table = table.assign(source="stimulus+percept", concept=-1)
    rule = Rule(parameters)
    for seen, learn in zip(observe(simulation, table[:5]), table["learn"], strict=False):
        rule.trial(seen, learn)
    before = simulation.weights()
    assert before.keys() == rule.projections.keys()
    (last,) = observe(simulation, table[5:])
    after = simulation.weights()
    changes_by_rule = rule.trial(last, table["learn"][5])
    fields = receptive_fields(network) if parameters.encoding.receptive_field else {}
    for name, (_, post) in rule.projections.items():
        assert before[name].shape == changes_by_rule[name].shape
        bound = parameters.learning.weight_max
        if name in fields:
            bound = bound * fields[name]
            assert 0 < np.count_nonzero(bound) < bound.size
        expected = np.clip(before[name] + changes_by_rule[name], -bound, bound) - before[name]
        measured = after[name] - before[name]
        size = np.linalg.norm(expected)
        assert size > 1e-6, f"{name}: nothing was learned, so nothing was tested"
        assert np.linalg.norm(measured - expected) <= 1e-9 * size, name
        if np.max(bound) < 1 and post in ("F1", "F2", "B1", "B2"):
            assert np.any(np.abs(after[name]) == bound)
    check_that_the_case_is_not_trivial(rule, last)


def receptive_fields(network):
    """Which cells are connected, found from the initial weights: whole squares of pixels, or, of
    a retinotopic network, all cells that have their pixel in a square, and the same backwards."""
    encoding, state = network.parameters.encoding, network.initial_state(0)
    side = encoding.receptive_field
    projection = network.layout.projection("W0")
    w = projection.matrix(network.initial_state(0)["afferent_basal.w"])
    seen = w.reshape(3, 3, SIZES["F1"]) != 0
    for cell in range(SIZES["F1"]):
        rows, columns = (np.flatnonzero(seen[..., cell].any(axis=k)) for k in (1, 0))
        assert seen[..., cell].sum() == side**2 == len(rows) * len(columns)
        assert np.ptp(rows) == np.ptp(columns) == side - 1
    if not encoding.deep_field:
        return {"W0": seen.reshape(projection.shape)}
    fields = {
        p.name: p.matrix(state[f"{p.synapses}.w"]) != 0 for p in network.layout.projections
        if p.name in ("W0", "W1", "Theta0", "Theta1")
    }
    assert np.array_equal(fields["Theta0"], fields["W0"].T)
    assert np.array_equal(fields["Theta1"], fields["W1"].T)
    pixel = np.transpose(np.unravel_index(fields["W0"].argmax(axis=0), (3, 3)))  # side is 1
    assert np.all(np.diff(pixel[:, 0]) >= 0)
    for received in fields["W1"].T:
        low, high = pixel[received].min(axis=0), pixel[received].max(axis=0)
        assert np.all(high - low == encoding.deep_field - 1)
        inside = np.all((pixel >= low) & (pixel <= high), axis=1)
        assert np.array_equal(received, inside)
    return fields


def start_with_firing_readouts(simulation):
    """Random weights onto output and recalled stimulus too, which otherwise start silent."""
    generator = np.random.default_rng(5)
    state = dict(simulation.state)
    for name in ("afferent_basal.w", "cortical_basal.w"):
        values = generator.normal(0.15, 0.5, size=np.shape(state[name]))
        bounds = simulation.network.values()[name + "_max"]
        state[name] = np.clip(values, -bounds, bounds)
    simulation.restore(state)


def check_that_the_case_is_not_trivial(rule, seen):
    for name in rule.sizes:
        assert seen[name]["spikes"].any(), f"{name} is silent"
    learning = rule.p.learning
    assert (rule.forgiven > 0) == (learning.familiarity < 1)
    for memories in (rule.memories[name] for name in rule.partner if rule.uses_reco(name)):
        assert len(memories) == learning.memory_slots
    gates = np.array([gate for _, _, gate in rule.seen])
    cosines = np.array([cosine for _, cosine, _ in rule.seen])
    assert np.all(cosines < 1) and np.ptp(cosines) > 0.1
    if learning.margin_gating and learning.loss == "reco":
        assert np.any((gates > 0.01) & (gates < 1.99) & (np.abs(gates - 1) > 0.01))


def test_apical_dendrite_receives_the_partner(small_network, observed, observe, dataset,
                                              trial_table):
    """Discrete set, voltage features: basal drive of the paired cell, spikes of an afferent.

    The drive arrives in the same step or in the next, alike in both pathways.
    """
    network = observed(small_network(assignments={"learning.features": "voltages"}))
    simulation = Simulation(network, dataset, "runtime", seed=3)
    start_with_firing_readouts(simulation)
    rest = float(network.parameters.cell.E_leak)
    unit = float(network.parameters.cell.R_apical * network.parameters.cell.I_unit)
    delays = {0, 1}
    for seen in observe(simulation, trial_table(3)):
        for name, partner in PARTNER.items():
            apical = seen[name]["v_a"] - rest
            assert np.abs(apical).max() > 1e-3
            if "v_b" in seen[partner]:
                drive = seen[partner]["v_b"] - rest
                delays &= {
                    k for k in (0, 1) if np.allclose(apical[1:], drive[1 - k : 8 - k], 0, 1e-12)
                }
            else:
                drive = unit * seen[partner]["spikes"]
                np.testing.assert_allclose(apical[1:], drive[:-1], atol=1e-12)
    assert len(delays) == 1


@pytest.mark.parametrize("features", ["spikes", "voltages"])
def test_a_blocked_apical_dendrite_teaches_nothing(small_network, dataset, trial_table, features):
    network = small_network(assignments={"learning.features": features})
    blocked = small_network(
        assignments={"learning.features": features},
        values={"cells.apical": np.zeros(network.layout.n_cells)},
    )
    moved = []
    for one in (network, blocked):
        simulation = Simulation(one, dataset, "runtime", seed=2)
        before = simulation.weights()
        simulation.run(trial_table(6))
        moved.append(np.abs(simulation.weights()["W0"] - before["W0"]).max())
    assert moved[0] > 1e-3 and moved[1] == 0


def test_a_steep_softmax_overflows_nowhere(small_network, dataset, trial_table):
    """Neither at the output nor in populations that learn by another rule."""
    steep = {"learning.top_rule": "softmax", "learning.softmax_gain": 1000.0}
    simulation = Simulation(small_network(assignments=steep), dataset, "runtime", seed=2)
    simulation.run(trial_table(4))
    assert all(np.isfinite(value).all() for value in simulation.state.values())


def test_units_of_the_graded_drive_are_those_of_the_basal_dendrite(small_network, dataset,
                                                                  trial_table):
    """No graded cell has a current in its apical dendrite: its resistance does not matter."""
    states = []
    for resistance in (400, 100):
        network = small_network(
            assignments={"learning.features": "voltages", "cell.R_apical": resistance * Mohm},
            precision="float64",
        )
        simulation = Simulation(network, dataset, "runtime", seed=2)
        simulation.run(trial_table(6))
        states.append(simulation.weights())
    for name in ("W1", "Theta1"):
        assert np.allclose(states[0][name], states[1][name], rtol=0, atol=1e-12), name
