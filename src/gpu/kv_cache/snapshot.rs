//! A sequence in host memory, and back.

use crate::cache::Sequence;
use crate::error::{Error, Result};
use crate::gpu::buffers::{filled, scoped};
use crate::gpu::download::download;
use crate::gpu::handles::check_queue;

use super::{KvCache, block_bytes};

/// The tokens of a sequence, layer by layer, as the cache stores them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Tokens.
    pub len: u32,
    /// What the cache was made for, apart from how many sequences and pages it holds.
    pub made_for: String,
    /// Blocks of keys, then of values, per layer.
    pub bytes: Vec<u8>,
}

impl KvCache {
    /// Brings a sequence's tokens to the host, after all that was submitted before. It never blocks its thread.
    ///
    /// # Errors
    ///
    /// [`Error::Sequence`] for a handle that is none, and those of [`crate::download`].
    pub async fn snapshot(&self, queue: &wgpu::Queue, sequence: Sequence) -> Result<Snapshot> {
        check_queue(&self.device, queue)?;
        let len = self.len(sequence)?;
        let blocks = match len {
            0 => Vec::new(),
            _ => self.sequences.blocks(sequence)?,
        };
        let places = self.places(&blocks);
        let size: u64 = places.iter().map(|(_, _, bytes)| bytes).sum();
        let gathered = scoped(&self.device, "a snapshot", || {
            let gathered = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("snapshot"),
                size: size.max(16),
                usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut at = 0;
            for (buffer, from, bytes) in places {
                encoder.copy_buffer_to_buffer(buffer, from, &gathered, at, bytes);
                at += bytes;
            }
            queue.submit([encoder.finish()]);
            gathered
        })
        .await?;
        let mut bytes = download(&self.device, queue, &gathered).await?;
        bytes.truncate(size as usize);
        Ok(Snapshot {
            len,
            made_for: self.made_for(),
            bytes,
        })
    }

    /// A new sequence with a snapshot's tokens; the copies are recorded.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] for one of a cache of other options or of another size, and those of [`Self::create`] and
    /// [`Self::begin`]. The cache is as it was then.
    pub async fn restore(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        snapshot: &Snapshot,
    ) -> Result<Sequence> {
        let made_for = self.made_for();
        if snapshot.made_for != made_for {
            let reason = format!(
                "it is of a cache {}, this one is {made_for}",
                snapshot.made_for
            );
            return Err(Error::Snapshot { reason });
        }
        self.check_size(snapshot)?;
        let contents = scoped(&self.device, "restoring a snapshot", || {
            let usage = wgpu::BufferUsages::COPY_SRC;
            filled(&self.device, "snapshot", usage, &snapshot.bytes)
        })
        .await?;
        let sequence = self.sequences.restored(snapshot.len)?;
        let blocks = match snapshot.len {
            0 => Vec::new(),
            _ => self.sequences.blocks(sequence)?,
        };
        let mut at = 0;
        for (buffer, to, bytes) in self.places(&blocks) {
            encoder.copy_buffer_to_buffer(&contents, at, buffer, to, bytes);
            at += bytes;
        }
        Ok(sequence)
    }

    fn check_size(&self, snapshot: &Snapshot) -> Result<()> {
        let blocks = self.sequences.blocks_of(snapshot.len);
        let layer: u64 = block_bytes(&self.options).into_iter().sum();
        let expected = u64::from(blocks) * layer * u64::from(self.options.layers);
        if snapshot.bytes.len() as u64 != expected {
            let reason = format!(
                "{} tokens take {expected} bytes, and it has {}",
                snapshot.len,
                snapshot.bytes.len()
            );
            return Err(Error::Snapshot { reason });
        }
        Ok(())
    }

    /// Buffer, first byte and bytes of each block, layer by layer.
    fn places(&self, blocks: &[u32]) -> Vec<(&wgpu::Buffer, u64, u64)> {
        let sizes = block_bytes(&self.options);
        let layers = self.layers.iter();
        let buffers = layers.flat_map(|buffers| buffers.iter().zip(sizes));
        buffers
            .flat_map(|(buffer, bytes)| {
                let at = move |&block: &u32| (buffer, u64::from(block) * bytes, bytes);
                blocks.iter().map(at)
            })
            .collect()
    }

    /// What a snapshot must agree with.
    fn made_for(&self) -> String {
        let o = &self.options;
        let [_, _, rows] = o.address().sizes(&o.shape());
        let kind = match o.kind {
            crate::CacheKind::Contiguous { .. } => "contiguous",
            crate::CacheKind::Paged { .. } => "paged",
            crate::CacheKind::Ring { .. } => "a ring",
        };
        let hadamard = |rotated| if rotated { " (Hadamard)" } else { "" };
        format!(
            "of {} layers, {} heads, k {}{} x {}, v {}{} x {}, {kind}, blocks of {rows} rows",
            o.layers,
            o.kv_heads,
            o.k,
            hadamard(o.k_hadamard),
            o.head_dim,
            o.v,
            hadamard(o.v_hadamard),
            o.value_dim,
        )
    }
}
