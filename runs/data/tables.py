"""Files that a user names: found, and tables read and refused in plain words."""

import warnings
from pathlib import Path

import pandas as pd

from bsd.equations.errors import InputError
from bsd.runs.data.files import data_directory

__all__ = ["find_file", "read_table", "require_names"]


def find_file(path, folders=False):
    """A file that is here or in the data directory.

    Parameters
    ----------
    path : path-like
    folders : bool
        Whether it may be a folder.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is none.
    """
    what = "a file or folder" if folders else "a file"
    if not isinstance(path, (str, Path)):
        raise InputError(f"data.path = {path!r}: give the path of {what}.")
    try:
        path = Path(path).expanduser()
        for candidate in (path, data_directory() / path):
            if candidate.is_file() or folders and candidate.is_dir():
                return candidate
    except (OSError, RuntimeError, ValueError):  # a name that no file can have
        pass
    raise InputError(
        f"data.path = {str(path)!r}: no such file here or in {data_directory()}: give the path of "
        f"{what}, or set BSD_DATA to the folder that has it."
    )


def read_table(path):
    """A CSV file, compressed or not.

    Parameters
    ----------
    path : path-like
        See `find_file`.

    Returns
    -------
    frame : DataFrame
        Its second column of one name is called NAME.1.
    names : list of str
        Of the columns as they are written.
    path : Path

    Raises
    ------
    InputError
        If it is missing or cannot be read.
    """
    path = find_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are too long
            options = {"skipinitialspace": True, "index_col": False, "low_memory": False}
            frame = pd.read_csv(path, **options)  # calls a second column of one name NAME.1
            head = pd.read_csv(
                path, header=None, nrows=1, dtype=str, keep_default_na=False, **options
            )
    # a damaged file raises nearly anything: parser, codec, decompression
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as CSV ({' '.join(str(error).split())[:100]}): give a table in "
            "UTF-8 with a line of column names and rows of that many values."
        ) from error
    return frame, list(head.iloc[0]), path


def require_names(frame, path):
    """Refuse a table whose first line are numbers.

    Raises
    ------
    InputError
    """
    if all(_is_number(name) for name in frame):
        raise InputError(
            f"{path} has numbers in place of column names: write a line of names above them."
        )


def _is_number(name):
    try:
        float(name)
    except ValueError:
        return False
    return True
