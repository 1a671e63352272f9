// The page that judges: reads the form, asks the server, shows the verdict.

import { Refused, address, get, post } from "./ask.js";
import * as draw from "./draw.js";
import { Images, asDataUrl } from "./images.js";
import * as program from "./program.js";

const MOST_RESPONSES = 5;
/** The choice that stands for criteria of one's own. No rubric has such a name. */
const OWN = " own";
const EXAMPLE = {
  question: "What colour is the circle?",
  responses: ["The circle is purple.", "The circle is orange.", "I like music.", "The circle is green."],
};

const element = (id) => document.getElementById(id);
const form = element("case");
const fields = () => [...element("responses").querySelectorAll("textarea")];
const kind = () => (fields().length === 1 ? "pointwise" : "pairwise");

let rubrics = [];
/** The rubric that was chosen of each kind. */
const chosen = {};
/** Ends the request that runs. */
let running = null;
/** Whether the critic tells how probable its verdicts are. One with a reward head does not. */
let tells = true;

const images = new Images({
  input: element("files"),
  drop: element("drop"),
  list: element("images"),
  changed: () => mark(null),
  failed: (words) => showError(new Refused(words)),
});

// The form

/** Shows fields for these responses. */
function showResponses(texts) {
  element("responses").replaceChildren(...texts.map((text, index) => {
    const label = document.createElement("label");
    label.htmlFor = `response-${index + 1}`;
    label.textContent = `Response ${index + 1}`;
    const field = document.createElement("textarea");
    Object.assign(field, { id: label.htmlFor, rows: 2, value: text });
    const item = document.createElement("li");
    item.append(label, field);
    if (texts.length > 1) {
      const remove = document.createElement("button");
      Object.assign(remove, { type: "button", textContent: "×" });
      remove.setAttribute("aria-label", `Remove response ${index + 1}`);
      remove.addEventListener("click", () => {
        showResponses(fields().map((other) => other.value).toSpliced(index, 1));
        fields()[Math.min(index, texts.length - 2)].focus();
      });
      item.append(remove);
    }
    return item;
  }));
  element("add").disabled = texts.length === MOST_RESPONSES;
  element("orders").hidden = texts.length !== 2;
  element("scale").hidden = texts.length !== 1;
  element("judge").textContent = { 1: "Score it", 2: "Compare them" }[texts.length] ?? "Rank them";
  showRubrics();
}

/** Offers the rubrics that fit the number of responses. */
function showRubrics() {
  const fitting = rubrics.filter((rubric) => rubric.kind === kind() && !rubric.not_shown);
  const usual = fitting.find((rubric) => rubric.default) ?? fitting[0];
  const options = fitting.map(({ name }) => new Option(name === usual.name ? `${name} (usual)` : name, name));
  // Until the list is there, the server chooses.
  const unknown = new Option("the usual one", "");
  element("rubric").replaceChildren(...(usual ? options : [unknown]), new Option("criteria of your own…", OWN));
  element("rubric").value = chosen[kind()] ?? usual?.name ?? "";
  describeRubric();
}

function describeRubric() {
  const name = element("rubric").value;
  const rubric = rubrics.find((one) => one.name === name);
  element("own").hidden = name !== OWN;
  element("rubric-says").textContent = rubric ? [rubric.summary, needs(rubric)].filter(Boolean).join(" ") : "";
  if (rubric?.fields.length) {
    element("more").open = true;
  }
}

const needs = ({ fields: needed }) => (needed.length ? `It needs: ${needed.join(", ")}.` : "");

/** What the form asks for. */
function request() {
  const responses = fields().map((field) => field.value);
  const body = { question: element("question").value };
  if (images.urls.length) {
    body.images = images.urls;
  }
  for (const name of ["reference", "description"]) {
    if (element(name).value) {
      body[name] = element(name).value;
    }
  }
  if (element("rubric").value) {
    body.rubric = rubric();
  }
  const distribution = tells ? { distribution: true } : {};
  if (responses.length === 1) {
    return { path: "judge", body: { ...body, response: responses[0], ...distribution } };
  }
  body.responses = responses;
  if (responses.length > 2) {
    return { path: "reward", body };
  }
  return { path: "judge", body: { ...body, ...distribution, ...(element("both").checked ? { order: "both" } : {}) } };
}

function rubric() {
  const name = element("rubric").value;
  if (name !== OWN) {
    return name;
  }
  const number = (id) => (element(id).value.trim() ? Number(element(id).value) : null);
  const scale = { min: number("scale-min"), max: number("scale-max"), step: number("scale-step") };
  return { criteria: element("criteria").value, ...(kind() === "pointwise" ? { scale } : {}) };
}

