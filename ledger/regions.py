"""The region of enrolled users, in SQL (rule 7)."""

from sqlalchemy import ColumnElement, or_

from ledger.database.schema import enrolments


def in_region(region: str) -> ColumnElement[bool]:
    """The condition that an enrolment is from a region; a country covers its subdivisions."""
    return or_(enrolments.c.region == region, enrolments.c.region.startswith(f"{region}-", autoescape=True))
