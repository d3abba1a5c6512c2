//! One forward call, wherever it runs: what goes in beside q, k and v, and what it wrote.

use wgpu_attention::Element;
use wgpu_attention::Role;
use wgpu_attention::problem::Operand;
use wgpu_attention::reference::Forward;

use super::cases::{Case, DeviceValues};
use super::inputs::Inputs;
use super::tensor::{POISON, decode, gather, outside, poisoned};

/// What a call wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub o: Vec<u8>,
    pub lse: Vec<u8>,
}

impl Output {
    /// Logical o and lse.
    pub fn forward(&self, case: &Case) -> Forward {
        let (operand, sizes, dim) = output(case);
        Forward::new(
            gather(&self.o, operand.element, &operand.layout, sizes, dim),
            decode(
                Element::F32,
                &self.lse[..sizes.iter().product::<u32>() as usize * 4],
            ),
        )
    }

    /// Whether gaps of o and rows beside the slice kept their poison; the error says what did not.
    pub fn untouched(&self, case: &Case) -> Result<(), String> {
        let (operand, sizes, dim) = output(case);
        let gaps = outside(&self.o, operand.element, &operand.layout, sizes, dim);
        if gaps.iter().any(|&byte| byte != POISON) {
            return Err("o was written beside its rows".into());
        }
        let got = self.forward(case);
        let n = sizes[2] as usize;
        let q = match case.problem.cu_seqlens_q {
            Some(_) => 0..sizes[2],
            None => case.problem.slice().q,
        };
        let beside = |row: &usize| !q.contains(&((row % n.max(1)) as u32));
        let written = |row: &usize| {
            let o = &got.o[row * dim as usize..][..dim as usize];
            !got.lse[*row].is_nan() || o.iter().any(|x| !x.is_nan())
        };
        match (0..got.lse.len()).filter(beside).find(written) {
            Some(row) => Err(format!("row {row} is not of the slice")),
            None => Ok(()),
        }
    }
}

pub fn output(case: &Case) -> (Operand, [u32; 3], u32) {
    let s = &case.problem.shape;
    (case.problem.o, case.problem.q_sizes(), s.value_dim)
}

/// Poisoned tensors for the largest scores, where they are asked for.
pub fn largest(case: &Case) -> impl Iterator<Item = (Role, Vec<u8>)> + use<> {
    let s = &case.problem.shape;
    let rows = case.problem.max_score.map(|asked| {
        let operand = Operand::new(Element::F32, asked.layout);
        let bytes = operand.bytes([s.batch, s.q_heads, s.q_len], 1);
        (Role::MaxScore, poisoned(bytes))
    });
    let per_head = case.problem.max_score.filter(|asked| asked.per_head);
    let per_head = per_head.map(|_| (Role::MaxScorePerHead, poisoned(u64::from(s.q_heads) * 4)));
    rows.into_iter().chain(per_head)
}

/// The operands of a case beside q, k, v, o and lse.
pub fn others<'a>(
    case: &'a Case,
    inputs: &'a Inputs,
) -> impl Iterator<Item = (Role, &'a [u8])> + use<'a> {
    let lens = case.kv_lens.as_deref().map(bytemuck::cast_slice);
    let offsets = case.q_offset.as_deref().map(bytemuck::cast_slice);
    let bias = inputs.bias.as_ref().map(|bias| &bias.buffer[..]);
    let optional = [
        (Role::KvLens, lens),
        (Role::QOffset, offsets),
        (Role::Bias, bias),
    ];
    let given = optional
        .into_iter()
        .filter_map(|(role, bytes)| Some((role, bytes?)));
    given.chain(of_values(&case.values))
}

fn of_values(values: &DeviceValues) -> impl Iterator<Item = (Role, &[u8])> {
    let floats = [
        (Role::Slopes, &values.slopes),
        (Role::Sinks, &values.sinks),
        (Role::T5, &values.t5),
    ];
    let positions = [
        (Role::QPositions, &values.q_positions),
        (Role::KPositions, &values.k_positions),
        (Role::SegmentsQ, &values.segments_q),
        (Role::SegmentsK, &values.segments_k),
    ];
    let floats = floats
        .into_iter()
        .filter_map(|(role, x)| Some((role, bytemuck::cast_slice(x.as_deref()?))));
    let positions = positions
        .into_iter()
        .filter_map(|(role, x)| Some((role, bytemuck::cast_slice(x.as_deref()?))));
    let lists = values.block_lists.as_deref().into_iter();
    let lists = lists.map(|words| (Role::BlockLists, bytemuck::cast_slice(words)));
    let mask = values.mask.as_deref().into_iter();
    let mask = mask.map(|words| (Role::Mask, bytemuck::cast_slice(words)));
    let tree = values.tree.as_deref().into_iter();
    let tree = tree.map(|words| (Role::Tree, bytemuck::cast_slice(words)));
    let prefix = values.prefix.as_deref().into_iter();
    let prefix = prefix.map(|keys| (Role::Prefix, bytemuck::cast_slice(keys)));
    let starts = [
        (Role::CuSeqlensQ, &values.cu_seqlens_q),
        (Role::CuSeqlensK, &values.cu_seqlens_k),
    ];
    let starts = starts
        .into_iter()
        .filter_map(|(role, x)| Some((role, bytemuck::cast_slice(x.as_deref()?))));
    let masks = lists.chain(mask).chain(tree).chain(prefix).chain(starts);
    floats.chain(positions).chain(masks)
}
