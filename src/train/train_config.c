/* SPDX-License-Identifier: MIT */
#include "train_config.h"

#include <stdio.h>
#include <string.h>

#include "file.h"
#include "mm_tensor.h"

enum { MAX_BYTES = 4 << 20 };

#define MOST_DROPOUT 0.999 /* what stays is divided by the rest */

typedef struct {
    mm_context *ctx;
    mmi_train_config *c;
    const mmi_json *doc;
} reader;

/* The first failure of a list of readings. */
#define TRY(call) \
    do { \
        const mm_status tried = (call); \
        if (tried) return tried; \
    } while (0)

static mm_status text(const reader *r, const mmi_json_node *object, const char *key, int required, char **out)
{
    const char *s = NULL;

    TRY(mmi_json_text(r->ctx, r->doc, object, key, required, &s));
    if (!s) return MM_OK;
    mmi_free(*out);
    *out = mmi_strdup(r->ctx, s);
    return *out ? MM_OK : MM_E_NOMEM;
}

/* A path, beside the file unless absolute. */
static mm_status path(const reader *r, const mmi_json_node *object, const char *key, int required, char **out)
{
    const char *s = NULL;

    TRY(mmi_json_text(r->ctx, r->doc, object, key, required, &s));
    if (!s) return MM_OK;
    mmi_free(*out);
    *out = *s == '/' ? mmi_strdup(r->ctx, s) : mmi_file_join(r->ctx, r->c->directory, s);
    return *out ? MM_OK : MM_E_NOMEM;
}

/* A string or a list of them. */
static mm_status strings(const reader *r, const mmi_json_node *object, const char *key, char ***out, size_t *count)
{
    const mmi_json_node *node = mmi_json_get(object, key), *item;
    const int list = mmi_json_kind_of(node) == MMI_JSON_ARRAY;

    if (!node) return MM_OK;
    *out = mmi_zalloc_array(r->ctx, list ? mmi_json_count(node) + 1 : 1, sizeof **out);
    if (!*out) return MM_E_NOMEM;
    for (item = list ? mmi_json_first(node) : node; item; item = list ? mmi_json_next(item) : NULL) {
        const char *s = mmi_json_string(item);
        if (!s) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s must be a text or a list of texts", mmi_json_name(r->doc), key);
        (*out)[*count] = mmi_strdup(r->ctx, s);
        if (!(*out)[*count]) return MM_E_NOMEM;
        ++*count;
    }
    return MM_OK;
}

static mm_status number(const reader *r, const mmi_json_node *object, const char *key, double lowest, double highest, double *out)
{
    return mmi_json_f64(r->ctx, r->doc, object, key, 0, lowest, highest, out);
}

static mm_status integer(const reader *r, const mmi_json_node *object, const char *key, int64_t lowest, int64_t highest, int64_t *out)
{
    return mmi_json_i64(r->ctx, r->doc, object, key, 0, lowest, highest, out);
}

static mm_status only(const reader *r, const mmi_json_node *object, const char *const *keys) { return mmi_json_only(r->ctx, r->doc, object, keys); }

/* The member as an object; NULL: absent. */
static mm_status object_of(const reader *r, const mmi_json_node *object, const char *key, int required, const mmi_json_node **out)
{
    *out = mmi_json_get(object, key);
    if (!*out && !required) return MM_OK;
    if (mmi_json_kind_of(*out) == MMI_JSON_OBJECT) return MM_OK;
    return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s must be an object", mmi_json_name(r->doc), key);
}

/* The first of a list of objects; NULL: absent or empty. */
static mm_status list_of(const reader *r, const mmi_json_node *object, const char *key, const mmi_json_node **first)
{
    const mmi_json_node *list = mmi_json_get(object, key);

    *first = mmi_json_first(list);
    if (list && mmi_json_kind_of(list) != MMI_JSON_ARRAY) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s must be a list of objects", mmi_json_name(r->doc), key);
    for (const mmi_json_node *n = *first; n; n = mmi_json_next(n))
        if (mmi_json_kind_of(n) != MMI_JSON_OBJECT) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s must be a list of objects", mmi_json_name(r->doc), key);
    return MM_OK;
}

