"""A user's own equations: what they add takes values, and mistakes are named in one line."""

import numpy as np
import pandas as pd
import pytest
from brian2 import ms, mV, nA, pA

from bsd.equations import InputError, equation_set, pyramidal
from bsd.equations.randomness import stream_keys
from bsd.networks.equation_errors import explained
from bsd.runs.engine import Simulation
from bsd.runs.engine import cpp as engine
from bsd.runs.engine.cpp import structure_key
from bsd.runs.experiments import experiment, learned_weights, open_run, run_experiment
from bsd.runs.experiments import run as run_module
from bsd.runs.experiments import trained as trained_module

ORIGINAL = equation_set()


@pytest.fixture
def adapting(small_network, adaptation):
    """Function that describes the small network with adapting cells."""
    equations, given = adaptation

    def describe(changes=None, values=None, **options):
        values = given if values is None else values
        return small_network(equations={**equations, **(changes or {})}, values=values, **options)

    return describe


def rates(recording):
    counts = recording.counts
    return counts[counts["pathway"] != "afferent"].groupby("population")["spikes"].sum()


def test_adaptation_lowers_rates_and_does_not_depend_on_the_chunk_size(
    adapting, small_network, dataset, trial_table
):
    table = trial_table(9)
    plain = Simulation(small_network(), dataset, "runtime", seed=2).run(table)
    runs = []
    for capacity in (7, 1000):
        simulation = Simulation(adapting(capacity=capacity), dataset, "runtime", seed=2)
        runs.append((simulation.run(table), simulation.state))
    (first, one), (second, two) = runs
    assert first.spikes.equals(second.spikes)
    for name, value in one.items():
        assert np.array_equal(value, two[name]), name
    for name in ("F1", "F2", "B1", "B2"):
        assert 0 < rates(first)[name] < rates(plain)[name], name


def test_values_act_and_compile_nothing(adapting, adaptation, dataset, trial_table):
    """A current of 0 is no adaptation; the structure is the same whatever the values are."""
    counts, keys = [], set()
    for current in (0, 20, 200):
        network = adapting(values={**adaptation[1], "cells.b_w": current * pA})
        keys.add(structure_key(network))
        recording = Simulation(network, dataset, "runtime", seed=2).run(trial_table(4))
        counts.append(rates(recording).sum())
    assert counts[0] > counts[1] > counts[2] > 0
    assert len(keys) == 1


def test_no_adaptation_is_the_plain_network(
    adapting, adaptation, small_network, dataset, trial_table
):
    table = trial_table(4)
    plain = Simulation(small_network(), dataset, "runtime", seed=2)
    none = adapting(values={**adaptation[1], "cells.b_w": 0 * nA})
    changed = Simulation(none, dataset, "runtime", seed=2)
    assert changed.run(table).spikes.equals(plain.run(table).spikes)


def test_a_variable_that_changed_equations_add_is_recorded(
    adapting, adaptation, dataset, trial_table
):
    """Each spike of a cell adds b_w, which decays with tau_w: to 1e-12 of it, before the reset."""
    network = adapting(probe_variables=["I_w", "n_s"])
    table = trial_table(3).assign(record=[True, False, True])
    recording = Simulation(network, dataset, "runtime", seed=2).run(table)
    tau_ms, jump = (float(v) for v in adaptation[1].values())
    tau_ms *= 1e3
    traces = recording.traces
    assert set(zip(traces["variable"], traces["unit"], strict=True)) == {("I_w", "A"), ("n_s", "1")}
    same = ["trial", "t_ms", "population", "cell"]
    of_probes = recording.voltages.query("compartment == 'soma'").reset_index(drop=True)
    for variable, expected in (
        ("I_w", lambda since: jump * np.exp(-since / tau_ms)), ("n_s", lambda since: since > 0)
    ):
        own = traces[traces["variable"] == variable].reset_index(drop=True)
        pd.testing.assert_frame_equal(own[same], of_probes[same])
        for row in own.itertuples():
            spikes = recording.spikes[
                (recording.spikes["trial"] == row.trial) & (recording.spikes["cell"] == row.cell)
                & (recording.spikes["population"] == row.population)
            ]
            since = row.t_ms - spikes["t_ms"].to_numpy()
            summed = expected(since[since > 0]).sum()
            assert row.value == pytest.approx(summed, rel=1e-12, abs=1e-12 * jump)
        assert (own["value"] > 0).mean() > 0.2


