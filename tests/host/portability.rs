//! Every covering variant through every front and back end that WebGPU's implementations have: naga's validator with
//! no capability beyond what the variant declares, its writers, `spirv-val`, and Tint.

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage};
use wgpu_attention::plan::Variant;
use wgpu_attention::shader;

use crate::tools;

/// Runs `check` on every variant; a panic lists all that failed.
fn for_every_variant(check: impl Fn(&Variant, &Module, &ModuleInfo) -> Result<(), String>) {
    let complaint = |variant: Variant| {
        let shader = shader::compose(&variant).map_err(|e| e.to_string());
        let verdict = shader
            .and_then(|shader| shader.validate(&variant).map_err(|e| e.to_string()))
            .and_then(|(module, info)| check(&variant, &module, &info));
        verdict.err().map(|message| format!("{variant}: {message}"))
    };
    let complaints: Vec<String> = Variant::covering()
        .into_iter()
        .chain(Variant::covering_backward())
        .filter_map(complaint)
        .collect();
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
        let subgroups = variant.needs_subgroups();
        let shader_model = if subgroups || variant.needs_int64() {
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
        if variant.needs_subgroups() || variant.needs_int64() {
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
    let shader = |variant: Variant| tools::Shader {
        name: variant.to_string(),
        wgsl: shader::compose(&variant)
            .expect("a composed variant")
            .wgsl()
            .to_string(),
        entry: "main".into(),
        subgroups: variant.needs_subgroups(),
    };
    // WGSL itself has no integers of 64 bits.
    let standard = Variant::covering()
        .into_iter()
        .chain(Variant::covering_backward())
        .filter(|v| !v.needs_int64());
    let shaders: Vec<_> = standard.map(shader).collect();
    let verdict = tools::tint(&shaders);
    assert!(verdict.is_ok(), "{}", verdict.unwrap_err().join("\n"));
}
