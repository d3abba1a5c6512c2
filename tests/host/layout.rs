//! The host's parameters lie where the shaders read them.

use naga::{Module, ScalarKind, StructMember, TypeInner};
use wgpu_attention::internal::{Group, Params, Variant};

use crate::support::covering;

/// The members of the structure that `ty` is.
fn members(module: &Module, ty: naga::Handle<naga::Type>) -> &[StructMember] {
    match &module.types[ty].inner {
        TypeInner::Struct { members, .. } => members,
        other => panic!("{other:?} is no structure"),
    }
}

fn name(member: &StructMember) -> &str {
    member.name.as_deref().unwrap_or_default()
}

/// The WGSL name of a member's type.
fn scalar(module: &Module, member: &StructMember) -> &'static str {
    match module.types[member.ty].inner {
        TypeInner::Scalar(scalar) if scalar.width == 4 => match scalar.kind {
            ScalarKind::Uint => "u32",
            ScalarKind::Sint => "i32",
            ScalarKind::Float => "f32",
            other => panic!("{other:?}"),
        },
        ref other => panic!("{other:?} is no number"),
    }
}

/// Holds the uniform of a variant, as naga lays it out, against the bytes that the host writes.
fn check(variant: &Variant, module: &Module, groups: &[&Group]) {
    let uniform = module
        .global_variables
        .iter()
        .find(|(_, x)| x.name.as_deref() == Some("params"));
    let Some((_, uniform)) = uniform else {
        assert!(groups.is_empty(), "{variant} reads nothing");
        return;
    };
    let found = members(module, uniform.ty);
    assert_eq!(found.len(), groups.len(), "{variant}");
    let mut end = 0_usize;
    for (member, group) in found.iter().zip(groups) {
        let what = format!("{} of {variant}", group.name);
        assert_eq!(name(member), group.name, "{what}");
        assert_eq!(member.offset as usize, end.next_multiple_of(16), "{what}");
        let fields = members(module, member.ty);
        assert_eq!(fields.len(), group.fields.len(), "{what}");
        for (n, (field, (wanted, ty))) in fields.iter().zip(group.fields).enumerate() {
            assert_eq!(
                (name(field), scalar(module, field)),
                (*wanted, *ty),
                "{what}"
            );
            assert_eq!(field.offset as usize, 4 * n, "{wanted} in {what}");
        }
        end = member.offset as usize + 4 * fields.len();
    }
    let bytes = Params::default().bytes(groups).len();
    assert_eq!(bytes, end.next_multiple_of(16), "{variant}");
}

#[test]
fn host_and_shader_agree_on_every_field() {
    let arrays = [covering::forward(), covering::backward::all()];
    for variant in arrays.into_iter().flatten() {
        let shader = variant.compose(None).expect("composed");
        let (module, _) = shader.validate(variant.needs()).expect("valid");
        check(&variant, &module, shader.groups());
    }
}

/// Each group's bytes lie behind those before it, at multiples of 16.
#[test]
fn groups_lie_one_behind_the_other() {
    let params = Params::default().with(|p| {
        p.x.row = 7;
        p.work.splits = 9;
        p.sizes.value_dim = 11;
        p.score.scale = 0.5;
    });
    let all = wgpu_attention::internal::params::GROUPS;
    let named = ["x", "work", "sizes", "score"];
    let groups: Vec<&Group> = all.iter().filter(|g| named.contains(&g.name)).collect();
    let bytes = params.bytes(&groups);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a word"));
    // 16 bytes of strides, 20 of work, 28 of sizes, 40 of the score.
    assert_eq!([word(12), word(16 + 16), word(48 + 24)], [7, 9, 11]);
    assert_eq!(f32::from_bits(word(80)), 0.5);
    assert_eq!(bytes.len(), 128);
}
