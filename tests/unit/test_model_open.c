/* Opening and running models that are damaged, absurd or too large, with memory that runs out, and with hosts that change their mind: each
 * call ends with a status and a sentence, nothing leaks, and the context stays usable.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* mkdtemp, strdup */
#include "model_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    atomic_size_t live_bytes, live_blocks, peak_bytes;
    atomic_long count;
    long fail_at;      /* this allocation fails, counted from 1; 0: none */
    int from_there_on; /* and all after it */
} allocator;

static void *hook_alloc(void *user, size_t size, size_t alignment)
{
    allocator *a = user;
    long n = atomic_fetch_add(&a->count, 1) + 1;
    void *p;

    if (a->fail_at && (n == a->fail_at || (a->from_there_on && n > a->fail_at))) return NULL;
    p = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (!p) return NULL;
    memset(p, 0xA5, size);
    if (atomic_fetch_add(&a->live_bytes, size) + size > atomic_load(&a->peak_bytes))
        atomic_store(&a->peak_bytes, atomic_load(&a->live_bytes));
    atomic_fetch_add(&a->live_blocks, 1);
    return p;
}

static void hook_free(void *user, void *ptr, size_t size)
{
    allocator *a = user;

    memset(ptr, 0x5A, size);
    atomic_fetch_sub(&a->live_bytes, size);
    atomic_fetch_sub(&a->live_blocks, 1);
    free(ptr);
}

typedef struct {
    allocator allocator;
    mm_context *ctx;
    char folder[64]; /* holds what a test makes */
    char copied[64];   /* the model whose files it holds, config.json apart; "": something else */
} fixture;

static mm_status give(mm_context *ctx, mm_tensor_map *in, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, const void *data)
{
    mm_tensor *t = NULL;
    mm_status st = data ? mm_tensor_copy(ctx, dtype, rank, shape, data, &t) : mm_tensor_create(ctx, dtype, rank, shape, &t);

    if (!st) st = mm_tensor_map_set(ctx, in, name, t);
    mm_tensor_release(t);
    return st;
}

/* Open, run whatever it is on a small input, close. The outputs do not matter here. */
static mm_status run_once(mm_context *ctx, const char *path)
{
    static const int64_t ids_shape[2] = {1, 5};
    static const int32_t ids[5] = {3, 4, 5, 6, 3};
    mm_model *m = NULL;
    mm_tensor_map *in = NULL, *out = NULL;
    mm_status st = mm_model_open(ctx, path, &m);
    const char *class_name = st ? "" : mm_model_get_str(m, MM_MODEL_CLASS);
    int blip = !strncmp(class_name, "Blip", 4), hears = !strncmp(class_name, "Whisper", 7);

    if (!st) st = mm_tensor_map_create(ctx, &in);
    if (!st && fact(m, MM_MODEL_SEES)) {
        int64_t shape[4] = {1, 3, fact(m, MM_MODEL_IMAGE_HEIGHT), fact(m, MM_MODEL_IMAGE_WIDTH)};
        st = give(ctx, in, "pixel_values", MM_DTYPE_F32, 4, shape, NULL);
    }
    if (!st && hears) st = give(ctx, in, "input_features", MM_DTYPE_F32, 3, (const int64_t[]){1, 10, 48}, NULL);
    if (!st && !hears && (blip || !fact(m, MM_MODEL_SEES))) st = give(ctx, in, "input_ids", MM_DTYPE_I32, 2, ids_shape, ids);
    if (!st && (strstr(class_name, blip ? "Answering" : "Conditional") || strstr(class_name, "EncoderDecoder")))
        st = give(ctx, in, "decoder_input_ids", MM_DTYPE_I32, 2, ids_shape, ids);
    if (!st) st = mm_model_forward(m, ctx, in, &out);
    assert_true((st == MM_OK) == (out != NULL));
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
    mm_model_release(m);
    return st;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    mm_hooks hooks = {sizeof hooks, hook_alloc, hook_free, NULL};
    const char *tmp = getenv("TMPDIR");

    assert_non_null(f);
    hooks.user = &f->allocator;
    assert_int_equal(mm_context_create(&hooks, &f->ctx), MM_OK);
    ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_THREADS, 1));
    (void)snprintf(f->folder, sizeof f->folder, "%.40s/libmm.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    ok(f->ctx, run_once(f->ctx, MODELS "llama_gqa")); /* makes what a context keeps */
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    char command[128];

    mm_context_destroy(f->ctx);
    assert_int_equal(atomic_load(&f->allocator.live_blocks), 0);
    assert_int_equal(atomic_load(&f->allocator.live_bytes), 0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* Files. */

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    char *bytes;
    struct stat s;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &s), 0);
    *n = (size_t)s.st_size;
    bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    bytes[*n] = 0;
    (void)fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void copy_file(const char *from, const char *to)
{
    size_t n;
    char *bytes = read_file(from, &n);
    write_file(to, bytes, n);
    free(bytes);
}

/* The folder with the files of a golden model that a model is opened from. */
static void copy_model(fixture *f, const char *name)
{
    char from[512], to[512];
    DIR *d;
    struct dirent *e;

    f->copied[0] = 0;
    (void)snprintf(from, sizeof from, "rm -rf '%s'", f->folder);
    assert_int_equal(system(from), 0);
    assert_int_equal(mkdir(f->folder, 0700), 0);
    (void)snprintf(from, sizeof from, MODELS "%s", name);
    d = opendir(from);
    assert_non_null(d);
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.' || strstr(e->d_name, ".in.") || strstr(e->d_name, ".out.") || strstr(e->d_name, ".greedy.")) continue;
        (void)snprintf(from, sizeof from, MODELS "%s/%s", name, e->d_name);
        (void)snprintf(to, sizeof to, "%s/%s", f->folder, e->d_name);
        copy_file(from, to);
    }
    closedir(d);
}

/* The same, where only config.json was changed since. */
static void restore_config(fixture *f, const char *name)
{
    char from[512], to[512];

    if (strcmp(f->copied, name)) {
        copy_model(f, name);
        (void)snprintf(f->copied, sizeof f->copied, "%s", name);
        return;
    }
    (void)snprintf(from, sizeof from, MODELS "%s/config.json", name);
    (void)snprintf(to, sizeof to, "%s/config.json", f->folder);
    copy_file(from, to);
}

static const char *file_in(const fixture *f, const char *name, char path[512])
{
    (void)snprintf(path, 512, "%s/%s", f->folder, name);
    return path;
}

