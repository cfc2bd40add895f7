#!/usr/bin/env python3
"""Make tests/golden/training/label_mask.json: chats as transformers makes tokens of them, with the assistant's tokens as
apply_chat_template(return_assistant_tokens_mask=True) marks them by a template's generation blocks. Needs transformers and tokenizers.

    make_label_mask.py > tests/golden/training/label_mask.json

SPDX-License-Identifier: MIT"""
import json
import os

from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))

CHATML = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}"
          "{% endgeneration %}{{ '\n' }}{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA3 = ("{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
          "{% if m.role == 'assistant' %}{% generation %}{{ m.content | trim + '<|eot_id|>' }}{% endgeneration %}{% else %}"
          "{{ m.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
EOS = ("{{ '<bos>' }}{% for m in messages %}{{ m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<eos>' }}{% endgeneration %}"
       "{{ '\n' }}{% else %}{{ m.content + '<eos>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}")
# The answer begins inside a word piece, and tokens by themselves are not the tokens of the whole (a space is put in front).
LLAMA2 = ("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ ' ' + m.content + ' </s>' }}{% endgeneration %}{% else %}"
          "{{ '<s>[INST] ' + m.content + ' [/INST]' }}{% endif %}{% endfor %}")
# No end token: the line's end belongs to the answer, and letters join across its beginning.
PLAIN = ("{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content + '\n' }}{% endgeneration %}{% else %}"
         "{{ 'Q: ' + m.content + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}")

CHATS = [
    [("user", "What is the blue shape?"), ("assistant", "A rectangle.")],
    [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello there!"), ("user", "More"), ("assistant", "No"), ("user", "Why?")],
    [("user", "Grüße 🌍"), ("assistant", "日本語 und naïve  \n\n"), ("user", " x "), ("assistant", "\n\n1234\n")],
    [("user", "a"), ("assistant", ""), ("assistant", "again"), ("user", "b"), ("assistant", "the <|im_end|> token\n")],
]

if __name__ == "__main__":
    cases = []
    for name, template in [("smollm", CHATML), ("qwen2", CHATML), ("gemma", EOS), ("llama3", LLAMA3), ("llama2", LLAMA2), ("smollm", PLAIN),
                           ("llama3", PLAIN)]:
        t = PreTrainedTokenizerFast(tokenizer_file=os.path.join(HERE, "tokenizers", name + ".json"))
        for chat in CHATS:
            messages = [{"role": role, "content": content} for role, content in chat]
            got = t.apply_chat_template(messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
            cases.append({"tokenizer": name, "template": template, "messages": messages, "ids": got["input_ids"], "mask": got["assistant_masks"]})
    print("[" + ",\n ".join(json.dumps(c) for c in cases) + "]")
