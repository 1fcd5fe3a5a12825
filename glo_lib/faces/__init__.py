"""The built-in data set: drawn faces, each determined by recorded factors, in the files and formats of CelebA."""

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
