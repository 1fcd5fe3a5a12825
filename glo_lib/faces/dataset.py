"""The default data set of the book: procedurally drawn faces, stored in the files and formats of CelebA.

Every face is determined by a record of independent factors (``Factors``), so the book can compare a learned latent space with the factors
that really varied. Nothing here imports TensorFlow, so the drawing processes start quickly.
"""

import csv
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
from PIL import Image

from glo_lib.faces import portrait
from glo_lib.system.cache import cache_root, make_cache_folder, shown

VERSION = "v1"  # part of the name of the cache folder; change it whenever the drawing changes
MIN_IMAGES_PER_PROCESS = 32  # for fewer images, starting another process does not pay
QUALITY = 92  # of the JPEG files
MAX_IMAGES = 999_999  # CelebA's file names have six digits

ATTRIBUTE_NAMES = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)


@dataclass(frozen=True)
class Factors:
    """The factors of one face, one recorded value for each.

    Angles are in degrees, sizes are relative to an average face (1.0), and strengths are from 0 to 1.

    Example:
        >>> sample_factors(0) == sample_factors(0)
        True
    """

    yaw: float  # head turn, degrees, -26..26, positive to the right of the picture
    pitch: float  # nod, degrees, -9..9, positive downward
    roll: float  # tilt of body and background against the aligned eyes, degrees, -14..14
    masculine: float  # 0..1: jaw, brow ridge, neck; beards, short hair and make-up depend on it
    age: float  # 18..75 years: lines of forehead, eyes and cheeks
    face_width: float  # 0.88..1.10
    face_length: float  # 0.93..1.07
    jaw: float  # 0 pointed .. 1 square
    cheek: float  # 0 hollow .. 1 full
    eye_spacing: float  # 0.93..1.07 of the average distance, which alignment turns into a smaller or larger face
    skin_tone: float  # 0 very light .. 1 very dark
    undertone: float  # -1 golden .. 1 rosy
    blush: float  # 0..1 redness of the cheeks
    freckles: float  # 0..1, 0 for most
    eye_bags: float  # 0..1
    hair_style: str  # one of HAIR_STYLES
    hair_length: float  # 0..1, for the styles that hang
    hair_volume: float  # 0..1
    hair_colour: str  # black, brown, blond, red, grey
    hair_shade: float  # -1 darker .. 1 lighter
    hair_part: float  # -1..1, position of the parting
    brow_thickness: float  # 0..1
    brow_arch: float  # 0..1
    brow_height: float  # -1..1
    eye_size: float  # 0.88..1.10
    eye_open: float  # 0.62..1.15
    eye_tilt: float  # -1 outer corner low .. 1 high
    eye_colour: str  # brown, hazel, green, blue, grey
    gaze_x: float  # -1..1
    gaze_y: float  # -1..1
    nose_width: float  # 0.74..1.26
    nose_length: float  # 0.85..1.15
    nose_bridge: float  # 0.65..1.25, how far it projects
    mouth_width: float  # 0.86..1.16
    lip_fullness: float  # 0.6..1.45
    lipstick: float  # 0 none .. 1 strong
    lip_hue: float  # 0..1, colour of the lipstick
    smile: float  # 0..1
    mouth_open: float  # 0..1, 0 closed
    makeup: float  # 0..1 on the eyes
    beard: str  # none, stubble, moustache, goatee, full
    glasses: str  # none, thin, thick, sunglasses
    glasses_shape: str  # round, square, oval
    hat: str  # none, cap, beanie, wide; it hides the top of the hair
    hat_hue: float  # 0..1
    hat_value: float  # 0..1
    light_angle: float  # degrees from the camera, -65..65, positive from the right
    light_height: float  # degrees above the eyes, 8..50
    light_strength: float  # 0 overcast .. 1 hard
    light_warmth: float  # -1 cool .. 1 warm
    background: str  # studio, wall, garden, lights, room, sky
    background_hue: float  # 0..1
    background_colour: float  # 0 grey .. 1 saturated
    background_value: float  # 0.15..1 brightness
    clothing: str  # crew, v-neck, scoop, roll-neck, shirt, suit
    clothing_hue: float  # 0..1
    clothing_colour: float  # 0..1 saturation
    clothing_value: float  # 0..1 brightness
    necktie: int  # 0 or 1, 1 only with a suit
    necklace: int  # 0 or 1
    earrings: int  # 0 or 1, 1 only if the ears are visible
    texture: int  # 0..9999, the arrangement of strands, freckles and background shapes


