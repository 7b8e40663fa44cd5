"""The folder tree is the dependency graph, and the tables below are the truth of it
(docs/architecture.md).
"""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import REPOSITORY

PACKAGES = ("edgeemo", "training", "export", "workstation")

# What each part of edgeemo may import of edgeemo. A part is a file or folder right below edgeemo/;
# "" is edgeemo/__init__.py, which nobody below imports; anyone may take the version. A part that is
# not in this table may not exist.
LAYERS: dict[str, set[str]] = {
    "": {"version"},
    "version": set(),
    "errors": set(),
    "broker": {"errors"},
    "cache": set(),
    "optional": {"errors"},
    "registry": {"errors", "optional"},
    "contract": {"errors"},
    "results": {"contract", "errors"},
    "models": {"errors"},
    "trust": {"contract", "errors", "models", "optional"},
    "downloads": {"contract", "errors"},
    "data": {"contract", "errors", "optional"},
    "label_layout": {"results"},
    "drawing": {"contract", "errors", "label_layout", "optional", "results"},
    "backends": {"cache", "contract", "errors", "optional", "registry"},
    "firmware": {"backends", "contract", "errors", "optional"},
    "faces": {
        "backends", "cache", "contract", "errors", "models", "optional", "registry", "results",
        "trust",
    },
    "cameras": {"contract", "data", "errors", "optional", "registry"},
    "proof": {"backends", "contract", "errors", "trust"},
    "isolated": {"backends", "contract", "errors", "trust"},
    "slots": {"contract", "errors", "proof", "trust"},
    "recognizer": {
        "backends", "contract", "data", "errors", "faces", "isolated", "models", "results",
        "slots", "trust",
    },
    "live": {
        "backends", "broker", "cameras", "contract", "data", "errors", "faces", "models", "optional",
        "recognizer", "results",
    },
    "updates": {"broker", "contract", "errors", "optional", "slots"},
    "serve": {
        "drawing", "cameras", "contract", "data", "errors", "live", "optional", "recognizer",
        "results",
    },
    "cli": {
        "drawing", "backends", "broker", "cache", "cameras", "contract", "data", "downloads", "errors",
        "faces", "firmware", "live", "models", "optional", "proof", "recognizer", "results",
        "serve", "slots", "trust", "updates",
    },
    "__main__": {"cli"},
    "training": {"cli"},
    "export": {"cli"},
}  # fmt: skip

# What the workstation packages may import of the project, by the beginning of the module's name.
_ON_ALL_SIDES = (
    "edgeemo.cache",
    "edgeemo.errors",
    "edgeemo.optional",
    "edgeemo.registry",
    "edgeemo.version",
    "edgeemo.cli.checks",
    "edgeemo.cli.processor",
    "edgeemo.cli.shell",
    "edgeemo.cli.tables",
)
WORKSTATION: dict[str, tuple[str, ...]] = {
    "training": (
        "edgeemo.contract", "edgeemo.data", "edgeemo.faces", "edgeemo.models",
        "edgeemo.proof.evaluation", "edgeemo.registry", "edgeemo.trust", "workstation",
        *_ON_ALL_SIDES,
    ),
    "export": (
        "edgeemo.backends", "edgeemo.contract", "edgeemo.data", "edgeemo.faces",
        "edgeemo.firmware", "edgeemo.models", "edgeemo.proof", "edgeemo.trust", "edgeemo.updates.releases",
        "training.data.duplicates", "training.networks.layers", "workstation", *_ON_ALL_SIDES,
    ),
    "workstation": (
        "edgeemo.contract", "edgeemo.data.pictures", "edgeemo.errors", "edgeemo.optional",
        "edgeemo.cli.shell",
    ),
}  # fmt: skip

# Import statements for packages from outside. edgeemo takes optional ones through `need`, which
# says what to install.
STATEMENTS: dict[str, set[str]] = {
    "edgeemo": {"numpy"},
    "edgeemo/cli": {"numpy", "click"},
    "training": {
        "numpy",
        "click",
        "cleanlab",
        "cv2",
        "faiss",
        "h5py",
        "keras",
        "kaggle",
        "matplotlib",
        "optuna",
        "pandas",
        "requests",
        "scipy",
        "sklearn",
    },
    "export": {"numpy", "click", "matplotlib"},
    "workstation": {"numpy", "matplotlib", "tqdm"},
}

