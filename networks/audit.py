"""Is the network biologically plausible? The paper's five criteria, checked on Brian2 objects.

Evidence is what the objects hold: statements with the identifiers that Brian2 resolves
(`bsd.networks.statements`), index and synapse arrays, clocks and slots, weights. No verdict is
taken from a name or a documentation string.

C1  Forward and backward weights are separate, and asymmetric.
C2  Plasticity is local: a weight change reads its synapse, its two cells and constants; a cell
    reads, for learning, itself, its partner's spikes and its population's own interneurons
    (memories are silenced by those of the partner population that hold the same trial: a note).
C3  No phases: both pathways learn in the same step; but for the learning switch of the trial
    table, neither learning nor the cells know what kind of trial it is, or the time.
C4  Between populations of different layers only spikes pass.
C5  What teaches is unsigned spikes.

A graded signal from another layer breaks C4 where it can reach the membrane, C2 where it reaches
learning only. One that comes from the partner in the same layer is listed under C4; it breaks C5,
because then something else than spikes teaches (the paper's voltage features do so).

References
----------
Biologically Plausible Learning via Bidirectional Spike-Based Distillation. arXiv 2509.20284.
"""

import ast
import gc
import inspect
import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
from brian2 import NeuronGroup, Synapses

from bsd.equations import InputError
from bsd.networks.bidirectional import CONTROL_COLUMNS
from bsd.networks.describe import runtime_device
from bsd.networks.equation_errors import explained
from bsd.networks.signs import signed_variables
from bsd.networks.statements import SPIKES, read_model, touched_arrays

__all__ = ["CRITERIA", "Audit", "audit"]

CRITERIA = {
    "C1": "separate, asymmetric weights",
    "C2": "local plasticity",
    "C3": "no phases",
    "C4": "only spikes between layers",
    "C5": "unsigned spikes teach",
}

#: What is no criterion of the paper, but what a biologist would object to.
OBJECTIONS = "open"

#: Below it (degrees) feedback weights count as a copy of the forward weights, up to scale.
SMALLEST_ANGLE = 1.0

