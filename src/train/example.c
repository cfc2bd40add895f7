/* SPDX-License-Identifier: MIT */
#include "example.h"

#include <stdio.h>
#include <string.h>

#include "audio.h"
#include "corruption.h"
#include "embedding.h"
#include "forward.h"
#include "frames.h"
#include "label_mask.h"
#include "media.h"
#include "mm_audio.h"
#include "mm_image.h"
#include "mm_video.h"
#include "plan.h"
#include "size.h"
#include "text.h"

#define TRY(call) \
    do { \
        const mm_status tried = (call); \
        if (tried) return tried; \
    } while (0)

static int answers(mmi_objective_kind k)
{
    return k == MMI_OBJECTIVE_CAUSAL_LM || k == MMI_OBJECTIVE_CAPTION || k == MMI_OBJECTIVE_VQA || k == MMI_OBJECTIVE_CHAT || k == MMI_OBJECTIVE_DISTILLATION ||
           k == MMI_OBJECTIVE_DPO;
}

static int is_seq2seq(const mm_model *m) { return m->info.ids_input && !strcmp(m->info.ids_input, "decoder_input_ids"); }

static mm_status lacks(mm_context *ctx, const mm_model *m, const mmi_train_task *t, const char *what)
{
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "task %s: %s has no %s, which objective %s needs", t->name, m->class_name, what, mmi_objective_name(t->objective.kind));
}

static mm_status read_labels(mm_context *ctx, const mm_model *model, const mmi_train_task *task, mmi_label_list *out)
{
    const char *const *names = NULL;
    size_t count = 0;
    char number[24];

    if (!mmi_model_head(model, task->head, &names, &count)) return lacks(ctx, model, task, task->head ? task->head : "classes");
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(number, sizeof number, "%zu", i);
        TRY(mmi_label_list_add(ctx, out, names && names[i] ? names[i] : number));
    }
    return MM_OK;
}

/* Ids of <extra_id_0>, <extra_id_1>, ... that descend, as T5's tokenizer has them. */
static void find_sentinels(mmi_example_maker *m)
{
    char name[32];

    for (size_t i = 0; i < 1000; i++) {
        const int n = snprintf(name, sizeof name, "<extra_id_%zu>", i);
        const int32_t id = mmi_tokenizer_find(m->model->tokenizer, name, (size_t)n);
        if (!i) m->sentinel = id;
        if (id < 0 || id != m->sentinel - (int32_t)i) break;
        m->sentinels = i + 1;
    }
}

/* Objectives that read texts whatever the model is; those of a picture's class or number may. */
static int reads_text(mmi_objective_kind k)
{
    return answers(k) || k == MMI_OBJECTIVE_MASKED_LM || k == MMI_OBJECTIVE_SPAN_CORRUPTION || k == MMI_OBJECTIVE_CONTRASTIVE || k == MMI_OBJECTIVE_SIGMOID_CONTRASTIVE ||
           k == MMI_OBJECTIVE_MATCHING;
}

/* By what the tokenizer's folder says, else by the names that such tokens have. */
static int32_t mask_token(const mmi_tokenizer *t)
{
    int32_t id = mmi_tokenizer_special(t, MMI_SPECIAL_MASK);

    if (id < 0) id = mmi_tokenizer_find(t, "[MASK]", 6);
    return id < 0 ? mmi_tokenizer_find(t, "<mask>", 6) : id;
}