# Imported in one place each, by statement or by `need`; empty: nowhere.
SITES: dict[str, set[str]] = {
    # Conversion; and, the one exception, the strategies for several machines, which Keras has under
    # TensorFlow alone.
    "tensorflow": {
        "export/convert/tflite.py",
        "training/machines/workers.py",
        "training/machines/seen.py",
    },
    "ai_edge_quantizer": {"export/convert/tflite.py"},
    "tensorboard": {"training/fit/events.py"},
    # One kernel that Keras does not use; names of GPUs.
    "torch": {"training/machines/compute.py", "training/machines/seen.py"},
    "jax": {"training/fast/xla.py", "training/machines/seen.py"},  # the fast path; names of GPUs
    "ai_edge_litert": {"edgeemo/backends/litert.py"},
    "tflite_runtime": {"edgeemo/backends/litert.py"},
    "onnxruntime": {
        "edgeemo/backends/onnx.py",
        "export/convert/onnx.py",
        "export/adopt/onnx_graph.py",
    },  # the runtime; its quantization tools; a model from elsewhere, as it came
    "onnx": {
        "export/convert/onnx.py",
        "export/adopt/onnx_graph.py",
        "training/runs/from_bundle.py",
    },  # conversion; models from elsewhere; the float weights of a bundle
    "cryptography": {
        "edgeemo/trust/ed25519.py",
        "edgeemo/trust/p256.py",
        "edgeemo/trust/private_pem.py",
    },  # signatures
    "tuf": {
        "edgeemo/updates/client.py",
        "edgeemo/updates/fetching.py",
        "export/publish/repository.py",
    },
    "securesystemslib": {"export/publish/repository.py"},
    "picamera2": {"edgeemo/cameras/picamera2.py"},
    "uvicorn": {"edgeemo/serve/server.py"},
    "wsproto": {"edgeemo/serve/server.py"},
    "h11": {"edgeemo/serve/server.py"},
    "PIL": {
        "edgeemo/cli/summary/picture.py",
        "edgeemo/data/with_pillow.py",
        "edgeemo/drawing.py",
    },
    "pillow_heif": {"edgeemo/data/with_pillow.py"},
    "paho": {"edgeemo/live/mqtt.py", "edgeemo/updates/reporting.py"},
    "kaggle": {"training/data/kaggle.py"},
}
NEVER_ON_A_DEVICE = {
    "training",
    "export",
    "workstation",
    "tensorflow",
    "keras",
    "torch",
    "jax",
    "sklearn",
    "matplotlib",
    "pandas",
}

# Files that import a name which they compute, and what it can be.
COMPUTED = {
    "edgeemo/__init__.py": "its own public names",
    "edgeemo/optional.py": "what `need` is asked for",
    "edgeemo/cli/shell.py": "the verbs of the program that is run",
    "edgeemo/registry.py": "the entries of its table",
    "edgeemo/cli/doctor.py": "asks whether optional packages import and uses none of them",
    "edgeemo/backends/litert.py": "one of the two interpreters",
    "edgeemo/data/with_pillow.py": "the parts of Pillow",
}
# Files that give cli/shell.py the names that it computes with.
VERBS = {"edgeemo/cli/main.py", "export/cli/main.py"}


@dataclass(frozen=True)
class Import:
    """One imported module.

    `when`: "load" of the file, "call" of a function, or "typing" alone; "?" is a computed name.
    """

    file: str
    line: int
    module: str
    when: str
    by_statement: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def sources(root: Path) -> dict[str, ast.Module]:
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }


def all_imports(files: dict[str, ast.Module]) -> list[Import]:
    modules = {module_name(file) for file in files}
    return [
        found for file, tree in files.items() for found in _imports(file, tree, "load", modules)
    ]


