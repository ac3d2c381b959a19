/** The page: types at the left, the interactions of one, its form and the answer. */
import { send, show } from "./answer.js";
import { base, load, operations } from "./api.js";
import { copy, make, option } from "./dom.js";
import { Form } from "./form.js";
import { format } from "./json.js";

const SYSTEM = "System";
const at = (id) => document.getElementById(id);
const state = { document: null, operation: null, form: null, turn: 0 };

/** `#Patient/Patient-read?{id}=1` as its parts. */
function address() {
  const [path, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  const [name, operation] = path.split("/");
  return { name: name || SYSTEM, operation, given: [...new URLSearchParams(query)] };
}

/** Shows what the address says; a link to a reading is followed by the reading itself. */
async function route() {
  const { name, operation, given } = address();
  const turn = (state.turn += 1);
  try {
    const found = await load(name);
    if (turn !== state.turn) return;
    at("problem").hidden = true;
    choose(name, found, operation, given);
  } catch (error) {
    problem(error.message);
  }
}

function choose(name, found, operation, given) {
  const all = operations(found);
  state.document = found;
  state.operation = all.find((known) => known.operationId === operation) ?? first(all);
  document.title = `${name} · FHIR API explorer`;
  at("name").textContent = name === SYSTEM ? "Whole system" : name;
  at("specification").hidden = name === SYSTEM;
  at("specification").href = `https://hl7.org/fhir/R4/${name.toLowerCase()}.html`;
  types(found, name);
  at("operations").replaceChildren(...all.map((known) => chip(name, known)));
  at("answer").hidden = true;
  build(given);
  if (operation && state.operation.method === "GET" && given.length && !state.form.missing()) run();
}

/** The interaction that people come for: the search of a type, else the first. */
function first(all) {
  return all.find((known) => known.operationId.endsWith("-search-type")) ?? all[0];
}

function chip(name, operation) {
  const current = operation.operationId === state.operation.operationId;
  return make(
    "a",
    { href: `#${name}/${operation.operationId}`, class: "operation", "aria-current": current && "true" },
    make("span", { class: `method ${operation.method.toLowerCase()}` }, operation.method),
    make("span", {}, operation.summary),
  );
}

function types(found, current) {
  const list = at("types");
  if (!list.childElementCount) {
    list.append(...found.tags.map((tag) => make("li", {}, make("a", { href: `#${tag.name}` }, tag.name))));
    filter();
  }
  for (const link of list.querySelectorAll("a")) {
    const chosen = link.textContent === current;
    if (!chosen) link.removeAttribute("aria-current");
    else {
      link.setAttribute("aria-current", "page");
      reveal(list, link);
    }
  }
}

/** Scrolls the list, and nothing around it, to an entry that cannot be seen. */
function reveal(list, link) {
  const top = link.getBoundingClientRect().top - list.getBoundingClientRect().top;
  if (top < 0 || top > list.clientHeight - link.offsetHeight) list.scrollTop += top - list.clientHeight / 2;
}

function filter() {
  const wanted = at("filter").value.trim().toLowerCase();
  for (const item of at("types").children) item.hidden = !item.textContent.toLowerCase().includes(wanted);
}

/** The form of the operation, the line that shows its request, and the buttons. */
function build(given) {
  const { document: found, operation } = state;
  const form = (state.form = new Form(found, operation, given, () => preview()));
  const mutable = ["update", "patch"].includes(operation["x-fhir-interaction"]);
  at("request").replaceChildren(
    make("code", { id: "url", class: "url" }),
    ...form.elements,
    make("p", { id: "fault", class: "fault", role: "status" }),
    make(
      "div",
      { class: "line" },
      make("button", { type: "submit", class: operation.method === "DELETE" ? "danger" : "" }, "Run"),
      make("label", { class: "inline" }, "as ", make("select", { id: "format", oninput: preview }, option("application/fhir+json", "JSON"), option("application/fhir+xml", "XML"))),
      mutable && operation.method === "PUT"
        ? make("button", { type: "button", class: "quiet", onclick: current }, "Load the current version")
        : null,
      make("button", { type: "button", class: "quiet", id: "copy", onclick: copyCurl }, "Copy curl"),
      make("span", { class: "hint" }, "Ctrl+Enter runs it"),
    ),
    make("details", {}, make("summary", {}, "curl"), make("pre", { id: "curl", class: "curl", tabindex: "0" })),
  );
  preview();
}

function request() {
  const made = state.form.request();
  const token = at("token").value.trim();
  const authorization = token ? [["Authorization", `Bearer ${token}`]] : [];
  return {
    ...made,
    url: base + made.path + (made.query ? `?${made.query}` : ""),
    headers: [["Accept", at("format").value], ...authorization, ...made.headers],
  };
}

function preview() {
  const made = request();
  const fault = state.form.fault();
  at("url").replaceChildren(make("span", { class: `method ${made.method.toLowerCase()}` }, made.method), ` ${made.url}`);
  at("curl").textContent = curl(made);
  at("fault").textContent = fault ? `The body is not JSON: ${fault}` : "";
}

/** The request for a shell; a token stays out of it, to be set there as TOKEN. */
function curl({ method, url, headers, body }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [`curl -i -X ${method} ${quoted(url)}`];
  for (const [name, value] of headers) {
    lines.push(name === "Authorization" ? '-H "Authorization: Bearer $TOKEN"' : `-H ${quoted(`${name}: ${value}`)}`);
  }
  if (body) lines.push(`--data-raw ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

async function copyCurl() {
  const done = await copy(at("curl").textContent);
  at("copy").textContent = done ? "Copied" : "Could not copy: see below";
  if (!done) at("curl").parentElement.open = true;
  setTimeout(() => at("copy") && (at("copy").textContent = "Copy curl"), 1500);
}

async function run() {
  const empty = state.form.missing();
  if (empty) {
    empty.focus();
    problem(`${state.form.path.find((field) => field.input === empty).name} is needed`);
    return;
  }
  remember();
  await answer(request());
}

/** Keeps what was asked in the address, so that it can be shared and found again. */
function remember() {
  const { name } = address();
  const query = state.form.state();
  const hash = `#${name}/${state.operation.operationId}${query ? `?${query}` : ""}`;
  history.replaceState(null, "", hash);
}

async function answer(made) {
  at("problem").hidden = true;
  at("request").setAttribute("aria-busy", "true");
  try {
    const { method, headers, body } = made;
    const got = await send(made.url, { method, headers, body: body === null ? undefined : body });
    show(at("answer"), state.document, got, page);
  } catch (error) {
    problem(`The server could not be reached: ${error.message}`);
  } finally {
    at("request").removeAttribute("aria-busy");
  }
}

/** Another page of the Bundle that is shown. */
function page(path) {
  answer({ ...request(), method: "GET", url: base + path, body: null });
}

/** Puts the resource that the path names into the body, exactly as the server has it. */
async function current() {
  if (state.form.missing()) return run();
  const { url, headers } = request();
  const got = await send(url, { method: "GET", headers: headers.filter(([name]) => name === "Authorization") });
  if (got.status !== 200) return show(at("answer"), state.document, got, page);
  state.form.body.value = format(got.text);
  preview();
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = false;
}

at("base").textContent = base;
at("filter").addEventListener("input", filter);
at("filter").addEventListener("keydown", (event) => {
  const shown = [...at("types").children].find((item) => !item.hidden);
  if (event.key === "Enter" && shown) location.hash = shown.firstChild.hash;
});
at("token").addEventListener("input", preview);
at("sign-in").addEventListener("submit", (event) => event.preventDefault());
at("request").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  else if (event.key === "/" && !typing) {
    event.preventDefault();
    at("filter").focus();
  }
});
window.addEventListener("hashchange", route);
route();
