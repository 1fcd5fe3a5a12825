"""The embedded data: drawn faces, each a function of recorded factors, in CelebA's files and formats."""

from glo_lib.faces.dataset import (
    ATTRIBUTE_NAMES,
    HAIR_STYLES,
    VERSION,
    Factors,
    attributes,
    draw_face,
    load_faces,
    read_factors,
    sample_factors,
    write_faces,
)

__all__ = [
    "ATTRIBUTE_NAMES",
    "HAIR_STYLES",
    "VERSION",
    "Factors",
    "attributes",
    "draw_face",
    "load_faces",
    "read_factors",
    "sample_factors",
    "write_faces",
]
