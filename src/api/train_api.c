/* include/mm_train.h. SPDX-License-Identifier: MIT */
#include "mm_train.h"

#include "trainer.h"

mm_status mm_trainer_create(mm_context *ctx, const char *path, mm_trainer **out)
{
    if (out) *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!path || !out) return mmi_fail(ctx, MM_E_ARGUMENT, "path or out is NULL");
    return mmi_trainer_create(ctx, path, out);
}

void mm_trainer_destroy(mm_trainer *t) { mmi_trainer_destroy(t); }

mm_status mm_trainer_resume(mm_trainer *t) { return t ? mmi_trainer_resume(t) : MM_E_ARGUMENT; }

mm_status mm_trainer_run(mm_trainer *t, int64_t steps, mm_trainer_fn callback, void *user)
{
    if (!t) return MM_E_ARGUMENT;
    if (steps < 0) return mmi_fail(t->ctx, MM_E_ARGUMENT, "%lld steps", (long long)steps);
    return mmi_trainer_run(t, steps, callback, user);
}

mm_status mm_trainer_checkpoint(mm_trainer *t) { return t ? mmi_trainer_checkpoint(t) : MM_E_ARGUMENT; }

mm_status mm_trainer_save(mm_trainer *t, const char *directory)
{
    if (!t) return MM_E_ARGUMENT;
    return directory ? mmi_trainer_save(t, directory) : mmi_fail(t->ctx, MM_E_ARGUMENT, "directory is NULL");
}

mm_status mm_trainer_evaluate(mm_trainer *t, char **json)
{
    mmi_text text = {0};
    mm_status st;

    if (json) *json = NULL;
    if (!t) return MM_E_ARGUMENT;
    if (!json) return mmi_fail(t->ctx, MM_E_ARGUMENT, "json is NULL");
    st = mmi_trainer_evaluate(t, &text);
    if (st) mmi_text_clear(&text);
    *json = text.data;
    return st;
}

mm_status mm_evaluate(mm_context *ctx, mm_model *model, const char *path, char **json)
{
    mmi_text text = {0};
    mm_status st;

    if (json) *json = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!model || !path || !json) return mmi_fail(ctx, MM_E_ARGUMENT, "model, path or json is NULL");
    st = mmi_evaluate(ctx, model, path, &text);
    if (st) mmi_text_clear(&text);
    *json = text.data;
    return st;
}

mm_status mm_trainer_get_i64(const mm_trainer *t, int32_t fact, int64_t *out)
{
    if (!t || !out) return MM_E_ARGUMENT;
    switch (fact) {
    case MM_TRAINER_STEP: *out = (int64_t)t->step; return MM_OK;
    case MM_TRAINER_STEPS: *out = (int64_t)t->steps; return MM_OK;
    case MM_TRAINER_PARAMETERS: *out = (int64_t)t->parameters.elements; return MM_OK;
    case MM_TRAINER_SKIPPED: *out = (int64_t)mmi_trainer_skipped(t); return MM_OK;
    default: return MM_E_ARGUMENT;
    }
}

mm_status mm_trainer_get_f64(const mm_trainer *t, int32_t fact, double *out)
{
    if (!t || !out) return MM_E_ARGUMENT;
    switch (fact) {
    case MM_TRAINER_LOSS: *out = t->report.loss; return MM_OK;
    case MM_TRAINER_GRADIENT_NORM: *out = t->report.gradient_norm; return MM_OK;
    case MM_TRAINER_LEARNING_RATE: *out = t->report.learning_rate; return MM_OK;
    case MM_TRAINER_SAMPLES_PER_SECOND: *out = t->report.samples_per_second; return MM_OK;
    default: return MM_E_ARGUMENT;
    }
}

const char *mm_trainer_output(const mm_trainer *t) { return t ? t->config.output : NULL; }
mm_model *mm_trainer_model(const mm_trainer *t) { return t ? t->model : NULL; }
