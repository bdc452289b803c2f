"""`auth` of langgraph.json: the project's own authentication and authorisation.

Source of the names: the LangGraph CLI's configuration file.
"""

from typing import Annotated, Any

import msgspec

from millstream.shared.errors import SettingError

Count = Annotated[int, msgspec.Meta(gt=0)]
Requirements = list[dict[str, list[str]]]  # one of them: {scheme: scopes}


class UserCacheConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`auth.cache`: for how long the user of a request is used for further ones with the same headers."""

    cache_keys: list[str] = []  # names of headers; nothing is cached without them
    ttl_seconds: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 60
    max_size: Count = 1000  # users


class OpenApiSecurity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`auth.openapi`: what openapi.json says of credentials. It is a description, and enforces nothing."""

    securitySchemes: dict[str, dict[str, Any]] = {}
    security: Requirements = []
    paths: dict[str, dict[str, Requirements]] = {}  # path → method → requirements

    def check(self) -> None:
        """Raises SettingError for a requirement of a scheme that is not in `securitySchemes`."""
        requirements = [("security", each) for each in self.security]
        requirements += [
            (f"paths.{path}.{method}", each)
            for path, methods in self.paths.items()
            for method, of_method in methods.items()
            for each in of_method
        ]
        for where, requirement in requirements:
            for name in requirement:
                if name not in self.securitySchemes:
                    raise SettingError(
                        f"auth.openapi.{where}: {name!r} is not one of securitySchemes."
                    )


class AuthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`auth`; an unknown key is refused, because it would have no effect."""

    path: Annotated[str, msgspec.Meta(min_length=1)]  # './file.py:name' of a langgraph_sdk.Auth
    disable_studio_auth: bool = False
    cache: UserCacheConfig | None = None
    openapi: OpenApiSecurity | None = None
