"""Bundles from outside are hostile: each fault is refused with a line that names the file, and
nothing is unpacked.
"""

import io
import json
import re
import resource
import stat
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeemo.contract.bundle import read_bundle, write_bundle
from edgeemo.contract.container import MAX_BUNDLE_BYTES, MAX_ENTRIES, sha256
from edgeemo.errors import BundleError, EdgeemoError, MissingFile, StorageError
from edgeemo.version import __version__
from tests.support import rezip

MODELS = ("int8.tflite", "int8.onnx", "fp16.onnx", "fp32.onnx")
Entries = dict[str, bytes]
MAJOR, MINOR, PATCH = __version__.split(".")
NEXT = f"{MAJOR}.{MINOR}.{int(PATCH) + 1}"
WAYS_OUT = (
    "do not use|copy it again|copy the bundle again|run: pip install|this is no bundle|make it"
    " again"
)


def refused(path: Path) -> str:
    """The one-line message of the refusal; the folder holds nothing but what it held."""
    before = sorted(p.name for p in path.parent.iterdir())
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert sorted(p.name for p in path.parent.iterdir()) == before
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 600 + len(str(path))
    assert re.search(WAYS_OUT, message), message
    return message


def replaced(name: str, content: bytes) -> Callable[[Entries], None]:
    """Replace an entry and make size and hash in the manifest right again, as a careful attacker
    would.
    """

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
        entries["manifest.json"] = json.dumps(
            json.loads(entries["manifest.json"]) | fields
        ).encode()

    return change


def test_bundle_is_read_back_as_written_and_the_same_content_gives_the_same_bytes(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_bundle)
    again = write_bundle(tmp_path / "again.edgeemo", bundle.manifest, bundle.files)
    assert (tmp_path / "again.edgeemo").read_bytes() == tiny_bundle.read_bytes()
    assert again.files == bundle.files
    assert set(bundle.files) == {*MODELS, "report.json", "selftest.npz"}


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
        (
            lambda e: e.update({"manifest.json": b" " * (1024 * 1024 + 1)}),
            "manifest.json has more than",
        ),
        (manifest_changed(schema_version=3), "run: pip install --upgrade edgeemo"),
        (manifest_changed(minimum_edgeemo="99.0.0"), "needs edgeemo 99.0.0"),
        (
            manifest_changed(
                labels=["joy", "neutral", "disgust", "fear", "angry", "sad", "surprise"]
            ),
            "other classes than the labels",
        ),
        (
            manifest_changed(minimum_edgeemo=NEXT),
            f"needs edgeemo {NEXT}, this is {__version__}; run: pip install --upgrade",
        ),
        (lambda e: e.update({"a\nb.txt": b"x"}), "is no plain file name"),
        (lambda e: e.update({"INT8.onnx": b"x"}), "is no plain file name"),
        (lambda e: e.update({"..": b"x"}), "is no plain file name"),
        (lambda e: e.update({"c:x.txt": b"x"}), "is no plain file name"),
        (lambda e: e.update({"a" * 60_000 + ".txt": b"x"}), "is no plain file name"),
        (replaced("report.json", b"[]"), "report.json is not an object"),
        (replaced("report.json", b'{"a": 1, "a": 2}'), "key 'a' appears twice"),
        (replaced("report.json", b"[" * 100_000), "nested too deep"),
        (replaced("report.json", b"\xff"), "report.json is not valid"),
        (lambda e: e.update({"manifest.json": b"\x00"}), "its manifest is not valid"),
        (replaced("report.json", b"{"), "report.json is not valid"),
        (replaced("fp32.onnx", b"\xff" * 40), "fp32.onnx: not a readable ONNX model"),
        (replaced("selftest.npz", b"PK"), "selftest.npz is not readable"),
    ],
)
def test_tampered_bundle_is_refused(
    tiny_bundle: Path, tmp_path: Path, change: Callable[[Entries], None], says: str
) -> None:
    assert says in refused(rezip(tiny_bundle, tmp_path / "bad.edgeemo", change))


def rewritten(
    source: Path, out: Path, edit: Callable[[zipfile.ZipInfo], None], *, twice: str = ""
) -> Path:
    """A copy whose entries' headers `edit` has changed; `twice` names an entry to double."""
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


