"""``python -m glo_lib.faces`` draws a share of a data set. `glo_lib.faces.dataset.write_faces` starts one such process for each core."""

import sys

from glo_lib.faces.dataset import draw_share

draw_share(*sys.argv[1:])
