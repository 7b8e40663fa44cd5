"""Picture files in and out: the right pixels for honest files, one clear error for all others; by
Pillow, and by OpenCV where Pillow is missing.
"""

import io
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgeemo.cli.main import main
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data import pictures
from edgeemo.data.labelled import load_inputs
from edgeemo.data.pictures import decode_picture, read_picture, write_picture
from edgeemo.data.tiff import first_picture
from edgeemo.errors import EdgeemoError, InvalidInput, MissingFile, PictureError, StorageError
from edgeemo.optional import is_installed
from tests import support

Image.init()  # loads what the tests write with


@pytest.fixture(params=["Pillow", "OpenCV"], autouse=True)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two decodes."""
    if request.param == "OpenCV":
        # Nobody finds it any more, but what is loaded works.
        monkeypatch.setattr(PIL, "__spec__", None)
        assert not is_installed("PIL")
    return str(request.param)


RED = np.full((40, 60, 3), (200, 30, 10), np.uint8)  # RGB


def bars() -> NDArray[np.uint8]:
    """uint8 (24, 36, 3) RGB: a red, a green and a blue bar, so that swapped channels and turned
    pictures show.
    """
    picture = np.zeros((24, 36, 3), np.uint8)
    for channel in range(3):
        picture[:, 12 * channel : 12 * channel + 12, channel] = 220
    return picture


def written_by_pillow(picture: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def refusal(path: Path) -> str:
    """The message of the PictureError that reading `path` raises: one line that names the file and
    the way out.
    """
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "; " in message or "no face" in message
    return message


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_pictures_keep_every_pixel_in_rgb_order(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"bars.{kind.lower()}"
    path.write_bytes(written_by_pillow(bars(), kind))
    assert np.array_equal(read_picture(path), bars())


def test_lossless_webp_keeps_every_pixel_in_rgb_order() -> None:
    assert np.array_equal(
        decode_picture(written_by_pillow(bars(), "WEBP", lossless=True), "x"), bars()
    )


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 95})]
)
def test_red_stays_red_in_lossy_pictures(kind: str, options: dict[str, int]) -> None:
    decoded = decode_picture(written_by_pillow(RED, kind, **options), "red")
    assert decoded.dtype == np.uint8
    assert decoded.shape == RED.shape
    assert np.abs(decoded.astype(int) - RED).max() <= 6


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "JPEG", "WEBP"])
def test_grey_picture_gives_three_equal_channels(kind: str) -> None:
    grey = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (48, 1))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    source = np.repeat(grey[..., np.newaxis], 3, 2) if kind == "WEBP" else grey
    decoded = decode_picture(written_by_pillow(source, kind, **options), "grey")
    assert decoded.shape == (48, 48, 3)
    assert (np.ptp(decoded, axis=2) == 0).all()
    assert np.abs(decoded[..., 0].astype(int) - grey).max() <= (2 if kind == "JPEG" else 0)


def test_alpha_is_dropped_and_colours_stay(decoder: str) -> None:
    rgba = np.dstack([bars(), np.full((24, 36), 7, np.uint8)])
    for kind in ("PNG", "TIFF") if decoder == "Pillow" else ("PNG",):
        assert np.array_equal(decode_picture(written_by_pillow(rgba, kind), "rgba"), bars())


def test_palette_picture_gives_its_colours() -> None:
    buffer = io.BytesIO()
    Image.fromarray(bars()).quantize(8).save(buffer, "PNG")
    assert np.array_equal(decode_picture(buffer.getvalue(), "palette"), bars())


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_picture_keeps_its_upper_byte(suffix: str) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 2**16, (30, 20, 3)).astype(np.uint16)
    decoded = decode_picture(support.encoded(rgb[..., ::-1], suffix), "deep")
    assert np.array_equal(decoded, (rgb >> 8).astype(np.uint8))


def test_16_bit_grey_picture_keeps_its_upper_byte() -> None:
    grey = np.linspace(0, 65535, 48 * 48).reshape(48, 48).astype(np.uint16)
    decoded = decode_picture(support.encoded(grey), "deep grey")
    assert np.array_equal(decoded, np.repeat((grey >> 8).astype(np.uint8)[..., np.newaxis], 3, 2))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_grey_of_10_and_12_bits_in_a_file_of_16_is_as_bright_as_it_was(suffix: str) -> None:
    shown = np.arange(256, dtype=np.uint16).reshape(16, 16)
    expected = np.repeat(shown.astype(np.uint8)[..., np.newaxis], 3, 2)
    for bits in (10, 12, 16):
        grey = shown << (bits - 8) | (1 << (bits - 8)) - 1
        assert np.array_equal(decode_picture(support.encoded(grey, suffix), f"{bits}"), expected)
    # What fits into 8 bits is a black picture of 16, as ever.
    assert not decode_picture(support.encoded(shown, suffix), "8").any()


def test_float_tiff_is_stretched_to_the_whole_range() -> None:
    ramp = np.linspace(-3, 5, 64 * 4).reshape(4, 64).astype(np.float32)
    decoded = decode_picture(
        support.encoded(np.repeat(ramp[..., np.newaxis], 3, 2), ".tiff"), "float"
    )
    expected = (ramp + 3) / 8 * 255
    assert np.abs(decoded[..., 0] - expected).max() <= 1


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda p: p),
        (2, np.fliplr),
        (3, lambda p: np.rot90(p, 2)),
        (4, np.flipud),
        (5, lambda p: p.swapaxes(0, 1)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: np.rot90(p, 2).swapaxes(0, 1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation_is_applied(orientation: int, turn: Callable[..., Any]) -> None:
    stored = bars()
    stored[:12] //= 2  # a dark upper half, so that all eight differ
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = written_by_pillow(stored, "JPEG", quality=98, subsampling=0, exif=exif)
    decoded = decode_picture(data, "turned").astype(int)
    expected = turn(stored).astype(int)
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).mean() < 3


def test_name_may_be_text_or_path(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(written_by_pillow(RED, "PNG"))
    assert np.array_equal(read_picture(str(path)), read_picture(path))


def test_decoding_ignores_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(written_by_pillow(RED, "PNG"))
    assert np.array_equal(read_picture(path), RED)


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"nowhere\.png: no such file; check the path"):
        read_picture(tmp_path / "nowhere.png")


def test_path_below_a_file_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MissingFile, match="no such file"):
        read_picture(tmp_path / "file" / "x.png")


def test_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    assert "the file is empty" in refusal(path)


def test_folder_is_refused(tmp_path: Path) -> None:
    assert "received a folder" in refusal(tmp_path)


def test_name_that_no_file_can_have_is_refused() -> None:
    for name in ("a" * 300 + ".png", "a\0b.png"):
        with pytest.raises(PictureError, match="cannot be read"):
            read_picture(name)


def test_text_file_is_refused_with_the_known_formats(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("dear diary, " * 50)
    assert "expected PNG, JPEG, BMP, WebP, TIFF, PNM, GIF" in refusal(path)


def gif_of_two(first: NDArray[np.uint8]) -> bytes:
    """A GIF whose second picture is black."""
    pictures = [Image.fromarray(one).quantize(8) for one in (first, np.zeros_like(first))]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], comment=b"made up")
    return buffer.getvalue()


def test_gif_gives_its_first_picture_where_pillow_is(decoder: str) -> None:
    data = gif_of_two(bars())
    if decoder == "Pillow":
        assert np.array_equal(decode_picture(data, "moving.gif"), bars())
        with pytest.raises(PictureError, match="^cut: the picture is truncated or damaged"):
            decode_picture(data[:-40] if len(data) < 90 else data[:80], "cut")
    else:
        with pytest.raises(
            PictureError, match=r"^moving\.gif: Pillow is needed .*run: pip install"
        ):
            decode_picture(data, "moving.gif")


@pytest.mark.parametrize("decoder", ["Pillow"], indirect=True)
def test_gif_of_millions_of_comments_or_beyond_its_screen_is_refused() -> None:
    data = gif_of_two(bars())
    at = 13 + 3 * 2 ** (1 + (data[10] & 7))
    with pytest.raises(PictureError, match="a GIF with more than 10,000 blocks before its picture"):
        decode_picture(data[:at] + b"\x21\xfe\0" * 3_000_000 + data[at:], "x")
    small = data[:6] + struct.pack("<HH", 12, 12) + data[10:]
    with pytest.raises(PictureError, match="truncated or damaged"):
        decode_picture(small, "x")


@pytest.mark.parametrize("decoder", ["Pillow"], indirect=True)
@pytest.mark.parametrize("orientation", [1, 6])
def test_avif_is_read_and_stands_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = written_by_pillow(
        np.tile(bars(), (4, 4, 1)), "AVIF", quality=95, exif=exif, subsampling="4:4:4"
    )
    expected = np.tile(bars(), (4, 4, 1)).astype(int)
    decoded = decode_picture(data, "x.avif").astype(int)
    expected = np.rot90(expected, -1) if orientation == 6 else expected
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).mean() < 4
    for kept in (40, len(data) // 2, len(data) - 20):
        with pytest.raises(PictureError, match="^x: "):
            decode_picture(data[:kept], "x")
    assert len(data) < 16_384
    with pytest.raises(PictureError, match="at most 1,000 pixels"):
        decode_picture(data, "x", 1_000)


def test_avif_without_pillow_and_heic_without_its_plugin_say_what_to_install(decoder: str) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x14ispe\0\0\0\0\0\0\1\0\0\0\1\0"
    assert not is_installed("pillow_heif")
    with pytest.raises(PictureError, match=r"^p: pillow-heif is needed .*\[heic\]'$"):
        decode_picture(heic, "p")
    if decoder == "OpenCV":
        with pytest.raises(PictureError, match=r"^p: Pillow is needed .*\[pictures\]'$"):
            decode_picture(heic.replace(b"heic", b"avif"), "p")


@pytest.mark.parametrize("largest", [1, 15, 254, 255, 1023, 65_535])
@pytest.mark.parametrize("plain", [False, True])
def test_pnm_of_any_largest_value_fills_the_range(largest: int, plain: bool) -> None:
    values = np.random.default_rng(2).integers(0, largest + 1, (7, 5, 3))
    values[0, 0] = (0, largest, largest)
    wide = np.dtype(">u2") if largest > 255 else np.dtype(np.uint8)
    body = b" ".join(b"%d" % v for v in values.flat) if plain else values.astype(wide).tobytes()
    data = b"%s # made up\n5 7\n%d\n" % (b"P3" if plain else b"P6", largest) + body
    expected = values * 255 / largest
    assert np.abs(decode_picture(data, "x") - expected).max() <= 1
    assert decode_picture(data, "x")[0, 0].tolist() == [0, 255, 255]
    with pytest.raises(PictureError, match="^x: the picture is damaged or truncated"):
        decode_picture(data[:-3] if not plain else data[: data.rindex(b" ")], "x")


@pytest.mark.parametrize("decoder", ["Pillow"], indirect=True)
def test_grey_float_tiff_is_stretched_and_whole_numbers_of_32_bits_are_refused() -> None:
    ramp = np.linspace(-3, 5, 64 * 4).reshape(4, 64).astype(np.float32)
    ramp[2, 7] = np.nan
    decoded = decode_picture(written_by_pillow(ramp, "TIFF"), "float")
    expected = (np.nan_to_num(ramp, nan=-3) + 3) / 8 * 255
    assert np.abs(decoded[..., 0] - expected).max() <= 1
    with pytest.raises(PictureError, match="damaged|convert it to 8 or 16 bits"):
        decode_picture(written_by_pillow((ramp[:2] * 1e6).astype(np.int32), "TIFF"), "whole")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.8, 0.97, -1])
def test_cut_picture_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    rng = np.random.default_rng(5)
    whole = support.encoded(
        cv2.GaussianBlur(rng.integers(0, 256, (150, 120, 3)).astype(np.uint8), (0, 0), 2), suffix
    )
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * kept)] if kept > 0 else whole[:-1])
    if suffix == ".webp" and kept == -1:  # RIFF pads to even lengths: the last byte may be filling
        path.write_bytes(whole[:-2])
    if (
        suffix == ".tiff" and kept == -1
    ):  # the last four bytes say "no further picture", which none will miss
        path.write_bytes(whole[:-64])
    refusal(path)


def test_jpeg_cut_behind_its_thumbnail_is_refused(tmp_path: Path) -> None:
    thumbnail = written_by_pillow(RED, "JPEG")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0" + thumbnail
    whole = written_by_pillow(np.tile(bars(), (9, 9, 1)), "JPEG", exif=exif)
    assert thumbnail in whole
    decode_picture(whole, "whole")
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: whole.index(thumbnail) + len(thumbnail) + 400])
    assert "truncated" in refusal(path)


def test_png_with_one_wrong_byte_in_its_pixels_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(support.png_of(64, 64))
    data[len(data) // 2] ^= 1
    path = tmp_path / "flipped.png"
    path.write_bytes(data)
    assert "damaged" in refusal(path)
    assert capfd.readouterr().err == ""


def test_png_with_a_damaged_comment_still_opens() -> None:
    whole = written_by_pillow(RED, "PNG")
    comment = bytearray(chunk(b"tEXt", b"Author\0nobody"))
    comment[-1] ^= 1
    at = whole.index(b"IDAT") - 4
    assert np.array_equal(decode_picture(whole[:at] + bytes(comment) + whole[at:], "comment"), RED)


def test_bytes_behind_the_picture_do_no_harm() -> None:
    assert np.array_equal(decode_picture(written_by_pillow(RED, "PNG") + b"appended", "x"), RED)
    assert decode_picture(written_by_pillow(RED, "JPEG") + b"appended", "x").shape == RED.shape


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 50), (50, 1)])
def test_picture_of_one_pixel_is_refused(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "dot.png"
    path.write_bytes(support.png_of(width, height))
    assert f"{width}x{height} pixel, expected at least 2x2" in refusal(path)


def test_picture_of_two_by_two_opens() -> None:
    assert decode_picture(support.png_of(2, 2), "small").shape == (2, 2, 3)


def test_picture_20000_pixels_wide_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(support.png_of(20_000, 4))
    message = refusal(path)
    assert "20000x4 pixels" in message
    assert message.endswith("scale it down")


def test_largest_allowed_side_opens() -> None:
    assert decode_picture(support.png_of(pictures.MAX_SIDE, 3), "long").shape == (
        3,
        pictures.MAX_SIDE,
        3,
    )


@pytest.mark.parametrize(
    ("name", "data", "size"),
    [
        ("bomb.png", png_that_claims(60_000, 60_000), "60000x60000"),
        ("area.png", png_that_claims(16_000, 16_000), "16000x16000"),
        (
            "bomb.bmp",
            b"BM" + bytes(16) + struct.pack("<ii", 60_000, -60_000) + bytes(100),
            "60000x60000",
        ),
        (
            "bomb.jpg",
            b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 60_000, 60_000) + bytes(20),
            "60000x60000",
        ),
        ("bomb.ppm", b"P6\n# a comment\n60000 60000\n255\n", "60000x60000"),
        (
            "bomb.webp",
            b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\xff\xff\x0a" * 2 + bytes(9),
            "720896x720896",
        ),
        (
            "bomb.tiff",
            b"MM\0*\0\0\0\x08\0\x02"
            + struct.pack(">HHIIHHII", 256, 4, 1, 60_000, 257, 4, 1, 60_000)
            + bytes(4),
            "60000x60000",
        ),
    ],
)
def test_header_that_claims_too_much_is_refused_before_decoding(
    tmp_path: Path, name: str, data: bytes, size: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    # Decoding would fail for want of pixels, with another message.
    assert (
        f"{size} pixels, expected sides of at most 16,384 and at most 50,000,000 pixels"
        in refusal(path)
    )


def with_scans(width: int, height: int, more: int) -> bytes:
    """A progressive JPEG of a flat grey picture whose last scan, of some 75 bytes, comes again and
    again.
    """
    buffer = io.BytesIO()
    flat = Image.fromarray(np.zeros((height, width), np.uint8))
    flat.save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()[:-2]
    return data + data[data.rindex(b"\xff\xda") :] * more + b"\xff\xd9"


@pytest.mark.parametrize(
    ("size", "more", "message"),
    [
        ((7000, 7000), 400, "a JPEG of 406 scans, expected at most 16 for 7000x7000 pixels"),
        ((64, 64), 95, "a JPEG of 101 scans, expected at most 100 for 64x64 pixels"),
    ],
)
def test_jpeg_of_many_scans_is_refused_at_once(
    size: tuple[int, int], more: int, message: str
) -> None:
    data = with_scans(*size, more)
    start = time.process_time()
    with pytest.raises(PictureError, match=message):
        decode_picture(data, "scans.jpg")
    assert time.process_time() - start < 0.5  # decoding takes 30 s


@pytest.mark.parametrize("quality", [60, 100])
def test_progressive_jpeg_as_programs_write_it_opens(quality: int) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", progressive=True, quality=quality)
    assert decode_picture(buffer.getvalue(), "progressive.jpg").shape == (97, 131, 3)
    assert decode_picture(with_scans(64, 64, 94), "scans.jpg").shape == (64, 64, 3)


def test_bound_on_pixels_is_an_argument_and_an_environment_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(support.png_of(40, 25))
    assert read_picture(path, 1000).shape == (25, 40, 3)
    with pytest.raises(PictureError, match="40x25 pixels, expected .* at most 999 pixels"):
        read_picture(path, 999)
    monkeypatch.setenv("EDGEEMO_MAX_PIXELS", "999")
    with pytest.raises(PictureError, match="999 pixels; scale it down or set EDGEEMO_MAX_PIXELS$"):
        read_picture(path)
    monkeypatch.setenv("EDGEEMO_MAX_PIXELS", "200000000")
    assert pictures.pixel_bound(1) == 200_000_000
    monkeypatch.setenv("EDGEEMO_MAX_PIXELS", "4e6")
    with pytest.raises(InvalidInput, match="EDGEEMO_MAX_PIXELS: expected a number of pixels"):
        read_picture(path)


def test_each_of_many_pictures_has_the_smaller_bound(tmp_path: Path) -> None:
    folder = tmp_path / "happy"
    folder.mkdir()
    (folder / "large.png").write_bytes(png_that_claims(5001, 5000))
    (folder / "small.png").write_bytes(support.png_of(48, 48))
    assert load_inputs(tmp_path, "test", DEFAULT_SPEC, LABELS).left_out == {
        "not a usable picture": 1
    }
    refusal = "5001x5000 pixels, expected sides of at most 16,384 and at most 25,000,000 pixels"
    done = support.done_here(main, "edgeemo", "predict", *sorted(folder.iterdir()))
    assert done.returncode == 1
    assert refusal in done.stderr


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2 * 1024**4)  # sparse; to read it would end in a MemoryError
    assert "2,199,023,255,552 bytes, expected at most 67,108,864" in refusal(path)


def decodes_or_refuses(data: bytes) -> None:
    try:
        decoded = decode_picture(data, "fuzzed")
    except PictureError as error:
        assert str(error).startswith("fuzzed: ")
        return
    assert decoded.dtype == np.uint8
    assert decoded.shape[2] == 3


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xc0",
            b"BM",
            b"RIFF\0\0\0\0WEBPVP8 ",
            b"II*\0",
            b"MM\0*",
            b"P5",
            b"P6 ",
        ]
    ),
    st.binary(max_size=300),
)
def test_random_bytes_decode_or_are_refused(start: bytes, rest: bytes) -> None:
    decodes_or_refuses(start + rest)


WHOLE = {
    suffix: support.encoded(
        np.random.default_rng(1).integers(0, 256, (12, 9, 3)).astype(np.uint8), suffix
    )
    for suffix in (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm")
} | {
    f".{kind}": written_by_pillow(np.tile(bars(), (2, 2, 1)), kind.upper())
    for kind in ("gif", "avif")
}


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 400),
)
def test_mutated_headers_decode_or_are_refused(
    suffix: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(WHOLE[suffix])
    for at, value in changes:
        data[at % len(data)] = value
    decodes_or_refuses(bytes(data[: len(data) - cut] if cut < 40 else data))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".PNG"])
def test_written_picture_reads_back_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bars{suffix}"
    write_picture(path, bars())
    assert np.array_equal(read_picture(path), bars())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_picture_into_a_folder_that_is_not_there_names_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"there is no folder {tmp_path / 'none'}"):
        write_picture(tmp_path / "none" / "bars.png", bars())
    assert list(tmp_path.iterdir()) == []


def test_written_picture_is_rgb_for_others_too(tmp_path: Path) -> None:
    write_picture(tmp_path / "bars.png", bars())
    assert np.array_equal(np.asarray(Image.open(tmp_path / "bars.png")), bars())


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.png.txt"])
def test_unknown_ending_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        PictureError, match=r"expected an ending of \.bmp, \.jpeg.*received (\.xyz|none|\.txt)"
    ):
        write_picture(tmp_path / name, RED)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        write_picture(tmp_path / "file" / "out.png", RED)
    with pytest.raises(StorageError, match="cannot be written"):
        write_picture("/proc/edgeemo/out.png", RED)


def test_target_that_is_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(StorageError, match="is a folder"):
        write_picture(tmp_path / "out.png", RED)


def test_picture_errors_are_value_errors_of_the_project() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        decode_picture(b"", "nothing")
    assert isinstance(caught.value, EdgeemoError)


def tiff_with(tags: list[tuple[int, int, int, int]]) -> bytes:
    """A TIFF's header and directory of (tag, kind, number, value) alone."""
    rows = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4)


