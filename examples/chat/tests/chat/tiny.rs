//! A model of two layers with fixed random weights, as a GGUF file that a test may spoil.

use half::f16;

/// Sizes: heads of 32 channels, two query heads for each KV head.
pub const WIDTH: usize = 128;
pub const LAYERS: usize = 2;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const HIDDEN: usize = 96;
const CONTEXT: u32 = 512;

const CONTROLS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// In the order of their ranks; `Ġ` is a space.
const MERGES: [&str; 8] = [
    "t h",
    "th e",
    "Ġ the",
    "i n",
    "a n",
    "an d",
    "Ġ a",
    "\u{120} \u{120}",
];
const TEMPLATE: &str =
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}";

/// Storage types, as the file numbers them.
pub const F32: u32 = 0;
const Q4_1: u32 = 3;
const Q8_0: u32 = 8;

/// What a metadata entry holds.
#[derive(Clone, Debug)]
pub enum Meta {
    Count(u32),
    Real(f32),
    Text(String),
    Texts(Vec<String>),
    Counts(Vec<i32>),
}

/// A tensor: its axes innermost first, its storage type and its bytes.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub axes: Vec<u64>,
    pub kind: u32,
    pub bytes: Vec<u8>,
}

/// A file in the making.
#[derive(Clone, Debug)]
pub struct Tiny {
    pub metadata: Vec<(String, Meta)>,
    pub tensors: Vec<(String, Tensor)>,
}

impl Tiny {
    /// The model, the same each time.
    pub fn new() -> Self {
        let mut tiny = Self {
            metadata: metadata(),
            tensors: Vec::new(),
        };
        let vocabulary = tokens().len();
        let mut random = Random(7);
        let kv = WIDTH / 2;
        tiny.matrix("token_embd.weight", vocabulary, WIDTH, Q8_0, &mut random);
        tiny.norm("output_norm.weight", &mut random);
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            tiny.norm(&name("attn_norm"), &mut random);
            tiny.norm(&name("ffn_norm"), &mut random);
            for (part, rows, columns) in [
                ("attn_q", WIDTH, WIDTH),
                ("attn_k", kv, WIDTH),
                ("attn_v", kv, WIDTH),
                ("attn_output", WIDTH, WIDTH),
                ("ffn_gate", HIDDEN, WIDTH),
                ("ffn_up", HIDDEN, WIDTH),
                ("ffn_down", WIDTH, HIDDEN),
            ] {
                tiny.matrix(&name(part), rows, columns, Q4_1, &mut random);
            }
        }
        tiny
    }

    /// Changes an entry of the metadata, or adds it.
    pub fn with(mut self, key: &str, value: Meta) -> Self {
        self.metadata.retain(|(other, _)| other != key);
        self.metadata.push((key.into(), value));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(other, _)| other != key);
        self.tensors.retain(|(other, _)| other != key);
        self
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        let found = self.tensors.iter_mut().find(|(other, _)| other == name);
        &mut found.expect("a tensor of the tiny model").1
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize, kind: u32, random: &mut Random) {
        let scale = gain(name) / (columns as f32).sqrt();
        let blocks = rows * columns / 32;
        let silent = if name == "token_embd.weight" {
            CONTROLS.len() * columns / 32
        } else {
            0
        };
        let bytes = (0..blocks).flat_map(|block| match kind {
            Q4_1 => q41(scale, random),
            // No text ends by itself: the logits of control tokens are 0.
            _ if block < silent => q80(0.0, random),
            _ => q80(scale, random),
        });
        let bytes = bytes.collect();
        let axes = vec![columns as u64, rows as u64];
        self.tensors
            .push((name.into(), Tensor { axes, kind, bytes }));
    }

    fn norm(&mut self, name: &str, random: &mut Random) {
        let bytes = (0..WIDTH)
            .flat_map(|_| (0.5 + random.unit()).to_le_bytes())
            .collect();
        let (axes, kind) = (vec![WIDTH as u64], F32);
        self.tensors
            .push((name.into(), Tensor { axes, kind, bytes }));
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            string(&mut out, key);
            value.write(&mut out);
        }
        let mut at = 0;
        for (name, tensor) in &self.tensors {
            string(&mut out, name);
            out.extend((tensor.axes.len() as u32).to_le_bytes());
            tensor.axes.iter().for_each(|n| out.extend(n.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend((at as u64).to_le_bytes());
            at += tensor.bytes.len().next_multiple_of(32);
        }
        for (_, tensor) in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(&tensor.bytes);
        }
        out
    }
}

