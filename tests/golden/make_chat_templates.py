#!/usr/bin/env python3
"""Expected outputs for tests/unit/test_chat_template.c: templates in the idioms of the published families and small snippets,
rendered by Jinja2 exactly as transformers sets it up (transformers.utils.chat_template_utils).

    make_chat_templates.py [smollm2.gguf] > tests/golden/chat_templates/cases.json

With a GGUF file, its tokenizer.chat_template is one of the templates (SmolLM2's, Apache-2.0).
SPDX-License-Identifier: MIT"""
import datetime
import json
import os
import sys
import time

os.environ["TZ"] = "UTC"
time.tzset()

import transformers.utils.chat_template_utils as utils  # noqa: E402

NOW = 1721984703  # 2024-07-26 09:05:03 UTC


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 9, 5, 3)


utils.datetime = FixedTime

# ---------------------------------------------------------------- conversations

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather at a place, \"now\" <or later>",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "The city, e.g. Zürich"},
            "unit": {"type": "string", "enum": ["C", "F"], "default": None},
            "days": {"type": "array", "items": {"type": "integer", "minimum": -1}},
            "exact": {"type": ["boolean", "string"]}}}}},
    {"type": "function", "function": {"name": "add", "description": "a + b", "parameters": {
        "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}}},
]
PLAIN = [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello!  "},
         {"role": "user", "content": " Tell me\nmore \n"}]
SYSTEM = [{"role": "system", "content": "Be brief. "}] + PLAIN
UNICODE = [{"role": "user", "content": "Grüße 🌍 — 日本語 'q' \"d\" \\ \t<tag> {{ not }} {% code %}"}]
CALLS = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": [1, 2]}}}]},
    {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "{\"t\": 21.5}"},
    {"role": "assistant", "content": "<think>\nhot\n</think>\n\nIt is 21.5"},
    {"role": "user", "content": "And both?"},
    {"role": "assistant", "content": "I look.", "tool_calls": [
        {"id": "call00002", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Bern"}}},
        {"id": "call00003", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2.5}}}]},
    {"role": "tool", "tool_call_id": "call00002", "content": "cold"},
    {"role": "tool", "tool_call_id": "call00003", "content": "3.5"},
]
THINK = [{"role": "user", "content": "2+2?"},
         {"role": "assistant", "content": "4", "reasoning_content": "\nsimple sum\n"},
         {"role": "user", "content": "3+3?"},
         {"role": "assistant", "content": "<think>\ncount\n</think>\n\n6"},
         {"role": "user", "content": "thanks"}]
PARTS = [{"role": "system", "content": [{"type": "text", "text": "See well."}]},
         {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}, {"type": "image", "url": "x"}]},
         {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
         {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "video"}, {"type": "text", "text": " that?"}]}]
WRONG_ORDER = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
ALIASES = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a", "reasoning": "r"},
           {"role": "assistant", "content": "b", "thinking": "t", "reasoning": "r"}, {"role": "assistant", "content": "c", "reasoning_content": None}]
CHATS = {"aliases": ALIASES, "plain": PLAIN, "call": CALLS[:5], "system": SYSTEM, "unicode": UNICODE, "calls": CALLS, "think": THINK, "parts": PARTS,
         "wrong_order": WRONG_ORDER, "empty": [], "one": [{"role": "user", "content": "x"}]}

# ---------------------------------------------------------------- templates in the idioms of the published families

FAMILIES = {}

FAMILIES["chatml"] = ("plain system unicode empty one", """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}
{%- for message in messages %}
    {%- if loop.first and messages[0]['role'] != 'system' %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""")

FAMILIES["llama3"] = ("plain system unicode one", """\
{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + \
'<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}\
{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""")

FAMILIES["llama31"] = ("plain system unicode call calls", """\
{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "You have access to the following functions.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Given the following functions, please respond with a JSON for a function call.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- "<|python_tag|>" + tool_call.name + ".call(" }}
            {%- for arg_name, arg_val in tool_call.arguments | items %}
                {{- arg_name + '="' + arg_val + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
                {%- endfor %}
            {{- ")" }}
        {%- else  %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""")

FAMILIES["qwen25"] = ("plain system unicode calls empty", """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call functions.\\n\\nSignatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""")

FAMILIES["qwen3"] = ("plain system calls think", """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') \
and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""")

FAMILIES["mistral"] = ("plain system wrong_order one", """\
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.last and system_message is defined %}
            {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token}}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are supported!') }}
    {%- endif %}
{%- endfor %}
""")

FAMILIES["mistral_tools"] = ("plain system calls wrong_order", """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- The conversation must alternate, tool calls and results left out. #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
            {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {%- if not message.tool_call_id is defined or message.tool_call_id|length != 9 %}
            {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
        {%- endif %}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
""")

FAMILIES["gemma"] = ("plain system wrong_order one", """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}""")

FAMILIES["gemma3"] = ("plain system parts wrong_order", """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '

' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '

' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '
' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
""")

FAMILIES["phi3"] = ("plain system one", """\
{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}""")

FAMILIES["zephyr"] = ("plain system unicode", """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
""")

FAMILIES["deepseek"] = ("plain system calls think", """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}\
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}\
{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}\
{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}\
{{ bos_token }}{{ ns.system_prompt }}\
{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}\
{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}\
{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}\
{%- if message['content'] is none %}{{'<｜Assistant｜><｜calls｜><｜call｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name'] + '\\n' + \
'```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```' + '<｜end｜>'}}\
{%- else %}{{'<｜Assistant｜>' + message['content'] + '<｜calls｜><｜call｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name']}}{%- endif %}\
{%- set ns.is_first = true -%}{%- else %}{{'\\n' + '<｜call｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name']}}{%- endif %}{%- endfor %}\
{{'<｜calls end｜>'}}{%- endif %}\
{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{%- if ns.is_tool %}{{'<｜outputs end｜>' + message['content'] + \
eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}\
{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + eos_token}}{%- endif %}{%- endif %}\
{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<｜outputs｜><｜output｜>' + message['content'] + \
'<｜output end｜>'}}{%- set ns.is_output_first = false %}{%- else %}{{'<｜output｜>' + message['content'] + '<｜output end｜>'}}{%- endif %}\
{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜outputs end｜>'}}{% endif %}\
{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}""")

