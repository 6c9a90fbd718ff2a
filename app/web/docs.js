// Shows the service's own openapi.json as a page. Schemas are written out when they are opened: some are long.

const $ = (id) => document.getElementById(id);

/** Makes an element; text stays text, whatever is in it. */
function make(name, text = "", { of = [], ...properties } = {}) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(text, ...of);
  return element;
}

const folded = (title, content) => {
  const details = make("details", "", { of: [make("summary", title)] });
  details.addEventListener("toggle", () => details.append(make("pre", JSON.stringify(content(), null, 2))), { once: true });
  return details;
};

/** Puts what references name in their place, each once on a way down: a schema may hold itself. */
function resolved(value, schemas, above = []) {
  if (Array.isArray(value)) return value.map((item) => resolved(item, schemas, above));
  if (!value || typeof value !== "object") return value;
  const name = value.$ref?.split("/").pop();
  if (name && !above.includes(name)) return resolved(schemas[name], schemas, [...above, name]);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item, schemas, above)]));
}

function parameters(listed) {
  const list = make("dl");
  for (const { name, in: place, required, description = "", schema = {} } of listed) {
    const kind = schema.type ?? schema.anyOf?.map((one) => one.type ?? "").join(" | ") ?? "";
    list.append(make("dt", `${name} (${place}${required ? ", required" : ""}) ${kind}`), make("dd", description));
  }
  return list;
}

function route(method, path, operation, schemas) {
  const section = make("section", "", { id: operation.operationId, className: "card" });
  section.append(make("h3", `${method.toUpperCase()} ${path}`), make("p", operation.summary ?? ""));
  section.append(make("p", operation.description ?? "", { className: "quiet" }));
  if (operation.parameters) section.append(make("h4", "Parameters"), parameters(operation.parameters));
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  if (bodies.length) section.append(make("h4", "Body"));
  for (const [type, { schema, example }] of bodies) {
    if (example) section.append(make("pre", JSON.stringify(example, null, 2)));
    section.append(folded(type, () => resolved(schema, schemas)));
  }
  section.append(make("h4", "Answers"));
  for (const [status, { description, content = {} }] of Object.entries(operation.responses)) {
    const [schema] = Object.values(content).map((one) => one.schema ?? {});
    const title = `${status} ${description}`;
    section.append(schema ? folded(title, () => resolved(schema, schemas)) : make("p", title, { className: "small" }));
  }
  return section;
}

try {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`it answered ${answer.status}`);
  const { info, paths, components } = await answer.json();
  $("version").textContent = info.version;
  $("about").textContent = info.description;
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      $("contents").append(make("a", `${method.toUpperCase()} ${path}`, { href: `#${operation.operationId}` }));
      $("routes").append(route(method, path, operation, components.schemas));
    }
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
} catch (error) {
  $("about").textContent = `The API's description could not be read: ${error.message}.`;
}
