"""The command line: what it writes, what it says, and what it refuses."""

import numpy as np
import pytest
from PIL import Image

from glo_lib.__main__ import DONE, PARTLY_DONE, REFUSED, main
from glo_lib.figures.style import tile
from glo_lib.inference.export import load_npz
from glo_lib.inference.interpolation import interpolate
from glo_lib.inference.neighbours import nearest_neighbours
from glo_lib.inference.priors import fit_prior


@pytest.fixture
def run(trained_run):
    return ["--run", str(trained_run)]


def picture(path):
    return np.asarray(Image.open(path))


def test_samples_are_those_of_the_library(run, trained_model, tmp_path, capsys):
    out = tmp_path / "s.png"
    assert main(["sample", *run, "--prior", "full", "--n", "13", "--seed", "5", "--out", str(out)]) == DONE
    expected = tile(trained_model.decode(fit_prior("full", trained_model.codes).sample(13, seed=5)), 10)
    assert np.abs(picture(out).astype(int) - expected).max() <= 1
    assert capsys.readouterr().out == f"wrote {out}, 320x64 pixels\n"


def test_the_same_seed_gives_the_same_file(run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert main(["sample", *run, "--n", "3", "--seed", str(seed), "--out", str(tmp_path / f"{name}.png")]) == DONE
    contents = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_interpolations_join_the_named_images(run, trained_model, tmp_path):
    out = tmp_path / "i.png"
    assert main(["interpolate", *run, "--between", "3", "7", "--between", "0", "47", "--steps", "5", "--out", str(out)]) == DONE
    codes = np.concatenate([interpolate(trained_model.codes[a], trained_model.codes[b], 5) for a, b in ((3, 7), (0, 47))])
    assert np.abs(picture(out).astype(int) - tile(trained_model.decode(codes), 5)).max() <= 1


def test_neighbours_stand_below_their_samples(run, trained_model, trained_images, tmp_path, capsys):
    out = tmp_path / "n.png"
    assert main(["neighbours", *run, "--n", "12", "--k", "2", "--out", str(out)]) == DONE
    samples = trained_model.decode(fit_prior("diagonal", trained_model.codes).sample(12, seed=0))
    index, distance = nearest_neighbours(samples, trained_images, 2)
    shown = picture(out)
    assert shown.shape == (6 * 32, 320, 3)  # two bands of samples and two neighbours
    np.testing.assert_array_equal(shown[32:64, :32], trained_images[index[0, 0]])
    np.testing.assert_array_equal(shown[5 * 32 :, 32:64], trained_images[index[11, 1]])
    assert f"median {np.median(distance[:, 0]):.4f}" in capsys.readouterr().out
    assert main(["neighbours", *run, "--space", "codes", "--out", str(tmp_path / "c.png")]) == DONE


def test_encoding_names_the_bad_file_and_does_the_rest(run, trained_model, small_images, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    out, codes = tmp_path / "e.png", tmp_path / "z.npy"
    files = [str(small_images / "001.jpg"), str(tmp_path / "bad.jpg"), str(small_images / "002.jpg")]
    status = main(["encode", *run, *files, "--steps", "60", "--restarts", "2", "--out", str(out), "--codes", str(codes)])
    said = capsys.readouterr()
    assert status == PARTLY_DONE
    assert "bad.jpg': not an image" in said.err and "40x36" not in said.err and "36x40 pixels, cropped and resized to 32x32" in said.err
    assert "of 2 converged after 60 steps from 2 starts" in said.out
    assert picture(out).shape == (64, 64, 3)
    decoded = np.uint8(np.clip((trained_model.decode(np.load(codes)) + 1) * 127.5 + 0.5, 0, 255))
    assert np.abs(picture(out)[32:, :32].astype(int) - decoded[0]).max() <= 1


def test_a_hidden_half_is_shown_black_and_filled(run, small_images, tmp_path):
    out = tmp_path / "h.png"
    assert main(["encode", *run, str(small_images / "001.jpg"), "--hide", "left", "--steps", "10", "--out", str(out)]) == DONE
    shown = picture(out)
    assert shown.shape == (96, 32, 3)
    assert shown[32:64, :16].max() == 0 and shown[64:, :16].min() > 0
    np.testing.assert_array_equal(shown[:32, 16:], shown[32:64, 16:])
    np.testing.assert_array_equal(shown[:32, 16:], shown[64:, 16:])


def test_exports(run, trained_model, tmp_path):
    assert main(["export", *run, "--out", str(tmp_path / "m.npz")]) == DONE
    np.testing.assert_allclose(load_npz(tmp_path / "m.npz").codes, trained_model.codes, atol=1e-6)
    assert main(["export", *run, "--out", str(tmp_path / "decoder")]) == DONE
    assert (tmp_path / "decoder" / "saved_model.pb").exists()
    assert main(["export", *run, "--out", str(tmp_path / "decoder")]) == REFUSED
    assert main(["export", *run, "--out", str(tmp_path / "decoder"), "--force"]) == DONE


def test_nothing_is_overwritten_without_force(run, tmp_path, capsys):
    out = tmp_path / "s.png"
    out.write_text("precious")
    arguments = ["sample", *run, "--n", "2", "--out", str(out)]
    assert main(arguments) == REFUSED
    assert out.read_text() == "precious" and "exists" in (message := capsys.readouterr().err) and "--force" in message
    assert main([*arguments, "--force"]) == DONE
    assert picture(out).shape == (32, 64, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--n", "0"], "--n is 0; give 1 to 10,000"),
        (["sample", "--prior", "flat"], "prior is 'flat'; allowed are"),
        (["sample", "--seed", "-1"], "--seed is -1"),
        (["sample", "--out", "x.gif"], "its name must end with .png"),
        (["sample", "--out", "absent/x.png"], "'absent' is not a folder; make it first"),
        (["interpolate", "--between", "0", "48"], "--between names image 48; the run has images 0 to 47"),
        (["interpolate", "--steps", "1"], "num_steps is 1; give at least 2"),
        (["neighbours", "--k", "49"], "num_neighbours is 49; with 48 images it can be 1 to 48"),
        (["neighbours", "--data", "absent"], "data_dir is 'absent', which does not exist"),
        (["encode", "absent.jpg"], "no image can be read"),
        (["encode", "absent.jpg", "--codes", "z.txt"], "must end with .npy"),
    ],
)
def test_bad_requests_end_with_one_message_and_write_nothing(run, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments[:1], *run, *arguments[1:]]) == REFUSED
    said = capsys.readouterr().err
    assert said.startswith(f"python -m glo_lib {arguments[0]}: ") and message in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_run_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "--run", str(tmp_path)]) == REFUSED
    assert "holds no config.json; it is not the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["sample"], ["encode"], ["interpolate"], ["neighbours"], ["export"]])
def test_help_explains_and_says_where_output_goes(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "Exit status" in said
    assert "default: " in said if command else all(name in said for name in ("sample", "encode", "interpolate", "neighbours", "export"))


def test_unknown_commands_end_with_status_two(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["paint"])
    assert ended.value.code == 2 and "invalid choice: 'paint'" in capsys.readouterr().err
