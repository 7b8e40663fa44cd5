"""The data sets that `prepare` knows, each with its layout, licence, vocabulary and Kaggle name stated once."""

from dataclasses import dataclass
from pathlib import Path

from edgeemo.errors import ArchiveError, InvalidInput
from edgeemo.labelled import PictureArchive


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        name: short name, as in `--source NAME=PATH` and in index.csv.
        kaggle: OWNER/NAME on kaggle.com.
        licence: what its page says.
        layout: where the pictures lie inside, in words.
        splits: the splits that its folders name; all of them must be there.
    """

    name: str
    kaggle: str
    licence: str
    layout: str
    splits: tuple[str, ...]

    def open(self, path: str | Path) -> PictureArchive:
        """Open the set's archive or folder.

        Raises:
            ArchiveError: without a usable picture, or of another layout; the message says what was found.
        """
        archive = PictureArchive(path)
        found = {file.split for file in archive.files}
        if not set(self.splits) <= found:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in archive.rejected_counts().items())
            archive.close()
            raise ArchiveError(
                f"{path}: expected {self.name} as {self.layout}; found {len(archive.files)} usable pictures"
                f"{' and left out ' + reasons if reasons else ''}; get it from kaggle.com/datasets/{self.kaggle}"
            )
        return archive


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="fer2013",
            kaggle="msambare/fer2013",
            licence="Database Contents License (DbCL) 1.0 as its page says; pictures from the web, research use",
            layout="train/<class>/*.png and test/<class>/*.png",
            splits=("train", "test"),
        ),
    )
}


def parse_source(text: str) -> tuple[Source, Path]:
    """The source and path of `NAME=PATH`. Raises InvalidInput for an unknown name or a missing path."""
    name, sign, path = text.partition("=")
    if name not in SOURCES or not sign or not path:
        raise InvalidInput(
            f"expected --source NAME=ARCHIVE_OR_FOLDER with a NAME of {', '.join(SOURCES)}; received {text!r}"
        )
    return SOURCES[name], Path(path)
