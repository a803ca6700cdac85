import csv
import io
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.imports.export_words import _COLUMNS, column_called, folded
from ledger.imports.history_export import (
    HEADERS,
    Accounts,
    Export,
    ExportError,
    ExportLine,
    UnknownAccount,
    check_accounts,
    combined,
    header_of,
    parse_export,
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
        (HEADER.replace("Coin", "Pair").encode(), "the first line is 'User_ID,UTC_Time,Account,Operation,Pair"),
        (
            HEADER.replace("Coin", "Change").encode(),
            "the first line is 'User_ID,UTC_Time,Account,Operation,Change",
        ),
        (
            HEADER.replace("Change", "Amount").encode(),
            "the first line is 'User_ID,UTC_Time,Account,Operation,Coin",
        ),
        (HEADER.replace("Change,", "").encode(), "the first line is 'User_ID,UTC_Time,Account,Operation,Coin,Rem"),
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
    assert len(str(refused.value)) < 450


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
        (row(change="1" * 65), "an amount has at most 64 characters, this one has 65"),
        ("1001,2026-10-01 10:00:00,Spot,Deposit,SOL", "a line has 7 fields, this one has 5"),
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


def test_other_accounts_are_counted_by_name_and_skipped_without_a_look_at_the_rest() -> None:
    export = parse(
        row(account="Funding"), row(account="Funding "), row(account="USD-M Futures"), "?,?,Earn,?,?,?,?", row()
    )

    assert export.skipped_accounts == {"Earn": 1, "Funding": 2, "USD-M Futures": 1}
    assert export.skipped_not_spot == 4
    assert export.bad == []
    assert [line.number for line in export.lines] == [6]


@pytest.mark.parametrize(
    "name", ["Spot", "spot", " Spot", "SPOT ", "Ｓｐｏｔ", "现货", "現貨", "现货账户", "Спот", "スポット", "현물"]
)
def test_spot_is_spot_however_it_is_written(name: str) -> None:
    assert only_line(row(account=name)) == only_line(row())


OTHER_ACCOUNTS = [
    *[
        "Funding",
        "Earn",
        "Savings",
        "USDT-Futures",
        "Coin-Futures",
        "COIN-M Futures",
        "USD\u24c8-M Futures",
        "Pool",
    ],
    *[
        "CrossMargin",
        "Cross Margin",
        "IsolatedMargin",
        "Isolated Margin(BTCUSDT)",
        "Options",
        "P2P",
        "Card",
        "Pay",
    ],
    *["资金账户", "资金", "資金", "U本位合约", "币本位合约", "全仓杠杆", "逐仓槓桿", "理财", "矿池"],
    *["Fondos", "Margen cruzado", "Futuros USD-M", "Margem isolada", "Marge croisée", "Маржа", "Финансирование"],
    *["Çapraz Marjin", "Vadeli İşlemler", "先物", "マージン", "선물", "교차 마진", "Ký quỹ chéo", "Margin Silang"],
]


@pytest.mark.parametrize("name", OTHER_ACCOUNTS)
def test_an_account_that_exchanges_have_beside_spot_is_skipped(name: str) -> None:
    export = parse(row(account=name), row())

    assert (export.skipped_accounts, export.unknown_accounts) == ({name: 1}, {})


@pytest.mark.parametrize("name", ["", "Main", "Fiat and Spot", "Cash", "Spot Margin", "x" * 100])
def test_an_unknown_account_is_reported_and_never_skipped_silently(name: str) -> None:
    export = parse(row(), row(account=name), row(account=name))

    assert export.unknown_accounts == {name: UnknownAccount(number=3, lines=2)}
    assert export.skipped_accounts == {}
    with pytest.raises(
        ExportError, match=r"\(2 lines, the first is line 3\)\. Say --spot-account NAME"
    ) as refused:
        check_accounts(export, ["export.csv"])
    assert repr(name[:50])[:-1] in str(refused.value)


def test_what_a_person_says_about_an_account_counts_more_than_its_name() -> None:
    lines = [row(account="Main"), row(account="fiat AND spot"), row(account="Earn"), row(account="Cash")]
    said = Accounts(
        spot=frozenset(map(folded, ["main", "Earn"])), skipped=frozenset(map(folded, ["Fiat and Spot"]))
    )
    export = parse_export("\n".join([HEADER, *lines]).encode(), accounts=said)

    assert [line.number for line in export.lines] == [2, 4]
    assert export.skipped_accounts == {"fiat AND spot": 1}
    assert set(export.unknown_accounts) == {"Cash"}


def test_unknown_accounts_of_several_files_are_reported_together() -> None:
    parts = [parse(row()), parse(row(account="Main")), parse(row(account="Cash"), row(account="Main"))]

    with pytest.raises(ExportError) as refused:
        check_accounts(combined(parts), ["a.csv", "b.csv", "c.csv"])
    assert "'Main' (2 lines, the first is line 2 of b.csv), 'Cash' (1 lines, the first is line 2 of c.csv)" in str(
        refused.value
    )


# Headers.

HEADERS_ELSEWHERE = {
    "other case": "USER_ID,UTC_TIME,ACCOUNT,OPERATION,COIN,CHANGE,REMARK",
    "lower case": "user_id,utc_time,account,operation,coin,change,remark",
    "blanks": " User Id , UTC  Time,Account , Operation,Coin,Change,Remark ",
    "underscores": "User__Id,UTC_Time,Account,Operation,Coin,Change,Remark",
    "Spanish": "ID de usuario,Tiempo,Cuenta,Operación,Moneda,Cambio,Observación",
    "Portuguese": "ID do usuário,Tempo,Conta,Operação,Moeda,Alteração,Observação",
    "French": "ID utilisateur,Temps,Compte,Opération,Jeton,Changement,Remarque",
    "German": "Benutzer-ID,Zeit,Konto,Vorgang,Coin,Änderung,Bemerkung",
    "Italian": "ID utente,Ora,Conto,Operazione,Moneta,Modifica,Nota",
    "Russian": "ID пользователя,Время,Аккаунт,Операция,Монета,Изменение,Примечание",
    "Ukrainian": "ID користувача,Час,Рахунок,Операція,Монета,Зміна,Примітка",
    "Turkish": "Kullanıcı Kimliği,Zaman,Hesap,İşlem,Coin,Değişim,Açıklama",
    "Chinese": "用户ID,时间,账户,操作,币种,变化,备注",
    "traditional Chinese": "用戶ID,時間,帳戶,操作,幣種,變化,備註",
    "Japanese": "ユーザーID,時間,アカウント,操作,コイン,変更,備考",
    "Korean": "사용자 ID,시간,계정,작업,코인,변경,비고",
    "Vietnamese": "ID người dùng,Thời gian,Tài khoản,Hoạt động,Coin,Thay đổi,Ghi chú",
    "Indonesian": "ID Pengguna,Waktu,Akun,Operasi,Koin,Perubahan,Keterangan",
    "Polish": "ID użytkownika,Czas,Konto,Operacja,Moneta,Zmiana,Uwagi",
    "Dutch": "Gebruikers-ID,Tijd,Rekening,Transactie,Munt,Wijziging,Opmerking",
    "Arabic": "معرف المستخدم,الوقت,الحساب,العملية,العملة,التغيير,ملاحظة",
}


@pytest.mark.parametrize("header", HEADERS_ELSEWHERE.values(), ids=HEADERS_ELSEWHERE)
def test_a_header_is_known_in_any_case_and_in_the_languages_of_exports(header: str) -> None:
    remarked = row(remark="x")
    assert only_line(remarked, header=header) == only_line(remarked)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (HEADER.replace("Coin", "Pair").replace("Change", "Amount"), "; not known is 'Pair' and 'Amount'"),
        (HEADER + ",Note", "in another language"),
        ("a,b", "in another language"),
    ],
)
def test_a_header_with_unknown_words_is_refused_with_those(header: str, told: str) -> None:
    with pytest.raises(ExportError) as refused:
        parse_export(header.encode())
    assert str(refused.value).endswith(told)


