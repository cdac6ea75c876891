// Small pieces of page. All text goes in as text, never as HTML: names and messages come from strangers.

const LONG = 2000;
const HIDDEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** Text as it may be shown: control, bidirectional and zero-width characters by their number, since they mislead. */
export function visible(text) {
  const whole = String(text ?? "");
  const cut = whole.length > LONG ? `${whole.slice(0, LONG)}…` : whole;
  return cut.replace(HIDDEN, (char) => `<U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

/** An element; `options` are properties, `aria`, `data` and `on` groups; children are nodes or text. */
export function make(tag, options = {}, ...children) {
  const { aria = {}, data = {}, on = {}, role, ...properties } = options;
  const node = document.createElement(tag);
  if ("textContent" in properties) properties.textContent = visible(properties.textContent);
  Object.assign(node, properties);
  if (role) node.setAttribute("role", role);
  for (const [name, value] of Object.entries(aria)) node.setAttribute(`aria-${name}`, visible(value));
  for (const [name, value] of Object.entries(data)) node.dataset[name] = String(value);
  for (const [name, value] of Object.entries(on)) node.addEventListener(name, value);
  const present = children.filter((child) => child !== null && child !== undefined);
  node.append(...present.map((child) => (typeof child === "string" ? visible(child) : child)));
  return node;
}

export function button(text, click, options = {}) {
  return make("button", { type: "button", textContent: text, on: { click }, ...options });
}

let fields = 0;

/** A labelled field: `say(problem, repair, apply)` when it cannot stay so, `warn(text)` when it may. */
export function field(text, input, { hint = "" } = {}) {
  const id = `nbllm-field-${++fields}`;
  input.id = id;
  const note = make("div", { className: "nbllm-note", id: `${id}-note`, textContent: hint });
  input.setAttribute("aria-describedby", note.id);
  const label = make("label", { htmlFor: id, textContent: text });
  const element = make("div", { className: "nbllm-field" }, label, input, note);
  return {
    element,
    input,
    say(problem, repair, apply) {
      input.setAttribute("aria-invalid", problem ? "true" : "false");
      note.classList.toggle("nbllm-bad", Boolean(problem));
      note.replaceChildren(visible(problem || hint));
      if (!problem && repair) {
        note.replaceChildren(visible(`${repair.why}: `), button(`use ${repair.value}`, () => apply(repair.value)));
      }
    },
    warn(text) {
      if (input.getAttribute("aria-invalid") !== "true") note.replaceChildren(visible(text || hint));
    },
  };
}

/** A select; each option is a value, or a value and its text. */
export function choice(options, value, properties = {}) {
  const nodes = options.map((each) => (Array.isArray(each) ? each : [each, each]))
    .map(([name, text]) => make("option", { value: name, textContent: text }));
  const node = make("select", properties, ...nodes);
  node.value = value;
  return node;
}

export function textInput(value, properties = {}) {
  return make("input", { type: "text", value: value ?? "", spellcheck: false, autocomplete: "off", ...properties });
}

function nameOf(node) {
  return `${node.tagName} ${node.labels?.[0]?.textContent || node.getAttribute("aria-label") || node.textContent}`;
}

/**
 * Draw a part anew and leave in it what a person has there: the focus, and what is typed into fields marked
 * `data-keep`. Where the focus was on something that is gone, the part itself gets it, since keys that reach the
 * notebook act on its cells.
 */
export function redraw(part, draw) {
  const focused = part.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  const typed = new Map([...part.querySelectorAll("[data-keep]")].map((node) => [nameOf(node), node]));
  draw();
  for (const node of part.querySelectorAll("[data-keep]")) {
    const before = typed.get(nameOf(node));
    if (before?.type === "checkbox") node.checked = before.checked;
    else if (before && (before.tagName !== "SELECT" || [...node.options].some((each) => each.value === before.value))) {
      node.value = before.value;
    }
  }
  if (focused === null || part.contains(document.activeElement)) return;
  const all = [...part.querySelectorAll("button, input, select, textarea, summary, a, [tabindex]")];
  const again = all.find((node) => nameOf(node) === focused && !node.disabled) ?? part;
  if (again === part) part.tabIndex = -1;
  again.focus({ preventScroll: true });
}

/** Call `work` when nothing has been typed for `ms`. */
export function debounced(work, ms) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, ms);
  };
}

export function ago(seconds) {
  if (seconds === null || seconds === undefined) return "";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.round(seconds / size)} ${unit} old`;
  }
  return "just now";
}

export function counted(count) {
  return count === 1 ? "1 model" : `${count} models`;
}

export function safeLink(text) {
  return typeof text === "string" && /^https:\/\//.test(text) ? text : null;
}
