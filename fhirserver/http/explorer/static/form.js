/** The form of one operation: what it shows, and the request that it stands for. */
import { follow, parameters, searchParameters } from "./api.js";
import { make, option, suggesting, unique } from "./dom.js";
import { skeleton } from "./skeleton.js";

const OTHER = "(other)";
const FORM = "application/x-www-form-urlencoded";

/** Fields for an operation; `changed` is called after each change. */
export class Form {
  constructor(document, operation, given, changed) {
    this.document = document;
    this.operation = operation;
    this.changed = changed;
    this.path = [];
    this.headers = [];
    this.rows = [];
    this.rowList = make("div", { class: "rows" });
    this.body = null;
    this.elements = this.#build(given);
  }

  /** {method, path, query, headers, body} as they stand now. */
  request() {
    const { method } = this.operation;
    const named = Object.fromEntries(this.path.map((field) => [field.name, field.input.value.trim()]));
    const path = this.operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(named[name]));
    const pairs = this.pairs();
    const asForm = this.#media().includes(FORM);
    const type = asForm ? FORM : this.media?.value;
    const headers = this.headers
      .map((field) => [field.name, field.input.value.trim()])
      .filter(([, value]) => value);
    if (type) headers.push(["Content-Type", type]);
    return {
      method,
      path: path === "/" ? "" : path,
      query: asForm ? "" : encoded(pairs),
      headers,
      body: asForm ? encoded(pairs) : (this.body?.value ?? null),
    };
  }

  /** The query parameters that have a value, in order. */
  pairs() {
    return this.rows.map((row) => row.pair()).filter(([name, value]) => name && value);
  }

  /** What gives this form again: variables of the path as `{id}`, then the query. */
  state() {
    const variables = this.path.map((field) => [`{${field.name}}`, field.input.value.trim()]);
    return encoded([...variables.filter(([, value]) => value), ...this.pairs()]);
  }

  /** The first field of the path that is still empty. */
  missing() {
    return this.path.find((field) => !field.input.value.trim())?.input ?? null;
  }

  /** What is wrong with the body as JSON; empty when nothing is. */
  fault() {
    if (!this.body || !this.media?.value.includes("json")) return "";
    try {
      JSON.parse(this.body.value);
      return "";
    } catch (error) {
      return error.message;
    }
  }

  #media() {
    return Object.keys(this.operation.requestBody?.content ?? {});
  }

  #build(given) {
    const { document, operation } = this;
    const query = parameters(document, operation, "query");
    const wanted = given.filter(([name]) => !name.startsWith("{"));
    const parts = [this.#pathFields(new Map(given))];
    const offered = this.#offered(query);
    if (offered.length) parts.push(this.#queryFields(offered, wanted));
    const media = this.#media();
    if (media.length && media[0] !== FORM) parts.push(this.#bodyFields(media));
    const headers = parameters(document, operation, "header");
    if (headers.length) parts.push(this.#headerFields(headers));
    return parts.filter(Boolean);
  }

  #offered(query) {
    const free = query.some((parameter) => parameter.name === "criteria");
    const asForm = this.#media().includes(FORM);
    if (!free && !asForm) return query;
    const fixed = query.filter((parameter) => parameter.name !== "criteria");
    if (this.operation.path.includes("/{id}/")) return fixed.length ? fixed : common(this.document);
    const own = searchParameters(this.document);
    return asForm ? own : own.filter((parameter) => parameter["x-fhir-type"]);
  }

  #field(parameter, value = "") {
    const id = unique("field");
    const choices = parameter.schema?.enum;
    const input =
      choices && parameter.in === "path"
        ? make("select", { id, value, oninput: this.changed }, ...choices.map((choice) => option(choice)))
        : make("input", { id, value, spellcheck: "false", oninput: this.changed });
    if (value) input.value = value;
    if (parameter.required) input.required = true;
    const label = make("label", { for: id }, parameter.name);
    const hint = make("small", { class: "hint" }, parameter.description ?? "");
    return { name: parameter.name, input, element: make("div", { class: "field" }, label, input, hint) };
  }

  #pathFields(given) {
    const found = parameters(this.document, this.operation, "path");
    this.path = found.map((parameter) => this.#field(parameter, given.get(`{${parameter.name}}`)));
    return this.path.length ? make("div", { class: "fields" }, ...this.path.map((field) => field.element)) : null;
  }

  #headerFields(headers) {
    this.headers = headers.map((parameter) => this.#field(parameter));
    return make(
      "details",
      {},
      make("summary", {}, "Headers"),
      make("div", { class: "fields" }, ...this.headers.map((field) => field.element)),
    );
  }

  #queryFields(offered, given) {
    const add = (pair) => {
      const row = new Row(this, offered, pair);
      this.rows.push(row);
      this.rowList.append(row.element);
      return row;
    };
    given.forEach(add);
    if (!given.length && this.operation["x-fhir-interaction"] === "search") add();
    const button = make(
      "button",
      { type: "button", class: "quiet", onclick: () => add().focus() },
      "Add a parameter",
    );
    return make("fieldset", {}, make("legend", {}, "Parameters"), this.rowList, button);
  }

  #bodyFields(media) {
    const id = unique("body");
    this.body = make("textarea", { id, rows: "12", spellcheck: "false", oninput: this.changed });
    this.body.value = skeleton(this.document, this.operation);
    this.media = make(
      "select",
      { "aria-label": "Media type of the body", oninput: this.changed },
      ...media.map((name) => option(name)),
    );
    return make(
      "div",
      { class: "body" },
      make("div", { class: "line" }, make("label", { for: id }, "Body"), this.media),
      this.body,
    );
  }

  remove(row) {
    this.rows = this.rows.filter((kept) => kept !== row);
    row.element.remove();
    this.changed();
  }
}

