/* SPDX-License-Identifier: MIT */
#include "evaluation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "audio.h"
#include "forward.h"
#include "hash_map.h"
#include "json.h"
#include "kernels.h"
#include "loss_ops.h"
#include "metrics.h"
#include "session.h"
#include "session_generate.h"
#include "size.h"
#include "transcription.h"

enum { MOST_CLASSES_SHOWN = 64 };

typedef struct {
    mm_context *ctx;
    mmi_step_graphs *graphs;
    const mmi_train_task *task;
    size_t samples;
    double loss;           /* sum over what counted */
    double counted;
    double surprise;       /* of the tokens: sum of their negative log-likelihoods, which a loss may be more than */
    size_t hits, tokens, right; /* likeliest tokens, all tokens, answers all of them right */
    int64_t *confusion;
    size_t classes;
    float *guesses, *truths; /* of regression */
    size_t n_values, values_capacity, truths_capacity;
    float *vectors[2];     /* of pictures and texts, unit length, [n, width] */
    size_t rows[2], width, vectors_capacity[2];
} evaluation;

static const int32_t *integers(const mm_tensor_map *batch, const char *name) { return mm_tensor_const_data(mm_tensor_map_get(batch, name)); }
static const float *numbers(const mm_tensor_map *batch, const char *name) { return mm_tensor_const_data(mm_tensor_map_get(batch, name)); }

/* Labels [B, K] beside logits [B K, V]. */
static void count_tokens(evaluation *e, const mm_tensor_map *batch, const mmi_step_result *r)
{
    const mm_tensor *labels = mm_tensor_map_get(batch, "labels");
    const int64_t B = mm_tensor_shape(labels)[0], K = mm_tensor_shape(labels)[1];
    const int32_t *l = integers(batch, "labels");
    const size_t before = e->tokens;

    for (int64_t b = 0; b < B; b++) {
        int all = 1, any = 0;
        for (int64_t k = 0; k < K; k++) {
            const int32_t label = l[b * K + k];
            const float *scores = r->compared + (size_t)(b * K + k) * r->cols;
            int hit;
            if (label == MMI_IGNORED) continue;
            hit = mmi_metric_best(scores, r->cols) == (size_t)label;
            e->surprise += mmi_metric_surprise(scores, r->cols, (size_t)label);
            any = 1;
            all &= hit;
            e->hits += (size_t)hit;
            e->tokens++;
        }
        e->right += any && all;
    }
    e->loss += (double)r->loss * (double)(e->tokens - before);
    e->counted += (double)(e->tokens - before);
}

static mm_status count_classes(evaluation *e, const mm_tensor_map *batch, const mmi_step_result *r)
{
    const int32_t *labels = integers(batch, "labels");

    if (!e->confusion) {
        e->classes = r->cols;
        e->confusion = mmi_zalloc_array(e->ctx, r->cols * r->cols, sizeof *e->confusion);
        if (!e->confusion) return MM_E_NOMEM;
    }
    for (size_t i = 0; i < r->rows; i++) {
        const int32_t guess = (int32_t)mmi_metric_best(r->compared + i * r->cols, r->cols);
        mmi_metric_confusion(&guess, &labels[i], 1, e->classes, e->confusion);
    }
    return MM_OK;
}

static mm_status append(mm_context *ctx, float **array, size_t *count, size_t *capacity, const float *from, size_t n)
{
    if (*count + n > *capacity) {
        const size_t room = mmi_size_max(2 * *capacity, *count + n);
        float *grown = mmi_realloc(ctx, *array, room * sizeof *grown);
        if (!grown) return MM_E_NOMEM;
        *array = grown;
        *capacity = room;
    }
    memcpy(*array + *count, from, n * sizeof *from);
    *count += n;
    return MM_OK;
}

static mm_status count_numbers(evaluation *e, const mm_tensor_map *batch, const mmi_step_result *r)
{
    const size_t n = r->rows * r->cols;
    size_t same = e->n_values;
    mm_status st = append(e->ctx, &e->guesses, &e->n_values, &e->values_capacity, r->compared, n);
    return st ? st : append(e->ctx, &e->truths, &same, &e->truths_capacity, numbers(batch, "values"), n);
}

/* The margins of pairs. */
static void count_preferences(evaluation *e, const mmi_step_result *r)
{
    for (size_t i = 0; i < r->rows * r->cols; i++) e->right += r->compared[i] > 0;
    e->tokens += r->rows * r->cols;
}

