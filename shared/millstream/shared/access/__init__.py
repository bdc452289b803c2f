"""What a user may do with which records: users, questions, decisions, filters on metadata. Pure."""

from millstream.shared.access.asks import ASKS, READS, Ask
from millstream.shared.access.decision import (
    ABSENT,
    NO_GUARD,
    Authorizer,
    Decide,
    Decision,
    guard_of,
)
from millstream.shared.access.filters import Filter, FilterError
from millstream.shared.access.user import User, unpack_user

__all__ = [
    "ABSENT",
    "ASKS",
    "NO_GUARD",
    "READS",
    "Ask",
    "Authorizer",
    "Decide",
    "Decision",
    "Filter",
    "FilterError",
    "User",
    "guard_of",
    "unpack_user",
]
