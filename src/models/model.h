/* A model: its architecture, configuration, weights and what came with them in the directory or file.
 *
 * An architecture is one file beside this one: a table of weights, a reader of its configuration and a builder of its graph;
 * registry.c lists them. Immutable once opened, reference-counted, used by many contexts at once.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_MODEL_H
#define MMI_MODEL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "chat_template.h"
#include "file.h"
#include "gguf.h"
#include "graph.h"
#include "hash_map.h"
#include "hf_directory.h"
#include "log_mel.h"
#include "medium.h"
#include "mm_model.h"
#include "preprocess.h"
#include "speech_tokens.h"
#include "tokenizer.h"
#include "weight.h"

enum {
    MMI_ROW_OPTIONAL = 1, /* may be absent from the file; made with a new model all the same */
    MMI_ROW_TABLE = 2,    /* rows are looked up, never multiplied */
    MMI_ROW_DECODER = 4,  /* its layers are those of the second stack, of info.decoder_layers */
    MMI_ROW_TRANSPOSED = 8, /* a directory has this matrix [in, out]; the shape is the one that it is used in, [out, in] */
    MMI_ROW_TIED = 16,    /* may be absent, and is from a new model: another slot stands for it */
    MMI_ROW_PADDED = 32,  /* of tokens: the padding's row begins at 0 */
    MMI_ROW_ROTATED = 64,  /* its rows are rotated by positions: see gguf_interleaved */
    MMI_ROW_SINES = 256,   /* positions of a class token and a grid of patches that begin as sines, and are not trained unless they are named */
    MMI_ROW_RENAMED = 128  /* its module has the last of its names in today's class; files the others */
};

/* One row of an architecture's weight table. A '%' in a name stands for the layer, and makes the row one of every layer; a '|' stands
 * between names that files of different ages have for the same tensor, today's first; a '+' between those of classes (info.naming); a '/' before a name
 * that is no part of the architecture's base, and so never carries its prefix.
 * The shape is a list of dimensions, each a number or a letter that the architecture resolves ("2I,C"), behind a '>' where files write leading ones
 * otherwise ("N,C>1,N,C", of a scalar ">1"); shapes are checked exactly, but for leading ones. */
typedef struct {
    int slot;
    const char *hf, *gguf;  /* gguf NULL: not stored there */
    const char *shape;
    unsigned when;          /* bits of the configuration's features that must all be set */
    int flags;              /* MMI_ROW_* */
} mmi_weight_row;

/* What a part does in its model, which decides the class that its model_type stands for. */
typedef enum { MMI_ROLE_ENCODER, MMI_ROLE_DECODER } mmi_role;

/* A model within a model: a tower or a language model, of an architecture of its own that its own configuration names. */
typedef struct {
    const char *config;          /* the member of config.json that configures it, "text_config" */
    const char *type;            /* model_type to assume when that names none; NULL: the whole's, and a decoder's keys may stand in config.json itself */
    mmi_role role;
    const char *const *prefixes; /* that its tensor names carry before those of its own architecture, the one to write first, NULL at the end */
    int bare;                    /* files have its base alone there; its head, and nothing else of its, is the whole's */
    const char *modules;         /* what its modules' names begin with in today's class, where files have other names; NULL: as files */
} mmi_part_row;

enum { MMI_MAX_PARTS = 5 };

typedef struct mmi_io mmi_io;

