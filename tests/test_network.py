"""The guard that keeps tests on this machine is there, and lets the loopback through."""

from __future__ import annotations

import socket

import psycopg
import pytest

from tests.conftest import NetworkInTestsError


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_a_connection_to_another_machine_is_refused(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as other, pytest.raises(NetworkInTestsError):
        other.connect((host, 9))


def test_looking_up_another_machine_is_refused() -> None:
    with pytest.raises(NetworkInTestsError):
        socket.getaddrinfo("example.org", 443)


def test_the_loopback_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as caller:
        assert caller.getpeername() == server.getsockname()


@pytest.mark.postgres
def test_each_test_gets_an_empty_database_of_its_own(postgres_database: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)
