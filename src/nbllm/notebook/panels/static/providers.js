// The provider panel. What it knows comes in messages; what a person does goes out as one message each.
import { ConnectionForm, blank, headerPart } from "./form.js";
import { KeyPart } from "./keys.js";
import { ModelPart } from "./offered.js";
import { button, counted, make, redraw, visible } from "./page.js";
import { Tests } from "./testing.js";
import { Transfer } from "./transfer.js";
import { virtualList } from "./virtual.js";

const ROW = 44;
const SYNC_MS = 2000;
const PATIENCE_MS = 15000;
const SURE_MS = 4000;
const PUBLIC = "This machine is public: give no key that you would not give to strangers, and take it back afterwards.";
const CHOOSE = "Choose a provider, or add one.";
const FILTERS = {
  all: ["All", () => true],
  usable: ["Configured", (row) => row.usable || row.own],
  local: ["Local", (row) => row.local],
  favourites: ["Favourites", (row) => row.favourites > 0],
  failing: ["Failing", (row) => row.last_check && !row.last_check.ok],
};
const KEYS = [
  ["/", "search"], ["+", "add a provider"], ["↑ ↓ Home End", "move in a list"], ["Enter", "open"],
  ["Space", "select for bulk actions; Tab leads to them"], ["a … z", "go to a name"],
  ["Esc", "cancel a test, back to the list, then to the notebook"], ["?", "this help"],
];
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
    this.shown = null; // what the detail shows
    this.parts = {}; // of the detail: form, key, models
    this.heard = Date.now();
    this.tests = new Tests(this);
    this.transfer = new Transfer(this);
  }

  // ------------------------------------------------------------ messages

  send(what, more = {}) {
    const seq = [this.view, ++this.count];
    this.latest.set(`${what} ${more.id ?? ""}`, this.count);
    if (this.isOver) return this.count;
    try {
      this.model.send({ do: what, seq, ...more });
    } catch {
      this.deaf(); // the kernel that stood behind it is gone
    }
    return this.count;
  }

  isLate(message) {
    if (!Array.isArray(message.seq)) return false;
    const topic = message.for ? `${message.for} ${message.id ?? ""}` : null;
    return topic !== null && (this.latest.get(topic) ?? 0) > message.seq[1];
  }

  receive(message) {
    this.heard = Date.now();
    this.waiting = false;
    this.hideStatic();
    this.el.classList.remove("nbllm-deaf");
    // Another view of this panel asked; what has changed concerns this one all the same.
    const isForeign = Array.isArray(message.seq) && message.seq[0] !== this.view;
    if (isForeign) return message.rows ? this.take_state(message) : undefined;
    return this.isLate(message) ? undefined : this[`take_${message.type}`]?.(message);
  }

  start() {
    this.build();
    this.listener = (message) => this.receive(message);
    this.model.on("msg:custom", this.listener);
    this.send("hello");
    this.timer = setInterval(() => this.sync(), SYNC_MS);
  }

  stop() {
    this.isOver = true;
    clearInterval(this.timer);
    this.tests.stop();
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

  say(text) {
    this.status.textContent = visible(text);
    this.alert.replaceChildren();
  }

  complain(message, hint) {
    this.status.textContent = "";
    this.alert.replaceChildren(make("strong", { textContent: message }), hint ? ` ${visible(hint)}` : "");
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
    this.news = make("ul", { className: "nbllm-news" });
    this.status = make("div", { className: "nbllm-status", role: "status", aria: { live: "polite" } });
    this.alert = make("div", { className: "nbllm-alert", role: "alert" });
    this.help = make("div", { className: "nbllm-help", hidden: true, role: "dialog", aria: { label: "Keyboard shortcuts" } });
    this.detail = make("section", { className: "nbllm-detail", aria: { label: "Provider" } },
      make("p", { className: "nbllm-quiet", textContent: CHOOSE }));
    panel.append(
      make("div", { className: "nbllm-head" }, make("h2", { textContent: "Providers" }), this.tools(), this.transfer.file),
      this.news, this.status, this.alert, this.tests.progress, this.transfer.element, this.help,
      make("div", { className: "nbllm-columns" }, this.side(), this.detail),
    );
  }

  tools() {
    return make("div", { className: "nbllm-tools" },
      button("Add", () => this.add()),
      button("Find local servers", () => { this.say("Looking …"); this.send("discover"); }),
      button("Test all", () => this.tests.startMany([])),
      button("Export", () => this.send("export", { ids: [...this.chosen] })),
      button("Import", () => this.transfer.file.click()),
      button("?", () => this.toggleHelp(), { aria: { label: "Keyboard shortcuts" }, className: "nbllm-help-button" }));
  }

  side() {
    this.search = make("input", { type: "search", placeholder: "Search", aria: { label: "Search providers" } });
    this.search.addEventListener("input", () => this.showRows());
    this.chips = Object.fromEntries(Object.keys(FILTERS).map((name) =>
      [name, button("", () => { this.filter = name; this.showRows(); }, { data: { filter: name } })]));
    this.list = virtualList({
      label: "Providers", rowHeight: ROW, key: (row) => row.id,
      draw: (row, box) => this.drawRow(row, box),
      onOpen: (row) => this.show(row.id),
      onMark: (row) => this.mark(row.id),
      marked: (row) => this.chosen.has(row.id),
    });
    this.counts = make("div", { className: "nbllm-counts", role: "status" });
    return make("div", { className: "nbllm-left" }, this.search,
      make("div", { className: "nbllm-filters", role: "group", aria: { label: "Filter providers" } }, ...Object.values(this.chips)),
      this.list.element, this.bulkBar(), this.counts);
  }

  shortcut(event) {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "Escape") {
      if (!this.help.hidden) this.toggleHelp();
      else if (this.tests.cancel()) this.say("Cancelled.");
      else if (event.target !== this.list.element) this.list.element.focus();
      else this.el.closest(".jp-Cell")?.focus();
    } else if (typing || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    } else if (event.key === "/") this.search.focus();
    else if (event.key === "+") this.add();
    else if (event.key === "?") this.toggleHelp();
    else return;
    event.preventDefault();
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    const rows = KEYS.map(([key, text]) => make("div", {}, make("kbd", { textContent: key }), ` ${text}`));
    this.help.replaceChildren(...rows, button("Close", () => this.toggleHelp()));
    if (!this.help.hidden) this.help.querySelector("button").focus();
    else this.list.element.focus();
  }

  /** A button that asks once more before it does what cannot be seen at a glance. */
  sure(text, work, options = {}) {
    const node = button(text, () => {
      if (node.dataset.sure) return work();
      const before = node.textContent;
      node.dataset.sure = "1";
      node.textContent = `${before}: sure?`;
      setTimeout(() => { delete node.dataset.sure; node.textContent = before; }, SURE_MS);
      return undefined;
    }, options);
    return node;
  }

  // ------------------------------------------------------------ the list

  take_state(message) {
    const marksChanged = this.state && this.state.marks !== message.marks;
    this.rows = message.rows;
    this.state = message;
    const known = new Set(this.rows.map((row) => row.id));
    for (const id of this.chosen) if (!known.has(id)) this.chosen.delete(id);
    const lines = message.public ? [PUBLIC, ...message.news] : message.news;
    this.news.replaceChildren(...lines.map((line) => make("li", { textContent: line })));
    this.showRows();
    if (marksChanged && this.parts.models) {
      this.parts.models.offerGroups();
      if (this.parts.models.isLoaded) this.parts.models.load(false);
    }
    if (this.open && !known.has(this.open)) this.closeDetail();
    else if (this.open && this.shown?.id === this.open) this.send("open", { id: this.open });
  }

  take_same() {}

  take_saved(message) {
    if (message.for === "save" || message.for === "header") this.shown = null; // what was typed is saved: show it
    this.take_state(message);
    this.say(message.said.join(" · "));
    if (message.for === "save" || message.for === "header") this.show(message.id);
  }

  take_problem(message) {
    this.complain(message.message, message.hint);
    if (message.for === "models" && message.id === this.open) this.parts.models?.fail(message.message);
    if (message.for === "test") this.tests.take(message);
    if (message.for === "test_many") this.tests.endMany(message);
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
    for (const [name, [label, test]] of Object.entries(FILTERS)) {
      this.chips[name].textContent = `${label} ${this.rows.filter(test).length}`;
      this.chips[name].setAttribute("aria-pressed", String(name === this.filter));
    }
    this.showBulk();
  }

  drawRow(row, box) {
    const [[sign, look], words] = signOf(row);
    // A picture of a box: the row itself is what keyboards and screen readers mark.
    const mark = make("span", { className: "nbllm-mark", textContent: this.chosen.has(row.id) ? "☑" : "☐", ariaHidden: "true" });
    mark.addEventListener("click", (event) => { event.stopPropagation(); this.mark(row.id); });
    const facts = [row.id, words, row.model_count === null ? "" : counted(row.model_count)].filter(Boolean);
    box.append(
      mark,
      make("span", { className: `nbllm-sign nbllm-${look}`, textContent: sign, ariaHidden: "true" }),
      make("span", { className: "nbllm-name" },
        make("span", { className: "nbllm-title", textContent: row.name || row.id }),
        make("span", { className: "nbllm-sub", textContent: facts.join(" · ") })),
    );
    box.setAttribute("aria-label", visible([row.name || row.id, ...facts].join(", ")));
    box.classList.toggle("nbllm-open", row.id === this.open);
    box.classList.toggle("nbllm-off", !row.enabled);
  }

  mark(id) {
    if (!this.chosen.delete(id)) this.chosen.add(id);
    this.list.paint();
    this.showBulk();
  }

  /** Made once, so that the focus stays on its buttons while the list changes. */
  bulkBar() {
    const ids = () => [...this.chosen];
    const act = (text, work) => button(text, () => work(ids()));
    const clear = () => { this.chosen.clear(); this.showRows(); this.list.element.focus(); };
    this.chosenCount = make("span", { role: "status" });
    this.bulk = make("div", { className: "nbllm-bulk", role: "group", aria: { label: "Selected providers" }, hidden: true },
      this.chosenCount,
      act("Test", (all) => this.tests.startMany(all)),
      act("Refresh models", (all) => all.forEach((id) => this.send("models", { id, refresh: true }))),
      act("Enable", (all) => this.send("enable", { ids: all })),
      act("Disable", (all) => this.send("disable", { ids: all })),
      act("Export", (all) => this.send("export", { ids: all })),
      this.sure("Remove", () => this.send("remove", { ids: ids() }), { aria: { label: "Remove the selected providers" } }),
      button("Clear", clear));
    return this.bulk;
  }

  showBulk() {
    const hadFocus = this.bulk.contains(document.activeElement);
    this.bulk.hidden = this.chosen.size === 0;
    this.chosenCount.textContent = `${this.chosen.size} selected: `;
    if (hadFocus && this.bulk.hidden) this.list.element.focus();
  }

  // ------------------------------------------------------------ one provider

  add(like = null) {
    this.open = "";
    this.showDetail(blank(like), like?.id);
    const { id, base_url } = this.parts.form.parts;
    if (like) id.input.value = `${like.id}-2`;
    id.input.focus();
    if (like || base_url.input.value) this.parts.form.judge();
  }

  show(id) {
    this.open = id;
    this.list.paint();
    this.send("open", { id });
  }

  closeDetail() {
    this.open = null;
    this.shown = null;
    this.parts = {};
    redraw(this.detail, () => this.detail.replaceChildren(make("p", { className: "nbllm-quiet", textContent: CHOOSE })));
  }

  /** What is being typed stays, whatever else has changed. */
  take_detail(message) {
    if (message.id !== this.open) return;
    const isShown = this.shown?.id === message.id;
    const isTyping = isShown && [...this.detail.querySelectorAll("input[type=password]")].some((node) => node.value);
    if (isShown && !isTyping && !sameDetail(this.shown, message)) {
      if (this.parts.form.isDirty()) this.showKeyAnew(message);
      else redraw(this.detail, () => this.showDetail(message));
    } else if (!isShown) this.showDetail(message);
    this.parts.models.follow(message);
  }

  showKeyAnew(found) {
    this.shown = found;
    const before = this.parts.key;
    if (!before || !found.takes_key) return;
    this.parts.key = new KeyPart(this, found);
    redraw(this.detail, () => before.element.replaceWith(this.parts.key.element));
  }

  showDetail(found, like = null) {
    this.shown = found;
    const form = new ConnectionForm(this, found, like);
    if (found.new) {
      this.parts = { form };
      this.detail.replaceChildren(this.detailHead(found), form.element);
      return;
    }
    const key = found.takes_key ? new KeyPart(this, found) : null;
    this.parts = { form, key, models: new ModelPart(this, found) };
    this.detail.replaceChildren(...[this.detailHead(found), ...this.remarks(found), key?.element, this.tests.build(found),
      form.element, headerPart(this, found), this.parts.models.element].filter(Boolean));
  }

  detailHead(found) {
    const row = this.rows.find((each) => each.id === found.id);
    const head = make("div", { className: "nbllm-detail-head" },
      make("h3", { textContent: found.new ? "A new provider" : row?.name || found.id }));
    if (found.new) return head;
    const turn = row?.enabled ? ["Disable", "disable"] : ["Enable", "enable"];
    head.append(button("Duplicate", () => this.add(this.shown)),
      button(turn[0], () => this.send(turn[1], { ids: [found.id] })));
    if (found.own) head.append(this.sure("Remove", () => this.send("remove", { ids: [found.id] })));
    return head;
  }

  remarks(found) {
    const { hindrance } = found;
    const lines = [found.note, found.status && found.status !== "live" ? `status: ${found.status}` : null,
      found.gguf ? `a model file, served on this machine: ${found.gguf}` : null, ...found.remarks];
    const missing = hindrance && make("div", { className: "nbllm-missing", role: "note" },
      make("strong", { textContent: found.lacking.length ? `Still to be set: ${found.lacking.join(", ")}.` : hindrance.message }),
      hindrance.hint ? ` ${hindrance.hint}` : "");
    return [missing, ...lines.filter(Boolean).map((text) => make("p", { className: "nbllm-quiet", textContent: text }))];
  }

  // ------------------------------------------------------------ messages for its parts

  take_verdict(message) { this.parts.form?.take(message); }

  take_models(message) { if (message.id === this.open) this.parts.models?.take(message); }

  take_stage(message) { this.tests.take(message); }

  take_tested(message) {
    if (this.tests.take(message) && message.ok && message.id === this.open) this.parts.models?.load(false);
  }

  take_cancelled(message) {
    if (message.id) this.tests.take(message);
    else this.tests.endMany(message);
  }

  take_progress(message) { this.tests.takeProgress(message); }

  take_servers(message) { this.say(""); this.transfer.takeServers(message); }

  take_file(message) { this.transfer.takeFile(message); }

  take_preview(message) { this.transfer.takePreview(message); }
}

/** The sign of a provider in the list, its look, and the words for it. */
function signOf(row) {
  if (!row.enabled) return [["○", "quiet"], "disabled"];
  if (row.status === "retired" || row.status === "unsupported") return [["○", "quiet"], row.status];
  if (row.lacking.length) return [["◌", "quiet"], `to be set: ${row.lacking.join(", ")}`];
  if (row.last_check && !row.last_check.ok) return [["✗", "bad"], `failed at ${row.last_check.stage}`];
  if (row.last_check) return [["✓", "ok"], "answers"];
  if (row.key === "none") return [["○", "quiet"], "no key"];
  return [["●", "plain"], row.key === "not-needed" ? "no key needed" : `key: ${row.key}`];
}

function sameDetail(one, other) {
  const bare = (each) => JSON.stringify({ ...each, seq: null, model_count: null, models_age_s: null });
  return bare(one) === bare(other);
}

export default { render };
