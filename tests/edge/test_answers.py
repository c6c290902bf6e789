"""Goal G11, answers: whatever a plugin says, a real server sends a well-formed answer with our own header fields."""
from __future__ import annotations

import json

import pytest

from tests.edge.answers import DEADLY, LIES, Lie
from tests.edge.probe import Answer, ask
from tests.edge.site import Site, eventually


def _tell(site: Site, plugin: str, route: str, case: str, lie: Lie) -> Answer:
    answer, request_id = ask(site.port, lie.method + f" /api/plugins/{plugin}/{route}/{case} HTTP/1.1".encode(),
                             method=lie.method)
    assert answer is not None
    assert answer.all("x-request-id") == [request_id]
    return answer


def _check(answer: Answer, lie: Lie) -> None:
    """The status, exactly the header fields that belong there, the length of the body, and the body."""
    assert (answer.status, answer.others()) == (lie.status, dict(lie.others))
    assert b"Traceback" not in answer.body
    if lie.body is not None:
        assert answer.body == lie.body
    else:
        assert answer.all("content-type") == ["application/problem+json"]
        assert json.loads(answer.body)["status"] == lie.status
    if answer.status in (204, 304):
        assert answer.all("content-length") == []
    elif lie.method != b"HEAD":
        assert answer.all("content-length") == [str(len(answer.body))]


@pytest.mark.req("R22")
@pytest.mark.fault("R2", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "R22", "J7", "G11")
@pytest.mark.parametrize("case", LIES)
def test_a_lie_injects_nothing(site: Site, case: str) -> None:
    """A refused answer is 502, an odd one is sent without what is not the plugin's; the connection stays in step."""
    answer = _tell(site, "liar", "say", case, LIES[case])
    _check(answer, LIES[case])


@pytest.mark.fault("R2", "R15", "G11")
@pytest.mark.parametrize("case", DEADLY)
def test_a_deadly_lie_is_the_plugins_end_alone(site: Site, case: str) -> None:
    """A broken frame is 502 for the request and ends the process; the next one serves again."""
    eventually(lambda: _serves(site), "the plugin is up")
    _check(_tell(site, "breaker", "die", case, DEADLY[case]), DEADLY[case])
    eventually(lambda: _serves(site), "the plugin is up again")


def _serves(site: Site) -> bool:
    answer, _ = ask(site.port, b"GET /api/plugins/breaker/echo HTTP/1.1")
    return answer is not None and answer.status == 200
