// The blind vote: two answers to one prompt, one choice. A vote counts when the kernel says that it is kept, not before.
import { button, make } from "./page.js";

const CHOICES = { 1: "left", 0: "tie", 2: "right", s: "skip" };
const KEPT = {
  left: "Kept: left is better.",
  right: "Kept: right is better.",
  tie: "Kept: a tie.",
  skip: "Kept: skipped.",
  undo: "Taken back.",
};
const ACTS = ["vote", "undo", "reveal", "next"];
const STEP = 80; // pixels that an arrow key scrolls both answers
const SURE_FOR_MS = 4000;

/** A text as it is; the kernel has made hidden characters visible. Never HTML. */
export function wholeText(tag, className, text, options = {}) {
  const node = make(tag, { className, dir: "auto", ...options });
  node.textContent = text;
  return node;
}

export class VotePart {
  constructor(view) {
    this.view = view;
    this.pending = null; // what was sent and is not yet answered
  }

  show(panel) {
    this.panel = panel;
    this.drawn = null;
    this.draw();
  }

  take(state, isMine) {
    const had = this.pending;
    if (isMine || state.ballot?.token !== this.token) this.pending = null;
    this.kept = state.kept ?? (had ? this.kept : null);
    if (this.view.shown === "vote") this.draw();
  }

  fail(problem) {
    const choice = this.pending;
    if (!ACTS.includes(problem.for)) return;
    this.pending = null;
    if (choice && this.view.shown === "vote" && this.drawn === "ballot")
      this.settle(`Not kept${choice in KEPT ? `: ${choice}` : ""}. Nothing was counted.`);
  }

  // ------------------------------------------------------------ what is drawn

  draw() {
    const { state } = this.view;
    const kind = ["ballot", "revealed"].includes(state.phase) ? "ballot" : state.phase;
    if (kind !== this.drawn || kind !== "ballot") {
      const hadFocus = this.panel.contains(document.activeElement);
      this.panel.replaceChildren(kind === "ballot" ? this.frame() : this.card(state));
      this.drawn = kind;
      if (hadFocus) (this.panel.querySelector("[data-first]") ?? this.section ?? this.panel).focus({ preventScroll: true });
    }
    if (kind === "ballot") this.fill(state);
  }

  /** What stands there before the vote, after the last ballot, and after the end. */
  card(state) {
    this.token = null;
    const { total = 0, done = 0, skipped = 0 } = state;
    const tally = `${count(done)} of ${count(total)} pairs are voted on${skipped ? `, ${count(skipped)} of them skipped` : ""}.`;
    const card = (title, lines, ...buttons) =>
      make(
        "div",
        { className: "nbllm-view-card" },
        make("h3", { textContent: title }),
        ...lines.filter(Boolean).map((line) => (typeof line === "string" ? make("p", { textContent: line }) : line)),
        make("div", { className: "nbllm-view-buttons" }, ...buttons.filter(Boolean)),
      );
    const first = (text, work) => button(text, work, { className: "nbllm-view-main", data: { first: 1 } });
    if (state.phase === "start") {
      return card(
        done ? "Go on voting" : "A blind vote",
        [
          "You see two answers to the same prompt, not who wrote them. Say which is better. Sides and order are drawn.",
          done ? tally : `${count(total)} pairs wait.`,
          leftOut(state),
          keyList(),
          "Each vote is kept at once: stop when you like, and go on another day. Names are shown when you end the vote.",
        ],
        first(done ? "Go on voting" : "Start voting", () => this.begin()),
        button("Look at the answers instead", () => this.view.turn("answers")),
      );
    }
    if (state.phase === "done") {
      return card(
        "That was the last pair",
        [tally, "Ending the vote shows who is who. No vote can be changed after that."],
        first("End the vote and show the names", () => this.end("results")),
        state.can_undo ? button("Take the last vote back (u)", () => this.undo()) : null,
      );
    }
    return card(
      "The vote has ended in this view",
      [
        tally,
        done < total
          ? "To vote on the rest, run the cell again. You have seen the names now: a vote is better cast before."
          : null,
      ],
      first("Results", () => this.view.turn("results")),
      button("Answers", () => this.view.turn("answers")),
    );
  }

