/* libmm's own composite: encoders of any architecture, joined late, early or interactively to heads of several tasks and to any decoder
 * (multi-task learning: Caruana 1997; Ruder 2017, arXiv:1706.05098). All of it is said in config.json ("model_type": "mm"), and a part may come
 * from another checkpoint. From a Hugging Face directory (MMModel).
 * SPDX-License-Identifier: MIT */
#include "composite.h"

#include <string.h>

#include "contrast_ops.h"
#include "early_fusion.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

static const char *const inputs[MMI_TOWERS] = {"input_ids", "pixel_values", "input_features", "pixel_values_videos"};

/* A graph on its way: towers and trunks are built when the first reader comes, and once. */
typedef struct {
    mmi_io *io;
    const mmi_composite_config *c;
    mmi_io towers[MMI_TOWERS];
    int64_t frames[MMI_TOWERS]; /* of each video, 0: no video */
    mmi_value mask;             /* of the text */
    mmi_value trunks[MMI_MAX_TRUNKS][MMI_MAX_TRUNK_LAYERS + 1], trunk_mask;
    int joined;
} build_state;

const mmi_composite_config *mmi_composite_of(const mm_model *m) { return m->arch == &mmi_composite ? m->config : NULL; }

void mmi_composite_ties(const mm_model *m, void (*visit)(void *arg, const mmi_weight *a, const mmi_weight *b), void *arg)
{
    const mmi_composite_config *c = mmi_composite_of(m);
    const mmi_fusion_config *f = c ? &c->fusion : NULL;

    if (!c || !c->l2_tied) return;
    for (size_t t = 0; t < f->n_trunks; t++)
        for (size_t u = t + 1; u < f->n_trunks; u++)
            for (int slot = 0; slot < f->trunks[1].first - f->trunks[0].first; slot++)
                for (int64_t l = -1; l < f->stack.layers; l++) {
                    const mmi_weight *a = mmi_model_weight(m, f->trunks[t].first + slot, l), *b = mmi_model_weight(m, f->trunks[u].first + slot, l);
                    if (a && b) visit(arg, a, b);
                }
}

static mm_status prepare(mm_context *ctx, mm_model *m)
{
    const mmi_composite_config *c = m->config;

    (void)ctx;
    for (size_t i = 0; i < c->n_heads && m->info.compares; i++) {
        const mmi_head *h = &c->heads[i];
        if (h->embeds[0] != m->info.text_output && h->embeds[1] != m->info.text_output) continue;
        mmi_weight_read_row(mmi_model_weight(m, h->slot + 2, -1), 0, &m->info.score_scale);
        if (h->sigmoid) mmi_weight_read_row(mmi_model_weight(m, h->slot + 3, -1), 0, &m->info.score_bias);
    }
    return MM_OK;
}

/* The outputs of a tower that anything may read. */
static void list_states(const mmi_composite_config *c, size_t tower, const char **wanted)
{
    *wanted++ = "last_hidden_state";
    for (size_t i = 0; i < c->n_heads; i++)
        for (int k = 0; k < (c->heads[i].kind == MMI_HEAD_CONTRASTIVE ? 2 : 1); k++)
            if (c->heads[i].from[k].input == tower) *wanted++ = c->heads[i].from[k].state;
    if (c->reads && c->decoder.input == tower) *wanted++ = c->decoder.state;
    *wanted = NULL;
}

static void build_tower(build_state *s, size_t t)
{
    static const char *const beside[] = {"attention_mask", "position_ids", "token_type_ids"};
    const char *wanted[MMI_MAX_HEADS + 3];
    mmi_graph *g = s->io->g;
    mmi_value x = mmi_io_require(s->io, inputs[t], t == MMI_TEXT_TOWER ? MM_DTYPE_I32 : MM_DTYPE_F32,
                                 t == MMI_TEXT_TOWER ? 2 : t == MMI_AUDIO_TOWER ? 3 : t == MMI_VISION_TOWER ? 4 : 5);

    if (g->status) return;
    list_states(s->c, t, wanted);
    mmi_io_part(&s->towers[t], s->io, t, wanted);
    if (t == MMI_VIDEO_TOWER) { /* each frame by itself */
        const mmi_value_info v = *mmi_graph_look(g, x);
        s->frames[t] = v.shape[1];
        x = mmi_reshape(g, x, 4, (int64_t[]){v.shape[0] * v.shape[1], v.shape[2], v.shape[3], v.shape[4]});
    }
    mmi_io_give(&s->towers[t], t == MMI_VIDEO_TOWER ? "pixel_values" : inputs[t], x);
    if (t == MMI_TEXT_TOWER) {
        s->mask = mmi_io_optional(s->io, "attention_mask", MM_DTYPE_I32, 2);
        for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) mmi_io_give(&s->towers[t], beside[i], mmi_io_input(s->io, beside[i]));
    }
    mmi_io_build(&s->towers[t]);
}

