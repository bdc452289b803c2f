// Opens pages of the site in headless Chromium; prints what it saw as one line of JSON.
// Arguments: the site's address, the path of Chromium, a folder for pictures. Standard input: the paths, as JSON.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [site, chromium, pictures] = process.argv.slice(2);
const { chromium: browserOf } = createRequire(`${process.cwd()}/`)("playwright-core");
const paths = JSON.parse(readFileSync(0, "utf8"));

const WITHIN = 60_000; // ms that anything may take
const TABS = 3;
const browser = await browserOf.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const seen = { errors: [], external: [], diagrams: {} };

/** Returns what opens tabs that share a cache, and note errors and requests to other hosts. */
async function profile(colorScheme) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme });
  context.setDefaultTimeout(WITHIN);
  // Diagrams are drawn in closed shadow trees, which nothing outside could look into.
  await context.addInitScript(() => {
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function (options) {
      return attach.call(this, { ...options, mode: "open" });
    };
  });
  return async () => listen(await context.newPage());
}

function listen(tab) {
  tab.on("pageerror", (error) => seen.errors.push(`${tab.url()}: ${error}`));
  tab.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.errors.push(`${tab.url()}: ${message.text()}`);
  });
  tab.on("requestfailed", (request) => seen.errors.push(`${tab.url()}: failed: ${request.url()}`));
  tab.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(site) && !url.startsWith("data:") && !url.startsWith("blob:")) seen.external.push(url);
  });
  return tab;
}

/** Waits until each diagram of the page is drawn; returns their number. */
async function drawn(tab) {
  await tab.waitForFunction(() => !document.querySelector("pre.mermaid, pre > code.mermaid"));
  return tab.evaluate(() =>
    [...document.querySelectorAll("div.mermaid")].filter(
      (each) => (each.shadowRoot?.querySelector("svg")?.getBoundingClientRect().height ?? 0) > 20,
    ).length,
  );
}

async function openAll(open, queue) {
  const tab = await open();
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    await tab.goto(site + path, { waitUntil: "load" });
    seen.diagrams[path] = await drawn(tab);
  }
}

const light = await profile("light");
const queue = [...paths];
await Promise.all(Array.from({ length: TABS }, () => openAll(light, queue)));

for (const scheme of ["light", "dark"]) {
  const tab = await (scheme === "light" ? light : await profile(scheme))();
  await tab.goto(`${site}index.html`);
  await drawn(tab);
  seen[scheme] = await tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await tab.screenshot({ path: `${pictures}/site-${scheme}.png` });
  if (scheme === "light") {
    await tab.getByRole("button", { name: "Search" }).first().click();
    await tab.getByRole("combobox", { name: "Search" }).fill("AttemptsExhausted");
    await tab.getByRole("option").first().waitFor();
    seen.results = await tab.getByRole("option").evaluateAll((all) => all.map((each) => each.href));
    await tab.getByRole("option").first().click();
    await tab.waitForURL(/h=AttemptsExhausted/);
  }
}

await browser.close();
process.stdout.write(JSON.stringify(seen));
