"""Load a trained decoder and its latent codes from a run folder, from an exported file, or from the package itself."""

from pathlib import Path

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.layers import conv2d_transpose
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import ImageRows, slices
from glo_lib.inference.variables import Fill, from_arrays, from_checkpoint, unreadable_checkpoint
from glo_lib.projection import get_projection, project_array
from glo_lib.runs.checkpoints import check_fits
from glo_lib.runs.folder import read_codes, read_json
from glo_lib.runs.packed import is_pretrained, read_packed
from glo_lib.runs.run import Run, read_run

SCOPE = "decoder"
IMAGES_PER_BATCH = 256  # for images of 64 pixels; fewer for larger images, so that the feature maps take the same memory
GRADIENT_ATTRIBUTE = "_gradient_op_type"


class TrainedModel:
    """A trained decoder and its latent codes. Use `load` or `glo_lib.inference.export.load_npz` to make one.

    Args:
        config: the settings of the run.
        codes: (N, d), not necessarily projected.
        fill: sets the values of the decoder's variables, see `glo_lib.inference.variables`.

    Attributes:
        config: the settings of the run.
        codes: (N, d) float32, projected. Row i belongs to image i.
        weights: ``"averaged"`` if the variables are moving averages of the weights, ``"raw"`` if they are the weights themselves.
    """

    def __init__(self, config: TrainConfig, codes: np.ndarray, fill: Fill):
        self.config, self.codes = config, project_array(codes, config.projection)
        with tf.Graph().as_default():
            self._latent_z = v1.placeholder(tf.float32, [None, config.num_dims], name="codes")
            self._projected = tf.identity(get_projection(config.projection)(self._latent_z), name="projected")
            filters, kernel_size = config.num_filters, config.kernel_size
            images = decoder(self._projected, filters, kernel_size, is_training=False, scope=SCOPE, layer=conv2d_transpose)
            self._images = tf.identity(images, name="images")  # (n, size, size, 3)
            self._session = open_session()
            self._variables = v1.global_variables(SCOPE)
            self.weights = fill(self._session, self._variables)

    @property
    def variables(self) -> dict[str, np.ndarray]:
        """The values of the decoder's variables, by name."""
        names = [variable.op.name for variable in self._variables]
        return dict(zip(names, self._session.run(self._variables), strict=True))

    def decode(self, codes: np.ndarray, project: bool = True) -> np.ndarray:
        """Decode latent codes, with batch normalisation in inference mode.

        Args:
            codes: (n, d).
            project: project the codes as in training. Without projection the decoder can be evaluated at points that do not occur in
                training.

        Returns:
            (n, size, size, 3) float32 in [-1, 1].

        Raises:
            ValueError: the codes have another shape.
        """
        if codes.ndim != 2 or codes.shape[1] != self.config.num_dims:
            raise ValueError(f"codes have shape {codes.shape}; this model decodes (n, {self.config.num_dims})")
        size = self.config.image_size
        images = np.empty((len(codes), size, size, 3), np.float32)
        fed = self._latent_z if project else self._projected
        for rows in slices(len(codes), max(1, IMAGES_PER_BATCH * 64**2 // size**2)):
            images[rows] = self._session.run(self._images, {fed: codes[rows]})
        return images

    def project(self, codes: np.ndarray) -> np.ndarray:
        """Project codes (n, d) as in the training of this model: onto the sphere, or into the ball."""
        return project_array(codes, self.config.projection)

    def frozen_graph(self) -> v1.GraphDef:
        """Return the decoder as a graph in which the values of the variables are constants.

        The input is the placeholder ``codes`` and the output is ``images``. The operation ``projected`` holds the projected codes. Import
        the graph with ``tf.import_graph_def`` where the decoder is needed but must not be trained. The graph uses TensorFlow's own
        gradients, because the custom gradients of this library refer to tensors of the graph of this model.
        """
        with self._session.graph.as_default() as graph:
            frozen = v1.graph_util.convert_variables_to_constants(self._session, graph.as_graph_def(), ["images"])
        for node in frozen.node:
            node.attr.pop(GRADIENT_ATTRIBUTE, None)
        return frozen


def load(run: str | Path | Run) -> TrainedModel:
    """Load the trained model of a run, on any devices.

    Args:
        run: folder of a run of `glo_lib.training.train`, or the result of `glo_lib.runs.run.read_run` for it. ``"pretrained"`` is the model
            that comes with the library (a run in a folder of this name is ``"./pretrained"``).

    Returns:
        `TrainedModel`. After training with several towers it uses the moving averages of the weights. The codes of a VAE are the means of
        its encoder.

    Raises:
        FileNotFoundError: the folder contains no run, or no checkpoint, or a VAE whose images have not been encoded (no ``codes.npy``); or
            the library was installed without its pretrained model.
        ValueError: ``config.json`` is damaged, no checkpoint can be used, the checkpoint belongs to another model, or the codes of a VAE
            are those of another checkpoint, because training goes on or was killed. (If only the newest checkpoint is damaged, the
            checkpoint before it is loaded, with a warning.)

    Example:
        ``load(result.run_dir).decode(codes)``
    """
    if is_pretrained(run):
        packed = read_packed()
        return TrainedModel(packed.config, packed.codes, from_arrays(packed.variables, packed.weights))
    run = run if isinstance(run, Run) else read_run(run)
    codes = load_stored_codes(run) if run.config.model == "glo" else _read_codes_of_checkpoint(run)
    return TrainedModel(run.config, codes, from_checkpoint(run.trained_checkpoint()))


def load_stored_codes(run: str | Path | Run) -> np.ndarray:
    """Load the table of codes of a run as its newest checkpoint stores it, before projection.

    Args:
        run: folder of a GLO run, or the result of `glo_lib.runs.run.read_run` for it.

    Returns:
        (N, d) float32.

    Raises:
        FileNotFoundError: the folder contains no run, or no checkpoint.
        ValueError: the checkpoint is damaged, or holds no codes of this width.
    """
    run = run if isinstance(run, Run) else read_run(run)
    checkpoint = run.trained_checkpoint()
    check_fits(checkpoint, {"codes": (None, run.config.num_dims)})
    try:
        return tf.train.load_checkpoint(checkpoint).get_tensor("codes")
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise unreadable_checkpoint(checkpoint, error) from None


def _read_codes_of_checkpoint(run: Run) -> np.ndarray:
    """Read ``codes.npy`` of a VAE; raise a `ValueError` if it was not computed from the checkpoint of the run.

    The codes are computed by the evaluation at the end of training, which writes its step to ``metrics.json`` when it is complete.
    """
    codes, metrics = read_codes(run.folder), run.folder / "metrics.json"
    step = read_json(metrics).get("steps") if metrics.exists() else None
    if step != run.progress.step:
        evaluated = "its evaluation is not complete" if step is None else f"its codes are those of step {step}"
        raise ValueError(
            f"{str(run.folder)!r} holds a VAE at step {run.progress.step}, and {evaluated}; its encoder computes the codes when training "
            "ends, so wait until it ends, or train with the same settings to the end"
        )
    return codes


def check_one_code_per_image(codes: np.ndarray, images: ImageRows) -> None:
    """Check that there are as many images as codes, because row i of the codes belongs to image i.

    Raises:
        ValueError: the numbers differ.
    """
    if len(codes) != len(images):
        raise ValueError(
            f"there are {len(codes):,} codes and {len(images):,} images; row i of the codes belongs to image i, "
            "so give the images that the model was trained on"
        )
