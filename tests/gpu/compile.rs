//! Compiling beside the application: nobody's thread is held, nothing is compiled twice, and what is warm stays quick.

pub mod kinds;
mod pipeline_cache;
pub mod spans;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use wgpu_attention::{Attention, Call, Caps, Element, Error, Plan, PlanOptions};

use crate::device::{Gpu, gpu, say};
use crate::run::{Buffers, check, execute};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

use kinds::{Bound, plans};
use spans::count_compiled;

/// One that has compiled nothing.
fn cold() -> Attention {
    Attention::with_caps(&gpu().device, gpu().attention.caps().clone()).expect("caps of the device")
}

fn case(dim: u32, tokens: u32) -> (Case, Inputs) {
    let setting = Setting::new(dim, dim, Element::F32);
    let case = Case::new("compiling", &setting, Sizes::one(tokens, tokens));
    let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
    (case, inputs)
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// It pends at once, and computes right when it is done. A thread may be held up by others, so the best of a few counts.
#[test]
fn prepare_holds_nobody() {
    const AT_ONCE: Duration = Duration::from_millis(50);
    let (case, inputs) = case(24, 33);
    let buffers = Buffers::new(&gpu().device, &case, &inputs);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let attention = cold();
        let plan = attention.plan(&case.problem).expect("a plan");
        let operands = buffers.operands();
        let mut prepared = Box::pin(attention.prepare(&plan, &operands));
        let start = Instant::now();
        let first = poll(&mut prepared);
        best = best.min(start.elapsed());
        assert!(first.is_pending(), "a cold variant was ready at once");
        pollster::block_on(prepared).expect("a call");
        // What is compiled is ready at the first poll.
        assert!(poll(&mut Box::pin(attention.prepare(&plan, &operands))).is_ready());
        let output = execute(gpu(), &attention, &plan, &buffers);
        check(&case, &inputs, &output, &plan.to_string());
    }
    say(&format!("the first poll of a cold prepare took {best:?}"));
    assert!(best < AT_ONCE, "the first poll took {best:?}");
}

#[test]
fn who_asks_for_the_same_waits_for_the_same() {
    let (case, inputs) = case(20, 33);
    let buffers = Buffers::new(&gpu().device, &case, &inputs);
    let attention = cold();
    let plan = attention.plan(&case.problem).expect("a plan");
    let operands = buffers.operands();
    let compiled = count_compiled(|| {
        let mut warm_up = attention.warm_up(&gpu().queue, std::slice::from_ref(&plan));
        assert!(poll(&mut warm_up).is_pending());
        let mut several: Vec<_> = (0..3)
            .map(|_| Box::pin(attention.prepare(&plan, &operands)))
            .collect();
        for prepared in &mut several {
            assert!(poll(prepared).is_pending());
        }
        for prepared in several {
            pollster::block_on(prepared).expect("a call");
        }
        pollster::block_on(warm_up).expect("warm");
    });
    assert_eq!(compiled, attention.compiled_variants());
}

/// A future that is dropped half-way leaves nothing half done for who comes next.
#[test]
fn prepare_may_be_dropped_half_way() {
    let (case, inputs) = case(28, 33);
    let buffers = Buffers::new(&gpu().device, &case, &inputs);
    let attention = cold();
    let plan = attention.plan(&case.problem).expect("a plan");
    let operands = buffers.operands();
    for _ in 0..3 {
        let mut prepared = Box::pin(attention.prepare(&plan, &operands));
        assert!(poll(&mut prepared).is_pending() || attention.compiled_variants() > 0);
    }
    let output = execute(gpu(), &attention, &plan, &buffers);
    check(&case, &inputs, &output, &plan.to_string());
}

