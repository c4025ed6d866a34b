"""Who is where: populations of both pathways as subranges of two Brian2 groups.

All pyramidal cells share one NeuronGroup and all afferents another, so that the number of
Brian2 objects does not grow with depth or with replicas.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from bsd.equations.errors import InputError, require_counts

__all__ = ["Layout", "Population", "Projection"]

#: End of the names of what belongs to the stream of high frequencies.
HIGH = "_high"


@dataclass(frozen=True)
class Population:
    """A subrange of a group.

    Attributes
    ----------
    name : str
        ``F1`` .. ``F{L+1}`` (type-1), ``B0`` .. ``B{L}`` (type-2), ``S`` and ``C`` (afferents);
        with a stream of high frequencies also ``S_high``, ``F1_high``, ``B1_high``, ``B0_high``.
    pathway : {'forward', 'backward', 'afferent'}
    layer : int
    replica : int
    start, size : int
        First cell in its group and number of cells.
    index : int
        Number of the population's normaliser; -1 for afferents.
    """

    name: str
    pathway: str
    layer: int
    replica: int
    start: int
    size: int
    index: int = -1

    @property
    def is_high(self):
        """Whether the population is of the stream of high frequencies."""
        return self.name.endswith(HIGH)

    @property
    def stop(self):
        """One past the last cell."""
        return self.start + self.size

    @property
    def cells(self):
        """The population as a slice of its group."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Projection:
    """Basal synapses from one population to another, all to all or to a range of cells each.

    Attributes
    ----------
    name : str
        ``W{i}`` (layer i to i+1) or ``Theta{i}`` (layer i+1 to i).
    kind : {'sensory', 'feedforward', 'instructive', 'feedback'}
    source, target : Population
        Of two streams, all cells of both in the layer, under the first one's name.
    synapses : str
        Name of the Synapses object that holds it.
    start : int
        First synapse; synapses are ordered by source, then by target.
    targets : ndarray of int, shape (n_pre, 2)
        For each cell of the source, where the range of its targets starts and stops in the target
        population.
    """

    name: str
    kind: str
    source: Population
    target: Population
    synapses: str
    start: int
    targets: np.ndarray = field(compare=False, repr=False)

    @property
    def shape(self):
        """(cells of the source, cells of the target)."""
        return self.source.size, self.target.size

    @property
    def synapse_slice(self):
        """The projection as a slice of its Synapses object."""
        return slice(self.start, self.start + int(self._lengths.sum()))

    @property
    def first_synapses(self):
        """First synapse of each cell of the source, (n_pre,)."""
        return self.start + np.cumsum(self._lengths) - self._lengths

    @property
    def stored(self):
        """Which pairs of cells have a synapse, (n_pre, n_post) of bool, in the synapses' order."""
        target = np.arange(self.target.size)
        return (target >= self.targets[:, :1]) & (target < self.targets[:, 1:])

    @property
    def banded(self):
        """Whether the cells of the source have ranges of targets of their own."""
        return bool(np.any(self.targets != [0, self.target.size]))

    @property
    def sources(self):
        """For each cell of the target, the range of cells whose ranges hold it, (n_post, 2)."""
        return _ranges(self.stored.T, *self.shape[::-1])

    @property
    def _lengths(self):
        return self.targets[:, 1] - self.targets[:, 0]

    def matrix(self, values):
        """A value of each synapse of the Synapses object as a matrix, 0 where there is none.

        Returns
        -------
        ndarray, shape (n_pre, n_post)
        """
        values = np.asarray(values)[self.synapse_slice]
        if not self.banded:
            return values.reshape(self.shape)
        matrix = np.zeros(self.shape, dtype=values.dtype)
        matrix[self.stored] = values
        return matrix

    def of_synapses(self, matrix):
        """Elements of a matrix, (n_pre, n_post), at the synapses, in their order."""
        return np.broadcast_to(matrix, self.shape)[self.stored]


