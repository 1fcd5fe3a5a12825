"""Judges: networks trained on photographs, whose features compare sets of images.

Each judge is a function from images to features, like those in `glo_lib.evaluation.features`, but nobody has to train it, so that its
numbers can be compared from one run to another:

- ``efficientnet_lite0`` recognises objects, and sees whether images are as sharp and as natural as photographs. The perceptual loss uses
  its first blocks. So where a model was trained with that loss, only the other judge is impartial.
- ``face_recogniser`` recognises people. No loss uses it. It also tells whether a reconstruction still shows the same person.

The weights come with packages that need not be installed (``make judges``). The distances are called kernel distance and Fréchet distance,
not KID and FID, because these names stand for the features of Inception v3, and numbers of other features cannot be compared with them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from glo_lib.evaluation.features import Features
from glo_lib.evaluation.metrics import FeatureComponents, frechet_distance_in_components, kernel_distance, precision_recall
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import ImageRows, slices, to_floats
from glo_lib.networks import efficientnet, recogniser

EFFICIENTNET_SIZE = 112  # pixels; half of what it was trained on, because larger images take longer and have little more detail to offer
IMAGES_PER_BATCH = 32  # as fast as larger batches, or faster, because the maps of 32 images stay in the caches of the processor
# Share of the side that is the face in a square cut from an image aligned as in CelebA: 108 of 178 pixels, as in `tight_crop`. The
# recogniser was trained on such cuts: of pairs of photographs in Labeled Faces in the Wild, it tells 92.5 % correctly with this share,
# 83 % with 150 of 178 pixels, and 68 % with the whole square.
SHARE_OF_FACE = 108 / 178
TITLES = {"efficientnet_lite0": "EfficientNet-Lite0", "face_recogniser": "Face recogniser"}  # by the judges' names


class Judge(NamedTuple):
    """A trained network that judges images.

    Attributes:
        name: key in ``metrics.json``, and in `TITLES`.
        features: images (n, size, size, 3), uint8 or float in [-1, 1] -> features (n, k) float32.
        describe_people: these features -> (n, 128), whose distances tell whether two photographs show the same person; or None.
    """

    name: str
    features: Features
    describe_people: Callable[[np.ndarray], np.ndarray] | None = None


def efficientnet_judge() -> Judge:
    """Return the first judge, whose features are the 1,280 averages that EfficientNet-Lite0 classifies, of images of 112 pixels a side.

    Raises:
        ModuleNotFoundError: the weights are not installed; the message says how to install them.

    Example:
        ``efficientnet_judge().features(images)``
    """
    weights = efficientnet.load_weights()

    def build(images: tf.Tensor) -> tf.Tensor:
        return efficientnet.efficientnet_lite0(images, weights).features

    return Judge("efficientnet_lite0", _network_features(build, EFFICIENTNET_SIZE))


def recogniser_judge(tight_crop: bool = False) -> Judge:
    """Return the second judge, whose features are the 256 averages from which the face recogniser computes its description of a person.

    The kernel distance uses these and not the 128 numbers of the description, because they tell blurred photographs from sharp ones more
    clearly: photographs at half their resolution are 30 standard errors away instead of 22.

    Args:
        tight_crop: the images were cropped tightly to the face already. Otherwise the judge looks at their central part only.

    Raises:
        ModuleNotFoundError: the weights are not installed; the message says how to install them.

    Example:
        ``recogniser_judge().features(faces)``
    """
    weights = recogniser.load_weights()

    def build(images: tf.Tensor) -> tf.Tensor:
        return recogniser.face_recogniser(images, weights)[0]

    features = _network_features(build, recogniser.SIZE, 1.0 if tight_crop else SHARE_OF_FACE)
    return Judge("face_recogniser", features, lambda pooled: pooled @ weights["fc/weights"])


def installed_judges(tight_crop: bool = False) -> tuple[Judge, ...]:
    """Return the judges whose weights are installed.

    Args:
        tight_crop: see `recogniser_judge`.

    Example:
        ``[judge.name for judge in installed_judges()]``
    """
    judges = [efficientnet_judge()] if efficientnet.is_installed() else []
    return (*judges, recogniser_judge(tight_crop)) if recogniser.is_installed() else tuple(judges)


def missing_judges() -> list[str]:
    """Return a line for each judge whose weights are not installed, which says how to install them."""
    return [network.MISSING for network in (efficientnet, recogniser) if not network.is_installed()]


def _network_features(build: Callable[[tf.Tensor], tf.Tensor], size: int, share: float = 1.0) -> Features:
    """Return the function that cuts out the centre of images, resizes it (bicubic, without aliasing) and computes a network's features."""
    with tf.Graph().as_default():
        images = v1.placeholder(tf.float32, [None, None, None, 3])
        features = build(tf.ensure_shape(tf.image.resize(images, [size, size], "bicubic", antialias=True), [None, size, size, 3]))
        session = open_session()

    def compute(array: ImageRows) -> np.ndarray:
        margin = round(array.shape[1] * (1 - share) / 2)
        centre = slice(margin, array.shape[1] - margin)
        parts = [np.zeros((0, features.shape[1]), np.float32)]
        for rows in slices(len(array), IMAGES_PER_BATCH):
            batch = to_floats(np.asarray(array[rows])[:, centre, centre])
            parts.append(session.run(features, {images: np.clip(batch, -1, 1)}))
        return np.concatenate(parts)

    return compute


def compare(
    features: np.ndarray, reference: np.ndarray, components: FeatureComponents | None = None, paired: bool = False
) -> dict[str, float]:
    """Compare features of images with those of real photographs.

    Args:
        features: (n, k), of reconstructions, samples, or other photographs.
        reference: (m, k), of photographs. For numbers that can be compared, the sizes n and m must be the same each time.
        components: see `glo_lib.evaluation.metrics.frechet_distance_in_components`.
        paired: the features are those of reconstructions of these photographs, in the same order
            (`glo_lib.evaluation.metrics.kernel_distance`). The other numbers take no account of it, so a reconstruction that is near to its
            own photograph counts for precision and recall.

    Returns:
        ``kernel_distance`` and its ``standard_error``, ``frechet_distance`` in 128 components of the reference, ``precision`` and
        ``recall``; see `glo_lib.evaluation.metrics`.

    Example:
        ``compare(judge.features(samples), judge.features(held_out))["kernel_distance"]``
    """
    distance = kernel_distance(features, reference, paired)
    precision, recall = precision_recall(reference, features)
    return {
        "kernel_distance": distance.value,
        "standard_error": distance.standard_error,
        "frechet_distance": frechet_distance_in_components(features, reference, components),
        "precision": precision,
        "recall": recall,
    }


def compare_people(descriptions: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Compare the people in images and in their reconstructions.

    At 64 pixels, 95 % of the pairs of photographs of one person in Labeled Faces in the Wild have a distance below 0.6, and 12 % of the
    pairs of different people; the medians are 0.44 and 0.71. A photograph and its own reconstruction agree in more than the person.

    Args:
        descriptions: (n, 128), of photographs.
        others: (n, 128), of their reconstructions.

    Returns:
        ``person_distance``, the median Euclidean distance, and ``same_person``, the share of the distances below 0.6.

    Example:
        >>> compare_people(np.zeros((2, 128)), np.full((2, 128), 0.05))
        {'person_distance': 0.5656..., 'same_person': 1.0}
    """
    distances = np.linalg.norm(descriptions - others, axis=1)
    return {"person_distance": float(np.median(distances)), "same_person": float((distances < recogniser.SAME_PERSON).mean())}
