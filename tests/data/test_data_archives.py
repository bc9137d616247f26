"""Archives: read to their ends, links and odd names in them; and folders with such."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import warnings
import zipfile

import pytest
from PIL import Image

from vaefast.data import load
from vaefast.data.sources import open_source
from vaefast.errors import BadFileError, DataError


def png(value, size=(4, 4)):
    out = io.BytesIO()
    Image.new("L", size, value).save(out, "PNG")
    return out.getvalue()


def tar_bytes(entries, **options):
    """A tar of (name, content) and (name, type, target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as tar:
        for name, *what in entries:
            info = tarfile.TarInfo(name)
            if len(what) == 2:
                info.type, info.linkname = what
                tar.addfile(info)
            else:
                info.size = len(what[0])
                tar.addfile(info, io.BytesIO(what[0]))
    return out.getvalue()


def values(where, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load("folder", where, "all", cache=False, **options).images[:, 0, 0, 0].tolist()


SIX = [(f"{'long/' * (30 * (i == 2))}{i}.png", png(i)) for i in range(6)]  # one has a name of two headers
PACK = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_is_whole_or_refused(tmp_path, kind, form):
    plain = tar_bytes(SIX, format=form)
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        headers = [member.offset for member in tar]
        end = tar.offset
    path = tmp_path / f"a.{kind}"

    def outcome(content):
        path.write_bytes(PACK[kind](content))
        try:
            return len(open_source(path).files)
        except DataError as error:
            assert "could be read before the damage" in str(error)
            return str(error).split(" file: ")[1].split(" file")[0]

    assert outcome(plain) == 6 and outcome(plain[: end + 512]) == 6  # a lone block of zeros: nothing is lost
    for i, at in enumerate(headers):
        assert outcome(plain[:at]) == str(i)  # cut off at a member's end
        assert outcome(plain[: at + 100]) == str(i)
        damaged = bytearray(plain)
        damaged[at] ^= 1
        assert outcome(bytes(damaged)) == str(i)
        damaged[at : at + 512] = bytes(512)  # a hole
        assert outcome(bytes(damaged)) == str(i)
    assert outcome(plain + plain) == "6"  # two archives in one
    if kind != "tar":
        packed = PACK[kind](plain)
        path.write_bytes(packed[:-3])
        with pytest.raises(DataError, match="damaged or truncated"):
            open_source(path)
        path.write_bytes(PACK[kind](plain[:1000]) + PACK[kind](plain[1000:]))  # in two streams
        assert len(open_source(path).files) == 6


def test_links_in_tars(tmp_path):
    entries = [
        ("a/late", tarfile.LNKTYPE, "a/1.png"), ("a/1.png", png(1)), ("a/2.png", tarfile.LNKTYPE, "a/1.png"),
        ("b/3.png", tarfile.SYMTYPE, "../a/2.png"), ("b/4.png", tarfile.SYMTYPE, "./3.png"), ("c", tarfile.SYMTYPE, "b"),
        ("b/back", tarfile.SYMTYPE, ".."), (".store/x", png(9)), ("a/5.png", tarfile.SYMTYPE, "../.store/x"),
    ]
    (tmp_path / "a.tar").write_bytes(tar_bytes(entries))
    source = open_source(tmp_path / "a.tar")
    found = {file.path: source.read(file) for file in source.files}
    ones = ("a/late", "a/1.png", "a/2.png", "b/3.png", "b/4.png", "c/3.png", "c/4.png")
    assert found == {**dict.fromkeys(ones, png(1)), "a/5.png": png(9)}
    for target in ("gone.png", "../../out.png", "/etc/passwd", "bad.png"):
        entries = [("x/a.png", png(1)), ("x/bad.png", tarfile.SYMTYPE, target)]
        (tmp_path / "b.tar").write_bytes(tar_bytes(entries))
        with pytest.raises(BadFileError, match="x/bad.png in .* is a link"):
            load("folder", tmp_path / "b.tar", "all")
        with pytest.warns(UserWarning, match="1 of 2 files were left out: x/bad.png is a link"):
            assert len(load("folder", tmp_path / "b.tar", "all", on_bad="skip")) == 1


def test_links_and_names_in_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("./a/1.png", png(1))
        for name, target in (("a/2.png", "1.png"), ("b", "a"), ("a/3.png", "nothing")):
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            z.writestr(info, target)
    assert values(tmp_path / "a.zip", on_bad="skip") == [1] * 4
    with pytest.raises(DataError, match="a/3.png in .* is a link to a/nothing"):
        values(tmp_path / "a.zip")
    name = b"caf\xe9.png"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as z:
        z.writestr("cafü.png", png(1))
    content = (tmp_path / "b.zip").read_bytes().replace("cafü.png".encode(), name + b"\0")
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(DataError, match="no UTF-8"):
        load("folder", tmp_path / "b.zip", "all")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("top", ["top/", "top\\"])
def test_backslashes_part_folders(tmp_path, kind, top):
    names = [f"{top}{part}\\{animal}\\0.png" for part in ("train", "test") for animal in ("cat", "dog")]
    where = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(where, "w") as z:
            z.writestr("top\\train\\", b"")
            for i, name in enumerate(names):
                z.writestr(name, png(i))
    else:
        where.write_bytes(tar_bytes([(name, png(i)) for i, name in enumerate(names)]))
    test = load("folder", where, "test", cache=False)
    assert test.classes == ("cat", "dog") and test.labels.tolist() == [0, 1] and test.images[:, 0, 0, 0].tolist() == [2, 3]


def test_the_last_of_a_name_counts_and_is_told(tmp_path):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        warnings.simplefilter("ignore")
        z.writestr("a.png", png(1))
        z.writestr("a.png", png(2))
    (tmp_path / "a.tar").write_bytes(tar_bytes([("a.png", png(1)), ("b.png", tarfile.LNKTYPE, "a.png"), ("./a.png", png(2))]))
    for name, right in (("a.zip", [2]), ("a.tar", [2, 1])):
        with pytest.warns(UserWarning, match="1 name stands in the archive more than once"):
            assert load("folder", tmp_path / name, "all", cache=False).images[:, 0, 0, 0].tolist() == right


def test_names_that_are_no_utf8(tmp_path):
    raw = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (tmp_path / "in" / "a").mkdir(parents=True)
    for i, folder in enumerate((b"a", b"b\xff")):
        os.makedirs(os.path.join(os.fsencode(tmp_path / "in"), folder), exist_ok=True)
        with open(os.path.join(os.fsencode(tmp_path / "in"), folder, b"caf\xe9.png"), "wb") as file:
            file.write(png(i))
    for split in ("all", "train", "test"):
        assert load("folder", tmp_path / "in", split).classes == ("a", r"b\xff")
    assert values(tmp_path / "in") == [0, 1]
    (tmp_path / "a.tar").write_bytes(tar_bytes([(f"x/{raw}", png(5)), ("x/b.png", tarfile.SYMTYPE, raw)]))
    assert values(tmp_path / "a.tar") == [5, 5]
    (tmp_path / "in" / "a" / "é.png").write_text("é")
    with open(os.path.join(os.fsencode(tmp_path / "in"), b"b\xff", b"\xe9.png"), "w") as file:
        file.write("no image")
    with pytest.raises(DataError, match="is not an image") as caught:
        load("folder", tmp_path / "in", "all")
    str(caught.value).encode()


def test_what_stands_in_a_folder_without_being_a_file(tmp_path, picture):
    picture(tmp_path / "a.png")
    os.symlink("gone", tmp_path / "b.png")
    os.symlink("c.png", tmp_path / "c.png")
    os.mkfifo(tmp_path / "d.png")
    with pytest.raises(BadFileError, match="b.png is a link that leads nowhere"):
        load("folder", tmp_path, "all")
    with pytest.warns(UserWarning, match="3 of 4 files were left out.*d.png is no regular file"):
        assert len(load("folder", tmp_path, "all", on_bad="skip")) == 1


def test_a_folder_reached_by_two_ways_counts_twice(tmp_path, picture):
    picture(tmp_path / "x" / "a.png")
    os.symlink("x", tmp_path / "y")
    os.symlink("..", tmp_path / "x" / "up")
    s = load("folder", tmp_path, "all")
    assert len(s) == 2 and s.classes == ("x", "y")


def test_hidden_pictures_are_told(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / ".thumbs" / "a.png")
    (tmp_path / "in" / "._a.png").write_text("macOS")
    (tmp_path / "in" / ".git").mkdir()
    (tmp_path / "in" / ".git" / "index").write_text("x")
    (tmp_path / "a.tar").write_bytes(tar_bytes([("a.png", png(1)), ("./.thumbs/a.png", png(2)), ("._a.png", b"macOS")]))
    for where in (tmp_path / "in", tmp_path / "a.tar"):
        with pytest.warns(UserWarning, match="^1 hidden picture is left out, such as .thumbs/a.png"):
            assert len(load("folder", where, "all")) == 1


def test_an_archive_in_an_archive_is_not_taken_for_it(tmp_path):
    """A zip that a tar ends with has its directory where the tar's own would be."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as z:
        z.writestr("inner.png", png(7))
    (tmp_path / "a.tar").write_bytes(tar_bytes([("a.png", png(1)), ("b.png", png(2)), ("rest.zip", inner.getvalue())]))
    assert values(tmp_path / "a.tar") == [1, 2]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "images.zip").write_bytes(inner.getvalue())
    with pytest.raises(DataError, match="no pictures but archives .images.zip"):
        load("folder", tmp_path / "in")


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, b"M", b"Q"])
def test_what_is_no_file_in_a_tar_is_told_of(tmp_path, kind):
    """Pipes, devices, the rest of another volume's file, kinds that nobody knows: none is left out without a word."""
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes([("0.png", png(0)), ("1.png", kind, "")]))
    with pytest.raises(BadFileError, match="1.png in .* is no regular file"):
        values(path)
    with pytest.warns(UserWarning, match="1 of 2 files were left out: 1.png is no regular file"):
        assert len(load("folder", path, "all", cache=False, on_bad="skip")) == 1
    path.write_bytes(tar_bytes([("0.png", png(0)), ("label.png", b"V", ""), ("1.png", kind, ""), ("1.png", png(9))]))
    assert values(path) == [0, 9]  # the last of a name counts


def zip_bytes(entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def test_a_zip_lists_what_its_end_says(tmp_path):
    whole, path = zip_bytes(SIX), tmp_path / "a.zip"
    last, end = whole.rfind(b"PK\1\2"), whole.rfind(b"PK\5\6")
    size = int.from_bytes(whole[end + 12 : end + 16], "little") - (end - last)
    cut = whole[:last] + whole[end : end + 12] + size.to_bytes(4, "little") + whole[end + 16 :]
    path.write_bytes(cut)
    with pytest.raises(DataError, match="lists 5 files where its end says 6"):
        values(path)
    path.write_bytes(whole + zip_bytes(SIX[:2]))
    with pytest.raises(DataError, match="begins with .* several archives in one"):
        values(path)
    for sound in (b"#!/bin/sh\nexit\n" + whole, whole[:-2] + b"\7\0comment"):  # what unpacks itself, what is described
        path.write_bytes(sound)
        assert sorted(values(path)) == list(range(6))
    path.write_bytes(zip_bytes([]))
    with pytest.raises(DataError, match="no files"):
        values(path)


def test_a_zip_of_very_many_files(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_bytes([("0.png", png(7)), *((f"{i}.txt", b"") for i in range(66_000))]))  # a zip64
    assert values(path) == [7]
