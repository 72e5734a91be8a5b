"""Asks a gate everything an application asks, with OpenAI's own Python client.

Usage: openai_client.py BASE_URL KEY LIMITED_KEY [MODEL=ABILITY+ABILITY ...]

BASE_URL ends in /v1. LIMITED_KEY is a key whose limit is used up. The models "main"
and "demo" answer well, "dead" cannot be reached, and "main" answers with the status N
where the field "user" is "fake:N". Each function below is one test; the script says
which of them failed, and how, and exits with 1.

With models given, only those are asked, and only what every model answers alike: each
function that begins with "alike_" is a test for each. What a model is not said to be
able to do ("system", "tools", "force", "stream-tools", "images", "json", "stop") must be
refused by the name of the field.
"""

import asyncio
import functools
import io
import json
import sys
import traceback

import openai

BASE_URL, KEY, LIMITED_KEY = sys.argv[1:4]
ASKED = dict(argument.split("=", 1) for argument in sys.argv[4:])
MODELS = ("main", "demo")
QUESTION = [{"role": "user", "content": "hello there"}]
# The smallest PNG.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOL = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Finds products.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
}


def client(key=KEY):
    return openai.OpenAI(base_url=BASE_URL, api_key=key, max_retries=0, timeout=30)


def test_chat():
    for model in MODELS:
        answer = client().chat.completions.create(model=model, messages=QUESTION)
        assert answer.choices[0].message.content, answer
        assert answer.choices[0].finish_reason == "stop", answer
        assert answer.model == model, answer
        assert answer.usage.total_tokens > 0, answer


def test_chat_stream():
    for model in MODELS:
        whole = client().chat.completions.create(model=model, messages=QUESTION)
        stream = client().chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        text, usage, chunks = "", None, 0
        for chunk in stream:
            chunks += 1
            usage = chunk.usage or usage
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
        assert chunks > 3, chunks
        assert text == whole.choices[0].message.content, text
        assert usage.total_tokens == whole.usage.total_tokens, usage


def test_chat_async():
    async def ask():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0) as c:
            stream = await c.chat.completions.create(model="main", messages=QUESTION, stream=True)
            return [chunk async for chunk in stream]

    assert len(asyncio.run(ask())) > 3


def test_tools():
    for model in MODELS:
        messages = [{"role": "user", "content": "please call a tool"}]
        choice = {"type": "function", "function": {"name": "search"}}
        answer = client().chat.completions.create(model=model, messages=messages, tools=[TOOL], tool_choice=choice)
        message = answer.choices[0].message
        call = message.tool_calls[0]
        assert call.function.name == "search", call
        json.loads(call.function.arguments)
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "found it"}]
        answer = client().chat.completions.create(model=model, messages=messages, tools=[TOOL])
        assert answer.choices[0].finish_reason == "stop", answer


def test_structured_output():
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    answer = client().chat.completions.create(model="main", messages=QUESTION, response_format=form)
    assert answer.choices[0].message.content, answer


def test_completions():
    for model in MODELS:
        answer = client().completions.create(model=model, prompt="once upon")
        stream = client().completions.create(model=model, prompt="once upon", stream=True)
        text = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
        assert text == answer.choices[0].text != "", text


def test_embeddings():
    for model in MODELS:
        packed = client().embeddings.create(model=model, input=["one", "two"])  # asks for base64 itself
        floats = client().embeddings.create(model=model, input=["one", "two"], encoding_format="float")
        assert len(packed.data) == len(floats.data) == 2
        for a, b in zip(packed.data, floats.data):
            assert len(a.embedding) == len(b.embedding) > 1
            assert all(abs(x - y) < 1e-5 for x, y in zip(a.embedding, b.embedding))


def test_responses():
    for model in MODELS:
        answer = client().responses.create(model=model, input="good day")
        assert answer.output_text, answer
        text, completed = "", ""
        for event in client().responses.create(model=model, input="good day", stream=True):
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.completed":
                completed = event.response.output_text
        assert text == completed == answer.output_text, (text, completed)


def test_models():
    names = [m.id for m in client().models.list()]
    assert names == sorted(names) and {"main", "demo"} <= set(names), names
    assert client().models.retrieve("main").id == "main"
    refused(openai.NotFoundError, "model_not_found", lambda c: c.models.retrieve("no-such-model"))


def test_other_paths():
    assert list(client().files.list()) == []
    sound = io.BytesIO(bytes(range(256)) * 4096)
    heard = client().audio.transcriptions.create(model="whisper", file=("speech.mp3", sound, "audio/mpeg"))
    assert heard.text == "whisper heard 1048576 bytes of speech.mp3", heard
    client().images.generate(model="dall-e-3", prompt="a gate")
    client().moderations.create(input="x")