impl Meta {
    fn write(&self, out: &mut Vec<u8>) {
        let kind = |out: &mut Vec<u8>, kind: u32| out.extend(kind.to_le_bytes());
        match self {
            Self::Count(n) => {
                kind(out, 4);
                out.extend(n.to_le_bytes());
            }
            Self::Real(x) => {
                kind(out, 6);
                out.extend(x.to_le_bytes());
            }
            Self::Text(text) => {
                kind(out, 8);
                string(out, text);
            }
            Self::Texts(texts) => {
                kind(out, 9);
                kind(out, 8);
                out.extend((texts.len() as u64).to_le_bytes());
                texts.iter().for_each(|text| string(out, text));
            }
            Self::Counts(counts) => {
                kind(out, 9);
                kind(out, 5);
                out.extend((counts.len() as u64).to_le_bytes());
                counts.iter().for_each(|n| out.extend(n.to_le_bytes()));
            }
        }
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn metadata() -> Vec<(String, Meta)> {
    let tokens = tokens();
    let kinds = (0..tokens.len()).map(|id| if id < CONTROLS.len() { 3 } else { 1 });
    let text = |text: &str| Meta::Text(text.into());
    [
        ("general.architecture", text("llama")),
        ("llama.block_count", Meta::Count(LAYERS as u32)),
        ("llama.context_length", Meta::Count(CONTEXT)),
        ("llama.embedding_length", Meta::Count(WIDTH as u32)),
        ("llama.feed_forward_length", Meta::Count(HIDDEN as u32)),
        ("llama.attention.head_count", Meta::Count(HEADS)),
        ("llama.attention.head_count_kv", Meta::Count(KV_HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", Meta::Real(1e-5)),
        ("llama.rope.freq_base", Meta::Real(10_000.0)),
        (
            "llama.rope.dimension_count",
            Meta::Count(WIDTH as u32 / HEADS),
        ),
        ("llama.vocab_size", Meta::Count(tokens.len() as u32)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("smollm")),
        ("tokenizer.ggml.token_type", Meta::Counts(kinds.collect())),
        ("tokenizer.ggml.tokens", Meta::Texts(tokens)),
        (
            "tokenizer.ggml.merges",
            Meta::Texts(MERGES.map(String::from).into()),
        ),
        ("tokenizer.ggml.eos_token_id", Meta::Count(2)),
        ("tokenizer.chat_template", text(TEMPLATE)),
    ]
    .map(|(key, value)| (key.into(), value))
    .into()
}

/// Control tokens, every byte, and what merges make.
fn tokens() -> Vec<String> {
    let mut next = 0x100;
    let letters = (0..256_u32).map(|byte| {
        let prints = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if prints { byte } else { next };
        next += u32::from(!prints);
        char::from_u32(code).expect("below U+0180").to_string()
    });
    let mut tokens: Vec<String> = CONTROLS.map(String::from).into();
    tokens.extend(letters);
    tokens.extend(MERGES.map(|merge| merge.replace(' ', "")));
    tokens
}

fn q41(scale: f32, random: &mut Random) -> Vec<u8> {
    let d = f16::from_f32(scale * (0.5 + random.unit()) / 4.0);
    let m = f16::from_f32(-7.5 * d.to_f32());
    let mut bytes = [d.to_le_bytes(), m.to_le_bytes()].concat();
    bytes.extend((0..16).map(|_| random.next() as u8));
    bytes
}

fn q80(scale: f32, random: &mut Random) -> Vec<u8> {
    let d = f16::from_f32(scale * (0.5 + random.unit()) / 73.0);
    let mut bytes = d.to_le_bytes().to_vec();
    bytes.extend((0..32).map(|_| random.next() as u8));
    bytes
}

/// SplitMix64: the weights are these numbers for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }
}

/// What weights are multiplied by, over the root of their columns. With little attention a text is nearly a chain of words
/// that follow each other, so that it comes to repeat itself and drafts are kept; feed-forward layers make much of that
/// little.
fn gain(name: &str) -> f32 {
    if name.contains("attn_output") {
        0.02
    } else {
        2.5
    }
}
