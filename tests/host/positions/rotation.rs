//! What a rotation by a table must keep, for every kind.

use super::*;

#[test]
fn large_positions_are_exact_for_every_kind() {
    for p in [0, 4095, 131_071, 1_000_003, -1_000_003] {
        for (name, rotary) in rotaries(p - 700) {
            let table = Table::new(&rotary, p..=p, LENGTH).unwrap();
            let x = vector(DIM, 1);
            for side in [Side::Query, Side::Key] {
                let y = rotate_f32(&rotary, &x, table.row(p, side).unwrap(), false);
                let error = relative_error(&y, &rotate_f64(&rotary, &x, p, side));
                assert!(error <= 2e-7, "{name} at {p}, {side:?}: {error}");
            }
        }
    }
}

#[test]
fn there_and_back_is_the_identity_times_the_factor_squared() {
    for (name, rotary) in rotaries(0).into_iter().filter(|(_, r)| r.xpos.is_none()) {
        let table = Table::new(&rotary, -777..=777, LENGTH).unwrap();
        let x = vector(DIM, 2);
        let there = rotate_f32(&rotary, &x, table.row(777, Side::Query).unwrap(), false);
        let by_negative = rotate_f32(
            &rotary,
            &there,
            table.row(-777, Side::Query).unwrap(),
            false,
        );
        let by_transpose = rotate_f32(&rotary, &there, table.row(777, Side::Query).unwrap(), true);
        let m2 = rotary.attention_factor().powi(2);
        let expected: Vec<f64> = x.iter().map(|&x| m2 * f64::from(x)).collect();
        for back in [by_negative, by_transpose] {
            let error = relative_error(&back, &expected);
            assert!(error <= 4e-7, "{name}: {error}");
        }
    }
}

#[test]
fn scores_depend_on_differences_only() {
    let exact = |(_, r): &(String, Rotary)| r.precision == Precision::Exact;
    for (name, rotary) in rotaries(500).into_iter().filter(exact) {
        let table = Table::new(&rotary, 0..=1000, LENGTH).unwrap();
        let (q, k) = (vector(DIM, 3), vector(DIM, 4));
        let score = |p: i32, distance: i32| {
            let q = rotate_f32(&rotary, &q, table.row(p, Side::Query).unwrap(), false);
            let k = rotate_f32(
                &rotary,
                &k,
                table.row(p - distance, Side::Key).unwrap(),
                false,
            );
            dot(&q, &k)
        };
        for distance in [0, 1, 37, 400] {
            let spread = (score(distance, distance) - score(1000, distance)).abs();
            assert!(spread <= 1e-4, "{name} at distance {distance}: {spread}");
        }
    }
}

#[test]
fn dynamic_ntk_is_plain_up_to_the_original_length() {
    let (factor, original) = (8.0, 2048);
    let dynamic = Rotary::new(DIM).with_kind(RopeKind::DynamicNtk { factor, original });
    let plain = Rotary::new(DIM).inv_freq(1).unwrap();
    for length in [1, original] {
        assert_eq!(dynamic.inv_freq(length).unwrap(), plain);
    }
    assert_ne!(dynamic.inv_freq(original + 1).unwrap(), plain);
    assert!(dynamic.depends_on_length());
}

/// Llama 4's equal factors: no passage between kept and interpolated pairs.
#[test]
fn llama3_with_equal_factors_is_a_step() {
    let llama4 = Llama3::new(16.0, 8192).with_high_freq_factor(1.0);
    let plain = Rotary::new(128).with_base(5e5);
    for precision in [Precision::Exact, Precision::AsTrained] {
        let plain = plain.clone().with_precision(precision);
        let stepped = plain.clone().with_kind(RopeKind::Llama3(llama4));
        let (plain, stepped) = (plain.inv_freq(1).unwrap(), stepped.inv_freq(1).unwrap());
        assert!((stepped[34] / 9.38e-4 - 1.0).abs() < 1e-3);
        for i in 0..64 {
            let divisor = if i < 35 { 1.0 } else { 16.0 };
            assert!((plain[i] / stepped[i] / divisor - 1.0).abs() < 1e-6, "{i}");
        }
    }
}

#[test]
fn ntk_keeps_the_fastest_pair_and_interpolates_the_slowest() {
    let plain = Rotary::new(DIM).inv_freq(1).unwrap();
    let ntk = Rotary::new(DIM).with_kind(RopeKind::NtkAware { factor: 4.0 });
    let ntk = ntk.inv_freq(1).unwrap();
    assert_eq!(ntk[0], plain[0]);
    assert!((ntk[31] * 4.0 / plain[31] - 1.0).abs() < 1e-12);
}

#[test]
fn partial_rotary_leaves_the_other_channels() {
    let rotary = Rotary::new(96).with_fraction(0.25).unwrap();
    assert_eq!((rotary.dim, rotary.pairs()), (24, 12));
    let table = Table::new(&rotary, 5..=5, 6).unwrap();
    let x = vector(96, 5);
    let y = rotate_f32(&rotary, &x, table.row(5, Side::Query).unwrap(), false);
    assert_eq!(x[24..], y[24..]);
    assert_ne!(x[..24], y[..24]);
}

#[test]
fn xpos_fades_with_distance_whatever_the_centre() {
    let score = |centre, distance: i32| {
        let rotary = Rotary::new(2).with_xpos(XPos::new(centre));
        let table = Table::new(&rotary, 0..=1024, 1024).unwrap();
        let [qc, qs] = table.row(1024, Side::Query).unwrap()[0];
        let [kc, ks] = table.row(1024 - distance, Side::Key).unwrap()[0];
        qc * kc + qs * ks
    };
    for (distance, zeta) in [(0, 1.0), (512, 0.4 / 1.4), (1024, (0.4f32 / 1.4).powi(2))] {
        let expected = zeta * (distance as f32).cos();
        for centre in [0, 300] {
            assert!((score(centre, distance) - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn temperature_steps_with_the_position() {
    let llama4 = Temperature::new(0.1, 8192).with_offset(1);
    let at = |p| llama4.at(p);
    assert_eq!([at(-9000), at(0), at(8190)], [1.0; 3]);
    assert_eq!(at(8191), 1.0 + 0.1 * 2f64.ln());
    assert_eq!(llama4.table(8190..=8191).unwrap(), [1.0, at(8191) as f32]);
}
