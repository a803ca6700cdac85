"""Amounts, days and reasons in the words that a person reads. No float: everything is put together from digits."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

from ledger.reading.standing import Standing
from ledger.reading.statements import StatementLine
from staking.days import credit_deadline
from staking.models import RefusalReason
from staking.money import DECIMALS, UNITS_PER_TOKEN, format_amount
from staking.program import AssetTerms, Program
from staking.rewards import DAYS_PER_YEAR, Outcome
from staking.tag import qualifies

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CENT = UNITS_PER_TOKEN // 100
_FINE = UNITS_PER_TOKEN // 10_000
_HUES = 6
_MORE_DECIMALS = 4
_SENTENCES_MAX = 3
_MINUTE = timedelta(minutes=1)

OUTCOME_NAMES = {
    Outcome.EARNED: "Earned",
    Outcome.CAPPED: "Capped",
    Outcome.BELOW_MINIMUM: "Below minimum",
    Outcome.ROUNDED_TO_ZERO: "Rounded to zero",
    Outcome.PAUSED: "Paused",
}


def amount_text(units: int) -> str:
    """Tokens, without trailing zeros: ``4,385.14655``."""
    whole, _, fraction = format_amount(units).partition(".")
    fraction = fraction.rstrip("0")
    return f"{_grouped(whole)}.{fraction}" if fraction else _grouped(whole)


def exact_amount_text(units: int) -> str:
    """Tokens with all 8 decimals, so that a column of them lines up."""
    whole, _, fraction = format_amount(units).partition(".")
    return f"{_grouped(whole)}.{fraction}"


def terms_text(number: str) -> str:
    """A number of the program file, grouped: ``10,000``."""
    whole, point, fraction = f"{Decimal(number):f}".partition(".")
    return f"{_grouped(whole)}{point}{fraction}"


def usdt_text(units: int) -> str:
    """USDT, rounded down to cents; an amount below one cent with all its decimals."""
    if 0 < units < _CENT:
        return amount_text(units)
    whole, cents = divmod(units // _CENT, 100)
    return f"{whole:,}.{cents:02d}"


def fine_usdt_text(units: int) -> str:
    """USDT of rewards, which are small: rounded down to 4 decimals; a smaller amount with all its decimals."""
    if 0 < units < _FINE:
        return amount_text(units)
    whole, fraction = divmod(units // _FINE, UNITS_PER_TOKEN // _FINE)
    return f"{whole:,}.{fraction:04d}"


def hue(text: str) -> int:
    """Which colour an asset or a person gets, always the same one."""
    return sum(text.encode()) % _HUES


def percent_text(apr: str) -> str:
    """A fraction of 1 as a percentage: ``0.8 %``."""
    text = f"{Decimal(apr).scaleb(2):f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} %"


def day_text(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def instant_text(instant: datetime) -> str:
    """An instant to the minute, without the name of a zone."""
    return f"{day_text(instant)}, {instant:%H:%M}"


def span_text(first: datetime, last: datetime) -> str:
    """Two instants. If they are on the same day, it is named once."""
    until = f"{last:%H:%M}" if first.date() == last.date() else instant_text(last)
    return f"{instant_text(first)} – {until}"


def document_title(name: str) -> str:
    """``risk_warning`` as people write it: Risk Warning."""
    small = {"of", "and", "the", "for", "to"}
    return " ".join(word if word in small else word.capitalize() for word in name.split("_"))


def why_no_tag(holdings: Mapping[str, int], program: Program) -> list[str]:
    """Rule 8: why no asset has the tag, beginning with the asset that is nearest to its minimum."""
    owned = [asset for asset in program.assets if holdings.get(asset, 0) > 0]
    if any(qualifies(holdings[asset], program.assets[asset]) for asset in owned):
        return []
    if not owned:
        starts = ", ".join(f"{asset} from {terms_text(terms.minimum)}" for asset, terms in program.assets.items())
        return [f"You hold none of the assets that earn: {starts}."]

    def missing_share(asset: str) -> int:
        minimum = program.assets[asset].minimum_units
        return (minimum - holdings[asset]) * UNITS_PER_TOKEN // minimum

    nearest = sorted(owned, key=lambda asset: (missing_share(asset), asset))
    return [
        f"You hold {amount_text(holdings[asset])} {asset}; "
        f"Soft Staking starts at {terms_text(program.assets[asset].minimum)} {asset}."
        for asset in nearest[:_SENTENCES_MAX]
    ]


def what_to_do(reason: RefusalReason, holdings: Mapping[str, int], program: Program) -> str:
    """What a user can do about a reason of rule 7."""
    kind, _, document = reason.code.partition(":")
    match kind:
        case "region_restricted":
            return "If you have moved, update your address in your account with us; then try again."
        case "app_version_too_old":
            return "Update the app, or start from a browser."
        case "document_not_accepted":
            return f"Read the {document_title(document)} below and tick the box beside it."
        case "no_qualifying_asset":
            return " ".join(why_no_tag(holdings, program)) + " Buy or deposit what is missing; then try again."
        case _:
            return "Please try again later."


def reason_sentence(reason: RefusalReason) -> str:
    """The reason as the service gives it, with the document's own title."""
    kind, _, document = reason.code.partition(":")
    if kind == "document_not_accepted":
        return reason.sentence.replace(document.replace("_", " "), document_title(document), 1)
    return reason.sentence


