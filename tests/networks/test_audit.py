"""The audit passes the networks that ship, and fails networks that break a criterion."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import (
    Clock,
    Function,
    NetworkOperation,
    NeuronGroup,
    Synapses,
    get_device,
    linked_var,
    ms,
    prefs,
)

from bsd import equations
from bsd.equations import InputError, interneurons, plasticity, pyramidal
from bsd.networks import BidirectionalNetwork, audit, bidirectional
from bsd.networks.dense import DenseProjection
from bsd.runs.experiments import PRESETS

PAPER = {
    "learning.features": "voltages",
    "learning.top_rule": "softmax",
    "learning.bottom_rule": "voltage",
    "encoding.kind": "poisson",
}
SOUND = {
    "dense": {},
    "synapses": {"projection": "synapses"},
    "biophysical": {"base": "biophysical"},
    "deep": {"layers": (9, 7, 6, 5, 4, 3)},
    "replicas": {"replicas": 2},
    "replicas, synapses": {"replicas": 2, "projection": "synapses", "base": "biophysical"},
    "softmax": {"assignments": {"learning.top_rule": "softmax"}},
    "ReCo at the top": {"assignments": {"learning.top_rule": "reco"}},
    "autoencoder, two streams": {
        "assignments": {
            "encoding.autoencoder": True, "encoding.cells_per_concept": 1, "encoding.cutoff": 0.1,
            "learning.top_rule": "reco",
        },
    },
    "voltage at the bottom": {"assignments": {"learning.bottom_rule": "voltage"}},
    "retinotopic": {
        "assignments": {
            "encoding.receptive_field": 1, "encoding.deep_field": 2, "encoding.contrast": 2.0
        }
    },
    "Poisson spikes": {"assignments": {"encoding.kind": "poisson"}},
    "fixed feedback": {"assignments": {"learning.feedback": "fixed"}},
    "subtractive reset": {"equations": {"RESET": "v_s -= theta - V_r"}},
    "adaptation": {
        "equations": {
            "COMPARTMENTS": pyramidal.COMPARTMENTS.replace("/ C_m : volt", "/ C_m - w_ad : volt")
            + "dw_ad/dt = -w_ad/tau_b : volt/second\n",
            "START_TRIAL": pyramidal.START_TRIAL + "w_ad = 0*volt/second",
        },
    },
}


def evidence(found, criterion, check):
    """What the row says, or the rows of the criterion whose check begins so."""
    table = found.table
    rows = table[(table["criterion"] == criterion) & table["check"].str.startswith(check)]
    assert len(rows), f"no check {check!r}: {list(table['check'])}"
    return "; ".join(rows["evidence"])


def failures(found):
    return {criterion for criterion, verdict in found.verdicts.items() if verdict == "fail"}


# ---------------------------------------------------------------------- sound networks


@pytest.mark.parametrize("name", list(SOUND))
def test_sound_networks_pass(small_network, name):
    found = audit(small_network(**SOUND[name]))
    failed = found.table[found.table["verdict"] == "fail"]
    assert found.passed and failed.empty, failed.to_string()
    checked = found.table[found.table["verdict"] == "pass"].groupby("criterion").size()
    assert set(checked.index) == set(found.verdicts)


@pytest.mark.parametrize(
    "name",
    ["digits", "digits-biophysical", "mnist", "fashion-local", "forecast", "text", "autoencoder"],
)
def test_presets_pass(name):
    """Their parameters, in small layers."""
    network = BidirectionalNetwork([144, 12, 12, 3], PRESETS[name].parameters, capacity=4)
    found = audit(network)
    assert found.passed, found.table.to_string()


def test_voltage_features_teach_by_a_graded_signal(small_network):
    """Inside the pair, so that C4 lists it; but no spikes teach then."""
    found = audit(small_network(assignments=PAPER))
    assert failures(found) == {"C5"}
    listed = found.table[found.table["check"] == "within layers: cells_partner"].iloc[0]
    assert (listed["criterion"], listed["verdict"]) == ("C4", "note")
    assert "graded" in listed["evidence"] and "partner to partner" in listed["evidence"]
    assert "v_b" in evidence(found, "C5", "teachers")


def test_softmax_needs_a_sum_over_the_output(small_network):
    found = audit(small_network(assignments={"learning.top_rule": "softmax"}))
    assert "softmax_pre*beta_pre*u_pre" in evidence(found, "C2", "normaliser.Z")


def test_evidence_is_that_of_the_objects(small_network):
    network = small_network()
    found = audit(network)
    weights = {p.name: network.initial_state(0)[f"{p.synapses}.w"][p.synapse_slice].reshape(p.shape)
               for p in network.layout.projections}
    for layer in range(3):
        w, theta = weights[f"W{layer}"].ravel(), weights[f"Theta{layer}"].T.ravel()
        angle = np.degrees(np.arccos(w @ theta / np.linalg.norm(w) / np.linalg.norm(theta)))
        assert f"W{layer} and Theta{layer} {angle:.1f} deg" in evidence(found, "C1", "angle")
    between = evidence(found, "C4", "between layers")
    for pair in ("S to F1", "F1 to F2", "F2 to F3", "C to B2", "B2 to B1", "B1 to B0"):
        assert pair in between
    assert "graded" not in between
    assert "e_spikes" in evidence(found, "C5", "signed: cells_error.e_spikes")
    assert "cells.n_a" not in evidence(found, "C5", "signed")
    assert "overlap_pre" in evidence(found, "open", "one weight, both directions")
    assert "v_s = E_L" in evidence(found, "open", "reset between trials")
    assert "every 8 ms" in evidence(found, "open", "learning tick")
    projecting = 9 + 6 + sum(p.size for p in network.layout.populations if network.layout.target(p))
    assert f"of {projecting} projecting cells" in evidence(found, "open", "Dale's law")


def test_device_and_preferences_stay(small_network):
    before = get_device(), prefs["codegen.target"]
    audit(small_network())
    assert (get_device(), prefs["codegen.target"]) == before


def test_given_weights_are_measured(small_network):
    network = small_network()
    rng = np.random.default_rng(3)
    weights = {p.name: rng.random(p.shape) for p in network.layout.projections}
    found = audit(network, weights)
    assert "trained" in " ".join(found.table["check"])
    assert "0 of" not in evidence(found, "C1", "angle")
    assert not (found.table["check"] == "Dale's law").any()  # all of one sign
    weights["Theta1"] = 3 * weights["W1"].T
    assert failures(audit(network, weights)) == {"C1"}


def test_weights_of_another_network_are_refused(small_network):
    with pytest.raises(InputError, match="W0"):
        audit(small_network(), {"W0": np.zeros((2, 2))})


@pytest.mark.parametrize(
    "change, says",
    [
        ("dx/dt = -x**2/tau_b : 1\n", "COMPARTMENTS.*do not work.*give the nonlinear term"),
        ("dx/dt = -x/tau_b : volt/metre/second/kelvin/amp/\n", "COMPARTMENTS.*do not work"),
        ("dx/dt = -x/tau_b + v_b/tau_b : 1\n", "COMPARTMENTS.*do not work.*units"),
    ],
    ids=["not linear", "syntax", "units"],
)
def test_equations_that_cannot_run_are_refused(small_network, change, says):
    network = small_network(
        equations={
            "COMPARTMENTS": pyramidal.COMPARTMENTS + change,
            "START_TRIAL": pyramidal.START_TRIAL + "x = 0",
        }
    )
    with pytest.raises(InputError, match=says):
        audit(network)


# ---------------------------------------------------------------------- planted violations


def altered(network, change):
    """The network with its Brian2 objects changed after they were made."""

    class Altered(type(network)):
        def create(self):
            objects = super().create()
            change(objects, self.layout)
            return objects

    network.__class__ = Altered
    return network


def indices(synapses, side):
    return synapses.variables[f"_synaptic_{side}"].get_value()


def pair(objects, source, target, model, name="planted", **options):
    """Synapses between the first cells of two populations."""
    synapses = objects.add(Synapses(objects.cells, objects.cells, model, name=name, **options))
    n = min(source.size, target.size)
    synapses.connect(i=source.start + np.arange(n), j=target.start + np.arange(n))
    return synapses


def symmetric_weights(small_network, monkeypatch):
    class Symmetric(BidirectionalNetwork):
        def initial_state(self, seed):
            state = super().initial_state(seed)
            w, theta = self.layout.projection("W1"), self.layout.projection("Theta1")
            matrix = state[f"{w.synapses}.w"][w.synapse_slice].reshape(w.shape)
            state[f"{theta.synapses}.w"][theta.synapse_slice] = matrix.T.ravel()
            return state

    network = small_network()
    network.__class__ = Symmetric
    return network


def one_array_for_both(small_network, monkeypatch):
    network = small_network(layers=(9, 8, 8, 3), projection="synapses")
    start = network.layout.projection("Theta1").start
    network.layout.projections = [
        replace(p, start=start) if p.name == "W1" else p for p in network.layout.projections
    ]
    return network


def miswired_projection(small_network, monkeypatch):
    def change(objects, layout):
        first = layout.projection("W1").start
        indices(objects.cortical_basal, "post")[first] = layout.population("B0").start

    return altered(small_network(projection="synapses"), change)


def mirrored(layout):
    """Synapses of a network without afferents: W1 for those of Theta1, else their own."""
    w, theta = layout.projection("W1"), layout.projection("Theta1")
    mirror = np.arange(max(p.synapse_slice.stop for p in layout.projections
                           if p.synapses == "cortical_basal"))
    mirror[theta.synapse_slice] = mirror[w.synapse_slice].reshape(w.shape).T.ravel()
    return mirror


def transported_weights(small_network, monkeypatch):
    """Feedback synapses propagate with the forward weights."""

    class Transport(BidirectionalNetwork):
        def _create_basal(self, objects):
            super()._create_basal(objects)
            for synapses in (objects.afferent_basal, objects.cortical_basal):
                own = synapses is objects.cortical_basal
                mirror = mirrored(self.layout) if own else np.arange(len(synapses))
                synapses.variables.add_array("mirror", size=len(mirror), values=mirror)
                synapses.variables.add_reference("w_used", synapses, "w", index="mirror")

    network = small_network(
        projection="synapses", equations={"PROPAGATE": "I_b_post += w_used*I_epsc_post"}
    )
    network.__class__ = Transport
    return network


def copied_weights(small_network, monkeypatch):
    """Synapses between synapses bring the forward weights to the feedback synapses."""

    def change(objects, layout):
        synapses = objects.add(
            Synapses(objects.cortical_basal, objects.cortical_basal,
                     "w_used_post = w_pre : 1 (summed)", name="planted")
        )
        mirror = mirrored(layout)
        synapses.connect(i=mirror, j=np.arange(len(mirror)))

    network = small_network(
        projection="synapses",
        equations={
            "PLASTIC_SYNAPSE": plasticity.PLASTIC_SYNAPSE + "w_used : 1\n",
            "PROPAGATE": "I_b_post += w_used*I_epsc_post",
        },
    )
    return altered(network, change)


def transposed_sums(small_network, monkeypatch):
    """A dense projection that declares its own weights, and takes those of the other way."""

    class Transposed(DenseProjection):
        def _drive_numpy(self, i):
            w = self.synapses.variables["w"].get_value()
            spikes = self.source.variables["_spikespace"].get_value()
            out = np.zeros(len(self.target), dtype=w.dtype)
            for cell in spikes[: spikes[-1]]:
                targets, row = self._row(cell)
                out[targets] += w[row][::-1]
            return out[i]

    monkeypatch.setattr(bidirectional, "DenseProjection", Transposed)
    return small_network()


def two_way_synapses(small_network, monkeypatch):
    class TwoWay(Synapses):
        def __init__(self, *arguments, **options):
            if options["name"] == "cortical_basal":
                options["on_post"] = "I_b_pre += w*I_epsc_pre"
            super().__init__(*arguments, **options)

    monkeypatch.setattr(bidirectional, "Synapses", TwoWay)
    return small_network(projection="synapses")


def rows_of_others(small_network, monkeypatch):
    """B2 cells use the rows of F1: they send through its weights, and change them."""

    def change(objects, layout):
        own, other = layout.population("B2"), layout.population("F1")
        first = objects.cells.variables["first_synapse"].get_value()
        first[own.cells] = first[other.cells]

    return altered(small_network(layers=(9, 8, 8, 3)), change)


def normaliser_of_another_layer(small_network, monkeypatch):
    def change(objects, layout):
        population = objects.cells.variables["population"].get_value()
        population[layout.population("F1").cells] = layout.population("F2").index

    return altered(small_network(), change)


def normaliser_of_another_replica(small_network, monkeypatch):
    def change(objects, layout):
        population = objects.cells.variables["population"].get_value()
        population[layout.population("F1", 0).cells] = layout.population("F1", 1).index

    return altered(small_network(replicas=2), change)


def spikes_of_another_replica(small_network, monkeypatch):
    def change(objects, layout):
        pair(objects, layout.population("F1", 0), layout.population("F2", 1), "",
             on_pre="I_b_post += I_epsc_post")

    return altered(small_network(replicas=2), change)


def trial_table_of_another_replica(small_network, monkeypatch):
    def change(objects, layout):
        objects.cells.variables["replica"].get_value()[:] = 0

    return altered(small_network(replicas=2), change)


def lessons_of_another_cell(small_network, monkeypatch):
    """Apical dendrites receive the spikes of the partner's neighbour."""

    def change(objects, layout):
        post = indices(objects.cortical_apical, "post")
        cells = layout.population("B1")
        own = (post >= cells.start) & (post < cells.stop)
        post[own] = np.roll(post[own], 1)

    return altered(small_network(), change)