typedef struct mmi_architecture {
    const char *name;               /* as mm info prints it, "llama" */
    const char *const *classes;     /* of config.json's "architectures", NULL at the end */
    const char *gguf;               /* general.architecture, NULL: no GGUF form */
    int gguf_interleaved;           /* which has the rows of each head in the order of interleaved rotation: 0, D/2, 1, D/2 + 1, ... */
    const char *const *prefixes;    /* that the tensor names of a directory may carry, the one to write first, NULL at the end; a class of the base alone writes none */
    const char *modules;            /* so of what is no part's */
    const char *processor;          /* image processor class to assume when the directory names none; NULL: takes no images */
    const char *video_processor;    /* so of videos */
    const mmi_weight_row *rows;
    size_t n_rows;
    size_t config_bytes;
    /* Read and range-check the configuration (zeroed before) and set m->info. */
    mm_status (*read_hf)(mm_context *ctx, mm_model *m, const mmi_json *config);
    mm_status (*read_gguf)(mm_context *ctx, mm_model *m, const mmi_gguf *file);
    int64_t (*dimension)(const mm_model *m, char letter);
    double (*beginning)(const mm_model *m, int slot); /* the standard deviation of a new weight, of a norm's its elements; < 0, or NULL: as of most */
    unsigned (*layer_features)(const mm_model *m, int64_t layer); /* more bits for the rows of a layer; NULL: its layers are alike */
    mm_status (*prepare)(mm_context *ctx, mm_model *m); /* after the weights: derived constants; NULL for none */
    void (*build)(mmi_io *io);                          /* failures stay in the graph */
    /* Write a prompt as the model's processor does: each placeholder of a picture or video in `text` widened to the texts of all its tokens, in
     * order; media without a placeholder go where the family puts them. NULL: the model takes none in its prompt. */
    mm_status (*write_prompt)(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count, mmi_text *out);
    /* Positions of tokens with media among them, [3][count] for info.position_streams 3, from `next` on, which receives the first position
     * behind them. NULL: one after the other. */
    mm_status (*positions)(mm_context *ctx, const mm_model *m, const int32_t *ids, size_t count, const mmi_medium *media, size_t n_media,
                           int32_t *next, int32_t *out);
    int (*head)(const mm_model *m, const char *name, const char *const **labels, size_t *count); /* mmi_model_head of a named one; NULL: has none */
    const mmi_part_row *parts;      /* of a composite; they are read before read_hf and at m->parts in this order */
    size_t n_parts;
    int free_parts;                 /* each may be missing, or {"from": PATH}: another checkpoint's, with its weights where the whole has none of them */
} mmi_architecture;

/* How another modality reaches a text decoder. A session runs the model in two steps: first the media (or source text) alone, with
 * MMI_FUSION_TOKENS for the output "image_features" (or "video_features"), [N, C] in the order of the placeholder tokens; with
 * MMI_FUSION_CROSS with io->encode set, which stores keys and values in the run's cross caches; then tokens with io->cached set, which
 * are given those features as the input of that name where placeholder tokens are among them. MMI_FUSION_INTERLEAVED is both: features have
 * a placeholder token each, [N, S, C] of S states, and the states of all are stored in the cross caches (io->encode, with the features as the
 * input); tokens are given the input "cross_attention_mask", what they attend to of them, or run as text alone. */
typedef enum { MMI_FUSION_NONE, MMI_FUSION_TOKENS, MMI_FUSION_CROSS, MMI_FUSION_INTERLEAVED } mmi_fusion;

/* What scores of classes, or of texts for a picture, mean: a choice of one, each by itself, or numbers as they are (regression). */
typedef enum { MMI_JUDGE_CHOICE, MMI_JUDGE_EACH, MMI_JUDGE_NUMBERS } mmi_judgement;

