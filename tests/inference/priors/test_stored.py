"""A learned prior is fitted once for the same codes; what is stored is verified."""

import errno
import os

import numpy as np
import pytest

from glo_lib.inference.priors import stored
from glo_lib.inference.priors.flow import FlowPrior, fit_flow
from glo_lib.inference.priors.stored import fit_or_load

CODES = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def fits(cache):
    """Function that fits or loads, and the list of fits that were made."""
    made = []

    def fit(codes, projection):
        made.append(codes)
        return fit_flow(codes, projection, num_steps=2)

    return lambda codes=CODES, projection="sphere", settings=(1,): fit_or_load("flow", FlowPrior, fit, codes, projection, settings), made


def test_a_stored_fit_gives_the_same_samples_without_another_fit(fits):
    load, made = fits
    first, second = load(), load()
    assert len(made) == 1 and second.projection == "sphere" and isinstance(second.scale, float)
    np.testing.assert_array_equal(first.sample(5, seed=2), second.sample(5, seed=2))


def test_other_codes_projections_and_settings_have_fits_of_their_own(fits):
    load, made = fits
    for arguments in ({}, {"codes": CODES + 1}, {"projection": "ball"}, {"settings": (2,)}, {}):
        load(**arguments)
    assert len(made) == 4


def flip_a_byte(content):
    return content[:3000] + bytes([content[3000] ^ 1]) + content[3001:]


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], flip_a_byte, lambda content: b""])
def test_a_damaged_file_is_made_again_with_a_warning(fits, cache, damage):
    load, made = fits
    expected = load().sample(4)
    (path,) = (cache / "priors").glob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="is damaged .* the prior is fitted anew"):
        np.testing.assert_array_equal(load().sample(4), expected)
    load()
    assert len(made) == 2 and [entry.name for entry in (cache / "priors").iterdir()] == [path.name]


def test_where_nothing_can_be_written_the_prior_is_fitted_each_time(fits, cache):
    load, made = fits
    (cache / "priors").write_text("a file where the folder would be")
    for _ in range(2):
        with pytest.warns(UserWarning, match="until then the prior 'flow' is fitted anew each time"):
            load()
    assert len(made) == 2


def test_on_a_full_disk_the_prior_is_fitted_each_time(fits, monkeypatch):
    load, made = fits

    def refuse(name):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "tmp1234")

    monkeypatch.setattr(stored, "make_cache_folder", refuse)
    with pytest.warns(UserWarning, match=r"cannot be written \(No space left on device\); make room; until then the prior 'flow' is"):
        assert load().sample(2).shape == (2, 3)
    assert len(made) == 1
