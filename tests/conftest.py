"""Shared by all tests: a cache of their own, and a small set of images that is drawn once."""

import numpy as np
import pytest
from PIL import Image


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
