"""Training GLO, or the VAE it is compared with: build the model, build the loss, build the train op, run.

The arrangement follows the training loop of the post and the steps of TF-GAN's ``train.py``: each step hands a named tuple to the next.
Towers share the decoder and the table of codes; each gets its own part of the batch on its own device.

- `glo_lib.training.build`: the graph;
- `glo_lib.training.loop`: the session, its hooks, the report, and signals;
- `glo_lib.training.train`: the call that does everything.
"""

from glo_lib.config import TrainConfig
from glo_lib.images.split import find_split
from glo_lib.training.build import (
    Setting,
    TrainGraph,
    batch_norm_decay,
    build_loss,
    build_model,
    build_train_ops,
    initial_codes,
    weight_average,
)
from glo_lib.training.loop import TrainingDiverged, rate_scale, run_loop
from glo_lib.training.train import TrainResult, prepare, train

__all__ = [
    "Setting",
    "TrainConfig",
    "TrainGraph",
    "TrainResult",
    "TrainingDiverged",
    "batch_norm_decay",
    "build_loss",
    "build_model",
    "build_train_ops",
    "find_split",
    "initial_codes",
    "prepare",
    "rate_scale",
    "run_loop",
    "train",
    "weight_average",
]