/* config.json with the value of a key replaced, or the key added; NULL value: the key removed. Nested keys do not occur twice. */
static void edit_config(const fixture *f, const char *key, const char *value)
{
    char path[512], quoted[96], *at, *end, *out;
    size_t n;
    char *text = read_file(file_in(f, "config.json", path), &n);

    out = malloc(n + strlen(key) + (value ? strlen(value) : 0) + 16);
    assert_non_null(out);
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", key);
    at = strstr(text, quoted);
    if (!at) {
        (void)sprintf(out, "{\"%s\": %s,%s", key, value ? value : "null", text + 1);
    } else {
        int depth = 0, in_string = 0;
        for (end = at + strlen(quoted); in_string || depth || (*end != ',' && *end != '}'); end++) {
            if (*end == '"' && end[-1] != '\\') in_string = !in_string;
            if (in_string) continue;
            depth += (*end == '{' || *end == '[') - (*end == '}' || *end == ']');
        }
        if (value) (void)sprintf(out, "%.*s%s %s%s", (int)(at - text), text, quoted, value, end);
        else if (*end == ',') (void)sprintf(out, "%.*s%s", (int)(at - text), text, end + 1);
        else (void)sprintf(out, "%.*s\"unused\": 0%s", (int)(at - text), text, end);
    }
    write_file(path, out, strlen(out));
    free(out);
    free(text);
}

/* Opening fails with this status and these parts in its sentence, and leaves nothing behind. */
#define REFUSED(f, path, status, ...)                                                              \
    do {                                                                                           \
        size_t before_ = atomic_load(&(f)->allocator.live_bytes);                                  \
        mm_model *model_ = (mm_model *)1;                                                          \
        refused((f)->ctx, mm_model_open((f)->ctx, path, &model_), status, __VA_ARGS__, (const char *)NULL); \
        assert_null(model_);                                                                       \
        assert_int_equal(atomic_load(&(f)->allocator.live_bytes), before_);                        \
    } while (0)

/* The context still opens and runs a good model. */
static void assert_usable(const fixture *f) { ok(f->ctx, run_once(f->ctx, MODELS "llama_gqa")); }

static void test_missing_files(void **state)
{
    fixture *f = *state;
    mm_model *m = (mm_model *)1;
    char path[512];

    REFUSED(f, "/nonexistent/model", MM_E_NOT_FOUND, "/nonexistent/model");
    REFUSED(f, "", MM_E_NOT_FOUND, "");
    REFUSED(f, f->folder, MM_E_NOT_FOUND, "config.json");
    copy_model(f, "llama_gqa");
    assert_int_equal(remove(file_in(f, "model.safetensors", path)), 0);
    REFUSED(f, f->folder, MM_E_NOT_FOUND, f->folder);
    write_file(file_in(f, "pytorch_model.bin", path), "x", 1);
    REFUSED(f, f->folder, MM_E_UNSUPPORTED, "pytorch_model.bin");
    copy_model(f, "llama_sharded");
    assert_int_equal(remove(file_in(f, "model-00002-of-00003.safetensors", path)), 0);
    REFUSED(f, f->folder, MM_E_NOT_FOUND, "model-00002-of-00003.safetensors");
    write_file(file_in(f, "text.gguf", path), "not a model", 11);
    REFUSED(f, path, MM_E_FORMAT, "text.gguf");
    write_file(file_in(f, "empty.gguf", path), "", 0);
    REFUSED(f, path, MM_E_FORMAT, "empty.gguf");
    REFUSED(f, "/dev/null", MM_E_IO, "/dev/null");
    assert_int_equal(mm_model_open(NULL, f->folder, &m), MM_E_ARGUMENT);
    refused(f->ctx, mm_model_open(f->ctx, NULL, &m), MM_E_ARGUMENT, (const char *)NULL);
    refused(f->ctx, mm_model_open(f->ctx, f->folder, NULL), MM_E_ARGUMENT, (const char *)NULL);
    assert_usable(f);
}

/* The golden model.safetensors with the header entry of one tensor edited: another name of the same length, or another shape or type of
 * the same bytes. */
static void edit_weights(const fixture *f, const char *model, const char *name, const char *member, const char *value)
{
    char path[512], quoted[160], *bytes, *out, *at, *end;
    uint64_t length;
    size_t n, start;

    (void)snprintf(path, sizeof path, MODELS "%s/model.safetensors", model);
    bytes = read_file(path, &n);
    memcpy(&length, bytes, 8);
    start = 8 + (size_t)length;
    out = calloc(1, n + 256);
    assert_non_null(out);
    (void)snprintf(quoted, sizeof quoted, "\"%s\":{", name);
    at = memmem(bytes + 8, (size_t)length, quoted, strlen(quoted));
    assert_non_null(at);
    if (!member) {
        at[1] = at[1] == 'x' ? 'y' : 'x';
        memcpy(out, bytes, n);
    } else {
        (void)snprintf(quoted, sizeof quoted, "\"%s\":", member);
        at = memmem(at, (size_t)(bytes + start - at), quoted, strlen(quoted));
        assert_non_null(at);
        at += strlen(quoted);
        end = at + strcspn(at, *at == '[' ? "]" : ",") + (*at == '[');
        memcpy(out + 8, bytes + 8, (size_t)(at - bytes - 8));
        memcpy(out + (at - bytes), value, strlen(value));
        memcpy(out + (at - bytes) + strlen(value), end, n - (size_t)(end - bytes));
        length = length + strlen(value) - (uint64_t)(end - at);
        memcpy(out, &length, 8);
        n = n + strlen(value) - (size_t)(end - at);
    }
    write_file(file_in(f, "model.safetensors", path), out, n);
    free(bytes);
    free(out);
}

/* A tensor's name without what a headless model's has not; of one that has other names in other files, what they share. */
static const char *stem(const char *name)
{
    static const char *const prefixes[] = {"vit.", "dinov2.", "bert.", "roberta.", "distilbert.", "deit.", "decoder.decoder_encoder.layer.", "text_encoder.",
                                           "model.language_model.", "model.text_model.", "model.vision_tower.", "vision_tower.", "model."};
    static const char *const renamed[] = {"lm_head.", "cls_classifier.", "classifier."};

    if (strstr(name, "lm_head.") || strstr(name, "cls.predictions.")) return "";
    if (strstr(name, ".gamma") || strstr(name, ".beta")) return "LayerNorm.";
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return name + strlen(prefixes[i]);
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
        if (!strncmp(name, renamed[i], strlen(renamed[i]))) return strrchr(name, '.');
    return name;
}

