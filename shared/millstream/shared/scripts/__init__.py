"""Every change of run or thread state: one .lua file a verb, one typed function a file."""

from millstream.shared.scripts.admit import admit
from millstream.shared.scripts.append import append
from millstream.shared.scripts.cancel import cancel
from millstream.shared.scripts.claim import Claim, claim
from millstream.shared.scripts.create_thread import create_thread
from millstream.shared.scripts.delete_run import delete_run
from millstream.shared.scripts.due import due
from millstream.shared.scripts.finish import finish
from millstream.shared.scripts.hand_back import hand_back

__all__ = [
    "Claim",
    "admit",
    "append",
    "cancel",
    "claim",
    "create_thread",
    "delete_run",
    "due",
    "finish",
    "hand_back",
]
