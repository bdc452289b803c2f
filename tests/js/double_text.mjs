// Three quick messages on one thread, as a chat window sends them: the strategy decides what becomes of the first two.

import { Client } from "@langchain/langgraph-sdk";

const [url, multitaskStrategy] = process.argv.slice(2);
const client = new Client({ apiUrl: url, callerOptions: { maxRetries: 0 } });
const thread = (await client.threads.create()).thread_id;

function say(content, tokens) {
  const ids = {};
  const parts = [];
  const created = new Promise((resolve) => {
    const stream = client.runs.stream(thread, "chat", {
      input: { messages: [{ role: "user", content }] },
      config: { configurable: { tokens, delay: 0.05 } },
      streamMode: ["values", "messages-tuple"],
      multitaskStrategy,
      onRunCreated: (told) => resolve(Object.assign(ids, told)),
    });
    ids.done = (async () => {
      for await (const part of stream) parts.push(part);
    })();
  });
  return created.then(() => ({ runId: ids.run_id, parts, done: ids.done }));
}

const later = await client.runs.create(thread, "chat", { input: { messages: [] }, afterSeconds: 600 });
const said = [];
for (const [content, tokens] of [["one", 500], ["two", 500], ["three", 3]]) said.push(await say(content, tokens));
await Promise.all(said.map((each) => each.done));

const statuses = {};
for (const run of await client.runs.list(thread)) statuses[run.run_id] = run.status;
console.log(JSON.stringify({
  ends: said.map((each) => each.parts.at(-1)),
  statuses: [later.run_id, ...said.map((each) => each.runId)].map((id) => statuses[id] ?? "gone"),
  values: (await client.threads.getState(thread)).values,
  status: (await client.threads.get(thread)).status,
}));
