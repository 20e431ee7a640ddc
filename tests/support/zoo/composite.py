"""Tiny image-text, audio-text and other composites, each with the place of its language decoder as read from the
modelling sources.
"""

import dataclasses
import itertools
from typing import Any

import torch
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, MODEL_MAPPING_NAMES

VOCABULARY = 128
FIRST_SPECIAL_TOKEN = 100  # plain text takes ids below it: image, video and audio placeholders lie above

_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_size": 32,
    "d_model": 32,
    "embed_dim": 32,
    "word_embed_proj_dim": 32,
    "intermediate_size": 44,
    "ffn_dim": 44,
    "d_ff": 44,
    "encoder_ffn_dim": 44,
    "decoder_ffn_dim": 44,
    "num_hidden_layers": 3,
    "num_layers": 3,
    "layers": 3,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_decoder_layers": 2,
    "num_attention_heads": 4,
    "attention_heads": 4,
    "num_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_kv": 8,
    "sliding_window": 4,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "moe_topk": 2,
    "n_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 20,
    "shared_intermediate_size": 20,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "index_head_dim": 8,
    "index_n_heads": 2,
    "index_topk": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_TOWER: dict[str, Any] = {
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "image_size": 16,
    "patch_size": 4,
    "num_patches": 16,
    "num_position_embeddings": 16,
    "hidden_size": 16,
    "d_model": 16,
    "embed_dim": 16,
    "encoder_hidden_size": 16,
    "intermediate_size": 20,
    "ffn_dim": 20,
    "d_ff": 20,
    "mlp_dim": 20,
    "encoder_ffn_dim": 20,
    "num_hidden_layers": 2,
    "depth": 2,
    "num_layers": 2,
    "num_blocks": 2,
    "encoder_layers": 2,
    "num_attention_heads": 2,
    "attention_heads": 2,
    "num_heads": 2,
    "encoder_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_kv": 8,
    "out_hidden_size": 32,
    "text_hidden_size": 32,
    "output_dim": 32,
    "projection_dim": 32,
    "num_mel_bins": 8,
    "deepstack_visual_indexes": [0],
    "fullatt_block_indexes": [1],
    "global_attn_indexes": [1],
    "window_size": 8,
    "output_channels": 8,
    "base_channels": 32,
    "channel_multiplier": [1, 1],
    "latent_channels": 8,
    "num_embeddings": 16,
    "codebook_size": 16,
}

_HYBRID = ["linear_attention", "linear_attention", "full_attention"]
_SLIDING = ["sliding_attention", "sliding_attention", "full_attention"]
_DENSE_FIRST = ["dense", "sparse", "sparse"]
_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
_MROPE: dict[str, Any] = {**_ROPE, "mrope_section": [2, 1, 1]}
_WHOLE_MROPE: dict[str, Any] = {**_MROPE, "partial_rotary_factor": 1.0}
_CONFORMER: dict[str, Any] = {
    "input_dim": 8,
    "hidden_dim": 16,
    "num_heads": 2,
    "dim_head": 8,
    "context_size": 4,
    "max_pos_emb": 8,
    "conv_kernel_size": 3,
    "output_dim": 6,
}
_SIGLIP: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
    "vision_use_head": False,
}

