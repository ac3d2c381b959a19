/** What the server answered: status, time, headers, body, and where to go from there. */
import { relative } from "./api.js";
import { make } from "./dom.js";
import { view } from "./json.js";

const REFERENCE = /^([A-Z][A-Za-z]+)\/([A-Za-z0-9\-.]{1,64})(?:\/_history\/([A-Za-z0-9\-.]{1,64}))?$/;
const LINKS = { first: "First page", previous: "Previous", next: "Next", last: "Last page" };

/** Sends a request; gives {status, statusText, headers, text, duration_ms}. */
export async function send(url, { method, headers, body }) {
  const begun = performance.now();
  const response = await fetch(url, { method, headers, body, cache: "no-store", redirect: "manual" });
  const text = await response.text();
  return {
    status: response.status,
    statusText: response.statusText,
    headers: [...response.headers],
    text,
    duration_ms: performance.now() - begun,
  };
}

/** Shows an answer in `place`; `follow(path)` is called for the pages of a Bundle. */
export function show(place, document, answer, follow) {
  const kind = answer.status < 300 ? "good" : answer.status < 400 ? "neutral" : "bad";
  const size = new Blob([answer.text]).size;
  const status = `${answer.status} ${answer.statusText}`.trim();
  place.replaceChildren(
    make(
      "div",
      { class: "line", role: "status" },
      make("strong", { class: `status ${kind}` }, status),
      make("span", { class: "hint" }, `${answer.duration_ms.toFixed(0)} ms · ${readable(size)}`),
    ),
    headerList(answer.headers),
    ...bodyOf(document, answer, follow),
  );
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

function headerList(headers) {
  const rows = headers.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  return make("details", {}, make("summary", {}, `${headers.length} headers`), make("dl", {}, ...rows));
}

function bodyOf(document, answer, follow) {
  if (!answer.text) return [make("p", { class: "hint" }, "No body.")];
  const type = answer.headers.find(([name]) => name === "content-type")?.[1] ?? "";
  if (!type.includes("json")) return [make("pre", { class: "json", tabindex: "0" }, answer.text)];
  return [pages(document, answer.text, follow), view(answer.text, (key, value) => address(document, key, value))];
}

/** The number of matches and the buttons to other pages of a Bundle; null for anything else. */
function pages(document, text, follow) {
  let resource;
  try {
    resource = JSON.parse(text);
  } catch {
    return null;
  }
  if (resource.resourceType !== "Bundle") return null;
  const count = (resource.entry ?? []).length;
  const total = resource.total === undefined ? "" : ` · ${resource.total} in total`;
  const buttons = (resource.link ?? [])
    .filter((link) => link.relation in LINKS)
    .map((link) => [link, relative(document, link.url)])
    .filter(([, path]) => path !== null)
    .map(([link, path]) =>
      make("button", { type: "button", class: "quiet", onclick: () => follow(path) }, LINKS[link.relation]),
    );
  const entries = count === 1 ? "1 entry" : `${count} entries`;
  return make("div", { class: "line" }, make("span", {}, entries + total), ...buttons);
}

/** Where a string of an answer leads within this page, if it does. */
function address(document, key, value) {
  if (!["reference", "fullUrl", "location"].includes(key)) return null;
  const path = relative(document, value)?.slice(1) ?? value;
  const found = REFERENCE.exec(path);
  if (!found || !document.tags.some((tag) => tag.name === found[1])) return null;
  const [, type, id, version] = found;
  return version ? `#${type}/${type}-vread?{id}=${id}&{vid}=${version}` : `#${type}/${type}-read?{id}=${id}`;
}

function readable(bytes) {
  return bytes < 1024 ? `${bytes} B` : bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}
