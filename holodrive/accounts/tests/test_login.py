"""Guessing passwords: failures are counted, successes are not."""

import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from io import StringIO
from itertools import count
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.test import Client
from rest_framework.exceptions import Throttled
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework_simplejwt.views import TokenObtainPairView

from holodrive.accounts import names, throttle
from holodrive.realtime.addresses import client_address
from holodrive.realtime.places import Places
from holodrive.realtime.tokens import ObtainSerializer

pytestmark = pytest.mark.django_db(transaction=True)
_numbers = count(1)


@pytest.fixture(autouse=True)
def limits(settings, monkeypatch):
    """Three failures by name and address, six by address; and never the next window, however slow
    this machine is.
    """
    monkeypatch.setattr(throttle, "_ALL_SECONDS", throttle.WINDOW)
    settings.LOGIN_FAILURES_PER_USER = 3
    settings.LOGIN_FAILURES_PER_ADDRESS = 6
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    monkeypatch.setattr(throttle.time, "time", lambda: 1_800_000_000.0)


@pytest.fixture
def address():
    """One that no other test has used: the counters outlive a test."""
    return f"198.51.100.{next(_numbers)}"


@pytest.fixture
def user(make_user):
    return make_user(password="holodrive-demo")


def log_in(username, password, address, **headers):
    body = {"username": username, "password": password}
    client = APIClient(REMOTE_ADDR=address, headers=headers)
    return client.post("/api/token/", body, format="json")


def codes(*answers):
    return [answer.status_code for answer in answers]


def fail(username, address, times, **headers):
    return codes(*(log_in(username, "wrong", address, **headers) for _ in range(times)))


def test_after_three_failures_even_the_right_password_has_to_wait(user, address):
    assert fail(user.username, address, 3) == [401] * 3
    answer = log_in(user.username, "holodrive-demo", address)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.json()["message"]
    assert 0 < int(answer["Retry-After"]) <= 900


def test_the_next_window_begins_anew(user, address, monkeypatch):
    assert fail(user.username, address, 4) == [401, 401, 401, 429]
    monkeypatch.setattr(throttle.time, "time", lambda: 1_800_000_000.0 + throttle.WINDOW)
    assert log_in(user.username, "holodrive-demo", address).status_code == 200


def test_successes_do_not_count(user, address):
    answers = [log_in(user.username, "holodrive-demo", address) for _ in range(8)]
    assert codes(*answers) == [200] * 8
    assert fail(user.username, address, 3) == [401] * 3


def test_a_malformed_login_does_not_count(address):
    client = APIClient(REMOTE_ADDR=address)
    for body in ({}, {"username": "x"}, [], {"username": 1, "password": []}):
        for _ in range(7):
            assert client.post("/api/token/", body, format="json").status_code == 400


def test_failures_elsewhere_do_not_lock_a_user_out(user, address):
    assert fail(user.username, address, 4) == [401, 401, 401, 429]
    assert log_in(user.username, "holodrive-demo", f"{address[:-1]}250").status_code == 200


def exhaust(address):
    assert [fail(f"nobody{n}", address, 1) for n in range(6)] == [[401]] * 6


def test_an_address_that_tries_many_names_has_to_wait(user, address):
    exhaust(address)
    answer = log_in("nobody6", "wrong", address)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert "Retry-After" in answer


def test_the_right_password_gets_in_from_an_address_that_tried_many_names(user, address):
    exhaust(address)
    for _ in range(5):
        assert log_in(user.username, "holodrive-demo", address).status_code == 200


def test_over_the_limit_of_the_address_an_account_has_three_tries(user, address, settings, checks):
    settings.LOGIN_FAILURES_PER_USER = 10
    exhaust(address)
    before = len(checks)
    assert fail(user.username, address, 5) == [429] * 5
    assert len(checks) - before == 3
    assert log_in(user.username, "holodrive-demo", address).status_code == 429


