"""`make release-check`: would what is uploaded be complete, installable and usable?

Builds the site of the documentation, the source distribution and the wheel; checks their metadata and that nothing is
missing in the wheel; installs it into fresh environments, with the newest and with the oldest versions that setup.cfg
allows, and runs `smoke.py` there from an empty folder; lets mypy look at it. Everything is written to build/.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build/release"
SOURCES = ROOT / "release"


def main() -> None:
    shutil.rmtree(BUILD, ignore_errors=True)
    step("the documentation as a site, without a warning")
    run(sys.executable, "-m", "mkdocs", "build", "--quiet")
    step("source distribution and wheel")
    run(sys.executable, "-m", "build", "--quiet", "--outdir", BUILD / "dist", ROOT)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted((BUILD / "dist").iterdir()))
    (wheel,) = (BUILD / "dist").glob("*.whl")
    step("everything in the wheel, and nothing else")
    check_contents(wheel)
    oldest = BUILD / "oldest.txt"
    oldest.write_text("\n".join(oldest_versions()) + "\n")
    with tempfile.TemporaryDirectory() as folder:  # Outside the repository, so that nothing of it can be found.
        for name, constraints in (("newest", ()), ("oldest", ("--constraint", oldest))):
            step(f"a fresh environment with the {name} versions that setup.cfg allows")
            python = environment(Path(folder) / name, f"{wheel}[serving]", *constraints)
            empty = Path(folder) / f"{name}-work"
            empty.mkdir()
            run(python, "-I", shutil.copy(SOURCES / "smoke.py", Path(folder)), cwd=empty)
            if name == "newest":
                step("the types of the installed package")
                run(python, "-m", "pip", "install", "--quiet", *dev_requirement("mypy"))
                run(python, "-m", "mypy", "--strict", shutil.copy(SOURCES / "typed.py", empty), cwd=empty)
            shutil.rmtree(Path(folder) / name)
    step(f"all is well: {', '.join(path.name for path in sorted((BUILD / 'dist').iterdir()))}")


def step(what: str) -> None:
    print(f"== {what}", flush=True)


def run(*command: object, cwd: Path = ROOT) -> None:
    # Nothing of the repository may be found but by name.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=own)
    if done.returncode:
        sys.exit(f"failed: {' '.join(str(part) for part in command)}")


def environment(folder: Path, *install: object) -> Path:
    """Makes a virtual environment with something installed; returns its Python."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", *install)
    run(python, "-m", "pip", "check")
    run(python, "-m", "pip", "list", "--format=freeze", "--exclude=pip", "--exclude=setuptools")
    return python


def check_contents(wheel: Path) -> None:
    """Compares the wheel with the files that git keeps of the package."""
    listed = subprocess.run(["git", "ls-files", "atrank_tf"], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = set(listed.stdout.split())
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if found != expected:
        sys.exit(f"missing in the wheel: {sorted(expected - found)}; more than git keeps: {sorted(found - expected)}")


def oldest_versions() -> list[str]:
    """Returns the lower end of every range in setup.cfg, as constraints of pip."""
    return [re.sub(r"\[.*\]", "", re.sub(r">=([\d.]+).*", r"==\1", line)) for line in requirements("serving")]


def dev_requirement(name: str) -> Iterable[str]:
    return (line for line in requirements("dev") if re.split(r"[>=\[]", line)[0] == name)


def requirements(extra: str) -> list[str]:
    config = configparser.ConfigParser(comment_prefixes=("#",))
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"] + "\n" + config["options.extras_require"][extra]
    return [line.strip() for line in lines.splitlines() if line.strip()]


if __name__ == "__main__":
    main()
