"""All-to-all projections as one matrix operation: Brian2 functions over the Synapses' weights.

Plain synapses send every spike through a queue and visit every synapse one by one. Where all
cells of a population project to all cells of another, or each to a range of them, the same sums
are rows of a matrix: this module gives them to the equations as two functions of the postsynaptic
cell,

    drive(i)   sum of w over the presynaptic cells that fired in this step,
    update(i)  applies the learning rule to the synapses of cell i, returns how many changed,

with a NumPy, a C++ and a CUDA implementation. The weights stay in the Synapses object. `reads`
and `writes` declare which variables of the presynaptic cell, the postsynaptic cell and the
synapse each function touches.

NumPy and C++ compute all cells at once, row by row, when the first of them asks. On CUDA every
postsynaptic cell is a thread that visits the presynaptic cells that fired, from the first to the
last that projects to it: neighbouring threads then read neighbouring weights. Where they lie is two
integers per cell, `arrays` names all that a kernel needs. Where all rows of a population are alike,
as in all-to-all projections, the next row is one row length away, else it is looked up
(`BANDED_CUDA`).
"""

import numpy as np
from brian2 import Function, get_device

__all__ = ["COMPUTED", "THREADS", "DenseProjection"]

#: The strings of the model that the functions compute, word by word.
COMPUTED = {
    "PROPAGATE": "I_b_post += w*I_epsc_post",
    "LEARN": "w = clip(w + r_learn_pre*teach_post, -w_max, w_max)",
}


