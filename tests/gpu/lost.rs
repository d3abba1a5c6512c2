//! A device that is lost before, during and after each stage of each kind of call: an answer soon, of its own kind, and not
//! a word to the application's handler of errors.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wgpu_attention::{
    Attention, Backward, Element, Error, KvCache, Operands, Plan, Result, Role, Snapshot, download,
};

use crate::compile::kinds::{Bound, cache_options, problem};
use crate::device::{Gpu, Pace, is_part, left_out};

/// A device that is lost at one of the moments of a walk through all stages.
struct Walk {
    gpu: Gpu,
    attention: Attention,
    lose_at: usize,
    moment: Cell<usize>,
    lost: Cell<bool>,
}

impl Walk {
    /// One more moment.
    fn moment(&self) {
        let now = self.moment.get();
        self.moment.set(now + 1);
        if now == self.lose_at {
            self.gpu.device.destroy();
            let _ = self.gpu.device.poll(wgpu::PollType::Poll);
            self.lost.set(true);
        }
    }

    /// A stage, with a moment before it and one after its first poll.
    fn stage<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.moment();
        let lost_before = self.lost.get();
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        let first = future.as_mut().poll(&mut context);
        self.moment();
        let answer = match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => pollster::block_on(future),
        };
        match &answer {
            Ok(_) => assert!(!lost_before, "a stage on a lost device went well"),
            Err(error) => {
                assert_eq!(*error, Error::DeviceLost);
                assert!(self.lost.get(), "the device is there");
            }
        }
        answer
    }

    /// All stages of a call.
    fn call(&self, plan: &Plan, operands: &Operands<'_>, output: &wgpu::Buffer) -> Result<()> {
        let Gpu { device, queue, .. } = &self.gpu;
        self.stage(self.attention.warm_up(queue, std::slice::from_ref(plan)))?;
        let mut call = self.stage(self.attention.prepare(plan, operands))?;
        let mut encoder = device.create_command_encoder(&Default::default());
        self.moment();
        let scaled = call.set_scale(0.5);
        assert!(matches!(scaled, Ok(()) | Err(Error::NotHostHeld { .. })));
        call.encode(&mut encoder);
        self.moment();
        let commands = encoder.finish();
        self.moment();
        queue.submit([commands]);
        self.moment();
        self.stage(call.check(queue))?;
        self.stage(download(device, queue, output))?;
        drop(call);
        self.stage(self.attention.prepare(plan, operands)).map(drop)
    }

    fn forward(&self) -> Result<()> {
        self.moment();
        let plan = self.attention.plan(&problem())?;
        let bound = Bound::new(&self.gpu.device, &plan);
        self.call(&plan, &bound.operands(), bound.get(Role::O))
    }

    fn backward(&self) -> Result<()> {
        self.moment();
        let backward = Backward::new(problem(), Element::F32);
        let plan = self.attention.plan_backward(&backward)?;
        let bound = Bound::new(&self.gpu.device, &plan);
        self.call(&plan, &bound.operands(), bound.get(Role::DQ))
    }

    fn decode(&self) -> Result<()> {
        let mut cache = self.stage(self.attention.kv_cache(&cache_options()))?;
        let append = self.attention.plan_append(&cache.append(Element::F32))?;
        let attend = self.attention.plan(&cache.problem(2, Element::F32))?;
        let device = &self.gpu.device;
        let (new, own) = (Bound::new(device, &append), Bound::new(device, &attend));
        let [k, v] = [Role::K, Role::V].map(|role| new.get(role));
        let sequence = cache.create()?;
        let mut encoder = device.create_command_encoder(&Default::default());
        self.moment();
        cache.begin(&mut encoder, &[(sequence, 1)])?;
        self.gpu.queue.submit([encoder.finish()]);
        let operands = cache.append_operands(0, k, v)?;
        self.call(&append, &operands, k)?;
        let [q, o, lse] = [Role::Q, Role::O, Role::Lse].map(|role| own.get(role));
        let operands = cache.operands(0, q, o, lse)?;
        self.call(&attend, &operands, o)?;
        let snapshot = self.stage(cache.snapshot(&self.gpu.queue, sequence))?;
        self.restore(&mut cache, &snapshot)
    }

    fn restore(&self, cache: &mut KvCache, snapshot: &Snapshot) -> Result<()> {
        let device = &self.gpu.device;
        let mut encoder = device.create_command_encoder(&Default::default());
        self.stage(cache.restore(&mut encoder, snapshot))?;
        self.gpu.queue.submit([encoder.finish()]);
        self.moment();
        Ok(())
    }
}

/// Walks once per moment, and once to the end.
fn walk_all(name: &'static str, stages: fn(&Walk) -> Result<()>) {
    left_out("two of three moments at which a device is lost");
    let step = if is_part() { 3 } else { 1 };
    let mut pace = Pace::new(name, 40);
    let mut moments = (0..).step_by(step);
    let last = moments.find(|&lose_at| {
        pace.at(lose_at);
        !is_lost(name, stages, lose_at)
    });
    assert!(
        last.is_some_and(|last| last > 10),
        "{name}: {last:?} moments"
    );
}

/// One walk, in time; true when it came to the moment.
fn is_lost(name: &'static str, stages: fn(&Walk) -> Result<()>, lose_at: usize) -> bool {
    let (sender, done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let lost = walked(stages, lose_at);
        let _ = sender.send(());
        lost
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = done.recv_timeout(Duration::from_secs(120)) {
        panic!("{name}, lost at moment {lose_at}: it hangs");
    }
    let lost = thread.join();
    lost.unwrap_or_else(|_| panic!("{name}, lost at moment {lose_at}"))
}

fn walked(stages: fn(&Walk) -> Result<()>, lose_at: usize) -> bool {
    let gpu = Gpu::another();
    let heard = Arc::<AtomicUsize>::default();
    let count = heard.clone();
    gpu.device.on_uncaptured_error(Arc::new(move |error| {
        eprintln!("the application hears: {error}");
        count.fetch_add(1, Ordering::Relaxed);
    }));
    let walk = Walk {
        attention: Attention::with_adapter(&gpu.adapter, &gpu.device),
        gpu,
        lose_at,
        moment: Cell::new(0),
        lost: Cell::new(false),
    };
    let ended = stages(&walk);
    let lost = walk.lost.get();
    drop(walk);
    assert_eq!(heard.load(Ordering::Relaxed), 0, "the application heard");
    match ended {
        Ok(()) => {}
        Err(error) => assert!(lost && error == Error::DeviceLost, "{error}"),
    }
    lost
}

#[test]
fn at_every_moment_of_a_forward_call() {
    walk_all("forward", Walk::forward);
}

#[test]
fn at_every_moment_of_a_backward_call() {
    walk_all("backward", Walk::backward);
}

#[test]
fn at_every_moment_of_an_append_and_a_decode_call() {
    walk_all("decode", Walk::decode);
}
