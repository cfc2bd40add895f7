/* The trainer with what goes wrong: configurations and data that are none, numbers that run away, disks that fill, cancellation, memory that
 * runs out. Each is a sentence, and what was learnt and written before is still there. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include "trainer_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#define DATA "\"data\": {\"train\": \"texts.jsonl\"}"
#define LM "\"tasks\": [{\"objective\": \"causal_lm\", " DATA "}]"
#define MODEL "\"model\": " WORDS ", "
#define VIT_OF(processor, size)                                                                                                                      \
    "\"model\": {\"config\": {\"architectures\": [\"ViTForImageClassification\"], \"model_type\": \"vit\", \"hidden_size\": 8, "                    \
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 8, \"image_size\": 16, \"patch_size\": 8, "                      \
    "\"id2label\": {\"0\": \"cat\", \"1\": \"dog\"}}, \"processor\": {\"image_processor_type\": \"" processor "ImageProcessor\", " size "}}, "
#define VIT VIT_OF("ViT", "\"size\": {\"height\": 16, \"width\": 16}")
#define GPT2_WITH(more)                                                                                                                           \
    "\"model\": {\"config\": {\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"vocab_size\": 420, \"n_positions\": 16, "     \
    "\"n_embd\": 8, \"n_layer\": 1, \"n_head\": 2}, \"tokenizer\": \"@/tokenizers/gpt2.json\"" more "}, "
#define NEW_GPT2 GPT2_WITH("")

/* Configurations. */

typedef struct {
    const char *rest;
    mm_status status;
    const char *says, *too; /* parts of the sentence */
} mistake;

