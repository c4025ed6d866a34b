"""How does an experiment run on a machine without Python?

A network and its trial table are written as a C++ or CUDA project. `make run` builds and runs it
there; back here `bsd report` reads what it recorded.
"""

from pathlib import Path

from bsd.equations import DISCRETE
from bsd.networks import BidirectionalNetwork
from bsd.runs.data import load
from bsd.runs.engine.export import export_cpp, export_cuda
from bsd.runs.trials import join_tables, recall_trials, test_trials, training_trials

TARGET = "cpp"  # or "cuda", for which brian2cuda must be here: `make setup-cuda`
COMPUTE_CAPABILITY = "9.0"  # of the GPU, for CUDA
OUT = "project"
LAYERS = [64, 64, 64, 10]

digits = load("digits")
table = join_tables(
    [
        *training_trials(digits, epochs=1, seed=1),
        test_trials(digits, epoch=1),
        recall_trials(digits.n_concepts, epoch=1),
    ]
)

# The exported program holds all trials at once, so its network must have room for them.
network = BidirectionalNetwork(LAYERS, DISCRETE, capacity=len(table))
if TARGET == "cuda":
    folder = export_cuda(network, digits, table, OUT, COMPUTE_CAPABILITY, seed=1)
else:
    folder = export_cpp(network, digits, table, OUT, seed=1)

megabytes = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
print(f"{folder}: {len(table)} trials, {megabytes:.0f} MB; build and run: make -C {folder} run")
print(f"then: bsd report {folder}")