# What the two tables above leave open, by the model type of the part; "<owner>.<attribute>" is for one owner only.
_PARTS: dict[str, dict[str, Any]] = {
    "chameleon_vqgan": {"embed_dim": 8, "resolution": 16},
    "cohere2": {"layer_types": _SLIDING},
    "cohere_compass_text": {
        "layer_types": _SLIDING,
        "rope_parameters": {"sliding_attention": _ROPE, "full_attention": _ROPE},
    },
    "cosmos3_edge_text": {"rope_parameters": _MROPE},
    "deepseek_ocr2_sam_vision_model": {"downsample_channels": [16, 16]},
    "deepseek_ocr2_text": {"mlp_layer_types": _DENSE_FIRST},
    "deepseek_v3": {"num_key_value_heads": 4},
    "diffusion_gemma_text": {"layer_types": _SLIDING, "top_k_experts": 2},
    "dots3_note_audio_encoder": {
        "feature_size": 8,
        "downsample_hidden_size": 4,
        "adapter_input_size": 16,
        "adapter_out_dim": 32,
    },
    "dots3_note_text": {
        "num_key_value_heads": 4,
        "head_dim": 16,
        "layer_types": ["indexed_attention"] * 3,
        "shared_experts_intermediate_size": 20,
    },
    "dots3_note_vision_encoder": {"mlp_layer_types": ["dense", "dense"], "adapter_in_dim": 16, "adapter_out_dim": 32},
    "embedding_gemma2_text": {"layer_types": _SLIDING, "hidden_size_per_layer_input": 8, "embedding_dim": 32},
    "emu3_vqgan": {"embed_dim": 4, "hidden_size": 32, "latent_channels": 4, "num_attention_heads": 1},
    "ernie4_5_vl_moe_text": {
        "moe_intermediate_size": [20, 12],
        "rope_parameters": {**_ROPE, "mrope_section": [1, 1, 2]},
    },
    "florence_vision": {
        "depths": [1, 1],
        "patch_size": [3, 3],
        "patch_stride": [2, 2],
        "patch_padding": [1, 1],
        "patch_prenorm": [False, True],
        "embed_dim": [8, 16],
        "num_heads": [2, 2],
        "num_groups": [2, 2],
        "window_size": 2,
        "max_position_embeddings": 10,
        "max_temporal_embeddings": 4,
    },
    "fun_asr_nano.adaptor_config": {"hidden_size": 32, "intermediate_size": 8, "projector_hidden_size": 20},
    "fun_asr_nano_encoder": {"num_timestamp_prediction_layers": 1},
    "gemma3_text": {"layer_types": _SLIDING, "query_pre_attn_scalar": 8},
    "gemma3n_audio": {
        "vocab_size": 4,
        "vocab_offset": 124,
        "input_feat_size": 8,
        "conf_num_attention_heads": 2,
        "conf_num_hidden_layers": 1,
        "sscp_conv_channel_size": [4, 4],
    },
    "gemma3n_text": {
        "layer_types": _SLIDING,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 0,
        "laurel_rank": 4,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0],
    },
    "gemma4_text": {
        "layer_types": _SLIDING,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
    },
    "gemma4_unified_text": {"layer_types": _SLIDING},
    "gemma4_vision": {"position_embedding_size": 16},
    "glm4v_moe_text": {"rope_parameters": _WHOLE_MROPE},
    "glm4v_text": {"rope_parameters": _MROPE},
    "glm5_next_text": {
        "num_key_value_heads": 4,
        "qk_rope_head_dim": 0,
        "head_dim": 0,
        "layer_types": ["linear_attention", "linear_attention", "indexed_attention"],
        "mlp_layer_types": _DENSE_FIRST,
        "indexer_types": ["full"] * 3,
        "index_kpool": 2,
        "linear_head_dim": 8,
        "linear_num_heads": 4,
    },
    "glm5_next_vision": {"projection_intermediate_size": 20},
    "glm_image_text": {"rope_parameters": _MROPE, "vision_vocab_size": 16},
    "glm_image_vqmodel": {"embed_dim": 8},
    "glm_ocr_text": {"rope_parameters": _MROPE},
    "granite4_vision.vision_config": {"hidden_size": 64},  # the Q-Former takes one head for every 64 channels
    "granite_speech_encoder": _CONFORMER,
    "granite_speech_plus_encoder": _CONFORMER,
    "hunyuan_vl_text": {"rope_parameters": _MROPE},
    "hunyuan_vl_vision": {"img_max_token_num": 16, "max_image_size": 64, "min_image_size": 16, "max_vit_seq_len": 64},
    "idefics2_perceiver": {
        "hidden_size": 32,
        "resampler_n_latents": 4,
        "resampler_depth": 1,
        "resampler_n_heads": 2,
        "resampler_head_dim": 8,
        "num_key_value_heads": 1,
    },
    "idefics_perciever": {
        "resampler_n_latents": 4,
        "resampler_depth": 1,
        "resampler_n_heads": 2,
        "resampler_head_dim": 8,
    },
    "inkling2_text": {
        "unpadded_vocab_size": 120,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 8,
        "sliding_window_size": 4,
        "d_rel": 4,
        "rel_extent": 16,
        "n_layers_per_attn_res_block": 2,
    },
    "inkling2_vision": {"posemb_grid_size": 4, "projection_hidden_dim": 20},
    "inkling_audio": {"n_mel_bins": 8, "mel_vocab_size": 16},
    "inkling_text": {
        "unpadded_vocab_size": 120,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 8,
        "sliding_window_size": 4,
        "d_rel": 4,
        "rel_extent": 16,
    },
    "inkling_vision": {"num_hidden_layers": 4},  # with fewer layers than scales it asks for scipy
    "janus_vision_model": {"num_image_tokens": 16},
    "janus_vqgan": {"embed_dim": 4, "num_patches": 4, "image_token_embed_dim": 8},
    "kimi_k25_vision": {"pos_emb_height": 4, "pos_emb_width": 4},
    "kosmos_2_5_vision_model": {"patch_embed_hidden_size": 16, "max_num_patches": 16},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"], "block_auto_adjust_ff_dim": False},
    "llama4_text": {
        "intermediate_size_mlp": 44,
        "interleave_moe_layer_step": 2,
        "no_rope_layer_interval": 2,
        "attention_chunk_size": 16,
        "layer_types": ["chunked_attention", "full_attention", "chunked_attention"],
    },
    "llama4_vision_model": {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16},
    "minicpm_ocr_vision": {"insert_layer_id": 0},
    "minicpmv4_6_vision": {"insert_layer_id": 0},
    "minicpmv4_7_vision": {"insert_layer_id": 0},
    "minimax_m3_vl_text": {
        "dense_intermediate_size": 44,
        "rotary_dim": 8,
        "index_block_size": 4,
        "index_topk_blocks": 8,
    },
    "mistral_large4_text": {"num_key_value_heads": 4},
    "mllama_text_model": {"cross_attention_layers": [1]},
    "mllama_vision_model": {
        "num_global_layers": 1,
        "max_num_tiles": 2,
        "intermediate_layers_indices": [0, 1],
        "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        "vision_output_dim": 48,
    },
    "molmo2_adapter": {"vision_feature_layer": [1, 0]},
    "molmo2_text": {"additional_vocab_size": 16},
    "molmo2_vision": {"image_size": [16, 16]},
    "muse_glimmer_vision": {"pos_emb_height": 4, "pos_emb_width": 4},
    "muse_spark_audio": {"patch_sizes": [4, 2], "hidden_sizes": [8, 16], "depths": [1, 1]},
    "muse_spark_text": {"moe_hidden_size": 16},
    "muse_spark_vision": {"pos_emb_height": 4, "pos_emb_width": 4},
    "nemotron3_5_transcribe_word_timestamp": {"blank_token_id": 0},
    "nemotron3_diarization": {"head_config": {"audio_hidden_size": 16, "hidden_size": 8}},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        "ssm_state_size": 8,
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "n_groups": 2,
        "chunk_size": 8,
        "moe_shared_expert_intermediate_size": 20,
    },
    "paddleocr_vl_text": {"rope_parameters": _MROPE},
    "phi4_multimodal_audio": {
        "nemo_conv_channels": 8,
        "ext_pw_out_channel": 16,
        "bias_max_distance": 16,
        "input_size": 8,
    },
    "pix2struct_vision_model": {"patch_embed_hidden_size": 16, "seq_len": 16},
    "pp_formulanet_vision": {
        "post_conv_in_channels": 8,
        "post_conv_out_channels": 16,
        "post_conv_mid_channels": 8,
        "decoder_hidden_size": 32,
    },
    "qwen2_5_omni_text": {"rope_parameters": _MROPE},
    "qwen2_5_vl_text": {"rope_parameters": _MROPE},
    "qwen2_vl_text": {"rope_parameters": _MROPE},
    "qwen2_vl_vision": {"hidden_size": 32},  # the width of its merged output
    "qwen3_5_moe_text": {"layer_types": _HYBRID, "rope_parameters": _WHOLE_MROPE},
    "qwen3_5_text": {"layer_types": _HYBRID, "rope_parameters": _WHOLE_MROPE},
    "qwen3_asr_encoder": {"downsample_hidden_size": 4},
    "qwen3_omni_moe_audio_encoder": {"downsample_hidden_size": 4},
    "qwen3_omni_moe_text": {"rope_parameters": _MROPE},
    "qwen3_vl_moe_text": {"rope_parameters": _MROPE},
    "qwen3_vl_text": {"rope_parameters": _MROPE},
    "qwen4_exp_text": {
        "layer_types": _HYBRID,
        "hc_lowrank": 8,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "radio": {"video_temporal_patch_size": 2, "max_img_size": 32},
    "step3p5_vision": {"max_position_embeddings": 16},
    "t5gemma2_decoder": {"layer_types": _SLIDING, "query_pre_attn_scalar": 8},
    "t5gemma2_text": {"layer_types": _SLIDING, "query_pre_attn_scalar": 8},
    "unlimited_ocr_sam_vision_model": {"downsample_channels": [16, 16]},
    "vibevoice_acoustic_tokenizer": {
        "num_filters": 2,
        "n_filters": 2,
        "downsampling_ratios": [2, 2],
        "depths": [1, 1, 1],
    },
    "vibevoice_acoustic_tokenizer_encoder": {"num_filters": 2, "downsampling_ratios": [2, 2], "depths": [1, 1, 1]},
}

