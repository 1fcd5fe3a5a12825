"""The command line: what it writes, what it prints, and what it refuses."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glo_lib.__main__ import DONE, NOT_READ, PARTLY_DONE, REFUSED, main
from glo_lib.config import PRIORS, QUICK_PRIORS
from glo_lib.figures.style import tile
from glo_lib.inference.export import load_npz
from glo_lib.inference.interpolation import interpolate
from glo_lib.inference.neighbours import nearest_neighbours
from glo_lib.inference.priors import fit_prior
from glo_lib.runs import packed
from glo_lib.runs.folder import lock_run_folder
from tests.make_files import write_file


@pytest.fixture
def run(trained_run):
    return ["--run", str(trained_run)]


def picture(path):
    return np.asarray(Image.open(path)).astype(int)


def test_samples_and_interpolations_are_those_of_the_library(run, trained_model, tmp_path, capsys):
    out, codes = tmp_path / "s.png", trained_model.codes
    assert main(["sample", *run, "--prior", "full", "--n", "13", "--seed", "5", "--out", str(out)]) == DONE
    assert np.abs(picture(out) - tile(trained_model.decode(fit_prior("full", codes).sample(13, seed=5)), 10)).max() <= 1
    assert capsys.readouterr().out == f"wrote {out}, 320x64 pixels\n"
    pairs = ["--between", "3", "7", "--between", "0", "47"]
    assert main(["interpolate", *run, *pairs, "--steps", "5", "--force", "--out", str(out)]) == DONE
    paths = np.concatenate([interpolate(codes[3], codes[7], 5), interpolate(codes[0], codes[47], 5)])
    assert np.abs(picture(out) - tile(trained_model.decode(paths), 5)).max() <= 1


def test_neighbours_are_shown_below_their_samples(run, trained_model, trained_images, tmp_path, capsys):
    out = tmp_path / "n.png"
    assert main(["neighbours", *run, "--n", "12", "--k", "2", "--out", str(out)]) == DONE
    samples = trained_model.decode(fit_prior("mixture", trained_model.codes).sample(12, seed=0))
    index, distance = nearest_neighbours(samples, trained_images, 2)
    shown = picture(out)
    assert shown.shape == (6 * 32, 320, 3)  # two bands, each with a row of samples and two rows of neighbours
    np.testing.assert_array_equal(shown[32:64, :32], trained_images[index[0, 0]])
    np.testing.assert_array_equal(shown[5 * 32 :, 32:64], trained_images[index[11, 1]])
    assert f"median {np.median(distance[:, 0]):.4f}" in capsys.readouterr().out
    assert main(["neighbours", *run, "--space", "codes", "--out", str(tmp_path / "c.png")]) == DONE


def test_as_many_neighbours_are_shown_as_there_are_images(run, trained_model, trained_images, tmp_path, monkeypatch):
    few = types.SimpleNamespace(config=trained_model.config, codes=trained_model.codes[:2], decode=trained_model.decode)
    monkeypatch.setattr("glo_lib.inference.model.load", lambda folder: few)
    monkeypatch.setattr("glo_lib.runs.images.training_images", lambda *_: types.SimpleNamespace(array=lambda: trained_images[:2]))
    assert main(["neighbours", *run, "--out", str(tmp_path / "n.png")]) == DONE
    assert picture(tmp_path / "n.png").shape == (3 * 32, 320, 3)


def test_encoding_names_a_file_that_cannot_be_read_and_encodes_the_others(run, trained_model, small_images, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    out, codes = tmp_path / "e.png", tmp_path / "z.npy"
    files = [str(small_images / "001.jpg"), str(tmp_path / "bad.jpg"), str(small_images / "002.jpg")]
    arguments = ["encode", *run, *files, "--steps", "60", "--restarts", "2", "--out", str(out), "--codes", str(codes)]
    assert main(arguments) == PARTLY_DONE
    printed = capsys.readouterr()
    assert "bad.jpg': this is a text file, not an image" in printed.err and "36x40 pixels, cropped and resized to 32x32" in printed.err
    assert "of 2 converged after 60 steps from 2 starts" in printed.out
    assert picture(out).shape == (64, 64, 3)
    assert np.abs(picture(out)[32:] - tile(trained_model.decode(np.load(codes)), 2)).max() <= 1


def test_a_folder_a_pattern_and_a_file_are_encoded_in_this_order(run, small_images, tmp_path, capsys):
    codes = []
    files = [str(small_images / name) for name in ("012.jpg", "020.jpg", "021.jpg")]
    mixed = [str(tmp_path / "folder"), f"{small_images}/02[01].jpg"]
    write_file(tmp_path / "folder" / "a.jpg", (small_images / "012.jpg").read_bytes())
    for images in (files, mixed):
        arguments = [
            "encode",
            *run,
            *images,
            "--steps",
            "5",
            "--out",
            str(tmp_path / "e.png"),
            "--codes",
            str(tmp_path / "z.npy"),
            "--force",
        ]
        assert main(arguments) == DONE
        codes.append(np.load(tmp_path / "z.npy"))
    np.testing.assert_array_equal(*codes)
    many = [str(small_images / "*.jpg"), "--steps", "1", "--restarts", "1", "--force", "--out", str(tmp_path / "e.png")]
    capsys.readouterr()
    assert main(["encode", *run, *many]) == DONE
    assert capsys.readouterr().err.splitlines()[-1] == "... and 38 more images"


def test_a_hidden_half_is_shown_black_and_filled(run, small_images, tmp_path):
    out = tmp_path / "h.png"
    assert main(["encode", *run, str(small_images / "001.jpg"), "--hide", "left", "--steps", "10", "--out", str(out)]) == DONE
    original, hidden, filled = np.split(picture(out), 3)
    assert original.shape == (32, 32, 3) and hidden[:, :16].max() == 0 and filled[:, :16].min() > 0
    np.testing.assert_array_equal(original[:, 16:], hidden[:, 16:])
    np.testing.assert_array_equal(original[:, 16:], filled[:, 16:])


def test_a_model_is_exported_for_a_web_page(run, tmp_path, capsys):
    out = ["--for", "web", "--out", str(tmp_path / "page")]
    assert main(["export", *run, *out]) == DONE and (tmp_path / "page" / "arrays.bin").exists()
    assert re.search(r"wrote .*page, 0\.\d MB; rounding changes a pixel by at most [012] of 255 \(\d+\.\d dB\)", capsys.readouterr().out)
    assert main(["export", *run, *out]) == REFUSED and "(--force)" in capsys.readouterr().err
    assert main(["export", *run, *out, "--force"]) == DONE
    assert main(["export", *run, "--attributes", "table.csv", "--out", str(tmp_path / "decoder")]) == REFUSED
    assert "--attributes belongs to --for web" in capsys.readouterr().err


def test_decoders_are_exported_as_arrays_and_as_a_saved_model(run, trained_model, tmp_path):
    assert main(["export", *run, "--out", str(tmp_path / "m.npz")]) == DONE
    np.testing.assert_allclose(load_npz(tmp_path / "m.npz").codes, trained_model.codes, atol=1e-6)
    arguments = ["export", *run, "--out", str(tmp_path / "decoder")]
    assert [main(arguments), main(arguments), main([*arguments, "--force"])] == [DONE, REFUSED, DONE]
    assert (tmp_path / "decoder" / "saved_model.pb").exists()


def test_a_judgement_is_printed_or_says_what_is_missing(run, monkeypatch, capsys):
    asked, found = [], {"missing": ["no such weights"]}
    monkeypatch.setattr("glo_lib.evaluation.judgement.judge_run", lambda *arguments, priors: asked.append((*arguments, priors)) or found)
    assert main(["judge", *run]) == REFUSED
    assert capsys.readouterr().err == "python -m glo_lib judge: nothing was judged:\n  no such weights\n"
    found |= {"reference": "12 faces", "num_images": 12}
    assert main(["judge", *run, "--n", "12", "--data", "photographs", "--all-priors"]) == DONE
    assert capsys.readouterr().out == "no such weights\n"
    assert asked == [(run[1], 1000, None, QUICK_PRIORS), (run[1], 12, "photographs", PRIORS)]


def test_a_run_in_use_is_not_judged(run, capsys):
    with lock_run_folder(Path(run[1])):
        assert main(["judge", *run]) == REFUSED
    assert "is in use by" in capsys.readouterr().err


def test_nothing_is_overwritten_without_force_and_the_same_seed_gives_the_same_file(run, tmp_path, capsys):
    out = tmp_path / "s.png"
    out.write_text("precious")
    arguments = ["sample", *run, "--n", "2", "--out", str(out)]
    assert main(arguments) == REFUSED
    assert out.read_text() == "precious" and "exists" in (message := capsys.readouterr().err) and "--force" in message
    written = []
    for seed in ("1", "1", "2"):
        assert main([*arguments, "--force", "--seed", seed]) == DONE
        written.append(out.read_bytes())
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--n", "0"], "--n is 0; give 1 to 10,000"),
        (["sample", "--seed", "-1"], "--seed is -1"),
        (["sample", "--out", "x.gif"], "its name must end with .png"),
        (["sample", "--out", "absent/x.png"], "'absent' is not a folder; make it first"),
        (["interpolate", "--between", "0", "48"], "--between names image 48; the run has images 0 to 47"),
        (["neighbours", "--k", "49"], "num_neighbours is 49; with 48 images it can be 1 to 48"),
        (["neighbours", "--data", "absent"], "'absent', which does not exist"),
        (["encode", "absent.jpg"], "no image can be read"),
        (["encode", "*.gif"], "nothing matches '*.gif'; give files, folders, zip archives, or another pattern"),
        (["encode", *["a.jpg"] * 10_001], "10,001 images are given; one picture shows at most 10,000"),
        (["encode", "absent.jpg", "--codes", "z.txt"], "must end with .npy"),
        (["sample", "--run", "."], "holds no config.json; it is not the folder of a run"),
    ],
)
def test_bad_requests_are_refused_with_one_message_and_write_nothing(run, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments[:1], *run, *arguments[1:]]) == REFUSED
    error = capsys.readouterr().err
    assert error.startswith(f"python -m glo_lib {arguments[0]}: ") and message in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_named_with_the_reason(run, number, tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(number, os.strerror(number))  # as a failed write, which names no file

    monkeypatch.setattr(Image.Image, "save", refuse)
    assert main(["sample", *run, "--n", "2", "--out", str(tmp_path / "s.png")]) == REFUSED
    assert capsys.readouterr().err == f"python -m glo_lib sample: {str(tmp_path / 's.png')!r}: {os.strerror(number)}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nothing_is_said_if_the_reader_of_the_output_has_ended(small_images, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "glo_lib", "data", str(small_images), "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(Path(__file__).parents[1])}
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (NOT_READ, b"")


def test_a_picture_is_not_written_among_the_training_images(run, small_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shutil.copytree(small_images, tmp_path / "images"))  # a copy, in case it is written all the same
    assert main(["sample", *run]) == REFUSED
    assert "'samples.png' would be among the images" in capsys.readouterr().err and not Path("samples.png").exists()


def test_help_explains_the_commands_and_their_defaults(capsys):
    for command, printed in (([], ["sample", "encode", "interpolate", "neighbours", "export"]), (["sample"], ["default: "])):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        text = capsys.readouterr().out
        assert ended.value.code == 0 and all(word in text for word in (*printed, "Exit status"))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (None, "TF_CONFIG is not set"),
        ({"type": "chief", "index": 0}, "this process is the chief"),
        ({"type": "ps", "index": 0}, "ps 0 at 8.8.8.8:1: the address is not private"),
        ({"type": "ps", "index": 5}, "the cluster has chief 0, ps 0, worker 0"),
    ],
)
def test_serve_refuses_what_it_cannot_or_should_not_serve(task, message, monkeypatch, capsys):
    cluster = {"chief": ["10.0.0.1:1"], "ps": ["8.8.8.8:1"], "worker": ["10.0.0.2:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}) if task else "")
    assert main(["serve"]) == REFUSED
    assert message in capsys.readouterr().err


@pytest.fixture
def pretrained(trained_model, tmp_path, monkeypatch):
    model = packed.PackedModel(trained_model.config, trained_model.codes, trained_model.variables, trained_model.weights, {})
    monkeypatch.setattr(packed, "PRETRAINED", packed.write_packed(tmp_path / "installed", model))


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--n", "3"],
        ["interpolate", "--between", "0", "1"],
        ["neighbours", "--n", "2"],
        ["neighbours", "--n", "2", "--space", "codes"],
    ],
)
def test_the_model_of_the_library_can_be_used_like_a_run(pretrained, command, tmp_path):
    out = tmp_path / "out.png"
    assert main([*command, "--run", "pretrained", "--out", str(out)]) == DONE
    assert picture(out).ndim == 3


def test_reconstructions_stand_in_for_the_training_images_of_the_model_of_the_library(
    pretrained, trained_model, small_images, tmp_path, capsys
):
    out, photograph = tmp_path / "out.png", str(small_images / "003.jpg")
    assert main(["encode", photograph, "--steps", "5", "--run", "pretrained", "--out", str(out)]) == DONE
    assert "their reconstructions stand in for them" in capsys.readouterr().err
    rows = np.split(picture(out), 2)
    assert rows[0].shape == rows[1].shape == (32, 32, 3)


@pytest.mark.parametrize("command", [["judge"], ["neighbours", "--data", "photographs"]])
def test_what_the_model_of_the_library_cannot_do_is_refused(pretrained, command, tmp_path, capsys):
    out = [] if command == ["judge"] else ["--out", str(tmp_path / "out.png")]
    assert main([*command, "--run", "pretrained", *out]) == REFUSED
    assert "the pretrained model holds no more than a decoder and codes; give the folder of a run" in capsys.readouterr().err