@pytest.mark.parametrize(
    ("word", "is_utc"),
    [
        ("UTC_Time", True),
        ("utc time", True),
        ("Time(UTC)", True),
        ("UTC时间", True),
        ("Hora UTC", True),
        ("Time", False),
    ],
)
def test_a_header_says_whether_its_times_are_utc(word: str, *, is_utc: bool) -> None:
    assert header_of(f"{HEADER.replace('UTC_Time', word)}\n".encode()).utc_word == (word if is_utc else None)


def test_no_word_means_two_columns() -> None:
    for column, of_column in _COLUMNS.items():
        assert all(column_called(word) == (column, False) for word in of_column.split("·"))


@given(st.permutations(range(7)))
def test_columns_may_stand_in_any_order(order: list[int]) -> None:
    def reordered(line: str) -> str:
        fields = line.split(",")
        return ",".join(fields[place] for place in order)

    line = row(remark="x")
    assert only_line(reordered(line), header=reordered(HEADER)) == only_line(line)


SIX = HEADER.removesuffix(",Remark")


@pytest.mark.parametrize(
    ("header", "line"),
    [(HEADER, row().removesuffix(",")), (SIX, row().removesuffix(",")), (SIX, row())],
    ids=["the line lacks it", "both lack it", "the line has an empty one"],
)
def test_a_remark_may_be_missing(header: str, line: str) -> None:
    assert only_line(line, header=header) == only_line(row())


def test_a_line_that_lacks_a_field_of_which_nobody_knows_which_is_bad() -> None:
    header = HEADER.replace(",Coin,Change,Remark", ",Remark,Coin,Change")
    export = parse("1001,2026-10-01 10:00:00,Spot,Deposit,SOL,12", header=header)
    assert [bad.problem for bad in export.bad] == ["a line has 7 fields, this one has 6"]


def test_a_bad_line_says_whose_it_is_where_that_is_certain() -> None:
    export = parse(
        row(user="1002"),
        row(user="1002", time="?"),
        "1002,2026-10-01",
        "10,2026",
        "x",
        row(user=" 1002"),
        row(user="7", change="?"),
    )
    assert [bad.user_id for bad in export.bad] == ["1002", "1002", None, None, None, "7"]


@pytest.mark.parametrize("change", ["0.123456789", "1E-9", "-5.000000001"])
def test_more_than_8_decimals_are_left_to_the_caller(change: str) -> None:
    export = parse(row(), row(asset="PEPE", change=change))

    assert export.bad == []
    (too_fine,) = export.too_fine
    assert (too_fine.number, too_fine.asset, too_fine.user_id) == (3, "PEPE", "1001")
    assert too_fine.problem == f"'{change}' has more than 8 decimals"


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
