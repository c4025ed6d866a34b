"""What is the model? Brian2 equation strings with units, and their parameters."""

from bsd.equations import encoders, interneurons, plasticity, pyramidal
from bsd.equations.errors import InputError
from bsd.equations.parameters import (
    BIOPHYSICAL,
    DISCRETE,
    CellParameters,
    EncodingParameters,
    LearningParameters,
    ModelParameters,
    TimingParameters,
)

__all__ = [
    "BIOPHYSICAL",
    "DISCRETE",
    "CellParameters",
    "EncodingParameters",
    "InputError",
    "LearningParameters",
    "ModelParameters",
    "TimingParameters",
    "equation_set",
]


def equation_set(changes=None):
    """All equation strings of the model by name, some of them replaced.

    Parameters
    ----------
    changes : dict of str to str, optional
        New text for named strings, for example ``{"THRESHOLD": "v_s > theta + 1*mV"}``.

    Returns
    -------
    dict of str to str (``ENCODERS`` is a dict of its own)

    Raises
    ------
    InputError
        If a name is unknown.
    """
    equations = {}
    for module in (pyramidal, encoders, interneurons, plasticity):
        equations.update({name: getattr(module, name) for name in module.__all__})
    for name, text in (changes or {}).items():
        if name not in equations:
            raise InputError(
                f"unknown equation string {name!r}: choose one of {', '.join(sorted(equations))}."
            )
        if name == "INTEGRATION_ORDER":
            fits = isinstance(text, list) and all(isinstance(v, str) for v in text)
        elif name == "ENCODERS":
            fits = isinstance(text, dict) and text.keys() == equations[name].keys()
        else:
            fits = isinstance(text, str)
        if not fits:
            raise InputError(
                f"equations[{name!r}] must be of the same kind as the text that it replaces, a "
                f"{type(equations[name]).__name__}."
            )
        equations[name] = text
    return equations
