"""The CUDA standalone device: brian2cuda makes a network a program for one NVIDIA GPU.

What brian2cuda 1.0b1 writes is corrected where it would be wrong or slow (`_correct`).
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from brian2 import BrianLogger

from bsd.equations.errors import InputError
from bsd.networks.dense import THREADS
from bsd.runs.engine import cpp
from bsd.runs.engine.sources import UNITS, code_objects, replace_once, shorten, skip_unrecorded
from bsd.runs.engine.standalone import (
    StandaloneSimulator,
    hashed,
    preferences,
    run_make,
    write_project,
)

__all__ = ["CudaSimulator", "check_compute_capability", "check_machine", "generate", "make"]

#: No fast-math: with its approximate division floor(x/y) can miss a whole number, and with it the
#: time step within a trial.
FLAGS = ["-std=c++17", "-w"]

#: Compute capability that a GPU must have: threads of a warp that go different ways. CUDA 13 needs
#: 7.5.
OLDEST = 7.0

#: Asks the driver in a process of its own: CUDA does not survive a fork of the process.
_ASK_DRIVER = """
import ctypes
cuda, value = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
def ask(function, *arguments):
    if getattr(cuda, function)(*arguments):
        raise SystemExit(3)
    return value.value
ask("cuInit", 0)
if ask("cuDeviceGetCount", ctypes.byref(value)) == 0:
    raise SystemExit(3)
version = ask("cuDriverGetVersion", ctypes.byref(value))
major, minor = (ask("cuDeviceGetAttribute", ctypes.byref(value), n, 0) for n in (75, 76))
name = ctypes.create_string_buffer(100)
ask("cuDeviceGetName", name, len(name), 0)
print(f"{major}.{minor} {version // 1000} {name.value.decode()}")
"""

_ELSEWHERE = "or write the program for another machine: bsd export NAME --device cuda"


# ---------------------------------------------------------------------- what there must be


def brian2cuda_module():
    """The package brian2cuda.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import brian2cuda
        import brian2cuda.device
        import brian2cuda.utils.gputools
    except ImportError as error:
        raise InputError(
            f"no brian2cuda ({error}): install it with pip install 'bsd-brian2[cuda]', in a clone "
            "with make setup-cuda."
        ) from None
    # it lists its preferences for every project, and warns of a toolkit that is not needed yet
    BrianLogger.suppress_hierarchy("brian2cuda")
    return brian2cuda


def nvcc():
    """Path of the CUDA compiler, of ``$CUDA_HOME``, the path, or /usr/local/cuda.

    Raises
    ------
    InputError
        If there is none.
    """
    home = os.environ.get("CUDA_HOME")
    places = [f"{home}/bin"] if home else [None, "/usr/local/cuda/bin"]
    for place in places:
        if found := shutil.which("nvcc", path=place):
            return found
    raise InputError(
        f"no nvcc{f' in {home}/bin' if home else ''}: install the CUDA toolkit (12 or 13) and put "
        "its bin on the PATH, or set CUDA_HOME."
    )


