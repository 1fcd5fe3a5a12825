"""Meaningful directions in the space of codes: principal components and attribute directions, and edits along them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glo_lib.images.celeba import read_rows, without_empty_ends


class PrincipalDirections(NamedTuple):
    """Principal components of codes.

    Attributes:
        mean: (d,).
        directions: (k, d) orthonormal rows in the order of decreasing variance. The largest entry of each row is positive.
        scales: (k,) standard deviation of the codes along each direction.
    """

    mean: np.ndarray
    directions: np.ndarray
    scales: np.ndarray


def principal_directions(codes: np.ndarray, num_directions: int) -> PrincipalDirections:
    """Return the principal components of codes.

    Args:
        codes: (n, d).
        num_directions: k, from 1 to d.

    Raises:
        ValueError: ``num_directions`` is not in that range.

    Example:
        >>> principal_directions(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 1).directions.tolist()
        [[1.0, 0.0]]
    """
    if not 1 <= num_directions <= codes.shape[1]:
        raise ValueError(f"num_directions is {num_directions}; codes of {codes.shape[1]} dimensions have 1 to {codes.shape[1]}")
    mean = codes.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(np.cov(codes.T.astype(np.float64), bias=True).reshape(len(mean), -1))
    directions = axes[:, ::-1][:, :num_directions].T
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1))
    scales = np.sqrt(np.maximum(variances[::-1][:num_directions], 0))
    return PrincipalDirections(mean.astype(np.float32), (directions * signs + 0.0).astype(np.float32), scales.astype(np.float32))


def walk(codes: np.ndarray, direction: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Move codes along a direction by each of several amounts. The results are not projected.

    Args:
        codes: (n, d).
        direction: (d,).
        amounts: k factors by which the direction is multiplied.

    Returns:
        (n, k, d).

    Example:
        >>> walk(np.array([[1.0, 0.0]]), np.array([0.0, 2.0]), [-1, 0, 1]).tolist()
        [[[1.0, -2.0], [1.0, 0.0], [1.0, 2.0]]]
    """
    return codes[:, None] + np.asarray(amounts, codes.dtype)[:, None] * direction


class Attributes(NamedTuple):
    """A table of image attributes.

    Attributes:
        names: names of the m columns.
        values: (n, m) float64. CelebA's attributes are 1 (present) and -1 (absent).
    """

    names: tuple[str, ...]
    values: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """Return the (n,) values of one attribute.

        Raises:
            ValueError: there is no attribute of that name.
        """
        if name not in self.names:
            raise ValueError(f"attribute is {name!r}; known are {', '.join(self.names)}")
        return self.values[:, self.names.index(name)]


def read_attributes(path: str | Path, filenames: Sequence[str | Path]) -> Attributes:
    """Read the attributes of image files from a table, in the order of the files.

    Args:
        path: CelebA's ``list_attr_celeba.txt``, or a CSV file whose first column is the file name of the image, such as Kaggle's
            ``list_attr_celeba.csv`` or the ``factors.csv`` of the embedded faces; see `glo_lib.images.celeba.read_rows`. Columns with
            values that are not finite numbers are left out.
        filenames: image files. Their folders are ignored, only the file names must be in the table.

    Returns:
        `Attributes` with one row for each file.

    Raises:
        FileNotFoundError: there is no file ``path``.
        ValueError: the table is damaged, or does not contain one of the images.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is not there; give a list_attr_celeba.txt or a CSV file of attributes")
    rows = read_rows(path)
    names = _attribute_names(path, rows)
    wanted = {Path(filename).name: None for filename in filenames}
    found: dict[str, list[str]] = {}
    line = 0
    for line, (image, *cells) in rows:
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise ValueError(f"{str(path)!r}, line {line}, row of {image!r}: {len(cells)} values for {len(names)} attributes")
        if image in wanted:
            found[image] = cells[: len(names)]
    if not line:
        raise ValueError(f"{str(path)!r} holds no rows below its header")
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"{str(path)!r} does not know {len(missing)} of the images, among them {missing[0]!r}")
    table = np.array([found[Path(filename).name] for filename in filenames]).reshape(len(filenames), len(names))
    numeric = [column for column in range(len(names)) if _are_numbers(table[:, column])]
    return Attributes(tuple(names[column] for column in numeric), table[:, numeric].astype(np.float64))


def _attribute_names(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Read the header of a table: the names, or CelebA's two lines, the number of images and the names."""
    _, first = next(rows, (0, [""]))
    if path.suffix.lower() == ".csv":
        return without_empty_ends(first[1:])
    _, names = next(rows, (0, [""]))
    if any(first[1:]) or not first[0].isdigit():
        raise ValueError(f"{str(path)!r} does not begin like list_attr_celeba.txt: the number of images, then the names of the attributes")
    return without_empty_ends(names)