def global_normaliser(small_network, monkeypatch):
    """All cells pool onto the output's normaliser."""

    def change(objects, layout):
        indices(objects.pooling, "post")[:] = layout.population("F3").index

    return altered(small_network(), change)


def memories_of_others(small_network, monkeypatch):
    def change(objects, layout):
        indices(objects.memory_pattern, "pre")[:] = np.roll(indices(objects.memory_pattern, "pre"),
                                                            7)

    return altered(small_network(), change)


def memories_onto_another_normaliser(small_network, monkeypatch):
    def change(objects, layout):
        indices(objects.memory_pooling, "post")[:] = np.roll(
            indices(objects.memory_pooling, "post"), 1
        )

    return altered(small_network(), change)


def with_error(small_network, flags="", **equations):
    return small_network(
        equations={
            "CELL_LEARNING": plasticity.CELL_LEARNING + f"e_other : 1 {flags}\n",
            "ERROR": plasticity.ERROR + "delta += e_other\n",
            **equations,
        },
    )


def backpropagated_error(small_network, monkeypatch):
    def change(objects, layout):
        pair(objects, layout.population("F3"), layout.population("F2"),
             "e_other_post = delta_pre : 1 (summed)")

    return altered(with_error(small_network), change)


def error_by_spikes_of_another_layer(small_network, monkeypatch):
    def change(objects, layout):
        pair(objects, layout.population("F3"), layout.population("F1"), "",
             on_pre="e_other_post += 1")

    return altered(with_error(small_network), change)


