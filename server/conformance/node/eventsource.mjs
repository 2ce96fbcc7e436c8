// A browser's own EventSource whose connection is cut again and again: eventsource.mjs BASE CHROMIUM MODULES CUTS
//
// The browser comes through a proxy here that cuts. Between two cuts it gets at least one message; one more is
// published while it is away.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";

const [base, executablePath, modules, cuts] = process.argv.slice(2);
const { chromium } = createRequire(modules + "/")("playwright-core");
const topic = "cut-off";

const open = new Set();
let streams = 0;
const proxy = createServer((near) => {
  const far = connect(Number(new URL(base).port), "127.0.0.1");
  for (const [one, other] of [[near, far], [far, near]]) {
    open.add(one);
    one.on("error", () => {}).on("close", () => open.delete(one) && other.destroy());
  }
  near.on("data", (heads) => (streams += Number(heads.includes("/stream "))));
  near.pipe(far).pipe(near);
});
await once(proxy.listen(0, "127.0.0.1"), "listening");
const through = `http://127.0.0.1:${proxy.address().port}`;

async function call(method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.text()}`);
}

let published = 0;
const publish = () => call("POST", `/v1/topics/${topic}/messages`, { body: String(published++), message_group: "one" });

await call("PUT", `/v1/topics/${topic}`);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage();
page.setDefaultTimeout(60_000);
await page.goto(`${through}/docs`);
await page.evaluate((path) => {
  window.came = [];
  window.source = new EventSource(path);
  window.source.onmessage = (event) => window.came.push(JSON.parse(event.data).body);
}, `/v1/topics/${topic}/stream`);
await page.waitForFunction(() => window.source.readyState === EventSource.OPEN);

for (let cut = 0; cut < Number(cuts); cut += 1) {
  await publish();
  await page.waitForFunction((count) => window.came.length >= count, published);
  open.forEach((socket) => socket.destroy());
  await publish();
}
await page.waitForFunction((count) => window.came.length >= count, published);
assert.deepEqual(await page.evaluate(() => window.came), Array.from({ length: published }, (_, n) => String(n)));
assert.ok(streams > Number(cuts), `${streams} connections for ${cuts} cuts`);
await browser.close();
console.log("done");
process.exit();
