// What the votes say, and beside it what scorers said. Only after the names may be shown.
import { make } from "./page.js";

export class ResultsPart {
  constructor(view) {
    this.view = view;
  }

  show(panel) {
    this.panel = panel;
    panel.replaceChildren(make("p", { textContent: "Counting …" }));
    this.view.send("results");
  }

  take(found) {
    if (this.view.shown !== "results") return;
    const overall = found.shares.filter((each) => each.against === null);
    const pairs = found.shares.filter((each) => each.against !== null);
    this.panel.replaceChildren(
      ...[
        make("h3", { textContent: "Votes" }),
        this.sentence(found),
        found.votes
          ? table(
              "Share of wins of each model",
              ["model", "share of wins", "wins", "ties", "losses", "votes"],
              overall.map(shareRow),
            )
          : null,
        pairs.length > 1 ? make("h3", { textContent: "Pair by pair" }) : null,
        pairs.length > 1
          ? table(
              "Share of wins in each pair",
              ["pair", "share of wins of the first", "wins", "ties", "losses", "votes"],
              pairs.map((each) => shareRow({ ...each, arm: `${each.arm} against ${each.against}` })),
            )
          : null,
        ...this.voters(found),
        ...this.scores(found),
      ].filter(Boolean),
    );
  }

  sentence(found) {
    if (!found.votes) return make("p", { textContent: "No votes yet." });
    const parts = [
      `${found.votes} ${found.votes === 1 ? "vote" : "votes"} on ${found.prompts} ${found.prompts === 1 ? "prompt" : "prompts"}`,
      found.skipped ? `${found.skipped} skipped` : "",
      `a tie is half a win`,
    ].filter(Boolean);
    const sided = found.left + found.right;
    const lines = [
      `${parts.join(", ")}.`,
      found.few ? "Fewer than 10 prompts: this describes these votes and says nothing of other prompts." : "",
      sided >= 10 ? `Left was chosen in ${percent(found.left / sided)} of the votes that chose a side.` : "",
    ];
    return make("div", {}, ...lines.filter(Boolean).map((text) => make("p", { textContent: text })));
  }

  voters(found) {
    if (!found.agreement.length) return [];
    const rows = found.agreement.map((each) => [
      text(`${each.one} and ${each.other}`),
      text(each.n ? percent(each.same / each.n) : "—"),
      text(String(each.n)),
    ]);
    return [
      make("h3", { textContent: "Agreement" }),
      table("How often two voters agree, chance not taken out", ["voters", "same verdict", "pairs both judged"], rows),
    ];
  }

  scores(found) {
    if (!found.summary.length) return [];
    const rows = found.summary.map((each) => [
      text(each.arm),
      text(each.scorer || "—"),
      text(rounded(each.mean)),
      text(each.ci_low === null ? "—" : `${rounded(each.ci_low)} to ${rounded(each.ci_high)}`),
      text(plain(each.n_prompts)),
      text(plain(each.n_errors)),
      text(seconds(each.latency_p50_ms)),
      text(money(each.cost_usd)),
    ]);
    return [
      make("h3", { textContent: "Scores" }),
      table(
        "Scores of each model",
        ["model", "scorer", "mean", "95 % interval", "prompts", "errors", "median time", "cost"],
        rows,
      ),
    ];
  }
}

/** Numbers as they are shown; unknown is a dash, never 0. */
export function rounded(value) {
  if (value === null || value === undefined) return "—";
  return typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value);
}

export function plain(value) {
  return value === null || value === undefined ? "—" : value.toLocaleString("en-US");
}

export function seconds(ms) {
  if (ms === null || ms === undefined) return "—";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
}

export function money(usd) {
  return usd === null || usd === undefined ? "—" : `$${Number(usd.toPrecision(3))}`;
}

function percent(share) {
  return `${Number((100 * share).toFixed(1))} %`;
}

function text(content) {
  return make("td", { textContent: content });
}

function shareRow(each) {
  const bar = make("div", { className: "nbllm-view-share", ariaHidden: "true" });
  bar.style.setProperty("--share", each.share ?? 0);
  const share = make("td", {}, make("span", { textContent: each.share === null ? "—" : percent(each.share) }), bar);
  return [
    make("td", { textContent: each.arm }),
    share,
    ...[each.wins, each.ties, each.losses, each.n].map((value) => text(plain(value))),
  ];
}

function table(title, heads, rows) {
  const head = make("tr", {}, ...heads.map((each) => make("th", { scope: "col", textContent: each })));
  const body = rows.map(([name, ...rest]) => {
    const first = make("th", { scope: "row" });
    first.textContent = name.textContent;
    return make("tr", {}, first, ...rest);
  });
  const inner = make("table", {}, make("caption", { textContent: title }), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { className: "nbllm-view-wide", tabIndex: 0, role: "group", aria: { label: title } }, inner);
}
