// Every call of the SDK that Millstream answers, against the API whose URL is given.
// Prints what the SDK made of the answers as one line of JSON.

import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.argv[2], callerOptions: { maxRetries: 0 } });
const input = { messages: [{ role: "user", content: "hello" }] };
const config = { configurable: { tokens: 3 } };

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

async function refused(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return { status: error.status ?? null, message: String(error.message) };
  }
}

const heard = [];
const onRunCreated = (ids) => heard.push(ids);
const seen = {};

seen.thread = await client.threads.create({ metadata: { who: "me" } });
const thread = seen.thread.thread_id;
seen.same = await client.threads.get(thread);
seen.assistants = (await client.assistants.search({ limit: 100 })).map((one) => one.graph_id);

seen.streams = {};
for (const mode of ["values", "updates", "messages-tuple"]) {
  const given = { input, config, streamMode: mode, onRunCreated };
  seen.streams[mode] = await collect(client.runs.stream(thread, "chat", given));
}
const many = { input: {}, streamMode: ["custom", "values"], onRunCreated };
seen.streams.many = await collect(client.runs.stream(thread, "track", many));

seen.stateless = await collect(
  client.runs.stream(null, "chat", { input, config, streamMode: "messages-tuple", onRunCreated }),
);
seen.heard = heard;

// Long silence, in which only keepalives come.
const quiet = { input: {}, config: { configurable: { seconds: 0.7 } } };
seen.quiet = await collect(client.runs.stream(thread, "linger", quiet));

seen.waited = await client.runs.wait(null, "track", { input: {} });
seen.run = await client.runs.create(thread, "track", {
  input: {},
  config: { configurable: { n: 1 } },
  streamMode: ["custom", "updates"],
});
const run = seen.run.run_id;
seen.joined = await client.runs.join(thread, run);
seen.all = await collect(client.runs.joinStream(thread, run));
seen.rest = await collect(client.runs.joinStream(thread, run, { lastEventId: seen.all[1].id }));
seen.only = await collect(
  client.runs.joinStream(thread, run, { lastEventId: "-1", streamMode: "custom" }),
);
seen.got = await client.runs.get(thread, run);
seen.listed = (await client.runs.list(thread, { limit: 2 })).map((one) => one.run_id);

const long = await client.runs.create(thread, "linger", { input: {} });
seen.cancel = (await client.runs.cancel(thread, long.run_id)) ?? "nothing";
await client.runs.join(thread, long.run_id);
seen.cancelled = (await client.runs.get(thread, long.run_id)).status;
const longer = await client.runs.create(thread, "linger", { input: {} });
seen.cancelAndWait = await client.runs.cancel(thread, longer.run_id, true);
seen.cancelledToo = (await client.runs.get(thread, longer.run_id)).status;
seen.deleted = (await client.runs.delete(thread, longer.run_id)) ?? "nothing";

const asking = (await client.threads.create()).thread_id;
seen.asked = await client.runs.wait(asking, "approval", { input: { topic: "lunch" } });
seen.asking = (await client.threads.getState(asking)).next;
seen.answered = await client.runs.wait(asking, "approval", { command: { resume: "yes" } });

const nobody = "00000000-0000-4000-8000-000000000000";
seen.errors = {
  thread: await refused(() => client.threads.get(nobody)),
  run: await refused(() => client.runs.get(thread, nobody)),
  deleted: await refused(() => client.runs.get(thread, longer.run_id)),
  graph: await refused(() => client.runs.create(thread, "nope", {})),
  mode: await refused(() =>
    collect(client.runs.stream(thread, "track", { input: {}, streamMode: "loud" })),
  ),
  exists: await refused(() => client.threads.create({ threadId: thread })),
  join: await refused(() => collect(client.runs.joinStream(thread, nobody))),
  graphRaised: await refused(() => client.runs.wait(null, "broken", { input: {} })),
};
seen.broken = await collect(client.runs.stream(null, "broken", { input: {} }));

console.log(JSON.stringify(seen));
