"""What a server writes leaves at once."""

import socket

from chatcore.api.sockets import send_at_once


def test_connections_of_a_socket_whose_protocol_is_not_named_send_at_once() -> None:
    with socket.socket() as listening:  # as Streamlit makes it: asyncio leaves its connections alone
        assert listening.proto == 0
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        assert send_at_once() >= 1
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_is_closed_or_listens_to_nothing_is_left_alone() -> None:
    closed, idle = socket.socket(), socket.socket()
    closed.close()
    with idle:
        send_at_once()
        assert not idle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
