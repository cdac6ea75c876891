// The view of a comparison: its frame, its tabs, and the way of messages. What it knows comes in messages; while a vote is
// open the kernel names no model in any of them, so that nothing here could show one.
import { make, visible } from "./page.js";
import { AnswersPart } from "./comparisontable.js";
import { ResultsPart } from "./comparisonresults.js";
import { VotePart } from "./comparisonvote.js";

const TABS = { answers: "Answers", vote: "Vote", results: "Results" };
const SLOW_MS = 1500;
let comparisons = 0;

function render({ model, el }) {
  const view = new ComparisonView(model, el);
  view.start();
  return () => view.stop();
}

class ComparisonView {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.id = `nbllm-comparison-${Date.now().toString(36)}-${++comparisons}`;
    this.count = 0;
    this.state = null;
    this.vote = new VotePart(this);
    this.answers = new AnswersPart(this);
    this.results = new ResultsPart(this);
    this.parts = { answers: this.answers, vote: this.vote, results: this.results };
  }

  // ------------------------------------------------------------ messages

  /** Ask the kernel; the number of the question, which its answer carries. */
  send(what, more = {}) {
    const seq = [this.id, ++this.count];
    if (this.isOver) return this.count;
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.say("The kernel is busy, or is gone. After a restart run the cell again."), SLOW_MS);
    try {
      this.model.send({ do: what, seq, ...more });
    } catch {
      this.say("The kernel that stood behind this view is gone: run the cell again.");
    }
    return this.count;
  }

  receive(message) {
    const isMine = message.seq?.[0] === this.id;
    if (isMine) {
      clearTimeout(this.patience);
      this.say("");
    }
    if (message.type === "state") this.takeState(message, isMine);
    else if (isMine && message.type === "problem") this.takeProblem(message);
    else if (isMine)
      this[{ results: "results", table: "answers", found: "answers", opened: "answers" }[message.type]]?.take(message);
  }

  takeState(message, isMine) {
    const wasBlind = this.state?.blind ?? true;
    this.state = message;
    if (isMine) this.complain("");
    this.vote.take(message, isMine);
    if (wasBlind && !message.blind) this.shown = null; // what stood behind the gate may be drawn now
    this.showTab();
  }

  takeProblem(message) {
    this.complain(message.message, message.hint);
    this.vote.fail(message);
  }

  // ------------------------------------------------------------ the frame

  start() {
    const { el } = this;
    el.classList.add("nbllm-view");
    el.setAttribute("role", "region");
    el.setAttribute("aria-label", "Comparison");
    el.dataset.lmSuppressShortcuts = "true";
    // Else `a`, `b`, `dd` and Enter would act on the notebook's cells.
    for (const kind of ["keydown", "keyup", "keypress", "paste", "copy", "cut"])
      el.addEventListener(kind, (event) => event.stopPropagation());
    el.addEventListener("keydown", (event) => this.shortcut(event));
    this.status = make("div", { className: "nbllm-view-status", role: "status" });
    this.alert = make("div", { className: "nbllm-view-alert", role: "alert" });
    el.append(this.tablist(), this.alert, this.status, ...Object.keys(TABS).map((name) => this.panel(name)));
    this.heard = (message) => this.receive(message);
    this.turned = () => this.showTab();
    this.model.on("msg:custom", this.heard);
    this.model.on("change:tab", this.turned);
    this.answers.listen();
    this.send("hello");
  }

  stop() {
    this.isOver = true;
    clearTimeout(this.patience);
    this.model.off("msg:custom", this.heard);
    this.model.off("change:tab", this.turned);
    this.answers.stop();
  }

  tablist() {
    this.tabs = Object.fromEntries(
      Object.entries(TABS).map(([name, text]) => [
        name,
        make("button", {
          type: "button",
          id: `${this.id}-tab-${name}`,
          role: "tab",
          textContent: text,
          data: { tab: name },
          aria: { controls: `${this.id}-${name}` },
          on: { click: () => this.turn(name) },
        }),
      ]),
    );
    return make(
      "div",
      { className: "nbllm-view-tabs", role: "tablist", aria: { label: "Comparison" } },
      ...Object.values(this.tabs),
    );
  }

  panel(name) {
    const panel = make("div", {
      id: `${this.id}-${name}`,
      role: "tabpanel",
      hidden: true,
      className: `nbllm-view-${name}`,
      aria: { labelledby: `${this.id}-tab-${name}` },
    });
    this.panels = { ...this.panels, [name]: panel };
    return panel;
  }

  turn(name) {
    this.model.set("tab", name);
    this.model.save_changes();
    this.showTab(); // no change, no event
  }

  /** Show the tab that the widget is at. What is not shown is not in the page: names must not stand there unseen. */
  showTab() {
    const at = this.model.get("tab") in TABS ? this.model.get("tab") : "answers";
    const offered = {
      answers: true,
      vote: Boolean(this.state?.can_vote),
      results: this.state?.can_vote || this.state?.has_votes,
    };
    for (const [name, tab] of Object.entries(this.tabs)) {
      tab.setAttribute("aria-selected", String(name === at));
      tab.tabIndex = name === at ? 0 : -1;
      tab.hidden = !offered[name] && name !== at;
      this.panels[name].hidden = name !== at;
    }
    if (!this.state || this.shown === at) return;
    this.shown = at;
    for (const [name, panel] of Object.entries(this.panels)) if (name !== at) panel.replaceChildren();
    const isShut = this.state.blind && at !== "vote";
    if (isShut) this.panels[at].replaceChildren(this.vote.gate(at));
    else this.parts[at].show(this.panels[at]);
  }

  shortcut(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tab = event.target.dataset?.tab;
    const names = Object.keys(TABS).filter((name) => !this.tabs[name].hidden);
    const to = { ArrowRight: names.indexOf(tab) + 1, ArrowLeft: names.indexOf(tab) - 1, Home: 0, End: names.length - 1 }[
      event.key
    ];
    if (tab && to !== undefined) {
      const name = names[(to + names.length) % names.length];
      this.turn(name);
      this.tabs[name].focus();
    } else if (this.shown && this.parts[this.shown].key?.(event)) {
      // the part did what there was to do
    } else if (event.key === "Escape") this.el.closest(".jp-Cell")?.focus();
    else return;
    event.preventDefault();
  }

  say(text) {
    this.status.textContent = visible(text);
  }

  complain(message, hint) {
    this.alert.replaceChildren(...(message ? [make("strong", { textContent: message }), hint ? ` ${visible(hint)}` : ""] : []));
  }
}

export default { render };