mm_status mmi_example_maker_init(mm_context *ctx, const mm_model *model, const mmi_train_task *task, const mmi_json *doc, uint64_t seed, int trains, mmi_example_maker *m)
{
    const mmi_objective_kind k = task->objective.kind;

    memset(m, 0, sizeof *m);
    m->model = model;
    m->task = task;
    m->seed = seed;
    if (trains && task->augment) {
        TRY(mmi_augment_from_json(ctx, doc, task->augment, &m->augment));
        m->augments = 1;
    }
    if (k == MMI_OBJECTIVE_CLASSIFICATION) TRY(read_labels(ctx, model, task, &m->labels));
    if (reads_text(k) && !model->tokenizer) return lacks(ctx, model, task, "tokenizer");
    if (k == MMI_OBJECTIVE_MASKED_LM && mask_token(model->tokenizer) < 0) return lacks(ctx, model, task, "mask token");
    if (k == MMI_OBJECTIVE_CHAT && !model->chat_template) return lacks(ctx, model, task, "chat template");
    if (k == MMI_OBJECTIVE_SPAN_CORRUPTION) {
        if (!is_seq2seq(model) || !model->n_start_tokens) return lacks(ctx, model, task, "encoder and decoder");
        find_sentinels(m);
        if (!m->sentinels) return lacks(ctx, model, task, "<extra_id_0> token");
    }
    if ((k == MMI_OBJECTIVE_MAE || k == MMI_OBJECTIVE_DENOISING_IMAGE) && !model->info.sees) return lacks(ctx, model, task, "vision tower");
    return MM_OK;
}

size_t mmi_example_most_tokens(const mmi_example_maker *m)
{
    const size_t most = (size_t)m->task->max_tokens, positions = (size_t)m->model->info.context;
    return positions ? mmi_size_min(most, positions) : most;
}

void mmi_example_maker_clear(mmi_example_maker *m) { mmi_label_list_clear(&m->labels); }

void mmi_example_clear(mmi_example *e)
{
    for (int i = 0; i < 2; i++) {
        mmi_free(e->written[i].ids.data);
        mmi_free(e->written[i].positions.data);
        mmi_free(e->written[i].labels.data);
    }
    mmi_free(e->source.data);
    mm_tensor_map_destroy(e->media);
    mm_tensor_map_destroy(e->clean);
    mmi_free(e->noise);
    mmi_free(e->values);
    memset(e, 0, sizeof *e);
}

static mm_status missing(mm_context *ctx, const mmi_record *r, const char *key)
{
    return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" is missing", r->where, key);
}

/* Pictures and sound. */

/* How many tokens stand for it: the graph's shapes tell without a run. */
static mm_status measure(mm_context *ctx, mmi_example_maker *m, mmi_medium *medium)
{
    static const char *const wanted[] = {"image_features", NULL};
    const mm_tensor *pixels = mm_tensor_map_get(medium->inputs, "pixel_values");
    const int known = pixels && mm_tensor_rank(pixels) == 4;
    mmi_value features;
    mmi_feed f;
    mm_status st;

    if (m->model->info.fusion != MMI_FUSION_TOKENS) return MM_OK;
    if (known && !memcmp(m->picture.shape, mm_tensor_shape(pixels), sizeof m->picture.shape)) {
        medium->tokens = m->picture.tokens;
        return MM_OK;
    }
    st = mmi_feed_begin(ctx, m->model, medium->inputs, &f);
    if (!st) {
        f.io.wanted = wanted;
        m->model->arch->build(&f.io);
        st = f.io.g->status;
    }
    features = st ? 0 : mmi_io_find_output(&f.io, wanted[0]);
    if (!st && !features) st = mmi_fail(ctx, MM_E_INTERNAL, "%s makes no image_features", m->model->class_name);
    if (!st) medium->tokens = (size_t)(mmi_graph_elements(f.io.g, features) / mmi_graph_look(f.io.g, features)->shape[mmi_graph_look(f.io.g, features)->rank - 1]);
    if (!st && known) {
        memcpy(m->picture.shape, mm_tensor_shape(pixels), sizeof m->picture.shape);
        m->picture.tokens = medium->tokens;
    }
    mmi_feed_end(&f);
    return st;
}

static mm_status see(mm_context *ctx, mmi_example_maker *m, const char *path, uint64_t epoch, size_t index, mmi_medium *out)
{
    mm_image *image = NULL, *changed = NULL;
    mm_status st = mmi_image_read(ctx, path, MM_IMAGE_MAX_PIXELS, &image);

    if (!st && m->augments) st = mmi_augment_run(ctx, &m->augment, m->seed, epoch, index, image, &changed);
    if (!st) st = mmi_media_image(ctx, m->model, changed ? changed : image, out);
    if (!st) st = measure(ctx, m, out);
    mmi_image_destroy(image);
    mmi_image_destroy(changed);
    return st;
}

