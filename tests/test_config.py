"""Settings: what is allowed, how text is read, and what follows from what."""

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
from glo_lib.config import CHANGEABLE, CODE_INITS, TrainConfig, describe
from glo_lib.inference.priors import PRIORS
from glo_lib.losses import LOSSES
from glo_lib.projection import PROJECTIONS
from glo_lib.training import initial_codes

FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
PRESETS = sorted((Path(__file__).parents[1] / "book" / "params").glob("*.yaml"))

A_COUNT = "a whole number of at least 1"
NOT_COUNTS = [0, -1, 1.5, True, False, None, "", "two", "1.5", "0", [1, 2], float("nan")]
NOT_RATES = [0, -1e-3, "0", "fast", "", None, True, [1e-3], float("nan"), float("inf"), "nan", "-inf"]
NO_TEXT = [3, None, True, b"faces", ["faces"]]

# For every setting: values that are not allowed, and what the message says of the allowed ones.
WRONG = {
    "data_dir": (NO_TEXT, "text"),
    "num_samples": ([-1, 0.5, True, None, "many", "-3"], "a whole number of at least 0"),
    "held_out": ([-0.1, 1, 0.95, "most", None, True, "nan"], "a finite number of at least 0"),
    "tight_crop": ([2, -1, 0.5, None, "", "maybe", "2", [True]], "true or false"),
    "image_size": ([0, 16, 100, 512, -64, 64.5, True, "64px", None], "32, 64, 128, 256"),
    "num_dims": (NOT_COUNTS, A_COUNT),
    "num_filters": (
        [5, None, True, "256-x", "256--128-64-32", "-256-128-64-32", [256, 128, 0, 32], "256-128-64-1.5", [1.5] * 4],
        "widths such as 256-128-64-32",
    ),
    "kernel_size": ([1, 0, 2.5, True, "1", "three", None], "a whole number of at least 2"),
    "loss": (["", "l2", "MSE", 3, None, True, ["mse"]], "mse, mpse, lap1"),
    "projection": (["", "cube", None, 0], "sphere, ball"),
    "code_init": (["", "zeros", None, 1], "pca, normal"),
    "model": (["", "gan", "VAE", None, 1, True], "glo, vae"),
    "kl_weight": ([-1, "-0.1", "beta", None, True, "nan", "inf"], "a finite number of at least 0"),
    "gpus": (NOT_COUNTS, A_COUNT),
    "batch_size": (NOT_COUNTS, A_COUNT),
    "learning_rate": (NOT_RATES, "a finite number above 0"),
    "code_learning_rate": (NOT_RATES, "a finite number above 0"),
    "schedule": (["", "linear", None, 0], "cosine, constant"),
    "average_decay": ([1, 1.5, "1", -0.1, None, True, "nan", float("inf")], ""),
    "num_epochs": (NOT_COUNTS, A_COUNT),
    "max_seconds": ([-1, "-1", None, True, "long", float("nan"), float("inf"), "inf"], "a finite number of at least 0"),
    "precision": (["", "float16", "auto ", None, 32], "float32, bfloat16, auto"),
    "seed": ([-1, 0.5, True, None, "", "-1"], "a whole number of at least 0"),
    "run_dir": (NO_TEXT, "text"),
    "summary_steps": (NOT_COUNTS, A_COUNT),
    "checkpoint_seconds": (NOT_COUNTS, A_COUNT),
    "on_bad_image": (["", "ignore", "Skip", None, 0, True], "error, skip"),
}


def test_the_defaults_are_allowed():
    config = TrainConfig()
    assert (config.image_size, config.gpus, config.precision, config.seed) == (64, 1, "auto", 0)


def test_every_setting_has_wrong_values_to_try():
    assert list(WRONG) == list(FIELDS)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_name_with_what_is_allowed(name):
    values, allowed = WRONG[name]
    for value in values:
        with pytest.raises(ValueError) as caught:
            TrainConfig(**{name: value})
        given, _, explained = str(caught.value).partition("; ")
        assert given.startswith(f"{name} is ") and str(value).strip() in given, given
        assert allowed in explained


@pytest.mark.parametrize("value", [1, 1.5])
def test_an_average_that_forgets_nothing_is_refused(value):
    with pytest.raises(ValueError, match="must be below 1"):
        TrainConfig(average_decay=value)
    assert TrainConfig(average_decay=0).average_decay == 0 and TrainConfig(average_decay=0.9999).average_decay == 0.9999


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("num_samples", 0),
        ("num_dims", 1),
        ("kernel_size", 2),
        ("gpus", 1),
        ("batch_size", 1),
        ("num_epochs", 1),
        ("seed", 0),
        ("max_seconds", 0),
    ],
)
def test_the_least_value_is_allowed(name, least):
    assert getattr(TrainConfig(**{name: least}), name) == least


