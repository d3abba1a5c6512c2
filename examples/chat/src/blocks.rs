//! How tensors of a GGUF file are stored: plain f32, or blocks of 32 numbers with a scale.
//!
//! Source: `ggml/src/ggml-common.h` and `ggml-quants.c` of ggml.

use anyhow::{Result, bail, ensure};
use half::f16;

/// Numbers in a block.
const LEN: usize = 32;

/// A storage type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    F32,
    /// d, m as f16, then 4 bits q each: d·q + m. Byte i holds the numbers i (low) and i + 16 (high).
    Q41,
    /// d as f16, then 8 bits q each: d·q.
    Q80,
}

impl Blocks {
    pub fn of(kind: u32) -> Result<Self> {
        match kind {
            0 => Ok(Self::F32),
            3 => Ok(Self::Q41),
            8 => Ok(Self::Q80),
            other => bail!("its storage type is {other}; 0 (F32), 3 (Q4_1) and 8 (Q8_0) are read"),
        }
    }

    /// Numbers and bytes of a block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::Q41 => (LEN, 2 + 2 + LEN / 2),
            Self::Q80 => (LEN, 2 + LEN),
        }
    }

    /// Bytes of `count` numbers.
    pub fn bytes(self, count: usize) -> Result<usize> {
        let (numbers, bytes) = self.block();
        ensure!(
            count.is_multiple_of(numbers),
            "it has {count} numbers; {self:?} stores multiples of {numbers}"
        );
        Ok((count / numbers).saturating_mul(bytes))
    }

    /// What whole blocks hold.
    pub fn numbers(self, bytes: &[u8]) -> Vec<f32> {
        let (numbers, size) = self.block();
        let mut out = Vec::with_capacity(bytes.len() / size * numbers);
        for block in bytes.chunks_exact(size) {
            match self {
                Self::F32 => out.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
                Self::Q41 => q41(block, &mut out),
                Self::Q80 => q80(block, &mut out),
            }
        }
        out
    }
}

fn q41(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let of = |q: u8| d * f32::from(q) + m;
    out.extend(block[4..].iter().map(|byte| of(byte & 15)));
    out.extend(block[4..].iter().map(|byte| of(byte >> 4)));
}

fn q80(block: &[u8], out: &mut Vec<f32>) {
    let d = half_at(block, 0);
    out.extend(block[2..].iter().map(|&q| d * f32::from(q as i8)));
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
