"""Makes the files of this folder: what one attention layer of each model family computes in its own code.

A tiny model of random weights runs once, by transformers' eager attention in f32 on a CPU. Kept are q, k and v as they
enter the rotation, with what else a layer has learned (sinks, a T5 table), and in `o.safetensors` the output of each
before its projection. `models.json` has the config of each as transformers writes it, and the factor on q·k.

Written with Python 3.11, torch 2.15.0 and transformers 5.24.0, safetensors 0.8:

    python generate.py
"""

import json
import math
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).parent
TOKENS = 17
VOCABULARY = 50
# 16 channels per head, two query heads on one of keys where the family has groups.
SIZES = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
             head_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2)
GROUPED = dict(num_key_value_heads=1)


class Recorder:
    """Stands in a model's module for its functions of rotation and of attention, and keeps what passes."""

    def __init__(self, module, rotation="apply_rotary_pos_emb"):
        self.layers, self.before = [], []
        self.module, self.originals = module, {}
        self.wrap("eager_attention_forward", self.attention)
        if hasattr(module, rotation):
            self.wrap(rotation, self.rotation)

    def wrap(self, name, around):
        original = self.originals[name] = getattr(self.module, name)
        setattr(self.module, name, lambda *args, **kwargs: around(original, args, kwargs))

    def rotation(self, original, args, kwargs):
        # One call for q and k, or (GPT-J) one for each.
        self.before.append([x.detach().clone() for x in args[:2] if x.dim() == 4])
        return original(*args, **kwargs)

    def attention(self, original, args, kwargs):
        names = ["module", "query", "key", "value", "attention_mask"]
        given = dict(zip(names, args)) | kwargs
        output = original(*args, **kwargs)
        self.layers.append(dict(
            q=given["query"].detach(), k=given["key"].detach(), v=given["value"].detach(),
            o=output[0].detach().transpose(1, 2), before=self.before, scale=given.get("scaling"),
            module=given["module"],
        ))
        self.before = []
        return output

    def undo(self):
        for name, original in self.originals.items():
            setattr(self.module, name, original)


def randomise(model, seed=7):
    """Weights that keep standard normal numbers standard normal; norms stay as they are made, nearly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, x in model.named_parameters():
            noise = torch.randn(x.shape, generator=generator)
            if "sinks" in name or "relative_attention_bias" in name:
                x.copy_(noise)
            elif x.dim() >= 2 and "embed" not in name and "wte" not in name:
                x.copy_(noise * 1.3 / math.sqrt(x.shape[-1]))
            elif x.dim() >= 2:
                x.copy_(noise)
            else:
                x.add_(0.1 * noise)
    return model.eval()


def module_of(model):
    return sys.modules[type(model).__module__]


def run(model, rotation="apply_rotary_pos_emb", decoder=False):
    """The layers' records of one pass over random tokens."""
    tokens = torch.randint(3, VOCABULARY, (1, TOKENS), generator=torch.Generator().manual_seed(3))
    recorder = Recorder(module_of(model), rotation)
    with torch.no_grad():
        more = dict(decoder_input_ids=tokens) if decoder else {}
        model(input_ids=tokens, **more)
    recorder.undo()
    return recorder.layers


def unrotated(layer):
    """q and k as the rotation got them, where it got them whole."""
    if not layer["before"]:
        return layer["q"], layer["k"]
    [(q, k)] = layer["before"]
    return q, k


def gptj(layer):
    """Each alone, [B, N, H, d], and of the leading channels; k comes first."""
    (k,), (q,) = layer["before"]
    lead = lambda whole, part: torch.cat([part.transpose(1, 2), whole[..., part.shape[-1]:]], dim=-1)
    return lead(layer["q"], q), lead(layer["k"], k)


def deepseek(layer):
    """Of the last channels, k's once for all heads."""
    [(q, k)] = layer["before"]
    tail = lambda whole, part: torch.cat(
        [whole[..., :-part.shape[-1]], part.expand(-1, whole.shape[1], -1, -1)], dim=-1)
    return tail(layer["q"], q), tail(layer["k"], k)


def llama4(layer):
    """[B, N, H, D]; layers that do not rotate scale q by position, and are taken from the projection."""
    if layer["before"]:
        [(q, k)] = layer["before"]
        return q.transpose(1, 2), k.transpose(1, 2)
    scaled, tuned = layer["q"], layer["module"]
    at = torch.arange(TOKENS).float() + 1.0
    tau = torch.log1p(torch.floor(at / tuned.floor_scale)) * tuned.attn_scale + 1.0
    return scaled / tau[None, None, :, None], layer["k"]


