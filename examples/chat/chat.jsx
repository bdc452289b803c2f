// A chat in the browser on `useStream`: it streams, survives a reload during a run, asks a person for
// approval, stops a run, and follows a run that another tab has started.
//
// Parameters of the address: api (the server), assistant, thread (set by the page), and any number that
// the graph reads from `config.configurable`: ?delay=0.1&tokens=40

import { useStream } from "@langchain/langgraph-sdk/react";
import { useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

const address = new URL(window.location);
const { api = "http://127.0.0.1:2024", assistant = "desk", thread, ...knobs } = Object.fromEntries(
  address.searchParams,
);
const configurable = Object.fromEntries(Object.entries(knobs).map(([k, v]) => [k, Number(v)]));

function Chat() {
  const [threadId, setThreadId] = useState(thread ?? null);
  const [text, setText] = useState("");
  const stream = useStream({
    apiUrl: api,
    assistantId: assistant,
    threadId,
    onThreadId(id) {
      address.searchParams.set("thread", id);
      window.history.replaceState(null, "", address);
      setThreadId(id);
    },
    reconnectOnMount: true, // after a reload the hook joins the run's stream again
    // With the history, each message would start from the checkpoint that this tab knows: a fork, if
    // another tab has sent a message meanwhile.
    fetchStateHistory: false,
    onFinish() {}, // makes the hook read the thread again, which shows that a question was answered
  });
  useRunOfAnotherTab(stream, threadId);

  const options = { config: { configurable }, streamMode: ["values", "messages-tuple"] };
  const question = stream.interrupt?.value;

  function send(event) {
    event.preventDefault();
    if (!text.trim()) return;
    const message = { type: "human", content: text, id: crypto.randomUUID() };
    setText("");
    stream.submit(
      { messages: [message] },
      {
        ...options,
        onDisconnect: "continue",
        optimisticValues: (before) => ({ messages: [...(before.messages ?? []), message] }),
      },
    );
  }

  function decide(answer) {
    stream.submit(undefined, { ...options, onDisconnect: "continue", command: { resume: answer } });
  }

  return (
    <>
      <header>
        <h1>Chat</h1>
        <small>{assistant}</small>
        {stream.isLoading && <span className="run">● running</span>}
      </header>
      <ol>
        {stream.messages.map((message, index) => (
          <li key={message.id ?? index} className={message.type}>
            {String(message.content)}
          </li>
        ))}
      </ol>
      {question !== undefined && !stream.isLoading && (
        <section className="ask">
          <p>{question}</p>
          <button onClick={() => decide("approved")}>Approve</button>
          <button className="quiet" onClick={() => decide("refused")}>Refuse</button>
        </section>
      )}
      {stream.error != null && <p className="error">{String(stream.error.message ?? stream.error)}</p>}
      <form onSubmit={send}>
        <input
          value={text}
          onChange={(event) => setText(event.target.value)}
          placeholder="Say something, or ask to send a mail"
          aria-label="Message"
          autoFocus
        />
        {stream.isLoading ? (
          <button type="button" className="quiet" onClick={() => stream.stop()}>Stop</button>
        ) : (
          <button>Send</button>
        )}
      </form>
    </>
  );
}

/** Joins the run that is active on the thread when the page opens, if this tab did not start it. */
function useRunOfAnotherTab(stream, threadId) {
  const looked = useRef(false);
  useEffect(() => {
    if (looked.current || threadId === null) return;
    looked.current = true;
    if (window.sessionStorage.getItem(`lg:stream:${threadId}`)) return;
    stream.client.runs.list(threadId, { status: "running", limit: 1 }).then(([run]) => {
      if (run) stream.joinStream(run.run_id);
    });
  }, [stream, threadId]);
}

createRoot(document.getElementById("chat")).render(<Chat />);