static mm_status read_model(const reader *r, const mmi_json_node *root)
{
    static const char *const keys[] = {"from", "config", "weights", "tokenizer", "chat_template", "processor", NULL};
    mmi_train_config *c = r->c;
    const mmi_json_node *model, *tokenizer;

    TRY(object_of(r, root, "model", 1, &model));
    TRY(only(r, model, keys));
    TRY(path(r, model, "from", 0, &c->from));
    TRY(object_of(r, model, "config", 0, &c->model_config));
    if (!c->from == !c->model_config)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: model has %s of \"from\" and \"config\", one of them is needed", mmi_json_name(r->doc), c->from ? "both" : "none");
    TRY(path(r, model, "weights", 0, &c->weights));
    TRY(mmi_json_text(r->ctx, r->doc, model, "chat_template", 0, &c->chat_template));
    TRY(object_of(r, model, "processor", 0, &c->processor));
    tokenizer = mmi_json_get(model, "tokenizer");
    for (size_t i = 2; c->from && keys[i]; i++)
        if (mmi_json_get(model, keys[i]))
            return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s is for a new model, one \"from\" a directory has its own", mmi_json_name(r->doc), keys[i]);
    if (mmi_json_kind_of(tokenizer) != MMI_JSON_OBJECT) return path(r, model, "tokenizer", 0, &c->tokenizer);
    c->tokenizer_options = tokenizer;
    return MM_OK;
}

static mm_status read_lora(const reader *r, const mmi_json_node *root)
{
    static const char *const keys[] = {"r", "alpha", "dropout", "target_modules", "use_rslora", NULL};
    mmi_train_config *c = r->c;
    const mmi_json_node *lora;

    TRY(object_of(r, root, "lora", 0, &lora));
    if (!lora) return MM_OK;
    TRY(only(r, lora, keys));
    c->lora = 1;
    c->lora_rank = 8;
    TRY(integer(r, lora, "r", 1, 4096, &c->lora_rank));
    c->lora_alpha = (double)c->lora_rank;
    TRY(number(r, lora, "alpha", 0, 1e6, &c->lora_alpha));
    TRY(number(r, lora, "dropout", 0, MOST_DROPOUT, &c->lora_dropout));
    TRY(mmi_json_bool(r->ctx, r->doc, lora, "use_rslora", 0, &c->lora_rank_stabilized));
    TRY(strings(r, lora, "target_modules", &c->lora_targets, &c->n_lora_targets));
    c->lora_expression = mmi_json_kind_of(mmi_json_get(lora, "target_modules")) == MMI_JSON_STRING && strcmp(c->lora_targets[0], "all-linear") != 0;
    return MM_OK;
}