# The same for the outermost configuration.
_WHOLE: dict[str, dict[str, Any]] = {
    "blip-2": {"num_query_tokens": 4},
    "chameleon": {"vocabulary_map": {"<image>": 100}},
    "cohere2_vision": {"alignment_intermediate_size": 20},
    "cosmos3_edge": {"projector_hidden_size": 20},
    "diffusion_gemma": {"canvas_length": 8},
    "emu3": {"vocabulary_map": {"<image>": 100, "<|extra_200|>": 101}},
    "fast_vlm": {"vision_config": _SIGLIP},
    "fuyu": {"image_size": 16, "patch_size": 4},
    "gemma4": {
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 20,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "patch_size": 4,
            "position_embedding_size": 16,
        },
        "audio_config": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [4, 4],
            "output_proj_dims": 16,
        },
    },
    "gemma4_unified": {
        "vision_config": {"patch_size": 4, "mm_embed_dim": 32, "mm_posemb_size": 16, "output_proj_dims": 32},
        "audio_config": {},
    },
    "granite4_vision": {
        "downsample_rate": "1/2",
        "deepstack_layer_map": [[0, 0]],
        "spatial_target_layers": [0, 1, 2, 2],
    },
    "granite_speech": {"downsample_rate": 2, "window_size": 4, "has_lora_adapter": False},
    "granite_speech_plus": {"downsample_rate": 2, "window_size": 4, "has_lora_adapter": False},
    "instructblip": {"num_query_tokens": 4},
    "instructblipvideo": {"num_query_tokens": 4},
    "kimi_k25": {"projection_hidden_size": 16},
    "kosmos-2": {"latent_query_num": 4},
    "kosmos-2.5": {"latent_query_num": 4},
    "kyutai_speech_to_text": {
        "codebook_vocab_size": 32,
        "num_codebooks": 2,
        "audio_bos_token_id": 31,
        "audio_pad_token_id": 30,
    },
    "lfm2_vl": {"projector_hidden_size": 20},
    "lfm3_vl": {"projector_hidden_size": 20},
    "minicpm_ocr": {"insert_layer_id": 0},
    "minicpmv4_6": {"insert_layer_id": 0},
    "minicpmv4_7": {"insert_layer_id": 0},
    "minimax_m3_vl": {"projector_hidden_size": 20},
    "mistral4": {"num_key_value_heads": 4},
    "muse_glimmer": {"out_hidden_size": 24, "projector_hidden_size": 20},
    "muse_spark": {"out_hidden_size": 24, "projector_hidden_size": 20},
    "nemotron_h_omni": {
        "projector_hidden_size": 20,
        "vision_hidden_size": 16,
        "audio_config": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 20,
            "num_mel_bins": 8,
            "subsampling_conv_channels": 4,
            "projection_hidden_size": 20,
            "projection_bias": False,
        },
    },
    "ovis2": {"visual_indicator_token_ids": [120, 121, 122, 123, 124], "hidden_size": 32, "vocab_size": VOCABULARY},
    "paligemma": {"hidden_size": 32, "projection_dim": 32, "vocab_size": VOCABULARY},
    "perception_lm": {"vision_config": {**_SIGLIP, "model_args": {"embed_dim": 16}}},
    "pi0": {
        "vlm_config": {
            "model_type": "paligemma",
            "image_token_index": 100,
            "hidden_size": 32,
            "projection_dim": 32,
            "vocab_size": VOCABULARY,
            "text_config": {
                "model_type": "gemma",
                "vocab_size": VOCABULARY,
                "hidden_size": 32,
                "intermediate_size": 44,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "max_position_embeddings": 128,
            },
            "vision_config": {**_SIGLIP, "projection_dim": 32},
        },
    },
    "qwen2_5_omni": {"enable_audio_output": False},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 110},
    "qwen3_omni_moe": {"enable_audio_output": False},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 110},
    "udop": {"image_size": 16, "patch_size": 4},
    "vipllava": {"vision_feature_layer": [-2, -1]},
}

