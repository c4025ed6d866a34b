"""Experiments on a trained network: their tables, their frames, what they compare."""

import importlib
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from brian2 import nS
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from bsd.analysis import perception_figures as figures
from bsd.analysis.hypotheses import correct_p_values
from bsd.analysis.report import write_report
from bsd.equations import InputError
from bsd.runs.engine import Simulation
from bsd.runs.experiments import perception
from bsd.runs.trials import check_table

# their functions have the same names
completion_module, lesions_module, recall_module, statistics_module = (
    importlib.import_module(f"bsd.runs.experiments.perception.{name}")
    for name in ("completion", "lesions", "recall", "statistics")
)


@pytest.fixture(scope="module")
def recalled(trained):
    return perception.recall(trained, "runtime", instances=3)


@pytest.fixture(scope="module")
def completed(trained):
    """The study, and all tables that were run for it with their recordings."""
    seen, run = [], Simulation.run

    def run_and_keep(simulation, table, progress=None):
        result = run(simulation, table, progress)
        seen.append((table, simulation.dataset, result))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completion_module, "OCCLUSIONS", (0.5,))
        patch.setattr(completion_module, "NOISES", (0.4,))
        patch.setattr(completion_module, "BLURS", (0.3,))
        patch.setattr(Simulation, "run", run_and_keep)
        return perception.completion(trained, "runtime", n_per_concept=2), seen


@pytest.fixture(scope="module")
def imagined(trained):
    return perception.imagery(trained, "runtime", instances=2)


@pytest.fixture(scope="module")
def ambiguous(trained):
    return perception.ambiguity(trained, "runtime", pairs_of_stimuli=1)


@pytest.fixture(scope="module")
def lesioned(trained):
    some = perception.manipulations(trained.network)
    names = ["intact", "75 % of F1 silenced", "feedback cut", "apical dendrites blocked",
             "memory interneurons blocked", "no normaliser", "forward synapses × 0.5"]
    chosen = {
        "after": [m for m in some["after"] if m.name in names],
        "before": [m for m in some["before"] if m.name in ("intact", "feedback cut")],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesions_module, "manipulations", lambda network: chosen)
        patch.setattr(lesions_module, "N_RETRAIN", 30)
        return perception.lesions(trained, "runtime", retrain=True, n_per_concept=2)


@pytest.fixture(scope="module")
def counted(trained):
    """Of two replicas, in trials that are too short for intervals."""
    other = replace(trained, replica=1, seed=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics_module, "MIN_DURATION_MS", 30.0)
        patch.setattr(statistics_module, "CAPACITY", 7)
        return perception.statistics([trained, other], "runtime", n_stimuli=1, n_repeats=3)


def test_recall_has_every_concept_under_every_noise(recalled, dataset):
    quality = recalled.frames["quality"]
    assert len(quality) == 3 * 3 * len(recall_module.LOSSES)
    assert quality.groupby(["concept", "loss"]).size().eq(3).all()
    assert quality[["r_class_mean", "ssim_nearest", "mse_class_mean"]].notna().any(axis=None)
    assert (dataset.y_train[quality["nearest_stimulus"]] == quality["nearest_concept"]).all()
    assert recalled.summary["concepts"] == 3
    images = recalled.frames["images"]
    assert set(images["kind"]) == {"class mean", "nearest", "recalled", "noisy"}
    shown = images[images["kind"] == "class mean"].groupby("concept")["rate"]
    assert np.allclose(shown.get_group(1), dataset.x_train[dataset.y_train == 1].mean(0).ravel())


def test_instances_of_a_concept_differ_by_the_spikes_that_are_lost(trained, dataset):
    table = perception.recall_table(3, instances=3, losses=(0.0, 0.5)).assign(record=True)
    spikes = trained.simulation("runtime").run(table).spikes
    concept = spikes[spikes["population"] == "C"].merge(table[["trial", "loss", "concept"]])
    fired = concept.groupby("trial")[["t_ms", "cell"]].apply(
        lambda own: frozenset(own.itertuples(index=False, name=None))
    )
    first = table[table["concept"] == 0]
    whole = fired[first.loc[first["loss"] == 0, "trial"]]
    noisy = fired[first.loc[first["loss"] == 0.5, "trial"]]
    assert whole.nunique() == 1 and noisy.nunique() == 3
    assert all(0.2 < len(one) / len(whole.iloc[0]) < 0.8 for one in noisy)
    assert all(one < whole.iloc[0] for one in noisy)