class DenseProjection:
    """Propagation and learning of a Synapses object whose rows are contiguous.

    Parameters
    ----------
    synapses : Synapses
        With the variables ``w`` and ``w_max``, ordered by presynaptic cell, then by
        postsynaptic cell. The source group has the variables ``target_start``,
        ``target_stop``, ``first_synapse``, ``r_learn`` and ``emit`` (above 0 in a step with a
        spike); the target group has ``teach``.
    source_start, source_stop : array_like of int
        For each cell of the target group, the range of cells of the source group that project to
        it.
    banded : bool
        Whether the targets of a population's cells differ.

    Attributes
    ----------
    drive, update : brian2.Function
    arrays : dict of str to list of str
        By function: the variables of the target group that its code needs, given as
        ``needed_variables`` to whatever calls it.
    reads, writes : dict of str to list of str
        Variables of ``pre``, ``post`` and ``synapse`` that the functions touch.
    """

    reads = {
        "drive": {"pre": ["_spikespace", "emit"], "post": [], "synapse": ["w"]},
        "update": {"pre": ["r_learn"], "post": ["teach"], "synapse": ["w", "w_max"]},
    }
    writes = {
        "drive": {"pre": [], "post": [], "synapse": []},
        "update": {"pre": [], "post": [], "synapse": ["w"]},
    }

    def __init__(self, synapses, source_start, source_stop, banded=False):
        self.synapses = synapses
        self.source = synapses.source
        self.target = synapses.target
        shared = self._share(source_start, source_stop)
        self._banded = banded
        self.arrays = {
            name: [shared[array] for array in arrays] for name, arrays in _CUDA_ARRAYS.items()
        }
        self.drive = self._function("drive", self._drive_numpy, _DRIVE_CPP, DRIVE_CUDA)
        self.update = self._function("update", self._update_numpy, _UPDATE_CPP, UPDATE_CUDA)

    def _share(self, source_start, source_stop):
        """Give the target group names for the arrays that its code reads."""
        own, names = self.target.variables, {}
        for name, values in (("source_start", source_start), ("source_stop", source_stop)):
            names[name] = f"{self.synapses.name}_{name}"
            own.add_array(
                names[name], size=len(self.target), values=values, dtype=np.int32,
                constant=True, read_only=True,
            )
        for group, variables in (
            (self.source, ("emit", "r_learn", "target_start", "target_stop", "first_synapse")),
            (self.synapses, ("w", "w_max")),
        ):
            for variable in variables:
                names[variable] = f"{self.synapses.name}_{variable}"
                own.add_reference(names[variable], group, variable)
        names["teach"] = "teach"
        return names

    def _function(self, name, numpy_version, cpp, cuda):
        function = Function(
            numpy_version,
            arg_units=[1],
            arg_types=["integer"],
            return_unit=1,
            return_type="float",
            stateless=False,
        )
        full_name = f"{self.synapses.name}_{name}"
        function.implementations.add_implementation("numpy", numpy_version)
        function.implementations.add_dynamic_implementation(
            "cpp",
            code=lambda owner: self._render(cpp, full_name),
            namespace=lambda owner: {},
            name=full_name,
        )
        function.implementations.add_dynamic_implementation(
            "cuda",
            code=lambda owner: self._render_cuda(cuda, full_name, self.arrays[name]),
            namespace=lambda owner: {},
            name=full_name,
        )
        return function

    @property
    def _real(self):
        return "float" if self.synapses.variables["w"].dtype == np.float32 else "double"

    def _render_cuda(self, code, name, arrays):
        """Code of a function, and a macro that hands it the arrays of the kernel it is used in."""
        variables = self.target.variables
        pointers = [get_device().get_array_name(variables[a], prefix="_ptr") for a in arrays]
        return {
            "support_code": (BANDED_CUDA[code] if self._banded else code)
            .replace("@NAME@", f"{name}_of")
            .replace("@REAL@", self._real)
            .replace("@AT@", "0" if self.synapses.variables["w_max"].scalar else "at"),
            "hashdefine_code": f"#define {name}(i) {name}_of(i, {', '.join(pointers)})",
        }

    def _render(self, code, name):
        array = get_device().get_array_name

        def of(group, variable):
            return f"brian::{array(group.variables[variable])}"

        weights = array(self.synapses.variables["w"], access_data=False)
        bound = self.synapses.variables["w_max"]
        bounds = f"brian::{array(bound, access_data=False)}"
        for mark, text in {
            "@NAME@": name,
            "@N_PRE@": str(len(self.source)),
            "@N_POST@": str(len(self.target)),
            "@SPIKES@": of(self.source, "_spikespace"),
            "@START@": of(self.source, "target_start"),
            "@STOP@": of(self.source, "target_stop"),
            "@FIRST@": of(self.source, "first_synapse"),
            "@R@": of(self.source, "r_learn"),
            "@TEACH@": of(self.target, "teach"),
            "@W_MAX@": bounds if bound.scalar else f"{bounds}.data() + first",
            "@AT@": "0" if bound.scalar else "k",
            "@W@": f"brian::{weights}",
            "@REAL@": self._real,
        }.items():
            code = code.replace(mark, text)
        return code

    def _row(self, cell):
        start, stop, first = self._rows
        return slice(start[cell], stop[cell]), slice(
            first[cell], first[cell] + stop[cell] - start[cell]
        )

    @property
    def _rows(self):
        read = self.source.variables
        return [
            read[name].get_value() for name in ("target_start", "target_stop", "first_synapse")
        ]

    def _drive_numpy(self, i):
        w = self.synapses.variables["w"].get_value()
        spikes = self.source.variables["_spikespace"].get_value()
        out = np.zeros(len(self.target), dtype=w.dtype)
        for cell in spikes[: spikes[-1]]:
            targets, row = self._row(cell)
            out[targets] += w[row]
        return out[i]

    def _update_numpy(self, i):
        w = self.synapses.variables["w"].get_value()
        w_max = self.synapses.variables["w_max"].get_value()
        teach = self.target.variables["teach"].get_value()
        r_learn = self.source.variables["r_learn"].get_value()
        changed = np.zeros(len(self.target))
        for cell in np.flatnonzero(r_learn):
            targets, row = self._row(cell)
            if not np.any(teach[targets]):
                continue
            bound = w_max[row] if len(w_max) > 1 else w_max
            w[row] = np.clip(w[row] + r_learn[cell] * teach[targets], -bound, bound)
            changed[targets] += 1
        return changed[i]


#: The first cell of a step computes the sums of all cells, row by row, four rows in one pass.
_DRIVE_CPP = """
static inline @REAL@ @NAME@(const int32_t i)
{
    static std::vector<@REAL@> drive(@N_POST@);
    if (i == 0)
    {
        std::fill(drive.begin(), drive.end(), (@REAL@)0);
        const @REAL@* w = @W@.data();
        const int32_t n = @SPIKES@[@N_PRE@];
        int32_t s = 0;
        while (s < n)
        {
            const int32_t cell = @SPIKES@[s];
            const int32_t start = @START@[cell], length = @STOP@[cell] - start;
            if (length == 0)
            {
                s++;
                continue;
            }
            @REAL@* __restrict out = drive.data() + start;
            const @REAL@* __restrict a = w + @FIRST@[cell];
            int32_t same = 1;
            while (same < 4 && s + same < n && @START@[@SPIKES@[s + same]] == start
                   && @STOP@[@SPIKES@[s + same]] == start + length)
                same++;
            if (same == 4)
            {
                const @REAL@* __restrict b = w + @FIRST@[@SPIKES@[s + 1]];
                const @REAL@* __restrict c = w + @FIRST@[@SPIKES@[s + 2]];
                const @REAL@* __restrict d = w + @FIRST@[@SPIKES@[s + 3]];
                for (int32_t k = 0; k < length; k++)
                    out[k] += (a[k] + b[k]) + (c[k] + d[k]);
                s += 4;
            }
            else
            {
                for (int32_t k = 0; k < length; k++)
                    out[k] += a[k];
                s++;
            }
        }
    }
    return drive[i];
}
"""

