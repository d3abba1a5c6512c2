//! Biases by distance: slopes and buckets.

use super::*;

#[test]
fn slopes_of_the_paper() {
    let power = |x: f64| x.exp2() as f32;
    assert_eq!(
        alibi_slopes(8),
        (1..=8).map(|h| power(-h as f64)).collect::<Vec<_>>()
    );
    let six = [-2.0, -4.0, -6.0, -8.0, -1.0, -3.0].map(power);
    assert_eq!(alibi_slopes(6), six);
    let extra = [-0.5, -1.5, -2.5, -3.5].map(power);
    assert_eq!(alibi_slopes(12), [alibi_slopes(8), extra.to_vec()].concat());
    assert_eq!(
        (alibi_slopes(0).len(), alibi_slopes(1)),
        (0, vec![power(-8.0)])
    );
}

/// The paper's rule with a logarithm; the small term keeps exact powers on their own side.
fn bucket_by_logarithm(t5: T5, relative: i64) -> u32 {
    let (n, first) = if t5.bidirectional {
        (
            t5.buckets / 2,
            if relative > 0 { t5.buckets / 2 } else { 0 },
        )
    } else {
        (t5.buckets, 0)
    };
    let r = if t5.bidirectional {
        relative.abs()
    } else {
        (-relative).max(0)
    };
    let e = n / 2;
    if r < i64::from(e) {
        return first + r as u32;
    }
    let (r, e_, m) = (r as f64, f64::from(e), f64::from(t5.distance));
    let steps = (r / e_).ln() / (m / e_).ln() * f64::from(n - e);
    first + (n - 1).min(e + (steps + 1e-9) as u32)
}

#[test]
fn t5_thresholds_are_the_logarithms() {
    for buckets in [5, 8, 32, 33, 64] {
        for distance in [20, 100, 128, 1000] {
            for bidirectional in [false, true] {
                let t5 = T5::causal()
                    .with_buckets(buckets)
                    .with_distance(distance)
                    .with_bidirectional(bidirectional);
                let Ok(thresholds) = t5.thresholds() else {
                    assert!(distance <= t5.exact(), "{t5:?}");
                    continue;
                };
                for relative in -1200..1200 {
                    let expected = bucket_by_logarithm(t5, relative);
                    let actual = t5.bucket(relative, &thresholds);
                    assert_eq!(actual, expected, "{t5:?} at {relative}");
                }
            }
        }
    }
}

#[test]
fn t5_buckets_that_make_no_sense_are_refused() {
    let bad = [
        (1, 128, false),
        (3, 128, true),
        (32, 16, false),
        (32, 8, true),
    ];
    for (buckets, distance, bidirectional) in bad {
        let t5 = T5::causal()
            .with_buckets(buckets)
            .with_distance(distance)
            .with_bidirectional(bidirectional);
        assert!(matches!(t5.thresholds(), Err(Error::Size { .. })), "{t5:?}");
    }
    assert_eq!(T5::causal().thresholds().unwrap().len(), 15);
    assert_eq!(T5::both().thresholds().unwrap().len(), 7);
}
