"""Drives the official Python clients.

In: the path of a JSON list of cases, each with `id`, `client`, `base_url`, `model`, and where wanted
`tools` ([{name, schema}]) and `thinking` (true). Out: for every case that belongs to a client of this file one
JSON line with what that client's own streaming interface handed to its caller. It must never judge.
"""

import faulthandler
import json
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache

import anthropic
import openai
from google import genai
from google.genai import types as google

AT_ONCE = 16
KEY = "sk-loopback"
MAX_TOKENS = 9000
PROMPT = "Tell me."
MESSAGES = [{"role": "user", "content": PROMPT}]
# Longer than any case takes, shorter than anybody's patience.
TIMEOUT = 60.0
# Seconds after which a run that hangs says where, and ends.
PATIENCE = 150


@cache
def anthropic_at(base_url):
    return anthropic.Anthropic(api_key=KEY, base_url=base_url, max_retries=0, timeout=TIMEOUT)


@cache
def openai_at(base_url):
    return openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0, timeout=TIMEOUT)


def message(case):
    asked = {}
    if case.get("tools"):
        asked["tools"] = [
            {"name": tool["name"], "input_schema": tool["schema"]} for tool in case["tools"]
        ]
    if case.get("thinking"):
        asked["thinking"] = {"type": "enabled", "budget_tokens": 2000}
    with anthropic_at(case["base_url"]).messages.stream(
        model=case["model"], max_tokens=MAX_TOKENS, messages=MESSAGES, **asked
    ) as stream:
        streamed = "".join(stream.text_stream)
        final = stream.get_final_message()
    of_kind = lambda kind: [block for block in final.content if block.type == kind]
    return {
        "texts": [block.text for block in of_kind("text")],
        "streamed": streamed,
        "tool_calls": [{"name": b.name, "arguments": b.input} for b in of_kind("tool_use")],
        "unsigned": sum(not block.signature for block in of_kind("thinking")),
        "stop_reason": final.stop_reason,
    }


def completion(case):
    asked = {}
    if case.get("tools"):
        asked["tools"] = [
            {
                "type": "function",
                # Without `strict` this client refuses to stream.
                "function": {
                    "name": tool["name"],
                    "parameters": tool["schema"],
                    "strict": True,
                },
            }
            for tool in case["tools"]
        ]
    if case.get("thinking"):
        asked["reasoning_effort"] = "high"
    streamed = ""
    with openai_at(case["base_url"]).chat.completions.stream(
        model=case["model"], max_completion_tokens=MAX_TOKENS, messages=MESSAGES, **asked
    ) as stream:
        for event in stream:
            if event.type == "content.delta":
                streamed += event.delta
        choice = stream.get_final_completion().choices[0]
    calls = choice.message.tool_calls or []
    return {
        "texts": [choice.message.content] if choice.message.content else [],
        "streamed": streamed,
        "tool_calls": [
            {"name": c.function.name, "arguments": json.loads(c.function.arguments)} for c in calls
        ],
        "unsigned": 0,
        "stop_reason": choice.finish_reason,
    }


def replay(case):
    """The rest of an answer that the provider keeps."""
    streamed, final = "", None
    for event in openai_at(case["base_url"]).responses.retrieve(
        case["replay"]["id"], stream=True, starting_after=case["replay"]["after"]
    ):
        if event.type == "response.output_text.delta":
            streamed += event.delta
        if event.type == "response.completed":
            final = event.response
    return {
        "texts": [part.text for item in final.output for part in item.content],
        "streamed": streamed,
        "stop_reason": final.status,
    }