@pytest.mark.parametrize("tag", [256, 257])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_tiff_of_two_sizes_is_refused_before_decoding(tag: int, kind: int) -> None:
    honest = [(256, 4, 1, 100), (257, 4, 1, 100)]
    data = tiff_with(sorted([(tag, kind, 1, 30_000), *honest], key=lambda row: row[0]))
    with pytest.raises(PictureError, match=r"^x: (a TIFF with two|not a picture)"):
        decode_picture(data, "x")


def test_tiff_whose_second_size_stands_behind_many_tags_is_refused() -> None:
    rest = [(60_000, 4, 1, 0)] * 600
    tags = [(256, 4, 1, 100), (257, 4, 1, 100), *rest, (256, 4, 1, 30_000)]
    with pytest.raises(PictureError, match=r"^x: a TIFF with two widths; convert it again$"):
        decode_picture(tiff_with(tags), "x")


HONEST = [(256, 4, 1, 100), (257, 4, 1, 100), (258, 3, 1, 8), (262, 3, 1, 1)]


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ((273, 4, 16_000_000, 8), "a TIFF of 16,000,000 strips, expected at most 65,536"),
        ((325, 4, 65_537, 8), "a TIFF of 65,537 tiles, expected at most 65,536"),
        (
            (347, 7, 60_000_000, 8),
            "a TIFF of 60,000,000 values of tag 347, expected at most 65,536",
        ),
        ((320, 3, 700, 8), "a TIFF whose tag 320 lies outside of the file"),
        ((338, 3, 65, 8), "a TIFF of 65 values of tag 338, expected at most 64"),
        ((262, 3, 1, 1), "a TIFF with two tags 262"),
    ],
)
def test_tiff_whose_tags_would_keep_a_decoder_busy_is_refused(
    tag: tuple[int, int, int, int], message: str
) -> None:
    with pytest.raises(PictureError, match=f"^x: {message}; convert it again$"):
        decode_picture(tiff_with(sorted([*HONEST, tag])), "x")


