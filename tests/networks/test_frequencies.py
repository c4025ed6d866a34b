"""A stream of high frequencies beside the stimulus."""

import numpy as np
import pytest

from bsd.equations import DISCRETE, InputError
from bsd.networks import BidirectionalNetwork
from bsd.networks.frequencies import (
    CONTRAST_SHARE,
    GAIN,
    IMAGE_SHARE,
    high_frequencies,
    with_contrasts,
)


def test_gratings_pass_as_the_transfer_function_says():
    """A grating of f cycles per pixel around 0.5 loses exp(-f^2 / (2 f_c^2)), to 1e-12."""
    cutoff, f = 0.1, 3 / 16
    wave = np.cos(2 * np.pi * f * np.arange(16))
    on, off = high_frequencies(np.tile(0.5 + 0.4 * wave, (1, 16, 1)), cutoff).reshape(2, 16, 16)
    expected = GAIN * 0.4 * (1 - np.exp(-(f**2) / (2 * cutoff**2))) * wave
    assert np.abs(expected).max() < 1
    np.testing.assert_allclose(on - off, np.tile(expected, (16, 1)), atol=1e-12)
    assert not np.any(on * off), "ON and OFF exclude each other"


def test_contrasts_have_a_share_in_the_recalled_image():
    """Where they are those of the image, these are as many times as large, to 1e-12."""
    generator = np.random.default_rng(3)
    images = 0.5 + 0.1 * generator.random((4, 8, 6))
    contrasts = high_frequencies(images, 0.1)
    assert 0 < contrasts.max() < 1
    high = (contrasts[:, :48] - contrasts[:, 48:]).reshape(images.shape) / GAIN
    np.testing.assert_allclose(
        with_contrasts(images, contrasts, 0.1),
        images + (IMAGE_SHARE + CONTRAST_SHARE - 1) * high,
        atol=1e-12,
    )
    unseen = with_contrasts(images, np.zeros_like(contrasts), 0.1)
    np.testing.assert_allclose(unseen, images - (1 - IMAGE_SHARE) * high, atol=1e-12)


def test_both_streams_recall(small_network):
    """Rates, within 0 and 1; of the second of two replicas, from values of its own cells alone."""
    network = small_network(assignments={"encoding.cutoff": 0.2}, replicas=2)
    values = np.random.default_rng(4).random((3, network.layout.n_cells))
    image, contrasts = (
        values[:, network.layout.population(name, 1).cells] for name in ("B0", "B0_high")
    )
    expected = with_contrasts(image.reshape(3, 3, 3), contrasts, 0.2).reshape(3, 9).clip(0, 1)
    np.testing.assert_array_equal(network.recalled_rates(values, 1), expected)
    assert np.abs(expected - image).max() > 0.1
    np.testing.assert_array_equal(network.recalled_stimulus(values, 1), image)


def test_high_frequencies_teach_only(small_network):
    network = small_network(assignments={"encoding.cutoff": 0.2}, replicas=2)
    layout = network.layout
    assert [p.name for p in layout.projections] == 2 * ["W0", "Theta2"] + 2 * [
        "W1", "W2", "Theta0", "Theta1"
    ]
    for replica in (0, 1):
        high = layout.population("S_high", replica)
        assert layout.target(high) is None
        assert layout.partner(high) == layout.population("B0_high", replica)
        assert layout.projection("W0", replica).shape == (9, 12)


def test_high_frequencies_are_intensities():
    images = np.random.default_rng(0).integers(0, 2, (5, 8, 8))
    high = high_frequencies(images, 0.05)
    assert high.min() == 0 and high.max() == 1


@pytest.mark.parametrize("name, source, target", [
    ("W0", ["B1", "B1_high"], ["B0"]), ("W1", ["B2"], ["B1", "B1_high"]), ("W2", ["C"], ["B2"]),
])
def test_mirror_joins_the_partners(small_network, name, source, target):
    """Of the second of two replicas."""
    layout = small_network(assignments={"encoding.cutoff": 0.2}, replicas=2).layout
    backward, rows, columns = layout.mirror(layout.projection(name, 1))
    for end, where, names in ((backward.source, rows, source), (backward.target, columns, target)):
        cells = [np.arange(p.start, p.stop) for p in (layout.population(n, 1) for n in names)]
        joined = np.arange(end.start, end.stop)[where]
        np.testing.assert_array_equal(joined, np.concatenate(cells))


def test_number_of_objects_does_not_depend_on_the_streams(small_network):
    from bsd.networks.describe import runtime_device

    numbers = []
    for cutoff in (0.0, 0.2):
        with runtime_device():
            objects = small_network(assignments={"encoding.cutoff": cutoff}).create()
            numbers.append(len(list(objects)))
            del objects
    assert numbers[0] == numbers[1]


def test_repulsion_is_that_of_the_stream(small_network):
    network = small_network(
        assignments={"encoding.cutoff": 0.2, "learning.lam": 1.5, "learning.lam_high": 6.0}
    )
    lam = network.values()["normaliser.lam"]
    found = {p.name: lam[p.index] for p in network.layout.populations}
    assert {found[n] for n in ("F1_high", "B1_high", "B0_high")} == {6.0}
    assert {v for n, v in found.items() if not n.endswith("_high")} == {1.5}


@pytest.mark.parametrize("layers, context", [([8, 4, 3], 0), ([9, 1, 3], 0),
                                             ([9, 4, 3], 1)])
def test_what_has_no_second_stream(layers, context):
    parameters = DISCRETE.updated({"encoding.cutoff": 0.1, "encoding.context": context})
    with pytest.raises(InputError, match="encoding.cutoff"):
        BidirectionalNetwork(layers, parameters)


def test_a_code_has_no_concepts():
    with pytest.raises(InputError, match="cells_per_concept"):
        DISCRETE.updated({"encoding.autoencoder": True})


def test_a_code_starts_as_hidden_cells_do():
    """Its synapses are no read-out: SD g / sqrt(n_pre), to 5 %."""
    code = {"encoding.autoencoder": True, "encoding.cells_per_concept": 1,
            "learning.init_gain": 3.0, "learning.init_gain_readout": 0.5}
    network = BidirectionalNetwork([16, 60, 50], DISCRETE.updated(code))
    w = network.initial_state(0)["cortical_basal.w"]
    for name, gain in (("W1", 3.0), ("Theta0", 0.5)):
        p = network.layout.projection(name)
        assert w[p.synapse_slice].std() == pytest.approx(gain / np.sqrt(p.shape[0]), rel=0.05)