/// Every kind of plan; then nothing is compiled any more, and each call is ready at its first poll.
#[test]
fn a_warm_up_of_every_kind() {
    let attention = cold();
    let plans = plans(&attention);
    let all: Vec<Plan> = plans.iter().map(|(_, plan)| plan.clone()).collect();
    let mut warm_up = attention.warm_up(&gpu().queue, &all);
    let progress = warm_up.progress();
    assert_eq!(progress.done(), 0);
    let mut reported = vec![0];
    let mut longest = Duration::ZERO;
    let warmed = loop {
        let start = Instant::now();
        let polled = poll(&mut warm_up);
        longest = longest.max(start.elapsed());
        if let Poll::Ready(warmed) = polled {
            break warmed;
        }
        let done = progress.done();
        assert!(done >= reported[reported.len() - 1] && done <= progress.total());
        if done > reported[reported.len() - 1] {
            reported.push(done);
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    say(&format!("the longest poll of a warm-up took {longest:?}"));
    assert_eq!(warmed, Ok(()));
    assert_eq!(progress.done(), progress.total());
    assert_eq!(attention.compiled_variants(), progress.total());
    assert!(reported.len() > 3, "it rose in steps: {reported:?}");
    // Once more is nothing to do.
    pollster::block_on(attention.warm_up(&gpu().queue, &all)).expect("warm");
    for (name, plan) in &plans {
        let bound = Bound::new(&gpu().device, plan);
        let operands = bound.operands();
        let mut prepared = Box::pin(attention.prepare(plan, &operands));
        match poll(&mut prepared) {
            Poll::Ready(call) => drop(call.unwrap_or_else(|e| panic!("{name}: {e}\n{plan}"))),
            Poll::Pending => panic!("{name} compiles still"),
        }
    }
    assert_eq!(attention.compiled_variants(), progress.total());
}

/// Dropped or cancelled, it compiles no more than its threads are at, and what it has is kept.
#[test]
fn a_warm_up_that_is_ended() {
    for cancel in [false, true] {
        let attention = cold();
        let all: Vec<Plan> = plans(&attention)
            .into_iter()
            .map(|(_, plan)| plan)
            .collect();
        let mut warm_up = attention.warm_up(&gpu().queue, &all);
        let progress = warm_up.progress();
        while progress.done() == 0 {
            assert!(poll(&mut warm_up).is_pending());
            std::thread::sleep(Duration::from_millis(1));
        }
        if cancel {
            std::thread::scope(|scope| scope.spawn(|| progress.cancel()).join()).expect("told");
            assert_eq!(pollster::block_on(&mut warm_up), Err(Error::Cancelled));
            assert_eq!(poll(&mut warm_up), Poll::Ready(Err(Error::Cancelled)));
        }
        drop(warm_up);
        settle(&attention);
        let compiled = attention.compiled_variants();
        assert!(
            progress.done() <= compiled && compiled < progress.total(),
            "{compiled} of {}",
            progress.total()
        );
        pollster::block_on(attention.warm_up(&gpu().queue, &all)).expect("warm");
        assert_eq!(attention.compiled_variants(), progress.total());
    }
}

/// Until it compiles nothing more for a second.
fn settle(attention: &Attention) {
    let mut compiled = attention.compiled_variants();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(10));
        if attention.compiled_variants() != compiled {
            (compiled, since) = (attention.compiled_variants(), Instant::now());
        }
    }
}

/// They end when there is nothing to compile, whoever lives on.
#[cfg(target_os = "linux")]
#[test]
fn no_thread_is_left() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
        let names =
            tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("compile att")).count()
    };
    let attention = cold();
    let all: Vec<Plan> = plans(&attention)
        .into_iter()
        .map(|(_, plan)| plan)
        .collect();
    let mut warm_up = attention.warm_up(&gpu().queue, &all);
    assert!(poll(&mut warm_up).is_pending());
    let wait_for = |wanted: &dyn Fn(usize) -> bool| {
        let start = Instant::now();
        while !wanted(threads()) {
            assert!(threads() <= 4, "{} threads", threads());
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "{} threads",
                threads()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    };
    wait_for(&|threads| threads > 0);
    drop((warm_up, attention));
    // Of this test and of those beside it.
    wait_for(&|threads| threads == 0);
}

#[test]
fn what_a_warm_up_refuses() {
    let attention = cold();
    let (case, _) = case(16, 33);
    let more = Caps::clone(attention.caps()).with_workgroup_memory(1 << 30);
    let plan = Plan::attention(&case.problem, &more, &PlanOptions::default()).expect("a plan");
    let claimed = pollster::block_on(attention.warm_up(&gpu().queue, &[plan]));
    assert!(matches!(claimed, Err(Error::Claim { .. })), "{claimed:?}");
}

/// One that has computed a case, and its plan.
fn used(case: &Case, inputs: &Inputs) -> (Attention, Plan) {
    let attention = cold();
    let plan = attention.plan(&case.problem).expect("a plan");
    let buffers = Buffers::new(&gpu().device, case, inputs);
    execute(gpu(), &attention, &plan, &buffers);
    (attention, plan)
}

