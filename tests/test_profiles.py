"""What the device's profiles install: the closure of their dependencies, read from the installed
packages' metadata.
"""

import re
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

WORKSTATION = {
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "torch",
    "scikit-learn",
    "pandas",
    "matplotlib",
    "scipy",
    "tf2onnx",
}


def closure(requirement: Requirement, seen: set[str]) -> set[str]:
    name = re.sub(r"[-_.]+", "-", requirement.name).lower()
    key = f"{name}[{','.join(sorted(requirement.extras))}]"
    if key in seen:
        return seen
    seen |= {key, name}
    try:
        lines = requires(requirement.name) or []
    except (
        PackageNotFoundError
    ):  # for another platform or Python: not part of what this install brings
        return seen
    for line in lines:
        child = Requirement(line)
        environments = [
            {**default_environment(), "extra": extra} for extra in ("", *requirement.extras)
        ]
        if child.marker is None or any(
            child.marker.evaluate(environment) for environment in environments
        ):
            closure(child, seen)
    return seen


@pytest.mark.parametrize("profile", ["pi", "jetson", "desktop"])
def test_runtime_profile_brings_no_workstation_package(profile: str) -> None:
    brought = closure(Requirement(f"edgeemo[{profile}]"), set())
    # LiteRT is what the face detector that ships runs on, whatever runs the network.
    assert {"numpy", "click", "pillow", "ai-edge-litert"} <= brought
    assert ("opencv-python-headless" in brought) == (profile == "desktop")
    assert not brought & WORKSTATION


def test_training_profile_is_seen_to_bring_them() -> None:
    assert {"keras", "scikit-learn", "matplotlib", "pandas"} <= closure(
        Requirement("edgeemo[train]"), set()
    )


def test_base_install_is_numpy_and_click() -> None:
    direct = {Requirement(line).name for line in requires("edgeemo") or [] if "extra" not in line}
    assert direct == {"numpy", "click"}