/* Each tensor of each architecture is needed, and needed in its shape. */
static void test_tensors_missing_or_misshapen(void **state)
{
    static const char *const names[] = {"llama_gqa", "llama_tied_bias", "bert", "vit_class", "vit_no_bias", "dinov2",
                                        "dinov2_swiglu", "dinov2_class", "qwen2", "qwen3", "gemma_bias", "gemma2", "gemma3",
                                        "phi3", "gpt2", "t5_relu", "bart", "mbart", "ved_roberta", "ved_trocr", "ved_bart",
                                        "blip_caption", "blip_answer", "blip_retrieval", "bert_mlm", "roberta_class",
                                        "distilbert_mlm", "distilbert_class", "deit_teacher_rectangle", "dinov2_registers",
                                        "vit_mae", "clip_text", "clip_vision", "siglip_vision", "siglip2_vision", "siglip_text",
                                        "clip", "siglip", "whisper", "llava_vit", "llava_pair", "qwen2_vl", "qwen2_5_vl", "idefics3",
                                        "paligemma", "paligemma2", "roberta_mlm", "ved_trocr_sinusoidal_bf16",
                                        "mllama", "mm_interactive_stitch", "mm_late_hard", "mm_towers", "mm_decoder"};
    fixture *f = *state;
    char path[512];
    size_t tried = 0;

    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        mm_tensor_map *map = NULL;
        copy_model(f, names[n]);
        (void)snprintf(path, sizeof path, MODELS "%s/model.safetensors", names[n]);
        ok(f->ctx, mm_tensor_map_read(f->ctx, path, &map));
        for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
            const char *name = mm_tensor_map_name(map, i);
            const mm_tensor *t = mm_tensor_map_at(map, i);
            const int64_t *shape = mm_tensor_shape(t);
            char other[96];
            size_t at = 0;
            if (strstr(name, "mask_token")) continue; /* of training */
            if (!strstr(name, "pooler") && strcmp(name, "final_logits_bias")) { /* transformers makes models without one */
                edit_weights(f, names[n], name, NULL, NULL);
                /* the prefix of a headless model stands in the sentence where both may be meant */
                REFUSED(f, f->folder, MM_E_NOT_FOUND, stem(name));
            }
            if (mm_tensor_elements(t) == 1) continue; /* of any shape */
            /* one dimension more at the end */
            for (int32_t d = 0; d < mm_tensor_rank(t); d++)
                at += (size_t)snprintf(other + at, sizeof other - at, "%s%lld", d ? ", " : "[", (long long)shape[d]);
            (void)snprintf(other + at, sizeof other - at, ", 1]");
            edit_weights(f, names[n], name, "shape", other);
            REFUSED(f, f->folder, MM_E_SHAPE, name, other, "expected [");
            tried++;
        }
        mm_tensor_map_destroy(map);
    }
    assert_true(tried > 290);
    copy_model(f, "llama_gqa");
    edit_weights(f, "llama_gqa", "model.norm.weight", "dtype", "\"I32\"");
    REFUSED(f, f->folder, MM_E_DTYPE, "model.norm.weight");
    edit_weights(f, "llama_gqa", "model.norm.weight", "dtype", "\"U32\""); /* of the same size, and not read */
    REFUSED(f, f->folder, MM_E_DTYPE, "model.norm.weight", "U32");
    edit_weights(f, "llama_gqa", "model.norm.weight", "dtype", "\"F8_E4M3\"");
    REFUSED(f, f->folder, MM_E_FORMAT, "model.norm.weight");
    edit_weights(f, "llama_gqa", "model.layers.1.self_attn.k_proj.weight", "shape", "[48, 42]");
    REFUSED(f, f->folder, MM_E_SHAPE, "model.layers.1.self_attn.k_proj.weight", "[48, 42]", "[42, 48]");
    assert_usable(f);
}

static void test_unknown_architectures(void **state)
{
    static const struct {
        const char *value;
        mm_status status;
    } cases[] = {{"[\"GPT9ForCausalLM\"]", MM_E_UNSUPPORTED},
                 {"[]", MM_E_FORMAT},
                 {"\"LlamaForCausalLM\"", MM_E_FORMAT},
                 {"[7]", MM_E_FORMAT},
                 {"null", MM_E_FORMAT},
                 {"{}", MM_E_FORMAT},
                 {NULL, MM_E_FORMAT}};
    fixture *f = *state;
    char path[512], *bytes;
    size_t n, at;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        restore_config(f, "llama_gqa");
        edit_config(f, "architectures", cases[i].value);
        REFUSED(f, f->folder, cases[i].status, "config.json");
    }
    restore_config(f, "llama_gqa");
    edit_config(f, "architectures", "[\"GPT9ForCausalLM\"]");
    REFUSED(f, f->folder, MM_E_UNSUPPORTED, "GPT9ForCausalLM");
    edit_config(f, "architectures", "[\"BertModel\"]"); /* another one's weights */
    REFUSED(f, f->folder, MM_E_NOT_FOUND, "embeddings");
    bytes = read_file(MODELS "gguf_f32/model.gguf", &n);
    for (at = 0; memcmp(bytes + at, "general.architecture", 20); at++) {}
    memcpy(bytes + at + 20 + 12, "xlama", 5);
    write_file(file_in(f, "x.gguf", path), bytes, n);
    free(bytes);
    REFUSED(f, path, MM_E_UNSUPPORTED, "xlama");
    assert_usable(f);
}

