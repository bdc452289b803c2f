// An API key and a bearer token, as JavaScript applications send them. Prints the result of each, as JSON.

import { Client } from "@langchain/langgraph-sdk";

const [apiUrl, apiKey, token] = process.argv.slice(2);

async function attempt(options) {
  const client = new Client({ apiUrl, callerOptions: { maxRetries: 0 }, ...options });
  try {
    const thread = await client.threads.create();
    const values = await client.runs.wait(thread.thread_id, "steps", { input: { items: [] } });
    return { status: 200, thread: thread.thread_id, values };
  } catch (error) {
    return { status: error.status ?? error.response?.status ?? String(error) };
  }
}

async function openSocket(protocols) {
  const url = `${apiUrl.replace("http", "ws")}/threads/${crypto.randomUUID()}/stream/events`;
  const socket = new WebSocket(url, protocols);
  return await new Promise((resolve) => {
    socket.onopen = () => { resolve(socket.protocol); socket.close(); };
    socket.onerror = () => resolve("refused");
  });
}

const sockets = typeof WebSocket === "undefined" ? null : {
  key: await openSocket(["millstream", `bearer.${apiKey}`]),
  token: await openSocket(["millstream", `bearer.${token}`]),
  none: await openSocket(["millstream"]),
};
console.log(JSON.stringify({
  key: await attempt({ apiKey }),
  token: await attempt({ apiKey: null, defaultHeaders: { Authorization: `Bearer ${token}` } }),
  none: await attempt({ apiKey: null }),
  sockets,
}));
