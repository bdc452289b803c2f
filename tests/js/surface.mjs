// Calls every method of the SDK's client and checks what comes of it.
// Prints, as JSON, the methods that the client has and those that were called.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Client } from "@langchain/langgraph-sdk";

const PARTS = ["assistants", "threads", "runs", "crons", "store"];
const INNER = new Set(["constructor", "prepareFetchOptions", "fetch", "streamWithRetry"]);
const NOWHERE = "https://nobody.invalid/hook"; // that name is reserved: it never resolves
const YEARLY = "0 0 1 1 *";

const client = new Client({ apiUrl: process.argv[2], callerOptions: { maxRetries: 0 } });
const methods = [];
const called = new Set();
for (const part of PARTS) {
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(client[part]))) {
    if (!INNER.has(name) && typeof client[part][name] === "function") methods.push(`${part}.${name}`);
  }
}

// What stands for the client, and notes what is called.
const noted = Object.fromEntries(
  PARTS.map((part) => [
    part,
    new Proxy(client[part], {
      get: (target, name) => (...given) => {
        called.add(`${part}.${String(name)}`);
        return target[name](...given);
      },
    }),
  ]),
);
const { assistants, threads, runs, crons, store } = noted;

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

async function until(condition) {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; ) if (await condition()) return;
  throw new Error("it did not come true within 20 s");
}

const mark = { mark: randomUUID() };

async function theAssistants() {
  const made = await assistants.create({
    graphId: "steps", assistantId: randomUUID(), ifExists: "raise", name: "two", metadata: mark,
    description: "counts to two", config: { configurable: { n: 2 } },
  });
  const id = made.assistant_id;
  assert.deepEqual(await assistants.get(id), made);
  assert.deepEqual((await runs.wait(null, id, { input: {} })).items, [0, 1]);
  const changed = await assistants.update(id, { name: "one", config: { configurable: { n: 1 } } });
  assert.deepEqual([changed.version, changed.name], [2, "one"]);
  assert.equal((await assistants.getVersions(id, { limit: 5 })).length, 2);
  assert.equal((await assistants.setLatest(id, 1)).name, "two");
  assert.equal((await assistants.search({ metadata: mark, limit: 5 }))[0].assistant_id, id);
  assert.equal(await assistants.count({ metadata: mark }), 1);
  assert.ok((await assistants.getGraph(id, { xray: true })).nodes.length >= 3);
  assert.ok((await assistants.getSchemas(id)).state_schema.properties.items);
  const [nested] = await assistants.search({ graphId: "nested" });
  const below = await assistants.getSubgraphs(nested.assistant_id, { namespace: "child", recurse: true });
  assert.deepEqual(Object.keys(below), ["child"]);
  await assistants.delete(id, { deleteThreads: true });
  assert.equal(await assistants.count({ metadata: mark }), 0);
}

async function theThreads() {
  const step = { values: { items: [7, 8, 9] }, asNode: "step" };
  const made = await threads.create({
    graphId: "steps", metadata: mark, ttl: 60, supersteps: [{ updates: [step] }],
  });
  const id = made.thread_id;
  assert.deepEqual((await threads.get(id)).values, { items: [7, 8, 9] });
  assert.equal((await threads.update(id, { metadata: { more: 1 } })).metadata.more, 1);
  await threads.patchState(id, { yet: 2 });
  assert.equal((await threads.get(id)).metadata.yet, 2);
  const found = await threads.search({ metadata: mark, status: "idle", limit: 5, sortBy: "created_at" });
  assert.deepEqual(found.map((each) => each.thread_id), [id]);
  assert.equal(await threads.count({ metadata: mark }), 1);
  await threads.updateState(id, { values: { items: [1] }, asNode: "step" });
  const state = await threads.getState(id, undefined, { subgraphs: true });
  assert.equal(state.values.items.at(-1), 1);
  assert.ok((await threads.getHistory(id, { limit: 10 })).length >= 2);
  const copy = await threads.copy(id);
  assert.equal((await threads.prune([copy.thread_id], { strategy: "keep_latest" })).pruned_count, 1);
  for (const each of [id, copy.thread_id]) await threads.delete(each);

  const following = threads.stream({ assistantId: "steps" });
  await following.run.start({ input: { items: [] } });
  assert.deepEqual(await following.output, { items: [0, 1, 2] });
  await following.close();
}

