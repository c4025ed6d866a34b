"""What a network computes, statement by statement, read from its Brian2 objects.

Every equation, summed variable, threshold, reset, synaptic pathway and `run_regularly` becomes
`Statement` objects: what is written, what is read, for which members of which groups, and which
event is waited for. Nothing is taken from names or documentation: Brian2 resolves the
identifiers, the index arrays of the objects say who reads whom.
"""

import ast
import inspect
import textwrap
from dataclasses import dataclass, field

import numpy as np
from brian2 import EventMonitor, NeuronGroup, StateMonitor, Synapses, TimedArray
from brian2.core.clocks import Clock
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.variables import ArrayVariable, Constant, Variable
from brian2.devices import get_device
from brian2.equations.equations import DIFFERENTIAL_EQUATION, SUBEXPRESSION
from brian2.groups.group import CodeRunner
from brian2.groups.neurongroup import Resetter, StateUpdater, SubexpressionUpdater, Thresholder
from brian2.groups.subgroup import Subgroup
from brian2.synapses.synapses import SummedVariableUpdater, SynapticPathway

__all__ = ["Access", "Model", "Statement", "read_model"]

SPIKES = "_spikespace"


@dataclass(frozen=True, eq=False)
class Access:
    """A variable as one statement reads or writes it.

    Attributes
    ----------
    group, name : str
        Object that owns the variable, and its name there.
    index : ndarray of int or None
        For each unit of the statement (cell or synapse) the member of `group` that is meant; None
        for a variable that all members share.
    by : str
        Name of the variable that holds `index`: ``_idx`` for the unit itself,
        ``_presynaptic_idx``, ``_postsynaptic_idx``, ``0`` for a shared variable, or another one.
    variable : brian2 Variable or None
        None for events and for intermediate results within a piece of code.
    """

    group: str
    name: str
    index: np.ndarray | None
    by: str
    variable: Variable | None = None

    @property
    def key(self):
        """Group and name."""
        return self.group, self.name

    @property
    def constant(self):
        """Whether no statement can change it."""
        return self.variable is not None and self.variable.constant

    @property
    def is_event(self):
        """Whether this is the event of the group, spikes or others, and no variable."""
        return self.name.startswith("_") and self.name.endswith("space")


@dataclass(frozen=True, eq=False)
class Statement:
    """One assignment, differential equation, sum or condition.

    Attributes
    ----------
    owner : NeuronGroup or Synapses
        Whose members (the units) compute it.
    source : str
        The code that it stands in.
    text : str
    kind : {'=', '+=', ..., 'd/dt', 'sum', 'event'}
    target : Access
    reads : list of Access
    trigger : Access or None
        The event at which it is computed; None for all units at each turn of the clock.
    times : bool
        Whether it reads the time, otherwise than to look up the row of a timed array.
    timed : list of (TimedArray, ndarray or None)
        Timed arrays that it reads and, for each unit, the column; None if that is no constant.
    tree : ast.expr or None
        Right-hand side; None for dense functions, which are no expressions.
    names : dict of str to Access, Constant or Function
        What the identifiers of the right-hand side are.
    when : tuple
        Clock (ms), slot and order.
    """

    owner: object
    source: str
    text: str
    kind: str
    target: Access
    reads: list
    trigger: Access | None = None
    times: bool = False
    timed: list = field(default_factory=list)
    tree: ast.expr | None = None
    names: dict = field(default_factory=dict)
    when: tuple = ()

    @property
    def inputs(self):
        """All that it depends on: what it reads and what it waits for."""
        return self.reads + ([self.trigger] if self.trigger else [])


@dataclass
class Model:
    """All statements of a network.

    Attributes
    ----------
    groups : dict of str to NeuronGroup or Synapses
    statements : list of Statement
    unread : list of str
        Objects and functions of which it cannot be said what they do.
    """

    groups: dict
    statements: list = field(default_factory=list)
    unread: list = field(default_factory=list)

    def writers(self, key):
        """Statements that write the variable."""
        return [s for s in self.statements if s.target.key == key]

    def ancestors(self, keys, stop):
        """Variables on which others depend.

        Parameters
        ----------
        keys : iterable of (str, str)
            Groups and names, part of the result.
        stop : callable
            Takes an Access; where it is true the search ends, the Access is left out.
        """
        found, waiting = set(keys), list(keys)
        while waiting:
            for statement in self.writers(waiting.pop()):
                for access in statement.inputs:
                    if access.key not in found and not access.constant and not stop(access):
                        found.add(access.key)
                        waiting.append(access.key)
        return found


def read_model(objects):
    """Read the Brian2 objects of a network.

    Parameters
    ----------
    objects : BrianObjects
        With their constants set, see `BidirectionalNetwork.values`.

    Returns
    -------
    Model
    """
    things = sorted(objects.network().sorted_objects, key=lambda thing: thing.name)
    groups = {t.name: t for t in things if isinstance(t, (NeuronGroup, Synapses))}
    reader = _Reader(Model(groups), objects.dense)
    for thing in things:
        reader.read(thing)
    return reader.model


