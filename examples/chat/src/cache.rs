//! What a model asks of attention and of the memory of what it has read.

use std::time::Duration;

use anyhow::Result;

/// Keys and values of all layers for the tokens read so far, and attention over them.
pub trait Cache {
    /// Tokens that are held.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens that there is room for in all; `None` has no end.
    fn capacity(&self) -> Option<usize>;

    /// Before the layers of a pass over `n` more tokens: an error where there is no room for them.
    fn begin(&mut self, n: usize) -> Result<()>;

    /// Appends k and v `[n, Hkv, D]`, as a layer projects them, and attends q `[n, Hq, D]` to all up to each token's own:
    /// o `[n, Hq, D]`. The rotation by positions is done here.
    fn attend(&mut self, layer: usize, qkv: [&[f32]; 3]) -> Result<Vec<f32>>;

    /// After all layers: the `n` tokens count.
    fn end(&mut self, n: usize);

    /// Forgets all tokens from `len` on.
    fn truncate(&mut self, len: usize) -> Result<()>;

    /// Bytes of keys and values that are held in memory.
    fn bytes(&self) -> u64;

    /// Time spent in `attend`.
    fn spent(&self) -> Duration;
}
