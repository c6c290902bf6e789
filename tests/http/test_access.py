"""Who may call a route."""
from __future__ import annotations

from collections import OrderedDict
from typing import Any, List, Tuple
from uuid import UUID

import pytest

from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.http.access import MAX_USER_CONTAINERS, Access, admitted
from legacy_plugins.http.problems import HttpProblem
from tests.http.fakes import route

RESPONSE = object()


def _status(declared: Any, policy: HttpPolicy, authorize: Any = None, method: str = "GET") -> int:
    try:
        admitted("native", "shop", declared, method, policy, authorize)
    except HttpProblem as problem:
        return problem.status
    return 200


@pytest.mark.req("R23")
@pytest.mark.parametrize(("auth", "public", "hook", "expected"), [
    (False, (), None, 403), (False, ("/items",), None, 200), (True, ("/items",), None, 403), (True, ("*",), None, 403),
    (False, (), True, 200), (True, (), True, 200), (False, (), False, 403),
    (True, ("/items",), False, 200), (False, ("/items",), False, 200), (False, ("POST /items",), None, 403),
    (False, ("GET /items",), None, 200), (False, ("/other",), False, 403),
])
def test_hook_operator_and_plugin(auth: bool, public: Tuple[str, ...], hook: Any, expected: int) -> None:
    """With a hook every route passes it but those the operator opened; without one those alone are open, not `auth`."""
    authorize = None if hook is None else lambda *_: hook
    assert _status(route(auth=auth), HttpPolicy(public_routes=public), authorize) == expected


def test_head_is_open_where_get_is() -> None:
    """HEAD reaches the GET route, and is as public."""
    assert _status(route(), HttpPolicy(public_routes=("GET /items",)), method="HEAD") == 200


@pytest.mark.parametrize(("verdict", "expected"), [
    (True, Access()), ({"id": 7}, Access(user={"id": 7})), ({}, Access(user={})),
    (OrderedDict(a=1), Access(user={"a": 1})), (RESPONSE, Access(native=RESPONSE)),
    (("no", 401), Access(native=("no", 401))),
])
def test_what_a_hook_may_return(verdict: Any, expected: Access) -> None:
    """True or a mapping allow; a response of the framework is sent."""
    assert admitted("native", "shop", route(), "GET", HttpPolicy(), lambda *_: verdict) == expected


@pytest.mark.req("R23")
@pytest.mark.parametrize("verdict", ["ada", "", b"ada", bytearray(b"ada"), 1, 0, 1.5, ["admin"], {"admin"}])
def test_a_verdict_that_is_none(verdict: Any) -> None:
    """A user's name or number is not sent to the client as if it were a response: the error says what may be returned.

    The value itself is not in the text, since it may be a secret.
    """
    with pytest.raises(TypeError, match=r"return a mapping .*, True .*, None or False .*, or a response") as caught:
        admitted("native", "shop", route(), "GET", HttpPolicy(), lambda *_: verdict)
    assert f"returned {type(verdict).__name__} for a route of plugin 'shop'" in str(caught.value)
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize("verdict", [None, False])
def test_a_hook_that_refuses(verdict: Any) -> None:
    """None, which a hook returns by forgetting to, and False are 403."""
    assert _status(route(), HttpPolicy(), lambda *_: verdict) == 403


def test_the_hook_sees_request_plugin_and_route() -> None:
    """It gets the framework's own request; what it raises is the application's."""
    seen: List[Any] = []
    declared = route(auth=True)

    def allow(*given: Any) -> bool:
        seen.extend(given)
        return True

    admitted("native", "shop", declared, "GET", HttpPolicy(), allow)
    assert seen == ["native", "shop", declared]
    with pytest.raises(ZeroDivisionError):
        admitted("native", "shop", declared, "GET", HttpPolicy(), lambda *_: 1 / 0)


@pytest.mark.req("R23")
@pytest.mark.parametrize("user", [{"id": UUID(int=7)}, {"id": float("nan")}, {"id": {7}}, {"name": "\ud800"},
                                  {("a", "b"): 1}, {"roles": [[] for _ in range(MAX_USER_CONTAINERS)]}])
def test_a_user_that_is_no_json(user: Any) -> None:
    """The error names the hook, the plugin and what to do, when the hook returns and not when something is sent."""
    with pytest.raises(TypeError, match=r"^authorize returned a mapping .* of plugin 'shop' that .*; ") as caught:
        admitted("native", "shop", route(), "GET", HttpPolicy(), lambda *_: user)
    assert caught.value.__cause__ is None
