//! A sequence in host memory, and back.

use crate::cache::{KvCacheOptions, Sequence};
use crate::error::{Error, Result};
use crate::gpu::buffers::{filled, scoped};
use crate::gpu::download::download;
use crate::gpu::handles::check_queue;
use crate::gpu::lost::Liveness;

use super::{KvCache, block_bytes};

const NO_ROOM: &str = "free other sequences' snapshots, buffers, or what is kept (Attention::trim)";

/// The tokens of a sequence, layer by layer, as the cache stores them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Tokens.
    pub len: u32,
    /// Of a ring: it has overwritten the tokens between its first ones and this one.
    pub lost: u32,
    /// What the cache was made for, apart from how many sequences, pages and tokens it and its calls hold.
    pub options: KvCacheOptions,
    /// Blocks of keys, then of values, per layer.
    pub bytes: Vec<u8>,
}

impl KvCache {
    /// Brings a sequence's tokens to the host, after all that was submitted before. It never blocks its thread.
    ///
    /// # Errors
    ///
    /// [`Error::Sequence`] for a handle that is none, [`Error::OutOfMemory`], and those of [`crate::download`].
    pub async fn snapshot(&self, queue: &wgpu::Queue, sequence: Sequence) -> Result<Snapshot> {
        check_queue(&self.device, queue)?;
        let len = self.len(sequence)?;
        let lost = self.sequences.lost(sequence)?;
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
        });
        let gathered = gathered
            .await
            .map_err(|error| error.allocating(size, NO_ROOM));
        if gathered.is_err() {
            Liveness::default().check(&self.device)?;
        }
        let mut bytes = download(&self.device, queue, &gathered?).await?;
        bytes.truncate(size as usize);
        Ok(Snapshot {
            len,
            lost,
            options: self.options.of_a_sequence(),
            bytes,
        })
    }

    /// A new sequence with a snapshot's tokens; the copies are recorded.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] for one of a cache of other options or of another size, [`Error::OutOfMemory`],
    /// [`Error::DeviceLost`], and those of [`Self::create`] and
    /// [`Self::begin`]. The cache is as it was then.
    pub async fn restore(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        snapshot: &Snapshot,
    ) -> Result<Sequence> {
        let options = self.options.of_a_sequence();
        if snapshot.options != options {
            let reason = differ(&snapshot.options, &options);
            return Err(Error::Snapshot { reason });
        }
        if snapshot.lost > snapshot.len {
            let (len, lost) = (snapshot.len, snapshot.lost);
            let reason = format!("it has {len} tokens, of which those before {lost} are lost");
            return Err(Error::Snapshot { reason });
        }
        self.check_size(snapshot)?;
        let contents = scoped(&self.device, "restoring a snapshot", || {
            let usage = wgpu::BufferUsages::COPY_SRC;
            filled(&self.device, "snapshot", usage, &snapshot.bytes)
        });
        let contents = contents.await;
        Liveness::default().check(&self.device)?;
        let contents =
            contents.map_err(|error| error.allocating(snapshot.bytes.len() as u64, NO_ROOM))?;
        let sequence = self.sequences.restored(snapshot.len, snapshot.lost)?;
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
}

/// Which options are not the same, and what they are.
fn differ(of: &KvCacheOptions, here: &KvCacheOptions) -> String {
    let told = |o: &KvCacheOptions| {
        [
            ("layers", format!("{}", o.layers)),
            ("kv_heads", format!("{}", o.kv_heads)),
            ("head_dim", format!("{}", o.head_dim)),
            ("value_dim", format!("{}", o.value_dim)),
            ("k", format!("{}", o.k)),
            ("v", format!("{}", o.v)),
            ("kind", format!("{:?}", o.kind)),
            ("q_len", format!("{}", o.q_len)),
            ("rotary", format!("{:?}", o.rotary)),
            ("rotated", format!("{}", o.rotated)),
            ("k_hadamard", format!("{}", o.k_hadamard)),
            ("v_hadamard", format!("{}", o.v_hadamard)),
        ]
    };
    let pairs = told(of).into_iter().zip(told(here));
    let differs = pairs.filter(|(of, here)| of != here);
    let said = differs
        .map(|((what, of), (_, here))| format!("{what} of its cache is {of}, of this one {here}"));
    said.collect::<Vec<_>>().join("; ")
}
