"""The clients that others generate from the OpenAPI work for every operation that there is."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from web_api import LiveWeb, Program, a_live_web, make_token, milliseconds
from world import ROOT, SHIPPED_PROGRAM

from ledger.database.engine import utc_now
from ledger.service_tokens import Scope

REQUIRED = "REQUIRE_CLIENT_TESTS"
GENERATOR = ROOT / ".venv" / "generators" / "bin" / "openapi-python-client"
"""Of an environment of its own, since it needs other versions than the service."""
NODE_MODULES = ROOT / ".venv" / "generators" / "node_modules"
PROGRAM = Path(__file__).parent / "generated" / "every_call.ts"


def made(program: Path) -> Path:
    """What `make generators` makes."""
    if program.is_relative_to(NODE_MODULES) and shutil.which("node") is None:
        pytest.skip("there is no Node here")  # Only the client in TypeScript needs it.
    if not program.exists():
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no {program}")
        pytest.skip(f"there is no {program}; `make generators` makes it")  # CI requires it
    return program


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWeb]:
    with a_live_web(tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture(scope="module")
def openapi(web: LiveWeb, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service's OpenAPI in a file."""
    file = tmp_path_factory.mktemp("openapi") / "openapi.json"
    file.write_text(httpx.get(f"{web.address}/openapi.json").raise_for_status().text)
    return file


def operations(openapi: Path) -> set[str]:
    paths = json.loads(openapi.read_text())["paths"].values()
    return {operation["operationId"] for path in paths for operation in path.values()}


def token(web: LiveWeb) -> str:
    return web.do(make_token(web.world, *Scope))["Authorization"].removeprefix("Bearer ")


class Signature(httpx.Auth):
    """Signs what a generated client sends, which knows that there is a signature, and not how it is made."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        unsigned = request.url.query.decode().rpartition("&signature=")[0]
        request.url = request.url.copy_with(query=self._program.query(unsigned).encode())
        yield request


class PythonClient:
    """The package that openapi-python-client made."""

    def __init__(self, folder: Path) -> None:
        self.called: set[str] = set()
        self._files = {file.stem: file for file in (folder / "api").glob("*/*.py") if file.stem != "__init__"}
        self._package = folder.name
        self.models = import_module(f"{folder.name}.models")
        self.client = import_module(f"{folder.name}.client")

    def ask(self, operation: str, client: Any, *path: object, **parameters: object) -> Any:
        """The answer of an operation, which must be none of its errors."""
        module = self._module(operation)
        response = module.sync_detailed(*path, client=client, **parameters)
        assert response.status_code == 200, (operation, response.content)
        assert type(response.parsed).__name__ not in ("ProblemDetails", "ErrorAnswer", "NoneType"), operation
        self.called.add(operation)
        return response.parsed

    def refused(self, operation: str, client: Any, *path: object) -> Any:
        return self._module(operation).sync_detailed(*path, client=client).parsed

    @cache  # noqa: B019  # it lives as long as the test
    def _module(self, operation: str) -> ModuleType:
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation)
        return import_module(f"{self._package}.api.{self._files[name].parent.name}.{name}")


@pytest.fixture
def python_client(openapi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PythonClient:
    folder = tmp_path / "generated_soft_staking"
    generator = made(GENERATOR)
    path = f"{generator.parent}{os.pathsep}{os.environ['PATH']}"  # it formats what it made with a ruff beside it
    made_it = subprocess.run(
        [generator, "generate", "--path", openapi, "--output-path", folder, "--meta", "none", "--fail-on-warning"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert made_it.returncode == 0, made_it.stdout + made_it.stderr
    monkeypatch.syspath_prepend(tmp_path)
    return PythonClient(folder)


def ask_everything(api: PythonClient, web: LiveWeb, service: Any, user: str) -> None:
    """What product services ask, in the order of a user's life."""
    models, now = api.models, utc_now()
    movement = models.Movement(
        id=f"{user}-1", user=user, asset="SOL", amount="1", at=(now - timedelta(minutes=1)).isoformat()
    )
    posted = api.ask("postMovements", service, body=models.MovementsRequest(movements=[movement]))
    assert posted.results[0].status == "posted"
    through = now - timedelta(minutes=1)
    assert (
        api.ask("putSource", service, "wallet", body=models.SourceWord(complete_through=through)).name == "wallet"
    )
    assert [source.name for source in api.ask("getSources", service).sources] == ["wallet"]
    shown = {document.name: document.version for document in api.ask("getProgram", service).in_force.documents}
    assert shown == SHIPPED_PROGRAM.documents
    channel = models.GetAccountEligibilityChannel.WEB
    assert api.ask("getAccountEligibility", service, user, region="FR", channel=channel).eligible
    assert api.ask("getAccountEstimate", service, user).assets
    activation = models.ActivationRequest.from_dict({"region": "FR", "channel": "web", "documents": shown})
    receipt = api.ask("activateAccount", service, user, body=activation)
    status = api.ask("getAccountStatus", service, user)
    assert (status.enrolment_id, status.holdings["SOL"]) == (receipt.enrolment_id, "13.00000000")
    assert api.ask("getAccountTag", service, user).tag.colour == "yellow"
    assert api.ask("getAccountRewards", service, user, from_=now.date()).rewards == []
    assert api.ask("getCredits", service, day=now.date()).credits_ == []
    assert api.ask("getReconciliation", service, now.date()).day == now.date()
    told = api.ask("getEvents", service, limit=1000).events
    assert {"program.applied", "enrolment.began"} <= {event.type_ for event in told}
    assert api.ask("deactivateAccount", service, user).enrolment_id == receipt.enrolment_id


