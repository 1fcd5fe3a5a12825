"""Settings: what is allowed, how text is read, and what follows from them."""

import dataclasses
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib import config as config_module
from glo_lib.config import CODE_INITS, TrainConfig, describe
from glo_lib.inference.priors import PRIORS
from glo_lib.losses import LOSSES
from glo_lib.projection import PROJECTIONS
from glo_lib.training import initial_codes

FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
PRESETS = Path(__file__).parents[1] / "book" / "params"

# For every setting: values that are not allowed, and what the message says about the allowed ones.
BAD_COUNTS = [0, -1, 1.5, True, np.True_, None, "", "two", "1.5", [1, 2], float("nan"), float("inf")]
BAD_RATES = [0, -1e-3, "fast", "", None, True, np.True_, [1e-3], float("nan"), "-inf", 10**400]
BAD_WEIGHTS = [-0.1, "-1", "most", None, True, "nan", "inf"]
BAD_WIDTHS = [5, None, True, "256-x", "256--128-64-32", [256, 128, 0, 32], [1.5] * 4, [8, 8, 8, np.True_], [float("inf")] * 4, b"@@@@"]
COUNTS = ["num_dims", "gpus", "batch_size", "num_epochs", "summary_steps", "checkpoint_seconds"]
WRONG = {
    **dict.fromkeys(COUNTS, (BAD_COUNTS, "a whole number of at least 1")),
    **dict.fromkeys(["learning_rate", "code_learning_rate"], (BAD_RATES, "a finite number above 0")),
    **dict.fromkeys(["kl_weight", "max_seconds"], (BAD_WEIGHTS, "a finite number of at least 0")),
    **dict.fromkeys(["data_dir", "run_dir"], ([3, None, True, b"faces", ["faces"]], "text")),
    "average_decay": ([*BAD_WEIGHTS, 1, 1.5], "it must be"),
    "num_samples": ([-1, 0.5, True, None, "many", "-3"], "a whole number of at least 0"),
    "held_out": ([*BAD_WEIGHTS, 0.95], "a finite number of at least 0 and at most 0.9"),
    "held_out_by": (["person", "", None, 1], "auto, share, partition, identity"),
    "crop": (["wide", None, True], "square, tight, landmarks"),
    "tight_crop": ([2, -1, 0.5, None, "", "maybe", [True]], "true or false"),
    "image_size": ([0, 16, 100, -64, 64.5, True, "64px", None], "32, 64, 128, 256"),
    "num_filters": (BAD_WIDTHS, "widths such as 256-128-64-32"),
    "kernel_size": ([1, 2.5, True, "1", "three", None], "a whole number of at least 2"),
    "loss": (["", "l2", "MSE", 3, None, ["mse"], "mse+", "0*mse", "mse+mse"], "mse, mpse, lap1, perceptual"),
    "phases": ([3, None, "mse", "0.5 mse", "1 l2", "1 mse rate 0"], "'0.2 mse, 0.8 mse+0.5*perceptual rate 0.3'"),
    "perceptual_blocks": ([*BAD_COUNTS, 17], "a whole number of at least 1 and at most 16"),
    "optimizer": (["adagrad", None], "adam, sgd"),
    "projection": (["cube", None], "sphere, ball"),
    "code_init": (["zeros", None], "pca, normal"),
    "model": (["gan", "VAE", None], "glo, vae"),
    "schedule": (["linear", None], "cosine, constant"),
    "precision": (["float64", "auto ", None], "float32, bfloat16, float16, auto"),
    "change_precision": (["maybe", None, 2], "it must be true or false"),
    "learned_noise": (["maybe", None, 2], "it must be true or false"),
    "layer_route": (["faster", None], "auto, fast, slim"),
    "deterministic": (["yes", None, 1], "auto, true, false"),
    "gpu_code_megabytes": ([-1, 0.5, "many", None, True], "a whole number of at least 0"),
    "seed": ([-1, 0.5, True, None, "", 2**63], "a whole number of at least 0 and at most 9223372036854775807"),
    "on_bad_image": (["ignore", "Skip", None], "error, skip"),
    **dict.fromkeys(["answer_seconds", "max_megapixels"], ([0, -1, float("inf"), "big", True], "a finite number above 0")),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_wrong_value_is_refused_with_the_name_of_the_setting_and_what_is_allowed(name):
    values, allowed = WRONG[name]
    for value in values:
        with pytest.raises(ValueError) as caught:
            TrainConfig(**{name: value})
        given, _, explained = str(caught.value).partition("; ")
        assert given.startswith(f"{name} is ") and str(value).strip() in given, given
        assert allowed in explained


LIMITS = {"num_samples": 0, "held_out": 0.9, "num_dims": 1, "kernel_size": 2, "gpus": 1, "batch_size": 1, "kl_weight": 0.0, "model": "vae"}
LIMITS |= {"average_decay": 0.0, "num_epochs": 1, "max_seconds": 0.0, "summary_steps": 1, "checkpoint_seconds": 1, "seed": 2**63 - 1}


def test_the_smallest_and_the_largest_values_are_allowed():
    config = TrainConfig(**LIMITS)
    assert {name: getattr(config, name) for name in LIMITS} == LIMITS
    assert TrainConfig(seed=0, average_decay=0.9999).seed == 0


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("gpus", " 2 ", 2),
        ("gpus", np.float64(2), 2),
        ("image_size", "128", 128),
        ("tight_crop", "True", True),
        ("tight_crop", 1, True),
        ("tight_crop", " NO", False),
        ("tight_crop", np.False_, False),
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", np.float32(0.5), 0.5),
        ("num_filters", "256, 128, 64, 32", (256, 128, 64, 32)),
        ("num_filters", [256, 128.0, "64", 32], (256, 128, 64, 32)),
        ("num_filters", " ", TrainConfig().num_filters),
        ("data_dir", Path("faces"), "faces"),
    ],
)
def test_text_and_similar_types_are_converted_to_the_type_of_the_setting(name, given, value):
    read = getattr(TrainConfig.from_parameters({name: given}), name)
    assert read == value and type(read) is type(value)