def test_all_conditions_of_completion_see_the_same_trials(completed, dataset):
    _, seen = completed
    loop, recalls = seen[:8:2], seen[1:8:2]  # a trial of recall after each of perception
    by_condition = [loop, *(seen[k : k + 4] for k in range(8, len(seen), 4))]
    assert len(by_condition) == 5
    for tables in zip(*by_condition, strict=True):
        draws = [table["draw"].to_numpy() for table, *_ in tables]
        assert all(np.array_equal(own, draws[0]) for own in draws)
    _, graded, relay, cut, filled = by_condition
    assert {table["source"].iloc[0] for table, *_ in loop} == {"stimulus"}
    assert {table["source"].iloc[0] for table, *_ in graded} == {"stimulus+percept"}
    for (_, _, perceived), (table, *_) in zip(loop, recalls, strict=True):
        assert (table["source"] == "concept").all()
        percept = perceived.trials["percept"]
        decided = (percept >= 0).to_numpy()
        assert decided.any()
        assert table["concept"][decided].tolist() == percept[decided].tolist()
    assert {table["source"].iloc[0] for table, *_ in relay} == {"stimulus+percept+recall"}
    # the cue alone in cut; the loop starts from it, and the next cycles see something else
    images = [data.x_test for _, data, _ in cut]
    assert all(np.array_equal(one, images[0]) for one in images)
    assert np.array_equal(loop[0][1].x_test, images[0])
    assert not np.array_equal(loop[1][1].x_test, images[0])
    assert not np.array_equal(filled[0][1].x_test, images[0])


def test_feedback_is_cut_where_it_is_said_to_be(completed):
    _, seen = completed
    for k, (_, _, result) in enumerate(seen):
        counts = result.counts
        backward = counts.loc[counts["population"].isin(["B0", "B1", "B2", "C"]), "spikes"].sum()
        perceives_only = k in (0, 2, 4, 6)  # in the loop, which recalls in trials of its own
        assert (backward > 0) == (k < 16 and not perceives_only)  # graded and relay follow


def test_no_label_reaches_completion(completed):
    _, seen = completed
    for k, (table, *_) in enumerate(seen):
        told = table["source"].str.contains("concept")
        assert told.all() if k in (1, 3, 5, 7) else not told.any()


def test_quality_of_completion(completed, dataset):
    study, _ = completed
    quality = study.frames["quality"]
    assert len(quality) == 8 * 6 * 5 * 4  # cues, stimuli, conditions, cycles
    first = quality[quality["cycle"] == 0].set_index(["condition", "cue", "draw"])["percept"]
    assert first["loop"].equals(first["cut"])  # before anything was recalled
    whole = quality[(quality["cue"] == "none") & quality["condition"].isin(["loop", "cut"])]
    assert np.allclose(whole["r"], 1) and np.allclose(whole["mse"], 0)
    cut = quality[quality["condition"] == "cut"]
    assert cut["r_recalled_own"].isna().all()
    own = quality[(quality["condition"] == "loop") & (quality["cue"] == "left")]
    assert own["r_hidden_prototype_own"].notna().any()


def test_visible_pixels_stay_in_the_loop(trained, dataset):
    table = check_table(
        pd.DataFrame({"stimulus": [0, 1], "occlusion": 0.34, "mask": "left", "noise": [0, 0.1]}),
        dataset, 3,
    )
    cue = completion_module.Cue(table, dataset, 0)
    completed = cue.completed(np.full((2, 3, 3), 0.7))
    own = dataset.x_test[0]
    assert np.allclose(completed[0], np.column_stack([np.full(3, 0.7), own[:, 1:]]))
    assert np.allclose(completed[1], (cue.image[1] + 0.7) / 2)
    assert cue.hidden[0].sum() == 3


