"""What the exchange shows of itself to anybody: health, version, the docs page, and no way around authentication."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from referral_api import __version__
from referral_api.auditlog.records import AuditSession, Retrieved
from referral_api.server.api.operations import OPERATIONS
from tests.postgres import create_database, drop_database
from tests.server.test_recording import records
from tests.world import Founded, World

STRICT = "default-src 'none'; frame-ancestors 'none'"
EXAMPLES = {
    "ref": "01900000-0000-7000-8000-000000000000",
    "id": "8b0e3a52-6a53-4d27-9b2a-3f1c5d7e9a01",
    "enrolment": "8b0e3a52-6a53-4d27-9b2a-3f1c5d7e9a01",
    "digest": "A" * 43,
    "party": "linea-1818",
    "term": "2026",
    "index": "0",
    "path": "0/000",
}
PATHS = sorted({re.sub(r"\{(\w+)\}", lambda name: EXAMPLES[name[1]], operation.path) for operation in OPERATIONS})
OPEN = ["/healthz", "/readyz", "/version", "/v1/docs", "/v1/openapi.json"]
PAGES = [*OPEN, "/v1/docs/start.js", "/v1/docs/swagger-ui-bundle.js", "/v1/docs/swagger-ui.css"]


@pytest.fixture(scope="module")
def http(served: World) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=served.server.url, headers={"Origin": "https://elsewhere.example"}) as client:
        yield client


def is_problem(answer: httpx2.Response, status: int, code: str) -> bool:
    if answer.request.method == "HEAD":
        return answer.status_code == status and answer.content == b""
    media = answer.headers["content-type"] == "application/problem+json"
    return media and answer.status_code == status and answer.json()["code"] == code


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PATCH", "DELETE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("path", [*PATHS, *PAGES])
def test_methods_that_no_call_has_are_refused_and_never_answered(http: httpx2.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert is_problem(answer, 405, "method-not-allowed"), (answer.status_code, answer.content)
    allowed = set(answer.headers["allow"].split(", "))
    assert allowed
    assert allowed <= {"GET", "HEAD", "PUT", "POST"}
    assert ("GET" in allowed) is ("HEAD" in allowed)


def test_a_refused_method_is_told_every_method_of_its_path(http: httpx2.Client) -> None:
    told = {path: http.request("PATCH", path).headers["allow"] for path in PATHS}
    assert told["/v1/enrolments"] == "GET, HEAD, POST"
    assert told[f"/v1/enrolments/{EXAMPLES['enrolment']}"] == "GET, HEAD, PUT"
    assert told[f"/v1/referrals/{EXAMPLES['ref']}"] == "GET, HEAD, PUT"
    assert told["/v1/inbox"] == "GET, HEAD"


VARYING = {"date", "x-request-id", "dpop-nonce", "content-length"}
"""Headers that differ between two answers to the same call; a length does where the body tells the time."""


def fixed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items() if name.lower() not in VARYING}


@pytest.mark.parametrize("path", [*PATHS, *PAGES, "/nothing"])
def test_head_is_answered_like_get_without_the_body(http: httpx2.Client, path: str) -> None:
    """R-51, RFC 9110 §9.3.2; what takes neither says so."""
    get, head = http.get(path), http.head(path)
    assert head.content == b""
    assert (head.status_code, fixed(head.headers)) == (get.status_code, fixed(get.headers))
    # A head that announces a body which does not come would spoil the next answer on the same connection.
    assert http.get("/healthz").json() == {"status": "ok"}


def test_head_is_authorised_and_recorded_like_get(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    officer, stranger = world.caller("officer"), world.caller("stranger")
    path = f"/v1/referrals/{ref}/bundle"
    assert httpx2.head(f"{world.server.url}{path}").status_code == 401
    assert stranger.call("HEAD", path).status == 404
    assert records(world, Retrieved) == []
    head = officer.call("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert [one.ref for one in records(world, Retrieved)] == [ref]
    get = officer.call("GET", path)
    assert fixed(get.headers) == fixed(head.headers)
    assert int(head.headers["content-length"]) == len(get.body)
    # A proof for one method is none for the other.
    for proved, asked in (("GET", "HEAD"), ("HEAD", "GET")):
        headers = officer.credentials(proved, path)
        assert httpx2.request(asked, f"{world.server.url}{path}", headers=headers).status_code == 401
    year = time.gmtime(world.clock()).tm_year
    for log in (f"/v1/log/audit/{year}", "/v1/log/keys"):
        for rest in ("checkpoint", "tile/entries/000.p/1"):
            assert world.caller("auditor").call("HEAD", f"{log}/{rest}").status == 200
    assert len(records(world, AuditSession)) == 1


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/v1/ping/", "//v1/ping", "/v1/docs/", "/v1/docs/x"])
def test_paths_that_are_nothing_are_not_found_and_never_redirect(served: World, http: httpx2.Client, path: str) -> None:
    # An absolute URL, for a path with two slashes at its beginning names a host to the library.
    answer = http.get(f"{served.server.url}{path}")
    assert is_problem(answer, 404, "not-found"), answer.status_code


@pytest.mark.parametrize(
    "path", ["/v1/records/0000", "/v1/records/0000/0", "/v1/records/2026/99999999999", "/v1/records/2026/9999999999"]
)
def test_places_that_no_log_has_are_not_found(served: World, path: str) -> None:
    answer = served.caller("auditor").call("GET", path)
    assert (answer.status, answer.code) == (404, "not-found")


def test_a_range_that_no_log_has_is_malformed(served: World) -> None:
    auditor = served.caller("auditor")
    for most in (10**10, 1 << 36, 10**12 - 1, 1 << 40):
        answer = auditor.call("GET", f"/v1/records/2026?from={most}")
        assert (answer.status, answer.code) == (400, "malformed")
    for narrowed in ("", "&limit=200", "&kind=accept", "&ref=00000000-0000-7000-8000-000000000000&until=0"):
        assert auditor.call("GET", f"/v1/records/2026?from={10**10 - 1}{narrowed}").json["records"] == []


def test_an_enrolment_without_the_header_of_its_invitation_is_told_which(http: httpx2.Client) -> None:
    answer = http.post("/v1/enrolments", json={"enc": []})
    assert is_problem(answer, 400, "malformed")
    assert answer.json()["param"] == "Referral-Invitation"


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/v1/ping", 405), ("/healthz", 405)])
def test_a_body_where_none_belongs_changes_no_answer(http: httpx2.Client, path: str, status: int) -> None:
    for content in (b"x", b"x" * 200_000):
        assert http.post(path, content=content).status_code == status
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", [*PATHS, *PAGES, "/nothing"])
def test_no_answer_lets_another_site_read_it_or_a_browser_run_it(http: httpx2.Client, path: str) -> None:
    for answer in (http.get(path), http.options(path, headers={"Access-Control-Request-Method": "GET"})):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "set-cookie" not in answer.headers
        assert "server" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        policy = answer.headers["content-security-policy"]
        is_docs = answer.status_code == 200 and path.startswith("/v1/docs")
        assert (policy == STRICT) is not is_docs
        assert policy.startswith("default-src 'none'; ")


def test_the_docs_page_loads_nothing_from_elsewhere_and_has_no_inline_script(http: httpx2.Client) -> None:
    page = http.get("/v1/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in page.text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 5
    for address in loaded:
        if address != "data:,":
            assert address.startswith("/v1/")
            assert http.get(address).status_code == 200
    assert re.findall(r"<script(?! src=)", page.text) == []
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert http.get("/v1/openapi.json").json()["openapi"] == "3.1.0"


def test_health_and_version_are_told_to_anybody(http: httpx2.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/version").json() == {"version": __version__, "environment": "sandbox"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"] == {
        "database": True,
        "lane": True,
        "signer": True,
        "writer": True,
        "writes": True,
        "keys": True,
        "clocks": True,
    }


def test_without_its_writer_an_exchange_is_not_ready_and_takes_nothing(world: World) -> None:
    world.operator.ping()
    world.server.runtime.writer.stop()
    ready = httpx2.get(f"{world.server.url}/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "not-ready"
    assert ready.json()["checks"] == {
        "database": True,
        "lane": True,
        "signer": True,
        "writer": False,
        "writes": True,
        "keys": True,
        "clocks": True,
    }
    answer = world.caller("operator").call("GET", f"/v1/referrals/{EXAMPLES['ref']}")
    assert (answer.status, answer.code) == (503, "unavailable")


# On PostgreSQL alone, for SQLite's database is a file that is open: nobody can take it away.
@pytest.mark.postgres
def test_without_its_database_an_exchange_is_not_ready_and_refuses_calls(
    founded_on_postgres: Founded, postgres_url: str, tmp_path: Path
) -> None:
    url = create_database(postgres_url, "doomed", founded_on_postgres.database)
    with World(founded_on_postgres, tmp_path / "world", url) as world:
        caller = world.caller("operator")
        assert caller.call("GET", "/v1/inbox").status == 200
        drop_database(postgres_url, "doomed")
        ready = httpx2.get(f"{world.server.url}/readyz", timeout=20)
        assert ready.status_code == 503
        assert ready.json()["checks"] == {
            "database": False,
            "lane": True,
            "signer": True,
            "writer": True,
            "writes": True,
            "keys": True,
            "clocks": True,
        }
        answer = caller.call("GET", "/v1/inbox")
        # The memory of proofs cannot answer either, so that the call is refused and not waved through.
        assert (answer.status, answer.code) == (503, "replay-store-unavailable")
        assert httpx2.get(f"{world.server.url}/healthz").status_code == 200
