"""The files of an export as they were downloaded: CSV, or a ZIP with its parts."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ledger.imports.history_export import ExportError

EXPORT_BYTES_MAX = 64 * 1024 * 1024
"""The limit for a file, and for everything in a ZIP when it is unpacked."""
ZIP_ENTRIES_MAX = 1_000
_LIMIT = f"{EXPORT_BYTES_MAX // 1024**2} MB"
_ZIP_BEGINS_WITH = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ENCRYPTED = 0x1
_NAMES_SHOWN_MAX = 5
_LEFT_BY_SYSTEMS = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")

_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,  # what zipfile raises for a compression that it does not know
    RuntimeError,
    OSError,
    ValueError,
)


@dataclass(frozen=True)
class ExportFile:
    """A CSV file, or a part of a ZIP, with the name that a person is shown."""

    name: str
    content: bytes


def read_export_files(path: Path) -> list[ExportFile]:
    """What is in a file: the file itself, or the CSV files in it if it is a ZIP, by name.

    Raises ExportError if it cannot be read, has more than 64 MB, also unpacked, or is a ZIP with anything else in
    it.
    """
    content = _read(path)
    if not content.startswith(_ZIP_BEGINS_WITH):
        return [ExportFile(_on_one_line(path.name), content)]
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return list(_parts(archive, path))
    except _UNREADABLE as error:
        if isinstance(error, ExportError):
            raise
        way_out = "unpack it with another program, and name its CSV files"
        raise ExportError(f"{path} is a ZIP that cannot be read ({error}); {way_out}") from None


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ExportError(f"{path} is a directory; name the CSV file in it")
        if path.exists() and not path.is_file():
            raise ExportError(f"{path} is not an ordinary file; save the export to one first")
        if path.stat().st_size > EXPORT_BYTES_MAX:
            raise ExportError(f"{path} is larger than {_LIMIT}; split it and import the parts")
        return path.read_bytes()
    except FileNotFoundError:
        raise ExportError(f"there is no file {path}; check the name") from None
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}") from None


def _parts(archive: zipfile.ZipFile, path: Path) -> Iterator[ExportFile]:
    entries = archive.infolist()
    if len(entries) > ZIP_ENTRIES_MAX:
        raise ExportError(f"{path} holds {len(entries)} files; a ZIP may hold {ZIP_ENTRIES_MAX}")
    parts = sorted(filter(_is_content, entries), key=lambda entry: entry.filename)
    if others := [entry.filename for entry in parts if not entry.filename.lower().endswith(".csv")]:
        raise ExportError(f"{path} holds {_named(others)}: unpack it, and name the CSV files of the export")
    if locked := [entry.filename for entry in parts if entry.flag_bits & _ENCRYPTED]:
        raise ExportError(
            f"{path} is locked with a password ({_named(locked)}): unpack it, and name its CSV files"
        )
    if not parts:
        raise ExportError(f"{path} holds no CSV file")
    left = EXPORT_BYTES_MAX
    for entry in parts:
        # The size that a ZIP's entry states may be wrong.
        with archive.open(entry) as file:
            content = file.read(left + 1)
        left -= len(content)
        if left < 0:
            raise ExportError(f"{path} is larger than {_LIMIT} when it is unpacked; import its parts one by one")
        yield ExportFile(_on_one_line(f"{path.name}/{entry.filename}"), content)


def _is_content(entry: zipfile.ZipInfo) -> bool:
    """Whether this is a file of the export, and not a folder or a file that a computer put in."""
    steps = PurePosixPath(entry.filename).parts
    is_of_a_system = any(step in _LEFT_BY_SYSTEMS or step.startswith("._") for step in steps)
    return not entry.is_dir() and not is_of_a_system


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:_NAMES_SHOWN_MAX])
    more = len(names) - _NAMES_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _on_one_line(name: str) -> str:
    """Names are printed and recorded, one on each line, so a name must have no line break."""
    return "".join(character if character.isprintable() else "?" for character in name)
