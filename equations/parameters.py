"""Parameters of the model: frozen dataclasses whose fields carry unit, symbol and source.

Two parameter sets of one model are provided, `DISCRETE` (1 ms steps, the paper's leaky
integrate-and-fire units as a limit of the compartment equations) and `BIOPHYSICAL`
(membrane, dendritic and synaptic filters with time constants in the cortical range). Currents and
dendritic potentials are not scaled to a real cell in either set: a unit synapse moves a dendrite
by 100 mV, and there are no reversal potentials.
"""

from dataclasses import dataclass, field, fields, replace

import numpy as np
from brian2 import Hz, Mohm, Quantity, get_dimensions, ms, mV, nS, pA, us
from brian2.units.fundamentalunits import DIMENSIONLESS

from bsd.equations.errors import InputError

__all__ = [
    "BIOPHYSICAL",
    "DISCRETE",
    "CellParameters",
    "EncodingParameters",
    "LearningParameters",
    "ModelParameters",
    "TimingParameters",
]


def parameter(default, unit, symbol, meaning, source="ours", choices=None, bounds=None):
    """A dataclass field with everything that a model-description table needs."""
    metadata = {
        "default": default,
        "unit": unit,
        "symbol": symbol,
        "meaning": meaning,
        "source": source,
        "choices": choices,
        "bounds": bounds,
    }
    return field(default_factory=lambda: default, metadata=metadata)


class _Checked:
    """Units, choices and bounds of every field are checked when the object is made."""

    def __post_init__(self):
        for entry in fields(self):
            checked = _check(
                f"{self.section}.{entry.name}", getattr(self, entry.name), entry.metadata
            )
            object.__setattr__(self, entry.name, checked)


def _check(name, value, metadata):
    default, choices = metadata["default"], metadata["choices"]
    bounds, unit = metadata["bounds"], metadata["unit"]
    if choices is not None:
        if value not in choices:
            raise InputError(f"{name} = {value!r}: choose one of {', '.join(map(repr, choices))}.")
        return value
    if isinstance(default, bool):
        if not isinstance(value, (bool, np.bool_)):
            raise InputError(f"{name} = {value!r}: write true or false.")
        return bool(value)
    if isinstance(value, (bool, str)) or value is None or np.ndim(value):
        raise InputError(f"{name} = {value!r}: one number{_with_unit(unit)} is needed.")
    if get_dimensions(value) != get_dimensions(unit):
        needed = _with_unit(unit) or " without a unit"
        raise InputError(f"{name} = {value}: the unit is wrong, give a value{needed}.")
    number = float(value / unit)
    if not np.isfinite(number):
        raise InputError(f"{name} = {value}: one finite number{_with_unit(unit)} is needed.")
    low, high = bounds
    if number < low or number > high:
        raise InputError(f"{name} = {value}: must lie in {low:g} to {high:g}{_with_unit(unit)}.")
    if isinstance(default, int):
        if not number.is_integer():
            raise InputError(f"{name} = {value}: a whole number is needed.")
        return int(number)
    return float(value) if isinstance(default, float) else value


def _with_unit(unit):
    return "" if get_dimensions(unit) is DIMENSIONLESS else f" in units of {unit!s}"


@dataclass(frozen=True)
class TimingParameters(_Checked):
    """Time step, trial and the highest rate, which together define the rate features."""

    section = "timing"
    dt: Quantity = parameter(
        1 * ms, ms, "dt", "time step of the simulation", "paper, sec. 4 (time steps)",
        bounds=(1e-3, 10),
    )
    duration: Quantity = parameter(
        10 * ms, ms, "T", "duration of a trial (a whole number of time steps)",
        "paper, sec. 4 (time steps)", bounds=(1e-2, 1e5),
    )
    f_max: Quantity = parameter(
        1000 * Hz, Hz, "f_max", "rate that counts as 1 in the rate features", bounds=(1, 1e4)
    )

    def __post_init__(self):
        super().__post_init__()
        steps = float(self.duration / self.dt)
        if abs(steps - round(steps)) > 1e-6 or round(steps) < 2:
            raise InputError(
                f"timing.duration = {self.duration}: must be whole steps of timing.dt = {self.dt}, "
                "at least 2."
            )
        if float(self.f_max * self.dt) > 1 + 1e-9:
            raise InputError(
                f"timing.f_max = {self.f_max}: a cell fires at most once in a step of "
                f"{self.dt}, choose at most {1 / self.dt}."
            )

    @property
    def steps(self):
        """Number of time steps in a trial."""
        return round(float(self.duration / self.dt))


