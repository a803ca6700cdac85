"""The diary of a user, retold from the histories of the user's workflow: what happened on which day.

All functions here are pure.

A day is the one that something was about: the reward of a day is credited on the next, and stands beside the day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from contract.acts import Act, Hold
from contract.answers import End, Receipt, Refusal
from contract.recollection import Enrolment, Recollection
from contract.requests import ActRequest, ComputeRequest, CreditRequest, EndRequest, EnrolRequest, SnapshotRequest
from contract.steps import HOLD, RELEASE
from diary.history import CodeFailed, NoWorker, Record, RetryAsked, Run, StepTaken, TimerSet, UserHistory
from staking.days import ONE_DAY, day_of
from staking.models import (
    Activation,
    BackDating,
    CreditReceipt,
    EndsHere,
    PoolShort,
    RewardLine,
    Rewards,
    Snapshot,
    SourceLate,
)
from staking.money import format_amount

_CLOSED_WELL = {
    "completed": "completed: nothing is enrolled, and nothing is owed",
    "continued as new": "continued as new",
}


@dataclass(frozen=True)
class Note:
    """One thing that happened. Instants are UTC."""

    day: date
    """The day that this was about: a reward stands at the day for which it was paid."""
    at: datetime
    kind: str
    """``activated``, ``opened``, ``credited``, ``ended``, ``refused``, ``recalled``, ``held``, ``blocked``,
    ``waited_for_pool``, ``waited_for_source``, ``retried`` (a step, by itself), ``no_worker``, ``code_failed``."""
    text: str
    until: datetime | None = None
    """The end of something that lasted; None for what happened at one instant."""
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    """The numbers and names that the text contains, for programs. Amounts are decimal text."""


@dataclass(frozen=True)
class Diary:
    """What has happened to a user, as far as the server still has the histories."""

    user_id: str
    runs: list[Run]
    """The runs from which the diary was read, oldest first."""
    begins: str | None
    """Where the diary begins and why what came before is missing; None if nothing is missing."""
    notes: list[Note]
    """The notes, ordered by their day and then by their instant."""
    now: list[str]
    """Sentences about what the workflow does or waits for just now, or about how it closed."""


def diary_of(history: UserHistory) -> Diary:
    """The diary that the runs of a user's workflow add up to."""
    teller = _Teller(history.user_id)
    for run in history.runs:
        teller.tell(run)
    # A run that was reset begins with the events of another one.
    notes = {(note.day, note.at, note.text): note for note in teller.notes}
    return Diary(
        user_id=history.user_id,
        runs=history.runs,
        begins=_beginning(history),
        notes=sorted(notes.values(), key=lambda note: (note.day, note.at)),
        now=[*teller.waits(), *_under_way(history)],
    )


def diary_lines(diary: Diary) -> list[tuple[str, str, str]]:
    """The lines of a diary as a person reads them: day, kind and text. Only the first line of a day names it."""
    lines = [(str(note.day), note.kind, note.text) for note in diary.notes]
    lines += [("now", "now", text) for text in diary.now]
    return [
        ("" if number and lines[number - 1][0] == day else day, kind, text)
        for number, (day, kind, text) in enumerate(lines)
    ]


def instant_text(instant: datetime, beside: date | None = None) -> str:
    """An instant in UTC for a person, to the second, and without its day where it stands ``beside`` that day."""
    return f"{instant:%H:%M:%S}" if day_of(instant) == beside else f"{instant:%Y-%m-%d %H:%M:%S}"


def _span_text(since: datetime, until: datetime, beside: date) -> str:
    return f"from {instant_text(since, beside)} to {instant_text(until, day_of(since))}"


@dataclass
class _Waiting:
    """A step that waits for pools or for sources."""

    day: date
    since: datetime
    names: str
    times: int = 1
    asked_by: str = ""


@dataclass(frozen=True)
class _Blocked:
    """A step that waits for a retry."""

    day: date
    since: datetime
    step: str
    message: str


