// The columns of the answers: what stands in a row as it comes from the kernel, and how it is shown.
import { money, plain, rounded, seconds } from "./comparisonresults.js";

/** Where a value stands in a row; the scores follow in the order of the scorers. */
export const AT = {
  prompt: 0,
  arm: 1,
  repeat: 2,
  ok: 3,
  text: 4,
  latency_ms: 5,
  ttft_ms: 6,
  input_tokens: 7,
  output_tokens: 8,
  cost_usd: 9,
  scores: 10,
};
const SHORT_ID = 12;

export function columnsOf(head) {
  const number = (name, title, shown, least) => ({
    name,
    title,
    isNumber: true,
    least,
    value: (row) => row[AT[name]],
    shown: (row) => shown(row[AT[name]]),
  });
  // Prompts of one template begin alike: a short id in front tells them apart.
  const prompts = head.prompts.map(([id, text]) => (id.length <= SHORT_ID ? `${id} · ${text}` : text));
  const longest = Math.max(5, ...head.arms.map((label) => label.length));
  const scores = head.scorers.map((name, at) => ({
    name: `score ${name}`,
    title: name,
    isNumber: true,
    least: Math.min(16, Math.max(7, name.length + 3)),
    value: (row) => row[AT.scores + at],
    shown: (row) => rounded(row[AT.scores + at]),
  }));
  return [
    {
      name: "prompt",
      title: "prompt",
      isText: true,
      least: 20,
      share: 2,
      value: (row) => prompts[row[AT.prompt]],
      shown: (row) => prompts[row[AT.prompt]],
    },
    {
      name: "model",
      title: "model",
      isText: true,
      least: Math.min(26, longest + 1),
      value: (row) => head.arms[row[AT.arm]] ?? null,
      shown: (row) => head.arms[row[AT.arm]] ?? "—",
    },
    ...(head.repeats > 1
      ? [
          {
            name: "repeat",
            title: "repeat",
            isNumber: true,
            least: 9,
            value: (row) => row[AT.repeat],
            shown: (row) => String(row[AT.repeat] + 1),
          },
        ]
      : []),
    {
      name: "status",
      title: "status",
      least: 9,
      value: (row) => (row[AT.ok] ? "ok" : "error"),
      shown: (row) => (row[AT.ok] ? "ok" : "✗ error"),
    },
    ...scores,
    number("latency_ms", "time", seconds, 9),
    number("output_tokens", "tokens", plain, 9),
    number("cost_usd", "cost", money, 12),
    {
      name: "answer",
      title: "answer",
      isText: true,
      least: 24,
      share: 3,
      value: (row) => row[AT.text],
      shown: (row) => row[AT.text],
    },
  ];
}
