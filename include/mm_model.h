/* libmm: models.
 *
 * An opened model is immutable and reference-counted; any number of contexts may use it at the same time. Its weights are
 * mapped from the file or repacked once, by the context that opens it, and stay counted against that context's limit.
 * SPDX-License-Identifier: MIT */
#ifndef MM_MODEL_H
#define MM_MODEL_H

#include "mm_audio.h"
#include "mm_context.h"
#include "mm_image.h"
#include "mm_tensor.h"
#include "mm_tokenizer.h"
#include "mm_video.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_model mm_model;

/* Open a model.
 *
 *   path  a Hugging Face directory (config.json, model.safetensors or its shards, tokenizer.json, preprocessor_config.json, ...)
 *         or a .gguf file. The files must not change while the model lives.
 *   out   receives the model, reference count 1; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND, MM_E_IO, MM_E_FORMAT, MM_E_LIMIT, MM_E_SHAPE, MM_E_DTYPE, MM_E_UNSUPPORTED (an
 * architecture, tokenizer or option that libmm does not know; the message names it), MM_E_NOMEM or MM_E_CANCELLED.
 * Threads: one call per ctx at a time. Since 0.1. */
MM_API mm_status mm_model_open(mm_context *ctx, const char *path, mm_model **out);

/* Open a language model and the vision projector that goes with it, two .gguf files, as one model that sees.
 *
 *   text_path       the language model
 *   projector_path  the projector (general.architecture "clip", general.type "mmproj", often named mmproj-*.gguf), of type "mlp" (LLaVA) or
 *                   "idefics3"; the text model's vocabulary must have the token "<image>"
 *   out             receives the model, reference count 1; NULL after a failure
 *
 * Returns as mm_model_open. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_open_pair(mm_context *ctx, const char *text_path, const char *projector_path, mm_model **out);

/* Open a model with its matrices quantized, to be smaller and faster: each matrix [N, K] of floats that linear layers multiply with, of the model and
 * its parts, is stored as 8-bit numbers with scales, and those layers quantize their inputs to 8 bits too, row by row:
 *   MM_DTYPE_Q8_ROW  a scale for each of the N rows; of inputs, for each 128 columns. The fastest
 *   MM_DTYPE_Q8_0    a scale for each 32 columns of both, the bits that GGUF files have. The closest to float32
 * All else is as mm_model_open has it: tables of embeddings (but one that is the output's matrix
 * too), vectors, convolutions, matrices of fewer than 16 rows or with a K of no whole 32s, and what the file has block-quantized already, of
 * whatever type. Weights are quantized as they are read: no float copy of them is ever in memory. MM_MODEL_DTYPES and MM_MODEL_WEIGHT_BYTES tell the
 * outcome; the model cannot be saved (mm_model_save).
 *
 *   path            as of mm_model_open, or a pair's text_path
 *   projector_path  NULL, or as of mm_model_open_pair
 *   dtype           MM_DTYPE_Q8_ROW or MM_DTYPE_Q8_0
 *   out             receives the model, reference count 1; NULL after a failure
 *
 * Returns MM_E_DTYPE for another dtype, named; else as mm_model_open. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_open_quantized(mm_context *ctx, const char *path, const char *projector_path, int32_t dtype, mm_model **out);

/* The model with a low-rank adapter (LoRA: arXiv:2106.09685) beside some of its matrices, as Hugging Face's peft saves them: a directory with
 * adapter_config.json (peft_type "LORA") and adapter_model.safetensors. Each adapted matrix W, quantized or not, acts as
 * W + scale * alpha / r * B A (alpha / sqrt(r) with use_rslora).
 *
 *   base       shared and unchanged: the new model keeps a reference to it and no copy of its weights. It must have no adapter itself.
 *   directory  borrowed for the call
 *   scale      1 for what the adapter was trained to do, 0 for nothing of it
 *   out        receives a model, reference count 1, that every function of a model takes; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND (a file; or a module that the model does not have, named), MM_E_SHAPE (a matrix that does not fit its
 * module, named), MM_E_UNSUPPORTED (another kind of adapter, or one of whole modules; a second adapter), MM_E_DTYPE, MM_E_IO, MM_E_FORMAT, MM_E_LIMIT,
 * MM_E_OVERFLOW, MM_E_NOMEM. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_adapt(mm_context *ctx, mm_model *base, const char *directory, double scale, mm_model **out);

/* An adapted model with the adapter's terms added into its matrices, each in the type that it has. It shares all other weights.
 *
 *   adapted  borrowed
 *   out      receives a model, reference count 1, without an adapter; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT (it has no adapter), MM_E_UNSUPPORTED (an adapted matrix is block-quantized; the message names it), MM_E_NOMEM or
 * MM_E_CANCELLED. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_merge_adapter(mm_context *ctx, const mm_model *adapted, mm_model **out);

/* Write an adapted model's adapter, without the model, as the two files that mm_model_adapt and peft read, float32. The directory is made when it is
 * not there; each file is written aside and takes the place of the old one when it is complete.
 * Returns MM_OK, MM_E_ARGUMENT (it has no adapter), MM_E_IO or MM_E_NOMEM. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_save_adapter(const mm_model *adapted, mm_context *ctx, const char *directory);

/* Make a new model with random weights.
 *
 *   config_json  the text of a config.json (UTF-8): "architectures" names the class, the other keys are those of its family
 *   seed         of the weights: each begins with values that this and its name alone decide. Matrices and tables are normally distributed with
 *                initializer_range (0.02) as standard deviation (of T5 as transformers draws each), norms begin with ones, biases with zeros; layer
 *                scales, gates, temperatures and the positions of masked autoencoders as their authors published
 *   out          receives the model, reference count 1; NULL after a failure. It has no tokenizer and no processors
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_FORMAT, MM_E_LIMIT, MM_E_OVERFLOW, MM_E_UNSUPPORTED, MM_E_NOMEM or MM_E_CANCELLED.
 * Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_create(mm_context *ctx, const char *config_json, int64_t seed, mm_model **out);

/* Write a model as a Hugging Face directory that mm_model_open and transformers open: config.json, model.safetensors and, of a model that was opened
 * from a directory, its tokenizer, processors, chat template and generation_config.json. Each file is written aside and renamed over the one before,
 * so that a failure leaves every file whole, old or new.
 *
 *   directory  is made when it is not there; the directory that the model came from is allowed
 *   dtype      of the weights: MM_SAVE_AS_IS, each in the type that it came in (F32 of a new model), MM_DTYPE_F32, MM_DTYPE_F16 or MM_DTYPE_BF16.
 *              Where config.json names a type, it names this one
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (a GGUF file, an adapter that is not merged, or weights that are quantized; the message names
 * one), MM_E_NOT_FOUND (the directory that the model came from is gone), MM_E_IO (the message names the file and the reason, such as a full disk),
 * MM_E_NOMEM or MM_E_CANCELLED.
 * Threads: one call per ctx at a time. Since 0.2. */