  /** In place of a tab that names models, while the vote is open. */
  gate(tab) {
    const { done = 0, total = 0 } = this.view.state;
    const left = total - done;
    return make(
      "div",
      { className: "nbllm-view-card" },
      make("h3", { textContent: "Names are shown here" }),
      make("p", { textContent: `${count(left)} ${left === 1 ? "pair waits" : "pairs wait"} for a blind vote.` }),
      make("p", { textContent: "Who has seen the names does not vote blind: showing them ends the vote in this view." }),
      make(
        "div",
        { className: "nbllm-view-buttons" },
        button("End the vote and show the names", () => this.end(tab), { className: "nbllm-view-main" }),
        button("Back to the vote", () => this.view.turn("vote")),
      ),
    );
  }

  frame() {
    this.section = make("section", {
      className: "nbllm-view-ballot",
      tabIndex: -1,
      aria: { label: "Pair of answers" },
      data: { first: 1 },
    });
    this.bar = make("progress", { max: 1, value: 0, aria: { label: "Pairs voted on" } });
    this.words = make("span", { className: "nbllm-view-count" });
    this.said = make("span", { className: "nbllm-view-kept", role: "status" });
    this.prompt = wholeText("div", "nbllm-view-prompt", "", { tabIndex: 0, role: "group", aria: { label: "Prompt" } });
    this.sides = { left: this.side("Left"), right: this.side("Right") };
    this.choices = {
      left: this.choice("1", "Left is better", "left"),
      tie: this.choice("0", "Tie", "tie"),
      right: this.choice("2", "Right is better", "right"),
      skip: this.choice("s", "Skip", "skip"),
    };
    this.back = make("button", { type: "button", on: { click: () => this.undo() } }, make("kbd", { textContent: "u" }), " Undo");
    this.names = button("Show the names of this pair", () => this.reveal());
    this.next = make(
      "button",
      { type: "button", className: "nbllm-view-choice nbllm-view-main", on: { click: () => this.goOn() } },
      make("kbd", { textContent: "n" }),
      " Next pair",
    );
    this.stage = make(
      "div",
      { className: "nbllm-view-stage" },
      this.prompt,
      make("div", { className: "nbllm-view-sides" }, this.sides.left.element, this.sides.right.element),
    );
    this.section.append(
      make("div", { className: "nbllm-view-progress" }, this.bar, this.words, this.said),
      this.stage,
      make(
        "div",
        { className: "nbllm-view-choices", role: "group", aria: { label: "Your vote" } },
        ...Object.values(this.choices),
        this.back,
        this.next,
      ),
      make(
        "div",
        { className: "nbllm-view-after" },
        this.names,
        this.sure("End the vote", () => this.end("results")),
        make("span", { className: "nbllm-view-hint", textContent: "↑ ↓ scroll both answers" }),
      ),
    );
    return this.section;
  }

  side(title) {
    const name = make("h4", { textContent: title });
    const text = wholeText("div", "nbllm-view-text", "", { tabIndex: 0, role: "group", aria: { label: `${title} answer` } });
    return { title, name, text, element: make("div", { className: "nbllm-view-side" }, name, text) };
  }

  choice(key, text, what) {
    return make(
      "button",
      { type: "button", className: "nbllm-view-choice", data: { choice: what }, on: { click: () => this.cast(what) } },
      make("kbd", { textContent: key }),
      ` ${text}`,
    );
  }

  /** A button that asks once more. */
  sure(text, work) {
    const node = button(text, () => {
      if (node.dataset.sure) return work();
      node.dataset.sure = "1";
      node.textContent = `${text}: sure?`;
      setTimeout(() => {
        delete node.dataset.sure;
        node.textContent = text;
      }, SURE_FOR_MS);
      return undefined;
    });
    return node;
  }