TOO_LARGE = [("gpus", float("inf")), ("num_filters", [float("inf")] * 4), ("learning_rate", 10**400)]


@pytest.mark.parametrize(("name", "value"), TOO_LARGE, ids=["int", "widths", "float"])
def test_a_number_too_large_for_its_type_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} is "):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("gpus", np.True_), ("learning_rate", np.True_), ("num_filters", b"@@@@")], ids=["int", "float", "widths"]
)
def test_what_only_looks_like_a_number_is_refused(name, value):
    try:
        config = TrainConfig(**{name: value})
    except ValueError:
        return
    raise AssertionError(f"{name} became {getattr(config, name)!r}")


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if type(field.default) in (int, float)])
@pytest.mark.parametrize("value", [True, False, np.True_, np.False_], ids=["True", "False", "numpy True", "numpy False"])
def test_a_truth_value_is_no_number(name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*{bool(value)}"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("value", [True, np.True_], ids=["Python", "numpy"])
def test_a_truth_value_is_no_width(value):
    with pytest.raises(ValueError, match=r"^num_filters is .*True"):
        TrainConfig(num_filters=[256, 96, 48, value])


def test_a_seed_beyond_64_bits_is_refused_before_tensorflow_sees_it():
    try:
        TrainConfig(seed=2**63)
    except ValueError:
        return
    raise AssertionError("allowed")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("gpus", "2", 2),
        ("gpus", " 2 ", 2),
        ("num_samples", "4096", 4096),
        ("image_size", "128", 128),
        ("tight_crop", "true", True),
        ("tight_crop", "True", True),
        ("tight_crop", "yes", True),
        ("tight_crop", "1", True),
        ("tight_crop", " false", False),
        ("tight_crop", "NO", False),
        ("tight_crop", "0", False),
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", "3", 3.0),
        ("max_seconds", "1.5", 1.5),
        ("num_filters", "256-128-64-32", (256, 128, 64, 32)),
        ("num_filters", "256, 128, 64, 32", (256, 128, 64, 32)),
        ("num_filters", " ", TrainConfig().num_filters),
        ("data_dir", "2", "2"),
        ("loss", "lap1", "lap1"),
    ],
)
def test_text_is_read_as_the_settings_own_type(name, text, value):
    read = getattr(TrainConfig.from_parameters({name: text}), name)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("gpus", 2.0, 2),
        ("gpus", np.int64(2), 2),
        ("learning_rate", 1, 1.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("tight_crop", 1, True),
        ("tight_crop", np.True_, True),
        ("num_filters", [256, 128.0, "64", 32], (256, 128, 64, 32)),
        ("data_dir", Path("faces"), "faces"),
    ],
)
def test_values_of_kindred_types_become_the_settings_own(name, given, value):
    read = getattr(TrainConfig(**{name: given}), name)
    assert read == value and type(read) is type(value)


def test_unknown_names_are_refused_with_all_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown parameter 'batchsize', 'lr'; known are ") as caught:
        TrainConfig.from_parameters({"lr": 1e-3, "gpus": 1, "batchsize": 3})
    assert all(name in str(caught.value) for name in FIELDS)


def test_unknown_names_that_are_no_text_are_refused_too():
    with pytest.raises(ValueError, match="unknown parameter"):
        TrainConfig.from_parameters({1: 2, "lr": 3})


ANY_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=4),
    st.sampled_from(["true", "2", "1e-3", "256-128-64-32", "mse", "pca", 32, 64, 256, 0.5]),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=2)), max_size=5),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@settings(deadline=None, max_examples=50)
@example(parameters={"gpus": float("inf")})
@given(st.dictionaries(st.sampled_from([*FIELDS, "lr"]), ANY_VALUE, max_size=3).map(dict))
def test_any_parameters_make_a_config_or_are_refused(parameters):
    try:
        config = TrainConfig.from_parameters(parameters)
    except ValueError as error:
        assert any(name in str(error) for name in parameters)
    else:
        assert TrainConfig.from_parameters(config.as_dict()) == config


