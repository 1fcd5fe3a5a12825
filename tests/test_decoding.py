"""Which pixels are kept, how they are resized, and that files come out in order, good ones and bad ones."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib import decoding
from glo_lib.backend import tf
from glo_lib.decoding import decode_files, preprocess_inputs

v1 = tf.compat.v1


@contextlib.contextmanager
def new_session() -> Iterator[v1.Session]:
    with tf.Graph().as_default(), v1.Session() as session:
        yield session


def preprocessed(image: np.ndarray, **options) -> np.ndarray:
    with new_session() as session:
        return session.run(preprocess_inputs({"image": tf.constant(image)}, **options)["image"])


def positions(height: int, width: int) -> np.ndarray:
    """A picture in which the pixel in row y and column x has the colour (y, x, 7)."""
    return np.dstack([*np.mgrid[:height, :width], np.full((height, width), 7)]).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "tight_crop", "top", "left", "side"),
    [
        (218, 178, False, 20, 0, 178),  # CelebA: 20 rows above and below
        (218, 178, True, 55, 35, 108),  # CelebA's face: (218 - 108) / 2 and (178 - 108) / 2
        (178, 218, False, 0, 20, 178),
        (120, 111, True, 6, 1, 108),  # 3 columns too many: 1 is cut on the left and 2 on the right
        (9, 6, False, 1, 0, 6),
        (90, 100, True, 0, 5, 90),  # smaller than the tight crop: the short side
        (108, 108, True, 0, 0, 108),
        (5, 1, False, 2, 0, 1),
    ],
)
def test_the_central_square_is_cut_out(height, width, tight_crop, top, left, side):
    # At the size of the square nothing is resized, and the colours say which pixels were kept.
    image = positions(height, width)
    kept = (preprocessed(image, tight_crop=tight_crop, size=side) + 1) * 127.5
    np.testing.assert_allclose(kept, image[top : top + side, left : left + side], atol=1e-3)


@pytest.fixture(scope="module")
def centre_of_window():
    """The centre of the window that is cut out of an image (h, w, 2): shrunk to one pixel, a ramp keeps the value at its centre."""
    with new_session() as session:
        image = v1.placeholder(tf.float32, [None, None, 2])
        centres = {tight_crop: preprocess_inputs({"image": image}, tight_crop, size=1)["image"][0, 0] for tight_crop in (False, True)}
        yield lambda array, tight_crop: session.run(centres[tight_crop], {image: array})


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 150), width=st.integers(1, 150), tight_crop=st.booleans())
def test_the_window_is_central_for_any_shape(centre_of_window, height, width, tight_crop):
    side = min(height, width, 108) if tight_crop else min(height, width)
    ramps = np.dstack(np.mgrid[:height, :width]).astype(np.float32) / 256
    centre = (centre_of_window(ramps, tight_crop) + 1) / 2 * 256
    np.testing.assert_allclose(centre, [(length - side) // 2 + (side - 1) / 2 for length in (height, width)], atol=0.01)


@pytest.mark.parametrize("size", [8, 16, 40])
def test_black_is_minus_one_and_white_is_one_and_nothing_lies_outside(size):
    for value, expected in [(0, -1), (255, 1), (51, -0.6), (204, 0.6)]:
        np.testing.assert_allclose(preprocessed(np.full((16, 21, 3), value, np.uint8), size=size), expected, atol=2e-6)
    noise = np.random.default_rng(0).integers(0, 2, (33, 33, 3)).astype(np.uint8) * 255
    assert np.abs(preprocessed(noise, size=size)).max() <= 1 + 2e-6


def test_float_images_are_taken_as_zero_to_one():
    image = np.float32([[[0.0], [0.25]], [[0.5], [1.0]]])
    np.testing.assert_allclose(preprocessed(image, size=2), image * 2 - 1, atol=1e-6)


@pytest.mark.parametrize("factor", [5, 8])
def test_shrinking_averages_and_does_not_pick_single_pixels(factor):
    # A picked pixel of the checkerboard is black or white, whichever lies at the place; an average is grey.
    checkerboard = (np.indices((factor * 16, factor * 16)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(preprocessed(checkerboard, size=16)).max() < 0.05


def test_enlarging_interpolates_between_the_pixels():
    step = np.zeros((4, 4, 1), np.uint8)
    step[:, 2:] = 255
    row = preprocessed(step, size=8)[4, :, 0]
    # Pixel i of the result lies at i / 2 - 1/4 of the original; between columns 1 and 2 the value rises in a line.
    np.testing.assert_allclose(row, [-1, -1, -1, -0.5, 0.5, 1, 1, 1], atol=1e-6)


def test_the_result_has_a_known_shape_and_everything_else_passes_unchanged():
    with tf.Graph().as_default():
        given = {"image": v1.placeholder(tf.uint8, [None, None, 3]), "index": tf.constant(5), "name": tf.constant("a")}
        before = dict(given)
        result = preprocess_inputs(given, size=24)
        assert result["image"].shape == (24, 24, 3) and result["image"].dtype == tf.float32
        assert result["index"] is given["index"] and result["name"] is given["name"] and given == before
        assert preprocess_inputs({"image": tf.zeros([9, 9, 1])})["image"].shape == (128, 128, 1)


# ------------------------------------------------------------------------------------------------------------------ files


def grey_files(folder, values):
    """A square for each value: JPEG where it is even, PNG where it is odd, and bytes that are no image for -1."""
    names = []
    for number, value in enumerate(values):
        names.append(str(folder / f"{number:03d}.{'jpg' if value % 2 == 0 else 'png'}"))
        if value < 0:
            (folder / names[-1]).write_bytes(b"no image")
        else:
            Image.new("RGB", (12, 10), (value,) * 3).save(names[-1])
    return names


def decoded_values(names):
    """What `decode_files` says of each file: the grey value of its image, or the reason as text."""
    found = {}
    for first, result in decode_files(names, 4):
        if isinstance(result, str):
            found[first] = result
        else:
            assert result.shape[1:] == (4, 4, 3) and result.dtype == np.uint8 and len(result)
            found.update({first + number: int(image.mean().round()) for number, image in enumerate(result)})
    assert list(found) == list(range(len(names)))  # each once, and in order
    return list(found.values())


@settings(deadline=None, max_examples=8)
@given(values=st.lists(st.integers(0, 127), max_size=9), batch_size=st.integers(1, 4))
def test_files_of_both_kinds_come_out_in_order(tmp_path_factory, values, batch_size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BATCH_SIZE", batch_size)
        assert decoded_values(grey_files(tmp_path_factory.mktemp("files"), values)) == pytest.approx(values, abs=1)


@pytest.mark.parametrize("values", [[-1], [-1, 10, 12], [10, -1, -1, 12], [10, 11, 12, -1], [-1, 11]])
def test_the_reason_stands_in_the_place_of_a_bad_file(tmp_path, values):
    for found, value in zip(decoded_values(grey_files(tmp_path, values)), values, strict=True):
        assert found == pytest.approx(value, abs=1) if value >= 0 else "not an image" in found and "/" not in found


def test_a_huge_picture_is_refused_before_its_pixels_are_decoded(tmp_path, monkeypatch):
    names = grey_files(tmp_path, [10, 10])
    Image.new("RGB", (300, 300)).save(names[0])
    monkeypatch.setattr(decoding, "MOST_PIXELS", 200)
    refused = decoded_values(names)[0]
    assert isinstance(refused, str)
