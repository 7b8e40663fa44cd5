"""Registries: ours by a table, other packages' by entry points that Python's own metadata finds."""

from pathlib import Path

import pytest

from edgeemo.errors import BrokenDependency, InvalidInput
from edgeemo.registry import Registry

OWN = {"join": "os.path:join", "dumps": "json:dumps"}


def installed(folder: Path, points: str, module: str = "") -> None:
    """A distribution in `folder`, as pip leaves one."""
    info = folder / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[edgeemo.tests]\n{points}\n")
    (folder / "somebodys_module.py").write_text(module)


def test_own_entries_are_found_by_name_in_the_tables_order() -> None:
    registry: Registry[object] = Registry("thing", "edgeemo.tests", OWN)
    assert list(registry) == ["join", "dumps"]
    assert registry.get("dumps")([1]) == "[1]"  # type: ignore[operator]


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    registry: Registry[object] = Registry("thing", "edgeemo.tests", {"x": "no_such_module:x"})
    assert list(registry) == ["x"]
    with pytest.raises(ModuleNotFoundError):
        registry.get("x")


def test_another_packages_entry_is_listed_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "mine = somebodys_module:open_mine", "def open_mine(): return 'opened'")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[object] = Registry("thing", "edgeemo.tests", OWN)
    assert list(registry) == ["join", "dumps", "mine"]
    assert registry.get("mine")() == "opened"  # type: ignore[operator]


def test_nobody_can_take_the_name_of_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "dumps = somebodys_module:evil", "evil = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[object] = Registry("thing", "edgeemo.tests", OWN)
    assert list(registry) == ["join", "dumps"]
    assert registry.get("dumps") is __import__("json").dumps


def test_an_unknown_name_is_refused_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "mine = somebodys_module:x", "x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[object] = Registry("thing", "edgeemo.tests", OWN)
    with pytest.raises(
        InvalidInput, match="expected a thing of join, dumps, mine; received 'other'"
    ):
        registry.get("other")


@pytest.mark.parametrize("module", ["raise RuntimeError('broken')", "import no_such_module", ""])
def test_another_packages_broken_entry_is_named_with_its_package(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "mine = somebodys_module:x", module)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "somebodys_module", raising=False)
    with pytest.raises(BrokenDependency, match="the thing mine of the package somebodys cannot be"):
        Registry("thing", "edgeemo.tests", OWN).get("mine")


@pytest.mark.parametrize(("entry", "kind"), [("3", None), ("print", int)])
def test_an_entry_of_another_kind_is_named_with_its_package(
    entry: str, kind: type | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "mine = somebodys_module:x", f"x = {entry}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "somebodys_module", raising=False)
    registry: Registry[object] = Registry("thing", "edgeemo.tests", OWN, kind)
    with pytest.raises(BrokenDependency, match="mine of the package somebodys: expected"):
        registry.get("mine")


def test_a_module_that_ends_the_program_is_a_broken_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "mine = somebodys_module:x", "import sys; sys.exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "somebodys_module", raising=False)
    with pytest.raises(BrokenDependency, match=r"cannot be imported \(SystemExit: 3\)"):
        Registry("thing", "edgeemo.tests", OWN).get("mine")


def test_a_name_of_two_packages_is_refused_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "mine = somebodys_module:x", "x = print")
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgeemo.tests]\nmine = others_module:x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BrokenDependency, match=r"several packages \(others, somebodys\)"):
        Registry("thing", "edgeemo.tests", OWN).get("mine")