/* The record's media; those of several pictures become one map, in which tensors lie one behind another. */
static mm_status take_media(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, uint64_t epoch, size_t index, mmi_medium *media, size_t *n)
{
    mm_audio *audio = NULL;
    mm_video *video = NULL;

    for (size_t i = 0; i < r->image_count; i++, ++*n) TRY(see(ctx, m, r->images[i], epoch, index, &media[*n]));
    if (r->audio) {
        mm_status st = mmi_audio_read(ctx, r->audio, &audio);
        if (!st) st = mmi_media_audio(ctx, m->model, audio, &media[*n]);
        *n += !st;
        mmi_audio_destroy(audio);
        if (st) return st;
    }
    if (r->video) {
        mm_status st = mmi_video_open(ctx, r->video, MM_IMAGE_MAX_PIXELS, 0, &video);
        if (!st) st = mmi_media_video(ctx, m->model, video, &media[*n]);
        *n += !st;
        mmi_video_destroy(video);
        if (st) return st;
    }
    return MM_OK;
}

static mm_status keep_media(mm_context *ctx, mmi_medium *media, size_t n, mmi_example *e)
{
    const mm_tensor_map *maps[64];

    if (!n) return MM_OK;
    if (n > sizeof maps / sizeof *maps) return mmi_fail(ctx, MM_E_LIMIT, "%zu media in one example, allowed are %zu", n, sizeof maps / sizeof *maps);
    if (n == 1) {
        e->media = media[0].inputs;
        media[0].inputs = NULL;
        return MM_OK;
    }
    for (size_t i = 0; i < n; i++) maps[i] = media[i].inputs;
    return mmi_tensor_maps_stack(ctx, maps, n, &e->media);
}

/* Texts. */

static mm_status encode(mm_context *ctx, const mmi_example_maker *m, const char *text, size_t n, int special, mmi_ids *ids)
{
    return mmi_tokenizer_encode(ctx, m->model->tokenizer, text, n, special, 1, ids);
}

/* Ids from `first` on are labels, but for the first of all, which nothing comes before. What no label needs is cut off at the end. */
static mm_status count_from(mm_context *ctx, mmi_written *w, size_t first)
{
    for (size_t t = first ? first : 1; t < w->ids.count; t++)
        if (mmi_ids_add(ctx, &w->positions, (int32_t)t - 1) || mmi_ids_add(ctx, &w->labels, w->ids.data[t])) return MM_E_NOMEM;
    if (w->labels.count) w->ids.count = (size_t)w->positions.data[w->positions.count - 1] + 1;
    return MM_OK;
}

static mm_status count_masked(mm_context *ctx, mmi_written *w, const mmi_ids *mask)
{
    for (size_t t = 1; t < w->ids.count; t++)
        if (mask->data[t] && (mmi_ids_add(ctx, &w->positions, (int32_t)t - 1) || mmi_ids_add(ctx, &w->labels, w->ids.data[t]))) return MM_E_NOMEM;
    if (w->labels.count) w->ids.count = (size_t)w->positions.data[w->positions.count - 1] + 1;
    return MM_OK;
}

static int32_t end_token(const mm_model *m)
{
    const int32_t eos = mmi_tokenizer_special(m->tokenizer, MMI_SPECIAL_EOS);
    return eos >= 0 ? eos : mmi_tokenizer_special(m->tokenizer, MMI_SPECIAL_SEP);
}

static mm_status add_end(mm_context *ctx, const mm_model *m, mmi_ids *ids)
{
    const int32_t end = end_token(m);
    return end >= 0 && (!ids->count || ids->data[ids->count - 1] != end) && mmi_ids_add(ctx, ids, end) ? MM_E_NOMEM : MM_OK;
}

/* Too long an answer is an error, since what is left would teach to break off; other texts are cut. */
static mm_status fit(mm_context *ctx, const mmi_example_maker *m, const mmi_record *r, mmi_written *w, int cut)
{
    const size_t most = mmi_example_most_tokens(m);

    if (w->ids.count > most && !cut)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: %zu tokens, allowed are %zu", r->where, w->ids.count, most);
    w->ids.count = mmi_size_min(w->ids.count, most);
    return MM_OK;
}