class _Reader:
    def __init__(self, model, dense):
        self.model = model
        self._functions = {
            id(getattr(projection, role)): (projection, role)
            for projection in dense.values()
            for role in projection.reads
        }
        self._known = {id(function) for function in DEFAULT_FUNCTIONS.values()}

    def read(self, thing):
        if isinstance(thing, (NeuronGroup, Synapses)):
            self._equations(thing)
        elif isinstance(thing, (StateUpdater, SubexpressionUpdater, StateMonitor, EventMonitor)):
            pass  # the equations are read with their group; monitors change nothing
        elif isinstance(thing, Thresholder):
            self._event(thing)
        elif isinstance(thing, Resetter):
            group = thing.group
            self._code(
                group, thing, group.event_codes[thing.event], _event(group, thing.event, "_idx")
            )
        elif isinstance(thing, SynapticPathway):
            side = {"pre": "_presynaptic_idx", "post": "_postsynaptic_idx"}[thing.prepost]
            trigger = _event(_whole(thing.source), thing.event, side, thing.synapses)
            self._code(thing.synapses, thing, thing.code, trigger)
        elif isinstance(thing, SummedVariableUpdater):
            synapses, name = thing.group, thing.target_varname
            text = f"{name} = sum of {thing.expression.code}"
            self._add(synapses, thing, text, "sum", _access(synapses, name), thing.expression.code)
        elif type(thing) is CodeRunner and getattr(thing, "abstract_code", None):
            self._code(thing.group, thing, thing.abstract_code)
        else:
            self.model.unread.append(f"{type(thing).__name__} {thing.name}")

    def _equations(self, group):
        summed = getattr(group, "summed_updaters", {})
        written = getattr(group, "user_equations", group.equations)
        for name, equation in group.equations.items():  # with what refractoriness adds
            if equation.type == DIFFERENTIAL_EQUATION:
                text, kind = f"d{name}/dt = {written[name].expr.code}", "d/dt"
            elif equation.type == SUBEXPRESSION and name not in summed:
                text, kind = f"{name} = {equation.expr.code}", "="
            else:
                continue
            updater = group.state_updater if kind == "d/dt" else group
            self._add(group, updater, text, kind, _access(group, name), equation.expr.code)
        refractory = getattr(group, "_refractory", False)
        if isinstance(refractory, str):
            text, target = f"refractory for {refractory}", _access(group, "not_refractory")
            self._add(group, group.state_updater, text, "=", target, refractory)

    def _event(self, thresholder):
        group, event = thresholder.group, thresholder.event
        condition = group.events[event]
        text = f"{event} if {condition}"
        self._add(group, thresholder, text, "event", _event(group, event, "_idx"), condition)

    def _code(self, group, runner, code, trigger=None):
        own = {}
        for line in ast.parse(textwrap.dedent(code)).body:
            name = (line.targets[0] if isinstance(line, ast.Assign) else line.target).id
            if name not in group.variables:
                own[name] = Access(runner.name, name, np.arange(_size(group)), "_idx")
            kind = "=" if isinstance(line, ast.Assign) else _OPERATORS[type(line.op)]
            target = own[name] if name in own else _access(group, name)
            self._add(
                group, runner, ast.unparse(line), kind, target, ast.unparse(line.value), trigger,
                own,
            )

    def _add(self, group, runner, text, kind, target, expression, trigger=None, own=None):
        """One statement; one more for each dense function that it calls."""
        tree = ast.parse(expression.strip(), mode="eval").body
        when = (round(float(runner.clock.dt) * 1e3, 9), runner.when, runner.order)
        names, functions, rows = {}, {}, set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                functions[node.func.id] = group.resolve_all([node.func.id], {}, ())[node.func.id]
                if isinstance(functions[node.func.id], TimedArray) and _is_time(node.args[0]):
                    rows.add(id(node.args[0]))
        clock = False
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id not in functions:
                names[node.id] = _resolve(group, node.id, own or {})
                clock |= id(node) not in rows and names[node.id] is _TIME
        accesses = [value for value in names.values() if isinstance(value, Access)]
        timed = [
            (functions[node.func.id], _column(node, names))
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(functions[node.func.id], TimedArray)
        ]
        common = {"source": runner.name, "trigger": trigger, "when": when}
        dense = any(id(function) in self._functions for function in functions.values())
        for name, function in functions.items():
            if id(function) in self._functions:
                projection, role = self._functions[id(function)]
                self._dense(name, projection, role, target, kind, common)
            elif not isinstance(function, TimedArray) and id(function) not in self._known:
                self._user_function(name, function, group)
        self.model.statements.append(
            Statement(
                group, text=text, kind=kind, target=target, reads=accesses, times=clock,
                timed=timed, tree=None if dense else tree, names=names | functions, **common,
            )
        )

    def _dense(self, name, projection, role, target, kind, common):
        """What a dense function does, as statements of the synapses that it stands for."""
        synapses, reads, trigger = projection.synapses, [], None
        for side, variables in projection.reads[role].items():
            for variable in variables:
                if variable == SPIKES:
                    trigger = _event(synapses.source, "spike", "_presynaptic_idx", synapses)
                else:
                    reads.append(_of_side(synapses, side, variable))
        common = common | {"trigger": trigger}
        post = synapses.variables["_synaptic_post"].get_value()
        calls = Access(target.group, target.name, post, "_postsynaptic_idx", target.variable)
        self.model.statements.append(
            Statement(synapses, text=f"{target.name} {kind} {name}(i)", kind=kind, target=calls,
                      reads=reads, **common)
        )
        for side, variables in projection.writes[role].items():
            for variable in variables:
                written = _of_side(synapses, side, variable)
                self.model.statements.append(
                    Statement(synapses, text=f"{name}(i) writes {variable}", kind="=",
                              target=written, reads=reads, **common)
                )

    def _user_function(self, name, function, group):
        """A function of its arguments alone, as far as can be seen; else it counts as unread."""
        if name in {unread.split(":")[0] for unread in self.model.unread}:
            return
        hidden = sorted(touched_arrays(function, self.model.groups, group))
        python = function.pyfunc
        held = [] if not inspect.isfunction(python) else [
            key
            for scope in inspect.getclosurevars(python)[:2]
            for key, value in scope.items()
            if not (callable(value) or inspect.ismodule(value) or np.isscalar(value))
        ]
        if inspect.ismethod(python):
            held.append(f"its object, a {type(python.__self__).__name__}")
        if hidden or held:
            self.model.unread.append(f"{name}: a function that reads {', '.join(hidden + held)}")


