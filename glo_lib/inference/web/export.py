"""Write a trained model for a web page, in two files (`glo_lib.runs.packed`), and read them again.

From these files a browser decodes codes, draws new ones, and searches for the code of an image. Matrices are float16. What that costs is
measured by `WebModel.decode`, which computes what the page computes, and noted in the file.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glo_lib.evaluation.metrics import psnr
from glo_lib.faces import VERSION, load_faces
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.images.files import list_images
from glo_lib.images.pixels import slices, to_bytes
from glo_lib.images.store import decode_as_in
from glo_lib.inference.directions import Attributes, read_attributes
from glo_lib.inference.model import TrainedModel, load
from glo_lib.inference.web.contents import REGRESSION_SIDE, describe_directions, describe_priors, drawn_attributes, search_arrays
from glo_lib.inference.web.layers import Layer, build_layers, fold_layers
from glo_lib.runs.folder import read_json
from glo_lib.runs.images import training_images
from glo_lib.runs.packed import ARRAYS, DESCRIPTION, MAX_BYTES, is_pretrained, pack_arrays, read_packed, unpack_arrays, write_files

FORMAT = 1
NUM_EXAMPLES, EXAMPLES_SEED = 6, 1  # drawn faces that no model was trained on
NUM_MEASURED = 512  # codes by which the loss of precision is measured
CODES_BYTES = 2_400_000  # of the codes that are written, where there is so much room; of more codes an evenly spaced part
OTHER_BYTES = 100_000  # of directions and of the description, which take 20 kB for the pretrained model
LEAST_CODES = 256  # fewer make no map of the codes
SEARCH_RATE, SEARCH_STEPS = 0.1, 150  # as `glo_lib.inference.encoding.encode` has them, with fewer steps
ROWS_AT_ONCE = 256


class WebModel(NamedTuple):
    """What the two files hold.

    Attributes:
        description: what ``model.json`` says.
        arrays: name -> array, as they are after rounding.
    """

    description: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @property
    def layers(self) -> Iterator[Layer]:
        """The layers of the decoder."""
        for entry in self.description["layers"]:
            yield Layer(**{**entry, "kernel": self.arrays[entry["kernel"]], "bias": self.arrays[entry["bias"]]})

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes (n, d), projected by the caller, by the same operations as the page; (n, size, size, 3) float32 in [-1, 1]."""
        with tf.Graph().as_default(), open_session() as session:
            fed = v1.placeholder(tf.float32, [None, codes.shape[1]])
            images = build_layers(fed, list(self.layers))
            return np.concatenate([session.run(images, {fed: codes[rows]}) for rows in slices(len(codes), ROWS_AT_ONCE)])


def export_run_for_web(run: str | Path, folder: str | Path, attributes: str | Path | None = None) -> Path:
    """Write the model of a run for a web page, with all that can be found out about its images.

    The attributes of drawn faces are known, and faces that no model has seen are drawn as examples. For other images, attributes come from
    a table if one is given, and there are no examples.

    Args:
        run: folder of a run, or ``"pretrained"``.
        folder: folder to write to, created if it does not exist.
        attributes: CelebA's ``list_attr_celeba.txt`` or a CSV file, see `glo_lib.inference.directions.read_attributes`.

    Returns:
        The folder.

    Raises:
        ValueError: see `export_web`, `glo_lib.inference.load` and `glo_lib.inference.directions.read_attributes`.
        FileNotFoundError: the folder holds no run, or the table of attributes is missing.

    Example:
        ``export_run_for_web("pretrained", "model")``
    """
    model = load(run)
    if is_pretrained(run):
        if attributes is not None:
            raise ValueError("the pretrained model knows the attributes of its faces; leave the table of attributes out")
        packed = read_packed()
        drawn = packed.provenance["faces"]
        same = drawn["version"] == VERSION  # otherwise the numbers of the faces mean other faces today
        known = drawn_attributes(range(len(model.codes)), drawn["seed"]) if same else None
        samples, provenance = packed.samples, packed.provenance
    else:
        known, samples, provenance = _attributes_of_run(run, model, attributes), None, _provenance_of_run(run)
    is_drawn = is_pretrained(run) or not model.config.data_dir
    return export_web(model, folder, known, _unseen_faces(model) if is_drawn else None, samples, provenance)


