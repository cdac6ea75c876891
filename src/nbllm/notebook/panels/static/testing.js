// The test of one provider, stage by stage, and of many at once. A late answer finds its run gone, and is dropped.
import { button, field, make, safeLink, textInput } from "./page.js";

const STAGES = ["url", "dns", "connect", "tls", "auth", "models", "model"];
const LONGEST_WAIT_S = 600;

export class Tests {
  constructor(panel) {
    this.panel = panel;
    this.runs = new Map(); // by provider: the newest run
    this.part = null; // what the open provider shows of them
    this.many = null; // the run of many
    this.progress = make("div", { className: "nbllm-progress", hidden: true });
  }

  // ------------------------------------------------------------ one provider

  /** The part of the page for one provider. */
  build(found) {
    const model = textInput("", { data: { keep: 1 } });
    const known = make("datalist", { id: `nbllm-models-${this.panel.view}` });
    model.setAttribute("list", known.id);
    const stages = make("ol", { className: "nbllm-stages", aria: { label: "Stages of the test", live: "polite" } });
    const start = button("Test", () => this.start(found.id), { className: "nbllm-main" });
    this.part = { id: found.id, found, model, known, stages, start };
    const label = field("Model to ask", model, { hint: "one token, a real request; empty: only the way there and the key" });
    const element = make("div", { className: "nbllm-form nbllm-test" }, make("h4", { textContent: "Connection test" }),
      label.element, known, make("div", { className: "nbllm-buttons" }, start), stages);
    this.draw(found.id);
    return element;
  }

  offer(models) {
    this.part?.known.replaceChildren(...models.slice(0, 300).map((each) => make("option", { value: each.id })));
  }

  choose(id) {
    if (this.part) this.part.model.value = id;
  }

  start(id) {
    const model = this.part?.id === id ? this.part.model.value.trim() || null : null;
    const run = { id, model, stages: [], state: "running", seq: this.panel.send("test", { id, model }) };
    this.runs.set(id, run);
    this.draw(id);
  }

  /** A stage, or the end of a run. False: a newer run has taken its place. */
  take(message) {
    const run = this.runs.get(message.id);
    if (!run || run.seq !== message.seq?.[1]) return false;
    if (message.type === "stage") {
      run.stages.push(message);
      if (message.fix === "wait") run.againAt = Date.now() + 1000 * Math.min(LONGEST_WAIT_S, message.retry_after_s ?? 0);
    } else if (message.type === "tested") {
      run.state = message.ok ? "ok" : "failed";
      run.ms = message.ms;
    } else run.state = message.type === "cancelled" ? "cancelled" : "failed";
    this.draw(message.id);
    return true;
  }

  draw(id) {
    const run = this.runs.get(id);
    if (!run || this.part?.id !== id) return;
    clearInterval(this.countdown);
    const done = run.stages.filter((each) => each.stage !== "done");
    const wanted = STAGES.filter((name) => name !== "model" || run.model);
    const next = wanted[Math.max(-1, ...done.map((each) => wanted.indexOf(each.stage))) + 1];
    const items = done.map((each) => this.item(each, run));
    if (run.state === "running" && next) items.push(make("li", { className: "nbllm-running", textContent: `… ${next}` }));
    if (run.state === "ok") items.push(make("li", { className: "nbllm-ok", textContent: `It answers (${Math.round(run.ms)} ms).` }));
    if (run.state === "cancelled") items.push(make("li", { textContent: "Cancelled." }));
    this.part.stages.replaceChildren(...items);
    this.part.start.textContent = run.state === "running" ? "Test again" : "Test";
  }

  item(stage, run) {
    const time = stage.ms === null ? "" : ` ${Math.round(stage.ms)} ms`;
    return make("li", { className: stage.ok ? "nbllm-ok" : "nbllm-bad" },
      make("strong", { textContent: `${stage.ok ? "✓" : "✗"} ${stage.stage}` }), `${time} ${stage.detail}`,
      stage.ok || !stage.hint ? null : make("div", { className: "nbllm-hint", textContent: `What to do: ${stage.hint}` }),
      stage.ok ? null : make("div", { className: "nbllm-buttons" }, ...this.fixes(stage, run)));
  }

  /** Buttons that do what helps. */
  fixes(stage, run) {
    const go = (text, find) => button(text, () => { const node = find(); node?.scrollIntoView({ block: "center" }); node?.focus(); });
    const { parts } = this.panel;
    if (stage.fix === "url") return [go("Correct the address", () => parts.form?.parts.base_url.input)];
    if (stage.fix === "model") return [go("Choose another model", () => this.part.model)];
    if (stage.fix === "wait") return [this.later(run)];
    if (stage.fix !== "key") return [];
    const link = safeLink(this.part.found.doc);
    return [go("Give another key", () => this.panel.parts.key?.secret),
      link ? make("a", { href: link, target: "_blank", rel: "noopener noreferrer", textContent: "Open the provider's page" }) : null];
  }

  later(run) {
    const node = button("Test again", () => this.start(run.id));
    const tick = () => {
      const left = Math.ceil(((run.againAt ?? 0) - Date.now()) / 1000);
      node.disabled = left > 0;
      node.textContent = left > 0 ? `Test again in ${left} s` : "Test again";
      if (left <= 0) clearInterval(this.countdown);
    };
    tick();
    this.countdown = setInterval(tick, 250);
    return node;
  }

  /** Stop all that runs; whether anything did. */
  cancel() {
    const running = [...this.runs.values()].filter((run) => run.state === "running");
    for (const run of running) this.panel.send("cancel", { id: run.id });
    if (this.many?.isOpen) this.panel.send("cancel", {});
    return running.length > 0 || Boolean(this.many?.isOpen);
  }

  stop() {
    clearInterval(this.countdown);
  }

  // ------------------------------------------------------------ many

  startMany(ids) {
    this.many = { seq: this.panel.send("test_many", { ids }), failed: [], isOpen: true };
    this.progress.hidden = false;
    this.bar = make("progress", { max: 1, value: 0, aria: { label: "Providers tested" } });
    this.words = make("span", { role: "status", textContent: " Testing … " });
    this.cancelMany = button("Cancel", () => this.panel.send("cancel", {}));
    this.failures = make("ul");
    this.progress.replaceChildren(this.bar, this.words, this.cancelMany, this.failures);
  }

  takeProgress(message) {
    if (!this.many || message.seq[1] !== this.many.seq) return;
    const { failed } = this.many;
    if (message.id && !message.ok) {
      failed.push(message);
      this.failures.append(make("li", {}, button(message.id, () => this.panel.show(message.id)),
        ` ${message.stage}: ${message.error ?? ""}${message.hint ? `; ${message.hint}` : ""}`));
    }
    this.bar.max = Math.max(1, message.total);
    this.bar.value = message.done;
    this.many.text = `${message.done} of ${message.total} tested, ${failed.length} failed`;
    this.words.textContent = ` ${this.many.text} `;
    if (message.done < message.total) return;
    this.many.isOpen = false;
    this.cancelMany.replaceWith(button("Close", () => this.closeMany()));
  }

  /** It was cancelled, or could not be begun; what belongs to an earlier run says nothing of this one. */
  endMany(message) {
    if (!this.many || message.seq?.[1] !== this.many.seq) return;
    if (message.type === "cancelled") this.panel.say(`Cancelled: ${this.many.text ?? "nothing was tested"}.`);
    this.closeMany();
  }

  closeMany() {
    const hadFocus = this.progress.contains(document.activeElement);
    this.many = null;
    this.progress.hidden = true;
    if (hadFocus) this.panel.list.element.focus();
  }
}
