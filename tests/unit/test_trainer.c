/* Runs of the trainer: that each objective learns what a toy has to teach, that a run is the same with any number of threads and wherever it was
 * interrupted, bit for bit, what is measured, written and saved. That losses are right is tested by test_objectives.c beside torch.
 * SPDX-License-Identifier: MIT */
#include "trainer_fixture.h"

#include "mm_audio.h"
#include "mm_tokenizer.h"

/* Learning. */

typedef struct {
    double losses[512];
    size_t count;
} curve;

static int keep_loss(void *user, mm_trainer *t)
{
    curve *c = user;
    ok(t->ctx, mm_trainer_get_f64(t, MM_TRAINER_LOSS, &c->losses[c->count++]));
    return 0;
}

static double mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

/* The loss falls below `share` of where it began. */
static void learns(mm_context *ctx, const char *name, double share, const char *config)
{
    mm_trainer *t = trainer_of(ctx, name, config);
    curve c = {.count = 0};
    double last;
    int64_t steps = 0;
    char *json = NULL;

    ok(ctx, mm_trainer_run(t, 0, keep_loss, &c));
    ok(ctx, mm_trainer_get_i64(t, MM_TRAINER_STEPS, &steps));
    assert_int_equal(c.count, steps);
    last = mean(c.losses + c.count - 4, 4);
    if (!(last < share * c.losses[0])) fail_msg("%s: the loss began at %g and came to %g", name, c.losses[0], last);
    ok(ctx, mm_trainer_evaluate(t, &json));
    assert_non_null(json);
    mm_text_free(json);
    mm_trainer_destroy(t);
}

#define SMALL "\"seed\": 3, \"batch_size\": 4, \"clip_norm\": 1, \"optimizer\": {\"lr\": 0.01}, "
#define PICTURES "\"data\": {\"train\": \"pictures.jsonl\", \"validation\": \"pictures.jsonl\"}"
#define SENTENCES "\"data\": {\"train\": \"texts.jsonl\", \"validation\": \"texts.jsonl\"}"
#define PROCESSOR                                                                                                                                      \
    "\"processor\": {\"image_processor_type\": \"ViTImageProcessor\", \"do_resize\": true, \"size\": {\"height\": 16, \"width\": 16}, "        \
    "\"do_rescale\": true, \"rescale_factor\": 0.00392156862745098, \"do_normalize\": true, \"image_mean\": [0.5, 0.5, 0.5], "               \
    "\"image_std\": [0.5, 0.5, 0.5], \"resample\": 2}"
#define VIT                                                                                                                                           \
    "{\"config\": {\"architectures\": [\"ViTForImageClassification\"], \"model_type\": \"vit\", \"hidden_size\": 16, \"num_hidden_layers\": 1, "     \
    "\"num_attention_heads\": 2, \"intermediate_size\": 24, \"image_size\": 16, \"patch_size\": 8, \"hidden_act\": \"gelu\", "                       \
    "\"id2label\": {\"0\": \"black\", \"1\": \"red\", \"2\": \"green\", \"3\": \"yellow\"}}, " PROCESSOR "}"
#define GPT2                                                                                                                                           \
    "{\"config\": {\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"vocab_size\": 45, \"n_positions\": 40, \"n_embd\": 16, " \
    "\"n_layer\": 1, \"n_head\": 2}, \"tokenizer\": \"@/models/llama_words\"}"
#define TEMPLATED                                                                                                                                      \
    "{\"config\": {\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"vocab_size\": 300, \"n_positions\": 99, \"n_embd\": 16, "  \
    "\"n_layer\": 1, \"n_head\": 2}, \"tokenizer\": {\"train\": \"bpe\", \"vocab_size\": 300, \"eos_token\": \"<end>\"}, "                            \
    "\"chat_template\": \"{% for m in messages %}{{ m['content'] }}\\n{% endfor %}\"}"
#define BERT(class, more)                                                                                                                              \
    "{\"config\": {\"architectures\": [\"" class "\"], \"model_type\": \"bert\", \"vocab_size\": 480, \"hidden_size\": 16, \"num_hidden_layers\": 1, " \
    "\"num_attention_heads\": 2, \"intermediate_size\": 24, \"max_position_embeddings\": 40, \"hidden_act\": \"gelu\"" more "}, "                      \
    "\"tokenizer\": \"@/tokenizers/bert.json\"}"

