// Uses the chat page in headless Chromium; prints its texts as one line of JSON.
// Arguments: the page's address, the path of Chromium, a folder for pictures.

import { createRequire } from "node:module";

const [page, chromium, pictures] = process.argv.slice(2);
const { chromium: browserOf } = createRequire(`${process.cwd()}/`)("playwright-core");

const WITHIN = 20_000; // ms that anything may take
const browser = await browserOf.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: { width: 720, height: 560 } });
context.setDefaultTimeout(WITHIN);
const errors = [];

async function open(address) {
  const tab = await context.newPage();
  tab.on("pageerror", (error) => errors.push(String(error)));
  await tab.goto(address);
  return tab;
}

const bubbles = (tab) => tab.locator("li").allTextContents();
const picture = (tab, name) => tab.screenshot({ path: `${pictures}/${name}.png` });

async function say(tab, text) {
  await tab.getByLabel("Message").fill(text);
  await tab.getByRole("button", { name: "Send" }).click();
}

/** Waits until there are `count` bubbles, and the last is the model's and matches the pattern. */
async function answered(tab, pattern, count) {
  await tab.waitForFunction(
    ([source, least]) => {
      const all = [...document.querySelectorAll("li")];
      const last = all.at(-1);
      return all.length >= least && last.className === "ai" && new RegExp(source).test(last.textContent);
    },
    [pattern, count],
  );
  return (await bubbles(tab)).at(-1);
}

const idle = (tab) => tab.getByRole("button", { name: "Send" }).waitFor();
const seen = {};
const at = (knobs) => `${page}${page.includes("?") ? "&" : "?"}${knobs}`;

// Tokens appear one by one; after a reload during the run the page continues.
let tab = await open(at("delay=0.12"));
await say(tab, "Tell me about the fox");
seen.early = await answered(tab, "quick", 2);
await picture(tab, "chat-streaming");
await tab.reload();
seen.resumed = await answered(tab, "fox", 2);
seen.whole = await answered(tab, "one by one\\.", 2);
await idle(tab);
seen.after_reload = await bubbles(tab);

// A second tab, opened while a run of the first streams, sees the same.
await say(tab, "Once more");
await answered(tab, "quick", 4);
const second = await open(tab.url());
seen.second_early = await answered(second, "brown", 4);
seen.second = await answered(second, "one by one\\.", 4);
await answered(tab, "one by one\\.", 4);
await Promise.all([idle(tab), idle(second)]);
seen.tabs = [await bubbles(tab), await bubbles(second)];

// Both tabs send a message at once: one run at a time, and nothing is lost.
await Promise.all([say(tab, "From the first"), say(second, "From the second")]);
await Promise.all([answered(tab, "one by one\\.", 6), answered(second, "one by one\\.", 6)]);
await Promise.all([idle(tab), idle(second)]);
await Promise.all([tab.reload(), second.reload()]);
await Promise.all([answered(tab, "one by one\\.", 8), answered(second, "one by one\\.", 8)]);
seen.both = [await bubbles(tab), await bubbles(second)];
await picture(second, "chat-two-tabs");
await second.close();
await tab.close();

// The graph asks for approval, after a reload too.
tab = await open(at("delay=0"));
await say(tab, "Send the mail");
await tab.getByRole("button", { name: "Approve" }).waitFor();
await tab.reload();
await tab.getByRole("button", { name: "Approve" }).waitFor();
seen.question = await tab.locator(".ask p").textContent();
await picture(tab, "chat-approval");
await tab.getByRole("button", { name: "Approve" }).click();
seen.approved = await answered(tab, "mail", 2);
await idle(tab);
seen.asked_again = await tab.getByRole("button", { name: "Approve" }).count();
await tab.close();

// The Stop button ends the run on the server.
tab = await open(at("delay=0.1&tokens=2000"));
await say(tab, "A long story");
await answered(tab, "quick", 2);
await tab.getByRole("button", { name: "Stop" }).click();
await idle(tab);
await picture(tab, "chat-stopped");
seen.stopped_thread = new URL(tab.url()).searchParams.get("thread");

await browser.close();
seen.errors = errors;
process.stdout.write(JSON.stringify(seen));
