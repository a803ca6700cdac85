"""Asset codes that have a meaning in HTML, URLs, SQL, CSV, a shell or a terminal, and a user who is paid in
them."""

from world import World, at, day, program_with

from staking.program import Program

CODES = [
    *["币安人生", "USDT_OLD", "BTTC.OLD-1", "🍕", "é", "W" * 32, "币" * 32],
    *[
        "O'Brien",
        "';--",
        '"quoted"',
        "a,b",
        "100%s",
        "%(x)s",
        "A:B",
        ":A",
        "A\\:B",
        "::int",
        "a\\",
        "$1",
        "${x}",
        "?",
    ],
    *["<b>&amp;", "{{x}}", "=1+1", "[x](y)", "a|b", "../..", "#"],
]
DAYS = day("2026-10-02"), day("2026-10-03")


async def with_all(world: World) -> Program:
    """A program with these asset codes, and ann, who holds 12 of each and is enrolled and paid for two days."""
    program = program_with("2026-09-01", **{code: {"minimum": "1"} for code in CODES})
    await world.apply(program, now=at("2026-08-01"))
    for code in CODES:
        await world.fund(code)
        await world.move("ann", "12", code, at("2026-09-30"))
    await world.enrol("ann", at("2026-10-01 10:00"), program=program)
    await world.snapshot("ann", day("2026-10-01"))
    for accrual_day in DAYS:
        await world.pay("ann", accrual_day)
    return program
