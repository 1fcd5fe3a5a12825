"""The settings of a training run: their meaning, their allowed values, and the defaults that depend on other settings.

This module does not import TensorFlow, so a wrong setting is refused immediately. It lists the names of the losses, projections,
initialisations and priors; the functions with these names are in other modules, and a test compares the names.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from glo_lib.recipe import Phase, parse_loss, parse_phases

LOSSES = ("mse", "mpse", "lap1", "perceptual")  # glo_lib.losses
PROJECTIONS = ("sphere", "ball", "none")  # glo_lib.projection
CODE_INITS = ("pca", "normal")  # glo_lib.training.build.initial_codes
GAUSSIANS = ("unit Gaussian", "diagonal Gaussian", "full Gaussian", "Gaussian mixture")
QUICK_PRIORS = (*GAUSSIANS, "kernel density", "neighbours")  # those that need not be learned for a minute
PRIORS = (*QUICK_PRIORS, "imle", "flow")  # glo_lib.inference.priors
DEFAULT_PRIOR = "mixture"  # of the command line, which says why
PRECISIONS = ("float32", "bfloat16", "float16", "auto")
ROUTES = ("auto", "fast", "slim")  # glo_lib.graph.layers, tf-slim
SCHEDULES = ("cosine", "constant")
OPTIMIZERS = ("adam", "sgd")
BAD_IMAGE_POLICIES = ("error", "skip")
SPLITS = ("auto", "share", "partition", "identity")  # glo_lib.images.split
CROPS = ("square", "tight", "landmarks")  # glo_lib.images.crop, glo_lib.images.landmarks
SWITCHES = ("auto", "true", "false")
MODELS = ("glo", "vae")
VAE_SETTINGS = ("kl_weight", "learned_noise")  # without effect on a GLO model, which has no KL divergence
# Settings that may change when a run is resumed, because they only affect its length, its reports and its folders. The images are compared
# by the manifest of the run folder, so what decides which of them are taken may change too.
CHANGEABLE_ON_RESUME = frozenset(
    {
        *("run_dir", "data_dir", "held_out_by", "on_bad_image", "max_megapixels"),
        *("num_epochs", "max_seconds", "summary_steps", "checkpoint_seconds", "answer_seconds", "gpu_code_megabytes"),
        *("precision", "change_precision"),  # the precision of a run: glo_lib.runs.folder.record_hardware
    }
)

FIRST_SIZE = 4  # pixels a side after the decoder's first transposed convolution; each further one doubles it
IMAGE_SIZES = (32, 64, 128, 256)
# For 128 pixels these are the widths of the original experiment. 256 pixels have one block more at the fine end, 32 pixels two fewer.
# The widths for 64 pixels were chosen for runs of five minutes on photographs: still wider layers reconstruct training photographs better,
# but photographs of other people worse. All are at least 32, because oneDNN takes five times as long for batch normalisation of 24 channels
# in bfloat16 as of 32 (benchmarks/README.md).
NUM_FILTERS = {
    32: (256, 128, 64),
    64: (384, 128, 64, 32),
    128: (256, 128, 64, 64, 32),
    256: (256, 128, 64, 64, 32, 16),
}


def short_prior_name(prior: str) -> str:
    """Return the short name of a prior, as used on the command line.

    Example:
        >>> [short_prior_name(name) for name in PRIORS]
        ['unit', 'diagonal', 'full', 'mixture', 'kernel', 'neighbours', 'imle', 'flow']
    """
    return prior.replace("Gaussian", "").replace("density", "").strip()


def num_filters_for(image_size: int) -> tuple[int, ...]:
    """Return the decoder's default widths (number of filters of each layer but the last) for an image size.

    Args:
        image_size: pixels a side: 32, 64, 128 or 256.

    Raises:
        ValueError: the size is not one of these.

    Example:
        >>> num_filters_for(128)
        (256, 128, 64, 64, 32)
    """
    if image_size not in NUM_FILTERS:
        raise ValueError(f"image_size is {image_size!r}; the decoder draws images of {', '.join(map(str, IMAGE_SIZES))} pixels a side")
    return NUM_FILTERS[image_size]


def image_size_of(num_filters: Sequence[int]) -> int:
    """Return the image size, in pixels a side, of a decoder with these widths.

    Example:
        >>> image_size_of((256, 128, 64, 64, 32))
        128
    """
    return FIRST_SIZE * 2 ** len(num_filters)


def _setting(
    default: Any, meaning: str, allowed: tuple = (), least: float | None = None, above: float | None = None, most: float | None = None
) -> Any:
    """Return a dataclass field with the meaning and the bounds of a setting: a tuple of values, or numeric bounds."""
    metadata = {"meaning": meaning, "allowed": allowed, "least": least, "above": above, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run, which are checked when they are created.

    With the defaults a run on the embedded faces takes less than five minutes on two CPU cores. `describe` returns the meaning of each
    setting.

    Raises:
        ValueError: a value is not allowed; the message has the name of the setting, the value, and what is allowed.

    Example:
        >>> TrainConfig(image_size=128).num_filters
        (256, 128, 64, 64, 32)
        >>> TrainConfig(gpus=0)
        Traceback (most recent call last):
        ValueError: gpus is 0; it must be a whole number of at least 1 (number of towers, one on each device)
    """

    data_dir: str = _setting("", "folder or zip archive of images; empty: the embedded faces")
    num_samples: int = _setting(0, "number of images, the first in sorted order; 0: all of them (4,096 embedded faces)", least=0)
    held_out: float = _setting(0.0, "share of the images that is not trained on (split.split_images); 0: none", least=0, most=0.9)
    held_out_by: str = _setting(
        "auto", "partition: as CelebA's list says; share: at random; identity: whole people; auto: partition if found", allowed=SPLITS
    )
    tight_crop: bool = _setting(False, "crop the central 108 pixels instead of the short side; the same as crop tight")
    crop: str = _setting(
        "square", "square: the short side; tight: the central 108 pixels; landmarks: a face, after its eyes (CelebA's list)", allowed=CROPS
    )
    image_size: int = _setting(64, "pixels a side", allowed=IMAGE_SIZES)
    num_dims: int = _setting(64, "dimensions d of the latent codes", least=1)
    num_filters: tuple[int, ...] = _setting((), "widths of the decoder, as in 256-128-64-32; empty: those for the image size")
    kernel_size: int = _setting(3, "side of the decoder's kernels, in pixels", least=2)
    loss: str = _setting("mse", f"reconstruction loss: {', '.join(LOSSES)}, or a sum such as mse+0.5*perceptual")
    phases: str = _setting(
        "", "parts of the run with their losses, as in '0.2 mse, 0.8 mse+0.5*perceptual rate 0.3'; empty: one, with loss"
    )
    perceptual_blocks: int = _setting(6, "blocks of EfficientNet-Lite0 that the perceptual loss compares", least=1, most=16)
    projection: str = _setting("sphere", "set that the codes are projected to; always none for a VAE", allowed=PROJECTIONS)
    code_init: str = _setting("pca", "start of the codes", allowed=CODE_INITS)
    model: str = _setting("glo", "glo: a free code for each image; vae: codes from an encoder", allowed=MODELS)
    kl_weight: float = _setting(1.0, "beta, the weight of a VAE's KL divergence (vae.negative_elbo); glo has none", least=0)
    learned_noise: bool = _setting(False, "beta of a VAE is its squared error, as with pixels whose noise is learned; instead of kl_weight")
    gpus: int = _setting(1, "number of towers, one on each device", least=1)
    batch_size: int = _setting(32, "images per step and tower", least=1)
    optimizer: str = _setting(
        "adam", "adam, row-wise for the codes; sgd: plain gradient descent, which the paper is said to use", allowed=OPTIMIZERS
    )
    learning_rate: float = _setting(3e-3, "rate for the decoder", above=0)
    code_learning_rate: float = _setting(0.1, "rate for the codes", above=0)
    schedule: str = _setting("cosine", "both rates over each phase: falling to zero along a half cosine, or constant", allowed=SCHEDULES)
    average_decay: float = _setting(0.9995, "decay of the average of the decoder's weights, made when there are several towers", least=0)
    num_epochs: int = _setting(400, "visits to every image", least=1)
    max_seconds: float = _setting(180.0, "maximum training time in seconds, if the epochs are not done before; 0: no limit", least=0)
    precision: str = _setting(
        "auto", "number format of the matrix products; auto: half precision where there are units for it", allowed=PRECISIONS
    )
    change_precision: bool = _setting(False, "allow a run to be continued with another precision than it began with")
    layer_route: str = _setting("auto", "layers of the decoder; auto: fast on CPUs, slim's own on GPUs", allowed=ROUTES)
    deterministic: str = _setting("auto", "same bits each time; auto: true on CPUs, false on GPUs, where it is slower", allowed=SWITCHES)
    gpu_code_megabytes: int = _setting(1024, "largest table of codes, with its two moments, that is kept on a GPU", least=0)
    seed: int = _setting(0, "of weights, codes and order of the images", least=0, most=2**63 - 1)
    run_dir: str = _setting("", "folder of the run; empty: one in the cache, named after the settings and the data")
    summary_steps: int = _setting(100, "steps between two summaries for TensorBoard", least=1)
    checkpoint_seconds: int = _setting(600, "longest time between two checkpoints in seconds, and at most a tenth of max_seconds", least=1)
    answer_seconds: float = _setting(60.0, "seconds that a machine of TF_CONFIG may take to answer, and a step with it", above=0)
    on_bad_image: str = _setting("error", "images that cannot be read: refuse them all, or skip them", allowed=BAD_IMAGE_POLICIES)
    max_megapixels: float = _setting(64.0, "largest image that is read, in millions of pixels; a larger one cannot be read", above=0)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = _check_value(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self._match_crops()
        self._check_losses()
        self._check_vae()
        if not self.num_filters:
            object.__setattr__(self, "num_filters", num_filters_for(self.image_size))
        if self.model == "vae":
            object.__setattr__(self, "projection", "none")  # the KL divergence keeps its codes near the prior
        if image_size_of(self.num_filters) != self.image_size:
            raise ValueError(
                f"num_filters is {'-'.join(map(str, self.num_filters))}, which draws {image_size_of(self.num_filters)} pixels a side, "
                f"and image_size is {self.image_size}; give {int(math.log2(self.image_size // 4))} widths"
            )
        if self.average_decay >= 1:
            raise ValueError(f"average_decay is {self.average_decay}; it must be below 1")
        if self.held_out_by != "auto" and not self.held_out:
            raise ValueError(
                f"held_out_by is {self.held_out_by!r}, and held_out is 0, so nothing is held out; give held_out too, a share such as 0.1"
            )

    def _match_crops(self) -> None:
        """Give ``tight_crop``, the older setting, and ``crop`` the same meaning."""
        if self.tight_crop and self.crop == "landmarks":
            raise ValueError("tight_crop is True, and crop is 'landmarks'; give one of the two (crop tight means the same as tight_crop)")
        object.__setattr__(self, "crop", "tight" if self.tight_crop else self.crop)
        object.__setattr__(self, "tight_crop", self.crop == "tight")

    def _check_losses(self) -> None:
        for name, parse in (("loss", parse_loss), ("phases", parse_phases)):
            text = getattr(self, name)
            try:
                if text or name == "loss":
                    parse(text, LOSSES)
            except ValueError as error:
                meaning = type(self).__dataclass_fields__[name].metadata["meaning"]
                raise ValueError(f"{name} is {text!r}; {error} ({meaning})") from None
        if self.phases:
            last = self.recipe[-1].loss
            if self.loss not in (type(self).__dataclass_fields__["loss"].default, last):
                raise ValueError(f"loss is {self.loss!r}, and phases name losses of their own; leave loss out")
            object.__setattr__(self, "loss", last)

    def _check_vae(self) -> None:
        for name in VAE_SETTINGS if self.model == "glo" else ():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, and model is 'glo', which has no KL divergence; "
                    f"give model 'vae' too, or leave {name} out"
                )
        other = next((phase.loss for phase in self.recipe if phase.loss != "mse"), None)
        if self.learned_noise and other is not None:
            raise ValueError(f"learned_noise is True, and the loss is {other!r}; Gaussian noise belongs to the squared error, loss mse")

    @property
    def recipe(self) -> tuple[Phase, ...]:
        """The phases of the run, one after the other; with the default, one phase that lasts for the whole run.

        Example:
            >>> phases = "0.2 mse, 0.8 lap1"
            >>> both = TrainConfig(phases=phases)
            >>> [phase.loss for phase in both.recipe]
            ['mse', 'lap1']
        """
        return parse_phases(self.phases, LOSSES) if self.phases else (Phase(0.0, 1.0, self.loss),)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "TrainConfig":
        """Create settings from the parameters of a notebook, whose values may be text from a command line.

        Args:
            parameters: names and values; text is converted to the type of the setting ("2", "1e-3", "true", "256-128-64-32").

        Raises:
            ValueError: a name is not a setting, or a value is not allowed.

        Example:
            >>> TrainConfig.from_parameters({"gpus": "2", "tight_crop": "true"}).gpus
            2
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(parameters) - known, key=str)
        if unknown:
            meant = dict.fromkeys(near for name in unknown for near in difflib.get_close_matches(str(name), sorted(known), n=1))
            hint = f"did you mean {', '.join(meant)}? " if meant else ""
            raise ValueError(f"unknown parameter {', '.join(map(repr, unknown))}; {hint}known are {', '.join(sorted(known))}")
        return cls(**parameters)

    @classmethod
    def from_stored(cls, settings: Mapping[str, Any]) -> "TrainConfig":
        """Create settings from those that were stored with a run or a model, perhaps by an earlier version.

        Earlier versions accepted `VAE_SETTINGS` for a GLO model too. They had no effect, so they get their defaults here.

        Raises:
            ValueError: as for `from_parameters`.

        Example:
            >>> TrainConfig.from_stored({"model": "glo", "kl_weight": 0.1}).kl_weight
            1.0
        """
        without_effect = VAE_SETTINGS if settings.get("model", "glo") == "glo" else ()
        return cls.from_parameters({name: value for name, value in settings.items() if name not in without_effect})

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values for JSON or YAML; `from_parameters` converts them back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()}

    def num_steps(self, num_images: int) -> int:
        """Return the number of steps of the whole run, in which every image is visited ``num_epochs`` times.

        Example:
            >>> TrainConfig(batch_size=32, gpus=2, num_epochs=3).num_steps(num_images=100)
            5
        """
        return math.ceil(self.num_epochs * num_images / (self.batch_size * self.gpus))

    def check_fits(self, num_images: int) -> None:
        """Check that a run with these settings is possible with a number of images.

        Raises:
            ValueError: the batches of all towers are larger than the data, there are fewer principal components than dimensions, or the
                codes have more dimensions than the images have values; the message names everything that does not fit, and values that
                fit together.
        """
        misfit = self.describe_misfit(num_images)
        if misfit:
            raise ValueError(misfit)

    def describe_misfit(self, num_images: int, problems: Sequence[str] = (), cures: Mapping[str, Any] = MappingProxyType({})) -> str:
        """Describe everything that does not fit a number of images, with values that fit together.

        Args:
            num_images: number of training images.
            problems: what else does not fit.
            cures: settings that solve these problems, and with which there are ``num_images``.

        Returns:
            Several lines; empty if everything fits.

        Example:
            >>> print(TrainConfig(num_dims=8).describe_misfit(num_images=9))
            the settings do not fit the images:
              batch_size is 32 on each of 1 tower(s), and there are 9 images to train on; it can be at most 9
            These values fit together: -p batch_size 9
        """
        found, values = list(problems), dict(cures)
        are = "is 1 image" if num_images == 1 else f"are {num_images} images"
        if self.batch_size * self.gpus > num_images:
            gpus = min(self.gpus, num_images)
            values |= {"batch_size": num_images // gpus} | ({} if gpus == self.gpus else {"gpus": gpus})
            limit = f"it can be at most {num_images // gpus}" if gpus == self.gpus else "not even one for each tower"
            found.append(f"batch_size is {self.batch_size} on each of {self.gpus} tower(s), and there {are} to train on; {limit}")
        most, entries = num_images - 1, 3 * self.image_size**2
        if self.num_dims > entries:
            values["num_dims"] = entries
            size = f"{self.image_size}x{self.image_size}"
            found.append(f"num_dims is {self.num_dims}, and an image of {size} pixels has {entries} values; give at most {entries}")
        if self.model == "glo" and self.code_init == "pca" and self.num_dims > most:
            # The sphere in one dimension is two points, so that one component would be of no use.
            if most > 1:
                values["num_dims"] = min(most, entries)
            else:
                values["code_init"] = "normal"
            components = f"{most} principal component{'' if most == 1 else 's'} to start from"
            advice = f"give at most {most}, or code_init 'normal'" if most else "give code_init 'normal'"
            found.append(f"num_dims is {self.num_dims}, and there {are}, with {components}; {advice}")
        together = " ".join(f"-p {name} {value}" for name, value in values.items())
        return "\n  ".join(["the settings do not fit the images:", *found]) + f"\nThese values fit together: {together}" if found else ""

    def differences(self, other: "TrainConfig") -> list[str]:
        """Return the differences that prevent one run from resuming the other, as lines "name: value, not other value"."""
        return [
            f"{name}: {value!r}, not {getattr(other, name)!r}"
            for name, value in dataclasses.asdict(self).items()
            if name not in CHANGEABLE_ON_RESUME and value != getattr(other, name)
        ]


def describe(config: TrainConfig) -> list[tuple[str, Any, str]]:
    """Return name, value and meaning of every setting, in order."""
    return [(field.name, getattr(config, field.name), field.metadata["meaning"]) for field in dataclasses.fields(config)]


def _check_value(field: dataclasses.Field, value: Any) -> Any:
    """Convert a value to the type of the field's default and check it; raise a `ValueError` that names the setting if it is wrong."""
    kind, metadata = type(field.default), field.metadata
    if kind is str and _is_bool(value) and str(value).lower() in metadata["allowed"]:
        value = str(value).lower()  # a command line turns the words true and false into truth values
    try:
        value = PARSERS[kind](value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{field.name} is {value!r}; {_describe_allowed(metadata, kind)} ({metadata['meaning']}){_hint(field)}") from None
    outside = (
        (metadata["allowed"] and value not in metadata["allowed"])
        or (metadata["least"] is not None and not value >= metadata["least"])
        or (metadata["above"] is not None and not value > metadata["above"])
        or (metadata["most"] is not None and not value <= metadata["most"])
    )
    if outside:
        raise ValueError(f"{field.name} is {value!r}; {_describe_allowed(metadata, kind)} ({metadata['meaning']})")
    return value


def _describe_allowed(metadata: Mapping[str, Any], kind: type) -> str:
    """Describe the allowed values of a setting, for an error message."""
    if metadata["allowed"]:
        return f"allowed are {', '.join(map(str, metadata['allowed']))}"
    if kind is tuple:
        return "it must be widths such as 256-128-64-32, each at least 1"
    noun = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}[kind]
    bound = f" of at least {metadata['least']}" if metadata["least"] is not None else ""
    top = f" and at most {metadata['most']}" if metadata["most"] is not None else ""
    return f"it must be {noun}{bound}{top}" + (f" above {metadata['above']}" if metadata["above"] is not None else "")