static const mistake mistakes[] = {
    {"\"stpes\": 3, \"steps\": 3, " MODEL LM, MM_E_FORMAT, "config.json", "stpes"},
    {"\"steps\": 3, \"optimizer\": {\"betass\": 1}, " MODEL LM, MM_E_FORMAT, "config.json", "betass"},
    {"\"steps\": 3, \"optimizer\": {\"name\": \"sgd\", \"betas\": [0, 0]}, " MODEL LM, MM_E_FORMAT, "config.json", "betas"},
    {"\"steps\": 3, \"optimizer\": {\"betas\": [0.9, 1]}, " MODEL LM, MM_E_FORMAT, "config.json", "betas"},
    {"\"steps\": 3, \"optimizer\": {\"name\": \"adam\"}, " MODEL LM, MM_E_ARGUMENT, "adam", NULL},
    {"\"steps\": 3, \"optimizer\": {\"lr\": 1e30}, " MODEL LM, MM_E_FORMAT, "config.json", "lr"},
    {"\"steps\": 3, \"optimizer\": {\"groups\": 5}, " MODEL LM, MM_E_FORMAT, "groups", "list"},
    {"\"steps\": 3, \"optimizer\": {\"groups\": [{\"weight_decay\": 0}]}, " MODEL LM, MM_E_FORMAT, "group", "match"},
    {"\"steps\": 3, \"optimizer\": {\"groups\": [{\"match\": [\"*.biass\"]}]}, " MODEL LM, MM_E_NOT_FOUND, "*.biass", NULL},
    {"\"steps\": 3, \"schedule\": {\"name\": \"step\"}, " MODEL LM, MM_E_ARGUMENT, "step", NULL},
    {"\"steps\": \"ten\", " MODEL LM, MM_E_FORMAT, "config.json", "steps"},
    {"\"steps\": 2.5, " MODEL LM, MM_E_FORMAT, "config.json", "steps"},
    {MODEL LM, MM_E_FORMAT, "steps", "epochs"},
    {"\"steps\": 3, \"epochs\": 2, " MODEL LM, MM_E_FORMAT, "steps", "epochs"},
    {"\"steps\": 3, \"batch_size\": 0, " MODEL LM, MM_E_FORMAT, "batch_size", NULL},
    {"\"steps\": 3, \"master\": \"f16\", " MODEL LM, MM_E_FORMAT, "master", "f16"},
    {"\"steps\": 3, \"dropout\": 1, " MODEL LM, MM_E_FORMAT, "dropout", "0.999"},
    {"\"steps\": 3, \"dropout\": -0.1, " MODEL LM, MM_E_FORMAT, "config.json", "dropout"},
    {"\"steps\": 3, \"dropout\": \"half\", " MODEL LM, MM_E_FORMAT, "config.json", "dropout"},
    {"\"steps\": 3, \"lora\": {\"dropout\": 1.5}, " MODEL LM, MM_E_FORMAT, "dropout", "0.999"},
    {"\"steps\": 3, \"freeze\": 1, " MODEL LM, MM_E_FORMAT, "freeze", NULL},
    {"\"steps\": 3, \"freeze\": [\"*head*\"], " MODEL LM, MM_E_NOT_FOUND, "*head*", NULL},
    {"\"steps\": 3, \"freeze\": \"*\", " MODEL LM, MM_E_ARGUMENT, "frozen", NULL},
    {"\"steps\": 3, \"sharing_penalty\": 0.1, " MODEL LM, MM_E_ARGUMENT, "sharing_penalty", "LlamaForCausalLM"},
    {"\"steps\": 3, \"sharing_penalty\": 0.1, \"master\": \"bf16\", " MODEL LM, MM_E_UNSUPPORTED, "sharing_penalty", "bf16"},
    {"\"steps\": 3, \"lora\": {\"target_modules\": [\"x_proj\"]}, " MODEL LM, MM_E_NOT_FOUND, "x_proj", NULL},
    {"\"steps\": 3, \"lora\": {\"rank\": 3}, " MODEL LM, MM_E_FORMAT, "rank", NULL},
    {"\"steps\": 3, " LM, MM_E_FORMAT, "model", NULL},
    {"\"steps\": 3, \"model\": {}, " LM, MM_E_FORMAT, "from", "config"},
    {"\"steps\": 3, \"model\": {\"from\": \"nowhere\"}, " LM, MM_E_NOT_FOUND, "nowhere", NULL},
    {"\"steps\": 3, \"model\": {\"from\": \"@/models/llama_words\", \"config\": {}}, " LM, MM_E_FORMAT, "from", "config"},
    {"\"steps\": 3, \"model\": {\"from\": \"@/models/llama_words\", \"tokenizer\": \"t\"}, " LM, MM_E_FORMAT, "tokenizer", "from"},
    {"\"steps\": 3, \"model\": {\"config\": {\"architectures\": [\"NoSuchModel\"]}}, " LM, MM_E_UNSUPPORTED, "NoSuchModel", NULL},
    {"\"steps\": 3, " VIT_OF("ViT", "\"size\": {\"height\": 16, \"width\": 24}") LM, MM_E_FORMAT, "16 x 24 (size)", "16 x 16"},
    {"\"steps\": 3, " VIT_OF("CLIP", "\"size\": {\"height\": 16, \"width\": 16}") LM, MM_E_FORMAT, "224 x 224 (crop_size)", "16 x 16"},
    {"\"steps\": 3, " MODEL "\"tasks\": []", MM_E_FORMAT, "tasks", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": {\"a\": {}}", MM_E_FORMAT, "tasks", "list"},
    {"\"steps\": 3, " MODEL "\"tasks\": [3]", MM_E_FORMAT, "tasks", "list"},
    {"\"steps\": 3, " MODEL "\"tasks\": [{" DATA "}]", MM_E_FORMAT, "objective", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"magic\", " DATA "}]", MM_E_FORMAT, "magic", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"causal_lm\"}]", MM_E_FORMAT, "data", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"causal_lm\", \"mask_probability\": 0.1, " DATA "}]", MM_E_FORMAT, "causal_lm", "mask_probability"},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"causal_lm\", " DATA "}, {\"objective\": \"causal_lm\", " DATA "}]", MM_E_FORMAT, "causal_lm", "two"},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"no.jsonl\"}}]", MM_E_NOT_FOUND, "no.jsonl", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\", \"shuffle\": 1}}]", MM_E_FORMAT, "shuffle", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\", \"validation_split\": 1e-9}}]", MM_E_ARGUMENT, "validation", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\", \"augment\": {\"blur\": 1}}}]", MM_E_FORMAT, "blur", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"classification\", " DATA "}]", MM_E_UNSUPPORTED, "classes", "LlamaForCausalLM"},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"classification\", \"head\": \"color\", " DATA "}]", MM_E_UNSUPPORTED, "color", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"masked_lm\", " DATA "}]", MM_E_UNSUPPORTED, "mask token", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"span_corruption\", " DATA "}]", MM_E_UNSUPPORTED, "decoder", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"mae\", " DATA "}]", MM_E_UNSUPPORTED, "vision", NULL},
    {"\"steps\": 3, " MODEL "\"tasks\": [{\"objective\": \"distillation\", " DATA "}]", MM_E_FORMAT, "teacher", NULL},
    {"\"steps\": 3, " NEW_GPT2 "\"tasks\": [{\"objective\": \"dpo\", " DATA "}]", MM_E_ARGUMENT, "reference", NULL},
    {"\"steps\": 3, " NEW_GPT2 "\"tasks\": [{\"objective\": \"chat\", " DATA "}]", MM_E_UNSUPPORTED, "chat template", NULL},
    {"\"steps\": 3, \"model\": {\"from\": \"@/models/gpt2\"}, " LM, MM_E_UNSUPPORTED, "tokenizer", NULL},
};