#: Presynaptic cells with which the functions of dense projections are tried out.
N_TRIED = 7


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes
    ----------
    table : DataFrame
        Columns criterion (``C1`` to ``C5``, or ``open`` for what a biologist would object to),
        check, verdict (``pass``, ``fail``, or ``note`` for what is only listed), evidence.
    """

    table: pd.DataFrame

    @property
    def verdicts(self):
        """Criterion to ``pass`` or ``fail``."""
        failed = set(self.table.loc[self.table["verdict"] == "fail", "criterion"])
        return {criterion: "fail" if criterion in failed else "pass" for criterion in CRITERIA}

    @property
    def passed(self):
        """Whether no criterion fails."""
        return "fail" not in self.verdicts.values()


def audit(network, weights=None):
    """Check a network against the five criteria.

    Parameters
    ----------
    network : BidirectionalNetwork
    weights : dict of str to ndarray, optional
        Weights of one replica by projection, as in ``weights.npz`` of a results folder; by
        default the initial weights of seed 0.

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        If `weights` are those of another network, or changed equations do not work.

    Notes
    -----
    The Brian2 objects are made on the runtime device and dropped again. What cannot be read (a
    network operation, a function with hidden state) fails C2. The NumPy and C++ code of dense
    projections is searched for variables that it does not declare, and the NumPy version is
    tried out against the plain synapses; code for other targets is not read.
    """
    with runtime_device(), explained(network):
        objects = network.create()
        for group in objects:
            if isinstance(group, NeuronGroup):
                group.equations.check_units(group, run_namespace={})
                group.state_updater.update_abstract_code(run_namespace={})
        for thing in objects.network().sorted_objects:
            thing.before_run({})  # units of all other statements
        _set_values(network, objects, weights)
        table = _Auditor(network, objects, weights is not None).table()
        del objects
        gc.collect()
    return Audit(table)


def _set_values(network, objects, weights):
    """Put constants and weights into the objects, as the engine does before a run."""
    state = network.initial_state(0)
    for projection in network.layout.projections if weights is not None else []:
        given = np.asarray(weights.get(projection.name, ()))
        if given.shape != projection.shape:
            raise InputError(
                f"weights {projection.name}: shape {given.shape}, the network has "
                f"{projection.shape}: audit it with the options of its run."
            )
        state[f"{projection.synapses}.w"][projection.synapse_slice] = projection.of_synapses(given)
    for key, value in (network.values() | state).items():
        group, name = key.split(".")
        variable = getattr(objects, group).variables[name]
        variable.set_value(np.asarray(value, dtype=variable.dtype))


@dataclass(frozen=True, eq=False)
class _Link:
    """Members of one group from which something reaches members of another, or of the same.

    `source` and `target` are group names, `pre` and `post` the members, pair by pair; `graded`
    names what passes besides spikes.
    """

    statement: object
    source: str
    pre: np.ndarray
    target: str
    post: np.ndarray
    graded: list

    @property
    def writes(self):
        return self.statement.target.name


class _Auditor:
    def __init__(self, network, objects, trained):
        self.network, self.objects, self.trained = network, objects, trained
        self.layout = network.layout
        self.model = read_model(objects)
        self.rows = []
        self._number_populations()
        self.weights = {projection.synapses for projection in self.layout.projections}
        self.firing = self.model.ancestors(
            [("cells", SPIKES), ("afferents", SPIKES)],
            lambda access: access.is_event or self._is_synaptic(access),
        )
        plastic = {
            s.target.key for s in self.model.statements
            if self._is_synaptic(s.target) and self._joins_cells(s.target.group)
        }
        self.learning = self.model.ancestors(plastic, lambda access: access.name == SPIKES)
        self.only_learning = self.learning - self.firing
        self.membranes = {
            s.target.key for s in self.model.statements
            if s.kind == "d/dt" and self._is_cell(s.target.group)
        }
        self.lessons = self.model.ancestors(  # what reaches a weight other than by the membrane
            plastic, lambda access: access.name == SPIKES or access.key in self.membranes
        )
        self.relevant = [
            s for s in self.model.statements if s.target.key in self.learning | self.firing
        ]
        self.links = [link for s in self.relevant for link in self._links_of(s)]
        self.homes = self._homes()
        self.signed = signed_variables(self.model)

    def table(self):
        self._separate_weights()
        self._angles()
        self._plasticity()
        self._dense_functions()
        self._interneurons()
        self._unread()
        self._same_step()
        self._phases()
        self._between_layers()
        self._teachers()
        self._signed()
        self._objections()
        table = pd.DataFrame(self.rows, columns=["criterion", "check", "verdict", "evidence"])
        order = [*CRITERIA, OBJECTIONS]
        return table.sort_values(
            "criterion", key=lambda c: c.map(order.index), kind="stable", ignore_index=True
        )

    # ------------------------------------------------------------------ rows

    def _verdict(self, criterion, check, faults, evidence):
        """One row: what is wrong if anything is, else the evidence."""
        faults = list(dict.fromkeys(faults))
        verdict = "fail" if faults else "pass"
        self.rows.append((criterion, check, verdict, "; ".join(faults) if faults else evidence))

    def _note(self, criterion, check, evidence):
        self.rows.append((criterion, check, "note", evidence))

    # ------------------------------------------------------------------ who is who

    def _number_populations(self):
        """Population of each cell and afferent, and its partner, by one numbering of both."""
        layout = self.layout
        self.populations = layout.populations + layout.afferents
        number = {(p.name, p.replica): k for k, p in enumerate(self.populations)}
        self.population_of = {
            "cells": layout.per_cell(lambda p: number[p.name, p.replica], int),
            "afferents": layout.per_afferent(lambda p: number[p.name, p.replica], int),
        }
        self.first = {"cells": 0, "afferents": layout.n_cells}

        def partner(p):
            other = layout.partner(p)
            group = "afferents" if other.pathway == "afferent" else "cells"
            return self.first[group] + other.start + np.arange(p.size)

        self.partner_of = np.concatenate(
            [layout.per_cell(partner, int), layout.per_afferent(partner, int)]
        )

    def _is_synaptic(self, access):
        return isinstance(self.model.groups.get(access.group), Synapses)

    def _is_cell(self, group):
        return group in self.population_of

    def _joins_cells(self, name):
        synapses = self.model.groups[name]
        return all(self._is_cell(_name_of(end)) for end in (synapses.source, synapses.target))

    def _label(self, number):
        population = self.populations[number]
        replicas = f"[{population.replica}]" if self.layout.replicas > 1 else ""
        return population.name + replicas

    # ------------------------------------------------------------------ who reads whom

    def _links_of(self, statement):
        owner = statement.owner
        if isinstance(owner, NeuronGroup):
            return list(self._links_in_group(statement))
        return self._links_through(statement, owner)

    def _links_in_group(self, statement):
        """Code of a group: a link for each variable of other members that a member reads."""
        owner, target = statement.owner.name, statement.target
        local = target.group not in self.model.groups
        if self._is_synaptic(target) or target.index is None:
            return
        group = owner if local else target.group
        for read in statement.inputs:
            if read.constant or read.index is None or read.group not in self.model.groups:
                continue
            if self._is_synaptic(read):  # the matter of C1
                continue
            other = np.full(len(target.index), read.group != group)
            if read.by != target.by:
                other |= read.index != target.index
            if other.any():
                yield _Link(
                    statement, read.group, read.index[other], group, target.index[other],
                    [read.name],
                )

    def _links_through(self, statement, synapses):
        """Code of synapses: a link between their two cells, and to others that are read."""
        ends = {
            "_presynaptic_idx": (_name_of(synapses.source), "_synaptic_pre"),
            "_postsynaptic_idx": (_name_of(synapses.target), "_synaptic_post"),
        }
        acts = statement.target.by in ends  # else it writes something of the synapse itself
        to = statement.target.by if acts else "_postsynaptic_idx"
        side = next(name for name in ends if name != to)
        members = {name: synapses.variables[array].get_value() for name, (_, array) in ends.items()}
        inputs = [a for a in statement.inputs if not a.constant]
        links = [
            _Link(statement, a.group, a.index, ends[to][0], members[to], [a.name])
            for a in inputs
            if a.by not in {"_idx", "0", *ends} and not self._is_synaptic(a)
        ]
        # what interneurons store in their synapses counts as a graded signal
        if acts or not self._joins_cells(synapses.name):
            crossing = [a for a in inputs if a.by == side]
            graded = [a.name for a in crossing if not self._shows_spikes(a)]
            graded += [f"{name} (stored)" for name in self._stored(inputs, side)]
            if not crossing and not statement.trigger and not graded:
                graded = [a.name for a in inputs if self._is_synaptic(a)]  # acts without a spike
            if crossing or graded:
                links.append(_Link(
                    statement, ends[side][0], members[side], ends[to][0], members[to], graded
                ))
        return links

    def _stored(self, accesses, side):
        """Graded variables of one end that a synapse keeps, its weight apart, and then acts by."""
        found, waiting, seen = [], [a for a in accesses if a.by == "_idx"], set()
        while waiting:
            access = waiting.pop()
            if access.key in seen or (access.name == "w" and access.group in self.weights):
                continue
            seen.add(access.key)
            for writer in self.model.writers(access.key):
                reads = [a for a in writer.reads if not a.constant]
                found += [
                    a.name for a in reads
                    if a.by == side and not self._shows_spikes(a) and not self._is_synaptic(a)
                ]
                waiting += [a for a in reads if a.by == "_idx"]
        return found

    def _shows_spikes(self, access):
        """Whether a variable says no more than whether the cell fires in this step."""
        if access.is_event:
            return access.name == SPIKES
        conditions = [s.tree for s in self.model.writers((access.group, SPIKES))]
        writers = self.model.writers(access.key)
        if any(s.kind == "d/dt" for s in writers):
            return False
        above_zero = ast.dump(ast.parse(f"{access.name} > 0", mode="eval").body)
        conditions = {ast.dump(condition) for condition in conditions}
        return conditions == {above_zero} or all(
            isinstance(s.tree, ast.Call)
            and s.tree.func.id == "int"
            and _conditions(s.tree.args[0]) & conditions
            for s in writers
        )

    def _homes(self):
        """For each interneuron the populations with which it exchanges anything.

        Returns
        -------
        dict of str to ndarray of bool, shape (interneurons, populations)
        """
        groups = {
            name: len(group)
            for name, group in self.model.groups.items()
            if isinstance(group, NeuronGroup) and not self._is_cell(name)
        }
        homes = {name: np.zeros((n, len(self.populations)), bool) for name, n in groups.items()}
        for link in self.links:
            if link.target in homes and self._is_cell(link.source):
                homes[link.target][link.post, self.population_of[link.source][link.pre]] = True
            elif link.source in homes and self._is_cell(link.target):
                homes[link.source][link.pre, self.population_of[link.target][link.post]] = True
        return homes

    # ------------------------------------------------------------------ C1

    def _separate_weights(self):
        faults = []
        for name, w, theta in self._mirrored():
            if np.shares_memory(w, theta):
                faults.append(f"{name} are the same memory")
        faults += [
            f"{projection.name} holds synapses of other populations"
            for projection in self.layout.projections
            if not self._joins_its_populations(projection)
        ]
        sizes = [f"{name}.w ({len(getattr(self.objects, name)):,} weights)"
                 for name in sorted(self.weights)]
        self._verdict(
            "C1", "separate arrays", faults,
            f"{' and '.join(sizes)}, every projection a range of its own that joins its two "
            "populations",
        )
        foreign = [
            f"{s.source} reads {a.group}.{a.name}: {s.text}" + (
                " (of other synapses)" if s.owner.name == a.group else ""
            )
            for s in self.model.statements for a in s.reads
            if a.group in self.weights and not a.constant
            and (s.owner.name != a.group or a.by not in ("_idx", "0"))
        ]
        foreign += [
            f"{name}.w is used in both directions"
            for name in sorted(self.weights) if len(self._directions(name, "w")) > 1
        ]
        foreign += self._try_drive()
        self._verdict(
            "C1", "each weight serves one synapse", foreign,
            "weights are read by the statements of their own synapses, towards the postsynaptic "
            "cell only" + (
                "; the functions of dense projections give the sums over the synapses of "
                f"{N_TRIED} cells tried at a time" if self.objects.dense else ""
            ),
        )

    def _joins_its_populations(self, projection):
        synapses = getattr(self.objects, projection.synapses)
        part = projection.synapse_slice
        group = "afferents" if projection.source.pathway == "afferent" else "cells"
        for side, name, population in (
            ("_synaptic_pre", group, projection.source),
            ("_synaptic_post", "cells", projection.target),
        ):
            numbers = self.population_of[name][synapses.variables[side].get_value()[part]]
            if set(numbers) != set(self.population_of[name][population.cells]):
                return False
        return _name_of(synapses.source) == group and _name_of(synapses.target) == "cells"

    def _directions(self, synapses, name):
        """Ends of a Synapses towards which one of its variables acts."""
        return {
            s.target.by
            for s in self.relevant
            if s.owner.name == synapses
            and s.target.by in ("_presynaptic_idx", "_postsynaptic_idx")
            and any(a.key == (synapses, name) for a in s.reads)
        }

    def _angles(self):
        when = "trained" if self.trained else "initial"
        faults, texts = [], []
        for name, w, theta in self._mirrored():
            angle = _angle(w, theta)
            texts.append(f"{name} {angle:.1f} deg")
            if min(angle, 180 - angle) < SMALLEST_ANGLE:
                faults.append(f"{name} are transposed copies, up to scale: {angle:.2f} deg")
        self._verdict(
            "C1", f"angle, {when} weights", faults, f"{', '.join(texts)} (0: transposed copy)"
        )

    def _mirrored(self):
        """Name, forward and backward weights of each pair of mirrored projections."""
        for projection in self.layout.projections:
            if projection.target.pathway == "forward":
                backward, rows, columns = self.layout.mirror(projection)
                name = f"{projection.name} and {backward.name}"
                if self.layout.replicas > 1:
                    name += f" of replica {projection.source.replica}"
                yield name, self._matrix(projection), self._matrix(backward)[rows, columns]

    def _matrix(self, projection):
        w = getattr(self.objects, projection.synapses).variables["w"].get_value()
        return projection.matrix(w)

    def _try_drive(self):
        """Let a few cells fire: the drive must be the sum over their own synapses."""
        faults, rng = [], np.random.default_rng(0)
        for name, dense in self.objects.dense.items():
            synapses, variables = dense.synapses, dense.synapses.variables
            w = variables["w"].get_value()
            kept = w.copy()
            w[:] = rng.standard_normal(len(w))
            pre, post = (variables[f"_synaptic_{side}"].get_value() for side in ("pre", "post"))
            spikes = synapses.source.variables[SPIKES].get_value()
            population = self.population_of[_name_of(synapses.source)]
            for number in np.unique(population[pre]):
                fired = rng.permutation(np.flatnonzero(population == number))[:N_TRIED]
                spikes[: len(fired)], spikes[-1] = fired, len(fired)
                own = np.isin(pre, fired)
                expected = np.bincount(post[own], w[own], len(synapses.target))
                given = dense.drive.pyfunc(np.arange(len(synapses.target)))
                if not np.allclose(given, expected, rtol=1e-4, atol=1e-4):
                    faults.append(f"{name}_drive is not the sum over the cells' own synapses")
            spikes[-1], w[:] = 0, kept
        return faults

    # ------------------------------------------------------------------ C2

    def _plasticity(self):
        """Statements that write a weight, or anything else that a synapse keeps for learning."""
        for statement in self.relevant:
            own = statement.target.by in ("_idx", "0") and statement.target.key in self.learning
            if not isinstance(statement.owner, Synapses) or not (
                own or self._is_synaptic(statement.target)
            ):
                continue
            faults, found = [], {"synapse": [], "presynaptic": [], "postsynaptic": []}
            side = {"_idx": "synapse", "_presynaptic_idx": "presynaptic",
                    "_postsynaptic_idx": "postsynaptic"}
            for access in statement.inputs:
                if access.constant:
                    continue
                if access.by in side:
                    found[side[access.by]].append(access.name)
                elif not self._is_synaptic(access):  # weights of others are the matter of C1
                    faults.append(f"{statement.text}: reads {access.group}.{access.name}")
            faults = faults or self._shared(statement)
            parts = [f"{k} {', '.join(dict.fromkeys(v))}" for k, v in found.items() if v]
            self._verdict(
                "C2", f"{statement.target.group}.{statement.target.name}", faults,
                f"{statement.text}: reads {'; '.join(parts)}; else constants",
            )

    def _shared(self, statement):
        """Shared variables of other groups that a statement reads."""
        owner = statement.owner
        own = {owner.name, _name_of(getattr(owner, "source", owner)),
               _name_of(getattr(owner, "target", owner))}
        return [
            f"{statement.text}: reads {a.group}.{a.name}"
            for a in statement.reads
            if a.by == "0" and not a.constant and a.group not in own
        ]

    def _dense_functions(self):
        for name, dense in self.objects.dense.items():
            for role in dense.reads:
                declared = {
                    f"{_name_of(group)}.{variable}"
                    for access in (dense.reads, dense.writes)
                    for side, group in (("pre", dense.source), ("post", dense.target),
                                        ("synapse", dense.synapses))
                    for variable in access[role][side]
                }
                function = getattr(dense, role)
                touched = touched_arrays(function, self.model.groups, self.objects.cells)
                hidden = {
                    key for key, variable in touched.items()
                    if key not in declared and not (variable is not None and variable.constant)
                }
                hidden |= self._hidden_in_python(dense, function, declared)
                faults = [f"{name}_{role} touches {key}, undeclared" for key in sorted(hidden)]
                if role == "update" and not faults:
                    faults = self._try_update(name, dense)
                self._verdict(
                    "C2", f"{name}_{role}, code", faults,
                    f"of {', '.join(sorted(declared))}, which it declares, its C++ code touches "
                    f"{', '.join(sorted(set(touched) & declared))}; it and the NumPy code touch no "
                    "others but constants" + (", and change what the plain statement changes"
                                  if role == "update" else ""),
                )

    def _hidden_in_python(self, dense, function, declared):
        """Variables that are named in the NumPy version, but neither declared nor constant."""
        groups = (dense.source, dense.target, dense.synapses)
        variables = {}
        for group in groups:
            for name, variable in group.variables.items():
                variables.setdefault(name, []).append(variable)
        named = _words_of(function.pyfunc, type(dense))
        known = {key.split(".")[1] for key in declared}
        return {
            name for name in named & set(variables) - known
            if not all(v.constant for v in variables[name])
            and name not in ("source", "target", "synapses")
        }

    def _try_update(self, name, dense):
        """Teach a few synapses: the change must be that of the plain statement."""
        rng = np.random.default_rng(1)
        synapses = dense.synapses
        line = ast.parse(textwrap.dedent(self.network.equations["LEARN"]).strip()).body[0]
        pre, post = (synapses.variables[f"_synaptic_{s}"].get_value() for s in ("pre", "post"))
        values = {"clip": np.clip}
        for side, group, index in (("pre", dense.source, pre), ("post", dense.target, post)):
            for variable in dense.reads["update"][side]:
                array = group.variables[variable].get_value()
                array[:] = rng.standard_normal(len(array)) * (rng.random(len(array)) < 0.5)
                values[f"{variable}_{side}"] = array[index]
        w = synapses.variables["w"].get_value()
        kept = w.copy()
        for variable in dense.reads["update"]["synapse"]:
            value = synapses.variables[variable].get_value()
            values[variable] = value.copy() if len(value) > 1 else value[0]
        expected = eval(compile(ast.Expression(line.value), "<LEARN>", "eval"), values)
        dense.update.pyfunc(np.arange(len(dense.target)))
        same = np.allclose(w, expected, rtol=1e-4, atol=1e-5)
        w[:] = kept
        return [] if same else [f"{name}_update does not do {ast.unparse(line)}"]

    def _interneurons(self):
        for name, homes in self.homes.items():
            given = sorted({
                link.graded[0] if isinstance(link.statement.owner, NeuronGroup) else link.writes
                for link in self.links
                if link.source == name and self._is_cell(link.target)
                and not self._is_synaptic(link.statement.target)
            })
            several = np.flatnonzero(homes.sum(axis=1) > 1)
            faults = [
                f"{name} {k} is joined with {', '.join(map(self._label, np.flatnonzero(homes[k])))}"
                for k in several[:3]
            ]
            faults += self._other_homes(name)
            reaches_membrane = any(
                link.source == name and link.statement.target.key in self.firing
                for link in self.links
            )
            self._verdict(
                "C4" if faults and reaches_membrane else "C2", f"{name}, wiring", faults,
                f"{len(homes)} cells, each joined with the cells of one population only; "
                f"gives its cells {', '.join(given) or 'nothing'}"
                + ("" if reaches_membrane else ", which act on learning only"),
            )
            for variable in given:
                formulas = self._formula((name, variable))
                if formulas:
                    self._note("C2", f"{name}.{variable}", formulas)
        self._verdict("C2", "variables shared by all", [
            fault for s in self.relevant if s.target.key in self.only_learning
            for fault in self._shared(s)
        ], "no cell learns from a variable that another group shares")
        self._verdict("C2", "cells read for learning", self._foreign_lessons(), (
            "themselves, their own synapses, their population's interneurons; of other cells the "
            "partner only"
        ))
        self._verdict("C2", "replicas", self._between_replicas(), (
            f"{self.layout.replicas}; nothing joins one with another"
        ))

    def _formula(self, key):
        """How an interneuron comes by what it gives its cells."""
        texts = [s.text for s in self.model.writers(key)]
        for s in self.model.writers(key):
            for read in s.reads:
                if read.group == key[0] and not read.constant and read.key != key:
                    texts += [w.text for w in self.model.writers(read.key) if w.kind == "sum"]
        return "; ".join(dict.fromkeys(texts))

    def _other_homes(self, name):
        """Interneurons that read interneurons of another layer; those of one layer are noted."""
        faults, layout = [], self.network.layout
        number = {population: k for k, population in enumerate(self.populations)}
        partner = [number[layout.partner(population)] for population in self.populations]
        for link in self.links:
            if link.target != name or link.source not in self.homes:
                continue
            source, target = self.homes[link.source][link.pre], self.homes[name][link.post]
            if (source == target).all():
                continue
            if (source & ~(target | target[:, partner])).any():
                faults.append(f"{link.statement.text}: from interneurons of other layers")
            else:
                self._note(
                    "C2", f"{name}, within the layer",
                    f"from interneurons of the partner population: {link.statement.text}",
                )
        return faults

    def _foreign_lessons(self):
        """What cells learn from other cells than their partner, without a spike at a synapse."""
        faults = []
        for link in self._between_cells():
            if link.statement.target.key not in self.only_learning:
                continue
            pre, post = self._numbers(link)
            source, target = self._population_pairs(link)
            if (self.partner_of[post] != pre).any():
                wrong = self.partner_of[post] != pre
                pairs = self._pairs_text(source[wrong], target[wrong])
                faults.append(f"{link.statement.text}: {pairs}, not from the partner")
        return faults

    def _between_replicas(self):
        faults = []
        replica = np.array([p.replica for p in self.populations])
        for link in self._between_cells():
            source, target = self._population_pairs(link)
            wrong = replica[source] != replica[target]
            if wrong.any():
                faults.append(
                    f"{link.statement.text}: {self._pairs_text(source[wrong], target[wrong])}"
                )
        n_columns = len(CONTROL_COLUMNS)
        for statement in self.relevant:
            for array, column in statement.timed:
                if array is self.objects.control and column is not None:
                    own = self._replicas_of(statement.owner.name, replica)
                    if own is not None and (column // n_columns != own).any():
                        faults.append(f"{statement.text}: trial table of another replica")
        return faults

    def _replicas_of(self, group, replica):
        if self._is_cell(group):
            return replica[self.population_of[group]]
        if group in self.homes and (self.homes[group].sum(axis=1) == 1).all():
            return replica[self.homes[group].argmax(axis=1)]
        return None

    def _unread(self):
        self._verdict(
            "C2", "nothing hidden", self.model.unread,
            f"all {len(self.model.statements)} statements were read; no network operation, no "
            "function with access to variables besides those listed",
        )

    # ------------------------------------------------------------------ C3

    def _same_step(self):
        slots = {}
        for statement in self.model.statements:
            if statement.target.name == "w" and statement.target.group in self.weights:
                slots.setdefault(statement.target.group, set()).add(statement.when)
        faults = []
        for projection in self.layout.projections:
            if projection.synapses not in slots:
                faults.append(f"nothing changes {projection.name}")
        if len({frozenset(when) for when in slots.values()}) > 1:
            faults.append("weights change at different times: " + "; ".join(
                f"{name} {_times(when)}" for name, when in sorted(slots.items())
            ))
        self._verdict(
            "C3", "both pathways learn in the same step", faults,
            "; ".join(f"{name} {_times(when)}" for name, when in sorted(slots.items()))
            + ": forward and backward weights",
        )
        clocks = set()
        for statement in self.relevant:
            if self._is_cell(statement.target.group) and statement.kind in ("d/dt", "event"):
                clocks.add(statement.when[0])
        clocks_ms = ", ".join(f"{clock:g}" for clock in sorted(clocks))
        self._verdict(
            "C3", "both pathways run in the same step",
            [] if len(clocks) == 1 else [f"cells run on several clocks: {clocks_ms} ms"],
            f"membranes and spikes of all cells every {clocks_ms} ms",
        )

    def _phases(self):
        faults, table, time = [], [], []
        n_columns = len(CONTROL_COLUMNS)
        for statement in self.relevant:
            learns = statement.target.key in self.only_learning
            afferent = statement.owner.name == "afferents"
            for array, column in statement.timed:
                if array is self.objects.drive:
                    continue
                names = {"a column that varies"}
                if array is self.objects.control and column is not None:
                    names = {CONTROL_COLUMNS[k] for k in np.unique(column % n_columns)}
                allowed = {"learn"} if learns else {"draw"}
                if afferent and not learns:
                    allowed = set(CONTROL_COLUMNS) - {"learn", "record"}
                what = f"{statement.owner.name}.{statement.target.name}"
                text = f"{', '.join(sorted(names))} to {what}"
                (table if names <= allowed else faults).append(text)
            if statement.times and (learns or not afferent):
                time.append(f"{statement.source}: {statement.text}")
        self._verdict(
            "C3", "trial table", [f"read from it: {fault}" for fault in faults],
            "; ".join(table) + ": learning reads its switch only, cells read nothing else, the "
            "encoders their gates and random draw",
        )
        self._verdict(
            "C3", "time", time, "read by the encoders only, neither by cells nor by learning"
        )
        fixed = [
            self._label(k) for k, p in enumerate(self.layout.populations)
            if not self.objects.cells.variables["eta"].get_value()[p.cells].any()
        ]
        if fixed:
            self._note("C3", "learning rate 0", f"onto {', '.join(fixed)}: these never learn")

    # ------------------------------------------------------------------ C4

    def _between_cells(self):
        return [li for li in self.links if self._is_cell(li.source) and self._is_cell(li.target)]

    def _numbers(self, link):
        return self.first[link.source] + link.pre, self.first[link.target] + link.post

    def _population_pairs(self, link):
        return (
            self.population_of[link.source][link.pre], self.population_of[link.target][link.post]
        )

    def _pairs_text(self, source, target):
        pairs = np.unique(np.stack([source, target]), axis=1).T
        shown = [f"{self._label(a)} to {self._label(b)}" for a, b in pairs[:6]]
        return ", ".join(shown) + (f" and {len(pairs) - 6} more" if len(pairs) > 6 else "")

    def _between_layers(self):
        layer = np.array([p.layer for p in self.populations])
        rows = {}
        for link in self._between_cells():
            source, target = self._population_pairs(link)
            across = layer[source] != layer[target]
            for mask, where in ((across, "between layers"), (~across, "within layers")):
                if mask.any():
                    passes = ", ".join(link.graded) if link.graded else "spikes"
                    reaches = link.statement.target.key in self.firing
                    key = (where, link.statement.source, passes, bool(link.graded and reaches))
                    entry = rows.setdefault(key, [set(), self._pairs_text(
                        source[mask], target[mask]), True])
                    entry[0].add(link.writes)
                    pre, post = self._numbers(link)
                    entry[2] &= bool((self.partner_of[post] == pre)[mask].all())
        for (where, source, passes, reaches), (writes, pairs, paired) in rows.items():
            paired = ", partner to partner" if paired else ""
            evidence = f"{passes} to {', '.join(sorted(writes))}: {pairs}{paired}"
            if passes == "spikes":
                self._verdict("C4", f"{where}: {source}", [], evidence)
            elif where == "between layers" and reaches:
                self._verdict("C4", f"{where}: {source}", [f"graded, {evidence}"], "")
            else:
                self._note("C4", f"{where}: {source}", f"graded, {evidence}")
        self._graded_interneurons()

    def _graded_interneurons(self):
        joins = {}
        for link in self.links:
            if not (self._is_cell(link.source) and self._is_cell(link.target)):
                key = (link.statement.source.split("_summed_variable_")[0], link.source,
                       link.target)
                joins.setdefault(key, set()).add(link.writes)
        for (code, source, target), writes in joins.items():
            self._note(
                "C4", f"interneurons: {code}",
                f"graded, {source} to {target}: {', '.join(sorted(writes))}",
            )

    # ------------------------------------------------------------------ C5

    def _teachers(self):
        """What reaches learning from the partner pathway in the same layer."""
        layer = np.array([p.layer for p in self.populations])
        pathway = np.array([p.pathway for p in self.populations])
        taught, faults, texts = np.zeros(len(self.layout.populations), bool), [], []
        for link in self._between_cells():
            statement = link.statement
            if statement.target.key not in self.learning or link.target != "cells":
                continue
            source, target = self._population_pairs(link)
            lesson = (layer[source] == layer[target]) & (pathway[source] != pathway[target])
            if not lesson.any():
                continue
            pairs = self._pairs_text(source[lesson], target[lesson])
            if link.graded:
                signed = any((link.source, name) in self.signed for name in link.graded)
                kind = "graded and signed" if signed else "graded"
                faults.append(f"{', '.join(link.graded)}, {kind}: {statement.text} ({pairs})")
            elif self._can_decrease(statement):
                faults.append(f"spikes with a signed effect: {statement.text} ({pairs})")
            elif statement.target.key in self.lessons:
                taught[target[lesson]] = True
                texts.append(f"{statement.text} at each spike of the partner ({pairs})")
        faults += [
            f"{statement.text}: stimuli teach without a spike"
            for statement in self.relevant if statement.target.key in self.only_learning
            for array, _ in statement.timed if array is self.objects.drive
        ]
        if not taught.all():
            silent = ", ".join(self._label(k) for k in np.flatnonzero(~taught))
            faults.append(f"no partner's spikes teach {silent}")
        self._verdict("C5", "teachers", faults, "; ".join(texts))

    def _can_decrease(self, statement):
        """Whether an unsigned spike can act as a negative number."""
        parts = [a for a in statement.reads if a.key != statement.target.key]
        if any(a.key in self.signed for a in parts):
            return True
        return statement.kind == "-=" or any(
            isinstance(node, ast.USub) for node in ast.walk(statement.tree)
        )

    def _signed(self):
        """Signed quantities on the way from spikes to weights, and where they arise."""
        inherited = []
        for key in sorted(self.learning & set(self.signed)):
            group, name = key
            if self.signed[key]:
                texts = "; ".join(dict.fromkeys(s.text for s in self.signed[key]))
                self._note("C5", f"signed: {group}.{name}", f"arises in {texts}")
            else:
                inherited.append(f"{group}.{name}")
        if inherited:
            self._note("C5", "signed: others", (
                f"from the start, or by what they are made of: {', '.join(inherited)}"
            ))

    # ------------------------------------------------------------------ objections

    def _objections(self):
        mixed = cells = 0
        for name in sorted(self.weights):
            synapses = getattr(self.objects, name)
            pre = synapses.variables["_synaptic_pre"].get_value()
            w = synapses.variables["w"].get_value()
            n = len(synapses.source)
            up, down = np.bincount(pre[w > 0], minlength=n), np.bincount(pre[w < 0], minlength=n)
            mixed += int(((up > 0) & (down > 0)).sum())
            cells += int(((up > 0) | (down > 0)).sum())
        if mixed:
            self._note(OBJECTIONS, "Dale's law",
                       f"{mixed:,} of {cells:,} projecting cells have weights of both signs")
        for key in sorted({s.target.key for s in self.relevant if self._is_synaptic(s.target)}):
            if len(self._directions(*key)) > 1:
                texts = [s.text for s in self.relevant
                         if s.owner.name == key[0] and any(a.key == key for a in s.reads)
                         and not self._is_synaptic(s.target)]
                self._note(OBJECTIONS, "one weight, both directions",
                           f"{'.'.join(key)}: {'; '.join(texts)}")
        errors = sorted({
            a.name for s in self.relevant if s.target.name == "w" for a in s.reads
            if a.group == "cells" and a.key in self.signed
        })
        if errors:
            self._note(OBJECTIONS, "signed local error",
                       f"plasticity multiplies with {', '.join(errors)} of the postsynaptic cell")
        self._resets()
        tick = {s.when[:2] for s in self.relevant
                if s.target.key in self.only_learning and s.when[0] > self._step_ms}
        if tick:
            slots = [slot for slot in self.objects.network().schedule
                     if any(slot == when for _, when in tick)]
            clocks = ", ".join(f"{clock:g}" for clock in sorted({clock for clock, _ in tick}))
            self._note(OBJECTIONS, "learning tick",
                       f"every {clocks} ms in a fixed order: {', '.join(slots)}")
        switches = sorted({f"{s.owner.name}.{s.target.name}" for s in self.relevant
                           if s.target.key in self.only_learning and s.timed})
        if switches:
            self._note(OBJECTIONS, "a switch common to all cells", ", ".join(switches))

    @property
    def _step_ms(self):
        return round(float(self.network.parameters.timing.dt) * 1e3, 9)

    def _resets(self):
        """Membranes that are set, whatever they were, on another clock than that of the steps."""
        reset = [
            s for s in self.relevant
            if s.target.key in self.membranes and s.kind == "=" and s.trigger is None
            and s.when[0] > self._step_ms
        ]
        if reset:
            self._note(OBJECTIONS, "reset between trials",
                       f"{', '.join(s.text for s in reset)} every {reset[0].when[0]:g} ms")


def _name_of(group):
    """Name of a group, of a subgroup that of the whole."""
    return getattr(group, "source", group).name if not isinstance(group, Synapses) else group.name


def _times(when):
    return ", ".join(f"in slot {slot!r} every {clock:g} ms" for clock, slot, _ in sorted(when))


def _angle(w, theta):
    """Angle in degrees between forward weights and transposed backward weights."""
    w, theta = w.ravel().astype(float), theta.T.ravel().astype(float)
    lengths = np.linalg.norm(w) * np.linalg.norm(theta)
    if lengths == 0:
        return float("nan")
    return float(np.degrees(np.arccos(np.clip(w @ theta / lengths, -1, 1))))


def _conditions(node):
    """An expression, or the parts of a conjunction, as text."""
    parts = node.values if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And) else [node]
    return {ast.dump(part) for part in parts}


def _words_of(function, cls, seen=None):
    """Strings and attributes in the source of a method and of what it calls of its class."""
    seen = set() if seen is None else seen
    code = ast.parse(textwrap.dedent(inspect.getsource(function)))
    words = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
            member = inspect.getattr_static(cls, node.attr, None)
            member = member.fget if isinstance(member, property) else member
            if inspect.isfunction(member) and node.attr not in seen:
                seen.add(node.attr)
                words |= _words_of(member, cls, seen)
    return words
