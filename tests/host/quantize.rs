//! Rows with scales on the host: the error that is promised, what is no finite number, and bad input.

mod outliers;

use wgpu_attention::quantize::{dequantize, quantize};
use wgpu_attention::{Backward, Caps, Element, Error, Plan, PlanOptions, Problem, Shape};

use super::support::tensor::normal;

const DIMS: [u32; 9] = [1, 3, 4, 17, 31, 32, 33, 80, 256];

fn through(element: Element, rows: &[f32], dim: u32) -> Vec<f32> {
    let words = quantize(element, rows, dim).expect("whole rows");
    let row = element.row_elements(dim) / element.per_word() as u32;
    assert_eq!(words.len(), rows.len() / dim as usize * row as usize);
    dequantize(element, &words, dim).expect("whole rows")
}

/// Channels that share a scale.
fn scaled_together(element: Element, row: &[f32]) -> std::slice::Chunks<'_, f32> {
    row.chunks(match element {
        Element::Int4 => 32,
        _ => row.len(),
    })
}

/// What the module's documentation promises of a number among `together`.
fn allowed(element: Element, together: &[f32]) -> f64 {
    let fold = |start: f64, pick: fn(f64, f64) -> f64| {
        together.iter().fold(start, |a, &x| pick(a, x.into()))
    };
    let (least, most) = (fold(f64::MAX, f64::min), fold(f64::MIN, f64::max));
    let largest = least.abs().max(most.abs());
    let rounded = largest * 2f64.powi(-22);
    rounded
        + match element {
            Element::Int4 => {
                let range = most - least;
                range / 30.0 + 2f64.powi(-11) * (least.abs() + range)
            }
            _ => largest / 254.0,
        }
}

