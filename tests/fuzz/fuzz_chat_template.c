/* libFuzzer target: the input is a chat template; it is parsed and rendered over a fixed conversation. What parses must render
 * twice to the same text or the same failure.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "chat_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char variables_text[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be \\u00e9\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"},"
    "{\"type\":\"image\"}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\","
    "\"arguments\":{\"a\":1,\"b\":[1.5,true,null]}}}]},{\"role\":\"tool\",\"content\":\"x</"
    "think>y\"}],\"tools\":[{\"function\":{\"name\":\"f\","
    "\"parameters\":{\"properties\":{\"a\":{\"type\":\"integer\"}}}}}],\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"s\":\"ab c\","
    "\"n\":3,\"l\":[3,1,2],\"d\":{\"b\":1,\"a\":\"x\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mmi_json *doc;
    mmi_chat_template *tpl;
    mmi_text once = {0}, twice = {0};
    mm_status first, second;

    if (mm_context_create(NULL, &ctx) || mmi_json_parse(ctx, "variables", variables_text, sizeof variables_text - 1, &doc)) abort();
    if (!mmi_chat_template_create(ctx, (const char *)data, size, &tpl)) {
        first = mmi_chat_template_render_json(ctx, tpl, mmi_json_root(doc), 1721984703, &once);
        second = mmi_chat_template_render_json(ctx, tpl, mmi_json_root(doc), 1721984703, &twice);
        if (first != second || once.size != twice.size || (once.size && memcmp(once.data, twice.data, once.size))) abort();
        mmi_text_clear(&once);
        mmi_text_clear(&twice);
        mmi_chat_template_destroy(tpl);
    }
    mmi_json_destroy(doc);
    mm_context_destroy(ctx);
    return 0;
}
