// The SDK's calls about a thread's state, against the API whose URL is given.
// Prints what the SDK made of the answers as one line of JSON.

import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.argv[2], callerOptions: { maxRetries: 0 } });
const { threads, runs } = client;

async function refused(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return { status: error.status ?? null, message: String(error.message) };
  }
}

const seen = {};
const seeded = await threads.create({
  graphId: "approval",
  supersteps: [{ updates: [{ values: { topic: "lunch" }, asNode: "__start__" }] }],
  ttl: 60,
});
seen.seeded = seeded;
const thread = seeded.thread_id;
seen.asked = await runs.wait(thread, "approval", { input: null });
seen.paused = await threads.get(thread);

seen.state = await threads.getState(thread);
seen.history = await threads.getHistory(thread, { limit: 50 });
const old = seen.history[1].checkpoint;
seen.atCheckpoint = await threads.getState(thread, old);
seen.byId = await threads.getState(thread, old.checkpoint_id);
seen.deep = await threads.getState(thread, undefined, { subgraphs: true });
seen.before = await threads.getHistory(thread, {
  before: { configurable: seen.history[0].checkpoint },
  metadata: { source: "loop" },
});

seen.copy = await threads.copy(thread);

await threads.update(thread, { metadata: { who: "js", at: { day: 1 } } });
seen.patched = await threads.update(seen.copy.thread_id, { metadata: { who: "js" }, ttl: 30 });
await threads.update(thread, { metadata: { more: true } });
seen.found = await threads.search({
  metadata: { who: "js" }, ids: [thread, seen.copy.thread_id], status: "interrupted",
  values: { topic: "lunch" }, limit: 5, offset: 0, sortBy: "created_at", sortOrder: "asc",
  select: ["thread_id", "metadata"],
});
seen.count = await threads.count({ metadata: { at: { day: 1 } }, status: "interrupted" });
seen.batch = await runs.createBatch([
  { assistantId: "track", input: { items: [] } },
  { assistantId: "track", input: { items: [] }, metadata: { n: 1 } },
]);
seen.runs = await runs.list(thread, { limit: 1, offset: 0, status: "success", select: ["status"] });
seen.updated = await threads.updateState(thread, { values: { answer: "js" }, asNode: "ask" });
seen.after = await threads.getState(thread);
seen.forked = await threads.updateState(thread, {
  values: { topic: "dinner" },
  asNode: "before",
  checkpoint: old,
});
seen.fork = await threads.getState(thread);
seen.untouched = await threads.getState(seen.copy.thread_id);

seen.errors = {
  node: await refused(() => threads.updateState(thread, { values: {}, asNode: "nope" })),
  thread: await refused(() => threads.getHistory("00000000-0000-4000-8000-000000000000")),
  checkpoint: await refused(() => threads.getState(thread, "odd")),
};

console.log(JSON.stringify(seen));
