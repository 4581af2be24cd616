"""Secrets of the shapes that are out there, all made up. Put together here so that no scanner takes
this file for a leak."""

import random
import string

_dice = random.Random(7)
HEX, LOWER = "0123456789abcdef", string.ascii_lowercase + string.digits
WORD = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits


def some(number: int, of: str = WORD) -> str:
    return "".join(_dice.choices(of, k=number))


def pem(kind: str) -> str:
    return f"-----BEGIN {kind}-----\n{some(64)}\n{some(40)}\n-----END {kind}-----"


def jwt() -> str:
    return "eyJ" + some(30) + ".eyJ" + some(60) + "." + some(43)


# What is to be gone, by the name of its shape.
BARE: dict[str, str] = {
    "JWT": jwt(),
    "service account token of Kubernetes": jwt(),
    "JWT without a payload of JSON": "eyJ" + some(40) + "." + some(60) + "." + some(40),
    "AWS access key": "AKIA" + some(16, UPPER),
    "AWS temporary access key": "ASIA" + some(16, UPPER),
    "Alibaba access key": "LTAI" + some(20),
    "Tencent access key": "AKID" + some(32),
    "RSA key": pem("RSA PRIVATE " + "KEY"),
    "EC key": pem("EC PRIVATE " + "KEY"),
    "DSA key": pem("DSA PRIVATE " + "KEY"),
    "OpenSSH key": pem("OPENSSH PRIVATE " + "KEY"),
    "PKCS 8 key": pem("PRIVATE " + "KEY"),
    "encrypted PKCS 8 key": pem("ENCRYPTED PRIVATE " + "KEY"),
    "PGP key": pem("PGP PRIVATE " + "KEY BLOCK"),
    "age key": "AGE-SECRET-" + "KEY-1" + some(58, UPPER),
    "GitHub token": "ghp_" + some(36),
    "GitHub OAuth token": "gho_" + some(36),
    "GitHub user token": "ghu_" + some(36),
    "GitHub server token": "ghs_" + some(36),
    "GitHub refresh token": "ghr_" + some(36),
    "GitHub fine-grained token": "github_pat_" + some(22) + "_" + some(59),
    "GitLab token": "glpat-" + some(20),
    "GitLab deploy token": "gldt-" + some(20),
    "GitLab runner token": "glrt-" + some(20),
    "Grafana service account": "glsa_" + some(32) + "_" + some(8, HEX),
    "Grafana cloud": "glc_" + some(60),
    "Slack bot token": "xoxb-" + "123456789012-" + some(24),
    "Slack user token": "xoxp-" + "123456789012-" + some(24),
    "Slack app token": "xapp-" + "1-A0123456789-" + some(40, HEX),
    "Slack webhook": "T0" + some(8, UPPER) + "/B0" + some(8, UPPER) + "/" + some(24),
    "Discord webhook": "123456789012345678/" + some(60),
    "Telegram bot": "1234567890:" + "AA" + some(33),
    "Anthropic key": "sk-" + "ant-api03-" + some(60),
    "OpenAI key": "sk-" + some(48),
    "OpenAI project key": "sk-" + "proj-" + some(60),
    "Hugging Face token": "hf_" + some(34, string.ascii_letters),
    "Replicate token": "r8_" + some(37),
    "Stripe secret key": "sk_" + "live_" + some(24),
    "Stripe restricted key": "rk_" + "live_" + some(24),
    "Stripe test key": "sk_" + "test_" + some(24),
    "webhook signing secret": "whsec_" + some(32),
    "Google API key": "AIza" + some(35),
    "Google OAuth token": "ya29." + some(60),
    "Google OAuth client secret": "GOCSPX-" + some(28),
    "npm token": "npm_" + some(36),
    "PyPI token": "pypi-" + "AgEIcHlwaS5vcmc" + some(60),
    "RubyGems token": "rubygems_" + some(48, HEX),
    "Docker Hub token": "dckr_pat_" + some(27),
    "SendGrid key": "SG." + some(22) + "." + some(43),
    "Mailgun key": "key-" + some(32, HEX),
    "Twilio key": "SK" + some(32, HEX),
    "DigitalOcean token": "dop_v1_" + some(64, HEX),
    "Vault service token": "hvs." + some(24),
    "Vault batch token": "hvb." + some(80),
    "Terraform Cloud token": some(14) + ".atlasv1." + some(67),
    "Shopify token": "shpat_" + some(32, HEX),
    "Square token": "sq0" + "atp-" + some(22),
    "Linear key": "lin_api_" + some(40),
    "Notion token": "ntn_" + some(46),
    "Databricks token": "dapi" + some(32, HEX),
    "New Relic key": "NRAK-" + some(27, UPPER),
    "Sentry token": "sntrys_" + some(80),
    "PlanetScale password": "pscale_pw_" + some(43),
    "Doppler token": "dp.pt." + some(43),
    "Postman key": "PMAK-" + some(24, HEX) + "-" + some(34, HEX),
    "Heroku key": "HRKU-" + some(60),
    "Atlassian token": "ATATT3" + some(180),
    "Supabase token": "sbp_" + some(40, HEX),
    "Meta token": "EAA" + some(120),
    "Mapbox token": "sk." + "eyJ" + some(60) + "." + some(22),
    "a token of our own": "ph_" + some(43),
    "bcrypt hash": "$2b$12$" + some(53),
    "Argon2 hash": "$argon2id$v=19$m=65536,t=3,p=4$" + some(22) + "$" + some(43),
    "htpasswd hash": "$apr1$" + some(8) + "$" + some(22),
}
# Within these words; what stands for the secret is to be gone.
_word = some(24)
WORDED: dict[str, tuple[str, str]] = {
    "PostgreSQL URL": ("postgresql://app:{}@db:5432/shop", _word),
    "MySQL URL": ("mysql://root:{}@mysql/shop", _word),
    "MongoDB URL": ("mongodb+srv://app:{}@cluster0.example.net/x", _word),
    "Redis URL without a user": ("redis://:{}@cache:6379/0", _word),
    "AMQP URL": ("amqp://guest:{}@rabbit:5672/", _word),
    "proxy": ("https_proxy=http://me:{}@proxy:3128", _word),
    "JDBC URL": ("jdbc:postgresql://db/x?user=app&password={}&ssl=true", _word),
    "ADO.NET": ("Server=db;Database=x;User Id=sa;Password={};Encrypt=yes", _word),
    "ODBC": ("Driver=pg;Uid=app;Pwd={};", _word),
    "Azure storage": ("AccountName=x;AccountKey={};EndpointSuffix=core", some(86) + "=="),
    "Azure bus": ("Endpoint=sb://x/;SharedAccessKey={}", some(43) + "="),
    "Azure SAS": ("https://x.blob.example/c?sv=2022&sig={}&se=2026", some(43)),
    "AWS credentials file": ("aws_secret_access_key = {}", some(40)),
    "AWS variable": ("AWS_SECRET_ACCESS_KEY={}", some(40)),
    "bearer": ("Authorization: Bearer {}", some(40)),
    "basic": ("authorization: Basic {}", some(24)),
    "flag": ("mysqldump --password={} shop", _word),
    "YAML in a text": ("user: app\npassword: {}\nhost: db", _word),
    ".npmrc": ("//registry.example/:_authToken={}", some(36)),
    "query": ("GET /v1?api_key={}&q=1", some(32, HEX)),
    "Slack webhook's address": ("https://hooks.slack.com/services/{}", BARE.pop("Slack webhook")),
    "Discord webhook's address": (
        "https://discord.example/api/webhooks/{}", BARE.pop("Discord webhook")),
}  # fmt: skip
# By what it is called in an object.
CALLED = (
    "password", "DB_PASSWORD", "mysql-root-password", "passphrase", "clientSecret", "client_secret",
    "API_KEY", "apiKey", "DD_API_KEY", "DD_APP_KEY", "CLOUDFLARE_API_TOKEN", "NEW_RELIC_LICENSE_KEY",
    "accessKey", "AZURE_STORAGE_ACCOUNT_KEY", "aws_secret_access_key", "secretKey", "private_key",
    "client-key-data", "auth", "htpasswd", ".dockerconfigjson", "SENTRY_DSN", "connectionString",
    "ConnectionStrings.connection_string", "authorization", "GITHUB_TOKEN", "refreshToken", "pwd",
    "CREDENTIALS",
)  # fmt: skip
