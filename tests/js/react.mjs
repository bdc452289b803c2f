// @langchain/react's useStream in a page: streams an answer, displaces a run, answers a question, rejoins.
// Prints, as JSON, what the page showed.

import assert from "node:assert/strict";
import { createElement } from "react";
import TestRenderer from "react-test-renderer";
import { useStream } from "@langchain/react";

const [apiUrl] = process.argv.slice(2);
const STEP = 10; // ms between two looks

// A page that shows nothing; `renders` is what it would have shown.
async function open(options) {
  const page = { stream: undefined, renders: [] };
  function Page() {
    page.stream = useStream({ apiUrl, assistantId: "desk", ...options });
    const { messages, isLoading, error } = page.stream;
    page.renders.push({ last: messages.at(-1)?.text ?? "", count: messages.length, isLoading, error });
    return null;
  }
  const root = TestRenderer.create(createElement(Page));
  page.close = () => root.unmount();
  await until(() => page.stream, "the page is there");
  return page;
}

async function until(condition, what) {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; ) {
    const value = condition();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, STEP));
  }
  throw new Error(`${what}: not within 20 s`);
}

const human = (content) => ({ messages: [{ type: "human", content }] });
const answer = (tokens, delay = 0) => ({ config: { configurable: { tokens, delay } } });
const shown = (page) => page.stream.messages.map((message) => [message.type, message.text]);
const talks = (page, count) =>
  page.stream.isLoading && page.stream.messages.length >= count && page.stream.messages.at(-1).text;

let threadId;
const page = await open({ onThreadId: (id) => (threadId = id) });

await page.stream.submit(human("hello"), answer(8, 0.05));
await until(() => page.stream.messages.at(-1).text.endsWith("lazy"), "the whole answer is shown");
const streamed = { shown: shown(page), texts: page.renders.filter((r) => r.count === 2).map((r) => r.last) };

const slow = page.stream.submit(human("slow"), answer(2000, 0.05));
await until(() => talks(page, 4), "the slow run talks");
const quick = page.stream.submit(human("quick"), { ...answer(3), multitaskStrategy: "interrupt" });
await Promise.all([slow, quick]);
await until(
  () => !page.stream.isLoading && shown(page).some(([type, text]) => type === "ai" && text === "The quick brown"),
  "the quick run is told",
);
const displaced = { shown: shown(page), error: page.stream.error?.message ?? null };

await page.stream.submit(human("send the mail"));
const question = await until(() => page.stream.interrupt, "the question");
await page.stream.respond("approved");
await until(
  () => !page.stream.isLoading && shown(page).some(([, text]) => text === "The mail is on its way."),
  "the answer was taken",
);
const answered = { question: question.value, left: page.stream.interrupts.length };

page.stream.submit(human("long"), answer(40, 0.05)).catch(() => {});
await until(() => page.stream.isLoading && page.renders.at(-1).last.startsWith("The quick brown"), "it talks");
page.close();
const again = await open({ threadId });
await until(() => again.stream.isLoading, "it has rejoined");
await until(() => !again.stream.isLoading && shown(again).some(([, text]) => text.length > 150), "the end");
const rejoined = { shown: shown(again), error: again.stream.error?.message ?? null };
again.close();

assert.ok(threadId);
console.log(JSON.stringify({ threadId, streamed, displaced, answered, rejoined }));
process.exit(0); // its reconnecting streams would keep it alive