def nvcc_version():
    """Version of nvcc, such as (13, 0)."""
    said = subprocess.run([nvcc(), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(n) for n in re.search(r"release (\d+)\.(\d+)", said).groups())


def curand_home():
    """Folder of cuRAND where it is not part of the toolkit, else None.

    ``$CURAND_HOME``, or the wheel nvidia-curand.

    Raises
    ------
    InputError
        If there is no cuRAND.
    """
    if home := os.environ.get("CURAND_HOME"):
        if not (Path(home) / "include" / "curand.h").exists():
            raise InputError(f"CURAND_HOME = {home}: there is no include/curand.h in it.")
        return home
    probe = subprocess.run(
        [nvcc(), "-x", "cu", "-E", "-"], input="#include <curand.h>", capture_output=True, text=True
    )
    if probe.returncode == 0:
        return None
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations if spec else ():
        for header in sorted(Path(place).glob("*/include/curand.h"), reverse=True):
            return str(header.parent.parent)
    raise InputError(
        "no cuRAND: install it with the CUDA toolkit, or as a wheel (pip install nvidia-curand), "
        "or set CURAND_HOME to the folder with its include and lib."
    )


def gpu():
    """Compute capability and name of the first GPU, such as ``"9.0"`` and ``"NVIDIA H200"``.

    Raises
    ------
    InputError
        If there is no driver or no GPU, the GPU is older than `OLDEST`, or the driver older than
        the toolkit.
    """
    asked = subprocess.run([sys.executable, "-c", _ASK_DRIVER], capture_output=True, text=True)
    if asked.returncode == 3:
        raise InputError(
            f"the NVIDIA driver finds no GPU: see nvidia-smi, CUDA_VISIBLE_DEVICES, {_ELSEWHERE}."
        )
    if asked.returncode != 0:
        raise InputError(f"no NVIDIA driver (libcuda.so.1): use a machine with one, {_ELSEWHERE}.")
    capability, newest, *name = asked.stdout.split()
    if float(capability) < OLDEST:
        raise InputError(
            f"the {' '.join(name)} has compute capability {capability}, and at least {OLDEST} is "
            f"needed (Volta, 2017): use another GPU, {_ELSEWHERE}."
        )
    if nvcc_version()[0] > int(newest):
        raise InputError(
            f"the NVIDIA driver is for CUDA {newest}, nvcc of CUDA {nvcc_version()[0]}: update the "
            f"driver, or set CUDA_HOME to a toolkit of CUDA {newest}."
        )
    return capability, " ".join(name)


def check_machine():
    """Look for all that a simulation needs, before anything is compiled.

    Returns
    -------
    curand : str or None
        See `curand_home`.
    compute_capability : str
        Of the GPU, such as ``"9.0"``.

    Raises
    ------
    InputError
        If brian2cuda, a compiler, cuRAND, a driver or a GPU is missing.
    """
    brian2cuda_module()
    cpp.compiler()
    return curand_home(), gpu()[0]


def check_compute_capability(text):
    """Refuse what is no compute capability of a GPU.

    Raises
    ------
    InputError
    """
    if not re.fullmatch(r"\d{1,2}\.\d", text) or float(text) < OLDEST:
        raise InputError(
            f"compute capability {text!r}: give that of the GPU, at least {OLDEST} (with CUDA 13 "
            "at least 7.5), for example 9.0 (H100, H200), 8.9 (RTX 40), 8.0 (A100)."
        )


# ---------------------------------------------------------------------- generating


def generate(network, directory, compute_capability):
    """Write the CUDA project of a network, without compiling it; needs no toolkit and no GPU.

    Parameters
    ----------
    network : BidirectionalNetwork
    directory : path-like
        Must not exist, or be empty.
    compute_capability : str
        Of the GPU, such as ``"9.0"``.

    Returns
    -------
    dict
        Manifest: inputs (size, dtype) and outputs (file, dtype, row length) of the program, and
        ``launches`` (see `launches`).

    Raises
    ------
    InputError
        If brian2cuda is missing.
    """
    check_compute_capability(compute_capability)
    tools = brian2cuda_module().utils.gputools
    backend = "devices__cuda_standalone__cuda_backend__"
    chosen = {
        "detect_gpus": False,
        "gpu_id": 0,
        "compute_capability": float(compute_capability),
        "detect_cuda": False,
        "cuda_path": os.devnull,  # all that brian2cuda does with it is replaced by `_MAKEFILE`
        "cuda_runtime_version": 12.0,  # atomicAdd of doubles, as in every toolkit since 8
    }
    directory = Path(directory)
    trials = []
    per_trial = float(network.parameters.timing.duration)
    report = f'std::cout << "progress " << completed*duration/{per_trial!r} << std::endl;'

    def prepare(device, objects):
        trials.append(device.get_array_name(objects.afferents.variables["n_trials"]))
        device.insert_code("before_end", _REPORT_MEMORY)

    try:
        with (
            preferences(**{backend + name: value for name, value in chosen.items()}),
            _double_literals(),
        ):
            manifest = write_project(network, directory, "cuda_standalone", prepare, report)
    finally:
        tools.reset_cuda_installation()
        tools.reset_gpu_selection()
    _correct(directory, network.parameters.timing, trials[0])
    manifest["launches"] = launches(directory, network.parameters.timing)
    skip_unrecorded(directory, ".cu", network)
    shorten(directory, ".cu", _PROGRAM, {spec["file"] for spec in manifest["outputs"].values()})
    _write_makefile(directory, compute_capability)
    return manifest


_REPORT_MEMORY = """
{
    size_t _free, _total;
    CUDA_SAFE_CALL(cudaMemGetInfo(&_free, &_total));
    std::cout << "device_mb " << (_total - _free) / 1048576.0 << std::endl;
}
"""


@contextmanager
def _double_literals():
    """Keep the literals of single-precision code as they are, as in C++.

    brian2cuda makes them floats, a time step of 0.001 s too: timestep(t, dt) is then too small
    from 21000 steps on.
    """
    module = brian2cuda_module().device
    before = module.replace_floating_point_literals
    module.replace_floating_point_literals = lambda code: code
    try:
        yield
    finally:
        module.replace_floating_point_literals = before


def _correct(directory, timing, n_trials):
    """Correct what brian2cuda 1.0b1 writes; each text must be found as often as is said."""
    sources = sorted(directory.glob("code_objects/*.cu"))
    # a kernel cannot end the run after the last trial of the chunk, see bsd.networks.trial_count
    end = f"{n_trials}[0]*{float(timing.duration)!r} + {float(timing.dt)!r}"
    replace_once(
        [directory / "main.cu"],
        r"\.run\(([\d.e+-]+), report_progress,",
        rf".run(std::min(\1, {end}), report_progress,",
    )
    # paths of input files in lower case
    lower = r"c = std::tolower\(static_cast<unsigned char>\(c\)\);"
    replace_once([directory / "objects.cu"], lower, "")
    # so that some 1000 cells are spread over all multiprocessors
    replace_once(
        [directory / "objects.cu"],
        r"max_threads_per_block = props\.maxThreadsPerBlock;",
        f"max_threads_per_block = std::min({THREADS}, props.maxThreadsPerBlock);",
    )
    kernels = [file for file in sources if "blockSizeLimit" in file.read_text()]
    replace_once(
        kernels, r"0, 0\)(\s*// last args: dynamicSMemSize, blockSizeLimit)", rf"0, {THREADS})\1"
    )
    # a search for pairs of cells with several synapses, in a tree of all synapses: there are none
    creation = [file for file in sources if "source_target_count" in file.read_text()]
    replace_once(
        creation,
        r"for \(int _i=0; _i<newsize; _i\+\+\)(\s*\{\s*// Note that source_target_count)",
        r"for (int _i=newsize; _i<newsize; _i++)\1",
    )
    # the synapses of each presynaptic cell in a copy of their own, which takes seconds in a cohort
    pushing = [file for file in sources if "h_ptr_d_ptr_synapse_ids_by_pre" in file.read_text()]
    replace_once(
        pushing,
        r"CUDA_SAFE_CALL\(\s*cudaMemcpy\(h_ptr_d_ptr_synapse_ids_by_pre\[i\],.*?\)\s*\);",
        _COPY_AT_ONCE,
    )
    _leave_spikes_on_device(directory)


def _leave_spikes_on_device(directory):
    """Start synapses without asking the device for the number of spikes.

    brian2cuda's program waits for it, to start a block for each; a thread is enough where a cell
    has one synapse. Where changed equations do more than add, synapses wait for one another: these
    stay as they are.
    """
    for pathways, at_start, check, blocks in (
        (_ONE_SYNAPSE_EACH, _THREAD_OF_A_SPIKE, r" && \2_max_size == 1", r"(n + t - 1)/t"),
        (["memory_pattern"], _BLOCK_OF_A_SPIKE, "", "n"),
    ):
        files = code_objects(directory, [f"{name}_pre" for name in pathways], ".cu")
        files = [file for file in files if "int32_t num_spiking_neurons;" in file.read_text()]
        replace_once(
            files,
            r"(int _threads_per_block = blockDim\.x;.*?int _vectorisation_idx = _idx;)",
            rf"\1\n{at_start}",
        )
        replace_once(
            files,
            r"(if \((\w+)_max_size > 0\)\s*\{\s*int32_t num_spiking_neurons)(;.*?)"
            r"cudaMemcpy\(&num_spiking_neurons,\s*&\w+\[\w+\]\[(\w+) - 1\],.*?DeviceToHost\);\s*"
            r"num_blocks = num_parallel_blocks \* num_spiking_neurons;",
            r"\1 = 0\3" + _AS_MANY_AS_CELLS.replace("@CHECK@", check).replace("@BLOCKS@", blocks),
        )


#: Synapses objects of cells that have one synapse each.
_ONE_SYNAPSE_EACH = ["afferent_apical", "cortical_apical", "relay", "context", "context_chain"]

#: The list of spikes is filled up with -1.
_THREAD_OF_A_SPIKE = """\
    if (_idx >= num_spiking_neurons || eventspace[_idx] < 0) return;
    bid = _idx;
    tid = 0;
    _threads_per_block = 1;
"""

_BLOCK_OF_A_SPIKE = "    if (eventspace[bid] < 0) return;\n"

_AS_MANY_AS_CELLS = """\
if (!(num_parallel_blocks == 1@CHECK@))
            {
                std::cerr << "\\2: threads would not reach all synapses" << std::endl;
                exit(1);
            }
            const int n = \\4 - 1, t = num_threads;
            num_spiking_neurons = n;  // at most
            num_blocks = @BLOCKS@;"""

_COPY_AT_ONCE = """\
static std::vector<int32_t> _all_ids;
            _all_ids.insert(_all_ids.end(), h_vec_synapse_ids_by_pre[i].begin(),
                            h_vec_synapse_ids_by_pre[i].end());
            if (i == num_pre_post_blocks - 1)
                CUDA_SAFE_CALL(
                        cudaMemcpy(d_ptr_synapse_ids, _all_ids.data(),
                            sizeof(int32_t) * _all_ids.size(), cudaMemcpyHostToDevice)
                        );"""


def launches(directory, timing):
    """Kernel launches and copies between device and host of a run, counted in its sources.

    Parameters
    ----------
    directory : Path
        Project as brian2cuda wrote it.
    timing : TimingParameters

    Returns
    -------
    dict of str to int
        ``kernels_per_step``, ``copies_per_step`` and, on top of these, at each learning tick,
        ``kernels_per_trial``, ``copies_per_trial``. What is left out in trials whose
        spikes are not recorded is counted.
    """
    main = (directory / "main.cu").read_text()
    dt = {name: float(value) for name, value in re.findall(r"_array_(\w+)_dt\[0\] = (.*);", main)}
    count = dict.fromkeys(
        ("kernels_per_step", "copies_per_step", "kernels_per_trial", "copies_per_trial"), 0
    )
    for clock, name in re.findall(r"\.add\(&(\w+), _run_(\w+)\);", main):
        if name == "random_number_buffer" or name.endswith("_push_spikes"):
            continue  # no random numbers are used; queues serve delays that differ
        source = (directory / "code_objects" / f"{name}.cu").read_text()
        body = re.search(rf"^void _run_{name}\(\)$(.*?)(?=^void |\Z)", source, re.M | re.S)
        per = "step" if dt[clock] <= float(timing.dt) else "trial"
        count[f"kernels_per_{per}"] += body[1].count("<<<")
        count[f"copies_per_{per}"] += body[1].count("cudaMemcpy(")
    return count


_PROGRAM = ("synapses_classes", "objects", "network", "rand", "run", "main")

_MAKEFILE = """\
# NVCC or CUDA_HOME: the toolkit; CXX: compiler of the host code; CURAND_HOME: folder with include
# and lib of a cuRAND that is not part of the toolkit; GPU: compute capability without its dot;
# ARCH: instruction set of the host code.
NVCC ?= $(if $(CUDA_HOME),$(CUDA_HOME)/bin/)nvcc
GPU ?= @GPU@
ARCH ?= native
HOST = @HOST@
ifdef CURAND_HOME
    CURAND := $(firstword $(wildcard $(CURAND_HOME)/lib64/libcurand.so* \\
        $(CURAND_HOME)/lib/libcurand.so*))
    INCLUDE = -I$(CURAND_HOME)/include
    LINK = -Xlinker $(CURAND) -Xlinker -rpath,$(dir $(CURAND))
else
    LINK = -lcurand $(if $(CUDA_HOME),-Xlinker -rpath$(comma)$(CUDA_HOME)/lib64)
endif
comma := ,

main: @OBJECTS@
	$(NVCC) -ccbin $(CXX) -arch=sm_$(GPU) -w $^ $(LINK) -o main

%.o: %.cu
	$(NVCC) -ccbin $(CXX) -I. $(INCLUDE) -arch=sm_$(GPU) @FLAGS@ -Xcompiler "$(HOST)" -dc $< -o $@
"""


def _write_makefile(directory, compute_capability):
    text = _MAKEFILE
    for mark, value in {
        "@GPU@": compute_capability.replace(".", ""),
        "@HOST@": " ".join(cpp.FLAGS).replace("-march=native", "-march=$(ARCH)"),
        "@OBJECTS@": " ".join(f"{unit}.o" for unit in UNITS),
        "@FLAGS@": " ".join(FLAGS),
    }.items():
        text = text.replace(mark, value)
    (directory / "makefile").write_text(text)


# ---------------------------------------------------------------------- compiling, running


def make(folder, progress):
    """Compile a generated project.

    Raises
    ------
    InputError
        If the toolkit is not complete.
    RuntimeError
        If nvcc fails.
    """
    arguments = [f"NVCC={nvcc()}", f"CXX={cpp.compiler()}"]
    if home := curand_home():
        arguments.append(f"CURAND_HOME={home}")
    run_make(folder, arguments, len(UNITS) + 1, progress)


class CudaSimulator(StandaloneSimulator):
    """A network compiled for the first GPU of this machine.

    Attributes
    ----------
    device_mb : float
        Memory of the GPU that was in use, by whatever program, at the end of the last run.
    launches_per_step : float
        Kernel launches per time step, those of the learning ticks spread over the trial.
    """

    device = "cuda_standalone"

    def __init__(self, network, progress=None):
        self._curand, self._compute_capability = check_machine()
        self.device_mb = 0.0
        super().__init__(network, progress)
        counted = self.manifest["launches"]
        self.launches_per_step = (
            counted["kernels_per_step"]
            + counted["kernels_per_trial"] / network.parameters.timing.steps
        )

    def _key(self):
        return hashed(
            self.network,
            ["cuda.py", "cpp.py"],
            flags=[FLAGS, cpp.FLAGS],
            compiler=cpp.compiler_version(),
            nvcc=nvcc_version(),
            curand=self._curand,
            brian2cuda=brian2cuda_module().__version__,
            gpu=self._compute_capability,
        )

    def _generate(self, folder):
        return generate(self.network, folder, self._compute_capability)

    def _make(self, folder, progress):
        make(folder, progress)

    def _hear(self, word, value):
        if word == "device_mb":
            self.device_mb = float(value)
