use wgpu_attention::*;
fn main() {
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let (required_features, required_limits) = wanted(&adapter);
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features,
        required_limits,
        ..Default::default()
    }))
    .unwrap();
    let attention = Attention::with_adapter(&adapter, &device);
    let a: Vec<u32> = std::env::args()
        .nth(1)
        .unwrap()
        .split(',')
        .map(|x| x.parse().unwrap())
        .collect();
    let mut problem = Problem::new(
        Shape {
            batch: 1,
            q_heads: a[0],
            kv_heads: a[1],
            q_len: a[2],
            kv_len: a[3],
            head_dim: a[4],
            value_dim: a[5],
        },
        Element::F32,
    );
    let mut choice = Choice::default();
    for arg in std::env::args().skip(2) {
        match arg.as_str() {
            "causal" => problem.mask.causal = true,
            "w" => choice.strategy = Some(plan::StrategyKind::Workgroup),
            "win" => {
                problem.mask.window = Some(problem::Window {
                    left: Some(256),
                    right: Some(0),
                })
            }
            "cap" => problem.score.softcap = Some(20.0),
            x if x.starts_with("s=") => choice.splits = Some(x[2..].parse().unwrap()),
            x if x.starts_with("t=") => {
                let t: Vec<u32> = x[2..].split(',').map(|x| x.parse().unwrap()).collect();
                choice.tiling = Some(plan::Tiling {
                    invocations: t[0],
                    lanes_per_row: t[1],
                    rows: t[2],
                    keys: t[3],
                    tile: t[4],
                });
            }
            "dump" => {
                let p = attention.plan_with(&problem, &choice).unwrap();
                println!("{}", shader::compose(&p.steps()[0].variant).unwrap().wgsl());
                return;
            }
            _ => panic!(),
        }
    }
    let plan = attention.plan_with(&problem, &choice).unwrap();
    println!("{plan}");
    let t = std::time::Instant::now();
    let sh = shader::compose(&plan.steps()[0].variant).unwrap();
    let t1 = t.elapsed();
    match sh.validate(true) {
        Ok(_) => {}
        Err(e) => {
            println!("{e}");
            return;
        }
    }
    println!(
        "compose {:?} validate {:?} bytes {}",
        t1,
        t.elapsed(),
        sh.wgsl().len()
    );
    let mut seed = 1u64;
    let mut rnd = |n: usize| -> Vec<f32> {
        (0..n)
            .map(|_| {
                let mut s = 0.0;
                for _ in 0..6 {
                    seed = seed
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    s += (seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
                }
                s * 1.414
            })
            .collect()
    };
    let s = problem.shape;
    let (hq, hk, nq, nk, d, dv) = (
        s.q_heads as usize,
        s.kv_heads as usize,
        s.q_len as usize,
        s.kv_len as usize,
        s.head_dim as usize,
        s.value_dim as usize,
    );
    let (q, k, v) = (rnd(hq * nq * d), rnd(hk * nk * d), rnd(hk * nk * dv));
    let host = Host::new(
        bytemuck::cast_slice(&q),
        bytemuck::cast_slice(&k),
        bytemuck::cast_slice(&v),
    );
    let t = std::time::Instant::now();
    let out = pollster::block_on(attention.run(&queue, &plan, &host)).unwrap();
    println!("first {:?}", t.elapsed());
    let o: &[f32] = bytemuck::cast_slice(&out.o);
    let mut worst: f64 = 0.0;
    let mut sq = 0.0;
    let mut cnt = 0.0;
    for h in 0..hq {
        for i in [0, nq / 3, nq / 2, nq - 1] {
            let kh = h / (hq / hk);
            let dg = nk as i64 - nq as i64 + i as i64;
            let vis = |j: usize| {
                let j = j as i64;
                (!problem.mask.causal || j <= dg)
                    && problem.mask.window.is_none_or(|w| {
                        j >= dg - w.left.unwrap() as i64 && j <= dg + w.right.unwrap() as i64
                    })
            };
            let sc: Vec<f64> = (0..nk)
                .map(|j| {
                    let x = (0..d)
                        .map(|c| q[(h * nq + i) * d + c] as f64 * k[(kh * nk + j) * d + c] as f64)
                        .sum::<f64>()
                        / (d as f64).sqrt();
                    if problem.score.softcap.is_some() {
                        20.0 * (x / 20.0).tanh()
                    } else {
                        x
                    }
                })
                .collect();
            let m = (0..nk)
                .filter(|&j| vis(j))
                .map(|j| sc[j])
                .fold(f64::MIN, f64::max);
            let l: f64 = (0..nk).filter(|&j| vis(j)).map(|j| (sc[j] - m).exp()).sum();
            let e = (out.lse[h * nq + i] as f64 - (m + l.ln())).abs();
            worst = worst.max(e);
            for c in 0..dv {
                let x: f64 = (0..nk)
                    .filter(|&j| vis(j))
                    .map(|j| (sc[j] - m).exp() * v[(kh * nk + j) * dv + c] as f64)
                    .sum::<f64>()
                    / l;
                sq += x * x;
                cnt += 1.0;
                worst = worst.max((x - o[(h * nq + i) * dv + c] as f64).abs());
            }
        }
    }
    println!("worst {worst:e} rms {:e}", (sq / cnt as f64).sqrt());
    let buf = |data: &[f32]| {
        let b = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: data.len() as u64 * 4,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_DST
                | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        queue.write_buffer(&b, 0, bytemuck::cast_slice(data));
        b
    };
    let (qb, kb, vb, ob, lb) = (
        buf(&q),
        buf(&k),
        buf(&v),
        buf(&vec![0.0; hq * nq * dv]),
        buf(&vec![0.0; hq * nq]),
    );
    let call =
        pollster::block_on(attention.prepare(&plan, &Operands::new(&qb, &kb, &vb, &ob, &lb)))
            .unwrap();
    let mut best = f64::MAX;
    for _ in 0..6 {
        let t = std::time::Instant::now();
        let mut e = device.create_command_encoder(&Default::default());
        call.encode(&mut e);
        queue.submit([e.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        best = best.min(t.elapsed().as_secs_f64());
    }
    println!(
        "best {:.2} ms {:.1} GFLOP/s",
        best * 1e3,
        plan.flops() as f64 / best / 1e9
    );
}
