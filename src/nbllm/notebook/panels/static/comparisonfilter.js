// Which rows fit a filter: 20,000 are looked through between two keystrokes, so all texts are made small once.
import { AT } from "./comparisoncolumns.js";

export class Haystack {
  constructor(head) {
    this.rows = [];
    this.prompts = head.prompts.map((each) => each.join(" ").toLowerCase());
    this.arms = head.arms.map((each) => each.toLowerCase());
    this.texts = [];
  }

  add(rows) {
    for (const row of rows) {
      this.rows.push(row);
      this.texts.push(row[AT.text].toLowerCase());
    }
  }

  /**
   * A function that says of the place of a row whether it fits.
   * @param {{words: string[], beyond: Set<number> | null, arm: number | null, ok: boolean | null,
   *   bounds: {column: number, least: number | null, most: number | null}[]}} wanted `beyond`: rows in which the kernel
   *   found the words, since they stand in a part of the text that is not here
   */
  keeper({ words, beyond, arm, ok, bounds }) {
    const inPrompts = words.map((word) => this.prompts.map((text) => text.includes(word)));
    const inArms = words.map((word) => this.arms.map((text) => text.includes(word)));
    return (at) => {
      const row = this.rows[at];
      if (arm !== null && row[AT.arm] !== arm) return false;
      if (ok !== null && row[AT.ok] !== ok) return false;
      if (!bounds.every(({ column, least, most }) => isWithin(row[column], least, most))) return false;
      const holds = (word, i) => inPrompts[i][row[AT.prompt]] || inArms[i][row[AT.arm]] || this.texts[at].includes(word);
      return words.every(holds) || Boolean(beyond?.has(at));
    };
  }
}

/** Unknown satisfies no bound. */
function isWithin(value, least, most) {
  return typeof value === "number" && (least === null || value >= least) && (most === null || value <= most);
}
