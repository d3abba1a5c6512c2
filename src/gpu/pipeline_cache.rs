//! What the driver keeps of its own compiling, from one start of the application to the next.

use futures::FutureExt;

use super::attention::Attention;
use super::buffers::scoped;
use super::cache_frame::{framed, unframed};

impl Attention {
    /// Compiles with what the driver kept in an earlier start of the application: the bytes of [`Self::pipeline_cache_data`],
    /// or none at the first start. A driver that keeps its machine code there compiles nothing a second time. It holds of
    /// what is compiled from now on, by all clones.
    ///
    /// The device must be requested with `Features::PIPELINE_CACHE` ([`crate::wanted`] names it where the adapter has it).
    /// Bytes that are damaged or of another adapter or driver never reach the driver: it starts afresh then, and
    /// [`Self::pipeline_cache_note`] says why. The checksum finds accidents, no malice, and drivers trust these bytes: keep
    /// them where nobody else writes.
    #[must_use]
    pub fn with_pipeline_cache(self, bytes: &[u8]) -> Self {
        let (cache, note) = opened(self.device(), bytes);
        if let Some(note) = &note {
            tracing::warn!(note, "the pipeline cache is ignored");
        }
        self.pipelines().driver.set(cache, note);
        self
    }

    /// Why the bytes given to [`Self::with_pipeline_cache`] are not used, if so.
    pub fn pipeline_cache_note(&self) -> Option<String> {
        self.pipelines().driver.note()
    }

    /// What the driver has kept so far, for [`Self::with_pipeline_cache`] at the next start of the application: to be asked for when
    /// all is compiled. `None` where [`Self::with_pipeline_cache`] was not called or the device cannot, and on a lost device.
    pub fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        let data = self.pipelines().driver.get()?.get_data()?;
        Some(framed(&data, &driver_key(self.device())))
    }
}

/// A cache of these bytes, or else an empty one and why.
fn opened(device: &wgpu::Device, bytes: &[u8]) -> (Option<wgpu::PipelineCache>, Option<String>) {
    if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
        let note = "the device was requested without Features::PIPELINE_CACHE";
        return (None, Some(note.into()));
    }
    let note = match unframed(bytes, &driver_key(device)) {
        Ok(data) => match made(device, Some(data)) {
            Some(cache) => return (Some(cache), None),
            None => Some("the device refused it".into()),
        },
        // A first start.
        Err(_) if bytes.is_empty() => None,
        Err(reason) => Some(reason),
    };
    (made(device, None), note)
}

#[allow(unsafe_code)]
fn made(device: &wgpu::Device, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    let made = scoped(device, "a pipeline cache", || {
        // SAFETY: the data, if any, is what `PipelineCache::get_data` gave to `pipeline_cache_data` under this driver: its
        // frame's key and checksum hold.
        unsafe {
            device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                label: Some("attention"),
                data,
                fallback: true,
            })
        }
    });
    // Natively, where alone there is such a cache, the answer is there at once.
    made.now_or_never()?.ok()
}

/// The adapter and driver that give and take the same data.
fn driver_key(device: &wgpu::Device) -> String {
    let info = device.adapter_info();
    format!(
        "{} {:08x} {:08x} {}, {} {}, {} bits",
        info.backend,
        info.vendor,
        info.device,
        info.name,
        info.driver,
        info.driver_info,
        usize::BITS,
    )
}
