"""A trained network writes: the symbol that it expects is the next one that it reads.

And it recalls: from a symbol, the one before it.
"""

import numpy as np
import pandas as pd

__all__ = ["generate", "recalled_context"]

#: Symbols of the test text that are read first, and symbols that are written.
N_PROMPT, N_WRITTEN = 40, 120

#: Symbols whose recalled context is listed, and symbols of each context.
N_ASKED, N_CONTEXT = 15, 4

#: Exponent with which the output's evidence becomes the probability of a symbol.
SHARPNESS = 2


def generate(simulation, dataset, seed):
    """Text that a network writes, symbol by symbol, after the first ones of the test text.

    A symbol is drawn with the probability that the output's spikes give it, squared and
    normalised; the most frequent one where the output is silent.

    Parameters
    ----------
    simulation : Simulation
        Trained; of a cohort replica 0 writes.
    dataset : SequenceData
        A text.
    seed : int
        Of the draws.

    Returns
    -------
    dict of str to str
        ``prompt`` and ``written``.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x7E87])))
    known, first = np.unique(dataset.x_test.which, return_index=True)
    place = dict(zip(known.tolist(), first.tolist(), strict=True))
    prompt = dataset.x_test.which[:N_PROMPT]
    table = {"part": "test", "phase": "write", "source": "stimulus"}

    def read(rows, start):
        number = np.arange(start, start + len(rows))
        trials = pd.DataFrame({"trial": number, "stimulus": rows, "carry": number > 0, **table})
        evidence = simulation.run(trials).evidence
        last = evidence[(evidence["trial"] == number[-1]) & (evidence["replica"] == 0)]
        return last["spikes"].to_numpy()

    weights, written = read(np.arange(len(prompt)), 0), []
    common = np.bincount(dataset.y_train).argmax()
    while len(written) < N_WRITTEN:
        weights = np.where(np.isin(np.arange(len(weights)), known), weights, 0.0) ** SHARPNESS
        if weights.any():
            symbol = int(generator.choice(len(weights), p=weights / weights.sum()))
        else:
            symbol = int(common)
        written.append(symbol)
        weights = read([place[symbol]], len(prompt) + len(written) - 1)
    return {
        "prompt": "".join(dataset.symbols[k] for k in prompt),
        "written": "".join(dataset.symbols[k] for k in written),
    }


def recalled_context(recalled, class_means, dataset):
    """Which symbols a network recalls before a symbol, and which stand before it in the text.

    Parameters
    ----------
    recalled, class_means : ndarray, shape (n_concepts, n_cells)
        Rates of the recalled stimulus when the symbol is presented as a concept, and the mean
        stimulus before it in the training text.
    dataset : SequenceData
        A text.

    Returns
    -------
    list of dict of str to str
        ``symbol``, the most frequent ones of the training text, and, those of the highest rates
        first, ``recalled`` and ``text``.
    """
    cells = recalled.shape[1] // dataset.n_concepts
    count = np.bincount(dataset.y_train, minlength=dataset.n_concepts)

    def strongest(rates):
        rates = rates.reshape(-1, cells).mean(axis=1)
        order = np.argsort(-rates, kind="stable")[:N_CONTEXT]
        return "".join(dataset.symbols[k] for k in order if rates[k] > 0)

    return [
        {
            "symbol": dataset.symbols[k],
            "recalled": strongest(recalled[k]),
            "text": strongest(class_means[k]),
        }
        for k in np.argsort(-count, kind="stable")[:N_ASKED]
        if count[k]
    ]
