"""Bundles from outside are hostile: each fault is refused with a line that names the file, and nothing is unpacked."""

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeemo.contract.bundle import MAX_BUNDLE_BYTES, MAX_ENTRIES, read_bundle, sha256, write_bundle
from edgeemo.errors import BundleError, EdgeemoError, MissingFile
from tests.support import rezip

Entries = dict[str, bytes]


def refused(path: Path) -> str:
    """The one-line message of the refusal; the folder holds nothing but what it held."""
    before = sorted(p.name for p in path.parent.iterdir())
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert sorted(p.name for p in path.parent.iterdir()) == before
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def replaced(name: str, content: bytes) -> Callable[[Entries], None]:
    """Replace an entry and make size and hash in the manifest right again, as a careful attacker would."""

    def change(entries: Entries) -> None:
        entries[name] = content
        manifest = json.loads(entries["manifest.json"])
        for entry in manifest["artifacts"] + manifest["companions"]:
            if entry["file"] == name:
                entry["bytes"], entry["sha256"] = len(content), sha256(content)
        entries["manifest.json"] = json.dumps(manifest).encode()

    return change


def manifest_changed(**fields: Any) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries["manifest.json"] = json.dumps(json.loads(entries["manifest.json"]) | fields).encode()

    return change


def test_bundle_is_read_back_as_written_and_the_same_content_gives_the_same_bytes(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_bundle)
    again = write_bundle(tmp_path / "again.edgeemo", bundle.manifest, bundle.files)
    assert (tmp_path / "again.edgeemo").read_bytes() == tiny_bundle.read_bytes()
    assert again.files == bundle.files
    assert set(bundle.files) == {"int8.tflite", "int8.onnx", "fp32.onnx", "report.json", "selftest.npz"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda e: e.update({"int8.tflite": e["int8.tflite"][:-1] + b"!"}),
            "int8.tflite is not the file that its manifest names",
        ),
        (
            lambda e: e.update({"int8.onnx": e["int8.onnx"] + b"more"}),
            "int8.onnx is not the file that its manifest names",
        ),
        (lambda e: e.pop("report.json"), "missing entries ['report.json']"),
        (lambda e: e.pop("manifest.json"), "no manifest.json inside"),
        (lambda e: e.update({"extra.txt": b"x"}), "unknown entries ['extra.txt']"),
        (lambda e: e.update({"../x": b"x"}), "'../x' is no plain file name"),
        (lambda e: e.update({"/etc/x": b"x"}), "'/etc/x' is no plain file name"),
        (lambda e: e.update({"a\\b.txt": b"x"}), "is no plain file name"),
        (lambda e: e.update({"folder/": b""}), "is no plain file name"),
        (lambda e: e.update({f"a{i}.txt": b"" for i in range(MAX_ENTRIES)}), "expected at most 16"),
        (lambda e: e.update({"manifest.json": b" " * (1024 * 1024 + 1)}), "manifest.json has more than"),
        (manifest_changed(schema_version=2), "run: pip install --upgrade edgeemo"),
        (manifest_changed(minimum_edgeemo="99.0.0"), "needs edgeemo 99.0.0"),
        (manifest_changed(labels=["happy", "neutral", "disgust", "fear", "angry", "sad", "surprise"]), "in this order"),
        (replaced("report.json", b"[]"), "report.json"),
        (replaced("report.json", b"{"), "report.json is not valid"),
        (replaced("fp32.onnx", b"\xff" * 40), "fp32.onnx: not a readable ONNX model"),
        (replaced("selftest.npz", b"PK"), "selftest.npz is not readable"),
    ],
)
def test_tampered_bundle_is_refused(
    tiny_bundle: Path, tmp_path: Path, change: Callable[[Entries], None], says: str
) -> None:
    assert says in refused(rezip(tiny_bundle, tmp_path / "bad.edgeemo", change))


