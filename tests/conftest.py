"""Fixtures shared by all tests: a separate cache, a small set of images that is drawn once, and a short run on these images."""

import importlib

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# Hypothesis draws the same examples in every run, so that a test either passes for everybody or fails for everybody.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Use a temporary cache, so that no test reads or writes the cache of the user."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("GLO_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def small_images(tmp_path_factory):
    """Folder of 48 smooth colour images of 40x36 pixels that differ in a few factors, as JPEG files."""
    folder = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[0:40, 0:36] / 40
    for number in range(48):
        x, y, width, *colours = draw.uniform(0.2, 0.8, 9)
        blob = np.exp(-(((columns - x) ** 2 + (rows - y) ** 2) / (0.1 * width)))[..., None]
        image = blob * np.array(colours[:3]) + (1 - blob) * np.array(colours[3:])
        Image.fromarray(np.uint8(image * 255)).save(folder / f"{number:03d}.jpg", quality=95)
    return folder


@pytest.fixture(scope="session")
def small_config():
    """Function that makes settings of 24 steps on the small images: ``small_config(data_dir, run_dir, **changes)``."""
    from glo_lib.config import TrainConfig

    def make(data_dir, run_dir, **changes):
        settings = {
            "image_size": 32, "num_dims": 6, "num_filters": (16, 12, 8), "batch_size": 8, "num_epochs": 4, "max_seconds": 0,
            "precision": "float32",
        }  # fmt: skip
        return TrainConfig(**{"data_dir": str(data_dir), "run_dir": str(run_dir), **settings, **changes})

    return make


@pytest.fixture
def no_figures(monkeypatch):
    """Train without drawing figures, because drawing takes longer than training here."""
    monkeypatch.setattr("glo_lib.evaluation.evaluate.run_figures", lambda *_: {})


@pytest.fixture(scope="session")
def train_once(tmp_path_factory):
    """Function that trains for a fixture shared by several tests, with a separate cache and without figures."""
    from glo_lib.training import train

    def train_run(config):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
            patch.setattr("glo_lib.evaluation.evaluate.run_figures", lambda *_: {})
            return train(config)

    return train_run


@pytest.fixture(scope="session")
def trained_run(small_images, small_config, train_once, tmp_path_factory):
    """Folder of a short run on the small images: 32 pixels, 6 dimensions, one tower; metrics and figures are left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("glo_lib.training.train"), "evaluate", lambda *_: {})
        return train_once(small_config(small_images, tmp_path_factory.mktemp("run"), num_epochs=60, learning_rate=0.01)).run_dir


@pytest.fixture(scope="session")
def trained_model(trained_run):
    """The model of `trained_run`."""
    from glo_lib.inference.model import load

    return load(trained_run)


@pytest.fixture(scope="session")
def trained_images(small_images, tmp_path_factory):
    """The (48, 32, 32, 3) uint8 training images of `trained_run`."""
    from glo_lib.inputs import decode_images, list_images

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return np.array(decode_images(list_images(small_images), 32).array())
