// The settings of one provider: judged while they are typed, saved as a whole. Headers have a form of their own.
import { button, choice, debounced, field, make, textInput } from "./page.js";

const JUDGE_MS = 300;
const LIMITS = {
  requests_per_minute: "Requests a minute", tokens_per_minute: "Tokens a minute", concurrency: "Requests at the same time",
};
const NEW = { name: "", kind: "openai", base_url: "", auth: "bearer", env: [], params: {}, rate_limit: {} };

/** What the form shows for a provider that is not there yet; `like`: the detail of the one that it is a copy of. */
export function blank(like) {
  const fields = like ? { ...NEW, ...like.fields, name: "" } : NEW;
  return { new: true, fields, headers: [], key: { source: "none" }, remarks: [], by_hand: [], lacking: [] };
}

export class ConnectionForm {
  constructor(panel, found, like) {
    this.panel = panel;
    this.id = found.id;
    this.like = like;
    this.isNew = Boolean(found.new);
    this.parts = this.fields(found);
    this.save = button(this.isNew ? "Add provider" : "Save changes", () => undefined,
      { className: "nbllm-main", disabled: true, type: "submit" });
    this.why = make("span", { className: "nbllm-quiet", role: "status" });
    this.element = this.layout();
    this.before = this.typed();
    this.judged = 0;
    const judge = debounced(() => this.judge(), JUDGE_MS);
    for (const part of Object.values(this.parts)) {
      part.input.addEventListener("input", () => { this.save.disabled = true; this.why.textContent = ""; judge(); });
    }
  }

  fields(found) {
    const { fields } = found;
    const { kinds = ["openai"], auth = [] } = this.panel.state ?? {};
    const address = textInput(fields.base_url, { placeholder: found.template ?? "" });
    const params = make("textarea", { rows: 2, value: linesOf(fields.params), spellcheck: false });
    const agreed = make("input", { type: "checkbox", checked: Boolean(fields.confirmed_http) });
    const limits = Object.entries(LIMITS).map(([name, text]) =>
      [name, field(text, textInput(fields.rate_limit?.[name], { inputMode: "numeric" }), { hint: "empty: no limit" })]);
    const parts = {
      ...(this.isNew ? { id: field("Id", textInput(""), { hint: "short, for references such as my-server/model" }) } : {}),
      base_url: field("Base URL", address, { hint: "with the version path, as https://api.example.com/v1" }),
      kind: field("Wire format", choice([...new Set([...kinds, fields.kind])], fields.kind)),
      name: field("Name", textInput(fields.name)),
      env: field("Key variables", textInput((fields.env ?? []).join(", ")), { hint: "environment variables that may hold the key" }),
      auth: field("Key is sent as", textInput(fields.auth), { hint: `${auth.join(", ")}, or Header: {key}` }),
      params: field("Parameters", params, { hint: "of every chat, one a line: temperature = 0.2" }),
      ...Object.fromEntries(limits),
      confirmed_http: field("Plain http", agreed, { hint: "I know that anybody on the way can read the key" }),
    };
    parts.confirmed_http.element.hidden = !fields.confirmed_http;
    return parts;
  }

  layout() {
    const main = this.isNew ? ["id", "base_url", "kind", "confirmed_http"] : ["base_url", "confirmed_http"];
    const rest = Object.keys(this.parts).filter((name) => !main.includes(name));
    const element = (name) => this.parts[name].element;
    const submit = (event) => { event.preventDefault(); if (!this.save.disabled) this.submit(); };
    return make("form", { className: "nbllm-form", on: { submit } },
      make("h4", { textContent: "Connection" }), ...main.map(element),
      make("details", {}, make("summary", { textContent: "More settings" }), ...rest.map(element)),
      make("div", { className: "nbllm-buttons" }, this.save, this.why));
  }

  value(name) {
    return this.parts[name].input.value.trim();
  }

  typed() {
    const limits = Object.keys(LIMITS).map((name) => [name, numberOf(this.value(name))]);
    return {
      base_url: this.value("base_url"),
      kind: this.value("kind"),
      name: this.value("name"),
      env: this.value("env").split(/[\s,]+/).filter(Boolean),
      auth: this.value("auth"),
      params: tableOf(this.value("params")),
      rate_limit: Object.fromEntries(limits.filter(([, value]) => value !== null)),
      confirmed_http: this.parts.confirmed_http.input.checked,
    };
  }

