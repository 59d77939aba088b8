import pytest

from gpubench.core import secrets
from gpubench.core.errors import UsageError
from gpubench.core.secrets import WITHHELD, given_back, hide_secrets, mask_text, masked, secret_part, without_secrets


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
        "TORCH_HUB_PAT",
        "TRITON_SIGNING_KEY",
        "MKL_LICENSE_KEY",
        "NCCL_CRED",
        "OMP_JWT",
        "TORCHINDUCTOR_PASS",
        "CUDNN_PASSPHRASE",
        "TORCH_SESSION",
        "dbPassword",
        "accessTokens",
        "PASSWORD2",
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
        "NSYS_PROFILING_SESSION_ID",
        "GPUBENCH_PROFILE_SESSION",
        "session_name",
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--arm head=env.MY_TOKEN=abc", "--arm head=env.MY_TOKEN=(withheld)"),
        ("head='env.MY_TOKEN=abc, env.B=2'", "head='env.MY_TOKEN=(withheld), env.B=2'"),
        ("env={MY_TOKEN: abc, B: 2}", "env={MY_TOKEN: (withheld), B: 2}"),
        ('{"password": "a b"}', '{"password": "(withheld)"}'),
        ("redis://u:p@ss/x@host:1", "redis://u:(withheld)@host:1"),
        ("git+https://t0ken@host/r.git", "git+https://(withheld)@host/r.git"),
        ("https://git@host/r and ssh://me@host/r", "https://git@host/r and ssh://me@host/r"),
        ("/bin/redis-cli -h db -a 'a b' PING", "/bin/redis-cli -h db -a (withheld) PING"),
        ("redis-cli PING && ls -a folder", "redis-cli PING && ls -a folder"),
        ("ldapsearch -x -wtiger -W", "ldapsearch -x -w(withheld) -W"),
        ("openssl enc -k tiger -in f; curl -k url", "openssl enc -k (withheld) -in f; curl -k url"),
        ("snmpget -v3 -A tigertiger -u me host", "snmpget -v3 -A (withheld) -u me host"),
        ("https://host/x?token=abc&n=1", "https://host/x?token=(withheld)&n=1"),
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer (withheld)"),
        ("refused: ghp_abcdefghijklmnop", "refused: (withheld)"),
        ("password: hunter2, then", "password: (withheld), then"),
        ("api_key = abc", "api_key = (withheld)"),
        ("X-Access-Token : abc", "X-Access-Token : (withheld)"),
        ("mysql --password hunter2 --port 1", "mysql --password (withheld) --port 1"),
        ("at 'https://u:p'w@host/x', again", "at 'https://u:(withheld)@host/x', again"),
        ('"https://u:p"w\\@host/x"', '"https://u:(withheld)@host/x"'),
        ('"http://host:80/","mail":"x@y"', '"http://host:80/","mail":"x@y"'),
        ("num_tokens: 512, max_token = 4096", "num_tokens: 512, max_token = 4096"),
        ('KEY: "it\'s long", n', 'KEY: "(withheld)", n'),
        ("MY_TOKEN: ['abc', 1]", "MY_TOKEN: ['(withheld)', 1]"),
        ('A_KEY: "cut off...\n"next line"', 'A_KEY: "(withheld)\n"next line"'),
        ("wrong key: batchsize", "wrong key: batchsize"),
        ("the session of pass one", "the session of pass one"),
        ("train cpu fp32 b64 lr=0.1", "train cpu fp32 b64 lr=0.1"),
        ("TORCH_LOGS=+dynamo https://host/path", "TORCH_LOGS=+dynamo https://host/path"),
        ("USE_KEY=1", "USE_KEY=1"),
        ("--input tokens=int30000:128", "--input tokens=int30000:128"),
        ("input=tokens=int50:6+keys=bool:6+n=9, token=12345", "input=tokens=int50:6+keys=bool:6+n=9, token=(withheld)"),
        ("-s params.key_dim=1024,2048", "-s params.key_dim=1024,2048"),
        ("params.token=abc", "params.token=(withheld)"),
        ("sshpass -p hunter2 ssh", "sshpass -p (withheld) ssh"),
        ("sh -c 'mysql -phunter2 -u root'", "sh -c 'mysql -p(withheld) -u root'"),
        ("curl -u me:hunter2 host", "curl -u me:(withheld) host"),
        ("curl --proxy-user=me:hunter2", "curl --proxy-user=me:(withheld)"),
        ("prog -token hunter2", "prog -token (withheld)"),
        ("-H 'Authorization: Token a, b'", "-H 'Authorization: Token (withheld)'"),
        ("Cookie: a=b; c=d", "Cookie: (withheld)"),
        ("ssh -p 22, mkdir -p a/b, -p fp16, [-p PORT]", "ssh -p 22, mkdir -p a/b, -p fp16, [-p PORT]"),
        ("gcc -pthread -p1; find -print0; go -precision=fp8", "gcc -pthread -p1; find -print0; go -precision=fp8"),
        ("docker run -u 1000:1000", "docker run -u 1000:1000"),
        ("--max-tokens=4096 --num-tokens 512", "--max-tokens=4096 --num-tokens 512"),
    ],
)
def test_a_text_is_shown_without_its_secrets(text, shown):
    assert mask_text(text) == shown
    assert mask_text(shown) == shown


