import pytest

from gpubench.profile.capture.secrets import secret_part, without_secrets


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "WANDB_API_KEY",
        "OPENAI_APIKEY",
        "DB_PASSWORD",
        "PGPASSWORD",
        "MYSQL_PWD",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SSH_AUTH_SOCK",
        "SENTRY_DSN",
        "SLACK_WEBHOOK_URL",
        "GIT_PAT",
        "my_secret",
        "GPG_KEY",
        "PRIVATE_KEY",
        "SESSION_COOKIE",
    ],
)
def test_a_name_that_looks_like_a_secret_is_left_out(name):
    assert without_secrets({name: "x", "PATH": "/bin"}) == ({"PATH": "/bin"}, {name: "x"})


@pytest.mark.parametrize(
    "value",
    [
        "https://user:hunter2@example.org/simple",
        "postgres://me:pw@db/x",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "hf_abcdefghijklmnop",
        "-----BEGIN RSA PRIVATE KEY-----\nxyz",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    ],
)
def test_a_value_that_looks_like_a_secret_is_left_out_whatever_its_name(value):
    assert without_secrets({"PIP_INDEX_URL": value})[0] == {}


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "PWD",
        "OLDPWD",
        "HOME",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "PYTHONPATH",
        "OMP_NUM_THREADS",
        "KEYBOARD",
        "TOKENIZERS_PARALLELISM",
        "CUBLAS_WORKSPACE_CONFIG",
        "NVIDIA_TF32_OVERRIDE",
        "XDG_SESSION_ID",
        "NCCL_DEBUG",
        "MONKEY",
        "AUTHOR",
        "COMPASS",
        "TORCH_LOGS",
    ],
)
def test_what_a_program_needs_stays(name):
    assert without_secrets({name: "value"}) == ({name: "value"}, {})


def test_an_address_without_a_password_stays():
    assert without_secrets({"PIP_INDEX_URL": "https://example.org/simple"})[1] == {}


def test_what_is_let_through_by_name_stays():
    environ = {"HF_TOKEN": "x", "MY_KEY": "y"}
    assert without_secrets(environ, ["HF_TOKEN"]) == ({"HF_TOKEN": "x"}, {"MY_KEY": "y"})


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("PIP_INDEX_URL", "https://user:hunter2@example.org/simple", "user:hunter2"),
        ("DB_DSN", "postgres://me:pw@db/x", "postgres://me:pw@db/x"),
        ("WHATEVER", "ghp_abcdefghijklmnop", "ghp_abcdefghijklmnop"),
        ("PWD", "/home/me", None),
    ],
)
def test_of_an_address_the_password_alone_is_secret(name, value, part):
    assert secret_part(name, value) == part