/* What every architecture tells about itself. */
typedef struct {
    int64_t layers;
    int64_t decoder_layers;  /* of a second stack, 0: none */
    int64_t vocabulary;      /* 0: takes no text */
    int64_t context;         /* most tokens of a text, 0: none */
    int64_t position_base;   /* of a text's first token; when not 0, its padding, token position_base - 1, is not counted (RoBERTa) */
    int64_t hidden;          /* width of its last hidden state */
    int64_t embedding;       /* width of a vector for a text or picture, 0: hidden */
    const char *text_output, *image_output; /* names of these vectors; NULL: pooled from the last hidden state */
    int64_t text_context;    /* most tokens of a text that becomes a vector or a class, 0: context */
    const char *label_output; /* name of the scores of classes, NULL: "logits" */
    int pads_text;           /* texts to embed are padded to `context` tokens, and the padding is seen */
    int64_t pad_token;       /* for that, where the tokenizer names none */
    int compares;            /* gives scores of pictures for texts: their cosine times exp(score_scale), and score_bias */
    float score_scale, score_bias;
    mmi_judgement comparison; /* of these */
    mmi_judgement judgement; /* of its classifier's */
    int generates;           /* a causal language model: sessions may use it; `kv` is set */
    mmi_kv_shape kv;
    int64_t long_context;    /* texts of more tokens rotate otherwise (LongRoPE): what is cached of a shorter one does not serve; 0: none */
    mmi_fusion fusion;
    int32_t image_token, video_token; /* placeholders of MMI_FUSION_TOKENS and MMI_FUSION_INTERLEAVED, where it sees */
    int64_t unpredicted;     /* ids behind the vocabulary that are read, but have no logits */
    mmi_kv_shape cross;      /* of the cross caches of MMI_FUSION_CROSS and MMI_FUSION_INTERLEAVED */
    int text_is_source;      /* appended text is what the encoder reads (T5, BART), not the beginning of the answer (Whisper, captions) */
    const char *ids_input;   /* the decoder's input of ids, NULL: "input_ids" */
    int position_streams;    /* 3: position_ids are [3, B, T] (M-RoPE); else [B, T] */
    int prefix;              /* the prompt is read in one run whose tokens all see each other (prefix language model), with io->prefix set */
    int hears;               /* takes input_features */
    int sees;                /* takes pixel_values */
    int64_t image_size[2];   /* height and width that it was trained on, when it sees */
    int64_t patch;
    int64_t vision_layers;   /* of a part that sees, those that its features come through; 0: all */
    int64_t channels;
    int classifies;          /* gives logits over `labels` */
    unsigned features;       /* bits for mmi_weight_row.when */
    int naming;              /* which of the names between '+' files of this class have */
    float norm_offset;       /* added to the weights of norms */
} mmi_model_info;

enum { MMI_MAX_END_TOKENS = 16, MMI_MAX_START_TOKENS = 8 };

/* What new weights begin with. */
typedef struct {
    float range;        /* standard deviation of matrices and tables */
    float layer_scale;
    float logit_scale, logit_bias;
    int64_t padding;    /* the row of tokens that is 0, -1: none */
} mmi_initials;

/* How an embedding is made from the hidden states. */
typedef enum { MMI_POOL_FIRST, MMI_POOL_MEAN } mmi_pooling;

typedef struct mmi_adapter mmi_adapter;

