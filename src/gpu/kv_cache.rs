//! A KV cache: buffers that grow in use, not in size.

mod snapshot;

pub use snapshot::Snapshot;

use crate::cache::{CacheKind, KvCacheOptions, Sequence, Sequences, Update};
use crate::error::{Error, Result};
use crate::problem::position::{Rotary, Side, Table};
use crate::problem::{
    Element, Lengths, Mask, Offsets, Operand, Position, Problem, Role, Shape, Window,
};
use crate::task::KvAppend;

use super::attention::Attention;
use super::buffers::scoped;
use super::operands::Operands;
use super::staging::{Run, Staging};

/// Keys and values of sequences that grow, on one device.
///
/// A token is three steps. [`KvCache::begin`] makes room and *records* the new lengths (and pages, and rotary rows) into the
/// caller's encoder; then per layer a prepared [`KvAppend`] writes the new rows and a prepared attention call reads all of
/// them. Both calls are prepared once: they read lengths, pages and rotary rows from the cache's buffers whenever they
/// run, so nothing is planned, bound or allocated while sequences grow, and any number of tokens may stand in one encoder.
///
/// ```no_run
/// # async fn token(attention: &wgpu_attention::Attention, k: &wgpu::Buffer, v: &wgpu::Buffer, q: &wgpu::Buffer, o: &wgpu::Buffer,
/// #     lse: &wgpu::Buffer, queue: &wgpu::Queue) -> wgpu_attention::Result<()> {
/// use wgpu_attention::{CacheKind, Element, KvCacheOptions};
///
/// let options = KvCacheOptions::new(CacheKind::Contiguous { capacity: 4096 }, 8, 128);
/// println!("{} bytes", options.bytes()?);
/// let mut cache = attention.kv_cache(&options).await?;
/// let append = attention.plan_append(&cache.append(Element::F32))?;
/// let append = attention.prepare(&append, &cache.append_operands(0, k, v)?).await?;
/// let decode = attention.plan(&cache.problem(32, Element::F32))?;
/// let decode = attention.prepare(&decode, &cache.operands(0, q, o, lse)?).await?;
///
/// let sequence = cache.create()?;
/// let mut encoder = attention.device().create_command_encoder(&Default::default());
/// cache.begin(&mut encoder, &[(sequence, 1)])?;
/// append.encode(&mut encoder);
/// decode.encode(&mut encoder);
/// queue.submit([encoder.finish()]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KvCache {
    device: wgpu::Device,
    options: KvCacheOptions,
    sequences: Sequences,
    layers: Vec<[wgpu::Buffer; 2]>,
    kv_lens: wgpu::Buffer,
    q_offset: wgpu::Buffer,
    page_table: wgpu::Buffer,
    rotations: wgpu::Buffer,
    /// One block on its way: a buffer cannot be copied within itself.
    spare: wgpu::Buffer,
    staging: Staging,
    /// What the page table on the device holds, row by row.
    pages: Vec<Vec<u32>>,
}

impl Attention {
    /// A cache of these sizes, empty.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] for sizes that cannot be, [`Error::Limit`] for more than a binding of this device holds,
    /// [`Error::Device`] where it has no such memory.
    pub async fn kv_cache(&self, options: &KvCacheOptions) -> Result<KvCache> {
        let sequences = Sequences::new(options)?;
        for bytes in options.layer_bytes() {
            if bytes > self.caps().binding_bytes {
                return Err(Error::Limit {
                    what: "a layer of the cache",
                    actual: bytes,
                    limit: "max_storage_buffer_binding_size",
                    allowed: self.caps().binding_bytes,
                    way_out: "make it for fewer tokens or pages, store less per token, or request a device with a higher limit",
                });
            }
        }
        let cache = KvCache::made(self.device(), options, sequences).await;
        self.refuse_lost()?;
        cache
    }
}

