"""A .keras or .h5 file from elsewhere as a Keras model, without running code that it carries."""

import io
import json
import os
import runpy
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeemo.errors import InvalidInput, ModelError
from edgeemo.optional import need
from export.adopt.keras_legacy import translated
from export.adopt.wanted import Wanted
from workstation import keras_settings
from workstation.quiet import quiet

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MOST_CONFIG, _MOST_WEIGHTS = 64 << 20, 1 << 30  # bytes
_BUILTINS = ("slice", "tuple", "list", "dict", "set", "range")
_CODE = ("Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda")
_NO_WEIGHTS = "holds weights alone and no network; save the whole model: model.save('model.keras')"


def load_keras(path: Path, data: bytes, wanted: Wanted) -> Any:
    """The Keras model of a .keras or .h5 file's bytes, on Keras' TensorFlow backend.

    Raises:
        ModelError: damaged, of layers that Keras does not know, or with code inside and no
            permission to run it.
        MissingDependency: Keras or h5py is not installed.
    """
    keras = on_tensorflow()
    custom = _custom_objects(keras, wanted.custom)
    is_zip = data[:2] == b"PK"
    config = _zip_config(path, data) if is_zip else _h5_config(path, data)
    if not is_zip:
        config = translated(config, str(path))
    _check_config(keras, path, config, wanted, custom)
    rewritten = _rewritten_zip(data, config) if is_zip else _rewritten_h5(data, config)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.keras" if is_zip else "model.h5")
        copy.write_bytes(rewritten)
        try:
            with quiet():
                return keras.models.load_model(
                    copy,
                    custom_objects=custom,
                    compile=False,
                    safe_mode=not wanted.trust_code,
                )
        except Exception as error:  # keras raises whatever its layers and h5py raise
            raise ModelError(
                f"{path}: Keras {keras.__version__} cannot load it ({_in_short(error)}); load it "
                "where it was trained, and save it as .keras, SavedModel or ONNX"
            ) from None


def on_tensorflow() -> Any:
    """Keras on TensorFlow, whose graphs conversion reads. Raises MissingDependency."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return keras_settings.load_keras("export", "to read a model from elsewhere")


def _custom_objects(keras: Any, files: Sequence[str]) -> dict[str, Any]:
    """Layers and functions by name of the Python files that --custom names, which are run."""
    found: dict[str, Any] = {}
    for file in files:
        try:
            names = runpy.run_path(file)
        except Exception as error:  # whatever a file of others raises
            raise InvalidInput(
                f"--custom {file}: cannot be run ({type(error).__name__}: {_in_short(error)})"
            ) from None
        found |= {
            name: value
            for name, value in names.items()
            if callable(value) and not name.startswith("_")
        }
    return found


def _zip_config(path: Path, data: bytes) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if _CONFIG not in sizes or _WEIGHTS not in sizes:
                raise ModelError(f"{path}: a zip archive, but no .keras file; {_what_zip(sizes)}")
            if sizes[_CONFIG] > _MOST_CONFIG or sum(sizes.values()) > _MOST_WEIGHTS:
                raise ModelError(
                    f"{path}: unpacks to {sum(sizes.values()):,} bytes, expected at most "
                    f"{_MOST_WEIGHTS:,}; do not use this file"
                )
            text, weights = archive.read(_CONFIG), archive.read(_WEIGHTS)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ModelError(
            f"{path}: damaged or cut off ({_in_short(error)}); copy it again"
        ) from None
    except Exception as error:  # zlib's and lzma's own, which zipfile passes on
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: damaged ({_in_short(error)}); copy it again") from None
    _check_h5(path, weights)
    return _json(path, text)


def _what_zip(names: dict[str, int]) -> str:
    if any(name.endswith((".pkl", "/data.pkl")) for name in names):
        return PICKLE
    return "expected config.json and model.weights.h5 inside"


PICKLE = (
    "PyTorch files hold pickled code, which is never run here: in PyTorch, export it with "
    "torch.onnx.export(model.eval(), torch.zeros(1, 3, 224, 224), 'model.onnx') and adopt that"
)


def _h5_config(path: Path, data: bytes) -> Any:
    h5py = need("h5py", "export", "to read .h5 files")
    _check_h5(path, data)
    with h5py.File(io.BytesIO(data), "r") as file:
        text = file.attrs.get("model_config")
    if text is None:
        raise ModelError(f"{path}: {_NO_WEIGHTS}")
    return _json(path, text)


def _check_h5(path: Path, data: bytes) -> None:
    """Refuse an HDF5 file that leads out of itself or claims more than it holds."""
    h5py = need("h5py", "export", "to read .h5 files")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            total = 0
            for where, entry in _entries(h5py, file, ""):
                if entry is None or entry.external or entry.is_virtual:
                    raise ModelError(
                        f"{path}: its {where[:80]!a} lies in another file; do not use this model"
                    )
                total += entry.nbytes
                if total > _MOST_WEIGHTS:
                    raise ModelError(
                        f"{path}: claims more than {_MOST_WEIGHTS:,} bytes of weights; do not use "
                        "this model"
                    )
    except ModelError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError and its own
        raise ModelError(
            f"{path}: not a readable HDF5 file ({_in_short(error)}); copy it again"
        ) from None


def _entries(h5py: Any, group: Any, where: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(path, data set) of all data sets; None in place of one that a link leads to."""
    if depth > 64:
        raise ModelError("nested too deep")
    for name in group:
        link, inside = group.get(name, getlink=True), f"{where}/{name}"
        if not isinstance(link, h5py.HardLink):
            yield inside, None
            continue
        entry = group[name]
        if isinstance(entry, h5py.Group):
            yield from _entries(h5py, entry, inside, depth + 1)
        else:
            yield inside, entry