static void test_configurations(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "3", "{\"output\": 3}", "{}"};
    mm_context *ctx = context_of(1);
    mm_trainer *t = NULL;
    char *json = NULL;
    mm_model *m = open_golden(ctx, "llama_words");
    (void)state;

    write_texts();
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const mistake *e = &mistakes[i];
        const mm_status st = mm_trainer_create(ctx, write_config("out", e->rest), &t);
        if (st != e->status || !strstr(mm_context_error(ctx), e->says) || (e->too && !strstr(mm_context_error(ctx), e->too)))
            fail_msg("%s\n%s (%s), expected %s with \"%s\" and \"%s\"", e->rest, mm_status_name(st), st ? mm_context_error(ctx) : "", mm_status_name(e->status), e->says,
                     e->too ? e->too : "");
        assert_null(t);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text("config.json", texts[i]);
        refused(ctx, mm_trainer_create(ctx, in_folder("config.json"), &t), MM_E_FORMAT, "config.json", NULL);
    }
    refused(ctx, mm_trainer_create(ctx, in_folder("none.json"), &t), MM_E_NOT_FOUND, "none.json", NULL);
    refused(ctx, mm_trainer_create(ctx, folder, &t), MM_E_IO, folder, NULL);
    refused(ctx, mm_trainer_create(ctx, NULL, &t), MM_E_ARGUMENT, "NULL", NULL);
    assert_int_equal(mm_trainer_create(NULL, folder, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_trainer_run(NULL, 1, NULL, NULL), MM_E_ARGUMENT);
    refused(ctx, mm_evaluate(ctx, m, in_folder("none.json"), &json), MM_E_NOT_FOUND, "none.json", NULL);
    assert_null(json);
    mm_model_release(m);
    mm_context_destroy(ctx);
}

/* Data. */

typedef struct {
    const char *config, *good, *bad; /* lines of data.jsonl */
    mm_status status;
    const char *says;
} bad_line;

#define OVER(objective, more) "\"tasks\": [{\"objective\": \"" objective "\"" more ", \"data\": {\"train\": \"data.jsonl\", \"skip_bad\": %s}}]"
#define CAT "{\"image\": \"0.png\", \"label\": \"cat\"}"

