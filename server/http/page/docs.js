// The contract for people: /openapi.json, laid out. Nothing is loaded from anywhere else.
"use strict";

const METHODS = ["get", "put", "post", "patch", "delete"];
const DEPTH = 6; // schemas within schemas that are laid out
let contract = null;

// An element with children; texts are texts, never markup.
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function resolved(value) {
  if (!value || !value.$ref) {
    return value;
  }
  return value.$ref.slice(2).split("/").reduce((at, step) => at[step], contract);
}

// Paragraphs, with `code` as code.
function prose(text) {
  return (text || "").split(/\n{2,}/).filter(Boolean).map((paragraph) => {
    const parts = paragraph.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
    return make("p", {}, parts);
  });
}

// What a value is, in a few words.
function kind(schema) {
  if (schema.const !== undefined) {
    return JSON.stringify(schema.const);
  }
  if (schema.enum) {
    return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  }
  const named = schema.$ref ? schema.$ref.split("/").pop() : null;
  const own = resolved(schema);
  const choices = own.oneOf || own.anyOf;
  if (choices) {
    return choices.map(kind).join(" | ");
  }
  if (own.enum) {
    return kind(own);
  }
  const types = [own.type || "any"].flat().filter((type) => type !== "null");
  const type = types.map((one) => (one === "array" && own.items ? `${kind(own.items)}[]` : one)).join(" | ");
  const bounds = [["minimum", "≥"], ["maximum", "≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"],
    ["minItems", "items ≥"], ["maxItems", "items ≤"]];
  const said = bounds.filter(([name]) => own[name] !== undefined).map(([name, sign]) => `${sign} ${own[name]}`);
  const nullable = [own.type].flat().includes("null") ? " or null" : "";
  return `${named && own.type !== "object" ? named : type}${nullable}${said.length ? `, ${said.join(", ")}` : ""}`;
}

// The members of an object, and theirs.
function members(schema, depth) {
  const own = resolved(schema) || {};
  if (depth === 0) {
    return null;
  }
  if (own.type === "array" || own.items) {
    return members(own.items || {}, depth);
  }
  const choices = own.oneOf || own.anyOf;
  if (choices) {
    return choices.map((choice) => members(choice, depth - 1)).filter(Boolean);
  }
  if (!own.properties) {
    return null;
  }
  return make("ul", {}, Object.entries(own.properties).map(([name, value]) => {
    const required = (own.required || []).includes(name);
    const about = value.description || (resolved(value) || {}).description;
    const line = [make("code", {}, name), " ", make("small", {}, `${kind(value)}${required ? ", required" : ""}`)];
    return make("li", {}, line, about ? make("span", { class: "about" }, ` ${about}`) : null, members(value, depth - 1));
  }));
}

function table(parameters) {
  const rows = parameters.map((parameter) => make("tr", {},
    make("td", {}, make("code", {}, parameter.name)),
    make("td", {}, parameter.in + (parameter.required ? ", required" : "")),
    make("td", {}, kind(parameter.schema || {})),
    make("td", {}, prose(parameter.description || (resolved(parameter.schema) || {}).description))));
  const heads = ["Name", "In", "Kind", "Meaning"].map((text) => make("th", { scope: "col" }, text));
  return make("div", { class: "wide" }, make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows)));
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// A line to try, made of the contract's own examples.
function curl(method, path, parameters, body) {
  let target = path;
  const query = [];
  const words = ["curl"];
  for (const parameter of parameters) {
    const example = parameter.example;
    if (parameter.in === "path") {
      target = target.replace(`{${parameter.name}}`, encodeURIComponent(example === undefined ? "…" : example));
    } else if (parameter.in === "query" && parameter.required) {
      query.push(`${parameter.name}=${encodeURIComponent(example)}`);
    }
  }
  if (method !== "get") {
    words.push("-X", method.toUpperCase());
  }
  if (body) {
    const [type, media] = Object.entries(body.content)[0];
    const raw = typeof media.example === "string" && !type.includes("json");
    words.push("-H", quoted(`Content-Type: ${type === "*/*" ? "application/octet-stream" : type}`));
    words.push("-d", quoted(raw ? media.example : JSON.stringify(media.example)));
  }
  words.push(quoted(`${location.origin}${target}${query.length ? `?${query.join("&")}` : ""}`));
  return words.join(" ");
}