class _Teller:
    """Turns the records of one run after the other into notes, and keeps track of how the user stands."""

    def __init__(self, user_id: str) -> None:
        self.notes: list[Note] = []
        self._user_id = user_id
        self._run: Run | None = None
        self._enrolments: dict[str, Enrolment] = {}
        """The enrolments that are open or are owed days, oldest first."""
        self._hold: Hold | None = None
        self._held_on: date | None = None
        self._rewards: Rewards | None = None
        """The rewards that were computed last."""
        self._tried_at_once: StepTaken | None = None
        """The step before the present one, if it was tried at once and failed."""
        self._pool: _Waiting | None = None
        self._source: _Waiting | None = None
        self._blocked: _Blocked | None = None

    def tell(self, run: Run) -> None:
        """Adds what happened in a run. Runs must be added in their order."""
        if run.carried is None:
            # Another execution. What the one before waited for is over, and the ledger says where it stands.
            self._pool = self._source = self._blocked = None
            self._enrolments = {}
        else:
            self._take_up(run.carried)
        self._run = run
        for record in run.records:
            self._hear(record)

    def _take_up(self, recollection: Recollection) -> None:
        self._enrolments = {one.receipt.enrolment_id: one for one in recollection.enrolments}
        if recollection.hold is not None:
            self._held(recollection.hold)

    def _hear(self, record: Record) -> None:
        match record:
            case StepTaken():
                self._hear_of_attempts(record)
                if record.was_at_once and record.error is not None:
                    pass
                elif record.error is not None:
                    self._failed(record, record.error)
                elif record.closed_at is not None:
                    self._done(record, record.closed_at)
            case RetryAsked():
                self._retry_asked(record)
            case NoWorker():
                day = self._day_in_progress(record.since)
                text = f"no worker took it up {_span_text(record.since, record.until, day)}"
                self._note(day, record.since, "no_worker", text, until=record.until)
            case CodeFailed():
                text = f"the workflow's code failed: {record.message}"
                self._note(self._day_in_progress(record.at), record.at, "code_failed", text)
            case TimerSet():
                pass

    def _day_in_progress(self, at: datetime) -> date:
        return next((enrolment.next_day for enrolment in self._enrolments.values()), day_of(at))

    def _day_of_step(self, step: StepTaken) -> date:
        match step.request:
            case SnapshotRequest(day=day):
                return day
            case ComputeRequest(snapshot=snapshot):
                return snapshot.day
            case CreditRequest(rewards=rewards):
                return rewards.day
            case _:
                pass
        match step.answer:
            case Snapshot(day=day) | Rewards(day=day) | EndsHere(day=day):
                return day
            case CreditReceipt(day=day) | PoolShort(day=day) | SourceLate(day=day):
                return day
            case _:
                return self._day_in_progress(step.scheduled_at)

    # Faults and what stood in the way.

    def _hear_of_attempts(self, step: StepTaken) -> None:
        attempts, last_failure = step.attempts, step.last_failure
        tried, self._tried_at_once = self._tried_at_once, None
        if step.was_at_once:
            # A step that failed at once goes on as an activity. The line of that activity mentions both.
            self._tried_at_once = step if step.error is not None else None
        elif tried is not None and tried.name == step.name and step.error is None:
            attempts, last_failure = attempts + 1, last_failure or tried.error
        if attempts > 1:
            text = f"{step.name} took {attempts} attempts"
            text += f" · the last failure: {last_failure}" if last_failure else ""
            facts = {"step": step.name, "attempts": attempts, "last_failure": last_failure}
            self._note(self._day_of_step(step), step.scheduled_at, "retried", text, facts)

    def _failed(self, step: StepTaken, error: str) -> None:
        at = step.closed_at or step.scheduled_at
        day = self._day_of_step(step)
        match step.request:
            case SnapshotRequest() | ComputeRequest() | CreditRequest():
                self._blocked = _Blocked(day, at, step.name, error)
            case EndRequest() if not step.is_for_a_message:
                self._blocked = _Blocked(day, at, step.name, error)
            case _:
                text = f"{step.name} refused {instant_text(at, day)}: {error}"
                self._note(day, at, "refused", text, {"step": step.name, "message": error})

    def _retry_asked(self, asked: RetryAsked) -> None:
        if self._blocked is not None:
            blocked, self._blocked = self._blocked, None
            span = _span_text(blocked.since, asked.at, blocked.day)
            text = f"blocked at {blocked.step} {span}: {blocked.message} · retried{_by(asked.act)}"
            facts = {"step": blocked.step, "message": blocked.message}
            self._note(blocked.day, blocked.since, "blocked", text, facts, until=asked.at)
        elif (waiting := self._pool or self._source) is not None:
            waiting.asked_by = f" · then retried{_by(asked.act)}"

    def _source_was_late(self, late: SourceLate, at: datetime) -> None:
        sources = ", ".join(late.sources)
        if self._source is None:
            self._source = _Waiting(late.day, at, sources)
        else:
            self._source.names, self._source.asked_by = sources, ""
            self._source.times += 1

    def _sources_are_complete(self, at: datetime) -> None:
        if self._source is not None:
            late, self._source = self._source, None
            span = _span_text(late.since, at, late.day)
            text = f"waited for source {late.names} {span}, asked {_times(late.times)} in vain{late.asked_by}"
            self._note(late.day, late.since, "waited_for_source", text, {"times": late.times}, until=at)

    def _pool_was_short(self, short: PoolShort, at: datetime) -> None:
        assets = ", ".join(short.assets)
        if self._pool is None:
            self._pool = _Waiting(short.day, at, assets)
        else:
            self._pool.names, self._pool.asked_by = assets, ""
            self._pool.times += 1

    def _pool_is_funded(self, at: datetime) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            span = _span_text(pool.since, at, pool.day)
            text = f"waited for pool {pool.names} {span}, asked {_times(pool.times)} in vain{pool.asked_by}"
            self._note(pool.day, pool.since, "waited_for_pool", text, {"times": pool.times}, until=at)

    def _held(self, hold: Hold) -> None:
        if self._hold is None:
            self._hold, self._held_on = hold, self._day_in_progress(hold.held_at)

    def _released(self, act: Act, at: datetime) -> None:
        if self._hold is not None:
            hold, self._hold = self._hold, None
            day = self._held_on or day_of(hold.held_at)
            span = _span_text(hold.held_at, at, day)
            text = f"held by {hold.operator} {span}: {hold.reason} · released{_by(act)}"
            facts = {"operator": hold.operator, "reason": hold.reason, "released_by": act.operator}
            self._note(day, hold.held_at, "held", text, facts, until=at)

    # What was done.

    def _done(self, step: StepTaken, at: datetime) -> None:
        match step.request, step.answer:
            case EnrolRequest() as request, Receipt() as receipt:
                self._enrolled(request.activation, receipt, at)
            case EnrolRequest() as request, Refusal() as refusal:
                self._refused(request.activation, refusal, at)
            case str(), Recollection() as recollection if self._begins_with(step):
                self._recalled(recollection, at)
            case _, SourceLate() as late:
                self._source_was_late(late, at)
            case request, Snapshot() as snapshot:
                self._sources_are_complete(at)
                self._snapshot(self._enrolment_of(request), snapshot, at)
            case _, Rewards() as rewards:
                self._rewards = rewards
            case request, CreditReceipt() as receipt:
                self._pool_is_funded(receipt.credited_at)
                self._credited(self._enrolment_of(request), receipt, self._lines_of(request))
            case _, PoolShort() as short:
                self._pool_was_short(short, at)
            case request, End() as end:
                self._ended(end, request.operator if isinstance(request, EndRequest) else end.operator)
            case ActRequest(), Hold() as hold if step.name == HOLD.name:
                self._held(hold)
            case ActRequest(act=act), Hold() if step.name == RELEASE.name:
                self._released(act, at)
            case _:
                pass

    def _enrolled(self, activation: Activation, receipt: Receipt, at: datetime) -> None:
        enrolment = Enrolment(receipt=receipt, next_day=day_of(receipt.activated_at), region=activation.region)
        self._know(enrolment)
        day = enrolment.activation_day
        app = f" {activation.app_version}" if activation.app_version else ""
        text = f"activated {instant_text(receipt.activated_at, day)}"
        text += f" · region {activation.region} · {activation.channel}{app}"
        if activation.back_dating:
            text += f" · dated back {instant_text(at, day)}{_by(activation.back_dating)}"
        facts = {"enrolment_id": receipt.enrolment_id, "region": activation.region, "channel": activation.channel}
        self._note(day, receipt.activated_at, "activated", text, facts)

    def _refused(self, activation: Activation, refusal: Refusal, at: datetime) -> None:
        sentences = " ".join(reason.sentence for reason in refusal.reasons)
        text = f"activation refused {instant_text(at, day_of(at))} · region {activation.region}: {sentences}"
        facts = {"step": "enrol", "reasons": [reason.code for reason in refusal.reasons]}
        self._note(day_of(at), at, "refused", text, facts)

    def _begins_with(self, step: StepTaken) -> bool:
        """Whether the present run begins with this step. A later recall is made for another reason."""
        records = self._run.records if self._run else []
        return step is next((record for record in records if isinstance(record, StepTaken)), None)

    def _recalled(self, recollection: Recollection, at: datetime) -> None:
        self._take_up(recollection)
        for enrolment in recollection.enrolments:
            since = instant_text(enrolment.receipt.activated_at)
            text = f"taken up from the ledger {instant_text(at, enrolment.next_day)} · active since {since}"
            facts = {"enrolment_id": enrolment.receipt.enrolment_id}
            self._note(enrolment.next_day, at, "recalled", text, facts)

    def _enrolment_of(self, request: object) -> Enrolment | None:
        """The enrolment that a step was for. A step at once keeps no request: it was for the oldest enrolment."""
        if isinstance(request, SnapshotRequest | CreditRequest):
            return self._enrolments.get(request.enrolment_id)
        return next(iter(self._enrolments.values()), None)

    def _lines_of(self, request: object) -> list[RewardLine]:
        if isinstance(request, CreditRequest):
            return request.rewards.lines
        return self._rewards.lines if self._rewards else []

    def _snapshot(self, enrolment: Enrolment | None, snapshot: Snapshot, at: datetime) -> None:
        if enrolment is not None and snapshot.day == enrolment.activation_day:
            opening = {one.asset: format_amount(one.closing) for one in snapshot.holdings if one.closing}
            text = f"Day 2 opens with {_amounts_text(opening)}"
            self._note(snapshot.day, at, "opened", text, {"holdings": opening})
            self._know(enrolment.model_copy(update={"next_day": snapshot.day + ONE_DAY}))

    def _credited(self, enrolment: Enrolment | None, receipt: CreditReceipt, lines: Sequence[RewardLine]) -> None:
        rewards = {line.asset: format_amount(line.reward) for line in lines if line.reward}
        outcomes = {line.asset: str(line.outcome) for line in lines}
        if rewards:
            text = f"credited {_amounts_text(rewards)}"
        else:
            why = ", ".join(f"{asset} {outcome}" for asset, outcome in outcomes.items()) or "nothing was held"
            text = f"nothing to credit ({why})"
        text += f" · {instant_text(receipt.credited_at, receipt.day)}{' · late' if receipt.late else ''}"
        facts = {"rewards": rewards, "outcomes": outcomes, "late": receipt.late, "entry_id": receipt.entry_id}
        self._note(receipt.day, receipt.credited_at, "credited", text, facts)
        if enrolment is not None:
            self._know(enrolment.model_copy(update={"next_day": receipt.day + ONE_DAY}))

    def _ended(self, end: End, operator: str | None) -> None:
        day = day_of(end.ended_at)
        by = f" by {operator}" if operator else ""
        last = f"the last accrual day is {end.last_accrual_day}" if end.last_accrual_day else "no day has earned"
        owed = f", {end.owed_days} still owed" if end.owed_days else ""
        text = f"ended {instant_text(end.ended_at, day)}{by}: {end.reason} · {last}{owed}"
        facts = {"reason": end.reason, "operator": operator, "last_accrual_day": end.last_accrual_day}
        self._note(day, end.ended_at, "ended", text, facts)
        if enrolment := self._enrolments.get(end.enrolment_id):
            last_day = end.last_accrual_day or day - ONE_DAY
            self._know(enrolment.model_copy(update={"last_accrual_day": last_day}))

    def _know(self, enrolment: Enrolment) -> None:
        self._enrolments[enrolment.receipt.enrolment_id] = enrolment
        if enrolment.is_finished:
            del self._enrolments[enrolment.receipt.enrolment_id]

    def _note(
        self,
        day: date,
        at: datetime,
        kind: str,
        text: str,
        facts: Mapping[str, object] | None = None,
        *,
        until: datetime | None = None,
    ) -> None:
        self.notes.append(Note(day, at, kind, text, until, facts or {}))

    # What is so just now.

    def waits(self) -> list[str]:
        """Sentences about what the latest run waits for, an operator's hold first, or about how it closed."""
        if self._run is None:
            return []
        if self._run.closed_by is not None:
            closed = instant_text(self._run.closed_at or self._run.started_at)
            how = _CLOSED_WELL.get(self._run.closed_by)
            resume = f" · take the user up again: starter.py resume {self._user_id} --reason …"
            return [f"{how} · {closed}" if how else f"{self._run.closed_by} · {closed}{resume}"]
        texts: list[str] = []
        if self._hold is not None:
            since = instant_text(self._hold.held_at)
            texts.append(f"held by {self._hold.operator} since {since}: {self._hold.reason}")
        timers = [record for record in self._run.records if isinstance(record, TimerSet) and not record.is_over]
        texts += self._waits_for(instant_text(timers[-1].fires_at) if timers else None)
        return texts

    def _waits_for(self, wakes: str | None) -> list[str]:
        if self._blocked is not None:
            blocked = f"blocked at {self._blocked.step} since {instant_text(self._blocked.since)}"
            return [f"{blocked}: {self._blocked.message} · mend it, then: starter.py retry {self._user_id}"]
        if self._pool is not None:
            since = instant_text(self._pool.since)
            asked_again = f", is asked again {wakes}" if wakes else ""
            return [
                f"waits for pool {self._pool.names} since {since}, asked {_times(self._pool.times)}{asked_again}"
            ]
        if wakes is None:
            return []
        return [f"sleeps until {wakes}" if self._enrolments else f"waits for a first message until {wakes}"]