static void test_learns_texts(void **state)
{
    mm_context *ctx = context_of(1);
    char *template;
    (void)state;

    write_texts();
    learns(ctx, "gpt", 0.5, SMALL "\"steps\": 60, \"model\": " GPT2 ", \"tasks\": [{\"objective\": \"causal_lm\", " SENTENCES "}]");
    learns(ctx, "bert", 0.6, SMALL "\"steps\": 60, \"model\": " BERT("BertForMaskedLM", "") ", "
           "\"tasks\": [{\"objective\": \"masked_lm\", \"mask_probability\": 0.3, " SENTENCES "}]");
    learns(ctx, "t5", 0.6, SMALL "\"steps\": 60, \"model\": {\"from\": \"@/pipelines/t5\"}, "
           "\"tasks\": [{\"objective\": \"span_corruption\", \"mask_probability\": 0.3, \"max_tokens\": 24, " SENTENCES "}]");
    learns(ctx, "distilled", 0.75, SMALL "\"steps\": 40, \"model\": " GPT2 ", \"tasks\": [{\"objective\": \"distillation\", \"teacher\": \"@/models/llama_words\", "
           "\"soft_weight\": 0.8, \"temperature\": 0.5, " SENTENCES "}]");
    write_text("pairs.jsonl", "{\"prompt\": \"the \", \"chosen\": \"stone\", \"rejected\": \"ant\"}\n{\"prompt\": \"an \", \"chosen\": \"ant\", \"rejected\": \"stone\"}\n"
                              "{\"prompt\": \"on \", \"chosen\": \"the stone\", \"rejected\": \"a\"}\n");
    learns(ctx, "dpo", 0.5, SMALL "\"steps\": 30, \"model\": " WORDS ", \"lora\": {\"r\": 4}, \"tasks\": [{\"objective\": \"dpo\", \"beta\": 0.5, "
           "\"data\": {\"train\": \"pairs.jsonl\", \"validation\": \"pairs.jsonl\"}}]");
    write_text("chats.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"where is the ant?\"}, {\"role\": \"assistant\", \"content\": \"on the stone.\"}]}\n"
                              "{\"messages\": [{\"role\": \"user\", \"content\": \"and the rest?\"}, {\"role\": \"assistant\", \"content\": \"in the inn!\"}]}\n");
    learns(ctx, "chat", 0.4, SMALL "\"steps\": 40, \"model\": " WORDS ", \"tasks\": [{\"objective\": \"chat\", \"data\": {\"train\": \"chats.jsonl\"}}]");
    learns(ctx, "templated", 0.4, SMALL "\"steps\": 60, \"model\": " TEMPLATED ", \"tasks\": [{\"objective\": \"chat\", \"data\": {\"train\": \"chats.jsonl\"}}]");
    template = read_text(ctx, "templated/chat_template.jinja");
    assert_string_equal(template, "{% for m in messages %}{{ m['content'] }}\n{% endfor %}");
    mmi_free(template);
    write_text("numbers.jsonl", "{\"text\": \"the\", \"value\": 1}\n{\"text\": \"stone\", \"value\": -1}\n{\"text\": \"an ant\", \"value\": 0.5}\n");
    learns(ctx, "numbers", 0.2, SMALL "\"steps\": 60, \"model\": " BERT("BertForSequenceClassification", ", \"id2label\": {\"0\": \"x\"}") ", "
           "\"tasks\": [{\"objective\": \"regression\", \"data\": {\"train\": \"numbers.jsonl\", \"validation\": \"numbers.jsonl\"}}]");
    mm_context_destroy(ctx);
}

static void test_learns_pictures(void **state)
{
    mm_context *ctx = context_of(2);
    (void)state;

    write_pictures(ctx);
    learns(ctx, "vit", 0.3, SMALL "\"steps\": 60, \"model\": " VIT ", \"tasks\": [{\"objective\": \"classification\", " PICTURES "}]");
    learns(ctx, "mae", 0.8, SMALL "\"steps\": 60, \"checkpoint_activations\": true, \"model\": {\"config\": {\"architectures\": [\"ViTMAEForPreTraining\"], "
           "\"model_type\": \"vit_mae\", \"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 24, \"image_size\": 16, "
           "\"patch_size\": 4, \"decoder_hidden_size\": 12, \"decoder_num_hidden_layers\": 1, \"decoder_num_attention_heads\": 2, \"decoder_intermediate_size\": 16, "
           "\"mask_ratio\": 0.5, \"norm_pix_loss\": false}, \"processor\": {\"image_processor_type\": \"ViTImageProcessor\", \"size\": {\"height\": 16, \"width\": 16}}}, "
           "\"tasks\": [{\"name\": \"hidden\", \"objective\": \"mae\", " PICTURES "}, {\"name\": \"noisy\", \"objective\": \"denoising_image\", \"noise\": 0.5, " PICTURES "}]");
    learns(ctx, "clip", 0.7, SMALL "\"steps\": 60, \"model\": {\"from\": \"@/pipelines/clip\"}, \"tasks\": [{\"objective\": \"contrastive\", " PICTURES "}]");
    learns(ctx, "siglip", 0.7, SMALL "\"steps\": 60, \"model\": {\"from\": \"@/pipelines/siglip\"}, \"tasks\": [{\"objective\": \"sigmoid_contrastive\", " PICTURES "}]");
    learns(ctx, "captions", 0.5, SMALL "\"steps\": 40, \"model\": {\"from\": \"@/pipelines/blip_caption\"}, "
           "\"tasks\": [{\"objective\": \"caption\", \"prompt\": \"a \", \"generate\": 2, " PICTURES "}]");
    learns(ctx, "across", 0.5, SMALL "\"steps\": 40, \"model\": {\"from\": \"@/pipelines/trocr\"}, \"tasks\": [{\"objective\": \"caption\", " PICTURES "}]");
    learns(ctx, "answers", 0.5, SMALL "\"steps\": 40, \"model\": {\"from\": \"@/pipelines/blip_answer\"}, \"tasks\": [{\"objective\": \"vqa\", \"generate\": 2, " PICTURES "}]");
    learns(ctx, "llava", 0.5, SMALL "\"steps\": 40, \"train_only\": [\"*projector*\"], \"lora\": {\"target_modules\": [\"q_proj\", \"v_proj\"]}, "
           "\"model\": {\"from\": \"@/pipelines/llava\"}, \"tasks\": [{\"objective\": \"vqa\", \"generate\": 2, " PICTURES "}]");
    write_text("sounds.jsonl", "{\"audio\": \"sound.wav\", \"text\": \"and so on\"}\n");
    {
        char from[600];
        (void)snprintf(from, sizeof from, "%s/tests/golden/pipelines/sound.wav", home);
        assert_int_equal(symlink(from, in_folder("sound.wav")), 0);
    }
    learns(ctx, "whisper", 0.5, SMALL "\"steps\": 20, \"model\": {\"from\": \"@/pipelines/whisper\"}, "
           "\"tasks\": [{\"objective\": \"caption\", \"generate\": 1, \"data\": {\"train\": \"sounds.jsonl\", \"validation\": \"sounds.jsonl\"}}]");
    mm_context_destroy(ctx);
}

