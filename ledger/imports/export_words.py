"""The words of exchanges' exports in the languages in which they are written: columns, and names of accounts."""

import unicodedata
from enum import StrEnum

_SPELT_OTHERWISE = str.maketrans({"ı": "i", "đ": "d", "ł": "l"})


class ExportColumn(StrEnum):
    """The fields of a line, by their English names."""

    USER = "User_ID"
    TIME = "UTC_Time"
    ACCOUNT = "Account"
    OPERATION = "Operation"
    ASSET = "Coin"
    CHANGE = "Change"
    REMARK = "Remark"


_COLUMNS = {
    ExportColumn.USER: """
        User ID · UID · ID de usuario · ID del usuario · ID do usuário · ID de usuário
        · ID do utilizador · ID utilisateur · ID d'utilisateur · ID de l'utilisateur
        · Identifiant utilisateur · Benutzer-ID · Nutzer-ID · ID utente · ID пользователя
        · Идентификатор пользователя · ID користувача · Kullanıcı ID · Kullanıcı ID'si
        · Kullanıcı Kimliği · 用户ID · 用户编号 · 用戶ID · 用戶編號 · 使用者ID · 使用者編號
        · ユーザーID · 사용자 ID · 유저 ID · ID người dùng · Mã người dùng · ID Pengguna
        · ID użytkownika · Identyfikator użytkownika · Gebruikers-ID · معرف المستخدم""",
    ExportColumn.TIME: """
        Time · Date · Datetime · Date and time · Tiempo · Hora · Fecha · Fecha y hora · Tempo · Horário
        · Data · Data e hora · Temps · Heure · Date et heure · Zeit · Uhrzeit · Datum
        · Datum und Uhrzeit · Ora · Data e ora · Время · Дата · Дата и время · Час · Дата і час · Zaman
        · Saat · Tarih · 时间 · 時間 · 日期 · 時刻 · 日時 · 시간 · 일시 · 날짜 · Thời gian · Ngày giờ
        · Waktu · Czas · Tijd · الوقت""",
    ExportColumn.ACCOUNT: """
        Account · Wallet · Cuenta · Conta · Compte · Konto · Conto · Аккаунт · Счет · Счёт · Рахунок
        · Акаунт · Hesap · 账户 · 帳戶 · 賬戶 · 帐户 · アカウント · 口座 · 계정 · 계좌 · Tài khoản
        · Akun · Rekening · الحساب""",
    ExportColumn.OPERATION: """
        Operation · Operación · Operação · Opération · Vorgang · Transaktion · Operazione · Операция
        · Операція · İşlem · Operasyon · 操作 · 取引 · オペレーション · 작업 · 거래 · Hoạt động
        · Thao tác · Giao dịch · Operasi · Operacja · Transactie · العملية""",
    ExportColumn.ASSET: """
        Coin · Asset · Token · Moneda · Criptomoneda · Activo · Moeda · Criptomoeda · Ativo · Monnaie
        · Cryptomonnaie · Jeton · Actif · Münze · Kryptowährung · Moneta · Criptovaluta · Монета
        · Криптовалюта · Kripto Para · Kripto para birimi · 币种 · 幣種 · 币 · 幣 · コイン · 通貨
        · 코인 · Đồng coin · Tiền mã hóa · Koin · Aset · Kryptowaluta · Munt · العملة""",
    ExportColumn.CHANGE: """
        Change · Cambio · Variación · Alteração · Variação · Mudança · Changement · Variation
        · Modification · Änderung · Veränderung · Modifica · Variazione · Cambiamento · Изменение
        · Изменения · Зміна · Зміни · Değişim · Değişiklik · 变化 · 变更 · 变动 · 更改 · 變化 · 變更
        · 變動 · 変更 · 変化 · 変動 · 増減 · 변경 · 변동 · 변화 · Thay đổi · Biến động · Perubahan
        · Zmiana · Wijziging · التغيير""",
    ExportColumn.REMARK: """
        Remark · Remarks · Note · Notes · Comment · Comments · Observación · Observaciones · Comentario
        · Comentarios · Nota · Notas · Observação · Observações · Comentário · Comentários · Remarque
        · Remarques · Commentaire · Commentaires · Bemerkung · Bemerkungen · Anmerkung · Anmerkungen
        · Hinweis · Osservazione · Osservazioni · Commento · Примечание · Примечания · Замечание
        · Комментарий · Примітка · Примітки · Коментар · Açıklama · Not · Notlar · 备注 · 備註 · 備注
        · 備考 · メモ · 비고 · 메모 · Ghi chú · Nhận xét · Keterangan · Catatan · Komentar · Uwaga
        · Uwagi · Opmerking · Opmerkingen · ملاحظة · ملاحظات""",
}
"""Words for an amount are not among the words for a change, in any language: such a column may have no sign."""

