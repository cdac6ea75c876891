// A table of models that sorts and filters. Only the rows in sight are in the page, so that 10,000 stay smooth.
// Everything that comes from a server is set as textContent, never as HTML.

const UNKNOWN = "—";
const FLAGS = { vision: "vision", tools: "tools", reasoning: "reasoning", structured_output: "json" };
const SPARE = 10; // rows drawn above and below those in sight
const WIDEST = 32; // characters of a column

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function shown(value, kind, name) {
  if (kind === "mark") return value ? "★" : "";
  if (value === null || value === undefined) return UNKNOWN;
  if (kind === "flag") return value ? "yes" : "no";
  if (kind !== "number") return String(value);
  return name.endsWith("_price") ? String(Number(value.toPrecision(4))) : value.toLocaleString("en-US");
}

// Room for nineteen of twenty values; the others are cut, and whole in their tooltip.
function widthOf({ name, kind, title }, i, rows) {
  const lengths = rows.map(row => shown(row[i], kind, name).length).sort((a, b) => a - b);
  const usual = lengths[Math.floor(0.95 * (lengths.length - 1))] ?? 0;
  return Math.min(WIDEST, Math.max(0.92 * usual, title.length + 1.5));
}

// Unknown values come last whichever way the column is sorted.
function compare(column, direction) {
  return (a, b) => {
    const x = a[column], y = b[column];
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * (typeof x === "string" ? x.localeCompare(y) : x - y);
  };
}

function render({ model, el }) {
  const columns = model.get("columns"), rows = model.get("rows");
  const at = Object.fromEntries(columns.map((column, i) => [column.name, i]));
  const state = { words: [], flags: new Set(), usable: false, most: null, column: null, direction: 1 };
  let found = rows;

  const id = `nbllm-${Math.random().toString(36).slice(2)}`;
  const search = element("input", { type: "search", id: `${id}-q`, placeholder: "name or provider", autocomplete: "off" });
  const price = element("input", { type: "search", inputmode: "decimal", id: `${id}-p`, size: 6, style: "flex:0 1 5em;min-width:4em" });
  const bar = element("div", { class: "nbllm-models-bar", role: "search", "aria-label": "filter models" },
    element("label", { for: `${id}-q` }, "Find"), search);
  const box = element("div", { class: "nbllm-models-box", tabindex: 0, role: "region", "aria-label": "models" });
  const count = element("p", { class: "nbllm-models-count", role: "status", "aria-live": "polite" });
  const head = element("tr"), body = element("tbody");
  // Widths come from the values of all rows, so that columns stay where they are while one scrolls.
  const sized = columns.map((column, i) => element("col", { style: `width:calc(${widthOf(column, i, rows)}ch + 18px)` }));
  box.append(element("table", {}, element("colgroup", {}, ...sized), element("thead", {}, head), body));

  const boxes = [["usable", "usable now"], ...Object.entries(FLAGS)].map(([name, title]) => {
    const tick = element("input", { type: "checkbox" });
    tick.addEventListener("change", () => {
      if (name === "usable") state.usable = tick.checked;
      else state.flags[tick.checked ? "add" : "delete"](at[name]);
      update();
    });
    return element("label", {}, tick, title);
  });
  bar.append(...boxes, element("label", {}, "in $/M at most", price));

  const heads = columns.map((column, i) => {
    const button = element("button", { type: "button", title: `sort by ${column.title}` }, column.title);
    const cell = element("th", { scope: "col", "aria-sort": "none" }, button);
    if (column.kind === "number") cell.classList.add("nbllm-right");
    button.addEventListener("click", () => {
      if (state.column !== i) [state.column, state.direction] = [i, 1];
      else if (state.direction === 1) state.direction = -1;
      else state.column = null; // the third click gives the order of the search back
      update();
    });
    head.append(cell);
    return { cell, button, title: column.title };
  });

  function fits(row) {
    const text = `${row[at.ref]} ${row[at.name] ?? ""}`.toLowerCase();
    const cost = row[at.input_price];
    return state.words.every(word => text.includes(word))
      && [...state.flags].every(flag => row[flag] === true)
      && (!state.usable || row[at.usable] === "yes")
      && (state.most === null || (cost !== null && cost <= state.most)); // unknown satisfies no bound
  }

  function update() {
    found = rows.filter(fits);
    if (state.column !== null) found.sort(compare(state.column, state.direction));
    heads.forEach(({ cell, button, title }, i) => {
      const sorted = i !== state.column ? "none" : state.direction === 1 ? "ascending" : "descending";
      cell.setAttribute("aria-sort", sorted);
      button.textContent = { none: title, ascending: `${title} ▲`, descending: `${title} ▼` }[sorted];
    });
    count.textContent = `${found.length.toLocaleString("en-US")} of ${rows.length.toLocaleString("en-US")} models`;
    box.scrollTop = 0;
    draw();
  }

  function gap(height) {
    return element("tr", { class: "nbllm-gap", "aria-hidden": "true" }, element("td", { colspan: columns.length, style: `height:${height}px` }));
  }

  let height = 0; // of a row, in pixels, measured once there is one
  function draw() {
    const line = height || 22;
    const first = Math.max(0, Math.floor(box.scrollTop / line) - SPARE);
    const last = Math.min(found.length, first + Math.ceil((box.clientHeight || 300) / line) + 2 * SPARE);
    body.replaceChildren(gap(first * line), ...found.slice(first, last).map((row, i) => drawn(row, first + i)),
      gap((found.length - last) * line));
    const measured = body.children[1]?.classList.contains("nbllm-gap") ? 0 : body.children[1]?.getBoundingClientRect().height;
    if (measured && Math.abs(measured - line) > 0.5 && !height) { height = measured; draw(); }
  }

  function drawn(row, number) {
    const line = element("tr", number % 2 ? { class: "nbllm-even" } : {});
    line.append(...columns.map((column, i) => {
      const text = shown(row[i], column.kind, column.name);
      const cell = element("td");
      cell.textContent = text;
      if (column.kind === "number") cell.classList.add("nbllm-right");
      if (text === UNKNOWN) cell.classList.add("nbllm-unknown");
      if (text.length > 30) cell.title = text;
      return cell;
    }));
    return line;
  }

  search.addEventListener("input", () => {
    state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    update();
  });
  price.addEventListener("input", () => {
    const most = Number.parseFloat(price.value.replace(",", "."));
    state.most = Number.isFinite(most) ? most : null;
    update();
  });
  let waiting = 0;
  const scrolled = () => { waiting ||= requestAnimationFrame(() => { waiting = 0; draw(); }); };
  box.addEventListener("scroll", scrolled);
  // Else `a`, `b`, `dd` and Enter would act on the notebook's cells.
  for (const kind of ["keydown", "keyup", "keypress", "paste"]) el.addEventListener(kind, event => event.stopPropagation());
  const seen = new ResizeObserver(scrolled);
  seen.observe(box);

  const root = element("div", { class: "nbllm-models" }, bar, box, count);
  if (model.get("note")) root.append(element("p", { class: "nbllm-models-note" }, model.get("note")));
  el.append(root);
  update();
  return () => { seen.disconnect(); cancelAnimationFrame(waiting); };
}

export default { render };