def test_tiff_of_gigantic_tiles_is_refused() -> None:
    tiles = [(322, 4, 1, 60_000), (323, 4, 1, 60_000)]
    with pytest.raises(PictureError, match="a TIFF of tiles of 60000x60000 pixels"):
        decode_picture(tiff_with([*HONEST, *tiles]), "x")


def test_decoders_never_see_what_private_tags_of_a_tiff_point_at() -> None:
    whole = written_by_pillow(bars(), "TIFF")
    (at,) = struct.unpack("<I", whole[4:8])
    (count,) = struct.unpack("<H", whole[at : at + 2])
    private = b"".join(struct.pack("<HHII", 60_000 + i, 7, len(whole), 0) for i in range(3_000))
    data = (
        whole[:4] + struct.pack("<I", len(whole)) + whole[8:]
        + struct.pack("<H", count + 3_000) + whole[at + 2 : at + 2 + 12 * count] + private + bytes(4)
    )  # fmt: skip
    seen = first_picture(data)
    (directory,) = struct.unpack("<I", seen[4:8])
    assert struct.unpack("<H", seen[directory : directory + 2])[0] <= count
    assert np.array_equal(decode_picture(data, "x"), bars())


@pytest.mark.parametrize("decoder", ["Pillow"], indirect=True)
def test_a_large_run_length_bmp_is_refused() -> None:
    head = b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 40, 30, 1, 8, 1) + bytes(20)
    with pytest.raises(PictureError, match="a run-length BMP of 4,200,054 bytes; convert it"):
        decode_picture(head + bytes(4_200_000), "x")


