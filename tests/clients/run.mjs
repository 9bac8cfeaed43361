// Drives the official TypeScript clients.
//
// In: the path of a JSON list of cases, each with `id`, `client`, `base_url`, `model`, and where wanted `tools`
// ([{name, schema}]) and `thinking` (true). Out: for every case that belongs to a client of this file one JSON line
// with what that client's own streaming interface handed to its caller. It must never judge.
//
// Read from standard input, so that its imports are found where it runs:
// `cd target/clients && node --input-type=module - CASES < tests/clients/run.mjs`.

import { readFileSync } from 'node:fs';

import { createAnthropic } from '@ai-sdk/anthropic';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import { jsonSchema, streamText, tool } from 'ai';
import OpenAI from 'openai';

globalThis.AI_SDK_LOG_WARNINGS = false;

const AT_ONCE = 16;
const KEY = 'sk-loopback';
const MAX_TOKENS = 9000;
const PROMPT = 'Tell me.';
const MESSAGES = [{ role: 'user', content: PROMPT }];
// Longer than any case takes, shorter than anybody's patience.
const TIMEOUT = 60_000;
// Milliseconds after which a run that hangs is over.
const PATIENCE = 150_000;

setTimeout(() => process.exit(1), PATIENCE).unref();

const options = (base_url) => ({ apiKey: KEY, baseURL: base_url, maxRetries: 0, timeout: TIMEOUT });

async function message({ base_url, model, tools, thinking }) {
  const client = new Anthropic(options(base_url));
  let streamed = '';
  const stream = client.messages
    .stream({
      model,
      max_tokens: MAX_TOKENS,
      messages: MESSAGES,
      ...(tools && { tools: tools.map(({ name, schema }) => ({ name, input_schema: schema })) }),
      ...(thinking && { thinking: { type: 'enabled', budget_tokens: 2000 } }),
    })
    .on('text', (delta) => (streamed += delta));
  const final = await stream.finalMessage();
  const ofKind = (kind) => final.content.filter(({ type }) => type === kind);
  return {
    texts: ofKind('text').map(({ text }) => text),
    streamed,
    tool_calls: ofKind('tool_use').map(({ name, input }) => ({ name, arguments: input })),
    unsigned: ofKind('thinking').filter(({ signature }) => !signature).length,
    stop_reason: final.stop_reason,
  };
}

async function completion({ base_url, model, tools, thinking }) {
  const client = new OpenAI(options(base_url));
  let streamed = '';
  const stream = client.chat.completions
    .stream({
      model,
      max_completion_tokens: MAX_TOKENS,
      messages: MESSAGES,
      ...(tools && {
        tools: tools.map(({ name, schema }) => ({
          type: 'function',
          function: { name, parameters: schema, strict: true },
        })),
      }),
      ...(thinking && { reasoning_effort: 'high' }),
    })
    .on('content', (delta) => (streamed += delta));
  const [{ finish_reason, message }] = (await stream.finalChatCompletion()).choices;
  return {
    texts: message.content ? [message.content] : [],
    streamed,
    tool_calls: (message.tool_calls ?? []).map(({ function: call }) => ({
      name: call.name,
      arguments: JSON.parse(call.arguments),
    })),
    unsigned: 0,
    stop_reason: finish_reason,
  };
}

// The rest of an answer that the provider keeps.
async function replay({ base_url, replay: { id, after } }) {
  const client = new OpenAI(options(base_url));
  let streamed = '';
  let final;
  for await (const event of await client.responses.retrieve(id, {
    stream: true,
    starting_after: after,
  })) {
    if (event.type === 'response.output_text.delta') streamed += event.delta;
    if (event.type === 'response.completed') final = event.response;
  }
  return {
    texts: final.output.flatMap(({ content }) => content.map(({ text }) => text)),
    streamed,
    stop_reason: final.status,
  };
}

async function response({ base_url, model, tools, thinking, replay: kept }) {
  if (kept) return replay({ base_url, replay: kept });
  const client = new OpenAI(options(base_url));
  let streamed = '';
  const stream = client.responses
    .stream({
      model,
      max_output_tokens: MAX_TOKENS,
      input: MESSAGES,
      ...(tools && {
        tools: tools.map(({ name, schema }) => ({
          type: 'function',
          name,
          parameters: schema,
          strict: true,
        })),
      }),
      ...(thinking && { reasoning: { effort: 'high', summary: 'auto' } }),
    })
    .on('response.output_text.delta', ({ delta }) => (streamed += delta));
  const { output, status } = await stream.finalResponse();
  const ofKind = (kind) => output.filter(({ type }) => type === kind);
  return {
    texts: ofKind('message').flatMap(({ content }) => content.map(({ text }) => text)),
    streamed,
    tool_calls: ofKind('function_call').map((call) => ({
      name: call.name,
      arguments: JSON.parse(call.arguments),
    })),
    unsigned: 0,
    stop_reason: status,
  };
}