_LANGUAGE_PARTS = ("text_config", "decoder")
_PLAIN_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_eos_token_id")


def _fields(config_class: type[PreTrainedConfig]) -> set[str]:
    return {field.name for field in dataclasses.fields(config_class)}


def _parts(owner: PreTrainedConfig, given: dict[str, Any]) -> dict[str, PreTrainedConfig]:
    """The parts that `owner` has by default, made tiny, but for those that are `given`."""
    parts = {}
    for name in type(owner).sub_configs:
        default = getattr(owner, name, None)
        if default is not None and name not in given:
            parts[name] = _tiny(default, _TEXT if name in _LANGUAGE_PARTS else _TOWER, f"{owner.model_type}.{name}")
    return parts


def _tiny(default: PreTrainedConfig, sizes: dict[str, Any], name: str) -> PreTrainedConfig:
    known = _fields(type(default))
    open_settings = {**_PARTS.get(default.model_type, {}), **_PARTS.get(name, {})}
    if "text_config" in type(default).sub_configs:
        open_settings = {**_special_tokens(type(default)), **open_settings, **_WHOLE.get(default.model_type, {})}
    chosen = {key: value for key, value in sizes.items() if key in known}
    return type(default)(**{**chosen, **_parts(default, open_settings), **open_settings})