def test_who_logged_in_there_before_keeps_the_usual_tries(user, address, settings):
    settings.LOGIN_FAILURES_PER_USER = 5
    assert log_in(user.username, "holodrive-demo", address).status_code == 200
    exhaust(address)
    assert fail(user.username, address, 4) == [401] * 4
    assert log_in(user.username, "holodrive-demo", address).status_code == 200


def test_a_form_without_a_password_makes_nobody_known(make_user, client, address, settings):
    admin = make_user("admin", password="holodrive-demo")
    settings.LOGIN_FAILURES_PER_USER = 5
    client.post("/admin/login/", {"username": admin.username}, REMOTE_ADDR=address)
    exhaust(address)
    assert fail(admin.username, address, 4) == [429] * 4


def test_over_the_limit_of_the_address_all_names_share_thirty_tries(address, monkeypatch, checks):
    """One a second in the long run: spraying goes on no faster than that."""
    monkeypatch.setattr(throttle, "_ALL_TRIES", 4)
    exhaust(address)
    before = len(checks)
    for number in range(20):
        assert fail(f"another{number}", address, 1) == [429]
    assert len(checks) - before == 4


def test_one_who_is_over_his_limit_does_not_lock_his_carrier_out(user, address):
    fail("nobody", address, 20)
    assert log_in(user.username, "holodrive-demo", address).status_code == 200


@pytest.fixture
def checks(monkeypatch):
    """The passwords that were really checked, of accounts and of names that are none."""
    checked = []
    model = get_user_model()
    check_password, set_password = model.check_password, model.set_password

    def counted_check(self, password):
        checked.append(password)
        return check_password(self, password)

    def counted_set(self, password):
        if self.pk is None:  # what Django's backend does for a name that is no account
            checked.append(password)
        return set_password(self, password)

    monkeypatch.setattr(model, "check_password", counted_check)
    monkeypatch.setattr(model, "set_password", counted_set)
    return checked


@pytest.fixture
def at_once(user, address, monkeypatch, checks):
    """`at_once(passwords)`: the codes, each login begun before the first password is checked."""

    def run(passwords):
        begun, all_begun = [], threading.Event()
        make, authenticate = throttle._begun, get_user_model().check_password

        def begin(*args):
            begun.append(1)
            if len(begun) == len(passwords):
                all_begun.set()
            return make(*args)

        def check(self, password):
            assert all_begun.wait(60)
            return authenticate(self, password)

        def attempt(password):
            try:
                return log_in(user.username, password, address).status_code
            finally:
                connection.close()

        monkeypatch.setattr(throttle, "_begun", begin)
        monkeypatch.setattr(get_user_model(), "check_password", check)
        with ThreadPoolExecutor(len(passwords)) as threads:
            return sorted(threads.map(attempt, passwords))

    return run


RIGHT, WRONG = "holodrive-demo", "wrong"


@pytest.mark.parametrize(
    ("right", "wrong", "most_wrong"), [(10, 0, 0), (30, 0, 0), (0, 6, 3), (0, 30, 3), (20, 2, 2)]
)
@pytest.mark.parametrize("over", [False, True], ids=["below", "over"])
def test_logins_at_the_same_moment(at_once, address, checks, right, wrong, most_wrong, over):
    """Right ones all get in; of the wrong ones no more than the limit are checked."""
    if over:
        exhaust(address)
        checks.clear()
    codes = at_once(
        [RIGHT, WRONG] * min(right, wrong) + [RIGHT] * (right - wrong) + [WRONG] * (wrong - right)
    )
    assert codes.count(200) == right
    assert checks.count(WRONG) == most_wrong
    assert codes.count(401) == (0 if over else most_wrong)


def test_a_mix_of_right_and_wrong_ones_never_checks_more_wrong_ones_than_the_limit(at_once, checks):
    """Some right ones may be refused: once three failed, the account has to wait."""
    codes = at_once([RIGHT, WRONG] * 15)
    assert checks.count(WRONG) <= 3
    assert codes.count(200) == checks.count(RIGHT)
    assert codes.count(429) == 30 - len(checks)