def test_a_generated_python_client_works_for_every_operation(
    web: LiveWeb, openapi: Path, python_client: PythonClient
) -> None:
    api, user = python_client, web.holder("of-python")
    service = api.client.AuthenticatedClient(
        base_url=web.address, token=token(web), raise_on_unexpected_status=True
    )
    program = web.program(user)
    signed = api.client.AuthenticatedClient(
        base_url=web.address,
        token=program.api_key,
        prefix="",
        auth_header_name="X-MBX-APIKEY",
        httpx_args={"auth": Signature(program)},
    )
    with service, signed:
        ask_everything(api, web, service, user)
        on = {"soft_staking": api.models.SetSoftStakingSoftStaking("true")}
        for operation, parameters in (
            ("setSoftStaking", on),
            ("getSoftStakingProductList", {"asset": "SOL"}),
            ("getSoftStakingRewardsHistory", {}),
        ):
            api.ask(operation, signed, timestamp=milliseconds(datetime.now(UTC)), signature="", **parameters)
        for operation in ("getSystemStatus", "getServerTime", "ping"):
            api.ask(operation, service)
        problem = api.refused("deactivateAccount", service, "nobody")

    assert (problem.status, problem.type_) == (409, "/problems/not-enrolled")
    assert api.called == operations(openapi)


def test_a_typescript_client_of_generated_types_works_for_every_operation(
    web: LiveWeb, openapi: Path, tmp_path: Path
) -> None:
    generator = made(NODE_MODULES / ".bin" / "openapi-typescript")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(PROGRAM, tmp_path)
    user = web.holder("of-typescript")
    program = web.program(user)
    given = {"ADDRESS": web.address, "TOKEN": token(web), "API_KEY": program.api_key, "SECRET": program.secret}
    given |= {"USER_ID": user, "TODAY": str(utc_now().date())}
    options = "--strict --target es2022 --module nodenext --skipLibCheck --lib es2022,dom,dom.iterable"

    run(tmp_path, generator, openapi, "--output", "schema.d.ts")
    (tmp_path / "node.d.ts").write_text(NODE_TYPES)
    run(tmp_path, NODE_MODULES / ".bin" / "tsc", *options.split(), "every_call.ts", "node.d.ts")
    called = run(tmp_path, "node", "every_call.js", **given)

    assert set(json.loads(called)) == operations(openapi)


NODE_TYPES = """
declare module "node:crypto" {
  interface Hmac { update(text: string): Hmac; digest(form: string): string }
  export function createHmac(kind: string, key: string): Hmac;
}
declare const process: { env: Record<string, string | undefined> };
"""
"""The little of Node that the program uses."""


def run(folder: Path, *command: object, **variables: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