/* Numbers that no model has. Each is refused before memory in its proportion is taken. */
static void test_absurd_configurations(void **state)
{
    static const struct {
        const char *model, *keys; /* separated by spaces */
    } integers[] = {
        {"llama_gqa", "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads num_key_value_heads head_dim "
                      "max_position_embeddings"},
        {"bert", "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads max_position_embeddings type_vocab_size"},
        {"vit", "hidden_size num_hidden_layers intermediate_size num_attention_heads image_size patch_size num_channels"},
        {"dinov2", "hidden_size num_hidden_layers num_attention_heads image_size patch_size num_channels"},
        {"gpt2", "vocab_size n_embd n_layer n_head n_positions n_inner"},
        {"mistral", "sliding_window"},
        {"t5_relu", "vocab_size d_model d_kv d_ff num_heads num_layers num_decoder_layers relative_attention_num_buckets"},
        {"bart", "vocab_size d_model encoder_layers decoder_layers encoder_attention_heads decoder_attention_heads encoder_ffn_dim decoder_ffn_dim"},
        {"blip_retrieval", "image_text_hidden_size"},
        {"roberta", "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads max_position_embeddings type_vocab_size"},
        {"distilbert", "vocab_size dim n_layers hidden_dim n_heads max_position_embeddings"},
        {"deit", "hidden_size num_hidden_layers intermediate_size num_attention_heads image_size patch_size num_channels pooler_output_size"},
        {"vit_mae", "hidden_size num_hidden_layers intermediate_size num_attention_heads image_size patch_size num_channels decoder_hidden_size "
                    "decoder_num_hidden_layers decoder_num_attention_heads decoder_intermediate_size"},
        {"clip_vision", "hidden_size num_hidden_layers intermediate_size num_attention_heads image_size patch_size num_channels"},
        {"clip_text_projection", "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads max_position_embeddings "
                                 "projection_dim"},
        {"siglip_text", "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads max_position_embeddings projection_size"},
        {"siglip2_vision", "hidden_size num_hidden_layers intermediate_size num_attention_heads num_patches patch_size num_channels"},
        {"mllama", "vocab_size num_key_value_heads max_num_tiles attention_heads image_size patch_size num_channels vision_output_dim"},
        {"whisper", "vocab_size d_model encoder_layers decoder_layers encoder_attention_heads decoder_attention_heads encoder_ffn_dim decoder_ffn_dim "
                    "num_mel_bins max_source_positions max_target_positions"},
        {"qwen2_vl", "depth embed_dim num_heads in_channels patch_size temporal_patch_size spatial_merge_size"},
        {"qwen2_5_vl", "depth out_hidden_size num_heads in_channels patch_size temporal_patch_size spatial_merge_size window_size tokens_per_second"},
        {"idefics3", "scale_factor image_size patch_size num_channels"},
        {"llava_vit", "image_size patch_size num_channels"},
        {"paligemma", "image_size patch_size"},
        {"phi3", "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads num_key_value_heads"},
        {"gemma3", "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads num_key_value_heads head_dim sliding_window"},
        {"blip_caption", "image_size patch_size"}};
    static const char *const free_keys[] = {"max_position_embeddings", "sliding_window", "window_size", "tokens_per_second"}; /* of no tensor's shape */
    static const char *const bad[] = {
        "-1",     "0",    "1.5",   "1e300", "-1e300", "9223372036854775807", "18446744073709551616", "4294967295",
        "\"64\"", "true", "[[1]]", "{}",    "1e-300"};
    static const struct {
        const char *model, *key, *value;
    } others[] = {{"llama_gqa", "rms_norm_eps", "-1"},
                  {"llama_gqa", "rms_norm_eps", "\"x\""},
                  {"llama_gqa", "rms_norm_eps", "1e300"},
                  {"llama_gqa", "attention_bias", "\"yes\""},
                  {"llama_gqa", "attention_bias", "1"},
                  {"llama_gqa", "tie_word_embeddings", "\"no\""},
                  {"llama_gqa", "hidden_act", "\"sinus\""},
                  {"llama_gqa", "hidden_act", "7"},
                  {"llama_gqa", "num_key_value_heads", "4"},
                  {"llama_gqa", "rope_theta", "-1"},
                  {"llama_gqa", "rope_theta", "0"},
                  {"llama_gqa", "rope_theta", "\"1\""},
                  {"llama_linear", "factor", "0"},
                  {"llama_linear", "factor", "-2"},
                  {"llama_linear", "factor", "\"2\""},
                  {"llama_linear", "rope_type", "\"magic\""},
                  {"llama_linear", "rope_type", "3"},
                  {"llama_llama3", "high_freq_factor", "-1"},
                  {"llama_llama3", "original_max_position_embeddings", "0"},
                  {"llama_yarn", "original_max_position_embeddings", "\"64\""},
                  {"llama_yarn", "factor", "1e300"},
                  {"mistral", "sliding_window", "\"9\""},
                  {"qwen2_window", "max_window_layers", "-1"},
                  {"qwen2_window", "use_sliding_window", "1"},
                  {"qwen3_types", "layer_types", "[\"full_attention\"]"},
                  {"qwen3_types", "layer_types", "[\"full_attention\", \"full_attention\", \"full_attention\"]"},
                  {"qwen3_types", "layer_types", "[\"full_attention\", \"chunked_attention\"]"},
                  {"qwen3_types", "layer_types", "[1, 2]"},
                  {"qwen3_types", "layer_types", "\"full_attention\""},
                  {"gemma", "use_bidirectional_attention", "true"},
                  {"gemma2", "query_pre_attn_scalar", "0"},
                  {"gemma2", "query_pre_attn_scalar", "-1"},
                  {"gemma2", "attn_logit_softcapping", "0"},
                  {"gemma2", "final_logit_softcapping", "\"x\""},
                  {"gemma2", "hidden_activation", "\"sinus\""},
                  {"gemma3_old", "sliding_window_pattern", "0"},
                  {"gemma3_old", "rope_local_base_freq", "-1"},
                  {"gemma3", "factor", "0"},
                  {"phi3_longrope", "short_factor", "[1.0, 2.0]"},
                  {"phi3_longrope", "short_factor", "[]"},
                  {"phi3_longrope", "short_factor", "{}"},
                  {"phi3_longrope", "long_factor", "[1.0, 2.0, 3.0, 0.0]"},
                  {"phi3_longrope", "long_factor", "[1.0, 2.0, 3.0, \"4\"]"},
                  {"phi3_longrope", "rope_type", "\"yarn\""},
                  {"mllama", "cross_attention_layers", "[]"},
                  {"mllama", "cross_attention_layers", "[0, 1, 2, 3]"},
                  {"mllama", "cross_attention_layers", "[4]"},
                  {"mllama", "cross_attention_layers", "[-1]"},
                  {"mllama", "cross_attention_layers", "[\"1\"]"},
                  {"mllama", "cross_attention_layers", "{\"a\": 1}"},
                  {"mllama", "intermediate_layers_indices", "[]"},
                  {"mllama", "intermediate_layers_indices", "[3]"},
                  {"mllama", "intermediate_layers_indices", "[-4, 0]"},
                  {"mllama", "intermediate_layers_indices", "[0]"},
                  {"mllama", "intermediate_layers_indices", "null"},
                  {"mllama", "supported_aspect_ratios", "[]"},
                  {"mllama", "num_global_layers", "-1"},
                  {"mllama", "vision_output_dim", "46"},
                  {"mllama", "norm_eps", "-1"},
                  {"mllama", "image_token_index", "53"},
                  {"mllama", "image_token_index", "-1"},
                  {"mllama", "image_token_index", "\"<|image|>\""},
                  {"mllama", "text_config", "null"},
                  {"mllama", "vision_config", "[]"},
                  {"gpt2", "activation_function", "\"sinus\""},
                  {"gpt2", "layer_norm_epsilon", "-1"},
                  {"gpt2", "n_head", "5"},
                  {"gpt2", "add_cross_attention", "true"},
                  {"gpt2", "scale_attn_weights", "\"yes\""},
                  {"bert", "hidden_act", "\"sinus\""},
                  {"bert", "layer_norm_eps", "-1"},
                  {"bert", "position_embedding_type", "\"relative_key\""},
                  {"bert", "num_attention_heads", "5"},
                  {"vit", "num_attention_heads", "5"},
                  {"vit", "patch_size", "33"},
                  {"vit", "image_size", "[32]"},
                  {"vit", "image_size", "[32, -1]"},
                  {"vit", "image_size", "[32, \"a\"]"},
                  {"vit", "patch_size", "[8, 4]"},
                  {"vit_class", "id2label", "{}"},
                  {"vit_class", "id2label", "{\"0\": 5}"},
                  {"vit_class", "id2label", "{\"1\": \"a\"}"},
                  {"vit_class", "id2label", "{\"0\": \"a\", \"00\": \"b\"}"},
                  {"vit_class", "id2label", "{\"x\": \"a\"}"},
                  {"vit_class", "id2label", "{\"18446744073709551617\": \"a\", \"0\": \"b\"}"},
                  {"dinov2", "mlp_ratio", "-1"},
                  {"dinov2", "mlp_ratio", "1e300"},
                  {"dinov2", "mlp_ratio", "\"4\""},
                  {"dinov2", "use_swiglu_ffn", "\"yes\""},
                  {"t5_relu", "feed_forward_proj", "\"gated-sinus\""},
                  {"t5_relu", "feed_forward_proj", "7"},
                  {"t5_relu", "relative_attention_max_distance", "4"},
                  {"t5_relu", "layer_norm_epsilon", "-1"},
                  {"bart", "decoder_attention_heads", "5"},
                  {"bart", "activation_function", "\"sinus\""},
                  {"bart", "scale_embedding", "2"},
                  {"ved_trocr_sinusoidal_bf16", "max_position_embeddings", "4194304"},
                  {"ved_trocr_sinusoidal_bf16", "encoder", "null"},
                  {"ved_trocr_sinusoidal_bf16", "decoder", "{\"model_type\": \"llama\"}"},
                  {"ved_trocr_sinusoidal_bf16", "decoder", "{\"model_type\": 5}"},
                  {"ved_trocr_sinusoidal_bf16", "decoder", "{\"model_type\": \"vit\"}"},
                  {"ved_roberta", "add_cross_attention", "false"},
                  {"blip_caption", "sep_token_id", "40"},
                  {"blip_caption", "bos_token_id", "-1"},
                  {"blip_caption", "text_config", "[]"},
                  {"blip_caption", "vision_config", "null"},
                  {"blip_caption", "vision_config", "{\"model_type\": \"blip_text_model\"}"},
                  {"blip_caption", "is_decoder", "false"},
                  {"dinov2_registers", "num_register_tokens", "-1"},
                  {"roberta", "pad_token_id", "-1"},
                  {"roberta", "pad_token_id", "39"}, /* no position left */
                  {"roberta", "pad_token_id", "41"},
                  {"bert_mlm", "tie_word_embeddings", "1"},
                  {"bert_class", "problem_type", "7"},
                  {"vit_mae", "mask_ratio", "-0.1"},
                  {"vit_mae", "mask_ratio", "1.5"},
                  {"vit_mae", "norm_pix_loss", "\"yes\""},
                  {"clip_text", "eos_token_id", "-1"},
                  {"siglip_vision", "vision_use_head", "0"},
                  {"siglip_vision", "image_size", "[24, 40]"},
                  {"siglip2_vision", "num_patches", "17"},
                  {"siglip_text", "pad_token_id", "37"},
                  {"clip", "vision_config", "null"},
                  {"clip", "vision_config", "[]"},
                  {"clip", "vision_config", "{\"model_type\": \"llama\"}"},
                  {"clip", "vision_config", "{\"model_type\": \"bert\", \"vocab_size\": 9, \"hidden_size\": 8, \"num_hidden_layers\": 1, "
                                           "\"num_attention_heads\": 2, \"intermediate_size\": 8}"},
                  {"clip", "text_config", "7"},
                  {"siglip", "projection_size", "20"}};
    fixture *f = *state;
    int64_t peak = 0;
    char keys[256];

    for (size_t m = 0; m < sizeof integers / sizeof *integers; m++) {
        strcpy(keys, integers[m].keys);
        for (char *key = strtok(keys, " "); key; key = strtok(NULL, " "))
            for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
                mm_model *model = NULL;
                size_t before = atomic_load(&f->allocator.live_bytes);
                mm_status st;
                restore_config(f, integers[m].model);
                edit_config(f, key, bad[b]);
                st = mm_model_open(f->ctx, f->folder, &model);
                mm_model_release(model);
                if (st != MM_E_FORMAT) fail_msg("%s with %s %s: %s", integers[m].model, key, bad[b], mm_status_name(st));
                if (!strstr(mm_context_error(f->ctx), key)) fail_msg("\"%s\" does not name %s", mm_context_error(f->ctx), key);
                assert_int_equal(atomic_load(&f->allocator.live_bytes), before);
            }
        /* large but allowed: the weights are found not to fit */
        strcpy(keys, integers[m].keys);
        for (char *key = strtok(keys, " "); key; key = strtok(NULL, " ")) {
            static const char *const large[] = {"1024", "4096", "65536"};
            for (size_t i = 0; i < 3; i++) {
                mm_model *model = NULL;
                mm_status st;
                restore_config(f, integers[m].model);
                edit_config(f, key, large[i]);
                st = mm_model_open(f->ctx, f->folder, &model);
                mm_model_release(model);
                for (size_t k = 0; k < sizeof free_keys / sizeof *free_keys && !st; k++) st = !strcmp(key, free_keys[k]);
                if (!st) fail_msg("%s with %s %s was opened", integers[m].model, key, large[i]);
            }
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        mm_model *model = NULL;
        mm_status st;
        restore_config(f, others[i].model);
        edit_config(f, others[i].key, others[i].value);
        st = mm_model_open(f->ctx, f->folder, &model);
        mm_model_release(model);
        if (!st) fail_msg("%s with %s %s was opened", others[i].model, others[i].key, others[i].value);
        if (st != MM_E_FORMAT && st != MM_E_UNSUPPORTED)
            fail_msg("%s with %s %s: %s", others[i].model, others[i].key, others[i].value, mm_status_name(st));
        assert_true(strstr(mm_context_error(f->ctx), "config.json") != NULL);
    }
    ok(f->ctx, mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &peak));
    assert_in_range(peak, 1, 16 << 20);
    assert_usable(f);
}

