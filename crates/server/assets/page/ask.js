// Asks the server, and tells in words what went wrong.

/** A request that failed, in words for people. */
export class Refused extends Error {
  constructor(message, { code, param, text } = {}) {
    super(message);
    this.code = code;
    this.param = param;
    /** What the critic wrote, when that is no verdict. */
    this.text = text;
  }
}

/** The address that a path of this server has, also behind a proxy that serves it in a folder. */
export const address = (path) => new URL(path, document.baseURI).href;

/** Gets JSON. */
export const get = (path, key) => send(path, { headers: authorization(key) }).then((response) => response.json());

/**
 * Posts a body. An answer that streams calls `heard(name, data)` with each event; what is returned is the last word, as without a
 * stream.
 */
export async function post(path, body, { key, signal, heard }) {
  const headers = { "content-type": "application/json", ...authorization(key) };
  const response = await send(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    return response.json();
  }
  for await (const { name, data } of events(response.body)) {
    if (name === "error") {
      throw refusal(data, {});
    }
    if (name === "verdict") {
      return data;
    }
    heard(name, data);
  }
  throw new Refused("The answer ended before the verdict.");
}

const authorization = (key) => (key ? { authorization: `Bearer ${key}` } : {});

async function send(path, options) {
  let response;
  try {
    response = await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Refused("The server cannot be reached. Does it still run?");
  }
  if (response.ok) {
    return response;
  }
  const body = await response.json().catch(() => ({}));
  throw refusal(body, { status: response.status, wait: response.headers.get("retry-after") });
}

/** A body of an error as words. */
function refusal(body, { status, wait }) {
  const { message = `The server answered with status ${status}.`, code, param } = body.error ?? {};
  const words = [message];
  if (status === 401 || status === 403) {
    words.push("Give a key that this server knows.");
  }
  if (wait) {
    words.push(`Try again in ${wait} s.`);
  }
  if (body.text) {
    words.push(`\n\nThe critic wrote: ${body.text}`);
  }
  return new Refused(words.join(" "), { code, param: status === 401 ? "key" : param, text: body.text });
}

/** The server-sent events of a body, each as soon as it is whole. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    const pieces = (waiting + value).split("\n\n");
    waiting = pieces.pop();
    for (const piece of pieces) {
      const lines = piece.split("\n").map((line) => line.match(/^(\w+): ?(.*)$/)).filter(Boolean);
      const member = (wanted) => lines.filter(([, name]) => name === wanted).map(([, , text]) => text).join("\n");
      // What keeps the connection alive has no data.
      if (member("data")) {
        yield { name: member("event"), data: JSON.parse(member("data")) };
      }
    }
  }
}
