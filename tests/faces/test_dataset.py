"""The drawn faces: same seed same bytes, eyes where CelebA has them, files as CelebA writes them, and people who differ."""

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib.faces import (
    ATTRIBUTE_NAMES,
    HAIR_STYLES,
    VERSION,
    Factors,
    attributes,
    dataset,
    draw_face,
    load_faces,
    portrait,
    read_factors,
    sample_factors,
    write_faces,
)

NUM_DRAWN = 64


@pytest.fixture(scope="module")
def drawn():
    return np.stack([draw_face(sample_factors(index), index) for index in range(NUM_DRAWN)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("set") / "faces", num_images=20, seed=5, processes=1)


def _luminance(images):
    return images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.*"))}


# ------------------------------------------------------------------------------------------------------------------- drawing
def test_picture_has_the_size_and_type_of_aligned_celeba(drawn):
    assert drawn.shape == (NUM_DRAWN, 218, 178, 3) and drawn.dtype == np.uint8


def test_same_factors_draw_the_same_bytes_and_another_seed_does_not(drawn):
    again = draw_face(sample_factors(7), 7)
    np.testing.assert_array_equal(again, drawn[7])
    assert sample_factors(7, seed=1) != sample_factors(7)
    assert np.abs(draw_face(sample_factors(7, seed=1), 7).astype(int) - drawn[7]).mean() > 5


def test_noise_seed_changes_the_surroundings_but_not_the_face():
    plain = dataclasses.replace(sample_factors(0), hat="none", glasses="none", yaw=0.0, pitch=0.0)
    first, second = draw_face(plain, 0).astype(int), draw_face(plain, 1).astype(int)
    cheeks = (slice(120, 150), slice(75, 102))
    assert np.abs(first - second).mean() > 0
    assert np.abs(first - second)[cheeks].max() <= 12  # grain only


def test_irises_lie_at_celebas_aligned_positions():
    """Only the irises of a face change with the colour of its eyes, so that change finds them: thirty faces that look ahead."""
    found = []
    for index in range(30):
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


@settings(max_examples=25, deadline=None)
@given(yaw=st.floats(-26, 26), pitch=st.floats(-9, 9), spacing=st.floats(0.93, 1.07), width=st.floats(0.88, 1.10))
def test_alignment_moves_the_eye_centres_of_every_head_to_the_same_pixels(yaw, pitch, spacing, width):
    turned = dataclasses.replace(sample_factors(0), yaw=yaw, pitch=pitch, eye_spacing=spacing, face_width=width)
    geometry = portrait._geometry(turned)
    for side, column in ((-1, 69.5), (1, 107.5)):
        x, y = portrait._pixel(geometry, *portrait._project(geometry, side * geometry.eye, 0.0))
        assert abs(x - column) < 0.1 and abs(y - 111.5) < 0.1


def test_edges_are_smooth(drawn):
    """A hard outline would jump by more than 150 of 255 between neighbours all along it.

    One closed outline of a head is about 400 pixels, 0.5 % of the 77,000 neighbouring pairs of a picture. An antialiased edge spreads
    such a jump over two or more pixels, so that large single steps are left to glints (catch lights, teeth, rims of glasses).
    """
    light = _luminance(drawn)
    jumps = (np.abs(np.diff(light, axis=1)) > 150).sum() + (np.abs(np.diff(light, axis=2)) > 150).sum()
    assert jumps / (2 * light.size) < 2e-4


def test_faces_differ_from_each_other(drawn):
    flat = drawn[:, ::4, ::4].reshape(NUM_DRAWN, -1).astype(np.float64) / 255
    squares = (flat**2).sum(1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / flat.shape[1])
    pairs = distance[np.triu_indices(NUM_DRAWN, 1)]
    assert pairs.min() > 0.05 and np.median(pairs) > 0.15
    variance = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2
    assert variance[0] / variance.sum() < 0.5


def test_only_the_named_factor_changes_its_part_of_the_picture():
    plain = dataclasses.replace(sample_factors(11), glasses="none", hat="none", mouth_open=0.0)
    base = draw_face(plain).astype(int)
    smiling = np.abs(draw_face(dataclasses.replace(plain, mouth_width=plain.mouth_width * 1.08)).astype(int) - base).max(2)
    assert smiling[140:165].max() > 10 and smiling[:90].max() == 0
    with_glasses = np.abs(draw_face(dataclasses.replace(plain, glasses="thick")).astype(int) - base).max(2)
    assert with_glasses[90:135].max() > 30 and with_glasses[160:].max() == 0


@pytest.mark.parametrize(
    "field, values",
    [
        ("hair_style", HAIR_STYLES),
        ("beard", ("none", "stubble", "moustache", "goatee", "full")),
        ("glasses", ("none", "thin", "thick", "sunglasses")),
        ("hat", ("none", "cap", "beanie", "wide")),
        ("clothing", ("crew", "v-neck", "scoop", "roll-neck", "shirt", "suit")),
        ("background", ("studio", "wall", "garden", "lights", "room", "sky")),
    ],
)
def test_every_choice_is_drawn_and_looks_different(field, values):
    plain = dataclasses.replace(sample_factors(2), hat="none", glasses="none", necktie=0)
    pictures = [draw_face(dataclasses.replace(plain, **{field: value})).tobytes() for value in values]
    assert len(set(pictures)) == len(values)


# -------------------------------------------------------------------------------------------------------------------- factors
def test_factors_stay_in_their_documented_frequencies():
    people = [sample_factors(index) for index in range(1500)]
    share = {name: np.mean([attributes(f)[name] == 1 for f in people]) for name in ATTRIBUTE_NAMES}
    assert 0.11 < share["Eyeglasses"] < 0.20 and 0.05 < share["Wearing_Hat"] < 0.12
    assert 0.40 < share["Male"] < 0.60 and 0.35 < share["Smiling"] < 0.65
    assert share["Attractive"] == share["Blurry"] == 0
    assert all(0 < share[name] < 1 for name in set(ATTRIBUTE_NAMES) - {"Attractive", "Blurry"})
    tones = np.array([[f.skin_tone, f.nose_width, f.lip_fullness, f.eye_open, f.yaw, f.smile] for f in people])
    correlation = np.corrcoef(tones.T) - np.eye(tones.shape[1])
    assert np.abs(correlation).max() < 0.1  # drawn independently: 1500 samples leave about 0.026


def test_attributes_follow_from_the_factors():
    assert len(ATTRIBUTE_NAMES) == 40 and ATTRIBUTE_NAMES[0] == "5_o_Clock_Shadow" and ATTRIBUTE_NAMES[-1] == "Young"
    assert tuple(sorted(ATTRIBUTE_NAMES, key=str.lower)) == ATTRIBUTE_NAMES
    for index in range(200):
        f = sample_factors(index)
        named = attributes(f)
        assert tuple(named) == ATTRIBUTE_NAMES and set(named.values()) <= {-1, 1}
        assert (named["Eyeglasses"] == 1) == (f.glasses != "none")
        assert (named["Wearing_Hat"] == 1) == (f.hat != "none")
        assert (named["Bald"] == 1) == (f.hair_style == "bald")
        assert (named["No_Beard"] == 1) == (f.beard in ("none", "moustache"))
        assert sum(named[name] == 1 for name in ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")) <= 1


@pytest.mark.parametrize("index, seed", [(-1, 0), (0, -1)])
def test_negative_numbers_are_refused(index, seed):
    with pytest.raises(ValueError, match="0 or more"):
        sample_factors(index, seed)


# ---------------------------------------------------------------------------------------------------------------------- files
def test_files_have_celebas_format(written):
    names = [f"{number:06d}.jpg" for number in range(1, 21)]
    assert sorted(path.name for path in (written / "img_align_celeba").iterdir()) == names
    with Image.open(written / "img_align_celeba" / names[0]) as picture:
        assert picture.size == (178, 218) and picture.format == "JPEG" and picture.mode == "RGB"
    lines = (written / "list_attr_celeba.txt").read_text().split("\n")
    assert lines[0] == "20" and lines[1] == " ".join(ATTRIBUTE_NAMES) + " " and lines[-1] == ""
    for index, line in enumerate(lines[2:-1]):
        expected = list(attributes(sample_factors(index, 5)).values())
        assert line[:10] == names[index] and len(line) == 10 + 40 * 3
        assert [line[10 + 3 * k : 13 + 3 * k] for k in range(40)] == [" -1" if value < 0 else "  1" for value in expected]
    parts = (written / "list_eval_partition.txt").read_text()
    assert parts == "".join(f"{name} {0 if i < 16 else 1 if i < 18 else 2}\n" for i, name in enumerate(names))


@pytest.mark.parametrize("count", [1, 7, 10, 4096])
def test_partitions_are_contiguous_blocks(count):
    parts = [dataset._partition(index, count) for index in range(count)]
    assert parts == sorted(parts) and len(parts) == count
    assert parts.count(1) == parts.count(2) == count // 10


def test_factors_table_round_trip(written):
    assert list(read_factors(written)) == [sample_factors(index, 5) for index in range(20)]
    header = (written / "factors.csv").read_text().split("\n")[0].split(",")
    assert header == ["image_id", *(field.name for field in dataclasses.fields(Factors))]


def test_an_image_depends_on_neither_the_number_of_images_nor_of_processes(written, tmp_path):
    few = write_faces(tmp_path / "few", num_images=3, seed=5, processes=1)
    assert _digests(few / "img_align_celeba").items() <= _digests(written / "img_align_celeba").items()
    many = write_faces(tmp_path / "many", num_images=33, seed=5, processes=2)
    assert _digests(written / "img_align_celeba").items() <= _digests(many / "img_align_celeba").items()


@pytest.mark.parametrize(
    "wrong", [{"num_images": 0}, {"num_images": 1_000_000}, {"num_images": 2, "quality": 0}, {"num_images": 2, "processes": 0}]
)
def test_numbers_out_of_range_are_named(tmp_path, wrong):
    name, value = list(wrong.items())[-1]
    with pytest.raises(ValueError, match=f"{name} must be from .* got {value}"):
        write_faces(tmp_path / "faces", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_never_overwritten_and_an_empty_one_is_used(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_faces(tmp_path / "full", num_images=1)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert (write_faces(tmp_path / "empty", num_images=1, processes=1) / "factors.csv").exists()


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail_at_two(factors, noise_seed=0):
        if noise_seed == 2:
            raise KeyboardInterrupt
        return np.zeros((218, 178, 3), np.uint8)

    monkeypatch.setattr(dataset, "draw_face", fail_at_two)
    with pytest.raises(KeyboardInterrupt):
        write_faces(tmp_path / "faces", num_images=4, processes=1)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------------------- cache
def test_the_second_call_draws_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    folder = load_faces(num_images=2, seed=3)
    assert folder == tmp_path / f"faces-{VERSION}-n2-s3"
    assert capsys.readouterr().out.count("\n") == 1
    before = _digests(folder)
    monkeypatch.setattr(dataset, "write_faces", lambda *_: pytest.fail("drew again"))
    assert load_faces(num_images=2, seed=3) == folder and _digests(folder) == before
    assert capsys.readouterr().out == ""


def test_the_slower_of_two_processes_uses_the_set_of_the_faster(tmp_path, monkeypatch):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    folder = tmp_path / f"faces-{VERSION}-n2-s0"
    draw = dataset._draw_all

    def overtaken(*arguments):
        draw(*arguments)
        folder.mkdir()
        (folder / "factors.csv").write_text("the winner's")

    monkeypatch.setattr(dataset, "_draw_all", overtaken)
    assert load_faces(num_images=2) == folder
    assert (folder / "factors.csv").read_text() == "the winner's"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