FAMILIES["command_r"] = ("plain system calls", """\
{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}

{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" +  json_to_python_type(json_spec['items']) + "]"}}
{%- elif json_spec.type == "object" %}
    {{- "Dict[str, " + json_to_python_type(json_spec.additionalProperties) + ']'}}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}
        {{- "," }}
    {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}

{%- macro old_tool_parser(tools) %}
{%- for tool in tools %}
    {%- if loop.index0 != 0 %}
        {{- '\\n\\n' }}
    {%- endif %}
    {{- '```python\\ndef ' + tool.name + '(' }}
    {%- for param_name, param_fields in tool.parameters.properties|items %}
        {%- if loop.index0 != 0 %}
            {{- ', '}}
        {%- endif %}
        {{- param_name + ': ' }}
        {%- if not param_name in tool.parameters.required %}
            {{- 'Optional[' + json_to_python_type(param_fields) + '] = None'}}
        {%- else %}
            {{- json_to_python_type(param_fields) }}
        {%- endif %}
    {%- endfor %}
    {{- ') -> List[Dict]:\\n    \\"\\"\\"'}}
    {{- tool.description }}
    {%- if tool.parameters.properties|length != 0 %}
        {{- '\\n\\n    Args:\\n        '}}
        {%- for param_name, param_fields in tool.parameters.properties|items %}
            {%- if loop.index0 != 0 %}
                {{- '\\n        ' }}
            {%- endif %}
            {{- param_name + ' ('}}
            {%- if not param_name in tool.parameters.required %}
                {{- 'Optional[' + json_to_python_type(param_fields) + ']'}}
            {%- else %}
                {{- json_to_python_type(param_fields) }}
            {%- endif %}
            {{- '): ' + param_fields.description|default('-') }}
        {%- endfor %}
    {%- endif %}
    {{- '\\n    \\"\\"\\"\\n    pass\\n```' }}
{%- endfor %}
{%- endmacro %}

{{- bos_token }}
{%- if messages[0].role == 'system' %}
  {%- set loop_messages = messages[1:] %}
  {%- set system_message = messages[0].content %}
{%- else %}
  {%- set loop_messages = messages %}
  {%- set system_message = '## Task and Context' %}
{%- endif %}
{{- '<|SYSTEM|>' }}
{{- system_message }}
{{- '\\n\\n## Tools\\n\\n' }}
{%- set tool_list = (tools or []) | map(attribute='function') | list %}
{{- old_tool_parser(tool_list) }}
{{- '<|END|>' }}
{%- for message in loop_messages %}
    {%- set content = message['content'] %}
    {%- if message.role == 'user' %}
        {{- '<|USER|>' + content.strip() + '<|END|>' }}
    {%- elif message.role == 'assistant' and message.tool_calls is defined %}
        {{- '<|BOT|>Action: ```json\\n[\\n' }}
        {%- for tool_call in message.tool_calls %}
            {{- '{\\n'|indent(4, first=true) }}
            {{- ('"tool_name": "' + tool_call.function.name + '",\\n')|indent(8, first=true) }}
            {{- '"parameters": '|indent(8, first=true) }}
            {{- tool_call.function.arguments|tojson(indent=4)|indent(8) }}
            {{- '\\n' }}
            {{- '}'|indent(4, first=true) }}
            {%- if not loop.last %}{{- ',\\n' }}{%- endif %}
        {%- endfor %}
        {{- "\\n]```<|END|>" }}
    {%- elif message.role == 'assistant' %}
        {{- '<|BOT|>'  + content.strip() + '<|END|>' }}
    {%- elif message.role == 'tool' %}
        {{- '<|SYSTEM|><results>\\n' }}
        {{- 'Document: ' + loop.index0|string }}
        {{- '\\n' + content + '\\n</results><|END|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|BOT|>' }}{% endif %}
""")

FAMILIES["llava"] = ("parts", """\
{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}\
{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}\
{# Render all text next #}{% if message['role'] != 'assistant' %}\
{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}{% else %}\
{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}{{ content['text'] + ' '}}{% endgeneration %}\
{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}""")

FAMILIES["qwen2_vl"] = ("parts plain", """\
{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}\
{% if loop.first and message['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}\
{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}\
<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' or 'video' in content %}\
{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}\
<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}""")

FAMILIES["smolvlm"] = ("parts", """\
<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}{{':'}}\
{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}\
{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}""")

FAMILIES["tool_macros"] = ("plain calls", """\
{%- macro render_extra_keys(json_dict, handled_keys) -%}
    {%- if json_dict is mapping %}
        {%- for json_key in json_dict if json_key not in handled_keys %}
            {%- if json_dict[json_key] is mapping or (json_dict[json_key] is sequence and json_dict[json_key] is not string) %}
                {{- '\\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | tojson | safe) ~ '</' ~ json_key ~ '>' }}
            {%- else %}
                {{-'\\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | string) ~ '</' ~ json_key ~ '>' }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro -%}
{%- for tool in tools or [] %}
    {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
    {{- "\\n<function>\\n<name>" ~ tool.name ~ "</name>" }}
    {%- if tool.description is defined %}{{- '\\n<description>' ~ (tool.description | trim) ~ '</description>' }}{%- endif %}
    {%- for param_name, param_fields in tool.parameters.properties|items %}
        {{- '\\n<parameter>\\n<name>' ~ param_name ~ '</name>' }}
        {%- if param_fields.type is defined %}{{- '\\n<type>' ~ (param_fields.type | string) ~ '</type>' }}{%- endif %}
        {%- set handled_keys = ['name', 'type', 'description'] %}
        {{- render_extra_keys(param_fields, handled_keys) }}
        {{- '\\n</parameter>' }}
    {%- endfor %}
    {{- render_extra_keys(tool.parameters, ['type', 'properties']) }}
    {{- '\\n</function>' }}
{%- endfor %}
{%- for m in messages %}
    {%- if m.tool_calls is defined and m.tool_calls is iterable and m.tool_calls | length > 0 %}
        {%- for tool_call in m.tool_calls %}
            {%- for args_name, args_value in tool_call.function.arguments|items %}
                {%- set args_value = args_value | tojson | safe if args_value is mapping or (args_value is sequence and args_value is not string) \
else args_value | string %}
                {{- '<parameter=' ~ args_name ~ '>' ~ args_value ~ '</parameter>\\n' }}
            {%- endfor %}
        {%- endfor %}
    {%- else %}{{ m.content|default('', true) }}{% endif %}
{%- endfor %}
""")

