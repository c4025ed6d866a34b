"""The bidirectional network: both pathways, their interneurons and their learning, wired.

`BidirectionalNetwork` describes a network; `BidirectionalNetwork.create` makes the Brian2
objects, `BidirectionalNetwork.values` the numbers that go into them at run time. Everything
that shapes the generated code is in `BidirectionalNetwork.structure`, nothing else is.
"""

import difflib
import functools
import re

import numpy as np
from brian2 import (
    BrianLogger,
    EventMonitor,
    Network,
    NeuronGroup,
    StateMonitor,
    Synapses,
    TimedArray,
    get_dimensions,
    linked_var,
    prefs,
)
from brian2.equations.equations import DIFFERENTIAL_EQUATION, FLOAT, PARAMETER, Equations
from brian2.units.fundamentalunits import DIMENSIONLESS, get_unit

from bsd.equations import (
    DISCRETE,
    InputError,
    ModelParameters,
    assignments,
    code_lines,
    digest,
    equation_set,
    without_comments,
)
from bsd.equations.errors import require_counts
from bsd.equations.integration import staggered
from bsd.equations.randomness import hash_uniform, seed_words, stream_keys
from bsd.networks.dense import COMPUTED, DenseProjection
from bsd.networks.frequencies import with_contrasts
from bsd.networks.layout import HIGH, Layout
from bsd.networks.receptive_fields import ReceptiveFields, image_shape
from bsd.networks.schedule import SCHEDULE
from bsd.networks.trial_count import trials_over
from bsd.networks.trial_record import TrialRecord

__all__ = ["CONTROL_COLUMNS", "STRUCTURAL", "BidirectionalNetwork", "BrianObjects"]

#: Cell pairs of each hidden layer whose voltages can be recorded.
N_PROBES = 8

#: Of the three compartments; always recorded.
POTENTIALS = ("v_s", "v_b", "v_a")

#: Variables of the cells that are read outside the equations.
NEEDED = (*POTENTIALS, "n_s", "n_a", "u", "n_changed", "rate")

#: Memory interneurons whose synapses take turns in the order of computation.
MEMORY_BLOCK = 4

#: Given with every chunk of trials.
_RUN_TIME = ("afferents.n_trials",)

#: Parameters (sections, or single ones) that all replicas of a network have in common.
STRUCTURAL = (
    "timing",
    "encoding",
    "cell.refractory",
    "learning.features",
    "learning.loss",
    "learning.memory_slots",
    "learning.top_rule",
    "learning.weight_max",
)

#: Strings in which a variable of a group can be set anew in each trial.
ONCE_A_TRIAL = {
    "cells": {
        "READ_CONTROL", "START_TRIAL", "FEATURES", "PATTERN", "ERROR", "ERROR_SOFTMAX",
        "ERROR_VECTOR", "START_LEARNING",
    },
    "afferents": {"START_AFFERENT_TRIAL", "AFFERENT_FEATURE", "ENCODERS"},
}

#: Strings that set variables of afferents; others set those of cells and interneurons.
SET_IN_AFFERENTS = {*ONCE_A_TRIAL["afferents"], "COUNT_AFFERENT_SPIKE", "RELAY", "HOLD_CONTEXT"}

#: What is shared by the cells of a group as long as there is one replica.
_OWN_OF_REPLICA = {
    "afferents": {"learn", "recording", "loss", "draw", "carry", "replica"},
    "cells": {"learn", "recording", "replica"},
    "memory": {"learn", "replica"},
}

#: Columns of the timed array `control`, one row per trial, once for each replica.
CONTROL_COLUMNS = (
    "learn", "record", "percept_to_concept", "recall_to_stimulus", "draw", "loss", "carry"
)


@functools.cache  # each call adds a filter to Brian2's log
def _suppress(name):
    BrianLogger.suppress_name(name)


def _letters(text):
    """An equation string without comments and blanks; what is no string as it is."""
    return "".join(map("".join, without_comments(text))) if isinstance(text, str) else text


def _lines(*texts):
    """Equation strings one below the other, whatever each of them ends with."""
    return "\n".join(texts)


class BrianObjects:
    """The Brian2 objects of a network, by their names (attribute access)."""

    def __init__(self):
        self._objects = {}
        self.dense = {}

    def add(self, thing):
        """Keep an object under its Brian2 name."""
        self._objects[thing.name] = thing
        return thing

    def __iter__(self):
        return iter(self._objects.values())

    def __getattr__(self, name):
        try:
            return self.__dict__["_objects"][name]
        except KeyError:
            raise AttributeError(name) from None

    def network(self):
        """A `brian2.Network` of all objects, in the order of the model's schedule."""
        network = Network(*self._objects.values())
        network.schedule = SCHEDULE
        return network


class _Strings(dict):
    """Equation strings by name; `read` are the names that were looked up."""

    def __init__(self, strings):
        super().__init__(strings)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        return self[name] if name in self else default