static mm_status read_optimizer(const reader *r, const mmi_json_node *root)
{
    static const char *const keys[] = {"name", "lr", "weight_decay", "groups", "betas", "eps", NULL};
    static const char *const lion_keys[] = {"name", "lr", "weight_decay", "groups", "betas", NULL};
    static const char *const sgd_keys[] = {"name", "lr", "weight_decay", "groups", "momentum", "nesterov", NULL};
    static const char *const adafactor_keys[] = {"name", "lr", "weight_decay", "groups", "eps", "relative_step", NULL};
    static const char *const group_keys[] = {"match", "lr_scale", "weight_decay", NULL};
    static const char *const schedule_keys[] = {"name", "warmup_steps", "min_ratio", NULL};
    mmi_train_config *c = r->c;
    mmi_optimizer_spec *o = &c->optimizer;
    const mmi_json_node *node, *item;
    const char *name = "adamw", *schedule = "constant";
    int64_t warmup = 0;

    TRY(object_of(r, root, "optimizer", 0, &node));
    TRY(mmi_json_text(r->ctx, r->doc, node, "name", 0, &name));
    TRY(mmi_optimizer_spec_of(r->ctx, name, o));
    TRY(only(r, node, o->kind == MMI_OPTIMIZER_SGD ? sgd_keys : o->kind == MMI_OPTIMIZER_LION ? lion_keys : o->kind == MMI_OPTIMIZER_ADAFACTOR ? adafactor_keys : keys));
    o->seed = c->seed;
    TRY(number(r, node, "lr", 0, 1e3, &c->lr));
    TRY(number(r, node, "eps", 0, 1, &o->eps));
    if (o->kind == MMI_OPTIMIZER_SGD) {
        TRY(number(r, node, "momentum", 0, 1, &o->beta1));
        TRY(mmi_json_bool(r->ctx, r->doc, node, "nesterov", 0, &o->nesterov));
    }
    if (o->kind == MMI_OPTIMIZER_ADAFACTOR) TRY(mmi_json_bool(r->ctx, r->doc, node, "relative_step", 0, &o->relative_step));
    TRY(number(r, node, "weight_decay", 0, 1e3, &c->weight_decay));
    item = mmi_json_get(node, "betas");
    if (item && (mmi_json_count(item) != 2 || !mmi_json_number(mmi_json_first(item), &o->beta1) || !mmi_json_number(mmi_json_next(mmi_json_first(item)), &o->beta2) ||
                 o->beta1 < 0 || o->beta1 >= 1 || o->beta2 < 0 || o->beta2 >= 1))
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: betas must be two numbers of 0 to less than 1", mmi_json_name(r->doc));
    TRY(list_of(r, node, "groups", &item));
    for (; item; item = mmi_json_next(item)) {
        mmi_train_group *g = &c->groups[c->n_groups];
        if (c->n_groups == MMI_TRAIN_GROUPS) return mmi_fail(r->ctx, MM_E_LIMIT, "%s: more than %d groups", mmi_json_name(r->doc), MMI_TRAIN_GROUPS);
        c->n_groups++;
        *g = (mmi_train_group){.lr_scale = 1, .weight_decay = -1};
        TRY(only(r, item, group_keys));
        TRY(strings(r, item, "match", &g->patterns, &g->n_patterns));
        if (!g->n_patterns) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: a group without \"match\"", mmi_json_name(r->doc));
        TRY(number(r, item, "lr_scale", 0, 1e6, &g->lr_scale));
        TRY(number(r, item, "weight_decay", 0, 1e3, &g->weight_decay));
    }
    TRY(object_of(r, root, "schedule", 0, &node));
    TRY(only(r, node, schedule_keys));
    TRY(mmi_json_text(r->ctx, r->doc, node, "name", 0, &schedule));
    TRY(mmi_schedule_kind_of(r->ctx, schedule, &c->schedule.kind));
    TRY(integer(r, node, "warmup_steps", 0, INT64_C(1) << 40, &warmup));
    c->schedule.warmup_steps = (uint64_t)warmup;
    return number(r, node, "min_ratio", 0, 1, &c->schedule.min_ratio);
}

static mm_status read_data(const reader *r, const mmi_json_node *task, mmi_train_task *t)
{
    static const char *const keys[] = {"train", "validation", "validation_split", "skip_bad", "augment", NULL};
    const mmi_json_node *data;

    TRY(object_of(r, task, "data", 1, &data));
    TRY(only(r, data, keys));
    TRY(path(r, data, "train", 1, &t->train));
    TRY(path(r, data, "validation", 0, &t->validation));
    TRY(number(r, data, "validation_split", 0, 0.9, &t->split));
    TRY(mmi_json_bool(r->ctx, r->doc, data, "skip_bad", 0, &t->skip_bad));
    return object_of(r, data, "augment", 0, &t->augment);
}

/* Which objectives an option is for, as bits. */
#define OF(kind) (1u << MMI_OBJECTIVE_##kind)
enum {
    TOKENS = OF(CAUSAL_LM) | OF(MASKED_LM) | OF(SPAN_CORRUPTION) | OF(CAPTION) | OF(VQA) | OF(CHAT) | OF(DISTILLATION) | OF(DPO),
    HEADS = OF(CLASSIFICATION) | OF(REGRESSION) | OF(MATCHING)
};

