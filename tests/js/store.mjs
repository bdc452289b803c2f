// The store through the SDK, against the API whose URL is given, under a label that nobody else uses.
// Prints what the SDK made of the answers as one line of JSON.

import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.argv[2], callerOptions: { maxRetries: 0 } });
const place = process.argv[3];
const seen = {};

await client.store.putItem([place, "a"], "one", { text: "aaa", n: 1 });
await client.store.putItem([place, "b"], "two", { text: "bbb", n: 2 }, { index: false, ttl: 5 });
seen.one = await client.store.getItem([place, "a"], "one");
seen.none = await client.store.getItem([place, "a"], "none");
seen.all = await client.store.searchItems([place], { limit: 5 });
seen.some = await client.store.searchItems([place], { filter: { n: { $gt: 1 } }, refreshTtl: true });
seen.near = await client.store.searchItems([place], { query: "aa" });
seen.places = await client.store.listNamespaces({ prefix: [place], maxDepth: 2 });
await client.store.deleteItem([place, "a"], "one");
seen.gone = await client.store.getItem([place, "a"], "one");

console.log(JSON.stringify(seen));
