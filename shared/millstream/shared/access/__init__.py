"""What a user may do with which records: users, questions, decisions, filters on metadata. Pure."""

from millstream.shared.access.asks import ASKS, READS, Ask
from millstream.shared.access.decision import Authorizer, Decision
from millstream.shared.access.filters import Filter, FilterError
from millstream.shared.access.user import User, unpack_user

__all__ = [
    "ASKS",
    "READS",
    "Ask",
    "Authorizer",
    "Decision",
    "Filter",
    "FilterError",
    "User",
    "unpack_user",
]