/* The keys that every task may have, and those of some objectives. */
static mm_status task_keys(const reader *r, const mmi_json_node *task, mmi_objective_kind kind)
{
    static const struct {
        const char *key;
        unsigned of;
    } keys[] = {{"name", ~0u}, {"objective", ~0u}, {"data", ~0u}, {"weight", ~0u}, {"ratio", ~0u}, {"batch_size", ~0u},
                {"max_tokens", TOKENS | OF(CONTRASTIVE) | OF(SIGMOID_CONTRASTIVE) | OF(MATCHING) | OF(CLASSIFICATION) | OF(REGRESSION)},
                {"pack", OF(CAUSAL_LM)}, {"mask_probability", OF(MASKED_LM) | OF(SPAN_CORRUPTION)}, {"mean_span", OF(SPAN_CORRUPTION)},
                {"noise", OF(DENOISING_IMAGE)}, {"generate", OF(CAPTION) | OF(VQA)}, {"prompt", OF(CAPTION) | OF(VQA)}, {"head", HEADS},
                {"label_smoothing", (TOKENS & ~(unsigned)OF(DPO)) | OF(CLASSIFICATION) | OF(MATCHING)}, {"teacher", OF(DISTILLATION)},
                {"temperature", OF(DISTILLATION)}, {"soft_weight", OF(DISTILLATION)}, {"hidden_weight", OF(DISTILLATION)},
                {"student_state", OF(DISTILLATION)}, {"teacher_state", OF(DISTILLATION)}, {"reference", OF(DPO)}, {"beta", OF(DPO)}};

    for (const mmi_json_node *n = mmi_json_first(task); n; n = mmi_json_next(n)) {
        size_t i = 0;
        while (i < sizeof keys / sizeof *keys && (strcmp(keys[i].key, mmi_json_key(n)) || !(keys[i].of >> kind & 1))) i++;
        if (i == sizeof keys / sizeof *keys)
            return mmi_fail(r->ctx, MM_E_FORMAT, "%s: a task of objective %s has no option \"%.60s\"", mmi_json_name(r->doc), mmi_objective_name(kind), mmi_json_key(n));
    }
    return MM_OK;
}

static mm_status real(const reader *r, const mmi_json_node *object, const char *key, double lowest, double highest, float *out)
{
    double v = *out;
    TRY(number(r, object, key, lowest, highest, &v));
    *out = (float)v;
    return MM_OK;
}

