//! Every covering variant, and a third of them with functions of the user's, through every front and back end that
//! WebGPU's implementations have: naga's validator with no capability beyond what the variant declares, its writers,
//! `spirv-val`, and Tint.

use std::collections::{BTreeMap, BTreeSet};

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage};
use wgpu_attention::internal::{GradBias, GradKeyBias, GradKv, GradQ, GradScore, Variant};
use wgpu_attention::problem::ModText;

use crate::tools;

/// What a user may write: all three functions with helpers, loops, structures, data and pointers. Composed as it is into
/// the modules, it meets every tool.
const MODS: &str = "
struct Pair { i: u32, j: u32 }
alias Score = f32;
const NEAR = 64.0;
fn distance_of(pair: Pair, largest: ptr<function, f32>) -> f32 {
    let distance = abs(f32(pair.i) - f32(pair.j));
    *largest = max(*largest, distance);
    return distance;
}
fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {
    var largest = 0.0;
    for (var n = 0u; n < 3u; n++) { _ = distance_of(Pair(i + n, j), &largest); }
    return largest < NEAR || i32(j) <= query_offset(b) + i32(i);
}
fn score_mod(score: Score, b: u32, h: u32, i: u32, j: u32) -> Score {
    switch h % 3u {
        case 0u: { return score * score; }
        default: { return score + mod_data(h * 2u) * f32(j); }
    }
}
fn score_mod_grad(score: Score, b: u32, h: u32, i: u32, j: u32) -> Score {
    return select(1.0, 2.0 * score, h % 3u == 0u);
}";

/// A variant with the text of the user's that it is composed with.
type Composed = (Variant, Option<ModText>);

/// The covering arrays, and a third of their variants that compute scores with the user's functions: both, a mask or a
/// score in turns.
fn every_variant() -> Vec<Composed> {
    let arrays = [
        crate::support::covering::forward(),
        crate::support::covering::backward::all(),
    ];
    let plain: Vec<Variant> = arrays.into_iter().flatten().collect();
    let text = ModText::new(MODS).expect("a text that the library accepts");
    // Of a kernel and a strategy the first, the fourth, …
    let mut met = BTreeMap::new();
    let mut uses = [(true, true), (true, false), (false, true)]
        .into_iter()
        .cycle();
    let mut modified = |variant: &Variant| {
        let n = met
            .entry((variant.entry(), variant.needs().subgroups))
            .or_insert(0);
        *n += 1;
        let uses = match (lists_on_the_device(variant), *n % 3) {
            // Where blocks say whether they are asked.
            (true, _) => (true, false),
            (false, 1) => uses.next()?,
            _ => return None,
        };
        Some((with_mods(*variant, uses)?, Some(text.clone())))
    };
    let modified: Vec<Composed> = plain.iter().filter_map(&mut modified).collect();
    let plain = plain.into_iter().map(|variant| (variant, None));
    plain.chain(modified).collect()
}

/// The variant with a mask_mod, a score_mod or both; none where it computes no scores.
fn with_mods(mut variant: Variant, (mask, score): (bool, bool)) -> Option<Variant> {
    let (of_score, of_mask) = match &mut variant {
        Variant::Prefill(key) => (&mut key.score, &mut key.mask),
        Variant::GradQ(GradQ(key))
        | Variant::GradKv(GradKv(key))
        | Variant::GradBias(GradBias(key))
        | Variant::GradKeyBias(GradKeyBias(key))
        | Variant::GradScore(GradScore(key, _)) => (&mut key.score, &mut key.mask),
        Variant::ScanBlocks(key) => {
            key.mask_mod = true;
            return Some(variant);
        }
        _ => return None,
    };
    (of_score.mask_mod, of_score.score_mod) = (mask, score);
    of_mask.marked = mask && of_mask.device;
    Some(variant)
}

fn lists_on_the_device(variant: &Variant) -> bool {
    match variant {
        Variant::Prefill(key) => key.mask.device,
        Variant::GradQ(GradQ(key))
        | Variant::GradKv(GradKv(key))
        | Variant::GradBias(GradBias(key))
        | Variant::GradKeyBias(GradKeyBias(key))
        | Variant::GradScore(GradScore(key, _)) => key.mask.device,
        _ => false,
    }
}

