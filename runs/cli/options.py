"""Values of options, from text."""

from bsd.equations.errors import InputError

__all__ = ["seeds", "whole_numbers"]


def whole_numbers(option, text):
    """Numbers separated by commas.

    Raises
    ------
    InputError
        If there are others.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"{option} {text}: give whole numbers separated by commas, for example 1,2"
        ) from None


def seeds(option, text):
    """Different whole numbers that are not negative, separated by commas.

    Raises
    ------
    InputError
        If there are others.
    """
    numbers = whole_numbers(option, text)
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise InputError(f"{option} {text}: give different whole numbers that are not negative.")
    return numbers
