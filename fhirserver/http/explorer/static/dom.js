/** Elements without markup in strings: what a server answers never becomes HTML. */

/** An element: `make("a", {href: "#", class: "x", onclick: f}, "text", child)`. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An `<option>`. */
export function option(value, text = value, attributes = {}) {
  return make("option", { value, ...attributes }, text);
}

let count = 0;

/** An id that no other element has. */
export function unique(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

/** An input of any kind with the texts it offers. */
export function suggesting(input, values) {
  if (!values || !values.length) return [input];
  const list = make("datalist", { id: unique("list") }, ...values.map((value) => option(value)));
  input.setAttribute("list", list.id);
  return [input, list];
}

/** Puts text on the clipboard; says whether that worked. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