def end_text(reason: str) -> str:
    """Why an enrolment ended, for the user: rule 7, or an operator, whose reason is not shown."""
    kind, _, region = reason.partition(":")
    if kind == "region_restricted":
        return f"Ended, since Soft Staking is not offered in region {region}; no day earns from then on."
    return "Stopped; no day earns since."


def notice_text(standing: Standing, now: datetime) -> str | None:
    """The sentence with which every page about rewards begins while rewards are delayed."""
    if standing.delayed_since is not None:
        return (
            f"Rewards since {day_text(standing.delayed_since)} are delayed; "
            "all of them will come, in the same amounts as if they were in time."
        )
    if is_being_caught_up(standing, now):
        return (
            f"Rewards since {day_text(standing.owed_days[0])} are still to come; "
            "they are credited one day after the other."
        )
    return None


def is_being_caught_up(standing: Standing, now: datetime) -> bool:
    """Whether days of a back-dated activation are owed, of which none is late (rule 11)."""
    return (
        standing.delayed_since is None
        and bool(standing.owed_days)
        and now > credit_deadline(standing.owed_days[0])
    )


def calculation(line: StatementLine) -> list[str]:
    """Rules 3, 4 and 12: how a line came about, in sentences that anyone can check."""
    terms = AssetTerms(minimum=line.minimum, cap=line.cap, apr=line.apr, reference_price="0")
    average, minimum = amount_text(line.average), terms_text(line.minimum)
    sum_ = SUM_TEXTS[line.formula](line.average, terms)
    match line.outcome:
        case Outcome.PAUSED:
            steps = [f"The program paused {line.asset} on this day, so it earned nothing."]
        case Outcome.BELOW_MINIMUM:
            steps = [f"The average, {average}, is below the minimum, {minimum}, so the day earned nothing."]
        case Outcome.ROUNDED_TO_ZERO:
            steps = [sum_, "That is less than 0.00000001, the smallest amount there is, so it comes to zero."]
        case Outcome.CAPPED:
            cap = terms_text(line.cap)
            steps = [
                f"The average, {average}, is above the cap, {cap}, so the cap earned.",
                sum_,
                _rounded_down(line),
            ]
        case Outcome.EARNED:
            steps = [sum_, _rounded_down(line)]
    if line.late:
        # It stands beside an instant to the minute, which may itself read 08:00.
        by = "less than a minute after" if line.credited_at - credit_deadline(line.day) < _MINUTE else "after"
        steps.append(
            f"It was credited late, {by} 08:00 UTC of the next day. The sum is the same as if it were not."
        )
    if line.reward != line.kept:
        steps.append(
            f"It was reversed later, by entry {line.reversed_by} of the ledger, and is in no total any more."
            + (f" What we have to say about it: “{line.reversal_tell}”" if line.reversal_tell else "")
        )
    return steps


def sum_text(average: int, terms: AssetTerms) -> str:
    """Rule 3 by formula 1, with the numbers of a day: twelve decimals, and an ellipsis if there are more."""
    numerator, denominator = terms.apr_ratio
    more = 10**_MORE_DECIMALS
    counted = min(average, terms.cap_units)
    digits, rest = divmod(counted * numerator * more, denominator * DAYS_PER_YEAR)
    whole, fraction = divmod(digits, UNITS_PER_TOKEN * more)
    written = f"{whole:,}.{fraction:0{DECIMALS + _MORE_DECIMALS}d}" + ("…" if rest else "")
    counted_text = f"min({amount_text(average)}, {terms_text(terms.cap)})"
    return f"{counted_text} × {Decimal(terms.apr):f} ÷ {DAYS_PER_YEAR} = {written}"


SUM_TEXTS: Mapping[int, Callable[[int, AssetTerms], str]] = {1: sum_text}
"""Rule 3 with the numbers of a day, by the number of its formula."""


def _rounded_down(line: StatementLine) -> str:
    return f"Rounded down to 8 decimals: {exact_amount_text(line.reward)} {line.asset}."


def _grouped(whole: str) -> str:
    return f"{int(whole):,}" if whole != "-0" else "-0"