def with_cosine(small_network, **equations):
    """Basal synapses that can read the cosine of the output's normaliser, as C_top."""

    class WithCosine(BidirectionalNetwork):
        def _create_basal(self, objects):
            super()._create_basal(objects)
            for synapses in (objects.afferent_basal, objects.cortical_basal):
                synapses.C_top = linked_var(objects.normaliser, "C", index="top")
                synapses.top = self.layout.population("F3").index

    model = plasticity.PLASTIC_SYNAPSE + "C_top : 1 (linked)\ntop : integer\n"
    network = small_network(
        projection="synapses", equations={"PLASTIC_SYNAPSE": model, **equations}
    )
    network.__class__ = WithCosine
    return network


def reward_in_the_synapse(small_network, monkeypatch):
    """The learning rule multiplies with the output's cosine."""
    rule = "w = clip(w + r_learn_pre*teach_post*C_top, -w_max, w_max)"
    return with_cosine(small_network, LEARN=rule)


def reward_by_way_of_a_local(small_network, monkeypatch):
    rule = "reward = C_top\nw = clip(w + r_learn_pre*teach_post*reward, -w_max, w_max)"
    return with_cosine(small_network, LEARN=rule)


def propagation_gated_by_the_output(small_network, monkeypatch):
    return with_cosine(small_network, PROPAGATE="I_b_post += w*C_top*I_epsc_post")