def noisy(small_network, seed, **options):
    """As docs/equations.md has it."""
    n_cells = small_network().layout.n_cells
    keys = stream_keys(seed, "noise", n_cells) % 2**24
    return small_network(
        equations={
            "CELL_PARAMETERS": pyramidal.CELL_PARAMETERS
            + "sigma : volt (shared, constant)\nnoise_key : 1 (constant)\n"
            + "draw : integer\nstep : integer",
            "START_TRIAL": pyramidal.START_TRIAL
            + "draw = int(control(t, n_control*replica + 4))\nstep = 0",
            "TRIAL_AVERAGES": "step += 1" + pyramidal.TRIAL_AVERAGES,
            "THRESHOLD":
                "v_s > theta + sigma*(2*hash_uniform(int(noise_key), draw, step) - 1)",
        },
        values={"cells.sigma": 5 * mV, "cells.noise_key": keys},
        **options,
    )


SLOW = {
    "LEARNING_VARIABLES": pyramidal.LEARNING_VARIABLES + "slow : 1",
    "START_LEARNING": ORIGINAL["START_LEARNING"] + "\nslow += 0.05*(n_s*count_unit - slow)",
}


#: Cells that have fired more than others become harder to excite.
EXCITABILITY = {
    "CELL_PARAMETERS": pyramidal.CELL_PARAMETERS
    + "theta_h : volt\neta_h : volt (shared, constant)",
    "THRESHOLD": "v_s > theta + theta_h",
    "START_LEARNING": ORIGINAL["START_LEARNING"]
    + "\ntheta_h += int(learn > 0)*eta_h*(n_s*count_unit - rate_target)",
}


def test_a_variable_goes_on_from_trial_to_trial(small_network, dataset, trial_table):
    """A threshold that follows each cell's spikes, by their counts, whatever the chunks."""
    values = {"cells.eta_h": 2 * mV, "cells.theta_h": 0.5 * mV}
    table = trial_table(9).assign(learn=[1, 1, 0.5, 0, 1, 1, 1, 0, 0])
    runs = {}
    for capacity in (2, 5, 1000):
        network = small_network(
            equations=EXCITABILITY, values=values, capacity=capacity, replicas=2,
            precision="float64",
        )
        simulation = Simulation(network, dataset, "runtime", seed=2)
        runs[capacity] = simulation.run(table.assign(record=True)), simulation
    recording, simulation = runs[1000]
    for other, rest in runs.values():
        pd.testing.assert_frame_equal(recording.spikes, other.spikes)
        for name, value in simulation.state.items():
            assert np.array_equal(value, rest.state[name]), name
    learned = table.loc[table["learn"] > 0, "trial"]
    target = simulation.network.parameters.learning.rate_target
    timing = simulation.network.parameters.timing
    for replica in (0, 1):
        (carried,) = simulation.carried(replica).values()
        counts = recording.cell_counts
        counts = counts[(counts["replica"] == replica) & counts["trial"].isin(learned)]
        spikes = counts[counts["population"] == "F1"].groupby("cell")["spikes"].sum()
        p = simulation.network.layout.population("F1", 0)
        expected = np.full(p.size, 0.5e-3 - 2e-3 * len(learned) * target)
        expected[spikes.index] += 2e-3 * spikes / float(timing.duration * timing.f_max)
        assert np.allclose(carried[p.cells], expected, rtol=0, atol=1e-12)
        assert np.ptp(carried) > 1e-3
    first, second = (simulation.carried(r)["cells.theta_h"] for r in (0, 1))
    simulation.set_carried({"cells.theta_h": first}, replica=1)
    assert np.array_equal(simulation.carried(1)["cells.theta_h"], first)
    assert not np.array_equal(first, second)
    with pytest.raises(InputError, match="carried: give cells.theta_h"):
        simulation.set_carried({"cells.theta_h": 0})


