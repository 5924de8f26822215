"""`make test-environments`: tries the wheel with the oldest and with the newest Python and packages allowed.

Each time a fresh environment, outside the repository, gets the wheel in build/release/dist; `smoke.py` runs there, from
an empty folder, and in the last one mypy looks at the installed types. setup.cfg says what is allowed: the Pythons by
its classifiers, the packages by its ranges.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "release"
DIST = ROOT / "build/release/dist"


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    step("the wheel")
    run(sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", DIST, ROOT)
    try_everywhere()


def try_everywhere() -> None:
    """Tries the wheel, and ends the process if it does not work; a missing Python is left out with a message."""
    (wheel,) = DIST.glob("*.whl")
    oldest, newest = pythons()
    with tempfile.TemporaryDirectory() as folder:  # Outside the repository, so that nothing of it can be found.
        constraints = Path(folder) / "oldest.txt"
        constraints.write_text("\n".join(oldest_versions()) + "\n")
        for name, which, options in (("oldest", oldest, ("--constraint", constraints)), ("newest", newest, ())):
            step(f"Python {which}, and of every package the {name} version that setup.cfg allows")
            interpreter = shutil.which(f"python{which}")
            if interpreter is None or subprocess.run([interpreter, "-c", "import ensurepip"]).returncode:
                print(f"left out: there is no python{which} with venv on this machine")
                continue
            python = environment(interpreter, Path(folder) / name, f"{wheel}[serving]", *options)
            empty = Path(folder) / f"{name}-work"
            empty.mkdir()
            run(python, "-I", shutil.copy(SOURCES / "smoke.py", folder), cwd=empty)
            if name == "newest":
                step("the types of the installed package")
                run(python, "-m", "pip", "install", "--quiet", *dev_requirement("mypy"))
                run(python, "-m", "mypy", "--strict", shutil.copy(SOURCES / "typed.py", empty), cwd=empty)
            shutil.rmtree(Path(folder) / name)


def step(what: str) -> None:
    print(f"== {what}", flush=True)


def run(*command: object, cwd: Path = ROOT) -> None:
    # Nothing of the repository may be found but by name.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=own)
    if done.returncode:
        sys.exit(f"failed: {' '.join(str(part) for part in command)}")


def environment(interpreter: str, folder: Path, *install: object) -> Path:
    """Makes a virtual environment with something installed; returns its Python."""
    run(interpreter, "-m", "venv", folder)
    python = folder / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *install)
    run(python, "-m", "pip", "check")
    run(python, "-m", "pip", "list", "--format=freeze", "--exclude=pip", "--exclude=setuptools")
    return python


def pythons() -> tuple[str, str]:
    """Returns the oldest and the newest Python that setup.cfg names, as 3.11."""
    found = re.findall(
        r"^Programming Language :: Python :: (3\.\d+)$", setup()["metadata"]["classifiers"], re.MULTILINE
    )
    by_age = sorted(found, key=lambda version: int(version.split(".")[1]))
    return by_age[0], by_age[-1]


def oldest_versions() -> list[str]:
    """Returns the lower end of every range in setup.cfg, as constraints of pip."""
    return [re.sub(r"\[.*\]", "", re.sub(r">=([\d.]+).*", r"==\1", line)) for line in requirements("serving")]


def dev_requirement(name: str) -> Iterable[str]:
    return (line for line in requirements("dev") if re.split(r"[>=\[]", line)[0] == name)


def requirements(extra: str) -> list[str]:
    lines = setup()["options"]["install_requires"] + "\n" + setup()["options.extras_require"][extra]
    return [line.strip() for line in lines.splitlines() if line.strip()]


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser(comment_prefixes=("#",))
    config.read(ROOT / "setup.cfg")
    return config


if __name__ == "__main__":
    main()
