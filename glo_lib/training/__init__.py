"""Training of GLO and of the VAE it is compared with: build the model, build the loss, build the train op, run the loop.

The structure follows the training loop of the blog post and the steps of TF-GAN's ``train.py``, in which each step passes a named tuple to
the next. The towers share the decoder and the table of latent codes. Each tower processes its own part of the batch on its own device.

- `glo_lib.training.build`: the graph;
- `glo_lib.training.schedule`: the phases of a run and its learning rates;
- `glo_lib.training.loop`: the session, its hooks, the progress report, and signals;
- `glo_lib.training.train`: the function `train`, which does all of this and evaluates the run.
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
from glo_lib.training.loop import TrainingDiverged, run_loop
from glo_lib.training.schedule import rate_scale
from glo_lib.training.train import TrainResult, prepare, train, train_phase, training_graph

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
    "train_phase",
    "training_graph",
    "weight_average",
]