impl KvCache {
    async fn made(
        device: &wgpu::Device,
        options: &KvCacheOptions,
        sequences: Sequences,
    ) -> Result<Self> {
        let [k_bytes, v_bytes] = options.layer_bytes();
        let tokens = u64::from(options.batch) * u64::from(options.q_len);
        let per_sequence = table_columns(options);
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let buffer = |label, bytes: u64| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes.max(16).next_multiple_of(32),
                usage,
                mapped_at_creation: false,
            })
        };
        scoped(device, "making a cache", || Self {
            device: device.clone(),
            layers: (0..options.layers)
                .map(|_| {
                    [
                        buffer("cached keys", k_bytes),
                        buffer("cached values", v_bytes),
                    ]
                })
                .collect(),
            kv_lens: buffer("cache lengths", 4 * u64::from(options.batch)),
            q_offset: buffer("cache offsets", 4 * u64::from(options.batch)),
            page_table: buffer(
                "page table",
                4 * u64::from(options.batch) * u64::from(per_sequence),
            ),
            rotations: buffer(
                "rotary rows of new tokens",
                8 * tokens * u64::from(options.rotary_pairs()),
            ),
            spare: buffer(
                "a block on its way",
                block_bytes(options).into_iter().max().unwrap_or(0),
            ),
            staging: Staging::default(),
            pages: vec![Vec::new(); options.batch as usize],
            options: options.clone(),
            sequences,
        })
        .await
    }

    /// What it was made for.
    pub fn options(&self) -> &KvCacheOptions {
        &self.options
    }

    /// Bytes on the device: keys, values, and what tells where they lie.
    pub fn bytes(&self) -> u64 {
        let layers = self.layers.iter().flatten();
        let others = [
            &self.kv_lens,
            &self.q_offset,
            &self.page_table,
            &self.rotations,
            &self.spare,
        ];
        layers.chain(others).map(wgpu::Buffer::size).sum()
    }

    /// A new, empty sequence. Errors as [`Sequences::create`].
    pub fn create(&mut self) -> Result<Sequence> {
        self.sequences.create()
    }

    /// Tokens of a sequence. Errors as [`Sequences::len`].
    pub fn len(&self, sequence: Sequence) -> Result<u32> {
        self.sequences.len(sequence)
    }

    /// Tokens that these sequences share. Errors as [`Sequences::common_prefix`].
    pub fn common_prefix(&self, sequences: &[Sequence]) -> Result<u32> {
        self.sequences.common_prefix(sequences)
    }

    /// Pages that no sequence holds; 0 where there are none.
    pub fn free_pages(&self) -> u32 {
        self.sequences.free_pages()
    }

    /// Another sequence with the same tokens; what is to be copied for it is recorded. Errors as [`Sequences::fork`].
    pub fn fork(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        sequence: Sequence,
    ) -> Result<Sequence> {
        let (fork, copy) = self.sequences.fork(sequence)?;
        copy.into_iter().for_each(|copy| self.copy(encoder, copy));
        Ok(fork)
    }

    /// Forgets the tokens from `len` on. Errors as [`Sequences::truncate`].
    pub fn truncate(&mut self, sequence: Sequence, len: u32) -> Result<()> {
        self.sequences.truncate(sequence, len)
    }

    /// Gives back what a sequence holds. Errors as [`Sequences::free`].
    pub fn free(&mut self, sequence: Sequence) -> Result<()> {
        self.sequences.free(sequence)
    }

    /// Makes room for so many new tokens of each sequence, and records what appends and attention calls after it read:
    /// lengths, pages, rotary rows. Answers the row of the batch that each sequence has in those calls; rows of sequences
    /// that are not named see no key. A sequence with fewer new tokens than the cache's `q_len` has them first.
    ///
    /// # Errors
    ///
    /// As [`Sequences::append`]; nothing is recorded then, and the cache is as it was.
    pub fn begin(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        new: &[(Sequence, u32)],
    ) -> Result<Vec<u32>> {
        let update = self.sequences.append(new)?;
        for &copy in &update.copies {
            self.copy(encoder, copy);
        }
        let mut runs = self.length_runs(&update);
        let rotations = self.rotation_runs(&update)?;
        runs.extend(self.page_runs(&update));
        runs.extend(rotations);
        self.staging.record(&self.device, encoder, &runs);
        for (row, pages) in update.pages {
            self.pages[row as usize] = pages;
        }
        Ok(update.rows)
    }

    fn length_runs(&self, update: &Update) -> Vec<Run<'_>> {
        let offsets = update.q_offset.iter().map(|&offset| offset as u32);
        vec![
            (&self.kv_lens, 0, update.kv_lens.clone()),
            (&self.q_offset, 0, offsets.collect()),
        ]
    }

    /// The rows of the table that differ from what the device holds.
    fn page_runs(&self, update: &Update) -> Vec<Run<'_>> {
        let columns = table_columns(&self.options);
        let differs = |(row, pages): &&(u32, Vec<u32>)| self.pages[*row as usize] != *pages;
        let changed = update.pages.iter().filter(differs);
        changed
            .map(|(row, pages)| {
                let known = &self.pages[*row as usize];
                let same = known.iter().zip(pages).take_while(|(a, b)| a == b).count();
                let at = row * columns + same as u32;
                (&self.page_table, at, pages[same..].to_vec())
            })
            .filter(|(_, _, words)| !words.is_empty())
            .collect()
    }

    /// The rotary rows of the new tokens.
    fn rotation_runs(&self, update: &Update) -> Result<Vec<Run<'_>>> {
        let Some(rotary) = self.options.rotary_of_append() else {
            return Ok(Vec::new());
        };
        let words = self.options.q_len * self.options.rotary_pairs() * 2;
        let mut runs = Vec::new();
        for &row in &update.rows {
            let start = update.q_offset[row as usize];
            let end = update.kv_lens[row as usize] as i32;
            if start < end {
                runs.push((
                    &self.rotations,
                    row * words,
                    rotary_rows(rotary, start, end)?,
                ));
            }
        }
        Ok(runs)
    }

    /// Records the copy of one block of every layer.
    fn copy(&self, encoder: &mut wgpu::CommandEncoder, (from, to): (u32, u32)) {
        let sizes = block_bytes(&self.options);
        for buffers in &self.layers {
            for (buffer, bytes) in buffers.iter().zip(sizes) {
                let [from, to] = [from, to].map(|block| u64::from(block) * bytes);
                encoder.copy_buffer_to_buffer(buffer, from, &self.spare, 0, bytes);
                encoder.copy_buffer_to_buffer(&self.spare, 0, buffer, to, bytes);
            }
        }
    }

    /// The append of a layer's new rows, contiguous `[B, Hkv, Nq, D]` and `[B, Hkv, Nq, Dv]` of this type.
    pub fn append(&self, element: Element) -> KvAppend {
        let shape = self.options.shape();
        let [k_cache, v_cache] = self.options.operands();
        KvAppend::new(shape, self.options.address(), element)
            .with_k_cache(k_cache)
            .with_v_cache(v_cache)
            .with_rotary(self.options.rotary_of_append().cloned())
            .with_rows_given(self.options.rotary_of_append().is_some())
            .with_k_hadamard(self.options.k_hadamard)
            .with_v_hadamard(self.options.v_hadamard)
    }

    /// Attention of the new tokens of `q_heads` heads, in q and o of this type, to all tokens of their sequences: causal, and
    /// of a ring its window. Masks, scores and positions may be added to it, and what all sequences of its calls have in
    /// common: [`Problem::with_shared_prefix`] of at most [`Self::common_prefix`]. The batch's row 0 must then have one of
    /// them (of a paged cache the first that [`Self::begin`] is given), and rows without a sequence have no result that
    /// means something.
    pub fn problem(&self, q_heads: u32, element: Element) -> Problem {
        let shape = Shape {
            q_heads,
            ..self.options.shape()
        };
        let [k, v] = self.options.operands();
        let mut mask = Mask::causal()
            .with_kv_lens(Lengths::Device)
            .with_q_offset(Offsets::Device);
        if let CacheKind::Ring { first, window } = self.options.kind {
            mask = mask.with_first(first).with_window(Window {
                left: Some(window - 1),
                right: Some(0),
            });
        }
        Problem::new(shape, element)
            .with_cache(self.options.address())
            .with_k(k)
            .with_v(v)
            .with_mask(mask)
            .with_position(self.position())
            .with_k_hadamard(self.options.k_hadamard)
            .with_v_hadamard(self.options.v_hadamard)
    }

    fn position(&self) -> Position {
        let Some(rotary) = &self.options.rotary else {
            return Position::default();
        };
        let position = Position::rotary(rotary.clone());
        let new = self.options.q_len as i32;
        match self.options.kind {
            _ if self.options.rotated => position.with_k_rotated(true).with_rows_given(true),
            CacheKind::Ring { first, window } => {
                let kept = first.saturating_add(window) as i32;
                position.with_within_cache(true).with_range(-new..=kept)
            }
            CacheKind::Contiguous { capacity } | CacheKind::Paged { capacity, .. } => {
                position.with_range(0..=capacity as i32 - 1)
            }
        }
    }

    /// What an append to a layer binds.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] for a layer that there is not.
    pub fn append_operands<'a>(
        &'a self,
        layer: u32,
        k: &'a wgpu::Buffer,
        v: &'a wgpu::Buffer,
    ) -> Result<Operands<'a>> {
        let [k_cache, v_cache] = self.layer(layer)?;
        let operands = Operands::default()
            .with(Role::K, k)
            .with(Role::V, v)
            .with(Role::KCache, k_cache)
            .with(Role::VCache, v_cache);
        Ok(self.with_lengths(operands))
    }

    /// What an attention call over a layer binds.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] for a layer that there is not.
    pub fn operands<'a>(
        &'a self,
        layer: u32,
        q: &'a wgpu::Buffer,
        o: &'a wgpu::Buffer,
        lse: &'a wgpu::Buffer,
    ) -> Result<Operands<'a>> {
        let [k, v] = self.layer(layer)?;
        Ok(self.with_lengths(Operands::new(q, k, v, o, lse)))
    }

    fn with_lengths<'a>(&'a self, operands: Operands<'a>) -> Operands<'a> {
        let mut operands = operands
            .with(Role::KvLens, &self.kv_lens)
            .with(Role::QOffset, &self.q_offset);
        if let CacheKind::Paged { .. } = self.options.kind {
            operands = operands.with(Role::PageTable, &self.page_table);
        }
        match self.options.rotary_of_append() {
            Some(_) => operands.with(Role::Rotations, &self.rotations),
            None => operands,
        }
    }

    fn layer(&self, layer: u32) -> Result<&[wgpu::Buffer; 2]> {
        self.layers.get(layer as usize).ok_or_else(|| {
            let allowed = format!("0 to {}", self.options.layers - 1);
            Error::size("layer", layer, allowed)
        })
    }
}

