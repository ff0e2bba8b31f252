// Calls to the service and elements for the pages. Text reaches a page as text only, never as HTML.

export const TOKEN = "sear-token";

export class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

export async function call(method, path, body) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused(0, "The service does not answer. Is it still running?");
  }
  const text = await answer.text();
  let read = text;
  try {
    read = JSON.parse(text);
  } catch {
    const plain = !text || (answer.headers.get("content-type") ?? "").startsWith("text/plain");  // such as metrics
    if (answer.ok && !plain) throw new Refused(answer.status, "What answered is not the service: is a proxy in between?");
  }
  if (!answer.ok) throw new Refused(answer.status, read?.error ?? `The service answered ${answer.status}.`);
  return read;
}

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}