def test_a_selftest_that_fits_is_read_with_its_values(tiny_bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    arrays = {"inputs": rng.integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)}
    arrays |= {name: rng.normal(0, 9, (3, 7)).astype(np.float32) for name in MODELS}
    path = rezip(tiny_bundle, tmp_path / "other.edgeemo", replaced("selftest.npz", npz(**arrays)))
    selftest = read_bundle(path).selftest()
    np.testing.assert_array_equal(selftest.inputs, arrays.pop("inputs"))
    assert set(selftest.logits) == set(arrays)
    for name, logits in arrays.items():
        np.testing.assert_array_equal(selftest.logits[name], logits)


@pytest.mark.parametrize("minimum", [__version__, "0.6.99999", "0.2.0"])
def test_a_bundle_for_this_or_an_older_edgeemo_is_read(
    tiny_bundle: Path, tmp_path: Path, minimum: str
) -> None:
    path = rezip(tiny_bundle, tmp_path / "other.edgeemo", manifest_changed(minimum_edgeemo=minimum))
    assert read_bundle(path).manifest.minimum_edgeemo == minimum


def test_an_artifact_that_the_bundle_does_not_hold_is_refused_with_those_it_holds(
    tiny_bundle: Path,
) -> None:
    bundle = read_bundle(tiny_bundle)
    for name in MODELS:
        artifact, data = bundle.artifact(name)
        assert (artifact.file, artifact.bytes, artifact.sha256) == (name, len(data), sha256(data))
    with pytest.raises(
        BundleError,
        match=r"\(fp16\.onnx, fp32\.onnx, int8\.onnx, int8\.tflite\), received 'fp8\.onnx'",
    ):
        bundle.artifact("fp8.onnx")


def test_doubled_entry_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    path = rewritten(tiny_bundle, tmp_path / "bad.edgeemo", lambda info: None, twice="int8.onnx")
    assert "int8.onnx appears twice" in refused(path)


def test_link_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    def make_link(info: zipfile.ZipInfo) -> None:
        if info.filename == "int8.onnx":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert "is a link or special file" in refused(
        rewritten(tiny_bundle, tmp_path / "bad.edgeemo", make_link)
    )


def test_compressed_entry_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    def deflate(info: zipfile.ZipInfo) -> None:
        info.compress_type = zipfile.ZIP_DEFLATED

    assert "expected stored entries" in refused(
        rewritten(tiny_bundle, tmp_path / "bad.edgeemo", deflate)
    )


def test_zip_bomb_is_refused_by_its_claim(tiny_bundle: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_bundle.read_bytes())
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"int8.tflite"))  # its central directory header
    data[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2  # packed and unpacked size
    (tmp_path / "bad.edgeemo").write_bytes(data)
    assert "claim more bytes than the file has" in refused(tmp_path / "bad.edgeemo")


def central_header(data: bytes, name: bytes) -> int:
    """Where the central directory's header of entry `name` starts."""
    return data.rfind(b"PK\x01\x02", 0, data.rfind(name))


def test_entry_of_another_size_than_declared_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.edgeemo"
    data = tiny_bundle.read_bytes()
    at = central_header(data, b"fp32.onnx")
    (size,) = struct.unpack_from("<L", data, at + 24)
    for declared in (0, 1, size - 1, size + 1):
        changed = bytearray(data)
        struct.pack_into("<LL", changed, at + 20, declared, declared)
        path.write_bytes(changed)
        refused(path)
    for packed, unpacked in ((size, size + 1), (size + 1, size), (0, size), (size, 0)):
        changed = bytearray(data)
        struct.pack_into("<LL", changed, at + 20, packed, unpacked)
        path.write_bytes(changed)
        assert "expected stored entries" in refused(path)


def test_entries_that_overlap_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    # Two names for one stretch of bytes: the second header points to where the first one's file
    # lies.
    data = bytearray(tiny_bundle.read_bytes())
    one, other = central_header(data, b"int8.onnx"), central_header(data, b"fp32.onnx")
    data[one + 16 : one + 28] = data[other + 16 : other + 28]  # checksum and sizes
    data[one + 42 : one + 46] = data[other + 42 : other + 46]  # where it starts
    (tmp_path / "bad.edgeemo").write_bytes(data)
    refused(tmp_path / "bad.edgeemo")


def test_encrypted_entry_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_bundle.read_bytes())
    data[central_header(data, b"report.json") + 8] |= 1
    (tmp_path / "bad.edgeemo").write_bytes(data)
    assert "report.json is compressed or encrypted" in refused(tmp_path / "bad.edgeemo")


