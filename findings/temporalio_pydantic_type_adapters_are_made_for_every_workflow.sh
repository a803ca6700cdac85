#!/usr/bin/env bash
# temporalio (Python) 1.35.0: its pydantic converter makes the type adapter of a workflow's argument anew for every
# workflow, although it has a cache of 1,024 type adapters.
#
# The cache belongs to an instance of PydanticJSONPlainPayloadConverter, and a worker makes an instance of the payload
# converter for each workflow (and another one for each activation). So within workflows the cache begins empty every
# time. For a union of models, making a type adapter takes most of the time of reading a small argument. A converter
# whose instances share one PydanticJSONPlainPayloadConverter makes each type adapter once.
#
# Replays 20 workflows whose one argument is a union of two models, and counts the type adapters that are made for it.
# Prints, with temporalio 1.35.0 and pydantic 2.12.5 on Python 3.11:
#   20 workflows with pydantic_data_converter: 20 type adapters
#   20 workflows with a converter that is shared: 1 type adapter
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 pydantic==2.12.5
cat > "$folder/replays.py" <<'PYTHON'
import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Literal

import pydantic
import temporalio.contrib.pydantic as contrib
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

WORKFLOWS = 20
made: list[object] = []


class Counted(pydantic.TypeAdapter):
    def __init__(self, type_: object, **options: object) -> None:
        made.append(type_)
        super().__init__(type_, **options)


contrib.TypeAdapter = Counted


class Paid(pydantic.BaseModel):
    kind: Literal["paid"] = "paid"


class Refused(pydantic.BaseModel):
    kind: Literal["refused"] = "refused"


@workflow.defn(name="Reads")
class Reads:
    @workflow.run
    async def run(self, answer: Paid | Refused) -> None:
        assert isinstance(answer, Paid)


class Shared(CompositePayloadConverter):
    converters_of_all = tuple(contrib.PydanticPayloadConverter().converters.values())

    def __init__(self) -> None:
        super().__init__(*self.converters_of_all)


def history(number: int) -> WorkflowHistory:
    queue = {"name": "queue", "kind": "TASK_QUEUE_KIND_NORMAL"}
    argument = {
        "metadata": {"encoding": base64.b64encode(b"json/plain").decode()},
        "data": base64.b64encode(Paid().model_dump_json().encode()).decode(),
    }
    events = [
        ("WORKFLOW_EXECUTION_STARTED", {"workflowType": {"name": "Reads"}, "taskQueue": queue,
                                        "input": {"payloads": [argument]}, "originalExecutionRunId": f"run-{number}"}),
        ("WORKFLOW_TASK_SCHEDULED", {"taskQueue": queue, "startToCloseTimeout": "10s", "attempt": 1}),
        ("WORKFLOW_TASK_STARTED", {"scheduledEventId": "2"}),
        ("WORKFLOW_TASK_COMPLETED", {"scheduledEventId": "2", "startedEventId": "3"}),
        ("WORKFLOW_EXECUTION_COMPLETED", {"workflowTaskCompletedEventId": "4"}),
    ]
    told = []
    for place, (name, attributes) in enumerate(events, 1):
        words = name.lower().split("_")
        key = words[0] + "".join(word.capitalize() for word in words[1:]) + "EventAttributes"
        told.append({"eventId": str(place), "eventTime": "2026-01-01T00:00:00Z", "eventType": f"EVENT_TYPE_{name}",
                     key: attributes})
    return WorkflowHistory.from_json(f"workflow-{number}", json.dumps({"events": told}))


async def histories() -> AsyncIterator[WorkflowHistory]:
    for number in range(WORKFLOWS):
        yield history(number)


async def adapters_made(converter: DataConverter) -> int:
    made.clear()
    replayer = Replayer(workflows=[Reads], data_converter=converter, workflow_runner=UnsandboxedWorkflowRunner())
    await replayer.replay_workflows(histories())
    return len(made)


async def main() -> None:
    theirs = await adapters_made(contrib.pydantic_data_converter)
    shared = await adapters_made(DataConverter(payload_converter_class=Shared))
    print(f"{WORKFLOWS} workflows with pydantic_data_converter: {theirs} type adapters")
    print(f"{WORKFLOWS} workflows with a converter that is shared: {shared} type adapter")
    assert (theirs, shared) == (WORKFLOWS, 1)


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/replays.py"
