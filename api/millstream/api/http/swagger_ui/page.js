// Shows openapi.json in Swagger UI, and lets it send requests to the API that served this page.
"use strict";

const STREAM_SECONDS = 60; // after which an event stream is left: those of threads never end
// Ids that the server assigns. In examples they stand for the last one that the page has received.
const ASSIGNED = ["run_id", "cron_id", "checkpoint_id"];
const ID = new RegExp(`"(${ASSIGNED.join("|")})":\\s*"([0-9a-f-]{36})"`, "g");
const api = new URL(".", document.baseURI).href.replace(/\/$/, "");
const examples = {}; // the examples of such ids, by name
const received = {}; // the last ids, by name
const reading = {}; // the stream that each operation reads, by operation

/** Makes the page send requests to its own API, whatever URL the document has for other clients. */
function prepare(description) {
  description.servers = [{ url: api }];
  for (const path of Object.values(description.paths)) {
    for (const operation of Object.values(path)) {
      for (const { name, example } of operation.parameters ?? []) {
        if (ASSIGNED.includes(name)) examples[name] = example;
      }
    }
  }
  return description;
}

/** Replaces the examples of assigned ids by those that the page has received. */
function withReceived(text) {
  return Object.entries(received).reduce((each, [name, id]) => each.replaceAll(examples[name], id), text);
}

function beforeRequest(request) {
  if (request.loadSpec) return request;
  request.headers.accept = "application/json, text/event-stream";
  request.url = withReceived(request.url);
  if (typeof request.body === "string") request.body = withReceived(request.body);
  return request;
}

function afterResponse(response) {
  if (response.url === `${api}/openapi.json`) {
    response.text = JSON.stringify(prepare(JSON.parse(response.text)));
    return response;
  }
  const seen = new Set();
  for (const [, name, id] of String(response.text ?? "").matchAll(ID)) {
    if (!seen.has(name)) received[name] = id;
    seen.add(name);
  }
  return response;
}

/** Returns a `fetch` that shows the events of a stream as they arrive. Swagger UI itself waits for its end. */
function streamingFetch(operation, show) {
  return async (url, options) => {
    reading[operation]?.cancel(); // its response gives way to the new one
    const response = await fetch(url, options);
    const { status, statusText, headers } = response;
    if (!headers.get("content-type")?.startsWith("text/event-stream")) return response;
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reader.cancel();
    }, STREAM_SECONDS * 1000);
    reading[operation] = reader;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      if (reading[operation] === reader) {
        show({ url, status, statusText, headers: Object.fromEntries(headers), text, data: text });
      }
    }
    clearTimeout(timer);
    if (late) text += `\n: this page left the stream after ${STREAM_SECONDS} s\n`;
    const whole = new Response(text, { status, statusText, headers });
    Object.defineProperty(whole, "url", { value: url });
    return whole;
  };
}

/** A plugin of Swagger UI: its requests are sent by `streamingFetch`. */
const streams = {
  statePlugins: {
    spec: {
      wrapActions: {
        executeRequest: (execute, { specActions }) => (request) =>
          execute({
            ...request,
            userFetch: streamingFetch(`${request.method} ${request.pathName}`, (response) =>
              specActions.setResponse(request.pathName, request.method, response),
            ),
          }),
      },
    },
  },
};

window.ui = SwaggerUIBundle({
  url: `${api}/openapi.json`,
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  plugins: [() => streams],
  requestInterceptor: beforeRequest,
  responseInterceptor: afterResponse,
  tryItOutEnabled: true,
  validatorUrl: null,
});
