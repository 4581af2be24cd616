"""Documents compare equal however IAM spells them, and say no more than they must."""

from tools.backends.aws import AwsAccount
from tools.backends.aws.policies import normal, pod_identity, prefix_of, reach, role_name


def test_a_role_s_name_fits_for_the_longest_tenant() -> None:
    assert len(role_name("a" * 40, "0123abcd")) <= 64


def test_a_role_reaches_its_prefix_and_nothing_else() -> None:
    objects, listing = reach("arn:aws:s3:::tenants/tenants/acme-1/")["Statement"]
    assert objects["Resource"] == "arn:aws:s3:::tenants/tenants/acme-1/*"
    assert not any("*" in action for action in objects["Action"])
    assert listing == {
        "Sid": "List",
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::tenants",
        "Condition": {"StringLike": {"s3:prefix": "tenants/acme-1/*"}},
    }


def test_a_prefix_is_not_the_beginning_of_another_tenant_s() -> None:
    assert not prefix_of("acme-eu", "1").startswith(prefix_of("acme", "1"))


def test_irsa_trusts_one_service_account_of_one_namespace() -> None:
    issuers = {"": "https://oidc.example/id/1/", "east": "oidc.example/id/2"}
    account = AwsAccount(account="123456789012", oidc_providers=issuers)
    (statement,) = account.trust("acme", "west")["Statement"]
    assert statement["Principal"] == {
        "Federated": "arn:aws:iam::123456789012:oidc-provider/oidc.example/id/1"
    }
    assert statement["Condition"]["StringEquals"] == {
        "oidc.example/id/1:aud": "sts.amazonaws.com",
        "oidc.example/id/1:sub": "system:serviceaccount:acme:pilothouse-workload",
    }
    (statement,) = account.trust("acme", "east")["Statement"]
    assert statement["Principal"]["Federated"].endswith("oidc.example/id/2")


def test_pod_identity_trusts_one_service_account_of_one_namespace() -> None:
    (statement,) = pod_identity("123456789012", "acme")["Statement"]
    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {
        "aws:SourceAccount": "123456789012",
        "aws:RequestTag/kubernetes-namespace": "acme",
        "aws:RequestTag/kubernetes-service-account": "pilothouse-workload",
    }


def test_one_document_in_two_spellings_is_normally_the_same() -> None:
    one = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "a"},
            {
                "Effect": "Deny",
                "Action": "s3:*",
                "Resource": "*",
                "Condition": {"Bool": {"aws:SecureTransport": False}},
            },
        ],
    }
    other = {
        "Statement": [
            {
                "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
                "Resource": ["*"],
                "Action": ["s3:*"],
                "Effect": "Deny",
            },
            {"Action": ["s3:GetObject", "s3:PutObject"], "Effect": "Allow", "Resource": ["a"]},
        ],
        "Version": "2012-10-17",
    }
    assert normal(one) == normal(other)
    single = {"Version": "2012-10-17", "Statement": one["Statement"][0]}
    assert normal(single) != normal(one)
    assert normal(normal(one)) == normal(one)