def test_differences_are_paired_by_stimulus(completed):
    study, _ = completed
    differences = study.frames["differences"]
    quality = study.frames["quality"]
    last = quality[(quality["cycle"] == 3) & (quality["cue"] == "left")]
    means = last.groupby("condition")["r"].mean()
    row = differences.query("cue == 'left' and measure == 'r' and reference == 'cut'").iloc[0]
    assert row["difference"] == pytest.approx(means["loop"] - means["cut"])
    planes = differences[differences["cue"] == "half-planes"]
    assert (planes["n_other"] == 6).all()  # stimuli, each under four masks
    family = differences[(differences["measure"] == "r") & (differences["reference"] == "cut")]
    expected = correct_p_values(family.drop(columns=["p_corrected", "correction"]))
    assert family["p_corrected"].tolist() == expected["p_corrected"].tolist()


def test_imagery_drives_both_pathways_both_times(imagined):
    patterns = imagined.frames["patterns"]
    spikes = patterns.groupby(["state", "population"], observed=True)["spikes"].sum()
    assert (spikes[["perceived", "imagined"]] > 0).groupby("state").sum().min() >= 6
    overlap = imagined.frames["overlap"]
    assert len(overlap) == 4 * 3 * 9  # layers, comparisons, pairs of concepts
    assert overlap["hamming"].between(0, 1).all()
    similarity = imagined.frames["similarity"]
    assert len(similarity) == 12 and similarity["p"].dropna().between(0, 1).all()


def test_blends_go_from_the_first_to_the_second(ambiguous, dataset):
    blends = ambiguous.frames["blends"]
    assert set(blends["phase"]) == {"stimuli", "concepts"}
    assert len(blends) == 2 * 3 * 11
    curves = ambiguous.frames["psychometric"]
    shares = curves[["first", "second", "neither", "none"]].sum(axis=1)
    assert np.allclose(shares, 1)
    ends = curves[(curves["what"] == "perceived") & curves["blend"].isin([0, 1])]
    assert set(ends["first"] + ends["second"]) <= {1.0}
    concepts = ambiguous.frames["fits"].query("what == 'recalled' and of == 'concepts'")
    assert len(concepts) == 1 and concepts["n_levels"].between(4, 11).all()
    times = blends.loc[blends["phase"] == "stimuli", "decision_ms"].dropna()
    assert len(times) and times.between(1, 10).all()


def test_imagery_with_a_stream_of_high_frequencies(small_network, dataset, trained):
    network = small_network(layers=(9, 12, 5, 3), assignments={"encoding.cutoff": 0.2})
    split = replace(
        trained, network=network,
        weights=Simulation(network, dataset, "runtime", seed=1).weights(),
    )
    similarity = perception.imagery(split, "runtime", instances=1).frames["similarity"]
    assert set(similarity["layer"]) == {0, 1, 2, 3}


def test_blended_pairs_share_their_spike_trains(dataset):
    table = perception.ambiguity_table(dataset, 2)
    assert table.groupby(["phase", "pair"])["draw"].nunique().eq(1).all()


