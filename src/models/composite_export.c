/* What those classes compute is written in their order of parts here, so that a shape that would give other numbers there is refused.
 * SPDX-License-Identifier: MIT */
#include "composite_export.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clip_text.h"
#include "clip_vision.h"
#include "composite.h"
#include "file.h"
#include "hf_directory.h"
#include "registry.h"

static const char llava[] = "LlavaForConditionalGeneration", clip[] = "CLIPModel", dual[] = "VisionTextDualEncoderModel";

typedef struct {
    mm_context *ctx;
    mmi_export *out;
    const mm_model *m;
    const mmi_composite_config *c;
    const mmi_json_node *root;
} writer;

static mm_status refuse(const writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static mm_status refuse(const writer *w, const char *format, ...)
{
    char why[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return mmi_fail(w->ctx, MM_E_UNSUPPORTED, "cannot save %s as %s: %s", w->m->path, w->out->class_name, why);
}

static mm_status write_node(const writer *w, const mm_model *part, const mmi_part_row *row, const mmi_json_node *node)
{
    const char *type = mmi_json_string(mmi_json_get(node, "model_type")), *class_name = type ? mmi_registry_class_of(type, row->role) : NULL;

    if (!class_name || strcmp(class_name, part->class_name))
        return refuse(w, "%s is a %s, its parts are %s", row->config, part->class_name, class_name ? class_name : "of other kinds");
    return mmi_json_write(w->ctx, &w->out->config, node) ? MM_E_NOMEM : MM_OK;
}

/* The configuration of a part under a name; one of another checkpoint is there. */
static mm_status write_part(const writer *w, size_t index, const char *name)
{
    const mmi_part_row *row = &w->m->arch->parts[index];
    const mm_model *part = w->m->parts[index];
    const mmi_json_node *node = mmi_json_get(w->root, row->config);
    mmi_json *doc = NULL;
    char *path = NULL;
    mm_status st = mmi_text_format(w->ctx, &w->out->config, ",\n  \"%s\": ", name) ? MM_E_NOMEM : MM_OK;

    if (!st && mmi_json_get(node, "from")) {
        if (!strcmp(part->format, "gguf")) return refuse(w, "%s is of a GGUF file, which has no config.json", row->config);
        path = mmi_file_join(w->ctx, part->path, "config.json");
        st = path ? mmi_json_read(w->ctx, path, MMI_HF_MAX_CONFIG, &doc) : MM_E_NOMEM;
        node = doc ? mmi_json_root(doc) : NULL;
    }
    if (!st) st = write_node(w, part, row, node);
    mmi_json_destroy(doc);
    mmi_free(path);
    return st;
}

static mm_status write_llava(const writer *w)
{
    const mmi_composite_config *c = w->c;
    const mm_model *vision = w->m->parts[MMI_VISION_TOWER];
    const char *act = mmi_json_string(mmi_json_get(mmi_json_get(w->root, "projector"), "hidden_act"));
    mm_status st;

    if (c->towers != 1u << MMI_VISION_TOWER || !c->reads || w->m->info.fusion != MMI_FUSION_TOKENS || c->n_heads)
        return refuse(w, "it has a vision tower, a decoder that reads it in the places of tokens, and nothing else");
    if (c->decoder.input != MMI_VISION_TOWER || c->projector_layers != 2 || c->skip > 1)
        return refuse(w, "its projector has two layers, reads the vision tower, and skips no more than one token");
    if (c->decoder.depth < 0 && vision->arch != &mmi_clip_vision)
        return refuse(w, "its projector reads a hidden state of the tower before the last norm, which is \"depth\": %lld", (long long)vision->info.layers);
    if (mmi_text_format(w->ctx, &w->out->config,
                        "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"llava\",\n  \"dtype\": \"float32\",\n  \"image_token_index\": %d,\n"
                        "  \"projector_hidden_act\": \"%s\",\n  \"vision_feature_layer\": %lld,\n  \"vision_feature_select_strategy\": \"%s\"",
                        llava, (int)w->m->info.image_token, act ? act : "gelu", (long long)c->decoder.depth, c->skip ? "default" : "full"))
        return MM_E_NOMEM;
    st = write_part(w, MMI_VISION_TOWER, "vision_config");
    return st ? st : write_part(w, MMI_DECODER, "text_config");
}

static mm_status write_towers(const writer *w)
{
    const mmi_composite_config *c = w->c;
    const mmi_head *h = c->heads;
    const int both = w->m->parts[MMI_TEXT_TOWER] && w->m->parts[MMI_TEXT_TOWER]->arch == &mmi_clip_text && w->m->parts[MMI_VISION_TOWER] &&
                     w->m->parts[MMI_VISION_TOWER]->arch == &mmi_clip_vision, as_clip = !strcmp(w->out->class_name, clip);
    mm_status st;

    if (c->towers != (1u << MMI_TEXT_TOWER | 1u << MMI_VISION_TOWER) || w->m->parts[MMI_DECODER] || c->n_heads != 1 || h->kind != MMI_HEAD_CONTRASTIVE || h->sigmoid)
        return refuse(w, "it has a text and a vision tower, a contrastive head without \"sigmoid\", and nothing else");
    if (!h->pooled) return refuse(w, "it compares what its towers pool themselves, which is \"pool\": \"pooler\" of the head");
    if (as_clip && !both) return refuse(w, "its towers are clip_text_model and clip_vision_model; with others it is a %s", dual);
    if (mmi_text_format(w->ctx, &w->out->config, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n  \"dtype\": \"float32\",\n  \"projection_dim\": %lld",
                        w->out->class_name, as_clip ? "clip" : "vision-text-dual-encoder", (long long)h->size))
        return MM_E_NOMEM;
    st = write_part(w, MMI_VISION_TOWER, "vision_config");
    return st ? st : write_part(w, MMI_TEXT_TOWER, "text_config");
}

mm_status mmi_export_make(mm_context *ctx, const mm_model *m, const char *config, const char *class_name, mmi_export *out)
{
    writer w = {ctx, out, m, mmi_composite_of(m), NULL};
    const int as_llava = !strcmp(class_name, llava);
    mmi_json *doc = NULL;
    mm_status st;

    *out = (mmi_export){.class_name = class_name};
    if (!w.c) return refuse(&w, "it is a %s, and only an MMModel can become another class", m->class_name);
    if (!as_llava && strcmp(class_name, clip) && strcmp(class_name, dual)) return refuse(&w, "known are %s, %s and %s", llava, clip, dual);
    st = mmi_json_parse(ctx, m->path, config, strlen(config), &doc);
    w.root = doc ? mmi_json_root(doc) : NULL;
    if (!st) st = as_llava ? write_llava(&w) : write_towers(&w);
    if (!st && mmi_text_append(ctx, &out->config, "\n}\n", 3)) st = MM_E_NOMEM;
    mmi_json_destroy(doc);
    return st;
}

void mmi_export_clear(mmi_export *e) { mmi_text_clear(&e->config); }

int mmi_export_name(const mmi_export *e, const char *tensor, char *out, size_t size)
{
    static const struct {
        const char *here, *there;
    } beginnings[] = {{"vision_model.", "vision_tower."}, {"decoder.", "language_model."}, {"projector.", "multi_modal_projector."}},
      ends[] = {{".vision.weight", "visual_projection.weight"}, {".text.weight", "text_projection.weight"}, {".logit_scale", "logit_scale"}};
    const char *before = "", *rest = tensor;
    int n;

    if (!strcmp(e->class_name, llava)) {
        for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
            const size_t length = strlen(beginnings[i].here);
            if (strncmp(tensor, beginnings[i].here, length)) continue;
            before = beginnings[i].there;
            rest = tensor + length;
        }
    } else if (!strncmp(tensor, "heads.", 6)) {
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (mmi_text_ends_with(tensor, ends[i].here)) rest = ends[i].there;
    }
    n = snprintf(out, size, "%s%s", before, rest);
    return n >= 0 && (size_t)n < size;
}

int32_t mmi_export_rank(const char *name, int32_t rank) { return strcmp(name, "logit_scale") ? rank : 0; }
