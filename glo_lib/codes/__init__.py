"""The table of latent codes: its initial values, and optimizers whose cost does not grow with the number of images.

The table has one row for each training image, so it grows with the data. For the 202,599 images of CelebA and d = 100 it has 20 million
parameters, more than the decoder. Its modules keep this affordable:

- `glo_lib.codes.pca`: initial codes from the principal components of the images;
- `glo_lib.codes.adam`: an Adam that updates only the rows in the batch;
- `glo_lib.codes.sgd`: plain gradient descent for these rows, without moments;
- `glo_lib.codes.table`: random initial codes, and tables of zeros that need no second copy in memory.
"""

from glo_lib.codes.adam import RowwiseAdam
from glo_lib.codes.pca import Pca, fit_pca, pca_codes
from glo_lib.codes.sgd import RowwiseSgd
from glo_lib.codes.table import create_codes, first_row, large_zeros, look_up_rows, normal_codes

__all__ = [
    "Pca",
    "RowwiseAdam",
    "RowwiseSgd",
    "create_codes",
    "first_row",
    "fit_pca",
    "large_zeros",
    "look_up_rows",
    "normal_codes",
    "pca_codes",
]
