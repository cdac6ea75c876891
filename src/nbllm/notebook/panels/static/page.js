// Small pieces of page. All text goes in as text, never as HTML: names and messages come from strangers.

/** An element; `options` are properties, `aria`, `data` and `on` groups; children are nodes or text. */
export function make(tag, options = {}, ...children) {
  const { aria = {}, data = {}, on = {}, role, ...properties } = options;
  const node = document.createElement(tag);
  Object.assign(node, properties);
  if (role) node.setAttribute("role", role);
  for (const [name, value] of Object.entries(aria)) node.setAttribute(`aria-${name}`, String(value));
  for (const [name, value] of Object.entries(data)) node.dataset[name] = String(value);
  for (const [name, value] of Object.entries(on)) node.addEventListener(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function button(text, click, options = {}) {
  return make("button", { type: "button", textContent: text, on: { click }, ...options });
}

let fields = 0;

/** A labelled field: `{element, input, say(problem, repair)}`. */
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
      note.replaceChildren(problem || hint);
      if (!problem && repair) {
        note.replaceChildren(`${repair.why}: `, button(`use ${repair.value}`, () => apply(repair.value)));
      }
    },
  };
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
