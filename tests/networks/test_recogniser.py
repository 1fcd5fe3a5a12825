"""The face recogniser: its file format, and the numbers that the package's own program computes."""

import json
import os
import re
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glo_lib.evaluation.judges import recogniser_judge
from glo_lib.graph.backend import tf
from glo_lib.networks import recogniser
from glo_lib.networks.recogniser import MANIFEST, face_recogniser, load_weights, read_arrays

v1 = tf.compat.v1
installed = pytest.mark.skipif(not recogniser.is_installed(), reason=recogniser.MISSING)
# Photographs are not part of the project. With this variable the test of pairs runs on a folder of NAME_0001.jpg aligned as in CelebA,
# such as Labeled Faces in the Wild cut to 178x218 pixels.
PHOTOGRAPHS = os.environ.get("GLO_PEOPLE", "")
BYTES = {"dtype": "uint8", "scale": 0.5, "min": -1.0}


def manifest_of(folder, weights, *contents):
    """Write files of arrays and their manifest; return its path."""
    paths = [f"part{number}.bin" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        (folder / path).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps([{"paths": paths, "weights": weights}]))
    return folder / MANIFEST


def test_arrays_are_read_from_bytes_and_from_floats_across_files(tmp_path):
    weights = [
        {"name": "bytes", "shape": [2, 2], "dtype": "float32", "quantization": BYTES},
        {"name": "floats", "shape": [3], "dtype": "float32"},
        {"name": "scalar", "shape": [], "dtype": "float32", "quantization": BYTES},
    ]
    floats = np.array([1.5, -2, 3], "<f4").tobytes()
    arrays = read_arrays(manifest_of(tmp_path, weights, bytes([0, 1, 2, 255]) + floats[:5], floats[5:] + bytes([4])))
    assert arrays["bytes"].tolist() == [[-1, -0.5], [0, 126.5]] and arrays["floats"].tolist() == [1.5, -2, 3]
    assert arrays["scalar"].shape == () and arrays["scalar"] == 1 and {array.dtype for array in arrays.values()} == {np.dtype("f4")}


@pytest.mark.parametrize(
    ("entry", "content", "message"),
    [
        ({"shape": [2], "dtype": "float32"}, 7, "the files end within 'x'"),
        ({"shape": [2], "dtype": "float32"}, 9, "9 bytes are there, and 8 were announced"),
        ({"shape": [2], "dtype": "int32"}, 8, "'x' is stored as int32; known are uint8, float32"),
        ({"shape": [2], "dtype": "float32", "quantization": {**BYTES, "dtype": "uint16"}}, 4, "'x' is stored as uint16"),
    ],
)
def test_files_that_do_not_hold_what_was_announced_are_refused(tmp_path, entry, content, message):
    with pytest.raises(ValueError, match=message):
        read_arrays(manifest_of(tmp_path, [{"name": "x", **entry}], bytes(content)))


def test_the_folder_of_the_weights_can_be_given(tmp_path, monkeypatch):
    monkeypatch.setenv(recogniser.FOLDER_VARIABLE, str(tmp_path))
    assert not recogniser.is_installed()
    with pytest.raises(ModuleNotFoundError, match="make judges, or set GLO_FACE_API"):
        load_weights.__wrapped__()
    manifest_of(tmp_path, [])
    assert recogniser.find_folder() == tmp_path
    monkeypatch.delenv(recogniser.FOLDER_VARIABLE)
    monkeypatch.setattr(recogniser, "PACKAGE", "model")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    (tmp_path / "model").mkdir()
    manifest_of(tmp_path / "model", [])
    assert recogniser.find_folder() == tmp_path / "model"


@installed
def test_the_features_are_those_of_the_packages_own_program():
    """`face-api.node-wasm.js` with TensorFlow.js 4.22 on the CPU computed the numbers for this pattern."""
    rows, columns, channels = np.indices((150, 150, 3))
    pattern = np.uint8(rows * columns * (channels + 1) // 90 % 256)
    with tf.Graph().as_default(), v1.Session() as session:
        pooled, features = session.run(face_recogniser(tf.constant(np.float32([pattern, pattern[::-1]]) / 127.5 - 1), load_weights()))
        assert not v1.global_variables()
    assert pooled.shape == (2, 256) and features.shape == (2, 128)
    expected = [-0.0446026, 0.1030955, 0.0728647, 0.0213969, -0.0387488, -0.0540122, -0.0739980, -0.0179201]
    np.testing.assert_allclose(features[0, :8], expected, atol=1e-5)
    assert np.linalg.norm(features[1] - features[0]) > 0.05


@installed
@pytest.mark.skipif(not PHOTOGRAPHS, reason="GLO_PEOPLE names no folder of photographs of people")
def test_pairs_of_photographs_of_one_person_are_told_from_pairs_of_two():
    names = sorted(path.name for path in Path(PHOTOGRAPHS).glob("*_0*.jpg"))
    people = [list(files) for _, files in groupby(names, lambda name: re.sub(r"_\d+\.jpg$", "", name))]
    repeated = [files for files in people if len(files) > 1][:200]
    assert len(repeated) >= 100, "too few people with several photographs"

    def read(chosen):
        photographs = [Image.open(Path(PHOTOGRAPHS) / name).convert("RGB") for name in chosen]
        return np.stack([np.asarray(image.crop((0, 20, 178, 198))) for image in photographs])  # the central square of 178x218

    judge = recogniser_judge()
    first, second = (judge.describe_people(judge.features(read([files[which] for files in repeated]))) for which in (0, 1))
    same = np.linalg.norm(first - second, axis=1)
    different = np.array([np.linalg.norm(one - other) for one, other in pairwise(first)])
    right = np.concatenate([same < recogniser.SAME_PERSON, different >= recogniser.SAME_PERSON])
    print(f"{right.mean():.1%} of {len(right)} pairs right; medians {np.median(same):.2f} and {np.median(different):.2f}")
    assert right.mean() > 0.88 and np.median(same) < 0.5 < 0.65 < np.median(different)