/* Several tasks. */

#define COMPOSITE                                                                                                                                       \
    "{\"config\": {\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", \"text_config\": {\"model_type\": \"bert\", \"vocab_size\": 480, "       \
    "\"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 24, \"max_position_embeddings\": 40}, "       \
    "\"vision_config\": {\"model_type\": \"vit\", \"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "                     \
    "\"intermediate_size\": 24, \"image_size\": 16, \"patch_size\": 8}, \"hidden_size\": 12, \"fusion\": \"early\", "                               \
    "\"fusion_config\": {\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 16}, "                                         \
    "\"heads\": [{\"name\": \"color\", \"kind\": \"classification\", \"input\": \"vision\", \"depth\": 1, "                                                 \
    "\"labels\": [\"black\", \"red\", \"green\", \"yellow\"]}, "                                                                               \
    "{\"name\": \"numbers\", \"kind\": \"regression\", \"size\": 2}, {\"name\": \"match\", \"kind\": \"matching\"}, "                              \
    "{\"name\": \"place\", \"kind\": \"classification\", \"labels\": [\"l\", \"r\"]}]}, "                   \
    "\"tokenizer\": \"@/tokenizers/bert.json\", " PROCESSOR "}"

static double number_of(const char *json, const char *task, const char *key)
{
    char quoted[64];
    const char *at;

    (void)snprintf(quoted, sizeof quoted, "\"%s\": ", task);
    assert_non_null(at = strstr(json, quoted));
    (void)snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    assert_non_null(at = strstr(at, quoted));
    return strtod(at + strlen(quoted), NULL);
}

/* Each task as often as its ratio says, its losses and measures by its name, weighted in the sum. */
static void test_many_tasks(void **state)
{
    mm_context *ctx = context_of(2);
    mm_trainer *t;
    char *json = NULL, *log;
    size_t counts[4] = {0};
    static const char *const names[] = {"color", "numbers", "match", "place"};
    double loss, sum = 0;
    (void)state;

    write_pictures(ctx);
    t = trainer_of(ctx, "many", "\"seed\": 2, \"batch_size\": 4, \"accumulate\": 5, \"steps\": 250, \"log_every\": 1, \"optimizer\": {\"lr\": 0.01}, \"model\": " COMPOSITE ", \"tasks\": ["
                   "{\"name\": \"color\", \"objective\": \"classification\", \"head\": \"color\", \"ratio\": 2, \"weight\": 0.5, " PICTURES "}, "
                   "{\"name\": \"numbers\", \"objective\": \"regression\", \"head\": \"numbers\", " PICTURES "}, "
                   "{\"name\": \"match\", \"objective\": \"matching\", \"head\": \"match\", " PICTURES "}, "
                   "{\"name\": \"place\", \"objective\": \"classification\", \"head\": \"place\", " PICTURES "}]");
    ok(ctx, mm_trainer_run(t, 1, NULL, NULL));
    for (int i = 0; i < 4; i++) sum += t->config.tasks[i].weight * t->report.task_loss[i] / 5;
    ok(ctx, mm_trainer_get_f64(t, MM_TRAINER_LOSS, &loss));
    assert_true(fabs(loss - sum) < 1e-12);
    for (int i = 0; i < 4; i++) assert_int_equal(t->report.task_batches[i], i ? 1 : 2); /* 5 batches a step */
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    ok(ctx, mm_trainer_evaluate(t, &json));
    assert_true(number_of(json, "color", "accuracy") == 1);
    assert_true(number_of(json, "place", "accuracy") == 1);
    assert_true(number_of(json, "match", "accuracy") > 0.6);
    assert_true(number_of(json, "numbers", "r2") > 0.5);
    assert_true(number_of(json, "color", "samples") == 8);
    assert_non_null(strstr(json, "\"labels\": [\"black\", \"red\", \"green\", \"yellow\"]"));
    assert_non_null(strstr(json, "\"confusion\": [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]"));
    mm_text_free(json);
    log = read_text(ctx, "many/log.jsonl");
    for (const char *line = log; *line; line = strchr(line, '\n') + 1)
        for (int i = 0; i < 4; i++) {
            char key[32];
            const char *found;
            (void)snprintf(key, sizeof key, "\"%s\": ", names[i]);
            found = strstr(line, key);
            counts[i] += found && found < strchr(line, '\n');
        }
    for (int i = 0; i < 4; i++) assert_int_equal(counts[i], 251); /* 250 steps and an evaluation */
    mmi_free(log);
    mm_trainer_destroy(t);
    mm_context_destroy(ctx);
}

/* What a loss is made of. */

/* The sum over the tokens of a text of minus the log of their probability, by the model's logits alone; *n are they. */
static double likelihood(mm_context *ctx, const mm_model *m, const char *text, size_t *n)
{
    const mm_tokenizer *tok = NULL;
    int32_t *ids = NULL, *with_end;
    size_t count = 0;
    mm_tensor *input = NULL;
    mm_tensor_map *in = NULL, *out = NULL;
    double sum = 0;

    assert_non_null(tok = mm_model_tokenizer(m));
    ok(ctx, mm_tokenizer_encode(tok, ctx, text, strlen(text), MM_TOKENS_ADD_SPECIAL, &ids, &count));
    assert_non_null(with_end = malloc((count + 1) * sizeof *with_end));
    memcpy(with_end, ids, count * sizeof *ids);
    mm_ids_free(ids);
    with_end[count++] = 1; /* </s> */
    ok(ctx, mm_tensor_create(ctx, MM_DTYPE_I32, 2, (int64_t[]){1, (int64_t)count}, &input));
    memcpy(mm_tensor_data(input), with_end, count * sizeof *with_end);
    ok(ctx, mm_tensor_map_create(ctx, &in));
    ok(ctx, mm_tensor_map_set(ctx, in, "input_ids", input));
    ok(ctx, mm_model_forward(m, ctx, in, &out));
    for (size_t t = 1; t < count; t++) {
        const mm_tensor *logits = mm_tensor_map_get(out, "logits");
        const int64_t V = mm_tensor_shape(logits)[2];
        const float *row = (const float *)mm_tensor_const_data(logits) + (t - 1) * (size_t)V;
        double all = 0;
        for (int64_t v = 0; v < V; v++) all += exp((double)row[v]);
        sum += log(all) - (double)row[with_end[t]];
    }
    *n += count - 1;
    free(with_end);
    mm_tensor_release(input);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
    return sum;
}

