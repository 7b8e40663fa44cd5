"""Statistics of a prepared folder against counts by plain loops over its index."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.data.prepared import Prepared, load_prepared
from training.__main__ import main
from training.studies.stats import imbalance, mean_faces, statistics, stats_lines, write_pictures

SOURCES = ("fer2013", "b", "c")


def drawn(count: int = 60, seed: int = 2, votes: bool = True) -> Prepared:
    """Pictures of random labels, groups, splits, sources and votes."""
    rng = np.random.default_rng(seed)
    labels, given = rng.integers(0, 7, (2, count))
    groups = rng.integers(0, count // 2, count)
    splits = rng.choice(["train", "validation", "test", "excluded"], count)
    sources = rng.choice(SOURCES, count)
    cast = rng.integers(0, 4, (count, 10))
    cast[:, FERPLUS_COLUMNS.index("sadness")] += rng.choice([0, 30], count)
    cast[sources != "fer2013"] = -1
    rows = [
        {"source": str(s), "reason": "left out in a test" if split == "excluded" else ""}
        for s, split in zip(sources, splits, strict=True)
    ]
    images = rng.integers(0, 256, (count, 48, 48, 1), np.uint8)
    return Prepared(
        Path("drawn"), images, labels, given, splits, groups, cast if votes else None, rows,
        {"conflicts": {"policy": "drop"}}, LABELS, DEFAULT_SPEC,
    )  # fmt: skip


DATA = drawn()
STATS = statistics(DATA)
MEMBERS = {g: [i for i in range(60) if DATA.groups[i] == g] for g in set(DATA.groups.tolist())}


def source(i: int) -> str:
    return DATA.rows[i]["source"]


def test_counts_by_source_split_and_class_are_those_of_the_index() -> None:
    expected = Counter((source(i), str(DATA.splits[i]), LABELS[DATA.labels[i]]) for i in range(60))
    found = {
        (name, split, label): n
        for name, splits in STATS["counts"].items()
        for split, row in splits.items()
        for label, n in row.items()
        if n
    }
    assert found == expected


def test_groups_and_their_sizes_are_counted() -> None:
    sizes = Counter(len(members) for members in MEMBERS.values())
    assert STATS["group_sizes"] == {str(size): n for size, n in sorted(sizes.items())}
    assert STATS["groups"] == len(MEMBERS)
    assert STATS["pictures_with_copies"] == sum(len(m) for m in MEMBERS.values() if len(m) > 1)


def test_shared_groups_are_those_with_a_picture_in_both_sources() -> None:
    names = STATS["sources"]
    assert sorted(names) == sorted(SOURCES)
    for a, b in combinations(range(3), 2):
        shared = sum({names[a], names[b]} <= {source(i) for i in m} for m in MEMBERS.values())
        assert STATS["shared_groups"][a][b] == STATS["shared_groups"][b][a] == shared
    for a in range(3):
        several = sum(sum(source(i) == names[a] for i in m) > 1 for m in MEMBERS.values())
        assert STATS["shared_groups"][a][a] == several


def test_conflicts_are_groups_of_several_given_labels() -> None:
    found = [m for m in MEMBERS.values() if len({int(DATA.given_labels[i]) for i in m}) > 1]
    assert found
    assert STATS["conflicts"] == {
        "policy": "drop",
        "groups": len(found),
        "pictures": sum(map(len, found)),
        "changed": sum(
            a != b for a, b in zip(DATA.labels.tolist(), DATA.given_labels.tolist(), strict=True)
        ),
    }


def test_imbalance_is_the_largest_class_for_one_of_the_smallest() -> None:
    assert imbalance(np.repeat(np.arange(7), [4, 3, 2, 9, 6, 3, 4]), 7) == 4.5
    assert imbalance(np.arange(6), 7) is None


def test_ferplus_agreement_counts_a_group_by_its_votes() -> None:
    agreed, majority = 0, 0
    for members in MEMBERS.values():
        summed = sum((DATA.votes[i] for i in members if DATA.votes[i, 0] >= 0), np.zeros(10, int))
        for i in members:
            votes = DATA.votes[i] if DATA.votes[i, 0] >= 0 else summed
            sad = votes[FERPLUS_COLUMNS.index("sadness")]
            if (
                2 * sad > votes.sum()
            ):  # no other column can have a majority: it would need more than half of at most 30
                majority += 1
                agreed += DATA.given_labels[i] == LABELS.index("sad")
    assert STATS["ferplus"]["majority"] == majority > 10
    assert STATS["ferplus"]["given_agrees"] == pytest.approx(agreed / majority)
    assert statistics(drawn(votes=False))["ferplus"] is None


def test_tables_hold_each_class_of_each_source() -> None:
    lines = list(stats_lines(STATS))
    for name, splits in STATS["counts"].items():
        for split, row in splits.items():
            cells = [str(row[label]) for label in LABELS]
            assert [name, split, *cells, str(sum(row.values()))] in [line.split() for line in lines]


def test_pictures_of_prepared_data_are_written_whole(tmp_path: Path) -> None:
    paths = write_pictures(DATA, STATS, tmp_path / "new" / "stats")
    assert [path.name for path in paths] == [
        "classes.png",
        "groups.png",
        "overlap.png",
        "means.png",
    ]
    assert sorted(tmp_path.rglob("*.png")) == sorted(paths)
    for path in paths:
        assert (cv2.imread(str(path)).std(axis=(0, 1)) > 0).all()


def test_mean_face_is_the_mean_of_its_class() -> None:
    sheet = mean_faces(DATA, scale=1)
    for label in range(7):
        expected = DATA.images[DATA.labels == label].astype(np.float64).mean(axis=0)[..., 0]
        shown = sheet[:48, label * 52 : label * 52 + 48]
        assert abs(shown - expected).max() <= 0.5


def test_stats_command_writes_beside_the_prepared_folder_and_says_where(
    prepared: Path, tmp_path: Path
) -> None:
    link = tmp_path / "data"
    link.symlink_to(prepared)
    before = sorted(prepared.iterdir())
    result = CliRunner().invoke(main, ["stats", str(link)], catch_exceptions=False)
    assert result.exit_code == 0
    assert sorted(prepared.iterdir()) == before
    assert (tmp_path / "data-stats" / "classes.png").is_file()
    assert f"wrote {tmp_path / 'data-stats'}" in result.stdout


def test_stats_command_prints_json_alone_when_asked(prepared: Path, tmp_path: Path) -> None:
    arguments = ["stats", str(prepared), "--json", "--out", str(tmp_path / "s")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert strict.loads(result.stdout) == statistics(load_prepared(prepared, DEFAULT_SPEC))
    assert (tmp_path / "s" / "means.png").is_file()