def test_a_document_is_stored_without_its_secrets():
    document = {
        "argv": ["gpubench", "--token", "abc", "--pass-env", "HF_TOKEN", "--api-key=abc"],
        "settings": {"workload": "hf_abcdefghijklmnop:Net", "env": {"MY_KEY": "abc", "N": "1"}, "seed": 3},
        "variables": {"TORCH_X_URL": "http://u:abc@h"},
    }
    assert hide_secrets(document) == {
        "argv": ["gpubench", "--token", "(withheld)", "--pass-env", "HF_TOKEN", "--api-key=(withheld)"],
        "settings": {"workload": "hf_abcdefghijklmnop:Net", "env": {"MY_KEY": "(withheld)", "N": "1"}, "seed": 3},
        "variables": {"TORCH_X_URL": "http://u:(withheld)@h"},
    }


@pytest.mark.parametrize("text", ["tokens=4096", "3x8x8+keys=12345", "tokens=int50:6+mask=bool:6"])
def test_the_shapes_of_inputs_are_no_secrets(text):
    assert hide_secrets({"input": text}) == {"input": text}
    assert hide_secrets({"input": "token=abcdef"}) == {"input": "token=(withheld)"}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-p", "a b"], ["-p", WITHHELD]),
        (["-phunter2"], [f"-p{WITHHELD}"]),
        (["-u", "me:a b"], ["-u", f"me:{WITHHELD}"]),
        (["-U", "me%hunter2"], ["-U", f"me%{WITHHELD}"]),
        (["--header=Authorization: a b"], [f"--header=Authorization: {WITHHELD}"]),
        (["-HAuthorization: Bearer a"], [f"-HAuthorization: Bearer {WITHHELD}"]),
        (["env", "MY_KEY=a b", "--password=a b"], ["env", f"MY_KEY={WITHHELD}", f"--password={WITHHELD}"]),
        (["-passin", "pass:a"], ["-passin", WITHHELD]),
        (["-p", "8080", "-p", "a/b", "-u", "1:1"], ["-p", "8080", "-p", "a/b", "-u", "1:1"]),
        (["--max-new-tokens", "4096"], ["--max-new-tokens", "4096"]),
        (["stat", "--", "redis-cli", "-a", "a b", "X"], ["stat", "--", "redis-cli", "-a", "(withheld)", "X"]),
        (["ldapsearch", "-w", "pw", "-x"], ["ldapsearch", "-w", "(withheld)", "-x"]),
        (["ls", "-a", "folder"], ["ls", "-a", "folder"]),
    ],
)
def test_of_a_command_line_the_values_of_secret_options_are_withheld(words, shown):
    assert hide_secrets(words) == shown
    assert hide_secrets(shown) == shown


def test_a_withheld_value_is_taken_from_the_environment_or_asked_for():
    env = {"MY_KEY": masked("MY_KEY", "abc"), "N": "1"}
    assert given_back(env, {"MY_KEY": "abc"}) == {"MY_KEY": "abc", "N": "1"}
    with pytest.raises(UsageError, match="MY_KEY") as caught:
        given_back(env, {})
    assert "MY_KEY=..." in caught.value.hint


@pytest.mark.slow
def test_a_long_text_is_searched_in_linear_time():
    """Each of these made a careless expression look at every pair of characters; the suite's time limit catches it."""
    for part in (
        "x",
        "redis-cli ",
        "https://a",
        "a=",
        "://a:",
        "eyJ-",
        "KEY='",
        "-----BEGIN ",
        " -p",
        "-u a:",
        "Cookie: ",
    ):
        assert mask_text(part * 20_000)


@pytest.mark.parametrize("password", ['pa"ss\\word', "it's", "plain", "p@ss"])
def test_a_quote_in_the_password_of_an_address_hides_nothing_from_the_rule(password):
    address = f"redis://me:{password}@host/x"
    assert secret_part("URL", address) == f"me:{password}"
    assert masked("URL", address) == "redis://me:(withheld)@host/x"


def test_what_is_secret_in_the_environment_is_withheld_wherever_it_is_repeated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "correct-horse 7/f")
    monkeypatch.setenv("STORE_URL", "s3://me:battery7staple@host")
    secrets.remember({"CASE_TOKEN": "only-in-a-case-1"})
    text = "said correct-horse 7/f, correct-horse%207%2Ff, battery7staple! and only-in-a-case-1"
    assert mask_text(text) == f"said {WITHHELD}, {WITHHELD}, {WITHHELD}! and {WITHHELD}"
    assert hide_secrets({"reason": ["battery7staple"]}) == {"reason": [WITHHELD]}


@pytest.mark.parametrize("value", ["channels_last", "cuda:0", "16777216", "short1", "/usr/bin"])
def test_a_secret_that_may_be_a_setting_or_a_folder_hides_no_others(value, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", value)
    assert mask_text(f"memory_format {value}/x") == f"memory_format {value}/x"
