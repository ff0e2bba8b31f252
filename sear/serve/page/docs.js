// The page at /docs: what /openapi.json describes, as tables, and a form that sends each request.
import { TOKEN, call, element } from "./service.js";

const at = id => document.getElementById(id);
let api;

const resolved = schema => schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema ?? {};

function kind(schema) {
  if (schema.$ref) return kind(resolved(schema));
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map(value => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items ?? {})}`;
  if (schema.properties) return `{${Object.keys(schema.properties).join(", ")}}`;
  return schema.type ?? "anything";
}

function limits(schema) {
  if (schema.anyOf) return limits(schema.anyOf.find(one => one.type !== "null") ?? {});
  const named = { minimum: "at least", maximum: "at most", maxLength: "characters at most", maxItems: "entries at most" };
  return Object.entries(named).filter(([key]) => key in schema).map(([key, text]) => `${text} ${schema[key].toLocaleString("en")}`).join(", ");
}

function sample(schema, field = "") {
  schema = resolved(schema);
  if (schema.anyOf) return sample(schema.anyOf[0], field);
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.type === "array") return [sample(schema.items, field)];
  if (schema.properties) {
    const wanted = schema.required ?? Object.keys(schema.properties).slice(0, 1);
    return Object.fromEntries(wanted.map(key => [key, sample(schema.properties[key], key)]));
  }
  return { string: field === "item_id" || field === "history" ? "ITEM" : "text", integer: 1, number: 1, boolean: true }[schema.type] ?? null;
}

function example(path, schema) {
  if (path === "/recommend") return { history: ["ITEM"], k: 10 };
  return sample(schema);
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map(text => element("th", { scope: "col" }, text)));
  const body = rows.map(row => element("tr", {}, ...row.map((cell, place) =>
    element(place ? "td" : "th", place ? {} : { scope: "row" }, place ? cell : element("code", {}, cell)))));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": heads[0] },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

function fields(schema) {
  const required = schema.required ?? [];
  return table(["Field", "Type", "Default", "Meaning"], Object.entries(schema.properties ?? {}).map(([key, value]) => [
    key, kind(value), required.includes(key) ? "needed" : JSON.stringify(value.default ?? null),
    [value.description ?? resolved(value).description ?? "", limits(value)].filter(Boolean).join("; ")]));
}

function operation(method, path, told) {
  const body = told.requestBody && resolved(told.requestBody.content["application/json"].schema);
  const parameters = told.parameters ?? [];
  const form = element("form"), inputs = new Map(), sent = element("pre", { hidden: true, tabIndex: 0, role: "status" });
  for (const one of parameters) {
    const input = element("input", { autocomplete: "off", value: one.schema.default ?? "", required: one.required ?? false });
    inputs.set(one, input);
    form.append(element("label", {}, one.name, input));
  }
  const text = body && element("textarea", { rows: 6, spellcheck: false, value: JSON.stringify(example(path, body), null, 1) });
  if (text) form.append(element("label", {}, "Body (JSON)", text));
  form.append(element("button", {}, "Send", element("span", { className: "unseen" }, ` ${method} ${path}`)));
  form.addEventListener("submit", async event => {
    event.preventDefault();
    let place = path.slice(1), asked = new URLSearchParams();
    for (const [one, input] of inputs) {
      if (one.in === "path") place = place.replace(`{${one.name}}`, encodeURIComponent(input.value));
      else if (input.value) asked.set(one.name, input.value);
    }
    sent.hidden = false;
    try {
      const answer = await call(method, asked.size ? `${place}?${asked}` : place, text ? JSON.parse(text.value) : undefined);
      sent.textContent = typeof answer === "string" ? answer || "done" : JSON.stringify(answer, null, 1);
    } catch (error) { sent.textContent = error.status ? `${error.status}: ${error.message}` : error.message; }
  });
  const answers = Object.entries(told.responses).map(([status, one]) => {
    const schema = one.content?.["application/json"]?.schema;
    return [status, schema ? kind(schema) : "", one.description ?? ""];
  });
  return element("details", {}, element("summary", {}, element("span", { className: "method" }, method), element("code", {}, path)),
    element("p", {}, told.description ?? ""), ...(body ? [fields(body)] : []),
    table(["Answer", "Holds", "Meaning"], answers), form, sent);
}

async function start() {
  api = await call("GET", "openapi.json");
  at("about").textContent = `${api.info.title} ${api.info.version}. ${api.info.description}`;
  at("token").hidden = !api.components.securitySchemes;
  const all = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, told]) => operation(method.toUpperCase(), path, told)));
  at("operations").replaceChildren(element("div", { className: "card" }, ...all));
}

at("token").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token-text").value.trim());
});

start().catch(error => { at("problem").textContent = error.message; });
