import json

import pytest
from mcp import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from tests.server.doors.scripted import ScriptedGate, served
from tests.server.doors.test_mcp import ERAS, connected


@pytest.mark.parametrize("era", ERAS)
async def test_tenants_and_waiting_calls_are_listed_and_read(era):
    async with served(ScriptedGate()) as url, connected(url, era) as client:
        await client.call_tool("thing_set", {"name": "web"})
        await client.call_tool("thing_set", {"name": "x"})
        listed = (await client.list_resources()).resources
        tenant = (await client.read_resource("pilothouse://tenants/acme")).contents[0]
        call = (await client.read_resource("pilothouse://calls/c-2")).contents[0]
    assert [r.uri for r in listed] == [
        "pilothouse://tenants/acme",
        "pilothouse://tenants/globex",
        "pilothouse://calls/c-1",
    ]
    assert listed[2].title == "Waiting: Scale web from 2 to 5 replicas"
    assert json.loads(tenant.text) == {"name": "acme", "plan": "pro"}
    assert tenant.mime_type == "application/json"
    assert json.loads(call.text)["call"]["outcome"]["state"] == "succeeded"


async def test_the_templates_name_both_kinds():
    async with served(ScriptedGate()) as url, connected(url) as client:
        templates = (await client.list_resource_templates()).resource_templates
    assert [t.uri_template for t in templates] == [
        "pilothouse://tenants/{name}",
        "pilothouse://calls/{id}",
    ]
    assert all(t.description and t.title for t in templates)


@pytest.mark.parametrize(("era", "code"), [("2026-07-28", -32602), ("legacy", -32002)])
@pytest.mark.parametrize(
    "uri",
    [
        "pilothouse://tenants/none",
        "pilothouse://tenants/",
        "pilothouse://pods/x",
        "file:///etc/passwd",
    ],
)
async def test_what_is_not_there_is_told_as_each_era_has_it(era, code, uri):
    async with served(ScriptedGate()) as url, connected(url, era) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
    assert refused.value.code == code
    assert refused.value.data == {"uri": uri}


@pytest.mark.parametrize("era", ERAS)
async def test_names_are_completed_from_what_the_caller_may_see(era):
    tenants = ResourceTemplateReference(type="ref/resource", uri="pilothouse://tenants/{name}")
    calls = ResourceTemplateReference(type="ref/resource", uri="pilothouse://calls/{id}")
    onboard = PromptReference(type="ref/prompt", name="onboard_tenant")
    diagnose = PromptReference(type="ref/prompt", name="diagnose_workload")
    async with served(ScriptedGate()) as url, connected(url, era) as client:

        async def complete(ref, name, value, context=None):
            found = await client.complete(
                ref, {"name": name, "value": value}, context_arguments=context
            )
            return found.completion.values

        await client.call_tool("thing_set", {"name": "web"})
        assert await complete(tenants, "name", "ac") == ["acme"]
        assert await complete(calls, "id", "") == ["c-1"]
        assert await complete(onboard, "plan", "") == ["free", "pro", "enterprise"]
        assert await complete(onboard, "name", "n") == []
        assert await complete(diagnose, "tenant", "g") == ["globex"]
        assert await complete(diagnose, "workload", "acme-w", {"tenant": "acme"}) == ["acme-web"]
        assert await complete(diagnose, "workload", "") == []
        assert await complete(onboard, "colour", "") == []