/* The towers' vectors of a batch, for recall among all examples. */
static mm_status keep_vectors(evaluation *e, const mm_tensor_map *batch)
{
    static const char *const wanted[] = {"image_embeds", "text_embeds", NULL};
    mm_tensor_map *out = NULL;
    mm_status st = mmi_forward(e->ctx, e->graphs->model, batch, wanted, &out);

    for (int i = 0; i < 2 && !st; i++) {
        const mm_tensor *t = mm_tensor_map_get(out, wanted[i]);
        size_t elements = e->rows[i] * e->width;
        if (!t) {
            st = mmi_fail(e->ctx, MM_E_UNSUPPORTED, "%s gives no %s", e->graphs->model->class_name, wanted[i]);
            break;
        }
        e->width = (size_t)mm_tensor_shape(t)[1];
        st = append(e->ctx, &e->vectors[i], &elements, &e->vectors_capacity[i], mm_tensor_const_data(t), (size_t)mm_tensor_elements(t));
        e->rows[i] += (size_t)mm_tensor_shape(t)[0];
    }
    mm_tensor_map_destroy(out);
    return st;
}

static mm_status evaluate_batch(evaluation *e, const mm_tensor_map *batch, size_t samples)
{
    mmi_step_result r;
    mm_status st = mmi_step_graph_run(e->ctx, e->graphs, &e->task->objective, batch, 0, 1, &r);

    if (st) return st;
    e->samples += samples;
    switch (e->task->objective.kind) {
    case MMI_OBJECTIVE_CONTRASTIVE:
    case MMI_OBJECTIVE_SIGMOID_CONTRASTIVE: st = keep_vectors(e, batch); break;
    case MMI_OBJECTIVE_MATCHING:
    case MMI_OBJECTIVE_CLASSIFICATION: st = count_classes(e, batch, &r); break;
    case MMI_OBJECTIVE_REGRESSION: st = count_numbers(e, batch, &r); break;
    case MMI_OBJECTIVE_DPO: count_preferences(e, &r); break;
    case MMI_OBJECTIVE_MAE:
    case MMI_OBJECTIVE_DENOISING_IMAGE: break;
    default: count_tokens(e, batch, &r); return MM_OK;
    }
    e->loss += (double)r.loss * (double)samples;
    e->counted += (double)samples;
    return st;
}

/* Writing. */

static int measure(evaluation *e, mmi_text *out, const char *name, double value)
{
    if (!isfinite(value)) return mmi_text_format(e->ctx, out, ", \"%s\": null", name);
    return mmi_text_format(e->ctx, out, ", \"%s\": %.9g", name, value);
}

static int write_confusion(evaluation *e, mmi_text *out)
{
    int failed = mmi_text_format(e->ctx, out, ", \"confusion\": [");

    for (size_t r = 0; r < e->classes; r++) {
        failed |= mmi_text_format(e->ctx, out, r ? ", [" : "[");
        for (size_t c = 0; c < e->classes; c++) failed |= mmi_text_format(e->ctx, out, c ? ", %lld" : "%lld", (long long)e->confusion[r * e->classes + c]);
        failed |= mmi_text_format(e->ctx, out, "]");
    }
    failed |= mmi_text_format(e->ctx, out, "]");
    return failed;
}

static int write_labels(evaluation *e, const mm_model *m, mmi_text *out)
{
    const char *const *names = NULL;
    size_t count = 0;
    int failed;

    if (e->task->objective.kind != MMI_OBJECTIVE_CLASSIFICATION || !mmi_model_head(m, e->task->head, &names, &count) || !names || count != e->classes) return 0;
    failed = mmi_text_format(e->ctx, out, ", \"labels\": [");
    for (size_t i = 0; i < count; i++) {
        failed |= i && mmi_text_format(e->ctx, out, ", ");
        failed |= names[i] ? mmi_json_quote(e->ctx, out, names[i], strlen(names[i])) : mmi_text_format(e->ctx, out, "\"%zu\"", i);
    }
    return failed | mmi_text_format(e->ctx, out, "]");
}

/* What the pairs of a contrast are: equal pictures, by path, and equal texts have the same number. */
typedef struct {
    mmi_hash_map known;
    int64_t *pictures, *texts;
    size_t count;
} pairs;

static mm_status note(mm_context *ctx, pairs *p, const char *what, int64_t *number)
{
    *number = (int64_t)p->known.count;
    if (mmi_hash_map_get(&p->known, what, strlen(what), number)) return MM_OK;
    return mmi_hash_map_put(ctx, &p->known, what, strlen(what), *number, NULL) ? MM_E_NOMEM : MM_OK;
}

static mm_status note_pair(mm_context *ctx, void *arg, const mmi_record *r, uint64_t epoch, size_t index)
{
    pairs *p = arg;
    const size_t i = p->count++;
    mm_status st = note(ctx, p, r->image_count ? r->images[0] : r->where, &p->pictures[i]); /* made into an example before, so that it has them */
    (void)epoch;
    (void)index;

    return st ? st : note(ctx, p, mmi_example_text(r), &p->texts[i]);
}

