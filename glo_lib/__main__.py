"""``glo``, or ``python -m glo_lib``: what a trained run can do, without a notebook: samples, encodings, neighbours, exports, judgements."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from glo_lib.config import DEFAULT_PRIOR, PRIORS, QUICK_PRIORS, short_prior_name

if TYPE_CHECKING:  # see main: TensorFlow is imported only where it is needed
    from glo_lib.images.pixels import ImageRows
    from glo_lib.inference.model import TrainedModel

DESCRIPTION = """\
What a trained run can do, as PNG grids. RUN is the folder that training filled, or "pretrained" for the model that comes
with the library; nothing else is needed, except for encode and neighbours, which also look at the training images (those
of the run's settings, or of --data)."""
EPILOG = """\
Example: {program} sample --run my_run --prior full --n 40 --out samples.png
Exit status: 0 all done; 1 done, but for image files that could not be read; 2 nothing done, with the reason on the error stream."""
SCRIPT = "glo"
COLUMNS = 10
DEFAULT_NEIGHBOURS = 3
MAX_SAMPLES = 10_000  # more samples would make a picture of hundreds of megapixels
WHY_THIS_PRIOR = (
    "default: %(default)s; on photographs of faces its samples come nearest to photographs among the priors that do not keep to training "
    "images; kernel and neighbours come nearer, but one recognises the training images in their samples"
)
MAX_LINES = 10  # about images that were cropped and resized
HIDDEN_PRIOR_WEIGHT = (
    0.003  # weight of the prior on the codes, so that the filled half looks like the training images (chapter on inference)
)
DONE, PARTLY_DONE, REFUSED = 0, 1, 2
NOT_READ = 141  # what a shell reports of a program that SIGPIPE ends
CANNOT_TRAIN = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one command.

    Args:
        arguments: what follows the name of the program; default: ``sys.argv[1:]``.

    Returns:
        The exit status: `DONE` (0), `PARTLY_DONE` (1) if some image files could not be read, `REFUSED` (2) if nothing was done and the
        reason was printed to standard error, or `NOT_READ` (141) if the program that read the output, such as ``head``, ended before.

    Raises:
        SystemExit: after ``--help`` (status 0), or if the arguments cannot be parsed (status 2).

    Example:
        ``main(["sample", "--run", "my_run", "--out", "samples.png"])``
    """
    options = _parser().parse_args(arguments)
    if options.command is _serve:
        return _serve(options)
    try:
        status = options.command(options) if options.command in (_doctor, _data) else _use_run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python reports it again when it ends
        return NOT_READ


def _use_run(options: argparse.Namespace) -> int:
    """Run a command that uses a run, and print why if it cannot be done."""
    # Imported here and not at the top: TensorFlow takes seconds to import, and --help and wrong options should not wait for it.
    from glo_lib.inference.export import check_free
    from glo_lib.runs.folder import RunFolderInUse
    from glo_lib.runs.images import check_not_among_images

    try:
        # export does its own check, because it replaces a folder only if the folder is an earlier export; judge writes to the run folder
        if options.command not in (_export, _judge):
            _check_png_path(options.out)
            check_free(options.out, options.force)
            check_not_among_images(options.run, options.out)
        return options.command(options)
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RunFolderInUse) as error:
        hint = " (--force)" if isinstance(error, FileExistsError) else ""
        print(f"{_program()} {options.name}: {_in_words(error)}{hint}", file=sys.stderr)
        return REFUSED


def _in_words(error: Exception) -> str:
    """Return the message of an error; that of the operating system with the name of the file first and without the number of the error."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return f"{str(error.filename)!r}: {error.strerror}" if error.filename else str(error.strerror)


def _program() -> str:
    """Return the name under which this program was called, for help and messages: the console script, or the module."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m glo_lib"


def _parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    epilog = EPILOG.format(program=_program())
    parser = argparse.ArgumentParser(_program(), description=DESCRIPTION, epilog=epilog, formatter_class=layout)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="name")

    sample = _command(commands, "sample", _sample, "new images: codes drawn from a prior, projected and decoded", "samples.png")
    _add_prior(sample, 40)

    encode = _command(commands, "encode", _encode, "find codes for images never seen; rows: original, reconstruction", "encoded.png")
    encode.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, folders, zip archives, or patterns in quotes such as 'photos/*.jpg', mixed as you like; encoded in this order, "
        "those of a folder, archive or pattern sorted; cropped and resized as in training",
    )
    encode.add_argument("--hide", choices=("left", "right", "top", "bottom"), help="hide that half, and let the decoder fill it")
    encode.add_argument("--restarts", type=int, default=4, metavar="R", help="starts for each image (default: %(default)s)")
    encode.add_argument("--steps", type=int, default=200, metavar="S", help="steps of Adam for each start (default: %(default)s)")
    encode.add_argument("--seed", type=int, default=0, help="of the random starts (default: %(default)s)")
    encode.add_argument("--codes", metavar="FILE.npy", help="also write the codes, one row for each image that could be read")
    _add_data(encode)

    interpolate = _command(commands, "interpolate", _interpolate, "from one training image's code to another's", "interpolation.png")
    interpolate.add_argument(
        "--between",
        nargs=2,
        type=int,
        action="append",
        metavar=("I", "J"),
        help="numbers of two images, from 0; may be repeated",
    )
    interpolate.add_argument("--steps", type=int, default=COLUMNS, metavar="S", help="images in a row, at least 2 (default: %(default)s)")
    interpolate.add_argument(
        "--path", choices=("linear", "great_circle", "ball"), default="great_circle", help="way between the codes (default: %(default)s)"
    )

    neighbours = _command(
        commands, "neighbours", _neighbours, "samples and, below each, its nearest training images: is anything copied?", "neighbours.png"
    )
    _add_prior(neighbours, COLUMNS)
    neighbours.add_argument("--k", type=int, help="neighbours of each sample (default: 3, or all images if there are fewer)")
    neighbours.add_argument("--space", choices=("pixels", "codes"), default="pixels", help="where near is measured (default: %(default)s)")
    _add_data(neighbours)

    export = _command(
        commands,
        "export",
        _export,
        "the decoder for use without this library: OUT ending with .npz is a file of arrays, any other a SavedModel's folder, or with "
        "--for web a folder from which a web page decodes",
        "decoder",
    )
    export.add_argument("--for", dest="target", choices=("web",), help="write what the explorer of the book loads, at most 4 MB")
    export.add_argument(
        "--attributes",
        metavar="FILE",
        help="with --for web: list_attr_celeba.txt or a CSV file of attributes, for the directions (known for drawn faces)",
    )
    what = "compare reconstructions and samples with unseen photographs, by networks that recognise objects and faces (make judges)"
    judge = commands.add_parser("judge", help=what, description=what[0].upper() + what[1:] + ". Adds the result to metrics.json.")
    judge.add_argument("--run", required=True, metavar="RUN", help="folder of a trained run")
    judge.add_argument("--n", type=int, default=1000, help="images of each kind; 0: as many as there are (default: %(default)s)")
    judge.add_argument("--all-priors", action="store_true", help="also priors that are learned first, for up to a minute each")
    _add_data(judge, "those that the run was not trained on are what a run with held-out images is compared with")
    judge.set_defaults(command=_judge)
    what = "what a folder or archive of images holds, what is missing or damaged, and what to do next; CelebA, LFW and FFHQ are recognised"
    data = commands.add_parser("data", help=what, description=what[0].upper() + what[1:] + ".")
    data.add_argument("path", metavar="PATH", help="folder or zip archive; of CelebA also a folder above its images or their archive")
    data.add_argument("--decode", action="store_true", help="read every pixel of every image, which finds all damage and takes minutes")
    data.add_argument("--json", action="store_true", help="print all facts as JSON, with the names of all damaged images")
    data.set_defaults(command=_data)
    doctor = commands.add_parser("doctor", help="what this machine offers to a training run, and what to do where something is missing")
    doctor.set_defaults(command=_doctor)
    what = "take part in a training on several machines, as the parameter server or worker that TF_CONFIG says"
    serve = commands.add_parser("serve", help=what, description=what[0].upper() + what[1:] + ". Runs until it is ended.")
    serve.add_argument(
        "--i-know-this-is-open",
        action="store_true",
        help="serve at an address that is not private; whoever reaches it can run programs here",
    )
    serve.set_defaults(command=_serve)
    return parser


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], description: str, out: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=description, description=description[0].upper() + description[1:] + ".", epilog=EPILOG.splitlines()[1]
    )
    command.add_argument("--run", required=True, metavar="RUN", help="folder of a trained run, or pretrained: the model of the library")
    command.add_argument("--out", type=Path, default=Path(out), help="what to write (default: %(default)s)")
    command.add_argument("--force", action="store_true", help="replace what is there already")
    command.set_defaults(command=function)
    return command


def _add_prior(command: argparse.ArgumentParser, number: int) -> None:
    names = ", ".join(map(short_prior_name, PRIORS))
    command.add_argument("--prior", default=DEFAULT_PRIOR, metavar="PRIOR", help=f"{names} ({WHY_THIS_PRIOR})")
    command.add_argument("--n", type=int, default=number, help="number of samples (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="same seed, same samples (default: %(default)s)")


def _add_data(command: argparse.ArgumentParser, others: str = "files that the run was not trained on do not matter") -> None:
    command.add_argument(
        "--data",
        metavar="FOLDER",
        help=f"the training images, if they are no longer where they were: a folder, a zip archive, or a pattern in quotes; {others}",
    )


def _sample(options: argparse.Namespace) -> int:
    from glo_lib.figures.style import tile
    from glo_lib.inference.model import load

    model = load(options.run)
    _write_png(options, tile(model.decode(_samples(options, model)), min(COLUMNS, options.n)))
    return DONE


def _samples(options: argparse.Namespace, model: "TrainedModel") -> np.ndarray:
    from glo_lib.inference.priors import fit_prior

    if not 1 <= options.n <= MAX_SAMPLES:
        raise ValueError(f"--n is {options.n}; give 1 to {MAX_SAMPLES:,}")
    _check_seed(options.seed)
    return fit_prior(options.prior, model.codes, model.config.projection).sample(options.n, options.seed)


def _training_images(options: argparse.Namespace, model: "TrainedModel") -> "ImageRows":
    """Return the training images of the run, or their reconstructions for the model of the library, which comes without images."""
    from glo_lib.images.pixels import slices, to_bytes
    from glo_lib.runs.images import training_images
    from glo_lib.runs.packed import is_pretrained, refuse_pretrained

    if not is_pretrained(options.run):
        return training_images(options.run, options.data).array()
    if options.data:
        refuse_pretrained(options.run, "a list of its training images, if --data is given")
    print("the pretrained model comes without its training images; their reconstructions stand in for them", file=sys.stderr)
    return np.concatenate([to_bytes(model.decode(model.codes[rows])) for rows in slices(len(model.codes), 1024)])


def _encode(options: argparse.Namespace) -> int:
    from glo_lib.figures.style import tile
    from glo_lib.images.sources import find_files
    from glo_lib.inference.encoding import encode, fit_code_regression, half_mask, inpaint, read_images
    from glo_lib.inference.export import check_free
    from glo_lib.inference.model import load

    _check_seed(options.seed)
    if options.codes:
        if not options.codes.endswith(".npy"):
            raise ValueError(f"--codes is {options.codes!r}; its name must end with .npy")
        check_free(options.codes, options.force)
    files = find_files(options.images)
    if len(files) > MAX_SAMPLES:
        raise ValueError(f"{len(files):,} images are given; one picture shows at most {MAX_SAMPLES:,}, so give fewer at once")
    model = load(options.run)
    regression = fit_code_regression(_training_images(options, model), model)
    unseen = read_images(files, model.config)
    for line in (*_summarise(unseen.resized), *(f"not read: {problem}" for problem in unseen.problems)):
        print(line, file=sys.stderr)
    mask = half_mask(model.config.image_size, options.hide) if options.hide else np.ones([model.config.image_size] * 2)
    weight = HIDDEN_PRIOR_WEIGHT if options.hide else 0.0
    encoded = encode(model, unseen.images, regression, mask, options.restarts, options.steps, seed=options.seed, prior_weight=weight)
    print(encoded.report())
    if options.hide:
        rows = [unseen.images, (unseen.images * mask[..., None]).astype(np.uint8), inpaint(model, unseen.images, encoded, mask)]
    else:
        rows = [unseen.images, model.decode(encoded.codes)]
    _write_png(options, _stack_in_bands(rows, tile))
    if options.codes:
        _write_codes(options, encoded.codes)
    return PARTLY_DONE if unseen.problems else DONE


def _summarise(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines, or the first ones and the number of the others if they are many."""
    return lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES], f"... and {len(lines) - MAX_LINES:,} more images"]