/* Each required key is missed by name. */
static void test_missing_keys(void **state)
{
    static const char *const keys[] = {"vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"};
    fixture *f = *state;
    char path[512];

    for (int m = 0; m < 2; m++)
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            for (int null = 0; null < 2; null++) {
                restore_config(f, m ? "bert" : "llama_gqa");
                edit_config(f, keys[i], null ? "null" : NULL);
                REFUSED(f, f->folder, MM_E_FORMAT, keys[i], "config.json");
            }
    for (size_t i = 0; i < 4; i++) {
        static const char *const documents[] = {"", "[]", "{", "\"LlamaForCausalLM\""};
        restore_config(f, "llama_gqa");
        write_file(file_in(f, "config.json", path), documents[i], strlen(documents[i]));
        REFUSED(f, f->folder, MM_E_FORMAT, "config.json");
    }
    assert_usable(f);
}

/* A cut file is refused at every length; padding behind the last tensor alone may be missing. */
static void truncate_everywhere(fixture *f, const char *model, const char *file, size_t header, size_t spare)
{
    char path[512], target[512];
    size_t n, before = atomic_load(&f->allocator.live_bytes);

    copy_model(f, model);
    file_in(f, file, path);
    free(read_file(path, &n));
    strcpy(target, !strcmp(file, "model.gguf") ? path : f->folder);
    ok(f->ctx, run_once(f->ctx, target));
    for (size_t i = n - spare; i-- > 0; i -= i > header + 498 ? 498 : 0) {
        mm_model *m = NULL;
        mm_status st;
        assert_int_equal(truncate(path, (off_t)i), 0);
        st = mm_model_open(f->ctx, target, &m);
        mm_model_release(m);
        if (!st) fail_msg("%s cut to %zu of %zu bytes was opened", file, i, n);
        assert_true(strlen(mm_context_error(f->ctx)) > 0);
    }
    assert_int_equal(atomic_load(&f->allocator.live_bytes) - before, 0);
}