def test_a_potential_goes_on_from_trial_to_trial(adapting, adaptation, dataset, trial_table):
    """Without a line in START_TRIAL; in each trial it begins where the last one left it."""
    changes = {"START_TRIAL": ORIGINAL["START_TRIAL"] + "\nteach = 0"}
    values = {**adaptation[1], "cells.I_w": 30 * pA}
    table = trial_table(7).assign(record=True)
    traces = []
    for capacity in (3, 1000):
        network = adapting(
            changes, values, capacity=capacity, probe_variables=["I_w"], precision="float64"
        )
        traces.append(Simulation(network, dataset, "runtime", seed=2).run(table).traces)
    keys = ["trial", "population", "cell", "t_ms"]
    pd.testing.assert_frame_equal(*(t.sort_values(keys, ignore_index=True) for t in traces))
    one = traces[0].groupby(["trial", "t_ms"])["value"].mean().unstack()
    assert one.iloc[0, 0] == pytest.approx(30e-12, rel=0.1)
    assert (one.iloc[1:, 0] > 0).all()


def test_what_cells_carry_is_kept_with_the_weights(dataset, tmp_path, monkeypatch):
    for module in (run_module, trained_module):
        name = "load_data" if module is run_module else "data_set"
        monkeypatch.setattr(module, name, lambda *_: dataset)
    values = {"cells.eta_h": 2 * mV, "cells.theta_h": 0 * mV}
    chosen = experiment("demo").changed(
        hidden=(8, 7), epochs=1, equations=EXCITABILITY, values=values
    )
    run_experiment(chosen, tmp_path, device="runtime", seed=[1, 2])
    trained = open_run(tmp_path, 1, equations=EXCITABILITY, values=values)
    carried = trained.simulation("runtime").carried()["cells.theta_h"]
    assert np.array_equal(carried, trained.carried["cells.theta_h"]) and np.ptp(carried) > 0
    other = open_run(tmp_path, 0, equations=EXCITABILITY, values=values)
    assert not np.array_equal(carried, other.carried["cells.theta_h"])
    assert set(learned_weights(tmp_path, 1)) == set(trained.weights)


@pytest.mark.parametrize(
    "values, says",
    [
        ({"cells.theta_h": 0.5}, "the unit V"),
        ({"cells.theta_h": np.zeros(3) * mV}, "3 values given"),
        ({"cells.theta_h": 1 * mV, "cells.psi_h": 0}, "no equation has a constant"),
        ({"normaliser.C": 0}, "for variables of single cells that go on"),
    ],
)
def test_values_that_are_no_start_are_refused(small_network, dataset, values, says):
    values = {"cells.eta_h": 2 * mV, "cells.theta_h": 0 * mV, **values}
    with pytest.raises(InputError, match=says):
        Simulation(small_network(equations=EXCITABILITY, values=values), dataset, "runtime")


def test_a_start_beside_a_start_of_each_trial_is_refused(small_network, dataset):
    anew = {**EXCITABILITY, "START_TRIAL": ORIGINAL["START_TRIAL"] + "theta_h = 0*mV"}
    values = {"cells.eta_h": 2 * mV, "cells.theta_h": 0 * mV}
    with pytest.raises(InputError, match="'theta_h = 0.mV' begins each trial anew"):
        Simulation(small_network(equations=anew, values=values), dataset, "runtime")
    fading = {**EXCITABILITY, "START_TRIAL": ORIGINAL["START_TRIAL"] + "theta_h *= 0.9"}
    Simulation(small_network(equations=fading, values=values), dataset, "runtime")


def test_a_variable_that_chunk_borders_would_reset_is_refused(small_network, dataset):
    with pytest.raises(InputError, match="slow of cells goes on from trial to trial.*START_TRIAL"):
        Simulation(small_network(equations=SLOW), dataset, "runtime")
    set_anew = {**SLOW, "START_TRIAL": pyramidal.START_TRIAL + "slow = 0"}
    Simulation(small_network(equations=set_anew), dataset, "runtime")