static const bad_line bad_lines[] = {
    {MODEL OVER("causal_lm", ""), "{\"text\": \"the stone\"}", "{\"text\": \"the st", MM_E_FORMAT, "data.jsonl:2"},
    {MODEL OVER("causal_lm", ""), "{\"text\": \"the stone\"}", "{\"caption\": \"the\"}", MM_E_FORMAT, "\"text\" is missing"},
    {MODEL OVER("causal_lm", ""), "{\"text\": \"the stone\"}", "{\"text\": 3}", MM_E_FORMAT, "text"},
    {MODEL OVER("causal_lm", ""), "{\"text\": \"the stone\"}", "{\"txet\": \"a\", \"text\": \"b\"}", MM_E_FORMAT, "txet"},
    {MODEL OVER("vqa", ", \"max_tokens\": 20"), "{\"question\": \"a\", \"answer\": \"b\"}", "{\"question\": \"a\", \"answer\": \"in an inn on the stone\"}", MM_E_LIMIT, "tokens"},
    {MODEL OVER("vqa", ""), "{\"question\": \"a\", \"answer\": \"b\"}", "{\"question\": \"a\"}", MM_E_FORMAT, "\"answer\" is missing"},
    {MODEL OVER("dpo", ""), "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}", "{\"prompt\": \"a\", \"chosen\": \"b\"}", MM_E_FORMAT, "\"rejected\" is missing"},
    {MODEL OVER("chat", ""), "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}",
     "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", MM_E_FORMAT, "data.jsonl:2"},
    {VIT OVER("classification", ""), CAT, "{\"image\": \"0.png\", \"label\": \"bird\"}", MM_E_FORMAT, "bird"},
    {VIT OVER("classification", ""), CAT, "{\"image\": \"0.png\", \"label\": 2}", MM_E_FORMAT, "2"},
    {VIT OVER("classification", ""), CAT, "{\"image\": \"0.png\"}", MM_E_FORMAT, "label"},
    {VIT OVER("classification", ""), CAT, "{\"image\": \"no.png\", \"label\": \"cat\"}", MM_E_NOT_FOUND, "no.png"},
    {VIT OVER("classification", ""), CAT, "{\"image\": \"broken.png\", \"label\": \"cat\"}", MM_E_FORMAT, "broken.png"},
    {VIT OVER("classification", ""), CAT, "{\"image\": \"texts.jsonl\", \"label\": \"cat\"}", MM_E_UNSUPPORTED, "texts.jsonl"},
};

static void test_data(void **state)
{
    mm_context *ctx = context_of(1);
    (void)state;

    write_texts();
    write_picture(ctx, "0.png", 3, 1);
    {
        char *png, *end;
        size_t size;
        FILE *f;
        ok(ctx, mmi_file_read(ctx, in_folder("0.png"), 1 << 20, &png, &size));
        end = png + size;
        memset(end - 40, 0x55, 20);
        assert_non_null(f = fopen(in_folder("broken.png"), "w"));
        assert_int_equal(fwrite(png, 1, size, f), size);
        assert_int_equal(fclose(f), 0);
        mmi_free(png);
    }
    for (size_t i = 0; i < sizeof bad_lines / sizeof *bad_lines; i++) {
        const bad_line *b = &bad_lines[i];
        char config[2048], lines[1024];
        (void)snprintf(lines, sizeof lines, "%s\n%s\n%s\n", b->good, b->bad, b->good);
        write_text("data.jsonl", lines);
        for (int skip = 0; skip < 2; skip++) {
            int64_t skipped = -1;
            mm_trainer *t;
            mm_status st;
            size_t n;
            n = (size_t)snprintf(config, sizeof config, "\"epochs\": 2, \"batch_size\": 3, ");
            (void)snprintf(config + n, sizeof config - n, b->config, skip ? "true" : "false");
            remove_tree(in_folder("out"));
            t = trainer_of(ctx, "out", config);
            st = mm_trainer_run(t, 0, NULL, NULL);
            if (!skip) {
                if (st != b->status || !strstr(mm_context_error(ctx), b->says) || !strstr(mm_context_error(ctx), "data.jsonl:2"))
                    fail_msg("%s\n%s (%s), expected %s with \"%s\"", b->bad, mm_status_name(st), st ? mm_context_error(ctx) : "", mm_status_name(b->status), b->says);
            } else {
                ok(ctx, st);
            }
            ok(ctx, mm_trainer_get_i64(t, MM_TRAINER_SKIPPED, &skipped));
            assert_int_equal(skipped, skip);
            mm_trainer_destroy(t);
        }
    }
    { /* numbers that the model has not as many of, and of which each line has another number */
        static const char *const lines[] = {"{\"image\": \"0.png\", \"value\": 1}\n", "{\"image\": \"0.png\", \"value\": [1, 2]}\n{\"image\": \"0.png\", \"value\": 1}\n"};
        for (int i = 0; i < 2; i++) {
            mm_trainer *t;
            write_text("data.jsonl", lines[i]);
            t = trainer_of(ctx, "out2", "\"steps\": 1, \"batch_size\": 2, " VIT "\"tasks\": [{\"objective\": \"regression\", \"data\": {\"train\": \"data.jsonl\"}}]");
            if (i) refused(ctx, mm_trainer_run(t, 0, NULL, NULL), MM_E_FORMAT, "regression", "different numbers of values", NULL);
            else refused(ctx, mm_trainer_run(t, 0, NULL, NULL), MM_E_SHAPE, "[2, 2]", "[2, 1]", NULL);
            mm_trainer_destroy(t);
        }
    }
    mm_context_destroy(ctx);
}