/** The field that a parameter of the request is in. */
function fieldOf(param) {
  const place = param?.match(/^responses?(?:\[(\d+)\])?$/);
  if (place) {
    return fields()[Number(place[1] ?? 0)];
  }
  const last = param?.split(".").at(-1).replace(/\[\d+\]$/, "");
  const id = { images: "files", order: "both", criteria: "criteria", scale: "scale-min", min: "scale-min", max: "scale-max", step: "scale-step" }[last];
  return element(id ?? last ?? "");
}

/** Marks the field that an error is about, and no other. */
function mark(field) {
  form.querySelectorAll("[aria-invalid]").forEach((marked) => marked.removeAttribute("aria-invalid"));
  if (field) {
    field.closest("details")?.setAttribute("open", "");
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
}

// Judging

async function judge() {
  running?.abort();
  // The server would judge silence as a response; here somebody has forgotten one.
  const missing = [element("question"), ...fields()].find((field) => !field.value.trim());
  if (missing) {
    clear();
    complain(`${missing.labels[0].textContent} is empty.`, missing);
    return;
  }
  const [own, { path, body }] = [new AbortController(), request()];
  running = own;
  clear();
  element("stop").disabled = false;
  element("status").textContent = "Judging…";
  if (element("verdict").getBoundingClientRect().top > innerHeight / 2) {
    element("verdict").scrollIntoView(); // on a phone it is below the form
  }
  const [began, shown] = [performance.now(), fields().map((field) => field.value)];
  const streams = path === "judge" && !body.order;
  try {
    const heard = (name, data) => running === own && hear(name, data, body);
    const options = { key: element("key").value, signal: own.signal, heard };
    const verdict = await post(path, streams ? { ...body, stream: true } : body, options);
    showVerdict(verdict, shown);
    element("status").textContent = `Judged in ${((performance.now() - began) / 1000).toFixed(2)} s.`;
  } catch (error) {
    if (running !== own) {
      return; // another one runs
    }
    if (tells && error.param === "distribution") {
      tells = false;
      return judge();
    }
    element("justification").classList.remove("writing");
    element("status").textContent = error.name === "AbortError" ? "Stopped." : "There is no verdict.";
    if (error.name !== "AbortError") {
      showError(error);
    }
  } finally {
    if (running === own) {
      running = null;
      if (document.activeElement === element("stop")) {
        element("judge").focus();
      }
      element("stop").disabled = true;
    }
  }
}

function clear() {
  mark(null);
  for (const id of ["error", "decision", "justification"]) {
    element(id).hidden = true;
    element(id).textContent = "";
  }
  element("figures").replaceChildren();
  element("facts").replaceChildren();
}

/** A part of the answer, while the rest is being written. */
function hear(name, data, body) {
  if (name === "decision") {
    showDecision({ scale: scaleOf(body.rubric), ...data });
  } else if (name === "justification") {
    const said = element("justification");
    said.hidden = false;
    said.classList.add("writing");
    said.append(data.text);
  }
}

function showDecision(decision) {
  element("decision").hidden = false;
  const { min, max } = decision.scale ?? {};
  const small = document.createElement("small");
  if (decision.score !== undefined) {
    const expected = decision.distribution?.expected_score;
    small.textContent = [
      max === undefined ? "" : `from ${min} to ${max}`,
      expected === undefined ? "" : `expected ${expected.toFixed(2)}`,
    ].filter(Boolean).join(", ");
    element("decision").replaceChildren(`${Number(decision.score.toFixed(2))} `, small);
  } else {
    small.textContent = { slight: "slightly", by_far: "by far" }[decision.strength] ?? "";
    const words = { first: "Response 1 is better", second: "Response 2 is better", tie: "A tie" };
    element("decision").replaceChildren(`${words[decision.preference]} `, small);
  }
  element("figures").replaceChildren(...(decision.distribution ? [distribution(decision)] : []));
}

const scaleOf = (name) => name?.scale ?? rubrics.find((one) => one.name === name)?.scale;

function distribution({ score, preference, distribution: { probabilities, label_mass: mass } }) {
  const all = `These verdicts have ${draw.percent(mass)} of all probability.`;
  if (probabilities[0].score !== undefined) {
    return draw.figure("How probable each score is", all, draw.scores(probabilities, score));
  }
  const names = { first: "response 1", second: "response 2", tie: "a tie" };
  const name = (one) => (one.scores ? one.scores.join(" to ") : [names[one.preference], one.strength?.replace("_", " ")].filter(Boolean).join(", "));
  const outcomes = probabilities.map((one) => ({ name: name(one), probability: one.probability, given: one.preference === preference }));
  return draw.figure("How probable each outcome is", all, draw.preferences(outcomes));
}

function showVerdict(verdict, responses) {
  if (verdict.rewards) {
    showRewards(verdict, responses);
  } else {
    showDecision(verdict);
    const said = element("justification");
    said.classList.remove("writing");
    said.hidden = !verdict.justification;
    said.textContent = verdict.justification;
  }
  const { usage } = verdict;
  const facts = {
    Rubric: verdict.rubric,
    Critic: verdict.model,
    Tokens: `${usage.prompt_tokens} read, ${usage.cached_tokens} of them cached, ${usage.completion_tokens} written`,
    Orders: verdict.consistent === undefined ? "" : `both, which ${verdict.consistent ? "agree" : "do not agree"}`,
    Noticed: (verdict.flags ?? []).join(", ").replaceAll("_", " "),
    Cut: verdict.finish_reason === "length" ? "the justification, by its longest length" : "",
    Failed: (verdict.failures ?? []).map(({ error }) => error.message).join(" "),
  };
  element("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => {
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    description.textContent = value;
    return [term, description];
  }));
}