static void test_truncation(void **state)
{
    fixture *f = *state;

    assert_usable(f); /* so that what the context keeps is made */
    truncate_everywhere(f, "llama_gqa", "model.safetensors", 3000, 0);
    truncate_everywhere(f, "gguf_q4_0", "model.gguf", 2500, 32);
    truncate_everywhere(f, "gguf_bert_f32", "model.gguf", 2500, 32);
    truncate_everywhere(f, "llama_sharded", "model.safetensors.index.json", 4000, 2);
    truncate_everywhere(f, "vit_class", "config.json", 4000, 2);
    assert_usable(f);
}

/* Damaged headers: refused with a sentence, or a model that runs. */
static void flip(fixture *f, const char *model, const char *file, size_t bytes_from, size_t bytes_to, size_t step)
{
    char path[512], target[512];
    size_t n, before = atomic_load(&f->allocator.live_bytes);
    int64_t peak = 0;
    char *bytes;
    int fd;

    copy_model(f, model);
    file_in(f, file, path);
    bytes = read_file(path, &n);
    strcpy(target, !strcmp(file, "model.gguf") ? path : f->folder);
    if (bytes_to > n) bytes_to = n;
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t bit = bytes_from * 8; bit < bytes_to * 8; bit += step) {
        char damaged = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        mm_status st;
        assert_int_equal(pwrite(fd, &damaged, 1, (off_t)(bit / 8)), 1);
        st = run_once(f->ctx, target);
        if (st) assert_true(strlen(mm_context_error(f->ctx)) > 0);
        assert_int_equal(atomic_load(&f->allocator.live_bytes), before);
        assert_int_equal(pwrite(fd, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
    }
    (void)close(fd);
    free(bytes);
    ok(f->ctx, mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &peak));
    assert_in_range(peak, 1, 256 << 20);
}

static void test_flipped_bits(void **state)
{
    static const char *const composed[] = {"qwen2_5_vl", "idefics3", "paligemma", "llava_vit", "ved_trocr", "blip_answer", "siglip2", "whisper", "t5_relu", "mm_early_stitch",
                                           "mm_towers", "mm_decoder"};
    fixture *f = *state;

    assert_usable(f);
    ok(f->ctx, run_once(f->ctx, MODELS "vit"));
    flip(f, "gguf_q4_0", "model.gguf", 0, 1800, 1);
    flip(f, "gguf_q4_0", "model.gguf", 1800, 200000, 1777);
    flip(f, "llama_gqa", "model.safetensors", 0, 1500, 1);
    flip(f, "llama_llama3", "config.json", 0, 1200, 1);
    flip(f, "vit_class", "config.json", 0, 1000, 1);
    flip(f, "dinov2_swiglu", "config.json", 0, 800, 1);
    flip(f, "bert", "config.json", 0, 800, 1);
    flip(f, "llama_words", "tokenizer.json", 0, 4000, 5);
    for (size_t i = 0; i < sizeof composed / sizeof *composed; i++) flip(f, composed[i], "config.json", 0, 6000, 13);
    flip(f, "llava_pair", "preprocessor_config.json", 0, 1000, 3);
    assert_usable(f);
}

/* GGUF metadata of the wrong type or size. Values are patched in place: key, u32 type, value. */
static void test_absurd_gguf(void **state)
{
    static const char *const keys[] = {"llama.context_length",       "llama.embedding_length",     "llama.block_count",
                                       "llama.feed_forward_length",  "llama.attention.head_count", "llama.attention.head_count_kv",
                                       "llama.attention.key_length", "llama.rope.dimension_count"};
    static const uint32_t values[] = {0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000};
    fixture *f = *state;
    char path[512], *bytes;
    size_t n;

    bytes = read_file(MODELS "gguf_q4_0/model.gguf", &n);
    file_in(f, "x.gguf", path);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        size_t at = 0, length = strlen(keys[k]);
        char old[8];
        while (memcmp(bytes + at, keys[k], length) || bytes[at + length + 1] || bytes[at + length + 2] || bytes[at + length + 3])
            at++; /* the longer key of the same beginning is not it */
        at += length;
        memcpy(old, bytes + at, 8);
        for (size_t v = 0; v < 4; v++) {
            memcpy(bytes + at + 4, &values[v], 4);
            write_file(path, bytes, n);
            REFUSED(f, path, MM_E_FORMAT, keys[k], "x.gguf");
        }
        memcpy(bytes + at, (const unsigned char[]){6, 0, 0, 0, 0, 0, 0xC0, 0x7F}, 8); /* a float, NaN */
        write_file(path, bytes, n);
        REFUSED(f, path, MM_E_FORMAT, keys[k], "x.gguf");
        memcpy(bytes + at, old, 8);
    }
    free(bytes);
    assert_usable(f);
}

/* With too little memory opening and running fail as out of memory, the limit is never passed, and with enough it works. */
static void test_memory_limit(void **state)
{
    static const char *const models[] = {MODELS "llama_words", MODELS "gguf_q5_k/model.gguf", MODELS "vit"};
    fixture *f = *state;

    for (size_t i = 0; i < 3; i++) {
        int64_t base = memory_used(f->ctx), limit = base,
                uncounted = (int64_t)atomic_load(&f->allocator.live_bytes) - base; /* the heap itself */
        size_t refusals = 0;
        mm_status st;
        do {
            limit += 1000;
            ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, limit));
            atomic_store(&f->allocator.peak_bytes, 0);
            st = run_once(f->ctx, models[i]);
            if (st) {
                refusals++;
                refused(f->ctx, st, MM_E_NOMEM, "out of memory", (const char *)NULL);
            }
            assert_true((int64_t)atomic_load(&f->allocator.peak_bytes) - uncounted <= limit);
            assert_true(limit < base + (16 << 20));
        } while (st);
        assert_true(refusals > 20);
        ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, 0));
    }
    assert_usable(f);
}

