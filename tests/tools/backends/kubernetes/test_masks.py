"""Which fields are meant, in the shape of Kubernetes' own `fieldsV1`."""

from typing import Any

from tools.backends.kubernetes.masks import mask_of, overlap, owned_mask, pick, union

LIVE: dict[str, Any] = {
    "metadata": {
        "labels": {"a": "1", "b": "2"},
        "managedFields": [
            {
                "manager": "pilothouse",
                "operation": "Apply",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {".": {}, 'v:"x"': {}}},
                    "f:spec": {
                        "f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:image": {}}}
                    },
                },
            },
            {
                "manager": "pilothouse",
                "operation": "Update",
                "fieldsV1": {"f:metadata": {"f:labels": {"f:b": {}}}},
            },
        ],
        "finalizers": ["x", "y"],
    },
    "spec": {
        "selector": {"matchLabels": {"app": "web"}, "matchExpressions": []},
        "containers": [
            {"name": "web", "image": "i:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            {"name": "side", "image": "s:1"},
        ],
    },
}


def test_what_a_manager_applied_is_picked_and_nothing_else() -> None:
    assert pick(LIVE, owned_mask(LIVE, "pilothouse")) == {
        "metadata": {"labels": {"a": "1"}, "finalizers": ["x"]},
        "spec": {"containers": [{"name": "web", "image": "i:1"}]},
    }


def test_items_of_a_list_are_found_by_their_key_wherever_they_stand() -> None:
    like = {"spec": {"containers": [{"name": "side", "image": "?"}]}}
    assert pick(LIVE, mask_of(like)) == {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}


def test_a_port_without_a_protocol_is_the_tcp_one() -> None:
    like = {"spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]}}
    picked = pick(LIVE, mask_of(like))
    assert picked["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


def test_a_selector_is_one_value() -> None:
    assert pick(LIVE, mask_of({"spec": {"selector": {}}})) == {
        "spec": {"selector": LIVE["spec"]["selector"]}
    }


def test_an_empty_map_of_labels_means_none_of_them() -> None:
    assert pick(LIVE, mask_of({"metadata": {"labels": {}}})) == {"metadata": {"labels": {}}}


def test_masks_are_joined_and_a_leaf_gives_way() -> None:
    both = union({"f:a": {}, "f:b": {"f:c": {}}}, {"f:a": {"f:x": {}}, "f:b": {"f:d": {}}})
    assert both == {"f:a": {"f:x": {}}, "f:b": {"f:c": {}, "f:d": {}}}


def test_what_two_masks_share_is_named_by_its_path() -> None:
    mine = mask_of({"spec": {"containers": [{"name": "web", "image": "i:2"}], "replicas": 1}})
    theirs = {
        "f:spec": {
            "f:replicas": {},
            "f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}, "f:tty": {}}},
        }
    }
    assert overlap(mine, theirs) == ["spec.containers[web].image", "spec.replicas"]
