//! The convenience for host slices, and its future in the situations that an application brings it into.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use wgpu_attention::{Element, Error, Host, Outputs, PlanOptions, download};

use crate::device::{Gpu, gpu};
use crate::run::{Buffers, Output, buffer, check};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

fn case() -> (Case, Inputs) {
    let case = Case::new(
        "host slices",
        &Setting::new(16, 16, Element::F32),
        Sizes::two(2, 1, 33, 40),
    );
    let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
    (case, inputs)
}

async fn run_on(gpu: &Gpu) -> Result<Outputs, Error> {
    let (case, inputs) = case();
    let plan = gpu.attention.plan(&case.problem)?;
    let [q, k, v] = [0, 1, 2].map(|n| inputs.buffers[n].as_slice());
    gpu.attention
        .run(&gpu.queue, &plan, &Host::new(q, k, v))
        .await
}

fn check_outputs(outputs: Outputs) {
    let (case, inputs) = case();
    let output = Output {
        o: outputs.o,
        lse: bytemuck::cast_slice(&outputs.lse).to_vec(),
    };
    check(&case, &inputs, &output, "host slices");
}

/// What `work` answers; a failure if it takes a minute.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, answer) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    answer
        .recv_timeout(Duration::from_secs(60))
        .expect("neither a hang nor a panic")
}

#[test]
fn under_block_on_alone() {
    check_outputs(in_time(|| pollster::block_on(run_on(gpu()))).expect("outputs"));
}

#[test]
fn beside_an_application_that_polls() {
    let gpu = gpu();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = gpu.device.poll(wgpu::PollType::Poll);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let outputs: Vec<_> = (0..5)
            .map(|_| in_time(|| pollster::block_on(run_on(crate::device::gpu()))))
            .collect();
        done.store(true, Ordering::Relaxed);
        outputs
            .into_iter()
            .for_each(|outputs| check_outputs(outputs.expect("outputs")));
    });
}

#[test]
fn dropped_half_way() {
    let gpu = gpu();
    let filled = buffer(&gpu.device, &[7; 64]);
    for _ in 0..3 {
        let mut future = Box::pin(download(&gpu.device, &gpu.queue, &filled));
        let mut context = Context::from_waker(Waker::noop());
        let _ = future.as_mut().poll(&mut context);
        drop(future);
    }
    let bytes = in_time(move || {
        pollster::block_on(download(
            &crate::device::gpu().device,
            &crate::device::gpu().queue,
            &filled,
        ))
    });
    assert_eq!(bytes, Ok(vec![7; 64]));
}

/// Threads of this process that wake downloads.
#[cfg(target_os = "linux")]
fn timers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("attention")).count()
}

/// A call of 2·10⁹ FLOPs: what is submitted behind it is pending for a while, however quick the device.
#[cfg(target_os = "linux")]
fn long_call(gpu: &Gpu) -> wgpu_attention::Call {
    let sizes = Sizes::two(1, 1, 2048, 2048);
    let case = Case::new("ahead", &Setting::new(64, 64, Element::F32), sizes);
    let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
    let plan = gpu.attention.plan(&case.problem).expect("a plan");
    let buffers = Buffers::new(&gpu.device, &case, &inputs);
    pollster::block_on(gpu.attention.prepare(&plan, &buffers.operands())).expect("a call")
}

/// One thread for all that are pending, and none once nothing is.
#[cfg(target_os = "linux")]
#[test]
fn many_at_once_share_one_thread() {
    in_time(|| {
        let gpu = gpu();
        let filled = buffer(&gpu.device, &vec![7; 1 << 20]);
        let ahead = long_call(gpu);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        ahead.encode(&mut encoder);
        gpu.queue.submit([encoder.finish()]);
        let mut downloads: Vec<_> = (0..60)
            .map(|_| Box::pin(download(&gpu.device, &gpu.queue, &filled)))
            .collect();
        let mut context = Context::from_waker(Waker::noop());
        let pending = downloads.iter_mut().map(|future| {
            let polled = future.as_mut().poll(&mut context);
            assert!(timers() <= 1, "{} threads", timers());
            usize::from(polled.is_pending())
        });
        assert!(
            pending.sum::<usize>() > 1,
            "nothing was pending, so nothing is shown"
        );
        drop(downloads);
        // Of this test and of those beside it.
        while timers() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn on_a_lost_device() {
    let outcome = in_time(|| {
        let gpu = Gpu::another();
        let filled = buffer(&gpu.device, &[7; 64]);
        gpu.device.destroy();
        (
            pollster::block_on(run_on(&gpu)),
            pollster::block_on(download(&gpu.device, &gpu.queue, &filled)),
        )
    });
    assert_eq!(outcome.0, Err(Error::DeviceLost));
    assert_eq!(outcome.1, Err(Error::DeviceLost));
}

/// The device goes while the download is on its way: an answer or an error, and soon.
#[test]
fn on_a_device_that_is_lost_meanwhile() {
    in_time(|| {
        let gpu = Gpu::another();
        let filled = buffer(&gpu.device, &[7; 64]);
        let mut future = pin!(download(&gpu.device, &gpu.queue, &filled));
        let mut context = Context::from_waker(Waker::noop());
        let first = future.as_mut().poll(&mut context);
        gpu.device.destroy();
        // A quick device may have answered at once.
        if first.is_pending() {
            let answer = pollster::block_on(future);
            assert!(
                matches!(answer, Ok(_) | Err(Error::DeviceLost)),
                "{answer:?}"
            );
        }
    });
}

#[test]
fn preparing_on_a_lost_device() {
    let prepared = in_time(|| {
        let gpu = Gpu::another();
        let (case, inputs) = case();
        let plan = gpu
            .attention
            .plan_with(&case.problem, &PlanOptions::default())
            .expect("a plan");
        let buffers = Buffers::new(&gpu.device, &case, &inputs);
        gpu.device.destroy();
        pollster::block_on(gpu.attention.prepare(&plan, &buffers.operands())).map(|_| ())
    });
    assert_eq!(prepared, Err(Error::DeviceLost));
}
