// What goes in and out of the list: servers of this machine, and files of settings.
import { button, counted, make } from "./page.js";

const LARGEST = 1e6;

export class Transfer {
  constructor(panel) {
    this.panel = panel;
    this.element = make("div", { className: "nbllm-extra" });
    this.file = make("input", { type: "file", accept: ".toml,text/plain", className: "nbllm-hidden", tabIndex: -1,
      aria: { label: "File to import" } });
    this.file.addEventListener("change", () => this.read());
  }

  close() {
    const hadFocus = this.element.contains(document.activeElement);
    this.element.replaceChildren();
    if (hadFocus) this.panel.list.element.focus();
  }

  open(title, body, ...buttons) {
    this.element.replaceChildren(make("h4", { textContent: title }), body, make("div", { className: "nbllm-buttons" }, ...buttons));
    this.element.querySelector("button")?.focus();
  }

  // ------------------------------------------------------------ servers

  takeServers(message) {
    const rows = message.servers.map((each) => make("li", {},
      `${each.name} at ${each.base_url}, ${counted(each.model_count)}${each.wants_key ? ", wants a key" : ""} `,
      button(each.known ? "Open" : "Add", () => this.take(each))));
    const found = rows.length ? make("ul", {}, ...rows) : make("p", { textContent: "None answers on the usual ports." });
    this.open("Servers on this machine", found, button("Close", () => this.close()));
  }

  take(server) {
    this.close();
    if (server.known) return this.panel.show(server.id);
    this.panel.open = server.id;
    return this.panel.send("save", { id: server.id, new: true, fields: { base_url: server.base_url, kind: server.kind } });
  }

  // ------------------------------------------------------------ files

  takeFile(message) {
    const url = URL.createObjectURL(new Blob([message.text], { type: "application/toml" }));
    const link = make("a", { href: url, download: message.name, className: "nbllm-hidden" });
    this.panel.el.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    this.panel.say(`${message.name}: no key is in it.`);
  }

  read() {
    const [file] = this.file.files;
    if (!file) return;
    if (file.size > LARGEST) this.panel.complain("The file is larger than 1 MB.", "It should hold provider settings only.");
    else file.text().then((text) => { this.text = text; this.panel.send("preview", { text }); });
    this.file.value = "";
  }

  takePreview(message) {
    const lines = make("ul", {}, ...message.said.map((line) => make("li", { textContent: line })));
    const take = () => { this.panel.send("import", { text: this.text }); this.close(); };
    this.open("This file would change", lines, button("Import", take, { className: "nbllm-main" }),
      button("Leave it", () => this.close()));
  }
}