def test_a_stimulus_is_in_one_pair_while_there_are_enough(dataset):
    least = min(np.bincount(dataset.y_test))
    table = perception.ambiguity_table(dataset, max(1, least // (dataset.n_concepts - 1)))
    own = table[table["phase"] == "stimuli"].drop_duplicates("pair")
    stimuli = pd.concat([own["stimulus"], own["other_stimulus"]])
    assert len(stimuli) > 0 and stimuli.is_unique
    assert (dataset.y_test[own["stimulus"]] == own["concept"]).all()
    assert (dataset.y_test[own["other_stimulus"]] == own["other_concept"]).all()


def test_lesions_do_what_they_say(lesioned):
    frame = lesioned.frames["lesions"].set_index(["when", "manipulation"])
    measures = ["accuracy", "accuracy_half", "accuracy_loop", "r_recall", "recognised"]
    after = frame.loc["after"]
    assert frame[measures].notna().all(axis=None)
    for name in ("apical dendrites blocked", "memory interneurons blocked", "no normaliser"):
        assert after.loc[name, measures].equals(after.loc["intact", measures]), name
    once = ["accuracy", "accuracy_half"]  # feedback can act in the loop alone
    assert after.loc["feedback cut", once].equals(after.loc["intact", once])
    assert after.loc["feedback cut", "r_recall"] == 0
    assert len(frame.loc["before"]) == 2


def test_half_hidden_stimuli_are_perceived_in_the_loop(trained, monkeypatch):
    """What is recalled reaches the next cycle of each manipulated network, unless it is cut."""
    some = perception.manipulations(trained.network)["after"]
    chosen = [m for m in some if m.name in ("intact", "feedback cut")]
    monkeypatch.setattr(lesions_module, "manipulations", lambda network: {"after": chosen})
    shown = []

    def kept(*arguments):
        for outcome in completion_module.percepts(*arguments):
            shown.append((arguments[3], outcome))
            yield outcome

    monkeypatch.setattr(lesions_module, "percepts", kept)
    frame = perception.lesions(trained, "runtime", n_per_concept=2).frames["lesions"]
    assert len(shown) == 2 * completion_module.CYCLES
    intact, cut = shown[: completion_module.CYCLES], shown[completion_module.CYCLES :]
    for cue, (_, recalled, completed) in intact:
        assert cue.hidden.any(axis=(1, 2)).all() and recalled.any()
        assert not np.array_equal(completed, cue.image)
    assert all(np.array_equal(completed, cue.image) for cue, (_, _, completed) in cut)
    cue, (percept, *_) = intact[-1]
    assert frame["accuracy_loop"].iloc[0] == np.mean(percept == cue.table["concept"])


def test_silenced_cells_never_fire(trained, dataset):
    network = trained.network
    lesion = perception.Manipulation("", "", silenced={"F1": 0.5})
    simulation = lesions_module._manipulated(trained, lesion, "before", "runtime", 0, None)
    chosen = lesion._chosen(network.layout.population("F1"), 0)
    assert len(chosen) == 6
    table = lesions_module._lessons(trained).iloc[:40].assign(record=True)
    cells = simulation.run(table).cell_counts
    cells = cells[cells["population"] == "F1"]
    assert cells.loc[cells["cell"].isin(chosen), "spikes"].sum() == 0
    assert cells.loc[~cells["cell"].isin(chosen), "spikes"].sum() > 0
    assert not simulation.weights()["W0"][:, chosen].any()


def test_partners_do_not_wake_silenced_cells(trained):
    """The partner pathway reaches the soma."""
    coupled = {"cell.g_apical": 20 * nS}
    for kind in ({"silenced": {"F1": 1.0}}, {"scaled": {"forward": 0.0}}):
        lesion = perception.Manipulation("", "", parameters=coupled, **kind)
        simulation = lesions_module._manipulated(trained, lesion, "after", "runtime", 0, None)
        table = lesions_module._lessons(trained).iloc[:10]
        counts = simulation.run(table).counts.groupby("population")["spikes"].sum()
        assert counts["F1"] == 0 < counts["B1"]


def test_blocked_apical_dendrites_teach_nothing(trained):
    hidden = ("F1", "F2", "B1", "B2")
    still = {"learning.homeostasis": 0.0}  # it needs no teacher
    lesion = perception.Manipulation("", "", blocked=hidden, parameters=still)
    simulation = lesions_module._manipulated(trained, lesion, "before", "runtime", 0, None)
    before = simulation.weights()
    simulation.run(lesions_module._lessons(trained).iloc[:20])
    after = simulation.weights()
    same = {name for name in before if np.allclose(before[name], after[name], atol=1e-7)}
    # synapses onto hidden cells stay; output and recall cells go on learning
    assert same == {"W0", "W1", "Theta1", "Theta2"}


def test_statistics_are_told_apart_by_phase_replica_and_population(counted):
    labels = ["phase", "replica", "population", "pathway", "layer"]
    populations = counted.frames["populations"]
    for name in ("populations", "cells", "trials", "dimensionality"):
        assert list(counted.frames[name].columns[:5]) == labels, name
    groups = populations.groupby(labels)["statistic"].apply(set)
    assert len(groups) == 2 * 2 * 8
    everything = {
        "rate_hz", "latency_ms", "isi_ms", "cv", "cv2", "lv", "chi", "treves_rolls", "fano",
        "selectivity", "selectivity_shuffled", "information_bits", "participation_ratio",
    }
    assert all(group == everything for group in groups)
    assert counted.summary["duration_ms"] == 30 and counted.summary["trials_per_phase"] == 9


def test_statistics_of_short_trials_have_no_intervals(counted):
    populations = counted.frames["populations"].set_index("statistic")
    assert (populations.loc[["isi_ms", "cv", "lv"], "n_defined"] == 0).all()
    assert populations.loc[["isi_ms", "cv", "lv"], "mean"].isna().all()
    assert (populations.loc["rate_hz", "n_defined"] == populations.loc["rate_hz", "n"]).all()
    assert "cv" not in set(counted.frames["comparisons"]["measure"])


def test_rates_of_the_statistics_are_those_of_a_recording(counted, trained):
    """The same trials by hand, of one replica."""
    from brian2 import ms

    table = perception.statistics_table(trained.dataset, 1, 3)
    longer = trained.network.parameters.updated({"timing.duration": 30 * ms})
    counts = trained.simulation("runtime", parameters=longer).run(table).counts
    by_hand = counts.merge(table[["trial", "phase"]]).groupby(["phase", "population"])["rate_hz"]
    own = counted.frames["populations"].query("statistic == 'rate_hz' and replica == 0")
    own = own.set_index(["phase", "population"])["mean"]
    assert own.to_dict() == pytest.approx(by_hand.mean().to_dict())


def test_perception_is_compared_with_imagery_by_replica(counted):
    comparisons = counted.frames["comparisons"]
    assert set(comparisons["population"]) == {"F1", "F2", "F3", "B0", "B1", "B2"}
    assert (comparisons["unit"] == "replica").all() and comparisons["paired"].all()
    assert (comparisons["n_other"] == 2).all()
    assert set(comparisons["reference"]) == {"perceived"}
    assert comparisons["p_corrected"].between(0, 1).all()
    trials = counted.frames["trials"]
    mean = trials[trials["population"] == "F1"].groupby("phase")["rate_hz"].mean()
    row = comparisons.query("population == 'F1' and measure == 'rate_hz'").iloc[0]
    assert row["difference"] == pytest.approx(mean["imagined"] - mean["perceived"])


def test_energy_is_that_of_the_run(counted, trained):
    energy = counted.frames["energy"].set_index(["phase", "pathway"])
    counts = pd.read_parquet(trained.folder / "counts.parquet")
    trials = pd.read_parquet(trained.folder / "trials.parquet")
    test = trials.loc[trials["phase"] == "test", "trial"]
    own = counts[counts["trial"].isin(test) & counts["population"].isin(["S", "F1", "F2", "F3"])]
    events = own["synaptic_events"] + own["spikes"] * (own["population"] != "F3")
    expected = 0.9e-3 * events.sum() / len(test)
    assert energy.loc[("test", "forward"), "energy_nJ"] == pytest.approx(expected)
    assert energy.loc[("test", "backward"), "energy_nJ"] == 0


def test_statistics_need_the_frames_of_this_version(trained, tmp_path):
    kept = shutil.copytree(trained.folder, tmp_path / "run")
    counts = pd.read_parquet(kept / "counts.parquet").drop(columns="synaptic_events")
    counts.to_parquet(kept / "counts.parquet")
    with pytest.raises(InputError, match="run again"):
        perception.statistics(replace(trained, folder=kept), "runtime")


def test_dynamics_come_from_the_frames_of_the_run(trained):
    frame = perception.dynamics(trained.folder).frames["dynamics"]
    assert {"angle_deg", "cosine", "hamming", "kappa", "rate_hz", "weight_q50"} <= set(
        frame["quantity"]
    )
    assert frame["n_done"].between(0, 4 * 24).all()
    angles = pd.read_parquet(trained.folder / "weight_alignment.parquet")
    last = frame[(frame["quantity"] == "angle_deg") & (frame["of"] == "1")].iloc[-1]
    assert last["value"] == pytest.approx(angles[angles["layer"] == 1]["angle_deg"].iloc[-1])


def test_dynamics_of_a_cohort_keep_its_replicas(trained, tmp_path):
    kept = shutil.copytree(trained.folder, tmp_path / "run")
    for name in ("trials", "counts", "alignment", "weight_alignment", "cosines",
                 "weight_distribution"):
        one = pd.read_parquet(kept / f"{name}.parquet")
        other = one.assign(replica=1)
        if name == "weight_alignment":
            other["angle_deg"] = 7.0
        pd.concat([one, other]).to_parquet(kept / f"{name}.parquet")
    study, alone = perception.dynamics(kept), perception.dynamics(trained.folder)
    first, second = (own for _, own in study.frames["dynamics"].groupby("replica"))
    pd.testing.assert_frame_equal(
        first.reset_index(drop=True), alone.frames["dynamics"], check_dtype=False
    )
    angles = second.query("quantity == 'angle_deg'")["value"]
    assert len(angles) and (angles == 7).all()
    last = alone.summary["angle_deg"]["1"][1]
    assert study.summary["angle_deg"]["1"][1] == pytest.approx((last + 7) / 2)


def test_dynamics_name_the_file_that_is_missing(trained, tmp_path):
    kept = shutil.copytree(trained.folder, tmp_path / "run")
    (kept / "cosines.parquet").unlink()
    with pytest.raises(InputError, match="cosines.parquet cannot be read"):
        perception.dynamics(kept)


def test_report_shows_every_experiment(
    trained, tmp_path, recalled, completed, imagined, ambiguous, lesioned, counted
):
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    studies = [recalled, completed[0], imagined, ambiguous, lesioned, counted,
               perception.dynamics(folder)]
    for study in studies:
        summary = perception.save(folder, study, f"bsd {study.name} run")
        written = folder / "experiments" / study.name
        assert json.loads((written / "summary.json").read_text()) == json.loads(
            json.dumps(summary, default=float)
        )
        for name, frame in study.frames.items():
            pd.testing.assert_frame_equal(
                pd.read_parquet(written / f"{name}.parquet"), frame, check_dtype=False
            )
    html = write_report(folder).read_text()
    for name in ("recall", "complete", "imagery", "ambiguity", "lesions", "statistics", "dynamics"):
        assert f"bsd {name} run" in html
    figures = {path.stem for path in (folder / "figures").iterdir()}
    expected = {
        "recall_instances", "recall_noise", "completion_accuracy", "completion_correlation",
        "completion_images_left", "completion_images_random", "imagery", "imagery_geometry",
        "ambiguity", "lesions", "dynamics", "statistics_perceived", "statistics_imagined",
        "statistics_comparisons", "energy",
    }
    assert expected <= figures
    for name in expected:
        assert imread(folder / "figures" / f"{name}.png")[..., :3].std() > 0.02, name


def test_a_broken_experiment_is_named(trained, tmp_path, recalled):
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    perception.save(folder, recalled)
    (folder / "experiments" / "recall" / "quality.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="quality.parquet cannot be read"):
        write_report(folder)


def test_results_that_cannot_be_written_are_refused(trained, tmp_path, recalled):
    (tmp_path / "experiments").write_text("in the way")
    with pytest.raises(InputError, match="make the results folder writable"):
        perception.save(tmp_path, recalled)


def test_figures_show_the_names_of_concepts(recalled, completed, imagined, dataset):
    names, shape = {0: "ant", 1: "$1_$", 2: "cat"}, dataset.image_shape
    for draw in (
        lambda ax: figures.plot_recalled_images(recalled.frames["images"], shape, names, ax),
        lambda ax: figures.plot_completed_images(
            completed[0].frames["images"], shape, "left", names, ax
        ),
        lambda ax: figures.plot_dissimilarity(imagined.frames["dissimilarity"], names, ax),
    ):
        figure = Figure()
        draw(figure.subplots())
        figure.savefig(io.BytesIO())  # a dollar sign begins no formula
        written = {text.get_text().split("\n")[0] for text in figure.findobj(Text)}
        assert set(names.values()) <= written and not written & {"0", "1", "2"}