FAMILIES["channels"] = ("plain system calls", """\
{%- macro render_typescript_type(param_spec, required_params, is_nullable=false) -%}
    {%- if param_spec.type == "array" -%}
        {%- if param_spec['items'] -%}
            {%- if param_spec['items']['type'] == "integer" -%}{{- "number[]" }}{%- else -%}{{- "any[]" }}{%- endif -%}
            {%- if param_spec.nullable -%}{{- " | null" }}{%- endif -%}
        {%- endif -%}
    {%- elif param_spec.type is defined and param_spec.type is iterable and param_spec.type is not string and param_spec.type is not mapping \
and param_spec.type[0] is defined -%}
        {{- param_spec.type | join(" | ") }}
    {%- elif param_spec.enum -%}
        {{- '"' + param_spec.enum|join('" | "') + '"' -}}
    {%- elif param_spec.type in ("number", "integer") -%}
        {{- "number" }}
    {%- else -%}
        {{- param_spec.type }}
    {%- endif -%}
{%- endmacro -%}
{%- macro render_tool_namespace(namespace_name, tools) -%}
    {{- "## " + namespace_name + "\\n\\nnamespace " + namespace_name + " {\\n\\n" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {{- "// " + tool.description + "\\ntype "+ tool.name + " = (_: {\\n" }}
        {%- for param_name, param_spec in tool.parameters.properties.items() %}
            {%- if param_spec.description %}{{- "// " + param_spec.description + "\\n" }}{%- endif %}
            {{- param_name }}
            {%- if param_name not in (tool.parameters.required or []) -%}{{- "?" }}{%- endif -%}
            {{- ": " + render_typescript_type(param_spec, required_params=[]) }}
            {%- if param_spec.default is defined -%}
                {%- if param_spec.enum %}{{- ", // default: " + param_spec.default|string }}
                {%- elif param_spec.oneOf %}{{- "// default: " + param_spec.default }}
                {%- else %}{{- ", // default: " + param_spec.default|tojson }}{%- endif -%}
            {%- endif -%}
            {%- if not loop.last %}{{- ",\\n" }}{%- else %}{{- "\\n" }}{%- endif -%}
        {%- endfor %}
        {{- "}) => any;\\n\\n" }}
    {%- endfor %}
    {{- "} // namespace " + namespace_name }}
{%- endmacro -%}
{{- "Current date: " + strftime_now("%Y-%m-%d") + "\\n\\n" }}
{%- if tools %}{{- render_tool_namespace("functions", tools) }}{%- endif %}
{%- set ns = namespace(last_tool_call=none) %}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if "tool_calls" in message %}
            {%- set tool_call = message.tool_calls[0].function %}
            {{- "<|start|>assistant to=functions." ~ tool_call.name ~ "<|message|>" ~ tool_call.arguments|tojson ~ "<|call|>" }}
            {%- set ns.last_tool_call = tool_call.name %}
        {%- else %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}
            {%- set ns.last_tool_call = none %}
        {%- endif %}
    {%- elif message.role == 'tool' -%}
        {%- if ns.last_tool_call is none %}{{- raise_exception("Message has tool role, but there was no previous tool call!") }}{%- endif %}
        {{- "<|start|>functions." + ns.last_tool_call + " to=assistant<|message|>" + message.content|tojson + "<|end|>" }}
    {%- else -%}
        {{- "<|start|>" ~ message.role ~ "<|message|>" ~ message.content ~ "<|end|>" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|start|>assistant
{%- endif -%}
""")

FAMILIES["smollm3"] = ("plain system think", """\
{# ───── defaults ───── #}
{%- if enable_thinking is not defined -%}
{%- set enable_thinking = true -%}
{%- endif -%}
{%- if enable_thinking -%}
  {%- set reasoning_mode = "/think" -%}
{%- else -%}
  {%- set reasoning_mode = "/no_think" -%}
{%- endif -%}
{{- "<|im_start|>system\\n" -}}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content -%}
  {%- if "/no_think" in system_message -%}
    {%- set reasoning_mode = "/no_think" -%}
  {%- endif -%}
  {%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
{%- set today = strftime_now("%d %B %Y") -%}
{{- "Today Date: " ~ today ~ "\\n" -}}
{{- "Reasoning Mode: " + reasoning_mode + "\\n\\n" -}}
{%- if custom_instructions -%}
  {{- custom_instructions + "\\n\\n" -}}
{%- endif -%}
{{- "<|im_end|>\\n" -}}
{# ───── main loop ───── #}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>" + message.role + "\\n"  + content + "<|im_end|>\\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}
        {%- if reasoning_mode == "/think" -%}
            {{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- else -%}
            {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- endif -%}
        {% endgeneration %}
    {%- elif message.role == "tool" -%}
    {{ "<|im_start|>" + "user\\n"  + content + "<|im_end|>\\n" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {%- if reasoning_mode == "/think" -%}
        {{ "<|im_start|>assistant\\n" }}
    {%- else -%}
        {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n" }}
    {%- endif -%}
{%- endif -%}
""")

FAMILIES["dump"] = ("plain call aliases think", "{{ messages|tojson }}{{ messages }}")

# ---------------------------------------------------------------- snippets

VARS = {
    "s": "Hello, World", "u": "Zürich 🌍 日本", "e": "", "sp": "  a b\t c \n", "n": 7, "neg": -7, "z": 0, "f": 2.5, "t": True, "no": False,
    "nil": None, "l": [3, 1, 2], "w": ["b", "A", "c", "a"], "nested": [[1, 2], [3, [4]]], "d": {"a": 1, "b": "x", "c": None},
    "dd": {"k": {"items": [1, 2], "keys": "mine", "get": 5}}, "big": 4611686018427387904,
    "users": [{"name": "Bo", "age": 30, "on": True}, {"name": "al", "age": 25, "on": False}, {"name": "Cy", "age": 30}],
    "q": "it's \"q\"", "html": "<a href='x'>&</a>", "lines": "one\ntwo\n\nthree",
}