@dataclass(frozen=True)
class CellParameters(_Checked):
    """The three-compartment pyramidal cell (Urbanczik & Senn 2014; Sacramento et al. 2018)."""

    section = "cell"
    tau_soma: Quantity = parameter(
        2 / np.log(2) * ms, ms, "C_m/g_L", "membrane time constant of the isolated soma",
        "with g_basal = g_leak: half of the potential is left after 1 ms, as in the paper",
        bounds=(1e-3, 1e4),
    )
    g_leak: Quantity = parameter(
        10 * nS, nS, "g_L", "leak conductance of the soma", bounds=(1e-6, 1e6)
    )
    g_basal: Quantity = parameter(
        10 * nS, nS, "g_bs", "coupling conductance, basal dendrite to soma", bounds=(0, 1e6)
    )
    g_apical: Quantity = parameter(
        0 * nS, nS, "g_as",
        "coupling conductance, apical dendrite to soma (at 0 the potential v_a has an effect only "
        "with learning.features = voltages)",
        "paper, sec. 3.2", bounds=(0, 1e6),
    )
    E_leak: Quantity = parameter(-70 * mV, mV, "E_L", "resting potential", bounds=(-200, 100))
    V_threshold: Quantity = parameter(
        -55 * mV, mV, "theta",
        "firing threshold (0.6 of the 25 mV by which a synapse of weight 1 moves the soma in 1 ms)",
        "paper, sec. 4 (threshold 0.6)", bounds=(-200, 100),
    )
    V_reset: Quantity = parameter(
        -70 * mV, mV, "V_r", "potential after a spike", bounds=(-200, 100)
    )
    refractory: Quantity = parameter(
        0 * ms, ms, "t_ref", "absolute refractory period", bounds=(0, 1e3)
    )
    tau_basal: Quantity = parameter(
        1 * us, ms, "tau_b", "time constant of the basal dendrite", bounds=(1e-6, 1e4)
    )
    tau_apical: Quantity = parameter(
        1 * us, ms, "tau_a", "time constant of the apical dendrite", bounds=(1e-6, 1e4)
    )
    tau_synapse: Quantity = parameter(
        1 * us, ms, "tau_syn", "decay of the synaptic currents", bounds=(1e-6, 1e4)
    )
    R_basal: Quantity = parameter(
        400 * Mohm, Mohm, "R_b", "input resistance of the basal dendrite", bounds=(1e-6, 1e9)
    )
    R_apical: Quantity = parameter(
        400 * Mohm, Mohm, "R_a", "input resistance of the apical dendrite", bounds=(1e-6, 1e9)
    )
    I_unit: Quantity = parameter(
        250 * pA, pA, "I_u", "mean current of a synapse of weight 1 at the rate f_max",
        bounds=(1e-9, 1e9),
    )
    surrogate_width: Quantity = parameter(
        25 * mV, mV, "a", "width of the surrogate derivative 1/(1 + (pi (u - theta)/a)^2)",
        "paper, sec. 3 (surrogate gradient)", bounds=(1e-3, 1e3),
    )

    def __post_init__(self):
        super().__post_init__()
        if self.V_reset >= self.V_threshold:
            raise InputError(
                f"cell.V_reset = {self.V_reset}: must lie below "
                f"cell.V_threshold = {self.V_threshold}."
            )


