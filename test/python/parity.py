"""Puts the cases of test/parity/cases.json to a gate, with OpenAI's own Python client.

Usage: parity.py CASES BASE_URL KEY

BASE_URL ends in /v1. What is asserted stands in the cases; package parity
(test/parity/parity.go) says what the file's words and the facts are, and
test/e2e/bedrock asks the same with OpenAI's client for Go. The script says what is
otherwise, and then exits with 1.
"""

import base64
import inspect
import json
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import openai

CASES, BASE_URL, KEY = sys.argv[1:]
FILE = json.load(open(CASES, encoding="utf-8"))
CLIENT = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=30)
ENDPOINTS = {
    "chat": CLIENT.chat.completions.create,
    "completions": CLIENT.completions.create,
    "responses": CLIENT.responses.create,
    "embeddings": CLIENT.embeddings.create,
}


def ask(path, way, request):
    """Gives the facts of an answer and, of chat, the message to send back."""
    create = ENDPOINTS[path]
    known = inspect.signature(create).parameters
    arguments = {name: value for name, value in request.items() if name in known}
    more = {name: value for name, value in request.items() if name not in known}
    if way == "stream":
        arguments["stream"] = True
    answer = create(**arguments, extra_body=more or None)
    facts, message = READ[path, way](answer)
    text = facts.get("content") or facts.get("text")
    try:
        facts["json"] = json.loads(text)
    except (TypeError, ValueError):
        pass
    return facts, message


