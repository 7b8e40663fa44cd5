"""report.html: the numbers it is given, the faces it promises, nothing from outside, nothing
unescaped.
"""

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.data.prepared import SPLITS, load_prepared
from tests import support
from training.runs.report import Pictures, write_report

# Ten pictures: 0-2 one group of near copies, 3-4 one of equal pixels, the rest alone.
GROUPS = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6], np.int64)
GIVEN = np.array([0, 3, 0, 4, 4, 1, 2, 5, 6, 6], np.int64)
SETTLED = np.array([0, 0, 0, 4, 4, 1, 2, 5, 6, 6], np.int64)
HOSTILE = "<script>alert('x')</script>&\udcff.jpg"


class Page(HTMLParser):
    """Tags, attributes, table cells by row, and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.pictures: list[np.ndarray] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        self.links += [
            value
            for name, value in values.items()
            if name in ("src", "href", "srcset", "action", "data")
        ]
        if tag == "img":
            self.alts.append(values.get("alt", ""))
            data = base64.b64decode(
                values["src"].removeprefix("data:image/png;base64,"), validate=True
            )
            self.pictures.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next(row[1:] for row in self.rows if row[0] == name)


def drawn() -> Pictures:
    rng = np.random.default_rng(5)
    images = np.stack([support.drawn_picture(int(label), rng) for label in SETTLED])[
        ..., np.newaxis
    ]
    images[4] = images[3]
    votes = np.full((10, 10), -1, np.int64)
    votes[:4] = 0
    votes[0, FERPLUS_COLUMNS.index("anger")] = 10
    votes[1, FERPLUS_COLUMNS.index("anger")] = 9
    votes[2, FERPLUS_COLUMNS.index("contempt")] = 7
    votes[3, [FERPLUS_COLUMNS.index("sadness"), FERPLUS_COLUMNS.index("fear")]] = 5
    splits = np.array(["train"] * 5 + ["validation", "test", "test", "train", "excluded"])
    sources = np.array(["fer2013"] * 3 + ["b", "fer2013"] + ["b"] * 5)
    return Pictures(LABELS, images, SETTLED, GIVEN, splits, GROUPS, sources, votes)


def described(pictures: Pictures) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for source, split, label in zip(
        pictures.sources, pictures.splits, pictures.labels, strict=True
    ):
        counts.setdefault(str(source), {}).setdefault(str(split), dict.fromkeys(LABELS, 0))[
            LABELS[label]
        ] += 1
    matrix = np.zeros((7, 7), int)
    matrix[0, [0, 3]] = 2, 1
    names = [f"more_{i}.jpg" for i in range(25)]
    return {
        "images": 10,
        "groups": 7,
        "pictures_with_copies": 5,
        "split": "grouped",
        "seed": 3,
        "detector": None,
        "input_fingerprint": "49e450d1a203e409",
        "counts": counts,
        "sources": [
            {"name": n, "kaggle": f"k/{n}", "licence": "L <1>", "file": HOSTILE}
            for n in ("fer2013", "b")
        ],
        "duplicates": {"exact_groups": 1, "near_groups": 1, "largest": 3},
        "conflicts": {
            "policy": "majority",
            "groups": 1,
            "pictures": 3,
            "changed": 1,
            "dropped": 0,
            "matrix": matrix.tolist(),
        },
        "reviewed": {"decisions": 0, "pictures": 0, "not_applied_to_held_out": 0},
        "excluded": {"copies with other labels": 1},
        "ferplus_rows": 4,
        "rejected_counts": {"not a picture file": 25, "odd <b>": 1},
        "rejected": (
            [{"source": "b", "path": name, "reason": "not a picture file"} for name in names]
            + [{"source": "fer2013", "path": HOSTILE, "reason": "odd <b>"}]
        ),
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, described(drawn()), drawn())
    return Page(path.read_text(encoding="utf-8"))


def test_page_is_whole_and_needs_nothing_from_outside(page: Page) -> None:
    assert page.open == []
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "url(" not in page.text


def test_names_from_archives_are_text_and_never_markup(page: Page) -> None:
    assert (
        page.text.count("<script>alert('x')</script>&\\xff.jpg") == 3
    )  # two sources' files, one rejected path
    assert "odd <b>" in page.text
    assert "b" not in page.tags


def test_page_has_headings_and_every_picture_an_alt_text(page: Page) -> None:
    assert page.tags.count("h1") == 1
    assert page.tags.count("h2") == 7
    assert all(page.alts)
    assert page.tags.count("th") > 30


def test_counts_stand_in_their_row_and_column(page: Page) -> None:
    assert page.row("source, split") == [*LABELS, "all"]
    assert page.row("fer2013, train") == ["3", "0", "0", "0", "1", "0", "0", "4"]
    assert page.row("b, excluded") == ["0", "0", "0", "0", "0", "0", "1", "1"]
    assert page.row("all") == ["3", "1", "1", "0", "2", "1", "2", "10"]
    assert page.row("of them in a split") == ["9"]


def test_rejected_files_are_counted_by_source_and_the_first_twenty_named(page: Page) -> None:
    assert page.row("not a picture file") == ["0", "25", "25"]
    assert page.row("odd <b>") == ["1", "0", "1"]
    assert "not a picture file: 20 of 25" in page.text
    assert "more_19.jpg" in page.text
    assert "more_20.jpg" not in page.text


def test_conflicts_are_shown_as_matrix_and_sheet(page: Page) -> None:
    assert page.row("angry") == ["2", "0", "0", "1", "0", "0", "0"]
    assert "1 label changed, 0 pictures dropped" in page.text
    assert_shows(page, "Groups with different labels, the largest", [[0, 1, 2]])


def test_copies_are_shown_near_ones_apart_from_equal_ones(page: Page) -> None:
    assert_shows(page, "Near copies, the largest groups", [[0, 1, 2]])
    assert_shows(page, "Near copies, groups drawn at random", [[0, 1, 2]])
    assert_shows(page, "Equal pixels, the largest groups", [[3, 4]])
    assert page.row("fer2013")[:3] == [
        "k/fer2013",
        "L <1>",
        "<script>alert('x')</script>&\\xff.jpg",
    ]
    assert page.rows[page.rows.index(["groups with pictures in both", "fer2013", "b"]) + 1] == [
        "fer2013",
        "1",
        "1",
    ]


def test_ferplus_votes_are_counted(page: Page) -> None:
    assert page.row("pictures with votes of their own") == ["4"]
    assert page.row("most taggers agree on one of the classes") == [
        "2"
    ]  # 10 and 9 for anger; 7 contempt and 5 of 10 are none
    assert page.row("of these, the given label is another") == ["1"]
    assert page.row("left out with --labels ferplus: most votes for contempt") == ["1"]


def test_samples_show_a_row_for_each_class(page: Page) -> None:
    sheet = page.pictures[page.alts.index("sample faces, a row for each class")]
    faces = drawn()
    for label in range(len(LABELS)):
        shown = sheet[label * 52 : label * 52 + 48, :48]
        members = faces.images[faces.labels == label][..., 0]
        assert (
            (shown == 255).all() if not len(members) else (members == shown).all(axis=(1, 2)).any()
        )


def test_report_of_data_without_copies_votes_or_rejected_files_leaves_their_parts_out(
    tmp_path: Path,
) -> None:
    faces = drawn()
    rng = np.random.default_rng(6)
    images = rng.integers(0, 256, faces.images.shape, np.uint8)
    alone = Pictures(LABELS, images, SETTLED, SETTLED, faces.splits, np.arange(10), faces.sources)
    dataset = described(alone) | {"rejected": [], "rejected_counts": {}, "excluded": {}}
    write_report(tmp_path / "report.html", dataset, alone)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.pictures) == 2  # class chart and samples
    assert "FER+" not in page.text
    assert "No file." in page.text


def test_prepare_writes_the_report_with_its_own_counts(prepared: Path) -> None:
    page = Page((prepared / "report.html").read_text(encoding="utf-8"))
    data = load_prepared(prepared, DEFAULT_SPEC)
    assert page.row("pictures") == [str(len(data.labels))]
    for split in SPLITS:
        sizes = np.bincount(data.labels[data.splits == split], minlength=len(LABELS)).tolist()
        assert page.row(f"fer2013, {split}") == [str(n) for n in [*sizes, sum(sizes)]]


def assert_shows(page: Page, title: str, groups: list[list[int]]) -> None:
    """The sheet of that title has these pictures, each doubled in size, in these rows."""
    sheet = page.pictures[page.alts.index(f"{title}: {count_of(len(groups), 'row')} of faces")]
    images = drawn().images
    for row, members in enumerate(groups):
        for column, i in enumerate(members):
            top, left = row * (96 + 15 + 4), column * (96 + 4)
            np.testing.assert_array_equal(
                sheet[top : top + 96 : 2, left : left + 96 : 2], images[i, :, :, 0]
            )