enum { MM_SAVE_AS_IS = -1 };
MM_API mm_status mm_model_save(const mm_model *model, mm_context *ctx, const char *directory, int32_t dtype);

/* The same as another class, for programs that know that one and no MMModel: an MMModel of a vision tower, a projector of two layers and a decoder as
 * LlavaForConditionalGeneration; one of a vision and a text tower with a contrastive head of their poolers as VisionTextDualEncoderModel, where both are CLIP's
 * as CLIPModel (docs/models.md has the shapes). Parts that are other checkpoints' are written too.
 *
 *   class_name  NULL, or the model's own class: as mm_model_save
 *
 * MM_E_UNSUPPORTED where the model has not the shape of that class: the message says what is in the way. Else as mm_model_save. Since 0.2. */
MM_API mm_status mm_model_save_as(const mm_model *model, mm_context *ctx, const char *directory, int32_t dtype, const char *class_name);

/* Count references up or down; the model goes with the last. NULL is allowed. Any thread. Since 0.1. */
MM_API void mm_model_retain(mm_model *model);
MM_API void mm_model_release(mm_model *model);

/* Facts about a model: numbers. */
enum {
    MM_MODEL_PARAMETERS = 1,     /* elements of all weights */
    MM_MODEL_WEIGHT_BYTES = 2,   /* what the weights take in memory, mapped files included */
    MM_MODEL_LAYERS = 3,         /* of an encoder-decoder its encoder's, of a model of parts its text decoder's, of two towers those of both */
    MM_MODEL_HIDDEN_SIZE = 4,    /* width of its last hidden state; of two towers, of their common space */
    MM_MODEL_VOCABULARY = 5,     /* token ids it takes, 0 for a model without text */
    MM_MODEL_CONTEXT = 6,        /* most tokens of a text, 0 for a model without text */
    MM_MODEL_GENERATES = 7,      /* 1: sessions may generate text with it */
    MM_MODEL_SEES = 8,           /* 1: takes images */
    MM_MODEL_LABELS = 9,         /* classes of its own head, 0 for none */
    MM_MODEL_IMAGE_HEIGHT = 10,  /* pixels that it was trained on, 0 for a model without images */
    MM_MODEL_IMAGE_WIDTH = 11,
    MM_MODEL_KV_TOKEN_BYTES = 12, /* bytes of key/value cache that a token of a session takes, 0 when it does not generate */
    MM_MODEL_HEARS = 13,          /* 1: takes sound. Since 0.2 */
    MM_MODEL_WATCHES = 14         /* 1: takes video. Since 0.2 */
};
MM_API mm_status mm_model_get_i64(const mm_model *model, int32_t fact, int64_t *out); /* MM_OK or MM_E_ARGUMENT. Any thread. Since 0.1. */

