"""How far a run is, in which phase, and with which learning rates."""

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.inputs import DecodedImages
from glo_lib.recipe import Phase, phase_at
from glo_lib.runs.folder import Progress


def share_done(config: TrainConfig, images: DecodedImages, progress: Progress) -> float:
    """Return the completed share of the run in [0, 1]: that of the steps or, with ``max_seconds``, of the seconds, whichever is larger."""
    share = progress.step / config.num_steps(images.num_images)
    return min(1.0, max(share, progress.seconds / config.max_seconds) if config.max_seconds else share)


def phase_of(config: TrainConfig, images: DecodedImages, progress: Progress) -> Phase:
    """Return the phase that a run with this progress is in."""
    return phase_at(config.recipe, share_done(config, images, progress))


def rate_scale(config: TrainConfig, share: float) -> float:
    """Return the factor of both learning rates.

    Within each phase it is the phase's own factor times half a period of a cosine that falls from 1 to 0, or times 1 if the schedule is
    constant.

    Args:
        config: the settings.
        share: the completed share of the run, in [0, 1].

    Example:
        >>> rate_scale(TrainConfig(), 0.5).__round__(3)
        0.5
        >>> rate_scale(TrainConfig(phases="0.5 mse, 0.5 lap1 rate 0.2"), 0.5)
        0.2
    """
    phase = phase_at(config.recipe, share)
    return phase.rate * (0.5 * (1 + float(np.cos(np.pi * phase.share_done(share)))) if config.schedule == "cosine" else 1.0)
