"""Shared by the tests of training: small settings, no figures, and two finished runs."""

import pytest

from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate as evaluation
from glo_lib.training import train


@pytest.fixture(scope="session")
def small_config():
    """Make settings of 24 steps from the folders of the images and of the run, with changes."""

    def make(data_dir, run_dir, **changes) -> TrainConfig:
        settings = {
            "data_dir": str(data_dir), "run_dir": str(run_dir), "image_size": 32, "num_dims": 6, "num_filters": (16, 12, 8),
            "batch_size": 8, "num_epochs": 4, "max_seconds": 0, "precision": "float32", "summary_steps": 5,
        }  # fmt: skip
        return TrainConfig(**{**settings, **changes})

    return make


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Drawing takes longer than training here; the figures are looked for once, in the run of the fixture `trained`."""
    monkeypatch.setattr(evaluation, "write_figures", lambda folder, figures: None)
    monkeypatch.setattr(evaluation, "run_figures", lambda *_: {})


@pytest.fixture(scope="session")
def trained(small_config, small_images, tmp_path_factory):
    """A finished run of 24 steps with two towers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return train(small_config(small_images, tmp_path_factory.mktemp("trained"), gpus=2, batch_size=4))


@pytest.fixture(scope="session")
def one_tower(small_config, small_images, tmp_path_factory):
    """The same run with one tower."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(evaluation, "run_figures", lambda *_: {})
        return train(small_config(small_images, tmp_path_factory.mktemp("one_tower")))
