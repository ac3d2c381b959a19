"""Archives that somebody else made: what is read, and all that is refused."""

import gzip
import io
import random
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import FhirError, Structure, TooLarge
from fhirserver.fhir.package.archive import Archive, Limits
from tests.support.archives import entry, tar

SMALL = Limits(
    unpacked_bytes_max=1 << 20, entry_bytes_max=1 << 18, entries_max=50, ratio_max=100, free_bytes=1 << 16
)


def read(data: bytes, limits: Limits = SMALL) -> dict[str, bytes]:
    return dict(Archive.of_bytes(data, "x.tgz", limits).files(lambda name: True))


def zipped(*entries: tuple[tarfile.TarInfo, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    return gzip.compress(tar(entries, format_))


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_are_read_whatever_wrote_them(format_: int) -> None:
    long = "package/" + "/".join(["n" * 60] * 3) + ".json"
    entries = [
        entry("./package", kind=tarfile.DIRTYPE),
        entry("./package/a.json", b"{}"),
        entry("package/empty.json"),
        entry("package/block.json", b"x" * 512),
        entry(long, b"long"),
    ]
    found = read(zipped(*entries, format_=format_))
    assert found == {
        "package/a.json": b"{}",
        "package/empty.json": b"",
        "package/block.json": b"x" * 512,
        long: b"long",
    }


@given(
    st.dictionaries(
        st.text("abc/é", min_size=1, max_size=120).map(
            lambda name: "package/" + "/".join(part for part in name.split("/") if part) + ".x"
        ),
        st.binary(max_size=2_000),
        max_size=8,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_it_reads_what_python_writes(files: dict[str, bytes], format_: int) -> None:
    data = zipped(*(entry(name, content) for name, content in files.items()), format_=format_)
    folders = {name for name in files if any(other.startswith(f"{name}/") for other in files)}
    assert read(data) == files or folders


def test_only_what_is_wanted_is_kept_and_one_file_can_be_asked_for() -> None:
    archive = Archive.of_bytes(zipped(entry("package/a", b"1"), entry("package/b", b"2")), "x", SMALL)
    assert list(archive.files(lambda name: name.endswith("b"))) == [("package/b", b"2")]
    assert archive.file("package/b") == b"2" and archive.file("package/c") is None


@pytest.mark.parametrize(
    "name",
    [
        *(
            "/etc/passwd",
            "../x",
            "package/../../x",
            "package/..",
            "package//x",
            "./../x",
            "package/./x",
            "..",
        ),
        *("C:/x", "c:x", "package\\..\\x", "\\\\host\\x", "package/a\nb", "package/\x01", "package/\x7f"),
        "package/" + "n" * 1_100,
    ],
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_paths_that_lead_elsewhere_are_refused(name: str, kind: bytes) -> None:
    with pytest.raises(Structure, match="no path inside a package"):
        read(zipped(entry("package/a"), entry(name, kind=kind)))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        *((tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "a device")),
        *((tarfile.BLKTYPE, "a device"), (tarfile.FIFOTYPE, "a pipe"), (b"S", "a sparse file")),
        (b"Z", "of an unknown kind"),
    ],
)
def test_what_is_no_file_is_refused(kind: bytes, what: str) -> None:
    with pytest.raises(Structure, match=what):
        read(zipped(entry("package/x", kind=kind, linkname="/etc/passwd")))


def test_a_long_link_is_refused() -> None:
    with pytest.raises(Structure, match="a link"):
        read(
            zipped(
                entry("package/x", kind=tarfile.SYMTYPE, linkname="/" + "l" * 300), format_=tarfile.GNU_FORMAT
            )
        )


def test_a_file_that_stands_twice_is_refused() -> None:
    for other in ("package/a", "./package/a"):
        with pytest.raises(Structure, match="stands twice"):
            read(zipped(entry("package/a", b"1"), entry(other, b"2")))


def test_limits() -> None:
    noise = random.Random(1).randbytes
    with pytest.raises(TooLarge, match="more than 50 entries"):
        read(zipped(*(entry(f"package/{number}") for number in range(51))))
    with pytest.raises(TooLarge, match="is larger than"):
        read(zipped(entry("package/a", noise((1 << 18) + 1))))
    with pytest.raises(TooLarge, match="unpacks to more than 1048576 bytes"):
        read(zipped(*(entry(f"package/{number}", noise(200_000)) for number in range(6))))
    with pytest.raises(TooLarge, match="100 times its size"):
        read(zipped(entry("package/a", bytes(200_000))))


def test_a_bomb_is_given_up_before_it_is_unpacked() -> None:
    """A gigabyte of zeros in a megabyte: read no further than the limits."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = packer.compress(tar([entry("package/a", b"")])[:512])
    piece = bytes(1 << 20)
    data += b"".join(packer.compress(piece) for _ in range(256)) + packer.flush()
    seen = 0

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal seen
            piece = super().read(size)
            seen += len(piece)
            return piece

    archive = Archive("bomb.tgz", lambda: Counted(data), SMALL)
    with pytest.raises((TooLarge, Structure)):
        list(archive.files(lambda name: True))
    assert seen <= 3 * 64 * 1024


def test_a_name_cannot_fill_the_memory() -> None:
    with pytest.raises(TooLarge, match="a name in the archive"):
        read(zipped(entry("package/" + "n" * 70_000), format_=tarfile.GNU_FORMAT))


@pytest.mark.parametrize(
    "record",
    [b"99 path=x\n", b"x path=y\n", b"5 a=b\n1", b"9 nothing\n", b"0 path=x\n", b"22 GNU.sparse.major=1\n"],
)
def test_broken_extended_headers_are_refused(record: bytes) -> None:
    with pytest.raises(Structure):
        read(zipped(entry("x", record, b"x"), entry("package/a", b"1")))


def test_an_extended_header_does_not_smuggle_a_path_or_a_size() -> None:
    with pytest.raises(Structure, match="no path inside"):
        read(zipped(entry("x", b"20 path=/etc/passwd\n", b"x"), entry("package/a", b"1")))
    with pytest.raises((Structure, TooLarge)):
        read(zipped(entry("x", b"21 size=99999999999\n", b"x"), entry("package/a", b"1")))


def broken() -> Iterator[tuple[str, bytes]]:
    whole = zipped(entry("package/a", random.Random(2).randbytes(5_000)), entry("package/b", b"2"))
    yield "empty", b""
    yield "no gzip", b"PK\x03\x04 not a package"
    yield "no tar", gzip.compress(b"{}" * 600)
    yield "short of tar", gzip.compress(b"{}")
    yield "torn", whole[: len(whole) // 2]
    yield "without its end", whole[:-4]
    yield "wrong checksum", whole[:-8] + bytes(4) + whole[-4:]
    yield "followed by something", whole + b"something"
    yield "tar torn", gzip.compress(tar([entry("package/a", b"x" * 5_000)])[:2_000])
    yield "two archives", gzip.compress(tar([entry("package/a", b"x")]) * 2)
    yield (
        "wrong header sum",
        gzip.compress(tar([entry("package/a", b"x")]).replace(b"package", b"pakkage", 1)),
    )
    yield "name no UTF-8", gzip.compress(tar([entry("package/\udcff")], tarfile.USTAR_FORMAT))


@pytest.mark.parametrize("what", [what for what, _ in broken()])
def test_what_is_no_archive_or_only_a_part_of_one_is_refused(what: str) -> None:
    with pytest.raises(Structure, match=r"x\.tgz: "):
        read(dict(broken())[what])


def test_padding_and_several_members_are_nothing_bad() -> None:
    data = tar([entry("package/a", b"x" * 5_000)])
    halves = gzip.compress(data[:1_000]) + gzip.compress(data[1_000:])
    assert (
        read(halves + bytes(512)) == read(gzip.compress(data + bytes(10_240))) == {"package/a": b"x" * 5_000}
    )


@given(st.data())
def test_whatever_is_broken_ends_in_an_error_that_says_so(data: st.DataObject) -> None:
    """Bits turned in the tar, and in the gzip around it: never anything but a refusal or a reading."""
    whole = bytearray(tar([entry("package/a", b"{}"), entry("package/" + "b" * 120, b"[]")]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    made = bytearray(gzip.compress(bytes(whole)))
    if data.draw(st.booleans()):
        made[data.draw(st.integers(0, len(made) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(made))
    except FhirError as error:
        assert str(error).startswith("x.tgz: ")
    else:
        assert all(".." not in name.split("/") and not name.startswith("/") for name in found)


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    data = zipped(entry("package/a", b"1"))
    path = tmp_path / "p.tgz"
    path.write_bytes(data)
    assert Archive.of_path(path).digest() == Archive.of_bytes(data, "x").digest()
    assert Archive.of_path(path).label == "p.tgz"