/** One query parameter: which, with what modifier, and its value. */
class Row {
  constructor(form, offered, [name, value] = ["", ""]) {
    this.form = form;
    this.offered = offered;
    const [code, modifier] = split(name);
    const known = offered.find((parameter) => parameter.name === code) && !name.includes(".");
    this.name = make("select", { "aria-label": "Parameter", oninput: () => this.#chosen() }, ...this.#options());
    this.name.value = !name ? this.name.options[0].value : known ? code : OTHER;
    this.other = make("input", {
      "aria-label": "Name of the parameter",
      placeholder: "patient.name, _has:…",
      spellcheck: "false",
      oninput: form.changed,
      value: known ? "" : name,
    });
    this.modifier = make("select", { "aria-label": "Modifier", oninput: form.changed });
    this.value = make("span", { class: "value" });
    this.hint = make("small", { class: "hint" });
    const remove = make(
      "button",
      { type: "button", class: "quiet", "aria-label": "Remove", title: "Remove", onclick: () => form.remove(this) },
      "✕",
    );
    this.element = make("div", { class: "row" }, this.name, this.other, this.modifier, this.value, remove, this.hint);
    this.#shape(modifier, value);
  }

  pair() {
    const chosen = this.name.value;
    const modifier = this.modifier.value ? `:${this.modifier.value}` : "";
    return [chosen === OTHER ? this.other.value.trim() : chosen + modifier, this.input.value];
  }

  focus() {
    this.name.focus();
  }

  #options() {
    const groups = { "Of this type": [], "Of every type": [], Results: [] };
    for (const parameter of this.offered) {
      const group = !parameter["x-fhir-type"] ? "Results" : parameter.name.startsWith("_") ? "Of every type" : "Of this type";
      groups[group].push(option(parameter.name));
    }
    const filled = Object.entries(groups).filter(([, options]) => options.length);
    const elements = filled.map(([label, options]) => make("optgroup", { label }, ...options));
    return [...elements, make("optgroup", { label: "By name" }, option(OTHER, "chain, _has, …"))];
  }

  #chosen() {
    this.#shape("", this.input.value);
    this.form.changed();
  }

  /** Fits modifiers, hint and suggestions to the chosen parameter. */
  #shape(modifier, value) {
    const parameter = this.offered.find((found) => found.name === this.name.value);
    const type = parameter?.["x-fhir-type"];
    const rules = this.form.document["x-fhir-search-types"][type] ?? { modifiers: [], prefixes: [], example: "" };
    const targets = (type === "reference" && parameter["x-fhir-targets"]) || [];
    const modifiers = ["", ...rules.modifiers, ...(targets.length > 1 ? targets : [])];
    this.modifier.replaceChildren(...modifiers.map((name) => option(name, name ? `:${name}` : "=")));
    this.modifier.value = modifiers.includes(modifier) ? modifier : "";
    this.modifier.hidden = modifiers.length < 2;
    this.other.hidden = this.name.value !== OTHER;
    this.hint.textContent = [type ?? parameter?.description, hint(parameter, rules)].filter(Boolean).join(" · ");
    this.input = make("input", {
      "aria-label": "Value",
      placeholder: placeholder(parameter, rules, targets),
      spellcheck: "false",
      value,
      oninput: this.form.changed,
    });
    this.value.replaceChildren(...suggesting(this.input, this.#suggestions(parameter)));
  }

  #suggestions(parameter) {
    const { document } = this.form;
    if (parameter?.schema.enum) return parameter.schema.enum;
    const codes = () => this.offered.filter((found) => found["x-fhir-type"]).map((found) => found.name);
    return {
      _include: () => document["x-fhir-includes"],
      _revinclude: () => document["x-fhir-revincludes"],
      _sort: () => codes().flatMap((code) => [code, `-${code}`]),
      _type: () => document.tags.map((tag) => tag.name).slice(1),
    }[parameter?.name]?.();
  }
}

/** The parameters of every type, where a document has no search of its own. */
function common(document) {
  return Object.keys(document.components.parameters)
    .filter((name) => name.startsWith("_") && !["_since", "_at", "_type"].includes(name))
    .map((name) => follow(document, `#/components/parameters/${name}`));
}

function split(name) {
  const [code, ...rest] = name.split(":");
  return [code, rest.join(":")];
}

function hint(parameter, rules) {
  if (parameter?.["x-fhir-parts"]) return `parts: ${parameter["x-fhir-parts"].join("$")}`;
  return rules.prefixes.length ? `prefixes ${rules.prefixes.join(" ")}` : "";
}

function placeholder(parameter, rules, targets) {
  if (parameter?.["x-fhir-parts"]) return parameter["x-fhir-parts"].join("$");
  if (targets.length) return `${targets[0]}/123`;
  return rules.example;
}

/** Form encoding that stays readable: what RFC 3986 allows in a query is left as it is. */
export function encoded(pairs) {
  return pairs.map(([name, value]) => `${escaped(name)}=${escaped(value)}`).join("&");
}

function escaped(text) {
  return encodeURIComponent(text).replace(/%(2C|3A|2F|24|7C|40)/g, (found, code) =>
    code === "7C" ? found : String.fromCharCode(parseInt(code, 16)),
  );
}
