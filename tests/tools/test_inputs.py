"""What callers may send."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from tools.errors import Code, ToolError
from tools.inputs import (
    EnvName,
    Image,
    Label,
    Quantity,
    SecretKey,
    Selector,
    Since,
    Subdomain,
    amount,
    check_bounds,
    since_s,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

GOOD = [
    (Label, ["a", "web-1", "a" * 63]),
    (Subdomain, ["a", "web.example.com", "a-b.c"]),
    (Quantity, ["250m", "2", "0.5", "512Mi", "1.5Gi", "1e3"]),
    (Image, ["busybox", "busybox:1.37", "r.example:5000/a/b:v1", f"a@sha256:{'0' * 64}"]),
    (EnvName, ["A", "_x1", "PATH"]),
    (SecretKey, ["tls.crt", "a_b-c"]),
    (Since, ["", "10m", "2h", "2026-01-01T11:00:00Z", "2026-01-01T11:00:00+02:00"]),
    (Selector, ["", "app=web,tier!=test", "app in (a, b)", "!job-name"]),
]
BAD = [
    (Label, ["", "A", "-a", "a-", "a.b", "a" * 64, "../etc", "a\n", "ä"]),
    (Subdomain, ["a..b", ".a", "a/b", "a" * 254]),
    (Quantity, ["", "-1", "1 Gi", "lots", "1Mib", "9" * 16, "1e400"]),
    (Image, ["", "a b", "-a", "a;rm", "$(x)", "a@sha256:0"]),
    (EnvName, ["1A", "A-B", "A=B", ""]),
    (SecretKey, ["a/b", "", "a b"]),
    (Since, ["yesterday", "10", "-5m", "2026-01-01T11:00:00", "9999999m"]),
    (Selector, ["a=b&limit=1", "a=b\n"]),
]


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in GOOD for t in texts])
def test_what_kubernetes_takes_is_taken(kind: object, text: str) -> None:
    assert TypeAdapter(kind).validate_python(text) == text


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in BAD for t in texts])
def test_what_it_does_not_is_refused(kind: object, text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


def test_quantities_compare_as_amounts() -> None:
    assert amount("1000m") == amount("1") == Decimal(1)
    assert amount("1Gi") > amount("1G") == amount("1000M")


def test_since_reaches_back_at_least_a_second() -> None:
    assert since_s("", NOW) is None
    assert since_s("10m", NOW) == 600
    assert since_s("0s", NOW) == 1
    assert since_s("2026-01-01T11:00:00Z", NOW) == 3600
    assert since_s("2027-01-01T11:00:00Z", NOW) == 1


def test_a_request_above_its_limit_is_refused_with_what_to_change() -> None:
    check_bounds({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m", "memory": "1Gi"}})
    with pytest.raises(ToolError) as refused:
        check_bounds({"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}})
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert "memory_limit" in refused.value.hint