EXPRESSIONS = r"""
1
'a'
"b\n\t\x41\u00e9\U0001F600\101\\\'\"\q"
'a' 'b' "c"
'a' 'b' + 'c' ~ ('a' 'b' + 'd')
1_000 + 0x1F + 0o17 + 0b101
1.5e3
1e2
10.0
1e16
1e-5
0.0001
123456789.123
1.0e22
0.1 + 0.2
1/3
-1.5
true
True
false
none
None
[1, 'a', none, true, 2.5]
(1,)
(1, 2)
()
[]
{}
{'a': 1, 'b': [1, {'c': 'd'}]}
{1: 2, (1, 2): 3, none: 4}
1, 2
[1, 2,]
{'a': 1,}
n + 1
n - 10
n * 3
n / 2
n // 2
n % 4
neg // 2
neg % 3
7 % -3
-7 // -2
7.5 // 2
-7.5 % 2
7.5 % -2
2 ** 10
2 ** -1
2 ** 0.5
2 ** 3 ** 2
-2 ** 2
--2
-n
+n
not n
not not n
t + t
t * 3
1 + 2.0
'a' + 'b'
'ab' * 3
3 * 'ab'
'ab' * -1
[1] + [2]
[1, 2] * 2
(1,) + (2,)
'a' ~ 1 ~ none ~ 2.5 ~ true ~ missing
1 ~ 2
1 + 2 ~ 3
1 ~ 2 * 3
1 == 1.0
1 == true
'a' == 'a'
'a' == 1
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
none == none
missing == missing2
missing == none
1 != 2
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2
'a' < 'b'
'Z' < 'a'
[1, 2] < [1, 3]
[1] < [1, 0]
(1, 'a') < (1, 'b')
1 < 1.5
true < 2
'ell' in s
'x' in s
'x' not in s
1 in l
9 not in l
'a' in d
1 in d
'' in s
2 in range(3)
2.0 in [1, 2]
'a' in missing
(1, 2) in [(1, 2)]
t and n
no and n
no or 'x'
e or nil or 0
t and no or 'z'
not t or t
1 if t else 2
1 if no else 2
1 if no
'a' if no else 'b' if no else 'c'
('x' if t) ~ 'y'
s[0]
s[-1]
s[99]
s[0:5]
s[:-1]
s[::-1]
s[::2]
s[8:2:-2]
s[-3:]
s[5:2]
u[1]
u[7]
u[7:9]
u[::-1]
l[0]
l[-1]
l[5]
l[1:]
l[::-1]
l[-2:]
l[:1]
l[10:]
l[true]
(1, 2, 3)[1:]
range(10)[2]
range(10)[2:4]
range(10)[::-1]|list
range(10)[-1]
l.0
users.0.name
d.a
d['b']
d.zzz
d['zzz']
d.c
dd.k['items']
dd.k.keys is callable
dd.k['keys']
dd['k']['get']
d['items'] is callable
nested[1][1][0]
nil.x
nil[0]
n.x
s.x
l.x
l['x']
d[0]
l[1.5]
s['upper']()
missing
missing is defined
s is defined
missing is undefined
d.zzz is defined
nil is none
nil is not none
n is none
s is string
n is string
n is number
f is number
t is number
s is number
n is integer
t is integer
f is integer
f is float
n is float
t is boolean
n is boolean
t is true
1 is true
no is false
d is mapping
l is mapping
l is iterable
s is iterable
n is iterable
d is iterable
missing is iterable
l is sequence
s is sequence
d is sequence
n is sequence
missing is sequence
d.items() is sequence
d.items() is iterable
range(3) is sequence
n is odd
n is even
z is even
9 is divisibleby 3
9 is divisibleby(4)
n is eq 7
n is equalto 7
n is ne 7
n is gt 3
n is ge 7
n is lt 3
n is le 7
n is greaterthan 3
n is lessthan 3
n is in [1, 7]
n is not in [1, 7]
n is sameas n
none is sameas none
'abc' is lower
'Abc' is lower
'ABC' is upper
'123' is lower
s is callable
s.upper is callable
range is callable
'upper' is filter
'nosuch' is filter
'odd' is test
not s is defined
s is defined and n is defined
n is not string
s.upper()
s.lower()
s.title()
s.capitalize()
"they're bill's x1y".title()
'ßa'.upper()
'straße ÀÉ ж'.upper()
'ÀÉ Ж'.lower()
'éa'.capitalize()
s.startswith('He')
s.startswith(('x', 'H'))
s.startswith('l', 2)
s.startswith('World', 7, 9)
s.endswith('ld')
s.endswith(('a', 'ld'))
s.endswith('')
s.find('o')
s.find('o', 5)
s.find('zz')
s.rfind('o')
s.rfind('o', 0, 6)
u.find('日')
s.index('W')
s.rindex('o')
s.count('l')
s.count('')
s.replace('l', 'L')
s.replace('l', 'L', 1)
s.replace('', '-')
s.replace('', '-', 2)
s.replace('zz', '')
u.replace('ü', 'ue')
sp.strip()
sp.lstrip()
sp.rstrip()
'xxabxx'.strip('x')
'xyabyx'.strip('xy')
'xyabyx'.lstrip('yx')
'xyabyx'.rstrip('yx')
'\u00a0\u3000a\u2003'.strip()
'ééaé'.strip('é')
sp.split()
s.split(', ')
s.split('l')
s.split('l', 1)
s.split(none, 1)
'a,b,c'.split(',', maxsplit=1)
'a b  c '.split(' ')
' a  b c '.split(none, 1)
e.split()
e.split(',')
'a,b,c'.rsplit(',', 1)
' a b  c '.rsplit(none, 1)
'a</think>b</think>c'.split('</think>')[-1]
lines.splitlines()
lines.splitlines(true)
'a\r\nb\rc\x0bd\u2028e\n'.splitlines()
', '.join(['a', 'b'])
', '.join('abc')
''.join([])
'{} {}'.format(1, 'a')
'{0}{1}{0}'.format('a', 'b')
'{a} {b!r}'.format(a=1, b='x')
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:05d} {:+d} {:,} {:x} {:#x} {:b} {:e}'.format(42, 7, 1234567, 255, 255, 5, 12345.678)
'{:.2f} {:8.3f} {:.0f} {:%} {:g} {:.3g}'.format(3.14159, 2.5, 2.5, 0.25, 0.0001, 1234.5)
'{0.name} {0[age]}'.format(users[0])
'{{}} {}'.format(1)
'{:.3}'.format('abcdef')
'{!s:>4}'.format(none)
'{:>4}'.format(true)
'%s' % 1
'%s %s' % ('a', 2)
'%d %5d %-5d| %05d %+d' % (1, 2, 3, 4, 5)
'%.2f %e %g %8.3f' % (3.14159, 12345.678, 0.0001, 2.5)
'%x %X %o %#x' % (255, 255, 8, 255)
'%r %s' % ('a', 'b')
'%5s|%-5s|%.2s' % ('a', 'b', 'cde')
'%(a)s %(b)5.1f' % {'a': 1, 'b': 2.25}
'%%' % ()
'%c%c' % ('a', 98)
'%d' % 3.9
'%s' % [1]
'%s' % missing
'abc' % d
'%*d' % (5, 3)
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('-')
'abc'.rpartition('-')
'prefix-x'.removeprefix('prefix-')
'x.json'.removesuffix('.json')
'7'.zfill(3)
'-7'.zfill(4)
'a'.center(4)
'ab'.center(5, '*')
'a'.ljust(3, '.') ~ '|'
'a'.rjust(3) ~ '|'
'12'.isdigit()
'1a'.isdigit()
'ab'.isalpha()
'é日'.isalpha()
'a1'.isalnum()
' \t'.isspace()
e.isspace()
'AB1'.isupper()
'ab1'.islower()
l.index(1)
l.count(1)
(1, 1).count(1)
d.get('a')
d.get('zz')
d.get('zz', 5)
d.get('c', 5)
d.keys()|list
d.values()|list
d.items()|list
d.items()
d.keys()
d.values()
'a' in d.keys()
1 in d.values()
('a', 1) in d.items()
d.keys()|length
d.copy()
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([('a', 1), ('b', 2)])
range(3)
range(1, 4)|list
range(5, 0, -2)|list
range(3)|length
range(0)|list
namespace(a=1).a
namespace(a=1)['a']
namespace({'a': 2}).a
namespace(a=1).b
namespace(a=1)
strftime_now('%Y-%m-%d %H:%M:%S')
strftime_now('%d %b %Y, %A %B %-d %I %p %y %j %a %%')
strftime_now('plain')
s|upper
s|lower
'hello world-foo (bar)'|title
'HELLO'|capitalize
s|length
u|length
l|length
d|length
missing|length
s|count
sp|trim
'xxaxx'|trim('x')
5|trim
missing|upper
nil|upper
missing|trim
l|first
l|last
s|first
u|last
[]|first
[]|last
d|first
range(3)|last
missing|first
l|join
l|join(', ')
l|join('-', attribute='x')
users|join(', ', attribute='name')
users|map(attribute='name')|join(' ')
'abc'|join('.')
missing|join
[1, none, true]|join(',')
missing|default('x')
missing|default
nil|default('x')
nil|default('x', true)
e|default('x', boolean=true)
d.zzz|d('y')
0|default(5)
l|sort
l|sort(reverse=true)
w|sort
w|sort(case_sensitive=true)
users|sort(attribute='age')|map(attribute='name')|list
users|sort(attribute='age,name')|map(attribute='name')|list
users|sort(attribute='age', reverse=true)|map(attribute='name')|list
['b', 'a']|sort|join
l|reverse|list
s|reverse
l|list
s|list
d|list
missing|list
w|unique|list
['a', 'A', 'b']|unique|join
['a', 'A', 'b']|unique(true)|join
users|unique(attribute='age')|map(attribute='name')|list
w|map('upper')|list
w|map('upper')|join
l|map('string')|join('+')
['1', 'x']|map('int', default=9)|list
[' a ']|map('trim')|list
users|map(attribute='zz', default='-')|list
nested|map('first')|list
nested|map(attribute=0)|list
missing|map('upper')|list
[0, 1, '', 'a']|select|list
[0, 1, '', 'a']|reject|list
l|select('odd')|list
l|reject('odd')|list
l|select('gt', 1)|list
l|select('in', [1, 2])|list
w|select('equalto', 'a')|list
users|selectattr('on')|map(attribute='name')|list
users|selectattr('on', 'defined')|list|length
users|selectattr('age', 'equalto', 30)|map(attribute='name')|list
users|rejectattr('age', '==', 30)|map(attribute='name')|list
users|rejectattr('on')|map(attribute='name')|list
users|selectattr('name', 'in', ['Bo', 'Cy'])|list|length
missing|selectattr('x')|list
s|replace('l', 'L')
s|replace('l', 'L', 1)
5|replace('5', 'five')
lines|indent
lines|indent(2)
lines|indent(2, true)
lines|indent(2, first=true, blank=true)
lines|indent('> ')
'a\n'|indent
'a'|indent(width=2, first=true)
-5|abs
(-5)|abs
(-2.5)|abs
[3, 1]|min
[3, 1]|max
w|min
w|max(case_sensitive=true)
users|max(attribute='age')
[]|min
l|sum
users|sum(attribute='age')
l|sum(start=10)
[0.1, 0.2]|sum
[[1], [2]]|sum(start=[])
2.5|round
3.5|round
2.567|round(2)
2.561|round(2, 'ceil')
2.567|round(2, 'floor')
5|round
-2.5|round
2.675|round(2)
'42'|int
' 42 '|int
'-4_2'|int
'4.7'|int
'x'|int
'x'|int(7)
'ff'|int(base=16)
'0x1f'|int(0, 16)
4.9|int
(-4.9)|int
true|int
nil|int
l|int
'1e3'|int
'2.5'|float
'x'|float
'x'|float(1.5)
3|float
'inf'|float
' -1e3 '|float
nil|float
5|string
l|string
nil|string
missing|string
d|items|list
missing|items|list
d|dictsort
{'b': 1, 'A': 2}|dictsort
{'b': 1, 'A': 2}|dictsort(true)
{'b': 1, 'a': 2}|dictsort(by='value')
{'b': 1, 'a': 2}|dictsort(false, 'value', reverse=true)
html|e
html|escape|e
html|safe
(html|safe) ~ '<'
(html|e) + '<'
'<' + ('b'|safe)
html|e is escaped
s|tojson
u|tojson
q|tojson
'\x00\x1f\x7f\u2028\n\t\b\f'|tojson
html|tojson
d|tojson
nested|tojson
[]|tojson
{}|tojson
[[], {}]|tojson(indent=2)
d|tojson(indent=2)
nested|tojson(indent=1)
d|tojson(indent=0)
d|tojson(indent='--')
nil|tojson
[true, false, none]|tojson
1.5|tojson
1e100|tojson
(1, 2)|tojson
{1: 2, true: 3, none: 4}|tojson
{'b': 1, 'a': 2}|tojson(sort_keys=true)
u|tojson(ensure_ascii=true)
d|tojson(separators=(',', ':'))
d|tojson(indent=2, separators=(', ', ' = '))
'%s-%d'|format('a', 5)
'%(x)s'|format(x=1)
[q, s, e, '\n\t\r\\', 'é', '\u200b', '\x7f', '\xa0', '😀', '\ue000']
['it\'s', 'a"b', 'a\'b"c']
s|upper|lower|title
(s|length) + 1
s | length > 3
-1|abs
l[0]|string + 'x'
[s][0][0]
{'a': {'b': [5]}}.a.b[0]
s.upper().lower().title()
s.split(',')|first|upper
[1, 2] + [3] == [1, 2, 3]
'a' in 'abc' == true
1 in [1] and 2 in [2]
not 1 in [2]
none is none == true
n in (7, 8)
s if s is string else 'no'
(n > 3) ~ (n < 3)
[n > 3, n == 7 and t]
{'x': n if t else 0}
'a' ~ ('b' if t else 'c') ~ 'd'
'}}'
'{{ x }}'
{'a': {'b': {}}}
big + (big - 1)
1.0 == 1
2 == 2.5
3 // 0.5
0.5 + t
-0.0
1e400
1 == 'a' or 2
missing or 'dflt'
missing.upper is defined
""".strip("\n").split("\n")

