// Asks Gavel through OpenAI's package for Node.

import { readFileSync } from "node:fs";

import OpenAI from "openai";

const baseURL = `${process.env.GAVEL_URL ?? "http://127.0.0.1:8080"}/v1`;
const client = new OpenAI({ baseURL, apiKey: process.env.GAVEL_API_KEY ?? "none" });
const picture = readFileSync("training/examples/scene.png").toString("base64");

const completion = await client.chat.completions.create({
  model: "any name",
  messages: [
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url: `data:image/png;base64,${picture}` } },
        { type: "text", text: "Describe the image." },
      ],
    },
  ],
  max_tokens: 200,
});
console.log(completion.choices[0].message.content);