/* Question or prompt as ids, the media's placeholders widened, as a session reads it. */
static mm_status read_prompt(mm_context *ctx, const mmi_example_maker *m, const char *text, size_t n, const mmi_medium *media, size_t n_media, mmi_ids *ids)
{
    const mm_model *model = m->model;
    mmi_text plain = {0}, wide = {0};
    mm_status st;

    if (!n_media || model->info.fusion != MMI_FUSION_TOKENS || !model->arch->write_prompt) return encode(ctx, m, text, n, 1, ids);
    st = mmi_text_append(ctx, &plain, text, n) ? MM_E_NOMEM : MM_OK;
    if (!st) st = model->arch->write_prompt(ctx, model, plain.data, media, n_media, &wide);
    if (!st) st = encode(ctx, m, wide.data, wide.size, !model->info.prefix, ids);
    mmi_text_clear(&plain);
    mmi_text_clear(&wide);
    return st;
}

/* The task's prompt with the question put in, or the question. */
static mm_status fill_prompt(mm_context *ctx, const char *pattern, const char *question, mmi_text *out)
{
    static const char mark[] = "{question}";
    const char *at = pattern ? strstr(pattern, mark) : NULL;

    if (!pattern) return mmi_text_append(ctx, out, question ? question : "", question ? strlen(question) : 0) ? MM_E_NOMEM : MM_OK;
    if (!at) return mmi_text_format(ctx, out, "%s", pattern) ? MM_E_NOMEM : MM_OK;
    return mmi_text_format(ctx, out, "%.*s%s%s", (int)(at - pattern), pattern, question ? question : "", at + sizeof mark - 1) ? MM_E_NOMEM : MM_OK;
}

/* A chat as the chat template writes it, with what stands for `images` pictures in the first turn of the user's; a template of texts alone
 * leaves them out. `prompt`: up to where an answer begins. */
static mm_status render(mm_context *ctx, const mm_model *model, const mmi_chat_message *messages, size_t count, size_t images, int prompt, mmi_text *out)
{
    const mmi_chat_options options = {.add_generation_prompt = prompt, .bos_token = model->bos_text, .eos_token = model->eos_text};
    mmi_chat_message *with = NULL;
    mmi_chat_part *parts = NULL, *next;
    size_t asks = 0;
    mm_status st = MM_OK;

    while (asks < count && strcmp(messages[asks].role, "user")) asks++;
    if (images && asks < count && model->arch->write_prompt) {
        with = mmi_alloc_array(ctx, count, sizeof *with);
        next = parts = mmi_zalloc_array(ctx, count + images, sizeof *parts);
        if (!with || !parts) st = MM_E_NOMEM;
        if (st) goto cleanup;
        for (size_t i = 0; i < count; i++) { /* templates of pictures want all of them as lists of parts */
            with[i] = messages[i];
            if (!messages[i].content) continue;
            with[i].content = NULL;
            with[i].parts = next;
            for (size_t k = 0; i == asks && k < images; k++) (next++)->type = "image";
            *next++ = (mmi_chat_part){"text", messages[i].content};
            with[i].part_count = (size_t)(next - with[i].parts);
        }
        if (!mmi_chat_template_render(ctx, model->chat_template, with, count, &options, out)) goto cleanup;
    }
    st = mmi_chat_template_render(ctx, model->chat_template, messages, count, &options, out);
cleanup:
    mmi_free(with);
    mmi_free(parts);
    return st;
}

/* The user's turn up to where the answer begins; without a template the text itself. */
static mm_status render_prompt(mm_context *ctx, const mmi_example_maker *m, const char *text, size_t images, mmi_text *out)
{
    const mmi_chat_message message = {.role = "user", .content = text};

    if (!m->model->chat_template || m->task->prompt) return mmi_text_format(ctx, out, "%s", text) ? MM_E_NOMEM : MM_OK;
    return render(ctx, m->model, &message, 1, images, 1, out);
}