def _special_tokens(config_class: type[PreTrainedConfig]) -> dict[str, int]:
    """Ids of their own, within the vocabulary, for every placeholder token that the configuration names."""
    names = sorted(
        name
        for name in _fields(config_class)
        if name.endswith(("_token_id", "_token_index")) and name not in _PLAIN_TOKENS
    )
    return dict(zip(names, itertools.count(FIRST_SPECIAL_TOKEN), strict=False))


def tiny(model_type: str) -> PreTrainedConfig:
    default = CONFIG_MAPPING[model_type]()
    settings: dict[str, Any] = {}
    if not {"text_config", "thinker_config", "vlm_config", *_LANGUAGE_PARTS} & set(type(default).sub_configs):
        settings = {name: value for name, value in _TEXT.items() if name in _fields(type(default))}
    settings |= {**_special_tokens(type(default)), **_WHOLE.get(model_type, {})}
    config = type(default)(**{**settings, **_parts(default, settings)})
    if model_type == "gemma3n":
        # Its vision tower is a timm model and its type is checked on assignment: any other tower leaves the decoder as
        # it is.
        tower = CONFIG_MAPPING["siglip_vision_model"](**_SIGLIP, vocab_size=4, vocab_offset=120, rms_norm_eps=1e-6)
        object.__setattr__(config, "vision_config", tower)
    return config


def headless(model_type: str, device: str = "cpu") -> nn.Module:
    """The model that the paths below start from, in float32, the same at every call."""
    torch.manual_seed(0)
    with torch.device(device):
        if model_type in MODEL_MAPPING_NAMES:
            model: nn.Module = AutoModel.from_config(tiny(model_type), dtype=torch.float32)
        elif model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            model = AutoModelForImageTextToText.from_config(tiny(model_type), dtype=torch.float32).base_model
        else:
            model = AutoModelForMultimodalLM.from_config(tiny(model_type), dtype=torch.float32).base_model
    return model.eval()


UNBUILDABLE: dict[str, str] = {
    "evolla": (
        "the auto classes know its configuration under the name EvollaModel, which is in none of their model mappings"
    ),
}

# The language part is an encoder with a decoder, or a decoder that reads a vision encoder in every layer: `tiny` and
# `headless` make them.
ENCODER_DECODER: tuple[str, ...] = (
    "florence2",
    "pix2struct",
    "pp_formulanet",
    "t5gemma2",
    "udop",
    "vision-encoder-decoder",
)