/* Open, forward, a session with text, generation, fork, rewind and a longer text: everything that allocates. */
static mm_status scenario(mm_context *ctx, const char *path, int words)
{
    static const int32_t ids[3] = {4, 9, 5};
    mm_model *m = NULL;
    mm_session *s = NULL, *fork = NULL;
    mm_status st = run_once(ctx, path);

    if (!st) st = mm_model_open(ctx, path, &m);
    if (!st) st = mm_session_create(ctx, m, &s);
    if (!st) st = mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 3);
    if (!st) st = mm_session_set_f64(s, MM_SESSION_TEMPERATURE, 0.8);
    if (!st) st = mm_session_set_f64(s, MM_SESSION_REPEAT_PENALTY, 1.1);
    if (!st) st = mm_session_set_str(s, MM_SESSION_STOP, "qqq");
    if (!st) st = words ? mm_session_append_text(s, "the inn") : mm_session_append_tokens(s, ids, 3);
    if (!st) st = mm_session_generate(s, NULL, NULL, NULL);
    if (!st) st = mm_session_fork(s, &fork);
    if (!st) st = mm_session_rewind(fork, 2);
    for (int i = 0; !st && i < 30; i++) st = mm_session_append_tokens(fork, ids, 3); /* a second key block */
    if (!st) st = mm_session_generate(fork, NULL, NULL, NULL);
    mm_session_destroy(fork);
    mm_session_destroy(s);
    mm_model_release(m);
    return st;
}

static void out_of_memory(fixture *f, const char *path, int words)
{
    size_t before;
    long total;

    ok(f->ctx, scenario(f->ctx, path, words)); /* makes what the context keeps */
    before = atomic_load(&f->allocator.live_bytes);
    atomic_store(&f->allocator.count, 0);
    ok(f->ctx, scenario(f->ctx, path, words));
    total = atomic_load(&f->allocator.count);
    assert_true(total > 200);
    for (int on = 0; on < 2; on++) {
        f->allocator.from_there_on = on;
        for (long k = 1; k <= total; k++) {
            mm_status st;
            atomic_store(&f->allocator.count, 0);
            f->allocator.fail_at = k;
            st = scenario(f->ctx, path, words);
            f->allocator.fail_at = 0;
            if (st != MM_E_NOMEM)
                fail_msg("%s: with allocation %ld of %ld failing: %s, %s", path, k, total, mm_status_name(st), mm_context_error(f->ctx));
            if (!strstr(mm_context_error(f->ctx), "out of memory"))
                fail_msg("%s: allocation %ld: \"%s\"", path, k, mm_context_error(f->ctx));
            if (atomic_load(&f->allocator.live_bytes) != before)
                fail_msg("%s: with allocation %ld failing %ld bytes stay", path, k, (long)(atomic_load(&f->allocator.live_bytes) - before));
        }
    }
    ok(f->ctx, scenario(f->ctx, path, words));
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    out_of_memory(f, MODELS "llama_words", 1);
    out_of_memory(f, MODELS "gguf_q4_k/model.gguf", 0);
}

static void out_of_memory_forward(fixture *f, const char *path)
{
    long total;
    size_t before;

    ok(f->ctx, run_once(f->ctx, path));
    before = atomic_load(&f->allocator.live_bytes);
    atomic_store(&f->allocator.count, 0);
    ok(f->ctx, run_once(f->ctx, path));
    total = atomic_load(&f->allocator.count);
    for (int on = 0; on < 2; on++) {
        f->allocator.from_there_on = on;
        for (long k = 1; k <= total; k++) {
            mm_status st;
            atomic_store(&f->allocator.count, 0);
            f->allocator.fail_at = k;
            st = run_once(f->ctx, path);
            f->allocator.fail_at = 0;
            if (st != MM_E_NOMEM) fail_msg("%s: with allocation %ld of %ld failing: %s", path, k, total, mm_status_name(st));
            assert_int_equal(atomic_load(&f->allocator.live_bytes), before);
        }
    }
    ok(f->ctx, run_once(f->ctx, path));
}

static void test_out_of_memory_elsewhere(void **state)
{
    static const char *const paths[] = {MODELS "bert",
                                        MODELS "vit_class",
                                        MODELS "dinov2_class",
                                        MODELS "llama_sharded",
                                        MODELS "gguf_llama3/model.gguf",
                                        MODELS "gguf_bert_f32/model.gguf",
                                        MODELS "gpt2",
                                        MODELS "phi3_longrope",
                                        MODELS "gguf_gemma3_q8_0/model.gguf",
                                        MODELS "t5_relu",
                                        MODELS "ved_trocr_sinusoidal_bf16",
                                        MODELS "blip_answer",
                                        MODELS "roberta_class",
                                        MODELS "deit_teacher",
                                        MODELS "dinov2_registers_class",
                                        MODELS "clip",
                                        MODELS "siglip",
                                        MODELS "whisper",
                                        MODELS "siglip2_text",
                                        MODELS "mistral",
                                        MODELS "gguf_qwen2_q8_0/model.gguf"};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) out_of_memory_forward(f, paths[i]);
}

/* A failing first allocation of a context: the pool and the kernel table too. */
static void test_out_of_memory_from_the_first(void **state)
{
    fixture *f = *state;

    for (long k = 1; k < 400; k++) {
        allocator a;
        mm_hooks hooks = {sizeof hooks, hook_alloc, hook_free, NULL};
        mm_context *ctx = NULL;
        mm_status st;
        memset(&a, 0, sizeof a);
        hooks.user = &a;
        a.fail_at = k;
        st = mm_context_create(&hooks, &ctx);
        if (!st) {
            ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 2));
            st = run_once(ctx, MODELS "gguf_q8_0/model.gguf");
        }
        assert_true(st == MM_E_NOMEM || st == MM_OK); /* a pool that cannot be had is done without */
        mm_context_destroy(ctx);
        assert_int_equal(atomic_load(&a.live_blocks), 0);
        if (!st && atomic_load(&a.count) < k) break;
        assert_true(k < 399);
    }
    assert_usable(f);
}

/* Cancellation. */

typedef struct {
    long calls, cancel_at; /* 0: never */
    mm_context *flag;      /* raise the flag of this context instead of returning nonzero */
} progress;

static int32_t on_progress(void *user, const char *what, int64_t done, int64_t total)
{
    progress *p = user;
    assert_true(strlen(what) > 0);
    assert_true(done >= 0 && (total == 0 || done <= total));
    if (++p->calls != p->cancel_at) return 0;
    if (p->flag) {
        mm_context_cancel(p->flag);
        return 0;
    }
    return 1;
}

