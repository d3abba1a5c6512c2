//! What a model type means where its config does not say it. Read from the code of transformers 5.24 (`default_theta`,
//! `setdefault("partial_rotary_factor", …)` and `rotary_pct` of `configuration_*.py`; the pairs that `modeling_*.py`
//! rotates), for chatglm and kimi_k2 from the code that their checkpoints bring along. A type that is not here has base
//! 10 000, rotates the whole head and pairs channels in the half layout.

/// Bases other than 10 000; of types in [`LAYERED`] that of full attention.
const BASES: &[(f64, &[&str])] = &[
    (1e3, &["nomic_bert"]),
    (2e4, &["jina_embeddings_v3"]),
    (25e3, &["fuyu"]),
    (1e5, &["helium"]),
    (15e4, &["gpt_oss", "openai_privacy_filter"]),
    (
        16e4,
        &[
            "gte",
            "modernbert",
            "modernbert-decoder",
            "modernbert_decoder",
        ],
    ),
    (
        5e5,
        &[
            "bitnet",
            "blt",
            "cohere",
            "csm",
            "ernie4_5",
            "ernie4_5_moe",
            "ernie4_5_vl_moe_text",
            "exaone",
            "flex_olmo",
            "llama4",
            "llama4_text",
            "mllama",
            "mllama_text_model",
            "olmo3",
            "paddleocr_vl_text",
            "qwen3_vl_moe_text",
            "qwen3_vl_text",
        ],
    ),
    (
        1e6,
        &[
            "cwm",
            "emu3_text_model",
            "gemma3",
            "gemma3_text",
            "gemma3n",
            "gemma3n_text",
            "lfm2",
            "lfm2_moe",
            "minimax",
            "mixtral",
            "phimoe",
            "qwen2_5_omni_text",
            "qwen2_5_vl",
            "qwen2_5_vl_text",
            "qwen2_vl",
            "qwen2_vl_text",
            "qwen3_omni_moe_text",
            "solar_open",
            "t5gemma2_decoder",
            "t5gemma2_text",
        ],
    ),
    (2e6, &["smollm3"]),
    (5e6, &["minimax_m2", "minimax_m3_vl_text"]),
    (8e6, &["sarvam_moe"]),
    (1e7, &["longcat_flash"]),
    (12e6, &["apertus"]),
];

/// Parts of the head that rotate, other than the whole.
const FRACTIONS: &[(f64, &[&str])] = &[
    (
        0.25,
        &[
            "gpt_neox",
            "qwen3_5_moe_text",
            "qwen3_5_text",
            "qwen3_next",
            "stablelm",
        ],
    ),
    (
        0.5,
        &[
            "bamba",
            "chatglm",
            "fuyu",
            "glm",
            "glm4",
            "glm4_moe",
            "glm4v_moe_text",
            "nemotron",
            "persimmon",
            "phi",
            "recurrent_gemma",
        ],
    ),
    (0.9, &["moonshine"]),
];

/// Types that pair channels 2i and 2i + 1.
const INTERLEAVED: &[&str] = &[
    "blt",
    "chatglm",
    "codegen",
    "cohere",
    "cohere2",
    "cohere2_moe",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "ernie4_5",
    "ernie4_5_moe",
    "glm",
    "glm4",
    "glm4_moe_lite",
    "glm4v_text",
    "glm_moe_dsa",
    "glm_ocr_text",
    "gptj",
    "helium",
    "kimi_k2",
    "llama4",
    "llama4_text",
    "longcat_flash",
    "mistral4",
    "moonshine",
    "openai_privacy_filter",
    "roformer",
    "youtu",
];

/// How layers of sliding attention rotate where those of full attention differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sliding {
    /// With a base of their own, unscaled.
    Base(f64),
    /// With the model's base, unscaled.
    Unscaled,
}

const LAYERED: &[(Sliding, &[&str])] = &[
    (
        Sliding::Base(1e4),
        &[
            "gemma3",
            "gemma3_text",
            "gemma3n",
            "gemma3n_text",
            "modernbert",
            "modernbert-decoder",
            "modernbert_decoder",
            "t5gemma2_decoder",
            "t5gemma2_text",
        ],
    ),
    (Sliding::Unscaled, &["olmo3"]),
];

/// Layers of full attention do not rotate and have a temperature by position (`attn_temperature_tuning`).
const TEMPERED: &[&str] = &["llama4", "llama4_text"];

/// Their files say `"position_embedding_type": "absolute"` and they rotate all the same.
const ALWAYS_ROTATE: &[&str] = &["modernbert", "modernbert-decoder", "modernbert_decoder"];

/// A model type by its name; none for a config that does not say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Family<'a>(pub Option<&'a str>);

impl Family<'_> {
    pub fn base(self) -> Option<f64> {
        self.find(BASES)
    }

    pub fn fraction(self) -> Option<f64> {
        self.find(FRACTIONS)
    }

    pub fn sliding(self) -> Option<Sliding> {
        self.find(LAYERED)
    }

    pub fn is_interleaved(self) -> bool {
        self.is_one_of(INTERLEAVED)
    }

    pub fn is_tempered(self) -> bool {
        self.is_one_of(TEMPERED)
    }

    pub fn always_rotates(self) -> bool {
        self.is_one_of(ALWAYS_ROTATE)
    }

    fn is_one_of(self, names: &[&str]) -> bool {
        self.0.is_some_and(|name| names.contains(&name))
    }

    fn find<T: Copy>(self, table: &[(T, &[&str])]) -> Option<T> {
        let found = table.iter().find(|(_, names)| self.is_one_of(names))?;
        Some(found.0)
    }
}