/* Tokens of frames [B F, N, C] as those of a video: [B, F N, C], or their means over time [B, N, C]. */
static mmi_value join_frames(const build_state *s, mmi_value x)
{
    mmi_graph *g = s->io->g;
    const mmi_value_info v = *mmi_graph_look(g, x);
    const int64_t F = s->frames[MMI_VIDEO_TOWER], B = v.shape[0] / F, N = v.shape[1], C = v.shape[2];

    if (s->c->video_joined) return mmi_reshape(g, x, 3, (int64_t[]){B, F * N, C});
    x = mmi_mean(g, mmi_reshape(g, x, 3, (int64_t[]){B, F, N * C}));
    return mmi_reshape(g, x, 3, (int64_t[]){B, N, C});
}

/* The vector that a tower pools itself. */
static mmi_value tower_vector(build_state *s, size_t t, const char *state)
{
    mmi_graph *g = s->io->g;
    mmi_value x;

    if (!s->towers[t].g) build_tower(s, t);
    if (g->status) return 0;
    x = mmi_io_find_output(&s->towers[t], state);
    return x ? x : mmi_graph_fail(g, MM_E_UNSUPPORTED, "%s gives no %s", s->towers[t].model->class_name, state);
}

static mmi_tokens tower_tokens(build_state *s, size_t t, const char *state)
{
    mmi_graph *g = s->io->g;
    mmi_tokens out = {0};

    if (!s->towers[t].g) build_tower(s, t);
    if (g->status) return out;
    out.states = mmi_io_find_output(&s->towers[t], state);
    if (!out.states || mmi_graph_look(g, out.states)->rank != 3) {
        mmi_graph_fail(g, MM_E_UNSUPPORTED, "%s gives no %s of tokens", s->towers[t].model->class_name, state);
        return out;
    }
    if (t == MMI_VIDEO_TOWER) out.states = join_frames(s, out.states);
    if (t == MMI_TEXT_TOWER) out.mask = s->mask;
    return out;
}

static mmi_tokens read_tokens(build_state *s, const mmi_reader *from)
{
    const mmi_fusion_config *f = &s->c->fusion;
    mmi_tokens streams[MMI_MAX_STREAMS];
    size_t n = 0;

    if (from->input != MMI_FUSED) return tower_tokens(s, from->input, from->state);
    if (!s->joined) {
        for (size_t t = 0; t < MMI_TOWERS; t++)
            if (s->c->towers & 1u << t) streams[n++] = tower_tokens(s, t, "last_hidden_state");
        if (!s->io->g->status) s->trunk_mask = mmi_fusion_run(s->io, f, streams, s->trunks);
        s->joined = 1;
    }
    return (mmi_tokens){s->trunks[from->trunk][from->depth < 0 ? f->stack.layers : from->depth], s->trunk_mask};
}

/* Whether the inputs that a reader needs are there. */
static int can_read(const build_state *s, const mmi_reader *from)
{
    unsigned need = from->input == MMI_FUSED ? s->c->towers : 1u << from->input;

    for (size_t t = 0; t < MMI_TOWERS; t++)
        if (need & 1u << t && !mmi_io_find_input(s->io, inputs[t])) return 0;
    return 1;
}

/* What nobody named is made where it can be; what is named has to be. */
static int is_due(const build_state *s, const mmi_reader *from, const char *output)
{
    return s->io->wanted ? mmi_io_wants(s->io, output) : can_read(s, from);
}

static void compare(build_state *s, const mmi_head *h)
{
    mmi_io *io = s->io;
    mmi_graph *g = io->g;
    mmi_value x[2] = {0}, scale = mmi_io_weight(io, h->slot + 2, -1), bias = h->sigmoid ? mmi_io_weight(io, h->slot + 3, -1) : 0;
    int scores = !io->wanted || mmi_io_wants(io, h->logits[0]) || mmi_io_wants(io, h->logits[1]);

    for (int i = 0; i < 2; i++) {
        if (!is_due(s, &h->from[i], h->embeds[i]) && !(io->wanted && scores)) continue;
        x[i] = h->pooled ? tower_vector(s, h->from[i].input, h->from[i].state) : mmi_pool_tokens(io, read_tokens(s, &h->from[i]), h->from[i].pool);
        x[i] = mmi_l2_normalize(g, mmi_linear(g, x[i], mmi_io_weight(io, h->slot + i, -1), 0, MMI_ACT_NONE));
        mmi_io_output(io, h->embeds[i], x[i]);
    }
    for (int i = 0; i < 2 && x[0] && x[1]; i++)
        if (mmi_io_wants(io, h->logits[i])) mmi_io_output(io, h->logits[i], mmi_similarity(g, x[i], x[1 - i], scale, bias));
}