mm_status mmi_example_prompt(mm_context *ctx, const mmi_example_maker *m, const mmi_record *r, mmi_text *out)
{
    const char *question = r->question ? r->question : r->prompt;
    mmi_text text = {0};
    mm_status st = fill_prompt(ctx, m->task->prompt, question, &text);

    if (!st && is_seq2seq(m->model)) st = mmi_text_append(ctx, out, text.data, text.size) ? MM_E_NOMEM : MM_OK;
    else if (!st) st = render_prompt(ctx, m, text.data, m->model->info.fusion == MMI_FUSION_TOKENS ? r->image_count : 0, out);
    mmi_text_clear(&text);
    return st;
}

/* An answer behind what was asked: the source of an encoder-decoder, or the beginning of the sequence. */
static mm_status answer(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, const char *question, const char *reply, const mmi_medium *media, size_t n_media,
                        mmi_example *e, mmi_written *w)
{
    const mm_model *model = m->model;
    mmi_text prompt = {0}, text = {0};
    size_t first;
    mm_status st = fill_prompt(ctx, m->task->prompt, question, &text);

    if (is_seq2seq(model)) {
        for (size_t i = 0; i < model->n_start_tokens && !st; i++) st = mmi_ids_add(ctx, &w->ids, model->start_tokens[i]) ? MM_E_NOMEM : MM_OK;
        if (!st && model->info.text_is_source && !e->source.count && text.size) st = mmi_embedding_ids(ctx, model, text.data, mmi_example_most_tokens(m), &e->source);
        if (!st && !model->info.text_is_source && text.size) st = encode(ctx, m, text.data, text.size, 0, &w->ids);
    } else {
        if (!st) st = render_prompt(ctx, m, text.data ? text.data : "", model->info.fusion == MMI_FUSION_TOKENS ? n_media : 0, &prompt);
        if (!st) st = read_prompt(ctx, m, prompt.data ? prompt.data : "", prompt.size, media, n_media, &w->ids);
        if (!st && model->info.fusion == MMI_FUSION_CROSS && !w->ids.count)
            for (size_t i = 0; i < model->n_start_tokens && !st; i++) st = mmi_ids_add(ctx, &w->ids, model->start_tokens[i]) ? MM_E_NOMEM : MM_OK;
    }
    first = w->ids.count;
    if (!st) st = encode(ctx, m, reply, strlen(reply), 0, &w->ids);
    if (!st) st = add_end(ctx, model, &w->ids);
    if (!st && w->ids.count == first) st = mmi_fail(ctx, MM_E_FORMAT, "%s: the answer has no tokens", r->where);
    if (!st) st = fit(ctx, m, r, w, 0);
    if (!st) st = count_from(ctx, w, first);
    mmi_text_clear(&text);
    mmi_text_clear(&prompt);
    return st;
}

/* What a chat is written with. */
typedef struct {
    const mm_model *model;
    const mmi_medium *media;
    size_t n_media;
} chat_media;

static mm_status write_chat(mm_context *ctx, const void *self, const mmi_chat_message *messages, size_t count, int prompt, mmi_text *out)
{
    const chat_media *c = self;
    mmi_text text = {0};
    mm_status st;

    if (!c->n_media) return render(ctx, c->model, messages, count, 0, prompt, out);
    st = render(ctx, c->model, messages, count, c->n_media, prompt, &text);
    if (!st) st = c->model->arch->write_prompt(ctx, c->model, text.data ? text.data : "", c->media, c->n_media, out);
    mmi_text_clear(&text);
    return st;
}

static mm_status chat(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, const mmi_medium *media, size_t n_media, mmi_written *w)
{
    const mm_model *model = m->model;
    const chat_media with = {model, media, model->info.fusion == MMI_FUSION_TOKENS ? n_media : 0};
    mmi_ids mask = {0};
    mm_status st;

    if (!r->message_count) return missing(ctx, r, "messages");
    if (!model->chat_template) return lacks(ctx, model, m->task, "chat template");
    if (n_media && !(with.n_media && model->arch->write_prompt)) return lacks(ctx, model, m->task, "place for pictures in a chat");
    st = mmi_label_mask_chat(ctx, model->tokenizer, write_chat, &with, r->messages, r->message_count, &w->ids, &mask);
    if (!st) st = fit(ctx, m, r, w, !n_media);
    if (!st) st = count_masked(ctx, w, &mask);
    if (!st && !w->labels.count) st = mmi_fail(ctx, MM_E_LIMIT, "%s: no answer within %zu tokens", r->where, mmi_example_most_tokens(m));
    mmi_free(mask.data);
    return st;
}