_SPOT = """
        Spot · Spot Wallet · Spot Account · Cuenta spot · Conta spot · Compte spot · Spot-Konto
        · Conto spot · Спот · Спотовый · Спотовый кошелек · Спотовый счет · Спотовый аккаунт
        · Spot Cüzdan · Spot Hesap · 现货 · 现货账户 · 现货钱包 · 現貨 · 現貨帳戶 · 現貨賬戶 · 現貨錢包
        · 現物 · 現物口座 · 現物アカウント · 現物ウォレット · スポット · スポットウォレット · 현물
        · 현물 지갑 · 현물 계정 · 스팟 · 스팟 지갑 · Giao ngay · Tài khoản Spot · Ví Spot · Akun Spot
        · Dompet Spot"""
_NAMES_SPOT = "Spot · Спот · 现货 · 現貨 · 現物 · スポット · 현물 · 스팟 · Giao ngay"
_ANOTHER_ACCOUNT = """
        Funding · Earn · Saving · Staking · Futures · Delivery · Margin · Option · Pool · Mining · P2P
        · Card · Pay · Loan · Liquid Swap · Launch · Vault · Bot · Copy Trad · Strategy · Web3 · Fondos
        · Financiación · Ahorro · Futuros · Margen · Opciones · Tarjeta · Financiamento · Fundos
        · Poupança · Margem · Opções · Financement · Épargne · Marge · Finanzierung · Sparen
        · Finanziamento · Risparmio · Margine · Opzioni · Финансирование · Фьючерс · Маржа · Маржин
        · Опцион · Сбережения · Ф'ючерс · Fonlama · Vadeli · Marjin · Opsiyon · Tasarruf · 资金 · 資金
        · 理财 · 理財 · 储蓄 · 儲蓄 · 合约 · 合約 · 杠杆 · 槓桿 · 全仓 · 全倉 · 逐仓 · 逐倉 · 期权
        · 期權 · 矿池 · 礦池 · ファンディング · 先物 · マージン · レバレッジ · オプション · 펀딩 · 선물
        · 마진 · 옵션 · Ký quỹ · Hợp đồng tương lai · Pendanaan · Berjangka"""
_UTC = "utc"


def folded(text: str) -> str:
    """A word in the form in which it is compared: without case, width, accents, blanks and punctuation."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(character for character in decomposed if character.isalnum()).translate(_SPELT_OTHERWISE)


def _all(words: str) -> list[str]:
    return [folded(word) for word in words.split("·")]


_COLUMN_OF = {word: column for column, words in _COLUMNS.items() for word in _all(words)}
_SPOT_ACCOUNTS = frozenset(_all(_SPOT))
_PARTS_OF_SPOT = tuple(_all(_NAMES_SPOT))
_PARTS_OF_ANOTHER = tuple(_all(_ANOTHER_ACCOUNT))


def column_called(word: str) -> tuple[ExportColumn, bool] | None:
    """The column with that heading, in any of the languages, and whether the heading says UTC; None if there is no
    such column."""
    name = folded(word)
    if column := _COLUMN_OF.get(name):
        return column, False
    if _UTC in name and _COLUMN_OF.get(name.replace(_UTC, "", 1)) is ExportColumn.TIME:
        return ExportColumn.TIME, True
    return None


def is_spot(account: str) -> bool:
    """Whether an account is Spot, in any of the languages."""
    return folded(account) in _SPOT_ACCOUNTS


def is_another_account(account: str) -> bool:
    """Whether an account is one of those that exchanges have beside Spot, in any of the languages.

    A name that contains both, such as Fiat and Spot, is not recognised.
    """
    name = folded(account)
    has_spot = any(part in name for part in _PARTS_OF_SPOT)
    return not has_spot and any(part in name for part in _PARTS_OF_ANOTHER)
