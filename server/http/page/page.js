// The page for people. It uses nothing but the public API.
"use strict";

const SHOWN = 200; // messages kept on the page
const byId = (id) => document.getElementById(id);
let topic = null; // the one that is looked at
let group = null; // or the group
let stream = null;

async function call(method, path, body) {
  const init = { method, headers: {} };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  const response = await fetch(path, init);
  const json = response.status === 204 ? null : await response.json();
  if (!response.ok) {
    const faults = (json.errors || []).map((fault) => fault.detail);
    const error = new Error([json.title, json.detail, ...faults].filter(Boolean).join(": "));
    error.status = response.status;
    throw error;
  }
  return json;
}

function say(id, text, kind) {
  const at = byId(id);
  at.textContent = text;
  at.className = kind || "";
}

async function all(path) {
  const items = [];
  let token = "";
  do {
    const page = await call("GET", `${path}?limit=100${token}`);
    items.push(...page.items);
    token = page.next_page_token ? `&page_token=${encodeURIComponent(page.next_page_token)}` : null;
  } while (token !== null && items.length < 1000);
  return items;
}

function entry(text, count) {
  const parts = [document.createElement("span"), document.createElement("span")];
  parts[0].textContent = text;
  parts[1].textContent = count;
  parts[1].className = "count";
  return parts;
}

