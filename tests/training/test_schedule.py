"""The share of a run that is done, its phase and its learning rates."""

import pytest

from glo_lib.config import TrainConfig
from glo_lib.images.store import DecodedImages
from glo_lib.runs.folder import Progress
from glo_lib.training.schedule import phase_of, rate_scale, share_done

IMAGES = DecodedImages(path=None, num_images=100, image_size=64, filenames=("",) * 100)
PHASES = "0.25 mse, 0.75 lap1 rate 0.5"


@pytest.mark.parametrize(
    ("seconds_allowed", "step", "seconds", "share"), [(0, 5, 1e6, 0.5), (100, 5, 20, 0.5), (100, 5, 80, 0.8), (100, 12, 0, 1), (0, 0, 9, 0)]
)
def test_the_larger_share_of_steps_and_seconds_counts(seconds_allowed, step, seconds, share):
    config = TrainConfig(batch_size=10, num_epochs=1, max_seconds=seconds_allowed)
    assert share_done(config, IMAGES, Progress(step, seconds)) == share


def test_the_phase_follows_from_the_share():
    config = TrainConfig(batch_size=10, num_epochs=1, max_seconds=0, phases=PHASES)
    assert [phase_of(config, IMAGES, Progress(step, 0.0)).loss for step in (0, 2, 3, 10)] == ["mse", "mse", "lap1", "lap1"]


@pytest.mark.parametrize(
    ("schedule", "scales"), [("constant", [1, 1, 0.5, 0.5, 0.5]), ("cosine", [1, 0.5, 0.5, 0.25, 0])]
)  # at the start, in the middle of the first phase, at the border, in the middle of the second phase, at the end
def test_each_phase_has_a_cosine_of_its_own_times_its_rate(schedule, scales):
    config = TrainConfig(schedule=schedule, phases=PHASES)
    assert [rate_scale(config, share) for share in (0, 0.125, 0.25, 0.625, 1)] == pytest.approx(scales)