@pytest.mark.parametrize(
    "segments",
    [b"\xff\xfe\0\2" * 4_000_000, b"\xff" * 16_000_000, b"\xff\xda\0\2" * 4_000_000],
    ids=["comments", "fill", "scans"],
)
def test_jpeg_of_millions_of_segments_is_refused_at_once(segments: bytes) -> None:
    start = time.process_time()
    with pytest.raises(PictureError):
        decode_picture(b"\xff\xd8" + segments + bytes(20), "x")
    assert time.process_time() - start < 0.5


def test_jpeg_with_fill_bytes_and_hundreds_of_segments_opens() -> None:
    jpeg = written_by_pillow(bars(), "JPEG")
    more = b"\xff\xff\xff\xfe\0\4hi" * 900
    expected = decode_picture(jpeg, "x")
    assert np.array_equal(decode_picture(jpeg[:2] + more + jpeg[2:], "x"), expected)


def test_png_of_millions_of_chunks_is_refused_at_once() -> None:
    png = written_by_pillow(bars(), "PNG")
    start = time.process_time()
    with pytest.raises(PictureError, match="a PNG of more than 65,536 chunks"):
        decode_picture(png[:33] + chunk(b"tEXt", b"a\0b") * 500_000 + png[33:], "x")
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt", b"sPLT", b"pCAL"])
def test_bytes_of_a_png_never_reach_the_terminal(
    capfd: pytest.CaptureFixture[str], kind: bytes
) -> None:
    text = b"\x1b[2J\x1b[31mPWNED\x07\0\0" + zlib.compress(bytes(200_000))
    png = written_by_pillow(bars(), "PNG")
    picture = decode_picture(png[:33] + chunk(kind, text) + png[33:], "x")
    assert np.array_equal(picture, bars())
    assert capfd.readouterr() == ("", "")


