"""All-to-all projections as one matrix operation: Brian2 functions over the Synapses' weights.

Plain synapses send every spike through a queue and visit every synapse one by one. Where all
cells of a population project to all cells of another, the same sums are rows of a matrix: this
module gives them to the equations as two functions of the postsynaptic cell,

    drive(i)   sum of w over the presynaptic cells that fired in this step,
    update(i)  applies the learning rule to the synapses of cell i, returns how many changed,

with a NumPy and a C++ implementation. The weights stay in the Synapses object. `reads` and
`writes` declare which variables of the presynaptic cell, the postsynaptic cell and the synapse
each function touches.
"""

import numpy as np
from brian2 import Function, get_device

__all__ = ["DenseProjection"]


class DenseProjection:
    """Propagation and learning of a Synapses object whose rows are contiguous.

    Parameters
    ----------
    synapses : Synapses
        With the variables ``w`` and ``w_max``, ordered by presynaptic cell, then by
        postsynaptic cell. The source group has the variables ``target_start``,
        ``target_stop``, ``first_synapse``, ``r_learn``; the target group has ``teach``.

    Attributes
    ----------
    drive, update : brian2.Function
    reads, writes : dict of str to list of str
        Variables of ``pre``, ``post`` and ``synapse`` that the functions touch.
    """

    reads = {
        "drive": {"pre": ["_spikespace"], "post": [], "synapse": ["w"]},
        "update": {"pre": ["r_learn"], "post": ["teach"], "synapse": ["w", "w_max"]},
    }
    writes = {
        "drive": {"pre": [], "post": [], "synapse": []},
        "update": {"pre": [], "post": [], "synapse": ["w"]},
    }

    def __init__(self, synapses):
        self.synapses = synapses
        self.source = synapses.source
        self.target = synapses.target
        self.drive = self._function("drive", self._drive_numpy, _DRIVE_CPP)
        self.update = self._function("update", self._update_numpy, _UPDATE_CPP)

    def _function(self, name, numpy_version, cpp):
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
        return function

    def _render(self, code, name):
        array = get_device().get_array_name

        def of(group, variable):
            return f"brian::{array(group.variables[variable])}"

        weights = array(self.synapses.variables["w"], access_data=False)
        bounds = array(self.synapses.variables["w_max"], access_data=False)
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
            "@W_MAX@": f"brian::{bounds}",
            "@W@": f"brian::{weights}",
            "@REAL@": "float" if self.synapses.variables["w"].dtype == np.float32 else "double",
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
            bound = w_max[row]
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
            if (s + 3 < n && @START@[@SPIKES@[s + 3]] == start
                && @STOP@[@SPIKES@[s + 3]] == start + length)
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
        int32_t last_start = -1;
        bool learns = false;
        for (int32_t cell = 0; cell < @N_PRE@; cell++)
        {
            const @REAL@ r = @R@[cell];
            if (r == 0) continue;
            const int32_t start = @START@[cell], length = @STOP@[cell] - start;
            const @REAL@* __restrict teach = @TEACH@ + start;
            if (start != last_start)
            {
                last_start = start;
                learns = false;
                for (int32_t k = 0; k < length; k++)
                    learns |= (teach[k] != 0);
            }
            if (!learns) continue;
            @REAL@* __restrict row = w + @FIRST@[cell];
            const @REAL@* __restrict bound = @W_MAX@.data() + @FIRST@[cell];
            for (int32_t k = 0; k < length; k++)
            {
                @REAL@ value = row[k] + r * teach[k];
                value = value > bound[k] ? bound[k] : value;
                row[k] = value < -bound[k] ? -bound[k] : value;
            }
            for (int32_t k = 0; k < length; k++)
                changed[start + k] += 1;
        }
    }
    return changed[i];
}
"""
