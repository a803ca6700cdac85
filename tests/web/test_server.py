"""The HTTP server's socket."""

import socket
from contextlib import closing

from settings import LOOPBACK
from web.server import listen


def test_an_answer_waits_for_no_acknowledgement_of_its_head() -> None:
    with closing(listen(LOOPBACK, 0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with closing(connection):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