async function showTopics() {
  const topics = await all("/v1/topics");
  byId("topics").replaceChildren(...topics.map(({ name }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...entry(name, ""));
    button.setAttribute("aria-current", String(name === topic));
    button.addEventListener("click", () => { location.hash = encodeURIComponent(name); });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  if (topics.length === 0) {
    nothing("topics", "No topic yet. Make one.");
  }
}

function nothing(list, text) {
  const item = document.createElement("li");
  item.className = "empty";
  item.textContent = text;
  byId(list).replaceChildren(item);
}

async function showGroups() {
  const groups = await all("/v1/groups");
  const items = await Promise.all(groups.slice(0, 100).map(async ({ name }) => {
    const row = document.createElement("button");
    row.type = "button";
    row.setAttribute("aria-current", String(name === group));
    row.addEventListener("click", () => { location.hash = `group=${encodeURIComponent(name)}`; });
    let behind = "?";
    try {
      const lag = await call("GET", `/v1/groups/${encodeURIComponent(name)}/lag`);
      behind = lag.lag === 0 ? "up to date" : `${lag.lag} behind`;
    } catch (error) {
      row.title = error.message;
    }
    row.append(...entry(name, behind));
    const item = document.createElement("li");
    item.append(row);
    return item;
  }));
  byId("groups").replaceChildren(...items);
  if (items.length === 0) {
    nothing("groups", "No group yet. The first consumer makes one.");
  }
}

async function refresh() {
  try {
    await Promise.all([showTopics(), showGroups()]);
    say("cluster", "Connected", "good");
  } catch (error) {
    say("cluster", `Not connected: ${error.message}`, "bad");
  }
}

function shown(message) {
  const item = document.createElement("li");
  const body = document.createElement("pre");
  body.textContent = typeof message.body === "string" ? message.body : JSON.stringify(message.body, null, 2);
  const about = document.createElement("small");
  const facts = [message.stored_at, `${message.queue} at ${message.offset}`, message.tag && `tag ${message.tag}`,
    message.keys.length > 0 && `keys ${message.keys.join(" ")}`, message.body_encoding === "base64" && "base64",
    message.message_id];
  about.textContent = facts.filter(Boolean).join(" · ");
  item.append(body, about);
  item.dataset.id = message.message_id;
  return item;
}

// Newest first; the oldest leave.
function prepend(list, item) {
  const at = byId(list);
  at.prepend(item);
  while (at.children.length > SHOWN) {
    at.lastChild.remove();
  }
}

function follow(lastId) {
  if (stream) {
    stream.close();
  }
  const from = lastId ? `?last_event_id=${encodeURIComponent(lastId)}` : "";
  const own = new EventSource(`/v1/topics/${encodeURIComponent(topic)}/stream${from}`);
  let last = lastId;
  own.onopen = () => say("state", "Following.", "good");
  own.onmessage = (event) => {
    last = event.lastEventId;
    prepend("events", shown(JSON.parse(event.data)));
  };
  own.addEventListener("gap", (event) => {
    const gap = JSON.parse(event.data);
    const item = document.createElement("li");
    item.textContent = `Messages ${gap.lost_from} to ${gap.resumed_at - 1} of ${gap.queue} were deleted before they could be shown.`;
    prepend("events", item);
  });
  own.onerror = () => {
    say("state", "Connection lost; trying again…", "bad");
    if (own.readyState === EventSource.CLOSED && own === stream) {
      // The browser has given up, as it does on any answer but a stream.
      setTimeout(() => { if (own === stream) follow(last); }, 3000);
    }
  };
  stream = own;
}

// What the address names: a topic, or a group.
function open() {
  const named = location.hash.slice(1);
  const isGroup = named.startsWith("group=");
  topic = isGroup ? null : decodeURIComponent(named) || null;
  group = isGroup ? decodeURIComponent(named.slice("group=".length)) : null;
  byId("topic").hidden = topic === null;
  byId("group").hidden = group === null;
  if (stream) {
    stream.close();
    stream = null;
  }
  if (topic !== null) {
    byId("topic-title").textContent = topic;
    byId("events").replaceChildren();
    byId("messages").replaceChildren();
    say("published", "");
    say("found", "");
    follow(null);
  }
  if (group !== null) {
    byId("group-title").textContent = group;
    say("redriven", "");
    showDead();
  }
  for (const [list, chosen] of [["topics", topic], ["groups", group]]) {
    for (const button of byId(list).querySelectorAll("button")) {
      button.setAttribute("aria-current", String(button.firstChild.textContent === chosen));
    }
  }
}

function groupPath(rest) {
  return `/v1/groups/${encodeURIComponent(group)}${rest}`;
}

// What the group gave up. Before it gave up anything there is nothing to look into: 404.
async function showDead() {
  const of = group;
  let letters = [];
  let next = "";
  try {
    // A page may be empty although there are letters behind it: those on it were sent again.
    do {
      const more = next ? `&page_token=${encodeURIComponent(next)}` : "";
      const page = await call("GET", groupPath(`/dead-letters?limit=64${more}`));
      letters = page.messages;
      next = page.next_page_token;
    } while (letters.length === 0 && next && of === group);
  } catch (error) {
    if (error.status !== 404) {
      say("redriven", error.message, "bad");
    }
  }
  if (of !== group) {
    return; // another one is looked at meanwhile
  }
  byId("send-again").disabled = letters.length === 0;
  byId("dead").replaceChildren(...letters.map((letter) => {
    const item = shown(letter);
    const { topic: from, reason } = letter.dead_letter || {};
    const why = document.createElement("small");
    why.textContent = [from && `from ${from}`, reason].filter(Boolean).join(" · ");
    item.append(why);
    return item;
  }));
  if (letters.length === 0) {
    nothing("dead", "No dead letters.");
  }
}

async function redrive() {
  const of = group;
  byId("send-again").disabled = true;
  try {
    let operation = await call("POST", groupPath("/dead-letters:redrive"), {});
    while (operation.state === "running" && of === group) {
      say("redriven", `Sending again: ${operation.done} of ${operation.total}…`);
      await new Promise((resolve) => { setTimeout(resolve, 300); });
      operation = await call("GET", `/v1/operations/${encodeURIComponent(operation.id)}`);
    }
    if (of === group) {
      const failed = operation.state !== "done";
      const why = failed ? ` It ${operation.state}${operation.why ? `: ${operation.why}` : ""}.` : "";
      say("redriven", `Sent again: ${operation.done} of ${operation.total}.${why}`, failed ? "bad" : "good");
    }
  } catch (error) {
    say("redriven", error.message, "bad");
  }
  if (of === group) {
    await showDead();
  }
}

function tab(id) {
  for (const name of ["live", "stored"]) {
    byId(name).hidden = name !== id;
    byId(`tab-${name}`).setAttribute("aria-selected", String(name === id));
  }
  if (id === "stored") {
    search();
  }
}

async function search() {
  const wanted = byId("find").value.trim();
  const base = `/v1/topics/${encodeURIComponent(topic)}/messages`;
  try {
    let messages;
    if (wanted === "") {
      messages = (await call("GET", `${base}?limit=64`)).messages;
    } else {
      messages = (await call("GET", `${base}?key=${encodeURIComponent(wanted)}`)).messages;
      if (messages.length === 0) {
        messages = [await call("GET", `${base}/${encodeURIComponent(wanted)}`)];
      }
    }
    byId("messages").replaceChildren(...messages.map(shown));
    say("found", messages.length === 0 ? "No messages." : "");
  } catch (error) {
    byId("messages").replaceChildren();
    say("found", error.message, "bad");
  }
}

byId("make-topic").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = byId("new-topic").value;
  try {
    await call("PUT", `/v1/topics/${encodeURIComponent(name)}`);
    byId("new-topic").value = "";
    await refresh();
    location.hash = encodeURIComponent(name);
  } catch (error) {
    say("cluster", error.message, "bad");
  }
});

byId("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = { body: byId("body").value };
  if (byId("tag").value !== "") {
    message.tag = byId("tag").value;
  }
  if (byId("key").value !== "") {
    message.keys = [byId("key").value];
  }
  try {
    const sent = await call("POST", `/v1/topics/${encodeURIComponent(topic)}/messages`, message);
    byId("body").value = "";
    say("published", `Stored as ${sent.message_id}.`, "good");
  } catch (error) {
    say("published", error.message, "bad");
  }
});

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
for (const name of ["live", "stored"]) {
  byId(`tab-${name}`).addEventListener("click", () => tab(name));
}
byId("redrive").addEventListener("submit", (event) => {
  event.preventDefault();
  redrive();
});
addEventListener("hashchange", open);
refresh().then(open);
setInterval(refresh, 5000);