@pytest.mark.parametrize("name", ["cells.rate", "cells.n_s", "cells.psi"])
def test_values_are_for_constants(small_network, dataset, name):
    with pytest.raises(InputError, match=f"values.'{name}'.*values are for constants"):
        Simulation(small_network(values={name: 0.3}), dataset, "runtime")


@pytest.mark.parametrize("device", ["runtime", "cpp"])
def test_noise_depends_on_seed_and_draw_alone(small_network, dataset, trial_table, device):
    table = trial_table(6).assign(record=True, learn=0.0)

    def spikes(seed, capacity, table=table, device="runtime"):
        network = noisy(small_network, seed, capacity=capacity)
        recording = Simulation(network, dataset, device, seed=2).run(table)
        return recording.spikes.sort_values(["trial", "t_ms", "population", "cell"],
                                            ignore_index=True)

    first = spikes(1, 9)
    assert spikes(1, 4, device=device).equals(first)
    assert not spikes(2, 9).equals(first)
    one = table.iloc[[0]]
    shown = spikes(1, 9, pd.concat([one, one.assign(trial=1)]).assign(draw=[5, 5]))
    other = spikes(1, 9, pd.concat([one, one.assign(trial=1)]).assign(draw=[5, 6]))
    alike, unlike = (
        [own.drop(columns="trial").reset_index(drop=True) for _, own in s.groupby("trial")]
        for s in (shown, other)
    )
    assert alike[0].equals(alike[1]) and not unlike[0].equals(unlike[1])


@pytest.mark.parametrize("names", [["I_q"], ["tau_w"], ["v_s"], ["population"], [3]])
def test_variables_that_cannot_be_recorded_are_named(adapting, dataset, names):
    with pytest.raises(InputError, match=rf"no variable {names[0]!r}.* choose from .*I_w"):
        Simulation(adapting(probe_variables=names), dataset, "runtime")


def test_names_to_record_are_a_list(adapting):
    with pytest.raises(InputError, match="'I_w': give a list of names"):
        adapting(probe_variables="I_w")


def test_a_variable_is_recorded_once(adapting, dataset):
    with pytest.raises(InputError, match="each variable once"):
        Simulation(adapting(probe_variables=["I_w", "I_w"]), dataset, "runtime")


#: Changes of the equations, changes of the values (None leaves one out), and what is said.
WRONG = {
    "no value": (
        {},
        {"cells.tau_w": None},
        r"constant tau_w of cells has no value.*values=\{'cells.tau_w': \.\.\.\}",
    ),
    "wrong unit": ({}, {"cells.tau_w": 30 * pA}, r"values\['cells.tau_w'\].*the unit s"),
    "no unit": ({}, {"cells.b_w": 1e-11}, r"values\['cells.b_w'\].*the unit A"),
    "unknown name": ({}, {"cells.tau_q": 1 * ms}, r"values\['cells.tau_q'\]: no equation"),
    "unknown group": ({}, {"cell.tau_w": 1 * ms}, r"Is 'cells.tau_w' meant"),
    "no start": (
        {"START_TRIAL": ORIGINAL["START_TRIAL"]},
        {},
        r"dI_w/dt of cells has no start.*'I_w = \.\.\.' to equations\['START_TRIAL'\]",
    ),
    "kept from the trial before": (
        {"START_TRIAL": ORIGINAL["START_TRIAL"] + "I_w = I_w  # carried on\n"},
        {},
        r"START_TRIAL.*'I_w = I_w.*lost at chunk borders: give I_w a value of its own",
    ),
    "part of the trial before": (
        {"START_TRIAL": ORIGINAL["START_TRIAL"] + "I_w = 0*amp\nn_s *= 0.5\n"},
        {},
        r"'n_s \*= 0.5'.*lost at chunk borders",
    ),
    "undefined name": (
        {"RESET": "v_s = V_r\nI_w += b_w*boost"}, {}, r"\(COMPARTMENTS, RESET.*not work.*boost"
    ),
    "units of an equation": ({"RESET": "v_s = V_r + b_w"}, {}, r"\(COMPARTMENTS, RESET.*not work"),
    "not linear": (
        {"COMPARTMENTS": ORIGINAL["COMPARTMENTS"] + "dI_w/dt = -(I_w**2/amp)/tau_b : amp\n",
         "RESET": "v_s = V_r"},
        {"cells.tau_w": None, "cells.b_w": None},
        r"not work.*I_w",
    ),
    "name of a synapse's variable": (
        {"COMPARTMENTS": ORIGINAL["COMPARTMENTS"] + "dw/dt = -w/tau_b : amp\n",
         "RESET": "v_s = V_r", "START_TRIAL": ORIGINAL["START_TRIAL"] + "w = 0*amp\n"},
        {"cells.tau_w": None, "cells.b_w": None},
        r"not work.*'w' has the same name as a synaptic variable",
    ),
    "syntax": ({"RESET": "v_s = = V_r"}, {}, r"\(COMPARTMENTS, RESET.*not work"),
}