def test_errors():
    def ask(model="main", **more):
        return lambda c: c.chat.completions.create(model=model, messages=QUESTION, **more)

    refused(openai.AuthenticationError, "invalid_api_key", ask(), key="sk-wrong")
    refused(openai.NotFoundError, "model_not_found", ask("no-such-model"))
    refused(openai.BadRequestError, "invalid_request", ask("no\nname"))
    limited = refused(openai.RateLimitError, "rate_limit_exceeded", ask(), key=LIMITED_KEY)
    assert int(limited.response.headers["retry-after"]) > 0
    refused(openai.InternalServerError, "provider_unreachable", ask("dead"))
    refused(openai.AuthenticationError, "invalid_api_key", ask(stream=True), key="sk-wrong")
    for status, kind in {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
        503: openai.InternalServerError,
    }.items():
        error = refused(kind, None, ask(user=f"fake:{status}"))
        assert error.status_code == status and f"told to answer {status}" in error.message, error


def alike_chat(model, can):
    answer = client().chat.completions.create(model=model, messages=QUESTION)
    assert answer.choices[0].message.content == "You said: hello there", answer
    assert answer.choices[0].finish_reason == "stop", answer
    assert answer.model == model, answer
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (2, 4, 6), usage


def alike_stream(model, can):
    for usage_asked in (True, False):
        options = {"stream_options": {"include_usage": True}} if usage_asked else {}
        stream = client().chat.completions.create(model=model, messages=QUESTION, stream=True, **options)
        text, usage, reasons = "", None, []
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
        assert text == "You said: hello there", text
        assert reasons == ["stop"], reasons
        assert (usage is not None and usage.total_tokens == 6) if usage_asked else usage is None, usage


def alike_system(model, can):
    messages = [{"role": "system", "content": "be brief"}] + QUESTION
    if "system" not in can:
        return unable("messages[0]", model=model, messages=messages)
    assert client().chat.completions.create(model=model, messages=messages).usage.prompt_tokens == 4


def alike_tools(model, can):
    messages = [{"role": "user", "content": "please call a tool"}]
    if "tools" not in can:
        return unable("tools", model=model, messages=messages, tools=[TOOL])
    answer = client().chat.completions.create(model=model, messages=messages, tools=[TOOL])
    assert answer.choices[0].finish_reason == "tool_calls", answer
    message = answer.choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "search" and json.loads(call.function.arguments) == {"tools": ["search"]}, call
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "found it"}]
    answer = client().chat.completions.create(model=model, messages=messages, tools=[TOOL])
    assert answer.choices[0].finish_reason == "stop", answer


def alike_tools_in_a_stream(model, can):
    messages = [{"role": "user", "content": "please call a tool"}]
    if "stream-tools" not in can:
        return unable("tools", model=model, messages=messages, tools=[TOOL], stream=True)
    name, arguments, reason = "", "", None
    for chunk in client().chat.completions.create(model=model, messages=messages, tools=[TOOL], stream=True):
        for choice in chunk.choices:
            reason = choice.finish_reason or reason
            for call in choice.delta.tool_calls or []:
                assert call.index == 0, call
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    assert (name, json.loads(arguments), reason) == ("search", {"tools": ["search"]}, "tool_calls"), (name, arguments, reason)


def alike_images(model, can):
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    messages = [{"role": "user", "content": parts}]
    if "images" not in can:
        return unable("messages[0].content[1].image_url", model=model, messages=messages)
    answer = client().chat.completions.create(model=model, messages=messages)
    assert "You said: what is this?" in answer.choices[0].message.content, answer


def alike_responses(model, can):
    answer = client().responses.create(model=model, input="good day")
    assert answer.output_text == "You said: good day", answer
    events = list(client().responses.create(model=model, input="good day", stream=True))
    assert events[-1].type == "response.completed", events[-1]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == answer.output_text, events


def unable(field, **request):
    error = refused(openai.BadRequestError, "invalid_request", lambda c: c.chat.completions.create(**request))
    assert error.param.startswith(field), (error.param, field)


def refused(kind, code, ask, key=KEY):
    try:
        ask(client(key))
    except openai.APIStatusError as error:
        assert type(error) is kind, (type(error), kind)
        assert code is None or error.code == code, (error.code, code)
        assert error.request_id, error
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def tests():
    for name, test in list(globals().items()):
        if not ASKED and name.startswith("test_"):
            yield name, test
        for model, abilities in ASKED.items():
            if name.startswith("alike_"):
                yield f"{name} of {model}", functools.partial(test, model, abilities.split("+"))


def main():
    failed = []
    for name, test in tests():
        try:
            test()
        except Exception:  # the next test is to run as well
            failed.append(name)
            print(f"{name} failed:", file=sys.stderr)
            traceback.print_exc()
        else:
            print(f"{name} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
