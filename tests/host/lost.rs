//! A lost device, on wgpu's device that does nothing: every call says so, and the application's handler of errors hears
//! nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pollster::block_on;
use wgpu_attention::problem::Lengths;
use wgpu_attention::{
    Attention, Element, Error, Host, Operands, Plan, Problem, Role, Shape, download,
};

/// A device that counts what reaches the application's handler.
struct Guest {
    device: wgpu::Device,
    queue: wgpu::Queue,
    attention: Attention,
    plan: Plan,
    buffers: Vec<(Role, wgpu::Buffer)>,
    uncaught: Arc<AtomicUsize>,
}

impl Guest {
    fn new() -> Self {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let uncaught = Arc::<AtomicUsize>::default();
        let count = uncaught.clone();
        device.on_uncaptured_error(Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        let attention = Attention::new(&device);
        let mut problem = Problem::new(Shape::square(1, 1, 4, 8), Element::F32);
        problem.mask.kv_lens = Lengths::Device;
        let plan = attention.plan(&problem).expect("a plan");
        let buffer = |size| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        let buffers = plan.requirements().iter();
        let buffers = buffers.map(|need| (need.role, buffer(need.bytes)));
        Self {
            buffers: buffers.collect(),
            device,
            queue,
            attention,
            plan,
            uncaught,
        }
    }

    fn operands(&self) -> Operands<'_> {
        let all = self.buffers.iter();
        all.fold(Operands::default(), |all, (role, buffer)| {
            all.with(*role, buffer)
        })
    }

    /// Destroyed, and what it held released too.
    fn lose(&self) {
        self.device.destroy();
        let _ = self.device.poll(wgpu::PollType::Poll);
    }
}

/// What `work` answers on a device that is lost just before, with and without a prepared call.
fn lost<T>(work: impl Fn(&Guest) -> Result<T, Error>) -> Option<Error> {
    let guest = Guest::new();
    guest.lose();
    let answer = work(&guest).err();
    let heard = guest.uncaught.load(Ordering::Relaxed);
    assert_eq!(heard, 0, "the application's handler heard of it");
    answer
}

#[test]
fn prepare() {
    let prepared = |guest: &Guest| {
        let operands = guest.operands();
        block_on(guest.attention.prepare(&guest.plan, &operands)).map(drop)
    };
    assert_eq!(lost(prepared), Some(Error::DeviceLost));
}

/// What was compiled before is no reason to think the device alive.
#[test]
fn prepare_once_more() {
    let guest = Guest::new();
    let prepare = || block_on(guest.attention.prepare(&guest.plan, &guest.operands()));
    let first = prepare();
    assert!(first.is_ok(), "{first:?}");
    guest.lose();
    assert_eq!(prepare().err(), Some(Error::DeviceLost));
}

#[test]
fn warm_up() {
    let warm = |plans: fn(&Guest) -> Vec<Plan>| {
        lost(move |guest: &Guest| block_on(guest.attention.warm_up(&guest.queue, &plans(guest))))
    };
    assert_eq!(
        warm(|guest| vec![guest.plan.clone()]),
        Some(Error::DeviceLost)
    );
    assert_eq!(warm(|_| vec![]), Some(Error::DeviceLost));
}

#[test]
fn run() {
    let bytes = [0; 128];
    let run = |guest: &Guest| {
        let host = Host::new(&bytes, &bytes, &bytes).with(Role::KvLens, &bytes[..4]);
        block_on(guest.attention.run(&guest.queue, &guest.plan, &host)).map(drop)
    };
    assert_eq!(lost(run), Some(Error::DeviceLost));
}

#[test]
fn a_download() {
    let down = |guest: &Guest| block_on(download(&guest.device, &guest.queue, &guest.buffers[0].1));
    assert_eq!(lost(down), Some(Error::DeviceLost));
}

#[test]
fn a_check() {
    let guest = Guest::new();
    let call = block_on(guest.attention.prepare(&guest.plan, &guest.operands())).expect("a call");
    guest.lose();
    assert_eq!(block_on(call.check(&guest.queue)), Err(Error::DeviceLost));
    assert_eq!(guest.uncaught.load(Ordering::Relaxed), 0);
}

/// Recording answers nothing; it does no harm either.
#[test]
fn recording_and_dropping() {
    let guest = Guest::new();
    let call = block_on(guest.attention.prepare(&guest.plan, &guest.operands())).expect("a call");
    guest.lose();
    let mut encoder = guest.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    drop((call, encoder));
    assert_eq!(guest.uncaught.load(Ordering::Relaxed), 0);
}

/// A device that works is none that is lost, however often one asks.
#[test]
fn a_device_that_is_there() {
    let guest = Guest::new();
    for _ in 0..3 {
        assert_eq!(block_on(guest.attention.warm_up(&guest.queue, &[])), Ok(()));
        let _ = guest.device.poll(wgpu::PollType::Poll);
    }
}
