/**
 * JSON text laid out and coloured without decoding it: a decimal keeps the digits that the server sent.
 */
import { make } from "./dom.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const COLOURED_MAX = 400_000;

/** The text with two spaces for each level. */
export function format(text) {
  let out = "";
  for (const [piece] of pieces(text)) out += piece;
  return out;
}

/** An element that shows the text; `link(key, value)` may give an address for a string. */
export function view(text, link) {
  const shown = make("pre", { class: "json", tabindex: "0" });
  if (text.length > COLOURED_MAX) {
    shown.textContent = format(text);
    return shown;
  }
  for (const [piece, kind, key] of pieces(text)) shown.append(kind ? node(piece, kind, key, link) : piece);
  return shown;
}

function node(piece, kind, key, link) {
  if (kind === "string") {
    const address = link(key, unquoted(piece));
    if (address) return make("a", { class: kind, href: address }, piece);
  }
  return make("span", { class: kind }, piece);
}

/** [text, kind, key of the member]: kind is key, string, number, word, or empty for what is between. */
function* pieces(text) {
  const open = [];
  let [key, expectsKey, fresh] = ["", false, false];
  for (const [token] of text.matchAll(TOKEN)) {
    const closing = token === "}" || token === "]";
    if (fresh && !closing) yield [newline(open.length), ""];
    if (closing) {
      open.pop();
      if (!fresh) yield [newline(open.length), ""];
    }
    fresh = token === "{" || token === "[";
    if (fresh) {
      open.push(token);
      expectsKey = token === "{";
      yield [token, ""];
    } else if (token === ",") {
      expectsKey = open.at(-1) === "{";
      yield [`,${newline(open.length)}`, ""];
    } else if (token === ":") {
      expectsKey = false;
      yield [": ", ""];
    } else if (token.startsWith('"')) {
      if (expectsKey) key = unquoted(token);
      yield [token, expectsKey ? "key" : "string", key];
    } else {
      yield [token, closing ? "" : /^[-\d]/.test(token) ? "number" : "word"];
    }
  }
}

function newline(level) {
  return `\n${"  ".repeat(level)}`;
}

function unquoted(token) {
  try {
    return JSON.parse(token);
  } catch {
    return "";
  }
}