static void build_heads(build_state *s)
{
    mmi_io *io = s->io;

    for (size_t i = 0; i < s->c->n_heads && !io->g->status; i++) {
        const mmi_head *h = &s->c->heads[i];
        mmi_value x;
        if (h->kind == MMI_HEAD_CONTRASTIVE) {
            compare(s, h);
        } else if (is_due(s, &h->from[0], h->output)) {
            x = mmi_pool_tokens(io, read_tokens(s, &h->from[0]), h->from[0].pool);
            mmi_io_output(io, h->output, mmi_linear(io->g, x, mmi_io_weight(io, h->slot, -1), mmi_io_weight(io, h->slot + 1, -1), MMI_ACT_NONE));
        }
    }
}

/* What the decoder reads, as wide as it is: [B, N, D] and a mask. */
static mmi_tokens features(build_state *s)
{
    const mmi_composite_config *c = s->c;
    mmi_io *io = s->io;
    mmi_graph *g = io->g;
    mmi_tokens x = read_tokens(s, &c->decoder);
    int64_t N;

    if (g->status) return x;
    N = mmi_graph_look(g, x.states)->shape[1];
    if (N <= c->skip) {
        mmi_graph_fail(g, MM_E_SHAPE, "the projector skips %lld of %lld tokens", (long long)c->skip, (long long)N);
        return x;
    }
    if (c->skip) {
        x.states = mmi_slice(g, x.states, 1, c->skip, N - c->skip);
        if (x.mask) x.mask = mmi_slice(g, x.mask, 1, c->skip, N - c->skip);
    }
    x.states = mmi_linear(g, x.states, mmi_io_weight(io, c->projector, -1), mmi_io_weight(io, c->projector + 1, -1),
                          c->projector_layers == 2 ? c->projector_act : MMI_ACT_NONE);
    if (c->projector_layers == 2)
        x.states = mmi_linear(g, x.states, mmi_io_weight(io, c->projector + 2, -1), mmi_io_weight(io, c->projector + 3, -1), MMI_ACT_NONE);
    return x;
}

/* The features in the places of their tokens, as LLaVA has it. */
static void decode_among(build_state *s)
{
    mmi_io *io = s->io;
    mmi_fused media = {io->model->info.image_token, s->c->features, 0};
    const mmi_value_info *v;

    if (s->c->reads) media.features = mmi_io_optional(io, media.name, MM_DTYPE_F32, 2);
    if (s->c->reads && !media.features && can_read(s, &s->c->decoder)) {
        media.features = features(s).states;
        if (io->g->status) return;
        v = mmi_graph_look(io->g, media.features);
        media.features = mmi_reshape(io->g, media.features, 2, (int64_t[]){v->shape[0] * v->shape[1], v->shape[2]});
    }
    mmi_fusion_decode(io, MMI_DECODER, &media, s->c->reads ? 1 : 0);
}

/* A decoder that attends across to them, as VisionEncoderDecoder has it. */
static void decode_across(build_state *s)
{
    static const char *const logits[] = {"logits", NULL};
    mmi_io *io = s->io, part;
    mmi_tokens source = {0};

    if (!io->cached) source = features(s);
    mmi_io_part(&part, io, MMI_DECODER, logits);
    mmi_io_give(&part, "encoder_hidden_states", source.states);
    if (!io->encode) {
        mmi_io_give(&part, "encoder_attention_mask", source.mask);
        mmi_io_give(&part, "input_ids", mmi_io_require(io, "decoder_input_ids", MM_DTYPE_I32, 2));
        mmi_io_give(&part, "position_ids", mmi_io_require(io, io->cached ? "position_ids" : "decoder_position_ids", MM_DTYPE_I32, 2));
        mmi_io_give(&part, "attention_mask", mmi_io_optional(io, "decoder_attention_mask", MM_DTYPE_I32, 2));
    }
    mmi_io_build(&part);
    if (!io->encode) mmi_io_output(io, "logits", mmi_io_find_output(&part, "logits"));
}

