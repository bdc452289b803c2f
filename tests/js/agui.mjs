// CopilotKit's client of LangGraph, @ag-ui/langgraph: answers a question, and streams an answer.
// Prints, as JSON, the events that it makes of the answers.

import { randomUUID } from "node:crypto";
import { LangGraphAgent } from "@ag-ui/langgraph";

const [deploymentUrl] = process.argv.slice(2);

function agent() {
  const made = new LangGraphAgent({ graphId: "desk", deploymentUrl });
  made.threadId = randomUUID();
  return made;
}

function run(client, given) {
  const events = [];
  const input = {
    threadId: client.threadId, runId: randomUUID(), state: {}, messages: [], tools: [], context: [],
    forwardedProps: {}, ...given,
  };
  return new Promise((resolve, reject) => {
    client.run(input).subscribe({
      next: (event) => events.push(event), error: reject, complete: () => resolve(events),
    });
  });
}

const said = (content) => [{ id: randomUUID(), role: "user", content }];
const stateOf = (events) => events.findLast((event) => event.type === "STATE_SNAPSHOT").snapshot;

const desk = agent();
const messages = said("send the mail");
const asked = await run(desk, { messages });
// It sends its whole state as `input` with the answer.
const answered = await run(desk, {
  messages, state: stateOf(asked), forwardedProps: { command: { resume: "approved" } },
});
const streamed = await run(agent(), { messages: said("hello") });
console.log(JSON.stringify({ asked, answered, streamed }));
