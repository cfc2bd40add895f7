#!/usr/bin/env python3
"""Make tests/golden/training/label_mask.json and chat_pictures.json: chats as transformers makes tokens of them, with the assistant's tokens as
apply_chat_template(return_assistant_tokens_mask=True) marks them by a template's generation blocks; chats about pictures as the processors of
tests/golden/pipelines make tokens of them, with the answers between what each turn's prompt and its end are made into. Needs transformers, Pillow.

    make_label_mask.py

SPDX-License-Identifier: MIT"""
import json
import os

from PIL import Image
from transformers import AutoProcessor, PreTrainedTokenizerFast

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

PICTURE_CHATS = [(1, CHATS[0]), (2, CHATS[0]), (1, CHATS[1][:5])]


def write(name, cases):
    with open(os.path.join(HERE, "training", name), "w", encoding="utf-8") as f:
        f.write("[" + ",\n ".join(json.dumps(c) for c in cases) + "]\n")


def chat_of_pictures(model, pictures, chat):
    processor = AutoProcessor.from_pretrained(os.path.join(HERE, "pipelines", model))
    first = [role for role, _ in chat].index("user")
    messages = [{"role": role, "content": [{"type": "image"}] * (pictures if i == first else 0) + [{"type": "text", "text": text}]}
                for i, (role, text) in enumerate(chat)]
    images = [Image.new("RGB", (16, 16), (200, 40 * i, 0)) for i in range(pictures)]

    def ids(count, prompt):
        text = processor.apply_chat_template(messages[:count], tokenize=False, add_generation_prompt=prompt)
        return processor(text=text, images=images, add_special_tokens=False)["input_ids"][0]

    whole = list(ids(len(chat), False))
    mask = [0] * len(whole)
    for i, (role, _) in enumerate(chat):
        if role == "assistant":
            begin, end = len(ids(i, True)), len(ids(i + 1, False))
            assert whole[:begin] == ids(i, True) and whole[:end] == ids(i + 1, False)
            trimmed = end
            while trimmed > begin and processor.tokenizer.decode(whole[trimmed - 1:trimmed]).isspace():
                trimmed -= 1
            if whole[trimmed - 1] in processor.tokenizer.all_special_ids:  # white space behind the end token does not count
                end = trimmed
            mask[begin:end] = [1] * (end - begin)
    return {"model": model, "pictures": pictures, "messages": [{"role": r, "content": c} for r, c in chat], "ids": whole, "mask": mask}


if __name__ == "__main__":
    write("chat_pictures.json", [chat_of_pictures(m, *c) for m in ("llava", "idefics3") for c in PICTURE_CHATS])
    cases = []
    for name, template in [("smollm", CHATML), ("qwen2", CHATML), ("gemma", EOS), ("llama3", LLAMA3), ("llama2", LLAMA2), ("smollm", PLAIN),
                           ("llama3", PLAIN)]:
        t = PreTrainedTokenizerFast(tokenizer_file=os.path.join(HERE, "tokenizers", name + ".json"))
        for chat in CHATS:
            messages = [{"role": role, "content": content} for role, content in chat]
            got = t.apply_chat_template(messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
            cases.append({"tokenizer": name, "template": template, "messages": messages, "ids": got["input_ids"], "mask": got["assistant_masks"]})
    write("label_mask.json", cases)