def test_crop_and_the_older_tight_crop_have_the_same_meaning():
    assert TrainConfig(tight_crop=True) == TrainConfig(crop="tight") == TrainConfig(tight_crop=True, crop="tight")
    assert TrainConfig(crop="tight").tight_crop is True and TrainConfig(tight_crop=True).crop == "tight"
    assert [TrainConfig(crop=crop).tight_crop for crop in ("square", "landmarks")] == [False, False]
    with pytest.raises(ValueError, match="tight_crop is True, and crop is 'landmarks'; give one of the two"):
        TrainConfig(tight_crop=True, crop="landmarks")


def test_unknown_names_are_refused_with_all_known_ones():
    with pytest.raises(ValueError, match=r"unknown parameter 1, 'lr'; known are ") as caught:
        TrainConfig.from_parameters({"lr": 1e-3, "gpus": 1, 1: 3})
    assert all(name in str(caught.value) for name in FIELDS)
    with pytest.raises(ValueError, match=r"unknown parameter 'batchsize', 'gpu'; did you mean batch_size, gpus\? known are "):
        TrainConfig.from_parameters({"gpu": 2, "batchsize": 3})


TEXTS = st.sampled_from(["true", "2", "1e-3", "256-128-64-32", "mse", "pca"]) | st.text(max_size=5)
NUMBERS = st.integers() | st.floats() | st.sampled_from([32, 64, 256, 0.5]) | st.booleans()
LISTS = st.lists(st.integers() | st.floats() | st.text(max_size=2), max_size=5)
ANY_VALUE = TEXTS | NUMBERS | LISTS | st.none() | st.binary(max_size=4) | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)


@settings(max_examples=50)
@example(parameters={"image_size": 128, "num_filters": "256,128,64,64,8", "learning_rate": 1e-9, "tight_crop": True, "data_dir": "ü"})
@given(st.dictionaries(st.sampled_from([*FIELDS, "lr"]), ANY_VALUE, max_size=3).map(dict))
def test_any_parameters_are_refused_or_survive_json_and_a_command_line(parameters):
    try:
        config = TrainConfig.from_parameters(parameters)
    except ValueError as error:
        assert any(name in str(error) for name in parameters)
        return
    plain = json.loads(json.dumps(config.as_dict()))
    assert TrainConfig.from_parameters(plain) == config and list(plain) == list(FIELDS)
    texts = {name: "-".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in plain.items()}
    assert TrainConfig.from_parameters(texts) == config  # papermill passes the values on its command line as text