def _write_codes(options: argparse.Namespace, codes: np.ndarray) -> None:
    from glo_lib.inference.export import check_free
    from glo_lib.system.replace import replacing

    check_free(options.codes, options.force)  # a second time, because encoding may have taken minutes
    with replacing(options.codes, several_writers=True) as partial, open(partial, "wb") as file:
        np.save(file, codes, allow_pickle=False)
    print(f"wrote {options.codes}, {codes.shape[0]} codes of {codes.shape[1]} dimensions")


def _interpolate(options: argparse.Namespace) -> int:
    from glo_lib.figures.style import tile
    from glo_lib.inference.interpolation import interpolate
    from glo_lib.inference.model import load

    model = load(options.run)
    last = len(model.codes) - 1
    pairs = options.between or [(0, last), (last // 3, 2 * last // 3)]
    for number in np.ravel(pairs):
        if not 0 <= number <= last:
            raise ValueError(f"--between names image {number}; the run has images 0 to {last}")
    paths = [interpolate(model.codes[start], model.codes[end], options.steps, options.path) for start, end in pairs]
    _write_png(options, tile(model.decode(np.concatenate(paths)), options.steps))
    return DONE


def _neighbours(options: argparse.Namespace) -> int:
    from glo_lib.figures.style import tile
    from glo_lib.inference.model import check_one_code_per_image, load
    from glo_lib.inference.neighbours import nearest_codes, nearest_neighbours

    model = load(options.run)
    codes = _samples(options, model)
    images, samples = _training_images(options, model), model.decode(codes)
    check_one_code_per_image(model.codes, images)
    number = min(DEFAULT_NEIGHBOURS, len(images)) if options.k is None else options.k
    if options.space == "codes":
        index, distance = nearest_codes(codes, model.codes, number)
    else:
        index, distance = nearest_neighbours(samples, images, number)
    unit = "Euclidean distance of codes" if options.space == "codes" else "mean squared difference of pixels in [-1, 1]"
    print(f"nearest training image, {unit}: median {np.median(distance[:, 0]):.4f}, least {distance[:, 0].min():.4f}")
    _write_png(options, _stack_in_bands([samples, *(images[column] for column in index.T)], tile))
    return DONE


def _export(options: argparse.Namespace) -> int:
    from glo_lib.inference.export import export_npz, export_saved_model
    from glo_lib.inference.model import load

    if options.target == "web":
        return _export_web(options)
    if options.attributes:
        raise ValueError("--attributes belongs to --for web; add that, or leave --attributes out")
    export = export_npz if options.out.suffix == ".npz" else export_saved_model
    print(f"wrote {export(load(options.run), options.out, options.force)}")
    return DONE


def _export_web(options: argparse.Namespace) -> int:
    from glo_lib.inference.export import check_free
    from glo_lib.inference.web import export_run_for_web, read_web

    check_free(options.out / "model.json" if options.out.is_dir() else options.out, options.force)
    folder = export_run_for_web(options.run, options.out, options.attributes)
    rounding = read_web(folder).description["rounding"]
    megabytes = sum(file.stat().st_size for file in (folder / "model.json", folder / "arrays.bin")) / 1e6
    print(
        f"wrote {folder}, {megabytes:.1f} MB; rounding changes a pixel by at most {rounding['largest_difference']} of 255 "
        f"({rounding['psnr_db']:.1f} dB)"
    )
    return DONE


def _judge(options: argparse.Namespace) -> int:
    from glo_lib.evaluation.judgement import judge_run, markdown_table
    from glo_lib.runs.packed import refuse_pretrained

    refuse_pretrained(options.run, "its training images")
    judgement = judge_run(options.run, options.n, options.data, priors=PRIORS if options.all_priors else QUICK_PRIORS)
    if "reference" not in judgement:
        raise ValueError("\n  ".join(["nothing was judged:", *judgement["missing"]]))
    print(markdown_table(judgement))
    return DONE


def _data(options: argparse.Namespace) -> int:
    from glo_lib.images.report import examine

    try:
        with contextlib.redirect_stdout(sys.stderr):  # the progress
            report = examine(options.path, options.decode)
    except (OSError, ValueError) as error:
        print(f"{_program()} data: {error}", file=sys.stderr)
        return REFUSED
    print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False) if options.json else report)
    return DONE if report.is_sound else PARTLY_DONE if report.num_images else REFUSED


