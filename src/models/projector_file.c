/* SPDX-License-Identifier: MIT */
#include "projector_file.h"

#include <stdio.h>
#include <string.h>

#include "size.h"

/* Parts of names, each replaced where it stands; a feed-forward's two are swapped in files of older tools. */
static const char *const words[][2] = {
    {"embeddings.class_embedding", "v.class_embd"}, {"embeddings.position_embedding", "v.position_embd"},
    {"embeddings.patch_embedding", "v.patch_embd"}, {"pre_layrnorm", "v.pre_ln"}, {"post_layernorm", "v.post_ln"},
    {"encoder.layers.", "v.blk."}, {"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"}, {"self_attn.v_proj", "attn_v"},
    {"self_attn.out_proj", "attn_out"}, {"layer_norm1", "ln1"}, {"layer_norm2", "ln2"}, {"mlp.fc1", "ffn_up"}, {"mlp.fc2", "ffn_down"},
    {"multi_modal_projector.linear_1", "mm.0"}, {"multi_modal_projector.linear_2", "mm.2"}, {"connector.modality_projection.proj", "mm.model.fc"},
};

int mmi_projector_file_name(const mmi_projector_file *p, const char *hf, char *out, size_t size)
{
    size_t n = 0;

    while (*hf) {
        const char *word = NULL;
        size_t length = 1;
        for (size_t i = 0; i < sizeof words / sizeof *words && !word; i++) {
            if (strncmp(hf, words[i][0], strlen(words[i][0])) != 0) continue;
            length = strlen(words[i][0]);
            word = words[i][1];
            if (p->swapped && !strncmp(word, "ffn_", 4)) word = word[4] == 'u' ? "ffn_down" : "ffn_up";
        }
        if (n + 32 > size) return 0;
        if (!word) {
            out[n++] = *hf;
        } else {
            n += (size_t)snprintf(out + n, size - n, "%s", word);
        }
        hf += length;
    }
    out[n] = 0;
    return 1;
}

/* The tower's configuration, as a member. */
static mm_status write_tower(mm_context *ctx, const mmi_gguf *f, const char *type, const char *act, int64_t *layers, mmi_text *out)
{
    static const struct {
        const char *key, *name;
        int64_t most;
    } numbers[] = {{"clip.vision.embedding_length", "hidden_size", 1 << 17}, {"clip.vision.feed_forward_length", "intermediate_size", 1 << 20},
                   {"clip.vision.attention.head_count", "num_attention_heads", 4096}, {"clip.vision.image_size", "image_size", 1 << 16},
                   {"clip.vision.patch_size", "patch_size", 1 << 16}, {"clip.vision.block_count", "num_hidden_layers", 4096}};
    double eps = 1e-5;
    int64_t v = 0;
    mm_status st;

    if (mmi_text_format(ctx, out, "\"vision_config\": {\"model_type\": \"%s\", \"hidden_act\": \"%s\", \"vision_use_head\": false", type, act)) return MM_E_NOMEM;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if ((st = mmi_gguf_i64(ctx, f, numbers[i].key, 1, 1, numbers[i].most, &v))) return st;
        if (mmi_text_format(ctx, out, ", \"%s\": %lld", numbers[i].name, (long long)v)) return MM_E_NOMEM;
    }
    *layers = v;
    if ((st = mmi_gguf_f64(ctx, f, "clip.vision.attention.layer_norm_epsilon", 1, 0, 1, &eps))) return st;
    return mmi_text_format(ctx, out, ", \"layer_norm_eps\": %.9g}", eps) ? MM_E_NOMEM : MM_OK;
}

/* Which states of the tower the projector was trained on: those that the file lists, else what comes out of the blocks it holds; but a tower that
 * still has its last norm was not cut, and then the last block is not used (LLaVA's default). */