function response(status, answer) {
  const own = resolved(answer);
  const media = Object.entries(own.content || {}).map(([type, { schema, example }]) => [
    make("p", {}, make("code", {}, type)),
    members(schema, DEPTH),
    example === undefined ? null : make("pre", {}, typeof example === "string" ? example : JSON.stringify(example, null, 2)),
  ]);
  const headers = Object.entries(own.headers || {}).map(([name, header]) =>
    make("li", {}, make("code", {}, name), ` ${resolved(header).description || ""}`));
  return make("details", {}, make("summary", {}, make("b", {}, status), ` ${own.description}`),
    headers.length ? make("ul", {}, headers) : null, media.flat());
}

function operation(path, shared, method, own) {
  const parameters = [...shared, ...(own.parameters || [])].map(resolved);
  const problems = own["x-problems"] || [];
  const body = own.requestBody ? resolved(own.requestBody) : null;
  const media = body ? Object.entries(body.content) : [];
  const answers = Object.entries(own.responses).filter(([status]) => !/^[45]XX$/.test(status));
  return make("article", { id: own.operationId, "aria-labelledby": `${own.operationId}-title` },
    make("h3", { id: `${own.operationId}-title` }, make("a", { href: `#${own.operationId}` }, own.operationId)),
    make("p", { class: "path" }, make("b", { class: method }, method.toUpperCase()), " ", make("code", {}, path)),
    make("p", {}, own.summary), prose(own.description),
    make("pre", {}, curl(method, path, parameters, body)),
    parameters.length ? [make("h4", {}, "Parameters"), table(parameters)] : null,
    media.map(([type, { schema }]) => [make("h4", {}, `Body: ${type}`), members(schema, DEPTH)]),
    make("h4", {}, "Answers"), answers.map(([status, answer]) => response(status, answer)),
    problems.length ? [make("h4", {}, "Problems of its own"), make("p", {}, problems.map((slug) =>
      [make("a", { href: `/problems/${slug}` }, slug), " "]))] : null);
}

function lay(document_) {
  contract = document_;
  document.getElementById("version").textContent = `${contract.info.summary} Version ${contract.info.version}.`;
  document.getElementById("about").append(...prose(contract.info.description));
  const all = Object.entries(contract.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, item, method, own: item[method] })));
  // An operation of several tags is in the index below each of them, and laid out below its first.
  for (const tag of contract.tags) {
    const ours = all.filter(({ own }) => own.tags.includes(tag.name));
    const items = ours.map(({ own }) => make("li", { "data-words": `${own.operationId} ${own.summary}`.toLowerCase() },
      make("a", { href: `#${own.operationId}` }, own.operationId)));
    document.getElementById("index").append(make("h3", {}, tag.name), make("ul", { class: "list" }, items));
    document.getElementById("operations").append(make("section", { "aria-labelledby": `tag-${tag.name}` },
      make("h2", { id: `tag-${tag.name}` }, tag.name), prose(tag.description),
      ours.filter(({ own }) => own.tags[0] === tag.name).map(({ path, item, method, own }) =>
        operation(path, item.parameters || [], method, own))));
  }
  // What the address names is there only now.
  const named = location.hash && document.getElementById(location.hash.slice(1));
  if (named) {
    named.scrollIntoView();
  }
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const item of document.querySelectorAll("#index li")) {
    item.hidden = !item.dataset.words.includes(wanted);
  }
});
fetch("/openapi.json").then((answer) => answer.json()).then(lay).catch((error) => {
  const at = document.getElementById("version");
  at.textContent = `The contract cannot be read: ${error.message}`;
  at.className = "bad";
});