class Said:
    """A message of chat, whole or put together from a stream."""

    def __init__(self):
        self.role, self.content, self.reasoning, self.calls, self.thoughts = "", "", "", [], []

    def take(self, part):
        self.role += part.role or ""
        self.content += part.content or ""
        self.reasoning += getattr(part, "reasoning_content", None) or ""
        self.thoughts += getattr(part, "thinking_blocks", None) or []
        for place, call in enumerate(part.tool_calls or []):
            place = getattr(call, "index", place)
            while place >= len(self.calls):
                self.calls.append({"id": "", "name": "", "arguments": ""})
            own = self.calls[place]
            own["id"] += call.id or ""
            own["name"] += call.function.name or ""
            own["arguments"] += call.function.arguments or ""

    def facts(self):
        return {"role": self.role, "content": self.content, "reasoning": self.reasoning, **calls_of(self.calls)}

    def message(self):
        message = {"role": self.role, "content": self.content}
        if self.calls:
            message["tool_calls"] = [
                {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
                for c in self.calls
            ]
        if self.thoughts:
            message["thinking_blocks"] = self.thoughts
        return message


def calls_of(calls):
    return {
        "calls": [{"name": c["name"], "arguments": json.loads(c["arguments"])} for c in calls],
        "call_ids": len({c["id"] for c in calls if c["id"]}),
    }


def usage_of(usage, *names):
    return None if usage is None else [getattr(usage, name) for name in names]


CHAT_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


def plain(answer, **facts):
    return {
        "object": answer.object, "id": answer.id, "model": answer.model, "choices": len(answer.choices),
        "finish_reason": answer.choices[0].finish_reason, "usage": usage_of(answer.usage, *CHAT_USAGE), **facts,
    }


def running(stream, take):
    """Reads a stream to its end, and counts its chunks."""
    ids, facts = set(), {"usage": None, "usage_last": False, "choices": 0, "finish_reason": "", "chunks": 0, "finishes": 0}
    for chunk in stream:
        ids.add(chunk.id)
        facts.update(id=chunk.id, object=chunk.object, model=chunk.model, chunks=facts["chunks"] + 1)
        facts["choices"] = max(facts["choices"], len(chunk.choices))
        for choice in chunk.choices:
            take(choice)
            if choice.finish_reason:
                facts.update(finish_reason=choice.finish_reason, finishes=facts["finishes"] + 1)
        used = usage_of(chunk.usage, *CHAT_USAGE)
        facts["usage_last"] = used is not None and not chunk.choices and facts["usage"] is None
        facts["usage"] = used or facts["usage"]
    return {**facts, "ids": len(ids)}


def chat(answer):
    said = Said()
    said.take(answer.choices[0].message)
    return plain(answer, **said.facts()), said.message()


def chat_stream(stream):
    said = Said()
    facts = running(stream, lambda choice: said.take(choice.delta))
    return {**facts, **said.facts()}, said.message()


def completion(answer):
    return plain(answer, text=answer.choices[0].text), None


def completion_stream(stream):
    texts = []
    facts = running(stream, lambda choice: texts.append(choice.text))
    return {**facts, "text": "".join(texts)}, None


def response(answer):
    calls = [{"id": i.call_id, "name": i.name, "arguments": i.arguments} for i in answer.output if i.type == "function_call"]
    return {
        "object": answer.object, "id": answer.id, "model": answer.model, "status": answer.status, "text": answer.output_text,
        "usage": usage_of(answer.usage, "input_tokens", "output_tokens", "total_tokens"), **calls_of(calls),
    }, None


def response_stream(stream):
    events = list(stream)
    last = events[-1]
    facts, _ = response(last.response)
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    arguments = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
    whole = "".join(i.arguments for i in last.response.output if i.type == "function_call")
    facts["ordered"] = [e.sequence_number for e in events] == list(range(len(events)))
    facts["ended"] = last.type == "response." + facts["status"]
    facts["pieces_agree"] = (text, arguments) == (facts["text"], whole)
    return facts, None


def embeddings(answer):
    vectors = [numbers(one.embedding) for one in answer.data]
    return {
        "object": answer.object, "model": answer.model, "count": len(vectors), "lengths": [len(v) for v in vectors],
        "first": [round(x, 4) for x in vectors[0][:3]], "usage": usage_of(answer.usage, "prompt_tokens", "total_tokens"),
    }, None


def numbers(embedding):
    if not isinstance(embedding, str):
        return embedding
    packed = base64.b64decode(embedding)
    return struct.unpack(f"<{len(packed) // 4}f", packed)


READ = {
    ("chat", "plain"): chat, ("chat", "stream"): chat_stream,
    ("completions", "plain"): completion, ("completions", "stream"): completion_stream,
    ("responses", "plain"): response, ("responses", "stream"): response_stream,
    ("embeddings", "plain"): embeddings,
}


def field_of(case, model, way):
    keys = [f"{model} {way}", model]
    if FILE["models"][model]:
        keys += [f"bedrock {way}", "bedrock"]
    return next((case["refused"][key] for key in keys if key in case.get("refused", {})), None)


def holds(want, got):
    if isinstance(want, dict) and len(want) == 1:
        (rule, value), = want.items()
        if rule == "starts":
            return isinstance(got, str) and got.startswith(value)
        if rule == "contains":
            return isinstance(got, str) and value in got
        if rule == "at_least":
            return got is not None and got >= value
    return type(want) is type(got) and want == got


def differences(want, got, model):
    for name, wanted in sorted(want.items()):
        wanted = model if wanted == "$model" else wanted
        if not holds(wanted, got.get(name)):
            yield f"{name}: {got.get(name)!r}, and not {wanted!r}"


def check(case, path, model, way):
    """Says what is not as the file has it."""
    request = {**case["request"], "model": model}
    if way == "stream" and path != "responses":
        request.setdefault("stream_options", {"include_usage": True})
    field = field_of(case, model, way)
    try:
        facts, message = ask(path, way, request)
        if "then" in case and not field:
            wrong = list(differences(case.get("first", {}), facts, model))
            if wrong:
                return wrong
            ids = {f"$call{i}": c["id"] for i, c in enumerate(message.get("tool_calls", []))}
            replies = [{**m, "tool_call_id": ids[m["tool_call_id"]]} if "tool_call_id" in m else m for m in case["then"]]
            request["messages"] = request["messages"] + [message] + replies
            facts, _ = ask(path, way, request)
    except openai.APIStatusError as error:
        got = {"status": error.status_code, "code": error.code, "param": error.param, "type": error.type}
        want = {"status": 400, "code": "invalid_request", "type": "invalid_request_error", "param": field}
        return list(differences(want, got, model))
    if field:
        return [f"it was to be refused for {field}"]
    every = FILE["every"][path].get(way, {})
    return list(differences({**every, **case.get("want", {}), **case.get("but", {}).get(model, {})}, facts, model))


def ask_all(model):
    """Puts all cases to a model, and says how many there were and what is wrong."""
    checked, wrong = 0, []
    for case in FILE["cases"]:
        path = case.get("path", "chat")
        if model not in case.get("of", FILE["of"][path]) or model in case.get("skip", []):
            continue
        for way in ["plain"] if path == "embeddings" else case.get("ways", ["plain", "stream"]):
            checked += 1
            wrong += [f"{case['name']}, {model}, {way}: {what}" for what in check(case, path, model, way)]
    return checked, wrong


def main():
    with ThreadPoolExecutor(len(FILE["models"])) as pool:
        results = list(pool.map(ask_all, FILE["models"]))
    checked, wrong = sum(n for n, _ in results), [line for _, lines in results for line in lines]
    print(*wrong, f"{checked} checks, {len(wrong)} wrong", sep="\n")
    return 1 if wrong or checked < 500 else 0


if __name__ == "__main__":
    sys.exit(main())
