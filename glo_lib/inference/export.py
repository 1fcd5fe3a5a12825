"""Export a trained decoder: as a SavedModel for plain TensorFlow, or as one file of arrays."""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.inference.model import SCOPE, TrainedModel
from glo_lib.inference.variables import from_arrays
from glo_lib.system.replace import replacing

SIGNATURE = "decode"


def export_saved_model(model: TrainedModel, folder: str | Path, force: bool = False) -> Path:
    """Write the decoder as a SavedModel, which plain TensorFlow 2 loads without this library.

    The signature ``"decode"`` takes ``codes`` (n, d) float32, projects them as in training, and returns ``images``
    (n, size, size, 3) float32 in [-1, 1].

    Args:
        model: from `glo_lib.inference.load`.
        folder: the folder to write. Its parent must exist.
        force: replace an existing SavedModel. A non-empty folder that is not a SavedModel is never replaced.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists, and ``force`` does not allow to replace it.
        FileNotFoundError: the parent folder does not exist.
        OSError: the folder cannot be written, for instance because the disk is full.

    Example:
        ``tf.saved_model.load("decoder").signatures["decode"](codes=tf.random.normal([4, 64]))["images"]``
    """
    folder = Path(folder)
    is_ours = folder.is_dir() and ((folder / "saved_model.pb").exists() or not any(folder.iterdir()))
    check_free(folder, force and is_ours)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as partial:
        _write_saved_model(model, f"{partial}/whole")
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(f"{partial}/whole", folder)
    return folder


def _write_saved_model(model: TrainedModel, folder: str) -> None:
    frozen = model.frozen_graph()
    with tf.Graph().as_default(), open_session() as session:
        codes = v1.placeholder(tf.float32, [None, model.config.num_dims], name="codes")
        images = tf.import_graph_def(frozen, {"codes": codes}, ["images:0"], name="decoder")[0]
        images.set_shape([None, *[model.config.image_size] * 2, 3])
        signature = v1.saved_model.predict_signature_def({"codes": codes}, {"images": images})
        builder = v1.saved_model.Builder(folder)
        builder.add_meta_graph_and_variables(
            session, [v1.saved_model.tag_constants.SERVING], {SIGNATURE: signature, "serving_default": signature}
        )
        try:
            builder.save()
        except tf.errors.OpError as error:  # its message is "file; reason", and the file is a temporary one
            raise OSError(f"the SavedModel cannot be written: {error.message.rpartition('; ')[2]}") from error


def export_npz(model: TrainedModel, file: str | Path, force: bool = False) -> Path:
    """Write settings, codes and the decoder's variables to one ``.npz`` file, which numpy reads without pickle.

    The entries are ``config`` (JSON), ``weights`` (``"raw"`` or ``"averaged"``), ``codes`` (N, d), and each variable under its name.

    Args:
        model: from `glo_lib.inference.load`.
        file: the file to write. Its name ends with ``.npz``.
        force: replace an existing file.

    Returns:
        The file.

    Raises:
        FileExistsError: the file exists, and ``force`` is not set.
        FileNotFoundError: the folder of the file does not exist.
        ValueError: the name does not end with ``.npz``.

    Example:
        ``load_npz(export_npz(model, "decoder.npz")).decode(codes)``
    """
    file = Path(file)
    if file.suffix != ".npz":
        raise ValueError(f"{str(file)!r} does not end with .npz")
    check_free(file, force)
    with replacing(file, several_writers=True) as partial, open(partial, "wb") as opened:
        config = json.dumps({**model.config.as_dict(), "run_dir": "", "data_dir": ""})  # do not publish the reader's folders
        entries: dict[str, Any] = {"config": config, "weights": model.weights, "codes": model.codes, **model.variables}
        np.savez_compressed(opened, **entries)
    return file


def load_npz(file: str | Path) -> TrainedModel:
    """Load a model from a file that `export_npz` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file was not written by `export_npz`.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"{str(file)!r} is not there; give a file that export_npz wrote")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        config = TrainConfig.from_stored(json.loads(str(content["config"])))
        codes, weights = content["codes"], str(content["weights"])
    except (OSError, EOFError, KeyError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(file)!r} is not a file that export_npz wrote ({error})") from None
    variables = {name: value for name, value in content.items() if name.startswith(f"{SCOPE}/")}
    return TrainedModel(config, codes, from_arrays(variables, weights))


def check_free(path: str | Path, force: bool = False) -> None:
    """Check that a file or folder can be written, before anything is computed.

    Raises:
        FileExistsError: the path exists, and ``force`` is not set.
        FileNotFoundError: the parent folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{str(path.parent)!r} is not a folder; make it first, or write elsewhere")
    if path.exists() and not force:
        raise FileExistsError(f"{str(path)!r} exists and is left as it is; give another name, or force to replace it")
