"""The PyTorch baselines: which Python runs them, and the process that does."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bsd.equations import InputError
from bsd.runs.data.sequences import CodedStimuli
from bsd.runs.trials import stimulus_intensities

__all__ = [
    "HOW_TO_GET",
    "TorchProcess",
    "end_all",
    "find_torch_python",
    "network_constants",
    "write_data",
    "write_sequence",
]

#: Said where no Python with PyTorch is found.
HOW_TO_GET = (
    "PyTorch baselines are left out: no Python with PyTorch was found; `make torch` sets one up in "
    ".venv-torch, or name one in BSD_TORCH_PYTHON"
)

_SCRIPT = Path(__file__).resolve().with_name("torch_baselines.py")
_VERSIONS = ("3.11", "3.12", "3.13")

#: Processes that answer, for `end_all`.
_running = set()


def find_torch_python():
    """A Python that imports torch and numpy.

    The running one, else ``$BSD_TORCH_PYTHON``, else ``.venv-torch`` in the current folder or in
    the clone, else Python 3.11 to 3.13 on the path or in pyenv.

    Returns
    -------
    str or None

    Raises
    ------
    InputError
        If ``$BSD_TORCH_PYTHON`` does not import torch.
    """
    if _imports_torch(sys.executable):
        return sys.executable
    named = os.environ.get("BSD_TORCH_PYTHON")
    if named:
        if not _imports_torch(named):
            raise InputError(f"BSD_TORCH_PYTHON = {named}: this Python does not import torch.")
        return named
    return next(filter(_imports_torch, _candidates()), None)


def _candidates():
    for folder in (Path.cwd(), _SCRIPT.parents[2]):
        yield str(folder / ".venv-torch" / "bin" / "python")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in _VERSIONS:
        yield f"python{version}"
        yield from map(str, sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True))


def _imports_torch(python):
    if shutil.which(python) is None:
        return False
    # a folder named torch in the current one is not PyTorch
    command = [python, "-c", "import sys; del sys.path[0]; import numpy, torch"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def network_constants(network):
    """Constants of the baselines, from a network of the discrete parameter set.

    Parameters
    ----------
    network : BidirectionalNetwork

    Returns
    -------
    dict
        Potentials in units of the unit synapse, rates in units of f_max.

    Raises
    ------
    InputError
        If the network has what the baselines lack.
    """
    cell, learning, encoding = (
        getattr(network.parameters, name) for name in ("cell", "learning", "encoding")
    )
    timing = network.parameters.timing
    for key, same in (
        ("cell.tau_basal", cell.tau_basal < timing.dt / 10),
        ("cell.tau_apical", cell.tau_apical < timing.dt / 10),
        ("cell.tau_synapse", cell.tau_synapse < timing.dt / 10),
        ("cell.refractory", cell.refractory == 0 * timing.dt),
        ("cell.g_apical", cell.g_apical == 0 * cell.g_leak),
        ("cell.V_reset", cell.V_reset == cell.E_leak),
        ("encoding.kind", encoding.kind == "regular"),
        ("timing.f_max", encoding.autoencoder or abs(timing.f_max * timing.dt - 1) < 1e-9),
    ):
        if not same:
            raise InputError(
                f"{key}: the baselines in PyTorch have the discrete set's cells and spike trains "
                "only: take an experiment that has them and leave it as it is (`bsd show mnist`)."
            )
    conductance = cell.g_leak + cell.g_basal
    leak = float(np.exp(-float(timing.dt * conductance / (cell.tau_soma * cell.g_leak))))
    unit = (1 - leak) * cell.g_basal / conductance * cell.R_basal * cell.I_unit
    names = ("memory_slots", "lam", "margin", "eta", "eta_feedback", "eta_top", "eta_bottom",
             "diversity", "bottom_asymmetry", "weight_max", "init_gain", "init_gain_readout",
             "init_gain_context")
    return {
        "layers": [*network.layout.layers[:-1], network.n_concepts],
        "context": network.n_context,
        "codes": network.encoding_matrix().tolist(),
        "cells_per_concept": encoding.cells_per_concept,
        "concept_rate": encoding.concept_rate,
        "steps": timing.steps,
        "autoencoder": network.is_autoencoder,
        "leak": leak,
        "threshold": float((cell.V_threshold - cell.E_leak) / unit),
        "eps": learning.epsilon,
        **{name: getattr(learning, name) for name in names},
    }


def write_data(dataset, network, path):
    """Write a data set and the connections of a network's layers for the baselines.

    ON and OFF afferents go as further colours of the images.
    """
    np.savez(
        path,
        **_connections(network),
        x_train=_as_channels(dataset.x_train, network),
        y_train=dataset.y_train,
        x_test=_as_channels(dataset.x_test, network),
        y_test=dataset.y_test,
    )


def write_sequence(dataset, network, path):
    """Write a sequence for the baselines: patterns, and which of them is shown when.

    Parameters
    ----------
    dataset : SequenceData
    network : BidirectionalNetwork
    path : Path
    """
    parts = {"train": dataset.x_train, "test": dataset.x_test}
    arrays = {"y_train": dataset.y_train, "y_test": dataset.y_test}
    if isinstance(dataset.x_train, CodedStimuli):
        arrays["patterns"] = dataset.x_train.patterns[:, 0]
        arrays |= {f"which_{part}": x.which for part, x in parts.items()}
    else:
        arrays["patterns"] = np.concatenate([x[:, 0] for x in parts.values()])
        arrays["which_train"], arrays["which_test"] = np.split(
            np.arange(len(arrays["patterns"])), [len(dataset.x_train)]
        )
    if dataset.values is not None:
        arrays["values"] = dataset.values
        arrays["correction_test"] = dataset.targets["actual"] - dataset.targets["reference"]
    np.savez(path, **_connections(network), **arrays)


def _connections(network):
    """Which cells of each layer reach which of the next one."""
    return {
        f"connected_{layer}": network.connectivity(network.layout.projection(f"W{layer}"))
        for layer in range(network.layout.depth + 1)
    }


def _as_channels(images, network):
    if not network.n_contrast:
        return images
    return stimulus_intensities(images, network)["S"].reshape(*images.shape[:3], -1)


def end_all():
    """End all processes that answer, so that threads that wait for them go on and fail."""
    for process in list(_running):
        process.kill()


class TorchProcess:
    """A process of `torch_baselines.py`, one thread; a context manager.

    Parameters
    ----------
    python : str
        See `find_torch_python`.

    Attributes
    ----------
    version : str
        Of PyTorch.
    """

    def __init__(self, python):
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        _running.add(self._process)
        self.version = self._read()["torch"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        _running.discard(self._process)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):  # what was not read any more
                stream.close()

    def ask(self, request, progress=None):
        """Answer to a request, see `torch_baselines.py`.

        Parameters
        ----------
        request : dict
        progress : callable, optional
            Called with a dict after each epoch.

        Returns
        -------
        dict

        Raises
        ------
        RuntimeError
            If the process ended.
        """
        with contextlib.suppress(BrokenPipeError):  # it ended; why is read below
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        while "result" not in (message := self._read()):
            if progress:
                progress(message["progress"])
        return message["result"]

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            raise RuntimeError(f"the PyTorch baselines ended: {said[-1] if said else 'killed'}")
        return json.loads(line)