@pytest.mark.parametrize(
    "kind", [stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK]
)
def test_folder_pipe_and_device_are_refused(tiny_bundle: Path, tmp_path: Path, kind: int) -> None:
    def turn(info: zipfile.ZipInfo) -> None:
        info.external_attr = (kind | 0o666) << 16

    assert "is a link or special file" in refused(
        rewritten(tiny_bundle, tmp_path / "bad.edgeemo", turn)
    )


def test_a_million_entries_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    header = (
        struct.pack(
            "<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0
        )
        + b"a"
    )
    directory = header * ((MAX_BUNDLE_BYTES - 100) // len(header))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 0, 0)
    (tmp_path / "bad.edgeemo").write_bytes(directory + end)
    del directory
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert "entries, expected at most 16; this is no bundle" in refused(tmp_path / "bad.edgeemo")
    assert time.perf_counter() - start < 3
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ) * 1024 < 3 * MAX_BUNDLE_BYTES


def test_name_that_hides_its_end_behind_a_nul_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    data = tiny_bundle.read_bytes().replace(b"report.json", b"report.jso\0")
    (tmp_path / "bad.edgeemo").write_bytes(data)
    refused(tmp_path / "bad.edgeemo")


def test_file_beyond_the_bound_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    with (tmp_path / "big.edgeemo").open("wb") as file:
        file.truncate(100 * MAX_BUNDLE_BYTES)
    assert "6,710,886,400 bytes, expected at most 67,108,864" in refused(tmp_path / "big.edgeemo")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"text", "not a bundle"), (b"PK\x05\x06" + bytes(18), "no manifest.json")],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "bad.edgeemo").write_bytes(content)
    assert says in refused(tmp_path / "bad.edgeemo")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such bundle"):
        read_bundle(tmp_path / "none.edgeemo")
    with pytest.raises(BundleError, match="expected a .edgeemo file"):
        read_bundle(tmp_path)


def test_truncated_or_flipped_bundle_never_passes_as_another(
    tiny_bundle: Path, tmp_path: Path
) -> None:
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