def memories_of_another_layer_are_familiar(small_network, monkeypatch):
    def change(objects, layout):
        objects.memory.partner_memory = np.roll(np.arange(len(objects.memory)), 3)

    return altered(small_network(), change)


def mean_error_of_all(small_network, monkeypatch):
    """An interneuron that sums the errors of all cells, and that all of them read."""

    def change(objects, layout):
        total = objects.add(NeuronGroup(1, "total : 1", dt=objects.normaliser.clock.dt,
                                        name="planted"))
        sums = objects.add(
            Synapses(objects.cells, total, "total_post = delta_pre : 1 (summed)", name="sums")
        )
        sums.connect()
        objects.cells.e_other = linked_var(total, "total", index=np.zeros(layout.n_cells, int))

    return altered(with_error(small_network, "(linked)"), change)


def variable_shared_by_all(small_network, monkeypatch):
    def change(objects, layout):
        objects.cells.e_other = linked_var(objects.normaliser, "mood")

    network = with_error(
        small_network, "(linked)",
        NORMALISER=interneurons.NORMALISER + "mood : 1 (shared)\n",
        NORMALISE="mood = 1\nmood = mood/2 + 1\n" + interneurons.NORMALISE,
    )
    return altered(network, change)


def function_with_hidden_state(small_network, monkeypatch):
    def change(objects, layout):
        delta = objects.cells.variables["delta"]
        surprise = Function(
            lambda i: 0 * i + np.abs(delta.get_value()).sum(),
            arg_units=[1], return_unit=1, stateless=False,
        )
        objects.cells.namespace["surprise"] = surprise
        objects.cells.run_regularly("teach *= surprise(i)", when="error", order=2, name="planted")

    return altered(small_network(), change)