#: Rows of silent cells, and rows onto a population that learns nothing, are skipped.
_UPDATE_CPP = """
static inline @REAL@ @NAME@(const int32_t i)
{
    static std::vector<@REAL@> changed(@N_POST@);
    if (i == 0)
    {
        std::fill(changed.begin(), changed.end(), (@REAL@)0);
        @REAL@* w = @W@.data();
        int32_t last_start = -1, last_length = -1;
        bool learns = false;
        for (int32_t cell = 0; cell < @N_PRE@; cell++)
        {
            const @REAL@ r = @R@[cell];
            if (r == 0) continue;
            const int32_t start = @START@[cell], length = @STOP@[cell] - start;
            const @REAL@* __restrict teach = @TEACH@ + start;
            if (start != last_start || length != last_length)
            {
                last_start = start;
                last_length = length;
                learns = false;
                for (int32_t k = 0; k < length; k++)
                    learns |= (teach[k] != 0);
            }
            if (!learns) continue;
            const int32_t first = @FIRST@[cell];
            @REAL@* __restrict row = w + first;
            const @REAL@* __restrict w_max = @W_MAX@;
            for (int32_t k = 0; k < length; k++)
            {
                const @REAL@ bound = w_max[@AT@];
                @REAL@ value = row[k] + r * teach[k];
                value = value > bound ? bound : value;
                row[k] = value < -bound ? -bound : value;
            }
            for (int32_t k = 0; k < length; k++)
                changed[start + k] += 1;
        }
    }
    return changed[i];
}
"""

#: Arrays that the CUDA functions take, in the order of their parameters.
_CUDA_ARRAYS = {
    "drive": (
        "emit", "source_start", "source_stop", "target_start", "target_stop", "first_synapse", "w",
    ),
    "update": (
        "r_learn", "teach", "w_max", "source_start", "source_stop", "target_start", "target_stop",
        "first_synapse", "w",
    ),
}

#: Threads of a block on CUDA, at most.
THREADS = 128

#: The threads of a warp whose cells have the same sources share the search for those that fired:
#: each looks at 8 of them, `@NAME@_found` counts and lists what was found, and all visit these rows
#: alone. A thread has few neighbours and waits long for a weight: it asks for 8 before it adds one.
_WARP_CUDA = """
static inline __device__ unsigned @NAME@_group(const int32_t start, const int32_t n)
{
    const unsigned threads = __match_any_sync(__activemask(), (uint64_t)start << 32 | n);
    const unsigned from_first = threads >> (__ffs(threads) - 1);
    return from_first & (from_first + 1) ? 1u << threadIdx.x % warpSize : threads;  // or alone
}

static inline __device__ int32_t @NAME@_found(
    const unsigned group, const @REAL@* values, const int32_t n, int32_t* list)
{
    const int32_t threads = __popc(group), thread = threadIdx.x % warpSize;
    const int32_t own = thread - (__ffs(group) - 1);
    int32_t found = 0;
    __syncwarp(group);
#pragma unroll
    for (int32_t k = 0; k < 8; k++)
    {
        const int32_t row = k*threads + own;
        const bool there = row < n && values[row] @TEST@ 0;
        const unsigned all = __ballot_sync(group, there);
        if (there) list[found + __popc(all & ((1u << thread) - 1))] = row;
        found += __popc(all);
    }
    __syncwarp(group);
    return found;
}
"""

#: Where the list of a group lies, and how many rows its threads look at.
_LIST_CUDA = """
    __shared__ int32_t lists[8*@THREADS@];
    const unsigned group = @NAME@_group(start, n);
    int32_t* list = lists + 8*(threadIdx.x - threadIdx.x % warpSize + __ffs(group) - 1);
    const int32_t rows = 8*__popc(group);
""".replace("@THREADS@", str(THREADS))

