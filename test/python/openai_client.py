"""Asks a gate everything an application asks, with OpenAI's own Python client.

Usage: openai_client.py BASE_URL KEY LIMITED_KEY

BASE_URL ends in /v1. LIMITED_KEY is a key whose limit is used up. The models "main"
and "demo" answer well, "dead" cannot be reached, and "main" answers with the status N
where the field "user" is "fake:N". Each function below is one test; the script says
which of them failed, and how, and exits with 1.
"""

import asyncio
import io
import json
import sys
import traceback

import openai

BASE_URL, KEY, LIMITED_KEY = sys.argv[1:]
MODELS = ("main", "demo")
QUESTION = [{"role": "user", "content": "hello there"}]
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
        429: openai.RateLimitError,
        500: openai.InternalServerError,
        503: openai.InternalServerError,
    }.items():
        error = refused(kind, None, ask(user=f"fake:{status}"))
        assert error.status_code == status and f"told to answer {status}" in error.message, error


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
    return [(name, test) for name, test in globals().items() if name.startswith("test_")]


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
