// The answers: a grid of which only the rows in sight are in the page, filters over it, and the answers to one prompt side
// by side. Sorting and filtering ask the kernel nothing, but for words that stand beyond the beginnings of long answers.
import { button, choice, debounced, field, make, textInput } from "./page.js";
import { AT, columnsOf } from "./comparisoncolumns.js";
import { Haystack } from "./comparisonfilter.js";
import { OpenedPrompt } from "./comparisonopened.js";
import { plain } from "./comparisonresults.js";
import { inSight } from "./virtual.js";

const LINE = 28; // pixels of a row; the style sheet says the same
const SPARE_LINES = 20; // drawn above and below those in sight, so that quick scrolling meets no gap
const ASK_MS = 200;
const SHOWN = 300; // characters of a cell that are in the page
const ALL = "";
const collator = new Intl.Collator("en", { numeric: true });

export class AnswersPart {
  constructor(view) {
    this.view = view;
    this.rows = null;
    this.total = null;
    this.found = [];
    this.orders = new Map(); // by column: all rows sorted by it, so that typing sorts nothing
    this.answered = null; // what the kernel found in whole texts, and for which words
  }

  listen() {
    this.changed = () => this.adopt();
    for (const name of ["filters", "sort"]) this.view.model.on(`change:${name}`, this.changed);
    this.keepSettings = debounced(() => this.saveSettings(), ASK_MS);
    this.askKernel = debounced(() => this.searchWhole(), ASK_MS);
  }

  stop() {
    for (const name of ["filters", "sort"]) this.view.model.off(`change:${name}`, this.changed);
    this.sight?.disconnect();
  }

  show(panel) {
    this.panel = panel;
    this.sight?.disconnect();
    if (this.rows?.length === this.total) return this.build();
    panel.replaceChildren(make("p", { textContent: "Fetching the answers …" }));
    this.rows = null; // what came of them while another tab was shown, came too late
    return this.view.send("answers");
  }

  take(message) {
    if (message.type === "table") this.takePage(message);
    else if (message.type === "found") this.takeFound(message);
    else if (message.type === "opened" && this.view.shown === "answers") this.opened.take(message);
  }

  takePage(message) {
    if (message.head) {
      this.head = message.head;
      this.total = message.total;
      this.columns = columnsOf(message.head);
      this.hay = new Haystack(message.head);
      this.rows = this.hay.rows;
    }
    if (!this.rows || message.first !== this.rows.length) return;
    this.hay.add(message.rows);
    this.orders.clear();
    if (this.view.shown !== "answers") return;
    if (message.head) this.build();
    else this.update({ stay: true });
  }

  // ------------------------------------------------------------ the frame

  build() {
    const { head } = this;
    this.words = textInput("", { type: "search", placeholder: "words in prompt, model or answer" });
    this.arm = choice([[ALL, "all"], ...head.arms.map((label, at) => [String(at), label])], ALL);
    this.status = choice([[ALL, "all"], ["ok", "answered"], ["error", "error"]], ALL);
    this.ranges = Object.fromEntries(head.ranged.map((name) => [name, [range(`least ${name}`), range(`most ${name}`)]]));
    const parts = [
      field("Find", this.words),
      field("Model", this.arm),
      field("Status", this.status),
      ...Object.entries(this.ranges).map(([name, ends]) =>
        make("fieldset", { className: "nbllm-view-range" }, make("legend", { textContent: name }), ends[0], "to", ends[1]),
      ),
    ];
    for (const part of parts) part.element?.querySelector(".nbllm-note")?.remove();
    for (const input of [this.words, this.arm, this.status, ...Object.values(this.ranges).flat()]) {
      input.removeAttribute("aria-describedby");
      input.addEventListener("input", () => {
        this.update();
        this.keepSettings();
      });
    }
    this.count = make("div", { className: "nbllm-view-count", role: "status" });
    this.opened = new OpenedPrompt(this);
    this.panel.replaceChildren(
      make(
        "div",
        { className: "nbllm-view-filters", role: "search", aria: { label: "Filter the answers" } },
        ...parts.map((part) => part.element ?? part),
        button("Clear", () => this.clear()),
      ),
      this.grid(),
      this.count,
      this.opened.element,
    );
    this.sight = new ResizeObserver(() => this.paint());
    this.sight.observe(this.box);
    this.adopt(true);
  }