def network_operation(small_network, monkeypatch):
    def change(objects, layout):
        objects.add(NetworkOperation(lambda: None, name="planted"))

    return altered(small_network(), change)


def undeclared_in_cpp(small_network, monkeypatch):
    from bsd.networks import dense

    code = dense._UPDATE_CPP.replace("if (!learns)", "if (brian::_array_normaliser_C[0] > 0)")
    assert code != dense._UPDATE_CPP
    monkeypatch.setattr(dense, "_UPDATE_CPP", code)
    return small_network()


def undeclared_in_numpy(small_network, monkeypatch):
    class Peeking(DenseProjection):
        def _update_numpy(self, i):
            if self._surprise().any():
                return super()._update_numpy(i)
            return DenseProjection._update_numpy(self, i)

        def _surprise(self):
            return self.target.variables["delta"].get_value()

    monkeypatch.setattr(bidirectional, "DenseProjection", Peeking)
    return small_network()


def another_rule_than_declared(small_network, monkeypatch):
    class Spreading(DenseProjection):
        def _update_numpy(self, i):
            changed = super()._update_numpy(i)
            self.synapses.variables["w"].get_value()[:] *= 0.9
            return changed

    monkeypatch.setattr(bidirectional, "DenseProjection", Spreading)
    return small_network()