static mm_status long_text(mm_context *ctx, mm_model *m)
{
    int32_t ids[1000];
    mm_session *s = NULL;
    const float *logits;
    mm_status st;

    for (int i = 0; i < 1000; i++) ids[i] = i % 50;
    st = mm_session_create(ctx, m, &s);
    if (!st) st = mm_session_append_tokens(s, ids, 1000);
    if (!st) st = mm_session_logits(s, &logits);
    if (st == MM_E_CANCELLED) { /* it goes on where it was */
        mm_status again;
        ok(ctx, mm_context_set_progress(ctx, NULL, NULL));
        assert_int_equal(mm_session_length(s), 1000);
        again = mm_session_logits(s, &logits);
        ok(ctx, again);
    }
    mm_session_destroy(s);
    return st;
}

static void test_cancel_by_progress(void **state)
{
    fixture *f = *state;
    mm_model *m = open_golden(f->ctx, "gguf_q4_0/model.gguf"), *opened = NULL;
    progress count = {0, 0, NULL};
    size_t before;

    /* opening */
    assert_usable(f);
    before = atomic_load(&f->allocator.live_bytes);
    ok(f->ctx, mm_context_set_progress(f->ctx, on_progress, &count));
    ok(f->ctx, mm_model_open(f->ctx, MODELS "llama_gqa", &opened));
    mm_model_release(opened);
    assert_true(count.calls >= 3);
    for (int way = 0; way < 2; way++)
        for (long at = 1; at < count.calls; at++) {
            progress p = {0, at, way ? f->ctx : NULL};
            opened = (mm_model *)1;
            ok(f->ctx, mm_context_set_progress(f->ctx, on_progress, &p));
            refused(f->ctx, mm_model_open(f->ctx, MODELS "llama_gqa", &opened), MM_E_CANCELLED, "cancelled", (const char *)NULL);
            assert_null(opened);
            assert_int_equal(p.calls, at);
            assert_int_equal(atomic_load(&f->allocator.live_bytes), before);
        }
    ok(f->ctx, mm_context_set_progress(f->ctx, NULL, NULL));

    /* reading a prompt */
    count = (progress){0, 0, NULL};
    ok(f->ctx, mm_context_set_progress(f->ctx, on_progress, &count));
    ok(f->ctx, long_text(f->ctx, m));
    assert_true(count.calls >= 3);
    for (long at = 1; at <= count.calls; at++) {
        progress p = {0, at, NULL};
        ok(f->ctx, mm_context_set_progress(f->ctx, on_progress, &p));
        assert_int_equal(long_text(f->ctx, m), MM_E_CANCELLED);
    }
    mm_model_release(m);
    assert_usable(f);
}

/* The flag raised before a call stops that call, once. */
static void test_cancel_before(void **state)
{
    fixture *f = *state;
    mm_model *m = open_golden(f->ctx, "llama_gqa");
    mm_session *s = NULL;
    int32_t id = 3, reason = 0;

    mm_context_cancel(f->ctx);
    assert_int_equal(run_once(f->ctx, MODELS "llama_gqa"), MM_E_CANCELLED);
    assert_usable(f);
    ok(f->ctx, mm_session_create(f->ctx, m, &s));
    ok(f->ctx, mm_session_append_tokens(s, &id, 1));
    ok(f->ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 5));
    mm_context_cancel(f->ctx);
    refused(f->ctx, mm_session_generate(s, NULL, NULL, &reason), MM_E_CANCELLED, (const char *)NULL);
    assert_int_equal(mm_session_length(s), 1);
    ok(f->ctx, mm_session_generate(s, NULL, NULL, &reason));
    assert_int_equal(mm_session_length(s), 6);
    mm_session_destroy(s);
    mm_model_release(m);
    mm_context_cancel(NULL);
}

typedef struct {
    mm_context *ctx;
    atomic_int tokens;
} canceller;

static void *cancel_later(void *arg)
{
    canceller *c = arg;
    while (atomic_load(&c->tokens) < 20) (void)usleep(100);
    mm_context_cancel(c->ctx);
    return NULL;
}

static int32_t count_token(void *user, int32_t id, const char *text, size_t size)
{
    canceller *c = user;
    (void)id;
    (void)text;
    (void)size;
    atomic_fetch_add(&c->tokens, 1);
    return 0;
}

/* From another thread, in the middle of a generation that would not end: tokens so far stay, and it goes on afterwards. */
static void test_cancel_from_a_thread(void **state)
{
    fixture *f = *state;

    for (int threads = 1; threads <= 2; threads++) {
        mm_model *m;
        mm_session *s = NULL;
        canceller c;
        pthread_t thread;
        int32_t id = 3, reason = -1;
        size_t length;
        const float *logits;

        ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_THREADS, threads));
        m = open_golden(f->ctx, "llama_gqa");
        c.ctx = f->ctx;
        atomic_init(&c.tokens, 0);
        ok(f->ctx, mm_session_create(f->ctx, m, &s));
        ok(f->ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, INT32_MAX));
        ok(f->ctx, mm_session_set_i64(s, MM_SESSION_WHEN_FULL, MM_WHEN_FULL_SLIDE));
        ok(f->ctx, mm_session_append_tokens(s, &id, 1));
        assert_int_equal(pthread_create(&thread, NULL, cancel_later, &c), 0);
        refused(f->ctx, mm_session_generate(s, count_token, &c, &reason), MM_E_CANCELLED, "cancelled", (const char *)NULL);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(atomic_load(&c.tokens) >= 20);
        length = mm_session_length(s);
        assert_true(length >= 2);
        ok(f->ctx, mm_session_logits(s, &logits));
        assert_int_equal(mm_session_length(s), length);
        { /* what was computed is what a new session computes */
            mm_session *fresh = NULL;
            const float *want;
            double worst = 0, largest = 0;
            ok(f->ctx, mm_session_create(f->ctx, m, &fresh));
            ok(f->ctx, mm_session_append_tokens(fresh, mm_session_tokens(s), length));
            ok(f->ctx, mm_session_logits(fresh, &want));
            for (int v = 0; v < 67; v++) {
                worst = fmax(worst, fabs((double)logits[v] - (double)want[v]));
                largest = fmax(largest, fabs((double)want[v]));
            }
            assert_true(worst <= 1e-3 * largest);
            mm_session_destroy(fresh);
        }
        mm_session_destroy(s);
        mm_model_release(m);
    }
    ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_THREADS, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_missing_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tensors_missing_or_misshapen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_architectures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absurd_configurations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absurd_gguf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory_from_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_by_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_from_a_thread, setup, teardown),
    };
    return cmocka_run_group_tests_name("model_open", tests, NULL, NULL);
}