@pytest.mark.parametrize("image_size", [32, 64, 128, 256])
def test_the_widths_follow_the_image_size(image_size):
    widths = TrainConfig(image_size=image_size).num_filters
    assert 4 * 2 ** len(widths) == image_size  # 4 pixels, doubled by every further layer
    assert image_size != 128 or widths == (256, 128, 64, 64, 32)  # those of the original experiment
    assert TrainConfig(image_size=image_size, num_filters=widths[::-1]).num_filters == widths[::-1]


def test_widths_for_another_image_size_are_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"num_filters is 256-128-64.* 32 pixels.*image_size is 128; give 5 widths"):
        TrainConfig(image_size=128, num_filters="256-128-64")


@pytest.mark.parametrize(
    ("num_epochs", "batch_size", "gpus", "num_images", "steps"), [(1, 10, 1, 100, 10), (1, 10, 1, 101, 11), (400, 32, 4, 202_599, 633_122)]
)
def test_the_number_of_steps_is_the_number_of_visits_divided_by_the_batch(num_epochs, batch_size, gpus, num_images, steps):
    # ceil(epochs * images / (batch * gpus)); the last case: 400 * 202,599 = 81,039,600 = 633,121 * 128 + 112
    assert TrainConfig(num_epochs=num_epochs, batch_size=batch_size, gpus=gpus).num_steps(num_images) == steps


FEW = "batch_size is {} on each of {} tower(s), and there {} to train on; {}"
LONG = "num_dims is 3073, and an image of 32x32 pixels has 3072 values; give at most 3072"
FLAT = "num_dims is {}, and there {}, with {} to start from; give {}"


@pytest.mark.parametrize(
    ("settings", "num_images", "problems", "cure"),
    [
        ({"batch_size": 8, "gpus": 2, "num_dims": 15}, 16, [], ""),
        ({"batch_size": 8, "gpus": 2, "num_dims": 4}, 15, [FEW.format(8, 2, "are 15 images", "it can be at most 7")], "-p batch_size 7"),
        (
            {"batch_size": 2, "gpus": 3, "num_dims": 1},
            2,
            [FEW.format(2, 3, "are 2 images", "not even one for each tower")],
            "-p batch_size 1 -p gpus 2",
        ),
        ({"batch_size": 1, "num_dims": 10}, 11, [], ""),
        (
            {"batch_size": 1, "num_dims": 10},
            10,
            [FLAT.format(10, "are 10 images", "9 principal components", "at most 9, or code_init 'normal'")],
            "-p num_dims 9",
        ),
        (
            {"gpus": 2},
            9,
            [
                FEW.format(32, 2, "are 9 images", "it can be at most 4"),
                FLAT.format(64, "are 9 images", "8 principal components", "at most 8, or code_init 'normal'"),
            ],
            "-p batch_size 4 -p num_dims 8",
        ),
        (
            {},
            1,
            [
                FEW.format(32, 1, "is 1 image", "it can be at most 1"),
                FLAT.format(64, "is 1 image", "0 principal components", "code_init 'normal'"),
            ],
            "-p batch_size 1 -p code_init normal",
        ),
        (
            {"batch_size": 1},
            2,
            [FLAT.format(64, "are 2 images", "1 principal component", "at most 1, or code_init 'normal'")],
            "-p code_init normal",
        ),
        ({"batch_size": 1, "num_dims": 10, "code_init": "normal"}, 1, [], ""),
        ({"batch_size": 1, "num_dims": 3072, "code_init": "normal", "image_size": 32}, 1, [], ""),
        ({"batch_size": 1, "num_dims": 3073, "code_init": "normal", "image_size": 32}, 1, [LONG], "-p num_dims 3072"),
        ({"num_dims": 3073, "model": "vae", "image_size": 32}, 50, [LONG], "-p num_dims 3072"),
        ({"num_dims": 3073, "image_size": 32}, 9000, [LONG], "-p num_dims 3072"),
        (
            {"num_dims": 3073, "image_size": 32},
            3073,
            [LONG, FLAT.format(3073, "are 3073 images", "3072 principal components", "at most 3072, or code_init 'normal'")],
            "-p num_dims 3072",
        ),
        (
            {"num_dims": 3073, "image_size": 32},
            40,
            [LONG, FLAT.format(3073, "are 40 images", "39 principal components", "at most 39, or code_init 'normal'")],
            "-p num_dims 39",
        ),
        ({"batch_size": 1, "num_dims": 10, "model": "vae"}, 1, [], ""),  # a VAE's codes come from its encoder
    ],
)
def test_everything_that_does_not_fit_the_images_is_named_at_once_with_values_that_do(settings, num_images, problems, cure):
    config = TrainConfig(**settings)
    if not problems:
        config.check_fits(num_images)
        return
    with pytest.raises(ValueError) as refused:
        config.check_fits(num_images)
    assert str(refused.value).splitlines() == [
        "the settings do not fit the images:", *(f"  {line}" for line in problems), f"These values fit together: {cure}"
    ]  # fmt: skip
    pairs = cure.removeprefix("-p ").split(" -p ")
    TrainConfig.from_parameters({**settings, **dict(pair.split() for pair in pairs)}).check_fits(num_images)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 40), st.integers(1, 70), st.sampled_from(CODE_INITS))
