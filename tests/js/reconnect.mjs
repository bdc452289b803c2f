// One stream over a connection that is cut in its middle: the SDK resumes by itself.

import { Client } from "@langchain/langgraph-sdk";

const [url, state, tokens = "20"] = process.argv.slice(2);
const client = new Client({ apiUrl: url });
const thread = state === "stateful" ? (await client.threads.create()).thread_id : null;

const heard = [];
const parts = [];
const stream = client.runs.stream(thread, "chat", {
  input: { messages: [{ role: "user", content: "hello" }] },
  config: { configurable: { tokens: Number(tokens), delay: 0.03 } },
  streamMode: ["values", "messages-tuple"],
  onDisconnect: "continue",
  onRunCreated: (ids) => heard.push(ids),
});
for await (const part of stream) parts.push(part);

console.log(JSON.stringify({ thread, heard, parts }));
