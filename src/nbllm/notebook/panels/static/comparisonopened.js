// The answers of all models to one prompt, side by side, below the table that it was opened from.
import { button, make } from "./page.js";
import { money, plain, rounded, seconds } from "./comparisonresults.js";
import { wholeText } from "./comparisonvote.js";

export class OpenedPrompt {
  /** `table` knows which row comes before and after, and gets the focus back. */
  constructor(table) {
    this.table = table;
    this.row = null; // the row that was opened
    this.element = make("section", { className: "nbllm-view-opened", aria: { label: "Answers to one prompt" }, hidden: true });
  }

  get isOpen() {
    return this.row !== null;
  }

  open(row) {
    this.asked = this.table.view.send("open", { row });
  }

  step(by) {
    const next = this.table.beside(this.row, by);
    if (next !== undefined) this.open(next);
  }

  close() {
    this.row = null;
    this.element.hidden = true;
    this.element.replaceChildren();
    this.table.mark();
    this.table.box.focus();
    return true;
  }

  take(message) {
    if (message.seq[1] !== this.asked) return; // another row has been opened since
    const had = this.element.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.row = message.row;
    const repeat = this.table.head.repeats > 1 ? `, repeat ${message.repeat + 1}` : "";
    const title = make("h3", { tabIndex: -1, textContent: `Prompt ${message.prompt_id}${repeat}` });
    const buttons = [
      button("Previous row", () => this.step(-1)),
      button("Next row", () => this.step(1)),
      button("Close", () => this.close()),
    ];
    const answers = message.answers.map((each, at) => answerOf(each, at === message.arm));
    this.element.replaceChildren(
      make("div", { className: "nbllm-view-buttons" }, title, ...buttons),
      wholeText("div", "nbllm-view-prompt", message.prompt, { tabIndex: 0, role: "group", aria: { label: "Prompt" } }),
      make("div", { className: "nbllm-view-sides nbllm-view-many" }, ...answers),
    );
    this.element.hidden = false;
    this.table.mark();
    (buttons.find((node) => node.textContent === had) ?? title).focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
  }
}

function answerOf(each, isAsked) {
  const facts =
    each.status === "none"
      ? ["not asked"]
      : [
          each.status === "ok" ? null : "✗ error",
          ...each.scores.map(([name, value]) => `${name} ${rounded(value)}`),
          seconds(each.latency_ms),
          `${plain(each.output_tokens)} tokens`,
          each.cost_usd === null ? "cost unknown" : money(each.cost_usd),
          each.finish && each.finish !== "stop" ? `ended: ${each.finish}` : null,
        ];
  const name = make("h4", { textContent: each.arm });
  const said = each.status === "ok" ? each.text || "(an empty answer)" : (each.error ?? "");
  return make(
    "div",
    { className: `nbllm-view-side${isAsked ? " nbllm-view-chosen" : ""}` },
    name,
    make("p", { className: "nbllm-view-facts", textContent: facts.filter(Boolean).join(" · ") }),
    wholeText("div", `nbllm-view-text${each.status === "error" ? " nbllm-view-bad" : ""}`, said, {
      tabIndex: 0,
      role: "group",
      aria: { label: `Answer of ${each.arm}` },
    }),
  );
}