static mm_status read_task(const reader *r, const mmi_json_node *node, mmi_train_task *t)
{
    mmi_objective_spec *o = &t->objective;
    const char *objective = NULL;
    int64_t states[2] = {0, 0};
    int kind;

    TRY(mmi_json_text(r->ctx, r->doc, node, "objective", 1, &objective));
    kind = mmi_objective_find(objective);
    if (kind < 0) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: objective \"%.40s\" is not known", mmi_json_name(r->doc), objective);
    TRY(task_keys(r, node, (mmi_objective_kind)kind));
    o->kind = (mmi_objective_kind)kind;
    t->weight = t->ratio = 1;
    t->batch_size = r->c->batch_size;
    t->max_tokens = 512;
    t->mask_probability = 0.15;
    t->mean_span = 3;
    t->noise = 0.25;
    o->temperature = 2;
    o->soft_weight = 0.5f;
    o->beta = 0.1f;
    TRY(text(r, node, "name", 0, &t->name));
    if (!t->name && !(t->name = mmi_strdup(r->ctx, objective))) return MM_E_NOMEM;
    TRY(read_data(r, node, t));
    TRY(number(r, node, "weight", 0, 1e6, &t->weight));
    TRY(number(r, node, "ratio", 1e-6, 1e6, &t->ratio));
    TRY(integer(r, node, "batch_size", 1, 1 << 20, &t->batch_size));
    TRY(integer(r, node, "max_tokens", 1, 1 << 20, &t->max_tokens));
    TRY(mmi_json_bool(r->ctx, r->doc, node, "pack", 0, &t->pack));
    TRY(number(r, node, "mask_probability", 0.001, 0.999, &t->mask_probability));
    TRY(number(r, node, "mean_span", 1, 100, &t->mean_span));
    TRY(number(r, node, "noise", 0, 100, &t->noise));
    TRY(integer(r, node, "generate", 0, 1 << 30, &t->generate));
    TRY(text(r, node, "prompt", 0, &t->prompt));
    TRY(text(r, node, "head", 0, &t->head));
    TRY(real(r, node, "label_smoothing", 0, 0.99, &o->smoothing));
    TRY(real(r, node, "temperature", 0.01, 1000, &o->temperature));
    TRY(real(r, node, "soft_weight", 0, 1, &o->soft_weight));
    TRY(real(r, node, "hidden_weight", 0, 1e6, &o->hidden_weight));
    TRY(real(r, node, "beta", 0, 1000, &o->beta));
    TRY(path(r, node, "teacher", kind == MMI_OBJECTIVE_DISTILLATION, &t->other));
    TRY(path(r, node, "reference", 0, &t->other));
    TRY(integer(r, node, "student_state", 0, 1024, &states[0]));
    TRY(integer(r, node, "teacher_state", 0, 1024, &states[1]));
    for (int i = 0; i < 2; i++) (void)snprintf(o->hidden[i], sizeof o->hidden[i], "hidden_states.%lld", (long long)states[i]);
    if (!t->head) return MM_OK;
    o->output = mmi_alloc(r->ctx, strlen(t->head) + sizeof "_logits");
    if (!o->output) return MM_E_NOMEM;
    (void)snprintf(o->output, strlen(t->head) + sizeof "_logits", "%s_logits", t->head);
    return MM_OK;
}

static mm_status read_tasks(const reader *r, const mmi_json_node *root)
{
    mmi_train_config *c = r->c;
    const mmi_json_node *n;

    TRY(list_of(r, root, "tasks", &n));
    for (; n; n = mmi_json_next(n)) {
        if (c->n_tasks == MMI_TRAIN_TASKS) return mmi_fail(r->ctx, MM_E_LIMIT, "%s: more than %d tasks", mmi_json_name(r->doc), MMI_TRAIN_TASKS);
        TRY(read_task(r, n, &c->tasks[c->n_tasks++]));
        for (size_t i = 0; i + 1 < c->n_tasks; i++)
            if (!strcmp(c->tasks[i].name, c->tasks[c->n_tasks - 1].name))
                return mmi_fail(r->ctx, MM_E_FORMAT, "%s: two tasks are named \"%s\"", mmi_json_name(r->doc), c->tasks[i].name);
    }
    return c->n_tasks ? MM_OK : mmi_fail(r->ctx, MM_E_FORMAT, "%s: tasks is missing or empty", mmi_json_name(r->doc));
}