# Their own towers come from timm; here they have a SigLIP tower in its place, and the decoder is the same.
OTHER_TOWER: tuple[str, ...] = ("fast_vlm", "gemma3n", "perception_lm")

# The module that itself holds the token embedding, the decoder layers and the final norm and whose forward takes
# `input_ids`; "" is the whole model. diffusion_gemma has the same weights a second time, as `decoder`, which reads the
# cache of this one and takes no `input_ids`.
BACKBONES: dict[str, str] = {
    **dict.fromkeys(
        (
            "aria",
            "audioflamingo3",
            "aya_vision",
            "cohere2_vision",
            "cohere_compass",
            "cosmos3_edge",
            "cosmos3_omni",
            "deepseek_ocr2",
            "deepseek_vl",
            "deepseek_vl_hybrid",
            "dots3_note",
            "embedding_gemma2",
            "ernie4_5_vl_moe",
            "exaone4_5",
            "fast_vlm",
            "fun_asr_nano",
            "fuyu",
            "gemma3",
            "gemma3n",
            "gemma4",
            "gemma4_unified",
            "glm46v",
            "glm4v",
            "glm4v_moe",
            "glm5_next",
            "glm_image",
            "glm_ocr",
            "glmasr",
            "glmga",
            "got_ocr2",
            "granite4_vision",
            "granite_speech",
            "granite_speech_plus",
            "hunyuan_vl",
            "hyperclovax_vision_v2",
            "inkling2",
            "inkling_mm_model",
            "internvl",
            "janus",
            "kimi_k25",
            "lfm2_vl",
            "lfm3_vl",
            "lighton_ocr",
            "llava",
            "llava_next",
            "llava_next_video",
            "llava_onevision",
            "minicpm_ocr",
            "minicpmv4_6",
            "minicpmv4_7",
            "minimax_m3_vl",
            "mistral3",
            "mistral_large4",
            "mllama",
            "molmo2",
            "moss_transcribe_diarize",
            "muse_glimmer",
            "muse_spark",
            "musicflamingo",
            "nemo_speechlm",
            "ovis2",
            "paddleocr_vl",
            "paligemma",
            "perception_lm",
            "pp_chart2table",
            "qianfan_ocr",
            "qwen2_5_omni_thinker",
            "qwen2_5_vl",
            "qwen2_audio",
            "qwen2_vl",
            "qwen3_5",
            "qwen3_5_moe",
            "qwen3_asr",
            "qwen3_omni_moe_thinker",
            "qwen3_vl",
            "qwen3_vl_moe",
            "qwen4_exp",
            "shieldgemma2",
            "step3p7",
            "unlimited_ocr",
            "vibevoice_asr",
            "video_llama_3",
            "video_llava",
            "vipllava",
            "voxtral",
            "voxtral_realtime",
        ),
        "language_model",
    ),
    "blip": "text_model",
    "emu3": "text_model",
    "granite_docling": "text_model",
    "idefics2": "text_model",
    "idefics3": "text_model",
    "smolvlm": "text_model",
    "blip-2": "language_model.model.decoder",
    "chameleon": "",
    "git": "",
    "idefics": "",
    "kyutai_speech_to_text": "",
    "mistral4": "",
    "phi4_multimodal": "",
    "diffusion_gemma": "encoder.language_model",
    "instructblip": "language_model.decoder",
    "instructblipvideo": "language_model.decoder",
    "kosmos-2": "text_model.model",
    "kosmos-2.5": "text_model.model",
    "llama4": "language_model.model",
    "nemotron_h_omni": "language_model.model",
    "pi0": "vlm.language_model",
    "qwen2_5_omni": "thinker.model.language_model",
    "qwen3_omni_moe": "thinker.model.language_model",
    "vibevoice": "model.language_model",
}

# Modules around a backbone that add nothing to it but, in some, a language modelling head.
WRAPPERS: dict[str, tuple[str, ...]] = {
    "blip-2": ("language_model", "language_model.model"),
    "instructblip": ("language_model",),
    "instructblipvideo": ("language_model",),
    "kosmos-2": ("text_model",),
    "kosmos-2.5": ("text_model",),
    "llama4": ("language_model",),
    "nemotron_h_omni": ("language_model",),
}

