//! Numbers that nobody would give.

use wgpu_attention::Layout;

use crate::support::drawn::Draw;

const SIZES: [u32; 26] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    33,
    64,
    127,
    128,
    255,
    256,
    257,
    576,
    577,
    1000,
    65_535,
    65_536,
    1 << 24,
    1 << 28,
    (1 << 28) + 1,
    i32::MAX as u32,
    1 << 31,
    u32::MAX,
];
const FLOATS: [f32; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-30,
    f32::MIN_POSITIVE,
    1e-45,
    1e30,
    2.5e38,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

impl Draw {
    /// A size, often an absurd one.
    pub fn absurd(&mut self) -> u32 {
        self.pick(&SIZES)
    }

    /// A sensible size more often than an absurd one.
    pub fn near(&mut self, least: u32, most: u32) -> u32 {
        match self.one_in(4) {
            true => self.absurd(),
            false => self.size(least, most),
        }
    }

    pub fn absurd_float(&mut self) -> f32 {
        self.pick(&FLOATS)
    }

    pub fn absurd_int(&mut self) -> i32 {
        match self.one_in(3) {
            true => self.pick(&[0, 1, -1, i32::MIN, i32::MAX, 1 << 28, -(1 << 28), 1 << 30]),
            false => self.of(-300..=300),
        }
    }

    pub fn absurd_layout(&mut self, sane: Layout) -> Layout {
        let mut layout = sane;
        for stride in [
            &mut layout.offset,
            &mut layout.batch,
            &mut layout.head,
            &mut layout.row,
        ] {
            if self.one_in(4) {
                let size = u64::from(self.absurd());
                *stride = self.pick(&[size, size << 32, u64::MAX, u64::MAX / 2, size * size]);
            }
        }
        layout
    }

    /// True once in four.
    pub fn rarely(&mut self) -> bool {
        self.one_in(4)
    }
}
