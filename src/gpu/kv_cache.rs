//! A KV cache: buffers that grow in use, not in size.

mod begin;
mod calls;
mod snapshot;

pub use snapshot::Snapshot;

use crate::cache::{CacheKind, KvCacheOptions, Place, Sequence, Sequences};
use crate::error::{Error, Result};
use crate::problem::Operand;

use super::attention::Attention;
use super::buffers::scoped;
use super::count::Counted;
use super::staging::Staging;

/// Keys and values of sequences that grow, on one device.
///
/// A token is three steps. [`KvCache::begin`] makes room and *records* the new lengths (and pages, and rotary rows) into the
/// caller's encoder; then per layer a prepared [`KvAppend`](crate::KvAppend) writes the new rows and a prepared attention call reads all of
/// them. Both calls are prepared once: they read lengths, pages and rotary rows from the cache's buffers whenever they
/// run, so nothing is planned, bound or allocated while sequences grow, and any number of tokens may stand in one encoder.
///
/// The host's part of a step ([`KvCache::begin`], [`KvCache::fork`], [`KvCache::keep`]) is done when it returns, the device's when
/// what was recorded is *submitted*: every encoder must be, in the order in which its steps were recorded. Where one is
/// dropped instead, the sequences that it named hold rows that nobody wrote: free them.
///
/// Of speculative drafts that branch, [`KvCache::begin_at`] takes each one's position, [`KvCache::problem`] a tree as its
/// mask, and [`KvCache::keep`] the accepted branch.
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
    cu_seqlens: wgpu::Buffer,
    page_table: wgpu::Buffer,
    rotations: wgpu::Buffer,
    /// One block on its way: a buffer cannot be copied within itself.
    spare: wgpu::Buffer,
    staging: Staging,
    /// Its bytes among those that are held.
    counted: Option<Counted>,
}

const SMALLER_CACHE: &str = "make it for fewer tokens or pages, store less per token (int8, int4), or free what is kept (Attention::trim)";

impl Attention {
    /// A cache of these sizes, empty.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] for sizes that cannot be, [`Error::Limit`] for more than a binding of this device holds,
    /// [`Error::OutOfMemory`] where it has no such memory, [`Error::DeviceLost`].
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
        let cache = KvCache::made(self, options, sequences).await;
        self.refuse_lost()?;
        cache
    }
}

impl KvCache {
    async fn made(
        attention: &Attention,
        options: &KvCacheOptions,
        sequences: Sequences,
    ) -> Result<Self> {
        let device = attention.device();
        let [k_bytes, v_bytes] = options.layer_bytes();
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
        let cache = scoped(device, "making a cache", || Self {
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
            cu_seqlens: buffer("cache sequences", 4 * (u64::from(options.batch) + 1)),
            page_table: buffer(
                "page table",
                4 * u64::from(options.batch) * u64::from(per_sequence),
            ),
            rotations: buffer(
                "rotary rows of new tokens",
                8 * options.new_rows() * u64::from(options.rotary_pairs()),
            ),
            spare: buffer(
                "a block on its way",
                block_bytes(options).into_iter().max().unwrap_or(0),
            ),
            staging: Staging::default(),
            options: options.clone(),
            sequences,
            counted: None,
        });
        let bytes = options.bytes().unwrap_or(0);
        let mut cache = cache
            .await
            .map_err(|error| error.allocating(bytes, SMALLER_CACHE))?;
        cache.counted = Some(attention.shared().caches.add(cache.bytes()));
        Ok(cache)
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
            &self.cu_seqlens,
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

    /// Of the tokens from `from` on keeps those of these numbers, counted from there, as if the others had never been: what was
    /// accepted of drafts that branch. The rows that move are recorded. Errors as [`Sequences::keep`].
    ///
    /// A call verifies the text's last token, which stands at `from − 1`, and the nodes of a tree behind it; then `kept` is
    /// [`Accepted::nodes`](crate::speculative::Accepted::nodes).
    pub fn keep(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        sequence: Sequence,
        from: u32,
        kept: &[usize],
    ) -> Result<()> {
        let moves = self.sequences.keep(sequence, from, kept)?;
        let copies = moves.copies.into_iter();
        copies.for_each(|copy| self.copy(encoder, copy));
        for [from, to] in moves.rows {
            self.move_row(encoder, from, to);
        }
        Ok(())
    }

    /// Gives back what a sequence holds. Errors as [`Sequences::free`].
    pub fn free(&mut self, sequence: Sequence) -> Result<()> {
        self.sequences.free(sequence)
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

    /// Records the move of one row of every layer and head.
    fn move_row(&self, encoder: &mut wgpu::CommandEncoder, from: Place, to: Place) {
        let [_, heads, rows] = self.options.address().sizes(&self.options.shape());
        let blocks = block_bytes(&self.options);
        for buffers in &self.layers {
            for (buffer, block) in buffers.iter().zip(blocks) {
                let bytes = block / u64::from(heads) / u64::from(rows);
                let at = |(n, row): Place, head: u32| {
                    u64::from(n) * block
                        + (u64::from(head) * u64::from(rows) + u64::from(row)) * bytes
                };
                for head in 0..heads {
                    encoder.copy_buffer_to_buffer(buffer, at(from, head), &self.spare, 0, bytes);
                    encoder.copy_buffer_to_buffer(&self.spare, 0, buffer, at(to, head), bytes);
                }
            }
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
