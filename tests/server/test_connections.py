"""Connections: how many there may be, which one goes first, half-closed ones, and what they say of the server."""

import json
import socket

import pytest
from fake_models import PATIENCE_S, HeldModel, served_with

from atrank_tf.server import ServedModel


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def request(body=b'{"instances": [1]}', path=b"/v1/models/m:predict"):
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body)


def answered(connection, sent=None):
    """Sends a request and reads its answer, of one line."""
    connection.sendall(sent or request())
    return connection.recv(10_000).startswith(b"HTTP/1.1 200 OK\r\n")


def is_closed(connection):
    try:
        return connection.recv(10_000) == b""
    except ConnectionResetError:
        return True


def test_of_idle_connections_the_one_used_longest_ago_is_closed_for_a_new_one(half_plus_two, start, caplog):
    server = start(ServedModel("m", half_plus_two), max_connections=3)
    with connect(server) as first, connect(server) as second, connect(server) as third:
        assert all(answered(connection) for connection in (first, second, third, first))
        with connect(server) as fourth, connect(server) as fifth:
            assert answered(fourth) and answered(fifth) and answered(first)
            assert is_closed(second) and is_closed(third)
    assert caplog.text.count("There are 3 connections") == 1  # once a minute


def test_where_all_connections_are_busy_a_new_one_is_refused(tmp_path, start):
    held = HeldModel()
    server = start(served_with(tmp_path, [1], load=lambda path: held), max_connections=2)
    with connect(server) as first, connect(server) as second:
        for connection in (first, second):
            connection.sendall(request())
            assert held.called.acquire(timeout=PATIENCE_S)
        with connect(server) as third:
            head, _, body = third.recv(10_000).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert json.loads(body) == {"error": "There are too many connections"}
            assert f"Content-Length: {len(body)}".encode() in head
            assert is_closed(third)
        held.let_go.set()
        assert first.recv(10_000).startswith(b"HTTP/1.1 200 ")


def test_who_has_sent_all_and_closes_its_side_is_answered(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two))
    for number in (1, 3):
        with connect(server) as connection:
            connection.sendall(request() * number)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while more := connection.recv(10_000):
                received += more
        assert received.count(b"HTTP/1.1 200 OK\r\n") == number


def test_who_closes_its_side_in_the_middle_of_a_request_is_not_waited_for(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two))
    for sent in (b"", b"POST /v1", request()[:-1]):
        with connect(server) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert is_closed(connection)


@pytest.mark.parametrize("sent", [request(), request(path=b"/nowhere"), b"NONSENSE\r\n\r\n"])
def test_an_answer_does_not_say_what_the_server_is_made_of(half_plus_two, start, sent):
    server = start(ServedModel("m", half_plus_two))
    with connect(server) as connection:
        connection.sendall(sent)
        answer = connection.recv(10_000).lower()
    assert b"server:" not in answer
    assert b"aiohttp" not in answer