  grid() {
    this.heads = this.columns.map((column) => {
      const sorter = button(column.title, () => this.sortBy(column.name), { tabIndex: 0 });
      return make(
        "div",
        { role: "columnheader", className: column.isNumber ? "nbllm-view-number" : "", aria: { sort: "none" } },
        sorter,
      );
    });
    this.space = make("div", { className: "nbllm-view-space", role: "rowgroup" });
    this.box = make(
      "div",
      { className: "nbllm-view-grid", role: "grid", tabIndex: 0, aria: { label: "Answers", colcount: this.columns.length } },
      make(
        "div",
        { role: "rowgroup", className: "nbllm-view-heads" },
        make("div", { role: "row", aria: { rowindex: 1 } }, ...this.heads),
      ),
      this.space,
    );
    this.box.style.setProperty(
      "--columns",
      this.columns.map(({ least, share }) => (share ? `minmax(${least}ch, ${share}fr)` : `${least}ch`)).join(" "),
    );
    this.box.style.setProperty("--least", `${this.columns.reduce((sum, { least }) => sum + least, 0)}ch`);
    this.drawn = new Map(); // by place: the row as it stands in the page
    this.idle = []; // rows that show nothing now
    this.statusAt = this.columns.findIndex((column) => column.name === "status");
    this.space.addEventListener("click", (event) => {
      const row = event.target.closest("[role=row]");
      if (!row) return;
      this.active = Number(row.dataset.at);
      this.mark();
      this.opened.open(this.active);
    });
    this.box.addEventListener("scroll", () => this.paint(), { passive: true });
    return this.box;
  }

  // ------------------------------------------------------------ which rows, in which order

  adopt(isFirst = false) {
    const { model } = this.view;
    const { text = "", arm = ALL, status = ALL, ranges = {} } = model.get("filters") ?? {};
    const sort = model.get("sort") ?? [];
    if (!this.rows || this.view.shown !== "answers" || this.isSaving) return;
    if (!isFirst && JSON.stringify([this.settings(), this.sort]) === JSON.stringify([model.get("filters"), sort])) return;
    this.words.value = text;
    this.arm.value = arm;
    this.status.value = status;
    for (const [name, ends] of Object.entries(this.ranges))
      ends.forEach((input, at) => {
        input.value = ranges[name]?.[at] ?? "";
      });
    this.sort = this.columns.some((column) => column.name === sort[0]) ? sort : [];
    this.update();
  }

  settings() {
    const set = Object.entries(this.ranges).map(([name, ends]) => [name, ends.map((input) => input.value)]);
    return {
      text: this.words.value,
      arm: this.arm.value,
      status: this.status.value,
      ranges: Object.fromEntries(set.filter(([, ends]) => ends.some(Boolean))),
    };
  }

  saveSettings() {
    this.isSaving = true; // between the two this view would take its own change back
    this.view.model.set("filters", this.settings());
    this.view.model.set("sort", this.sort);
    this.isSaving = false;
    this.view.model.save_changes();
  }

  clear() {
    for (const input of [this.words, this.arm, this.status, ...Object.values(this.ranges).flat()]) input.value = "";
    this.sort = [];
    this.update();
    this.keepSettings();
    this.words.focus();
  }

  sortBy(name) {
    const [before, direction] = this.sort;
    if (before !== name) this.sort = [name, 1];
    else this.sort = direction === 1 ? [name, -1] : []; // the third click gives the order of the grid back
    this.update();
    this.keepSettings();
  }

  order() {
    const [name, direction = 1] = this.sort;
    const column = this.columns.find((each) => each.name === name);
    const key = `${name} ${direction}`;
    if (!this.orders.has(key)) {
      const all = this.rows.map((_, at) => at);
      if (column) {
        const values = this.rows.map((row) => column.value(row));
        const fits = collator.compare;
        // Unknown values come last whichever way the column is sorted.
        all.sort((a, b) => {
          const [x, y] = [values[a], values[b]];
          if (x === null || y === null) return (x === null) - (y === null) || a - b;
          const ahead = typeof x === "number" && typeof y === "number" ? x - y : fits(String(x), String(y));
          return direction * ahead || a - b;
        });
      }
      this.orders.set(key, all);
    }
    return this.orders.get(key);
  }

  update({ stay = false } = {}) {
    this.wanted = this.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (this.wanted.length && !this.head.whole) this.askKernel();
    const keep = this.filter();
    this.found = this.order().filter(keep);
    this.heads.forEach((head, at) => {
      const column = this.columns[at];
      const sorted = column.name !== this.sort[0] ? "none" : this.sort[1] === 1 ? "ascending" : "descending";
      head.setAttribute("aria-sort", sorted);
      head.firstChild.textContent = column.title + { none: "", ascending: " ▲", descending: " ▼" }[sorted];
    });
    this.box.setAttribute("aria-rowcount", String(this.found.length + 1));
    this.tell();
    for (const [place, node] of this.drawn) this.lay(place, node);
    if (!stay) this.box.scrollTop = 0;
    if (!this.found.includes(this.active)) this.active = undefined;
    this.paint();
  }

  tell() {
    const isLooking = this.wanted.length && !this.head.whole && this.answered?.key !== this.wanted.join(" ");
    const missing = this.total - this.rows.length;
    const looking = isLooking ? ", looking into long ones …" : "";
    const coming = missing ? `, ${plain(missing)} on their way …` : "";
    this.count.textContent = `${plain(this.found.length)} of ${plain(this.total)} answers${looking}${coming}`;
  }

