"""Measure the seconds of training until photographs reach a PSNR: ours, and the best loops in PyTorch with the same recipe.

    python -m benchmarks.until data_dir=PHOTOGRAPHS --db 24 --steps 14000

All programs train the default decoder for 64 pixels on the same photographs, from the same codes (principal components), with batches of
the same size, Adam for the decoder, Adam by rows for the codes on the sphere with a count of visits for each row, the same rates and the
same cosine over the same number of steps. They take turns of a few hundred steps, so that a change in the speed of the machine affects all
of them. After each turn the PSNR of the same 512 training images is measured in inference mode, outside of the time. The time to compile is
not counted either. The machine must have nothing else to do: PyTorch's threads wait for each other at every layer, and lose much more than
ours where other programs run.

PyTorch has to be installed (``pip install -e '.[bench]'``, or an environment of its own that ``TORCH_PYTHON=its/bin/python`` names).
Writes OUT.json with all curves.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.turns import Measurement, Row, answer, has_torch, take_turns

DB, STEPS, STEPS_PER_TURN, NUM_MEASURED = 24.0, 14_000, 500, 512
COMMON = {"held_out": 0.18, "held_out_by": "identity", "image_size": 64, "num_dims": 100, "max_seconds": 0}
RECIPE = ("num_filters", "kernel_size", "batch_size", "learning_rate", "code_learning_rate")
VARIANTS = ("plain", "channels_last", "bfloat16", "compiled")  # benchmarks.pytorch_glo


def prepare(folder: Path, settings: dict[str, str], num_steps: int) -> None:
    """Write what all programs begin with: images, initial codes, and the recipe."""
    from glo_lib.config import TrainConfig
    from glo_lib.images.split import find_images
    from glo_lib.images.store import decode_as_in

    config = TrainConfig.from_parameters({**COMMON, **settings, "num_epochs": 1})
    images = decode_as_in(config, find_images(config), config.data_dir)
    array = np.array(images.array())
    np.save(folder / "images.npy", array)
    np.save(folder / "codes.npy", np.concatenate([values for _, values in _initial_codes(config, folder)]).astype(np.float32))
    measured = np.linspace(0, len(array) - 1, min(NUM_MEASURED, len(array))).astype(int).tolist()
    recipe: dict[str, Any] = {name: getattr(config, name) for name in RECIPE}
    text = json.dumps({**recipe, "num_steps": num_steps, "measured": measured, "settings": {**config.as_dict(), "data_dir": ""}})
    (folder / "recipe.json").write_text(text)


def _initial_codes(config, folder: Path):
    from glo_lib.training.build import initial_codes

    return initial_codes(_setting(config, folder))


def _setting(config, folder: Path):
    """Return the setting of a training on the images of the folder."""
    from glo_lib.graph.devices import choose_devices
    from glo_lib.images.store import DecodedImages
    from glo_lib.runs.folder import Progress
    from glo_lib.runs.run import Run
    from glo_lib.training import Setting

    array = np.load(folder / "images.npy")
    path = folder / "images.uint8"
    if not path.exists():
        array.tofile(path)
    images = DecodedImages(path, len(array), config.image_size, ("",) * len(array))
    return Setting(config, choose_devices(1, config.precision), images, Run(folder, config, None, Progress(0, 0.0)))


class OurTraining:
    """Our training graph, with the images and codes of the folder; `steps` takes a number of steps of it."""

    def __init__(self, folder: Path):
        from glo_lib.config import TrainConfig
        from glo_lib.decoder import decoder
        from glo_lib.graph.backend import tf
        from glo_lib.graph.layers import conv2d_transpose
        from glo_lib.projection import project
        from glo_lib.training import build_loss, build_model, build_train_ops

        v1 = tf.compat.v1
        recipe = json.loads((folder / "recipe.json").read_text())
        config = TrainConfig.from_parameters(recipe["settings"])
        setting, rows = _setting(config, folder), recipe["measured"]
        self._num_steps, self._taken = recipe["num_steps"], 0
        with tf.Graph().as_default():
            v1.set_random_seed(config.seed)
            model = build_model(setting)
            self._ops = build_train_ops(setting, model, build_loss(setting, model))
            codes = tf.gather(model.tables[0], rows)
            filters, size = config.num_filters, config.kernel_size
            self._decoded = decoder(project(codes), filters, size, is_training=False, reuse=True, scope="decoder", layer=conv2d_transpose)
            self._session = v1.Session(config=setting.devices.session_config)
            self._session.run(v1.global_variables_initializer())
            table = model.tables[0]
            start = v1.placeholder(tf.float32, table.shape)
            self._session.run(v1.assign(table, start), {start: np.load(folder / "codes.npy")})
        self._images = np.load(folder / "images.npy")[rows]

    def steps(self, number: int) -> None:
        for _ in range(number):
            scale = 0.5 * (1 + np.cos(np.pi * min(1.0, self._taken / self._num_steps)))
            self._session.run(self._ops.step, {self._ops.rate_scale: scale})
            self._taken += 1

    def psnr(self) -> float:
        """Return the mean PSNR, in dB, of the images of the recipe in inference mode."""
        from glo_lib.evaluation.metrics import psnr

        return float(psnr(self._images, self._session.run(self._decoded)).mean())


def seconds_until(turns: Sequence[Measurement], steps_per_turn: int, db: float) -> float:
    """Return the seconds until a PSNR is reached, on straight lines between the turns; infinity if it is not.

    Example:
        >>> seconds_until([Measurement(0.1, 0, 0, 20.0), Measurement(0.1, 0, 0, 22.0)], 100, 21.0)
        15.0
    """
    seconds, before = 0.0, None
    for turn in turns:
        after = seconds + turn.seconds * steps_per_turn
        if turn.reported >= db:
            share = 1.0 if before is None else (db - before) / (turn.reported - before)
            return seconds + share * (after - seconds)
        seconds, before = after, turn.reported
    return float("inf")


def rows(results: dict[str, list[Measurement]], steps_per_turn: int, db: float) -> list[Row]:
    """Return the rows of the table: seconds until the PSNR, all seconds, and the last PSNR; and ours beside the best in PyTorch."""
    lines, until = [], {}
    for name, turns in results.items():
        until[name] = seconds_until(turns, steps_per_turn, db)
        lines.append(Row(f"{name}: until {db:g} dB", until[name], "s"))
        lines.append(Row(f"{name}: all steps", sum(turn.seconds for turn in turns) * steps_per_turn, "s"))
        lines.append(Row(f"{name}: after all steps", turns[-1].reported, "dB"))
    rivals = [seconds for name, seconds in until.items() if name.startswith("PyTorch")]
    if rivals and np.isfinite(min(rivals)) and np.isfinite(until["ours auto"]):
        lines.append(Row(f"seconds until {db:g} dB, the best PyTorch / ours auto", min(rivals) / until["ours auto"], ""))
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all programs, which take turns, and print the table."""
    options = _parse(arguments)
    settings = dict(setting.split("=", 1) for setting in options.settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, settings, options.steps)
        commands = {"ours auto": ["benchmarks.until", "serve", folder]}
        if has_torch():
            commands |= {f"PyTorch {variant}": ["benchmarks.pytorch_glo", "recipe", folder, variant] for variant in options.variants}
        else:
            print("PyTorch is not installed (pip install -e '.[bench]', or TORCH_PYTHON): it is left out", file=sys.stderr)
        results = take_turns(commands, dict.fromkeys(commands, options.turn), max(1, options.steps // options.turn))
    print(*rows(results, options.turn, options.db), sep="\n")
    curves = {name: [[turn.seconds * options.turn, turn.reported] for turn in turns] for name, turns in results.items()}
    options.out.write_text(
        json.dumps({"steps_per_turn": options.turn, "db": options.db, "seconds and dB of each turn": curves}, indent=1) + "\n"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.until", description=__doc__, formatter_class=layout)
    parser.add_argument("settings", nargs="+", metavar="NAME=VALUE", help="data_dir=PHOTOGRAPHS, and settings other than the defaults")
    parser.add_argument("--db", type=float, default=DB, help="PSNR to be reached (default: %(default)g)")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each program (default: %(default)s)")
    parser.add_argument("--turn", type=int, default=STEPS_PER_TURN, help="steps in a turn (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="loops in PyTorch (default: all)")
    parser.add_argument("--out", type=Path, default=Path("until.json"), help="file of the curves (default: %(default)s)")
    options = parser.parse_intermixed_args(arguments)
    wrong = [setting for setting in options.settings if "=" not in setting]
    if wrong:
        parser.error(f"{wrong[0]!r} is not NAME=VALUE")
    return options


def serve(folder: str) -> None:
    """Serve steps of our training, and after each turn the PSNR."""
    training = OurTraining(Path(folder))
    answer(training.steps, training.psnr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        main()