def learning(small_network, factor, **options):
    start = plasticity.START_LEARNING.replace("eta*learn*delta", f"eta*learn*delta*{factor}")
    assert start != plasticity.START_LEARNING
    return small_network(equations={"START_LEARNING": start}, **options)


def gated_by_another_column(small_network, monkeypatch):
    return learning(small_network, "(1 - control(t, n_control*replica + 2))")


def odd_trials_only(small_network, monkeypatch):
    monkeypatch.setattr(equations, "_check_time", lambda strings: None)
    return learning(small_network, "(timestep(t, trial_duration) % 2)", projection="synapses")


def rule_that_reads_the_time(small_network, monkeypatch):
    monkeypatch.setattr(equations, "_check_time", lambda strings: None)
    rule = "w = clip(w + r_learn_pre*teach_post*int(t > 1*second), -w_max, w_max)"
    return small_network(projection="synapses", equations={"LEARN": rule})


def membrane_that_knows_of_learning(small_network, monkeypatch):
    text = pyramidal.COMPARTMENTS.replace("R_b*I_b)", "R_b*I_b*(1 + learn))")
    assert text != pyramidal.COMPARTMENTS
    return small_network(equations={"COMPARTMENTS": text})


def one_pathway_later(small_network, monkeypatch):
    def change(objects, layout):
        (runner,) = (r for r in objects.cells.contained_objects if r.name == "afferent_basal_learn")
        runner.when = "record"

    return altered(small_network(), change)


def one_pathway_on_another_clock(small_network, monkeypatch):
    def change(objects, layout):
        objects.afferent_basal.learn._clock = Clock(2 * ms)

    return altered(small_network(projection="synapses"), change)


def afferents_on_another_clock(small_network, monkeypatch):
    def change(objects, layout):
        objects.afferents.thresholder["spike"]._clock = Clock(2 * ms)

    return altered(small_network(), change)


def nothing_learns(small_network, monkeypatch):
    return small_network(projection="synapses", equations={"LEARN": "r_learn_post = 0"})


def with_current(small_network, **options):
    text = pyramidal.COMPARTMENTS.replace("R_b*I_b)", "R_b*(I_b + I_g))") + "I_g : amp\n"
    return small_network(equations={"COMPARTMENTS": text}, **options)


def gap_junctions(small_network, monkeypatch):
    def change(objects, layout):
        pair(objects, layout.population("F1"), layout.population("F2"),
             "g : siemens\nI_g_post = g*(v_s_pre - v_s_post) : amp (summed)")

    return altered(with_current(small_network), change)


def current_from_a_synaptic_store(small_network, monkeypatch):
    """The presynaptic potential passes by way of a variable of the synapse."""

    def change(objects, layout):
        synapses = pair(objects, layout.population("B2"), layout.population("B1"),
                        "g : siemens\nx : volt\nI_g_post = g*x : amp (summed)")
        synapses.run_regularly("x = v_b_pre", when="start", name="planted_store")

    return altered(with_current(small_network), change)


def spikes_with_an_amplitude(small_network, monkeypatch):
    return small_network(
        projection="synapses", equations={"PROPAGATE": "I_b_post += w*I_epsc_post*n_s_pre"}
    )


def amplitude_by_way_of_a_local(small_network, monkeypatch):
    rule = "amplitude = n_s_pre\nI_b_post += w*amplitude*I_epsc_post"
    return small_network(projection="synapses", equations={"PROPAGATE": rule})


