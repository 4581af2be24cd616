"""Who may do what: tokens, roles, impersonation, and no giving away of what one has not."""

from collections.abc import Callable

from .conftest import Client, Object, config_map

RBAC = "/apis/rbac.authorization.k8s.io/v1"
Users = Callable[..., Client]


def grant(kube: Client, space: str, name: str, rules: list[Object], *subjects: Object) -> None:
    path = f"{RBAC}/namespaces/{space}"
    kube.create(f"{path}/roles", {"metadata": {"name": name}, "rules": rules})
    ref = {"kind": "Role", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    body = {"metadata": {"name": name}, "roleRef": ref, "subjects": list(subjects)}
    kube.create(f"{path}/rolebindings", body)


def rule(verbs: str, resources: str, **more: object) -> Object:
    return {"apiGroups": [""], "resources": resources.split(), "verbs": verbs.split()} | more


def user(name: str) -> Object:
    return {"kind": "User", "name": name}


def account(space: str, name: str) -> Object:
    return {"kind": "ServiceAccount", "namespace": space, "name": name}


def test_an_unknown_token_is_unauthorized_and_none_is_anonymous(as_user: Users) -> None:
    refusal = as_user("stolen").refused("GET", "/api/v1/nodes")
    assert (refusal["code"], refusal["message"]) == (401, "Unauthorized")
    nobody = as_user("x", Authorization="")
    assert nobody.refused("GET", "/api/v1/nodes")["code"] == 403
    assert nobody.get("/version")["gitVersion"] == "v1.36.2"
    assert nobody.refused("GET", "/apis")["message"] == (
        'forbidden: User "system:anonymous" cannot get path "/apis"'
    )


def test_rights_hold_where_they_are_given_and_by_name(
    kube: Client, as_user: Users, space: str
) -> None:
    rules = [rule("get", "configmaps", resourceNames=["open"]), rule("create", "pods/eviction")]
    grant(kube, space, "some", rules, user("vera"))
    vera = as_user("viewer")
    path = f"/api/v1/namespaces/{space}/configmaps"
    kube.create(path, config_map("open"))
    assert vera.get(f"{path}/open")
    assert vera.refused("GET", f"{path}/closed")["code"] == 403
    assert vera.refused("GET", path)["code"] == 403
    assert vera.refused("POST", f"/api/v1/namespaces/{space}/pods/p/eviction", {})["code"] == 404


def test_an_apply_that_would_create_needs_the_right_to_create(
    kube: Client, as_user: Users, space: str
) -> None:
    grant(kube, space, "patcher", [rule("patch get", "configmaps")], user("vera"))
    path = f"/api/v1/namespaces/{space}/configmaps/new"
    refusal = as_user("viewer").refused(
        "PATCH",
        f"{path}?fieldManager=vera",
        config_map("new"),
        content_type="application/apply-patch+yaml",
    )
    assert 'cannot create resource "configmaps"' in refusal["message"]


def test_view_edit_and_admin_are_there_to_be_bound(
    kube: Client, as_user: Users, space: str
) -> None:
    ref = {"kind": "ClusterRole", "name": "view"}
    body = {"metadata": {"name": "v"}, "roleRef": ref, "subjects": [user("vera")]}
    kube.create(f"{RBAC}/namespaces/{space}/rolebindings", body)
    vera = as_user("viewer")
    assert vera.get(f"/apis/apps/v1/namespaces/{space}/deployments")["items"] == []
    assert vera.refused("GET", f"/api/v1/namespaces/{space}/secrets")["code"] == 403
    assert vera.refused("DELETE", f"/api/v1/namespaces/{space}/pods/x")["code"] == 403


def test_a_service_account_is_in_the_groups_of_its_namespace(
    kube: Client, as_user: Users, space: str
) -> None:
    group = {"kind": "Group", "name": "system:serviceaccounts:robots"}
    grant(kube, space, "robots", [rule("list", "pods")], group)
    assert as_user("robot").get(f"/api/v1/namespaces/{space}/pods")["items"] == []
    grant(kube, space, "robot", [rule("list", "secrets")], account("robots", "robot"))
    assert as_user("robot").get(f"/api/v1/namespaces/{space}/secrets")["items"] == []


def test_impersonating_a_service_account_needs_the_right_in_its_namespace(
    kube: Client, as_user: Users, space: str
) -> None:
    grant(kube, space, "tenant", [rule("list", "pods")], account(space, "tenant-user"))
    name = f"system:serviceaccount:{space}:tenant-user"
    extra = {"Impersonate-Extra-Pilothouse.dev%2fPerson": "ada"}
    pods = f"/api/v1/namespaces/{space}/pods"
    tenant = as_user("pilothouse", **{"Impersonate-User": name})
    refusal = tenant.refused("GET", pods)
    assert refusal["message"] == (
        'pods is forbidden: User "pilothouse" cannot impersonate-on:serviceaccount:list resource '
        f'"pods" in API group "" in the namespace "{space}"'
    )
    may = rule("impersonate", "serviceaccounts", resourceNames=["tenant-user"])
    grant(kube, space, "pilothouse", [may], user("pilothouse"))
    assert tenant.get(pods)["items"] == []
    assert tenant.refused("GET", f"/api/v1/namespaces/{space}/secrets")["message"] == (
        f'secrets is forbidden: User "{name}" cannot list resource "secrets" in API group "" '
        f'in the namespace "{space}"'
    )
    tenant = as_user("pilothouse", **{"Impersonate-User": name} | extra)
    assert tenant.refused("GET", pods)["code"] == 403
    extras = {
        "apiGroups": ["authentication.k8s.io"],
        "resources": ["userextras/pilothouse.dev/person"],
        "verbs": ["impersonate"],
    }
    role = {"metadata": {"name": f"extras-{space}"}, "rules": [extras]}
    kube.create(f"{RBAC}/clusterroles", role)
    ref = {"kind": "ClusterRole", "name": f"extras-{space}"}
    body = {"metadata": role["metadata"], "roleRef": ref, "subjects": [user("pilothouse")]}
    kube.create(f"{RBAC}/clusterrolebindings", body)
    assert tenant.get(pods)["items"] == []


def test_groups_are_impersonated_only_by_whom_may(as_user: Users) -> None:
    masters = as_user(
        "pilothouse", **{"Impersonate-User": "eve", "Impersonate-Group": "system:masters"}
    )
    assert masters.refused("GET", "/api/v1/nodes")["code"] == 403


def test_nobody_gives_rights_that_he_has_not(kube: Client, as_user: Users, space: str) -> None:
    rights = {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings"],
        "verbs": ["create", "patch", "get"],
    }
    grant(kube, space, "granter", [rights, rule("get", "pods")], user("vera"))
    vera = as_user("viewer")
    path = f"{RBAC}/namespaces/{space}"
    more = {"metadata": {"name": "more"}, "rules": [rule("get list", "pods")]}
    refusal = vera.refused("POST", f"{path}/roles", more)
    assert refusal["message"] == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "vera" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["pods"], Verbs:["get", "list"]}'
    )
    same = {"metadata": {"name": "same"}, "rules": [rule("get", "pods")]}
    vera.create(f"{path}/roles", same)
    binding = {
        "metadata": {"name": "all"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [user("vera")],
    }
    assert vera.refused("POST", f"{path}/rolebindings", binding)["code"] == 403


def test_a_role_may_be_bound_by_whom_holds_bind_on_it(
    kube: Client, as_user: Users, space: str
) -> None:
    bind = {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"],
        "verbs": ["bind"],
        "resourceNames": ["view"],
    }
    create = {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["rolebindings"],
        "verbs": ["create"],
    }
    grant(kube, space, "binder", [bind, create], user("pilothouse"))
    binder = as_user("pilothouse")
    path = f"{RBAC}/namespaces/{space}/rolebindings"
    for role, allowed in (("view", True), ("edit", False)):
        body = {
            "metadata": {"name": role},
            "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [user("bob")],
        }
        assert binder.request("POST", path, body).is_success is allowed


def test_reviews_say_what_oneself_and_others_may(kube: Client, as_user: Users, space: str) -> None:
    grant(kube, space, "some", [rule("get", "pods/log")], user("vera"))
    group = "/apis/authorization.k8s.io/v1"
    asked = {
        "namespace": space,
        "verb": "get",
        "resource": "pods",
        "subresource": "log",
    }
    own = as_user("viewer").create(
        f"{group}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": asked}}
    )
    assert own["status"]["allowed"] is True
    other = kube.create(
        f"{group}/subjectaccessreviews", {"spec": {"user": "bob", "resourceAttributes": asked}}
    )
    assert other["status"] == {"allowed": False}
    rules = as_user("viewer").create(
        f"{group}/selfsubjectrulesreviews", {"spec": {"namespace": space}}
    )
    assert rule("get", "pods/log") in rules["status"]["resourceRules"]


def test_everybody_may_ask_who_they_are(kube: Client, as_user: Users, space: str) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    own = as_user("viewer").create(path, {})["status"]["userInfo"]
    assert own == {"username": "vera", "groups": ["system:authenticated"]}
    account = {"Impersonate-User": f"system:serviceaccount:{space}:mine"}
    other = as_user("admin", **account).create(path, {})["status"]["userInfo"]
    assert other["username"] == f"system:serviceaccount:{space}:mine"