/* Numbers that run away: the step and the tensor, and weights that are those before. */
static void test_overflow(void **state)
{
    mm_context *ctx = context_of(1);
    mm_trainer *t;
    unsigned char *before = NULL;
    size_t bytes = 0;
    mm_status st = MM_OK;
    int64_t step = 0;
    char said[64];
    (void)state;

    write_texts();
    t = trainer_of(ctx, "out", "\"steps\": 200, \"batch_size\": 6, \"optimizer\": {\"name\": \"sgd\", \"lr\": 1000, \"momentum\": 0}, " MODEL LM);
    while (!st) {
        free(before);
        before = weights_of(t, &bytes);
        st = mm_trainer_run(t, 1, NULL, NULL);
        if (!st) ok(ctx, mm_trainer_get_i64(t, MM_TRAINER_STEP, &step));
    }
    (void)snprintf(said, sizeof said, "step %lld", (long long)step + 1);
    refused(ctx, st, MM_E_OVERFLOW, said, NULL);
    assert_true(strstr(mm_context_error(ctx), "the loss of task causal_lm") || strstr(mm_context_error(ctx), "the gradient of "));
    assert_same_weights("after an overflow", t, before, bytes);
    refused(ctx, mm_trainer_run(t, 1, NULL, NULL), MM_E_OVERFLOW, said, NULL); /* and again */
    mm_trainer_destroy(t);

    /* one weight that is no number: its gradient's name */
    remove_tree(in_folder("out"));
    t = trainer_of(ctx, "out", "\"steps\": 2, \"batch_size\": 6, " MODEL LM);
    free(before);
    for (size_t i = 0; i < t->parameters.count; i++)
        if (strstr(t->parameters.list[i].name, "layers.0.mlp.gate_proj")) ((float *)t->parameters.list[i].weights)[1] = NAN;
    before = weights_of(t, &bytes);
    refused(ctx, mm_trainer_run(t, 1, NULL, NULL), MM_E_OVERFLOW, "step 1", "causal_lm", "nan", NULL);
    assert_same_weights("after a NaN", t, before, bytes);
    mm_trainer_destroy(t);
    free(before);
    mm_context_destroy(ctx);
}