/* Texts padded, packed and apart come to the same, which is what the model's logits say. */
static void test_texts_packed(void **state)
{
    static const char *const texts[] = {"the one in the", "an ant on the stone, an ant.", "there!", "a rest in an inn on the east", "on and on and on?", "the rest is the rest"};
    mm_context *ctx = context_of(2);
    mm_trainer *t = NULL;
    double want = 0, have, norms[3];
    size_t n = 0;
    char *json = NULL;
    (void)state;

    write_texts();
    for (int i = 0; i < 3; i++) {
        static const char *const rest[] = {"", ", \"pack\": true, \"max_tokens\": 40", ", \"label_smoothing\": 0.2"};
        char config[1024];
        (void)snprintf(config, sizeof config, "\"steps\": 3, \"batch_size\": %d, \"accumulate\": %d, \"model\": " WORDS ", \"tasks\": [{\"objective\": \"causal_lm\"%s, " SENTENCES "}]",
                       i < 2 ? 6 : 1, i < 2 ? 1 : 6, rest[i]);
        t = trainer_of(ctx, i == 0 ? "padded" : i == 1 ? "packed" : "apart", config);
        if (!i)
            for (int k = 0; k < 6; k++) want += likelihood(ctx, mm_trainer_model(t), texts[k], &n);
        ok(ctx, mm_trainer_evaluate(t, &json));
        if ((fabs(number_of(json, "causal_lm", "loss") - want / (double)n) > 1e-5) != (i == 2)) fail_msg("%s is no mean of %g over %zu", json, want, n);
        assert_true(fabs(number_of(json, "causal_lm", "perplexity") - exp(want / (double)n)) < 1e-3);
        mm_text_free(json);
        ok(ctx, mm_trainer_run(t, 1, NULL, NULL));
        ok(ctx, mm_trainer_get_f64(t, MM_TRAINER_LOSS, &have));
        ok(ctx, mm_trainer_get_f64(t, MM_TRAINER_GRADIENT_NORM, &norms[i]));
        if (i < 2 && fabs(have - want / (double)n) > 1e-5) fail_msg("the loss is %g, not %g", have, want / (double)n);
        mm_trainer_destroy(t);
    }
    assert_true(fabs(norms[1] - norms[0]) < 1e-4 * norms[0]);
    mm_context_destroy(ctx);
}

/* Going on. */

typedef struct {
    const char *name, *config;
    int threads[3]; /* of the unbroken run, of the first part, of the second */
} resumption;

static const resumption resumptions[] = {
    {"adamw", "\"model\": " WORDS ", " TEXTS, {1, 1, 1}},
    {"threads", "\"model\": " WORDS ", " TEXTS, {3, 1, 2}},
    {"sgd", "\"optimizer\": {\"name\": \"sgd\", \"momentum\": 0.9, \"nesterov\": true}, \"model\": " WORDS ", " TEXTS, {1, 1, 1}},
    {"lion", "\"optimizer\": {\"name\": \"lion\", \"lr\": 1e-3}, \"checkpoint_activations\": true, \"model\": " WORDS ", " TEXTS, {2, 1, 1}},
    {"adafactor", "\"optimizer\": {\"name\": \"adafactor\"}, \"model\": " WORDS ", " TEXTS, {2, 1, 1}},
    {"accumulated", "\"accumulate\": 3, \"batch_size\": 1, \"model\": " WORDS ", \"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\"}}, "
     "{\"name\": \"again\", \"objective\": \"causal_lm\", \"ratio\": 0.4, \"pack\": true, \"data\": {\"train\": \"texts.jsonl\", \"validation_split\": 0.3}}]", {2, 1, 2}},
    {"bf16", "\"master\": \"bf16\", \"model\": " WORDS ", " TEXTS, {2, 1, 2}},
    {"lora", "\"lora\": {\"r\": 2, \"alpha\": 4}, \"train_only\": [\"*norm.weight\"], \"model\": " WORDS ", " TEXTS, {1, 2, 1}},
    {"dropout", "\"dropout\": 0.3, \"accumulate\": 2, \"lora\": {\"r\": 2, \"dropout\": 0.5}, \"train_only\": [\"*embed*\"], \"checkpoint_activations\": true, "
     "\"model\": " WORDS ", " TEXTS, {3, 1, 2}},
    {"frozen", "\"freeze\": [\"*embed*\", \"*layers.0*\"], \"model\": " WORDS ", " TEXTS, {1, 2, 1}},
    {"pictures", "\"model\": " VIT ", \"tasks\": [{\"objective\": \"classification\", \"data\": {\"train\": \"pictures.jsonl\", \"validation_split\": 0.2, "
     "\"augment\": {\"flip\": 0.5, \"color\": {\"brightness\": 0.3}}}}]", {3, 1, 2}},
};