/* Facts about a model: texts, borrowed for the model's life; NULL for an unknown fact or where there is none. Any thread. Since 0.1. */
enum {
    MM_MODEL_ARCHITECTURE = 1,   /* as src/models calls it: "llama", "clip", "whisper", ... */
    MM_MODEL_CLASS = 2,          /* config.json's class, or general.architecture */
    MM_MODEL_FORMAT = 3,         /* "safetensors", "gguf", or "created" of a new model */
    MM_MODEL_DTYPES = 4,         /* element types of its matrices and how many of each, "Q4_1 x 210, Q8_0 x 1" */
    MM_MODEL_TOKENIZER = 5,      /* kind of tokenizer: "BPE", "WordPiece" or "Unigram" */
    MM_MODEL_POOLING = 6,        /* how embeddings are made: "mean" or "first" */
    MM_MODEL_ADAPTER = 7,        /* of an adapted model: "LoRA of 24 matrices, rank 8, alpha 16". Since 0.2 */
    MM_MODEL_PARTS = 8,          /* the models that it is made of, "vision: ViTModel, text: BertModel". Since 0.2 */
    MM_MODEL_HEADS = 9           /* of an MMModel, "shape: classification of vision, 3; match: matching of fused, 2". Since 0.2 */
};
MM_API const char *mm_model_get_str(const mm_model *model, int32_t fact);

/* The name of class `index` of the model's head; NULL when out of range or unnamed. Borrowed. Any thread. Since 0.1. */
MM_API const char *mm_model_label(const mm_model *model, size_t index);

/* The model's tokenizer, NULL when it has none. Borrowed for the model's life; retain it to keep it longer. Any thread. Since 0.1. */
MM_API mm_tokenizer *mm_model_tokenizer(const mm_model *model);

/* Run the model on named tensors, named as transformers names them.
 *
 *   inputs   borrowed. Text: input_ids [B, T] (I32 or I64), and if wanted attention_mask [B, T] (missing: all ones), token_type_ids,
 *            position_ids [B, T]. Images: pixel_values [B, 3, H, W] (F32, F16 or BF16), normalized as mm_model_preprocess_image does.
 *            docs/models.md lists what each class takes. A model of two towers takes the inputs of one or of both.
 *   outputs  receives a new map, the caller destroys it; NULL after a failure. All F32, but indices I32: last_hidden_state [B, T, C];
 *            pooler_output [B, C]; logits [B, T, V] of a language model or [B, L] of a classifier; image_embeds, text_embeds, logits_per_image
 *            and logits_per_text of towers; each where the model has it.
 *
 * Returns MM_OK, MM_E_ARGUMENT (an input that is missing, unknown, or holds ids out of range), MM_E_SHAPE, MM_E_DTYPE, MM_E_NOMEM,
 * MM_E_OVERFLOW or MM_E_CANCELLED. Threads: one call per ctx at a time. Since 0.1. */
MM_API mm_status mm_model_forward(const mm_model *model, mm_context *ctx, const mm_tensor_map *inputs, mm_tensor_map **outputs);

/* A picture as the model's processor prepares it: its pixel_values alone, [1, 3, H, W] float32 of most processors (those with tiles or patches have
 * shapes of their own, and more tensors: mm_model_preprocess_images). The caller releases *out; NULL after a failure.
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (the model takes no images), MM_E_LIMIT or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_model_preprocess_image(const mm_model *model, mm_context *ctx, const mm_image *image, mm_tensor **out);

/* What the model's processors make of the media of one prompt: new maps of the tensors that mm_model_forward takes, named as transformers names
 * them (pixel_values with pixel_attention_mask, image_grid_thw, spatial_shapes, aspect_ratio_ids, ...; pixel_values_videos with video_grid_thw;
 * input_features of at most one window). The caller destroys *out; NULL after a failure.
 *
 *   images  borrowed, `count` of them, 1 or more
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (the model takes no such medium), MM_E_SHAPE, MM_E_LIMIT, MM_E_NOMEM, MM_E_CANCELLED, and for videos what
 * reading a frame returns. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_preprocess_images(const mm_model *model, mm_context *ctx, const mm_image *const *images, size_t count, mm_tensor_map **out);
MM_API mm_status mm_model_preprocess_video(const mm_model *model, mm_context *ctx, const mm_video *video, mm_tensor_map **out);
MM_API mm_status mm_model_preprocess_audio(const mm_model *model, mm_context *ctx, const mm_audio *audio, mm_tensor_map **out);

/* One vector per text, [count, C] float32: the hidden states pooled as the model's directory says (sentence-transformers), else their
 * mean; of a tower that was made for it (CLIP, SigLIP) its own vector, projected into the space of pictures where the model has one.
 * A text longer than the model takes is cut as its tokenizer says. The result for a text does not depend on the others.
 *
 *   texts      borrowed, `count` UTF-8 strings
 *   normalize  nonzero: rows of unit length
 *   out        the caller releases it; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (no text or no tokenizer), MM_E_NOMEM or MM_E_CANCELLED. Since 0.1. */