/* A disk that fills while a checkpoint is written, and is emptied: the one before is whole, and the run goes on as if nothing had been. */
static void test_full_disk(void **state)
{
    static const char config[] = "\"steps\": 6, \"save_every\": 2, \"keep\": 1, \"batch_size\": 2, \"log_every\": 1, " MODEL LM;
    mm_context *ctx = context_of(1);
    struct rlimit kept, low;
    unsigned char *want, *at2;
    size_t bytes;
    mm_trainer *t;
    int64_t step = 0;
    char *log;
    size_t lines = 0;
    (void)state;

    write_texts();
    t = trainer_of(ctx, "whole", config);
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    want = weights_of(t, &bytes);
    mm_trainer_destroy(t);

    t = trainer_of(ctx, "full", config);
    ok(ctx, mm_trainer_run(t, 2, NULL, NULL));
    at2 = weights_of(t, &bytes);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    low = kept;
    low.rlim_cur = 20000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    refused(ctx, mm_trainer_run(t, 0, NULL, NULL), MM_E_IO, "checkpoint-00000004.safetensors", "File too large", NULL);
    refused(ctx, mm_trainer_run(t, 0, NULL, NULL), MM_E_IO, "checkpoint-00000004.safetensors", "File too large", NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    ok(ctx, mm_trainer_get_i64(t, MM_TRAINER_STEP, &step));
    assert_int_equal(step, 4);
    {
        mm_trainer *other = trainer_of(ctx, "full", config);
        ok(ctx, mm_trainer_resume(other));
        assert_same_weights("the checkpoint before", other, at2, bytes);
        mm_trainer_destroy(other);
    }
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    assert_same_weights("after a full disk", t, want, bytes);
    mm_trainer_destroy(t);
    log = read_text(ctx, "full/log.jsonl");
    for (const char *p = log; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 6); /* each step once */
    mmi_free(log);
    free(want);
    free(at2);
    mm_context_destroy(ctx);
}

/* Cancellation. */

typedef struct {
    mm_context *ctx;
    int64_t at;
    int cancels; /* else the callback stops the run */
} stopping;

static int stop_at(void *user, mm_trainer *t)
{
    stopping *s = user;
    int64_t step = 0;

    ok(t->ctx, mm_trainer_get_i64(t, MM_TRAINER_STEP, &step));
    if (step != s->at) return 0;
    if (s->cancels) mm_context_cancel(s->ctx);
    return !s->cancels;
}

static void *cancel_often(void *arg)
{
    for (int i = 0; i < 30; i++) {
        struct timespec pause = {0, 300000};
        (void)nanosleep(&pause, NULL);
        mm_context_cancel(arg);
    }
    return NULL;
}

static void test_cancel(void **state)
{
    static const char config[] = "\"steps\": 40, \"save_every\": 7, \"evaluate_every\": 5, \"batch_size\": 4, \"accumulate\": 2, \"log_every\": 1, " MODEL
                                 "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\", \"validation\": \"texts.jsonl\"}}]";
    mm_context *ctx = context_of(2);
    unsigned char *want;
    size_t bytes;
    mm_trainer *t;
    stopping s = {ctx, 1, 0};
    pthread_t thread;
    mm_status st;
    char *log;
    size_t lines = 0;
    (void)state;

    write_texts();
    t = trainer_of(ctx, "whole", config);
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    want = weights_of(t, &bytes);
    mm_trainer_destroy(t);

    t = trainer_of(ctx, "stopped", config);
    ok(ctx, mm_trainer_run(t, 0, stop_at, &s));
    ok(ctx, mm_trainer_get_i64(t, MM_TRAINER_STEP, &s.at));
    assert_int_equal(s.at, 1);
    s = (stopping){ctx, 5, 1}; /* an evaluation is due there */
    assert_int_equal(mm_trainer_run(t, 0, stop_at, &s), MM_E_CANCELLED);
    s.at = 40;
    assert_int_equal(pthread_create(&thread, NULL, cancel_often, ctx), 0);
    while ((st = mm_trainer_run(t, 0, stop_at, &s)) == MM_E_CANCELLED) {}
    ok(ctx, st);
    assert_int_equal(pthread_join(thread, NULL), 0);
    while ((st = mm_trainer_run(t, 0, NULL, NULL)) == MM_E_CANCELLED) {}
    ok(ctx, st);
    assert_same_weights("stopped and cancelled", t, want, bytes);
    mm_trainer_destroy(t);
    log = read_text(ctx, "stopped/log.jsonl");
    for (const char *p = log; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 48); /* steps and evaluations, each once */
    mmi_free(log);
    free(want);
    mm_context_destroy(ctx);
}

/* A trainer that goes while batches are made. */
static void test_destroy_early(void **state)
{
    mm_context *ctx = context_of(2);
    (void)state;

    write_pictures(ctx);
    for (int64_t steps = 0; steps < 6; steps++) {
        mm_trainer *t = trainer_of(ctx, "early", "\"steps\": 1000, \"prefetch\": 16, \"batch_size\": 64, " VIT
                                   "\"tasks\": [{\"objective\": \"regression\", \"data\": {\"train\": \"pictures.jsonl\", \"augment\": {\"flip\": 0.5}}}]");
        if (steps) ok(ctx, mm_trainer_run(t, steps, NULL, NULL));
        mm_trainer_destroy(t);
    }
    mm_trainer_destroy(NULL);
    mm_context_destroy(ctx);
}

/* Memory that runs out. */

static mm_status whole_run(mm_context *ctx, char **json)
{
    mm_trainer *t = NULL;
    mm_status st = mm_trainer_create(ctx, in_folder("config.json"), &t);

    if (!st) st = mm_trainer_run(t, 0, NULL, NULL);
    if (!st) st = mm_trainer_evaluate(t, json);
    mm_trainer_destroy(t);
    if (!st) {
        st = mm_trainer_create(ctx, in_folder("config.json"), &t);
        if (!st) st = mm_trainer_resume(t);
        mm_trainer_destroy(t);
    }
    return st;
}

static void out_of_memory(const char *config)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mm_status st = MM_E_NOMEM;
    char *json = NULL;
    size_t before, failures = 0;
    long step = 1;

    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    (void)write_config("out", config);
    ok(ctx, whole_run(ctx, &json));
    mm_text_free(json);
    json = NULL;
    before = a.live;
    for (long k = 1; st; k += step) {
        a.count = 0;
        a.fail_at = k;
        remove_tree(in_folder("out"));
        st = whole_run(ctx, &json);
        if (st && st != MM_E_NOMEM) fail_msg("allocation %ld: %s: %s", k, mm_status_name(st), mm_context_error(ctx));
        if (!st && a.count >= k) fail_msg("allocation %ld failed unnoticed", k);
        mm_text_free(json);
        json = NULL;
        assert_int_equal(a.live, before);
        if (++failures % 300 == 0) step += 2; /* what comes behind are other steps of the same kind */
    }
    remove_tree(in_folder("out"));
    unit_context_end(&a, ctx);
}

