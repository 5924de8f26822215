"""`make release-check`: checks that the distributions are complete, installable and usable.

Builds the site of the documentation, the source distribution and the wheel; checks their metadata and that nothing is
missing in the wheel; tries it in fresh environments, as `environments.py` does. Everything is written to build/.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from environments import DIST, ROOT, run, step, try_everywhere


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    step("the documentation as a site, without a warning")
    run(sys.executable, "-m", "mkdocs", "build", "--quiet")
    step("source distribution and wheel")
    run(sys.executable, "-m", "build", "--quiet", "--outdir", DIST, ROOT)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    step("everything in the wheel, and nothing else")
    (wheel,) = DIST.glob("*.whl")
    check_contents(wheel)
    try_everywhere()
    step(f"all is well: {', '.join(path.name for path in sorted(DIST.iterdir()))}")


def check_contents(wheel: Path) -> None:
    """Compares the files in the wheel with those of the package in git."""
    listed = subprocess.run(["git", "ls-files", "atrank_tf"], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = set(listed.stdout.split())
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if found != expected:
        sys.exit(f"missing in the wheel: {sorted(expected - found)}; more than git keeps: {sorted(found - expected)}")


if __name__ == "__main__":
    main()