static mm_status plain_text(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, mmi_written *w)
{
    if (!r->text) return missing(ctx, r, "text");
    TRY(encode(ctx, m, r->text, strlen(r->text), 1, &w->ids));
    TRY(add_end(ctx, m->model, &w->ids));
    TRY(fit(ctx, m, r, w, 1));
    if (w->ids.count < 2) return mmi_fail(ctx, MM_E_FORMAT, "%s: a text of %zu tokens, nothing is left to predict", r->where, w->ids.count);
    return m->task->pack ? MM_OK : count_from(ctx, w, 1); /* where packed ones count is known when they lie there */
}

/* A tenth of the chosen tokens stay, a tenth become others: both count, as they are labels. */
static mm_status masked(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, uint64_t key, mmi_written *w)
{
    const mm_model *model = m->model;
    const mmi_masking spec = {m->task->mask_probability, 0.8, 0.1, mask_token(model->tokenizer), (int32_t)model->info.vocabulary};
    unsigned char *special;
    int32_t *labels;
    mm_status st;

    if (!r->text) return missing(ctx, r, "text");
    TRY(encode(ctx, m, r->text, strlen(r->text), 1, &w->ids));
    w->ids.count = mmi_size_min(w->ids.count, mmi_example_most_tokens(m));
    special = mmi_zalloc(ctx, w->ids.count);
    labels = mmi_alloc_array(ctx, w->ids.count, sizeof *labels);
    st = special && labels ? MM_OK : MM_E_NOMEM;
    for (size_t t = 0; t < w->ids.count && !st; t++)
        for (int s = 0; s < MMI_SPECIAL_COUNT; s++) special[t] |= w->ids.data[t] == mmi_tokenizer_special(model->tokenizer, (mmi_special)s);
    if (!st) st = mmi_corrupt_masked(ctx, &spec, key, w->ids.data, special, NULL, w->ids.count, w->ids.data, labels);
    for (size_t t = 0; t < w->ids.count && !st; t++)
        if (labels[t] >= 0 && (mmi_ids_add(ctx, &w->positions, (int32_t)t) || mmi_ids_add(ctx, &w->labels, labels[t]))) st = MM_E_NOMEM;
    if (!st && !w->labels.count) st = mmi_fail(ctx, MM_E_FORMAT, "%s: no token to hide", r->where);
    mmi_free(special);
    mmi_free(labels);
    return st;
}

static mm_status spans(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, uint64_t key, mmi_example *e)
{
    const mmi_spans s = {m->task->mask_probability, m->task->mean_span, m->sentinel, m->sentinels, mmi_tokenizer_special(m->model->tokenizer, MMI_SPECIAL_EOS)};
    mmi_written *w = &e->written[0];
    mmi_ids ids = {0};
    int32_t *targets = NULL, *inputs = NULL;
    size_t n_inputs = 0, n_targets = 0;
    mm_status st;

    if (!r->text) return missing(ctx, r, "text");
    st = encode(ctx, m, r->text, strlen(r->text), 0, &ids);
    ids.count = mmi_size_min(ids.count, mmi_example_most_tokens(m));
    if (!st && ids.count < 2) st = mmi_fail(ctx, MM_E_FORMAT, "%s: a text of %zu tokens, too short for a span", r->where, ids.count);
    inputs = mmi_alloc_array(ctx, ids.count + 1, sizeof *inputs);
    targets = mmi_alloc_array(ctx, ids.count + 1, sizeof *targets);
    if (!st && (!inputs || !targets)) st = MM_E_NOMEM;
    if (!st) st = mmi_corrupt_spans(ctx, &s, key, ids.data, ids.count, inputs, &n_inputs, targets, &n_targets);
    for (size_t i = 0; i < n_inputs && !st; i++) st = mmi_ids_add(ctx, &e->source, inputs[i]) ? MM_E_NOMEM : MM_OK;
    for (size_t i = 0; i < m->model->n_start_tokens && !st; i++) st = mmi_ids_add(ctx, &w->ids, m->model->start_tokens[i]) ? MM_E_NOMEM : MM_OK;
    for (size_t i = 0; i < n_targets && !st; i++) st = mmi_ids_add(ctx, &w->ids, targets[i]) ? MM_E_NOMEM : MM_OK;
    if (!st) st = count_from(ctx, w, m->model->n_start_tokens);
    mmi_free(ids.data);
    mmi_free(inputs);
    mmi_free(targets);
    return st;
}

