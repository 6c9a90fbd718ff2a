"""What an operator may set, what is refused, and that `.env.example` tells the truth about it."""

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app import settings as settings_module
from app.domain.errors import SettingsError
from app.environment import kept_secret
from app.settings import Settings, open_database

EXAMPLE = Path(settings_module.__file__).parents[1] / ".env.example"
OPERATIONS = EXAMPLE.parent / "docs" / "operations.md"
NAMES = {name: f"REELAY_{name.upper()}" for name in Settings.model_fields}
GOOD_SECRET = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of the person who runs the tests out of them."""
    for name in [*NAMES.values(), "AIML_API_KEY"]:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def load(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def refusal(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, environment)
    return str(refused.value).splitlines()


def values(settings: Settings) -> dict[str, Any]:
    return settings.model_dump()


def example() -> list[tuple[str, str, str]]:
    """Return the comment, the name and the value of each entry."""
    entry = re.compile(r"^# (.+)\n([A-Z_]+)=(.*)$", re.MULTILINE)
    return entry.findall(EXAMPLE.read_text("utf-8"))


def test_example__lists_every_variable_in_order() -> None:
    assert [name for _, name, _ in example()] == list(NAMES.values())
    assigned = re.findall(r"^[^#\s].*$", EXAMPLE.read_text("utf-8"), re.MULTILINE)
    assert len(assigned) == len(NAMES)


def test_example__holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = values(Settings.load())
    assert values(load(monkeypatch, {name: value for _, name, value in example()})) == defaults
    for (_, name, value), default in zip(example(), defaults.values(), strict=True):
        assert (value == "") == (default in (None, "")), name


def test_example__explains_each_as_the_code_does() -> None:
    described = [field.description for field in Settings.model_fields.values()]
    for (comment, name, _), description in zip(example(), described, strict=True):
        assert comment == (description or comment), name


def test_operations_page__names_every_variable_with_its_default() -> None:
    rows = re.findall(r"^\| `(REELAY_[A-Z_]+)` \| ([^|]*) \|", OPERATIONS.read_text("utf-8"), re.MULTILINE)
    shown = [(name, default.strip().strip("`")) for name, default in rows]
    assert shown == [(name, value) for _, name, value in example()]


@pytest.mark.parametrize("name", ["REELAY_UPSTREAM_API_KEY", "AIML_API_KEY"])
@pytest.mark.parametrize("suffix", ["", "_FILE"])
def test_upstream_key__has_two_names_and_may_come_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, suffix: str
) -> None:
    path = tmp_path / "key"
    path.write_text("the-key\n")
    found = load(monkeypatch, {name + suffix: str(path) if suffix else "the-key"}).upstream_api_key
    assert found is not None
    assert found.get_secret_value() == "the-key"
    assert "the-key" not in repr(found)


def test_upstream_key__our_own_name_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(monkeypatch, {"AIML_API_KEY": "shared", "REELAY_UPSTREAM_API_KEY": "ours"}).upstream_api_key
    assert found is not None
    assert found.get_secret_value() == "ours"


def test_upstream_key__our_own_name_goes_before_anothers_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("shared")
    given = {"AIML_API_KEY_FILE": str(tmp_path / "shared"), "REELAY_UPSTREAM_API_KEY": "ours"}
    found = load(monkeypatch, given).upstream_api_key
    assert found is not None
    assert found.get_secret_value() == "ours"


def test_file__goes_before_the_variable_and_serves_numbers_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "limit"
    path.write_text("7\n")
    environment = {"REELAY_UPSTREAM_MAX_IN_FLIGHT_FILE": str(path), "REELAY_UPSTREAM_MAX_IN_FLIGHT": "3"}
    assert load(monkeypatch, environment).upstream_max_in_flight == 7


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not text"])
def test_file__that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    [line] = refusal(monkeypatch, {"REELAY_SIGNING_SECRET_FILE": str(path)})
    assert line.startswith("REELAY_SIGNING_SECRET_FILE: ")


def test_empty_variable__counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(monkeypatch, dict.fromkeys(NAMES.values(), ""))
    assert values(found) == values(Settings())


def test_bad_values__one_line_each_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {
        "REELAY_UPSTREAM_MAX_IN_FLIGHT": "0",
        "REELAY_PUBLIC_URL": "ftp://reelay.example.com",
        "REELAY_LEASE_SECONDS": "soon",
        "REELAY_LOG_LEVEL": "loud",
    }
    lines = refusal(monkeypatch, bad)
    assert sorted(line.partition(": ")[0] for line in lines) == sorted(bad)
    assert all(line.partition(": ")[2] for line in lines)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://reelay.example.com/", "https://reelay.example.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://example.com/reelay/", "https://example.com/reelay"),
    ],
)
@pytest.mark.parametrize("name", ["upstream_url", "public_url"])
def test_urls__lose_their_last_slash(monkeypatch: pytest.MonkeyPatch, name: str, given: str, kept: str) -> None:
    assert getattr(load(monkeypatch, {NAMES[name]: given}), name) == kept


@pytest.mark.parametrize("given", ["reelay.example.com", "https://", "https://a.example/?b=1", "https://a.example/#b"])
def test_urls__refuse_what_is_no_plain_address(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    [line] = refusal(monkeypatch, {"REELAY_PUBLIC_URL": given})
    assert line.startswith("REELAY_PUBLIC_URL: ")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://user:word@host/name", "postgresql+psycopg://user:word@host/name"),
        ("postgres://host/name?sslmode=require", "postgresql+psycopg://host/name?sslmode=require"),
        ("postgresql+psycopg://host/name", "postgresql+psycopg://host/name"),
        ("sqlite:///reelay.db", "sqlite:///reelay.db"),
    ],
)
def test_database_url__gets_the_driver_that_we_ship(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    assert load(monkeypatch, {"REELAY_DATABASE_URL": given}).sqlalchemy_url == used


def test_database_url__of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(monkeypatch, {"REELAY_DATABASE_URL": "mysql://host/name"})
    with pytest.raises(SettingsError, match=r"^REELAY_DATABASE_URL "):
        _ = found.sqlalchemy_url


def test_places__lie_in_the_data_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = load(monkeypatch, {"REELAY_DATA_DIR": str(tmp_path)})
    assert found.sqlalchemy_url == f"sqlite:///{tmp_path}/reelay.db"
    assert found.media_url == f"file://{tmp_path}/media"
    assert found.spool_dir == tmp_path / "spool"


def test_trusted__is_the_list_and_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"REELAY_TRUSTED_HOSTS": "minio:9000, cdn.local:443,", "REELAY_UPSTREAM_URL": "http://127.0.0.1:8901"}
    assert load(monkeypatch, given).trusted == {"minio:9000", "cdn.local:443", "127.0.0.1:8901"}


def test_trusted__knows_the_usual_ports() -> None:
    assert Settings().trusted == {"api.aimlapi.com:443"}


@pytest.mark.parametrize(
    "secret", ["0a1b2c", "changeme" * 8, "your-signing-secret-goes-here-please", "<openssl rand -hex 32 goes here>"]
)
def test_signing_secret__placeholder_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    found = load(monkeypatch, {"REELAY_SIGNING_SECRET": secret})
    with pytest.raises(SettingsError) as refused:
        found.secret_for_signing()
    [line] = str(refused.value).splitlines()
    assert line.startswith("REELAY_SIGNING_SECRET ")
    assert secret not in line


def test_signing_secret__good_one_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"REELAY_SIGNING_SECRET": GOOD_SECRET, "REELAY_DATA_DIR": str(tmp_path)}
    assert load(monkeypatch, given).secret_for_signing() == GOOD_SECRET.encode()
    assert list(tmp_path.iterdir()) == []


def test_signing_secret__postgres_needs_a_given_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"REELAY_DATABASE_URL": "postgresql://host/name", "REELAY_DATA_DIR": str(tmp_path)}
    found = load(monkeypatch, given)
    with pytest.raises(SettingsError) as refused:
        found.secret_for_signing()
    [line] = str(refused.value).splitlines()
    assert line.startswith("REELAY_SIGNING_SECRET is missing")
    assert list(tmp_path.iterdir()) == []


def test_signing_secret__is_made_once_for_its_owner_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = load(monkeypatch, {"REELAY_DATA_DIR": str(tmp_path / "new")})
    made = found.secret_for_signing()
    kept = tmp_path / "new" / "signing-secret"
    assert re.fullmatch(rb"[0-9a-f]{64}", made)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert Settings.load().secret_for_signing() == made


def test_previous_secret__is_none_unless_given_and_no_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().previous_secret_for_signing() is None
    found = load(monkeypatch, {"REELAY_SIGNING_SECRET_PREVIOUS": GOOD_SECRET})
    assert found.previous_secret_for_signing() == GOOD_SECRET.encode()
    with pytest.raises(SettingsError, match="REELAY_SIGNING_SECRET_PREVIOUS is a placeholder"):
        load(monkeypatch, {"REELAY_SIGNING_SECRET_PREVIOUS": "too short"}).previous_secret_for_signing()


def test_cors_origins__are_exact_and_none_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().allowed_origins == frozenset()
    found = load(monkeypatch, {"REELAY_CORS_ORIGINS": "https://a.example:443, http://localhost:5173,"})
    assert found.allowed_origins == {"https://a.example", "http://localhost:5173"}


@pytest.mark.parametrize("listed", ["*", "null", "https://*.a.example", "a.example", "https://a.example/"])
def test_cors_origins__what_is_no_origin_is_named(monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    [line] = refusal(monkeypatch, {"REELAY_CORS_ORIGINS": f"https://b.example,{listed}"})
    assert line.startswith("REELAY_CORS_ORIGINS: ")
    assert repr(listed) in line


def test_kept_secret__differs_from_place_to_place(tmp_path: Path) -> None:
    assert kept_secret(tmp_path / "one") != kept_secret(tmp_path / "two")


@pytest.mark.parametrize("place", ["a file in the way", "no database"])
def test_open_database__what_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    (tmp_path / "reelay.db").write_text("this is a letter to my aunt")
    folder = tmp_path / "reelay.db" / "data" if place == "a file in the way" else tmp_path
    with pytest.raises(SettingsError) as refused:
        open_database(load(monkeypatch, {"REELAY_DATA_DIR": str(folder)}))
    [line] = str(refused.value).splitlines()
    assert "reelay.db" in line
    assert (tmp_path / "reelay.db").read_text() == "this is a letter to my aunt"


def test_prices__come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"veo2": {"kind": "fixed", "units": [{"measure": "second", "price": 0.4}]}}')
    settings = load(monkeypatch, {"REELAY_PRICES_FILE": str(path)})
    rule = {"kind": "fixed", "units": [{"price": "0.4", "unit": "second", "per": "1"}]}
    assert settings.own_prices == {"veo2": rule}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("veo2: 3", "no JSON"),
        ("[]", "maps models to prices"),
        ('{"veo2": 3}', "the price of 'veo2' cannot be read"),
        ('{"veo2": {"kind": "fixed", "units": [{"measure": "second", "price": -1}]}}', "the price of 'veo2'"),
        ('{"veo2": {"kind": "fixed", "currency": "EUR", "units": []}}', "USD"),
        ('{"": {"kind": "variable"}}', "no name of a model"),
    ],
)
def test_prices__a_bad_file_is_named_with_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    [line] = refusal(monkeypatch, {"REELAY_PRICES_FILE": str(path)})
    assert line.startswith("REELAY_PRICES: ")
    assert told in line


def test_prices__a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = refusal(monkeypatch, {"REELAY_PRICES_FILE": "/nowhere/prices.json"})
    assert line.startswith("REELAY_PRICES_FILE: /nowhere/prices.json cannot be read")


@pytest.mark.parametrize("usd", ["-1", "10001", "nan", "inf", "much"])
def test_default_reserve__absurd_ones_are_refused(monkeypatch: pytest.MonkeyPatch, usd: str) -> None:
    [line] = refusal(monkeypatch, {"REELAY_DEFAULT_RESERVE_USD": usd})
    assert line.startswith("REELAY_DEFAULT_RESERVE_USD: ")


def test_trusted_proxies__are_addresses_or_networks_and_none_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().trusted_proxies == ""
    monkeypatch.setenv("REELAY_TRUSTED_PROXIES", "10.0.0.5, fd00::/8")
    assert Settings.load().trusted_proxies == "10.0.0.5/32,fd00::/8"


@pytest.mark.parametrize("listed", ["*", "proxy.internal", "10.0.0.5/8", "10.0.0.5:80"])
def test_trusted_proxies__what_is_no_network_is_named(monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    monkeypatch.setenv("REELAY_TRUSTED_PROXIES", listed)
    with pytest.raises(SettingsError, match="REELAY_TRUSTED_PROXIES"):
        Settings.load()


ISSUER = {"REELAY_OIDC_ISSUER": "https://login.example.com/realms/films", "REELAY_OIDC_AUDIENCE": "reelay"}


def test_sign_in__is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().sign_in is None
    found = load(monkeypatch, ISSUER).sign_in
    assert found is not None
    assert (found.issuer, found.audience, found.jwks_url, found.project) == (*ISSUER.values(), None, None)
    assert found.project_claim == "reelay_project"
    assert found.scopes == {"jobs:read": {"jobs:read"}, "jobs:write": {"jobs:write"}}


@pytest.mark.parametrize("name", ["ISSUER", "AUDIENCE", "PROJECT", "JWKS_URL"])
def test_sign_in__a_half_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    [line] = refusal(monkeypatch, {f"REELAY_OIDC_{name}": "https://login.example.com"})
    assert line.startswith("REELAY_OIDC_ISSUER and REELAY_OIDC_AUDIENCE go together: set both")


@pytest.mark.parametrize("name", ["REELAY_OIDC_ISSUER", "REELAY_OIDC_JWKS_URL"])
@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://login.example.com/", True),
        ("https://10.0.0.7:8443/realms/x?a=b", True),
        ("http://127.0.0.1:8080/realms/x", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
        ("http://login.example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1@login.example.com", False),
        ("https://me@login.example.com", False),
        ("https://login.example.com/#x", False),
        ("https://", False),
        ("https://login.example.com:port", False),
        ("https://[::1", False),
        ("https://login.example.com/a b", False),
        ("login.example.com", False),
        ("file:///etc/keys", False),
    ],
)
def test_sign_in__what_is_read_must_come_unchanged(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, taken: bool
) -> None:
    environment = ISSUER | {name: url}
    if taken:
        assert load(monkeypatch, environment).sign_in is not None
    else:
        [line] = refusal(monkeypatch, environment)
        assert line.startswith(f"{name} must be an https URL")


def test_sign_in__words_are_mapped_to_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "a=jobs:read, b = jobs:write,a=jobs:write, https://x.example/a=b=jobs:read"
    found = load(monkeypatch, ISSUER | {"REELAY_OIDC_SCOPES": words}).sign_in
    assert found is not None
    both = {"jobs:read", "jobs:write"}
    assert found.scopes == {"a": both, "b": {"jobs:write"}, "https://x.example/a=b": {"jobs:read"}}


@pytest.mark.parametrize("words", ["boss=admin", "a", "=jobs:read", "a=jobs:fly", ",", "a=jobs:read,b"])
def test_sign_in__other_scopes_are_refused(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    [line] = refusal(monkeypatch, ISSUER | {"REELAY_OIDC_SCOPES": words})
    assert line.startswith("REELAY_OIDC_SCOPES")


def test_metrics__a_token_is_no_placeholder_and_an_address_has_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Settings.load().token_for_metrics(), Settings.load().metrics_address) == (None, None)
    given = {"REELAY_METRICS_TOKEN": GOOD_SECRET, "REELAY_METRICS_LISTEN": "[::1]:9100"}
    held = load(monkeypatch, given)
    assert (held.token_for_metrics(), held.metrics_address) == (GOOD_SECRET, ("::1", 9100))
    assert GOOD_SECRET in held.literals()
    with pytest.raises(SettingsError, match=r"^REELAY_METRICS_TOKEN is a placeholder"):
        load(monkeypatch, {"REELAY_METRICS_TOKEN": "short"}).token_for_metrics()
    for wrong in ("9100", "127.0.0.1", "http://127.0.0.1:9100", "127.0.0.1:99999"):
        assert refusal(monkeypatch, {"REELAY_METRICS_LISTEN": wrong})[0].startswith("REELAY_METRICS_LISTEN: ")