def response(case):
    if case.get("replay"):
        return replay(case)
    asked = {}
    if case.get("tools"):
        asked["tools"] = [
            {
                "type": "function",
                "name": tool["name"],
                "parameters": tool["schema"],
                "strict": True,
            }
            for tool in case["tools"]
        ]
    if case.get("thinking"):
        asked["reasoning"] = {"effort": "high", "summary": "auto"}
    streamed = ""
    with openai_at(case["base_url"]).responses.stream(
        model=case["model"], max_output_tokens=MAX_TOKENS, input=MESSAGES, **asked
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                streamed += event.delta
        final = stream.get_final_response()
    of_kind = lambda kind: [item for item in final.output if item.type == kind]
    return {
        "texts": [part.text for item in of_kind("message") for part in item.content],
        "streamed": streamed,
        "tool_calls": [
            {"name": c.name, "arguments": json.loads(c.arguments)} for c in of_kind("function_call")
        ],
        "unsigned": 0,
        "stop_reason": final.status,
    }


def content(case):
    asked = {}
    if case.get("tools"):
        declared = [
            google.FunctionDeclaration(name=tool["name"], parameters_json_schema=tool["schema"])
            for tool in case["tools"]
        ]
        asked["tools"] = [google.Tool(function_declarations=declared)]
    if case.get("thinking"):
        asked["thinking_config"] = google.ThinkingConfig(include_thoughts=True)
    config = google.GenerateContentConfig(max_output_tokens=MAX_TOKENS, **asked)
    streamed, calls, reason = "", [], None
    options = google.HttpOptions(base_url=case["base_url"], timeout=int(TIMEOUT * 1000))
    with genai.Client(api_key=KEY, http_options=options) as client:
        for chunk in client.models.generate_content_stream(
            model=case["model"], contents=PROMPT, config=config
        ):
            # Some say nothing but how much it has cost.
            for candidate in chunk.candidates or []:
                for part in (candidate.content and candidate.content.parts) or []:
                    if part.text and not part.thought:
                        streamed += part.text
                    if part.function_call:
                        call = part.function_call
                        calls.append({"name": call.name, "arguments": call.args})
                reason = candidate.finish_reason or reason
    return {
        # This client hands out pieces, and puts nothing together.
        "texts": [streamed] if streamed else [],
        "streamed": streamed,
        "tool_calls": calls,
        "unsigned": 0,
        "stop_reason": reason and reason.value,
    }


def interaction(case):
    config, asked = {"max_output_tokens": MAX_TOKENS}, {}
    if case.get("tools"):
        asked["tools"] = [
            {"type": "function", "name": tool["name"], "parameters": tool["schema"]}
            for tool in case["tools"]
        ]
    if case.get("thinking"):
        config.update(thinking_level="high", thinking_summaries="auto")
    texts, calls, status = {}, {}, None
    options = google.HttpOptions(base_url=case["base_url"], timeout=int(TIMEOUT * 1000))
    with genai.Client(api_key=KEY, http_options=options) as client:
        for event in client.interactions.create(
            model=case["model"],
            input=PROMPT,
            stream=True,
            generation_config=config,
            automatic_continuation=False,
            **asked,
        ):
            if event.event_type == "step.start" and event.step.type == "function_call":
                calls[event.index] = [event.step.name, ""]
            if event.event_type == "step.delta" and event.delta.type == "text":
                texts[event.index] = texts.get(event.index, "") + event.delta.text
            if event.event_type == "step.delta" and event.delta.type == "arguments_delta":
                calls[event.index][1] += event.delta.arguments
            if event.event_type == "interaction.completed":
                status = event.interaction.status
    return {
        "texts": list(texts.values()),
        "streamed": "".join(texts.values()),
        "tool_calls": [{"name": n, "arguments": json.loads(a)} for n, a in calls.values()],
        "unsigned": 0,
        "stop_reason": status,
    }


CLIENTS = {
    "anthropic-python": message,
    "google-python": content,
    "interactions-python": interaction,
    "openai-python": completion,
    "responses-python": response,
}


def outcome(case):
    said = {"id": case["id"], "client": case["client"], "error": None}
    try:
        said.update(CLIENTS[case["client"]](case))
    except Exception as error:  # whatever a caller would have got
        said["error"] = f"{type(error).__name__}: {error}"
    return said


def main():
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = [case for case in json.load(file) if case["client"] in CLIENTS]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for done in as_completed([threads.submit(outcome, case) for case in cases]):
            print(json.dumps(done.result()), flush=True)
    faulthandler.cancel_dump_traceback_later()


main()