FAIL_OR_NOT = r"""
missing.x
missing['x']
missing[0]
missing[1:]
missing + 1
1 + missing
missing < 1
missing()
missing.x.y
nil.x.y
1 + 'a'
'a' + 1
'a' + none
[] + ()
1 < 'a'
none < 1
[1] < 'a'
{} < {}
1 / 0
1 // 0
1 % 0
1.0 / 0
1.5 % 0
0 ** -1
-'a'
-missing
'a' * 'b'
'a' * 1.5
1 in 'abc'
1 in 5
none in 'a'
'a' in none
{[]: 1}
{{}: 1}
n|length
nil|length
f|length
missing|tojson
[missing]|tojson
{(1, 2): 3}|tojson
namespace(a=1)|tojson
(l|map('string'))|tojson
d.items()|tojson
l|nosuchfilter
l is nosuchtest
l|map('nosuch')|list
l|select('nosuch')|list
l|map()|list
users|selectattr()|list
s.nosuch()
l.append(4)
l.pop()
l.sort()
l.reverse()
d.update({'x': 1})
d.pop('a')
d.clear()
d.setdefault('x', 1)
s.__class__.__mro__
''.__class__.__mro__[1].__subclasses__()
l.__len__()
range.__self__.x
range(1000000)
range(1, 2, 0)
range('a')
range(1.5)
range()
raise_exception('stop here')
raise_exception()
namespace(_a=1)
namespace(1)
dict(1)
dict([1])
s.strip(1)
s.split('')
s.replace('a')
s.startswith(1)
s.join([1])
s.index('zz')
l.index(99)
'%d' % 'a'
'%s %s' % 'a'
'%s' % (1, 2)
'%z' % 1
'%' % ()
'%(a)s' % 1
'%(zz)s' % d
'abc' % 1
'{} {}'.format(1)
'{a}'.format(1)
'{'.format(1)
'}'.format(1)
'{0} {}'.format(1, 2)
'{:d}'.format('a')
'{:q}'.format(1)
'{:.2d}'.format(1)
[1, 'a']|sort
[1, none]|min
[1, 'a']|sum
['a']|sum
5|list
5|join
nil|list
nil|first
5|first
5|reverse
5|items|list
l|dictsort
d|dictsort(by='x')
'x'|abs
missing|int
missing|float
missing|abs
nil|abs
missing|indent
5|indent
l|map('upper')|length
l|map('string')|last
(l|map('string'))[0]
1|round(method='x')
l is divisibleby
n is divisibleby 0
n is odd 3
s is odd
n(1)
s()
none()
[1][0]()
s|upper(1)
s|replace('a')
s|default(1, 2, 3)
l|join(',', none, 5)
s|trim(chars='H', x=1)
1 +
(1
[1
{1
{1: 2
1 2
a b
'abc
"abc
1 if
x.
x[
x[]
x|
x is
x is not
is
1 = 2
$
a & b
a ? b
@
!x
f(a=1, 2)
f(a=1,, 2)
f(1 2)
x..y
x.'a'
01
1__0
'\ud800'
'\x4'
'\u12'
'\N{DASH}' if false else loop.index
loop.index
caller()
range(5)|list|map|list
lambda x: x
l[::0]
s[::0]
nil[1:]
n[1:]
d[1:]
l['a':]
namespace(a=1)[1:]
d.items()[1:]
(l|map('string'))[1:]
""".strip("\n").split("\n")

