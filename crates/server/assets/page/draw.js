// Charts of verdicts, as SVG. Texts become text nodes, so that nothing in a response can be markup.

const WIDTH = 340;

/** A node of SVG with attributes and children, which are nodes or texts. */
function node(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const chart = (height, label, children) =>
  node("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label }, ...children);

/** A share as a percentage. */
export const percent = (share) => `${(100 * share).toFixed(share < 0.0995 && share >= 0.0005 ? 1 : 0)} %`;

/** A number with its sign; the minus is as wide as the plus, and what is rounded to 0 has none. */
export const signed = (value) => {
  const digits = Math.abs(value).toFixed(2);
  return (Number(digits) === 0 ? "" : value < 0 ? "−" : "+") + digits;
};

const shortened = (text, most) => {
  const letters = [...text.replace(/\s+/g, " ")];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
};

/** A figure with a caption and an explanation. */
export function figure(caption, explanation, svg) {
  const small = document.createElement("small");
  small.append(explanation);
  const title = document.createElement("figcaption");
  title.append(caption, small);
  const made = document.createElement("figure");
  made.append(title, svg);
  return made;
}

/** How probable every score is, as columns, worst first. `score` is the one that was given. */
export function scores(probabilities, score) {
  const [top, bottom] = [18, 130];
  const step = WIDTH / probabilities.length;
  const every = Math.ceil(probabilities.length / 11);
  const most = Math.max(...probabilities.map(({ probability }) => probability));
  const columns = probabilities.flatMap(({ score: value, probability }, index) => {
    const height = Math.max((probability / most) * (bottom - top), 0.5);
    const middle = (index + 0.5) * step;
    const kind = value === score ? "bar" : "bar other";
    const drawn = [node("rect", { class: kind, x: index * step + step * 0.12, y: bottom - height, width: step * 0.76, height, rx: 1.5 })];
    if (index % every === 0 || value === score) {
      drawn.push(node("text", { class: value === score ? "" : "faint", x: middle, y: bottom + 16, "text-anchor": "middle" }, `${value}`));
    }
    if (probability >= 0.05 && (step > 28 || probability === most)) {
      drawn.push(node("text", { x: middle, y: bottom - height - 5, "text-anchor": "middle" }, percent(probability)));
    }
    return drawn;
  });
  const axis = node("line", { class: "axis", x1: 0, x2: WIDTH, y1: bottom, y2: bottom });
  const told = probabilities.map(({ score: value, probability }) => `${value}: ${percent(probability)}`);
  return chart(bottom + 24, `Probabilities of the scores. ${told.join(", ")}`, [...columns, axis]);
}

/** How probable each outcome of a comparison is, as bars. `outcomes` have `name`, `probability` and `given`. */
export function preferences(outcomes) {
  const row = 26;
  const bars = outcomes.flatMap(({ name, probability, given }, index) => {
    const y = index * row;
    const width = Math.max(probability * 150, 0.5);
    return [
      node("text", { x: 0, y: y + 17 }, name),
      node("rect", { class: given ? "bar" : "bar other", x: 120, y: y + 4, width, height: row - 8, rx: 2 }),
      node("text", { x: 126 + width, y: y + 17 }, percent(probability)),
    ];
  });
  const told = outcomes.map(({ name, probability }) => `${name}: ${percent(probability)}`);
  return chart(outcomes.length * row, `Probabilities. ${told.join(", ")}`, bars);
}

/** Responses by their rewards, best first, as bars to both sides of 0. */
export function ranking({ rewards, ranking: order }, responses) {
  const row = 46;
  const known = rewards.filter((reward) => reward !== null).map(Math.abs);
  const most = Math.max(...known, 1e-9);
  const middle = (WIDTH - 56) / 2;
  const rows = order.flatMap((index, place) => {
    const [y, reward] = [place * row, rewards[index]];
    const title = node("text", { x: 0, y: y + 14 }, `${place + 1}. Response ${index + 1} `);
    title.append(node("tspan", { class: "faint" }, shortened(responses[index], 30)));
    if (reward === null) {
      return [title, node("text", { class: "faint", x: 0, y: y + 34 }, "no verdict")];
    }
    const width = Math.max((Math.abs(reward) / most) * middle, 0.5);
    return [
      title,
      node("line", { class: "axis", x1: middle, x2: middle, y1: y + 18, y2: y + 40 }),
      node("rect", { class: reward < 0 ? "bar minus" : "bar", x: reward < 0 ? middle - width : middle, y: y + 21, width, height: 16, rx: 2 }),
      node("text", { x: WIDTH, y: y + 34, "text-anchor": "end" }, signed(reward)),
    ];
  });
  const told = order.map((index) => `response ${index + 1} ${rewards[index] === null ? "without verdict" : signed(rewards[index])}`);
  return chart(order.length * row, `Ranking, best first: ${told.join(", ")}`, rows);
}

/** The comparisons of all ordered pairs: rows are in first place, columns in second. */
export function matrix(rows) {
  const left = 64;
  const side = Math.min((WIDTH - left) / rows.length, 64);
  const height = Math.min(side, 44);
  const heads = rows.flatMap((_, index) => [
    node("text", { class: "faint", x: left + (index + 0.5) * side, y: 28, "text-anchor": "middle" }, `${index + 1}`),
    node("text", { class: "faint", x: left - 10, y: 36 + (index + 0.5) * height + 4, "text-anchor": "end" }, `${index + 1}`),
  ]);
  const cells = rows.flatMap((row, first) => row.flatMap((value, second) => {
    const [x, y] = [left + second * side, 36 + first * height];
    const box = { x: x + 1, y: y + 1, width: side - 2, height: height - 2, rx: 3 };
    if (value === null) {
      return [node("rect", { ...box, class: "cell none" })];
    }
    return [
      node("rect", { ...box, class: value < 0 ? "cell minus" : "cell", "fill-opacity": (0.06 + 0.5 * Math.abs(value)).toFixed(3) }),
      node("text", { x: x + side / 2, y: y + height / 2 + 4, "text-anchor": "middle" }, signed(value)),
    ];
  }));
  const titles = [
    node("text", { class: "faint", x: left, y: 12 }, "second place"),
    node("text", { class: "faint", x: 0, y: 28 }, "first"),
  ];
  const told = rows.flatMap((row, first) =>
    row.flatMap((value, second) => (value === null ? [] : [`${first + 1} before ${second + 1}: ${signed(value)}`])));
  return chart(40 + rows.length * height, `Comparisons. ${told.join(", ")}`, [...titles, ...heads, ...cells]);
}