static mm_status write_layers(mm_context *ctx, const mmi_gguf *f, int64_t layers, int bare, mmi_text *out)
{
    mmi_gguf_type type;
    size_t count = 0;
    int found = 0;
    int64_t layer = 0;
    mm_status st = mmi_gguf_array(ctx, f, "clip.vision.feature_layer", 0, &type, &count, &found);

    if (st) return st;
    if (count > 64) return mmi_fail(ctx, MM_E_FORMAT, "%s: clip.vision.feature_layer lists %zu layers", mmi_gguf_path(f), count);
    if (mmi_text_format(ctx, out, ", \"vision_feature_layer\": [")) return MM_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if ((st = mmi_gguf_array_i64(ctx, f, "clip.vision.feature_layer", i, &layer))) return st;
        if (mmi_text_format(ctx, out, i ? ", %lld" : "%lld", (long long)layer)) return MM_E_NOMEM;
    }
    if (!count && mmi_text_format(ctx, out, "%lld", (long long)(bare ? layers : layers - 1))) return MM_E_NOMEM;
    return mmi_text_format(ctx, out, "]") ? MM_E_NOMEM : MM_OK;
}

static mm_status write_numbers(mm_context *ctx, const mmi_gguf *f, const char *key, const char *name, int *found, mmi_text *out)
{
    mmi_gguf_type type;
    size_t count = 0;
    double v;
    mm_status st = mmi_gguf_array(ctx, f, key, 0, &type, &count, found);

    if (st || !*found) return st;
    if (count > 64) return mmi_fail(ctx, MM_E_FORMAT, "%s: %s lists %zu numbers", mmi_gguf_path(f), key, count);
    if (mmi_text_format(ctx, out, ", \"%s\": [", name)) return MM_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if ((st = mmi_gguf_array_f64(ctx, f, key, i, &v))) return st;
        if (mmi_text_format(ctx, out, i ? ", %.9g" : "%.9g", v)) return MM_E_NOMEM;
    }
    return mmi_text_format(ctx, out, "]") ? MM_E_NOMEM : MM_OK;
}

static mm_status write_processor(mm_context *ctx, const mmi_gguf *f, int split, mmi_text *out, int *found)
{
    int64_t side = 0, longest;
    int other = 0;
    mm_status st;

    if ((st = mmi_gguf_i64(ctx, f, "clip.vision.image_size", 1, 1, 1 << 16, &side))) return st;
    longest = 4 * side;
    if ((st = mmi_gguf_i64(ctx, f, "clip.vision.preproc_image_size", 0, 1, 1 << 16, &longest))) return st;
    if (split) {
        if (mmi_text_format(ctx, out, "{\"image_processor_type\": \"Idefics3ImageProcessor\", \"size\": {\"longest_edge\": %lld}, \"max_image_size\": "
                                      "{\"longest_edge\": %lld}", (long long)longest, (long long)side))
            return MM_E_NOMEM;
    } else if (mmi_text_format(ctx, out, "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"shortest_edge\": %lld}, \"crop_size\": "
                                         "{\"height\": %lld, \"width\": %lld}", (long long)side, (long long)side, (long long)side)) {
        return MM_E_NOMEM;
    }
    if ((st = write_numbers(ctx, f, "clip.vision.image_mean", "image_mean", found, out))) return st;
    if ((st = write_numbers(ctx, f, "clip.vision.image_std", "image_std", &other, out))) return st;
    return mmi_text_format(ctx, out, "}") ? MM_E_NOMEM : MM_OK;
}

/* The activation's name: "gelu" of a tower with a class token is the exact one, else its approximation by tanh. */
static mm_status find_activation(mm_context *ctx, const mmi_gguf *f, int has_class, const char **out)
{
    int gelu = 0, silu = 0;
    mm_status st;

    if ((st = mmi_gguf_bool(ctx, f, "clip.use_gelu", 0, &gelu)) || (st = mmi_gguf_bool(ctx, f, "clip.use_silu", 0, &silu))) return st;
    *out = gelu ? (has_class ? "gelu" : "gelu_pytorch_tanh") : silu ? "silu" : "quick_gelu";
    return MM_OK;
}