#[test]
fn the_error_is_as_promised() {
    for element in Element::QUANTIZED {
        for (n, dim) in DIMS.into_iter().enumerate() {
            for amplitude in [1e-3, 1.0, 3e3] {
                let values = normal(n as u64, 40 * dim as usize);
                // Rows about 0, and rows that are far from it.
                let shifted = values.iter().enumerate();
                let rows = shifted.map(|(n, x)| (amplitude * (x + (n % 3) as f64)) as f32);
                let rows: Vec<f32> = rows.collect();
                let got = through(element, &rows, dim);
                let (rows, got) = (rows.chunks(dim as usize), got.chunks(dim as usize));
                for (row, got) in rows.zip(got) {
                    let groups = scaled_together(element, row);
                    for (together, got) in groups.zip(scaled_together(element, got)) {
                        let allowed = allowed(element, together);
                        for (x, y) in together.iter().zip(got) {
                            let error = (f64::from(*x) - f64::from(*y)).abs();
                            assert!(
                                error <= allowed,
                                "{element}, {dim}: {x} became {y}, {allowed:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// The format, number by number: a test of the layout that shares nothing with the code.
#[test]
fn words_are_laid_out_as_documented() {
    let words = quantize(Element::Int8, &[127.0, -127.0, 1.0, -2.0, 3.0], 5).expect("a row");
    assert_eq!(words, [1f32.to_bits(), 0xfe01_817f, 0x0000_0003]);
    // From −7 in steps of 1: f16 has both.
    let row: Vec<f32> = (0..33).map(|n| (n % 16) as f32 - 7.0).collect();
    let words = quantize(Element::Int4, &row, 33).expect("a row");
    let (low, high) = (0x7654_3210, 0xfedc_ba98);
    assert_eq!(words[..5], [0xc700_3c00, low, high, low, high]);
    // A group of one number has no step.
    assert_eq!(words[5..], [0xc700_0000, 0, 0, 0, 0]);
}

#[test]
fn rows_of_zeros_and_of_next_to_nothing() {
    for element in Element::QUANTIZED {
        assert_eq!(through(element, &[0.0; 40], 40), [0.0; 40]);
        for tiny in [f32::MIN_POSITIVE, 1e-40, 1e-12] {
            let row = [tiny, -tiny, 0.0, tiny / 2.0];
            for (x, y) in row.iter().zip(through(element, &row, 4)) {
                assert!((x - y).abs() <= 2f32.powi(-20), "{element}: {x} became {y}");
            }
        }
    }
    // Of int8 to half a scale, as long as the scale is a normal number.
    let got = through(Element::Int8, &[1e-30, -1e-31], 2);
    assert!((got[1] + 1e-31).abs() < 1e-30 / 250.0);
}

/// A number that is lost is seen to be: in its row, or in its group; not in the next.
#[test]
fn what_is_no_finite_number_makes_its_row_nan() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for element in Element::QUANTIZED {
            let mut rows = [1.0_f32; 80];
            rows[45] = bad;
            let got = through(element, &rows, 40);
            assert_eq!(got[..40], [1.0; 40], "{element}");
            let nonfinite = match element {
                Element::Int4 => 40..72,
                _ => 40..80,
            };
            for (n, x) in got.iter().enumerate().skip(40) {
                assert_eq!(
                    x.is_nan(),
                    nonfinite.contains(&n),
                    "{element} {bad} {n}: {x}"
                );
            }
        }
    }
    let far = through(Element::Int4, &[7e4, 0.0], 2);
    assert!(far[0].is_nan() && far[1].is_nan());
    assert_eq!(through(Element::Int4, &[65504.0, 65504.0], 2)[0], 65504.0);
    let most = through(Element::Int8, &[f32::MAX, 0.0], 2);
    assert!((most[0] / f32::MAX - 1.0).abs() < 1e-6 && most[1] == 0.0);
}

#[test]
fn bad_input_is_an_error() {
    let float = quantize(Element::F16, &[1.0], 1);
    assert!(matches!(
        float,
        Err(Error::NotQuantized {
            element: Element::F16
        })
    ));
    for (rows, dim) in [(7, 4), (4, 0)] {
        let part = quantize(Element::Int8, &vec![0.0; rows], dim);
        assert!(
            matches!(part, Err(Error::Rows { what: "rows", .. })),
            "{part:?}"
        );
    }
    let part = dequantize(Element::Int4, &[0; 7], 8);
    let words = Error::Rows {
        what: "words",
        len: 7,
        row: 5,
    };
    assert_eq!(part.expect_err("no row").to_string(), words.to_string());
}

fn problem() -> Problem {
    Problem::new(Shape::square(1, 2, 8, 40), Element::F16)
}

fn plan(problem: &Problem) -> Result<Plan, Error> {
    Plan::attention(problem, &Caps::BASELINE, &PlanOptions::default())
}

#[test]
fn only_keys_and_values_have_scales() {
    for element in Element::QUANTIZED {
        assert!(plan(&problem().with_kv_elements(element, Element::F32)).is_ok());
        type Change = fn(&mut Problem, Element);
        let changes: [(&str, Change); 3] = [
            ("q", |p, x| p.q.element = x),
            ("o", |p, x| p.o.element = x),
            ("bias", |p, x| p.score.bias_element = x),
        ];
        for (name, change) in changes {
            let mut problem = problem();
            problem.score.bias = Some(wgpu_attention::Layout::heads_first(2, 8, 8));
            change(&mut problem, element);
            let error = plan(&problem).expect_err("no kernel").to_string();
            let wanted = Error::Quantized {
                what: name,
                element,
            };
            assert_eq!(error, wanted.to_string());
        }
    }
}

#[test]
fn gradients_take_one_float_type() {
    let plan = |p: Problem| {
        let request = Backward::new(p, Element::F32);
        Plan::backward(&request, &Caps::BASELINE, &PlanOptions::default())
    };
    assert!(plan(problem()).is_ok());
    for (k, v) in [
        (Element::Int8, Element::F16),
        (Element::F16, Element::Int4),
        (Element::F32, Element::F16),
    ] {
        let error = plan(problem().with_kv_elements(k, v));
        assert!(matches!(error, Err(Error::Mixed { .. })), "{error:?}");
    }
    let mut request = Backward::new(problem(), Element::F32);
    request.dk.element = Element::Int8;
    let error = Plan::backward(&request, &Caps::BASELINE, &PlanOptions::default());
    assert!(matches!(error, Err(Error::Quantized { what: "dk", .. })));
}

#[test]
fn rows_begin_at_whole_words() {
    let good = problem().with_kv_elements(Element::Int4, Element::Int8);
    assert_eq!(good.k.layout.row, 80);
    assert_eq!(good.v.layout.row, 44);
    // Two heads of eight rows of 10 and of 11 words.
    assert_eq!(good.k.bytes([1, 2, 8], 40), 640);
    assert_eq!(good.v.bytes([1, 2, 8], 40), 704);
    let layouts: [fn(&mut Problem); 4] = [
        |p| p.k.layout.offset += 4,
        |p| p.k.layout.row += 4,
        |p| p.v.layout.head += 2,
        |p| p.v.layout.batch += 1,
    ];
    for change in layouts {
        let mut problem = good.clone();
        change(&mut problem);
        let error = plan(&problem).expect_err("part of a word");
        assert!(matches!(error, Error::WholeWords { .. }), "{error}");
    }
}