#: The time, as opposed to variables.
_TIME = Constant("t", value=0.0)

_OPERATORS = {ast.Add: "+=", ast.Sub: "-=", ast.Mult: "*=", ast.Div: "/=", ast.Mod: "%="}


def touched_arrays(function, groups, owner):
    """Arrays of Brian2 objects that the C++ code of a function names.

    Parameters
    ----------
    function : brian2.Function
    groups : dict of str to Group
    owner : Group
        For which the code is made.

    Returns
    -------
    dict of str to Variable or None
        ``"group.variable"``, or the name of an array that belongs to no group.
    """
    implementation = function.implementations._implementations.get("cpp")
    code = (implementation.get_code(owner) if implementation else None) or ""
    text = code if isinstance(code, str) else "\n".join(code.values())
    words = {word for line in text.splitlines() for word in _words(line)}
    words = {word for word in words if word.startswith(("_array_", "_dynamic_array_"))}
    touched = {}
    for group in groups.values():
        for variable in group.variables.values():
            if isinstance(variable, ArrayVariable):
                names = {get_device().get_array_name(variable, data) for data in (True, False)}
                if names & words:
                    touched[f"{variable.owner.name}.{variable.name}"] = variable
                    words -= names
    return touched | dict.fromkeys(words)


def _words(line):
    bare = line.split("//")[0]
    return "".join(c if c.isalnum() or c == "_" else " " for c in bare).split()


def _is_time(node):
    return isinstance(node, ast.Name) and node.id == "t"


def _whole(group):
    return group.source if isinstance(group, Subgroup) else group


def _size(group):
    return len(group.variables["_synaptic_pre"].get_value() if isinstance(group, Synapses)
               else group)


def _index(group, name):
    """Members that the units of a group mean by an index variable."""
    return np.arange(_size(group)) if name == "_idx" else group.variables[name].get_value()


def _access(group, name):
    return _access_by(group, name, group.variables.indices[name], group)


def _access_by(group, name, by, units):
    """A variable of `group`, found by an index variable of the units."""
    variable = group.variables[name]
    if variable.scalar:
        by = "0"
    index = None if by == "0" else _index(units, by)
    return Access(variable.owner.name, variable.name, index, by, variable)


def _of_side(synapses, side, name):
    group, by = {
        "pre": (synapses.source, "_presynaptic_idx"),
        "post": (synapses.target, "_postsynaptic_idx"),
        "synapse": (synapses, "_idx"),
    }[side]
    return _access_by(group, name, by, synapses)


def _event(group, event, by, units=None):
    return Access(group.name, f"_{event}space", _index(units or group, by), by)


def _resolve(group, name, own):
    if name in own:
        return own[name]
    if name not in group.variables:
        return group.resolve_all([name], {}, ())[name]
    variable = group.variables[name]
    if isinstance(variable, Constant):
        return variable
    if isinstance(getattr(variable, "owner", None), Clock):
        if name in ("t", "t_in_timesteps"):
            return _TIME
        return Constant(name, value=float(variable.get_value().item()))
    return _access(group, name)


def _column(call, names):
    """Column of a timed array for each unit, or None if it is no constant."""
    if len(call.args) == 1:
        return np.zeros(1, dtype=int)
    values = {}
    for node in ast.walk(call.args[1]):
        if isinstance(node, ast.Call):
            return None
        if isinstance(node, ast.Name):
            value = names[node.id]
            if isinstance(value, Constant):
                values[node.id] = value.value
            elif value.constant:
                numbers = value.variable.get_value()
                values[node.id] = numbers[0 if value.index is None else value.index]
            else:
                return None
    column = compile(ast.Expression(call.args[1]), "<column>", "eval")
    return np.atleast_1d(eval(column, {"__builtins__": {}}, values))