@pytest.mark.parametrize("device", ["runtime", "cpp"])
@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_are_named_before_anything_is_compiled(
    adapting, adaptation, dataset, trial_table, monkeypatch, tmp_path, mistake, device
):
    def never(*_):
        raise AssertionError("compiled")

    monkeypatch.setattr(engine, "make", never)
    monkeypatch.setenv("BSD_CACHE", str(tmp_path))
    changes, values, says = WRONG[mistake]
    values = {k: v for k, v in {**adaptation[1], **values}.items() if v is not None}
    with pytest.raises(InputError, match=says) as error:
        Simulation(adapting(changes, values), dataset, device).run(trial_table(1))
    assert "\n" not in str(error.value)


def test_a_constant_of_the_interneurons_needs_a_value_too(small_network, dataset):
    changes = {"NORMALISER": ORIGINAL["NORMALISER"] + "gain : 1 (shared, constant)\n"}
    with pytest.raises(InputError, match="constant gain of normaliser has no value"):
        Simulation(small_network(equations=changes), dataset, "runtime")
    network = small_network(equations=changes, values={"normaliser.gain": 2.0})
    assert Simulation(network, dataset, "runtime").simulator.specs["normaliser.gain"][0] == 1


def test_whole_numbers_are_numbers(small_network, dataset):
    """2 and 2.0 are the same value of a constant, on every device."""
    changes = {"NORMALISER": ORIGINAL["NORMALISER"] + "gain : 1 (shared, constant)\n"}
    for value in (2, 2.0, np.int64(2)):
        network = small_network(
            equations=changes, values={"normaliser.gain": value}, precision="float32"
        )
        specs = Simulation(network, dataset, "runtime").simulator.specs
        assert specs["normaliser.gain"] == (1, np.dtype(np.float32))


@pytest.mark.parametrize("device", ["runtime", "cpp"])
def test_a_threshold_is_one_condition(small_network, dataset, trial_table, device):
    """A part of it that is never met changes nothing, neither recording nor refractoriness."""
    refractory = {"cell.refractory": 2 * ms}
    either = {"THRESHOLD": "v_s > theta or v_b > theta + 10*volt"}
    table = trial_table(6).assign(record=[True, False] * 3)
    plain, changed = (
        Simulation(
            small_network(assignments=refractory, equations=equations), dataset, device, seed=2
        ).run(table)
        for equations in ({}, either)
    )
    assert len(plain.spikes) > 50 and changed.spikes.equals(plain.spikes)
    assert changed.cosines.equals(plain.cosines)


def test_what_is_recorded_is_the_choice_of_the_trial_table(small_network, dataset, trial_table):
    read = ORIGINAL["READ_CONTROL"].replace("control(t, n_control*replica + 1)", "1")
    assert read != ORIGINAL["READ_CONTROL"]
    simulation = Simulation(small_network(equations={"READ_CONTROL": read}), dataset, "runtime")
    with pytest.raises(InputError, match="READ_CONTROL.* must take `recording` from the trial"):
        simulation.run(trial_table(2).assign(record=False))


