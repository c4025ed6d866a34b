"""What is the model? Brian2 equation strings with units, and their parameters."""

import difflib
import hashlib
import json
import re
import warnings
from dataclasses import dataclass

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
    "assignments",
    "code_lines",
    "digest",
    "equation_set",
    "without_comments",
]


def equation_set(changes=None):
    """All equation strings of the model by name, some of them replaced.

    Parameters
    ----------
    changes : dict of str to str, optional
        New text for named strings, for example ``{"RESET": "v_s -= theta - V_r"}``; of ``ENCODERS``
        a dict, of ``INTEGRATION_ORDER`` a list. One that changes nothing is warned of.

    Returns
    -------
    dict of str to str, dict or list

    Raises
    ------
    InputError
        If a name is unknown or its text of another kind, a statement assigns what no equation
        declares and nothing reads, or a string reads Brian2's random numbers or the time.
    """
    equations = {}
    for module in (pyramidal, encoders, interneurons, plasticity):
        equations.update({name: getattr(module, name) for name in module.__all__})
    for name, text in (changes or {}).items():
        if name not in equations:
            near = difflib.get_close_matches(name, equations, n=1)
            hint = f"did you mean {near[0]!r}? Else " if near else ""
            raise InputError(
                f"unknown equation string {name!r}: {hint}choose one of "
                f"{', '.join(sorted(equations))}."
            )
        if name == "INTEGRATION_ORDER":
            fits = isinstance(text, list) and all(isinstance(v, str) for v in text)
        elif name == "ENCODERS":
            fits = isinstance(text, dict) and text.keys() == equations[name].keys()
            fits = fits and all(isinstance(v, str) for v in text.values())
        else:
            fits = isinstance(text, str)
        if not fits:
            raise InputError(
                f"equations[{name!r}] must be of the same kind as the text that it replaces, a "
                f"{type(equations[name]).__name__}."
            )
        if without_comments(text) == without_comments(equations[name]):
            warnings.warn(
                f"equations[{name!r}] is the model's own text: nothing changes. Did `.replace` "
                "find what it looked for?",
                stacklevel=3,
            )
        equations[name] = text
    _check_assigned(equations)
    _check_drawn(equations)
    _check_time(equations)
    return equations


def without_comments(text):
    """Words of each line of an equation string, or of all strings of a dict.

    Parameters
    ----------
    text : str, dict or list
        A list is returned as it is.

    Returns
    -------
    list or dict
        Alike for texts that differ in comments, indentation and empty lines only.
    """
    if isinstance(text, dict):
        return {name: without_comments(own) for name, own in text.items()}
    if isinstance(text, list):
        return text
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [words for words in lines if words]


def digest(equations):
    """SHA-256 of equation strings; comments, indentation and empty lines do not count.

    Parameters
    ----------
    equations : dict
        Of `equation_set`.

    Returns
    -------
    str
    """
    code = json.dumps(without_comments(equations), sort_keys=True)
    return hashlib.sha256(code.encode()).hexdigest()


# Brian2's own variables of cells with a refractory period
_OF_BRIAN2 = {"lastspike", "not_refractory"}


def code_lines(equations):
    """Each line of equation strings, comments left out.

    Parameters
    ----------
    equations : dict
        Of `equation_set`.

    Yields
    ------
    name, code : str
        Of the string, and of the line.
    """
    for string, text in equations.items():
        texts = text.values() if isinstance(text, dict) else [text] if isinstance(text, str) else []
        for line in "\n".join(texts).splitlines():
            yield string, line.partition("#")[0]


@dataclass(frozen=True)
class Assignment:
    """A statement of an equation string that sets a variable.

    Attributes
    ----------
    string : str
        Name of the equation string.
    line : str
        Without its comment.
    target : str
        The variable, without ``_pre`` or ``_post``.
    value : str
        Right-hand side.
    from_before : bool
        Whether the new value depends on the old one.
    """

    string: str
    line: str
    target: str
    value: str
    from_before: bool


def assignments(equations):
    """All `Assignment` of equation strings, as `code_lines`."""
    for string, code in code_lines(equations):
        found = re.match(r"\s*(\w+?)(?:_pre|_post)?\s*(\*\*|//|[-+*/%]?)=(?!=)(.*)", code)
        if found and ":" not in code:
            target, operator, value = found.groups()
            own = bool(operator) or re.search(rf"\b{target}(_pre|_post)?\b", value) is not None
            yield Assignment(string, code.strip(), target, value, own)


def _check_drawn(equations):
    """Refuse numbers that would differ from chunk to chunk, device to device and run to run."""
    for string, code in code_lines(equations):
        if drawn := re.search(r"\b((rand|randn|poisson)\s*\(|xi(_\w+)?\b)", code):
            raise InputError(
                f"equations[{string!r}]: '{code.strip()}' takes {drawn[0].rstrip('( ')} of Brian2, "
                "with which a seed does not give its result again: use hash_uniform(key, draw, "
                "step), see Noise in docs/equations.md."
            )


def _check_time(equations):
    """Refuse the time, which begins anew with each chunk of trials."""
    within_trial = r"timestep\(t, step_duration\) % steps_per_trial"
    allowed = rf"{within_trial}|trials_over\(timestep\(t, trial_duration\)|(control|drive)\(t,"
    for string, code in code_lines(equations):
        if re.search(r"\bt\b", re.sub(allowed, "", code)):
            raise InputError(
                f"equations[{string!r}]: '{code.strip()}' reads the time t, which begins anew with "
                "each chunk of trials: take the step in the trial, timestep(t, step_duration) % "
                "steps_per_trial."
            )


def _check_assigned(equations):
    """Refuse a misspelt variable on the left: Brian2 would make it a local one, without a word."""
    assigned = list(assignments(equations))
    statements = {one.line for one in assigned}
    read = [one.value for one in assigned]
    read += [code for _, code in code_lines(equations) if code.strip() not in statements]
    known = set(_OF_BRIAN2)
    for code in read:
        known.update(re.findall(r"[A-Za-z_]\w*", re.sub(r"\bd(\w+)/dt\b", r"\1", code)))
    known |= {re.sub("_(pre|post)$", "", name) for name in known}
    for one in assigned:
        if one.target not in known:
            near = difflib.get_close_matches(one.target, known, 1)
            hint = f" Is {near[0]} meant?" if near else ""
            raise InputError(
                f"equations[{one.string!r}]: '{one.line}' sets {one.target}, which no equation "
                f"declares and nothing reads.{hint}"
            )
