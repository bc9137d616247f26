"""Pixels of unusual files. Oracles: Pillow's `exif_transpose`, the PNG and TIFF specifications by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from vaefast.data import as_image_set, load
from vaefast.errors import DataError

XMP = ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
       'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>')


def turned_file(kind, orientation):
    """A 5x7 ramp whose orientation is said in one way alone."""
    image, out = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7) * 7), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "jpeg-xmp":
        image.save(out, "JPEG", quality=100, xmp=XMP.format(orientation).encode())
    elif kind == "tiff":
        image.save(out, "TIFF", exif=exif)
    elif kind == "webp":
        image.convert("RGB").save(out, "WEBP", lossless=True, exif=exif)
    else:
        info = PngImagePlugin.PngInfo()
        if kind == "png-xmp":
            info.add_itxt("XML:com.adobe.xmp", XMP.format(orientation))
        if kind == "png-raw":
            data = exif.tobytes()
            info.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n", zip=True)
        image.save(out, "PNG", pnginfo=info, **({"exif": exif} if kind == "png-exif" else {}))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["jpeg-xmp", "tiff", "webp", "png-xmp", "png-raw", "png-exif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_pillows(tmp_path, kind, orientation):
    content = turned_file(kind, orientation)
    (tmp_path / "a.png").write_bytes(content)
    right = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("L"))
    assert right.shape == ((7, 5) if orientation > 4 else (5, 7))
    assert np.array_equal(load("folder", tmp_path, "all", channels=1).images[0, 0].numpy(), right)
    assert np.array_equal(as_image_set([Image.open(io.BytesIO(content))]).images[0, 0].numpy(), right)


def test_exif_that_cannot_be_read_costs_no_picture(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n      10\nnot hex\n", zip=True)
    Image.new("L", (3, 2), 9).save(tmp_path / "a.png", pnginfo=info)
    Image.new("L", (3, 2), 9).save(tmp_path / "b.jpg", exif=b"Exif\0\0nonsense")
    assert load("folder", tmp_path, "all").images.unique().tolist() == [9]


def png(depth, colour, rows, clear, interlace=0):
    """A PNG of samples `rows` [H, W] or [H, W, 3], with a transparent level."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.asarray(rows)
    lines = b""
    for row in rows:
        bits = "".join(f"{int(v):0{depth}b}" for v in row.flatten())
        bits += "0" * (-len(bits) % 8)
        lines += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, colour, 0, 0, interlace)
    levels = b"".join(struct.pack(">H", v) for v in np.atleast_1d(clear))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", levels) + chunk(b"IDAT", zlib.compress(lines))
            + chunk(b"IEND", b""))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_level(tmp_path, depth):
    top = 2**depth - 1
    rows = np.array([[0, top // 3, top], [top // 2, top, 0], [1 if depth == 1 else 2, 0, 0]])
    for clear in (0, int(rows[2, 0]), top):
        (tmp_path / "a.png").write_bytes(png(depth, 0, rows, clear))
        right = np.where(rows == clear, 255, np.rint(rows * 255 / top))
        assert np.array_equal(load("folder", tmp_path, "all").images[0, 0].numpy(), right)
        assert np.array_equal(as_image_set([Image.open(tmp_path / "a.png")]).images[0, 0].numpy(), right)


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour(tmp_path, depth):
    """In 16 bits colours that share their high bytes are different ones."""
    top = 2**depth - 1
    rows = np.array([[[top, 7, 0], [top, 8, 0]], [[top - 1, 7, 0], [0, 0, 0]]])
    (tmp_path / "a.png").write_bytes(png(depth, 2, rows, rows[0, 0]))
    right = rows >> (depth - 8)
    right[0, 0] = 255
    assert np.array_equal(load("folder", tmp_path, "all").images[0].permute(1, 2, 0).numpy(), right)


def tiff(values, bits, photometric):
    """An uncompressed little-endian grey TIFF."""
    values = np.asarray(values)
    if bits == 12:
        text = "".join(f"{v:012b}" for v in values.flatten())
        data = bytes(int(text[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8))
    else:
        data = values.astype(f"<u{bits // 8}").tobytes()
    tags = [(256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0),
            (277, 3, 1), (278, 4, values.shape[0]), (279, 4, len(data))]
    start = 8 + 2 + 12 * len(tags) + 4
    body = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        body += struct.pack("<HHII", tag, kind, 1, start if tag == 273 else value)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0) + data


@pytest.mark.parametrize("bits, photometric", [(8, 0), (8, 1), (16, 0), (16, 1), (12, 1)])
def test_grey_tiffs(tmp_path, bits, photometric):
    top = 2**bits - 1
    values = np.array([[0, top // 4, top // 2, top]])
    (tmp_path / "a.tif").write_bytes(tiff(values, bits, photometric))
    right = np.floor((values if photometric else top - values) * 255 / top + 0.5)
    assert np.abs(load("folder", tmp_path, "all").images[0, 0].numpy() - right).max() <= (1 if bits == 12 else 0)


def test_integers_beyond_16_bits_are_refused(tmp_path):
    for i, value in enumerate((70_000, -1)):
        Image.fromarray(np.full((2, 2), value, np.int32)).save(tmp_path / f"{i}.tif")
        with pytest.raises(DataError, match=f"integers from {value:,} to"):
            load("folder", tmp_path, "all")
        (tmp_path / f"{i}.tif").unlink()
