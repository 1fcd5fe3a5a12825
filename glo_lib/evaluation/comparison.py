"""Compare GLO, the VAE and principal components on the same images, by the same measures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glo_lib import inference
from glo_lib.codes import fit_pca
from glo_lib.config import GAUSSIANS, TrainConfig
from glo_lib.evaluation.features import AttributeClassifier, Features, pca_features
from glo_lib.evaluation.judges import TITLES, Judge, compare_people
from glo_lib.evaluation.metrics import (
    frechet_distance,
    kernel_distance,
    memorisation_ratio,
    precision_recall,
    psnr,
    relative_sharpness,
    ssim,
)
from glo_lib.images.pixels import ImageRows
from glo_lib.images.split import Split
from glo_lib.images.store import decode_as_in

ATTRIBUTES_NAME = "list_attr_celeba.txt"
FEATURE_DIMS = 32
MAX_HELD_OUT = 2000
PARTS = ("training", "held_out")
HEADINGS = {
    "psnr_training": "PSNR training, dB",
    "psnr_held_out": "PSNR held out, dB",
    "ssim_training": "SSIM training",
    "ssim_held_out": "SSIM held out",
    "sharpness": "sharpness",
    "frechet_pixels": "Fréchet, pixels",
    "frechet_attributes": "Fréchet, attributes",
    "precision": "precision",
    "recall": "recall",
    "memorisation": "memorisation",
}
MEASURES = tuple(HEADINGS)
JUDGED_RECONSTRUCTIONS = {
    **{
        f"kernel_{part}_{judge}": f"kernel distance × 1000, {part.replace('_', ' ')}, {TITLES[judge]}" for judge in TITLES for part in PARTS
    },
    **{f"same_person_{part}": f"same person, {part.replace('_', ' ')}" for part in PARTS},
}
JUDGED_SAMPLES = {
    **{f"kernel_{judge}": f"kernel distance × 1000, {TITLES[judge]}" for judge in TITLES},
    **{f"memorisation_{judge}": f"memorisation, {TITLES[judge]}" for judge in TITLES},
}
RECONSTRUCTION_MEASURES, SAMPLE_MEASURES = (*MEASURES[:4], *JUDGED_RECONSTRUCTIONS), (*MEASURES[4:], *JUDGED_SAMPLES)
ALL_HEADINGS = {**HEADINGS, **JUDGED_RECONSTRUCTIONS, **JUDGED_SAMPLES}


class JudgedPhotographs(NamedTuple):
    """The photographs of `ImageSets` as a judge sees them.

    Attributes:
        judge: a trained network.
        held_out: (n, k) features of the held-out images, the reference that images are compared with.
        reference: (n, k) features of the training images `ImageSets.reference`.
        training: (N, k) features of all training images.
    """

    judge: Judge
    held_out: np.ndarray
    reference: np.ndarray
    training: np.ndarray


class ImageSets(NamedTuple):
    """The images and features that all models are measured on.

    Attributes:
        training: (N, size, size, 3) uint8, memory-mapped from their file.
        rows: (n,) indices of evenly spaced training images, as many as there are held-out images.
        held_out: (n, size, size, 3) uint8.
        pixels: features for the Fréchet distance: principal components of the training images.
        attributes: features for the Fréchet distance, precision and recall, from a classifier of the attributes of the training images.
            Without a list of attributes these are the principal components.
        classifier: that classifier, or None.
        judged: the photographs as judges see them, if there are judges.
    """

    training: ImageRows
    rows: np.ndarray
    held_out: np.ndarray
    pixels: Features
    attributes: Features
    classifier: AttributeClassifier | None
    judged: tuple[JudgedPhotographs, ...] = ()

    @property
    def reference(self) -> np.ndarray:
        """The training images of `rows`: (n, size, size, 3) uint8."""
        return self.training[self.rows]


class Contender(NamedTuple):
    """The images of a model that are measured: arrays (n, size, size, 3) of float in [-1, 1].

    Attributes:
        name: name of the model.
        of_training: reconstructions of the training images `ImageSets.reference`.
        of_held_out: reconstructions of the held-out images.
        samples: name of a prior -> decoded samples.
    """

    name: str
    of_training: np.ndarray
    of_held_out: np.ndarray
    samples: dict[str, np.ndarray]


Row = dict[str, str | float]


def image_sets(config: TrainConfig, split: Split, seed: int = 0, judges: Sequence[Judge] = ()) -> ImageSets:
    """Decode the training and held-out images, and fit the features to the training images.

    Args:
        config: settings that hold the image size and the crop.
        split: from `glo_lib.images.split.find_split`. At most 2,000 held-out images are used.
        seed: seed of the classifier.
        judges: trained networks whose features are compared too, from `glo_lib.evaluation.judges.installed_judges`.
    """
    parts = (split.training, split.held_out)
    training, unseen = (decode_as_in(config, part, config.data_dir, progress=False).array() for part in parts)
    held_out = np.array(unseen[:MAX_HELD_OUT])
    rows = np.linspace(0, len(training) - 1, min(len(held_out), len(training))).astype(int)
    pixels = pca_features(training, min(FEATURE_DIMS, len(training) - 1))
    classifier = _fit_classifier(training, split.training, seed)
    features = classifier.features if classifier else pixels
    judged = tuple(_judge_photographs(judge, training, rows, held_out) for judge in judges)
    return ImageSets(training, rows, held_out, pixels, features, classifier, judged)


def _judge_photographs(judge: Judge, training: ImageRows, rows: np.ndarray, held_out: np.ndarray) -> JudgedPhotographs:
    of_training = judge.features(training)
    return JudgedPhotographs(judge, judge.features(held_out), of_training[rows], of_training)


def _fit_classifier(images: ImageRows, filenames: Sequence[str], seed: int) -> AttributeClassifier | None:
    folder = Path(filenames[0]).resolve().parent
    lists = [place / ATTRIBUTES_NAME for place in (folder, folder.parent) if (place / ATTRIBUTES_NAME).is_file()]
    if not lists:
        return None
    labels = inference.read_attributes(lists[0], filenames).values > 0
    return AttributeClassifier(images, labels[:, labels.any(axis=0) & ~labels.all(axis=0)], FEATURE_DIMS, seed=seed)


def glo_contender(
    run_dir: Path, sets: ImageSets, name: str = "GLO", seed: int = 0, steps: int = 100, priors: Sequence[str] = GAUSSIANS
) -> Contender:
    """Decode the images of a trained GLO: from its learned codes, from codes of held-out images, and from samples of its priors.

    The codes of the held-out images are found by optimisation (`glo_lib.inference.encode`).

    Args:
        run_dir: folder of the run.
        sets: the images.
        name: name of the model in the table.
        seed: seed of the samples.
        steps: steps of the optimisation.
        priors: keys of `glo_lib.inference.PRIORS`. Default: the Gaussian ones, which can be compared with a VAE's own prior.
    """
    model = inference.load(run_dir)
    regression = inference.fit_code_regression(sets.training, model)
    codes = inference.encode(model, sets.held_out, regression, restarts=1, steps=steps).codes
    samples = {prior: _decode_samples(model, prior, len(sets.rows), seed) for prior in priors}
    return Contender(name, model.decode(model.codes[sets.rows]), model.decode(codes), samples)


def vae_contender(
    run_dir: Path,
    sets: ImageSets,
    name: str = "VAE",
    seed: int = 0,
    priors: Sequence[str] = ("unit Gaussian",),
    search_steps: int = 0,
) -> Contender:
    """Decode the images of a trained VAE: from the means of its encoder, and from samples of its prior N(0, I).

    With the two last arguments it gets the freedom that GLO has: priors that are fitted afterwards, and codes that are optimised.

    Args:
        run_dir: folder of the run.
        sets: the images.
        name: name of the model in the table.
        seed: seed of the samples.
        priors: keys of `glo_lib.inference.PRIORS`. The unit Gaussian is the VAE's own; the others are fitted to the encoder's means.
        search_steps: steps of the search for codes of training and held-out images; 0: the encoder's means.
    """
    model, encoder = inference.load(run_dir), inference.load_encoder(run_dir)
    regression = inference.fit_code_regression(sets.training, model) if search_steps else None

    def codes_of(images: np.ndarray) -> np.ndarray:
        if regression is None:
            return encoder.encode(images).mean
        return inference.encode(model, images, regression, restarts=1, steps=search_steps).codes

    of_training, of_held_out = (model.decode(codes_of(images)) for images in (sets.reference, sets.held_out))
    samples = {prior: _decode_samples(model, prior, len(sets.rows), seed) for prior in priors}
    return Contender(name, of_training, of_held_out, samples)


def _decode_samples(model: inference.TrainedModel, prior: str, count: int, seed: int) -> np.ndarray:
    return model.decode(inference.sample(model, prior, count, seed))


def pca_contender(sets: ImageSets, num_dims: int, seed: int = 0) -> Contender:
    """Compute the linear baseline: reconstructions from principal components, and samples from a Gaussian fitted to their coefficients."""
    pca = fit_pca(sets.training, min(num_dims, len(sets.training) - 1))
    drawn = np.random.default_rng(seed).standard_normal((len(sets.rows), len(pca.scales)), dtype=np.float32) * pca.scales

    def images_of(coefficients: np.ndarray) -> np.ndarray:
        return np.clip(pca.inverse_transform(coefficients), -1, 1).reshape(-1, *sets.training.shape[1:])

    of_training, of_held_out = (images_of(pca.transform(images)) for images in (sets.reference, sets.held_out))
    return Contender("PCA", of_training, of_held_out, {"diagonal Gaussian": images_of(drawn)})


def measure(contender: Contender, sets: ImageSets) -> list[Row]:
    """Measure a model: one row of the table for each prior.

    Returns:
        Rows with ``model``, ``prior`` and the `MEASURES`. For the reconstructions these are PSNR (dB) and SSIM. For the samples they are
        the sharpness relative to the data, the Fréchet distances to `ImageSets.reference`, precision and recall of the features
        ``attributes``, and the memorisation ratio. If there are judges, the rows also have `JUDGED_RECONSTRUCTIONS` and `JUDGED_SAMPLES`,
        for which the reference is the held-out images.
    """
    reconstruction = {
        "psnr_training": float(psnr(sets.reference, contender.of_training).mean()),
        "psnr_held_out": float(psnr(sets.held_out, contender.of_held_out).mean()),
        "ssim_training": float(ssim(sets.reference, contender.of_training).mean()),
        "ssim_held_out": float(ssim(sets.held_out, contender.of_held_out).mean()),
        **_judge_reconstructions(contender, sets),
    }
    return [
        {"model": contender.name, "prior": prior, **reconstruction, **measure_samples(samples, sets)}
        for prior, samples in contender.samples.items()
    ]


def _judge_reconstructions(contender: Contender, sets: ImageSets) -> dict[str, float]:
    numbers = {}
    for judged in sets.judged:
        judge = judged.judge
        for part, images, originals in (
            ("training", contender.of_training, judged.reference),
            ("held_out", contender.of_held_out, judged.held_out),
        ):
            features = judge.features(images)
            numbers[f"kernel_{part}_{judge.name}"] = kernel_distance(features, judged.held_out, paired=part == "held_out").value
            if judge.describe_people:
                people = compare_people(judge.describe_people(originals), judge.describe_people(features))
                numbers[f"same_person_{part}"] = people["same_person"]
    return numbers


def measure_samples(samples: np.ndarray, sets: ImageSets) -> dict[str, float]:
    """Measure samples (n, size, size, 3), float in [-1, 1] or uint8: the part of a row that does not depend on reconstructions."""
    reference = sets.reference
    attributes, of_reference = sets.attributes(samples), sets.attributes(reference)
    precision, recall = precision_recall(of_reference, attributes)
    return {
        "sharpness": relative_sharpness(samples, reference),
        "frechet_pixels": frechet_distance(sets.pixels(samples), sets.pixels(reference)),
        "frechet_attributes": frechet_distance(attributes, of_reference),
        "precision": precision,
        "recall": recall,
        "memorisation": memorisation_ratio(samples, sets.held_out, sets.training),
        **_judge_samples([judged.judge.features(samples) for judged in sets.judged], sets),
    }


def _judge_samples(features_of_judges: Sequence[np.ndarray], sets: ImageSets) -> dict[str, float]:
    numbers = {}
    for features, judged in zip(features_of_judges, sets.judged, strict=True):
        numbers[f"kernel_{judged.judge.name}"] = kernel_distance(features, judged.held_out).value
        numbers[f"memorisation_{judged.judge.name}"] = memorisation_ratio(features, judged.held_out, judged.training)
    return numbers


def measure_data(sets: ImageSets) -> Row:
    """Measure held-out images as if they were samples: the row of a perfect sampler.

    Judges compare the held-out images themselves with samples, so here they compare them with training images.
    """
    numbers = measure_samples(sets.held_out, sets)
    for judged in sets.judged:
        numbers[f"kernel_{judged.judge.name}"] = kernel_distance(judged.reference, judged.held_out).value
    nothing = dict.fromkeys([*MEASURES, *(JUDGED_RECONSTRUCTIONS if sets.judged else ())], float("nan"))
    return {"model": "held-out images", "prior": "", **nothing, **numbers}


def average_rows(runs: Sequence[Sequence[Row]]) -> tuple[list[Row], list[Row]]:
    """Compute the mean and the sample standard deviation of each measure over runs with different seeds.

    Args:
        runs: the rows of the table for each seed, in the same order.

    Returns:
        Rows of means, and rows of standard deviations.

    Raises:
        ValueError: there are fewer than two runs, or their rows belong to different models or priors.
    """
    names = [[(row["model"], row["prior"]) for row in rows] for rows in runs]
    if len(runs) < 2 or any(other != names[0] for other in names):
        raise ValueError(f"{len(runs)} runs with the rows {names[:2]}; give at least two runs with the same rows")
    means, deviations = [], []
    for rows in zip(*runs, strict=True):
        values = {number: [row[number] for row in rows] for number in ALL_HEADINGS if number in rows[0]}
        names_of = {"model": rows[0]["model"], "prior": rows[0]["prior"]}
        means.append({**names_of, **{number: float(np.mean(value)) for number, value in values.items()}})
        deviations.append({**names_of, **{number: float(np.std(value, ddof=1)) for number, value in values.items()}})
    return means, deviations


def markdown_tables(rows: Sequence[Row], spread: Sequence[Row] | None = None) -> str:
    """Format two Markdown tables: reconstructions with a line for each model, and samples with a line for each model and prior.

    Args:
        rows: from `measure` and `measure_data`, or the means from `average_rows`.
        spread: standard deviations for each row. If given, cells read "mean ± deviation".

    Example:
        >>> print(markdown_tables([{"model": "GLO", "prior": "unit Gaussian", **dict.fromkeys(MEASURES, 0.5)}]).splitlines()[2])
        | GLO | 0.50 | 0.50 | 0.500 | 0.500 |
    """
    deviations: Sequence[Row | None] = [None] * len(rows) if spread is None else spread
    both = list(zip(rows, deviations, strict=True))
    first_of_each = {row["model"]: (row, deviation) for row, deviation in reversed(both)}
    of_models = [first_of_each[model] for model in dict.fromkeys(row["model"] for row in rows)]
    reconstructed = [(row, deviation) for row, deviation in of_models if not np.isnan(row[RECONSTRUCTION_MEASURES[0]])]
    return "\n\n".join([_table(reconstructed, ("model",), RECONSTRUCTION_MEASURES), _table(both, ("model", "prior"), SAMPLE_MEASURES)])


def _table(rows: Sequence[tuple[Row, Row | None]], names: Sequence[str], numbers: Sequence[str]) -> str:
    numbers = [number for number in numbers if all(number in row for row, _ in rows)]  # without judges there are fewer
    headings = [{"model": "model", "prior": "samples from", **ALL_HEADINGS}[name] for name in (*names, *numbers)]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(names) + "|--:" * len(numbers) + "|"]
    for row, deviation in rows:
        cells = [_cell(number, float(row[number]), None if deviation is None else float(deviation[number])) for number in numbers]
        lines.append("| " + " | ".join([*(str(row[name]) for name in names), *cells]) + " |")
    return "\n".join(lines)


def _cell(name: str, value: float, deviation: float | None) -> str:
    if np.isnan(value):
        return ""
    if name.startswith("kernel"):
        value, deviation = 1000 * value, None if deviation is None else 1000 * deviation
    digits = 1 if name.startswith("kernel") else 2 if name.startswith(("psnr", "frechet", "memorisation", "sharpness")) else 3
    return f"{value:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")