  /** What differs from before; None takes a value away, also one entry of a table. */
  changes() {
    const typed = this.typed();
    const changed = Object.entries(typed).filter(([name, value]) => !same(value, this.before[name]));
    return Object.fromEntries(changed.map(([name, value]) => {
      if (name !== "params" && name !== "rate_limit") return [name, value === "" ? null : value];
      const gone = Object.keys(this.before[name]).filter((key) => !(key in value));
      return [name, { ...value, ...Object.fromEntries(gone.map((key) => [key, null])) }];
    }));
  }

  isDirty() {
    return this.isNew || !same(this.typed(), this.before);
  }

  judge() {
    const fields = this.typed();
    // Who has no address yet may give another setting first; a model file never has one.
    if (!this.isNew && !fields.base_url && !this.before.base_url) delete fields.base_url;
    this.judged = this.panel.send("judge", { id: this.isNew ? this.value("id") : this.id, new: this.isNew, fields });
  }

  take(message) {
    if (message.seq[1] < this.judged) return;
    let first = null;
    for (const [name, part] of Object.entries(this.parts)) {
      const problem = message.problems[name];
      first ??= problem ?? null;
      part.say(problem, message.repairs[name], (value) => { part.input.value = value; this.judge(); part.input.focus(); });
    }
    const agreed = this.parts.confirmed_http;
    agreed.element.hidden = !message.problems.confirmed_http && !agreed.input.checked;
    const changed = this.isDirty();
    this.save.disabled = Boolean(first) || !changed;
    this.why.textContent = first ? `Cannot be saved yet: ${first}` : changed ? "" : "Nothing has changed.";
  }

  submit() {
    if (!this.isNew) return this.panel.send("save", { id: this.id, fields: this.changes() });
    const given = Object.entries(this.typed()).filter(([, value]) => !isEmpty(value));
    const id = this.value("id");
    this.panel.open = id;
    return this.panel.send("save", { id, new: true, like: this.like, fields: Object.fromEntries(given) });
  }
}

/** Names of headers, and a form for another one. Values are secrets: one goes out in a message, none comes back. */
export function headerPart(panel, found) {
  const missing = new Set((found.lacking ?? []).filter((name) => name.startsWith("header ")).map((name) => name.slice(7)));
  const name = field("Header", textInput("", { data: { keep: 1 } }), { hint: "such as X-Team" });
  const secret = make("input", { type: "password", autocomplete: "new-password", spellcheck: false });
  const value = field("Value", secret, { hint: "is not shown again; a key belongs into the field for the key" });
  const submit = (event) => {
    event.preventDefault();
    const text = secret.value;
    secret.value = "";
    if (!name.input.value.trim() || !text) return panel.complain("A header has a name and a value.");
    return panel.send("header", { id: found.id, name: name.input.value.trim(), value: text });
  };
  const rows = found.headers.map((each) => make("li", {}, `${each}${missing.has(each) ? " (still to be set) " : " "}`,
    panel.sure("Remove", () => panel.send("header", { id: found.id, name: each }), { aria: { label: `Remove ${each}` } })));
  return make("details", { className: "nbllm-form nbllm-headers", open: missing.size > 0 },
    make("summary", { textContent: `Headers of its own: ${found.headers.length}` }),
    rows.length ? make("ul", {}, ...rows) : null,
    make("form", { on: { submit } }, name.element, value.element, button("Set header", () => undefined, { type: "submit" })));
}

function numberOf(text) {
  return text === "" ? null : /^\d+$/.test(text) ? Number(text) : text;
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

function linesOf(table) {
  return Object.entries(table ?? {}).map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join("\n");
}

/** `name = value` lines as a table; a value is JSON, else a string. */
function tableOf(text) {
  const table = {};
  for (const line of text.split("\n")) {
    if (!line.trim()) continue;
    const at = line.indexOf("=");
    const name = (at < 0 ? line : line.slice(0, at)).trim();
    const value = at < 0 ? "" : line.slice(at + 1).trim();
    try { table[name] = JSON.parse(value); } catch { table[name] = value; }
  }
  return table;
}

function isEmpty(value) {
  return value === "" || value === false || value === null || (typeof value === "object" && Object.keys(value).length === 0);
}