def _imports(file: str, node: ast.AST, when: str, modules: set[str]) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(file, child.lineno, alias.name, when, True)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                parts = module_name(file).split(".")
                above = parts if file.endswith("/__init__.py") else parts[:-1]
                base = ".".join([*above[: len(above) - child.level + 1], *([base] if base else [])])
            for alias in child.names:
                whole = f"{base}.{alias.name}"
                yield Import(file, child.lineno, whole if whole in modules else base, when, True)
        elif (
            isinstance(child, ast.Call)
            and _called(child) in ("need", "import_module", "__import__")
            and child.args
        ):
            name = child.args[0]
            known = isinstance(name, ast.Constant) and isinstance(name.value, str)
            module = str(getattr(name, "value", "")) if known else "?"
            yield Import(file, child.lineno, module, "call", False)
        inner = (
            "call"
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            else when
        )
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            inner = "typing"
        yield from _imports(file, child, inner, modules)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def part_of(module: str) -> str:
    """The part of edgeemo that a module of it belongs to."""
    return [*module.split("."), ""][1]


def device_violations(root: Path) -> list[str]:
    """edgeemo imports nothing of the workstation."""
    found = all_imports(sources(root))
    return [
        f"{i}: never on a device"
        for i in found
        if i.file.startswith("edgeemo/") and i.top in NEVER_ON_A_DEVICE
    ]


def layer_violations(root: Path) -> list[str]:
    """Inside edgeemo, arrows point down as LAYERS says."""
    files = sources(root)
    parts = {part_of(module_name(file)) for file in files if file.startswith("edgeemo/")}
    faults = [f"edgeemo/{part} has no row in LAYERS" for part in sorted(parts - set(LAYERS))]
    for i in all_imports(files):
        own = part_of(module_name(i.file))
        if (
            not i.file.startswith("edgeemo/")
            or i.top != "edgeemo"
            or (own == "" and i.when == "typing")
        ):
            continue
        if part_of(i.module) not in LAYERS.get(own, set()) | {own, "version"}:
            faults.append(
                f"{i}: {own} may import {', '.join(sorted(LAYERS.get(own, ()))) or 'nothing'}"
            )
    return faults


def workstation_violations(root: Path) -> list[str]:
    """training and export import what WORKSTATION names, and not each other."""
    faults = []
    for i in all_imports(sources(root)):
        package = i.file.partition("/")[0]
        if (
            package not in WORKSTATION
            or i.top not in PACKAGES
            or i.top == package
            or i.module == "edgeemo"
        ):
            continue
        if not any(
            i.module == name or i.module.startswith(f"{name}.") for name in WORKSTATION[package]
        ):
            faults.append(f"{i}: not among what {package} may import")
    return faults


def outside_violations(root: Path) -> list[str]:
    """Import statements name the standard library, the project, and the packages of STATEMENTS."""
    faults = []
    for i in all_imports(sources(root)):
        folder = "edgeemo/cli" if i.file.startswith("edgeemo/cli/") else i.file.partition("/")[0]
        if i.by_statement and i.top not in STATEMENTS[folder] | set(sys.stdlib_module_names) | set(
            PACKAGES
        ):
            faults.append(
                f"{i}: not a package that {folder} may import; edgeemo and export use need()"
            )
        if not i.by_statement and i.file.startswith("edgeemo/contract/"):
            faults.append(f"{i}: the contract needs the standard library and numpy alone")
    return faults


def site_violations(root: Path) -> list[str]:
    """What SITES names is imported there and nowhere else; names are computed in the files of
    COMPUTED alone.
    """
    files = sources(root)
    found = all_imports(files)
    faults = [f"{i}: a computed name" for i in found if i.module == "?" and i.file not in COMPUTED]
    # A file that computes names, or gives them, could import whatever package its strings name.
    for file in (set(COMPUTED) | VERBS) & set(files) - {"edgeemo/cli/doctor.py"}:
        words = (
            node
            for node in ast.walk(files[file])
            if isinstance(node, ast.Constant) and node.value in SITES
        )
        found += [Import(file, word.lineno, str(word.value), "call", False) for word in words]
    return faults + [
        f"{i}: only in {', '.join(sorted(SITES[i.top])) or 'no file'}"
        for i in found
        if i.file not in SITES.get(i.top, {i.file})
    ]


