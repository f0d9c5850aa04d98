import subprocess
import sys


def test_importing_statistics_is_light():
    code = (
        "import sys, benchbench.stats; print([m for m in ('numpy', 'scipy', 'networkx', 'torch') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
