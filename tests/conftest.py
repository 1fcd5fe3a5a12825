"""Shared by all tests: a cache of their own, and a small set of images that is drawn once."""

import importlib

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# The same examples at every run: a test that fails fails for everybody, and not for one reader in a hundred.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No unit test reads or writes the reader's cache."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("GLO_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def small_images(tmp_path_factory):
    """A folder of 48 smooth colour images of 40x36 pixels that differ in a few factors, as JPEG files."""
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
def trained_run(small_images, tmp_path_factory):
    """The folder of a short run on the small images: 32 pixels, 6 dimensions, one tower; metrics and figures are left out."""
    from glo_lib.config import TrainConfig
    from glo_lib.training import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(importlib.import_module("glo_lib.training.train"), "evaluate", lambda *_: {})
        folder = tmp_path_factory.mktemp("run")
        config = TrainConfig(
            data_dir=str(small_images), run_dir=str(folder), image_size=32, num_dims=6, num_filters=(16, 12, 8), batch_size=8,
            num_epochs=60, max_seconds=0, learning_rate=0.01, precision="float32",
        )  # fmt: skip
        return train(config).run_dir


@pytest.fixture(scope="session")
def trained_model(trained_run):
    """The model of that run."""
    from glo_lib.inference.model import load

    return load(trained_run)


@pytest.fixture(scope="session")
def trained_images(small_images, tmp_path_factory):
    """The (48, 32, 32, 3) uint8 images it was trained on."""
    from glo_lib.inputs import decode_images, list_images

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return np.array(decode_images(list_images(small_images), 32).array())
