"""Stimulus transforms: pure functions of image, seed and trial, whatever the chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsd.equations.errors import InputError
from bsd.runs.data import MASKS, add_noise, blend, blur, jitter, occlude
from bsd.runs.data.counters import random_bits, random_normal, random_uniform

N = 60
IMAGES = np.random.default_rng(0).uniform(0.1, 1, (N, 9, 12)).astype(np.float32)
TRIALS = np.arange(1000, 1000 + N)

TRANSFORMS = {
    "jitter": lambda images, trials: jitter(images, 2, 7, trials),
    "blur": lambda images, trials: blur(images, 0.5 + trials % 3),
    "blend": lambda images, trials: blend(images, images[:, ::-1], 0.3),
    "noise": lambda images, trials: add_noise(images, 0.3, 7, trials),
    **{
        mask: lambda images, trials, mask=mask: occlude(images, 0.4, mask, 7, trials)
        for mask in MASKS
    },
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_result_does_not_depend_on_chunks_or_order(name):
    transform = TRANSFORMS[name]
    whole = transform(IMAGES, TRIALS)
    assert whole.dtype == np.float32 and whole.shape == IMAGES.shape
    assert whole.min() >= 0 and whole.max() <= 1
    single = [transform(IMAGES[i : i + 1], TRIALS[i : i + 1])[0] for i in range(N)]
    assert np.array_equal(whole, single)
    order = np.random.default_rng(1).permutation(N)
    assert np.array_equal(whole[order], transform(IMAGES[order], TRIALS[order]))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_images_given_are_not_changed(name):
    images = IMAGES.copy()
    TRANSFORMS[name](images, TRIALS)
    assert np.array_equal(images, IMAGES)


@pytest.mark.parametrize("name", ["jitter", "noise", "random"])
def test_trials_and_seeds_differ(name):
    same_image = np.repeat(IMAGES[:1], N, axis=0)
    results = TRANSFORMS[name](same_image, TRIALS).reshape(N, -1)
    assert len(np.unique(results, axis=0)) > N / 4
    other_seed = {
        "jitter": lambda: jitter(IMAGES, 2, 8, TRIALS),
        "noise": lambda: add_noise(IMAGES, 0.3, 8, TRIALS),
        "random": lambda: occlude(IMAGES, 0.4, "random", 8, TRIALS),
    }[name]()
    assert not np.array_equal(other_seed, TRANSFORMS[name](IMAGES, TRIALS))


def test_jitter_shifts_uniformly_and_fills_with_zeros():
    n = 5000
    images = np.zeros((n, 9, 9), dtype=np.float32)
    images[:, 4, 4] = 1
    shifted = jitter(images, 2, 0, np.arange(n))
    assert np.all(shifted.sum(axis=(1, 2)) == 1)
    where = np.argwhere(shifted)[:, 1:] - 4
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple((where + 2).T), 1)
    # 25 shifts at 200 each; 5 standard deviations of a binomial count are 69.
    assert np.abs(counts - n / 25).max() < 69
    edge = np.ones((1, 4, 4), dtype=np.float32)
    assert {jitter(edge, 1, 0, [trial]).sum() for trial in range(50)} == {16.0, 12.0, 9.0}


def test_noise_has_the_standard_deviation_asked_for():
    images = np.full((500, 20, 20), 0.5, dtype=np.float32)
    noise = add_noise(images, 0.05, 0, np.arange(500)) - 0.5
    assert abs(noise.mean()) < 5 * 0.05 / np.sqrt(noise.size)
    assert abs(noise.std() / 0.05 - 1) < 5 / np.sqrt(2 * noise.size)


def test_occlusion_covers_the_named_side():
    ones = np.ones((1, 4, 6), dtype=np.float32)
    for mask, part in {
        "left": np.s_[:, :, :3], "right": np.s_[:, :, 3:],
        "top": np.s_[:, :2, :], "bottom": np.s_[:, 2:, :],
    }.items():  # fmt: skip
        expected = ones.copy()
        expected[part] = 0
        assert np.array_equal(occlude(ones, 0.5, mask, 0, [0]), expected)


@settings(max_examples=50, deadline=None)
@given(fraction=st.floats(0, 1), trial=st.integers(0, 2**40), seed=st.integers(0, 2**70))
def test_random_occlusion_covers_the_exact_number_of_pixels(fraction, trial, seed):
    covered = occlude(IMAGES[:1], fraction, "random", seed, [trial])
    assert np.count_nonzero(covered == 0) == int(np.floor(fraction * 108 + 0.5))


def test_strength_may_differ_from_trial_to_trial():
    strength = np.where(np.arange(N) % 2, 0.5, 0.0)
    for result in (
        add_noise(IMAGES, strength, 0, TRIALS),
        occlude(IMAGES, strength, "random", 0, TRIALS),
        occlude(IMAGES, strength, "top", 0, TRIALS),
        jitter(IMAGES, np.arange(N) % 2, 0, TRIALS),
    ):
        changed = (result != IMAGES).any(axis=(1, 2))
        assert not changed[::2].any() and changed[1::2].any()
    alone = jitter(IMAGES, 3, 0, TRIALS)[::2]
    mixed = jitter(IMAGES, np.where(np.arange(N) % 2, 5, 3), 0, TRIALS)[::2]
    assert np.array_equal(alone, mixed)


def test_blur_spreads_light_and_keeps_it():
    image = np.zeros((1, 21, 21), dtype=np.float32)
    image[0, 10, 10] = 1
    blurred = blur(image, 2.0)[0]
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    y, x = np.mgrid[:21, :21] - 10
    assert (blurred * x**2).sum() == pytest.approx(4, rel=0.02)  # variance of the Gaussian
    assert np.array_equal(blur(IMAGES, 0), IMAGES)


def test_blend_of_two_images():
    mixed = blend(IMAGES[:2], IMAGES[2:4], [0.25, 1.0])
    assert np.allclose(mixed[0], 0.75 * IMAGES[0] + 0.25 * IMAGES[2])
    assert np.array_equal(mixed[1], IMAGES[3])


def test_many_images_are_cut_into_blocks_without_effect(monkeypatch):
    whole = [TRANSFORMS[name](IMAGES, TRIALS) for name in ("noise", "random")]
    monkeypatch.setattr("bsd.runs.data.transforms._BLOCK_PIXELS", 500)
    for name, before in zip(("noise", "random"), whole, strict=True):
        assert np.array_equal(before, TRANSFORMS[name](IMAGES, TRIALS))


def test_no_images_give_no_images():
    for transform in TRANSFORMS.values():
        assert transform(IMAGES[:0], TRIALS[:0]).shape == (0, 9, 12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: jitter(IMAGES, 9, 0, TRIALS), "max_shift .* 0..8"),
        (lambda: jitter(IMAGES, -1, 0, TRIALS), "max_shift"),
        (lambda: jitter(IMAGES, 0.5, 0, TRIALS), "max_shift"),
        (lambda: add_noise(IMAGES, -0.1, 0, TRIALS), "must not be negative"),
        (lambda: add_noise(IMAGES, np.nan, 0, TRIALS), "finite"),
        (lambda: add_noise(IMAGES, [0.1, 0.2], 0, TRIALS), "one number for each of the 60"),
        (lambda: add_noise(IMAGES, "much", 0, TRIALS), "one number"),
        (lambda: blur(IMAGES, -1), "must lie in 0 to"),
        (lambda: blur(IMAGES, 1e9), "must lie in 0 to"),
        (lambda: blur(IMAGES[0], 1), r"\(n, height, width\)"),
        (lambda: blend(IMAGES, IMAGES, 1.1), "0..1"),
        (lambda: blend(IMAGES, IMAGES[:3], 0.5), "cannot be blended"),
        (lambda: occlude(IMAGES, 1.1, "left", 0, TRIALS), "0..1"),
        (lambda: occlude(IMAGES, 0.5, "middle", 0, TRIALS), "choose one of left, right"),
        (lambda: occlude(IMAGES[0], 0.5, "left", 0, TRIALS), r"\(n, height, width\)"),
        (lambda: jitter(IMAGES, 1, 0, TRIALS[:3]), "one trial number per image"),
        (lambda: jitter(IMAGES, 1, 0, TRIALS - 2000), "not negative"),
        (lambda: jitter(IMAGES, 1, 0, TRIALS + 0.5), "whole numbers"),
        (lambda: jitter(IMAGES, 1, -1, TRIALS), "seed"),
        (lambda: jitter(IMAGES, 1, 1.5, TRIALS), "seed"),
    ],
)
def test_bad_arguments_are_refused_with_the_cure(call, text):
    with pytest.raises(InputError, match=text):
        call()


def test_random_numbers_have_the_right_distribution():
    uniform = random_uniform(3, 1, np.arange(1000), 100)
    assert 0 < uniform.min() and uniform.max() < 1
    counts = np.histogram(uniform, bins=20, range=(0, 1))[0]
    # Chi-square with 19 degrees of freedom exceeds 50 with a probability of 1e-4.
    assert np.sum((counts - 5000) ** 2 / 5000) < 50
    assert np.abs(np.corrcoef(uniform[:-1].ravel(), uniform[1:].ravel())[0, 1]) < 0.02
    normal = random_normal(3, 1, np.arange(1000), 101)
    assert normal.shape == (1000, 101)
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
    assert abs((normal**4).mean() - 3) < 0.2


def test_random_numbers_are_independent_between_streams_and_fixed_for_good():
    first = random_bits(1, 1, np.arange(5), 4)
    assert not np.intersect1d(first, random_bits(1, 2, np.arange(5), 4)).size
    assert not np.intersect1d(first, random_bits(2, 1, np.arange(5), 4)).size
    assert not np.intersect1d(first, random_bits(1 + 2**64, 1, np.arange(5), 4)).size
    assert len(np.unique(first)) == 20
    assert first[3, :2].tolist() == [2337451307043719676, 6780137575451999823]