@st.composite
def allowed_parameters(draw) -> dict:
    size = draw(st.sampled_from([32, 64, 128, 256]))
    blocks = {32: 3, 64: 4, 128: 5, 256: 6}[size]
    rates = st.floats(1e-9, 1e9)
    values = {
        "data_dir": st.text(max_size=5),
        "num_samples": st.integers(0, 10**9),
        "tight_crop": st.booleans(),
        "num_filters": st.just(()) | st.lists(st.integers(1, 999), min_size=blocks, max_size=blocks),
        "loss": st.sampled_from(["mse", "mpse", "lap1"]),
        "learning_rate": rates,
        "code_learning_rate": rates,
        "average_decay": st.floats(0, 0.999999),
        "max_seconds": st.floats(0, 1e9),
        "run_dir": st.text(max_size=5),
    }
    return {"image_size": size, **draw(st.fixed_dictionaries({}, optional=values))}


@settings(deadline=None, max_examples=50)
@given(allowed_parameters())
def test_settings_survive_json(parameters):
    config = TrainConfig(**parameters)
    assert TrainConfig.from_parameters(json.loads(json.dumps(config.as_dict()))) == config
    assert list(config.as_dict()) == list(FIELDS)


@settings(deadline=None, max_examples=50)
@given(allowed_parameters())
def test_settings_survive_a_command_line(parameters):
    # papermill hands on what stands behind -p as text.
    config = TrainConfig(**parameters)
    texts = {name: "-".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in config.as_dict().items()}
    assert TrainConfig.from_parameters(texts) == config


@pytest.mark.parametrize("image_size", [32, 64, 128, 256])
def test_the_widths_follow_the_image_size(image_size):
    widths = TrainConfig(image_size=image_size).num_filters
    assert 4 * 2 ** len(widths) == image_size  # 4 pixels, doubled by every further layer
    own = tuple(reversed(widths))
    assert TrainConfig(image_size=image_size, num_filters=own).num_filters == own


def test_the_widths_for_128_pixels_are_those_of_the_original_experiment():
    assert TrainConfig(image_size=128).num_filters == (256, 128, 64, 64, 32)


def test_widths_that_draw_another_size_are_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"num_filters is 256-128-64.* 32 pixels.*image_size is 128; give 5 widths"):
        TrainConfig(image_size=128, num_filters="256-128-64")


@pytest.mark.parametrize(
    ("num_epochs", "batch_size", "gpus", "num_images", "steps"),
    [
        (3, 32, 2, 100, 5),
        (1, 10, 1, 100, 10),
        (1, 10, 1, 101, 11),
        (60, 64, 1, 4096, 3840),
        (1, 64, 4, 1, 1),
        (400, 32, 4, 202_599, 633_122),
    ],
)
def test_the_number_of_steps_visits_every_image_so_often(num_epochs, batch_size, gpus, num_images, steps):
    # ceil(epochs * images / (batch * gpus)); the last line: 400 * 202,599 = 81,039,600 = 633,121 * 128 + 112
    assert TrainConfig(num_epochs=num_epochs, batch_size=batch_size, gpus=gpus).num_steps(num_images) == steps


@pytest.mark.parametrize(
    ("settings", "num_images"),
    [
        ({"batch_size": 8, "gpus": 2, "num_dims": 15}, 16),  # as many images as the towers take at once, one more than dimensions
        ({"batch_size": 1, "num_dims": 10}, 11),
        ({"batch_size": 1, "num_dims": 10, "code_init": "normal"}, 1),
        ({"batch_size": 1, "num_dims": 10, "model": "vae"}, 1),  # its codes start from the encoder
        ({}, 202_599),
    ],
)
def test_settings_that_fit_the_number_of_images_are_allowed(settings, num_images):
    assert TrainConfig(**settings).check_fits(num_images) is None


@pytest.mark.parametrize(
    ("settings", "num_images", "message"),
    [
        (
            {"batch_size": 8, "gpus": 2, "num_dims": 4},
            15,
            "batch_size is 8 on each of 2 tower(s), and there are 15 images; it can be at most 7",
        ),
        ({"batch_size": 5, "code_init": "normal"}, 4, "batch_size is 5 on each of 1 tower(s), and there are 4 images; it can be at most 4"),
        ({"batch_size": 5, "model": "vae"}, 4, "batch_size is 5 on each of 1 tower(s), and there are 4 images; it can be at most 4"),
        (
            {"batch_size": 1, "num_dims": 10},
            10,
            "num_dims is 10, and 10 images have 9 principal components to start from; give fewer dimensions, or code_init 'normal'",
        ),
        ({"batch_size": 5, "num_dims": 10}, 4, "batch_size is 5 on each of 1 tower(s), and there are 4 images; it can be at most 4"),
    ],
    ids=["towers", "normal", "vae", "components", "both"],
)
def test_settings_that_do_not_fit_the_number_of_images_are_refused(settings, num_images, message):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**settings).check_fits(num_images)
    assert str(caught.value) == message


