"""What travels with `scripts/gpu-family` is all that the family imports on a machine that has JAX,
SciPy and scikit-learn.
"""

import re
import sys

from tests import support
from tests.test_architecture import PACKAGES, all_imports, module_name, sources

# What import names are called as packages; JAX brings NumPy.
THERE = {"jax", "numpy", "scipy", "sklearn"}
MODULES = {"absl-py": "absl"}


def packed() -> set[str]:
    script = (support.REPOSITORY / "scripts/gpu-family").read_text()
    found = re.search(r'--target "\$site" (.*)', script)
    assert found
    names = {name.partition("==")[0] for name in found[1].split()}
    return {MODULES.get(name, name) for name in names}


def imported_by_family() -> dict[str, str]:
    """Packages from outside, each with the import that brings it: of the command's own file and of
    training/fast all imports, of what they lead to those made while a file loads.
    """
    files = sources(support.REPOSITORY)
    by_module = {module_name(file): file for file in files}
    imports = all_imports(files)
    # `family --finish` runs at home.
    home = {"training.runs.finish"}
    ahead = ["training/__main__.py", "training/cli/family.py"]
    seen: set[str] = set()
    outside: dict[str, str] = {}
    while ahead:
        file = ahead.pop()
        if file in seen:
            continue
        seen.add(file)
        whole = file.startswith("training/fast/") or file == "training/cli/family.py"
        for one in imports:
            if one.file != file or not (one.when == "load" or (whole and one.when == "call")):
                continue
            if one.top in PACKAGES:
                if one.module not in home:
                    ahead.append(by_module[one.module])
            elif one.top not in sys.stdlib_module_names:
                outside[one.top] = str(one)
    return outside


def test_what_the_family_imports_travels_or_is_there() -> None:
    found = imported_by_family()
    assert {"keras", "click", "tqdm", "jax"} <= set(found)
    missing = {name: why for name, why in found.items() if name not in packed() | THERE}
    assert not missing
