"""Look for inputs that break a reader: `python -m tests.fuzz TARGET SECONDS FOLDER`, with atheris installed.

What breaks it lies in the folder as `crash-...`; a copy in `tests/fuzz/broke/TARGET-...` is read by the tests then.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["benchbench", "yaml"]):
    from tests.fuzz.targets import LARGEST, TARGETS


def main() -> None:
    """Fuzz one target, starting from the files in the folder."""
    name, seconds, folder = sys.argv[1:]
    target = TARGETS[name]
    Path(folder).mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", "-timeout=20", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], folder, f"-artifact_prefix={folder}/", *options], target)
    atheris.Fuzz()


main()