def _are_numbers(cells: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(cells.astype(np.float64)).all())
    except ValueError:
        return False


class Probe(NamedTuple):
    """A linear model that predicts an attribute from features, such as codes or principal components of images.

    Attributes:
        weights: (d,).
        intercept: the constant term.
        kind: ``"label"`` for two classes, ``"number"`` otherwise.
        score: accuracy (label) or R² (number) on held-out rows.
        baseline: score of a constant prediction: the share of the more frequent class (label), or 0 (number).
        balanced: balanced accuracy (label) on held-out rows, the mean of the accuracies on the two classes, which is 0.5 for a constant
            prediction; R² for a number.
    """

    weights: np.ndarray
    intercept: float
    kind: str
    score: float
    baseline: float
    balanced: float

    @property
    def direction(self) -> np.ndarray:
        """Unit vector (d,) along which the prediction increases fastest."""
        return self.weights / max(float(np.linalg.norm(self.weights)), 1e-12)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict the attribute from features (n, d): (n,) labels 1 and -1, or numbers."""
        value = features @ self.weights + self.intercept
        return np.where(value > 0, 1.0, -1.0) if self.kind == "label" else value


def split_rows(num_rows: int, held_out: float = 0.25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers at random into rows to fit on and held-out rows.

    Args:
        num_rows: number of rows.
        held_out: share of the rows to hold out.
        seed: seed of the permutation.

    Returns:
        Numbers of the rows to fit on, and numbers of the held-out rows.

    Raises:
        ValueError: one of the two parts would be empty.

    Example:
        >>> fitted, held = split_rows(8, 0.25)
        >>> len(fitted), len(held), sorted({*fitted, *held}) == list(range(8))
        (6, 2, True)
    """
    number = round(num_rows * held_out)
    if not 0 < number < num_rows:
        raise ValueError(f"held_out is {held_out}; of {num_rows} rows it must leave some to fit on and hold some out")
    order = np.random.default_rng(seed).permutation(num_rows)
    return order[number:], order[:number]


def fit_probe(features: np.ndarray, values: np.ndarray, held_out: float = 0.25, seed: int = 0) -> Probe:
    """Fit a linear probe: logistic regression for two classes, ridge regression for numbers (scikit-learn).

    Args:
        features: (n, d), such as codes.
        values: (n,). If they are 1 and -1, or 1 and 0, they are labels of two classes.
        held_out: share of the rows that are held out to compute the score, see `split_rows`.
        seed: seed of that split.

    Raises:
        ValueError: ``features`` and ``values`` have different lengths, or all values of one of the two parts are equal.

    Example:
        >>> features = np.random.default_rng(0).standard_normal((200, 3))
        >>> round(fit_probe(features, 2 * features[:, 0] + 1).score, 3)
        1.0
    """
    from sklearn.linear_model import LogisticRegression, Ridge  # imported here because the import takes a second

    if len(features) != len(values):
        raise ValueError(f"there are {len(features)} rows of features and {len(values)} values; they must belong together")
    fitted, held = split_rows(len(features), held_out, seed)
    if min(len(np.unique(values[rows])) for rows in (fitted, held)) < 2:
        raise ValueError("the values are all alike among the rows to fit on or the held-out rows: there is nothing to tell apart")
    is_label = set(np.unique(values)) in ({-1, 1}, {0, 1})
    values = np.where(values > 0, 1.0, -1.0) if is_label else values
    scale = max(float(features[fitted].std()), 1e-12)
    regression = (LogisticRegression(max_iter=1000) if is_label else Ridge()).fit(features[fitted] / scale, values[fitted])
    weights, intercept = np.ravel(regression.coef_) / scale, float(np.ravel(regression.intercept_)[0])
    unscored = Probe(weights, intercept, "label" if is_label else "number", 0.0, 0.0, 0.0)
    score, baseline, balanced = _scores(unscored.predict(features[held]), values[held], is_label)
    return unscored._replace(score=score, baseline=baseline, balanced=balanced)


