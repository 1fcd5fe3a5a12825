"""Fail when a test was skipped that is not on the written list: a browser that is missing must not make its tests vanish unseen.

    python .ci/check_skips.py TEST_LOG

Each line of ``.ci/allowed_skips.txt`` is a file and a part of the reason, separated by a colon; lines that begin with # are comments.
"""

import re
import sys
from pathlib import Path

log = Path(sys.argv[1]).read_text(errors="replace")
listed = [line for line in (Path(__file__).parent / "allowed_skips.txt").read_text().splitlines() if line and not line.startswith("#")]
allowed = [tuple(part.strip() for part in line.split(":", 1)) for line in listed]
skipped = re.findall(r"^SKIPPED \[\d+\] (.+)$", log, re.MULTILINE)
unexpected = [line for line in skipped if not any(line.startswith(file) and reason in line for file, reason in allowed)]
counted = re.search(r"(\d+) skipped", log)
if counted and int(counted[1]) and not skipped:
    unexpected.append("tests were skipped, and the log does not say which: run pytest with -ra")
for line in unexpected:
    print(f"skipped, and not in .ci/allowed_skips.txt: {line}")
sys.exit(bool(unexpected))
