// Uses the page of the API's description in headless Chromium; prints what it saw as one line of JSON.
// Arguments: the page's address, the path of Chromium, a folder for pictures.

import { createRequire } from "node:module";

const [page, chromium, pictures] = process.argv.slice(2);
const { chromium: browserOf } = createRequire(`${process.cwd()}/`)("playwright-core");

const browser = await browserOf.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
context.setDefaultTimeout(45_000);
const tab = await context.newPage();
const seen = { requests: [], problems: [] };
tab.on("request", (request) => seen.requests.push(request.url()));
tab.on("console", (message) => {
  if (["error", "warning"].includes(message.type())) seen.problems.push(message.text());
});
tab.on("pageerror", (error) => seen.problems.push(String(error)));
await tab.addInitScript(() => {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
});

/** Opens an operation, sends its example, and returns a locator of the response's text. */
async function execute(subject, id) {
  const operation = tab.locator(`[id="operations-${subject}-${id}"]`);
  await operation.locator(".opblock-summary-control").click();
  await operation.locator("button.execute").click();
  return operation;
}

/** Returns the status and the text of a response once the text matches. */
async function response(operation, pattern) {
  const shown = operation.locator(".live-responses-table");
  const text = shown.locator(".highlight-code code").first();
  await text.filter({ hasText: pattern }).waitFor();
  const status = await shown.locator(".response-col_status").nth(1).textContent();
  return [status.trim().slice(0, 3), await text.textContent()];
}

await tab.goto(page);
await tab.locator(".opblock").first().waitFor();
seen.subjects = await tab.locator(".opblock-tag").evaluateAll((all) => all.map((each) => each.dataset.tag));
seen.operations = await tab.locator(".opblock").count();
await tab.screenshot({ path: `${pictures}/docs-page.png` });

// JSON.
const waited = await execute("Runs", "post__runs_wait");
seen.waited = await response(waited, /The quick/);

// A run that lasts: its events appear one by one, under the id that the server assigned, until it is cancelled.
const created = await execute("Runs", "post__threads_thread_id_runs");
seen.created = await response(created, /"run_id"/);
const streamed = await execute("Runs", "get__threads_thread_id_runs_run_id_stream");
seen.streaming = await response(streamed, /"items":\[0\]/);
await tab.screenshot({ path: `${pictures}/docs-page-stream.png` });
const cancelled = await execute("Runs", "post__threads_thread_id_runs_run_id_cancel");
seen.cancelled = await response(cancelled, /\{\}/);
seen.streamed = await response(streamed, /event: end/);

// A stream that never ends is shown while it is open.
const followed = await execute("Threads", "get__threads_thread_id_stream");
seen.followed = await response(followed, /run_done/);

seen.violations = await tab.evaluate(() => window.violations);
await browser.close();
process.stdout.write(JSON.stringify(seen));
