"""Videos that are damaged or cut: read on where the decoder can, else how many of how many."""

import logging
import random
from pathlib import Path

import pytest

from edgeemo.cameras.common.container import Container, container_of
from edgeemo.cameras.files import Video
from edgeemo.errors import CameraError
from tests import support
from tests.edgeemo.cameras.camera_helpers import red_video, rest


def read(path: Path) -> int:
    """Frames of a video up to its end."""
    camera = Video(path)
    camera.open()
    try:
        return len(rest(camera))
    finally:
        camera.close()


def damaged(made: Path, *, at: int, count: int, seed: int) -> Path:
    """A copy with so many random bytes in it."""
    data = bytearray(made.read_bytes())
    data[at : at + count] = random.Random(seed).randbytes(count)
    path = made.with_stem(f"damaged-{at}")
    path.write_bytes(data)
    return path


# What the program ffmpeg 9.0 decodes of the same bytes; it may give one more or less where a
# picture is in pieces.
@pytest.mark.parametrize(
    ("at", "count", "ffmpeg"),
    [(273_173, 20_000, 107), (268_741, 2_000, 114), (194_245, 20_000, 110), (159_071, 2_000, 115)],
)
def test_frames_behind_a_damaged_one_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, at: int, count: int, ffmpeg: int
) -> None:
    whole = tmp_path / "video.mp4"
    whole.write_bytes(support.shared("media", "test.mp4").read_bytes())
    path = damaged(whole, at=at, count=count, seed=at)
    frames = read(path)
    assert abs(frames - ffmpeg) <= 4
    assert [record.getMessage() for record in caplog.records] == (
        [f"{path}: read {frames} of 115 frames; the others are damaged, and were skipped"]
        if frames < 115
        else []
    )


def test_frames_that_the_demuxer_passed_over_are_counted_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = red_video(tmp_path / "red.avi", frames=100)
    data = made.read_bytes()
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"00dc"]
    path = damaged(made, at=starts[40], count=starts[46] - starts[40] - 100, seed=1)
    frames = read(path)
    assert 90 <= frames < 100
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: read {frames} of 100 frames; the others are damaged, and were skipped"
    ]


def test_a_first_frame_that_is_damaged_is_no_reason_to_refuse_a_video(tmp_path: Path) -> None:
    made = red_video(tmp_path / "red.avi", frames=20)
    data = made.read_bytes()
    at = data.index(b"00dc") + 8
    assert read(damaged(made, at=at, count=40, seed=1)) >= 19


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".avi", "MJPG"), (".mkv", "MJPG"), (".mp4", "mp4v")]
)
def test_a_cut_video_says_how_many_of_how_many_frames_it_had(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    path = red_video(tmp_path / f"cut{suffix}", codec=codec, frames=60)
    data = path.read_bytes()
    assert read(path) == 60
    if suffix == ".mp4":  # OpenCV writes the index last, without which nothing is read
        data = with_index_first(data)
    path.write_bytes(data[: len(data) * 3 // 4])
    camera = Video(path)
    camera.open()
    frames = 0
    with pytest.raises(
        CameraError, match=r"cut\.\w+: read (\d+) of (60|59) frames; [\d,]+ bytes"
    ) as caught:
        while camera.read() is not None:
            frames += 1
    assert f"read {frames} of" in str(caught.value)
    assert 0 < frames < 60
    assert camera.read() is None
    camera.close()


def with_index_first(data: bytes) -> bytes:
    """An MP4 whose moov stands before its mdat, as for playing while it is downloaded."""
    at, boxes = 0, {}
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = data[at : at + length]
        at += length
    index = bytearray(boxes[b"moov"])
    table = index.index(b"stco") + 8
    for entry in range(int.from_bytes(index[table : table + 4], "big")):
        spot = slice(table + 4 + 4 * entry, table + 8 + 4 * entry)
        index[spot] = (int.from_bytes(index[spot], "big") + len(index)).to_bytes(4, "big")
    rest = [part for kind, part in boxes.items() if kind not in (b"ftyp", b"moov")]
    return b"".join([boxes[b"ftyp"], bytes(index), *rest])


def test_a_loop_over_a_cut_video_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = red_video(tmp_path / "cut.avi", frames=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    camera = Video(path, loop=True)
    camera.open()
    with caplog.at_level(logging.WARNING):
        times = [frame.time for _ in range(100) if (frame := camera.read())]
    camera.close()
    assert len(times) == 100
    assert times == sorted(times)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4", ".ts"])
def test_whole_containers_miss_nothing(tmp_path: Path, suffix: str) -> None:
    codec = {".mp4": "mp4v", ".ts": "mp2v"}.get(suffix, "MJPG")
    path = red_video(tmp_path / f"red{suffix}", codec=codec, fps=25)
    container = container_of(path)
    assert (container.missing, container.counts) == (0, suffix in (".avi", ".mp4"))
    assert container.shown == pytest.approx(1, abs=0.01)
    path.write_bytes(path.read_bytes()[:-100])
    # In a transport stream no part claims a length.
    assert container_of(path).missing == (100 if suffix != ".ts" else 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x00\x00",
        b"\0\0\0\x08ftyp" * 50_000,
        b"\0\0\0\x01ftyp" + b"\0" * 8,
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x10moov" + b"\0" * 8,
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7,
    ],
)
def test_containers_that_make_no_sense_miss_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    container = container_of(path)
    assert container == Container(counts=container.counts)


def test_an_edit_list_shows_a_part(tmp_path: Path) -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + kind + content

    def numbers(*values: int) -> bytes:
        return b"".join(value.to_bytes(4, "big", signed=True) for value in values)

    media = box(b"mdhd", numbers(0, 0, 0, 12_800, 12_800 * 10)) + box(
        b"hdlr", numbers(0, 0) + b"vide"
    )
    edits = box(b"elst", numbers(0, 2, 500, -1, 65_536, 4_000, 76_800, 65_536))
    track = box(b"trak", box(b"edts", edits) + box(b"mdia", media))
    sound = box(b"trak", box(b"mdia", box(b"hdlr", numbers(0, 0) + b"soun")))
    movie = box(b"moov", box(b"mvhd", numbers(0, 0, 0, 1000, 4500)) + sound + track)
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(box(b"ftyp", b"isom" + bytes(4)) + movie)
    assert container_of(path) == Container(counts=True, shown=0.4)
