import csv
import io
import os
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.history_export import (
    EXPORT_BYTES_MAX,
    HEADERS,
    Export,
    ExportError,
    ExportLine,
    parse_export,
    parse_zone,
    read_export_file,
)
from staking.money import MAX_ACCOUNT_UNITS, format_amount

HEADER = "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark"
OTHER_HEADER = "User ID,Time,Account,Operation,Coin,Change,Remark"
PARIS = ZoneInfo("Europe/Paris")


def row(
    user: str = "1001",
    time: str = "2026-10-01 10:00:00",
    account: str = "Spot",
    operation: str = "Deposit",
    asset: str = "SOL",
    change: str = "12.00000000",
    remark: str = "",
) -> str:
    fields = (user, time, account, operation, asset, change, remark)
    return ",".join(f'"{field}"' if "," in field else field for field in fields)


def parse(*rows: str, header: str = HEADER, zone: tzinfo = UTC, now: datetime | None = None) -> Export:
    return parse_export("\n".join([header, *rows]).encode(), zone=zone, now=now)


def only_line(*rows: str, header: str = HEADER, zone: tzinfo = UTC) -> ExportLine:
    export = parse(*rows, header=header, zone=zone)
    assert export.bad == []
    (line,) = export.lines
    return line


def only_problem(*rows: str, zone: tzinfo = UTC, now: datetime | None = None) -> str:
    export = parse(*rows, zone=zone, now=now)
    assert export.lines == []
    (bad,) = export.bad
    assert bad.number == 2
    return bad.problem


def test_a_line_of_the_export_is_a_movement() -> None:
    line = only_line('1001,2026-10-01 10:00:00,Spot,Deposit,SOL,12.00000000,""')

    assert line == ExportLine(
        number=2,
        user_id="1001",
        instant=datetime(2026, 10, 1, 10, tzinfo=UTC),
        operation="Deposit",
        asset="SOL",
        change=12_00000000,
        remark="",
    )


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (OTHER_HEADER, row()),
        (HEADER, row(time="26-10-01 10:00:00")),
        (HEADER, row(change="12")),
        (HEADER, row(change="+1.2E1")),
        (HEADER, '"1001","2026-10-01 10:00:00","Spot","Deposit","SOL","12","" '.strip()),
    ],
    ids=["header", "two-digit year", "short number", "exponent", "quotes"],
)
def test_a_line_is_the_same_however_it_is_written(header: str, line: str) -> None:
    assert only_line(line, header=header) == only_line(row())


def test_a_line_is_the_same_in_whichever_zone_its_time_is_written() -> None:
    assert only_line(row(time="2026-10-01 12:00:00"), zone=PARIS) == only_line(row())


@pytest.mark.parametrize(
    "content",
    [
        f"\ufeff{HEADER}\n{row()}\n",
        f"{HEADER}\r\n{row()}\r\n",
        f"{HEADER}\r{row()}\r",
        f"{HEADER}\n{row()}",
        f"{HEADER}\n{row()}\n\n\n",
        f'"User_ID","UTC_Time","Account","Operation","Coin","Change","Remark"\n{row()}',
    ],
    ids=["BOM", "CRLF", "CR", "no last line end", "blank lines at the end", "quoted header"],
)
def test_files_from_any_system_are_read(content: str) -> None:
    assert parse_export(content.encode()).lines == [only_line(row())]