@pytest.mark.parametrize(("others", "may_wait"), [(1, True), (2, False)])
def test_so_many_logins_may_wait_for_one_another(address, monkeypatch, others, may_wait):
    running = throttle._Place(caches["process"], address, 1, 60)
    running.take(Throttled())
    monkeypatch.setattr(throttle, "_waiting", Places(2, 2))
    monkeypatch.setattr(throttle.time, "sleep", lambda _: running.free())
    for _ in range(others):
        throttle._waiting.take(address, bool)
    come = throttle._Place(caches["process"], address, 1, 60)
    with nullcontext() if may_wait else pytest.raises(Throttled, match="same moment"):
        come.take(Throttled())
    assert throttle._waiting.taken == others  # whoever waited has given that back
    assert not throttle._waiting.waiting


def test_logins_of_a_carrier_at_the_same_moment(make_user, address):
    """Thirty of its riders, after one of them had guessed: none of them failed, so all get in."""
    exhaust(address)
    riders = [make_user(password=RIGHT).username for _ in range(30)]

    def attempt(name):
        try:
            return log_in(name, RIGHT, address).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(30) as threads:
        assert list(threads.map(attempt, riders)) == [200] * 30


@pytest.fixture
def keys():
    """`keys()`: those of logins in Redis, with their seconds to live."""
    redis = caches["default"]._cache.get_client()
    return lambda: {key: redis.ttl(key) for key in redis.scan_iter("*:login.*")}


def test_refused_attempts_count_nothing_and_leave_nothing(user, address, keys):
    assert fail(user.username, address, 3) == [401] * 3
    before = keys()
    assert fail(user.username, address, 20) == [429] * 20
    assert set(keys()) - set(before) == set()
    for number in range(3):  # the address has three failures of its six left, not fewer
        assert fail(f"nobody{number}", address, 1) == [401]


def test_a_million_names_leave_no_more_than_the_limits(address, monkeypatch, keys):
    monkeypatch.setattr(throttle, "_ALL_TRIES", 4)
    before = set(keys())
    for number in range(60):
        fail(f"nobody{number}", address, 1)
    new = set(keys()) - before
    assert len(new) == 6 + 4 * 2 + 1  # of each that was checked, the last four, and the address


def test_every_key_expires(user, address, keys, monkeypatch):
    log_in(user.username, RIGHT, address)
    exhaust(address)
    fail(user.username, address, 2)
    fail("nobody7", address, 2)
    assert keys()
    assert all(0 < seconds <= throttle._KNOWN_SECONDS for seconds in keys().values())


def test_zero_switches_a_limit_off(user, address, settings):
    settings.LOGIN_FAILURES_PER_USER = settings.LOGIN_FAILURES_PER_ADDRESS = 0
    assert fail(user.username, address, 10) == [401] * 10