  fill(state) {
    const { ballot } = state;
    const isNew = ballot.token !== this.token;
    if (isNew) {
      this.token = ballot.token;
      this.prompt.textContent = ballot.prompt;
      for (const [name, side] of Object.entries(this.sides)) side.text.textContent = ballot[name] || "(an empty answer)";
      for (const node of [this.prompt, this.sides.left.text, this.sides.right.text]) node.scrollTop = 0;
      this.steady();
    }
    const isRevealed = state.phase === "revealed";
    const hadFocus = this.section.contains(document.activeElement); // a button that is hidden loses it
    for (const [name, side] of Object.entries(this.sides))
      side.name.textContent = ballot.names ? `${side.title}: ${ballot.names[name]}` : side.title;
    this.bar.max = Math.max(1, state.total);
    this.bar.value = state.done;
    this.words.textContent = `${count(state.done)} of ${count(state.total)}`;
    for (const node of [...Object.values(this.choices), this.names]) node.hidden = isRevealed;
    this.next.hidden = !isRevealed;
    this.back.hidden = isRevealed;
    this.back.setAttribute("aria-disabled", String(!state.can_undo));
    if (hadFocus && !this.section.contains(document.activeElement)) this.section.focus({ preventScroll: true });
    if (hadFocus && document.activeElement.hidden) this.section.focus({ preventScroll: true });
    this.settle(isRevealed ? "Closed: it counts as skipped." : (KEPT[this.kept] ?? ""));
  }

  /** The stage grows and never shrinks: a short pair must not move the buttons away from the hand. */
  steady() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (width !== this.wide) this.stage.style.minHeight = "";
    this.wide = width;
    this.stage.style.minHeight = `${Math.max(height, Number.parseFloat(this.stage.style.minHeight) || 0)}px`;
  }

  settle(text) {
    this.said.textContent = text;
    this.section.classList.toggle("nbllm-view-waits", Boolean(this.pending));
    for (const [name, side] of Object.entries(this.sides))
      side.element.classList.toggle("nbllm-view-chosen", this.pending === name);
  }

  // ------------------------------------------------------------ what a person does

  key(event) {
    const { state } = this.view;
    if (event.target.closest?.("[role=tablist]")) return false;
    if (event.key === "u" && ["ballot", "done"].includes(state.phase)) return event.repeat || this.undo();
    if (!["ballot", "revealed"].includes(state.phase)) return false;
    const scrolled = [this.sides.left.text, this.sides.right.text, this.prompt].includes(event.target);
    if (!scrolled && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      for (const side of Object.values(this.sides)) side.text.scrollBy({ top: event.key === "ArrowDown" ? STEP : -STEP });
      return true;
    }
    if (state.phase === "revealed") return event.key === "n" && this.goOn();
    return event.key in CHOICES && (event.repeat || this.cast(CHOICES[event.key])); // a key held down is one vote
  }

  ask(what, wanted, more = {}) {
    if (this.pending) return true;
    this.pending = wanted;
    this.view.complain("");
    this.settle("keeping …");
    this.view.send(what, { ballot: this.token, ...more });
    return true;
  }

  cast(choice) {
    return this.view.state.phase !== "ballot" || this.ask("vote", choice, { choice });
  }

  undo() {
    if (!this.view.state.can_undo) return true;
    if (this.drawn === "ballot") return this.ask("undo", "undo");
    if (!this.pending) this.view.send("undo");
    this.pending = "undo"; // pressed twice it is one vote that is taken back
    return true;
  }

  reveal() {
    return this.ask("reveal", "names");
  }

  goOn() {
    this.kept = null;
    return this.ask("next", "next");
  }

  begin() {
    this.view.send("start");
  }

  /** End the vote, and go to where the names are. */
  end(tab) {
    this.view.send("end");
    this.view.turn(tab);
  }
}

function keyList() {
  const keys = [
    ["1", "left is better"],
    ["2", "right is better"],
    ["0", "a tie"],
    ["s", "skip"],
    ["u", "take the last vote back"],
  ];
  return make(
    "p",
    { className: "nbllm-view-keys" },
    ...keys.flatMap(([key, text]) => [make("kbd", { textContent: key }), ` ${text}  `]),
  );
}

function leftOut({ identical, unanswered }) {
  const parts = [
    identical ? `${count(identical)} with the same text on both sides` : "",
    unanswered ? `${count(unanswered)} where an answer is missing` : "",
  ];
  const text = parts.filter(Boolean).join(" and ");
  return text ? `Left out: ${text}.` : null;
}

function count(number) {
  return number.toLocaleString("en-US");
}
