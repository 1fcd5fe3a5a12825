"""The chapter's module gathers what the modules by topic do."""

import importlib
import pkgutil

import numpy as np
import pytest

from glo_lib import inference


def test_every_name_is_there_and_comes_from_a_module_that_is_listed():
    for name in inference.__all__:
        value = getattr(inference, name)
        module = getattr(value, "__module__", "glo_lib.inference.priors")
        assert f"`{module}`" in inference.__doc__, name
    assert sorted(inference.__all__) == sorted(set(inference.__all__))


MODULES = [module.name for module in pkgutil.iter_modules(inference.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_the_small_modules_know_nothing_of_training_and_of_the_package_as_a_whole(module):
    source = importlib.import_module(f"glo_lib.inference.{module}")
    names = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in vars(source).values()}
    assert "glo_lib.inference" not in names and not [name for name in names if name.startswith("glo_lib.training")]


def test_every_module_is_listed():
    assert "model" in MODULES
    for module in MODULES:
        assert f"- `glo_lib.inference.{module}`: " in inference.__doc__


def test_from_a_run_folder_to_new_images_and_their_neighbours(trained_run, trained_images):
    model = inference.load(trained_run)
    codes = inference.fit_prior("full", model.codes, model.config.projection).sample(4, seed=1)
    images = model.decode(codes)
    index, distance = inference.nearest_neighbours(images, trained_images, 2)
    assert images.shape == (4, 32, 32, 3) and index.shape == (4, 2)
    assert (distance[:, 0] <= distance[:, 1]).all() and np.isfinite(distance).all()
