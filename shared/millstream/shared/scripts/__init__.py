"""Every change of state in Redis: one script a verb, with one typed function each."""

from millstream.shared.scripts.api_keys.create_key import KeyTimes, create_key
from millstream.shared.scripts.api_keys.note_key_use import note_key_use
from millstream.shared.scripts.api_keys.revoke_key import revoke_key
from millstream.shared.scripts.api_keys.rotate_key import Rotation, rotate_key
from millstream.shared.scripts.assistants.choose_version import choose_version
from millstream.shared.scripts.assistants.create_assistant import create_assistant
from millstream.shared.scripts.assistants.delete_assistant import delete_assistant
from millstream.shared.scripts.assistants.update_assistant import update_assistant
from millstream.shared.scripts.checkpoints.copy_checkpoints import copy_checkpoints
from millstream.shared.scripts.checkpoints.drop_checkpoints import drop_checkpoints
from millstream.shared.scripts.checkpoints.get_checkpoint import get_checkpoint
from millstream.shared.scripts.checkpoints.list_checkpoints import list_checkpoints
from millstream.shared.scripts.checkpoints.measure_checkpoints import measure_checkpoints
from millstream.shared.scripts.checkpoints.prune_checkpoints import prune_checkpoints
from millstream.shared.scripts.checkpoints.put_checkpoint import put_checkpoint
from millstream.shared.scripts.checkpoints.put_writes import put_writes
from millstream.shared.scripts.crons.create_cron import create_cron
from millstream.shared.scripts.crons.delete_cron import delete_cron
from millstream.shared.scripts.crons.fire_cron import fire_cron
from millstream.shared.scripts.crons.update_cron import update_cron
from millstream.shared.scripts.queues.forget_queue import forget_queue
from millstream.shared.scripts.queues.offer_graphs import offer_graphs
from millstream.shared.scripts.queues.pause_queue import Pause, pause_queue
from millstream.shared.scripts.queues.resume_queue import resume_queue
from millstream.shared.scripts.runs.admit import admit
from millstream.shared.scripts.runs.append import Batch, append
from millstream.shared.scripts.runs.cancel import cancel
from millstream.shared.scripts.runs.claim import Claim, claim
from millstream.shared.scripts.runs.delete_run import delete_run
from millstream.shared.scripts.runs.end_displaced import end_displaced
from millstream.shared.scripts.runs.find_due import find_due, find_due_in
from millstream.shared.scripts.runs.finish import finish
from millstream.shared.scripts.runs.forget_ended import forget_ended
from millstream.shared.scripts.runs.hand_back import hand_back
from millstream.shared.scripts.runs.mark_alone import mark_alone
from millstream.shared.scripts.runs.note_joined import note_joined
from millstream.shared.scripts.runs.read_events import read_events
from millstream.shared.scripts.runs.repair_run import repair_run
from millstream.shared.scripts.runs.tag_due import tag_due_in
from millstream.shared.scripts.server.take_quota import Bucket, Quota, take_quota
from millstream.shared.scripts.server.try_commands import try_commands
from millstream.shared.scripts.store.get_items import get_items
from millstream.shared.scripts.store.put_item import NewItem, put_item
from millstream.shared.scripts.threads.copy_thread import copy_thread
from millstream.shared.scripts.threads.create_thread import create_thread
from millstream.shared.scripts.threads.delete_thread import delete_thread
from millstream.shared.scripts.threads.find_threads import FoundThreads, find_threads
from millstream.shared.scripts.threads.forget_expiry import forget_expiry
from millstream.shared.scripts.threads.note_config import note_config
from millstream.shared.scripts.threads.patch_thread import patch_thread
from millstream.shared.scripts.threads.repair_thread import repair_thread
from millstream.shared.scripts.threads.retire_thread import retire_thread
from millstream.shared.scripts.threads.store_state import store_state
from millstream.shared.scripts.webhooks.settle_delivery import settle_delivery
from millstream.shared.scripts.webhooks.take_deliveries import take_deliveries

__all__ = [
    "Batch",
    "Bucket",
    "Claim",
    "FoundThreads",
    "KeyTimes",
    "NewItem",
    "Pause",
    "Quota",
    "Rotation",
    "admit",
    "append",
    "cancel",
    "choose_version",
    "claim",
    "copy_checkpoints",
    "copy_thread",
    "create_assistant",
    "create_cron",
    "create_key",
    "create_thread",
    "delete_assistant",
    "delete_cron",
    "delete_run",
    "delete_thread",
    "drop_checkpoints",
    "end_displaced",
    "find_due",
    "find_due_in",
    "find_threads",
    "finish",
    "fire_cron",
    "forget_ended",
    "forget_expiry",
    "forget_queue",
    "get_checkpoint",
    "get_items",
    "hand_back",
    "list_checkpoints",
    "mark_alone",
    "measure_checkpoints",
    "note_config",
    "note_joined",
    "note_key_use",
    "offer_graphs",
    "patch_thread",
    "pause_queue",
    "prune_checkpoints",
    "put_checkpoint",
    "put_item",
    "put_writes",
    "read_events",
    "repair_run",
    "repair_thread",
    "resume_queue",
    "retire_thread",
    "revoke_key",
    "rotate_key",
    "settle_delivery",
    "store_state",
    "tag_due_in",
    "take_deliveries",
    "take_quota",
    "try_commands",
    "update_assistant",
    "update_cron",
]