STATEMENTS = [
    "{% if t %}a{% endif %}", "{% if no %}a{% else %}b{% endif %}", "{% if no %}a{% elif n == 7 %}b{% elif t %}c{% else %}d{% endif %}",
    "{% if missing %}a{% else %}b{% endif %}", "{% if t: %}a{% endif %}", "{% if l and d %}x{% endif %}",
    "{% for x in l %}{{ x }}{% endfor %}", "{% for x in l %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}", "{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for x in l %}{{ loop.index }}/{{ loop.length }}:{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for x in l %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}",
    "{% for x in l %}[{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}]{% endfor %}",
    "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for x in l %}{{ loop['index'] }}{{ loop.nosuch }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}{{ x }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }} {% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}empty{% endfor %}",
    "{% for x in l if x is odd %}{{ x }}{{ loop.nextitem|default('-') }}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }};{% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for k, v in d|dictsort %}{{ k }}{{ v }}{% endfor %}",
    "{% for c in u %}{{ c }}.{% endfor %}", "{% for i in range(3) %}{{ i }}{% endfor %}", "{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in l %}{% for y in [1] if loop.index > 1 %}{{ x }}{{ y }}{% endfor %}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}e{% endfor %}", "{% for x in l %}{% continue %}{% else %}e{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{% else %}e{% endfor %}",
    "{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %}|{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in [1, 2] %}{% set y = i %}{% endfor %}{{ y is defined }}",
    "{% if t %}{% set y = 2 %}{% endif %}{{ y }}", "{% set x = 1, 2 %}{{ x }}", "{% set a, b = 1, 2 %}{{ b }}{{ a }}",
    "{% set a, b = 'xy' %}{{ b }}{{ a }}", "{% set (a, b) = [1, 2] %}{{ a }}", "{% set a, = [1] %}{{ a }}",
    "{% set x %}a{{ n }}b{% endset %}{{ x }}{{ x|length }}", "{% set x | upper %}abc{% endset %}{{ x }}",
    "{% set x | replace('a', 'b') | upper %}a{% endset %}{{ x }}",
    "{% set ns = namespace(i=0) %}{% for x in l %}{% set ns.i = ns.i + x %}{% endfor %}{{ ns.i }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = ns.a %}{{ ns.b }}",
    "{% set ns = namespace(found=false) %}{% for x in l if not ns.found %}{{ x }}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}",
    "{% set ns = namespace(s='') %}{% for x in l %}{% set ns.s = ns.s ~ x %}{% set k = ns.s + '!' %}{{ k }} {% endfor %}{{ ns.s }}",
    "{% set a = 'x' %}{% set b = a + 'y' %}{% set c = b + '1' %}{% set d2 = b + '2' %}{{ b }} {{ c }} {{ d2 }} {{ c + '3' }} {{ d2 }}",
    "{% set l2 = l + [9] %}{{ l2 }}{{ l }}",
    "{% macro m(a, b=2) %}[{{ a }},{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro f(k) %}{{ k }}{% if k > 0 %}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro m() %}{{ n }}{{ y }}{% endmacro %}{% set y = 3 %}{{ m() }}{% set y = 4 %}{{ m() }}",
    "{% macro m() %}{% set y = 9 %}{{ y }}{% endmacro %}{{ m() }}{{ y is defined }}",
    "{% macro m() %} x {% endmacro %}{{ m()|trim ~ '!' }}{{ m() + 'y' }}", "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{{ n }}{% endcall %}",
    "{% macro m() %}{{ caller(1) }}{{ caller(2) }}{% endmacro %}{% call(a) m() %}[{{ a }}]{% endcall %}",
    "{% macro a(x) %}A{{ x }}{% endmacro %}{% macro b(x) %}{{ a(x) }}B{% endmacro %}{{ b(1) }}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter trim|replace('a', 'b') %} aa {% endfilter %}|",
    "{% with x = 1, y = 2 %}{{ x }}{{ y }}{% endwith %}{{ x is defined }}", "{% with %}{% set x = 1 %}{{ x }}{% endwith %}{{ x is defined }}",
    "{% generation %}a{{ n }}{% endgeneration %}b", "{% generation %}{% set gx = 1 %}{{ gx }}{% endgeneration %}{{ gx is defined }}",
    "{% for x in l %}{% generation %}{{ loop.index }}{{ x }}{% endgeneration %}{% endfor %}",
    "{% raw %}{{ x }}{% if %}{% endraw %}", "a {%- raw -%} {{ x }} {%- endraw -%} b", "{% raw %}\n x\n{% endraw %}\ny", "{%+ raw %}a{% endraw +%}\nb",
    "a{# comment #}b", "a {#- comment -#} b", "{# {{ x }} {% if %} #}c", "a\n  {# c #}\nb", "{#- a -#}\n\n{#+ b +#}\nc", "{##}x",
    "a\n{% if t %}\nb\n{% endif %}\nc", "a\n  {% if t %}\n  b\n  {% endif %}\n  c", "a\n  {%+ if t %}b{% endif %}", "  {% if t %}x{% endif %}",
    "x {% if t %} y {% endif %} z", "x {%- if t -%} y {%- endif -%} z", "a\n\n{%- if t -%}\n\nb{% endif %}", "{% if t +%}\na{% endif %}",
    "a  {{- n -}}  b", "a\n{{ n }}\nb", "a\n  {{ n }}\n  b", "{{ n }}\n", "{{ n }}\n\n", "\n\n{{ n }}", "a\r\nb\rc", "{{ 'a\r\nb' }}", "a\t{% if t %}b{% endif %}",
    "{% for x in l -%}\n  {{ x }}\n{%- endfor %}", "{% for x in l %}\n  {{ x }}\n{% endfor %}\n", "{%- for x in l %}\n    {{- x }}\n{%- endfor %}",
    "\u3000{%- if t %}a{% endif %}", "{{-n}}", "{{n-}}  x", "{{ -n }}", "{{- -n }}", "{%set x=1%}{{x}}", "{{x}}{{n}}{{ '{{' }}", "{ {n} {% if t %}}{% endif %}",
    "{{ {'a': {'b': 1}} }}", "{{ {'a': 1}['a'] }}", "{{ [{'a': [1]}][0].a[0] }}", "100% {sure} #1", "{% if '%}' == '%}' %}a{% endif %}", "{{ '#}' }}{# '}}' #}",
    "{{ n }} {{ s }} {{ l }} {{ d }}", "{%\nif\nt\n%}a{%\nendif\n%}", "{{\n n\n +\n 1 }}",
    "{% set x = {'a': 1} %}{{ x.a }}", "{% set x = n if t else z %}{{ x }}", "{% set messages = l[1:] %}{{ messages }}",
    "{% set loop_messages = users %}{% for m in loop_messages %}{{ m['name'] }}{% endfor %}",
    "{% for m in users %}{% if m.on is defined and m.on %}{{ m.name }}{% endif %}{% endfor %}",
    "{% for m in users|selectattr('age', 'gt', 26) %}{{ m.name }}{{ loop.last }}{% endfor %}",
    "{% set it = l|map('string') %}{% for x in it %}{{ x }}{% endfor %}{% for x in it %}{{ x }}{% else %}used{% endfor %}",
    "{% set r = l|reverse %}{{ r|list }}{{ r|list }}", "{% set g = l|select('odd') %}{{ 1 in g }}{{ g|list }}",
    "{{ 'a' if missing is defined else 'b' }}", "{% if 'x' in d and d.x.y.z %}a{% else %}b{% endif %}", "{% if d.x is not defined or d.x.y %}a{% endif %}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}",
    "{% set a, b = 1 %}", "{% set x.y = 1 %}", "{% set l.y = 1 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{% set x[0] = 2 %}",
    "{% if t %}a", "{% for x in l %}a", "{% endif %}", "{% else %}", "{% nosuch %}", "{% if %}a{% endif %}", "{% for in l %}{% endfor %}", "{% for x l %}{% endfor %}",
    "{% if t %}{% endfor %}", "{% set x %}a", "{% macro %}{% endmacro %}", "{% macro m %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m() %}a", "{% raw %}a", "{# a",
    "{{ n", "{% if t", "{{ }}", "{% %}", "{{ n }", "{{ n %}", "{% if t }}{% endif %}", "{% break %}", "{% continue %}", "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% call n %}{% endcall %}", "{% call missing() %}{% endcall %}", "{% filter %}{% endfilter %}", "{% filter nosuch %}{% endfilter %}", "{% do l.append(1) %}", "{% include 'x' %}", "{% extends 'x' %}",
    "{% import 'x' as y %}", "{% for x in l %}{{ loop.cycle() }}{% endfor %}", "{% if t %}{{ raise_exception('no') }}{% endif %}", "{% if no %}{{ raise_exception('no') }}{% endif %}ok",
    "{% if no %}{{ x|nosuch }}{% endif %}ok", "{{ 1 if t else (1|nosuch) }}", "{% generation %}a", "{% with x %}{% endwith %}", "{% set x = %}", "{% for x in l if %}{% endfor %}",
    "{% set x = 'a' %}{% set y = x %}{% set x = 'b' %}{{ y }}", "{% for _ in range(2) %}{{ _ }}{% endfor %}", "{% for x in (1, 2) %}{{ x }}{% endfor %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% for x in [1, 2] if x in [2] %}{{ x }}{% endfor %}", "{{ range }}{{ 1 }}"[:0] + "{% set range = 5 %}{{ range }}", "{{ '\\n' }}{{ \"\\n\" }}", "{{ 'a\\\nb' }}", "{{ 'a\nb' }}",
    "{%- set a = 1 -%}\n{%- set b = 2 -%}\n{{ a + b }}", "{% set ns = namespace(l=[]) %}{% for x in l %}{% set ns.l = ns.l + [x * 2] %}{% endfor %}{{ ns.l }}",
    "{% for x in l %}{% set a %}{{ x }}{% if x == 1 %}{% continue %}{% endif %}{% endset %}{{ a }}{% endfor %}", "{{ loop is defined }}", "{% for x in l %}{{ loop is defined }}{% endfor %}",
    "{% macro m() %}{{ loop is defined }}{% endmacro %}{% for x in l %}{{ m() }}{% endfor %}", "{% for x in l %}{% set ns = namespace(v=x) %}{{ ns.v }}{% endfor %}",
    "{% set x = missing %}{{ x is defined }}{{ x }}", "{% set x = missing.y if missing is defined else 'ok' %}{{ x }}",
]