const char *mmi_example_text(const mmi_record *r) { return r->caption ? r->caption : r->text ? r->text : r->question; }

/* A text that a tower reads: of a pair, of a class, of a number. */
static mm_status tower_text(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, mmi_example *e)
{
    const mm_model *model = m->model;
    const char *text = mmi_example_text(r);
    const int32_t pad = mmi_tokenizer_special(model->tokenizer, MMI_SPECIAL_PAD);

    if (!text) return missing(ctx, r, "text");
    TRY(mmi_embedding_ids(ctx, model, text, mmi_example_most_tokens(m), &e->source));
    while (model->info.pads_text && e->source.count < (size_t)model->info.context)
        if (mmi_ids_add(ctx, &e->source, pad >= 0 ? pad : (int32_t)model->info.pad_token)) return MM_E_NOMEM;
    return MM_OK;
}

static mm_status take_values(mm_context *ctx, const mmi_record *r, mmi_example *e)
{
    if (!r->value_count) return missing(ctx, r, "value");
    e->values = mmi_alloc_array(ctx, r->value_count, sizeof *e->values);
    if (!e->values) return MM_E_NOMEM;
    memcpy(e->values, r->values, r->value_count * sizeof *e->values);
    e->n_values = r->value_count;
    return MM_OK;
}

/* Pixels of the clean picture, and the same with noise as the model's input. */
static mm_status add_noise(mm_context *ctx, const mmi_example_maker *m, uint64_t key, mmi_example *e)
{
    mm_tensor *clean = mm_tensor_map_get(e->media, "pixel_values"), *noisy = NULL;
    mm_status st;

    st = mm_tensor_map_create(ctx, &e->clean);
    if (!st) st = mm_tensor_map_set(ctx, e->clean, "clean_pixel_values", clean);
    if (!st) st = mm_tensor_create(ctx, MM_DTYPE_F32, mm_tensor_rank(clean), mm_tensor_shape(clean), &noisy);
    if (!st) mmi_corrupt_gaussian(key, m->task->noise, mm_tensor_const_data(clean), (size_t)mm_tensor_elements(clean), mm_tensor_data(noisy));
    if (!st) st = mm_tensor_map_set(ctx, e->media, "pixel_values", noisy);
    mm_tensor_release(noisy);
    return st;
}

static mm_status hide_patches(mm_context *ctx, const mmi_example_maker *m, uint64_t key, mmi_example *e)
{
    const mm_tensor *pixels = mm_tensor_map_get(e->media, "pixel_values");
    const int64_t patch = m->model->info.patch;

    if (!pixels || mm_tensor_rank(pixels) != 4 || !patch) return lacks(ctx, m->model, m->task, "patches");
    e->patches = (size_t)(mm_tensor_shape(pixels)[2] / patch * (mm_tensor_shape(pixels)[3] / patch));
    e->noise = mmi_alloc_array(ctx, e->patches, sizeof *e->noise);
    if (!e->noise) return MM_E_NOMEM;
    mmi_masking_noise(key, e->patches, e->noise);
    return MM_OK;
}

