"""The images that a run was trained on, found again and checked against what the run noted of them."""

from pathlib import Path

from glo_lib.inputs import DecodedImages, decode_images
from glo_lib.run_folder import data_manifest, read_config, read_json
from glo_lib.training import find_images


def training_images(run_dir: str | Path, data_dir: str | None = None) -> DecodedImages:
    """Decode the training images of a run, or find them decoded.

    Args:
        run_dir: folder of the run.
        data_dir: where the images are now; default: where they were in training.

    Returns:
        `glo_lib.inputs.DecodedImages`; image i belongs to row i of the codes.

    Raises:
        FileNotFoundError: the folder holds no run, or the images are gone.
        ValueError: the images are not those of the training: another number, other names or other sizes.
    """
    config = read_config(run_dir)
    filenames = find_images(config if data_dir is None else _with_data(config, data_dir))
    trained_on, found = read_json(Path(run_dir) / "manifest.json"), data_manifest(filenames)
    if found["num_images"] != trained_on.get("num_images"):
        raise ValueError(
            f"the run has {trained_on.get('num_images')} codes, and there are {found['num_images']} images; "
            "row i of the codes belongs to image i, so give the images of the training"
        )
    if found != trained_on:
        raise ValueError("these images have other names or sizes than those of the training; row i of the codes would not be image i")
    return decode_images(filenames, config.image_size, config.tight_crop)


def _with_data(config, data_dir: str):
    return type(config).from_parameters({**config.as_dict(), "data_dir": data_dir})
