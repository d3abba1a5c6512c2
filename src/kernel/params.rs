//! The parameters of a step, in groups of one meaning a field each. A shader declares those groups that its text reads
//! (`params.work.begin`): the composer looks for them and writes their WGSL from the same list that makes these structures.

mod of_problem;
mod strides;

use crate::problem::MAX_LEN;
use crate::shader::{GROUP_ALIGNMENT, Group};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ident,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
            pub struct $kind { $($(#[$field_doc])* pub $field: $ty,)* }

            impl $kind {
                const FIELDS: &[(&str, &str)] = &[$((stringify!($field), stringify!($ty)),)*];
            }
        )*
    };
}

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        /// All parameters that a planner knows; a step's kernel gets the groups that it reads.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Params { $($(#[$doc])* pub $name: $kind,)* }

        /// Every group, in the order in which shaders declare them.
        pub const GROUPS: &[Group] = &[$(Group {
            name: stringify!($name),
            kind: stringify!($kind),
            fields: $kind::FIELDS,
        },)*];

        impl Params {
            fn bytes_of(&self, group: &str) -> &[u8] {
                match group {
                    $(stringify!($name) => bytemuck::bytes_of(&self.$name),)*
                    // The composer knows no other names.
                    _ => &[],
                }
            }
        }
    };
}

kinds! {
    /// Where a tensor begins, and its element strides, as shaders add them up (modulo 2³²).
    Strides { start: u32, batch: u32, head: u32, row: u32, }

    /// What a step's workgroups or invocations are counted through.
    Work {
        /// The first one, and one past the last.
        begin: u32,
        end: u32,
        /// Tiles (of rows, blocks or partial sums) per head, heads, and parts per tile.
        tiles: u32,
        heads: u32,
        splits: u32,
        /// Query heads whose rows a tile has, side by side.
        packed: u32,
    }

    /// The whole problem.
    Sizes {
        batch: u32,
        q_heads: u32,
        /// Query heads that share a KV head.
        group: u32,
        q_len: u32,
        kv_len: u32,
        head_dim: u32,
        value_dim: u32,
    }

    /// What a step computes, in coordinates of the whole problem.
    Range { q_begin: u32, q_end: u32, k_begin: u32, k_end: u32, }

    /// Which keys a query sees, as far as intervals tell.
    Intervals {
        /// Where the lengths, the offsets and the prefixes of the batches lie in `aux`.
        lens_at: u32,
        offsets_at: u32,
        prefix_at: u32,
        causal: u32,
        window_left: u32,
        window_right: u32,
        first: u32,
    }

    /// The sequences of a ragged batch.
    Sequences {
        /// Where cu_seqlens of queries and of keys lie in `aux`, and how many tokens there are; NOWHERE of a side that is not
        /// ragged.
        q_at: u32,
        k_at: u32,
        q_total: u32,
        k_total: u32,
        /// Where it lies at which number each sequence's tiles begin.
        tiles_at: u32,
        /// S
        count: u32,
    }

    /// Documents, where they lie in `aux`.
    Documents {
        /// As intervals: (begin, end) of the keys of each query, of the queries of each key; may lie NOWHERE.
        keys_at: u32,
        queries_at: u32,
        /// By token.
        q_at: u32,
        k_at: u32,
    }

    /// Block lists.
    Lists {
        side: u32,
        /// Where (start, length) of each query block's list lie in `aux`.
        rows_at: u32,
        /// Lists from one batch and head to the next.
        batch: u32,
        head: u32,
        /// Blocks of the listed axis.
        columns: u32,
        /// From a listed block to the number of its bits, and where the bits lie.
        tiles_from: u32,
        bits_at: u32,
        /// Blocks that a list on the device has room for.
        capacity: u32,
    }

    /// The score between the product and the mask.
    ScoreOf {
        scale: f32,
        softcap: f32,
        softcap_inverse: f32,
        /// Where its numbers lie in `aux`.
        slopes_at: u32,
        /// From one batch's slopes to the next one's: 0 where all share them.
        slopes_batch: u32,
        t5_at: u32,
        /// The bucket of each distance −t5_distance … t5_distance.
        t5_buckets_at: u32,
        t5_distance: u32,
        temperature_scale: f32,
        temperature_floor: u32,
        temperature_offset: u32,
    }

    /// Something that lies in `aux`, or NOWHERE.
    Place { at: u32, }

    /// Positions per token, for the score.
    Tokens { q_at: u32, k_at: u32, }

    /// The rotary table.
    Rotation {
        /// The position of its first row, and its rows.
        start: i32,
        rows: u32,
        /// d, the channels that are rotated, and the first of them.
        dim: u32,
        first: u32,
        /// Pairs per row, where in it the keys' begin (xPos), and those of a rotation pass.
        stride: u32,
        key_at: u32,
        side_at: u32,
        /// 1, or −1 to rotate back.
        sine: f32,
        /// Where each token's row of the table lies in `aux`.
        q_at: u32,
        k_at: u32,
    }

    /// Rows of k and v that do not lie at equal distances.
    Lookup {
        /// Where the table of pages lies in `aux`, and its numbers per batch.
        table_at: u32,
        pages: u32,
        page_shift: u32,
        page_mask: u32,
        last_page: u32,
        /// Rows that stay, and rows of the ring.
        first: u32,
        ring: u32,
        /// Keys that count where positions do so within a ring.
        kept: u32,
    }

    /// A Walsh–Hadamard rotation: 4-vectors of a block (1 of a shorter one), whether it has four channels or more, and
    /// 1/√n.
    HadamardOf { chunks: u32, fours: u32, factor: f32, }

    /// Elements from one partial's o and lse to the next one's.
    Partial { o: u32, lse: u32, }

    /// What a gradient's step takes, and whether it adds to what the outputs hold.
    Part { group_begin: u32, group_end: u32, accumulate: u32, }

    /// Partial sums: the first of the numbers that a step makes or adds up, how many, and how many lie beside each other.
    Partials {
        begin: u32,
        count: u32,
        stride: u32,
        /// Tiles of queries per head, and the first of a step's.
        tiles: u32,
        first: u32,
        /// Where it lies how many each batch has, and how many those before it have.
        tiles_at: u32,
        before_at: u32,
    }

    /// Batches and heads that share one of a parameter's.
    Sharing { batches: u32, heads: u32, }

    /// Where a packed tensor's rows come from.
    Packing {
        /// The axes from the largest stride down, two bits each.
        order: u32,
        /// Channels of a row.
        dim: u32,
        /// Where the rows begin in what is packed.
        start: u32,
        /// Rows of a table and the position of its first token.
        table_rows: u32,
        table_start: i32,
    }

    /// Choosing blocks.
    Choice {
        /// Where the rows that each batch has lie in `aux`: those past these ends take no part in a pool.
        ends_at: u32,
        /// Pooled blocks per head, and the first of them.
        blocks: u32,
        begin: u32,
        /// The first of the blocks of queries that a step takes.
        first: u32,
        /// Blocks that are kept, and those before the diagonal that always are.
        keep: u32,
        local: u32,
    }

    /// Where lists are written, lists per head, blocks on the listed axis, and room in a list.
    Listing { at: u32, rows: u32, columns: u32, capacity: u32, }
}