async function content({ base_url, model, tools, thinking }) {
  const client = new GoogleGenAI({
    apiKey: KEY,
    httpOptions: { baseUrl: base_url, timeout: TIMEOUT },
  });
  const chunks = await client.models.generateContentStream({
    model,
    contents: PROMPT,
    config: {
      maxOutputTokens: MAX_TOKENS,
      ...(tools && {
        tools: [
          {
            functionDeclarations: tools.map(({ name, schema }) => ({
              name,
              parametersJsonSchema: schema,
            })),
          },
        ],
      }),
      ...(thinking && { thinkingConfig: { includeThoughts: true } }),
    },
  });
  let streamed = '';
  let stop_reason;
  const tool_calls = [];
  for await (const { candidates } of chunks) {
    // Some say nothing but how much it has cost.
    for (const { content: said, finishReason } of candidates ?? []) {
      for (const { text, thought, functionCall } of said?.parts ?? []) {
        if (text && !thought) streamed += text;
        if (functionCall) tool_calls.push({ name: functionCall.name, arguments: functionCall.args });
      }
      stop_reason = finishReason ?? stop_reason;
    }
  }
  // This client hands out pieces, and puts nothing together.
  return { texts: streamed ? [streamed] : [], streamed, tool_calls, unsigned: 0, stop_reason };
}

async function interaction({ base_url, model, tools, thinking }) {
  const client = new GoogleGenAI({
    apiKey: KEY,
    httpOptions: { baseUrl: base_url, timeout: TIMEOUT },
  });
  const stream = await client.interactions.create({
    model,
    input: PROMPT,
    stream: true,
    automatic_continuation: false,
    generation_config: {
      max_output_tokens: MAX_TOKENS,
      ...(thinking && { thinking_level: 'high', thinking_summaries: 'auto' }),
    },
    ...(tools && {
      tools: tools.map(({ name, schema }) => ({ type: 'function', name, parameters: schema })),
    }),
  });
  const texts = new Map();
  const calls = new Map();
  let stop_reason;
  for await (const event of stream) {
    const { event_type, index, step, delta } = event;
    if (event_type === 'step.start' && step.type === 'function_call') {
      calls.set(index, { name: step.name, json: '' });
    }
    if (event_type === 'step.delta' && delta.type === 'text') {
      texts.set(index, (texts.get(index) ?? '') + delta.text);
    }
    if (event_type === 'step.delta' && delta.type === 'arguments_delta') {
      calls.get(index).json += delta.arguments;
    }
    if (event_type === 'interaction.completed') stop_reason = event.interaction.status;
  }
  return {
    texts: [...texts.values()],
    streamed: [...texts.values()].join(''),
    tool_calls: [...calls.values()].map(({ name, json }) => ({ name, arguments: JSON.parse(json) })),
    unsigned: 0,
    stop_reason,
  };
}

async function vercel({ base_url, model, tools, thinking }) {
  const provider = createAnthropic({ apiKey: KEY, baseURL: `${base_url}/v1` });
  let streamed = '';
  let failure;
  const result = streamText({
    model: provider(model),
    maxOutputTokens: MAX_TOKENS,
    messages: MESSAGES,
    maxRetries: 0,
    abortSignal: AbortSignal.timeout(TIMEOUT),
    onError: ({ error }) => (failure ??= error),
    ...(tools && {
      tools: Object.fromEntries(
        tools.map(({ name, schema }) => [name, tool({ inputSchema: jsonSchema(schema) })]),
      ),
    }),
    ...(thinking && {
      providerOptions: { anthropic: { thinking: { type: 'enabled', budgetTokens: 2000 } } },
    }),
  });
  for await (const delta of result.textStream) streamed += delta;
  if (failure) throw failure;
  const content = await result.content;
  const ofKind = (kind) => content.filter(({ type }) => type === kind);
  return {
    texts: ofKind('text').map(({ text }) => text),
    streamed,
    tool_calls: (await result.toolCalls).map(({ toolName, input }) => ({
      name: toolName,
      arguments: input,
    })),
    unsigned: ofKind('reasoning').filter(
      ({ providerMetadata }) => !providerMetadata?.anthropic?.signature,
    ).length,
    stop_reason: await result.finishReason,
  };
}

const CLIENTS = {
  'anthropic-node': message,
  'google-node': content,
  'interactions-node': interaction,
  'openai-node': completion,
  'responses-node': response,
  'vercel-ai': vercel,
};

async function outcome(given) {
  const { id, client } = given;
  try {
    return { id, client, error: null, ...(await CLIENTS[client](given)) };
  } catch (error) {
    return { id, client, error: `${error?.constructor?.name}: ${error?.message ?? error}` };
  }
}

const cases = JSON.parse(readFileSync(process.argv[2], 'utf8')).filter(({ client }) => CLIENTS[client]);

async function work() {
  for (let next = cases.shift(); next; next = cases.shift()) {
    console.log(JSON.stringify(await outcome(next)));
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, work));