static void run_part(const resumption *r, const char *output, int threads, int64_t steps, int resume, unsigned char **weights, size_t *bytes)
{
    mm_context *ctx = context_of(threads);
    char config[2048];
    mm_trainer *t;

    (void)snprintf(config, sizeof config, "\"seed\": 7, \"steps\": 20, \"log_every\": 1, \"clip_norm\": 1, \"schedule\": {\"name\": \"cosine\", \"warmup_steps\": 3}, %s%s",
                   strstr(r->config, "batch_size") ? "" : "\"batch_size\": 4, ", r->config);
    t = trainer_of(ctx, output, config);
    if (resume) ok(ctx, mm_trainer_resume(t));
    ok(ctx, mm_trainer_run(t, steps, NULL, NULL));
    if (steps) ok(ctx, mm_trainer_checkpoint(t));
    if (steps) ok(ctx, mm_trainer_run(t, 2, NULL, NULL)); /* which is lost */
    if (weights) *weights = weights_of(t, bytes);
    mm_trainer_destroy(t);
    mm_context_destroy(ctx);
}

/* The same lines but for the rate of samples. */
static void assert_same_log(mm_context *ctx, const char *name)
{
    char one[64], two[64], *a, *b, *x, *y;

    (void)snprintf(one, sizeof one, "%s/log.jsonl", name);
    (void)snprintf(two, sizeof two, "%s.parts/log.jsonl", name);
    a = x = read_text(ctx, one);
    b = y = read_text(ctx, two);
    while (*x && *x == *y) {
        if (!strncmp(x, "samples_per_second", 18)) {
            x = strchr(x, ',');
            y = strchr(y, ',');
        }
        x++;
        y++;
    }
    if (*x || *y) fail_msg("%s: the logs differ at \"%.60s\" and \"%.60s\"", name, x, y);
    mmi_free(a);
    mmi_free(b);
}

static void test_resume(void **state)
{
    mm_context *ctx = context_of(1);
    char parts[64];
    (void)state;

    write_texts();
    write_pictures(ctx);
    for (size_t i = 0; i < sizeof resumptions / sizeof *resumptions; i++) {
        const resumption *r = &resumptions[i];
        unsigned char *want, *have;
        size_t bytes, n;
        (void)snprintf(parts, sizeof parts, "%s.parts", r->name);
        run_part(r, r->name, r->threads[0], 0, 0, &want, &bytes);
        run_part(r, parts, r->threads[1], 10, 0, NULL, NULL);
        run_part(r, parts, r->threads[2], 0, 1, &have, &n);
        if (n != bytes || memcmp(have, want, n)) fail_msg("%s: going on comes to other weights", r->name);
        assert_same_log(ctx, r->name);
        free(want);
        free(have);
    }
    mm_context_destroy(ctx);
}

/* Dropout. */

/* The weights after 8 steps; the evaluation before them is the same as without dropout, whose is in *json unless that is NULL. */
static unsigned char *dropped(mm_context *ctx, const char *name, const char *more, char **json, size_t *bytes)
{
    char config[2048], *text = NULL;
    unsigned char *weights;
    mm_trainer *t;

    (void)snprintf(config, sizeof config, "\"seed\": 7, \"steps\": 8, \"batch_size\": 4, %s, \"model\": " WORDS ", \"tasks\": [{\"objective\": \"causal_lm\", " SENTENCES "}]", more);
    t = trainer_of(ctx, name, config);
    ok(ctx, mm_trainer_evaluate(t, &text));
    if (*json) assert_string_equal(text, *json);
    else *json = mmi_strdup(ctx, text);
    mm_text_free(text);
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    weights = weights_of(t, bytes);
    mm_trainer_destroy(t);
    return weights;
}

static void test_dropout(void **state)
{
    mm_context *ctx = context_of(2);
    unsigned char *none, *kept, *again, *lora, *lora_dropped;
    mmi_graph *g;
    mm_trainer *t;
    char *json = NULL, *lora_json = NULL, *text;
    size_t bytes, n;
    (void)state;

    write_texts();
    none = dropped(ctx, "none", "\"dropout\": 0", &json, &bytes);
    kept = dropped(ctx, "kept", "\"dropout\": 0.2", &json, &bytes);
    again = dropped(ctx, "again", "\"dropout\": 0.2, \"checkpoint_activations\": true", &json, &n); /* blocks are computed again with what was dropped in them */
    assert_int_equal(n, bytes);
    assert_memory_equal(kept, again, bytes);
    assert_memory_not_equal(kept, none, bytes);
    lora = dropped(ctx, "lora", "\"lora\": {\"r\": 2}", &lora_json, &bytes);
    lora_dropped = dropped(ctx, "lora_dropped", "\"lora\": {\"r\": 2, \"dropout\": 0.25}", &lora_json, &n);
    assert_int_equal(n, bytes);
    assert_memory_not_equal(lora, lora_dropped, bytes);
    text = read_text(ctx, "lora_dropped/adapter_config.json");
    assert_non_null(strstr(text, "\"lora_dropout\": 0.25,"));
    mmi_free(text);

    /* A teacher in the same graph keeps all. */
    t = trainer_of(ctx, "taught", SMALL "\"steps\": 1, \"dropout\": 0.5, \"model\": " WORDS ", \"tasks\": [{\"objective\": \"distillation\", \"teacher\": \"@/models/llama_words\", "
                   SENTENCES "}]");
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    for (size_t i = 0; i < MMI_STEP_GRAPHS; i++) {
        g = t->graphs.graphs[i].feed.io.g;
        if (g) assert_int_equal(g->dropouts, t->graphs.graphs[i].trains ? 1 + 2 * t->model->info.layers : 0);
    }
    mm_trainer_destroy(t);
    free(none);
    free(kept);
    free(again);
    free(lora);
    free(lora_dropped);
    mmi_free(json);
    mmi_free(lora_json);
    mm_context_destroy(ctx);
}

