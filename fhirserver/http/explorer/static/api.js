/** The OpenAPI document of a type, and what the explorer asks of it. */

/** Where the FHIR API is, seen from this page: beside it, also behind a proxy that adds a prefix. */
export const base = new URL("fhir", location.href.split(/[?#]/)[0]).href;

const documents = new Map();

/** The slice of a type, or of "System"; kept once loaded. */
export function load(name) {
  if (!documents.has(name)) {
    const loading = fetch(`docs/openapi.json?type=${encodeURIComponent(name)}`).then((response) => {
      if (!response.ok) throw new Error(`The document of ${name} could not be loaded (${response.status})`);
      return response.json();
    });
    loading.catch(() => documents.delete(name));
    documents.set(name, loading);
  }
  return documents.get(name);
}

/** What people come for first; the rest follows in the order of the document. */
const ORDER = "search create read update patch delete vread history".split(" ");

/** The operations of a document, each with `path` and `method`: forms, conditional ones and compartments last. */
export function operations(document) {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase() })),
  );
  const rank = ({ operationId: id, path, ...operation }) => {
    const place = ORDER.indexOf(operation["x-fhir-interaction"]);
    return place < 0 || id.endsWith("-form") || id.includes("-compartment") ? ORDER.length : place;
  };
  return document.paths["/metadata"] ? all : all.sort((one, other) => rank(one) - rank(other));
}

/** The parameters of an operation that stand in `place` (path, query, header), references resolved. */
export function parameters(document, operation, place) {
  return operation.parameters
    .map((parameter) => (parameter.$ref ? follow(document, parameter.$ref) : parameter))
    .filter((parameter) => parameter.in === place);
}

/** What a local `$ref` points at. */
export function follow(document, ref) {
  return ref
    .slice(2)
    .split("/")
    .reduce((part, key) => part[key], document);
}

/** The search parameters of the document's type: those of its search operation. */
export function searchParameters(document) {
  const search = operations(document).find((found) => found["x-fhir-interaction"] === "search" && found.method === "GET");
  return search ? parameters(document, search, "query") : [];
}

/** A URL of this server as a path below the base, or null: answers carry its public base. */
export function relative(document, url) {
  for (const known of [document.servers[0].url, base]) {
    if (url === known || url.startsWith(`${known}/`) || url.startsWith(`${known}?`)) return url.slice(known.length);
  }
  return null;
}
