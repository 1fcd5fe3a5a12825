"""The table of latent codes: where it starts, and how it is learned at a cost that does not grow with the number of images.

There is one row for each training image, so the table grows with the data: 202,599 images of CelebA and d = 100 make 20 million parameters,
more than the decoder has. Three things deal with that:

- `glo_lib.codes.pca`: a start which already knows the data, by principal component analysis;
- `glo_lib.codes.adam`: an Adam that touches only the rows of the batch;
- `glo_lib.codes.table`: blocks instead of whole tables.
"""

from glo_lib.codes.adam import RowwiseAdam
from glo_lib.codes.pca import Pca, fit_pca, pca_codes
from glo_lib.codes.table import large_zeros, normal_codes

__all__ = ["Pca", "RowwiseAdam", "fit_pca", "large_zeros", "normal_codes", "pca_codes"]
