"""Integration of the compartments: the staggered exponential Euler method.

Dendrites, soma and synaptic currents are conditionally linear, so each has an exact
exponential step while the others are held. The variables are updated one after the other in
the order in which their equations are listed, each from the values already updated
(Gauss-Seidel), instead of all from the old values as in Brian2's ``exponential_euler``.
A dendrite with a vanishing time constant then follows its input, and the soma follows the
dendrite, within one and the same step: the `discrete` parameter set is an ordinary limit of
the equations and needs no code of its own.
"""

import sympy as sp
from brian2.parsing.sympytools import sympy_to_str
from brian2.stateupdaters.base import (
    StateUpdateMethod,
    UnsupportedEquationsException,
    extract_method_options,
)
from brian2.stateupdaters.exponential_euler import get_conditionally_linear_system

__all__ = ["StaggeredExponentialEuler", "staggered"]

#: What to do about an equation that is not linear in its own variable.
CURE = (
    "give the nonlinear term a variable of its own, for example "
    "dI_ca/dt = (I_max/(1 + exp(-(v_a - V_half)/k)) - I_ca)/tau_ca."
)


class StaggeredExponentialEuler(StateUpdateMethod):
    """Brian2 state updater: sequential exponential Euler, first order in ``dt``.

    The option ``order`` (list of variable names) says which variables are updated first; those
    that it does not name follow.
    """

    def __call__(self, equations, variables=None, method_options=None):
        options = extract_method_options(method_options, {"order": None})
        if equations.is_stochastic:
            raise UnsupportedEquationsException("Stochastic equations cannot be staggered.")
        try:
            system = get_conditionally_linear_system(equations, variables)
        except ValueError as error:
            raise UnsupportedEquationsException(f"{error}: {CURE}") from None
        order = list(options["order"] or [])
        if len(set(order)) < len(order) or not set(order) <= set(system):
            raise UnsupportedEquationsException(
                f"'order' must name variables of {sorted(system)}, each at most once, got {order}."
            )
        order += [name for name in system if name not in order]
        code = []
        for name in order:
            rate, drive = (_without_refractoriness(term) for term in system[name])
            if rate == 0:
                raise UnsupportedEquationsException(f"d{name}/dt does not depend on {name}.")
            if name in {symbol.name for symbol in rate.free_symbols | drive.free_symbols}:
                raise UnsupportedEquationsException(f"d{name}/dt is not linear in {name}: {CURE}")
            x, dt = sp.Symbol(name), sp.Symbol("dt")
            code.append(f"_decay_{name} = {sympy_to_str(sp.exp(rate * dt))}")
            if drive == 0:
                code.append(f"{name} = _decay_{name} * {sympy_to_str(x)}")
            else:
                steady_state = sp.cancel(sp.together(-drive / rate))
                code.append(f"_inf_{name} = {sympy_to_str(steady_state)}")
                code.append(f"{name} = _inf_{name} + _decay_{name} * ({name} - _inf_{name})")
        return "\n".join(code)


def _without_refractoriness(term):
    """Drop the factor int(not_refractory): Brian2 already withholds the write while refractory."""
    term = sp.sympify(term)
    factors = [f for f in term.atoms(sp.Function) if "not_refractory" in str(f)]
    return term.subs({factor: 1 for factor in factors})


staggered = StaggeredExponentialEuler()
