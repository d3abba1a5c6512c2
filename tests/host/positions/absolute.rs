//! Tables added to embeddings.

use wgpu_attention::error::Error;
use wgpu_attention::problem::position::absolute;

#[test]
fn sinusoidal_is_the_formula() {
    let table = absolute::sinusoidal(50, 8).unwrap();
    let angle = 49.0 * 10_000f64.powf(-4.0 / 8.0);
    assert_eq!(table.len(), 400);
    assert_eq!(
        table[49 * 8 + 4..][..2],
        [angle.sin() as f32, angle.cos() as f32]
    );
}

#[test]
fn scaling_squeezes_positions_into_the_trained_ones() {
    let trained = absolute::sinusoidal(50, 8).unwrap();
    let scaled = absolute::sinusoidal_scaled(100, 8, 50).unwrap();
    for p in 0..50 {
        assert_eq!(scaled[2 * p * 8..][..8], trained[p * 8..][..8]);
    }
    assert_eq!(absolute::sinusoidal_scaled(50, 8, 60).unwrap(), trained);
}

#[test]
fn interpolation_keeps_the_ends_and_lines() {
    let learned: Vec<f32> = (0..10)
        .flat_map(|p| [p as f32, 1.0 - 2.0 * p as f32])
        .collect();
    assert_eq!(absolute::interpolate(&learned, 2, 10).unwrap(), learned);
    let long = absolute::interpolate(&learned, 2, 37).unwrap();
    for (p, row) in long.chunks(2).enumerate() {
        assert!((row[0] - p as f32 * 0.25).abs() < 1e-6);
        assert!((row[1] - (1.0 - p as f32 * 0.5)).abs() < 1e-5);
    }
    assert_eq!(absolute::interpolate(&learned, 2, 1).unwrap(), learned[..2]);
}

#[test]
fn bad_tables_and_positions_are_refused() {
    assert!(matches!(
        absolute::sinusoidal(4, 7),
        Err(Error::Size { .. })
    ));
    assert!(matches!(
        absolute::sinusoidal_scaled(4, 8, 0),
        Err(Error::Size { .. })
    ));
    assert!(matches!(
        absolute::interpolate(&[1.0; 7], 2, 4),
        Err(Error::Size { .. })
    ));
    assert!(matches!(
        absolute::interpolate(&[], 2, 4),
        Err(Error::Size { .. })
    ));
    assert_eq!(absolute::check_positions("positions", &[0, 9], 10), Ok(()));
    for p in [-1, 10] {
        let error = absolute::check_positions("positions", &[0, p], 10).unwrap_err();
        assert!(matches!(error, Error::Element { index: 1, .. }), "{error}");
    }
}
