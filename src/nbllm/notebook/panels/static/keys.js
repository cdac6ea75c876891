// A provider's key: where it comes from, and a field for another one. What is typed leaves in one message.
import { button, choice, field, make, safeLink } from "./page.js";

const PLACES = {
  keyring: "in the OS keyring", vault: "in the vault", session: "in this session: it is gone when the kernel ends",
  "not-needed": "none needed", none: "none yet",
};
const STORES = [["", "where it is safest"], ["keyring", "OS keyring"], ["vault", "vault"], ["session", "this session"]];

function place(key) {
  if (key.source !== "environment") return PLACES[key.source] ?? key.source;
  return `from the environment (${key.name})${key.hub ? "; on a hub, it is the hub's to change" : ""}`;
}

/** Why a text cannot be a key, or "". */
function keyProblem(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  if (/^bearer\s/i.test(trimmed)) return "without the word Bearer";
  if (/\s/.test(trimmed)) return "a key has no spaces: is it whole, and alone?";
  if (/^["'].*["']$/.test(trimmed)) return "without the quotes";
  if (/[^\x21-\x7e]/.test(trimmed)) return "a key has no such characters";
  return "";
}

/** What is unusual in a key that may be right all the same. It is judged here: for that it need not leave the page. */
function keyDoubt(text, prefixes) {
  const trimmed = text.trim();
  if (!trimmed || !prefixes?.length || prefixes.some((each) => trimmed.startsWith(each))) return "";
  return `keys of this provider usually begin with ${prefixes.join(" or ")}; it can be saved all the same`;
}

export class KeyPart {
  constructor(panel, found) {
    this.panel = panel;
    this.found = found;
    this.secret = make("input", { type: "password", autocomplete: "new-password", spellcheck: false });
    this.entry = field(["none", "not-needed"].includes(found.key.source) ? "Key" : "Another key", this.secret);
    this.keep = choice(STORES, "");
    this.pass = field(panel.state?.vault === "new" ? "Choose a passphrase for the vault" : "Passphrase of the vault",
      make("input", { type: "password", autocomplete: "new-password" }));
    this.save = button("Save key", () => undefined, { disabled: true, type: "submit" });
    this.element = this.layout();
    for (const input of [this.secret, this.keep, this.pass.input]) input.addEventListener("input", () => this.judge());
    this.judge();
  }

  get isTyped() {
    return Boolean(this.secret.value || this.pass.input.value);
  }

  /** The key of this session goes into the vault without being typed again. */
  get isMove() {
    return this.found.key.source === "session" && this.keep.value === "vault" && !this.secret.value;
  }

  layout() {
    const { panel, found } = this;
    const { key } = found;
    const link = safeLink(found.doc);
    const isSaved = ["keyring", "vault", "session"].includes(key.source);
    const offer = key.source === "session" && !panel.state?.public;
    return make("form", { className: "nbllm-form nbllm-key", on: { submit: (event) => this.submit(event) } },
      make("h4", { textContent: "Key" }),
      make("p", { textContent: `Key: ${place(key)}${key.note ? ` (${key.note})` : ""}` }),
      key.source === "none" && found.env.length
        ? make("p", { className: "nbllm-quiet", textContent: `or set ${found.env.join(" or ")} before the kernel starts` }) : null,
      offer ? button("Keep it in the vault", () => this.offerVault()) : null,
      this.entry.element, field("Keep it in", this.keep).element, this.pass.element,
      make("div", { className: "nbllm-buttons" }, this.save,
        isSaved ? panel.sure("Forget key", () => panel.send("forget", { id: found.id })) : null,
        link ? make("a", { href: link, target: "_blank", rel: "noopener noreferrer", textContent: "The provider's page" }) : null));
  }

  offerVault() {
    this.keep.value = "vault";
    this.judge();
    if (this.pass.element.hidden) this.send();
    else this.pass.input.focus();
  }

  judge() {
    const wantsPass = this.keep.value === "vault" && Boolean(this.panel.state?.vault);
    this.pass.element.hidden = !wantsPass;
    const problem = keyProblem(this.secret.value);
    this.entry.say(problem);
    this.entry.warn(keyDoubt(this.secret.value, this.found.key_prefix));
    this.save.textContent = this.isMove ? "Keep it in the vault" : "Save key";
    const isReady = this.isMove || this.secret.value.trim();
    this.save.disabled = Boolean(problem) || !isReady || (this.isMove && wantsPass && !this.pass.input.value);
  }

  submit(event) {
    event.preventDefault();
    if (!this.save.disabled) this.send();
  }

  send() {
    const { id } = this.found;
    const move = this.isMove;
    const key = this.secret.value;
    const passphrase = this.pass.element.hidden ? "" : this.pass.input.value;
    const more = passphrase ? { passphrase } : {};
    this.secret.value = "";
    this.pass.input.value = "";
    if (move) this.panel.send("keep", { id, ...more });
    else this.panel.send("key", { id, key, store: this.keep.value || null, ...more });
    this.judge();
  }
}