class BidirectionalNetwork:
    """A forward and a backward spiking network that teach each other.

    Parameters
    ----------
    layers : sequence of int
        Cells of the stimulus, of each hidden layer, and number of concepts, for example
        ``[64, 256, 256, 10]``. The output has ``encoding.cells_per_concept`` cells for each
        concept; with ``encoding.autoencoder`` the last number is that of the code's cells. With
        ``encoding.context`` the network is recurrent: so many context cells for each cell of the
        first hidden layer are added to the stimulus, and type-2 cells that recall them.
    parameters : ModelParameters or sequence of ModelParameters
        `DISCRETE` (default), `BIOPHYSICAL`, or a changed copy; or one for each replica, alike in
        what shapes the code (`STRUCTURAL`).
    replicas : int
        Independent networks ("subjects") in one Brian2 network.
    projection : {'dense', 'synapses'}, optional
        How basal projections are computed: as one matrix operation, or by plain Brian2
        synapses, spike by spike. Same results within rounding. By default as matrices, unless the
        strings ``PROPAGATE`` or ``LEARN`` were changed.
    capacity : int
        Trials of one chunk.
    precision : {'float32', 'float64'}
    equations : dict of str to str, optional
        Equation strings that replace those of `bsd.equations` by name.
    values : dict of str to Quantity or array, optional
        Values of constants, ``"group.variable"`` to value: of those that changed equations add,
        for example ``{"cells.tau_w": 30*ms}``, or in place of the model's own, for example
        ``{"cells.apical": array}`` with zeros for cells whose apical dendrite is blocked. Of a
        variable of the cells that the equations change: where it starts, once; it then goes on
        from trial to trial and is kept with the weights (`carried`). New values compile nothing.
    probe_variables : sequence of str, optional
        Variables of the cells that are recorded beside the potentials of the probed cells
        (`probes`), for example an adaptation current that changed equations add.

    Raises
    ------
    InputError
        For impossible layers, options or equation names.
    """

    def __init__(
        self,
        layers,
        parameters=DISCRETE,
        *,
        replicas=1,
        projection=None,
        capacity=1000,
        precision="float32",
        equations=None,
        values=None,
        probe_variables=(),
    ):
        if projection not in (None, "dense", "synapses"):
            raise InputError(f"projection = {projection!r}: choose 'dense' or 'synapses'.")
        if precision not in ("float32", "float64"):
            raise InputError(f"precision = {precision!r}: choose 'float32' or 'float64'.")
        require_counts(capacity=capacity)
        each = parameters if isinstance(parameters, (list, tuple)) else [parameters]
        if not each or not all(isinstance(one, ModelParameters) for one in each):
            raise InputError(
                f"parameters = {parameters!r}: give a set of parameters, as DISCRETE or "
                "DISCRETE.updated({'cell.g_apical': 2*nS}), or a list of such sets."
            )
        if len(each) > 1:
            if replicas not in (1, len(each)):
                raise InputError(
                    f"replicas = {replicas}, but {len(each)} sets of parameters: give one set, or "
                    "one for each replica."
                )
            replicas = len(each)
            _check_alike(each)
        parameters = each[0]
        layers = list(layers) if isinstance(layers, (list, tuple, np.ndarray)) else [layers]
        if len(layers) < 3 or not all(
            isinstance(n, (int, np.integer)) and n > 0 for n in layers
        ):
            raise InputError(
                f"layers = {layers}: give the cells of the stimulus, at least one hidden width and "
                "the number of concepts, each a positive whole number."
            )
        self.n_stimulus, self.n_concepts = layers[0], layers[-1]
        self.n_context = layers[1] * parameters.encoding.context
        for name in ("receptive_field", "contrast"):
            if getattr(parameters.encoding, name) and self.n_context:
                raise InputError(
                    f"encoding.{name} = {getattr(parameters.encoding, name)}: context cells have "
                    f"no place in the stimulus, use one of {name} and context."
                )
        if parameters.encoding.contrast and image_shape(layers[0]) is None:
            raise InputError(
                f"encoding.contrast = {parameters.encoding.contrast}: needs a square stimulus, in "
                f"grey or in three colours, not {layers[0]} numbers (0: no ON and OFF afferents)."
            )
        self.n_contrast = 2 * layers[0] if parameters.encoding.contrast else 0
        n_output = layers[-1] * parameters.encoding.cells_per_concept
        n_afferents = self.n_stimulus + self.n_contrast + self.n_context
        sizes = [n_afferents, *layers[1:-1], n_output]
        self.fields = ReceptiveFields(parameters.encoding, self.n_stimulus, sizes)
        ranges = {"connected": self._connected} if self.fields.retinotopic else {}
        self.layout = Layout(
            sizes, replicas, high=self._high_stream(layers, parameters), **ranges
        )
        for name, n in self._synapse_numbers().items():
            if n >= 2**31:
                raise InputError(
                    f"{name} would hold {n:,} synapses, at most 2,147,483,647 can be numbered: use "
                    "fewer replicas or smaller layers."
                )
        self.parameters = parameters
        self.replica_parameters = tuple(each) * (self.layout.replicas if len(each) == 1 else 1)
        self.capacity = int(capacity)
        self.precision = precision
        self.changed_equations = dict(equations or {})
        self.equations = _Strings(equation_set(equations))
        self.extra_values = dict(values or {})
        if isinstance(probe_variables, str):
            raise InputError(f"probe_variables = {probe_variables!r}: give a list of names.")
        self.probe_variables = tuple(probe_variables)
        changed = [
            name for name, text in COMPUTED.items()
            if _letters(self.equations[name]) != _letters(text)
        ]
        if changed and projection == "dense":
            raise InputError(
                f"{changed[0]} was changed, and dense projections compute it by compiled functions "
                "of their own: use projection='synapses', or leave the choice out."
            )
        self.projection = projection or ("synapses" if changed else "dense")

    def _high_stream(self, layers, parameters):
        """Afferents and hidden cells of the stream of high frequencies, or None."""
        cutoff = parameters.encoding.cutoff
        if not cutoff:
            return None
        shape = image_shape(layers[0])
        if shape is None or shape[2] > 1 or self.n_context or layers[1] < 2:
            raise InputError(
                f"encoding.cutoff = {cutoff}: needs a square grey stimulus without context cells, "
                "and at least two cells in the first hidden layer (0: one stream)."
            )
        for name in ("receptive_field", "contrast"):
            if getattr(parameters.encoding, name):
                raise InputError(
                    f"encoding.{name} = {getattr(parameters.encoding, name)}: not beside a stream "
                    f"of high frequencies, use one of {name} and cutoff."
                )
        return 2 * layers[0], layers[1] // 2

    # ------------------------------------------------------------------ description

    @property
    def structure(self):
        """All that shapes the generated code, as a dict of plain values."""
        p = self.parameters
        return {
            "layers": list(self.layout.layers),
            "high": self.layout.high,
            "projections": [
                [p.name, p.source.name, p.target.name, *p.shape]
                for p in self.layout.projections if p.source.replica == 0
            ],
            "replicas": self.layout.replicas,
            "projection": self.projection,
            "capacity": self.capacity,
            "precision": self.precision,
            "dt_ms": float(p.timing.dt) * 1e3,
            "duration_ms": float(p.timing.duration) * 1e3,
            "refractory": float(p.cell.refractory) > 0,
            "encoding": p.encoding.kind,
            "context": p.encoding.context,
            "features": p.learning.features,
            "infonce": p.learning.loss == "infonce",  # MSE differs from ReCo in values only
            "memory_slots": p.learning.memory_slots,
            "top_rule": p.learning.top_rule,
            "own_values": sorted(self._own_values),
            "carried": sorted(self.carried),
            "receptive_fields": self.fields.local,
            "ranges": [self.fields.side, self.fields.deep_side] if self.fields.retinotopic else [],
            "contrast": self.n_contrast > 0,
            "probe_variables": list(self.probe_variables),
            "equations": self.equations,
        }

    @property
    def equations_digest(self):
        """SHA-256 of the equations, see `bsd.equations.digest`."""
        return digest(self.equations)

    @functools.cached_property
    def carried(self):
        """Variables of the cells that go on from trial to trial: ``{"w_ad": "amp"}``, with units.

        They are those of `values` that changed equations add without ``constant``. What a chunk of
        trials hands on is a copy of each, taken as a trial begins.
        """
        added, found = self._added_names(), {}
        for line in self._cell_equations().splitlines():
            declared = re.match(
                r"\s*(?:d(\w+)/dt\s*=[^:]*|(\w+)\s*):\s*([^(]+?)\s*(\(.*\))?\s*$",
                line.partition("#")[0],
            )
            if declared and not re.search(r"constant|linked|shared", declared[4] or ""):
                found[declared[1] or declared[2]] = declared[3]
        return {
            name: unit
            for name, unit in found.items()
            if name in added and f"cells.{name}" in self.extra_values
        }

    @property
    def _own_values(self):
        """Constants, shared by all cells of a replica, that differ between the replicas."""
        each = [self._shared_values(p) for p in self.replica_parameters]
        return {name for name in each[0] if any(v[name] != each[0][name] for v in each[1:])}

    def _model(self, group, text):
        """Equations of a group, with what differs between replicas given to each cell."""
        own = {name.split(".")[1] for name in self._own_values if name.startswith(f"{group}.")}
        if self.layout.replicas > 1:
            own |= _OWN_OF_REPLICA.get(group, set())
        if group in self._masked:
            own.add("w_max")  # 0 where there is no synapse
        for name in own:
            text = re.sub(
                rf"^(\s*{name}\s*:.*)\(shared(?:, (constant))?\)",
                lambda m: m[1] + (f"({m[2]})" if m[2] else ""),
                text,
                flags=re.MULTILINE,
            )
        return text

    @property
    def _masked(self):
        """Names of the Synapses objects of which not all synapses are used."""
        if not self.fields.local:
            return ()
        return ("afferent_basal", "cortical_basal")[: 1 + self.fields.retinotopic]

    def _connected(self, name):
        """Matrix of the connections of a projection, None where all reach all."""
        if not self.fields.local:
            return None
        forward, layer = name.startswith("W"), int(name.removeprefix("W").removeprefix("Theta"))
        return self.fields.connected(layer) if forward else self.fields.connected_back(layer)

    def has_memory(self, population):
        """Whether the population learns by ReCo, and so has memory interneurons."""
        top = self.layout.depth + 1
        if population.name == f"F{top}":
            return self.parameters.learning.top_rule == "reco"
        return population.layer > 0

    @property
    def memory_populations(self):
        """Populations with memory interneurons, in order."""
        return [p for p in self.layout.populations if self.has_memory(p)]

    def encoding_matrix(self):
        """Concept encodings.

        Returns
        -------
        ndarray, shape (n_concepts, n_output)
            Intensity of each concept afferent under each concept.
        """
        encoding = self.parameters.encoding
        cells, concepts = encoding.cells_per_concept, np.arange(self.n_concepts)
        if encoding.concept_code == "blocks":
            tuning = np.kron(np.eye(self.n_concepts), np.ones((1, cells)))
        else:
            preferred = (np.arange(cells * self.n_concepts) + 0.5) / cells - 0.5
            distance = (concepts[:, None] - preferred) / encoding.tuning_width
            tuning = np.exp(-0.5 * distance**2)
        return encoding.concept_rate * tuning

    @property
    def probes(self):
        """Cells whose voltages can be recorded: the first pairs of each hidden layer.

        They are `N_PROBES`, of a cohort as many fewer as it has replicas, at least one.

        Returns
        -------
        list of (Population, int)
            Population and number of the cell in it.
        """
        names = [f"{side}{i}" for i in range(1, self.layout.depth + 1) for side in "FB"]
        replicas = range(self.layout.replicas)
        populations = [self.layout.population(name, r) for r in replicas for name in names]
        most = max(1, N_PROBES // self.layout.replicas)
        return [(p, cell) for p in populations for cell in range(min(most, p.size))]

    @functools.cached_property
    def probe_units(self):
        """Units of the `probe_variables`, as text: ``{"I_w": "A"}``; ``"1"`` without dimension."""
        if not self.probe_variables:
            return {}
        equations = Equations(self._cell_equations())
        dimensions = {name: equations[name].dim for name in self.probe_variables}
        return {n: "1" if d is DIMENSIONLESS else str(get_unit(d)) for n, d in dimensions.items()}

    # ------------------------------------------------------------------ Brian2 objects

    def create(self):
        """Make the Brian2 objects of the network on the current device.

        Brian2's preference ``core.default_float_dtype`` becomes that of the network, as code is
        generated with it.

        Returns
        -------
        BrianObjects
            Attributes `afferents`, `cells`, `normaliser`, `memory` (NeuronGroups);
            `afferent_basal`, `cortical_basal`, `afferent_apical`, `cortical_apical`, `relay`,
            `pooling`, `memory_pattern`, `memory_pooling` (Synapses), with context cells
            `context` and, of more than one trial, `context_chain`; monitors; `trial_cells`,
            `trial_afferents`, `trial_cosine` (TrialRecords); `drive` and `control` (TimedArrays);
            `dense` (DenseProjection by Synapses name).

        Raises
        ------
        InputError
            If changed equations or `values` do not fit the network.
        """
        prefs.core.default_float_dtype = getattr(np, self.precision)
        # the first two are meant; objects may also be made only to be described
        for known in ("no_refractory", "synapses_dt_mismatch", "unused_brian_object"):
            _suppress(known)
        objects = BrianObjects()
        self.equations.read.clear()
        self._create_afferents(objects)
        self._create_interneurons(objects)
        self._create_cells(objects)
        self._create_basal(objects)
        self._create_apical(objects)
        self._create_learning(objects)
        self._create_monitors(objects)
        self._check_in_use()
        self._check_bound()
        self._check_additions(objects)
        return objects

    def _check_bound(self):
        """Refuse weights that could grow where there is no synapse."""
        if self._masked and "w_max" not in _letters(self.equations["LEARN"]):
            raise InputError(
                "equations['LEARN'] lets weights grow outside the receptive fields: bound w by "
                "w_max, which is 0 where there is no synapse, as in 'w = clip(..., -w_max, w_max)'."
            )

    def _check_in_use(self):
        """Refuse a changed equation string that this network does without."""
        own = equation_set()
        for name, text in self.changed_equations.items():
            if name in self.equations.read:
                continue
            if _letters(text) != _letters(own[name]):
                raise InputError(
                    f"equations[{name!r}] is not in use with these parameters: leave it out, or "
                    "choose the rule or option that it belongs to (`bsd show` names the strings "
                    "in use)."
                )

    def _check_additions(self, objects):
        """Refuse what a changed equation adds without a value or a start of the trial."""
        given = {*self.values(), *self.state_sizes, *self.encoder_keys(0), *_RUN_TIME}
        carried = {f"cells.{name}" for name in self.carried}
        groups = [g for g in objects if isinstance(g, (NeuronGroup, Synapses))]
        flags = {f"{g.name}.{e.varname}": e.flags for g in groups for e in g.equations.values()}
        known = [name for name, own in flags.items() if "constant" in own]
        for name in self.extra_values.keys() - carried:
            if name in flags and name not in known:
                raise InputError(
                    f"values[{name!r}]: the equations change it; values are for constants, and for "
                    "variables of single cells that go on from trial to trial."
                )
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Is {near[0]!r} meant?" if near else ""
                raise InputError(
                    f"values[{name!r}]: no equation has a constant of that name.{hint}"
                )
        assigned = list(assignments(self.equations))
        for start in (one for one in assigned if one.string == "START_TRIAL"):
            name = f"cells.{start.target}"
            if name in carried and not start.from_before:
                raise InputError(
                    f"equations['START_TRIAL']: '{start.line}' begins each trial anew, and "
                    f"values[{name!r}] is a start for all of them: leave out one of both."
                )
            if start.from_before and name not in {*given, *carried}:
                raise InputError(
                    f"equations['START_TRIAL']: '{start.line}' starts from the trial before, which "
                    f"is lost at chunk borders: give {start.target} a value of its own, or, to "
                    f"keep it, one to begin with, as values={{{name!r}: ...}}."
                )
        begins = {objects.cells: "START_TRIAL", objects.afferents: "START_AFFERENT_TRIAL"}
        for group in groups:
            event_driven = getattr(group, "event_driven", None) or {}
            for equation in (*group.equations.values(), *event_driven.values()):
                name = f"{group.name}.{equation.varname}"
                if name in self.extra_values:
                    self._check_value(name, group.variables[equation.varname], equation)
                if "constant" in equation.flags and not (
                    name in given or equation.varname in self._wiring.get(group.name, ())
                ):
                    raise InputError(
                        f"the constant {equation.varname} of {group.name} has no value: give it as "
                        f"values={{{name!r}: ...}}."
                    )
                if name in {*self.state_sizes, *carried}:
                    continue
                string = begins.get(group)
                started = {one.target for one in assigned if one.string == string}
                if equation.type == DIFFERENTIAL_EQUATION and equation.varname not in started:
                    cure = (
                        "only cells and afferents can have one: give it to a cell."
                        if string is None
                        else f"trials begin at rest, so add a line '{equation.varname} = ...' to "
                        f"equations[{string!r}]"
                        + (
                            " (or, to go on from trial to trial, give it one value to begin with, "
                            f"as values={{{name!r}: ...}})."
                            if group is objects.cells else "."
                        )
                    )
                    raise InputError(f"d{equation.varname}/dt of {group.name} has no start: {cure}")
                if equation.type == PARAMETER and not {"constant", "linked"} & {*equation.flags}:
                    self._check_starts(group.name, equation.varname, string, assigned)

    def _added_names(self):
        """Names in the changed equations that the model's own strings do not have."""
        if not self.changed_equations:
            return set()
        own, now = (
            {word for _, code in code_lines(strings) for word in re.findall(r"\w+", code)}
            for strings in (equation_set(), self.equations)
        )
        return now - own

    def _check_starts(self, group, name, start, assigned):
        """Refuse a variable that counts on what it was in the trial before.

        `start` names the string in which the group's trials begin, if it has one; `assigned` are
        all assignments.
        """
        of_afferents = group == "afferents"
        own = [
            one for one in assigned
            if one.target == name and (one.string in SET_IN_AFFERENTS) == of_afferents
        ]
        counts = any(one.from_before for one in own)
        once = ONCE_A_TRIAL.get(group, {one.string for one in own})
        if counts and all(one.from_before or one.string not in once for one in own):
            where = f"to equations[{start!r}]" if start else "before it"
            keep = " (what changed equations add to the cells can be kept, nothing else)"
            if group == "cells" and name in self._added_names():
                keep = f", or, to keep it, give it a start, as values={{'cells.{name}': ...}}"
            raise InputError(
                f"{name} of {group} goes on from trial to trial, which is lost at chunk borders: "
                f"add a line '{name} = ...' {where}{keep}."
            )

    def _check_value(self, name, variable, equation):
        value = self.extra_values[name]
        if get_dimensions(value) != variable.dim:
            raise InputError(
                f"values[{name!r}] = {value}: the equations give it the unit {equation.unit}."
            )
        if equation.var_type != FLOAT:
            raise InputError(f"values[{name!r}]: write it without 'integer' or 'boolean'.")
        size = 1 if variable.scalar else self._size_of(name)
        sizes = {size, 1} if name.removeprefix("cells.") in self.carried else {size}
        if np.size(value) not in sizes or not np.isfinite(np.asarray(value)).all():
            raise InputError(
                f"values[{name!r}]: {np.size(value)} values given, {size} needed, all finite: "
                f"{'one' if size == 1 else 'one for each, as np.full(..)'}."
            )

    def _size_of(self, name):
        sizes = {
            "afferents": self.layout.n_afferents,
            "cells": self.layout.n_cells,
            "normaliser": len(self.layout.populations),
            "memory": len(self.memory_populations) * self.parameters.learning.memory_slots,
        }
        group = name.split(".")[0]
        if group not in sizes:
            raise InputError(f"values[{name!r}]: make it '(shared, constant)'.")
        return sizes[group]

    def _create_afferents(self, objects):
        layout, eqs, timing = self.layout, self.equations, self.parameters.timing
        rows = self.capacity + 1  # the last trial's learning tick is the start of a blank one
        objects.drive = TimedArray(
            np.zeros((rows, layout.n_afferents)), dt=timing.duration, name="drive"
        )
        objects.control = TimedArray(
            np.zeros((rows, layout.replicas * len(CONTROL_COLUMNS))),
            dt=timing.duration,
            name="control",
        )
        self._namespace = {
            "drive": objects.drive,
            "control": objects.control,
            "n_control": len(CONTROL_COLUMNS),
            "hash_uniform": hash_uniform,
            "trials_over": trials_over,
            "trial_duration": timing.duration,
            "step_duration": timing.dt,
            "steps_per_trial": timing.steps,
        }
        self._wiring = {
            "afferents": {
                "target_start", "target_stop", "first_synapse", "partner", "paired", "is_concept",
                "replica",
            },
            "cells": {
                "target_start", "target_stop", "first_synapse", "partner", "paired", "population",
                "partner_cell", "replica",
            },
            "normaliser": set(),
            "memory": {"slot", "population", "replica", "partner_memory"},
        }
        wiring = """
        target_start  : integer (constant)
        target_stop   : integer (constant)
        first_synapse : integer (constant)
        partner       : integer (constant)
        paired        : integer (constant)
        """
        events = {"recorded": "emit > 0 and recording > 0"}
        events.update(self._learning_event)
        afferents = objects.add(
            NeuronGroup(
                layout.n_afferents,
                self._model("afferents", _lines(eqs["AFFERENT"], wiring)),
                threshold="emit > 0",
                reset=eqs["COUNT_AFFERENT_SPIKE"],
                events=events,
                dt=timing.dt,
                namespace=self._namespace,
                name="afferents",
            )
        )
        afferents.thresholder["spike"].when = "after_encode"
        afferents.resetter["spike"].when = "after_encode"
        afferents.resetter["spike"].order = 1
        afferents.set_event_schedule("recorded", when="after_encode", order=2)
        afferents.run_regularly(
            eqs["START_AFFERENT_TRIAL"], dt=timing.duration, when="begin", name="afferents_begin"
        )
        afferents.run_regularly(
            eqs["AFFERENT_FEATURE"], dt=timing.duration, when="error", name="afferents_feature"
        )
        afferents.run_regularly(
            eqs["ENCODERS"][self.parameters.encoding.kind], when="encode", name="afferents_encode"
        )
        self._wire(afferents, "afferent_basal")
        afferents.partner = layout.per_afferent(
            lambda p: np.arange(p.size) + layout.partner(p).start, int
        )
        afferents.paired = 1
        afferents.is_concept = layout.per_afferent(lambda p: p.name == "C", int)
        if layout.replicas > 1:
            afferents.replica = layout.per_afferent(lambda p: p.replica, int)
        self._learn_early(afferents)

    @property
    def _learning_event(self):
        return {"learn": "r_learn != 0"} if self.projection == "synapses" else {}

    def _learn_early(self, group):
        if self._learning_event:
            group.set_event_schedule("learn", when="learn", order=-1)

    def _wire(self, group, synapses):
        """Tell each cell of a group its basal targets and its first synapse."""
        wiring = {name: np.zeros(len(group), int)
                  for name in ("target_start", "target_stop", "first_synapse")}
        for p in self.layout.projections:
            if p.synapses == synapses:
                wiring["target_start"][p.source.cells] = p.target.start + p.targets[:, 0]
                wiring["target_stop"][p.source.cells] = p.target.start + p.targets[:, 1]
                wiring["first_synapse"][p.source.cells] = p.first_synapses
        for name, values in wiring.items():
            setattr(group, name, values)

    def _create_interneurons(self, objects):
        eqs, timing, layout = self.equations, self.parameters.timing, self.layout
        learning = self.parameters.learning
        infonce = "_INFONCE" if learning.loss == "infonce" else ""
        extra = eqs["NORMALISER_INFONCE"] if infonce else ""
        normaliser = objects.add(
            NeuronGroup(
                len(layout.populations),
                self._model("normaliser", _lines(self._with_top_rule("NORMALISER"), extra)),
                dt=timing.duration,
                name="normaliser",
            )
        )
        normaliser.run_regularly(
            self._with_top_rule("NORMALISE"), when="normalise", name="normaliser_normalise"
        )
        normaliser.run_regularly(eqs["GATE" + infonce], when="gate", name="normaliser_gate")
        k = learning.memory_slots
        populations = self.memory_populations
        memory = objects.add(
            NeuronGroup(
                k * len(populations),
                self._model("memory", _lines(eqs["MEMORY"], eqs["MEMORY_INFONCE"] * bool(infonce))),
                events={"store": "slot == pointer and learn > 0"},
                dt=timing.duration,
                namespace=self._namespace,
                name="memory",
            )
        )
        memory.set_event_schedule("store", when="store", order=0)
        memory.slot = np.tile(np.arange(k), len(populations))
        memory.population = np.repeat([p.index for p in populations], k)
        memory.partner_memory = self._partner_memories()
        memory.partner_likeness = linked_var(memory, "likeness", index="partner_memory")
        if infonce:
            memory.temperature = linked_var(normaliser, "temperature", index="population")
        memory.run_regularly(eqs["RESPOND" + infonce], when="respond", name="memory_respond")
        memory.run_regularly(eqs["NEXT_SLOT"], when="record", name="memory_next_slot")
        memory.run_regularly(eqs["READ_LEARN"], when="begin", name="memory_begin")
        if layout.replicas > 1:
            memory.replica = np.repeat([p.replica for p in populations], k)

    def _partner_memories(self):
        """The memory of the same slot in the partner population; its own where there is none."""
        slots = self.parameters.learning.memory_slots
        place = {population: k for k, population in enumerate(self.memory_populations)}
        partners = [place.get(self.layout.partner(p), place[p]) for p in place]
        return (slots * np.array(partners)[:, None] + np.arange(slots)).ravel()

    def _with_top_rule(self, name):
        """A string of equations, with what the rule of the output adds to it."""
        added = f"{name}_{self.parameters.learning.top_rule.upper()}"
        return _lines(self.equations[name], self.equations.get(added, ""))

    def _cell_equations(self):
        """Equations of the cells, without copies of what is carried."""
        eqs, learning = self.equations, self.parameters.learning
        return _lines(
            eqs["COMPARTMENTS"],
            eqs["APICAL_" + ("VOLTAGES" if learning.features == "voltages" else "SPIKES")],
            eqs["CELL_PARAMETERS"],
            eqs["LEARNING_VARIABLES"],
            self._with_top_rule("CELL_LEARNING"),
            "emit : 1  # above 0 in a step with a spike" if self.projection == "dense" else "",
        )

    def _copies(self):
        """Equations of the copies that chunks hand on, see `carried`."""
        copies = [f"{name}_kept : {unit}" for name, unit in self.carried.items()]
        begun = "begun : 1  # 0 until a chunk's first trial has read the copies"
        return _lines(*copies, begun) if copies else ""

    def _create_cells(self, objects):
        eqs, timing, layout = self.equations, self.parameters.timing, self.layout
        learning, cell = self.parameters.learning, self.parameters.cell
        graded = learning.features == "voltages"
        refractory = float(cell.refractory) > 0
        ready = " and not_refractory" if refractory else ""
        events = {"recorded": f"({eqs['THRESHOLD']}){ready} and recording > 0"}
        events.update(self._learning_event)
        cells = objects.add(
            NeuronGroup(
                layout.n_cells,
                self._model("cells", _lines(self._cell_equations(), self._copies())),
                threshold=eqs["THRESHOLD"],
                reset=_lines(eqs["RESET"], eqs["COUNT_SPIKE"]),
                refractory="t_ref" if refractory else False,
                events=events,
                method=staggered,
                method_options={"order": eqs["INTEGRATION_ORDER"]},
                dt=timing.dt,
                namespace=self._namespace,
                name="cells",
            )
        )
        missing = [name for name in NEEDED if name not in cells.variables]
        if missing:
            raise InputError(
                f"the equations of the cells lack {', '.join(missing)}, which the network records "
                "or hands on: keep them, even where they have no part."
            )
        # before the spike makes its cell refractory
        cells.set_event_schedule("recorded", when="thresholds", order=-1)
        averages = _lines(
            eqs["TRIAL_AVERAGES"],
            eqs["TRIAL_AVERAGES_APICAL"] if graded else "",
            f"emit = int(({eqs['THRESHOLD']}){ready})" if self.projection == "dense" else "",
        )
        cells.run_regularly(averages, when="average", name="cells_average")
        begin = _lines(
            eqs["READ_CONTROL"],
            *(f"{x} = begun*{x} + (1 - begun)*{x}_kept\n{x}_kept = {x}" for x in self.carried),
            "begun = 1" if self.carried else "",
            eqs["END_REFRACTORY"] if refractory else "",
            eqs["START_TRIAL"],
        )
        cells.run_regularly(begin, dt=timing.duration, when="begin", name="cells_begin")
        at_tick = {"dt": timing.duration}
        cells.run_regularly(eqs["FEATURES"], when="features", name="cells_features", **at_tick)
        cells.run_regularly(eqs["PATTERN"], when="compare", order=-1, name="cells_pattern",
                            **at_tick)
        error = _lines(self._with_top_rule("ERROR"), eqs["START_LEARNING"])
        cells.run_regularly(error, when="error", name="cells_error", **at_tick)
        cells.population = layout.per_cell(lambda p: p.index, int)
        if layout.replicas > 1:
            cells.replica = layout.per_cell(lambda p: p.replica, int)
        self._wire(cells, "cortical_basal")
        cells.partner = layout.per_cell(lambda p: np.arange(p.size) + layout.partner(p).start, int)
        cells.paired = layout.per_cell(lambda p: layout.partner(p).pathway != "afferent", int)
        self._learn_early(cells)
        pooled = {"softmax": ("Z", "A"), "vector": ("F", "F_a")}.get(learning.top_rule, ())
        for name in ("norm", "norm_a", "C", "cc", "attract", "repel", *pooled):
            setattr(cells, name, linked_var(objects.normaliser, name, index="population"))
        if graded:
            # the partner's index within this group; cells paired with an afferent read nothing
            cells.partner_cell = layout.per_cell(self._partner_in_group, int)
            cells.v_b_partner = linked_var(cells, "v_b", index="partner_cell")
            cells.run_regularly(eqs["READ_PARTNER"], when="before_groups", name="cells_partner")

    def _partner_in_group(self, population):
        partner = self.layout.partner(population)
        own = population if partner.pathway == "afferent" else partner
        return own.start + np.arange(population.size)

    def _create_basal(self, objects):
        eqs = self.equations
        for name, source, when in (
            ("afferent_basal", objects.afferents, "transmit"),
            ("cortical_basal", objects.cells, "synapses"),
        ):
            pathways = {}
            if self.projection == "synapses":
                pathways = {
                    "on_pre": {"pre": eqs["PROPAGATE"], "learn": eqs["LEARN"]},
                    "on_event": {"pre": "spike", "learn": "learn"},
                }
            synapses = objects.add(
                Synapses(
                    source, objects.cells, self._model(name, eqs["PLASTIC_SYNAPSE"]), name=name,
                    dt=self.parameters.timing.dt, **pathways,
                )
            )
            synapses.connect(j="k for k in range(target_start_pre, target_stop_pre)")
            if self.projection == "synapses":
                synapses.pre.when = when
                synapses.learn.when, synapses.learn.order = "learn", 0
                continue
            banded = any(p.banded for p in self.layout.projections if p.synapses == name)
            dense = DenseProjection(synapses, *self._sources(name), banded)
            objects.dense[name] = dense
            functions = {f"{name}_drive": dense.drive, f"{name}_update": dense.update}
            objects.cells.namespace.update(functions)
            propagate = objects.cells.run_regularly(
                f"I_b += I_epsc*{name}_drive(i)", when=when, name=f"{name}_propagate"
            )
            propagate.needed_variables = dense.arrays["drive"]
            learn = objects.cells.run_regularly(
                f"n_changed += {name}_update(i)",
                dt=self.parameters.timing.duration,
                when="learn",
                name=f"{name}_learn",
            )
            learn.needed_variables = dense.arrays["update"]

    def _sources(self, synapses):
        """For each cell, where the range of its sources starts and stops in the source group."""
        start, stop = np.zeros((2, self.layout.n_cells), dtype=np.int32)
        for p in self.layout.projections:
            if p.synapses == synapses:
                first, last = p.sources.T
                start[p.target.cells] = p.source.start + first
                stop[p.target.cells] = p.source.start + last
        return start, stop

    def _create_apical(self, objects):
        receive = self.equations["RECEIVE_APICAL"]
        paired = "k + partner_pre for k in range(paired_pre)"
        for name, source in (
            ("afferent_apical", objects.afferents),
            ("cortical_apical", objects.cells),
        ):
            synapses = objects.add(Synapses(source, objects.cells, on_pre=receive, name=name))
            synapses.connect(j=paired)
            synapses.pre.when = "synapses"
            synapses.pre.order = 1
        relay = objects.add(
            Synapses(objects.cells, objects.afferents, on_pre=self.equations["RELAY"], name="relay")
        )
        relay.connect(j="k + partner_pre for k in range(1 - paired_pre)")
        relay.pre.when = "synapses"
        relay.pre.order = 2
        if self.n_context:
            self._create_context(objects)

    def _create_context(self, objects):
        hidden, *held = self.context_cells()
        before = hidden, *held[:-1]
        kinds = [("context", objects.cells, before[:1], held[:1])]
        if len(held) > 1:
            kinds.append(("context_chain", objects.afferents, before[1:], held[1:]))
        for number, (name, source, i, j) in enumerate(kinds):
            context = objects.add(
                Synapses(
                    source, objects.afferents, on_pre=self.equations["HOLD_CONTEXT"], name=name
                )
            )
            context.connect(i=np.concatenate(i), j=np.concatenate(j))
            context.pre.when = "synapses"
            context.pre.order = 3 + number

    def context_cells(self):
        """Cells of the first hidden layer, and the context cells of each trial before.

        Returns
        -------
        list of ndarray of int
            Numbers in the group `cells`, then, once for each trial that is held, in the group
            `afferents`; replicas one after the other.
        """
        layout = self.layout
        hidden = [layout.population("F1", r) for r in range(layout.replicas)]
        stimuli = [layout.population("S", r) for r in range(layout.replicas)]
        found = [np.concatenate([np.arange(p.start, p.stop) for p in hidden])]
        for back in range(self.parameters.encoding.context):
            start = self.n_stimulus + back * hidden[0].size
            found.append(
                np.concatenate([p.start + start + np.arange(hidden[0].size) for p in stimuli])
            )
        return found

    def _create_learning(self, objects):
        eqs, layout, at_tick = self.equations, self.layout, {"dt": self.parameters.timing.duration}
        pool = self._with_top_rule("POOL_CELLS")
        pooling = objects.add(
            Synapses(objects.cells, objects.normaliser, pool, name="pooling", **at_tick)
        )
        # neighbours belong to other populations, as in `memory_pairs`
        order = np.argsort(layout.per_cell(lambda p: np.arange(p.size), int), kind="stable")
        pooling.connect(i=order, j=layout.per_cell(lambda p: p.index, int)[order])
        _sum_at(pooling, "pool")
        pattern = objects.add(
            Synapses(
                objects.memory,
                objects.cells,
                eqs["MEMORY_SYNAPSE"],
                on_pre=eqs["STORE"],
                on_event="store",
                name="memory_pattern",
                **at_tick,
            )
        )
        memories, partners = self.memory_pairs()
        pattern.connect(i=memories, j=partners)
        pattern.pre.when = "store"
        pattern.pre.order = 1
        slots = {"overlap_pre": "compare", "likeness_pre": "compare", "inhibition_post": "inhibit"}
        _sum_at(pattern, slots)
        infonce = self.parameters.learning.loss == "infonce"
        pool_memory = "POOL_MEMORY_INFONCE" if infonce else "POOL_MEMORY"
        memory_pooling = objects.add(
            Synapses(
                objects.memory, objects.normaliser, eqs[pool_memory], name="memory_pooling",
                **at_tick,
            )
        )
        memory_pooling.connect(j="population_pre")
        _sum_at(memory_pooling, "inhibit")

    def memory_pairs(self):
        """Memory interneuron and cell of each memory synapse, in their order.

        Neighbours belong to other memories, `MEMORY_BLOCK` in turn: a long row of additions to
        one sum would wait for each other.

        Returns
        -------
        memories, cells : ndarray of int, shape (n_memory_synapses,)
        """
        memories, cells = [], []
        for memory, n_memories, cell, n_cells in self.memory_blocks():
            memories.append(np.tile(np.arange(memory, memory + n_memories), n_cells))
            cells.append(np.repeat(np.arange(cell, cell + n_cells), n_memories))
        return np.concatenate(memories), np.concatenate(cells)

    def memory_blocks(self):
        """Memory synapses by blocks, in their order: cell by cell, in each memory by memory.

        Returns
        -------
        list of tuple of int
            First memory interneuron, number of them, first cell, number of cells.
        """
        k = self.parameters.learning.memory_slots
        return [
            (number * k + first, min(MEMORY_BLOCK, k - first), population.start, population.size)
            for number, population in enumerate(self.memory_populations)
            for first in range(0, k, MEMORY_BLOCK)
        ]

    def _create_monitors(self, objects):
        self._check_probes(objects.cells)
        run = self.capacity + 1, self.parameters.timing.duration
        cells, afferents = objects.cells, objects.afferents
        objects.trial_cells = TrialRecord(cells, ["n_s", "u"], *run)
        objects.trial_afferents = TrialRecord(afferents, ["n_s"], *run)
        objects.trial_cosine = TrialRecord(objects.normaliser, ["C", "attract", "repel"], *run)
        objects.add(EventMonitor(cells, "recorded", name="cell_spikes"))
        objects.add(EventMonitor(afferents, "recorded", name="afferent_spikes"))
        objects.add(
            StateMonitor(
                cells, [*POTENTIALS, *self.probe_variables],
                record=[p.start + cell for p, cell in self.probes],
                when="after_thresholds", name="probe_voltages",
            )
        )

    def _check_probes(self, cells):
        own = [
            equation.varname for equation in cells.equations.values()
            if equation.var_type == FLOAT and equation.varname not in POTENTIALS
            and not {"shared", "constant", "linked"} & set(equation.flags)
        ]
        names = self.probe_variables
        for name in names:
            if name not in own:
                raise InputError(
                    f"probe_variables: the cells have no variable {name!r} to record besides their "
                    f"potentials: choose from {', '.join(own)}."
                )
        if len(set(names)) < len(names):
            raise InputError(f"probe_variables = {list(names)}: name each variable once.")

    # ------------------------------------------------------------------ run-time values

    def values(self):
        """Parameters of the network as arrays for its Brian2 variables.

        Returns
        -------
        dict of str to ndarray
            Keys ``"object.variable"``; SI units. The structure depends on no value, only on which
            differ between the replicas.
        """
        each = [self._shared_values(p) for p in self.replica_parameters]
        values = dict(each[0])
        for name in self._own_values:
            own = np.array([shared[name] for shared in each])
            if name.startswith("cells."):
                values[name] = self.layout.per_cell(lambda q, own=own: own[q.replica])
            elif name.startswith("memory."):
                replicas = [q.replica for q in self.memory_populations]
                values[name] = np.repeat(own[replicas], self.parameters.learning.memory_slots)
            else:
                values[name] = own[[q.replica for q in self.layout.populations]]
        for name in self._masked:
            bounds = np.empty(self._synapse_numbers()[name])
            for p in self.layout.projections:
                if p.synapses == name:
                    bounds[p.synapse_slice] = p.of_synapses(self.connectivity(p))
            values[f"{name}.w_max"] = bounds * values[f"{name}.w_max"]
        values.update(self._cell_values())
        values.update(
            {
                name: np.asarray(value, float)
                for name, value in self.extra_values.items()
                if name.removeprefix("cells.") not in self.carried
            }
        )
        return values

    def recalled_stimulus(self, values, replica=0):
        """The stimulus that rates or drives of the bottom cells stand for.

        Parameters
        ----------
        values : ndarray, shape (n, n_cells)
            Of all pyramidal cells.
        replica : int

        Returns
        -------
        ndarray, shape (n, n_stimulus)
        """
        bottom = values[:, self.layout.population("B0", replica).cells]
        return bottom[:, self.intensity_cells]

    def recalled_rates(self, rates, replica=0):
        """The stimulus that rates of the bottom cells stand for, as intensities.

        With a stream of high frequencies its cells have a share in it, see
        `bsd.networks.frequencies.with_contrasts`.

        Parameters
        ----------
        rates : ndarray, shape (n, n_cells)
            Of all pyramidal cells, in units of f_max.
        replica : int

        Returns
        -------
        ndarray, shape (n, n_stimulus)
            In 0 to 1.
        """
        recalled = self.recalled_stimulus(rates, replica)
        if self.layout.high:
            contrasts = rates[:, self.layout.population("B0" + HIGH, replica).cells]
            images = recalled.reshape(-1, *image_shape(self.n_stimulus)[:2])
            cutoff = self.replica_parameters[replica].encoding.cutoff
            recalled = with_contrasts(images, contrasts, cutoff).reshape(recalled.shape)
        return recalled.clip(0, 1)

    def _parameters_of(self, population):
        return self.replica_parameters[population.replica]

    def _shared_values(self, p):
        """Constants that all cells of a replica have in common, from its parameters."""
        cell, timing, learning = p.cell, p.timing, p.learning
        p_step = float(timing.f_max * timing.dt)
        decay = float(np.exp(-float(timing.dt) / float(cell.tau_synapse)))
        count_unit = 1 / float(timing.duration * timing.f_max)
        values = {
            "cells.C_m": float(cell.tau_soma * cell.g_leak),
            "cells.g_L": float(cell.g_leak),
            "cells.g_bs": float(cell.g_basal),
            "cells.g_as": float(cell.g_apical),
            "cells.E_L": float(cell.E_leak),
            "cells.theta": float(cell.V_threshold),
            "cells.V_r": float(cell.V_reset),
            "cells.t_ref": float(cell.refractory),
            "cells.tau_b": float(cell.tau_basal),
            "cells.tau_a": float(cell.tau_apical),
            "cells.tau_syn": float(cell.tau_synapse),
            "cells.R_b": float(cell.R_basal),
            "cells.R_a": float(cell.R_apical),
            "cells.I_u": float(cell.I_unit),
            # one spike carries the charge I_u / f_max, whatever dt and tau_syn
            "cells.I_epsc": float(cell.I_unit) * (1 - decay) / p_step,
            "cells.a_s": float(cell.surrogate_width),
            "cells.count_unit": count_unit,
            "cells.step_unit": 1 / timing.steps,
            "afferents.count_unit": count_unit,
            "afferents.p_step": p_step,
            "normaliser.K": learning.memory_slots,
            "normaliser.eps": learning.epsilon,
            "normaliser.margin": learning.margin,
            "normaliser.gated": float(learning.margin_gating),
            "memory.n_slots": learning.memory_slots,
            "memory.familiar": learning.familiarity,
            "afferent_basal.w_max": learning.weight_max,
            "cortical_basal.w_max": learning.weight_max,
            "cells.homeostasis": learning.homeostasis,
            "cells.rate_target": learning.rate_target,
            "cells.rate_window": learning.rate_window,
        }
        if learning.top_rule == "softmax":
            values["cells.beta"] = learning.softmax_gain
        if learning.top_rule == "vector":
            values["cells.vector_gain"] = learning.vector_gain
        return values

    def _cell_values(self):
        """Constants of each cell and population: the rule by which it learns, and how fast."""
        layout, learning = self.layout, self.parameters.learning
        top = f"F{layout.depth + 1}"

        def bottom(q, rule):
            return q.layer == 0 and self._parameters_of(q).learning.bottom_rule == rule

        def hidden(q):
            return q.name != top and q.layer > 0

        rules = {
            "reco": lambda q: (hidden(q) and learning.loss != "mse")
            or (q.name == top and learning.top_rule == "reco"),
            "delta_spikes": lambda q: (hidden(q) and learning.loss == "mse")
            or (q.name == top and learning.top_rule in ("delta", "vector"))
            or bottom(q, "delta"),
            "delta_volts": lambda q: bottom(q, "voltage"),
            "by_voltage": lambda q: learning.features == "voltages" and self.has_memory(q),
        }
        if learning.features == "voltages":
            rules["graded"] = lambda q: layout.partner(q).pathway != "afferent"
        if learning.top_rule == "softmax":
            rules["softmax"] = lambda q: q.name == top
        values = {
            f"cells.{name}": layout.per_cell(lambda q, rule=rule: float(rule(q)))
            for name, rule in rules.items()
        }
        values["normaliser.lam"] = np.array(
            [
                getattr(self._parameters_of(q).learning, "lam_high" if q.is_high else "lam")
                for q in layout.populations
            ]
        )
        values["cells.apical"] = np.ones(layout.n_cells)
        if learning.loss == "infonce":
            values["normaliser.temperature"] = np.array(
                [self._parameters_of(q).learning.temperature for q in layout.populations]
            )
        values["cells.eta"] = layout.per_cell(self._learning_rate)
        values["cells.bias"] = layout.per_cell(self._asymmetry)
        if learning.top_rule == "vector":
            tuning = self.encoding_matrix() / self.encoding_matrix().sum(axis=0).max()
            number = np.arange(self.n_concepts) - (self.n_concepts - 1) / 2
            for name, of_cell in (("vote", tuning.sum(axis=0)), ("place", number @ tuning)):
                values[f"cells.{name}"] = layout.per_cell(
                    lambda q, of_cell=of_cell: of_cell if q.name == top else 0.0
                )
        return values

    @property
    def intensity_cells(self):
        """Which stimulus afferents, and cells that recall them, are of intensity, (n_stimulus,).

        The afferents of a pixel follow one another: the intensities of its colours, and with
        ``encoding.contrast`` its ON and then its OFF cells.
        """
        colours = image_shape(self.n_stimulus)[2] if self.n_contrast else 1
        per_pixel = colours * (1 + self.n_contrast // self.n_stimulus)
        return (np.arange(self.n_stimulus // colours)[:, None] * per_pixel
                + np.arange(colours)).ravel()

    @property
    def is_autoencoder(self):
        """Whether the output is a code: its own spikes are what the backward network decodes."""
        return self.parameters.encoding.autoencoder

    @property
    def n_delays(self):
        """Time steps that a spike needs from the stimulus to the code and back to the bottom."""
        return 2 * self.layout.depth + 1

    @property
    def cells_per_layer(self):
        """Cells of each layer, of the stimulus without context cells."""
        return [self.n_stimulus, *self.layout.layers[1:]]

    def _synapse_numbers(self):
        return {p.synapses: p.synapse_slice.stop for p in self.layout.projections}

    def connectivity(self, projection):
        """Which cells of a projection's source reach which cells of its target.

        Returns
        -------
        ndarray of bool, shape (n_pre, n_post)
            See `bsd.networks.receptive_fields`.
        """
        connected = self._connected(projection.name)
        return np.ones(projection.shape, dtype=bool) if connected is None else connected

    def fan_out(self, population):
        """Synapses that each cell of a population has on the basal dendrites of its target.

        Returns
        -------
        ndarray of int, shape (size,)
        """
        for projection in self.layout.projections:
            source = projection.source
            within = source.start <= population.start and population.stop <= source.stop
            if within and source.pathway == population.pathway:
                first = population.start - source.start
                fan_out = self.connectivity(projection).sum(axis=1)
                return fan_out[first : first + population.size]
        return np.zeros(population.size, dtype=int)

    @property
    def n_synapses(self):
        """Number of plastic synapses, those outside receptive fields left out."""
        layout = self.layout
        return sum(int(self.fan_out(p).sum()) for p in layout.afferents + layout.populations)

    def _asymmetry(self, population):
        """Asymmetry of the delta rule of each cell.

        Cells of one concept go from cautious to bold, so that their sum grades its evidence.
        """
        p = self._parameters_of(population)
        if population.pathway == "backward" and population.layer == 0:
            return p.learning.bottom_asymmetry
        if population.name != f"F{self.layout.depth + 1}":
            return 0.0
        n = p.encoding.cells_per_concept
        spread = p.learning.diversity * ((2 * np.arange(n) + 1) / n - 1)
        return np.tile(spread, self.n_concepts)

    def _learning_rate(self, population):
        learning, top = self._parameters_of(population).learning, self.layout.depth + 1
        if population.name == f"F{top}":
            return learning.eta_top
        if population.layer == 0:
            return learning.eta_bottom
        if population.pathway == "forward":
            return learning.eta if learning.hidden == "learned" else 0.0
        learned = learning.feedback == "learned" and learning.hidden == "learned"
        return learning.eta_feedback if learned else 0.0

    def initial_state(self, seed):
        """What a chunk hands on to the next, at the start: weights, memories, context, `carried`.

        Parameters
        ----------
        seed : int or sequence of int
            One for each replica; replica r has `seed` + r where one number is given.

        Returns
        -------
        dict of str to ndarray
            Keys ``"object.variable"``.

        Raises
        ------
        InputError
            As `seeds`, or if the start of what is `carried` has another size than one or the cells.
        """
        layout, seeds = self.layout, self.seeds(seed)
        weights = {name: np.zeros(n) for name, n in self._synapse_numbers().items()}
        for projection in layout.projections:
            n_pre, n_post = projection.shape
            learning = self._parameters_of(projection.source).learning
            ends = (0,) if self.is_autoencoder else (0, layout.depth + 1)  # a code is inside
            readout = projection.target.layer in ends
            gain = learning.init_gain_readout if readout else learning.init_gain
            words = [*seed_words(seeds[projection.source.replica]), *projection.name.encode()]
            generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
            connected = self.connectivity(projection)
            scale = connected * gain / np.sqrt(np.maximum(connected.sum(axis=0), 1))
            if projection.kind == "sensory" and self.n_context:
                scale[: self.n_stimulus] = gain / np.sqrt(self.n_stimulus)
                scale[self.n_stimulus :] = learning.init_gain_context / np.sqrt(self.n_context)
            normal = generator.standard_normal((n_pre, n_post)) * scale
            weights[projection.synapses][projection.synapse_slice] = projection.of_synapses(
                normal.clip(-learning.weight_max, learning.weight_max)
            )
        state = {name: np.zeros(n) for name, n in self.state_sizes.items()}
        state |= {f"{name}.w": w for name, w in weights.items()}
        state["cells.rate"] = layout.per_cell(
            lambda p: self._parameters_of(p).learning.rate_target
        )
        state["memory.pointer"] = state["memory.pointer"].astype(np.int32)
        for name in self.carried:
            start = np.asarray(self.extra_values[f"cells.{name}"], float)
            if start.size not in (1, layout.n_cells):
                raise InputError(
                    f"values['cells.{name}']: {start.size} values given: one is needed, or one for "
                    f"each of {layout.n_cells} cells."
                )
            state[f"cells.{name}_kept"][:] = start.ravel()
        return state

    @property
    def state_sizes(self):
        """Size of each array of `initial_state`, by its name."""
        slots = self.parameters.learning.memory_slots
        memories = sum(p.size for p in self.memory_populations)
        return {
            **{f"{name}.w": n for name, n in self._synapse_numbers().items()},
            "memory_pattern.mu": memories * slots,
            "cells.rate": self.layout.n_cells,
            "memory.pointer": len(self.memory_populations) * slots,
            "afferents.held": self.layout.n_afferents,
            **{f"cells.{name}_kept": self.layout.n_cells for name in self.carried},
        }

    def seeds(self, seed):
        """Seed of each replica.

        Raises
        ------
        InputError
            If their number is another than that of the replicas, or one is no whole number or
            negative.
        """
        replicas = self.layout.replicas
        for one in np.atleast_1d(np.asarray(seed, dtype=object)):
            if isinstance(one, bool) or not isinstance(one, (int, np.integer)) or one < 0:
                raise InputError(f"seed = {one!r}: give a whole number that is not negative.")
        if np.ndim(seed) == 0:
            return [int(seed) + replica for replica in range(replicas)]
        if len(seed) != replicas:
            raise InputError(f"{len(seed)} seeds for {replicas} replicas: give one for each.")
        return [int(one) for one in seed]

    def encoder_keys(self, seed):
        """Random stream of each afferent, ``"afferents.key"``."""
        keys, seeds = np.empty(self.layout.n_afferents, dtype=np.int32), self.seeds(seed)
        for p in self.layout.afferents:
            keys[p.cells] = stream_keys(seeds[p.replica], f"encoder {p.name}", p.size)
        return {"afferents.key": keys}


def _check_alike(parameters):
    """Refuse parameters of replicas that differ in what shapes the code."""
    first = dict(parameters[0].items())
    for replica, other in enumerate(parameters):
        for key, value in other.items():
            if key == "cell.refractory":
                same = (float(value) > 0) == (float(first[key]) > 0)
            else:
                same = value == first[key]
            if not same and (key in STRUCTURAL or key.split(".")[0] in STRUCTURAL):
                raise InputError(
                    f"replica {replica} has {key} = {value}, replica 0 {first[key]}: all replicas "
                    "of a network have this in common; run them as networks of their own."
                )


def _sum_at(synapses, slots):
    """Say when the summed variables of a Synapses are computed: once per trial, in a slot."""
    for name, updater in synapses.summed_updaters.items():
        updater._clock = synapses.clock  # Brian2 would take the target's, and sum in every step
        updater.when = slots if isinstance(slots, str) else slots[name]
