"""Everything that somebody could change in the database without our code, with every breach that the audit
reports."""

from tamperings.acts import ACTS
from tamperings.days import DAYS
from tamperings.enrolments import ENROLMENTS
from tamperings.entries import ENTRIES
from tamperings.events import EVENTS
from tamperings.programs import PROGRAMS
from tamperings.reversals import REVERSALS
from tamperings.rewards import REWARDS

TAMPERINGS = ENTRIES | DAYS | REWARDS | ENROLMENTS | PROGRAMS | REVERSALS | ACTS | EVENTS
