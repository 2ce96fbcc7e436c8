// The page in a real browser: page.mjs BASE CHROMIUM MODULES FOLDER
//
// Says on its standard output what it is about to need ("stop", "start"), and goes on when a line comes in: the
// harness stops and starts the server behind it. Screenshots go to FOLDER.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const [base, executablePath, modules, folder] = process.argv.slice(2);
const { chromium } = createRequire(modules + "/")("playwright-core");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(what) {
  console.log(what);
  const { done } = await lines.next();
  if (done) {
    throw new Error("the harness is gone");
  }
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1200, height: 800 } });
const page = await context.newPage();
page.setDefaultTimeout(60_000);
const complaints = [];
page.on("console", (message) => {
  if (message.type() === "error") {
    complaints.push(message.text());
  }
});
page.on("pageerror", (error) => complaints.push(String(error)));

async function publish(text) {
  await page.getByLabel("Publish", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Publish" }).click();
  await page.getByText(/^Stored as /).waitFor();
}

// Everything by keyboard: the first field is one Tab behind the link.
await page.goto(base);
await page.getByText("Connected", { exact: true }).waitFor();
await page.getByLabel("New topic").focus();
await page.keyboard.type("looked-at");
await page.keyboard.press("Enter");
await page.getByRole("heading", { name: "looked-at" }).waitFor();
await page.getByText("Following.").waitFor();

await publish("first");
await page.getByLabel("Messages as they come").getByText("first", { exact: true }).waitFor();
await page.screenshot({ path: `${folder}/light.png` });
assert.deepEqual(complaints, [], "the page's policy or script complained");

// The stream comes back by itself, from where it was, after the server was away.
await ask("stop");
await page.getByText("Connection lost; trying again…").waitFor();
await ask("start");
await page.getByText("Following.").waitFor();
await publish("second");
await page.getByLabel("Messages as they come").getByText("second", { exact: true }).waitFor();
const events = page.getByLabel("Messages as they come").getByRole("listitem");
assert.equal(await events.count(), 2, "lost or repeated");

await page.getByRole("tab", { name: "Stored" }).click();
await page.getByLabel("Stored messages").getByText("first", { exact: true }).waitFor();

// What somebody else asks of the server, from within the page.
function asks(method, path, body) {
  return page.evaluate(async ([method, path, body]) => {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(path, { method, headers: body ? headers : {}, body: body && JSON.stringify(body) });
    return answer.json();
  }, [method, path, body]);
}

// Has the group give up what it gets; a receive has at most one message here.
async function giveUp(body, reason) {
  await asks("POST", "/v1/topics/broken/messages", { body });
  const { messages } = await asks("POST", receive);
  await asks("POST", "/v1/groups/fixers/leases:dead-letter", { lease_ids: [messages[0].lease_id], reason });
}

// A message that a group gave up is sent again, by keyboard, and the group gets it.
const receive = "/v1/groups/fixers/messages:receive?topic=broken&tag=*&wait=20s&max=1";
await asks("PUT", "/v1/topics/broken");
await asks("PUT", "/v1/groups/fixers");
await giveUp("does not fit", "too wide");
await page.getByLabel("Groups and their lag").getByRole("button", { name: "fixers" }).click();
const dead = page.getByLabel("Dead letters", { exact: true });
await dead.getByText("does not fit", { exact: true }).waitFor();
await dead.getByText("from broken · too wide").waitFor();
await page.screenshot({ path: `${folder}/dead-letters.png` });
await page.getByRole("button", { name: "Send all again" }).focus();
await page.keyboard.press("Enter");
await page.getByText("Sent again: 1 of 1.").waitFor();
await dead.getByText("No dead letters.").waitFor();
const { messages: [again] } = await asks("POST", receive);
assert.equal(again.body, "does not fit");
await asks("POST", "/v1/groups/fixers/leases:ack", { lease_ids: [again.lease_id] });
await page.getByLabel("Topics").getByRole("button", { name: "looked-at" }).click();

// Behind more letters that were sent again than a page looks at, there is one that was not.
await asks("PUT", "/v1/topics/elsewhere");
for (let count = 0; count < 3; count += 1) {
  await giveUp("x".repeat(3 << 19));
}
let operation = await asks("POST", "/v1/groups/fixers/dead-letters:redrive", { to: "elsewhere" });
while (operation.state === "running") {
  operation = await asks("GET", `/v1/operations/${operation.id}`);
}
await giveUp("left behind");
await page.getByLabel("Groups and their lag").getByRole("button", { name: "fixers" }).click();
await dead.getByText("left behind", { exact: true }).waitFor();
assert.equal(await dead.getByRole("listitem").count(), 1, "what was sent again is shown");
await page.getByLabel("Topics").getByRole("button", { name: "looked-at" }).click();

// The contract for people: every operation is there, and nothing complains.
const before = complaints.length;
const reader = await context.newPage();
reader.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
reader.on("pageerror", (error) => complaints.push(String(error)));
await reader.goto(`${base}/docs`);
await reader.getByRole("heading", { name: "publishMessage" }).waitFor();
const [told, laid] = await reader.evaluate(async () => {
  const contract = await (await fetch("/openapi.json")).json();
  const operations = Object.values(contract.paths).flatMap((item) => Object.values(item)).map((one) => one.operationId);
  return [operations.filter(Boolean).sort(), [...document.querySelectorAll("article")].map((one) => one.id).sort()];
});
assert.deepEqual(laid, told);
const [odd, wide] = await reader.evaluate(() => [
  document.body.innerText.includes("[object"), document.documentElement.scrollWidth > innerWidth]);
assert.deepEqual([odd, wide], [false, false], "something is not laid out");
await reader.getByLabel("Filter").fill("redrive");
await reader.getByRole("link", { name: "redriveDeadLetters" }).first().click();
await reader.screenshot({ path: `${folder}/docs.png` });
assert.deepEqual(complaints.slice(before), [], "the page of the contract complained");
await reader.close();

await page.emulateMedia({ colorScheme: "dark" });
await page.getByRole("tab", { name: "Live" }).click();
await page.screenshot({ path: `${folder}/dark.png` });
await page.setViewportSize({ width: 390, height: 800 });
await page.screenshot({ path: `${folder}/narrow.png`, fullPage: true });

// A hundred times: the connection breaks, the browser comes back with the last id it heard.
const resumed = await page.evaluate(async () => {
  const path = "/v1/topics/resumed";
  await fetch(path, { method: "PUT" });
  const seen = [];
  let last = null;
  let opened = 0;
  let published = 0;
  const publish = async () => {
    const body = JSON.stringify({ body: String(published++) });
    await fetch(`${path}/messages`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  };
  for (; opened < 100; opened += 1) {
    const from = last === null ? "from=earliest" : `last_event_id=${encodeURIComponent(last)}`;
    const source = new EventSource(`${path}/stream?${from}`);
    const one = new Promise((resolve) => {
      source.onmessage = (event) => {
        seen.push(JSON.parse(event.data).body);
        last = event.lastEventId;
        resolve();
      };
    });
    await Promise.all([publish(), publish()]);
    await one;
    source.close();
  }
  const source = new EventSource(`${path}/stream?last_event_id=${encodeURIComponent(last)}`);
  await new Promise((resolve) => {
    const whole = () => seen.length >= published && resolve();
    source.onmessage = (event) => {
      seen.push(JSON.parse(event.data).body);
      whole();
    };
    whole();
  });
  source.close();
  return { seen: seen.map(Number).sort((a, b) => a - b), published };
});
assert.deepEqual(resumed.seen, [...Array(resumed.published).keys()], "lost or repeated");
await browser.close();
console.log("done");