def amplitude_from_a_synaptic_store(small_network, monkeypatch):
    def change(objects, layout):
        synapses = pair(objects, layout.population("F1"), layout.population("F2"),
                        "g : siemens\nx : volt", on_pre="I_b_post += g*x")
        synapses.run_regularly("x = v_b_pre", when="start", name="planted_store")

    return altered(small_network(), change)


def amplitude_in_a_dense_projection(small_network, monkeypatch):
    class Graded(DenseProjection):
        reads = {
            **DenseProjection.reads,
            "drive": {"pre": ["_spikespace", "n_s"], "post": [], "synapse": ["w"]},
        }

    monkeypatch.setattr(bidirectional, "DenseProjection", Graded)
    return small_network()


def drive_of_another_layer(small_network, monkeypatch):
    """Voltage features, but the partner of F1 is F2."""

    def change(objects, layout):
        own, other = layout.population("F1"), layout.population("F2")
        partner = objects.cells.variables["partner_cell"].get_value()
        partner[own.cells] = other.start + np.arange(own.size)

    return altered(small_network(layers=(9, 8, 8, 3), assignments=PAPER), change)


def interneuron_between_layers(small_network, monkeypatch):
    """A memory interneuron of F1 inhibits the membranes of F2."""

    def change(objects, layout):
        synapses = objects.add(
            Synapses(objects.memory, objects.cells, "I_g_post = c_pre*I_epsc_post : amp (summed)",
                     name="planted")
        )
        synapses.connect(i=0, j=np.arange(layout.n_cells)[layout.population("F2").cells])

    return altered(with_current(small_network), change)


def negative_lessons(small_network, monkeypatch):
    text = pyramidal.RECEIVE_APICAL.replace("n_a_post +=", "n_a_post -=")
    assert text != pyramidal.RECEIVE_APICAL
    return small_network(equations={"RECEIVE_APICAL": text})


def lessons_of_either_sign(small_network, monkeypatch):
    """Spikes that count by a constant of the cell that may be negative."""
    text = pyramidal.RECEIVE_APICAL.replace("n_a_post += ", "n_a_post += bias_post*")
    assert text != pyramidal.RECEIVE_APICAL
    return small_network(equations={"RECEIVE_APICAL": text})


def error_of_the_partner(small_network, monkeypatch):
    def change(objects, layout):
        pair(objects, layout.population("F1"), layout.population("B1"),
             "e_other_post = delta_pre : 1 (summed)")

    return altered(with_error(small_network), change)


def stimulus_that_teaches(small_network, monkeypatch):
    error = plasticity.ERROR.replace("- n_s)*count_unit", "- n_s + drive(t, partner))*count_unit")
    assert error != plasticity.ERROR
    return small_network(equations={"ERROR": error})


def no_teacher(small_network, monkeypatch):
    return small_network(equations={"RECEIVE_APICAL": "I_a_post += I_epsc_post"})


