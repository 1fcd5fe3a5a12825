"""Features for the comparison of sets of images: principal components, an attribute classifier, or Inception v3.

Each is a function from images (n, height, width, 3), uint8 or float in [-1, 1], to features (n, k). The metrics in
`glo_lib.evaluation.metrics` accept any of them.
"""

from collections.abc import Callable

import numpy as np

from glo_lib.codes import fit_pca
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.graph.slim import slim
from glo_lib.images.pixels import ImageRows, slices, to_floats

Features = Callable[[ImageRows], np.ndarray]
WIDTHS = (32, 64, 96, 128, 128, 128)  # output channels of the classifier's convolutions, of which as many are used as lead to 4x4 pixels
IMAGES_PER_BATCH = 256
INCEPTION_SIZE = 299


def pca_features(images: ImageRows, num_dims: int) -> Features:
    """Return the function that computes the coefficients of the principal components of training images.

    These features represent large shapes and colours, and hardly any detail.

    Args:
        images: (N, height, width, 3) training images, uint8 or float in [-1, 1].
        num_dims: number k of components, see `glo_lib.codes.fit_pca`.
    """
    return fit_pca(images, num_dims).transform


class AttributeClassifier:
    """A small network that predicts attributes from images. Its last hidden layer provides features.

    It consists of convolutions with stride 2, batch normalisation and ReLU down to 4x4 pixels, a fully connected layer of k units with
    ReLU, and a logit for each attribute.

    Args:
        images: (N, size, size, 3) training images, uint8 or float in [-1, 1]. The size is a power of two, at least 8.
        labels: (N, attributes) bool.
        num_features: number k of features.
        steps: steps of Adam with batches of 64 images.
        seed: seed of the weights and the batches.

    Raises:
        ValueError: the images have another shape, or the numbers of images and labels differ.

    Example:
        ``AttributeClassifier(training_images, labels).features(samples)``
    """

    def __init__(self, images: ImageRows, labels: np.ndarray, num_features: int = 32, steps: int = 400, seed: int = 0):
        size = images.shape[1]
        if len(images) != len(labels) or np.ndim(labels) != 2:
            raise ValueError(f"images have shape {images.shape} and labels {np.shape(labels)}; give a row of labels for each image")
        if images.shape[1:] != (size, size, 3) or size < 8 or size & (size - 1):
            raise ValueError(f"images have shape {images.shape}; give (n, size, size, 3) of 8, 16, 32, ... pixels a side")
        with tf.Graph().as_default():
            v1.set_random_seed(seed)
            self._images = v1.placeholder(tf.float32, [None, size, size, 3])
            self._labels = v1.placeholder(tf.float32, [None, labels.shape[1]])
            self._build(num_features)
            self._session = open_session()
            self._session.run(v1.global_variables_initializer())
        draw = np.random.default_rng(seed)
        for step in range(steps):
            rows = np.sort(draw.choice(len(images), min(64, len(images)), replace=False))
            rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / steps))
            feed = {self._images: to_floats(images[rows]), self._labels: labels[rows], self._rate: rate}
            self._session.run(self._step, feed)

    def _build(self, num_features: int) -> None:
        logits, _ = _classify(self._images, num_features, self._labels.shape[1], is_training=True)
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=self._labels, logits=logits))
        self._rate = v1.placeholder(tf.float32, [])
        with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            self._step = v1.train.AdamOptimizer(self._rate).minimize(loss)
        logits, self._hidden = _classify(self._images, num_features, self._labels.shape[1], is_training=False)
        self._probabilities = tf.sigmoid(logits)

    def features(self, images: ImageRows) -> np.ndarray:
        """Return the activations (n, k) of the last hidden layer, for images (n, size, size, 3), uint8 or float in [-1, 1]."""
        return self._run(self._hidden, images)

    def predict(self, images: ImageRows) -> np.ndarray:
        """Return the probabilities (n, attributes), for images (n, size, size, 3), uint8 or float in [-1, 1]."""
        return self._run(self._probabilities, images)

    def _run(self, tensor: tf.Tensor, images: ImageRows) -> np.ndarray:
        batches = (to_floats(np.asarray(images[rows])) for rows in slices(len(images), IMAGES_PER_BATCH))
        return np.concatenate([self._session.run(tensor, {self._images: batch}) for batch in batches])


def _classify(images: tf.Tensor, num_features: int, num_attributes: int, is_training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Build the network; return the logits (batch, attributes) and the last hidden layer (batch, num_features)."""
    depth = int(np.log2(images.shape[1])) - 2
    norm = {"decay": 0.95, "scale": True, "is_training": is_training, "fused": True}
    with v1.variable_scope("classifier", reuse=not is_training):
        net = images
        for layer, width in enumerate(WIDTHS[:depth] + WIDTHS[-1:] * (depth - len(WIDTHS))):
            net = slim.conv2d(net, width, 3, stride=2, normalizer_fn=slim.batch_norm, normalizer_params=norm, scope=f"conv{layer + 1}")
        net = tf.reshape(net, (-1, 16 * net.shape[3]))
        hidden = slim.fully_connected(net, num_features, scope="features")
        return slim.fully_connected(hidden, num_attributes, activation_fn=None, scope="logits"), hidden


def inception_features(weights: str | None = "imagenet") -> Features:
    """Return the function that computes the 2,048 features of Inception v3 (the layer before the classes) with Keras.

    It takes images of any size. The weights are those of Keras, which differ from those of published Fréchet distances. So compare Fréchet
    distances only with others that were computed with these features.

    Args:
        weights: ``"imagenet"``, which Keras downloads if necessary; the name of a file with the weights; or None for random weights.

    Raises:
        OSError: the weights can be neither read nor downloaded.
    """
    try:
        network = tf.keras.applications.InceptionV3(include_top=False, pooling="avg", weights=weights)
    except Exception as error:  # Keras raises many types of exception for a missing network, a missing file or a wrong file
        raise OSError(
            f"weights of Inception v3 ({weights!r}) cannot be had: {error}. Give the name of a file that holds them "
            "(inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5), or use other features"
        ) from error

    def features(images: ImageRows) -> np.ndarray:
        parts = []
        for rows in slices(len(images), 32):
            resized = tf.image.resize(to_floats(np.asarray(images[rows])), [INCEPTION_SIZE, INCEPTION_SIZE])
            parts.append(network.predict_on_batch(resized))
        return np.concatenate(parts)

    return features