static mm_status make(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, uint64_t key, const mmi_medium *media, size_t n_media, mmi_example *e)
{
    mmi_written *w = e->written;
    size_t label = 0;

    switch (m->task->objective.kind) {
    case MMI_OBJECTIVE_CAUSAL_LM: return plain_text(ctx, m, r, w);
    case MMI_OBJECTIVE_DISTILLATION:
        if (r->message_count) return chat(ctx, m, r, media, n_media, w);
        return r->answer ? answer(ctx, m, r, r->question, r->answer, media, n_media, e, w) : plain_text(ctx, m, r, w);
    case MMI_OBJECTIVE_MASKED_LM: return masked(ctx, m, r, key, w);
    case MMI_OBJECTIVE_SPAN_CORRUPTION: return spans(ctx, m, r, key, e);
    case MMI_OBJECTIVE_CAPTION:
        if (!r->caption && !r->text) return missing(ctx, r, "caption");
        return answer(ctx, m, r, NULL, r->caption ? r->caption : r->text, media, n_media, e, w);
    case MMI_OBJECTIVE_VQA:
        if (!r->question || !r->answer) return missing(ctx, r, r->question ? "answer" : "question");
        return answer(ctx, m, r, r->question, r->answer, media, n_media, e, w);
    case MMI_OBJECTIVE_CHAT: return chat(ctx, m, r, media, n_media, w);
    case MMI_OBJECTIVE_DPO:
        if (!r->prompt || !r->chosen || !r->rejected) return missing(ctx, r, !r->prompt ? "prompt" : r->chosen ? "rejected" : "chosen");
        TRY(answer(ctx, m, r, r->prompt, r->chosen, media, n_media, e, &w[0]));
        return answer(ctx, m, r, r->prompt, r->rejected, media, n_media, e, &w[1]);
    case MMI_OBJECTIVE_MAE: return hide_patches(ctx, m, key, e);
    case MMI_OBJECTIVE_DENOISING_IMAGE: TRY(hide_patches(ctx, m, key, e)); return add_noise(ctx, m, key, e);
    case MMI_OBJECTIVE_CONTRASTIVE:
    case MMI_OBJECTIVE_SIGMOID_CONTRASTIVE:
    case MMI_OBJECTIVE_MATCHING: return tower_text(ctx, m, r, e);
    case MMI_OBJECTIVE_CLASSIFICATION:
        TRY(mmi_label_list_find(ctx, &m->labels, r, m->task->head, &label));
        e->label = (int32_t)label;
        break;
    case MMI_OBJECTIVE_REGRESSION: TRY(take_values(ctx, r, e)); break;
    case MMI_OBJECTIVE_COUNT: break;
    }
    return m->model->tokenizer && (r->text || r->caption || r->question) ? tower_text(ctx, m, r, e) : MM_OK; /* classes and numbers may be of texts */
}

mm_status mmi_example_make(mm_context *ctx, mmi_example_maker *m, const mmi_record *r, uint64_t epoch, size_t index, mmi_example *e)
{
    const mmi_objective_kind k = m->task->objective.kind;
    const uint64_t key = mmi_corruption_key(m->seed, epoch, index);
    const size_t most = r->image_count + 2;
    mmi_medium *media = mmi_zalloc_array(ctx, most, sizeof *media);
    size_t n = 0;
    mm_status st = media ? MM_OK : MM_E_NOMEM;

    if (!st && k != MMI_OBJECTIVE_CAUSAL_LM && k != MMI_OBJECTIVE_MASKED_LM && k != MMI_OBJECTIVE_SPAN_CORRUPTION) st = take_media(ctx, m, r, epoch, index, media, &n);
    if (!st && !n && (k == MMI_OBJECTIVE_MAE || k == MMI_OBJECTIVE_DENOISING_IMAGE || k == MMI_OBJECTIVE_CONTRASTIVE || k == MMI_OBJECTIVE_SIGMOID_CONTRASTIVE ||
                      k == MMI_OBJECTIVE_MATCHING))
        st = missing(ctx, r, "image");
    if (!st) st = keep_media(ctx, media, n, e);
    if (!st) st = make(ctx, m, r, key, media, n, e);
    for (size_t i = 0; media && i < most; i++) mmi_medium_clear(&media[i]);
    mmi_free(media);
    return st;
}
