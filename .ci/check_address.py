"""Stop a release whose page on PyPI would show a broken picture or no way to the project: both need the address of the repository.

    python .ci/check_address.py

On PyPI the README stands alone, so every picture and link in it needs a full address, and the links beside it come from pyproject.toml.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
config, readme, package = ((ROOT / name).read_text("utf8") for name in ("_config.yml", "README.md", "pyproject.toml"))
url, branch = (re.search(rf"^  {key}: (\S+)", config, re.MULTILINE)[1] for key in ("url", "branch"))
nobody = re.search(r"^ +\w+: \S*OWNER", config, re.MULTILINE)
relative = re.findall(r"\]\((?!https://|#)([^)\s]+)", readme)
problems = [
    *(["_config.yml: replace OWNER, and run book/_extensions/head_cell.py"] if nobody else []),
    *[f"README.md: {path} is not found on PyPI; write {url}/raw/{branch}/{path}" for path in relative],
    *([] if f'"{url}"' in package else [f'pyproject.toml: PyPI shows no link; add [project.urls] with the line Repository = "{url}"']),
]
print("\n".join(problems) or f"the README and the package name {url}")
sys.exit(bool(problems))