@pytest.mark.parametrize("header", [HEADER, OTHER_HEADER])
def test_an_export_without_lines_is_no_error(header: str) -> None:
    assert parse_export(header.encode()) == Export()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty; its first line should be User_ID,UTC_Time,"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\r\n\r\n", "the file is empty"),
        (b"Date,Amount\n", "the first line is 'Date,Amount'; it should be User_ID,UTC_Time,"),
        (row().encode(), "the first line is '1001,2026-10-01 10:00:00,Spot"),
        (HEADER.replace(",", ";").encode(), "the first line is 'User_ID;UTC_Time"),
        (HEADER.lower().encode(), "the first line is 'user_id,utc_time"),
        (HEADER.replace("UTC_Time", "Time").encode(), "the first line is 'User_ID,Time"),
        (HEADER.encode() + b",Note\n", "the first line is"),
        (b'"User_ID', "the first line cannot be read: a quote is opened and never closed"),
        (f"{HEADER}\n{row()}".encode("utf-16"), "the file is UTF-16 text; save it as CSV in UTF-8"),
        (f"{HEADER}\n{row()}".encode("utf-16-le"), "the file is not text"),
        (f"{HEADER}\n{row(remark='a')}".encode().replace(b",a", b",\0"), "the file is not text"),
        (f"{HEADER}\n{row(remark='é')}".encode("latin-1"), "the file is not UTF-8 text (byte 109)"),
        (b"PK\x03\x04\x14\x00\x00", "the file is not text"),
    ],
)
def test_a_file_that_is_no_export_is_refused_whole_with_what_to_do(content: bytes, sentence: str) -> None:
    with pytest.raises(ExportError) as refused:
        parse_export(content)

    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (row(user=""), "'' is not a user id"),
        (row(user="al ice"), "'al ice' is not a user id"),
        (row(user="a/b"), "'a/b' is not a user id"),
        (row(user="١٠٠١"), "'١٠٠١' is not a user id"),
        (row(user="x" * 65), "is not a user id"),
        (row(time=""), "'' is not a time such as 2026-10-01 10:00:00 or 26-10-01 10:00:00"),
        (row(time="2026-10-01"), "is not a time such as"),
        (row(time="2026-10-01T10:00:00"), "is not a time such as"),
        (row(time="2026-10-01 10:00:00.000"), "is not a time such as"),
        (row(time="2026-10-01 10:00"), "is not a time such as"),
        (row(time="2026-10-01 10:00:00Z"), "is not a time such as"),
        (row(time=" 2026-10-01 10:00:00"), "is not a time such as"),
        (row(time="2026-10-01 10:00:00 "), "is not a time such as"),
        (row(time="2026-1-1 10:00:00"), "is not a time such as"),
        (row(time="226-10-01 10:00:00"), "is not a time such as"),
        (row(time="01/10/2026 10:00:00"), "is not a time such as"),
        (row(time="２026-10-01 10:00:00"), "is not a time such as"),
        (row(time="2026-02-29 10:00:00"), "2026-02-29 10:00:00 is not a date and time of the calendar"),
        (row(time="26-13-01 10:00:00"), "is not a date and time of the calendar"),
        (row(time="2026-10-01 24:00:00"), "is not a date and time of the calendar"),
        (row(time="2026-10-01 10:00:60"), "is not a date and time of the calendar"),
        (row(time="0000-01-01 00:00:00"), "is not a date and time of the calendar"),
        (row(asset=""), "'' is not an asset code: 1 to 32 printable characters without blanks"),
        (row(asset="S OL"), "is not an asset code"),
        (row(asset="SOL "), "is not an asset code"),
        (row(asset="SO\tL"), "is not an asset code"),
        (row(asset="SOL\u200b"), "is not an asset code"),
        (row(asset="\u3000"), "is not an asset code"),
        (row(asset="A" * 33), "is not an asset code"),
        (row(change=""), "'' is not a number"),
        (row(change="twelve"), "'twelve' is not a number"),
        (row(change="1,200.5"), "'1,200.5' is not a number"),
        (row(change="NaN"), "'NaN' is not a finite number"),
        (row(change="-Infinity"), "'-Infinity' is not a finite number"),
        (row(change="0.123456789"), "'0.123456789' has more than 8 decimals"),
        (row(change="1E-9"), "'1E-9' has more than 8 decimals"),
        (row(change="1" * 65), "an amount has at most 64 characters, this one has 65"),
        ("1001,2026-10-01 10:00:00,Spot,Deposit,SOL,12", "a line has 7 fields, this one has 6"),
        (row() + ",more", "a line has 7 fields, this one has 8"),
        (" ", "a line has 7 fields, this one has 1"),
        (row(remark='"gift" of Bob'), "a closing quote must be followed by a comma"),
        (row(remark='"gift'), "a quote is opened and never closed"),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_what_is_wrong(line: str, problem: str) -> None:
    found = only_problem(line)

    assert problem in found
    assert len(found) < 250


@pytest.mark.parametrize(
    "asset", ["SOL", "s", "1INCH", "A" * 32, "42", "币安人生", "USDT_OLD", "BTTC.OLD-1", "-", "ＳＯＬ"]
)
def test_any_printable_code_of_1_to_32_characters_is_an_asset_as_written(asset: str) -> None:
    assert only_line(row(asset=asset)).asset == asset


@pytest.mark.parametrize(
    ("text", "units"),
    [("12.00000000", 12_00000000), ("-3", -3_00000000), ("1E-8", 1), ("-0.00000001", -1), (".5", 50000000)],
)
def test_amounts_are_exact(text: str, units: int) -> None:
    assert only_line(row(change=text)).change == units


def test_every_bad_line_is_reported_in_the_order_of_the_file() -> None:
    export = parse(
        row(user="?"),
        row(),
        "not,a,line",
        '1001,2026-10-01 10:00:00,Spot,Deposit,SOL,12,"two',
        'lines"',
        row(change="x"),
        '1001,2026-10-01 10:00:00,Spot,Deposit,SOL,12,"gift" x',
        row(asset=" "),
        row(),
    )

    assert [bad.number for bad in export.bad] == [2, 4, 7, 8, 9]
    assert [line.number for line in export.lines] == [3, 5, 10]
    assert export.lines[1].remark == "two\nlines"


