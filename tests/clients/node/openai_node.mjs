// OpenAI's package for Node: completions, streams, errors, Azure and models.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import OpenAI, { AzureOpenAI, BadRequestError, NotFoundError } from "openai";

const address = process.env.GAVEL_ADDRESS;
const picture = readFileSync(new URL("../../../training/examples/scene.png", import.meta.url)).toString("base64");
const messages = [
  { role: "system", content: "You judge." },
  {
    role: "user",
    content: [
      { type: "image_url", image_url: { url: `data:image/png;base64,${picture}` } },
      { type: "text", text: "Describe the image." },
    ],
  },
];
const asked = { model: "gpt-4o", messages, max_tokens: 24 };
// No retries: a failure is what is looked at.
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "any", maxRetries: 0 });

test("a completion", async () => {
  const completion = await client.chat.completions.create(asked);
  const [choice] = completion.choices;
  assert.equal(choice.message.role, "assistant");
  assert.ok(choice.message.content.length > 0);
  assert.ok(["stop", "length"].includes(choice.finish_reason));
  assert.equal(completion.usage.total_tokens, completion.usage.prompt_tokens + completion.usage.completion_tokens);
  assert.ok(completion._request_id);
});

test("a stream is the completion in pieces", async () => {
  const whole = await client.chat.completions.create(asked);
  const stream = await client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.total_tokens, whole.usage.total_tokens);
  // The package's own way to put a stream together.
  const final = await client.chat.completions.stream(asked).finalChatCompletion();
  assert.equal(final.choices[0].message.content, text);
});

test("a stream that is given up leaves the server free", async () => {
  const stream = await client.chat.completions.create({ ...asked, max_tokens: 4000, stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break;
  }
  stream.controller.abort();
  assert.ok((await client.chat.completions.create(asked)).choices[0].message.content);
});

test("logprobs and several choices", async () => {
  const drawn = await client.chat.completions.create({
    ...asked,
    n: 2,
    temperature: 1,
    seed: 7,
    logprobs: true,
    top_logprobs: 5,
  });
  assert.deepEqual(drawn.choices.map((choice) => choice.index), [0, 1]);
  for (const choice of drawn.choices) {
    const bytes = choice.logprobs.content.flatMap((token) => token.bytes);
    assert.equal(Buffer.from(bytes).toString(), choice.message.content);
    assert.ok(choice.logprobs.content.every((token) => token.top_logprobs.length === 5));
  }
});

test("a stream that fails is an error", async () => {
  // Its time is over long before its text is.
  const stream = await client.chat.completions.create(
    { model: "gpt-4o", messages: [{ role: "user", content: "Go on." }], max_tokens: 3000, ignore_eos: true, stream: true },
    { headers: { "x-request-timeout-ms": "300" } },
  );
  const pieces = [];
  await assert.rejects(
    async () => {
      for await (const chunk of stream) {
        pieces.push(chunk);
      }
    },
    (error) => error.code === "deadline_exceeded",
  );
  assert.ok(pieces.length > 1 && pieces.every((chunk) => chunk.choices[0].finish_reason === null));
});

test("errors have their classes", async () => {
  await assert.rejects(client.chat.completions.create({ ...asked, temperature: 7 }), (error) => {
    assert.ok(error instanceof BadRequestError);
    assert.equal(error.param, "temperature");
    assert.ok(error.requestID && error.message.includes("temperature"));
    return true;
  });
  await assert.rejects(client.get("/nowhere"), NotFoundError);
});

test("a response that calls a function", async () => {
  const parameters = {
    type: "object",
    properties: { score: { type: "integer" } },
    required: ["score"],
    additionalProperties: false,
  };
  const response = await client.responses.create({
    model: "gpt-4o",
    input: "Judge it.",
    tools: [{ type: "function", name: "record", parameters, strict: true }],
    tool_choice: "required",
  });
  const [call] = response.output;
  assert.deepEqual([call.type, call.name, response.output_text], ["function_call", "record", ""]);
  assert.ok(Number.isInteger(JSON.parse(call.arguments).score));
});

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) {
    names.push(model.id);
  }
  assert.deepEqual(names, ["gavel-mini"]);
  assert.equal((await client.models.retrieve("gpt-4o")).id, "gpt-4o");
});

test("Azure", async () => {
  const azure = new AzureOpenAI({ endpoint: address, apiKey: "any", apiVersion: "2024-06-01", maxRetries: 0 });
  const completion = await azure.chat.completions.create({ ...asked, max_tokens: 8 });
  assert.ok(completion.choices[0].message.content);
});
