// Drives the unmodified @segment/analytics-next under jsdom: its UMD bundle runs inside the page, as in a browser.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { JSDOM, VirtualConsole } from "jsdom";

const { url, host, writeKey, person, batching } = JSON.parse(process.argv[2]);
const bundle = createRequire(import.meta.url).resolve("@segment/analytics-next/dist/umd/index.js");
const messages = [];
const virtualConsole = new VirtualConsole();
for (const level of ["error", "warn", "jsdomError"]) {
  virtualConsole.on(level, (...args) => messages.push(`${level}: ${args.map(String).join(" ").slice(0, 300)}`));
}
const { window } = new JSDOM(`<!doctype html><title>Shop</title><p>hello`, {
  url: "http://shop.example/p/1?utm_source=mail",
  runScripts: "outside-only",
  pretendToBeVisual: true,
  virtualConsole,
});
Object.assign(window, { fetch, Headers, Request, Response, AbortController, TextEncoder });
window.eval(readFileSync(bundle, "utf8"));
window.drive = new Function("AnalyticsBrowser", "given", readFileSync(new URL("./drive.js", import.meta.url), "utf8"));
const result = await window.drive(window.AnalyticsNext.AnalyticsBrowser, { url, host, writeKey, person, batching });
await new Promise((resolve) => setTimeout(resolve, 500));
console.log(JSON.stringify({ ...result, messages }));
process.exit(0);
