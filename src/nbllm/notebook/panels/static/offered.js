// The models of one provider: the filters of %llm_models, the default, favourites, groups, models added by hand.
import { ago, button, choice, counted, make, textInput } from "./page.js";
import { virtualList } from "./virtual.js";

const MODEL_ROW = 30;
const FLAGS = ["tools", "vision", "reasoning", "json"];

/** `128000`, `128k` or `1m` as a number; null when it is none. */
function tokensOf(text) {
  const found = /^(\d+(?:\.\d+)?)\s*([km]?)$/i.exec(text.trim());
  return found ? Number(found[1]) * { "": 1, k: 1e3, m: 1e6 }[found[2].toLowerCase()] : null;
}

function priceOf(text) {
  const found = Number.parseFloat(text.replace(",", "."));
  return Number.isFinite(found) && found >= 0 ? found : null;
}

export class ModelPart {
  constructor(panel, found) {
    this.panel = panel;
    this.id = found.id;
    this.rows = [];
    this.count = "";
    this.listed = found.model_count;
    this.isLoaded = false;
    this.note = make("p", { className: "nbllm-quiet", role: "status", textContent: found.model_count === null
      ? "Not asked yet." : [counted(found.model_count), ago(found.models_age_s)].filter(Boolean).join(", ") });
    this.ask = button("Ask for the models", () => this.load(true));
    this.list = virtualList({
      label: "Models", rowHeight: MODEL_ROW, key: (row) => row.id,
      draw: (row, box) => this.draw(row, box),
      onOpen: (row) => this.use(row),
      onMove: (row) => panel.tests.choose(row.id),
    });
    this.list.element.classList.add("nbllm-model-list");
    this.element = make("div", { className: "nbllm-form" }, make("h4", { textContent: "Models" }), this.note,
      this.filters(), this.list.element, this.actions());
  }

  filters() {
    const keep = { data: { keep: 1 } };
    const tick = () => make("input", { type: "checkbox", ...keep });
    this.search = make("input", { type: "search", placeholder: "Search models", aria: { label: "Search models" }, ...keep });
    this.boxes = Object.fromEntries([...FLAGS, "free", "favourites"].map((name) => [name, tick()]));
    this.context = textInput("", { placeholder: "128k", size: 6, className: "nbllm-short", ...keep });
    this.price = textInput("", { inputMode: "decimal", size: 5, className: "nbllm-short", ...keep });
    this.group = choice([["", "any group"]], "", { aria: { label: "Group" }, ...keep });
    this.offerGroups();
    const all = [this.search, this.context, this.price, this.group, ...Object.values(this.boxes)];
    for (const input of all) input.addEventListener("input", () => this.show());
    return make("div", { className: "nbllm-buttons nbllm-model-filters" }, this.ask, this.search,
      ...Object.entries(this.boxes).map(([name, box]) => make("label", {}, box, ` ${name}`)),
      make("label", {}, "context at least ", this.context), make("label", {}, "in $/M at most ", this.price), this.group);
  }

  offerGroups() {
    const names = this.panel.state?.groups ?? [];
    const options = [["", "any group"], ...names.map((name) => [name, name])];
    const before = this.group.value;
    this.group.replaceChildren(...options.map(([value, text]) => make("option", { value, textContent: text })));
    this.group.value = names.includes(before) ? before : "";
    this.group.hidden = names.length === 0;
  }

  actions() {
    const keep = { data: { keep: 1 } };
    const name = textInput("", { placeholder: "model id", aria: { label: "Model to add by hand" }, ...keep });
    const group = textInput("", { placeholder: "group", size: 10, aria: { label: "Name of the group" }, ...keep });
    const put = (on) => this.withCurrent((row) => this.panel.send("group", { ref: row.ref, name: group.value.trim(), on }));
    const add = () => { this.panel.send("add_model", { id: this.id, model: name.value }); name.value = ""; };
    const drop = () => this.withCurrent((row) => row.by_hand
      ? this.panel.send("drop_model", { id: this.id, model: row.id })
      : this.panel.complain(`${row.id} was not added by hand.`, "What the provider lists stays."));
    return make("div", {},
      make("div", { className: "nbllm-buttons" },
        button("Make default", () => this.withCurrent((row) => this.use(row))),
        button("Favourite", () => this.withCurrent((row) => this.favourite(row))),
        group, button("Put into group", () => put(true)), button("Take out of group", () => put(false))),
      make("div", { className: "nbllm-buttons" }, name, button("Add by hand", add), button("Remove one added by hand", drop)));
  }

  withCurrent(work) {
    const row = this.list.current();
    if (row) work(row);
    else this.panel.complain("No model is chosen.", "Choose one in the list.");
  }

  load(refresh) {
    this.panel.send("models", { id: this.id, refresh });
    if (!refresh) return;
    this.note.textContent = "Asking …";
    this.list.element.setAttribute("aria-busy", "true");
  }

  /** After a change elsewhere: ask for the list again when it is another one now. */
  follow(found) {
    if (found.model_count === null || (this.isLoaded && found.model_count === this.listed)) return;
    this.listed = found.model_count;
    this.load(false);
  }

  take(message) {
    this.isLoaded = true;
    this.rows = message.models;
    const left = message.count - message.models.length;
    this.count = [`${counted(message.count)}, ${ago(message.age_s) || "age unknown"}`,
      left > 0 ? `${left} not shown` : "", message.error ?? ""].filter(Boolean).join("; ");
    this.list.element.removeAttribute("aria-busy");
    this.panel.tests.offer(this.rows);
    this.show();
  }

  fail(text) {
    this.list.element.removeAttribute("aria-busy");
    this.note.textContent = text;
  }

  show() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [least, most, group] = [tokensOf(this.context.value), priceOf(this.price.value), this.group.value];
    this.context.setAttribute("aria-invalid", String(Boolean(this.context.value.trim()) && least === null));
    const { free, favourites } = this.boxes;
    const flags = FLAGS.filter((name) => this.boxes[name].checked);
    // What is not known satisfies no filter, as in %llm_models.
    const shown = this.rows.filter((row) => flags.every((name) => row[name] === true)
      && (!free.checked || (row.input_price === 0 && row.output_price === 0))
      && (!favourites.checked || row.favourite)
      && (!group || row.groups.includes(group))
      && (least === null || (row.context ?? -1) >= least)
      && (most === null || (row.input_price !== null && row.input_price <= most))
      && words.every((word) => `${row.id} ${row.name ?? ""}`.toLowerCase().includes(word)));
    this.list.show(shown);
    if (this.count) this.note.textContent = `${this.count}${shown.length === this.rows.length ? "" : `; ${shown.length} fit`}`;
  }

  draw(row, box) {
    const price = row.input_price === null || row.output_price === null ? "" : `$${row.input_price} / $${row.output_price}`;
    const facts = [row.context ? `${Math.round(row.context / 1000)}k` : "", price, row.tools ? "tools" : "",
      row.vision ? "vision" : "", ...row.groups, row.by_hand ? "by hand" : ""];
    const isDefault = row.ref === this.panel.state?.default_model;
    box.append(
      make("span", { className: "nbllm-title", textContent: `${row.favourite ? "★ " : ""}${row.id}${isDefault ? " (default)" : ""}` }),
      make("span", { className: "nbllm-sub", textContent: facts.filter(Boolean).join(" · ") }),
    );
  }

  use(row) {
    this.panel.tests.choose(row.id);
    this.panel.send("use", { ref: row.ref });
  }

  favourite(row) {
    row.favourite = !row.favourite;
    this.panel.send("favourite", { ref: row.ref, on: row.favourite });
    this.list.paint();
  }
}
