"""Judge a run: compare its reconstructions and samples with photographs that it was not trained on, in the features of trained networks.

`judge_run` adds what the `glo_lib.evaluation.judges` find to ``metrics.json``, and `markdown_table` shows it::

    python -m glo_lib judge --run RUN
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glo_lib import faces
from glo_lib.config import QUICK_PRIORS, TrainConfig
from glo_lib.evaluation.judges import TITLES, Judge, compare, compare_people, installed_judges, missing_judges
from glo_lib.evaluation.metrics import fit_components, psnr
from glo_lib.images.files import list_images
from glo_lib.images.pixels import ImageRows, slices
from glo_lib.images.store import decode_as_in
from glo_lib.inference.encoder import load_encoder
from glo_lib.inference.encoding import encode, fit_code_regression
from glo_lib.inference.model import TrainedModel, check_one_code_per_image, load
from glo_lib.inference.priors import PRIORS, sample
from glo_lib.runs.folder import lock_run_folder, read_json, write_json
from glo_lib.runs.images import HeldOut, held_out_images, is_pattern, training_images
from glo_lib.runs.run import Run, read_run
from glo_lib.system.progress import slow_progress

NUM_JUDGED = 1000  # images of each kind
LEAST_JUDGED = 10  # fewer images say nothing
IMAGES_PER_BLOCK = 250  # decoded at once; at 256 pixels these are 200 MB
ENCODING_STEPS = 100
NEW_FACES_SEED = 1  # of drawn faces that no run was trained on
ORIGINALS = {"training": "floor", "held_out": "reference"}  # kind of reconstructions -> kind of the photographs that they belong to
HEADINGS = {
    "floor": "training images",
    "training": "reconstructions of training images",
    "held_out": "reconstructions of held-out images",
}
COLUMNS = {
    "frechet_distance": "Fréchet distance",
    "precision": "precision",
    "recall": "recall",
    "memorisation": "memorisation",
    "same_person": "same person",
}

Source = Callable[[slice], np.ndarray]  # gives some of the images of a kind


class TooFewImages(ValueError):
    """Raised when a run has fewer images than can be judged."""


class Reference(NamedTuple):
    """The photographs that a run is compared with.

    Attributes:
        read: slice -> (rows, size, size, 3) uint8, some of the n photographs.
        rows: (n,) numbers of as many training images, which are compared with them, themselves and their reconstructions.
        source: what the photographs are, in words.
        unseen: whether the model was trained on other images only.
    """

    read: Source
    rows: np.ndarray
    source: str
    unseen: bool


def judge_run(
    run_dir: str | Path,
    num_judged: int = NUM_JUDGED,
    data_dir: str | Path | None = None,
    seed: int = 0,
    priors: Sequence[str] = QUICK_PRIORS,
) -> dict[str, Any]:
    """Judge a run that was trained and evaluated, and add the result to its ``metrics.json`` under the key ``judges``.

    The reference is the held-out images of the run; for the embedded faces without held-out images, faces that are drawn for this purpose;
    otherwise a part of the training images, and then what is compared with it belongs to the others. If files were added to the folder or
    removed from it since the training, the reference is chosen from all images there that the run was not trained on
    (`glo_lib.runs.images.held_out_images`), and ``reference`` says so. Codes of unseen images are found by optimisation
    (`glo_lib.inference.encoding.encode`), or by the encoder of a VAE.

    Args:
        run_dir: run folder.
        num_judged: number n of images of each kind, or fewer if there are not so many; 0: as many as there are.
        data_dir: where the images of the training and the held-out images are now, see `glo_lib.runs.images.training_images`.
        seed: seed of the choice of images and of the samples.
        priors: keys of `glo_lib.inference.PRIORS`. Default: those that need not be learned, because learning takes up to a minute each.

    Returns:
        What was added: ``reference`` (in words), ``num_images``, ``psnr_training_db`` and, if the model has not been trained on the
        reference, ``psnr_held_out_db``, the means over these images, ``trained_with`` (judges whose network was part of the loss, which are
        not impartial), ``missing`` (a line for each judge that is not installed, or why nothing was judged: there are too few images),
        and for each judge the numbers of `glo_lib.evaluation.judges.compare` for

        - ``floor``: training photographs. This is what a perfect model would reach, so compare the other numbers with it;
        - ``training``: their reconstructions;
        - ``held_out``: reconstructions of the reference, if the model has not been trained on it;
        - ``samples``: name of a prior -> its samples.

        ``memorisation``, where the reference is not among the training images, is the median distance of the features to those of the
        nearest training image, divided by that of the reference. It has two controls: the reference itself has 1, and ``training`` shows
        what copies of training images would have after decoding. If a judge recognises people, reconstructions have the numbers of
        `glo_lib.evaluation.judges.compare_people`, and ``floor`` has those of photographs of different people. Without any judge nothing
        is computed.

    Raises:
        ValueError: the newest checkpoint has not been evaluated, or the images are not those of the training.
        FileNotFoundError: the folder holds no run, or the images do not exist.
        RunFolderInUse: another process is training in the folder.

    Example:
        ``print(markdown_table(judge_run("my_run")))``
    """
    if 0 != num_judged < LEAST_JUDGED:
        raise ValueError(f"num_judged is {num_judged}; give at least {LEAST_JUDGED}, or 0 for as many images as there are")
    folder = Path(run_dir)
    read_run(folder)  # refuses a folder that holds no run, before a lock is written to it
    with lock_run_folder(folder):
        run = read_run(folder)
        metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
        if metrics.get("steps") != run.progress.step:
            raise ValueError(f"{str(folder)!r} has not been evaluated after its last step, {run.progress.step}; train it to its end first")
        judges, judgement = installed_judges(run.config.crop != "square"), {"missing": missing_judges()}
        try:
            if judges:
                judgement |= _judge(judges, run, num_judged, data_dir, seed, priors)
        except TooFewImages as error:
            judgement["missing"] = [str(error)]
        write_json(folder / "metrics.json", {**metrics, "judges": judgement})
    return judgement


def _judge(
    judges: Sequence[Judge], run: Run, num_judged: int, data_dir: str | Path | None, seed: int, priors: Sequence[str]
) -> dict[str, Any]:
    model, training = load(run), training_images(run.folder, data_dir)
    images = training.array()
    check_one_code_per_image(model.codes, images)
    held_out = held_out_images(run.folder, training.filenames, data_dir) if run.config.held_out else None
    reference = find_reference(run.config, images, held_out, num_judged, data_dir, seed)
    sources = _sources(run, model, images, reference, seed, priors)
    count = len(reference.rows)
    with slow_progress("judging", len(sources) * count + (len(images) if reference.unseen else 0), " images") as bar:
        found, decibels = {}, {}
        for kind, source in sources.items():
            found[kind], decibels[kind] = _features(judges, source, sources.get(ORIGINALS.get(kind, "")), count, bar.update)
        nearest = _nearest_training(judges, found, images, bar.update) if reference.unseen else {}
    numbers = {judge.name: _numbers(judge, {kind: features[judge.name] for kind, features in found.items()}) for judge in judges}
    for (name, kind), distance in nearest.items():
        if kind in numbers[name] and kind != "floor":
            numbers[name][kind]["memorisation"] = distance / nearest[name, "reference"]
    heading = {"reference": reference.source, "num_images": count, "trained_with": _judges_in_loss(run.config)}
    heading |= {f"psnr_{kind}_db": float(decibels[kind].mean()) for kind in ORIGINALS if kind in decibels}
    return heading | {name: _gather_samples(kinds) for name, kinds in numbers.items()}


def _judges_in_loss(config: TrainConfig) -> list[str]:
    return ["efficientnet_lite0"] if any("perceptual" in phase.losses for phase in config.recipe) else []


def find_reference(
    config: TrainConfig,
    images: ImageRows,
    held_out: HeldOut | None,
    num_judged: int = NUM_JUDGED,
    data_dir: str | Path | None = None,
    seed: int = 0,
) -> Reference:
    """Find the photographs that a run is compared with, see `judge_run`.

    Args:
        config: the settings of the run.
        images: (N, size, size, 3) uint8, its training images.
        held_out: from `glo_lib.runs.images.held_out_images`; None if no image was held out.
        num_judged: number of images, or 0.
        data_dir: where the images of the training are now.
        seed: seed of the choice.

    Raises:
        TooFewImages: there are fewer than ten images of each kind.

    Example:
        ``find_reference(config, images, held_out_images("my_run", training_images("my_run").filenames)).source``
    """
    order = np.random.default_rng(seed).permutation(len(images))
    if config.data_dir and held_out is None:
        count = _check_count(min(num_judged or len(images), len(images) // 2))
        chosen = np.sort(order[:count])
        source = f"{count:,} of the training images themselves, because none was held out (held_out)"
        return Reference(lambda part: images[chosen[part]], np.sort(order[count : 2 * count]), source, False)
    if held_out is not None:
        files, kind, note = held_out
        wanted = _check_count(min(num_judged or len(files), len(files), len(images)), kind)
        files = [files[number] for number in np.sort(np.random.default_rng(seed).permutation(len(files))[:wanted])]
    else:
        wanted, kind, note = min(num_judged or len(images), len(images)), "faces that were drawn for this purpose", ""
        files = list_images(faces.load_faces(wanted, NEW_FACES_SEED))
    folder = data_dir or config.data_dir
    decoded = decode_as_in(config, files, None if is_pattern(folder) else folder, on_bad_image="skip")
    count = _check_count(decoded.num_images, kind)
    photographs = decoded.array()
    return Reference(lambda part: photographs[part], np.sort(order[:count]), f"{count:,} {kind}" + (f" ({note})" if note else ""), True)


def _check_count(count: int, kind: str = "") -> int:
    if count < LEAST_JUDGED:
        found = f"{count} {kind}".rstrip()
        raise TooFewImages(
            f"networks judge at least {LEAST_JUDGED} images of each kind, and here there are {found}; give more images, or hold out more"
        )
    return count


def _sources(run: Run, model: TrainedModel, images: ImageRows, reference: Reference, seed: int, priors: Sequence[str]) -> dict[str, Source]:
    """Return what is judged: the reference first, then training photographs, reconstructions, and samples of each prior."""
    rows = reference.rows
    sources = {
        "reference": reference.read,
        "floor": lambda part: images[rows[part]],
        "training": lambda part: model.decode(model.codes[rows[part]]),
    }
    if reference.unseen:
        find_codes = code_finder(run, model, images)
        sources["held_out"] = lambda part: model.decode(find_codes(reference.read(part)))
    samples = {prior: sample(model, prior, len(rows), seed) for prior in priors}
    return sources | {prior: lambda part, codes=codes: model.decode(codes[part]) for prior, codes in samples.items()}


def code_finder(run: Run, model: TrainedModel, images: ImageRows) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that finds codes of images that the model was not trained on, as `judge_run` does.

    Args:
        run: the run, see `glo_lib.runs.run.read_run`.
        model: its model.
        images: (N, size, size, 3), the images that it was trained on.

    Returns:
        Images (n, size, size, 3) -> codes (n, d) float32: the means of the encoder of a VAE, or codes found by optimisation.

    Example:
        ``code_finder(read_run("my_run"), load("my_run"), images)(photographs)``
    """
    if run.config.model == "vae":
        encoder = load_encoder(run)
        return lambda photographs: encoder.encode(photographs).mean
    return code_search(model, images)