struct mm_model {
    atomic_size_t references;
    const mmi_architecture *arch; /* the first member that mmi_model_derive copies */
    struct mm_model *base;   /* retained; of a derived model, which owns its list of weights, what differs in these, its parts and its adapter: all
                              * else is the base's. NULL: not derived */
    mmi_adapter *adapter;    /* owned; low-rank terms of its weights and its parts' (adapter.h); NULL: none */
    struct mm_model *parts[MMI_MAX_PARTS]; /* owned; arch->n_parts of them, NULL where a free one is missing */
    const mmi_part_row *part;              /* what it is in the whole; NULL: a whole */
    const mmi_weight_row *table;           /* the weight table: its architecture's, or one that its configuration made */
    size_t table_rows;
    mmi_arena own;                         /* of such a table, and of what else the configuration named */
    int borrowed;                          /* of a part: its weights are another checkpoint's */
    int changed;                           /* a trainer has its weights, or some of them */
    int part_tied;                         /* of a part: the whole's configuration ties its head to its embeddings */
    char *class_name;        /* from config.json or general.architecture */
    char *path;
    char *config_text;       /* that it was created from; NULL: it was opened */
    char *format;            /* "safetensors", "gguf" or "created" */
    char *dtypes;            /* of its matrices, "Q4_1 x 210, Q8_0 x 1" */
    char *part_names;        /* "vision: ViTModel, text: BertModel"; NULL: no parts */
    const char *head_names;  /* in `own`: "shape: classification of vision, 3"; NULL: none of those */
    void *config;            /* the architecture's own */
    mmi_model_info info;
    mmi_initials initials;
    mmi_weight *weights;
    const mmi_weight_row **rows; /* of each weight */
    size_t n_weights;
    int32_t *slots;          /* [layers + 1][n_slots], index into weights + 1, 0: absent; layer 0 holds what is no layer's */
    size_t n_slots;
    mmi_file_map **maps;
    size_t n_maps;
    mmi_weight inverse_frequencies; /* rotary positions, of those that have them */
    mmi_weight position_table;       /* computed positions, of those that have them */
    mmi_tokenizer *tokenizer;        /* NULL: none */
    mmi_chat_template *chat_template; /* NULL: none */
    char *bos_text, *eos_text;       /* for the chat template, "" for none */
    int32_t start_tokens[MMI_MAX_START_TOKENS]; /* that an encoder-decoder's answer begins with */
    size_t n_start_tokens;
    mmi_ids suppressed, first_suppressed;       /* never generated; not as the first of an answer */
    int32_t forced_first, forced_last;          /* the first token behind start_tokens, and the last where the answer is cut; -1: none */
    int32_t end_tokens[MMI_MAX_END_TOKENS];
    size_t n_end_tokens;
    int has_processor;
    mmi_image_processor processor;
    int has_video_processor;
    mmi_image_processor video_processor;
    int has_sound_processor;
    mmi_audio_processor sound_processor;
    mmi_speech_tokens speech;       /* where it hears */
    mmi_pooling pooling;
    int64_t max_text;        /* tokens of a text for an embedding; longer is cut as the tokenizer says; 0: info.context */
    int is_sentence_model;   /* its directory says how to pool and normalize (sentence-transformers) */
    char **labels;           /* of the classifier; NULL: numbers */
    size_t n_labels;
};

mm_status mmi_model_open(mm_context *ctx, const char *path, mm_model **out);
mm_status mmi_model_open_pair(mm_context *ctx, const char *text_path, const char *projector_path, mm_model **out); /* mm_model.h */
mm_status mmi_model_open_quantized(mm_context *ctx, const char *path, const char *projector_path, int32_t dtype, mm_model **out); /* mm_model.h */
/* A model with the weights of `base` under records of its own, which may be changed before others see it. */
mm_status mmi_model_derive(mm_context *ctx, mm_model *base, mm_model **out);

/* The same as a model that is to be changed: every float weight has mmi_weight_values; quantized ones stay as they are. */
mm_status mmi_model_open_trainable(mm_context *ctx, const char *path, mm_model **out);

/* Such a model of a config.json's text, its weights as mmi_weight_draw begins them. */
mm_status mmi_model_create(mm_context *ctx, const char *config, int64_t seed, mm_model **out);
/* The same of a directory that has all but the weights; with `weights`, the directory of another model, those that it has by the same names are taken
 * from there, and must be of the same shapes. MM_E_NOT_FOUND: it has none of them. */
mm_status mmi_model_create_in(mm_context *ctx, const char *directory, const char *weights, int64_t seed, mm_model **out);

void mmi_model_retain(mm_model *m);
void mmi_model_release(mm_model *m); /* NULL allowed */

/* The weight in a slot; layer -1 for those that are no layer's. NULL when absent. */
const mmi_weight *mmi_model_weight(const mm_model *m, int slot, int64_t layer);

/* The positions of a text's tokens; ids NULL: embeddings, none of them padding. And of one, at `index` of a text that is written token by token: padding among those before it counts, as
 * the reference has it when it decodes over caches. */
void mmi_model_positions(const mm_model *m, const int32_t *ids, size_t count, int32_t *out);
int32_t mmi_model_position(const mm_model *m, int32_t id, size_t index);

/* The classes of a head, of the model's own for NULL: how many, and their names, which may be NULL or have gaps. 0: there is no such head. */
int mmi_model_head(const mm_model *m, const char *head, const char *const **names, size_t *count);

/* Parameters and bytes of all weights. */
size_t mmi_model_parameters(const mm_model *m);
size_t mmi_model_weight_bytes(const mm_model *m);

#endif
