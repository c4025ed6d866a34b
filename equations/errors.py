"""The one kind of error that a user can cure."""


class InputError(ValueError):
    """One-line error in the user's input whose text names the cure.

    The command line prints the text and exits with code 2, without a traceback.

    Parameters
    ----------
    text : str
        Line breaks, as in what a parser says, become spaces.
    """

    def __init__(self, text=""):
        super().__init__(" ".join(str(text).split()))