def reader_violations(root: Path) -> list[str]:
    """Bundles are read through `edgeemo.trust`, which asks whose they are; the contract's own
    readers look at wholeness alone.
    """
    readers = {"read_bundle", "read_detector", "parse_bundle", "parse_detector"}
    return [
        f"{file}:{node.lineno} reads bundles past edgeemo.trust"
        for file, tree in sources(root).items()
        if not file.startswith(("edgeemo/contract/", "edgeemo/trust/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("edgeemo.contract")
        and (
            readers & {alias.name for alias in node.names}
            or {alias.name for alias in node.names} & {"bundle", "detector_bundle"}
        )
    ]


def cycle_violations(root: Path) -> list[str]:
    """No file needs itself, over others, while it is being loaded."""
    files = sources(root)
    modules = {module_name(file) for file in files}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for i in all_imports(files):
        own = module_name(i.file)
        parts = i.module.split(".")
        # Loading a module loads the packages above it first; those above the importing file are
        # being loaded already.
        loaded = {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & modules
        if i.when == "load":
            graph[own] |= {
                module
                for module in loaded
                if own != module and not f"{own}.".startswith(f"{module}.")
            }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def print_violations(root: Path) -> list[str]:
    """edgeemo prints in cli/ alone."""
    return [
        f"{file}:{node.lineno} prints"
        for file, tree in sources(root).items()
        if file.startswith("edgeemo/") and not file.startswith("edgeemo/cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _called(node) == "print"
    ]


RULES = [
    device_violations,
    layer_violations,
    workstation_violations,
    outside_violations,
    site_violations,
    reader_violations,
    cycle_violations,
    print_violations,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_keeps_the_rule(rule) -> None:  # type: ignore[no-untyped-def]
    assert rule(REPOSITORY) == []


def test_layers_name_each_other_and_have_no_cycle() -> None:
    assert set().union(*LAYERS.values()) <= set(LAYERS)
    order = list(graphlib.TopologicalSorter(LAYERS).static_order())
    down = ["errors", "contract", "backends", "recognizer", "live", "cli"]
    assert [part for part in order if part in down] == down


def test_the_checker_sees_the_imports_that_are_there() -> None:
    found = all_imports(sources(REPOSITORY))
    assert {i.file for i in found if i.top == "tensorflow"} == {
        "export/convert/tflite.py",
        "training/machines/seen.py",
        "training/machines/workers.py",
    }
    assert {i.file for i in found if i.top == "onnxruntime"} == {
        "edgeemo/backends/onnx.py",
        "export/adopt/onnx_graph.py",
        "export/convert/onnx.py",
    }
    assert {i.file for i in found if i.module == "?"} <= set(COMPUTED)
    assert {i.when for i in found if i.file == "edgeemo/backends/__init__.py"} == {"load", "call"}
    assert "edgeemo.contract.checked.npy" in {
        i.module for i in found if i.file == "edgeemo/contract/bundle.py"
    }


def test_loading_all_of_edgeemo_loads_no_optional_package() -> None:
    program = """
import importlib, json, pkgutil, sys
import edgeemo
alone = sorted({name.partition(".")[0] for name in sys.modules})
for module in pkgutil.walk_packages(edgeemo.__path__, "edgeemo."):
    if module.name != "edgeemo.__main__":
        importlib.import_module(module.name)
print(json.dumps([alone, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    alone, everything = map(set, json.loads(done.stdout))
    assert "edgeemo" in alone
    assert not alone & {"numpy", "click"}
    assert {"numpy", "click"} <= everything
    assert not everything & (NEVER_ON_A_DEVICE | set(SITES) | {"cv2", "tqdm"})


PLANTED = [
    (
        device_violations,
        "edgeemo/faces/new.py",
        "def f():\n    from sklearn import metrics",
        "new.py:2 imports sklearn",
    ),
    (device_violations, "edgeemo/recognizer.py", "need('torch', 'x', 'y')", "imports torch"),
    (
        device_violations,
        "edgeemo/cli/new.py",
        "import training.fit.recipe",
        "imports training.fit.recipe",
    ),
    (
        layer_violations,
        "edgeemo/backends/new.py",
        "from edgeemo import recognizer",
        "imports edgeemo.recognizer",
    ),
    (
        layer_violations,
        "edgeemo/faces/new.py",
        "def f():\n    import edgeemo.cli.shell",
        "imports edgeemo.cli.shell",
    ),
    (
        layer_violations,
        "edgeemo/contract/new.py",
        "from edgeemo.optional import need",
        "contract may import errors",
    ),
    (
        layer_violations,
        "edgeemo/contract/new.py",
        "from ..backends import litert",
        "imports edgeemo.backends",
    ),
    (
        layer_violations,
        "edgeemo/errors.py",
        "from edgeemo.contract import labels",
        "errors may import nothing",
    ),
    (layer_violations, "edgeemo/novel.py", "", "edgeemo/novel has no row"),
    (
        layer_violations,
        "edgeemo/__init__.py",
        "from edgeemo.errors import X",
        "imports edgeemo.errors",
    ),
    (
        workstation_violations,
        "training/new.py",
        "from edgeemo.backends import litert",
        "imports edgeemo.backends",
    ),
    (
        workstation_violations,
        "training/new.py",
        "from edgeemo.cli.tables_of_others import x",
        "training may import",
    ),
    (
        workstation_violations,
        "training/new.py",
        "import export.prove.gate",
        "imports export.prove.gate",
    ),
    (workstation_violations, "export/new.py", "from training import recipe", "imports training"),
    (
        workstation_violations,
        "export/new.py",
        "import edgeemo.recognizer",
        "imports edgeemo.recognizer",
    ),
    (outside_violations, "edgeemo/data/pictures.py", "import cv2", "imports cv2"),
    (outside_violations, "edgeemo/recognizer.py", "import click", "imports click"),
    (
        outside_violations,
        "edgeemo/contract/new.py",
        "need('cv2', 'a', 'b')",
        "standard library and numpy alone",
    ),
    (
        outside_violations,
        "training/new.py",
        "try:\n    import jax\nexcept ImportError:\n    pass",
        "imports jax",
    ),
    (
        site_violations,
        "export/new.py",
        "need('tensorflow', 'export', 'x')",
        "only in export/convert/tflite.py, training/machines/seen.py, training/machines/workers.py",
    ),
    (
        site_violations,
        "training/fit/loop.py",
        "def f():\n    need('tensorflow', 'export', 'x')",
        "only in export/convert/tflite.py,",
    ),
    (
        site_violations,
        "training/new.py",
        "def f():\n    import jax",
        "only in training/fast/xla.py",
    ),
    (
        site_violations,
        "edgeemo/backends/new.py",
        "import onnxruntime as ort",
        "imports onnxruntime",
    ),
    (
        site_violations,
        "edgeemo/cli/shell.py",
        "for name in ('ai_edge_litert',):\n    need(name)",
        "imports ai_edge_litert",
    ),
    (
        site_violations,
        "edgeemo/cli/main.py",
        "shell.LazyVerbs(package='ai_edge_litert', verbs={})",
        "imports ai_edge_litert",
    ),
    (site_violations, "edgeemo/faces/new.py", "need(f'{name}.x', 'a', 'b')", "a computed name"),
    (
        reader_violations,
        "edgeemo/cli/new.py",
        "def f():\n    from edgeemo.contract.bundle import Bundle, read_bundle",
        "new.py:2 reads bundles past edgeemo.trust",
    ),
    (
        cycle_violations,
        "edgeemo/contract/new.py",
        "import edgeemo.contract.newer",
        "edgeemo.contract.newer",
    ),
    (print_violations, "edgeemo/faces/new.py", "print('x')", "new.py:1 prints"),
]


@pytest.mark.parametrize(("rule", "file", "code", "message"), PLANTED)
def test_a_planted_violation_is_found(
    rule, file: str, code: str, message: str, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    others = {
        "edgeemo/recognizer.py": "",
        "edgeemo/contract/newer.py": "from edgeemo.contract import new",
        "training/fit/recipe.py": "",
    }
    for name, text in (others | {file: code}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = rule(tmp_path)
    assert len(found) == 1
    assert message in found[0]
    (tmp_path / file).write_text("")
    if file != "edgeemo/novel.py":
        assert rule(tmp_path) == []