def rewritten(source: Path, out: Path, edit: Callable[[zipfile.ZipInfo], None], *, twice: str = "") -> Path:
    """A copy whose entries' headers `edit` has changed; `twice` names an entry written two times."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            copy = zipfile.ZipInfo(info.filename)
            edit(copy)
            new.writestr(copy, data, compress_type=copy.compress_type)
            if info.filename == twice:
                with pytest.warns(UserWarning, match="Duplicate name"):
                    new.writestr(zipfile.ZipInfo(info.filename), data)
    return out


def test_doubled_entry_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    path = rewritten(tiny_bundle, tmp_path / "bad.edgeemo", lambda info: None, twice="int8.onnx")
    assert "int8.onnx appears twice" in refused(path)


def test_link_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    def make_link(info: zipfile.ZipInfo) -> None:
        if info.filename == "int8.onnx":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert "is a link or special file" in refused(rewritten(tiny_bundle, tmp_path / "bad.edgeemo", make_link))


def test_compressed_entry_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    def deflate(info: zipfile.ZipInfo) -> None:
        info.compress_type = zipfile.ZIP_DEFLATED

    assert "expected stored entries" in refused(rewritten(tiny_bundle, tmp_path / "bad.edgeemo", deflate))


def test_zip_bomb_is_refused_by_its_claim(tiny_bundle: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_bundle.read_bytes())
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"int8.tflite"))  # its central directory header
    data[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2  # packed and unpacked size
    (tmp_path / "bad.edgeemo").write_bytes(data)
    assert "claim more bytes than the file has" in refused(tmp_path / "bad.edgeemo")


def test_name_that_hides_its_end_behind_a_nul_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    data = tiny_bundle.read_bytes().replace(b"report.json", b"report.jso\0")
    (tmp_path / "bad.edgeemo").write_bytes(data)
    refused(tmp_path / "bad.edgeemo")


def test_file_beyond_the_bound_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    with (tmp_path / "big.edgeemo").open("wb") as file:
        file.truncate(100 * MAX_BUNDLE_BYTES)
    assert "larger than" in refused(tmp_path / "big.edgeemo")


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "is empty"), (b"text", "not a bundle"), (b"PK\x05\x06" + bytes(18), "no manifest.json")]
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "bad.edgeemo").write_bytes(content)
    assert says in refused(tmp_path / "bad.edgeemo")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such bundle"):
        read_bundle(tmp_path / "none.edgeemo")
    with pytest.raises(BundleError, match="expected a .edgeemo file"):
        read_bundle(tmp_path)


def test_truncated_or_flipped_bundle_never_passes_as_another(tiny_bundle: Path, tmp_path: Path) -> None:
    good, data = read_bundle(tiny_bundle), tiny_bundle.read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.edgeemo"
    for position in [*rng.integers(0, len(data), 300).tolist(), *range(len(data) - 200, len(data))]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(rng.integers(8))
        for damaged in (bytes(flipped), data[:position]):
            path.write_bytes(damaged)
            try:
                read = read_bundle(path)
            except EdgeemoError:
                continue
            assert read.files == good.files
            assert read.manifest == good.manifest


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def lying_header() -> bytes:
    """An .npz whose only array claims a terabyte in its header."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 48, 48, 1)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inputs.npy", header.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npz(inputs=np.array([{"a": 1}], dtype=object)), "not readable without pickle"),
        (lying_header(), "false size"),
        (npz(inputs=np.zeros((2, 48, 48, 1), np.float32)), "no uint8 inputs"),
        (npz(other=np.zeros(3)), "no uint8 inputs"),
        (npz(inputs=np.zeros((2, 48, 48, 1), np.uint8)), "does not hold float32 logits"),
    ],
)
def test_selftest_that_is_pickled_lying_or_wrong_is_refused(
    tiny_bundle: Path, tmp_path: Path, content: bytes, says: str
) -> None:
    assert says in refused(rezip(tiny_bundle, tmp_path / "bad.edgeemo", replaced("selftest.npz", content)))


def external_tensor() -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def onnx_with(place: str) -> bytes:
    """An ONNX model that names a file outside at `place`."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "inner", [], [y], [external_tensor()])
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    if place == "attribute":
        nodes = [helper.make_node("Constant", [], ["y"], value=external_tensor())]
    if place == "subgraph":
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    graph = helper.make_graph(nodes, "g", [x], [y], [external_tensor()] if place == "initializer" else [])
    model = helper.make_model(graph)
    if place == "function":
        node = helper.make_node("Constant", [], ["y"], value=external_tensor())
        model.functions.append(helper.make_function("own", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 17)]))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
def test_onnx_that_names_a_file_outside_is_refused(tiny_bundle: Path, tmp_path: Path, place: str) -> None:
    path = rezip(tiny_bundle, tmp_path / "bad.edgeemo", replaced("fp32.onnx", onnx_with(place)))
    assert "fp32.onnx: keeps weights in external files" in refused(path)


def test_refused_content_leaves_no_file_and_the_old_one_untouched(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    out = tmp_path / "out.edgeemo"
    out.write_bytes(b"old")
    with pytest.raises(BundleError):
        write_bundle(out, bundle.manifest, {**bundle.files, "report.json": b"{}"})
    assert out.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.edgeemo"]