def export_web(
    model: TrainedModel,
    folder: str | Path,
    attributes: Attributes | None = None,
    examples: np.ndarray | None = None,
    stored_samples: Mapping[str, np.ndarray] | None = None,
    provenance: Mapping[str, Any] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Write a model for a web page, as ``model.json`` and ``arrays.bin``.

    Args:
        model: from `glo_lib.inference.load`.
        folder: folder to write to, created if it does not exist; earlier files of these names are replaced.
        attributes: of the training images, one row for each code, see
            `glo_lib.inference.directions.read_attributes` and `glo_lib.inference.web.contents.drawn_attributes`. Each becomes a direction
            of the space of codes, and colours the map. Default: none.
        examples: (n, size, size, 3) uint8, unseen images that a reader without images of their own can encode. Default: none.
        stored_samples: name of a prior -> (n, d) codes drawn from it. Default: 500 of each prior that is a network, which is fitted first
            if it has not been.
        provenance: how the model was made, with the result of the judges under ``judgement``, of which the page shows what is said
            of samples. Default: empty.
        max_bytes: size of both files together that is not exceeded.

    Returns:
        The folder.

    Raises:
        ValueError: attributes or examples do not belong to the model, the decoder leaves no room for codes within ``max_bytes``, or a
            number is too large for float16.

    Example:
        ``export_web(load("pretrained"), "model")``
    """
    if attributes is not None and len(attributes.values) != len(model.codes):
        raise ValueError(
            f"there are attributes of {len(attributes.values):,} images and {len(model.codes):,} codes; give a row for each code"
        )
    size = model.config.image_size
    if examples is not None and (examples.shape[1:] != (size, size, 3) or examples.dtype != np.uint8):
        raise ValueError(f"examples are {examples.dtype} of shape {examples.shape}; give uint8 of shape (n, {size}, {size}, 3)")
    named: list[dict[str, Any]] = []
    of_layers: dict[str, np.ndarray] = {}
    for number, layer in enumerate(fold_layers(model.variables, model.config.image_size), start=1):
        names = {"kernel": f"layer{number}/kernel", "bias": f"layer{number}/bias"}
        of_layers |= {names["kernel"]: layer.kernel, names["bias"]: layer.bias}
        named.append({**layer._asdict(), **names})
    rest = search_arrays(model) | ({} if examples is None else {"examples": examples})
    bytes_per_code = 2 * model.config.num_dims + (0 if attributes is None else len(attributes.names))
    _written_rows(model.codes, bytes_per_code, of_layers | rest, max_bytes)  # the priors below may take minutes to fit: refuse before
    priors, of_priors = describe_priors(model, stored_samples)
    rows = _written_rows(model.codes, bytes_per_code, of_layers | of_priors | rest, max_bytes)
    directions, of_attributes = describe_directions(model.codes, attributes, rows)
    arrays = {"codes": model.codes[rows]} | of_layers | of_attributes | of_priors | rest
    description = {
        "format": FORMAT,
        "image_size": size,
        "num_dims": model.config.num_dims,
        "num_images": len(model.codes),
        "num_codes": len(rows),
        "projection": model.config.projection,
        "layers": named,
        "decoder_sha256": hashlib.sha256(pack_arrays(of_layers)[1]).hexdigest(),  # a link to a face belongs to this decoder
        "directions": directions,
        "priors": priors,
        "search": {"learning_rate": SEARCH_RATE, "steps": SEARCH_STEPS, "side": REGRESSION_SIDE},
        "num_examples": 0 if examples is None else len(examples),
        "provenance": dict(provenance or {}),
    }
    entries, content = pack_arrays(arrays)
    rounded = WebModel(description, unpack_arrays(entries, content))
    description["rounding"] = _measure_rounding(model, rounded)
    return write_files(folder, description, entries, content, max_bytes)


def read_web(folder: str | Path) -> WebModel:
    """Read the files that `export_web` wrote.

    Raises:
        FileNotFoundError: a file is missing.

    Example:
        ``read_web("model").description["rounding"]``
    """
    description = json.loads((Path(folder) / DESCRIPTION).read_text(encoding="utf-8"))
    return WebModel(description, unpack_arrays(description["arrays"], (Path(folder) / ARRAYS).read_bytes()))


def _attributes_of_run(run: str | Path, model: TrainedModel, table: str | Path | None) -> Attributes | None:
    if table is not None:
        return read_attributes(table, training_images(run).filenames)
    if model.config.data_dir:
        return None
    return drawn_attributes(int(Path(name).stem) - 1 for name in training_images(run).filenames)  # without those that were held out


def _provenance_of_run(run: str | Path) -> dict[str, Any]:
    metrics = read_json(Path(run) / "metrics.json") if (Path(run) / "metrics.json").exists() else {}
    kept: dict[str, Any] = {name: metrics[name] for name in ("steps", "seconds", "psnr_db") if name in metrics}
    return {**kept, "judgement": metrics["judges"]} if "judges" in metrics else kept


def _unseen_faces(model: TrainedModel) -> np.ndarray:
    return np.array(decode_as_in(model.config, list_images(load_faces(NUM_EXAMPLES, EXAMPLES_SEED))).array())


def _written_rows(codes: np.ndarray, bytes_per_code: int, others: Mapping[str, np.ndarray], max_bytes: int) -> np.ndarray:
    """Return which codes are written beside other arrays: all, or as many as there is room for, evenly spaced."""
    taken = len(pack_arrays(others)[1]) + OTHER_BYTES
    room = (max_bytes - taken) // bytes_per_code
    if room < min(len(codes), LEAST_CODES):
        raise ValueError(
            f"the decoder and what a search needs take {taken:,} bytes, and the files may have {max_bytes:,} with the codes; "
            "train with narrower layers (num_filters)"
        )
    most = min(room, CODES_BYTES // (2 * codes.shape[1]))
    return np.arange(len(codes)) if len(codes) <= most else np.linspace(0, len(codes) - 1, most).astype(int)


def _measure_rounding(model: TrainedModel, rounded: WebModel) -> dict[str, float]:
    """Return how far the images of the rounded layers are from those of the model: mean PSNR, and the largest difference of two bytes."""
    codes = model.codes[np.linspace(0, len(model.codes) - 1, min(NUM_MEASURED, len(model.codes))).astype(int)]
    exact, found = model.decode(codes), rounded.decode(codes)
    differences = np.abs(to_bytes(exact).astype(int) - to_bytes(found))
    return {"psnr_db": float(psnr(exact, found).mean()), "largest_difference": int(differences.max()), "num_codes": len(codes)}