def test_a_record_of_several_lines_has_the_number_of_its_first() -> None:
    export = parse(row(remark="x").replace(",x", ',"a\r\nb\n\nc"'), row(time="?"))

    assert [line.number for line in export.lines] == [2]
    assert [bad.number for bad in export.bad] == [6]


def test_a_quote_that_swallows_good_lines_is_reported_with_how_far_it_runs() -> None:
    assert only_problem(row(remark='"oops'), row(), row()) == (
        "a quote is opened and never closed (the quoted text runs to line 4)"
    )


def test_other_accounts_are_counted_and_skipped_without_a_look_at_the_rest() -> None:
    export = parse(
        row(account="Funding"),
        row(account="spot"),
        row(account=" Spot"),
        row(account=""),
        "?,?,Earn,?,?,?,?",
        row(),
    )

    assert export.skipped_not_spot == 5
    assert export.bad == []
    assert [line.number for line in export.lines] == [7]


@pytest.mark.parametrize("zero", ["0", "0.00000000", "-0", "0E-20", "0E+999"])
def test_zero_changes_are_counted_and_skipped(zero: str) -> None:
    export = parse(row(change=zero))

    assert (export.lines, export.bad, export.skipped_zero) == ([], [], 1)


def test_the_last_spot_line_may_be_one_that_is_skipped() -> None:
    export = parse(
        row(time="2026-10-01 10:00:00"),
        row(time="2026-10-03 10:00:00", change="0"),
        row(time="2026-10-04 10:00:00", account="Funding"),
    )

    assert export.last_spot_instant == datetime(2026, 10, 3, 10, tzinfo=UTC)


def test_a_bad_line_is_bad_though_its_change_is_zero() -> None:
    assert "is not a time" in only_problem(row(time="?", change="0"))


@pytest.mark.parametrize("change", ["90000000000.00000001", "-90000000001", "1E30", "1E+999999"])
def test_a_change_beyond_what_an_account_holds_is_left_to_the_caller(change: str) -> None:
    export = parse(row(), row(asset="PEPE", change=change), row())

    assert [line.number for line in export.lines] == [2, 4]
    assert export.bad == []
    (too_large,) = export.too_large
    assert (too_large.number, too_large.asset) == (3, "PEPE")
    assert too_large.problem == f"'{change}' is more than 90 billion"


def test_a_line_with_another_fault_is_bad_though_its_change_is_too_large() -> None:
    assert "is not a time" in only_problem(row(time="?", change="1E30"))


def test_the_largest_change_is_a_movement() -> None:
    assert only_line(row(change="-90000000000")).change == -MAX_ACCOUNT_UNITS


def test_a_line_later_than_now_is_bad() -> None:
    now = datetime(2026, 10, 1, 10, tzinfo=UTC)

    assert only_problem(row(time="2026-10-01 10:00:01"), now=now) == "2026-10-01 10:00:01 lies in the future"
    assert len(parse(row(time="2026-10-01 10:00:00"), now=now).lines) == 1
    assert len(parse(row(time="2026-10-01 12:00:00"), now=now, zone=PARIS).lines) == 1


def test_a_two_digit_year_is_of_this_century() -> None:
    assert only_line(row(time="99-12-31 23:59:59")).instant == datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert only_line(row(time="00-02-29 00:00:00")).instant == datetime(2000, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-07-01 12:00:00", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("2026-12-01 12:00:00", datetime(2026, 12, 1, 11, tzinfo=UTC)),
        ("2026-03-29 01:59:59", datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)),
        ("2026-03-29 03:00:00", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("2026-10-25 02:00:00", datetime(2026, 10, 25, 0, tzinfo=UTC)),
        ("2026-10-25 02:59:59", datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)),
        ("2026-10-25 03:00:00", datetime(2026, 10, 25, 2, tzinfo=UTC)),
    ],
)
def test_local_times_become_utc_and_of_two_the_first_is_meant(local: str, utc: datetime) -> None:
    instant = only_line(row(time=local), zone=PARIS).instant

    assert instant == utc
    assert instant.tzinfo is UTC


@pytest.mark.parametrize("time", ["2026-03-29 02:00:00", "2026-03-29 02:59:59"])
def test_a_local_time_that_the_clocks_leap_over_is_bad(time: str) -> None:
    assert only_problem(row(time=time), zone=PARIS) == (
        f"{time} does not exist in Europe/Paris: the clocks were put forward over it"
    )