def test_the_values_of_the_message_always_fit(num_images, gpus, batch_size, num_dims, code_init):
    settings = {"gpus": gpus, "batch_size": batch_size, "num_dims": num_dims, "code_init": code_init}
    message = TrainConfig(**settings).describe_misfit(num_images)
    if message:
        pairs = message.rpartition("together: -p ")[2].split(" -p ")
        settings |= dict(pair.split() for pair in pairs)
    TrainConfig.from_parameters(settings).check_fits(num_images)


def test_other_problems_and_their_cures_stand_in_the_same_message():
    lines = TrainConfig(batch_size=4).describe_misfit(3, ["held_out is 0.9"], {"held_out": 0}).splitlines()
    assert lines[1] == "  held_out is 0.9" and lines[-1] == "These values fit together: -p held_out 0 -p batch_size 3 -p num_dims 2"


@pytest.mark.parametrize("value", [202405, 1.5, True, None])
def test_a_text_that_papermill_took_for_something_else_is_explained(value):
    for name in ("data_dir", "run_dir"):
        with pytest.raises(ValueError, match=rf"give -r {name} 2024_05, or {name}: '2024_05' in a YAML file"):
            TrainConfig(**{name: value})
    with pytest.raises(ValueError, match=r"^(?!.* -r )projection is"):
        TrainConfig(projection=value)


def test_a_way_to_hold_out_without_a_share_is_refused():
    with pytest.raises(ValueError, match="held_out_by is 'identity', and held_out is 0, so nothing is held out; give held_out too"):
        TrainConfig(held_out_by="identity")


@pytest.mark.parametrize(("name", "value"), [("kl_weight", 0.1), ("learned_noise", True)])
def test_a_setting_of_a_vae_is_refused_for_glo_unless_an_earlier_version_has_stored_it(name, value):
    with pytest.raises(ValueError, match=rf"{name} is {value}, and model is 'glo', .*; give model 'vae' too, or leave {name} out"):
        TrainConfig(**{name: value}, loss="lap1")
    assert TrainConfig.from_stored({name: value, "num_dims": 7}) == TrainConfig(num_dims=7)
    vae = TrainConfig(**{name: value}, model="vae")
    assert TrainConfig.from_stored(vae.as_dict()) == vae and getattr(vae, name) == value