class Layout:
    """Populations and projections of a bidirectional network.

    Parameters
    ----------
    layers : sequence of int
        Sizes from the stimulus over the hidden layers to the output, at least three.
    replicas : int
        Independent copies of the network.
    connected : callable, optional
        From the name of a projection to which cells of its source reach which of its target, a
        matrix (n_pre, n_post) of bool, or None where all reach all.
    high : tuple of (int, int), optional
        Afferents of a second stream, of high frequencies, and how many cells of the first hidden
        layer belong to it. These afferents project nowhere, they teach their partners; all hidden
        cells receive the stimulus, and both streams together recall both.
    """

    def __init__(self, layers, replicas=1, connected=lambda name: None, high=None):
        layers = tuple(layers)
        if len(layers) < 3 or any(int(n) != n or n < 1 for n in layers):
            raise InputError(
                f"layers = {list(layers)}: give at least stimulus, one hidden layer and output, "
                "each a positive whole number of cells."
            )
        require_counts(replicas=replicas)
        self.layers = tuple(int(n) for n in layers)
        self.replicas = int(replicas)
        self.depth = len(layers) - 2
        top = self.depth + 1
        self.high = high
        self.populations = []
        self.afferents = []
        cell = afferent = 0
        for replica in range(self.replicas):
            for label, layer in (("S", 0), ("C", top)):
                for name, size in self._streams(label, layer):
                    self.afferents.append(
                        Population(name, "afferent", layer, replica, afferent, size)
                    )
                    afferent += size
            labels = [(f"F{i}", "forward", i) for i in range(1, top + 1)]
            labels += [(f"B{i}", "backward", i) for i in range(top)]
            for label, pathway, layer in labels:
                for name, size in self._streams(label, layer):
                    index = len(self.populations)
                    self.populations.append(
                        Population(name, pathway, layer, replica, cell, size, index)
                    )
                    cell += size
        self.n_cells = cell
        self.n_afferents = afferent
        self._by_name = {(p.name, p.replica): p for p in self.populations + self.afferents}
        self.projections = self._project(connected)

    def _streams(self, label, layer):
        """Names and sizes of the populations of a layer and pathway."""
        size = self.layers[layer]
        if self.high is None or layer > 1:
            return [(label, size)]
        first = size if layer == 0 else size - self.high[1]
        return [(label, first), (label + HIGH, self.high[layer])]

    def population(self, name, replica=0):
        """The population of that name."""
        return self._by_name[name, replica]

    def partner(self, population):
        """The population whose cells are paired with this one's, one to one."""
        top = self.depth + 1
        paired = {"S": "B0", "B0": "S", "C": f"F{top}", f"F{top}": "C"}
        paired |= {f"F{i}": f"B{i}" for i in range(1, top)}
        paired |= {f"B{i}": f"F{i}" for i in range(1, top)}
        high = HIGH if population.is_high else ""
        name = paired[population.name.removesuffix(HIGH)]
        return self.population(name + high, population.replica)

    def both_streams(self, name, replica=0):
        """All cells of a layer and pathway as one population, under the first stream's name."""
        first = self.population(name, replica)
        high = self._by_name.get((name + HIGH, replica))
        return first if high is None else replace(first, size=first.size + high.size)

    def target(self, population):
        """The population onto whose basal dendrites this one projects, both streams of a layer.

        None at the end of a pathway, and for high frequencies of the stimulus.
        """
        name, top = population.name.removesuffix(HIGH), self.depth + 1
        if name == "S":
            target = None if population.is_high else "F1"
        elif name == "C":
            target = f"B{self.depth}"
        elif name[0] == "F":
            target = f"F{population.layer + 1}" if population.layer < top else None
        else:
            target = f"B{population.layer - 1}" if population.layer > 0 else None
        return self.both_streams(target, population.replica) if target else None

    def _project(self, connected):
        projections, targets = [], {}
        for synapses, sources in (
            ("afferent_basal", self.afferents),
            ("cortical_basal", self.populations),
        ):
            start = 0
            for source in sources:
                target = self.target(source)
                forward = target is not None and target.pathway == "forward"
                if target is None or source.name in ("F1" + HIGH, "B1" + HIGH):
                    continue
                if source.name in ("F1", "B1"):
                    source = self.both_streams(source.name, source.replica)
                kind = {"S": "sensory", "C": "instructive"}.get(source.name) or (
                    "feedforward" if source.pathway == "forward" else "feedback"
                )
                name = f"W{source.layer}" if forward else f"Theta{target.layer}"
                if name not in targets:  # alike in all replicas
                    targets[name] = _ranges(connected(name), source.size, target.size)
                projections.append(
                    Projection(name, kind, source, target, synapses, start, targets[name])
                )
                start = projections[-1].synapse_slice.stop
        return projections

    def streams(self, population):
        """Names of the populations that one from `both_streams` is made of."""
        own = self.population(population.name, population.replica)
        high = [] if own.size == population.size else [own.name + HIGH]
        return [own.name, *high]

    def projection(self, name, replica=0):
        """The projection of that name."""
        for projection in self.projections:
            if projection.name == name and projection.source.replica == replica:
                return projection
        raise KeyError(name)

    def mirror(self, projection):
        """Where the backward network joins the partners of a forward projection's cells.

        Returns
        -------
        backward : Projection
        rows, columns : slice
            Of the matrix of its weights.
        """
        backward = self.projection(f"Theta{projection.source.layer}", projection.source.replica)
        first_row = self.partner(projection.target).start - backward.source.start
        first_column = self.partner(projection.source).start - backward.target.start
        return (
            backward,
            slice(first_row, first_row + projection.target.size),
            slice(first_column, first_column + projection.source.size),
        )

    def per_cell(self, values, dtype=float):
        """An array over all pyramidal cells from one value per population.

        Parameters
        ----------
        values : callable
            Population to value (a number, or an array of its size).
        """
        out = np.empty(self.n_cells, dtype=dtype)
        for population in self.populations:
            out[population.cells] = values(population)
        return out

    def per_afferent(self, values, dtype=float):
        """The same over all afferents."""
        out = np.empty(self.n_afferents, dtype=dtype)
        for population in self.afferents:
            out[population.cells] = values(population)
        return out


def _ranges(connected, n_pre, n_post):
    """The smallest range of targets of each cell of a source, (n_pre, 2)."""
    if connected is None:
        return np.tile([0, n_post], (n_pre, 1))
    start, stop = connected.argmax(axis=1), n_post - connected[:, ::-1].argmax(axis=1)
    return np.stack([start, np.where(connected.any(axis=1), stop, start)], axis=1)