def _beginning(history: UserHistory) -> str | None:
    first = history.runs[0]
    if history.is_cut:
        why = "--runs leaves out what was before"
    elif first.continues is not None:
        why = "the server does not keep the runs before any more"
    else:
        return None
    recollection = first.carried or Recollection()
    facts = [f"active since {instant_text(one.receipt.activated_at)}" for one in recollection.enrolments]
    if recollection.last_credited_day:
        facts.append(f"credited through {recollection.last_credited_day}")
    if recollection.credited:
        facts.append(
            f"{_amounts_text({asset: format_amount(n) for asset, n in recollection.credited.items()})} so far"
        )
    return f"begins {instant_text(first.started_at)}: {why}" + (f" ({'; '.join(facts)})" if facts else "")


def _under_way(history: UserHistory) -> list[str]:
    texts: list[str] = []
    for step in history.pending:
        text = f"{step.name} is under way, attempt {step.attempt}"
        if step.next_attempt_at is not None:
            text = f"{step.name} is tried again {instant_text(step.next_attempt_at)}, attempt {step.attempt}"
        texts.append(text + (f" · the last failure: {step.last_failure}" if step.last_failure else ""))
    if history.failed_tasks:
        texts.append(
            f"the workflow's code failed {_times(history.failed_tasks)} in a row: the worker's log says why"
        )
    return texts


def _by(act: Act | BackDating | None) -> str:
    return f" by {act.operator}: {act.reason}" if act else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _amounts_text(amounts: Mapping[str, str]) -> str:
    return ", ".join(f"{amount} {asset}" for asset, amount in amounts.items()) or "nothing"