/* Recall where pictures and captions come up more than once: what is right by the manifest is found whatever the model thinks. */
static void test_recall(void **state)
{
    static const struct {
        unsigned pictures, captions; /* of eight pairs */
        const char *most[2];         /* figures that must be 1 */
    } cases[] = {{8, 1, {"image_to_text_recall@1", "text_to_image_recall@1"}},
                 {1, 8, {"image_to_text_recall@1", "text_to_image_recall@1"}},
                 {4, 2, {"image_to_text_recall@5", "text_to_image_recall@5"}}}; /* a half is right, so that among five one is */
    mm_context *ctx = context_of(2);
    (void)state;

    write_pictures(ctx);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char lines[1024], name[16], *json = NULL;
        size_t n = c < 2 ? (size_t)snprintf(lines, sizeof lines, "{\"image\": \"none.png\", \"caption\": \"skipped\"}\n") : 0;
        mm_trainer *t;
        for (unsigned i = 0; i < 8; i++)
            n += (size_t)snprintf(lines + n, sizeof lines - n, "{\"image\": \"%u.png\", \"caption\": \"number %u\"}\n", i % cases[c].pictures, i % cases[c].captions);
        write_text("pairs.jsonl", lines);
        (void)snprintf(name, sizeof name, "recall%zu", c);
        t = trainer_of(ctx, name, SMALL "\"steps\": 1, \"model\": {\"from\": \"@/pipelines/clip\"}, \"tasks\": [{\"objective\": \"contrastive\", \"batch_size\": 3, "
                       "\"data\": {\"train\": \"pictures.jsonl\", \"validation\": \"pairs.jsonl\", \"skip_bad\": true}}]");
        ok(ctx, mm_trainer_evaluate(t, &json));
        for (int i = 0; i < 2; i++)
            if (number_of(json, "contrastive", cases[c].most[i]) != 1.0) fail_msg("%s of %s", cases[c].most[i], json);
        mm_text_free(json);
        mm_trainer_destroy(t);
    }
    mm_context_destroy(ctx);
}

/* Folders. */

static int exists(const char *name) { return access(in_folder(name), F_OK) == 0; }

/* What is written when, what stays of it, and whose it is. */
static void test_files(void **state)
{
    mm_context *ctx = context_of(1);
    mm_trainer *t;
    mm_model *m = NULL;
    unsigned char *weights;
    size_t bytes;
    int64_t step = -1;
    FILE *f;
    (void)state;

    write_texts();
    t = trainer_of(ctx, "deep/in/files", "\"steps\": 7, \"save_every\": 2, \"keep\": 2, \"batch_size\": 2, \"model\": " WORDS ", " TEXTS);
    assert_string_equal(mm_trainer_output(t), in_folder("deep/in/files"));
    assert_false(exists("deep"));
    refused(ctx, mm_trainer_resume(t), MM_E_NOT_FOUND, "deep/in/files", "no checkpoint", NULL);
    ok(ctx, mm_trainer_run(t, 4, NULL, NULL));
    refused(ctx, mm_trainer_resume(t), MM_E_STATE, "step 4", NULL);
    assert_true(exists("deep/in/files/checkpoint-00000002.safetensors") && exists("deep/in/files/checkpoint-00000004.safetensors"));
    f = fopen(in_folder("deep/in/files/checkpoint-00000006.safetensors.a1B2c3"), "w"); /* what a killed process leaves */
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    assert_false(exists("deep/in/files/checkpoint-00000004.safetensors") || exists("deep/in/files/checkpoint-00000006.safetensors.a1B2c3"));
    assert_true(exists("deep/in/files/checkpoint-00000006.safetensors") && exists("deep/in/files/checkpoint-00000007.safetensors"));
    assert_true(exists("deep/in/files/tokenizer.json") && exists("deep/in/files/config.json"));
    weights = weights_of(t, &bytes);
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL)); /* nothing is left to do */
    assert_same_weights("a complete run", t, weights, bytes);
    mm_trainer_destroy(t);
    free(weights);

    /* another run, not resumed, would drop those checkpoints */
    t = trainer_of(ctx, "deep/in/files", "\"steps\": 9, \"save_every\": 2, \"batch_size\": 2, \"model\": " WORDS ", " TEXTS);
    refused(ctx, mm_trainer_run(t, 1, NULL, NULL), MM_E_STATE, "deep/in/files", "step 7", "resume", NULL);
    refused(ctx, mm_trainer_checkpoint(t), MM_E_STATE, "step 7", NULL);
    ok(ctx, mm_trainer_get_i64(t, MM_TRAINER_STEP, &step));
    assert_int_equal(step, 0);
    ok(ctx, mm_trainer_resume(t));
    ok(ctx, mm_trainer_get_i64(t, MM_TRAINER_STEP, &step));
    assert_int_equal(step, 7);
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    mm_trainer_destroy(t);

    /* killed between the last checkpoint and the model: resuming saves it */
    assert_int_equal(remove(in_folder("deep/in/files/model.safetensors")), 0);
    t = trainer_of(ctx, "deep/in/files", "\"steps\": 9, \"batch_size\": 2, \"model\": " WORDS ", " TEXTS);
    ok(ctx, mm_trainer_resume(t));
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    mm_trainer_destroy(t);
    ok(ctx, mm_model_open(ctx, in_folder("deep/in/files"), &m));
    mm_model_release(m);

    /* a checkpoint of another run */
    t = trainer_of(ctx, "deep/in/files", "\"steps\": 9, \"lora\": {\"r\": 2}, \"model\": " WORDS ", " TEXTS);
    refused(ctx, mm_trainer_resume(t), MM_E_FORMAT, "checkpoint-00000009", "lora", NULL);
    mm_trainer_destroy(t);
    mm_context_destroy(ctx);
}