def _scores(predicted: np.ndarray, values: np.ndarray, is_label: bool) -> tuple[float, float, float]:
    if is_label:
        right = predicted == values
        share = float(np.mean(values == 1))
        return float(right.mean()), max(share, 1 - share), float(np.mean([right[values == label].mean() for label in (-1, 1)]))
    explained = 1 - float(np.square(predicted - values).sum() / np.square(values - values.mean()).sum())
    return explained, 0.0, explained


def attribute_direction(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean code of the images with an attribute minus the mean code of those without (Radford et al., 2016, section 6.3.2).

    Args:
        codes: (n, d).
        labels: (n,), above 0 where the attribute is present.

    Returns:
        (d,). Add it to a code to add the attribute, subtract it to remove the attribute.

    Raises:
        ValueError: the numbers of codes and labels differ, or all images have the attribute, or none has it.

    Example:
        >>> attribute_direction(np.array([[1.0, 2.0], [3.0, 2.0], [0.0, 0.0]]), np.array([1, 1, -1])).tolist()
        [2.0, 2.0]
    """
    present = np.asarray(labels) > 0
    if len(present) != len(codes) or present.all() or not present.any():
        raise ValueError(
            f"{int(present.sum())} of {len(present)} labels are present for {len(codes)} codes; both kinds are needed, one per code"
        )
    return codes[present].mean(axis=0) - codes[~present].mean(axis=0)


class EditScore(NamedTuple):
    """The effect of an edit on images, as measured by probes.

    Attributes:
        changed: share of the edited images that have all wanted attributes after the edit, among those that did not have them before; NaN
            if all images had them before.
        stayed: for each other attribute, the share of all images for which the prediction of the probe is the same before and after.
        num_edited: number of images that did not have all wanted attributes before.
    """

    changed: float
    stayed: dict[str, float]
    num_edited: int


def score_edit(judges: Mapping[str, Probe], before: np.ndarray, after: np.ndarray, wanted: Mapping[str, int]) -> EditScore:
    """Measure how often an edit changed the wanted attributes and left the others unchanged.

    Use features of the decoded images, such as their principal components, and probes that were fitted to the same features of real images.
    Do not use a probe of the codes: an edit along the direction of such a probe always changes its prediction, whatever happens to the
    image.

    Args:
        judges: name of an attribute -> probe of kind ``"label"``.
        before: (n, d) features of the images before the edit.
        after: (n, d) features of the images after the edit.
        wanted: name of an attribute -> 1 or -1, the label that the edit should give.

    Returns:
        `EditScore`.

    Raises:
        ValueError: there is no probe for a wanted attribute, or ``before`` and ``after`` have different lengths.
    """
    unknown = sorted(set(wanted) - set(judges))
    if unknown or len(before) != len(after):
        raise ValueError(f"no judge for {unknown}" if unknown else f"{len(before)} images before the edit and {len(after)} after it")
    had = np.all([judges[name].predict(before) == value for name, value in wanted.items()], axis=0)
    has = np.all([judges[name].predict(after) == value for name, value in wanted.items()], axis=0)
    stayed = {name: float(np.mean(judge.predict(before) == judge.predict(after))) for name, judge in judges.items() if name not in wanted}
    return EditScore(float(has[~had].mean()) if not had.all() else float("nan"), stayed, int((~had).sum()))
