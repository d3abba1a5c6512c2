//! The tools that judge the shaders are themselves tested: each must refuse what only it refuses.

use naga::{
    back::spv,
    valid::{Capabilities, ValidationFlags, Validator},
};

use crate::tools::{Shader, spirv_val, spirv_val_is_installed, tint, tint_is_installed};

const SOUND: &str = "
var<workgroup> tile: array<u32, 64>;
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    tile[i] = i;
    workgroupBarrier();
    out[i] = tile[63u - i];
}";

/// naga accepts this one (gfx-rs/wgpu #4369).
const BARRIER_IN_BRANCH: &str = "
var<workgroup> tile: array<u32, 64>;
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    if i < 7u {
        tile[i] = i;
        workgroupBarrier();
    }
    out[i] = tile[0];
}";

/// And this one, although 20 KiB is more than the 16 KiB that WebGPU grants.
const TOO_MUCH_MEMORY: &str = "
var<workgroup> tile: array<u32, 5120>;
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    tile[i] = i;
    workgroupBarrier();
    out[i] = tile[63u - i];
}";

const SUBGROUPS: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    out[i] = subgroupShuffle(i, 3u);
}";

fn shader(name: &str, wgsl: &str) -> Shader {
    let subgroups = wgsl.contains("subgroup");
    Shader {
        name: name.into(),
        wgsl: wgsl.into(),
        entry: "main".into(),
        subgroups,
    }
}

/// Tint's complaints about `wgsl`; `None` where it is not installed, which `tint` has announced.
fn complaint(wgsl: &str) -> Option<String> {
    let verdict = tint(&[shader("broken", wgsl)]);
    tint_is_installed().then(|| verdict.expect_err("Tint refuses this shader").join("\n"))
}

fn spirv(wgsl: &str) -> anyhow::Result<Vec<u32>> {
    let module = naga::front::wgsl::parse_str(wgsl)?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module)?;
    Ok(spv::write_vec(
        &module,
        &info,
        &spv::Options::default(),
        None,
    )?)
}

#[test]
fn tint_accepts_sound_shaders() {
    let sound = [shader("sound", SOUND), shader("subgroups", SUBGROUPS)];
    assert_eq!(tint(&sound), Ok(()));
}

#[test]
fn tint_catches_a_barrier_in_a_branch() {
    assert!(
        spirv(BARRIER_IN_BRANCH).is_ok(),
        "naga has learned it: the note on it can go"
    );
    if let Some(message) = complaint(BARRIER_IN_BRANCH) {
        assert!(
            message.starts_with("broken:8:9: "),
            "names shader and line: {message}"
        );
        assert!(message.contains("uniform control flow"), "{message}");
    }
}

#[test]
fn tint_catches_too_much_workgroup_memory() {
    assert!(
        spirv(TOO_MUCH_MEMORY).is_ok(),
        "naga has learned it: the note on it can go"
    );
    if let Some(message) = complaint(TOO_MUCH_MEMORY) {
        assert!(
            message.contains("20480 bytes") && message.contains("16384"),
            "{message}"
        );
    }
}

#[test]
fn tint_counts_lines_as_the_author_does() {
    let unknown = SUBGROUPS.replace("subgroupShuffle(i, 3u)", "unknown(subgroupAdd(i))");
    if let Some(message) = complaint(&unknown) {
        assert!(message.starts_with("broken:5:14: "), "{message}");
    }
}

#[test]
fn spirv_val_tells_a_sound_module_from_a_cut_one() -> anyhow::Result<()> {
    let mut words = spirv(SOUND)?;
    assert_eq!(spirv_val(&words), Ok(()));
    words.pop(); // the last OpFunctionEnd
    let verdict = spirv_val(&words);
    if spirv_val_is_installed() {
        assert!(
            verdict.is_err(),
            "spirv-val accepted a function without an end"
        );
    }
    Ok(())
}
