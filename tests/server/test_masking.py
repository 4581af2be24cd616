import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.masking import MASK, Pieces, Stream, mask, mask_text, spotless

# Put together here so that no scanner takes this file for a leak.
SECRETS = [
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----",
    "ghp_" + "a" * 36,
    "xoxb-" + "123456789012-abcdef",
    "sk-ant-" + "api03-abcdefghijklmnop",
    "ph_" + "b" * 43,
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_known_by_its_shape_wherever_it_stands(secret: str) -> None:
    said = json.dumps(mask({"items": [{"note": f"here: {secret} !"}]}))
    assert secret not in said
    assert "here: " in said


@pytest.mark.parametrize(
    "key",
    ["password", "DB_PASSWORD", "api_key", "apiToken", "clientSecret", "aws_secret_access_key"],
)
def test_a_secret_is_known_by_the_name_of_its_key(key: str) -> None:
    assert mask({key: "hunter2"}) == {key: MASK}
    assert mask({"name": key, "value": "hunter2"}) == {"name": key, "value": MASK}


@pytest.mark.parametrize(
    "key", ["secretName", "tokenExpirationSeconds", "passwordPolicy", "keyring", "tokens"]
)
def test_what_only_speaks_of_secrets_stays(key: str) -> None:
    assert mask({key: "plain"}) == {key: "plain"}


def test_the_data_of_a_secret_is_masked_and_its_keys_stay() -> None:
    secret = {
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "Yg=="},
        "stringData": {"c": "d"},
    }
    assert mask(secret) == {
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": MASK},
        "stringData": {"c": MASK},
    }


def test_a_password_in_a_url_or_an_assignment_is_masked() -> None:
    assert mask_text("postgres://app:hunter2@db/x") == f"postgres://{MASK}@db/x"
    assert mask_text("run --password=hunter2 --fast") == f"run --password={MASK} --fast"


def test_ordinary_text_is_the_same_object() -> None:
    text = "GET /healthz 200 in 3 ms from 10.0.0.7"
    assert mask_text(text) is text


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_cut_in_two_by_a_stream_is_masked_too(secret: str, size: int) -> None:
    text = f"before\nvalue {secret} end\nafter\n"
    stream = Stream()
    said = (
        "".join(stream.feed(text[i : i + size]) for i in range(0, len(text), size)) + stream.end()
    )
    for line in secret.splitlines():
        assert line not in said
    assert said.startswith("before\n")
    assert said.endswith("after\n")


def test_a_difference_is_masked_by_what_its_path_calls_it() -> None:
    path = "spec.template.spec.containers[web].env[DB_PASSWORD].value"
    assert mask({"path": path, "before": "old", "after": "new"}) == {
        "path": path,
        "before": MASK,
        "after": MASK,
    }
    plain = {"path": "spec.replicas", "before": 2, "after": 3}
    assert mask(plain) == plain


@pytest.mark.parametrize(
    "part", ["eyJ", "-eyJ", "://a:b", "sk-", "-----BEGIN ", "token=", "bearer "]
)
def test_a_text_that_nearly_is_a_secret_a_hundred_thousand_times_holds_nobody_up(part: str) -> None:
    assert mask_text(part * 100_000)


WORDS = st.sampled_from(
    ["password", "DB_PASSWORD", "dsn", "apiKey", "x-api_key", "clientSecret", "authorization", "kind",
     "name", "value", "path", "Secret", "data", "ſecret", "=", ".", "_", "bearer ", "://a:b@", "web",
     "password=", "token=hunter2", *SECRETS]
)  # fmt: skip
TEXTS = st.lists(WORDS | st.text(max_size=3), max_size=4).map("".join)
VALUES = st.recursive(
    TEXTS | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_said_to_be_spotless_has_nothing_to_mask(value: Any) -> None:
    if spotless(json.dumps(value, ensure_ascii=False)):
        assert mask(value) == value


def test_a_usual_answer_is_spotless() -> None:
    row = {"kind": "Deployment", "name": "api", "ready": "2/2", "image": "registry.example/api"}
    assert spotless(json.dumps({"workloads": [row], "total": 1}))


def test_a_key_that_a_log_tells_line_by_line_is_masked_whole_and_other_pods_go_on():
    key = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBg",
        "kqhkiG9w0BAQ",
        "-----END PRIVATE KEY-----",
    ]
    pieces = Pieces()
    told = [pieces.piece({"pod": "a", "line": line}) for line in ["before", *key, "after"]]
    assert [piece["line"] for piece in told] == ["before", *[MASK] * 4, "after"]
    pieces = Pieces()
    pieces.piece({"pod": "a", "line": key[0]})
    assert pieces.piece({"pod": "b", "line": "hello"}) == {"pod": "b", "line": "hello"}
