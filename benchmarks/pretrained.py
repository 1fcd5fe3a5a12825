"""Train the model that comes with the library, on drawn faces, and write it into the package.

    make pretrained                                                     16,384 faces, an hour
    python -m benchmarks.pretrained num_dims=100 --faces 8192           other settings and numbers
    python -m benchmarks.pretrained --compare 4096 8192 16384 --seconds 600    how many faces help: a table, and no model

An interrupted training continues where it stopped, with the same command. The model is written as `glo_lib.runs.packed` says, in half
precision; how much that costs in dB is measured and noted in its provenance, with the command, the commit, the seconds, the versions, and
what the judges say of its reconstructions and of the samples of each prior.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from glo_lib import faces
from glo_lib.config import QUICK_PRIORS, TrainConfig
from glo_lib.evaluation.evaluate import versions
from glo_lib.evaluation.judgement import judge_run
from glo_lib.evaluation.metrics import psnr
from glo_lib.images.files import list_images
from glo_lib.images.store import decode_as_in
from glo_lib.inference.encoding import encode, fit_code_regression
from glo_lib.inference.model import TrainedModel, load
from glo_lib.inference.priors import PRIORS, sample
from glo_lib.inference.variables import from_arrays
from glo_lib.inference.web.contents import NUM_STORED_SAMPLES
from glo_lib.runs.images import training_images
from glo_lib.runs.packed import PRETRAINED, PackedModel, read_packed, write_packed
from glo_lib.training import TrainResult, train

NUM_FACES, SECONDS = 16_384, 3600.0
NUM_FILTERS = (256, 96, 48, 32)  # with wider layers than these, decoder and codes would take more than the 4 MB that they may
NUM_MEASURED = 1000  # images by which the loss of precision is measured
NUM_NEW, NEW_FACES_SEED = 512, 1  # faces that no model was trained on
ENCODING_STEPS = 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the model, or compare numbers of faces."""
    options = _parse(arguments)
    if options.compare:
        print(compare(options.compare, options.seconds, options.settings))
        return
    result = train_on_faces(options.faces, options.seconds, options.settings)
    command = " ".join(["python -m benchmarks.pretrained", *(sys.argv[1:] if arguments is None else arguments)])
    provenance = write_model(result, command, options.out)
    kept, lost = provenance["psnr_db"], provenance["lost_to_half_precision_db"]
    print(f"wrote {options.out}: {kept:.2f} dB in training, of which half precision costs {lost:.4f} dB")


def train_on_faces(num_faces: int, seconds: float, settings: dict[str, str]) -> TrainResult:
    """Train on drawn faces for a time; the widths are those of the model of the library, and the rest the defaults, unless given."""
    usual: dict[str, Any] = {"num_samples": num_faces, "max_seconds": seconds, "num_epochs": 1_000_000}
    if "image_size" not in settings:
        usual["num_filters"] = NUM_FILTERS
    return train(TrainConfig.from_parameters({**usual, **settings}))


def write_model(result: TrainResult, command: str, folder: Path) -> dict[str, Any]:
    """Write the model of a run in half precision, and return its provenance."""
    model, images = load(result.run_dir), training_images(result.run_dir).array()
    rows = np.linspace(0, len(images) - 1, min(NUM_MEASURED, len(images))).astype(int)
    exact = float(psnr(images[rows], model.decode(model.codes[rows])).mean())
    drawn = {name: sample(model, name, NUM_STORED_SAMPLES) for name in PRIORS if name not in QUICK_PRIORS}
    packed = PackedModel(model.config, model.codes, model.variables, model.weights, {}, drawn)
    with tempfile.TemporaryDirectory() as trial:
        rounded = read_packed(write_packed(trial, packed))
    half = TrainedModel(rounded.config, rounded.codes, from_arrays(rounded.variables, rounded.weights))
    provenance = {
        "command": command,
        "commit": commit(),
        "date": date.today().isoformat(),
        "images": f"{len(images):,} drawn faces, version {faces.VERSION}, seed 0",
        "faces": {"version": faces.VERSION, "seed": 0, "number": len(images)},  # enough to draw them again, or to look up their factors
        "seconds": round(result.metrics["seconds"], 1),
        "steps": result.metrics["steps"],
        "psnr_db": exact,
        "lost_to_half_precision_db": exact - float(psnr(images[rows], half.decode(half.codes[rows])).mean()),
        "versions": versions(),
        "judgement": judge_run(result.run_dir, priors=tuple(PRIORS)),  # of the reconstructions, and of the samples of each prior
    }
    write_packed(folder, packed._replace(provenance=provenance))
    return provenance


def compare(numbers: Sequence[int], seconds: float, settings: dict[str, str]) -> str:
    """Train on each number of faces for the same time; return a table of the PSNR of these faces and of new ones."""
    lines = ["| faces | steps | PSNR in training, dB | PSNR of new faces, dB |", "|--:|--:|--:|--:|"]
    for number in numbers:
        result = train_on_faces(number, seconds, settings)
        model = load(result.run_dir)
        new = np.array(decode_as_in(model.config, list_images(faces.load_faces(NUM_NEW, NEW_FACES_SEED))).array())
        found = encode(model, new, fit_code_regression(training_images(result.run_dir).array(), model), restarts=1, steps=ENCODING_STEPS)
        of_new = float(psnr(new, model.decode(found.codes)).mean())
        lines.append(f"| {number:,} | {result.metrics['steps']:,} | {result.metrics['psnr_db']:.2f} | {of_new:.2f} |")
    return "\n".join(lines)


def commit() -> str:
    """Return the commit of the repository, with a note if files differ from it, or "unknown" outside of one."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.pretrained", description=__doc__, formatter_class=layout)
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="settings of the training other than the defaults")
    parser.add_argument("--faces", type=int, default=NUM_FACES, help="number of faces (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="seconds of training (default: %(default)g)")
    parser.add_argument("--compare", nargs="+", type=int, metavar="FACES", help="numbers of faces to compare")
    parser.add_argument("--out", type=Path, default=PRETRAINED, help="folder to write to (default: that of the package)")
    options = parser.parse_intermixed_args(arguments)
    wrong = [setting for setting in options.settings if "=" not in setting]
    if wrong:
        parser.error(f"{wrong[0]!r} is not NAME=VALUE")
    options.settings = dict(setting.split("=", 1) for setting in options.settings)
    return options


if __name__ == "__main__":
    main()