  filter() {
    const isAnswered = this.answered?.key === this.wanted.join(" ");
    const bounds = Object.entries(this.ranges).map(([name, ends]) => ({
      column: AT.scores + this.head.scorers.indexOf(name),
      least: bound(ends[0].value),
      most: bound(ends[1].value),
    }));
    return this.hay.keeper({
      words: this.wanted,
      beyond: isAnswered ? this.answered.rows : null,
      arm: this.arm.value === ALL ? null : Number(this.arm.value),
      ok: this.status.value === ALL ? null : this.status.value === "ok",
      bounds: bounds.filter(({ least, most }) => least !== null || most !== null),
    });
  }

  searchWhole() {
    if (this.wanted?.length && this.view.shown === "answers") this.view.send("search", { words: this.wanted });
  }

  takeFound(message) {
    this.answered = { key: message.words.join(" "), rows: new Set(message.rows) };
    if (this.view.shown === "answers" && this.answered.key === this.wanted.join(" ")) this.update({ stay: true });
  }

  // ------------------------------------------------------------ drawing

  paint() {
    const [first, last] = inSight(this.box, this.found.length, LINE, SPARE_LINES);
    this.space.style.height = `${this.found.length * LINE}px`;
    for (const [place, node] of this.drawn) if (place < first || place >= last) this.lay(place, node);
    for (let place = first; place < last; place += 1) if (!this.drawn.has(place)) this.drawn.set(place, this.line(place));
    for (const node of this.idle) {
      node.hidden = true;
      node.removeAttribute("id"); // which another row may have by now
    }
    this.mark();
  }

  /** Rows that are out of sight are filled anew rather than made anew: that is most of what drawing costs. */
  lay(place, node) {
    this.drawn.delete(place);
    this.idle.push(node);
  }

  blank() {
    const node = make("div", { role: "row" });
    for (const column of this.columns) {
      const cell = document.createElement("div");
      cell.setAttribute("role", "gridcell");
      if (column.isNumber) cell.className = "nbllm-view-number";
      if (column.isText) cell.dir = "auto";
      node.append(cell);
    }
    this.space.append(node);
    return node;
  }

  line(place) {
    const at = this.found[place];
    const row = this.rows[at];
    const node = this.idle.pop() ?? this.blank();
    node.hidden = false;
    node.id = `${this.view.id}-row-${at}`;
    node.dataset.at = at;
    node.style.top = `${place * LINE}px`;
    node.setAttribute("aria-rowindex", place + 2);
    node.className = place % 2 ? "nbllm-view-odd" : "";
    this.columns.forEach((column, i) => {
      node.children[i].textContent = column.shown(row).slice(0, SHOWN);
    });
    node.children[this.statusAt].className = row[AT.ok] ? "" : "nbllm-view-bad";
    return node;
  }

  /** The row that the keyboard is at, and the one that is open. */
  mark() {
    for (const [place, node] of this.drawn) {
      const at = this.found[place];
      node.classList.toggle("nbllm-view-active", at === this.active);
      node.setAttribute("aria-selected", String(at === this.opened.row));
    }
    const isDrawn = this.active !== undefined && this.box.querySelector(`#${this.view.id}-row-${this.active}`);
    if (isDrawn) this.box.setAttribute("aria-activedescendant", isDrawn.id);
    else this.box.removeAttribute("aria-activedescendant");
  }

  move(to) {
    if (!this.found.length) return;
    const place = Math.min(this.found.length - 1, Math.max(0, to));
    this.active = this.found[place];
    const room = this.box.clientHeight - LINE; // the head covers one line
    const top = place * LINE;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + LINE > this.box.scrollTop + room) this.box.scrollTop = top + LINE - room;
    this.paint();
  }

  key(event) {
    if (!this.box) return false;
    if (event.key === "Escape" && this.opened.isOpen) return this.opened.close();
    if (event.target !== this.box) return false;
    const place = this.found.indexOf(this.active);
    const page = Math.max(1, Math.floor(this.box.clientHeight / LINE) - 2);
    const to = {
      ArrowDown: place + 1,
      ArrowUp: place - 1,
      PageDown: place + page,
      PageUp: place - page,
      Home: 0,
      End: this.found.length - 1,
    };
    if (event.key in to) this.move(to[event.key]);
    else if (event.key === "Enter" && place >= 0) this.opened.open(this.active);
    else return false;
    return true;
  }

  /** The row that stands so many below this one; the table goes there. */
  beside(row, by) {
    const place = this.found.indexOf(row) + by;
    if (place < 0 || place >= this.found.length) return undefined;
    this.move(place);
    return this.found[place];
  }
}

function range(label) {
  return textInput("", { inputMode: "decimal", size: 4, aria: { label } });
}

/** A number that was typed, with a point or a comma; null: no bound. */
function bound(typed) {
  const value = Number.parseFloat(typed.replace(",", "."));
  return Number.isFinite(value) ? value : null;
}
