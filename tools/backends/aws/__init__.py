"""How one AWS account is looked at: IAM roles and S3 prefixes of tenants, EC2 and RDS instances."""

from tools.backends.aws.account import AwsAccount

__all__ = ["AwsAccount"]
