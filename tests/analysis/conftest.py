"""A small results folder made of numbers, as a run would write it."""

import json

import numpy as np
import pandas as pd
import pytest

CONCEPTS = 10
SIZES = {"S": 64, "F1": 40, "F2": 40, "F3": 20, "C": 20, "B2": 40, "B1": 40, "B0": 64}
LAYERS = {"S": 0, "F1": 1, "F2": 2, "F3": 3, "C": 3, "B2": 2, "B1": 1, "B0": 0}
N_STEPS = 10


@pytest.fixture
def make_results():
    """Function that writes a complete results folder of made-up numbers."""
    return write_results


@pytest.fixture
def results_folder(tmp_path):
    """A complete results folder of made-up numbers."""
    return write_results(tmp_path / "run")


def pathway(population):
    return {"F": "forward", "B": "backward"}.get(population[0], "afferent")


def write_results(folder, side=8, epochs=3, n_train=120, n_test=60, seed=1):
    """Write a complete results folder and return it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    trials = trial_table(rng, epochs, n_train, n_test)
    trials.to_parquet(folder / "trials.parquet")
    train = trials.loc[trials["phase"] == "train", "trial"].to_numpy()

    counts = pd.DataFrame(
        [
            (trial, 0, name, pathway(name), LAYERS[name], n, int(rng.poisson(2.5 * n)))
            for trial in trials["trial"]
            for name, n in SIZES.items()
        ],
        columns=["trial", "replica", "population", "pathway", "layer", "n_cells", "spikes"],
    )
    counts["rate_hz"] = counts["spikes"] / counts["n_cells"] / (N_STEPS * 1e-3)
    counts.to_parquet(folder / "counts.parquet")

    cells = pd.concat(
        pd.DataFrame(
            {
                "trial": trials["trial"].iloc[-1], "replica": 0, "population": name,
                "pathway": pathway(name), "layer": LAYERS[name], "cell": np.arange(n),
                "spikes": rng.poisson(1.5, n),
            }
        )
        for name, n in SIZES.items()
    )
    cells.to_parquet(folder / "cell_counts.parquet")

    progress = np.arange(len(train)) / len(train)
    frames = []
    for layer in (1, 2, 3):
        noise = rng.normal(0, 0.03, (3, len(train)))
        rise = (0.75 - 0.1 * layer) * (1 - np.exp(-4 * progress))
        frames.append(
            pd.DataFrame(
                {
                    "trial": train, "replica": 0, "layer": layer,
                    "cosine": 0.15 + rise + noise[0], "hamming": 0.72 + 0.25 * rise + noise[1] / 3,
                    "kappa": rise + noise[2], "hamming_shuffled": 0.72 + 0.1 * rise,
                    "kappa_shuffled": 0.15 * rise,
                }
            )
        )
    pd.concat(frames).to_parquet(folder / "alignment.parquet")

    ends = [int(e["trial"].max()) for _, e in trials[trials["phase"] == "train"].groupby("epoch")]
    pd.DataFrame(
        [
            (trial, epoch, layer, 90 - (20 + 15 * layer) * epoch / epochs)
            for epoch, trial in enumerate([-1, *ends])
            for layer in range(3)
        ],
        columns=["trial", "epoch", "layer", "angle_deg"],
    ).to_parquet(folder / "weight_alignment.parquet")

    shown = [int(train[0]), int(train[-1])]
    spikes(rng, shown).to_parquet(folder / "spikes.parquet")
    voltages(rng, shown).to_parquet(folder / "voltages.parquet")
    class_mean = images(side)
    recalled = np.round(np.clip(class_mean + rng.normal(0, 0.15, class_mean.shape), 0, 1), 1)
    np.savez(
        folder / "recall.npz", recalled=recalled, class_mean=class_mean, image_shape=(side, side)
    )
    (folder / "config.yaml").write_text(
        "name: digits\nlayers: [64, 40, 40, 10]\n"
        "cell:\n  V_threshold: -55. mV\n  tau_soma: 2.885 ms\nlearning:\n  eta: 0.15\n"
    )
    (folder / "provenance.json").write_text(
        json.dumps(
            {
                "command": "bsd run digits --seed 1",
                "versions": {"python": "3.12", "brian2": "2.10"},
                "equations": {"RESET": "v_s = V_r"},
            }
        )
    )
    test = trials[(trials["phase"] == "test") & (trials["epoch"] == epochs - 1)]
    (folder / "metrics.json").write_text(
        json.dumps(
            {
                "name": "digits", "accuracy": float(test["correct"].astype(float).mean()),
                "accuracy_voltage": 0.97, "trials": len(trials), "ms_per_trial": 1.234,
                "build_s": 38.2, "create_s": 2.5, "seed": 1, "epochs": epochs,
                "layers": [64, 40, 40, 10], "device": "cpp_standalone",
                "recall_correlation": 0.81, "validation": None,
            }
        )
    )
    return folder


def trial_table(rng, epochs, n_train, n_test):
    rows = []
    for epoch in range(epochs):
        for phase, n in (("train", n_train), ("test", n_test)):
            p = 0.95 * (1 - np.exp(-(epoch + 0.8) * 1.4))
            for _ in range(n):
                concept = int(rng.integers(CONCEPTS))
                percept = concept if rng.random() < p else int(rng.integers(-1, CONCEPTS))
                rows.append((epoch, phase, concept, percept))
    rows += [(epochs - 1, "recall", concept, None) for concept in range(CONCEPTS)]
    trials = pd.DataFrame(rows, columns=["epoch", "phase", "concept", "percept"])
    trials.insert(0, "trial", np.arange(len(trials)))
    trials["percept"] = trials["percept"].astype("Int64")
    trials["correct"] = (trials["percept"] == trials["concept"]).astype("boolean")
    return trials


def spikes(rng, trials):
    frames = []
    for trial in trials:
        for name, n in SIZES.items():
            step, cell = np.nonzero(rng.random((N_STEPS, n)) < 0.15)
            frames.append(
                pd.DataFrame(
                    {
                        "trial": trial, "replica": 0, "t_ms": step.astype(float),
                        "population": name, "pathway": pathway(name), "layer": LAYERS[name],
                        "cell": cell,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def voltages(rng, trials):
    frames = []
    t_ms = np.arange(0, N_STEPS, 0.5)
    for trial in trials:
        for name in ("F1", "B1"):
            for cell in (0, 3):
                noise = rng.normal(0, 1, (2, len(t_ms)))
                basal = -70 + 12 * (1 - np.exp(-t_ms / 4)) * (1 + cell / 3) + noise[0]
                apical = -70 + 9 * np.abs(np.sin(t_ms)) + noise[1]
                for compartment, v in (
                    ("soma", np.minimum(-70 + 0.8 * (basal + 70), -54)),
                    ("basal", basal),
                    ("apical", apical),
                ):
                    frames.append(
                        pd.DataFrame(
                            {
                                "trial": trial, "replica": 0, "t_ms": t_ms, "population": name,
                                "pathway": pathway(name), "layer": 1, "cell": cell,
                                "compartment": compartment, "v_mV": v,
                            }
                        )
                    )
    return pd.concat(frames, ignore_index=True)


def images(side):
    y, x = np.mgrid[0:1:side * 1j, 0:1:side * 1j]
    angle = np.pi * np.arange(CONCEPTS)[:, None, None] / CONCEPTS
    distance = np.abs((x - 0.5) * np.sin(angle) - (y - 0.5) * np.cos(angle))
    radius = np.hypot(x - 0.5, y - 0.5)
    return (np.exp(-((distance / 0.12) ** 2)) * (radius < 0.48)).reshape(CONCEPTS, -1)


POPULATIONS = pd.DataFrame(
    [("S", "afferent", 0, 6), ("F1", "forward", 1, 8), ("B1", "backward", 1, 8)],
    columns=["population", "pathway", "layer", "n_cells"],
)


@pytest.fixture(scope="session")
def poisson():
    """Function that makes frames of Poisson spikes; the last cell of each population is silent."""
    return poisson_frames


def poisson_frames(n_trials=4, duration_ms=1000.0, rate_hz=40.0, seed=0, replicas=1, concepts=2):
    """Frames ``spikes, counts, trials``; cells of F1 fire more for their concept."""
    from bsd.analysis.spike_trains import counts_from_spikes

    rng = np.random.default_rng(seed)
    numbers = np.arange(n_trials)
    trials = pd.DataFrame(
        {"trial": numbers, "phase": np.where(numbers % 4 < 2, "train", "test"),
         "concept": numbers % concepts, "draw": numbers}
    )
    shown = trials.merge(pd.DataFrame({"replica": np.arange(replicas)}), how="cross")
    cells = POPULATIONS.loc[POPULATIONS.index.repeat(POPULATIONS["n_cells"])]
    cells = cells.assign(cell=cells.groupby("population").cumcount())
    cells = cells[cells["cell"] < cells["n_cells"] - 1].drop(columns="n_cells")
    trains = shown[["trial", "replica", "concept"]].merge(cells, how="cross")
    tuned = (trains["population"] == "F1") & (trains["cell"] % concepts == trains["concept"])
    n = rng.poisson(rate_hz * duration_ms / 1e3 * np.where(tuned, 2.0, 1.0))
    spikes = trains.loc[trains.index.repeat(n)].drop(columns="concept")
    spikes.insert(1, "t_ms", rng.random(n.sum()) * duration_ms)
    spikes = spikes.sort_values(["trial", "replica", "t_ms"], ignore_index=True)
    return spikes, counts_from_spikes(spikes, POPULATIONS, duration_ms, shown), trials