HAIR_STYLES = ("bald", *portrait.STYLES)
_MASCULINE_STYLES = dict(zip(HAIR_STYLES, (0.07, 0.10, 0.09, 0.22, 0.17, 0.12, 0.05, 0.01, 0.01, 0.02, 0.03, 0.05, 0.06, 0.0), strict=True))
_FEMININE_STYLES = dict(zip(HAIR_STYLES, (0.01, 0.0, 0.02, 0.06, 0.04, 0.02, 0.06, 0.12, 0.08, 0.20, 0.19, 0.08, 0.05, 0.07), strict=True))


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names, chances = list(weights), np.array(list(weights.values()))
    return names[int(np.searchsorted(np.cumsum(chances) / chances.sum(), rng.random(), side="right"))]


def _draw_beta(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a value of the range from a beta distribution, which prefers its middle; rounded, so a CSV file stores it exactly."""
    return round(float(low + (high - low) * rng.beta(2.2, 2.2)), 4)


def _draw_uniform(rng: np.random.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return round(float(rng.uniform(low, high)), 4)


def _draw_or_zero(rng: np.random.Generator, chance: float, low: float, high: float) -> float:
    """Draw a value of the range with the given probability, otherwise return zero."""
    happens, value = rng.random() < chance, _draw_uniform(rng, low, high)
    return value if happens else 0.0


def sample_factors(index: int, seed: int = 0) -> Factors:
    """Draw the factors of one face.

    Args:
        index: Number of the image, from 0. Together with ``seed`` it determines every factor, independently of all other images.
        seed: Number of the data set, from 0.

    Returns:
        The factors. They are independent, except that the probabilities of beard, hair and make-up depend on ``masculine`` and ``age``.

    Raises:
        ValueError: ``index`` or ``seed`` is negative.

    Example:
        >>> sample_factors(3).skin_tone == sample_factors(3, seed=0).skin_tone
        True
    """
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be 0 or more, got index={index}, seed={seed}")
    rng = np.random.default_rng([seed, index])
    male = rng.random() < 0.5
    masculine = round(float(rng.beta(5, 1.6) if male else rng.beta(1.6, 5)), 4)
    age = round(float(18 + 57 * rng.beta(1.3, 2.2)), 4)
    style = _choose(rng, _MASCULINE_STYLES if male else _FEMININE_STYLES)
    grey = 0.03 + 0.55 * max(age - 42, 0) / 33
    colour = _choose(rng, {"black": 0.34, "brown": 0.34, "blond": 0.20, "red": 0.09, "grey": grey})
    smile = _draw_uniform(rng, 0.35, 1.0) if rng.random() < 0.58 else _draw_uniform(rng, 0.0, 0.3)
    opens = rng.random() < (0.70 if smile > 0.5 else 0.22)
    mouth_open = _draw_uniform(rng, 0.35, 1.0) if opens else 0.0
    clothes = {"crew": 0.28, "v-neck": 0.18, "scoop": 0.14, "roll-neck": 0.08, "shirt": 0.18, "suit": 0.14}
    if male:
        clothes |= {"scoop": 0.02, "suit": 0.24}
    clothing = _choose(rng, clothes)
    necktie, necklace, earrings = rng.random() < 0.7, rng.random() < 0.18, rng.random() < 0.4
    beard = _choose(rng, {"none": 0.50, "stubble": 0.20, "moustache": 0.07, "goatee": 0.09, "full": 0.14})
    painted = 0.02 if male else 0.5
    return Factors(
        yaw=_draw_beta(rng, -26, 26),
        pitch=_draw_beta(rng, -9, 9),
        roll=_draw_beta(rng, -14, 14),
        masculine=masculine,
        age=age,
        face_width=_draw_beta(rng, 0.88, 1.10),
        face_length=_draw_beta(rng, 0.93, 1.07),
        jaw=_draw_beta(rng, 0.0, 0.6) if not male else _draw_beta(rng, 0.25, 1.0),
        cheek=_draw_beta(rng, 0, 1),
        eye_spacing=_draw_beta(rng, 0.93, 1.07),
        skin_tone=_draw_uniform(rng, 0.0, 1.0),
        undertone=_draw_beta(rng, -1, 1),
        blush=round(_draw_beta(rng, 0, 0.5) + _draw_or_zero(rng, 0.15, 0.3, 0.5), 4),
        freckles=_draw_or_zero(rng, 0.14, 0.35, 1.0),
        eye_bags=round(_draw_beta(rng, 0, 0.6) + 0.4 * (age - 18) / 57, 4),
        hair_style=style,
        hair_length=_draw_uniform(rng),
        hair_volume=_draw_uniform(rng),
        hair_colour=colour,
        hair_shade=_draw_beta(rng, -1, 1),
        hair_part=_draw_uniform(rng, -1, 1),
        brow_thickness=_draw_beta(rng, 0.25, 1.0) if male else _draw_beta(rng, 0.0, 0.7),
        brow_arch=_draw_beta(rng, 0, 1),
        brow_height=_draw_beta(rng, -1, 1),
        eye_size=_draw_beta(rng, 0.88, 1.10),
        eye_open=_draw_beta(rng, 0.62, 1.15),
        eye_tilt=_draw_beta(rng, -1, 1),
        eye_colour=_choose(rng, {"brown": 0.50, "hazel": 0.13, "green": 0.10, "blue": 0.19, "grey": 0.08}),
        gaze_x=_draw_beta(rng, -1, 1),
        gaze_y=_draw_beta(rng, -1, 1),
        nose_width=_draw_beta(rng, 0.74, 1.26),
        nose_length=_draw_beta(rng, 0.85, 1.15),
        nose_bridge=_draw_beta(rng, 0.65, 1.25),
        mouth_width=_draw_beta(rng, 0.86, 1.16),
        lip_fullness=_draw_beta(rng, 0.60, 1.45),
        lipstick=_draw_or_zero(rng, painted, 0.35, 1.0),
        lip_hue=_draw_uniform(rng),
        smile=smile,
        mouth_open=mouth_open,
        makeup=_draw_or_zero(rng, painted, 0.2, 1.0),
        beard=beard if male else "none",
        glasses=_choose(rng, {"none": 0.845, "thin": 0.065, "thick": 0.055, "sunglasses": 0.035}),
        glasses_shape=_choose(rng, {"round": 0.3, "square": 0.4, "oval": 0.3}),
        hat=_choose(rng, {"none": 0.92, "cap": 0.03, "beanie": 0.03, "wide": 0.02}),
        hat_hue=_draw_uniform(rng),
        hat_value=_draw_uniform(rng),
        light_angle=_draw_uniform(rng, -65, 65),
        light_height=_draw_beta(rng, 8, 50),
        light_strength=_draw_uniform(rng),
        light_warmth=_draw_beta(rng, -1, 1),
        background=_choose(rng, {"studio": 0.28, "wall": 0.14, "garden": 0.18, "lights": 0.14, "room": 0.18, "sky": 0.08}),
        background_hue=_draw_uniform(rng),
        background_colour=_draw_uniform(rng, 0.05, 0.75),
        background_value=_draw_uniform(rng, 0.15, 1.0),
        clothing=clothing,
        clothing_hue=_draw_uniform(rng),
        clothing_colour=_draw_uniform(rng, 0.0, 0.8),
        clothing_value=_draw_uniform(rng, 0.08, 0.95),
        necktie=int(clothing == "suit" and male and necktie),
        necklace=int(necklace and not male and clothing in ("v-neck", "scoop", "crew")),
        earrings=int(earrings and not male and style not in portrait.LONG_STYLES),
        texture=int(rng.integers(10_000)),
    )


def draw_face(factors: Factors, noise_seed: int = 0) -> np.ndarray:
    """Draw one face.

    Args:
        factors: The face to draw.
        noise_seed: Seed of the camera's grain and of the arrangement of the background; the face does not depend on it.

    Returns:
        Array (218, 178, 3) of uint8 in RGB. The eyes are at row 111.5 and columns 69.5 and 107.5, as in aligned CelebA.

    Example:
        >>> draw_face(sample_factors(0)).shape
        (218, 178, 3)
    """
    return portrait.draw_portrait(factors, noise_seed)


def attributes(factors: Factors) -> dict[str, int]:
    """Return CelebA's forty attributes of a face.

    Each follows from the recorded factors. ``Attractive`` and ``Blurry`` are always -1, because the first is a matter of taste and no drawn
    face is blurry.

    Args:
        factors: The face.

    Returns:
        Dictionary from the names, in CelebA's order and spelling, to 1 (present) or -1 (absent).

    Example:
        >>> len(attributes(sample_factors(0)))
        40
    """
    f = factors
    hair = f.hair_style != "bald"
    beard, coloured = f.beard, hair
    true = {
        "5_o_Clock_Shadow": beard == "stubble",
        "Arched_Eyebrows": f.brow_arch > 0.6,
        "Bags_Under_Eyes": f.eye_bags > 0.55,
        "Bald": not hair,
        "Bangs": f.hair_style in ("fringe", "bob fringe") and f.hat == "none",
        "Big_Lips": f.lip_fullness > 1.15,
        "Big_Nose": f.nose_width > 1.10,
        "Black_Hair": coloured and f.hair_colour == "black",
        "Blond_Hair": coloured and f.hair_colour == "blond",
        "Brown_Hair": coloured and f.hair_colour == "brown",
        "Bushy_Eyebrows": f.brow_thickness > 0.65,
        "Chubby": f.cheek > 0.65 and f.face_width > 1.0,
        "Double_Chin": f.cheek > 0.8 and f.face_width > 1.0,
        "Eyeglasses": f.glasses != "none",
        "Goatee": beard == "goatee",
        "Gray_Hair": coloured and f.hair_colour == "grey",
        "Heavy_Makeup": f.makeup > 0.5 and f.lipstick > 0.35,
        "High_Cheekbones": f.smile > 0.6 or f.cheek < 0.25,
        "Male": f.masculine > 0.5,
        "Mouth_Slightly_Open": f.mouth_open > 0,
        "Mustache": beard in ("moustache", "goatee", "full"),
        "Narrow_Eyes": f.eye_open < 0.78,
        "No_Beard": beard in ("none", "moustache"),
        "Oval_Face": f.jaw < 0.35 and f.face_width < 1.0,
        "Pale_Skin": f.skin_tone < 0.12,
        "Pointy_Nose": f.nose_width < 0.95 and f.nose_bridge > 1.0,
        "Receding_Hairline": f.hair_style == "receding",
        "Rosy_Cheeks": f.blush > 0.5,
        "Sideburns": beard == "full",
        "Smiling": f.smile > 0.4,
        "Straight_Hair": f.hair_style in ("short", "side part", "fringe", "bob", "bob fringe", "long straight"),
        "Wavy_Hair": f.hair_style in ("long wavy", "curly"),
        "Wearing_Earrings": f.earrings == 1,
        "Wearing_Hat": f.hat != "none",
        "Wearing_Lipstick": f.lipstick > 0,
        "Wearing_Necklace": f.necklace == 1,
        "Wearing_Necktie": f.necktie == 1,
        "Young": f.age < 45,
    }
    return {name: 1 if true.get(name, False) else -1 for name in ATTRIBUTE_NAMES}


# ---------------------------------------------------------------------------------------------------------------------- files
def _image_name(index: int) -> str:
    return f"{index + 1:06d}.jpg"  # CelebA counts from one


def _draw_files(folder: str, numbers: range, seed: int, quality: int) -> None:
    """Draw and write some of the images, as one process does."""
    for index in numbers:
        image = draw_face(sample_factors(index, seed), noise_seed=index)
        Image.fromarray(image).save(Path(folder) / _image_name(index), quality=quality, subsampling=0)


def _draw_all(folder: Path, numbers: range, seed: int, processes: int | None, quality: int) -> None:
    workers = min(processes or os.cpu_count() or 1, -(-len(numbers) // MIN_IMAGES_PER_PROCESS))
    if workers <= 1:
        _draw_files(str(folder), numbers, seed, quality)
        return
    # Start separate programs, because a fork of a kernel in which TensorFlow runs may hang, and the other start methods of
    # multiprocessing run the caller's script again.
    arguments = [sys.executable, "-m", __package__, str(folder), str(numbers.stop), str(workers), str(seed), str(quality)]
    search_path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([*arguments, str(first)], env=environment, stderr=subprocess.PIPE, text=True)
        for first in range(numbers.start, numbers.start + workers)
    ]
    try:
        errors = [process.communicate()[1] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    if any(process.returncode for process in running):
        raise RuntimeError(f"drawing the faces failed:\n{next(filter(None, errors), '').strip()}")


def draw_share(folder: str, stop: str, workers: str, seed: str, quality: str, first: str) -> None:
    """Draw every ``workers``-th image from ``first`` to ``stop`` - 1. The arguments are text: `_draw_all` starts this as a program."""
    _draw_files(folder, range(int(first), int(stop), int(workers)), int(seed), int(quality))


def _partition(index: int, num_images: int) -> int:
    """Return 0 (train), 1 (validation) or 2 (test): contiguous blocks of about 80, 10 and 10 %, as in CelebA."""
    held_out = num_images // 10
    return 0 if index < num_images - 2 * held_out else 1 if index < num_images - held_out else 2


def _write_tables(folder: Path, num_images: int, seed: int) -> None:
    all_factors = [sample_factors(index, seed) for index in range(num_images)]
    with open(folder / "list_attr_celeba.txt", "w", newline="\n") as file:
        file.write(f"{num_images}\n{' '.join(ATTRIBUTE_NAMES)} \n")
        for index, factors in enumerate(all_factors):
            file.write(_image_name(index) + "".join(f" {value:2d}" for value in attributes(factors).values()) + "\n")
    with open(folder / "list_eval_partition.txt", "w", newline="\n") as file:
        file.writelines(f"{_image_name(index)} {_partition(index, num_images)}\n" for index in range(num_images))
    with open(folder / "factors.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image_id", *(field.name for field in fields(Factors))])
        table.writerows([_image_name(index), *asdict(factors).values()] for index, factors in enumerate(all_factors))


def _check_write(folder: Path, num_images: int, seed: int, processes: int | None, quality: int) -> None:
    for name, value, low, high in (
        ("num_images", num_images, 1, MAX_IMAGES),
        ("seed", seed, 0, 2**63 - 1),
        ("quality", quality, 1, 95),
        ("processes", 1 if processes is None else processes, 1, 1024),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, got {value}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: choose another folder, or delete it to draw the faces again")


def write_faces(folder: str | Path, num_images: int = 4096, seed: int = 0, processes: int | None = None, quality: int = QUALITY) -> Path:
    """Draw a data set and write it as the files of CelebA.

    Writes ``img_align_celeba/000001.jpg`` and so on (218 x 178 pixels), ``list_attr_celeba.txt``, ``list_eval_partition.txt`` and, in
    addition to CelebA's files, ``factors.csv``. All files are written to a temporary folder, which is renamed when it is complete, so
    no other process sees a partial set.

    Args:
        folder: Folder of the set; it must be empty or not exist.
        num_images: Number of faces, 1..999999.
        seed: Number of the data set, from 0. Image i depends neither on ``num_images`` nor on ``processes``.
        processes: Number of drawing processes; None for one per core.
        quality: JPEG quality, 1..95.

    Returns:
        The folder.

    Raises:
        FileExistsError: The folder is not empty.
        ValueError: A number is outside its range.
        RuntimeError: A drawing process failed.

    Example:
        ``write_faces("faces", num_images=8)``
    """
    folder = Path(folder)
    _check_write(folder, num_images, seed, processes, quality)
    return _write_set(folder, num_images, seed, processes, quality, [])


def _write_set(folder: Path, num_images: int, seed: int, processes: int | None, quality: int, drawn: Sequence[Path]) -> Path:
    """Write a set, of which the first images may be drawn already."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        unfinished.chmod(0o755)  # mkdtemp creates a folder that only its owner can read
        images = unfinished / "img_align_celeba"
        images.mkdir()
        for path in drawn:
            shutil.copyfile(path, images / path.name)
        _draw_all(images, range(len(drawn), num_images), seed, processes, quality)
        _write_tables(unfinished, num_images, seed)
        if folder.is_dir() and os.name == "nt":
            folder.rmdir()  # Windows cannot rename a folder to the name of an empty one
        try:
            os.replace(unfinished, folder)
        except OSError as error:
            if not folder.exists():
                raise
            raise FileExistsError(f"{folder} was filled by another process while the faces were drawn") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _drawn_before(num_images: int, seed: int) -> list[Path]:
    """Return the first images of a set, as many as the largest other set in the cache with this seed has."""
    name = re.compile(rf"faces-{VERSION}-n(\d+)-s{seed}")
    sets = [(int(match[1]), folder) for folder in cache_root().iterdir() if (match := name.fullmatch(folder.name))]
    size, largest = max(sets, default=(0, Path()))
    paths = (largest / "img_align_celeba" / _image_name(index) for index in range(min(num_images, size)))
    return list(itertools.takewhile(Path.exists, paths))


def load_faces(num_images: int = 4096, seed: int = 0) -> Path:
    """Return the folder of the cached data set, which is drawn on first use; images that another cached set has are copied from there.

    Args:
        num_images: Number of faces, 1..999999.
        seed: Number of the data set, from 0.

    Returns:
        The folder ``faces-<version>-n<num_images>-s<seed>`` below ``glo_lib.system.cache.cache_root()``, as written by ``write_faces``.

    Raises:
        ValueError: A number is outside its range.
        PermissionError: The cache cannot be written.

    Example:
        ``load_faces(num_images=64).name`` is ``"faces-v1-n64-s0"``.
    """
    folder = cache_root() / f"faces-{VERSION}-n{num_images}-s{seed}"
    if os.path.exists(folder / "factors.csv"):  # false, too, if the cache may not be entered
        return folder
    make_cache_folder()
    try:
        _check_write(folder, num_images, seed, None, QUALITY)
        drawn = _drawn_before(num_images, seed)
        if len(drawn) < num_images:
            print(f"Drawing {num_images - len(drawn)} faces (seed {seed}) once, into {shown(folder)}")
        return _write_set(folder, num_images, seed, None, QUALITY, drawn)
    except FileExistsError:
        if (folder / "factors.csv").exists():  # another process was faster and has drawn the same set
            return folder
        raise


def read_factors(folder: str | Path) -> Iterator[Factors]:
    """Read the factors of every image of a set, in the order of the files.

    Args:
        folder: A folder written by ``write_faces``.

    Yields:
        The ``Factors`` of each image, exactly as it was drawn.

    Example:
        ``next(read_factors(load_faces(64))) == sample_factors(0)``
    """
    types = get_type_hints(Factors)
    with open(Path(folder) / "factors.csv", newline="") as file:
        for row in csv.DictReader(file):
            del row["image_id"]
            yield Factors(**{name: types[name](text) for name, text in row.items()})
