"""The crop that follows the eyes: where its square lies, and that both ways of decoding cut it out, whatever the orientation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glo_lib import faces
from glo_lib.images import store
from glo_lib.images.landmarks import as_stored, eye_squares, find_landmarks, fit_into, landmarks_for, stored_squares
from glo_lib.images.metadata import turn_upright
from glo_lib.images.store import decode_images
from tests.make_files import encoded, exif_data, write_file

# Left eye, right eye, nose, left and right corner of the mouth of a face that lies as CelebA's do on average.
AVERAGE = np.array([[69.5, 111.5], [107.5, 111.5], [88.5, 132.0], [71.5, 152.5], [105.5, 152.5]])
TIGHT = (55.0, 35.0, 108.0)  # upper edge, left edge and side of the central 108 of 178x218 pixels


def moved(x, y, points=AVERAGE):
    return points + np.array([x, y])


def turned_aside(factor):
    """Landmarks of the average face with its eyes and mouth corners nearer together by a factor."""
    points = AVERAGE.copy()
    points[:, 0] = 88.5 + (points[:, 0] - 88.5) * factor
    return points


@pytest.mark.parametrize(
    ("points", "square"),
    [
        (AVERAGE, TIGHT),
        (moved(7, -3), (52, 42, 108)),
        ((AVERAGE + 0.5) * 2 - 0.5, (110, 70, 216)),  # the same photograph in twice the size
        (turned_aside(0.3), TIGHT),
        (turned_aside(1.5), (112 - 57 * 1.5, 89 - 54 * 1.5, 162)),
    ],
)
def test_the_square_has_the_eyes_where_the_tight_crop_has_them_on_average(points, square):
    np.testing.assert_allclose(eye_squares(points[np.newaxis])[0], square)


def test_a_tilted_face_has_a_square_of_the_same_size_around_the_middle_of_its_eyes():
    middle, turn = np.array([88.5, 111.5]), np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    np.testing.assert_allclose(eye_squares(((AVERAGE - middle) @ turn.T + middle)[np.newaxis])[0], TIGHT)


@given(
    st.tuples(*[st.floats(-50, 80)] * 2, st.floats(0.5, 99)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from(range(1, 9)),
)
def test_every_square_is_moved_into_its_image_and_found_in_the_image_as_stored(square, size, orientation):
    fitted = fit_into(np.array([square]), np.array([size]))[0]
    top, left, side = fitted
    assert 0 <= top <= size[0] - side + 1e-9 and 0 <= left <= size[1] - side + 1e-9 and side == min(*size, square[2])
    # Whole pixels of an image whose values are all different say where a square is.
    whole = (int(top), int(left), int(side))
    upright = np.arange(size[0] * size[1]).reshape(*size, 1)
    stored = next(turned for turned in _stored_versions(upright) if np.array_equal(turn_upright(turned, orientation), upright))
    row, column, length = map(int, as_stored(np.array(whole), size, orientation))
    cut = turn_upright(stored[row : row + length, column : column + length], orientation)
    np.testing.assert_array_equal(cut, upright[whole[0] : whole[0] + whole[2], whole[1] : whole[1] + whole[2]])


def _stored_versions(upright):
    for pixels in (upright, upright.swapaxes(0, 1)):
        yield from (pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1])


def line(name, points):
    return f"{name} {' '.join(f'{value:g}' for value in np.ravel(points))}\n"


def write_list(folder, landmarks, name="list_landmarks_align_celeba.txt"):
    header = (
        f"{len(landmarks)}\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y\n"
    )
    return write_file(folder / name, (header + "".join(line(*entry) for entry in landmarks.items())).encode())


@pytest.fixture(scope="module")
def face():
    return faces.draw_face(faces.sample_factors(3))


KINDS = {"a.jpg": ("JPEG", {"quality": 98, "subsampling": 0}), "b.png": ("PNG", {}), "c.bmp": ("BMP", {})}  # TensorFlow, Pillow, Pillow


def write_kinds(folder, image, **options):
    return [write_file(folder / name, encoded(image, kind, **settings, **options)) for name, (kind, settings) in KINDS.items()]


def test_a_face_that_lies_as_on_average_is_cropped_as_by_the_tight_crop(tmp_path, face):
    files = write_kinds(tmp_path, face)
    landmarks = np.array([AVERAGE] * 3)
    followed, tight = decode_images(files, 64, landmarks=landmarks).array()[:], decode_images(files, 64, tight_crop=True).array()[:]
    np.testing.assert_array_equal(followed, tight)


@pytest.mark.parametrize("shift", [(11, -6), (3.5, 2.25)])
def test_a_face_that_is_moved_looks_the_same(tmp_path, face, shift):
    """By whole pixels exactly; by fractions the photograph and its landmarks are enlarged first, so that nothing is interpolated."""
    enlarged = 4 if shift[0] % 1 else 1
    image = np.asarray(face).repeat(enlarged, 0).repeat(enlarged, 1)
    points = (AVERAGE + 0.5) * enlarged - 0.5
    x, y = (round(enlarged * value) for value in shift)
    rolled = np.roll(image, (y, x), (0, 1))
    (tmp_path / "there").mkdir()
    first = decode_images(write_kinds(tmp_path, image), 64, landmarks=np.array([points] * 3)).array()[:]
    second = decode_images(write_kinds(tmp_path / "there", rolled), 64, landmarks=np.array([moved(x, y, points)] * 3)).array()[:]
    np.testing.assert_array_equal(first[1:], second[1:])  # without loss
    assert np.abs(first[0].astype(int) - second[0]).mean() < 1.5  # the blocks of a JPEG file lie elsewhere


def test_landmarks_are_those_of_the_upright_image(tmp_path, face):
    points, face = moved(9, 5), np.roll(face, (5, 9), (0, 1))
    files = []
    for orientation in range(1, 9):
        stored = next(turned for turned in _stored_versions(face) if np.array_equal(turn_upright(turned, orientation), face))
        files += write_kinds(tmp_path / str(orientation), np.ascontiguousarray(stored), exif=exif_data(orientation))[:2]
    landmarks = np.array([points] * 16)
    images = decode_images(files, 32, landmarks=landmarks).array()[:].astype(int)
    assert np.abs(images - images[1])[1::2].max() == 0  # without loss
    assert np.abs(images - images[1]).mean(axis=(1, 2, 3)).max() < 1.5
    np.testing.assert_allclose(stored_squares(files[:2], landmarks[:2]), [[60, 44, 108]] * 2)


def test_half_of_a_pixel_is_noticed(tmp_path):
    """A ramp has a value that grows with the column, so the mean tells where the square lies."""
    ramp = np.uint8(np.broadcast_to(np.arange(178)[np.newaxis, :, np.newaxis], (218, 178, 3)))
    files = write_kinds(tmp_path, ramp)
    for shift in (0, 0.25, 0.5, 0.75):
        images = decode_images(files, 4, landmarks=np.array([moved(shift, 0)] * 3)).array()[:].astype(float)
        expected = 35 + shift + 27 * (np.arange(4) + 0.5) - 0.5
        inner = slice(1, 3)  # at the edges, fewer pixels are averaged
        assert np.abs(images.mean(axis=(1, 3)) - expected)[1:, inner].max() <= 0.5  # rounded to bytes
        assert np.abs(images.mean(axis=(1, 3)) - expected)[0, inner].max() <= 1.5  # stored as JPEG


def test_a_damaged_image_and_a_face_at_the_edge_do_no_harm(tmp_path, face):
    files = [*write_kinds(tmp_path, face), write_file(tmp_path / "d.jpg", b"no image"), write_file(tmp_path / "e.png", b"")]
    landmarks = np.array([moved(300, -400)] * 5)
    decoded = decode_images(files, 32, on_bad_image="skip", landmarks=landmarks)
    assert decoded.num_images == 3 and [reason.split(";")[0] for reason in decoded.skipped.values()] == [
        "this is a text file, not an image that can be read", "the file is empty",
    ]  # fmt: skip
    corner = [np.asarray(face)[:108, 70:].mean()] * 3
    np.testing.assert_allclose(decoded.array()[:].mean(axis=(1, 2, 3)), corner, atol=1.5)


def test_every_list_of_landmarks_has_a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "decode_files", lambda *_: iter([(0, np.zeros((2, 4, 4, 3), np.uint8))]))
    files, one = [write_file(tmp_path / name) for name in ("a.jpg", "b.jpg")], np.array([AVERAGE] * 2)
    other = one.copy()
    other[1, 0, 0] += 0.5
    caches = [
        decode_images(files, 4),
        decode_images(files, 4, True),
        *(decode_images(files, 4, landmarks=points) for points in (one, other)),
    ]
    assert len({cache.path for cache in caches}) == 4
    assert decode_images(files, 4, landmarks=one.copy()).path == caches[2].path


def test_landmarks_are_found_beside_the_images_in_the_order_of_the_files(tmp_path):
    files = [write_file(tmp_path / "Img" / "img_align_celeba" / f"00000{number}.jpg") for number in (1, 2, 3)]
    points = {f"00000{number}.jpg": AVERAGE + number for number in (3, 1, 2)}
    path = write_list(tmp_path / "Anno", points)
    expected = [AVERAGE + number for number in (1, 2, 3)]
    np.testing.assert_allclose(find_landmarks(files, tmp_path), expected)
    np.testing.assert_allclose(landmarks_for("landmarks", files), expected)  # from the folder of the files
    assert landmarks_for("square", files) is None is landmarks_for("tight", files)
    tmp_path.joinpath(path).rename(tmp_path / "list_landmarks_align_celeba.txt")
    rows = "".join(line(*entry).replace(" ", ",") for entry in points.items())
    write_file(tmp_path / "list_landmarks_align_celeba.csv", ("image_id,lefteye_x,lefteye_y\n" + rows).encode())
    (tmp_path / "list_landmarks_align_celeba.txt").unlink()
    np.testing.assert_allclose(find_landmarks(files, tmp_path), expected)


def test_files_of_several_folders_have_the_lists_of_their_folders(tmp_path):
    files = [write_file(tmp_path / folder / "x.jpg") for folder in "ab"]
    for number, folder in enumerate("ab"):
        write_list(tmp_path / folder, {"x.jpg": AVERAGE + number})
    np.testing.assert_allclose(find_landmarks(files), [AVERAGE, AVERAGE + 1])


def test_without_landmarks_the_error_says_what_is_expected(tmp_path):
    files = [write_file(tmp_path / "beach.jpg"), write_file(tmp_path / "dunes.jpg")]
    expected = (
        r"crop is 'landmarks', and nothing says where the eyes of 'beach.jpg' are: there is no list_landmarks_align_celeba.txt or .csv"
    )
    with pytest.raises(ValueError, match=expected) as caught:
        find_landmarks(files, tmp_path)
    assert "69 109 106 113" in str(caught.value) and "crop 'tight'" in str(caught.value) and "official page" not in str(caught.value)
    write_list(tmp_path, {"beach.jpg": AVERAGE})
    with pytest.raises(ValueError, match=r"not 'dunes.jpg' \(1 missing\); complete it, or give crop 'tight'"):
        find_landmarks(files, tmp_path)
    write_list(tmp_path, {"beach.jpg": AVERAGE, "dunes.jpg": np.ones((5, 2))})
    with pytest.raises(ValueError, match=r"dunes.jpg' have both eyes in one point \(1 such images\)"):
        find_landmarks(files, tmp_path)


def test_size_of_an_image_that_pillow_reads_lying_on_its_side(tmp_path):
    image = Image.new("RGB", (40, 300))
    path = write_file(tmp_path / "a.png", encoded(image, "PNG", exif=exif_data(6)))  # upright: 300 wide, 40 high
    np.testing.assert_allclose(stored_squares([path], (AVERAGE * [1, 0.1])[np.newaxis])[0, 2], 40)