MM_API mm_status mm_model_embed_texts(const mm_model *model, mm_context *ctx, const char *const *texts, size_t count, int32_t normalize,
                                      mm_tensor **out);

/* One vector per picture, [count, C] float32: the class token's last state (pooler_output of a model without a trained pooler); of a
 * tower that was made for it its own vector, in the space of texts where the model has one. Returns as mm_model_embed_texts. Since 0.1. */
MM_API mm_status mm_model_embed_images(const mm_model *model, mm_context *ctx, const mm_image *const *images, size_t count, int32_t normalize,
                                       mm_tensor **out);

/* Where in a picture a model looks to classify or embed it, by attention rollout (arXiv:2005.00928) through its vision tower.
 *
 *   image  borrowed
 *   out    receives a new tensor [rows, cols] float32 that adds up to 1: a grid of equal cells over the whole picture, about as large as the
 *          model's patches there; what its processor cuts away is 0. The caller releases it; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (the model takes no images, answers with text (mm_session_explain), or has no grid of
 * patches), MM_E_STATE (all of the attention lies beside the picture, on its padding), or as mm_model_embed_images.
 * Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_explain_image(const mm_model *model, mm_context *ctx, const mm_image *image, mm_tensor **out);

/* Probabilities of the model's own classes for a picture, [L] float32, in the order of mm_model_label. They add up to 1, unless config.json's
 * problem_type says that classes do not exclude each other, or that the numbers are no probabilities.
 * Returns as mm_model_embed_texts; MM_E_UNSUPPORTED when the model has no classifier. Since 0.1. */
MM_API mm_status mm_model_classify_image(const mm_model *model, mm_context *ctx, const mm_image *image, mm_tensor **out);

/* The same for a text (UTF-8), cut as its tokenizer says when it is longer than the model takes. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_classify_text(const mm_model *model, mm_context *ctx, const char *text, mm_tensor **out);

/* Zero-shot: probabilities of labels of the caller for a picture, by a model of a vision and a text tower.
 *
 *   labels          borrowed, `count` UTF-8 strings, 1 or more
 *   label_template  the text that stands for a label, with "{}" in its place; NULL: "This is a photo of {}."
 *   out             [count] float32: of CLIP a choice among the labels, which adds up to 1; of SigLIP each by itself. The caller releases it;
 *                   NULL after a failure
 *
 * Returns as mm_model_embed_texts; MM_E_UNSUPPORTED when the model does not compare pictures with texts, MM_E_ARGUMENT when the template
 * has no "{}". Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_classify_labels(const mm_model *model, mm_context *ctx, const mm_image *image, const char *const *labels, size_t count,
                                          const char *label_template, mm_tensor **out);

/* Write a conversation as the model's chat template (Jinja, from tokenizer_config.json, chat_template.jinja or GGUF) writes it.
 *
 *   roles, contents  borrowed, `count` strings each: "system", "user", "assistant", ...
 *   open_reply       nonzero: end with the opening of the assistant's next turn
 *   out              receives UTF-8 text with special tokens spelled out; free with mm_text_free; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (no template), MM_E_FORMAT (the template refuses or fails; the message has its line),
 * MM_E_LIMIT or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_model_apply_chat_template(const mm_model *model, mm_context *ctx, const char *const *roles, const char *const *contents,
                                              size_t count, int32_t open_reply, char **out);

/* The same for messages with media: media[i] names the kinds of those that stand in front of the text of message i, "image", "video" or "audio" with
 * a space between, NULL or "" for none. The template gets such a conversation as lists of parts and writes the family's placeholders. A
 * template that knows texts alone gets those: media are then put in front by the session that they are appended to. Returns as
 * mm_model_apply_chat_template. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_model_apply_chat_template_media(const mm_model *model, mm_context *ctx, const char *const *roles, const char *const *contents,
                                                    const char *const *media, size_t count, int32_t open_reply, char **out);

#ifdef __cplusplus
}
#endif
#endif
