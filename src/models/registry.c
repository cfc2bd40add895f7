/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <string.h>

#include "bart.h"
#include "bert.h"
#include "bert_decoder.h"
#include "blip.h"
#include "clip.h"
#include "clip_text.h"
#include "clip_vision.h"
#include "composite.h"
#include "dinov2.h"
#include "gemma.h"
#include "gemma2.h"
#include "gemma3.h"
#include "gpt2.h"
#include "idefics3.h"
#include "idefics3_vision.h"
#include "llama.h"
#include "llava.h"
#include "mistral.h"
#include "mllama.h"
#include "mllama_text.h"
#include "mllama_vision.h"
#include "paligemma.h"
#include "phi3.h"
#include "qwen2.h"
#include "qwen2_vl.h"
#include "qwen2_vl_vision.h"
#include "qwen3.h"
#include "siglip_vision.h"
#include "t5.h"
#include "vision_encoder_decoder.h"
#include "vit.h"
#include "vit_mae.h"

static const mmi_architecture *const architectures[] = {
    &mmi_llama, &mmi_mistral, &mmi_qwen2, &mmi_qwen3, &mmi_gemma, &mmi_gemma2, &mmi_gemma3, &mmi_phi3, &mmi_gpt2,
    &mmi_bert, &mmi_roberta, &mmi_distilbert, &mmi_vit, &mmi_deit, &mmi_vit_mae, &mmi_dinov2, &mmi_dinov2_with_registers,
    &mmi_clip_text, &mmi_clip_vision, &mmi_siglip_text, &mmi_siglip_vision, &mmi_siglip2_vision, &mmi_clip, &mmi_dual_encoder, &mmi_siglip, &mmi_siglip2,
    &mmi_t5, &mmi_bart, &mmi_mbart, &mmi_trocr, &mmi_whisper, &mmi_bert_decoder, &mmi_roberta_decoder, &mmi_vision_encoder_decoder,
    &mmi_blip_vision, &mmi_blip_text, &mmi_blip_caption, &mmi_blip_answer, &mmi_blip_retrieval,
    &mmi_llava, &mmi_qwen2_vl, &mmi_qwen2_vl_vision, &mmi_idefics3, &mmi_idefics3_vision, &mmi_paligemma,
    &mmi_mllama_vision, &mmi_mllama_text, &mmi_mllama, &mmi_whisper_encoder, &mmi_composite,
};

const mmi_architecture *mmi_registry_find_class(const char *class_name)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        for (const char *const *c = architectures[i]->classes; *c; c++)
            if (!strcmp(*c, class_name)) return architectures[i];
    return NULL;
}

/* The class that a part of a composite is, whose configuration says model_type alone. */
static const struct {
    const char *type;
    mmi_role role;
    const char *class_name;
} types[] = {
    {"bart", MMI_ROLE_DECODER, "BartForCausalLM"},
    {"bert", MMI_ROLE_DECODER, "BertLMHeadModel"},
    {"bert", MMI_ROLE_ENCODER, "BertModel"},
    {"blip_text_model", MMI_ROLE_DECODER, "BlipTextLMHeadModel"},
    {"blip_text_model", MMI_ROLE_ENCODER, "BlipTextModel"},
    {"blip_vision_model", MMI_ROLE_ENCODER, "BlipVisionModel"},
    {"clip_text_model", MMI_ROLE_ENCODER, "CLIPTextModel"},
    {"clip_vision_model", MMI_ROLE_ENCODER, "CLIPVisionModel"},
    {"deit", MMI_ROLE_ENCODER, "DeiTModel"},
    {"dinov2", MMI_ROLE_ENCODER, "Dinov2Model"},
    {"dinov2_with_registers", MMI_ROLE_ENCODER, "Dinov2WithRegistersModel"},
    {"distilbert", MMI_ROLE_ENCODER, "DistilBertModel"},
    {"gemma", MMI_ROLE_DECODER, "GemmaForCausalLM"},
    {"gemma2", MMI_ROLE_DECODER, "Gemma2ForCausalLM"},
    {"gemma3_text", MMI_ROLE_DECODER, "Gemma3ForCausalLM"},
    {"gpt2", MMI_ROLE_DECODER, "GPT2LMHeadModel"},
    {"idefics3", MMI_ROLE_ENCODER, "Idefics3VisionTransformer"},
    {"idefics3_vision", MMI_ROLE_ENCODER, "Idefics3VisionTransformer"},
    {"llama", MMI_ROLE_DECODER, "LlamaForCausalLM"},
    {"mbart", MMI_ROLE_DECODER, "MBartForCausalLM"},
    {"mistral", MMI_ROLE_DECODER, "MistralForCausalLM"},
    {"mllama_text_model", MMI_ROLE_DECODER, "MllamaForCausalLM"},
    {"mllama_vision_model", MMI_ROLE_ENCODER, "MllamaVisionModel"},
    {"phi3", MMI_ROLE_DECODER, "Phi3ForCausalLM"},
    {"qwen2", MMI_ROLE_DECODER, "Qwen2ForCausalLM"},
    {"qwen2_5_vl", MMI_ROLE_DECODER, "Qwen2VLTextModel"},
    {"qwen2_5_vl", MMI_ROLE_ENCODER, "Qwen2_5_VisionTransformerPretrainedModel"},
    {"qwen2_5_vl_text", MMI_ROLE_DECODER, "Qwen2VLTextModel"},
    {"qwen2_5_vl_vision", MMI_ROLE_ENCODER, "Qwen2_5_VisionTransformerPretrainedModel"},
    {"qwen2_vl", MMI_ROLE_DECODER, "Qwen2VLTextModel"},
    {"qwen2_vl", MMI_ROLE_ENCODER, "Qwen2VisionTransformerPretrainedModel"},
    {"qwen2_vl_text", MMI_ROLE_DECODER, "Qwen2VLTextModel"},
    {"qwen2_vl_vision", MMI_ROLE_ENCODER, "Qwen2VisionTransformerPretrainedModel"},
    {"qwen3", MMI_ROLE_DECODER, "Qwen3ForCausalLM"},
    {"roberta", MMI_ROLE_DECODER, "RobertaForCausalLM"},
    {"roberta", MMI_ROLE_ENCODER, "RobertaModel"},
    {"siglip2_text_model", MMI_ROLE_ENCODER, "Siglip2TextModel"},
    {"siglip2_vision_model", MMI_ROLE_ENCODER, "Siglip2VisionModel"},
    {"siglip_text_model", MMI_ROLE_ENCODER, "SiglipTextModel"},
    {"siglip_vision_model", MMI_ROLE_ENCODER, "SiglipVisionModel"},
    {"trocr", MMI_ROLE_DECODER, "TrOCRForCausalLM"},
    {"smolvlm_vision", MMI_ROLE_ENCODER, "SmolVLMVisionTransformer"},
    {"vit", MMI_ROLE_ENCODER, "ViTModel"},
    {"whisper", MMI_ROLE_ENCODER, "WhisperEncoder"},
    {"xlm-roberta", MMI_ROLE_ENCODER, "XLMRobertaModel"},
};

const char *mmi_registry_class_of(const char *model_type, mmi_role role)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].role == role && !strcmp(types[i].type, model_type)) return types[i].class_name;
    return NULL;
}

const mmi_architecture *mmi_registry_find_gguf(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        const char *g = architectures[i]->gguf;
        if (g && strlen(g) == n && !memcmp(g, name, n)) return architectures[i];
    }
    return NULL;
}
