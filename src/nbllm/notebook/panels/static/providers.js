// The provider panel. What it knows comes in messages; what a person does goes out as one message each.
import { ago, button, debounced, field, make } from "./page.js";
import { virtualList } from "./virtual.js";

const ROW = 44;
const MODEL_ROW = 30;
const SYNC_MS = 2000;
const PATIENCE_MS = 15000;
const STAGES = ["url", "dns", "connect", "tls", "auth", "models", "model"];
const FILTERS = {
  all: ["All", () => true],
  usable: ["Configured", (row) => row.usable || row.own],
  local: ["Local", (row) => row.local],
  favourites: ["Favourites", (row) => row.favourites > 0],
  failing: ["Failing", (row) => row.last_check && !row.last_check.ok],
};
let views = 0;

function render({ model, el }) {
  const panel = new Panel(model, el);
  panel.start();
  return () => panel.stop();
}

class Panel {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.view = `${Date.now().toString(36)}-${++views}`;
    this.count = 0;
    this.latest = new Map();
    this.rows = [];
    this.chosen = new Set();
    this.filter = "usable";
    this.open = null; // the id of the provider in the detail, "" for a new one
    this.tests = new Map();
    this.heard = Date.now();
  }

  // ------------------------------------------------------------ messages

  send(what, more = {}) {
    const seq = [this.view, ++this.count];
    this.latest.set(`${what} ${more.id ?? ""}`, this.count);
    try {
      this.model.send({ do: what, seq, ...more });
    } catch {
      this.deaf(); // the kernel that stood behind it is gone
    }
    return this.count;
  }

  isLate(message) {
    if (!Array.isArray(message.seq)) return false;
    const [view, number] = message.seq;
    if (view !== this.view) return true;
    const topic = message.for ? `${message.for} ${message.id ?? ""}` : null;
    return topic !== null && (this.latest.get(topic) ?? 0) > number;
  }

  receive(message) {
    this.heard = Date.now();
    this.waiting = false;
    this.hideStatic();
    this.el.classList.remove("nbllm-deaf");
    if (this.isLate(message)) return;
    const take = this[`take_${message.type}`];
    if (take) take.call(this, message);
  }

  start() {
    this.build();
    this.listener = (message) => this.receive(message);
    this.model.on("msg:custom", this.listener);
    this.send("hello");
    this.timer = setInterval(() => this.sync(), SYNC_MS);
  }

  stop() {
    clearInterval(this.timer);
    clearInterval(this.countdown);
    this.model.off("msg:custom", this.listener);
  }

  /** Ask whether something changed elsewhere; the next question waits for the answer, so that none pile up. */
  sync() {
    if (document.hidden || !this.el.isConnected) return;
    if (this.waiting) {
      if (Date.now() - this.heard > PATIENCE_MS) this.deaf();
      return;
    }
    this.waiting = true;
    this.send("sync");
  }

  deaf() {
    this.el.classList.add("nbllm-deaf");
    this.say("The kernel is busy, or was restarted. After a restart run %llm_providers again.");
  }

  /** The table that a saved notebook keeps stands above the living panel only there. */
  hideStatic() {
    const area = this.el.closest(".jp-OutputArea");
    for (const node of area ? area.querySelectorAll(".nbllm-static") : []) {
      const output = node.closest(".jp-OutputArea-child") ?? node;
      output.style.display = "none";
    }
  }

  // ------------------------------------------------------------ the frame

  build() {
    const panel = this.el;
    panel.classList.add("nbllm-panel");
    panel.setAttribute("role", "region");
    panel.setAttribute("aria-label", "Language model providers");
    panel.dataset.lmSuppressShortcuts = "true";
    for (const kind of ["keydown", "keyup", "keypress", "paste", "copy", "cut"]) {
      panel.addEventListener(kind, (event) => event.stopPropagation());
    }
    panel.addEventListener("keydown", (event) => this.shortcut(event));

    this.search = make("input", { type: "search", placeholder: "Search", aria: { label: "Search providers" } });
    this.search.addEventListener("input", () => this.showRows());
    this.filters = make("div", { className: "nbllm-filters", role: "group", aria: { label: "Filter providers" } });
    const tools = make(
      "div",
      { className: "nbllm-tools" },
      button("Add", () => this.add()),
      button("Find local servers", () => this.send("discover")),
      (this.testAll = button("Test all", () => this.testMany([]))),
      button("Export", () => this.send("export", { ids: [...this.chosen] })),
      button("Import", () => this.file.click()),
      button("?", () => this.toggleHelp(), { aria: { label: "Keyboard shortcuts" }, className: "nbllm-help-button" }),
    );
    this.file = make("input", { type: "file", accept: ".toml,text/plain", className: "nbllm-hidden", tabIndex: -1,
      aria: { label: "File to import" } });
    this.file.addEventListener("change", () => this.readFile());

    this.list = virtualList({
      label: "Providers", rowHeight: ROW, key: (row) => row.id,
      draw: (row, box) => this.drawRow(row, box),
      onOpen: (row) => this.show(row.id),
      onMark: (row) => this.mark(row.id),
      marked: (row) => this.chosen.has(row.id),
    });
    this.bulk = make("div", { className: "nbllm-bulk", role: "group", aria: { label: "Selected providers" }, hidden: true });
    this.counts = make("div", { className: "nbllm-counts", role: "status" });
    this.status = make("div", { className: "nbllm-status", role: "status", aria: { live: "polite" } });
    this.alert = make("div", { className: "nbllm-alert", role: "alert" });
    this.progress = make("div", { className: "nbllm-progress", hidden: true });
    this.extra = make("div", { className: "nbllm-extra" });
    this.news = make("ul", { className: "nbllm-news" });
    this.detail = make("section", { className: "nbllm-detail", aria: { label: "Provider" } });
    this.help = make("div", { className: "nbllm-help", hidden: true, role: "dialog", aria: { label: "Keyboard shortcuts" } });

    const left = make("div", { className: "nbllm-left" }, this.search, this.filters, this.list.element, this.bulk, this.counts);
    panel.append(
      make("div", { className: "nbllm-head" }, make("h2", { textContent: "Providers" }), tools, this.file),
      this.news, this.status, this.alert, this.progress, this.extra, this.help,
      make("div", { className: "nbllm-columns" }, left, this.detail),
    );
    this.detail.append(make("p", { className: "nbllm-quiet", textContent: "Choose a provider, or add one." }));
  }

  shortcut(event) {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "Escape") {
      if (!this.help.hidden) this.toggleHelp();
      else if (this.cancelRunning()) this.say("Cancelled.");
      else this.list.element.focus();
    } else if (typing || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    } else if (event.key === "/") this.search.focus();
    else if (event.key === "+") this.add();
    else if (event.key === "?") this.toggleHelp();
    else return;
    event.preventDefault();
  }

  toggleHelp() {
    const keys = [
      ["/", "search"], ["+", "add a provider"], ["↑ ↓ Home End", "move in a list"], ["Enter", "open"],
      ["Space", "select for bulk actions"], ["a … z", "go to a name"], ["Esc", "cancel a test, back to the list"], ["?", "this help"],
    ];
    this.help.hidden = !this.help.hidden;
    const rows = keys.map(([key, text]) => make("div", {}, make("kbd", { textContent: key }), ` ${text}`));
    this.help.replaceChildren(...rows, button("Close", () => this.toggleHelp()));
    if (!this.help.hidden) this.help.querySelector("button").focus();
    else this.list.element.focus();
  }

  say(text) {
    this.status.textContent = text;
    this.alert.replaceChildren();
  }

  complain(message, hint) {
    this.status.textContent = "";
    this.alert.replaceChildren(make("strong", { textContent: message }), hint ? ` ${hint}` : "");
  }

  // ------------------------------------------------------------ the list

  take_state(message) {
    this.rows = message.rows;
    this.state = message;
    const known = new Set(this.rows.map((row) => row.id));
    for (const id of this.chosen) if (!known.has(id)) this.chosen.delete(id);
    const lines = message.public
      ? ["This machine is public: give no key that you would not give to strangers, and take it back afterwards.", ...message.news]
      : message.news;
    this.news.replaceChildren(...lines.map((line) => make("li", { textContent: line })));
    this.showRows();
    if (this.open && !known.has(this.open)) this.closeDetail();
    else if (this.open && this.form) this.send("open", { id: this.open });
  }

  take_same() {}

  take_saved(message) {
    this.take_state(message);
    this.say(message.said.join(" · "));
    if (message.for === "save") {
      this.form = null;
      this.show(message.id);
    }
  }

  take_problem(message) {
    this.complain(message.message, message.hint);
    if (message.for === "models" && this.modelNote) this.modelNote.textContent = message.message;
  }

  showRows() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => {
      const text = `${row.id} ${row.name} ${row.kind} ${row.base_url}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    // A search looks everywhere: who types a name wants that provider, whatever filter is on.
    const [, keep] = FILTERS[words.length ? "all" : this.filter];
    const shown = this.rows.filter((row) => keep(row) && fits(row));
    this.list.show(shown);
    this.counts.textContent = `${shown.length} of ${this.rows.length} providers`;
    const chips = Object.entries(FILTERS).map(([name, [label, test]]) =>
      button(`${label} ${this.rows.filter(test).length}`, () => { this.filter = name; this.showRows(); },
        { aria: { pressed: name === this.filter }, data: { filter: name } }));
    const focused = this.filters.contains(document.activeElement) ? document.activeElement.dataset.filter : null;
    this.filters.replaceChildren(...chips);
    if (focused) this.filters.querySelector(`[data-filter=${focused}]`)?.focus();
    this.showBulk();
  }

  drawRow(row, box) {
    const [sign, words] = signOf(row);
    // A picture of a box: the row itself is what keyboards and screen readers mark.
    const mark = make("span", { className: "nbllm-mark", textContent: this.chosen.has(row.id) ? "☑" : "☐", ariaHidden: "true" });
    mark.addEventListener("click", (event) => { event.stopPropagation(); this.mark(row.id); });
    const count = row.model_count === null ? "" : counted(row.model_count);
    box.append(
      mark,
      make("span", { className: `nbllm-sign nbllm-${sign[1]}`, textContent: sign[0], ariaHidden: "true" }),
      make("span", { className: "nbllm-name" },
        make("span", { className: "nbllm-title", textContent: row.name || row.id }),
        make("span", { className: "nbllm-sub", textContent: [row.id, words, count].filter(Boolean).join(" · ") })),
    );
    box.setAttribute("aria-label", [row.name || row.id, row.id, words, count].filter(Boolean).join(", "));
    box.classList.toggle("nbllm-open", row.id === this.open);
    box.classList.toggle("nbllm-off", !row.enabled);
  }

  mark(id) {
    if (!this.chosen.delete(id)) this.chosen.add(id);
    this.list.paint();
    this.showBulk();
  }

  showBulk() {
    const ids = [...this.chosen];
    this.bulk.hidden = ids.length === 0;
    if (!ids.length) return;
    this.bulk.replaceChildren(
      make("span", { textContent: `${ids.length} selected: ` }),
      button("Test", () => this.testMany(ids)),
      button("Refresh models", () => ids.forEach((id) => this.send("models", { id, refresh: true }))),
      button("Enable", () => this.send("enable", { ids })),
      button("Disable", () => this.send("disable", { ids })),
      button("Export", () => this.send("export", { ids })),
      this.sure(`Remove ${ids.length}`, () => this.send("remove", { ids })),
      button("Clear", () => { this.chosen.clear(); this.showRows(); }),
    );
  }

  /** A button that asks once more before it does what cannot be seen at a glance. */
  sure(text, work) {
    const node = button(text, () => {
      if (node.dataset.sure) return work();
      node.dataset.sure = "1";
      node.textContent = `${text}: sure?`;
      setTimeout(() => { delete node.dataset.sure; node.textContent = text; }, 4000);
      return undefined;
    });
    return node;
  }

  // ------------------------------------------------------------ one provider

  add() {
    this.open = "";
    this.showDetail({ new: true, fields: { name: "", kind: "openai", base_url: "", auth: "bearer", env: [], params: {}, rate_limit: {} },
      headers: [], key: { source: "none" }, remarks: [], by_hand: [] });
    this.form.id.input.focus();
  }

  duplicate() {
    const like = this.open;
    this.add();
    this.like = like;
    const row = this.rows.find((each) => each.id === like);
    this.form.id.input.value = `${like}-2`;
    this.form.base_url.input.value = row.base_url;
    this.form.kind.input.value = row.kind;
    this.judge();
  }

  show(id) {
    this.open = id;
    this.like = null;
    this.list.paint();
    this.send("open", { id });
  }

  closeDetail() {
    this.open = null;
    this.form = null;
    this.detail.replaceChildren(make("p", { className: "nbllm-quiet", textContent: "Choose a provider, or add one." }));
  }

  take_detail(message) {
    if (message.id !== this.open) return;
    const isShown = this.form && !this.form.isNew && this.formFor === message.id;
    // What is being typed stays, whatever else has changed.
    if (isShown && (this.isDirty() || this.secret?.value || this.sameDetail(message))) {
      if (message.model_count !== null && message.model_count !== this.modelRows.length) this.send("models", { id: message.id });
      return;
    }
    const asked = isShown ? this.testModel.value : "";
    this.showDetail(message);
    if (asked) this.testModel.value = asked;
    if (message.model_count !== null) this.send("models", { id: message.id });
  }

  sameDetail(message) {
    const bare = (each) => JSON.stringify({ ...each, seq: null, model_count: null, models_age_s: null });
    return this.shown && bare(this.shown) === bare(message);
  }

  showDetail(found) {
    this.shown = found;
    this.formFor = found.id ?? "";
    this.like = null;
    const row = this.rows.find((each) => each.id === found.id);
    const title = found.new ? "A new provider" : row?.name || found.id;
    const head = make("div", { className: "nbllm-detail-head" }, make("h3", { textContent: title }));
    if (!found.new) {
      head.append(
        button("Duplicate", () => this.duplicate()),
        row?.enabled ? button("Disable", () => this.send("disable", { ids: [found.id] })) : button("Enable", () => this.send("enable", { ids: [found.id] })),
      );
      if (found.own) head.append(this.sure("Remove", () => this.send("remove", { ids: [found.id] })));
    }
    const remarks = [found.note, found.status && found.status !== "live" ? `status: ${found.status}` : null, ...found.remarks];
    this.detail.replaceChildren(
      head,
      ...remarks.filter(Boolean).map((text) => make("p", { className: "nbllm-quiet", textContent: text })),
      ...(found.new ? [] : [this.keyPart(found), this.testPart(found)].filter(Boolean)),
      this.formPart(found),
      ...(found.new ? [] : [this.modelPart(found)]),
    );
    const run = this.tests.get(found.id);
    if (run) this.drawStages(run);
  }

  formPart(found) {
    const text = (value) => make("input", { type: "text", value: value ?? "", spellcheck: false, autocomplete: "off" });
    const choose = (options, value) => {
      const node = make("select", {}, ...options.map((name) => make("option", { value: name, textContent: name })));
      node.value = value;
      return node;
    };
    const { fields } = found;
    const kinds = [...new Set([...(this.state?.kinds ?? ["openai"]), fields.kind])];
    const parts = {
      ...(found.new ? { id: field("Id", text(""), { hint: "short, for references such as my-server/model" }) } : {}),
      base_url: field("Base URL", text(fields.base_url), { hint: "with the version path, as https://api.example.com/v1" }),
      kind: field("Wire format", choose(kinds, fields.kind)),
      name: field("Name", text(fields.name)),
      env: field("Key variables", text((fields.env ?? []).join(", ")), { hint: "environment variables that may hold the key" }),
      auth: field("Key is sent as", text(fields.auth), { hint: (this.state?.auth ?? []).join(", ") + ", or Header: {key}" }),
      params: field("Parameters", make("textarea", { rows: 2, value: linesOf(fields.params), spellcheck: false }), { hint: "of every chat, one a line: temperature = 0.2" }),
      rate_limit: field("Requests a minute", text(fields.rate_limit?.requests_per_minute ?? ""), { hint: "leave empty when there is no limit" }),
      confirmed_http: field("Plain http", make("input", { type: "checkbox", checked: Boolean(fields.confirmed_http) }), { hint: "I know that anybody on the way can read the key" }),
    };
    parts.confirmed_http.element.hidden = !fields.confirmed_http;
    const save = button(found.new ? "Add provider" : "Save changes", () => undefined, { className: "nbllm-main", disabled: true, type: "submit" });
    const why = make("span", { className: "nbllm-quiet", role: "status" });
    this.form = { ...parts, save, why, isNew: Boolean(found.new), before: null };
    this.form.before = JSON.stringify(this.typed());
    const judge = debounced(() => this.judge(), 300);
    const main = found.new ? ["id", "base_url", "kind", "confirmed_http"] : ["base_url", "confirmed_http"];
    const rest = Object.keys(parts).filter((name) => !main.includes(name));
    for (const part of Object.values(parts)) {
      part.input.addEventListener("input", () => { save.disabled = true; why.textContent = ""; judge(); });
    }
    const headers = make("p", { className: "nbllm-quiet", textContent: found.headers.length
      ? `Headers of its own: ${found.headers.join(", ")} (values are not shown)` : "" });
    const more = make("details", {}, make("summary", { textContent: "More settings" }), ...rest.map((name) => parts[name].element), headers);
    const body = make("form", { className: "nbllm-form", on: { submit: (event) => { event.preventDefault(); if (!save.disabled) this.save(); } } },
      make("h4", { textContent: "Connection" }), ...main.map((name) => parts[name].element), more,
      make("div", { className: "nbllm-buttons" }, save, why));
    return body;
  }

  typed() {
    const { form } = this;
    const requests = form.rate_limit.input.value.trim();
    return {
      base_url: form.base_url.input.value.trim(),
      kind: form.kind.input.value,
      name: form.name.input.value.trim(),
      env: form.env.input.value.split(/[\s,]+/).filter(Boolean),
      auth: form.auth.input.value.trim(),
      params: tableOf(form.params.input.value),
      rate_limit: requests ? { requests_per_minute: /^\d+$/.test(requests) ? Number(requests) : requests } : {},
      confirmed_http: form.confirmed_http.input.checked,
    };
  }

  isDirty() {
    return Boolean(this.form) && (this.form.isNew || JSON.stringify(this.typed()) !== this.form.before);
  }

  judge() {
    if (!this.form) return;
    this.send("judge", { id: this.form.isNew ? this.form.id.input.value.trim() : this.open, new: this.form.isNew, fields: this.typed() });
    this.latest.set("judge", this.count);
  }

  take_verdict(message) {
    const { form } = this;
    if (!form || message.seq[1] < this.latest.get("judge")) return;
    let first = null;
    for (const [name, part] of Object.entries(form)) {
      if (!part || !part.say) continue;
      const problem = message.problems[name];
      if (problem && !first) first = problem;
      part.say(problem, message.repairs[name], (value) => { part.input.value = value; this.judge(); part.input.focus(); });
    }
    form.confirmed_http.element.hidden = !message.problems.confirmed_http && !form.confirmed_http.input.checked;
    const changed = this.isDirty();
    form.save.disabled = Boolean(first) || !changed;
    form.why.textContent = first ? `Cannot be saved yet: ${first}` : changed ? "" : "Nothing has changed.";
  }

  save() {
    const typed = this.typed();
    const before = this.form.isNew ? {} : JSON.parse(this.form.before);
    const fields = Object.fromEntries(Object.entries(typed).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));
    if (this.form.isNew) {
      for (const [name, value] of Object.entries(fields)) if (isEmpty(value)) delete fields[name];
      this.send("save", { id: this.form.id.input.value.trim(), new: true, like: this.like, fields });
      this.open = this.form.id.input.value.trim();
    } else this.send("save", { id: this.open, fields });
  }

  // ------------------------------------------------------------ its key

  keyPart(found) {
    if (!found.takes_key) return null;
    const place = {
      environment: `from the environment (${found.key.name})`, keyring: "in the OS keyring", vault: "in the vault",
      session: "in this session: it is gone when the kernel ends", "not-needed": "none needed",
      none: "none yet", hub: "from the hub",
    }[found.key.source] ?? found.key.source;
    const secret = this.secret = make("input", { type: "password", autocomplete: "new-password", spellcheck: false });
    const keep = make("select", {}, ...[["", "where it is safest"], ["keyring", "OS keyring"], ["vault", "vault"], ["session", "this session"]]
      .map(([value, textContent]) => make("option", { value, textContent })));
    const hasKey = !["none", "not-needed"].includes(found.key.source);
    const entry = field(hasKey ? "Another key" : "Key", secret);
    const where = field("Keep it in", keep);
    const pass = field(this.state?.vault === "new" ? "Choose a passphrase for the vault" : "Passphrase of the vault",
      make("input", { type: "password", autocomplete: "new-password" }));
    pass.element.hidden = true;
    keep.addEventListener("change", () => { pass.element.hidden = !(keep.value === "vault" && this.state?.vault); });
    const save = button("Save key", () => undefined, { disabled: true, type: "submit" });
    secret.addEventListener("input", () => {
      const problem = keyProblem(secret.value);
      save.disabled = Boolean(problem) || !secret.value;
      entry.say(problem);
    });
    const submit = (event) => {
      event.preventDefault();
      const key = secret.value;
      const passphrase = pass.element.hidden ? "" : pass.input.value;
      secret.value = "";
      pass.input.value = "";
      save.disabled = true;
      if (key) this.send("key", { id: found.id, key, store: keep.value || null, ...(passphrase ? { passphrase } : {}) });
    };
    const link = safeLink(found.doc);
    return make("form", { className: "nbllm-form nbllm-key", on: { submit } },
      make("h4", { textContent: "Key" }),
      make("p", { textContent: `Key: ${place}${found.key.note ? ` (${found.key.note})` : ""}` }),
      ...(found.key.source === "none" && found.env.length ? [make("p", { className: "nbllm-quiet", textContent: `or set ${found.env.join(" or ")} before the kernel starts` })] : []),
      entry.element, where.element, pass.element,
      make("div", { className: "nbllm-buttons" }, save,
        ["keyring", "vault", "session"].includes(found.key.source) ? this.sure("Forget key", () => this.send("forget", { id: found.id })) : null,
        link ? make("a", { href: link, target: "_blank", rel: "noopener noreferrer", textContent: "The provider's page" }) : null));
  }

  // ------------------------------------------------------------ its test

  testPart(found) {
    this.testModel = make("input", { type: "text", spellcheck: false, autocomplete: "off" });
    const choice = make("datalist", { id: `nbllm-models-${this.view}` });
    this.testModel.setAttribute("list", choice.id);
    this.testChoice = choice;
    const model = field("Model to ask", this.testModel, { hint: "one token, a real request; empty: only the way there and the key" });
    this.stages = make("ol", { className: "nbllm-stages", aria: { label: "Stages of the test" } });
    this.stages.setAttribute("aria-live", "polite");
    this.testButton = button("Test", () => this.test(found.id), { className: "nbllm-main" });
    return make("div", { className: "nbllm-form nbllm-test" }, make("h4", { textContent: "Connection test" }),
      model.element, choice, make("div", { className: "nbllm-buttons" }, this.testButton), this.stages);
  }

  test(id) {
    clearInterval(this.countdown);
    const model = this.testModel?.value.trim() || null;
    const run = { id, model, stages: [], state: "running" };
    run.seq = this.send("test", { id, model });
    this.tests.set(id, run);
    this.drawStages(run);
  }

  take_stage(message) {
    const run = this.tests.get(message.id);
    if (!run || run.seq !== message.seq[1]) return;
    run.stages.push(message);
    this.drawStages(run);
  }

  take_tested(message) {
    const run = this.tests.get(message.id);
    if (!run || run.seq !== message.seq[1]) return;
    run.state = message.ok ? "ok" : "failed";
    run.ms = message.ms;
    this.drawStages(run);
    if (message.ok) this.send("models", { id: message.id });
  }

  take_cancelled(message) {
    const run = message.id ? this.tests.get(message.id) : null;
    if (run && run.seq === message.seq[1]) {
      run.state = "cancelled";
      this.drawStages(run);
    }
    if (!message.id) this.progress.hidden = true;
  }

  drawStages(run) {
    if (run.id !== this.open || !this.stages) return;
    const done = run.stages.filter((each) => each.stage !== "done");
    const wanted = STAGES.filter((name) => name !== "model" || run.model);
    const next = run.state === "running" ? wanted[Math.max(-1, ...done.map((each) => wanted.indexOf(each.stage))) + 1] : null;
    const items = done.map((each) => {
      const time = each.ms === null ? "" : ` ${Math.round(each.ms)} ms`;
      return make("li", { className: each.ok ? "nbllm-ok" : "nbllm-bad" },
        make("strong", { textContent: `${each.ok ? "✓" : "✗"} ${each.stage}` }), `${time} ${each.detail}`,
        ...(each.ok || !each.hint ? [] : [make("div", { className: "nbllm-hint", textContent: `What to do: ${each.hint}` })]),
        ...(each.ok ? [] : this.fixes(each, run)));
    });
    if (next) items.push(make("li", { className: "nbllm-running", textContent: `… ${next}` }));
    if (run.state === "ok") items.push(make("li", { className: "nbllm-ok", textContent: `It answers (${Math.round(run.ms)} ms).` }));
    if (run.state === "cancelled") items.push(make("li", { textContent: "Cancelled." }));
    this.stages.replaceChildren(...items);
    this.testButton.textContent = run.state === "running" ? "Test again" : "Test";
  }

  fixes(stage, run) {
    const look = (selector) => () => {
      const node = this.detail.querySelector(selector);
      node?.scrollIntoView({ block: "center" });
      node?.focus();
    };
    if (stage.fix === "key") return [button("Give another key", look(".nbllm-key input[type=password]"))];
    if (stage.fix === "url") return [button("Correct the address", () => { this.form.base_url.input.scrollIntoView({ block: "center" }); this.form.base_url.input.focus(); })];
    if (stage.fix === "model") return [button("Choose another model", () => this.testModel.focus())];
    if (stage.fix === "wait") return [this.later(stage.retry_after_s ?? 0, run)];
    return [];
  }

  later(seconds, run) {
    let left = Math.min(600, Math.ceil(seconds));
    const node = button("Test again", () => this.test(run.id));
    const tick = () => {
      node.disabled = left > 0;
      node.textContent = left > 0 ? `Test again in ${left} s` : "Test again";
      if (left <= 0) clearInterval(this.countdown);
      left -= 1;
    };
    clearInterval(this.countdown);
    tick();
    this.countdown = setInterval(tick, 1000);
    return node;
  }

  cancelRunning() {
    let found = false;
    for (const [id, run] of this.tests) {
      if (run.state === "running") { this.send("cancel", { id }); found = true; }
    }
    if (!this.progress.hidden) { this.send("cancel", {}); found = true; }
    return found;
  }

  testMany(ids) {
    this.manySeq = this.send("test_many", { ids });
    this.many = [];
    this.progress.hidden = false;
    this.progress.replaceChildren("Testing …");
  }

  take_progress(message) {
    if (message.seq[1] !== this.manySeq) return;
    if (message.id) this.many.push(message);
    const failed = this.many.filter((each) => !each.ok);
    const over = message.done >= message.total;
    this.progress.hidden = false;
    this.progress.replaceChildren(
      make("progress", { max: Math.max(1, message.total), value: message.done, aria: { label: "Providers tested" } }),
      make("span", { role: "status", textContent: ` ${message.done} of ${message.total} tested, ${failed.length} failed ` }),
      over ? button("Close", () => { this.progress.hidden = true; }) : button("Cancel", () => this.send("cancel", {})),
      make("ul", {}, ...failed.map((each) => make("li", {},
        button(each.id, () => this.show(each.id)), ` ${each.stage}: ${each.error ?? ""}`))),
    );
  }

  // ------------------------------------------------------------ its models

  modelPart(found) {
    this.modelRows = [];
    this.modelSearch = make("input", { type: "search", placeholder: "Search models", aria: { label: "Search models" } });
    this.modelSearch.addEventListener("input", () => this.showModels());
    this.modelTools = make("input", { type: "checkbox" });
    this.modelVision = make("input", { type: "checkbox" });
    for (const box of [this.modelTools, this.modelVision]) box.addEventListener("change", () => this.showModels());
    this.modelNote = make("p", { className: "nbllm-quiet", role: "status",
      textContent: found.model_count === null ? "Not asked yet." : [counted(found.model_count), ago(found.models_age_s)].filter(Boolean).join(", ") });
    this.models = virtualList({
      label: "Models", rowHeight: MODEL_ROW, key: (row) => row.id,
      draw: (row, box) => this.drawModel(row, box),
      onOpen: (row) => this.useModel(row),
      onMove: (row) => { this.testModel.value = row.id; },
    });
    this.models.element.classList.add("nbllm-model-list");
    const name = make("input", { type: "text", spellcheck: false, placeholder: "model id", aria: { label: "Model to add by hand" } });
    return make("div", { className: "nbllm-form" }, make("h4", { textContent: "Models" }), this.modelNote,
      make("div", { className: "nbllm-buttons" },
        button("Ask for the models", () => { this.modelNote.textContent = "Asking …"; this.send("models", { id: found.id, refresh: true }); }),
        this.modelSearch,
        make("label", {}, this.modelTools, " tools"), make("label", {}, this.modelVision, " vision")),
      this.models.element,
      make("div", { className: "nbllm-buttons" },
        button("Make default", () => this.models.current() ? this.useModel(this.models.current()) : this.complain("No model is chosen.", "Choose one in the list.")),
        button("Favourite", () => this.favourite()),
        name, button("Add by hand", () => this.send("add_model", { id: found.id, model: name.value }))));
  }

  take_models(message) {
    if (message.id !== this.open || !this.models) return;
    this.modelRows = message.models;
    const left = message.count - message.models.length;
    this.modelCount = `${counted(message.count)}, ${ago(message.age_s) || "age unknown"}${left > 0 ? `, ${left} not shown` : ""}`
      + (message.error ? `; ${message.error}` : "");
    this.testChoice.replaceChildren(...message.models.slice(0, 300).map((each) => make("option", { value: each.id })));
    this.showModels();
  }

  showModels() {
    const words = this.modelSearch.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.modelRows.filter((row) => {
      if (this.modelTools.checked && row.tools !== true) return false;
      if (this.modelVision.checked && row.vision !== true) return false;
      const text = `${row.id} ${row.name ?? ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.models.show(shown);
    if (this.modelCount) this.modelNote.textContent = `${this.modelCount}${shown.length === this.modelRows.length ? "" : `; ${shown.length} fit`}`;
  }

  drawModel(row, box) {
    const price = row.input_price === null || row.output_price === null ? "" : `$${row.input_price} / $${row.output_price}`;
    const facts = [row.context ? `${Math.round(row.context / 1000)}k` : "", price, row.tools ? "tools" : "", row.vision ? "vision" : "", row.by_hand ? "by hand" : ""];
    const isDefault = row.ref === this.state?.default_model;
    box.append(
      make("span", { className: "nbllm-title", textContent: `${row.favourite ? "★ " : ""}${row.id}${isDefault ? " (default)" : ""}` }),
      make("span", { className: "nbllm-sub", textContent: facts.filter(Boolean).join(" · ") }),
    );
  }

  useModel(row) {
    this.testModel.value = row.id;
    this.send("use", { ref: row.ref });
  }

  favourite() {
    const row = this.models.current();
    if (!row) return this.complain("No model is chosen.", "Choose one in the list.");
    row.favourite = !row.favourite;
    this.send("favourite", { ref: row.ref, on: row.favourite });
    this.models.paint();
    return undefined;
  }

  // ------------------------------------------------------------ servers, files

  take_servers(message) {
    const rows = message.servers.map((each) => make("li", {},
      `${each.name} at ${each.base_url}, ${counted(each.model_count)}${each.wants_key ? ", wants a key" : ""} `,
      button(each.known ? "Open" : "Add", () => {
        this.extra.replaceChildren();
        if (each.known) this.show(each.id);
        else {
          this.open = each.id;
          this.send("save", { id: each.id, new: true, fields: { base_url: each.base_url, kind: each.kind } });
        }
      })));
    this.extra.replaceChildren(
      make("h4", { textContent: "Servers on this machine" }),
      rows.length ? make("ul", {}, ...rows) : make("p", { textContent: "None answers on the usual ports." }),
      button("Close", () => this.extra.replaceChildren()));
    this.extra.querySelector("button")?.focus();
  }

  take_file(message) {
    const url = URL.createObjectURL(new Blob([message.text], { type: "application/toml" }));
    const link = make("a", { href: url, download: message.name, className: "nbllm-hidden" });
    this.el.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    this.say(`${message.name}: no key is in it.`);
  }

  readFile() {
    const [file] = this.file.files;
    this.file.value = "";
    if (!file) return;
    if (file.size > 1e6) { this.complain("The file is larger than 1 MB.", "It should hold provider settings only."); return; }
    file.text().then((text) => { this.importText = text; this.send("preview", { text }); });
  }

  take_preview(message) {
    this.extra.replaceChildren(
      make("h4", { textContent: "This file would change" }),
      make("ul", {}, ...message.said.map((line) => make("li", { textContent: line }))),
      button("Import", () => { this.send("import", { text: this.importText }); this.extra.replaceChildren(); }, { className: "nbllm-main" }),
      button("Leave it", () => this.extra.replaceChildren()));
    this.extra.querySelector("button")?.focus();
  }
}

function signOf(row) {
  if (!row.enabled) return [["○", "quiet"], "disabled"];
  if (row.status === "retired" || row.status === "unsupported") return [["○", "quiet"], row.status];
  if (row.last_check && !row.last_check.ok) return [["✗", "bad"], `failed at ${row.last_check.stage}`];
  if (row.last_check) return [["✓", "ok"], "answers"];
  if (row.key === "none") return [["○", "quiet"], "no key"];
  return [["●", "plain"], row.key === "not-needed" ? "no key needed" : `key: ${row.key}`];
}

function keyProblem(text) {
  if (!text) return "";
  if (/^bearer\s/i.test(text.trim())) return "without the word Bearer";
  if (/\s/.test(text.trim())) return "a key has no spaces: is it whole, and alone?";
  if (/^["'].*["']$/.test(text.trim())) return "without the quotes";
  if (/[^\x21-\x7e]/.test(text.trim())) return "a key has no such characters";
  return "";
}

function counted(count) {
  return count === 1 ? "1 model" : `${count} models`;
}

function safeLink(text) {
  return typeof text === "string" && /^https:\/\//.test(text) ? text : null;
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

export default { render };