def _hint(field: dataclasses.Field) -> str:
    """Say how to pass a text as it is, if a setting names a folder: papermill and YAML take some of them for numbers or truth values."""
    if field.name not in ("data_dir", "run_dir"):
        return ""
    name = field.name
    return f"; papermill's -p takes a text such as 2024_05 for a number: give -r {name} 2024_05, or {name}: '2024_05' in a YAML file"


def _parse_bool(value: Any) -> bool:
    words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    word = str(value).strip().lower()
    if word not in words:
        raise ValueError
    return words[word]


def _is_bool(value: Any) -> bool:
    """Return whether a value is a bool of Python or NumPy: Python treats bools as numbers, but as a setting they are a mistake."""
    return type(value).__name__ in ("bool", "bool_")


def _parse_int(value: Any) -> int:
    if _is_bool(value) or (not isinstance(value, str) and value != int(value)):
        raise ValueError
    return int(value)


def _parse_float(value: Any) -> float:
    if _is_bool(value) or not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _parse_str(value: Any) -> str:
    if not isinstance(value, str) and not hasattr(value, "__fspath__"):
        raise ValueError
    return str(value)


def _parse_widths(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        value = value.replace(",", "-").split("-") if value.strip() else ()
    if isinstance(value, bytes):
        raise ValueError
    widths = tuple(_parse_int(width) for width in value)
    if any(width < 1 for width in widths):
        raise ValueError
    return widths


PARSERS = {bool: _parse_bool, int: _parse_int, float: _parse_float, str: _parse_str, tuple: _parse_widths}