function showRewards(rewards, responses) {
  const { chosen: best, margin, matrix, position_bias: bias } = rewards;
  const small = document.createElement("small");
  small.textContent = best === undefined ? "" : `${margin.toFixed(2)} ahead of the worst`;
  element("decision").hidden = false;
  element("decision").replaceChildren(best === undefined ? "All are equal" : `Response ${best + 1} is best `, small);
  const figures = [draw.figure("Ranking", "What a response wins in second place less what it loses in first.", draw.ranking(rewards, responses))];
  if (matrix) {
    const place = bias ? ` The second place alone is worth ${draw.signed(bias.second_place)}.` : "";
    const words = `By how much the response of the column is better than that of the row, from −1 to +1.${place}`;
    figures.push(draw.figure("Comparisons", words, draw.matrix(matrix)));
  }
  element("figures").replaceChildren(...figures);
}

function showError(error) {
  if (!(error instanceof Refused)) {
    console.error(error);
  }
  const field = fieldOf(error.param);
  const name = field?.labels?.[0]?.textContent;
  // People know the field by its label and not by its place in the request.
  complain(name ? `${name}: ${error.message}` : error.message, field);
}

/** Tells what is wrong, and with which field. */
function complain(text, field) {
  element("error").hidden = false;
  element("error").textContent = text;
  mark(field);
}

// Programs

async function copy(write) {
  const { path, body } = request();
  const text = write({ url: address(path), body, keyed: element("key").value !== "" });
  const shown = element("program-text");
  element("program").hidden = false;
  shown.value = text;
  try {
    await navigator.clipboard.writeText(text);
    element("copied").textContent = "Copied.";
  } catch {
    // Browsers lend the clipboard to safe origins alone.
    shown.focus();
    shown.select();
    element("copied").textContent = "Press Ctrl+C to copy.";
  }
}

// The start

async function example(count) {
  const blob = await (await fetch(address("page/scene.png"))).blob();
  images.urls = [await asDataUrl(new Blob([blob], { type: "image/png" }))];
  element("question").value = EXAMPLE.question;
  showResponses(EXAMPLE.responses.slice(0, count));
  element("judge").focus();
}

async function load() {
  const key = element("key").value;
  try {
    const [health, listed] = await Promise.all([get("health", key), get("rubrics", key)]);
    element("model").textContent = health.model;
    ({ rubrics } = listed);
    showRubrics();
  } catch (error) {
    showError(error);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  judge();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    judge();
  } else if (event.key === "Escape") {
    running?.abort();
  }
});
form.addEventListener("input", () => mark(null));
element("stop").addEventListener("click", () => running?.abort());
element("add").addEventListener("click", () => {
  showResponses([...fields().map((field) => field.value), ""]);
  fields().at(-1).focus();
});
element("rubric").addEventListener("change", () => {
  chosen[kind()] = element("rubric").value;
  describeRubric();
});
element("key").addEventListener("change", load);
element("copy-curl").addEventListener("click", () => copy(program.curl));
element("copy-python").addEventListener("click", () => copy(program.python));
for (const button of form.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => example(Number(button.dataset.example)));
}
showResponses([""]);
load();