# No norm after the last layer: blip and git are post-norm, qwen4_exp mixes its residual streams in
# `hyper_connection_mixer`.
NO_FINAL_NORM: tuple[str, ...] = ("blip", "git", "qwen4_exp")

# Everything beside the backbone: towers, projectors, image tokenizers, and pi0's action expert.
VISION: dict[str, tuple[str, ...]] = {
    "aria": ("multi_modal_projector", "vision_tower"),
    "audioflamingo3": ("audio_tower", "multi_modal_projector"),
    "aya_vision": ("multi_modal_projector", "vision_tower"),
    "blip": ("text_projection", "vision_model", "visual_projection"),
    "blip-2": ("language_projection", "qformer", "vision_model"),
    "chameleon": ("vqmodel",),
    "cohere2_vision": ("multi_modal_projector", "vision_tower"),
    "cohere_compass": ("visual",),
    "cosmos3_edge": ("projector", "visual"),
    "cosmos3_omni": ("visual",),
    "deepseek_ocr2": ("multi_modal_projector", "vision_tower"),
    "deepseek_vl": ("aligner", "vision_model"),
    "deepseek_vl_hybrid": (
        "aligner",
        "high_res_vision_model",
        "high_res_vision_neck",
        "high_res_vision_proj",
        "vision_model",
    ),
    "diffusion_gemma": ("encoder.embed_vision", "encoder.vision_tower"),
    "dots3_note": ("audio_tower", "vision_tower"),
    "embedding_gemma2": (),
    "emu3": ("vqmodel",),
    "ernie4_5_vl_moe": ("resampler_model", "vision_tower"),
    "exaone4_5": ("visual",),
    "fast_vlm": ("multi_modal_projector", "vision_tower"),
    "fun_asr_nano": ("audio_tower", "multi_modal_projector"),
    "fuyu": ("vision_embed_tokens",),
    "gemma3": ("multi_modal_projector", "vision_tower"),
    "gemma3n": ("audio_tower", "embed_audio", "embed_vision", "vision_tower"),
    "gemma4": ("audio_tower", "embed_audio", "embed_vision", "vision_tower"),
    "gemma4_unified": ("embed_audio", "embed_vision"),
    "git": ("image_encoder", "visual_projection"),
    "glm46v": ("visual",),
    "glm4v": ("visual",),
    "glm4v_moe": ("visual",),
    "glm5_next": ("visual",),
    "glm_image": ("visual", "vqmodel"),
    "glm_ocr": ("visual",),
    "glmasr": ("audio_tower", "multi_modal_projector"),
    "glmga": ("visual",),
    "got_ocr2": ("multi_modal_projector", "vision_tower"),
    "granite4_vision": ("layerwise_projectors", "spatial_projectors", "vision_tower"),
    "granite_docling": ("vision_model",),
    "granite_speech": ("encoder", "projector"),
    "granite_speech_plus": ("encoder", "projector"),
    "hunyuan_vl": ("vision_tower",),
    "hyperclovax_vision_v2": ("projector", "vision_model"),
    "idefics": ("vision_model",),
    "idefics2": ("connector", "vision_model"),
    "idefics3": ("connector", "vision_model"),
    "inkling2": ("vision_tower",),
    "inkling_mm_model": ("audio_tower", "vision_tower"),
    "instructblip": ("language_projection", "qformer", "vision_model"),
    "instructblipvideo": ("language_projection", "qformer", "vision_model"),
    "internvl": ("multi_modal_projector", "vision_tower"),
    "janus": ("aligner", "generation_aligner", "generation_embeddings", "generation_head", "vision_model", "vqmodel"),
    "kimi_k25": ("mm_projector", "vision_tower"),
    "kosmos-2": ("image_to_text_projection", "vision_model"),
    "kosmos-2.5": ("image_to_text_projection", "vision_model"),
    "kyutai_speech_to_text": (),
    "lfm2_vl": ("multi_modal_projector", "vision_tower"),
    "lfm3_vl": ("multi_modal_projector", "vision_tower"),
    "lighton_ocr": ("vision_encoder", "vision_projection"),
    "llama4": ("multi_modal_projector", "vision_model"),
    "llava": ("multi_modal_projector", "vision_tower"),
    "llava_next": ("multi_modal_projector", "vision_tower"),
    "llava_next_video": ("multi_modal_projector", "vision_resampler", "vision_tower"),
    "llava_onevision": ("multi_modal_projector", "vision_tower"),
    "minicpm_ocr": ("merger", "vision_tower"),
    "minicpmv4_6": ("merger", "vision_tower"),
    "minicpmv4_7": ("merger", "vision_tower"),
    "minimax_m3_vl": ("multi_modal_projector", "vision_tower"),
    "mistral3": ("multi_modal_projector", "vision_tower"),
    "mistral4": (),
    "mistral_large4": ("multi_modal_projector", "vision_tower"),
    "mllama": ("multi_modal_projector", "vision_model"),
    "molmo2": ("multi_modal_projector", "vision_tower"),
    "moss_transcribe_diarize": ("audio_tower", "multi_modal_projector"),
    "muse_glimmer": ("perception_emb_norm", "vision_adapter", "vision_projection", "vision_tower"),
    "muse_spark": ("audio_tower", "perception_emb_norm", "vision_adapter", "vision_projection", "vision_tower"),
    "musicflamingo": ("audio_tower", "multi_modal_projector", "pos_emb"),
    "nemo_speechlm": ("audio_tower", "multi_modal_projector", "word_timestamp_encoder"),
    "nemotron_h_omni": ("audio_tower", "embed_audio", "multi_modal_projector", "vision_model"),
    "ovis2": ("vision_tower", "visual_embeddings_table"),
    "paddleocr_vl": ("projector", "visual"),
    "paligemma": ("multi_modal_projector", "vision_tower"),
    "perception_lm": ("multi_modal_projector", "vision_tower"),
    "phi4_multimodal": ("embed_tokens_extend",),
    "pi0": ("dit", "vlm.multi_modal_projector", "vlm.vision_tower"),
    "pp_chart2table": ("multi_modal_projector", "vision_tower"),
    "qianfan_ocr": ("multi_modal_projector", "vision_tower"),
    "qwen2_5_omni": ("thinker.model.audio_tower", "thinker.model.visual"),
    "qwen2_5_omni_thinker": ("audio_tower", "visual"),
    "qwen2_5_vl": ("visual",),
    "qwen2_audio": ("audio_tower", "multi_modal_projector"),
    "qwen2_vl": ("visual",),
    "qwen3_5": ("visual",),
    "qwen3_5_moe": ("visual",),
    "qwen3_asr": ("audio_tower", "multi_modal_projector"),
    "qwen3_omni_moe": ("thinker.model.audio_tower", "thinker.model.visual"),
    "qwen3_omni_moe_thinker": ("audio_tower", "visual"),
    "qwen3_vl": ("visual",),
    "qwen3_vl_moe": ("visual",),
    "qwen4_exp": ("visual",),
    "shieldgemma2": ("multi_modal_projector", "vision_tower"),
    "smolvlm": ("connector", "vision_model"),
    "step3p7": ("multi_modal_projector", "vision_model"),
    "unlimited_ocr": ("multi_modal_projector", "vision_tower"),
    "vibevoice": (
        "model.audio_tower",
        "model.diffusion_head",
        "model.multi_modal_projector",
        "model.semantic_connector",
        "model.semantic_tokenizer_encoder",
    ),
    "vibevoice_asr": ("acoustic_tokenizer_encoder", "multi_modal_projector", "semantic_tokenizer_encoder"),
    "video_llama_3": ("projector", "vision_model"),
    "video_llava": ("image_tower", "multi_modal_projector", "video_tower"),
    "vipllava": ("multi_modal_projector", "vision_tower"),
    "voxtral": ("audio_tower", "multi_modal_projector"),
    "voxtral_realtime": ("audio_tower", "multi_modal_projector", "time_embedding"),
}

NEEDS_MORE: dict[str, str] = {
    "idefics": "forward asks for pixel_values",
    "kyutai_speech_to_text": "input_ids have a third dimension, the codebooks",
    "voxtral_realtime": "every layer reads the time embedding of the audio delay",
}

# The backbone, called alone with text only, gives finite values.
RUNS: tuple[str, ...] = tuple(sorted(BACKBONES.keys() - NEEDS_MORE.keys()))