/* What LoRA saves opens again: the adapter, and beside it what else was trained. */
static void test_adapters(void **state)
{
    mm_context *ctx = context_of(1);
    mm_trainer *t;
    mm_model *base = NULL, *adapted = NULL;
    char *ours = NULL, *theirs = NULL;
    (void)state;

    write_texts();
    t = trainer_of(ctx, "adapted", "\"steps\": 5, \"lora\": {\"r\": 2, \"target_modules\": [\"q_proj\", \"down_proj\"]}, \"train_only\": [\"*norm.weight\"], "
                   "\"optimizer\": {\"lr\": 0.02}, \"model\": " WORDS ", \"tasks\": [{\"objective\": \"causal_lm\", " SENTENCES "}]");
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    ok(ctx, mm_trainer_evaluate(t, &ours));
    ok(ctx, mm_model_open(ctx, in_folder("adapted"), &base));
    ok(ctx, mm_model_adapt(ctx, base, in_folder("adapted"), 1, &adapted));
    ok(ctx, mm_evaluate(ctx, adapted, in_folder("config.json"), &theirs));
    assert_true(fabs(number_of(ours, "causal_lm", "loss") - number_of(theirs, "causal_lm", "loss")) < 2e-2); /* saved as the bf16 that it was */
    mm_text_free(theirs);
    ok(ctx, mm_evaluate(ctx, base, in_folder("config.json"), &theirs));
    assert_true(number_of(theirs, "causal_lm", "loss") > number_of(ours, "causal_lm", "loss") + 0.05);
    mm_text_free(theirs);
    mm_text_free(ours);
    mm_model_release(adapted);
    mm_model_release(base);
    mm_trainer_destroy(t);
    mm_context_destroy(ctx);
}

/* A new model that begins with another's weights: those of the same names, the others drawn as without. */

#define PICTURES_OF_MODEL(class, type, more, weights)                                                                                                   \
    "\"model\": {\"config\": {\"architectures\": [\"" class "\"], \"model_type\": \"" type "\", \"hidden_size\": 16, \"num_hidden_layers\": 1, "       \
    "\"num_attention_heads\": 2, \"intermediate_size\": 24, \"image_size\": 16, \"patch_size\": 8" more "}" weights ", " PROCESSOR "}, "
#define MAE_OF(weights)                                                                                                                                 \
    PICTURES_OF_MODEL("ViTMAEForPreTraining", "vit_mae", ", \"decoder_hidden_size\": 12, \"decoder_num_hidden_layers\": 1, "                           \
                      "\"decoder_num_attention_heads\": 2, \"decoder_intermediate_size\": 16", weights)                                               \
    "\"tasks\": [{\"objective\": \"mae\", " PICTURES "}]"
#define CLASSES_OF(more, weights)                                                                                                                       \
    PICTURES_OF_MODEL("ViTForImageClassification", "vit", ", \"id2label\": {\"0\": \"black\", \"1\": \"red\", \"2\": \"green\", \"3\": \"yellow\"}" more, weights) \
    "\"tasks\": [{\"objective\": \"classification\", " PICTURES "}]"

/* Positions that are sines stay so, unless they are named. */
static void test_fixed(void **state)
{
    static const char *const named[] = {"", "\"freeze\": [\"*decoder_pos_embed\"], ", "\"train_only\": [\"*decoder_pos_embed\", \"*bias\"], "};
    mm_context *ctx = context_of(1);
    (void)state;

    write_pictures(ctx);
    for (size_t i = 0; i < 3; i++) {
        char name[16], config[4096];
        mm_trainer *t;
        int fixed = 0;
        (void)snprintf(name, sizeof name, "fixed%zu", i);
        (void)snprintf(config, sizeof config, SMALL "\"steps\": 1, %s" MAE_OF(""), named[i]);
        t = trainer_of(ctx, name, config);
        for (size_t p = 0; p < t->parameters.count; p++) {
            if (strstr(t->parameters.list[p].name, "position_embeddings")) fail_msg("%s is trained", t->parameters.list[p].name);
            fixed += strstr(t->parameters.list[p].name, "decoder_pos_embed") != NULL;
        }
        assert_int_equal(fixed, i == 2);
        mm_trainer_destroy(t);
    }
    mm_context_destroy(ctx);
}

typedef struct {
    char lines[8][160];
    size_t count;
} warnings;

static void keep_warning(void *user, int32_t level, const char *text)
{
    warnings *w = user;
    if (level <= MM_LOG_WARNING && w->count < 8) (void)snprintf(w->lines[w->count++], sizeof w->lines[0], "%s", text);
}

static const mmi_weight *weight_named(const mm_trainer *t, const char *name)
{
    for (size_t i = 0; i < t->model->n_weights; i++)
        if (!strcmp(t->model->weights[i].name, name)) return &t->model->weights[i];
    return NULL;
}

