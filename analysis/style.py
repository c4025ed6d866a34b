"""What all figures share: colours, fonts, axes and grids of panels.

Colours are safe for colour-blind readers (Okabe & Ito 2008), backgrounds white, so that a figure
reads on a dark page too. No function here sets a backend.
"""

import functools

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

PATHWAY_COLORS = {"forward": "#0072B2", "backward": "#D55E00", "afferent": "#6B6B6B"}
WIDTH = 7.0
"""Width of a figure of the report in inches (910 pixels at 130 dpi)."""

STYLE = {
    **sns.axes_style("ticks"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "font.size": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
}


class FittedFigure(Figure):
    """Figure outside pyplot that takes the height which suits what is drawn into it.

    It needs no display and leaves the backend of the session alone.
    """

    def __init__(self, width=WIDTH):
        super().__init__(figsize=(width, 3.4), layout="constrained", facecolor="white")


def styled(plot):
    """Draw in the style of the report, whatever the session's own is."""

    @functools.wraps(plot)
    def plot_in_style(*args, **kwargs):
        with mpl.rc_context(STYLE):
            return plot(*args, **kwargs)

    return plot_in_style


def new_axes(ax, height):
    """The given axes, or those of a new figure.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
    height : float
        Height that suits the figure, inches. A figure of the session keeps its own.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if ax is None:
        import matplotlib.pyplot as plt  # only here: a report is drawn without pyplot

        figure = plt.figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
        return figure.subplots()
    if isinstance(ax.figure, FittedFigure):
        ax.figure.set_figheight(height)
    return ax


def panels_in(ax, height, n_rows, n_columns, **options):
    """A grid of panels in the place of some axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        Of a grid, as from ``figure.subplots()``; by default those of a new figure.
    height : float
        See `new_axes`.
    n_rows, n_columns : int
    **options
        ``sharex, sharey, height_ratios``.

    Returns
    -------
    ax : matplotlib.axes.Axes
        An empty frame around the panels.
    panels : numpy.ndarray of matplotlib.axes.Axes, shape (n_rows, n_columns)

    Raises
    ------
    ValueError
        If the axes have no place in a grid.
    """
    ax = new_axes(ax, height)
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("these axes have no place for panels: make them with figure.subplots()")
    ax.set_axis_off()
    ratios = options.pop("height_ratios", None)
    grid = place.subgridspec(n_rows, n_columns, height_ratios=ratios)
    engine = ax.figure.get_layout_engine()
    if engine is not None and n_rows * n_columns > 1:
        engine.set(w_pad=0.09, h_pad=0.06)
    return ax, grid.subplots(squeeze=False, **options)


def image_panels(ax, stacks, image_shape, row_labels, titles, below=None):
    """Images of one grey scale, or in colour, in rows and columns.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
    stacks : list of lists of array_like or None
        Pixels of each image, as shares of the largest rate; None leaves a place empty.
    image_shape : (int, int) or (int, int, 3)
    row_labels, titles : list of str
        Of the rows, and of the columns.
    below : list of lists of str, optional
        Text under each image.

    Returns
    -------
    matplotlib.axes.Axes
    """
    n_rows, n_columns = len(stacks), len(stacks[0])
    side = (WIDTH - 1.5) / max(n_columns, 5)
    # a character is as wide as two thirds of its size in points, 72 to the inch
    longest = max(1, *(len(line) for title in titles for line in title.split("\n")))
    is_vector = image_shape[0] == 1  # its bars are as high as there is room for
    proportion = 0.4 if is_vector else image_shape[0] / image_shape[1]
    height = 0.4 + n_rows * (side * proportion + (0.2 if below else 0))
    ax, panels = panels_in(ax, height, n_rows, n_columns)
    if ax.figure.get_layout_engine() is not None:
        ax.figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    for row, column in np.ndindex(n_rows, n_columns):
        panel, image = panels[row, column], stacks[row][column]
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set(visible=image is not None, color="#C8C8C8", linewidth=0.6)
        if image is not None:
            drawn = panel.imshow(
                np.reshape(image, image_shape), cmap="Greys", vmin=0, vmax=1,
                interpolation="nearest", aspect="auto" if is_vector else "equal",
            )
        if row == 0:
            title = panel.set_title(titles[column], loc="center", parse_math=False)
            title.set_fontsize(max(5, min(title.get_fontsize(), 110 * side / longest)))
        if below:
            panel.set_xlabel(below[row][column], fontsize=8.5, parse_math=False)
    for panel, label in zip(panels[:, 0], row_labels, strict=True):
        panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8.5)
    if len(image_shape) == 2:
        colour_bar(ax, drawn, panels, "rate / largest rate", ticks=[0, 0.5, 1])
    return ax


def colour_bar(ax, drawn, panels, label, **options):
    """A bar beside panels that says what their colours are."""
    bar = ax.figure.colorbar(drawn, ax=panels, shrink=0.6, pad=0.01, aspect=25, **options)
    bar.set_label(label)
    bar.outline.set_visible(False)


def population_rows(ax, names, pathways):
    """Rows of populations: their names in the colour of the pathway, the first one on top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    names : sequence of str
    pathways : mapping of str to str
        Pathway of each population.
    """
    ax.set_yticks(range(len(names)), names)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_color(PATHWAY_COLORS.get(pathways[name], "#333333"))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_ylabel("population")
    rows_with_grid(ax)


def rows_with_grid(ax):
    """Faint vertical lines behind values that stand in rows."""
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#E4E4E4", lw=0.7)
    ax.set_axisbelow(True)


def layer_colors(n):
    """Colours of `n` layers in order; the pale end of viridis would not show on white."""
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0.0, 0.82, max(n, 2))][:n]