def test_palette_with_transparency_and_rotation_of_a_png_are_kept() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    data = written_by_pillow(bars(), "PNG", exif=exif, icc_profile=b"profile", dpi=(72, 72))
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.array_equal(decode_picture(data, "x"), plain)


@pytest.mark.parametrize(("most", "divided"), [(12_000, 1), (3_024, 2), (768, 4), (192, 8)])
def test_a_large_jpeg_comes_smaller_where_it_may(most: int, divided: int) -> None:
    left = np.zeros((96, 125, 3), np.uint8)
    left[:, :60] = 200
    data = cv2.imencode(".jpg", left)[1].tobytes()
    frame = pictures.decode_picture(data, "p", most, may_shrink=True)
    assert frame.shape == (-(-96 // divided), -(-125 // divided), 3)
    assert np.abs(frame[:, : 50 // divided].astype(int) - 200).max() < 8
    assert frame[:, 72 // divided :].max() < 8
    if divided > 1:
        with pytest.raises(PictureError, match="125x96 pixels, expected sides"):
            pictures.decode_picture(data, "p", most)


def test_only_a_jpeg_of_one_scan_comes_smaller() -> None:
    grey = np.full((96, 125, 3), 90, np.uint8)
    progressive = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    small = cv2.imencode(".jpg", grey)[1].tobytes()
    for data, most in ((progressive, 3_000), (cv2.imencode(".png", grey)[1].tobytes(), 3_000),
                       (small, 191)):  # fmt: skip
        with pytest.raises(PictureError, match=f"at most {most:,} pixels; scale it down"):
            pictures.decode_picture(data, "p", most, may_shrink=True)


def test_a_phone_s_jpeg_with_more_pictures_behind_it_counts_as_one_scan() -> None:
    # Preview and gain map, as CIPA DC-007 (multi-picture format) puts them.
    grey = np.full((96, 125, 3), 90, np.uint8)
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    frame = pictures.decode_picture(data + 120 * data, "p", 3_024, may_shrink=True)
    assert frame.shape == (48, 63, 3)
    assert np.abs(frame.astype(int) - 90).max() < 8
    assert decode_picture(data + 120 * data, "p").shape == (96, 125, 3)
    with pytest.raises(PictureError, match="truncated or damaged"):  # though another one ends
        decode_picture(data[:-2], "p")


def test_scans_hidden_from_a_plain_count_are_counted() -> None:
    data = with_scans(64, 64, 95)
    at = data.index(b"\xff\xda")
    comment = b"\xff\xfe\0\x06\xff\xd9\xff\xd9"  # an end that is none, and fill bytes
    with pytest.raises(PictureError, match="a JPEG of 101 scans"):
        decode_picture(data[:at] + comment + b"\xff\xff" + data[at:], "p")


def test_a_jpeg_of_segments_without_end_is_read_in_no_time() -> None:
    data = cv2.imencode(".jpg", np.full((96, 125, 3), 90, np.uint8))[1].tobytes()
    at = data.index(b"\xff\xda")
    start = time.process_time()
    for many in (b"\xff\xfe\0\2" * 4_000_000, b"\xff\xda\0\2" * 4_000_000):
        with pytest.raises(PictureError, match="more than 10,000 segments behind its frame"):
            decode_picture(data[:at] + many + data[at:], "p")
    with pytest.raises(PictureError, match="truncated or damaged"):
        decode_picture(data[:-2] + b"\xff\xff" * 4_000_000, "p")
    assert time.process_time() - start < 1


def test_a_jpeg_with_a_side_too_long_names_the_bound_that_was_set() -> None:
    data = cv2.imencode(".jpg", np.zeros((2, 16_400), np.uint8))[1].tobytes()
    with pytest.raises(PictureError, match="at most 16,384 and at most 20,000 pixels; scale it"):
        pictures.decode_picture(data, "p", 20_000, may_shrink=True)


def of_many_kinds() -> dict[str, bytes]:
    """Files of each kind of pixels, by name."""
    rng = np.random.default_rng(3)
    colours = Image.fromarray(rng.integers(0, 256, (37, 51, 3), np.uint8))
    shown = colours.convert("RGBA")
    shown.putalpha(Image.fromarray(rng.integers(0, 256, (37, 51), np.uint8)))
    files: dict[str, bytes] = {}

    def add(name: str, picture: Image.Image, kind: str, **options: Any) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        files[name] = buffer.getvalue()

    for mode in ("1", "L", "P", "RGB"):
        for kind in ("PNG", "BMP", "TIFF"):
            add(f"{kind} {mode}", colours.convert(mode), kind)
    add("PNG LA", shown.convert("LA"), "PNG")
    add("PNG P with transparency", colours.quantize(20), "PNG", transparency=bytes(range(20)))
    # Not TIFF, whose colours OpenCV darkens by the alpha.
    for kind in ("PNG", "WEBP"):
        add(f"{kind} RGBA", shown, kind, **({"lossless": True} if kind == "WEBP" else {}))
    for bits in (2, 4):
        add(f"PNG of {bits} bits", colours.quantize(2**bits), "PNG", bits=bits)
    for most in (1023, 4095):
        grey = rng.integers(0, most, (23, 19), np.uint16, endpoint=True)
        files[f"PNG up to {most}"] = support.encoded(grey)
        files[f"TIFF up to {most}"] = support.encoded(grey, ".tiff")
    for depth in (np.uint8, np.uint16):
        for channels in (1, 3, 4):
            deep = rng.integers(0, np.iinfo(depth).max, (23, 19, channels), depth, endpoint=True)
            files[f"PNG {depth.__name__} {channels}"] = support.encoded(deep)
            files[f"TIFF {depth.__name__} {channels}"] = support.encoded(deep, ".tiff")
    for pack in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        add(f"TIFF {pack}", colours, "TIFF", compression=pack)
    add("TIFF fax", colours.convert("1"), "TIFF", compression="group4")
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        for kind in ("PNG", "TIFF", "WEBP", "JPEG"):
            add(f"{kind} turned {turn}", colours, kind, exif=exif)
    for quality in (30, 90, 100):
        for subsampling in (0, 1, 2):
            for progressive in (False, True):
                add(f"JPEG {quality} {subsampling} {progressive}", colours, "JPEG",
                    quality=quality, subsampling=subsampling, progressive=progressive)  # fmt: skip
        add(f"JPEG grey {quality}", colours.convert("L"), "JPEG", quality=quality)
        add(f"JPEG CMYK {quality}", colours.convert("CMYK"), "JPEG", quality=quality)
        add(f"WEBP {quality}", colours, "WEBP", quality=quality)
    return files


def pixels_of(files: dict[str, bytes]) -> dict[str, NDArray[np.uint8]]:
    return {name: decode_picture(data, name) for name, data in files.items()}


@pytest.mark.parametrize("decoder", ["Pillow"], indirect=True)
def test_both_decoders_give_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    files = of_many_kinds()
    by_pillow = pixels_of(files)
    monkeypatch.setattr(PIL, "__spec__", None)
    by_opencv = pixels_of(files)
    for name, pixels in by_pillow.items():
        assert pixels.shape == by_opencv[name].shape, name
        apart = np.abs(pixels.astype(int) - by_opencv[name]).max()
        assert apart <= ("CMYK" in name), (name, apart)
        assert pixels.flags.c_contiguous, name
        assert pixels.flags.writeable, name
    assert len(files) > 90


@pytest.mark.parametrize("decoder", ["Pillow"], indirect=True)
@pytest.mark.parametrize("divided", [1, 2, 4, 8])
def test_both_decoders_give_the_same_pixels_of_photos(
    monkeypatch: pytest.MonkeyPatch, divided: int
) -> None:
    with zipfile.ZipFile(support.shared("data", "photos.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::400]
        photos = [archive.read(name) for name in names]
    photos += [path.read_bytes() for path in sorted(support.shared("media").glob("*.jpg"))]
    sizes = [decode_picture(data, "x").shape[:2] for data in photos]
    most = [-(-height // divided) * -(-width // divided) for height, width in sizes]

    def decoded() -> list[NDArray[np.uint8]]:
        return [
            decode_picture(data, "x", pixels, may_shrink=True)
            for data, pixels in zip(photos, most, strict=True)
        ]

    by_pillow = decoded()
    monkeypatch.setattr(PIL, "__spec__", None)
    assert len(photos) > 20
    for pillow, opencv in zip(by_pillow, decoded(), strict=True):
        assert pillow.shape == opencv.shape
        assert np.abs(pillow.astype(int) - opencv).max() <= 1