PLANTED = [
    (symmetric_weights, {"C1"}, "W1 and Theta1"),
    (one_array_for_both, {"C1"}, "W1 and Theta1 are the same memory"),
    (miswired_projection, {"C1"}, "W1 holds synapses of other populations"),
    (transported_weights, {"C1"}, "of other synapses"),
    (copied_weights, {"C1"}, "w_used_post"),
    (transposed_sums, {"C1"}, "cortical_basal_drive is not the sum"),
    (two_way_synapses, {"C1"}, "both directions"),
    (rows_of_others, {"C1", "C2"}, "cortical_basal_drive is not the sum"),
    (normaliser_of_another_layer, {"C2"}, "joined with F1, F2"),
    (normaliser_of_another_replica, {"C2"}, "joined with F1[0], F1[1]"),
    (spikes_of_another_replica, {"C2"}, "F1[0] to F2[1]"),
    (trial_table_of_another_replica, {"C2"}, "trial table of another replica"),
    (lessons_of_another_cell, {"C2"}, "not from the partner"),
    (global_normaliser, {"C2"}, "F1, F2, F3, B0, B1, B2"),
    (memories_of_others, {"C2"}, "joined with"),
    (memories_onto_another_normaliser, {"C2"}, "of other layers"),
    (memories_of_another_layer_are_familiar, {"C2"}, "of other layers"),
    (backpropagated_error, {"C2"}, "F3 to F2"),
    (error_by_spikes_of_another_layer, {"C2"}, "F3 to F1"),
    (reward_in_the_synapse, {"C2"}, "normaliser.C"),
    (reward_by_way_of_a_local, {"C2"}, "normaliser.C"),
    (mean_error_of_all, {"C2"}, "planted 0 is joined with F1, F2, F3"),
    (variable_shared_by_all, {"C2"}, "normaliser.mood"),
    (function_with_hidden_state, {"C2"}, "surprise"),
    (network_operation, {"C2"}, "planted"),
    (undeclared_in_cpp, {"C2"}, "normaliser.C"),
    (undeclared_in_numpy, {"C2"}, "delta"),
    (another_rule_than_declared, {"C2"}, "does not do"),
    (gated_by_another_column, {"C3"}, "percept_to_concept to cells.teach"),
    (odd_trials_only, {"C3"}, "timestep"),
    (rule_that_reads_the_time, {"C3"}, "t > 1 * second"),
    (membrane_that_knows_of_learning, {"C3"}, "learn to cells.learn"),
    (one_pathway_later, {"C3"}, "different times"),
    (one_pathway_on_another_clock, {"C3"}, "different times"),
    (afferents_on_another_clock, {"C3"}, "several clocks"),
    (nothing_learns, {"C3", "C5"}, "nothing changes W0"),
    (gap_junctions, {"C4"}, "F1 to F2"),
    (current_from_a_synaptic_store, {"C4"}, "B2 to B1"),
    (spikes_with_an_amplitude, {"C4"}, "n_s"),
    (amplitude_by_way_of_a_local, {"C4"}, "n_s (stored)"),
    (amplitude_from_a_synaptic_store, {"C4"}, "v_b (stored)"),
    (propagation_gated_by_the_output, {"C4"}, "joined with"),
    (amplitude_in_a_dense_projection, {"C4"}, "n_s to I_b"),
    (drive_of_another_layer, {"C4", "C5"}, "F2 to F1"),
    (interneuron_between_layers, {"C4"}, "memory 0 is joined with F1, F2"),
    (negative_lessons, {"C5"}, "n_a_post -= apical_post"),
    (lessons_of_either_sign, {"C5"}, "bias_post"),
    (error_of_the_partner, {"C5"}, "delta, graded and signed"),
    (stimulus_that_teaches, {"C5"}, "without a spike"),
    (no_teacher, {"C5"}, "no partner's spikes teach F1"),
]


@pytest.mark.parametrize("plant, broken, says", PLANTED, ids=[p.__name__ for p, *_ in PLANTED])
def test_planted_violations_fail(small_network, monkeypatch, plant, broken, says):
    found = audit(plant(small_network, monkeypatch))
    failed = found.table[found.table["verdict"] == "fail"]
    assert failures(found) == broken, failed.to_string()
    assert says in " ".join(failed["evidence"])
    assert not found.passed


@pytest.mark.parametrize(
    "string, text",
    [
        ("THRESHOLD", "v_s > theta + 1"),
        ("RESET", "v_s = -70"),
        ("TRIAL_AVERAGES", pyramidal.TRIAL_AVERAGES + "u += v_b"),
        ("START_TRIAL", pyramidal.START_TRIAL + "v_s = 0*amp"),
        ("RECEIVE_APICAL", "I_a_post += apical_post"),
        ("LEARN", "w = clip(w + r_learn_pre*I_u_post, -w_max, w_max)"),
        ("AFFERENT_FEATURE", "r_learn = n_s*second"),
    ],
)
def test_units_of_statements_are_checked(small_network, string, text):
    with pytest.raises(InputError, match="do not work|unit|dimension"):
        audit(small_network(equations={string: text}))