def _doctor(options: argparse.Namespace) -> int:
    from glo_lib.system.doctor import examine

    findings = examine()
    print(*findings, sep="\n")
    return CANNOT_TRAIN if any(finding.fatal for finding in findings) else DONE


def _serve(options: argparse.Namespace) -> int:
    from glo_lib.graph.cluster import check_private, read_cluster

    try:
        cluster = read_cluster()
        if cluster is None or cluster.own.kind == "chief":
            found = "is not set" if cluster is None else "says that this process is the chief, which is the program that trains"
            raise ValueError(f"TF_CONFIG {found}; serve is for the tasks ps and worker (question on several machines in the FAQ)")
        check_private(cluster.own, options.i_know_this_is_open)
        from glo_lib.graph.server import ClusterError, check_limited, serve

        check_limited(cluster.own, options.i_know_this_is_open)
        try:
            serve(cluster)
        except ClusterError as error:
            raise ValueError(error) from None
    except ValueError as error:
        print(f"{_program()} {options.name}: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return DONE


def _stack_in_bands(rows: Sequence[np.ndarray], tile: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """Combine rows of images into one picture; images of the same column belong together, and a band holds at most ten columns."""
    from glo_lib.images.pixels import slices, to_bytes

    byte_rows = [to_bytes(row) for row in rows]
    columns = min(COLUMNS, len(rows[0]))
    return np.concatenate([tile(row[band], columns) for band in slices(len(rows[0]), columns) for row in byte_rows])


def _check_png_path(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out is {str(out)!r}; its name must end with .png")
    if out.is_dir():
        raise ValueError(f"--out is {str(out)!r}, which is a folder; give the name of a file")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ValueError(f"--seed is {seed}; give a whole number of at least 0")


def _write_png(options: argparse.Namespace, picture: np.ndarray) -> None:
    from glo_lib.inference.export import check_free
    from glo_lib.system.replace import replacing

    check_free(options.out, options.force)
    with replacing(options.out, several_writers=True) as partial:
        Image.fromarray(picture).save(partial, "PNG")
    print(f"wrote {options.out}, {picture.shape[1]}x{picture.shape[0]} pixels")


if __name__ == "__main__":
    sys.exit(main())