async function theRuns() {
  const thread = (await threads.create()).thread_id;
  const run = await runs.create(thread, "steps", {
    input: {}, metadata: mark, streamMode: ["values"], webhook: NOWHERE, durability: "sync",
    config: { configurable: { n: 1 } },
  });
  const id = run.run_id;
  assert.deepEqual(await runs.join(thread, id), { items: [0] });
  assert.equal((await runs.get(thread, id)).status, "success");
  assert.deepEqual((await runs.list(thread, { limit: 5 })).map((each) => each.run_id), [id]);
  assert.equal((await collect(runs.joinStream(thread, id))).at(-1).event, "end");
  assert.equal((await collect(runs.stream(null, "steps", { input: {} }))).at(-1).event, "end");
  assert.deepEqual(await runs.wait(null, "steps", { input: {} }), { items: [0, 1, 2] });
  const both = await runs.createBatch([0, 1].map(() => ({ assistantId: "steps", input: {} })));
  for (const each of both) await runs.join(each.thread_id, each.run_id);

  const following = threads.joinStream(thread, { lastEventId: "-", streamMode: ["run_modes"] });
  for await (const part of following) if (part.data.status === "run_done") break;

  const slow = await runs.create(thread, "slow", { input: {} });
  await until(async () => (await runs.get(thread, slow.run_id)).status === "running");
  await runs.cancel(thread, slow.run_id, true, "interrupt");
  assert.equal((await runs.get(thread, slow.run_id)).status, "interrupted");
  await runs.delete(thread, slow.run_id);
  const another = await runs.create(thread, "slow", { input: {} });
  await runs.cancelMany({ threadId: thread, runIds: [another.run_id] });
  assert.deepEqual((await runs.get(thread, another.run_id)).run_id, another.run_id);
  await until(async () => (await runs.get(thread, another.run_id)).status === "interrupted");
  await threads.delete(thread);
}

async function theCrons() {
  const thread = (await threads.create()).thread_id;
  const given = { schedule: YEARLY, input: {}, metadata: mark, timezone: "Europe/Berlin", enabled: true };
  const alone = await crons.create("steps", { ...given, onRunCompleted: "keep" });
  const onThread = await crons.createForThread(thread, "steps", given);
  assert.equal(await crons.count({ threadId: thread }), 1);
  assert.equal((await crons.update(alone.cron_id, { enabled: false })).enabled, false);
  const found = await crons.search({ threadId: thread, limit: 5 });
  assert.deepEqual(found.map((each) => each.cron_id), [onThread.cron_id]);
  for (const each of [alone, onThread]) await crons.delete(each.cron_id);
  await threads.delete(thread);
}

async function theStore() {
  const place = `surface-${randomUUID()}`;
  await store.putItem([place, "a"], "one", { n: 1 }, { ttl: 5 });
  assert.deepEqual((await store.getItem([place, "a"], "one")).value, { n: 1 });
  assert.equal((await store.searchItems([place], { filter: { n: 1 } })).items.length, 1);
  assert.deepEqual((await store.listNamespaces({ prefix: [place] })).namespaces, [[place, "a"]]);
  await store.deleteItem([place, "a"], "one");
  assert.equal(await store.getItem([place, "a"], "one"), null);
}

for (const part of [theAssistants, theThreads, theRuns, theCrons, theStore]) await part();
console.log(JSON.stringify({ methods, called: [...called] }));