#[test]
fn users_functions_meet_every_kernel_in_both_strategies() {
    let with: BTreeSet<_> = every_variant()
        .iter()
        .filter(|(_, text)| text.is_some())
        .map(|(variant, _)| (variant.entry(), variant.needs().subgroups))
        .collect();
    let kernels = [
        "grad_bias",
        "grad_key_bias",
        "grad_kv",
        "grad_q",
        "grad_score",
        "prefill",
    ];
    let all = kernels.map(|kernel| [(kernel, false), (kernel, true)]);
    let scan = [("scan_blocks", false)];
    assert_eq!(with, all.into_iter().flatten().chain(scan).collect());
}

fn shader_of(
    (variant, text): &Composed,
) -> wgpu_attention::Result<wgpu_attention::internal::Shader> {
    variant.compose(text.as_ref())
}

/// Runs `check` on every variant; a panic lists all that failed.
fn for_every_variant(check: impl Fn(&Variant, &Module, &ModuleInfo) -> Result<(), String>) {
    let complaint = |composed: Composed| {
        let variant = composed.0;
        let shader = shader_of(&composed).map_err(|e| e.to_string());
        let verdict = shader
            .and_then(|shader| shader.validate(variant.needs()).map_err(|e| e.to_string()))
            .and_then(|(module, info)| check(&variant, &module, &info));
        verdict.err().map(|message| format!("{variant}: {message}"))
    };
    let complaints: Vec<String> = every_variant().into_iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// An error with its causes.
fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

#[test]
fn spirv_that_spirv_val_accepts() {
    for_every_variant(|_, module, info| {
        let options = spv::Options {
            lang_version: (1, 3),
            ..spv::Options::default()
        };
        let words = spv::write_vec(module, info, &options, None).map_err(text)?;
        tools::spirv_val(&words)
    });
}

#[test]
fn metal() {
    for_every_variant(|_, module, info| {
        let options = msl::Options {
            lang_version: (2, 4),
            ..msl::Options::default()
        };
        let (_, written) =
            msl::write_string(module, info, &options, &msl::PipelineOptions::default())
                .map_err(text)?;
        written
            .entry_point_names
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(text)?;
        Ok(())
    });
}

#[test]
fn direct_x() {
    for_every_variant(|variant, module, info| {
        let subgroups = variant.needs().subgroups;
        let shader_model = if subgroups || variant.needs().int64 {
            hlsl::ShaderModel::V6_0
        } else {
            hlsl::ShaderModel::V5_1
        };
        let options = hlsl::Options {
            shader_model,
            ..hlsl::Options::default()
        };
        let pipeline = hlsl::PipelineOptions::default();
        let mut out = String::new();
        let written = hlsl::Writer::new(&mut out, &options, &pipeline)
            .write(module, info, None)
            .map_err(text)?;
        written
            .entry_point_names
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(text)?;
        Ok(())
    });
}

#[test]
fn open_gl_where_no_extensions_are_needed() {
    for_every_variant(|variant, module, info| {
        if variant.needs().subgroups || variant.needs().int64 {
            return Ok(());
        }
        let pipeline = glsl::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        let mut out = String::new();
        let options = glsl::Options::default();
        glsl::Writer::new(
            &mut out,
            module,
            info,
            &options,
            &pipeline,
            BoundsCheckPolicies::default(),
        )
        .and_then(|mut writer| writer.write())
        .map_err(text)?;
        Ok(())
    });
}

#[test]
fn tint() {
    let shader = |composed: Composed| tools::Shader {
        name: composed.0.to_string(),
        wgsl: shader_of(&composed)
            .expect("a composed variant")
            .wgsl()
            .to_string(),
        entry: "main".into(),
        subgroups: composed.0.needs().subgroups,
    };
    // WGSL itself has no integers of 64 bits.
    let standard = every_variant().into_iter();
    let standard = standard.filter(|(variant, _)| !variant.needs().int64);
    let shaders: Vec<_> = standard.map(shader).collect();
    let verdict = tools::tint(&shaders);
    assert!(verdict.is_ok(), "{}", verdict.unwrap_err().join("\n"));
}
