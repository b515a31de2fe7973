"""Try the server with the Python client of OpenAI."""

import pytest
from served import make_folder, running

openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    with running("shipped", make_folder(place, "talker"), make_folder(place, "encoder")) as process:
        yield process.port


@pytest.fixture(scope="module")
def client(port):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0)


def test_texts_whole_and_streamed(client):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    ask = {"model": "talker", "messages": messages, "max_completion_tokens": 20, "seed": 3, "logprobs": True}
    whole = client.chat.completions.create(**ask)
    with client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, last = stream
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content and last.usage.total_tokens == whole.usage.total_tokens
    assert whole.choices[0].logprobs.content and whole.system_fingerprint.startswith("fp_")
    assert client.completions.create(model="shipped", prompt="Once", max_tokens=20).choices[0].text
    assert {model.id for model in client.models.list()} == {"shipped", "talker", "encoder"}


def test_forms_tools_embeddings_and_errors(client):
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    ask = {"model": "talker", "messages": [{"role": "user", "content": "who?"}], "max_tokens": 70}
    found = client.chat.completions.parse(**ask, response_format=Person).choices[0]
    assert isinstance(found.message.parsed, Person) and found.finish_reason == "stop"
    function = {"name": "calc", "parameters": {"type": "object", "properties": {"sum": {"type": "string"}}}}
    tools = [{"type": "function", "function": function}]
    call = client.chat.completions.create(**ask, tools=tools, tool_choice="required").choices[0]
    assert call.finish_reason == "tool_calls" and call.message.tool_calls[0].function.name == "calc"
    with client.chat.completions.stream(**ask, tools=tools, tool_choice="required") as stream:
        again = stream.get_final_completion().choices[0]
    assert again.message.tool_calls[0].function.arguments == call.message.tool_calls[0].function.arguments
    answer = {"role": "tool", "tool_call_id": call.message.tool_calls[0].id, "content": "4"}
    messages = [*ask["messages"], call.message, answer]
    client.chat.completions.create(**ask | {"messages": messages}, tools=tools, tool_choice="none")
    vectors = client.embeddings.create(model="encoder", input=["a", "bc"])
    assert [len(entry.embedding) for entry in vectors.data] == [16, 16]
    with pytest.raises(openai.BadRequestError, match="best_of") as caught:
        client.completions.create(model="shipped", prompt="a", best_of=3)
    assert caught.value.param == "best_of" and caught.value.code == "unsupported_parameter"
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        client.completions.create(model="gpt-4", prompt="a")
