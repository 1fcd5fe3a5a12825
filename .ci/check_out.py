"""Look through an executed notebook for what a reader must not see: errors, log noise, missing figures, a result below PCA."""

import json
import re
import sys
from pathlib import Path

NOISE = re.compile(r"WARNING|deprecat|absl|cuda|oneDNN|Traceback", re.IGNORECASE)

cells = [cell for cell in json.loads(Path(sys.argv[1]).read_text())["cells"] if cell["cell_type"] == "code"]
outputs = [output for cell in cells for output in cell["outputs"]]
text = "".join("".join(output.get("text", [])) for output in outputs)
margin = re.search(r"margin over PCA: (-?[\d.]+) dB", text)
figures = sum(bool({"image/jpeg", "image/png"} & set(output.get("data", {}))) for output in outputs)
problems = [
    *[f"error: {output['evalue']}" for output in outputs if output["output_type"] == "error"],
    *[f"noise: {line}" for line in text.splitlines() if NOISE.search(line)],
    *[f"on the error stream: {''.join(output['text'])}" for output in outputs if output.get("name") == "stderr"],
    *(["fewer than 7 figures"] if figures < 7 else []),
    *(["no result"] if margin is None else [] if float(margin[1]) > 0 else [f"below PCA by {margin[1]} dB"]),
]
print("\n".join(problems) or f"{sys.argv[1]}: {len(cells)} cells, {figures} figures, {margin[1]} dB above PCA")
sys.exit(bool(problems))