groups! {
    q: Strides,
    k: Strides,
    v: Strides,
    o: Strides,
    lse: Strides,
    bias: Strides,
    d_o: Strides,
    /// (lse, Δ) per query.
    stats: Strides,
    dq: Strides,
    dk: Strides,
    dv: Strides,
    d_bias: Strides,
    /// What a kernel of rows reads and writes.
    x: Strides,
    y: Strides,
    work: Work,
    sizes: Sizes,
    range: Range,
    intervals: Intervals,
    sequences: Sequences,
    documents: Documents,
    /// The words of a boolean mask in `aux`.
    mask: Strides,
    /// Four words per query: which of its batch's queries it sees.
    tree: Place,
    lists: Lists,
    score: ScoreOf,
    sinks: Place,
    positions: Tokens,
    /// The count of the user's numbers, and the numbers.
    mods: Place,
    rotation: Rotation,
    lookup: Lookup,
    hadamard: HadamardOf,
    partial: Partial,
    /// How far behind a row's lse its largest score lies.
    max_score: Place,
    /// A loop's bound per batch: one straight from a uniform is dear on lavapipe.
    bound: Place,
    part: Part,
    partials: Partials,
    sharing: Sharing,
    packing: Packing,
    choice: Choice,
    listing: Listing,
}

/// Where nothing lies in `aux`.
pub const NOTHING: u32 = u32::MAX;

/// A window side without bound: beyond every pair of positions, and within i32 when added to one.
pub const UNBOUNDED: u32 = 4 * MAX_LEN;

impl Params {
    /// The bytes of these groups as a shader that declares them reads them.
    pub fn bytes(&self, groups: &[&Group]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for group in groups {
            bytes.resize(bytes.len().next_multiple_of(GROUP_ALIGNMENT), 0);
            bytes.extend_from_slice(self.bytes_of(group.name));
        }
        bytes.resize(
            bytes
                .len()
                .next_multiple_of(GROUP_ALIGNMENT)
                .max(GROUP_ALIGNMENT),
            0,
        );
        bytes
    }

    /// Where a group lies in those bytes.
    #[cfg(feature = "wgpu")]
    pub(crate) fn offset_of(&self, name: &str, groups: &[&Group]) -> Option<u64> {
        let n = groups.iter().position(|group| group.name == name)?;
        let before = self.bytes(&groups[..=n]).len();
        let own = self.bytes_of(name).len().next_multiple_of(GROUP_ALIGNMENT);
        Some((before - own) as u64)
    }

    /// The same parameters with some of them changed.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