def test_values_have_the_size_of_their_constant(small_network, dataset):
    changes = {"CELL_LEARNING": ORIGINAL["CELL_LEARNING"] + "boost : 1 (constant)\n"}
    n = small_network().layout.n_cells
    for wrong in (np.ones(n - 1), 1.0, np.full(n, np.nan)):
        network = small_network(equations=changes, values={"cells.boost": wrong})
        with pytest.raises(InputError, match=r"values\['cells.boost'\]"):
            Simulation(network, dataset, "runtime")
    network = small_network(equations=changes, values={"cells.boost": np.arange(n)})
    assert Simulation(network, dataset, "runtime").simulator.specs["cells.boost"][0] == n


def test_a_constant_of_synapses_needs_a_value_too(small_network, dataset, trial_table):
    changes = {
        "PLASTIC_SYNAPSE": ORIGINAL["PLASTIC_SYNAPSE"] + "gain : 1 (shared, constant)\n",
        "LEARN": "w = clip(w + gain*r_learn_pre*teach_post, -w_max, w_max)",
    }
    with pytest.raises(InputError, match="constant gain of (afferent|cortical)_basal has no value"):
        Simulation(small_network(equations=changes, projection="synapses"), dataset, "runtime")
    table, states = trial_table(3), []
    for options in (
        {},
        {"equations": changes, "values": {"afferent_basal.gain": 1.0, "cortical_basal.gain": 1.0}},
    ):
        network = small_network(projection="synapses", **options)
        simulation = Simulation(network, dataset, "runtime", seed=1)
        simulation.run(table)
        states.append(simulation.state["cortical_basal.w"])
    assert np.array_equal(*states)


def test_a_mistake_in_an_edited_file_keeps_what_brian2_says(small_network, dataset, trial_table):
    network = small_network()
    network.equations["RESET"] = "v_s = V_r*boost"
    with pytest.raises(InputError, match="strings of bsd.equations do not work: .*boost") as error:
        Simulation(network, dataset, "runtime").run(trial_table(1))
    assert "preparing" in str(error.value.__cause__)
    assert "boost (in RESET) is unknown there: correct its name, write a number" in str(error.value)
    network.equations["RESET"] = "v_s = V_rr"
    with pytest.raises(InputError, match=r"V_rr \(in RESET\) is unknown there: did you mean V_r\?"):
        Simulation(network, dataset, "runtime").run(trial_table(1))


def test_wrong_units_name_the_variable_that_is_defined(small_network, dataset, trial_table):
    text = pyramidal.COMPARTMENTS.replace("R_b*I_b)", "I_b)")
    network = small_network(equations={"COMPARTMENTS": text})
    with pytest.raises(InputError, match="COMPARTMENTS.*equation defining variable 'v_b'"):
        Simulation(network, dataset, "runtime").run(trial_table(1))


@pytest.mark.parametrize("projection", ["dense", "synapses"])
def test_cells_in_their_refractory_period_are_not_recorded(
    small_network, dataset, trial_table, projection
):
    """A reset by subtraction can leave the potential above threshold while nothing is fired."""
    network = small_network(
        "biophysical", equations={"RESET": "v_s -= 0.01*(theta - V_r)"}, projection=projection
    )
    recording = Simulation(network, dataset, "runtime", seed=2).run(trial_table(2))
    recorded = recording.spikes.groupby(["trial", "population"]).size()
    counted = recording.counts.set_index(["trial", "population"])["spikes"]
    assert counted.sum() > 100
    assert (recorded.reindex(counted.index, fill_value=0) == counted).all()


def test_a_mistake_in_an_edited_file_is_named_in_one_line(small_network):
    """Whatever Brian2 raises, but not what a compiler or the machine does."""
    network = small_network()
    with pytest.raises(InputError, match="strings of bsd.equations do not work: .unknown tua"):
        with explained(network):
            try:
                raise KeyError("unknown tua")
            except KeyError as error:
                raise ValueError("an error occurred") from error
    with pytest.raises(RuntimeError, match="compiling"), explained(network):
        raise RuntimeError("compiling failed")