def render(template, variables):
    try:
        text = utils._compile_jinja_template(template).render(**variables)
        text.encode()  # a lone surrogate is no text
        return {"text": text}
    except Exception:  # every failure of Jinja2 is to be a failure of ours
        return {"fails": True}


def main():
    cases = []
    families = dict(FAMILIES)
    if len(sys.argv) > 1:
        from gguf import GGUFReader

        field = GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"]
        families["smollm2"] = ("plain system unicode empty one", bytes(field.parts[field.data[0]]).decode())
    out = {"now": NOW, "chats": CHATS, "tools": TOOLS, "vars": VARS, "families": {}, "snippets": []}
    for name, (chats, template) in families.items():
        runs = []
        for chat in chats.split():
            for tools in ([None, TOOLS] if chat in ("plain", "call", "calls", "system") and "tools" in template else [None]):
                for prompt in (False, True):
                    for extra in ({}, {"enable_thinking": False}) if "enable_thinking" in template and prompt else ({},):
                        variables = {"messages": utils._alias_reasoning_fields(CHATS[chat]), "tools": tools, "documents": None,
                                     "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>", **extra}
                        result = render(template, variables)
                        runs.append({"chat": chat, "tools": tools is not None, "prompt": prompt, "extra": extra, **result})
        out["families"][name] = {"template": template, "runs": runs}
    for template in ["{{ %s }}" % e for e in EXPRESSIONS + FAIL_OR_NOT] + STATEMENTS:
        out["snippets"].append([template, render(template, VARS).get("text")])
    json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.write("\n")
    print("%d families, %d runs, %d snippets of which %d fail" % (
        len(families), sum(len(f["runs"]) for f in out["families"].values()), len(out["snippets"]),
        sum(text is None for _, text in out["snippets"])), file=sys.stderr)


main()
