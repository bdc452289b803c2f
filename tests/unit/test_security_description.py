"""openapi.json names the credentials that an API accepts, so that tools and the page at /docs ask for them."""

import pytest

from millstream.api.auth.description import describe_security
from millstream.shared.langgraph_json.auth import OpenApiSecurity
from millstream.shared.rules.auth_kinds import AuthKind

OAUTH = {"OAuth": {"type": "oauth2"}}


@pytest.mark.parametrize(
    ("kinds", "schemes"),
    [
        ([AuthKind.API_KEY], ["ApiKey", "Bearer"]),
        ([AuthKind.JWT], ["Bearer"]),
        ([AuthKind.CUSTOM], ["Bearer"]),
        ([AuthKind.CUSTOM, AuthKind.API_KEY], ["ApiKey", "Bearer"]),
    ],
)
def test_each_kind_has_its_schemes(kinds: list[AuthKind], schemes: list[str]) -> None:
    described = describe_security(kinds, None)
    assert described is not None
    assert list(described.securitySchemes) == schemes
    assert described.security == [{name: []} for name in schemes]
    described.check()


def test_without_authentication_nothing_is_described() -> None:
    assert describe_security([AuthKind.NOOP], None) is None


def test_a_projects_description_stays_and_keys_are_added() -> None:
    project = OpenApiSecurity(securitySchemes=OAUTH, security=[{"OAuth": ["me"]}])
    assert describe_security([AuthKind.CUSTOM], project) == project
    both = describe_security([AuthKind.CUSTOM, AuthKind.API_KEY], project)
    assert both is not None
    assert both.securitySchemes.keys() == {"OAuth", "ApiKey", "Bearer"}
    assert both.security == [{"OAuth": ["me"]}, {"ApiKey": []}, {"Bearer": []}]
    both.check()
