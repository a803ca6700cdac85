"""The files of an export as they are downloaded, and other files that a person may give by mistake."""

import os
import zipfile
from pathlib import Path

import pytest

from ledger.imports.export_files import EXPORT_BYTES_MAX, ZIP_ENTRIES_MAX, ExportFile, read_export_files
from ledger.imports.history_export import ExportError


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    file.write_bytes(b"\xff\r\n")

    assert read_export_files(file) == [ExportFile("export.csv", b"\xff\r\n")]


def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(EXPORT_BYTES_MAX + 1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for path, sentence in [
        (tmp_path / "absent.csv", "there is no file .*absent.csv; check the name"),
        (tmp_path, "is a directory; name the CSV file in it"),
        (pipe, "is not an ordinary file"),
        (huge / "export.csv", "cannot be read: Not a directory"),
        (huge, "is larger than 64 MB; split it and import the parts"),
        (tmp_path / ("x" * 5000), "cannot be read: File name too long"),
    ]:
        with pytest.raises(ExportError, match=sentence):
            read_export_files(path)


# A ZIP as it was downloaded.


def zipped(folder: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    file = folder / "export(UTC+9).zip"
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_the_parts_of_a_zip_are_its_csv_files_wherever_they_are(tmp_path: Path, compression: int) -> None:
    entries = {"part/": b"", "part/2.CSV": b"two", "1.csv": b"one", "a\nb.csv": b"three"}
    assert read_export_files(zipped(tmp_path, entries, compression)) == [
        ExportFile("export(UTC+9).zip/1.csv", b"one"),
        ExportFile("export(UTC+9).zip/a?b.csv", b"three"),
        ExportFile("export(UTC+9).zip/part/2.CSV", b"two"),
    ]


def test_what_a_computer_puts_into_a_zip_is_passed_over(tmp_path: Path) -> None:
    entries = {
        "__MACOSX/._1.csv": b"\0",
        "._1.csv": b"\0",
        ".DS_Store": b"\0",
        "x/Thumbs.db": b"\0",
        "1.csv": b"one",
    }
    assert [part.content for part in read_export_files(zipped(tmp_path, entries))] == [b"one"]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"1.csv": b"", "report.xlsx": b""}, r"holds 'report.xlsx': unpack it, and name the CSV files"),
        ({"inner.zip": b"", "readme.txt": b""}, r"holds 'inner.zip', 'readme.txt': unpack it"),
        ({}, "holds no CSV file"),
        ({"part/": b""}, "holds no CSV file"),
        ({f"{number}.csv": b"" for number in range(ZIP_ENTRIES_MAX + 1)}, "holds 1001 files; a ZIP may hold 1000"),
        ({"1.csv": b"1" * EXPORT_BYTES_MAX, "2.csv": b"2"}, "is larger than 64 MB when it is unpacked"),
    ],
    ids=["a table", "a ZIP in it", "nothing", "a folder", "too many", "a bomb"],
)
def test_a_zip_with_anything_else_is_refused_with_what_to_do(
    tmp_path: Path, entries: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence):
        read_export_files(zipped(tmp_path, entries))


def test_a_zip_that_is_damaged_or_locked_or_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path, {"1.csv": b"one " * 1000})
    whole = file.read_bytes()
    entry = whole.index(b"PK\x01\x02")
    for changed, sentence in [
        (whole[:-10], "is a ZIP that cannot be read"),
        (whole[:60] + b"\xff\xff" + whole[62:], "is a ZIP that cannot be read"),
        (whole[: entry + 8] + b"\x01" + whole[entry + 9 :], "is locked with a password"),
        (whole[: entry + 10] + b"\x63" + whole[entry + 11 :], "is a ZIP that cannot be read"),
        (whole[: entry + 24] + b"\x01\x00\x00\x00" + whole[entry + 28 :], "is a ZIP that cannot be read"),
    ]:
        file.write_bytes(changed)
        with pytest.raises(ExportError, match=sentence):
            read_export_files(file)
