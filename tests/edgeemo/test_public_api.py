"""The public surface: names, light imports, and the exception tree."""

import inspect
import re
import subprocess
import sys

import pytest

import edgeemo
from edgeemo import errors

NAMES = [
    "LABELS",
    "Box",
    "Bundle",
    "EdgeemoError",
    "EmotionSensor",
    "Face",
    "FakeBackend",
    "FakeCamera",
    "Reading",
    "Recognizer",
    "annotate",
    "load_bundle",
    "predict",
]
HEAVY = [
    "cv2",
    "tensorflow",
    "keras",
    "sklearn",
    "pandas",
    "matplotlib",
    "torch",
    "onnxruntime",
    "ai_edge_litert",
]
ERRORS = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}


def test_public_names_are_known_and_sorted() -> None:
    assert edgeemo.__all__ == NAMES
    assert (
        sorted(edgeemo.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
        == NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(edgeemo, name) is not None
    assert name in dir(edgeemo)


def test_annotate_is_the_function_whatever_was_imported_before() -> None:
    code = "import edgeemo, edgeemo.cli.window, edgeemo.drawing; print(edgeemo.annotate.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "annotate\n"


def test_nothing_but_public_names_is_listed() -> None:
    assert [name for name in dir(edgeemo) if not name.startswith("__")] == sorted(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "LABELS"])
def test_public_class_or_function_is_documented_with_its_public_members(name: str) -> None:
    value = getattr(edgeemo, name)
    assert len(inspect.getdoc(value) or "") > 20
    for member, attribute in vars(value).items() if inspect.isclass(value) else ():
        if not member.startswith("_") and inspect.isfunction(attribute):
            assert attribute.__doc__, f"{name}.{member}"


def test_the_seven_labels_stand_in_their_order() -> None:
    assert edgeemo.LABELS == ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise")


def test_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="edgeemo.*'Camera3'"):
        _ = edgeemo.Camera3


def test_star_import_gives_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from edgeemo import *", namespace)
    assert sorted(NAMES) == sorted(name for name in namespace if not name.startswith("__"))


@pytest.mark.parametrize("module", ["edgeemo", "edgeemo.cli.main"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("name", sorted(set(ERRORS) - {"EdgeemoError"}))
def test_error_has_the_root_and_a_builtin_second_parent(name: str) -> None:
    kind = ERRORS[name]
    assert issubclass(kind, errors.EdgeemoError)
    assert issubclass(_second_parents(kind)[0], Exception)
    assert kind.__doc__


def test_messages_name_options_to_programs_and_arguments_to_python() -> None:
    assert errors.worded("--record", "path") == "path"
    with errors.speaking_of_options():
        with errors.speaking_of_options():
            assert errors.worded("--record", "path") == "--record"
        assert errors.worded("--record", "path") == "--record"
    assert errors.worded("--record", "path") == "path"


def test_errors_tree_in_the_docstring_is_true() -> None:
    drawn: dict[str, tuple[str, str]] = {}
    above = ["EdgeemoError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^((?:│   |    )*)[├└]── (\w+) \((\w+)\)  +\S", line)
        if found:
            depth = len(found[1]) // 4
            above = [*above[: depth + 1], found[2]]
            drawn[found[2]] = above[depth], found[3]
    true = {
        name: (kind.__bases__[0].__name__, _second_parents(kind)[0].__name__)
        for name, kind in ERRORS.items()
        if name != "EdgeemoError"
    }
    assert drawn == true


def _second_parents(kind: type) -> list[type]:
    return [
        parent
        for parent in kind.__mro__
        if parent.__module__ == "builtins" and parent not in Exception.__mro__
    ]