def test_strings_may_end_with_a_comment(small_network, dataset, trial_table):
    """What is added swallows nothing of the strings that follow."""
    network = small_network(
        equations={
            "TRIAL_AVERAGES": pyramidal.TRIAL_AVERAGES.rstrip() + "\ntrace += 1  # counts steps",
            "START_TRIAL": pyramidal.START_TRIAL.rstrip() + "\ntrace = 0  # anew",
            "COMPARTMENTS": pyramidal.COMPARTMENTS.rstrip(),
            "ERROR": ORIGINAL["ERROR"].rstrip() + "  # of all rules",
            "CELL_LEARNING": ORIGINAL["CELL_LEARNING"].rstrip() + "\ntrace : 1  # steps",
        },
        probe_variables=["trace"],
    )
    plain = Simulation(small_network(), dataset, "runtime", seed=2)
    changed = Simulation(network, dataset, "runtime", seed=2)
    table = trial_table(3)
    assert changed.run(table.assign(record=True)).traces["value"].max() > 1
    plain.run(table.assign(record=True))
    for name, value in plain.state.items():
        assert np.array_equal(value, changed.state[name]), name
    cells = changed.simulator.objects.cells
    (averages,) = (one for one in cells.contained_objects if one.name == "cells_average")
    assert "\nemit = int(" in averages.abstract_code


CHUNKS = {
    "a variable of the model": (
        {"START_TRIAL": pyramidal.START_TRIAL.replace("psi = 0", "")}, "psi of cells goes on"
    ),
    "an equation of afferents": (
        {"AFFERENT": ORIGINAL["AFFERENT"] + "dz/dt = -z/(10*ms) : 1\n"},
        "dz/dt of afferents has no start.*START_AFFERENT_TRIAL",
    ),
    "an equation of synapses": (
        {"PLASTIC_SYNAPSE": ORIGINAL["PLASTIC_SYNAPSE"] + "dz/dt = -z/(9*ms) : 1 (event-driven)\n"},
        "dz/dt of afferent_basal has no start: only cells and afferents",
    ),
    "the time": ({"THRESHOLD": "v_s > theta + 1*mV*sin(t/ms)"}, r"reads the time t.*timestep\(t"),
    "the number of the step": (
        {"THRESHOLD": "v_s > theta + 1*mV*timestep(t, step_duration)"}, "reads the time t"
    ),
}


@pytest.mark.parametrize("changes, says", CHUNKS.values(), ids=CHUNKS)
def test_what_depends_on_chunks_is_refused(small_network, dataset, changes, says):
    with pytest.raises(InputError, match=says):
        Simulation(small_network(equations=changes), dataset, "runtime")


def test_weights_stay_within_the_fields(small_network, dataset):
    unbounded = {"LEARN": "w = clip(w + r_learn_pre*teach_post, 0, 4)"}
    with pytest.raises(InputError, match="outside the receptive fields: bound w by w_max"):
        fields = {"encoding.receptive_field": 2}
        Simulation(small_network(equations=unbounded, assignments=fields), dataset, "runtime")
    Simulation(small_network(equations=unbounded), dataset, "runtime")


def test_blanks_do_not_matter(small_network):
    dense = small_network(equations={"LEARN": ORIGINAL["LEARN"].replace(" ", "")})
    assert dense.projection == "dense"
    dense.create()


def test_needed_variables_are_named(small_network, dataset):
    changes = {
        "APICAL_SPIKES": "", "INTEGRATION_ORDER": ["v_b", "v_s", "I_b", "I_a"],
        "COMPARTMENTS": pyramidal.COMPARTMENTS.replace(" + g_as*(v_a - v_s)", ""),
        "START_TRIAL": pyramidal.START_TRIAL.replace("v_a = E_L", ""),
    }
    with pytest.raises(InputError, match="equations of the cells lack v_a"):
        Simulation(small_network(equations=changes), dataset, "runtime")