def test_without_redis_the_process_counts(user, address, monkeypatch):
    def away(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(type(caches["default"]), "add", away)
    assert fail(user.username, address, 4) == [401, 401, 401, 429]


def test_the_admins_login_counts_too(make_user, client, address):
    admin = make_user("admin", password="holodrive-demo")
    form = {"username": admin.username, "password": "wrong"}
    for _ in range(3):
        page = client.post("/admin/login/", form, REMOTE_ADDR=address).content.decode()
        assert "Too many" not in page
    right = form | {"password": "holodrive-demo"}
    page = client.post("/admin/login/", right, REMOTE_ADDR=address)
    assert "Too many failed logins" in page.content.decode()
    assert client.post("/admin/login/", right, REMOTE_ADDR=f"{address[:-1]}251").status_code == 302


def test_behind_a_proxy_of_ours_the_client_counts(user, address):
    for other in (1, 2):
        real = f"203.0.113.{other}{next(_numbers)}"
        headers = {"X-Real-IP": real}
        assert fail(user.username, "127.0.0.1", 4, **headers) == [401, 401, 401, 429]


# One account, however it is spelled


def spellings(name):
    """Of an account `name`: those that log in to it, and those that some backend might take."""
    fullwidth = "".join(chr(ord(sign) + 0xFEE0) for sign in name)
    return [
        *(name, f" {name}", f"{name} ", f"\u3000{name}", f"{name}\u2003", f"\t{name}\r\n"),
        *(f"\u00a0{name}\u00a0", f"\x1f{name}", f"\u2028{name}", fullwidth, f"\u3000{fullwidth} "),
        *(name.upper(), name.title(), name.replace("i", "\u2170"), name.replace("r", "\u1d63")),
        *(f"\u200b{name}", f"{name}\ufeff", name.replace("i", "i\u200d"), f"\u202e{name}"),
        *(name.replace("i", "i\u00ad"), f"{name}\ufe0f", f"{name}\u034f", f"{name}\u3164"),
        *(f"{name[0]} {name[1:]}", f"{name}\U000e0041", f"{name}\u180e"),
    ]


def test_every_spelling_has_the_same_count(user, address, settings):
    settings.LOGIN_FAILURES_PER_USER = 3
    settings.LOGIN_FAILURES_PER_ADDRESS = 0
    got = [fail(name, address, 1)[0] for name in spellings(user.username)]
    assert got.count(401) == 3
    assert fail(user.username, address, 1) == [429]
    page = Client().post(
        "/admin/login/", {"username": f" {user.username}", "password": RIGHT}, REMOTE_ADDR=address
    )
    assert "Too many" in page.content.decode()


@pytest.mark.parametrize("stored", ["Zo\u00eb", "Stra\u00dfe", "\u0438\u043c\u044f\u0419", "RIDER"])
def test_spellings_of_letters_that_have_several(make_user, address, stored):
    make_user(username=stored, password=RIGHT)
    forms = [unicodedata.normalize(form, stored) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    written = [*forms, stored.lower(), stored.upper(), stored.casefold()]
    assert len({names.account(name) for name in written}) == 1


def test_different_names_have_different_counts(make_user):
    others = ["rider", "rider1", "rider11", "driver1", "\u0440\u0438\u0434\u0435\u0440", "r1der"]
    assert len({names.account(name) for name in others}) == len(others)


@pytest.mark.parametrize(
    "name", ["", "\x00", "rider\x00", "\ud800", "x" * 100_000, "\ufdfa" * 5000]
)
def test_a_name_that_no_account_can_have_is_counted_all_the_same(db, name):
    assert len(names.account(name)) < 5000


def test_a_backend_that_finds_more_spellings_is_asked(user, monkeypatch):
    """A project whose accounts are found by their e-mail address as well."""
    find = type(type(user)._default_manager).get_by_natural_key

    def by_both(self, name):
        return user if name == "rider@example.com" else find(self, name)

    monkeypatch.setattr(type(type(user)._default_manager), "get_by_natural_key", by_both)
    assert names.account("rider@example.com") == names.account(user.username)


NFD_NAME = "\u0438\u0306\u043e\u0441\u0438\u0444" * 20  # 120 code points, and 100 composed
TYPED = {  # by the name of an account, what is typed for it, and whether that is its name
    "as it is": ("admin7", "admin7", True),
    "padded": ("admin7", " admin7\u3000", True),
    "padded with line ends": ("admin7", "\tadmin7\r\n", True),
    "fullwidth": ("admin7", "\uff41\uff44\uff4d\uff49\uff4e\uff17", True),
    "decomposed": ("\u0439\u043e\u0441\u0438\u0444", "\u0438\u0306\u043e\u0441\u0438\u0444", True),
    "decomposed and padded": ("Zo\u00eb", " Zoe\u0308 ", True),
    "decomposed and long": (unicodedata.normalize("NFC", NFD_NAME), NFD_NAME, True),
    "longer than a name, decomposed": ("\u0439" * 100, "\u0438\u0306" * 100, False),
    "with something unseen": ("admin7", "admin7\u200b", False),
    "in capitals": ("admin7", "ADMIN7", False),
    "a space within": ("admin7", "admin 7", False),
    "an account that was stored decomposed": ("e\u0301va", "e\u0301va", False),
    "an account that was stored padded": (" admin7", " admin7", False),
}
PASSWORDS = [
    "x ",
    " x",
    " ",
    "\u3000x\u00a0",
    "x\u200b",
    "\u0438\u0306",
    "\u0439",
    "x\ty",
    "\ufb01",
]


class Bare(TokenObtainPairView):
    """As a project takes it from simplejwt, with our serializer."""

    serializer_class = ObtainSerializer


def by_token(username, password, address):
    return log_in(username, password, address).status_code == 200


def by_bare_token(username, password, address):
    body = {"username": username, "password": password}
    request = APIRequestFactory().post("/", body, format="json", REMOTE_ADDR=address)
    return Bare.as_view()(request).status_code == 200


def by_form(username, password, address):
    form = {"username": username, "password": password}
    return Client().post("/admin/login/", form, REMOTE_ADDR=address).status_code == 302


DOORS = [by_token, by_bare_token, by_form]


@pytest.mark.parametrize(("stored", "typed", "lets_in"), TYPED.values(), ids=TYPED)
def test_every_door_reads_a_name_alike(make_user, address, stored, typed, lets_in):
    make_user("admin", username=stored, password=RIGHT)
    assert [door(typed, RIGHT, address) for door in DOORS] == [lets_in] * 3


@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_a_password_as_it_was_typed(make_user, address, door, settings):
    settings.LOGIN_FAILURES_PER_USER = settings.LOGIN_FAILURES_PER_ADDRESS = 0
    admin = make_user("admin")
    for password in PASSWORDS:
        admin.set_password(password)
        admin.save()
        others = {password.strip(), f"{password} ", unicodedata.normalize("NFKC", password)}
        assert door(admin.username, password, address), ascii(password)
        for other in others - {password}:
            assert not door(admin.username, other, address), (ascii(password), ascii(other))


@pytest.mark.parametrize("typed", ["\u0438\u0306\u0430", " \u0439\u0430 ", "\u0439\u0430"])
def test_the_commands_read_a_name_as_the_doors_do(transactional_db, address, monkeypatch, typed):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", " first ")
    call_command("createsuperuser", username=typed, email="a@example.com", interactive=False)
    assert [door(typed, " first ", address) for door in DOORS] == [True] * 3
    monkeypatch.setattr("getpass.getpass", lambda prompt="": " second one ")
    call_command("changepassword", typed)
    assert [door(typed, " second one ", address) for door in DOORS] == [True] * 3


def test_a_name_typed_at_the_prompt_is_read_alike(transactional_db, address, monkeypatch):
    said = iter([" \u0438\u0306\u0430 ", "a@example.com"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(said))
    monkeypatch.setattr("getpass.getpass", lambda prompt="": " seventy-7 walruses ")
    terminal = SimpleNamespace(isatty=lambda: True)
    call_command("createsuperuser", stdin=terminal, stdout=StringIO())
    assert [door("\u0439\u0430", " seventy-7 walruses ", address) for door in DOORS] == [True] * 3


@pytest.mark.parametrize(
    ("peer", "real_ip", "address"),
    [
        ("198.51.100.1", "203.0.113.1", "198.51.100.1"),  # anybody can write that header
        ("127.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.1.2.3", "203.0.113.1", "203.0.113.1"),
        (None, "203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "nonsense", "nonsense"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.1", None, "198.51.100.1"),
        (None, None, ""),
    ],
)
def test_whose_address_it_is(settings, peer, real_ip, address):
    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    assert client_address(peer, real_ip) == address
