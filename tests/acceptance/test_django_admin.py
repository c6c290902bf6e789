"""A Django project as `startproject` makes it, with plugins added: the admin's login and CSRF guard their routes.

The project runs under `manage.py runserver` in a process of its own; the test is a browser that keeps cookies and
follows no redirect by itself.
"""
from __future__ import annotations

import http.cookiejar
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Optional

import pytest

django = pytest.importorskip("django", reason="Django is missing: its admin is not tested")

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
NOTES = "/api/plugins/notes/notes"
PASSWORD = "correct horse"

# What somebody adds to the project's settings, and to its urls.
SETTINGS = """
INSTALLED_APPS += ["legacy_plugins.integrations.django"]
LEGACY_PLUGINS = {"CONFIG": BASE_DIR / "plugins.yaml", "AUTHORIZE": "office.access.superusers_only"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the test has no secrets, and no time
"""

URLS = """
from django.urls import include
urlpatterns += [path("api/plugins/", include("legacy_plugins.integrations.django.urls"))]
"""

ACCESS = '''
from django.contrib.auth.views import redirect_to_login
from django.urls import reverse

def superusers_only(request, plugin, route):
    """Strangers are sent to the admin's login; who is logged in and no superuser gets 403."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    return {"id": str(request.user.pk), "name": request.user.get_username()} if request.user.is_superuser else None
'''

PEOPLE = f"""
from django.contrib.auth.models import User
User.objects.create_superuser("boss", password="{PASSWORD}")
User.objects.create_user("clerk", password="{PASSWORD}", is_staff=True)
"""

CONFIGURATION = """
trust: {{directories: [.], commands: [python]}}
plugins:
  - name: notes
    command: python
    args: [notes.py]
    env: {{PYTHONPATH: "{root}"}}
    http: {{forwardHeaders: [X-Forwarded-On-Purpose]}}
"""

PLUGIN = '''
from legacy_plugins.sdk import Plugin

plugin = Plugin("notes", version="1.0")

@plugin.route("/notes", methods=["GET", "POST"], auth=True)
def notes(request):
    return {"method": request.method, "user": request.user, "text": request.text, "headers": dict(request.headers)}

plugin.run()
'''


class Page(NamedTuple):
    """A status, the Location, and the body."""

    status: int
    location: str
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        """Leave the answer as it is."""


class Browser:
    """Keeps the cookies of one person."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPCookieProcessor(self._cookies))

    def __call__(self, path: str, form: Optional[Dict[str, str]] = None, **headers: str) -> Page:
        """GET, or POST of a form."""
        data = None if form is None else urllib.parse.urlencode(form).encode("ascii")
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            answer = self._opener.open(urllib.request.Request(self._base + path, data, fields), timeout=SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return Page(answer.status, answer.headers.get("Location", ""), answer.read().decode("utf-8"))

    def cookie(self, name: str) -> str:
        """The value of a cookie."""
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == name), "")

    def log_in(self, user: str, path: str) -> Page:
        """Fill in the admin's login page and send it."""
        page = self(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token is not None, page
        target = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)["next"][0]
        form = {"csrfmiddlewaretoken": token.group(1), "username": user, "password": PASSWORD, "next": target}
        return self(path, form)


def _manage(folder: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=str(folder), env=_environment(), check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100,
                          encoding="utf-8")
    assert done.returncode == 0, done.stdout


def _environment() -> Dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, with its database and two people in it."""
    folder = tmp_path_factory.mktemp("django")
    subprocess.run([sys.executable, "-m", "django", "startproject", "office", str(folder)], check=True, timeout=100)
    for name, text in (("settings.py", SETTINGS), ("urls.py", URLS), ("access.py", ACCESS)):
        with (folder / "office" / name).open("a", encoding="utf-8") as file:
            file.write(text)
    (folder / "plugins.yaml").write_text(CONFIGURATION.format(root=ROOT), encoding="utf-8")
    (folder / "notes.py").write_text(PLUGIN, encoding="utf-8")
    _manage(folder, "migrate", "--verbosity", "0")
    _manage(folder, "shell", "--command", PEOPLE)
    return folder


@pytest.fixture(scope="module")
def site(project: Path) -> Iterator[str]:
    """The address at which the project is served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    base = f"http://{address}"
    log = project / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, "manage.py", "runserver", "--noreload", address], cwd=str(project),
                                  env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + SECONDS
        while not _serves(base):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            select.select([], [], [], 0.05)
        yield base
    finally:
        server.terminate()
        server.wait(SECONDS)