mm_status mmi_projector_file_read(mm_context *ctx, const mmi_gguf *f, const mmi_tokenizer *tokens, mmi_projector_file *p)
{
    const char *arch = NULL, *type = NULL, *act = NULL, *tower;
    const mmi_gguf_tensor *down = mmi_gguf_tensor_find(f, "v.blk.0.ffn_down.weight");
    int has_class = mmi_gguf_tensor_find(f, "v.class_embd") != NULL, split, found = 0;
    int64_t width = 0, layers = 0, scale = 2;
    int32_t image = tokens ? mmi_tokenizer_find(tokens, "<image>", 7) : -1;
    size_t n = 0, type_size = 0;
    mmi_text config = {0}, processor = {0};
    mm_status st;

    memset(p, 0, sizeof *p);
    p->file = f;
    if ((st = mmi_gguf_string(ctx, f, "general.architecture", 1, &arch, &n))) goto cleanup;
    if (n != 4 || memcmp(arch, "clip", 4) != 0) {
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: architecture \"%.*s\" is no vision projector", mmi_gguf_path(f), (int)mmi_size_min(n, 60), arch);
        goto cleanup;
    }
    if ((st = mmi_gguf_string(ctx, f, "clip.projector_type", 1, &type, &type_size))) goto cleanup;
    split = type_size == 8 && !memcmp(type, "idefics3", 8);
    if (!split && !(type_size == 3 && !memcmp(type, "mlp", 3))) {
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: projector type \"%.*s\" is not supported", mmi_gguf_path(f), (int)mmi_size_min(type_size, 60), type);
        goto cleanup;
    }
    if (image < 0) {
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: the text model has no token \"<image>\" for pictures", mmi_gguf_path(f));
        goto cleanup;
    }
    if ((st = mmi_gguf_i64(ctx, f, "clip.vision.embedding_length", 1, 1, 1 << 17, &width))) goto cleanup;
    if ((st = mmi_gguf_i64(ctx, f, "clip.vision.projector.scale_factor", 0, 1, 64, &scale))) goto cleanup;
    p->swapped = down && down->rank == 2 && down->shape[1] == width; /* [in, out] of what goes down */
    p->bare = !mmi_gguf_tensor_find(f, "v.post_ln.weight");
    if ((st = find_activation(ctx, f, has_class, &act))) goto cleanup;
    tower = split ? "idefics3_vision" : has_class ? "clip_vision_model" : "siglip_vision_model";
    st = MM_E_NOMEM;
    if (mmi_text_format(ctx, &config, "{\"architectures\": [\"%s\"], ", split ? "Idefics3ForConditionalGeneration" : "LlavaForConditionalGeneration"))
        goto cleanup;
    if ((st = write_tower(ctx, f, tower, act, &layers, &config))) goto cleanup;
    if (!split && (st = write_layers(ctx, f, layers, p->bare, &config))) goto cleanup;
    st = MM_E_NOMEM;
    if (mmi_text_format(ctx, &config, ", \"image_token_id\": %d, \"scale_factor\": %lld, \"vision_feature_select_strategy\": \"%s\", "
                                      "\"multimodal_projector_bias\": %s}", image, (long long)scale, has_class ? "default" : "full",
                        mmi_gguf_tensor_find(f, "mm.0.bias") ? "true" : "false"))
        goto cleanup;
    if ((st = mmi_json_parse(ctx, mmi_gguf_path(f), config.data, config.size, &p->config))) goto cleanup;
    if ((st = write_processor(ctx, f, split, &processor, &found))) goto cleanup;
    if (found) st = mmi_json_parse(ctx, mmi_gguf_path(f), processor.data, processor.size, &p->processor);
cleanup:
    mmi_text_clear(&config);
    mmi_text_clear(&processor);
    if (st) mmi_projector_file_clear(p);
    return st;
}

void mmi_projector_file_clear(mmi_projector_file *p)
{
    mmi_json_destroy(p->config);
    mmi_json_destroy(p->processor);
    p->config = p->processor = NULL;
}