@dataclass(frozen=True)
class EncodingParameters(_Checked):
    """How stimuli and concepts become spikes of the afferents."""

    section = "encoding"
    kind: str = parameter(
        "regular", 1, "-", "spike trains of the afferents", choices=("regular", "poisson")
    )
    cells_per_concept: int = parameter(
        20, 1, "n_c", "cells that encode one concept (population code)", bounds=(1, 10_000)
    )
    concept_rate: float = parameter(
        1.0, 1, "r_c", "rate of the active concept afferents, in units of f_max",
        bounds=(0.01, 1)
    )
    receptive_field: int = parameter(
        0, 1, "n_rf", "side of the square of pixels that a cell of the first hidden layer receives "
        "(0: all of the stimulus)", "after Hubel & Wiesel 1962 (receptive fields)",
        bounds=(0, 10_000),
    )
    deep_field: int = parameter(
        0, 1, "n_df", "side of the square of pixels in which the fields begin of the cells that a "
        "cell of a deeper hidden layer receives; the backward network mirrors it (0: all cells, "
        "and the recalled stimulus receives all of the first layer)",
        "after Van Essen & Maunsell 1983 (retinotopic areas)", bounds=(0, 10_000),
    )
    contrast: float = parameter(
        0.0, 1, "g_c", "gain of ON and OFF afferents, which fire in proportion to how much "
        "brighter or darker a pixel is than its surround (0: none)",
        "after Kuffler 1953 (centre and surround)", bounds=(0, 100),
    )
    surround: float = parameter(
        1.5, 1, "sigma_c", "SD of the surround of ON and OFF afferents, in pixels",
        bounds=(0.1, 100),
    )
    context: int = parameter(
        0, 1, "n_x", "trials whose rates of the first hidden layer context cells repeat: 1 for the "
        "trial before, 2 for the two before, each with cells of its own (0: no context cells)",
        "Elman 1990 (simple recurrent network), 1 there", bounds=(0, 100),
    )
    concept_code: str = parameter(
        "blocks", 1, "-", "cells of its own for each concept, or Gaussian tuning curves over the "
        "number of the concept", "ours (blocks); Georgopoulos et al. 1986 (population code)",
        choices=("blocks", "tuning"),
    )
    tuning_width: float = parameter(
        2.0, 1, "sigma_t", "SD of the tuning curves, in concepts", bounds=(0.01, 1e3)
    )
    cutoff: float = parameter(
        0.0, 1, "f_c", "spatial frequency (cycles per pixel) above which the stimulus has a stream "
        "of its own (0: one stream)",
        "paper, sec. 4 (frequency-aware ReCo)", bounds=(0, 0.5),
    )
    autoencoder: bool = parameter(
        False, 1, "-", "the output is a code: its own spikes take the place of a concept",
        "paper, sec. 4 (generation)",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.autoencoder and (self.cells_per_concept > 1 or self.concept_code != "blocks"):
            raise InputError(
                "encoding.autoencoder: the code has no concepts, use encoding.cells_per_concept = "
                "1 and encoding.concept_code = 'blocks'."
            )


@dataclass(frozen=True)
class LearningParameters(_Checked):
    """The streaming ReCo rule, the delta rules and their interneurons."""

    section = "learning"
    features: str = parameter(
        "spikes", 1, "-",
        "what is aligned: somatic spikes and partner spikes received by the apical dendrite (no "
        "dendritic spike is modelled), or dendritic voltages",
        "paper, sec. 3.2 (voltages); ours (spikes)", choices=("spikes", "voltages"),
    )
    loss: str = parameter(
        "reco", 1, "-", "loss of a layer: ReCo, InfoNCE, or MSE between the paired cells' spikes",
        "paper, sec. 4 (table of layer losses)", choices=("reco", "infonce", "mse"),
    )
    temperature: float = parameter(
        0.1, 1, "tau", "temperature of InfoNCE", "van den Oord et al. 2018 (there 1)",
        bounds=(0.03, 100),
    )
    memory_slots: int = parameter(
        16, 1, "K", "memory interneurons of a population", bounds=(1, 4096)
    )
    lam: float = parameter(
        2.0, 1, "lambda", "weight of the repulsion, averaged over the K memories (ReCo)",
        "paper, eq. 6 (there 0.6, summed over the batch)", bounds=(0, 1e3),
    )
    lam_high: float = parameter(
        8.0, 1, "lambda_h", "the same in the stream of high frequencies (encoding.cutoff)",
        "paper, sec. 4 (larger for high frequencies)", bounds=(0, 1e3),
    )
    familiarity: float = parameter(
        2.0, 1, "f", "likeness of a memory and the present apical pattern from which it does not "
        "repel (2: every memory repels)", bounds=(0, 2),
    )
    margin_gating: bool = parameter(
        True, 1, "-", "scale learning by the margin between C and the strongest memory (ReCo)"
    )
    margin: float = parameter(
        0.5, 1, "m", "margin at which learning stops under margin gating", bounds=(1e-3, 2)
    )
    homeostasis: float = parameter(
        0.0, 1, "g_h", "gain with which cells that learn by ReCo or InfoNCE (hidden layers, a "
        "code) approach their target rate (0: none)",
        "after Turrigiano 2008 (homeostatic plasticity)", bounds=(0, 100),
    )
    rate_target: float = parameter(
        0.1, 1, "rho", "target rate of cells with homeostasis, in units of f_max", bounds=(0, 1)
    )
    rate_window: float = parameter(
        500.0, 1, "n_r", "trials over which a cell averages its rate", bounds=(1, 1e6)
    )
    eta: float = parameter(
        0.15, 1, "eta", "learning rate of hidden layers, forward weights", bounds=(0, 1e3)
    )
    eta_feedback: float = parameter(
        0.15, 1, "eta'", "learning rate of hidden layers, feedback weights", bounds=(0, 1e3)
    )
    eta_top: float = parameter(
        0.03, 1, "eta_top", "learning rate of the output cells", bounds=(0, 1e3)
    )
    eta_bottom: float = parameter(
        0.005, 1, "eta_0", "learning rate of the recalled stimulus", bounds=(0, 1e3)
    )
    feedback: str = parameter(
        "learned", 1, "-", "feedback weights onto hidden layers", choices=("learned", "fixed")
    )
    hidden: str = parameter(
        "learned", 1, "-", "all weights onto hidden layers, forward and feedback",
        choices=("learned", "frozen"),
    )
    top_rule: str = parameter(
        "delta", 1, "-", "rule of the output cells: delta rule on spikes, the same with the error "
        "of their population vector, softmax cross-entropy on voltages, or ReCo",
        "paper, sec. 3.3 (cross-entropy); Georgopoulos et al. 1986 (population vector)",
        choices=("delta", "vector", "softmax", "reco"),
    )
    vector_gain: float = parameter(
        0.1, 1, "g_v", "weight of the population vector's error, which is in concepts "
        "squared (learning.top_rule = 'vector')", bounds=(0, 1e3),
    )
    diversity: float = parameter(
        0.9, 1, "d", "spread of the asymmetry, -d to d, with which the cells of one concept weigh "
        "missing against surplus spikes", "after Dabney et al. 2020 (distributional code)",
        bounds=(0, 1),
    )
    softmax_gain: float = parameter(
        4.0, 1, "beta", "gain of the softmax on dendritic voltages", bounds=(1e-3, 1e3)
    )
    bottom_rule: str = parameter(
        "delta", 1, "-", "rule of the recalled stimulus: delta rule on spikes or on voltages",
        choices=("delta", "voltage"),
    )
    bottom_asymmetry: float = parameter(
        0.0, 1, "b_0", "weighs missing spikes of the recalled stimulus by 1 + b_0, surplus ones by "
        "1 - b_0: above 0 it is recalled at more than its mean rate",
        "after Newey & Powell 1987 (expectiles)", bounds=(-0.9, 0.9),
    )
    epsilon: float = parameter(
        0.1, 1, "eps", "floor of the normalisers", bounds=(1e-6, 10)
    )
    weight_max: float = parameter(
        4.0, 1, "w_max", "bound of every plastic weight", bounds=(1e-3, 1e3)
    )
    init_gain: float = parameter(
        2.0, 1, "g", "initial weights are normal with SD g / sqrt(n_pre)", bounds=(0, 1e3)
    )
    init_gain_context: float = parameter(
        1.0, 1, "g_x", "the same for the synapses of context cells", bounds=(0, 1e3)
    )
    init_gain_readout: float = parameter(
        1.0, 1, "g_0", "the same for the synapses of output (not of a code) and recalled "
        "stimulus", bounds=(0, 1e3)
    )
    decay: float = parameter(
        0.7, 1, "-", "factor on all learning rates after each epoch (used by experiments, in the "
        "column `learn` of the trial table)", bounds=(1e-3, 1),
    )
    linear_decay: bool = parameter(
        False, 1, "-", "all learning rates fall linearly besides, to zero at the end of training "
        "(on sequences they always do)",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.loss == "mse" and self.features != "spikes":
            raise InputError(
                "learning.loss = 'mse' compares spikes: use learning.features = 'spikes'."
            )
        if self.bottom_asymmetry and self.bottom_rule != "delta":
            raise InputError(
                "learning.bottom_asymmetry weighs spikes: use learning.bottom_rule = 'delta'."
            )


@dataclass(frozen=True)
class ModelParameters:
    """All parameters of a model, by section."""

    timing: TimingParameters = field(default_factory=TimingParameters)
    cell: CellParameters = field(default_factory=CellParameters)
    encoding: EncodingParameters = field(default_factory=EncodingParameters)
    learning: LearningParameters = field(default_factory=LearningParameters)

    def __post_init__(self):
        if self.learning.top_rule == "vector" and self.encoding.concept_code != "tuning":
            cure = (
                "a code has no concepts, use learning.top_rule = 'reco'"
                if self.encoding.autoencoder
                else "only the mean of tuning curves has an error, use encoding.concept_code = "
                "'tuning'"
            )
            raise InputError(f"learning.top_rule = 'vector': {cure}.")

    def updated(self, assignments):
        """A copy with some parameters changed.

        Parameters
        ----------
        assignments : dict of str to value
            Keys ``"section.name"``, such as ``"cell.tau_soma"``; values with their units.

        Raises
        ------
        InputError
            If a section or parameter is unknown, or a value has the wrong unit.
        """
        sections = {f.name: getattr(self, f.name) for f in fields(self)}
        changes = {}
        for key, value in assignments.items():
            section, _, name = key.partition(".")
            if section not in sections or name not in {f.name for f in fields(sections[section])}:
                raise unknown_key(key, self.keys())
            changes.setdefault(section, {})[name] = value
        return replace(
            self, **{s: replace(sections[s], **values) for s, values in changes.items()}
        )

    def keys(self):
        """Names of all parameters, ``"section.name"``."""
        return [
            f"{section.name}.{entry.name}"
            for section in fields(self)
            for entry in fields(getattr(self, section.name))
        ]

    def items(self):
        """Pairs of name and value of all parameters."""
        return [
            (key, getattr(getattr(self, key.split(".")[0]), key.split(".")[1]))
            for key in self.keys()
        ]


def unknown_key(key, known):
    """An `InputError` that suggests the nearest known names."""
    import difflib

    of_symbol = [
        f"{section.section}.{entry.name}"
        for section in (TimingParameters, CellParameters, EncodingParameters, LearningParameters)
        for entry in fields(section)
        if entry.metadata["symbol"] == key.rpartition(".")[2]
    ]
    near = of_symbol or difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    near = near or [k for k in known if k.endswith("." + key.rpartition(".")[2])]
    hint = f"did you mean {' or '.join(near)}?" if near else "`bsd show NAME` lists them."
    return InputError(f"unknown parameter {key!r}: {hint}")


DISCRETE = ModelParameters()

BIOPHYSICAL = ModelParameters(
    timing=TimingParameters(dt=0.5 * ms, duration=100 * ms, f_max=100 * Hz),
    cell=CellParameters(
        tau_soma=20 * ms,
        refractory=2 * ms,
        tau_basal=3 * ms,
        tau_apical=5 * ms,
        tau_synapse=3 * ms,
        surrogate_width=25 * mV,
    ),
)
