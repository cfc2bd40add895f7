/* Readers of configuration that several architectures share: rotary positions and activations. SPDX-License-Identifier: MIT */
#ifndef MMI_ARCHITECTURE_CONFIG_H
#define MMI_ARCHITECTURE_CONFIG_H

#include "model.h"
#include "rope_frequencies.h"

/* rope_theta and rope_scaling, or rope_parameters, of a config.json. `context` stands for an absent original context; *partial is
 * partial_rotary_factor. MM_E_UNSUPPORTED names an unknown kind. */
mm_status mmi_rope_from_json(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, double context, mmi_rope_spec *out, double *partial);

/* The same from one object of such parameters, over what *out holds; no object: *out stays. */
mm_status mmi_rope_scaling_from_json(mm_context *ctx, const mmi_json *doc, const mmi_json_node *scaling, mmi_rope_spec *out, double *partial);

/* <arch>.rope.* of a GGUF file. */
mm_status mmi_rope_from_gguf(mm_context *ctx, const mmi_gguf *file, const char *arch, double context, mmi_rope_spec *out);

/* Make m->inverse_frequencies [rows of all, dim / 2]; scales[i] is the factor on cosines and sines of ropes[i]. */
mm_status mmi_rope_prepare(mm_context *ctx, mm_model *m, const mmi_rope_spec *ropes, size_t count, int64_t dim, float *scales);

/* image_size, patch_size and num_channels into m->info; sizes are a number or [height, width], the patch is square and not larger. */
mm_status mmi_config_image(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_json_node *root, int64_t image, int64_t patch);

/* id2label of a classifier into m->labels and m->n_labels (num_labels when there are no names), at most 1 << 20; problem_type into
 * m->info.judgement. */
mm_status mmi_config_labels(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_json_node *root);

/* An activation by its Hugging Face name; absent: *out stays. And one whose name is known, `key` for the message. */
mm_status mmi_config_activation(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const char *key, mmi_activation *out);
mm_status mmi_config_activation_named(mm_context *ctx, const mmi_json *doc, const char *key, const char *name, mmi_activation *out);

#endif