static mm_status write_recalls(evaluation *e, const float *similarities, const pairs *p, mmi_text *out)
{
    static const size_t ks[] = {1, 5, 10};
    static const char *const ways[] = {"image_to_text", "text_to_image"};
    char name[48];
    int failed = 0;

    for (int way = 0; way < 2; way++)
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
            (void)snprintf(name, sizeof name, "%s_recall@%zu", ways[way], ks[i]);
            failed |= measure(e, out, name, mmi_metric_recall(similarities, p->pictures, p->texts, p->count, ks[i], way));
        }
    return failed ? MM_E_NOMEM : MM_OK;
}

static mm_status write_recall(evaluation *e, mmi_data_set *set, mmi_text *out)
{
    const mmi_kernels *k = mmi_kernels_of(e->ctx);
    const size_t n = e->rows[0];
    float *similarities;
    pairs p = {0};
    mm_status st = MM_OK;

    if (!k || e->rows[1] != n) return k ? mmi_fail(e->ctx, MM_E_INTERNAL, "%zu pictures and %zu texts", n, e->rows[1]) : MM_E_NOMEM;
    similarities = mmi_alloc_array(e->ctx, n, n * sizeof *similarities);
    p.pictures = mmi_alloc_array(e->ctx, n, sizeof *p.pictures);
    p.texts = mmi_alloc_array(e->ctx, n, sizeof *p.texts);
    if (!similarities || !p.pictures || !p.texts) st = MM_E_NOMEM;
    for (size_t i = 0; i < n && !st; i++) st = mmi_data_set_read(e->ctx, set, i, note_pair, &p);
    for (size_t i = 0; i < n * n && !st; i++) similarities[i] = k->dot(e->vectors[0] + i / n * e->width, e->vectors[1] + i % n * e->width, e->width);
    if (!st) st = write_recalls(e, similarities, &p, out);
    mmi_free(similarities);
    mmi_free(p.pictures);
    mmi_free(p.texts);
    mmi_hash_map_clear(&p.known);
    return st;
}

static mm_status write(evaluation *e, mmi_data_set *set, mmi_text *out)
{
    const double loss = e->counted > 0 ? e->loss / e->counted : (double)NAN;
    int failed = mmi_text_format(e->ctx, out, "\"samples\": %zu", e->samples) | measure(e, out, "loss", loss);

    switch (e->task->objective.kind) {
    case MMI_OBJECTIVE_CONTRASTIVE:
    case MMI_OBJECTIVE_SIGMOID_CONTRASTIVE: return failed ? MM_E_NOMEM : write_recall(e, set, out);
    case MMI_OBJECTIVE_MATCHING:
    case MMI_OBJECTIVE_CLASSIFICATION:
        failed |= measure(e, out, "accuracy", mmi_metric_accuracy(e->confusion, e->classes)) | measure(e, out, "macro_f1", mmi_metric_macro_f1(e->confusion, e->classes));
        if (e->classes <= MOST_CLASSES_SHOWN) failed |= write_confusion(e, out) | write_labels(e, e->graphs->model, out);
        break;
    case MMI_OBJECTIVE_REGRESSION:
        failed |= measure(e, out, "squared_error", mmi_metric_squared_error(e->guesses, e->truths, e->n_values)) |
                  measure(e, out, "r2", mmi_metric_r2(e->guesses, e->truths, e->n_values));
        break;
    case MMI_OBJECTIVE_DPO: failed |= measure(e, out, "accuracy", (double)e->right / (double)e->tokens); break;
    case MMI_OBJECTIVE_MAE:
    case MMI_OBJECTIVE_DENOISING_IMAGE: break;
    default:
        failed |= measure(e, out, "perplexity", mmi_metric_perplexity(e->surprise, e->tokens)) |
                  measure(e, out, "token_accuracy", (double)e->hits / (double)e->tokens) | measure(e, out, "accuracy", (double)e->right / (double)e->samples);
    }
    return failed ? MM_E_NOMEM : MM_OK;
}

/* Answers that the model writes by itself. */

typedef struct {
    const mm_model *model;
    mmi_example_maker *maker;
    size_t asked, exact, errors, words;
} writing;

typedef struct {
    mm_context *ctx;
    mmi_text text;
    int failed;
} heard;

static int32_t keep_token(void *user, int32_t id, const char *text, size_t size)
{
    heard *h = user;
    (void)id;
    return h->failed = mmi_text_append(h->ctx, &h->text, text, size);
}

static int32_t keep_stretch(void *user, double begin, double end, const char *text, size_t size)
{
    heard *h = user;
    (void)begin;
    (void)end;
    return h->failed = mmi_text_append(h->ctx, &h->text, text, size);
}