def code_search(model: TrainedModel, images: ImageRows) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that finds codes by optimisation, as `judge_run` does for a GLO model. Arguments and result: `code_finder`."""
    regression = fit_code_regression(images, model)
    return lambda photographs: encode(model, photographs, regression, restarts=1, steps=ENCODING_STEPS).codes


def _features(
    judges: Sequence[Judge], source: Source, originals: Source | None, count: int, report: Callable[[int], Any]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the features of each judge, and for reconstructions the PSNR to their originals, (n,) dB.

    The images are made block by block, and once for all judges.
    """
    parts: dict[str, list[np.ndarray]] = {judge.name: [] for judge in judges}
    decibels = [np.zeros(0)]
    for rows in slices(count, IMAGES_PER_BLOCK):
        block = source(rows)
        for judge in judges:
            parts[judge.name].append(judge.features(block))
        if originals is not None:
            decibels.append(psnr(originals(rows), block))
        report(len(block))
    return {name: np.concatenate(features) for name, features in parts.items()}, np.concatenate(decibels)


def _nearest_training(
    judges: Sequence[Judge], found: dict[str, dict[str, np.ndarray]], images: ImageRows, report: Callable[[int], Any]
) -> dict[tuple[str, str], float]:
    """Return the median distance of each judge's features of each kind to those of the nearest training image.

    The training images are read once, in blocks, and their features are not kept.
    """
    from sklearn.metrics import pairwise_distances_argmin_min  # imported here because the import takes a second

    nearest = {(judge.name, kind): np.full(len(found[kind][judge.name]), np.inf) for judge in judges for kind in found}
    for rows in slices(len(images), IMAGES_PER_BLOCK):
        block = images[rows]
        for judge in judges:
            features = judge.features(block)
            for kind in found:
                _, distances = pairwise_distances_argmin_min(found[kind][judge.name], features)
                nearest[judge.name, kind] = np.minimum(nearest[judge.name, kind], distances)
        report(len(block))
    return {key: float(np.median(distances)) for key, distances in nearest.items()}