/// Another device in place of this one: what was compiled here is compiled there.
#[test]
fn a_rebuilt_attention() {
    let (case, inputs) = case(16, 33);
    let (old, plan) = used(&case, &inputs);
    let new = Gpu::another();
    let (attention, warm_up) = old.rebuild(&new.device, &new.queue);
    assert_eq!(attention.compiled_variants(), 0);
    assert_eq!(attention.caps(), old.caps());
    pollster::block_on(warm_up).expect("warm");
    assert_eq!(attention.compiled_variants(), old.compiled_variants());
    let buffers = Buffers::new(&new.device, &case, &inputs);
    let operands = buffers.operands();
    assert!(poll(&mut Box::pin(attention.prepare(&plan, &operands))).is_ready());
    let output = execute(&new, &attention, &plan, &buffers);
    check(&case, &inputs, &output, &plan.to_string());
}

/// One on a device with nothing runs what that can run, and no more is compiled for it.
#[test]
fn a_rebuilt_attention_on_a_lesser_device() {
    let (case, inputs) = case(16, 33);
    let (old, _) = used(&case, &inputs);
    let least = Gpu::least();
    let (attention, warm_up) = old.rebuild(&least.device, &least.queue);
    pollster::block_on(warm_up).expect("warm");
    assert_eq!(attention.caps(), &Caps::of(&least.device, None));
    let plan = attention.plan(&case.problem).expect("a plan");
    let buffers = Buffers::new(&least.device, &case, &inputs);
    let output = execute(&least, &attention, &plan, &buffers);
    check(&case, &inputs, &output, &plan.to_string());
}

#[test]
fn what_is_held() {
    let attention = cold();
    assert_eq!(attention.held(), Default::default());
    let (case, inputs) = case(16, 33);
    let options = PlanOptions::default().with_splits(3);
    let plan = attention
        .plan_with(&case.problem, &options)
        .expect("a plan");
    let buffers = Buffers::new(&gpu().device, &case, &inputs);
    let call = pollster::block_on(attention.prepare(&plan, &buffers.operands())).expect("a call");
    let held = attention.held();
    assert_eq!(held.scratch, plan.scratch().iter().sum::<u64>());
    assert!(
        held.constants > 0 && held.kernels > 0 && held.waiting_scratch == 0,
        "{held:?}"
    );
    drop(call);
    let left = attention.held();
    assert_eq!((left.scratch, left.constants), (0, 0));
    assert_eq!(left.waiting_scratch, held.scratch);
    assert_eq!(left.waiting_constants, held.constants);
    assert_eq!(left.bytes(), left.trimmable());
    let cache = kinds::cache(&attention);
    assert_eq!(attention.held().caches, cache.bytes());
    attention.trim();
    assert_eq!(attention.held().bytes(), cache.bytes());
    drop(cache);
    assert_eq!(attention.held(), Default::default());
}

/// From submission to completion, with nothing else on its way.
fn timed(gpu: &Gpu, call: &Call) -> Duration {
    let wait = || gpu.device.poll(wgpu::PollType::wait_indefinitely());
    gpu.queue.submit([]);
    wait().expect("the device answers");
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    let start = Instant::now();
    gpu.queue.submit([encoder.finish()]);
    wait().expect("the device answers");
    start.elapsed()
}

/// The first run of a call over the median of later ones, and the first.
fn first_over_later(dim: u32, warm: bool) -> (f64, Duration) {
    let (gpu, attention) = (gpu(), cold());
    let (case, inputs) = case(dim, 1024);
    let plan = attention.plan(&case.problem).expect("a plan");
    if warm {
        let warm_up = attention.warm_up(&gpu.queue, std::slice::from_ref(&plan));
        pollster::block_on(warm_up).expect("warm");
    }
    let buffers = Buffers::new(&gpu.device, &case, &inputs);
    let call = pollster::block_on(attention.prepare(&plan, &buffers.operands())).expect("a call");
    let first = timed(gpu, &call);
    let mut later: Vec<_> = (0..7).map(|_| timed(gpu, &call)).collect();
    later.sort();
    (first.as_secs_f64() / later[3].as_secs_f64(), first)
}

/// Beside other tests a single time may be anything; the best of a few is held to a factor that no compiler keeps.
#[test]
fn the_first_call_after_a_warm_up_costs_what_later_ones_cost() {
    const FACTOR: f64 = 2.0;
    let cold = first_over_later(44, false);
    let warm = [52, 60, 76, 84].map(|dim| first_over_later(dim, true));
    let best = warm
        .iter()
        .map(|(ratio, _)| *ratio)
        .fold(f64::MAX, f64::min);
    say(&format!(
        "first call over later ones: cold {cold:.2?}, after a warm-up {warm:.2?}"
    ));
    assert!(best < FACTOR, "{warm:?}");
}