CASES, OUTPUTS = [], {}


def case(name, model, layer, before=unrotated, extra=None, kind=None, rotation="apply_rotary_pos_emb", decoder=False):
    """Keeps layer number `layer` of a pass under `name`."""
    layers = run(randomise(model), rotation, decoder)
    record = layers[layer]
    q, k = before(record)
    keep(name, model, dict(q=q, k=k, v=record["v"], o=record["o"]), record["scale"], extra, record["module"])


def keep(name, model, tensors, scale, extra=None, module=None):
    more = extra(module) if extra else {}
    tensors = {key: x.float().contiguous() if x.is_floating_point() else x for key, x in (tensors | more).items()}
    OUTPUTS[name] = tensors.pop("o")
    save_file(tensors, HERE / f"{name}.safetensors")
    config = json.loads(model.config.to_json_string(use_diff=True))
    for field in ["architectures", "dtype", "transformers_version"]:
        config.pop(field, None)
    CASES.append(dict(name=name, scale=float(scale), config=config))
    print(name, tuple(tensors["q"].shape), tuple(tensors["k"].shape), float(scale))


def make(family, **fields):
    config = getattr(transformers, f"{family}Config")(**(SIZES | fields))
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{family}Model")
    return model(config)


def segments(chunk):
    """Chunked attention as documents."""
    ids = torch.arange(TOKENS, dtype=torch.int32)[None] // chunk
    return lambda module: dict(segments_q=ids.contiguous(), segments_k=ids.clone())


def hooked(name, model, split, project):
    """A family without a function of attention: q, k and v as `split` finds them, o as `project` gets it."""
    randomise(model)
    kept = {}
    handles = split(model, kept)
    project_in = lambda _, args: kept.update(o=args[0].detach())
    handles.append(project(model).register_forward_pre_hook(project_in))
    tokens = torch.randint(3, VOCABULARY, (1, TOKENS), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        model(input_ids=tokens)
    [handle.remove() for handle in handles]
    kept["o"] = kept["o"].view(1, TOKENS, 2, 16).transpose(1, 2)
    keep(name, model, kept, 16 ** -0.5)


def bloom():
    config = transformers.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=1, n_head=2)
    model = transformers.BloomModel(config)
    attention = model.h[0].self_attention

    def split(model, kept):
        original = attention._reshape

        def reshape(fused):
            q, k, v = original(fused)
            kept.update(q=q.detach().clone(), k=k.detach().clone(), v=v.detach().clone())
            return q, k, v

        attention._reshape = reshape
        return []

    hooked("bloom", model, split, lambda model: attention.dense)


def mpt():
    config = transformers.MptConfig(vocab_size=VOCABULARY, d_model=32, n_layers=1, n_heads=2, expansion_ratio=1)
    model = transformers.MptModel(config)
    attention = model.blocks[0].attn

    def split(model, kept):
        def fused(module, args, output):
            heads = lambda x: x.reshape(1, TOKENS, 2, 16).transpose(1, 2)
            kept.update({name: heads(x.detach().clone()) for name, x in zip("qkv", output.chunk(3, dim=2))})

        return [attention.Wqkv.register_forward_hook(fused)]

    hooked("mpt", model, split, lambda model: attention.out_proj)


def t5():
    fields = dict(vocab_size=VOCABULARY, d_model=32, d_kv=16, d_ff=16, num_layers=1, num_heads=2,
                  relative_attention_num_buckets=8, relative_attention_max_distance=16, decoder_start_token_id=0,
                  tie_word_embeddings=False)
    for name, layer in [("t5-encoder", 0), ("t5-decoder", 1)]:
        config = transformers.T5Config(**fields)
        config._attn_implementation = "eager"
        table = lambda module: dict(t5=module.relative_attention_bias.weight.detach().clone())
        case(name, transformers.T5Model(config), layer, extra=table, decoder=True)