ANOTHER = {
    "data_dir": "elsewhere",
    "num_samples": 7,
    "tight_crop": True,
    "image_size": 128,
    "num_dims": 7,
    "num_filters": (8, 8, 8, 8),
    "kernel_size": 5,
    "loss": "lap1",
    "projection": "ball",
    "code_init": "normal",
    "gpus": 2,
    "batch_size": 7,
    "learning_rate": 7.0,
    "code_learning_rate": 7.0,
    "schedule": "constant",
    "average_decay": 0.5,
    "num_epochs": 7,
    "max_seconds": 7.0,
    "precision": "float32",
    "seed": 7,
    "run_dir": "elsewhere",
    "summary_steps": 7,
    "checkpoint_seconds": 7,
    "on_bad_image": "skip",
    "held_out": 0.5,
    "model": "vae",
    "kl_weight": 7.0,
}


@pytest.mark.parametrize("name", FIELDS)
def test_two_runs_differ_in_what_cannot_change_and_in_nothing_else(name):
    one, other = TrainConfig(), TrainConfig(**{name: ANOTHER[name]})
    lines = one.differences(other)
    if name in {"run_dir", "data_dir", "num_epochs", "max_seconds", "summary_steps", "checkpoint_seconds", "on_bad_image"}:
        assert lines == [] and name in CHANGEABLE
    elif name == "image_size":  # which the widths follow
        assert lines == ["image_size: 64, not 128", f"num_filters: {one.num_filters}, not (256, 128, 64, 64, 32)"]
    elif name == "model":  # which the projection follows
        assert lines == ["projection: 'sphere', not 'none'", "model: 'glo', not 'vae'"]
    else:
        assert lines == [f"{name}: {getattr(one, name)!r}, not {ANOTHER[name]!r}"] and name not in CHANGEABLE
    assert one.differences(TrainConfig()) == []


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().gpus = 2


def test_every_setting_is_described_with_its_value():
    config = TrainConfig(gpus=3, num_filters="8-8-8-8")
    described = describe(config)
    assert [name for name, _, _ in described] == list(FIELDS)
    assert all(value == getattr(config, name) for name, value, _ in described)
    assert all(len(meaning) > 5 for _, _, meaning in described)
    assert len({meaning for _, _, meaning in described}) == len(FIELDS)


@pytest.mark.skipif(not PRESETS, reason="no presets in book/params")
def test_every_preset_is_allowed_and_the_original_experiment_is_among_them():
    yaml = pytest.importorskip("yaml")
    configs = {path.stem: TrainConfig.from_parameters(yaml.safe_load(path.read_text())) for path in PRESETS}
    if "celeba128" in configs:
        original = configs["celeba128"]
        assert (original.image_size, original.num_dims, original.num_filters) == (128, 100, (256, 128, 64, 64, 32))
        assert (original.batch_size, original.learning_rate, original.loss, original.average_decay) == (32, 1e-3, "mpse", 0.9995)
        assert (original.checkpoint_seconds, original.summary_steps) == (600, 100)


def test_the_codes_of_a_vae_are_not_projected_and_those_of_glo_are():
    assert TrainConfig(model="vae").projection == TrainConfig(model="vae", projection="ball").projection == "none"
    assert TrainConfig().projection == "sphere"


@pytest.mark.parametrize(("name", "registry"), [("LOSSES", LOSSES), ("PROJECTIONS", PROJECTIONS), ("PRIORS", PRIORS)])
def test_the_names_are_those_of_the_functions_in_their_order(name, registry):
    assert getattr(config_module, name) == tuple(registry)


def test_every_start_of_the_codes_is_one_of_its_own():
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3)).astype(np.uint8)
    starts = []
    for name in CODE_INITS:
        config = TrainConfig(code_init=name, num_dims=5)
        setting = types.SimpleNamespace(config=config, images=types.SimpleNamespace(array=lambda: images))
        starts.append(np.concatenate([codes for _, codes in initial_codes(setting)]))
    assert CODE_INITS == ("pca", "normal") and starts[0].shape == starts[1].shape == (12, 5)
    assert np.abs(starts[0].mean(axis=0)).max() < 1e-5 < np.abs(starts[1].mean(axis=0)).max()  # only principal components are centred


def test_a_wrong_setting_is_refused_without_tensorflow_and_numpy():
    program = "import sys, glo_lib.config; print(sorted({'tensorflow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
