"""The drawn faces: the same seed gives the same pictures, eyes are where CelebA aligns them, files have CelebA's format, people differ."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from glo_lib.faces import ATTRIBUTE_NAMES, Factors, attributes, dataset, draw_face, load_faces, sample_factors, write_faces

# The last eight are needed for all styles of hair, glasses, hats, clothes and backgrounds to be drawn at least once.
DRAWN = (*range(32), 37, 53, 68, 85, 113, 117, 129, 139)
# The sum of all pixels of each drawn face times weights of a unit Gaussian, in version 1 of the drawing.
WEIGHTED_SUMS = (
    *(-2270, -17378, -1457, 19378, 33762, -28967, 2521, -39462, 10926, -13615, 1461, -5839, 32238, 647, -4894, -8632, 6616, -15468),
    *(-16563, 4086, 24212, -4825, 306, 955, -15456, -8173, 5593, 3026, -28411, -13434, -5524, -2603, -3309, -16815, 14392, 3513),
    *(12034, 3145, 9626, 28542),
)
# How many of the first 1500 people have each attribute, in the order of ATTRIBUTE_NAMES.
ATTRIBUTE_COUNTS = (
    *(159, 554, 0, 408, 44, 127, 443, 317, 478, 260, 0, 469, 374, 180, 65, 222, 73, 109, 108, 651),
    *(771, 619, 229, 289, 1175, 294, 185, 195, 70, 195, 93, 775, 834, 260, 99, 104, 382, 69, 122, 1019),
)


@pytest.fixture(scope="module")
def drawn():
    return np.stack([draw_face(sample_factors(index), index) for index in DRAWN])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("set") / "faces", num_images=20, seed=5, processes=1)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.*")}


def difference(first, second):
    """Largest difference of the colours at each pixel."""
    return np.abs(first.astype(int) - second).max(2)


def test_pictures_are_those_of_this_version(drawn):
    """A change of the drawing needs a new `VERSION`, because cached sets would differ. The tolerance allows for other processors."""
    assert dataset.VERSION == "v1"
    assert drawn.shape == (len(DRAWN), 218, 178, 3) and drawn.dtype == np.uint8
    weights = np.random.default_rng(0).standard_normal(drawn.shape[1:])
    np.testing.assert_allclose([np.sum(weights * picture) for picture in drawn], WEIGHTED_SUMS, atol=20)


def test_the_seed_changes_the_face_and_the_noise_seed_only_the_surroundings():
    assert difference(draw_face(sample_factors(7, seed=1), 7), draw_face(sample_factors(7), 7)).mean() > 5
    plain = dataclasses.replace(sample_factors(0), hat="none", glasses="none", yaw=0.0, pitch=0.0)
    change = difference(draw_face(plain, 0), draw_face(plain, 1))
    assert change.mean() > 0
    assert change[120:150, 75:102].max() <= 12  # on the cheeks only the grain of the camera changes


def test_irises_lie_at_the_aligned_positions_of_celeba():
    """A change of the eye colour changes only the irises, which locates them in faces that look ahead."""
    found = []
    for index in range(15):
        ahead = {"glasses": "none", "hat": "none", "gaze_x": 0.0, "gaze_y": 0.0, "eye_open": 1.1, "hair_style": "short"}
        face = dataclasses.replace(sample_factors(index), **ahead)
        brown, blue = (draw_face(dataclasses.replace(face, eye_colour=colour), index).astype(float) for colour in ("brown", "blue"))
        change = np.abs(blue - brown).sum(2)
        assert change[:100].max() == change[123:].max() == 0
        rows, columns = np.mgrid[:218, :178]
        for column, half in ((69.5, np.s_[:, :89]), (107.5, np.s_[:, 89:])):
            weight = change[half] / change[half].sum()
            found.append(((weight * columns[half]).sum() - column, (weight * rows[half]).sum() - 111.5))
    assert np.abs(np.mean(found, axis=0)).max() < 1.0, np.mean(found, axis=0)
    assert np.abs(found).max() < 2.0, np.abs(found).max(axis=0)


def test_edges_are_smooth(drawn):
    """A hard outline of a head would make 400 jumps of more than 150 of 255, 0.5 % of all pairs of neighbours; glints make far fewer."""
    light = drawn.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    jumps = (np.abs(np.diff(light, axis=1)) > 150).sum() + (np.abs(np.diff(light, axis=2)) > 150).sum()
    assert jumps / (2 * light.size) < 2e-4


def test_faces_differ_from_each_other(drawn):
    flat = drawn[:, ::4, ::4].reshape(len(drawn), -1).astype(np.float64) / 255
    pairs = [np.sqrt(np.mean((flat[i] - flat[j]) ** 2)) for i, j in zip(*np.triu_indices(len(flat), 1), strict=True)]
    assert min(pairs) > 0.05 and np.median(pairs) > 0.15
    variance = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2
    assert variance[0] / variance.sum() < 0.5


def test_a_factor_changes_only_its_part_of_the_picture():
    plain = dataclasses.replace(sample_factors(11), glasses="none", hat="none", mouth_open=0.0)
    mouth = difference(draw_face(plain), draw_face(dataclasses.replace(plain, mouth_width=plain.mouth_width * 1.08)))
    assert mouth[140:165].max() > 10 and mouth[:90].max() == 0
    glasses = difference(draw_face(plain), draw_face(dataclasses.replace(plain, glasses="thick")))
    assert glasses[90:135].max() > 30 and glasses[160:].max() == 0


def test_attributes_have_their_frequencies_and_follow_from_independent_factors():
    people = [sample_factors(index) for index in range(1500)]
    named = [attributes(factors) for factors in people]
    assert {tuple(person) for person in named} == {ATTRIBUTE_NAMES} and len(ATTRIBUTE_NAMES) == 40
    assert tuple(sum(person[name] == 1 for person in named) for name in ATTRIBUTE_NAMES) == ATTRIBUTE_COUNTS
    assert {value for person in named for value in person.values()} == {-1, 1}
    independent = np.array([[f.skin_tone, f.nose_width, f.lip_fullness, f.eye_open, f.yaw, f.smile] for f in people])
    correlation = np.corrcoef(independent.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.1  # the standard error of 1500 samples is about 0.026


def test_files_have_the_format_of_celeba(written):
    assert written.stat().st_mode & 0o777 == 0o755  # everybody can read it
    names = [f"{number:06d}.jpg" for number in range(1, 21)]
    assert sorted(path.name for path in (written / "img_align_celeba").iterdir()) == names
    with Image.open(written / "img_align_celeba" / names[0]) as picture:
        assert picture.size == (178, 218) and picture.format == "JPEG" and picture.mode == "RGB"
    lines = (written / "list_attr_celeba.txt").read_text().split("\n")
    assert lines[0] == "20" and lines[1] == " ".join(ATTRIBUTE_NAMES) + " " and lines[-1] == ""
    for index, line in enumerate(lines[2:-1]):
        values = attributes(sample_factors(index, 5)).values()
        assert line == names[index] + "".join(" -1" if value < 0 else "  1" for value in values)
    parts = (written / "list_eval_partition.txt").read_text()
    assert parts == "".join(f"{name} {0 if i < 16 else 1 if i < 18 else 2}\n" for i, name in enumerate(names))


def test_the_table_of_factors_is_read_as_it_was_written(written):
    assert list(dataset.read_factors(written)) == [sample_factors(index, 5) for index in range(20)]
    header = (written / "factors.csv").read_text().split("\n")[0]
    assert header == ",".join(["image_id", *(field.name for field in dataclasses.fields(Factors))])


def test_an_image_depends_neither_on_the_number_of_images_nor_on_that_of_processes(written, tmp_path):
    many = write_faces(tmp_path / "many", num_images=33, seed=5, processes=2)
    assert contents(written / "img_align_celeba").items() <= contents(many / "img_align_celeba").items()


def test_a_process_that_fails_is_reported_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "__package__", "no_such_package")
    with pytest.raises(RuntimeError, match=r"(?s)drawing the faces failed:\n.*No module named no_such_package"):
        write_faces(tmp_path / "faces", num_images=33, processes=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"num_images": 0}, {"num_images": 1_000_000}, {"num_images": 2, "quality": 96}, {"num_images": 2, "processes": 0}]
)
def test_numbers_out_of_range_are_named(tmp_path, wrong):
    for numbers in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="index and seed must be 0 or more"):
            sample_factors(*numbers)
    name, value = list(wrong.items())[-1]
    with pytest.raises(ValueError, match=f"{name} must be from .* got {value}"):
        write_faces(tmp_path / "faces", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_never_overwritten_and_an_empty_one_is_used(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_faces(tmp_path / "faces", num_images=1)
    assert [path.name for path in (tmp_path / "faces").iterdir()] == ["mine.txt"]
    (tmp_path / "faces" / "mine.txt").unlink()
    assert (write_faces(tmp_path / "faces", num_images=1, processes=1) / "factors.csv").exists()


def test_a_cached_set_is_not_drawn_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    folder = load_faces(num_images=2, seed=3)
    assert folder == tmp_path / f"faces-{dataset.VERSION}-n2-s3"
    assert capsys.readouterr().out.count("\n") == 1
    monkeypatch.setattr(dataset, "_write_set", lambda *_: pytest.fail("drew again"))
    assert load_faces(num_images=2, seed=3) == folder
    assert capsys.readouterr().out == ""


def test_images_of_another_cached_set_are_copied_instead_of_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))
    load_faces(num_images=3, seed=1)
    load_faces(num_images=4, seed=2)
    draw, drawn = dataset.draw_face, []

    def note(factors, noise_seed):
        drawn.append(noise_seed)
        return draw(factors, noise_seed)

    monkeypatch.setattr(dataset, "draw_face", note)
    capsys.readouterr()
    for num_images, new in ((2, []), (5, [3, 4])):
        folder, alone = load_faces(num_images, seed=1), tmp_path / str(num_images)
        assert drawn == new
        write_faces(alone, num_images, seed=1)
        drawn.clear()
        names = sorted(path.relative_to(alone) for path in alone.rglob("*.*"))
        assert names == sorted(path.relative_to(folder) for path in folder.rglob("*.*")) and len(names) == num_images + 3
        assert all((folder / name).read_bytes() == (alone / name).read_bytes() for name in names)
    assert re.findall(r"Drawing (\d+) faces", capsys.readouterr().out) == ["2"]
    with open(folder / "img_align_celeba" / "000001.jpg", "ab") as file:
        file.write(b"known by this end")
    images = load_faces(69, seed=1) / "img_align_celeba"  # 5 copied, and 64 drawn by two processes if there are two cores
    assert sorted(path.name for path in images.iterdir()) == [f"{number:06d}.jpg" for number in range(1, 70)]
    assert (images / "000001.jpg").read_bytes().endswith(b"known by this end"), "it was drawn again"
    for index in (5, 6, 68):
        face = np.asarray(Image.open(images / f"{index + 1:06d}.jpg")).astype(float)
        assert np.abs(face - draw(sample_factors(index, 1), index)).mean() < 3


def test_a_cached_set_that_has_lost_images_is_used_as_far_as_it_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    (load_faces(num_images=4) / "img_align_celeba" / "000002.jpg").unlink()
    assert len(list((load_faces(num_images=3) / "img_align_celeba").iterdir())) == 3


def test_the_slower_of_two_processes_uses_the_set_of_the_faster(tmp_path, monkeypatch):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    folder = tmp_path / f"faces-{dataset.VERSION}-n2-s0"
    draw = dataset._draw_all

    def overtaken(*arguments):
        draw(*arguments)
        folder.mkdir()
        (folder / "factors.csv").write_text("written by the faster process")

    monkeypatch.setattr(dataset, "_draw_all", overtaken)
    assert load_faces(num_images=2) == folder
    assert (folder / "factors.csv").read_text() == "written by the faster process"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