def main():
    llama = lambda **fields: make("Llama", **(GROUPED | fields))
    case("llama", llama(), 1)
    scaled = dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=16)
    case("llama3", llama(rope_parameters=scaled, max_position_embeddings=64), 1)
    case("mistral", make("Mistral", sliding_window=6, **GROUPED), 1)
    case("qwen2", make("Qwen2", rope_parameters=dict(rope_type="default", rope_theta=1e6), **GROUPED), 1)
    case("qwen3", make("Qwen3", **GROUPED), 1)
    case("starcoder2", make("Starcoder2", sliding_window=6, **GROUPED), 1)
    case("olmo2", make("Olmo2", **GROUPED), 1)
    case("granite", make("Granite", attention_multiplier=0.4, **GROUPED), 1)
    case("glm", make("Glm", **GROUPED), 1)
    case("cohere", make("Cohere", **GROUPED), 1)
    gemma = dict(layer_types=["sliding_attention", "full_attention"], sliding_window=6, query_pre_attn_scalar=9, **GROUPED)
    for number, layer in enumerate(["sliding", "full"]):
        case(f"gemma2-{layer}", make("Gemma2", attn_logit_softcapping=2.0, **gemma), number)
        text = transformers.Gemma3TextConfig(**(SIZES | gemma))
        text._attn_implementation = "eager"
        case(f"gemma3-{layer}", transformers.Gemma3TextModel(text), number)
        types = dict(layer_types=["sliding_attention", "full_attention"], sliding_window=6)
        case(f"cohere2-{layer}", make("Cohere2", **types, **GROUPED), number)
        yarn = dict(rope_type="yarn", rope_theta=150000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                    original_max_position_embeddings=16)
        sinks = lambda module: dict(sinks=module.sinks.detach().clone())
        oss = make("GptOss", rope_parameters=yarn, max_position_embeddings=64, num_local_experts=2,
                   num_experts_per_tok=1, **types, **GROUPED)
        case(f"gpt_oss-{layer}", oss, number, extra=sinks)
    pairs = [1.0 + 0.1 * n for n in range(8)]
    long = dict(rope_type="longrope", rope_theta=10000.0, short_factor=pairs, long_factor=[2.0 * x for x in pairs],
                original_max_position_embeddings=12)
    phi = make("Phi3", rope_parameters=long, max_position_embeddings=48, original_max_position_embeddings=12, **GROUPED)
    case("phi3", phi, 1)
    case("gpt_neox", make("GPTNeoX"), 1)
    case("gptj", transformers.GPTJModel(transformers.GPTJConfig(
        vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2, rotary_dim=8, attn_implementation="eager")), 0, gptj)
    for number, (name, extra) in enumerate([("chunked", segments(8)), ("full", None)]):
        config = transformers.Llama4TextConfig(**(SIZES | GROUPED | dict(
            attention_chunk_size=8, no_rope_layers=[1, 0], floor_scale=4, attn_scale=0.5, use_qk_norm=False,
            num_local_experts=1, intermediate_size_mlp=16, interleave_moe_layer_step=5)))
        config._attn_implementation = "eager"
        case(f"llama4-{name}", transformers.Llama4TextModel(config), number, llama4, extra, rotation="apply_rotary_emb")
    deep = dict(rope_type="yarn", rope_theta=10000.0, factor=40.0, beta_fast=32.0, beta_slow=1.0, mscale=1.0,
                mscale_all_dim=1.0, original_max_position_embeddings=16)
    sizes = {name: size for name, size in SIZES.items() if name != "head_dim"}
    config = transformers.DeepseekV3Config(**(sizes | dict(
        q_lora_rank=8, kv_lora_rank=8, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12, num_key_value_heads=2,
        first_k_dense_replace=2, n_routed_experts=2, n_group=1, topk_group=1, num_experts_per_tok=1, rope_parameters=deep,
        max_position_embeddings=640)))
    config._attn_implementation = "eager"
    case("deepseek_v3", transformers.DeepseekV3Model(config), 1, deepseek, rotation="apply_rotary_pos_emb_interleave")
    for number, layer in enumerate(["full", "sliding"]):
        fields = {name: size for name, size in SIZES.items() if name not in ["head_dim"]}
        config = transformers.ModernBertConfig(**(fields | dict(
            local_attention=8, global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2)))
        config._attn_implementation = "eager"
        case(f"modernbert-{layer}", transformers.ModernBertModel(config), number)
    fields = {name: size for name, size in SIZES.items() if name not in ["head_dim"]}
    config = transformers.BertConfig(**fields)
    config._attn_implementation = "eager"
    case("bert", transformers.BertModel(config), 1)
    config = transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2)
    config._attn_implementation = "eager"
    case("gpt2", transformers.GPT2Model(config), 0)
    bloom()
    mpt()
    t5()
    save_file(OUTPUTS, HERE / "o.safetensors")
    made = dict(source=f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, eager attention in f32",
                cases=sorted(CASES, key=lambda case: case["name"]))
    (HERE / "models.json").write_text(json.dumps(made, indent=1) + "\n")


main()