/* The record's media and prompt to a session, which answers as it likes best. */
static mm_status ask(mm_context *ctx, writing *w, const mmi_record *r, heard *h)
{
    mm_session *session = NULL;
    mm_audio *audio = NULL;
    mmi_text prompt = {0};
    int32_t reason;
    mm_status st = mmi_session_create(ctx, (mm_model *)(uintptr_t)w->model, &session);

    if (!st) st = mmi_session_set_f64(session, MM_SESSION_TEMPERATURE, 0);
    if (!st) st = mmi_session_set_i64(session, MM_SESSION_MAX_TOKENS, w->maker->task->max_tokens);
    if (!st && r->audio) st = mmi_audio_read(ctx, r->audio, &audio);
    if (!st && audio) st = mmi_session_transcribe(session, audio, NULL, MM_TASK_TRANSCRIBE, 0, keep_stretch, h);
    for (size_t i = 0; i < r->image_count && !st && !audio; i++) {
        mm_image *image = NULL;
        st = mmi_image_read(ctx, r->images[i], MM_IMAGE_MAX_PIXELS, &image);
        if (!st) st = mmi_session_append_image(session, image);
        mmi_image_destroy(image);
    }
    if (!st && !audio) st = mmi_example_prompt(ctx, w->maker, r, &prompt);
    if (!st && prompt.size) st = mmi_session_append_text(session, prompt.data);
    if (!st && !audio) st = mmi_session_generate(session, keep_token, h, &reason);
    mmi_text_clear(&prompt);
    mmi_audio_destroy(audio);
    mmi_session_destroy(session);
    return !st && h->failed ? MM_E_NOMEM : st;
}

static mm_status ask_one(mm_context *ctx, void *arg, const mmi_record *r, uint64_t epoch, size_t index)
{
    writing *w = arg;
    const char *truth = r->answer ? r->answer : r->caption ? r->caption : r->text;
    size_t errors = 0, words = 0;
    heard h = {ctx, {0}, 0};
    mm_status st;
    (void)epoch;
    (void)index;

    if (!truth) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"answer\" is missing", r->where);
    st = ask(ctx, w, r, &h);
    if (!st) st = mmi_metric_word_errors(ctx, h.text.data ? h.text.data : "", truth, &errors, &words);
    if (!st) {
        w->asked++;
        w->exact += (size_t)mmi_metric_same_answer(h.text.data ? h.text.data : "", truth);
        w->errors += errors;
        w->words += words;
    }
    mmi_text_clear(&h.text);
    return st;
}

static mm_status write_answers(evaluation *e, mmi_task_data *data, mmi_text *out)
{
    writing w = {.model = e->graphs->model, .maker = &data->evaluates};
    const size_t n = mmi_size_min((size_t)e->task->generate, mmi_data_set_count(data->validation));
    mm_status st = MM_OK;

    for (size_t i = 0; i < n && !st; i++) {
        st = mmi_data_set_read(e->ctx, data->validation, i, ask_one, &w);
        if (!st) st = mmi_progress(e->ctx, "writing answers", (int64_t)i + 1, (int64_t)n);
    }
    if (st || !n) return st;
    return mmi_text_format(e->ctx, out, ", \"generated\": %zu", w.asked) | measure(e, out, "exact_match", (double)w.exact / (double)w.asked) |
                   measure(e, out, "word_error_rate", w.words ? (double)w.errors / (double)w.words : 0)
               ? MM_E_NOMEM
               : MM_OK;
}

mm_status mmi_evaluation_run(mm_context *ctx, mmi_step_graphs *graphs, mmi_task_data *data, const mmi_train_task *task, uint64_t most, mmi_text *out)
{
    evaluation e = {.ctx = ctx, .graphs = graphs, .task = task};
    const uint64_t batches = (mmi_data_set_count(data->validation) + data->batch_size - 1) / data->batch_size, end = most && most < batches ? most : batches;
    mm_status st = mmi_text_format(ctx, out, "{") ? MM_E_NOMEM : MM_OK;

    for (uint64_t i = 0; i < end && !st; i++) {
        mm_tensor_map *batch = NULL;
        size_t samples = 0;
        st = mmi_task_data_validation(ctx, data, i, &batch, &samples);
        if (!st) st = evaluate_batch(&e, batch, samples);
        mm_tensor_map_destroy(batch);
        if (!st) st = mmi_progress(ctx, "evaluating", (int64_t)i + 1, (int64_t)end);
    }
    if (!st) st = write(&e, data->validation, out);
    if (!st && task->generate) st = write_answers(&e, data, out);
    if (!st && mmi_text_format(ctx, out, "}")) st = MM_E_NOMEM;
    mmi_free(e.confusion);
    mmi_free(e.guesses);
    mmi_free(e.truths);
    mmi_free(e.vectors[0]);
    mmi_free(e.vectors[1]);
    return st;
}