static void test_weights_of_another(void **state)
{
    mm_context *ctx = context_of(1);
    mm_trainer *mae, *drawn, *taken, *t = NULL;
    mm_model *m = NULL;
    warnings w = {.count = 0};
    (void)state;

    write_pictures(ctx);
    mae = trainer_of(ctx, "mae", SMALL "\"steps\": 2, " MAE_OF(""));
    ok(ctx, mm_trainer_run(mae, 0, NULL, NULL));
    drawn = trainer_of(ctx, "drawn", SMALL "\"steps\": 2, " CLASSES_OF("", ""));
    ok(ctx, mm_context_set_log(ctx, keep_warning, &w));
    taken = trainer_of(ctx, "taken", SMALL "\"steps\": 2, " CLASSES_OF("", ", \"weights\": \"mae\""));
    assert_int_equal(w.count, 2);
    for (size_t i = 0; i < w.count; i++) assert_true(strstr(w.lines[i], i ? "no tensor classifier.bias" : "no tensor classifier.weight") != NULL);
    assert_int_equal(taken->model->n_weights, drawn->model->n_weights);
    for (size_t i = 0; i < taken->model->n_weights; i++) {
        const mmi_weight *have = &taken->model->weights[i];
        const int head = !strncmp(have->name, "classifier.", 11);
        const mmi_weight *want = weight_named(head ? drawn : mae, have->name);
        assert_non_null(want);
        assert_int_equal(have->rows * have->cols, want->rows * want->cols);
        if (memcmp(have->data, want->data, have->rows * have->cols * sizeof(float))) fail_msg("%s is another", have->name);
    }
    ok(ctx, mm_trainer_run(taken, 0, NULL, NULL));
    ok(ctx, mm_model_open(ctx, in_folder("taken"), &m)); /* a whole one, with the processor that it was given */
    mm_model_release(m);

    refused(ctx, mm_trainer_create(ctx, write_config("wide", SMALL "\"steps\": 2, " CLASSES_OF(", \"num_channels\": 1", ", \"weights\": \"mae\"")), &t), MM_E_SHAPE, "mae",
            "patch_embeddings", "[16, 3, 8, 8]", "[16, 1, 8, 8]", NULL);
    refused(ctx, mm_trainer_create(ctx, write_config("none", SMALL "\"steps\": 2, " CLASSES_OF("", ", \"weights\": \"@/models/llama_words\"")), &t), MM_E_NOT_FOUND,
            "llama_words", "ViTForImageClassification", NULL);
    refused(ctx, mm_trainer_create(ctx, write_config("gone", SMALL "\"steps\": 2, " CLASSES_OF("", ", \"weights\": \"no_such\"")), &t), MM_E_NOT_FOUND, "no_such", NULL);
    refused(ctx, mm_trainer_create(ctx, write_config("both", "\"steps\": 2, \"model\": {\"from\": \"mae\", \"weights\": \"mae\"}, " TEXTS), &t), MM_E_FORMAT, "config.json",
            "weights", NULL);
    assert_null(t);
    mm_trainer_destroy(taken);
    mm_trainer_destroy(drawn);
    mm_trainer_destroy(mae);
    mm_context_destroy(ctx);
}

/* A composite besides as the class whose shape it has, with what LoRA learned in its matrices. */
static void test_save_as(void **state)
{
    static const char rest[] = "\"steps\": 3, \"batch_size\": 4, \"train_only\": [\"heads.*\"], \"lora\": {\"r\": 2, \"target_modules\": [\"query\"]}, "
                               "\"optimizer\": {\"lr\": 0.05}, \"save_as\": \"VisionTextDualEncoderModel\", \"model\": {\"config\": {\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", "
                               "\"text_config\": {\"model_type\": \"bert\", \"vocab_size\": 480, \"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
                               "\"intermediate_size\": 24, \"max_position_embeddings\": 40}, \"vision_config\": {\"model_type\": \"dinov2\", \"hidden_size\": 16, "
                               "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"image_size\": 16, \"patch_size\": 8, \"layerscale_value\": 1.0}, "
                               "\"heads\": [{\"name\": \"pair\", \"kind\": \"contrastive\", \"dim\": 8, \"inputs\": [\"vision\", \"text\"], \"pool\": \"pooler\"}]}, "
                               "\"tokenizer\": \"@/tokenizers/bert.json\", " PROCESSOR "}, \"tasks\": [{\"objective\": \"contrastive\", " PICTURES "}]";
    mm_context *ctx = context_of(1);
    mm_trainer *t;
    mm_model *other = NULL;
    char *ours = NULL, *theirs = NULL, *config;
    (void)state;

    write_pictures(ctx);
    t = trainer_of(ctx, "pair", rest);
    ok(ctx, mm_trainer_run(t, 0, NULL, NULL));
    ok(ctx, mm_trainer_evaluate(t, &ours));
    ok(ctx, mm_model_open(ctx, in_folder("pair/VisionTextDualEncoderModel"), &other));
    assert_string_equal(mm_model_get_str(other, MM_MODEL_CLASS), "VisionTextDualEncoderModel");
    ok(ctx, mm_evaluate(ctx, other, in_folder("config.json"), &theirs));
    assert_true(fabs(number_of(ours, "contrastive", "loss") - number_of(theirs, "contrastive", "loss")) < 1e-5);
    config = read_text(ctx, "pair/VisionTextDualEncoderModel/config.json");
    assert_non_null(strstr(config, "\"layerscale_value\": 1.0"));
    mmi_free(config);
    mm_text_free(theirs);
    mm_text_free(ours);
    mm_model_release(other);
    mm_trainer_destroy(t);
    t = NULL;
    refused(ctx, mm_trainer_create(ctx, write_config("words", "\"steps\": 3, \"save_as\": \"CLIPModel\", \"model\": " WORDS ", " TEXTS), &t), MM_E_UNSUPPORTED, "CLIPModel",
            "LlamaForCausalLM", NULL);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_learns_texts, folder_begin, folder_end), cmocka_unit_test_setup_teardown(test_learns_pictures, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_many_tasks, folder_begin, folder_end),   cmocka_unit_test_setup_teardown(test_texts_packed, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_resume, folder_begin, folder_end),       cmocka_unit_test_setup_teardown(test_files, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_adapters, folder_begin, folder_end),     cmocka_unit_test_setup_teardown(test_weights_of_another, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_save_as, folder_begin, folder_end),      cmocka_unit_test_setup_teardown(test_dropout, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_fixed, folder_begin, folder_end),        cmocka_unit_test_setup_teardown(test_recall, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