def npy_claiming(shape: Any, descr: str = "|u1", content: bytes = b"") -> bytes:
    """An .npy whose header claims what you like."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return header.getvalue() + content


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a doubled name
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def encrypted(data: bytes) -> bytes:
    """The zip with the encryption flag of its first entry set."""
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.rfind(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


def of_version(version: int, data: bytes) -> bytes:
    return data[:6] + bytes([version]) + data[7:]


INPUTS = np.zeros((2, 48, 48, 1), np.uint8)
LOGITS = np.zeros((2, 7), np.float32)
FULL = {"inputs": INPUTS, **dict.fromkeys(MODELS, LOGITS)}
SMALL = npz(inputs=INPUTS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npz(inputs=np.array([{"a": 1}], dtype=object)), "not readable without pickle"),
        (zipped(("inputs.npy", npy_claiming((10**12, 48, 48, 1)))), "false size"),
        (
            zipped(("inputs.npy", npy_claiming((10**30, 48, 48, 1)))),
            "no .npy file of plain numbers",
        ),
        (zipped(("inputs.npy", npy_claiming((10**17, 10**17, 10**17, 10**17)))), "false size"),
        (zipped(("inputs.npy", npy_claiming((-1, 48, 48, 1)))), "no .npy file of plain numbers"),
        (zipped(("inputs.npy", npy_claiming((0, 10**18 - 1)))), "no uint8 inputs"),
        (zipped(("inputs.npy", npy_claiming((2, 48, 48, 1), content=bytes(4607)))), "false size"),
        (zipped(("inputs.npy", npy_claiming((2, 48, 48, 1), content=bytes(4609)))), "false size"),
        (zipped(("inputs.npy", npy_claiming((), content=b"x"))), "no uint8 inputs"),
        (
            zipped(("inputs.npy", npy_claiming((3,), "|O", b"cos\nsystem\n."))),
            "no .npy file of plain numbers",
        ),
        (
            zipped(("inputs.npy", npy_claiming((1,), "|V4608", bytes(4608)))),
            "no .npy file of plain numbers",
        ),
        (
            zipped(("inputs.npy", of_version(2, npy_claiming((1,))))),
            "no .npy file of plain numbers",
        ),
        (
            zipped(("inputs.npy", of_version(9, npy_claiming((1,))))),
            "no .npy file of plain numbers",
        ),
        (zipped(("inputs.npy", b"\x93NUMPY\x01\x00\x04\x00((((")), "no .npy file of plain numbers"),
        (zipped(("inputs.npy", b"")), "no .npy file of plain numbers"),
        (zipped(("inputs.npy", bytes(range(99))), method=zipfile.ZIP_DEFLATED), "compressed"),
        (
            zipped(("inputs.npy", bytes(10**6)), method=zipfile.ZIP_DEFLATED),
            "more or larger arrays",
        ),
        (zipped(("inputs.npy", bytes(range(99))), method=zipfile.ZIP_LZMA), "compressed"),
        (zipped(*[("inputs.npy", npy_claiming((1,), content=b"x"))] * 2), "twice"),
        (
            zipped(*[(f"{i}.npy", b"") for i in range(17)]),
            "more or larger arrays than expected",
        ),
        (encrypted(SMALL), "not readable"),
        (SMALL[:-1], "not readable"),
        (SMALL[30:], "not readable"),
        (b"", "not readable"),
        (
            npz(**FULL | {"inputs": np.zeros((2, 48, 48), np.uint8)}),
            "no uint8 inputs of (48, 48, 1)",
        ),
        (
            npz(**FULL | {"inputs": np.zeros((0, 48, 48, 1), np.uint8)}),
            "no uint8 inputs of (48, 48, 1)",
        ),
        (
            npz(**FULL | {"inputs": np.zeros((1025, 48, 48, 1), np.uint8)}),
            "no uint8 inputs of (48, 48, 1)",
        ),
        (npz(**FULL | {"inputs": np.uint8(1)}), "no uint8 inputs of (48, 48, 1)"),
        (npz(**FULL | {"fp32.onnx": LOGITS.astype(np.float64)}), "does not hold float32 logits"),
        (npz(**FULL | {"fp32.onnx": LOGITS[:1]}), "does not hold float32 logits"),
        (npz(**FULL | {"fp32.onnx": LOGITS[:, :6]}), "does not hold float32 logits"),
        (npz(**FULL | {"fp32.onnx": LOGITS + np.float32("nan")}), "does not hold float32 logits"),
        (npz(**FULL | {"fp32.onnx": LOGITS + np.float32("inf")}), "does not hold float32 logits"),
        (npz(**FULL | {"other.onnx": LOGITS}), "does not hold float32 logits"),
        (npz(inputs=np.zeros((2, 48, 48, 1), np.float32)), "no uint8 inputs"),
        (npz(other=np.zeros(3)), "no uint8 inputs"),
        (npz(inputs=np.zeros((2, 48, 48, 1), np.uint8)), "does not hold float32 logits"),
    ],
)
def test_selftest_that_is_pickled_lying_or_wrong_is_refused(
    tiny_bundle: Path, tmp_path: Path, content: bytes, says: str
) -> None:
    assert says in refused(
        rezip(tiny_bundle, tmp_path / "bad.edgeemo", replaced("selftest.npz", content))
    )


def external_tensor() -> onnx.TensorProto:
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def onnx_with(place: str) -> bytes:
    """An ONNX model that names a file outside at `place`."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "inner", [], [y], [external_tensor()]
    )
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    if place == "attribute":
        nodes = [helper.make_node("Constant", [], ["y"], value=external_tensor())]
    if place == "subgraph":
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    graph = helper.make_graph(
        nodes, "g", [x], [y], [external_tensor()] if place == "initializer" else []
    )
    model = helper.make_model(graph)
    if place == "function":
        node = helper.make_node("Constant", [], ["y"], value=external_tensor())
        model.functions.append(
            helper.make_function("own", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 17)])
        )
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
def test_onnx_that_names_a_file_outside_is_refused(
    tiny_bundle: Path, tmp_path: Path, place: str
) -> None:
    path = rezip(tiny_bundle, tmp_path / "bad.edgeemo", replaced("fp32.onnx", onnx_with(place)))
    assert "fp32.onnx: keeps weights in external files" in refused(path)


