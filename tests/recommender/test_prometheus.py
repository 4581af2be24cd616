"""The client: what it sends, how it is bounded, and what it says when something is wrong."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recommender.answers import Limits, Login
from recommender.model import RecommenderError
from recommender.prometheus import Prometheus
from recommender.refusals import Away, TooMuch
from tests.recommender.standin import Asked, Bad, StandIn, told

WEB = 'kube_deployment_spec_replicas{deployment="web"}'
VECTOR = '{"status":"success","data":{"resultType":"vector","result":[]}}'


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as started:
        yield started


def client(server: StandIn, login: Login | None = None, **limits: Any) -> Prometheus:
    return Prometheus(server.url, login, Limits(**limits), wait=lambda seconds: None)


def broken(server: StandIn, bad: Bad, **limits: Any) -> RecommenderError:
    server.fault = lambda asked: bad
    with pytest.raises(RecommenderError) as caught:
        client(server, **limits).query(WEB)
    return caught.value


def test_a_value_of_every_series_is_answered(server: StandIn) -> None:
    found = client(server).query(WEB)
    assert found.labels == [
        {"__name__": "kube_deployment_spec_replicas", "namespace": "shop", "deployment": "web"}
    ]
    assert found.values.tolist() == [2.0]


def test_queries_go_in_the_body_where_they_may_be_long(server: StandIn) -> None:
    long = "|".join(f"namespace-{n}" for n in range(5000))
    client(server).query(f'kube_deployment_spec_replicas{{namespace=~"{long}"}}')
    assert server.asked[-1].method == "POST"
    assert server.asked[-1].query == ""


def test_what_the_library_asks_by_itself_is_mended_too(server: StandIn) -> None:
    client(server).custom_query(WEB)
    assert (server.asked[-1].query, server.asked[-1].expr) == ("", WEB)


def test_a_range_past_the_servers_limit_is_asked_in_pieces_and_comes_as_one(
    server: StandIn,
) -> None:
    now = server.clock() // 60 * 60
    found = client(server, points=100).query_range(WEB, now - 250 * 60, now, 60)
    assert found.values.shape == (1, 251)
    assert not np.isnan(found.values).any()
    assert len(server.asked) == 3


def test_a_long_range_is_asked_day_by_day(server: StandIn) -> None:
    now = server.clock() // 300 * 300
    found = client(server).query_range(WEB, now - 3 * 86_400 + 300, now, 300)
    assert found.values.shape == (1, 3 * 288)
    assert len(server.asked) == 3


def test_tokens_logins_and_headers_are_sent(server: StandIn) -> None:
    client(server, Login(token="letmein", headers={"X-Scope-OrgID": "shop"})).query(WEB)
    assert server.asked[-1].headers["Authorization"] == "Bearer letmein"
    assert server.asked[-1].headers["X-Scope-OrgID"] == "shop"
    client(server, Login(basic=("ada", "lovelace"))).query(WEB)
    assert server.asked[-1].headers["Authorization"].startswith("Basic ")


def test_a_login_in_the_url_is_used_and_shows_nowhere(server: StandIn) -> None:
    url = server.url.replace("//", "//ada:lovelace@")
    found = Prometheus(url, wait=lambda seconds: None)
    found.query(WEB)
    assert server.asked[-1].headers["Authorization"].startswith("Basic ")
    server.fault = lambda asked: told(401, "", "who are you?")
    with pytest.raises(RecommenderError) as caught:
        found.query(WEB)
    assert "lovelace" not in f"{caught.value}{found.url}{Login(basic=('ada', 'lovelace'))}"


def test_credentials_do_not_follow_a_redirect(server: StandIn) -> None:
    with StandIn() as elsewhere:
        wrong = broken(server, Bad(302, "", {"Location": f"{elsewhere.url}/login"}))
        assert elsewhere.asked == []
    assert "elsewhere" in wrong.message
    assert not wrong.passing


def test_a_busy_server_is_asked_again_after_as_long_as_it_says(server: StandIn) -> None:
    answers = iter([told(429, "", "slow down", Retry_After="7"), told(503, "", "starting"), None])
    server.fault = lambda asked: next(answers)
    waits: list[float] = []
    assert Prometheus(server.url, wait=waits.append).query(WEB).labels
    assert waits == [7.0, 1.0]


def test_a_server_that_stays_busy_is_left_alone_after_a_few_tries(server: StandIn) -> None:
    wrong = broken(server, told(503, "", "starting"))
    assert wrong.passing
    assert "starting" in wrong.message
    assert len(server.asked) == 3


def test_nobody_is_kept_waiting_for_an_hour(server: StandIn) -> None:
    wrong = broken(server, told(429, "", "slow down", Retry_After="3600"))
    assert wrong.retry_after == 3600
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("bad", "says", "hint"),
    [
        (told(401, "", "no"), "does not know us", "token"),
        (told(403, "", "no"), "does not let us read", "X-Scope-OrgID"),
        (Bad(404, "<html>"), "no Prometheus API", "URL"),
        (Bad(200, "<html>hello"), "not a Prometheus", "URL"),
        (Bad(200, "7"), "not a Prometheus", "URL"),
        (told(422, "execution", "many-to-many matching"), "many-to-many matching", "expression"),
        (told(400, "bad_data", "parse error at 1:1"), "parse error", "expression"),
        (told(200, "internal", "oh no"), "oh no", "expression"),
        (Bad(200, VECTOR[:-9]), "half an answer", "again"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    server: StandIn, bad: Bad, says: str, hint: str
) -> None:
    wrong = broken(server, bad)
    assert says in wrong.message
    assert hint in wrong.hint


@pytest.mark.parametrize(
    "bad",
    [
        told(
            422,
            "execution",
            "query processing would load too many samples into memory in query execution",
        ),
        told(400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries"),
        told(503, "timeout", "query timed out in expression evaluation"),
        told(
            422,
            "execution",
            "the query exceeded the maximum number of chunks (limit: 2000000) (err-mimir-max-chunks-per-query)",
        ),
        told(422, "", "cannot select more than -search.maxSamplesPerQuery=1000000000 samples"),
        Bad(413, "too large"),
    ],
)
def test_what_is_too_much_is_told_apart_and_not_simply_tried_again(
    server: StandIn, bad: Bad
) -> None:
    assert isinstance(broken(server, bad), TooMuch)
    assert len(server.asked) == 1


def test_an_answer_that_breaks_off_is_asked_for_again(server: StandIn) -> None:
    answers = iter([Bad(200, VECTOR, cut=True), None])
    server.fault = lambda asked: next(answers)
    assert client(server).query(WEB).labels
    wrong = broken(server, Bad(200, VECTOR, cut=True))
    assert "broke off" in wrong.message
    assert wrong.passing


def test_a_slow_server_is_given_up(server: StandIn) -> None:
    wrong = broken(server, Bad(200, VECTOR, pause=0.5), request_s=0.1)
    assert "within 0.1 s" in wrong.message


def test_an_answer_too_long_to_hold_is_not_held(server: StandIn) -> None:
    wrong = broken(server, Bad(200, " " * (2 << 20)), answer_mb=1)
    assert isinstance(wrong, TooMuch)


def test_a_server_that_is_away_is_said_to_be() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Away, match="cannot be reached"):
        Prometheus(url, wait=lambda seconds: None).query(WEB)


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://prometheus", "", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(RecommenderError, match="URL of Prometheus"):
        Prometheus(url)


def test_warnings_are_passed_on(server: StandIn) -> None:
    body = VECTOR[:-1] + ',"warnings":["store eu is away"]}'
    server.fault = lambda asked: Bad(200, body)
    assert client(server).query(WEB).warnings == ("store eu is away",)


def test_nan_and_infinity_and_holes_are_unknown(server: StandIn) -> None:
    def fault(asked: Asked) -> Bad:
        values = '[[100,"1"],[110,"NaN"],[120,"+Inf"],[140,"2.5e-3"]]'
        return Bad(200, '{"status":"success","data":{"resultType":"matrix","result":'
                        f'[{{"metric":{{"a":"b"}},"values":{values}}}]}}}}')  # fmt: skip

    server.fault = fault
    found = client(server).query_range("x", 100, 150, 10)
    assert np.isnan(found.values).tolist() == [[False, True, True, True, False, True]]
    assert found.values[0, [0, 4]].tolist() == [1.0, 0.0025]


def test_a_ca_holds_against_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "another.pem"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password eve\n")
    with _over_tls(tmp_path) as (server, ca):
        url = server.url.replace("http:", "https:")
        assert Prometheus(url, Login(ca_file=ca), wait=lambda seconds: None).query(WEB).labels
        assert "Authorization" not in server.asked[-1].headers
        with pytest.raises(RecommenderError, match="not trusted"):
            Prometheus(url, wait=lambda seconds: None).query(WEB)


def _over_tls(home: Path) -> "Any":
    import ssl
    from contextlib import contextmanager

    key, ca = str(home / "key.pem"), str(home / "ca.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", ca, "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip

    @contextmanager
    def serving() -> Iterator[tuple[StandIn, str]]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca, key)
        with StandIn() as server:
            server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
            yield server, ca

    return serving()


def test_two_threads_may_ask_at_once(server: StandIn) -> None:
    from concurrent.futures import ThreadPoolExecutor

    one = client(server)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda n: one.query(WEB).values[0], range(20)))
    assert found == [2.0] * 20


def test_the_servers_time_and_version_are_known(server: StandIn) -> None:
    assert abs(client(server).now() - time.time()) < 5
    assert client(server).build().startswith("3.")