/* Whether an output is asked for that no head has given, or its ids are there where nothing is named. */
static int decoder_is_due(const build_state *s)
{
    const mmi_io *io = s->io;

    if (!io->model->parts[MMI_DECODER] || io->g->status) return 0;
    if (io->cached || io->encode) return 1;
    if (!io->wanted) return mmi_io_find_input(io, io->model->info.ids_input ? io->model->info.ids_input : "input_ids") != 0;
    for (const char *const *w = io->wanted; *w; w++)
        if (!mmi_io_find_output(io, *w)) return 1;
    return 0;
}

/* Nothing can be made of the inputs: the first that is missing. */
static void refuse_nothing(const build_state *s)
{
    const char *name = s->io->model->info.ids_input ? s->io->model->info.ids_input : inputs[MMI_TEXT_TOWER];

    for (size_t t = MMI_TOWERS; t-- > 0;)
        if (s->c->towers & 1u << t && !mmi_io_find_input(s->io, inputs[t])) name = inputs[t];
    mmi_graph_fail(s->io->g, MM_E_ARGUMENT, "input %s is missing", name);
}

/* input_ids, attention_mask, position_ids, token_type_ids [B, T]; pixel_values [B, M, H, W]; input_features [B, bands, T]; pixel_values_videos
 * [B, F, M, H, W] -> "<head>_logits" [B, size]; image_embeds, text_embeds, .. [B, E] of unit length, logits_per_image, .. [B, B]; of a decoder what it gives,
 * image_features (or those of what it reads) [N, D]; one that attends across reads decoder_input_ids, decoder_attention_mask [B, T] */
static void build(mmi_io *io)
{
    build_state s = {.io = io, .c = io->model->config};

    if (!io->cached && !io->encode) build_heads(&s);
    if (decoder_is_due(&s)) {
        if (io->model->info.fusion == MMI_FUSION_CROSS) decode_across(&s);
        else decode_among(&s);
    }
    if (io->g->status || io->encode) return;
    if (!io->n_outputs && !io->wanted) refuse_nothing(&s);
    for (const char *const *w = io->wanted; w && *w; w++)
        if (!strstr(*w, "attentions") && !mmi_io_find_output(io, *w)) /* attention is given by blocks, where it is */
            mmi_graph_fail(io->g, MM_E_UNSUPPORTED, "%s gives no %s", io->model->path, *w);
}

static mm_status write_prompt(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count, mmi_text *out)
{
    size_t n;
    mmi_fusion_mark mark = {mmi_tokenizer_token(m->tokenizer, m->info.image_token, &n), "", "\n", MMI_IMAGE, NULL};

    if (!mark.mark || !n) return mmi_fail(ctx, MM_E_UNSUPPORTED, "the tokenizer of %s has no token %d for pictures", m->path, m->info.image_token);
    return mmi_fusion_write(ctx, m, text, media, count, &mark, 1, out);
}

static const char *const classes[] = {"MMModel", NULL}, *const prefixes[] = {"", NULL}, *const text_prefixes[] = {"text_model.", NULL},
                         *const vision_prefixes[] = {"vision_model.", NULL}, *const audio_prefixes[] = {"audio_model.", NULL},
                         *const video_prefixes[] = {"video_model.", NULL}, *const decoder_prefixes[] = {"decoder.", NULL};

static const mmi_part_row parts[] = {
    {"text_config", NULL, MMI_ROLE_ENCODER, text_prefixes, 0, NULL},   {"vision_config", NULL, MMI_ROLE_ENCODER, vision_prefixes, 0, NULL},
    {"audio_config", NULL, MMI_ROLE_ENCODER, audio_prefixes, 0, NULL}, {"video_config", NULL, MMI_ROLE_ENCODER, video_prefixes, 0, NULL},
    {"decoder_config", NULL, MMI_ROLE_DECODER, decoder_prefixes, 0, NULL},
};

static int head(const mm_model *m, const char *name, const char *const **labels, size_t *count)
{
    const mmi_composite_config *c = m->config;

    for (size_t i = 0; i < c->n_heads; i++) {
        const mmi_head *h = &c->heads[i];
        if (strcmp(h->name, name) || h->kind != MMI_HEAD_CLASSIFICATION) continue;
        *labels = h->labels;
        *count = (size_t)h->size;
        return 1;
    }
    return 0;
}

const mmi_architecture mmi_composite = {
    .name = "mm", .classes = classes, .prefixes = prefixes, .processor = "ViTImageProcessor", .config_bytes = sizeof(mmi_composite_config),
    .read_hf = mmi_composite_read, .prepare = prepare, .build = build, .head = head, .write_prompt = write_prompt, .parts = parts, .n_parts = sizeof parts / sizeof *parts, .free_parts = 1,
};
