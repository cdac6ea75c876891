// A list of any length of which only the visible rows are drawn. One listbox for the keyboard and for screen readers:
// the list has the focus, `aria-activedescendant` names the row.

const SPARE_ROWS = 4;
let lists = 0;

/**
 * Which of `count` rows are to be drawn: those in sight and `spare` more at both ends, as [first, last + 1].
 * A list that has just become shorter is still scrolled to where it no longer reaches; the browser corrects that later.
 */
export function inSight(box, count, rowHeight, spare) {
  const height = box.clientHeight || 320;
  const top = Math.min(box.scrollTop, Math.max(0, count * rowHeight - height));
  return [Math.max(0, Math.floor(top / rowHeight) - spare), Math.min(count, Math.ceil((top + height) / rowHeight) + spare)];
}

/**
 * @param {{label: string, rowHeight: number, draw: (row: any, box: HTMLElement) => void, key: (row: any) => string,
 *   onOpen?: (row: any) => void, onMark?: (row: any) => void, marked?: (row: any) => boolean,
 *   onMove?: (row: any) => void}} options
 */
export function virtualList({ label, rowHeight, draw, key, onOpen, onMark, marked, onMove }) {
  const name = `nbllm-list-${++lists}`;
  const box = document.createElement("div");
  box.className = "nbllm-list";
  box.tabIndex = 0;
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-label", label);
  if (onMark) box.setAttribute("aria-multiselectable", "true");
  const space = document.createElement("div");
  space.className = "nbllm-space";
  space.setAttribute("role", "presentation");
  box.append(space);

  let rows = [];
  let active = null; // the key of the row that the keyboard is at
  let typed = "";
  let typedAt = 0;

  const place = () => rows.findIndex((row) => key(row) === active);

  function paint() {
    const [first, last] = inSight(box, rows.length, rowHeight, SPARE_ROWS);
    const drawn = [];
    for (let at = first; at < last; at += 1) {
      const row = rows[at];
      const item = document.createElement("div");
      item.className = "nbllm-row";
      item.id = `${name}-${at}`;
      item.style.top = `${at * rowHeight}px`;
      item.style.height = `${rowHeight}px`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-setsize", String(rows.length));
      item.setAttribute("aria-posinset", String(at + 1));
      const isActive = key(row) === active;
      item.classList.toggle("nbllm-active", isActive);
      const chosen = marked ? marked(row) : isActive;
      item.setAttribute("aria-selected", String(Boolean(chosen)));
      item.addEventListener("click", (event) => {
        active = key(row);
        if (onMark && (event.ctrlKey || event.metaKey || event.shiftKey)) onMark(row);
        else if (onOpen) onOpen(row);
        paint();
      });
      draw(row, item);
      drawn.push(item);
    }
    space.style.height = `${rows.length * rowHeight}px`;
    space.replaceChildren(...drawn);
    const at = place();
    if (at >= first && at < last) box.setAttribute("aria-activedescendant", `${name}-${at}`);
    else box.removeAttribute("aria-activedescendant");
  }

  function move(to) {
    if (!rows.length) return;
    const at = Math.min(rows.length - 1, Math.max(0, to));
    active = key(rows[at]);
    const top = at * rowHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight - box.clientHeight;
    paint();
    if (onMove) onMove(rows[at]);
  }

  function seek(letter) {
    const now = Date.now();
    typed = now - typedAt < 700 ? typed + letter : letter;
    typedAt = now;
    const at = rows.findIndex((row) => key(row).toLowerCase().startsWith(typed.toLowerCase()));
    if (at >= 0) move(at);
  }

  box.addEventListener("scroll", paint, { passive: true });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = place();
    const page = Math.max(1, Math.floor(box.clientHeight / rowHeight) - 1);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1 };
    if (event.key in to) move(to[event.key]);
    else if (event.key === "Enter" && at >= 0 && onOpen) onOpen(rows[at]);
    else if (event.key === " " && at >= 0 && onMark) { onMark(rows[at]); paint(); }
    else if (event.key.length === 1 && /[a-z0-9]/i.test(event.key)) seek(event.key);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(paint).observe(box);

  return {
    element: box,
    show(next) {
      rows = next;
      if (place() < 0) active = null;
      paint();
    },
    activate(id) {
      active = id;
      const at = place();
      if (at >= 0) move(at);
    },
    current: () => rows[place()] ?? null,
    paint,
  };
}