def _json(path: Path, text: bytes | str) -> Any:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its config is no JSON ({_in_short(error)})") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError(f"{path}: its config describes no model; {_NO_WEIGHTS}")
    return config


def _check_config(
    keras: Any, path: Path, config: Any, wanted: Wanted, custom: dict[str, Any]
) -> None:
    """Refuse code inside, and name the layers that neither Keras nor --custom has."""
    unknown, code = [], []
    for entry in _objects(config):
        kind = str(entry["class_name"])
        inner = entry.get("config")
        name = inner.get("name", "?") if isinstance(inner, dict) else "?"
        if kind in _CODE:
            code += [str(name)] if name != "?" else []
        elif not _is_known(keras, entry, kind, custom):
            unknown.append(f"{kind} ({name})")
    if unknown:
        raise ModelError(
            f"{path}: has layers or functions that Keras does not have: "
            f"{', '.join(dict.fromkeys(unknown))[:200]}; give the Python file that defines them "
            "with --custom FILE.py, which is run"
        )
    if (code or _holds_lambda(config)) and not wanted.trust_code:
        raise ModelError(
            f"{path}: its layers {', '.join(dict.fromkeys(code))[:200]} hold code, which is not "
            "run; if you trust who made the file, add --trust-code"
        )


def _holds_lambda(config: Any) -> bool:
    return any(entry["class_name"] in _CODE for entry in _objects(config))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a config that names a class."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _is_known(keras: Any, entry: dict[str, Any], kind: str, custom: dict[str, Any]) -> bool:
    registered = entry.get("registered_name")
    names = {kind, kind.rpartition(">")[2], str(registered).rpartition(">")[2]}
    if names & set(custom):
        return True
    module = entry.get("module")
    if isinstance(module, str) and not (module == "keras" or module.startswith("keras.")):
        return module == "builtins" and kind in _BUILTINS
    if kind in ("function", "dict", "__tuple__", "__tensor__", "__numpy__", "__keras_tensor__"):
        return kind != "function" or isinstance(module, str)
    rooms = ("layers", "initializers", "regularizers", "constraints", "activations", "models",
             "dtype_policies", "mixed_precision")  # fmt: skip
    if kind in ("Functional", "Model", "Sequential", "TensorShape", "DTypePolicy"):
        return True
    if isinstance(module, str):
        return module.startswith("keras.") and registered in (None, kind)
    return any(hasattr(getattr(keras, room, None), kind) for room in rooms)


def _rewritten_zip(data: bytes, config: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            if info.filename in (_CONFIG, _WEIGHTS, "metadata.json"):
                content = old.read(info)
                if info.filename == _CONFIG:
                    content = json.dumps(_in_float32(config)).encode()
                new.writestr(info.filename, content)
    return buffer.getvalue()


def _rewritten_h5(data: bytes, config: Any) -> bytes:
    h5py = need("h5py", "export", "to read .h5 files")
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        file.attrs["model_config"] = json.dumps(_in_float32(config))
    return buffer.getvalue()


def _in_float32(value: Any) -> Any:
    """A config whose layers compute in float32: mixed precision is a matter of training."""
    if isinstance(value, dict):
        return {key: _in_float32(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_float32(inner) for inner in value]
    return "float32" if value in ("mixed_float16", "mixed_bfloat16") else value


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
