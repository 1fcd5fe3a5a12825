"""Fixtures shared by the tests of training: faked GPUs, and two finished runs."""

import importlib

import pytest

from glo_lib.graph import devices
from glo_lib.training import train


@pytest.fixture
def gpus(monkeypatch):
    """A function that sets the list of GPUs."""

    def fake(*found):
        monkeypatch.setattr(devices, "find_gpus", lambda: list(found))
        monkeypatch.setattr(importlib.import_module("glo_lib.training.train"), "find_gpus", lambda: list(found))

    return fake


@pytest.fixture(scope="session")
def trained(small_config, small_images, tmp_path_factory):
    """A finished run of 24 steps with two towers, the only one whose figures are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return train(small_config(small_images, tmp_path_factory.mktemp("trained"), gpus=2, batch_size=4, summary_steps=5))


@pytest.fixture(scope="session")
def one_tower(small_config, small_images, train_once, tmp_path_factory):
    """The same run with one tower and twice the batch size, without figures."""
    return train_once(small_config(small_images, tmp_path_factory.mktemp("one_tower")))