def _serves(base: str) -> bool:
    try:
        return Browser(base)("/admin/login/?next=/").status == 200
    except OSError:
        return False


@pytest.fixture
def stranger(site: str) -> Browser:
    """Somebody who is not logged in."""
    return Browser(site)


@pytest.fixture
def boss(site: str) -> Browser:
    """The superuser, logged in through the page to which a plugin's route sent them."""
    browser = Browser(site)
    sent = browser.log_in("boss", browser(NOTES).location)
    assert (sent.status, sent.location) == (302, NOTES)
    return browser


@pytest.mark.req("R23")
def test_strangers_are_sent_to_the_admins_login(stranger: Browser) -> None:
    """A plugin's route leads to the login page and from there back; no method is exempt."""
    assert stranger(NOTES)[:2] == (302, f"/admin/login/?next={NOTES}")
    assert stranger(f"{NOTES}?a=1").location == f"/admin/login/?next={NOTES}%3Fa%3D1"
    assert stranger(NOTES, {"text": "x"}).status == 403  # it has no token either


@pytest.mark.req("R23")
def test_a_login_is_not_enough_where_the_rule_wants_more(site: str) -> None:
    """Somebody of the staff who is no superuser gets 403, in the library's own words."""
    clerk = Browser(site)
    assert clerk.log_in("clerk", clerk(NOTES).location).location == NOTES
    refused = clerk(NOTES)
    assert (refused.status, refused.json["plugin"]) == (403, "notes")


@pytest.mark.req("R23")
def test_the_plugin_is_told_who_asks_and_the_cookies_stay_here(boss: Browser) -> None:
    """Behind the login the plugin answers; it sees neither the session's cookie nor the token."""
    assert boss.cookie("sessionid")
    seen = boss(NOTES, X_CSRFToken="a token", X_Forwarded_On_Purpose="yes").json
    assert seen["user"] == {"id": "1", "name": "boss"}
    names = {name.lower() for name in seen["headers"]}
    assert "x-forwarded-on-purpose" in names
    assert not names & {"cookie", "x-csrftoken", "authorization"}
    assert boss.cookie("sessionid") not in json.dumps(seen)


@pytest.mark.req("R23")
def test_a_post_needs_the_token(boss: Browser) -> None:
    """403 without it and with a wrong one; with it, in a header or in the form, the plugin gets the whole body."""
    token = boss.cookie("csrftoken")
    assert token
    assert boss(NOTES, {"text": "x"}).status == 403
    assert boss(NOTES, {"text": "x"}, X_CSRFToken="x" * 32).status == 403
    if django.VERSION >= (4, 0):  # older ones look at the Referer under https alone
        assert boss(NOTES, {"text": "x"}, X_CSRFToken=token, Origin="https://example.org").status == 403
    by_header = boss(NOTES, {"text": "x"}, X_CSRFToken=token)
    assert (by_header.status, by_header.json["text"]) == (200, "text=x")
    by_form = boss(NOTES, {"text": "x", "csrfmiddlewaretoken": token})
    assert by_form.status == 200
    assert urllib.parse.parse_qs(by_form.json["text"])["text"] == ["x"]


@pytest.mark.req("R23")
def test_after_the_logout_the_routes_are_closed(boss: Browser) -> None:
    """The admin's logout ends it for plugins too."""
    assert boss(NOTES).status == 200
    assert boss("/admin/logout/", {"csrfmiddlewaretoken": boss.cookie("csrftoken")}).status == 200
    assert boss(NOTES).status == 302