static void test_out_of_memory(void **state)
{
    mm_context *ctx = context_of(1);
    mm_trainer *t;
    (void)state;

    write_texts();
    write_pictures(ctx);
    write_text("answers.jsonl", "{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"c\", \"answer\": \"d\"}\n");
    mm_context_destroy(ctx);
    out_of_memory("\"steps\": 1, \"batch_size\": 2, \"prefetch\": 0, " NEW_GPT2 "\"tasks\": [{\"objective\": \"causal_lm\", \"pack\": true, \"max_tokens\": 16, "
                  "\"data\": {\"train\": \"texts.jsonl\", \"validation\": \"texts.jsonl\"}}]");
    t = trainer_of(ctx = context_of(1), "base", "\"steps\": 1, " NEW_GPT2 "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\"}}]");
    ok(ctx, mm_trainer_save(t, in_folder("base")));
    mm_trainer_destroy(t);
    mm_context_destroy(ctx);
    out_of_memory("\"steps\": 1, \"batch_size\": 2, \"prefetch\": 0, " GPT2_WITH(", \"weights\": \"base\", \"chat_template\": \"{{ messages[0].content }}\"")
                  "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\"}}]");
    out_of_memory("\"steps\": 1, \"batch_size\": 2, \"prefetch\": 0, " VIT "\"optimizer\": {\"name\": \"adafactor\", \"groups\": [{\"match\": \"*bias\", \"lr_scale\": 2}]}, "
                  "\"tasks\": [{\"objective\": \"regression\", \"data\": {\"train\": \"pictures.jsonl\", \"validation\": \"pictures.jsonl\", \"skip_bad\": true, "
                  "\"augment\": {\"flip\": 0.5}}}]");
    out_of_memory("\"steps\": 1, \"batch_size\": 2, \"prefetch\": 0, \"model\": {\"from\": \"@/pipelines/clip\"}, \"train_only\": \"logit_scale\", "
                  "\"tasks\": [{\"objective\": \"contrastive\", \"data\": {\"train\": \"pictures.jsonl\", \"validation\": \"pictures.jsonl\"}}]");
    out_of_memory("\"steps\": 1, \"batch_size\": 2, \"prefetch\": 0, \"dropout\": 0.1, \"lora\": {\"r\": 2, \"dropout\": 0.1}, " MODEL
                  "\"tasks\": [{\"objective\": \"vqa\", \"generate\": 1, \"data\": {\"train\": \"answers.jsonl\", \"validation\": \"answers.jsonl\"}}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_configurations, folder_begin, folder_end), cmocka_unit_test_setup_teardown(test_data, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_overflow, folder_begin, folder_end),       cmocka_unit_test_setup_teardown(test_full_disk, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_cancel, folder_begin, folder_end),         cmocka_unit_test_setup_teardown(test_destroy_early, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_out_of_memory, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