static mm_status read_run(const reader *r, const mmi_json_node *root)
{
    static const char *const keys[] = {"output", "seed", "steps", "epochs", "batch_size", "accumulate", "clip_norm", "master", "checkpoint_activations", "dropout", "model",
                                       "freeze", "train_only", "lora", "sharing_penalty", "tasks", "optimizer", "schedule", "log_every", "evaluate_every",
                                       "evaluate_batches", "save_every", "save_as", "keep", "prefetch", NULL};
    mmi_train_config *c = r->c;
    const char *master = NULL;
    int64_t seed = 0;

    TRY(only(r, root, keys));
    TRY(path(r, root, "output", 1, &c->output));
    TRY(text(r, root, "save_as", 0, &c->save_as));
    TRY(integer(r, root, "seed", 0, INT64_C(1) << 53, &seed));
    c->seed = (uint64_t)seed;
    TRY(integer(r, root, "steps", 1, INT64_C(1) << 40, &c->steps));
    TRY(integer(r, root, "epochs", 1, 1 << 20, &c->epochs));
    if (!c->steps == !c->epochs) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: one of \"steps\" and \"epochs\" is needed", mmi_json_name(r->doc));
    TRY(integer(r, root, "batch_size", 1, 1 << 20, &c->batch_size));
    TRY(integer(r, root, "accumulate", 1, 1 << 20, &c->accumulate));
    TRY(number(r, root, "clip_norm", 0, 1e9, &c->clip_norm));
    TRY(mmi_json_text(r->ctx, r->doc, root, "master", 0, &master));
    if (master && strcmp(master, "f32") && strcmp(master, "bf16"))
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: master \"%.40s\" is neither f32 nor bf16", mmi_json_name(r->doc), master);
    if (master && *master == 'b') c->master = MM_DTYPE_BF16;
    TRY(mmi_json_bool(r->ctx, r->doc, root, "checkpoint_activations", 0, &c->recompute));
    TRY(number(r, root, "dropout", 0, MOST_DROPOUT, &c->dropout));
    TRY(strings(r, root, "freeze", &c->freeze, &c->n_freeze));
    TRY(strings(r, root, "train_only", &c->train_only, &c->n_train_only));
    TRY(number(r, root, "sharing_penalty", 0, 1e6, &c->sharing_penalty));
    TRY(integer(r, root, "log_every", 1, INT64_C(1) << 40, &c->log_every));
    TRY(integer(r, root, "evaluate_every", 0, INT64_C(1) << 40, &c->evaluate_every));
    TRY(integer(r, root, "evaluate_batches", 0, INT64_C(1) << 40, &c->evaluate_batches));
    TRY(integer(r, root, "save_every", 0, INT64_C(1) << 40, &c->save_every));
    TRY(integer(r, root, "keep", 1, 1000, &c->keep));
    TRY(integer(r, root, "prefetch", 0, 64, &c->prefetch));
    TRY(read_model(r, root));
    TRY(read_lora(r, root));
    TRY(read_optimizer(r, root));
    return read_tasks(r, root);
}

static char *directory_of(mm_context *ctx, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *d = mmi_strdup(ctx, slash ? file : ".");
    if (d && slash) d[slash == file ? 1 : slash - file] = 0;
    return d;
}

mm_status mmi_train_config_read(mm_context *ctx, const char *file, mmi_train_config *c)
{
    reader r = {ctx, c, NULL};

    *c = (mmi_train_config){.batch_size = 32, .accumulate = 1, .master = MM_DTYPE_F32, .prefetch = 4, .lr = 1e-3, .weight_decay = 0.01,
                            .log_every = 10, .keep = 2};
    c->directory = directory_of(ctx, file);
    if (!c->directory) return MM_E_NOMEM;
    TRY(mmi_json_read(ctx, file, MAX_BYTES, &c->doc));
    r.doc = c->doc;
    if (mmi_json_kind_of(mmi_json_root(c->doc)) != MMI_JSON_OBJECT) return mmi_fail(ctx, MM_E_FORMAT, "%s: an object is expected", file);
    return read_run(&r, mmi_json_root(c->doc));
}

static void clear_strings(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++) mmi_free(list[i]);
    mmi_free(list);
}

void mmi_train_config_clear(mmi_train_config *c)
{
    for (size_t i = 0; i < c->n_tasks; i++) {
        mmi_train_task *t = &c->tasks[i];
        mmi_free(t->name);
        mmi_free(t->objective.output);
        mmi_free(t->other);
        mmi_free(t->head);
        mmi_free(t->train);
        mmi_free(t->validation);
        mmi_free(t->prompt);
    }
    for (size_t i = 0; i < c->n_groups; i++) clear_strings(c->groups[i].patterns, c->groups[i].n_patterns);
    clear_strings(c->freeze, c->n_freeze);
    clear_strings(c->train_only, c->n_train_only);
    clear_strings(c->lora_targets, c->n_lora_targets);
    mmi_free(c->directory);
    mmi_free(c->output);
    mmi_free(c->save_as);
    mmi_free(c->from);
    mmi_free(c->weights);
    mmi_free(c->tokenizer);
    mmi_json_destroy(c->doc);
    memset(c, 0, sizeof *c);
}