def another_value(name: str) -> object:
    """An allowed value of a setting that is not the default."""
    field = FIELDS[name]
    if name == "num_filters":
        return (8, 8, 8, 8)
    if field.metadata["allowed"]:
        return next(value for value in field.metadata["allowed"][::-1] if value != field.default)
    if name in ("loss", "phases"):
        return {"loss": "mse+lap1", "phases": "0.5 mse, 0.5 lap1"}[name]
    return {bool: True, int: 7, float: 0.5, str: "elsewhere"}[type(field.default)]


@pytest.mark.parametrize("name", FIELDS)
def test_two_runs_differ_in_the_settings_that_may_not_change(name):
    needed = {"held_out_by": {"held_out": 0.2}, "kl_weight": {"model": "vae"}, "learned_noise": {"model": "vae"}}.get(name, {})
    one, other = TrainConfig(**needed), TrainConfig(**{name: another_value(name)}, **needed)
    expected = [f"{name}: {getattr(one, name)!r}, not {another_value(name)!r}"]
    harmless = {"run_dir", "data_dir", "num_epochs", "max_seconds", "summary_steps", "checkpoint_seconds", "on_bad_image", "max_megapixels"}
    if name in harmless | {"held_out_by", "precision", "change_precision", "gpu_code_megabytes", "answer_seconds"}:
        expected = []
    elif name == "image_size":  # determines the widths
        expected.append(f"num_filters: {one.num_filters}, not {other.num_filters}")
    elif name == "tight_crop":  # the same as crop tight
        expected.append("crop: 'square', not 'tight'")
    elif name == "phases":  # determine the loss
        expected.insert(0, "loss: 'mse', not 'lap1'")
    elif name == "model":  # determines the projection
        expected.insert(0, "projection: 'sphere', not 'none'")
    assert one.differences(other) == expected


def test_what_a_command_line_reads_as_truth_values_are_words_again():
    assert [TrainConfig(deterministic=value).deterministic for value in (True, False, "auto")] == ["true", "false", "auto"]


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().gpus = 2


def test_every_setting_is_described_with_its_value():
    config = TrainConfig(gpus=3, num_filters="8-8-8-8")
    names, values, meanings = zip(*describe(config), strict=True)
    assert names == tuple(FIELDS) and values == tuple(getattr(config, name) for name in names)
    assert len(set(meanings)) == len(FIELDS) and min(map(len, meanings)) > 5


def test_every_preset_is_allowed_and_one_of_them_is_the_original_experiment():
    yaml = pytest.importorskip("yaml")
    presets = {path.stem: TrainConfig.from_parameters(yaml.safe_load(path.read_text())) for path in PRESETS.glob("*.yaml")}
    original = presets["celeba128"]
    assert (original.image_size, original.num_dims, original.num_filters) == (128, 100, (256, 128, 64, 64, 32))
    assert (original.batch_size, original.learning_rate, original.loss, original.average_decay) == (32, 1e-3, "mpse", 0.9995)
    assert (original.checkpoint_seconds, original.summary_steps) == (600, 100)


def test_the_codes_of_a_vae_are_not_projected():
    assert TrainConfig(model="vae").projection == TrainConfig(model="vae", projection="ball").projection == "none"


@pytest.mark.parametrize(("name", "registry"), [("LOSSES", LOSSES), ("PROJECTIONS", PROJECTIONS), ("PRIORS", PRIORS)])
def test_the_names_are_those_of_the_functions_in_their_order(name, registry):
    assert getattr(config_module, name) == tuple(registry)


def test_every_name_of_an_initialisation_of_the_codes_has_its_own_initialisation():
    images = types.SimpleNamespace(array=lambda: np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3)).astype(np.uint8))
    settings = [types.SimpleNamespace(config=TrainConfig(code_init=name, num_dims=5), images=images) for name in ("pca", "normal")]
    pca, normal = (np.concatenate([codes for _, codes in initial_codes(setting)]) for setting in settings)
    assert CODE_INITS == ("pca", "normal") and pca.shape == normal.shape == (12, 5)
    assert np.abs(pca.mean(axis=0)).max() < 1e-5 < np.abs(normal.mean(axis=0)).max()  # only principal components are centred


def test_a_wrong_setting_is_refused_without_importing_tensorflow_or_numpy():
    program = "import sys, glo_lib.config; print(sorted({'tensorflow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
