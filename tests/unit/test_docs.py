"""The generated documentation is that of the code beside it."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent


def test_the_recording_format_is_not_stale() -> None:
    checked = subprocess.run([sys.executable, "tools/docs.py", "--check"], cwd=REPOSITORY, check=False, timeout=60)
    assert checked.returncode == 0, "docs/recording-format.md is stale: run `make docs`"