/// Numbers per row of the page table.
fn table_columns(options: &KvCacheOptions) -> u32 {
    match options.kind {
        CacheKind::Paged {
            page_len, capacity, ..
        } => capacity.div_ceil(page_len),
        CacheKind::Contiguous { .. } | CacheKind::Ring { .. } => 0,
    }
}

/// Bytes of a page, or of a sequence's room, of keys and of values.
fn block_bytes(options: &KvCacheOptions) -> [u64; 2] {
    let [_, heads, rows] = options.address().sizes(&options.shape());
    let [k, v] = options.operands();
    let bytes = |x: Operand, dim| x.bytes([1, heads, rows], dim);
    [bytes(k, options.head_dim), bytes(v, options.value_dim)]
}

/// The rows of positions `start … end − 1`, as bits.
fn rotary_rows(rotary: &Rotary, start: i32, end: i32) -> Result<Vec<u32>> {
    let table = Table::new(rotary, start..=end - 1, end.max(1) as u32)?;
    let mut words = Vec::new();
    for position in start..end {
        for side in [Side::Query, Side::Key] {
            let row = table.row(position, side).unwrap_or_default();
            if side == Side::Query || table.is_split() {
                words.extend(row.iter().flatten().map(|x| x.to_bits()));
            }
        }
    }
    Ok(words)
}