DRIVE_CUDA = _WARP_CUDA.replace("@TEST@", ">") + """
static inline __device__ @REAL@ @NAME@(
    const int32_t i, const @REAL@* emit, const int32_t* source_start, const int32_t* source_stop,
    const int32_t* target_start, const int32_t* target_stop, const int32_t* first_synapse,
    const @REAL@* w)
{
    const int32_t start = source_start[i], n = source_stop[i] - start;
    if (n == 0) return 0;
@LIST@
    const int32_t length = target_stop[start] - target_start[start];
    const @REAL@* column = w + first_synapse[start] + (i - target_start[start]);
    @REAL@ sum = 0;
    for (int32_t k = 0; k < n; k += rows)
    {
        const int32_t found = @NAME@_found(group, emit + start + k, n - k, list);
        for (int32_t f = 0; f < found; f += 8)
        {
            @REAL@ weight[8];
#pragma unroll
            for (int32_t j = 0; j < 8; j++)
                weight[j] = f + j < found ? column[(int64_t)list[f + j]*length] : (@REAL@)0;
#pragma unroll
            for (int32_t j = 0; j < 8; j++)
                sum += weight[j];
        }
        column += (int64_t)rows*length;
    }
    return sum;
}
""".replace("@LIST@", _LIST_CUDA)

#: Cells without an error are skipped, too.
UPDATE_CUDA = _WARP_CUDA.replace("@TEST@", "!=") + """
static inline __device__ @REAL@ @NAME@(
    const int32_t i, const @REAL@* r_learn, const @REAL@* teach, const @REAL@* w_max,
    const int32_t* source_start, const int32_t* source_stop, const int32_t* target_start,
    const int32_t* target_stop, const int32_t* first_synapse, @REAL@* w)
{
    const int32_t start = source_start[i], n = source_stop[i] - start;
    if (n == 0) return 0;
@LIST@
    const @REAL@ error = teach[i];
    if (!__any_sync(group, error != 0)) return 0;
    const int32_t length = target_stop[start] - target_start[start];
    int64_t first = first_synapse[start] + (i - target_start[start]);
    @REAL@ changed = 0;
    r_learn += start;
    for (int32_t k = 0; k < n; k += rows)
    {
        const int32_t found = @NAME@_found(group, r_learn + k, n - k, list);
        for (int32_t f = 0; error != 0 && f < found; f += 8)
        {
            @REAL@ r[8], weight[8], most[8];
#pragma unroll
            for (int32_t j = 0; j < 8; j++)
            {
                const int32_t row = f + j < found ? list[f + j] : 0;
                const int64_t at = first + (int64_t)row*length;
                r[j] = f + j < found ? r_learn[k + row] : (@REAL@)0;
                weight[j] = w[at];
                most[j] = w_max[@AT@];
            }
#pragma unroll
            for (int32_t j = 0; j < 8; j++)
            {
                if (f + j >= found) break;
                const @REAL@ bound = most[j];
                @REAL@ value = weight[j] + r[j]*error;
                value = value > bound ? bound : value;
                w[first + (int64_t)list[f + j]*length] = value < -bound ? -bound : value;
                changed += 1;
            }
        }
        first += (int64_t)rows*length;
    }
    return changed;
}
""".replace("@LIST@", _LIST_CUDA)

#: The same functions where rows differ: a cell may lie outside the range of one of its sources.
_DRIVE_BANDED = """
static inline __host__ __device__ @REAL@ @NAME@(
    const int32_t i, const @REAL@* emit, const int32_t* source_start, const int32_t* source_stop,
    const int32_t* target_start, const int32_t* target_stop, const int32_t* first_synapse,
    const @REAL@* w)
{
    @REAL@ sum = 0;
    for (int32_t cell = source_start[i]; cell < source_stop[i]; cell++)
        if (emit[cell] > 0 && target_start[cell] <= i && i < target_stop[cell])
            sum += w[first_synapse[cell] + (i - target_start[cell])];
    return sum;
}
"""

_UPDATE_BANDED = """
static inline __host__ __device__ @REAL@ @NAME@(
    const int32_t i, const @REAL@* r_learn, const @REAL@* teach, const @REAL@* w_max,
    const int32_t* source_start, const int32_t* source_stop, const int32_t* target_start,
    const int32_t* target_stop, const int32_t* first_synapse, @REAL@* w)
{
    const @REAL@ error = teach[i];
    @REAL@ changed = 0;
    if (error == 0) return 0;
    for (int32_t cell = source_start[i]; cell < source_stop[i]; cell++)
    {
        const @REAL@ r = r_learn[cell];
        if (r == 0 || i < target_start[cell] || target_stop[cell] <= i) continue;
        const int64_t at = (int64_t)first_synapse[cell] + (i - target_start[cell]);
        const @REAL@ bound = w_max[@AT@];
        @REAL@ value = w[at] + r*error;
        value = value > bound ? bound : value;
        w[at] = value < -bound ? -bound : value;
        changed += 1;
    }
    return changed;
}
"""

BANDED_CUDA = {DRIVE_CUDA: _DRIVE_BANDED, UPDATE_CUDA: _UPDATE_BANDED}
