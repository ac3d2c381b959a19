/** A first text for the body of a request, made of what its schema requires. */

const DEPTH_MAX = 4;
const USUAL = ["active", "final", "completed", "planned"];

/** The text for an operation; empty where it has no body to write. */
export function skeleton(document, operation) {
  const content = operation.requestBody?.content ?? {};
  const [schema] = Object.values(content).map((media) => media.schema);
  if (!schema) return "";
  const name = schema.$ref?.split("/").pop();
  if (name === "JsonPatch") return text([{ op: "add", path: "/language", value: "en" }]);
  if (name === "Bundle" && operation["x-fhir-interaction"] === "bundle") return text(batch());
  return text(example(document, schema, 0));
}

function batch() {
  return {
    resourceType: "Bundle",
    type: "batch",
    entry: [{ request: { method: "GET", url: "Patient?_count=1" } }],
  };
}

function text(value) {
  return JSON.stringify(value, null, 2);
}

/** The one property that an object with none required is written with, for no object is empty. */
function usual(schema) {
  const properties = schema.properties ?? {};
  const name = ["text", "reference", "value", "display"].find((known) => known in properties);
  return name ? [name] : Object.keys(properties).filter((known) => known !== "id" && known !== "extension").slice(0, 1);
}

function example(document, schema, depth) {
  if (schema.$ref) return example(document, document.components.schemas[schema.$ref.split("/").pop()], depth);
  if ("const" in schema) return schema.const;
  if (schema.enum) return USUAL.find((code) => schema.enum.includes(code)) ?? schema.enum[0];
  if (schema.type === "array") return depth < DEPTH_MAX ? [example(document, schema.items, depth + 1)] : [];
  if (schema.type === "object") {
    const names = depth < DEPTH_MAX ? (schema.required ?? usual(schema)) : [];
    const entries = names.map((name) => [name, example(document, schema.properties[name], depth + 1)]);
    return Object.fromEntries(entries);
  }
  return { boolean: true, integer: 1, number: 1 }[schema.type] ?? "";
}
