"""Use a trained model: decode codes, sample from a prior, interpolate, encode, edit, find neighbours, export.

Everything here needs only the folder of a run. GLO itself does not define these steps, so each of them is a module of its own. This package
gathers their public names:

- `glo_lib.inference.model`: load a decoder and its latent codes from a run folder;
- `glo_lib.inference.encoder`: load the encoder of a VAE from a run folder;
- `glo_lib.inference.variables`: set the variables of a trained graph, from a checkpoint or from arrays;
- `glo_lib.inference.priors`: fit distributions to the codes and draw new codes (a package, with a module for each kind);
- `glo_lib.inference.encoding`: find codes of unseen images by optimisation, and inpaint;
- `glo_lib.inference.interpolation`: interpolate between codes;
- `glo_lib.inference.directions`: principal components, attribute directions, and edits;
- `glo_lib.inference.neighbours`: find the nearest training images and codes;
- `glo_lib.inference.export`: export a decoder for use without this library;
- `glo_lib.inference.web`: the form of a model in which a web page decodes with it;
- `glo_lib.inference.slider`: show images with a slider in a notebook.

`project_array`, which projects an array of codes, comes from `glo_lib.projection`.

``python -m glo_lib --help`` offers most of this on the command line.
"""

from glo_lib.inference.directions import (
    Attributes,
    EditScore,
    PrincipalDirections,
    Probe,
    attribute_direction,
    fit_probe,
    principal_directions,
    read_attributes,
    score_edit,
    split_rows,
    walk,
)
from glo_lib.inference.encoder import TrainedEncoder, load_encoder
from glo_lib.inference.encoding import (
    CodeRegression,
    Encoding,
    UnseenImages,
    encode,
    fit_code_regression,
    half_mask,
    inpaint,
    read_images,
)
from glo_lib.inference.export import export_npz, export_saved_model, load_npz
from glo_lib.inference.interpolation import PathMeasure, interpolate, measure_path
from glo_lib.inference.model import TrainedModel, check_one_code_per_image, load, load_stored_codes
from glo_lib.inference.neighbours import nearest_codes, nearest_neighbours
from glo_lib.inference.priors import (
    PRIORS,
    FlowPrior,
    GaussianPrior,
    ImlePrior,
    KernelPrior,
    MixturePrior,
    NeighbourPrior,
    Prior,
    fit_diagonal_gaussian,
    fit_flow,
    fit_full_gaussian,
    fit_imle,
    fit_kernel,
    fit_mixture,
    fit_neighbours,
    fit_prior,
    fit_unit_gaussian,
    sample,
)
from glo_lib.inference.slider import Slider, slider, sliders
from glo_lib.projection import project_array

__all__ = [
    "PRIORS",
    "Attributes",
    "CodeRegression",
    "EditScore",
    "Encoding",
    "FlowPrior",
    "GaussianPrior",
    "ImlePrior",
    "KernelPrior",
    "MixturePrior",
    "NeighbourPrior",
    "PathMeasure",
    "PrincipalDirections",
    "Prior",
    "Probe",
    "Slider",
    "TrainedEncoder",
    "TrainedModel",
    "UnseenImages",
    "attribute_direction",
    "check_one_code_per_image",
    "encode",
    "export_npz",
    "export_saved_model",
    "fit_code_regression",
    "fit_diagonal_gaussian",
    "fit_flow",
    "fit_full_gaussian",
    "fit_imle",
    "fit_kernel",
    "fit_mixture",
    "fit_neighbours",
    "fit_prior",
    "fit_probe",
    "fit_unit_gaussian",
    "half_mask",
    "inpaint",
    "interpolate",
    "load",
    "load_encoder",
    "load_npz",
    "load_stored_codes",
    "measure_path",
    "nearest_codes",
    "nearest_neighbours",
    "principal_directions",
    "project_array",
    "read_attributes",
    "read_images",
    "sample",
    "score_edit",
    "slider",
    "sliders",
    "split_rows",
    "walk",
]