def test_refused_content_leaves_no_file_and_the_old_one_untouched(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_bundle)
    out = tmp_path / "out.edgeemo"
    out.write_bytes(b"old")
    with pytest.raises(BundleError):
        write_bundle(out, bundle.manifest, {**bundle.files, "report.json": b"{}"})
    assert out.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.edgeemo"]


@pytest.mark.parametrize("part", ["manifest.json", "report.json", "selftest.npz"])
def test_content_changed_with_its_hash_is_refused_or_means_what_it_says(
    part: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    # The hashes are right again, so each reader meets the damage: none may fail in a way of its
    # own.
    with zipfile.ZipFile(tiny_bundle) as archive:
        content = archive.read(part)
    rng = np.random.default_rng(7)
    refusals = 0
    # Headers lie at the beginning and the end, where most of the changes go.
    places = [
        *rng.integers(0, len(content), 60),
        *rng.integers(0, 300, 60),
        *(len(content) - 1 - rng.integers(0, 500, 60)),
    ]
    for place in places:
        changed = bytearray(content)
        changed[place] = rng.integers(256)
        path = tmp_path / "changed.edgeemo"
        if part == "manifest.json":
            rezip(
                tiny_bundle,
                path,
                lambda entries, new=bytes(changed): entries.update({"manifest.json": new}),
            )
        else:
            rezip(tiny_bundle, path, replaced(part, bytes(changed)))
        try:
            read_bundle(path)
        except BundleError as error:
            refusals += 1
            assert str(error).startswith(f"{path}: ")
            assert str(error).isprintable()
    assert refusals > 40


@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_several_damages_at_once_never_pass_as_another_bundle(
    tiny_bundle: Path, tmp_path: Path, data: st.DataObject
) -> None:
    good, whole = read_bundle(tiny_bundle), bytearray(tiny_bundle.read_bytes())
    directory = whole.find(b"PK\x01\x02")
    places = st.integers(0, len(whole) - 1) | st.integers(directory, len(whole) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(places)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(whole)) | st.integers(0, len(whole)))
    path = tmp_path / "damaged.edgeemo"
    path.write_bytes(whole[:cut] + data.draw(st.binary(max_size=30)))
    try:
        read = read_bundle(path)
    except BundleError as error:
        assert str(error).startswith(f"{path}: ")
        assert str(error).isprintable()
        return
    assert read.files == good.files
    assert read.manifest == good.manifest


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_no_bundle(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.edgeemo"
    path.write_bytes(data)
    with pytest.raises(BundleError):
        read_bundle(path)


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "OUT.txt", "manifest.json"])
def test_a_bundle_with_a_name_that_could_not_be_read_is_not_written(
    name: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_bundle)
    with pytest.raises(BundleError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a doubled name
        write_bundle(tmp_path / "out.edgeemo", bundle.manifest, {**bundle.files, name: b"x"})
    assert str(caught.value).startswith(f"{tmp_path / 'out.edgeemo'}: "), (
        "the target, not a temporary name"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_beyond_the_bound_is_not_written_and_the_old_one_stays(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_bundle)
    out = tmp_path / "out.edgeemo"
    out.write_bytes(b"old")
    with pytest.raises(BundleError, match="larger than 67,108,864 bytes"):
        write_bundle(out, bundle.manifest, {**bundle.files, "report.json": bytes(MAX_BUNDLE_BYTES)})
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_place_that_cannot_be_written_is_a_storage_error(tiny_bundle: Path) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc, which only Linux has")
    bundle = read_bundle(tiny_bundle)
    with pytest.raises(StorageError, match=r"/proc/out\.edgeemo: cannot be written"):
        write_bundle("/proc/out.edgeemo", bundle.manifest, bundle.files)


def test_an_endless_file_is_refused(tmp_path: Path) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero, which only Unix has")
    (tmp_path / "endless.edgeemo").symlink_to("/dev/zero")
    assert "a device, expected a regular file" in refused(tmp_path / "endless.edgeemo")