def _numbers(judge: Judge, found: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return what one judge says of each kind of image."""
    originals = {**ORIGINALS, "floor": "reference"}  # the floor's are other people
    components = fit_components(found["reference"])
    numbers = {}
    for kind in found.keys() - {"reference"}:
        numbers[kind] = compare(found[kind], found["reference"], components, paired=ORIGINALS.get(kind) == "reference")
        if judge.describe_people and kind in originals:
            numbers[kind] |= compare_people(judge.describe_people(found[originals[kind]]), judge.describe_people(found[kind]))
    return {kind: numbers[kind] for kind in found if kind in numbers}


def _gather_samples(numbers: dict[str, Any]) -> dict[str, Any]:
    kinds = {kind: values for kind, values in numbers.items() if kind not in PRIORS}
    return {**kinds, "samples": {prior: numbers[prior] for prior in PRIORS if prior in numbers}}


def markdown_table(judgement: dict[str, Any]) -> str:
    """Format a Markdown table for each judge, impartial ones first, and a line for each judge that is not installed.

    Args:
        judgement: from `judge_run`, or ``judges`` in ``metrics.json``.

    Example:
        >>> print(markdown_table({"missing": ["nothing is installed"]}))
        nothing is installed
    """
    partial = judgement.get("trained_with", [])
    tables = [_table(name, judgement) for name in sorted(TITLES, key=partial.__contains__) if name in judgement]
    return "\n\n".join([*tables, *judgement["missing"]])


def _table(name: str, judgement: dict[str, Any]) -> str:
    kinds = judgement[name]
    rows = {HEADINGS[kind]: kinds[kind] for kind in HEADINGS if kind in kinds}
    rows |= {f"samples, {prior}": values for prior, values in kinds["samples"].items()}
    columns = [column for column in COLUMNS if any(column in values for values in rows.values())]
    note = " (the loss used this network, so it is not impartial)" if name in judgement["trained_with"] else ""
    lines = [
        f"{TITLES[name]}{note}: {judgement['num_images']:,} images of each kind, compared with {judgement['reference']}",
        "",
        "| " + " | ".join(["", "kernel distance × 1000", *(COLUMNS[column] for column in columns)]) + " |",
        "|---|" + "--:|" * (1 + len(columns)),
    ]
    for heading, values in rows.items():
        distance = f"{1000 * values['kernel_distance']:.1f} ± {1000 * values['standard_error']:.1f}"
        cells = [f"{values[column]:.2f}" if column in values else "" for column in columns]
        lines.append("| " + " | ".join([heading, distance, *cells]) + " |")
    return "\n".join(lines)
