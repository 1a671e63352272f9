// OpenAI's package for Node: files and batches, whose forms are sent in another order than Python's.

import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout } from "node:timers/promises";

import OpenAI, { NotFoundError, toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.env.GAVEL_ADDRESS}/v1`, apiKey: "any", maxRetries: 0 });

const upload = async (names) => {
  const lines = names.map((name) =>
    JSON.stringify({
      custom_id: name,
      method: "POST",
      url: "/v1/chat/completions",
      body: { model: "gpt-4o", messages: [{ role: "user", content: name }], max_tokens: 8 },
    }),
  );
  const file = await toFile(Buffer.from(`${lines.join("\n")}\n`), "cases.jsonl");
  return client.files.create({ file, purpose: "batch" });
};

test("files come and go", async () => {
  const file = await upload(["one"]);
  assert.equal(file.filename, "cases.jsonl");
  assert.equal((await client.files.retrieve(file.id)).bytes, file.bytes);
  const content = await (await client.files.content(file.id)).text();
  assert.equal(JSON.parse(content).custom_id, "one");
  assert.ok((await client.files.delete(file.id)).deleted);
  await assert.rejects(client.files.retrieve(file.id), NotFoundError);
});

test("a batch is judged", async () => {
  const names = ["one", "two", "three"];
  const file = await upload(names);
  let batch = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  const deadline = Date.now() + 60_000;
  while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
    assert.ok(Date.now() < deadline);
    await setTimeout(50);
    batch = await client.batches.retrieve(batch.id);
  }
  assert.equal(batch.status, "completed");
  const output = await (await client.files.content(batch.output_file_id)).text();
  const answers = output.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(answers.map((answer) => answer.custom_id).sort(), names.sort());
  assert.ok(answers.every((answer) => answer.response.body.choices[0].message.content));
});