@pytest.mark.parametrize(
    ("time", "zone"),
    [
        ("0001-01-01 00:00:00", timezone(timedelta(hours=2))),
        ("9999-12-31 23:59:59", timezone(timedelta(hours=-2))),
    ],
)
def test_a_time_that_utc_cannot_express_is_bad(time: str, zone: tzinfo) -> None:
    assert only_problem(row(time=time), zone=zone) == f"{time} is not a date and time of the calendar"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("UTC", timedelta()),
        ("Europe/Paris", timedelta(hours=2)),
        ("+02:00", timedelta(hours=2)),
        ("-03:30", timedelta(hours=-3, minutes=-30)),
        ("+00:00", timedelta()),
        ("+14:00", timedelta(hours=14)),
    ],
)
def test_a_zone_is_a_name_or_an_offset(text: str, offset: timedelta) -> None:
    assert datetime(2026, 7, 1, tzinfo=parse_zone(text)).utcoffset() == offset


@pytest.mark.parametrize(
    "text",
    [
        *["", "Paris", "Europe", "2", "02:00", "+02:60", "+14:01", "-99:00", "+٠٢:٠٠"],
        *["../UTC", "/etc/passwd", "zone.tab", "a\0b", "\ud800", "x" * 9999],
    ],
)
def test_anything_else_is_no_zone(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not a time zone known here; write UTC, Europe/Paris, \+02:00 or UTC\+9"
    ) as no:
        parse_zone(text)
    assert len(str(no.value)) < 200


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    file.write_bytes(b"\xff\r\n")

    assert read_export_file(file) == b"\xff\r\n"


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
            read_export_file(path)


@pytest.mark.parametrize("column", range(7))
def test_an_enormous_field_is_a_movement_or_a_short_sentence(column: int) -> None:
    fields = row().split(",")
    fields[column] = "x" * 100_000
    export = parse(",".join(fields))

    assert len(export.lines) + len(export.bad) + export.skipped_not_spot == 1
    assert all(len(bad.problem) < 250 for bad in export.bad)


def test_a_field_beyond_what_can_be_read_is_a_bad_line_and_the_rest_is_read() -> None:
    export = parse(row(remark="x" * 200_000), row())

    assert [(bad.number, bad.problem) for bad in export.bad] == [(2, "a field has more than 131072 characters")]
    assert [line.number for line in export.lines] == [3]


def test_an_unclosed_quote_in_a_long_file_is_reported_on_its_own_line() -> None:
    export = parse(row(remark='"oops'), *[row()] * 10_000)

    (bad,) = export.bad
    assert bad.number == 2
    assert bad.problem.startswith("a field has more than 131072 characters (the quoted text runs to line ")


def test_separators_of_other_kinds_do_not_end_a_line() -> None:
    assert only_line(row(remark="a\u2028b\x0bc\x1cd")).remark == "a\u2028b\x0bc\x1cd"


FIELD_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
INSTANT = st.datetimes(timezones=st.just(UTC)).map(lambda instant: instant.replace(microsecond=0))
ASSET = (
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=32)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: len(text) <= 32)
)
MOVEMENT = st.tuples(
    st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    INSTANT,
    FIELD_TEXT,
    ASSET,
    st.integers(-MAX_ACCOUNT_UNITS, MAX_ACCOUNT_UNITS).filter(bool),
    FIELD_TEXT,
)


Movement = tuple[str, datetime, str, str, int, str]


def written(movements: list[Movement], header: tuple[str, ...] = HEADERS[0], *, quote_all: bool = False) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(header)
    for user_id, instant, operation, asset, change, remark in movements:
        time = instant.replace(tzinfo=None).isoformat(" ")
        writer.writerow([user_id, time, "Spot", operation, asset, format_amount(change), remark])
    return file.getvalue().encode()


@given(st.lists(MOVEMENT, max_size=8), st.sampled_from(HEADERS), st.booleans())
def test_what_is_written_is_read(movements: list[Movement], header: tuple[str, ...], quote_all: bool) -> None:
    export = parse_export(written(movements, header, quote_all=quote_all))

    assert export.bad == []
    assert [
        (line.user_id, line.instant, line.operation, line.asset, line.change, line.remark) for line in export.lines
    ] == movements


ALMOST_EXPORT = st.lists(
    st.sampled_from([*HEADER.split(","), "Spot", "2026-10-01 10:00:00", "1E9999", "12", ",", '"', "\n", "\r", " "])
    | st.text(max_size=3),
    max_size=60,
).map(lambda parts: f"{HEADER}\n{''.join(parts)}".encode(errors="replace"))


@settings(max_examples=300)
@given(st.binary(max_size=200) | ALMOST_EXPORT | st.binary(max_size=99).map(lambda rest: HEADER.encode() + rest))
def test_garbage_is_never_worse_than_an_export_error(content: bytes) -> None:
    try:
        export = parse_export(content, zone=PARIS, now=datetime(2026, 10, 1, tzinfo=UTC))
    except ExportError:
        return
    numbers = [bad.number for bad in export.bad]
    assert numbers == sorted(set(numbers))
    assert all(line.change for line in export.lines)
