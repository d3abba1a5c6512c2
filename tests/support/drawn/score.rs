//! What joins the product q·k.

use wgpu_attention::problem::{Element, Layout, T5, T5Bias, Values, alibi_slopes};

use super::Draw;
use crate::support::cases::Case;

pub fn draw(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let score = &mut case.problem.score;
    score.softcap = draw.one_in(4).then(|| draw.pick(&[0.7, 3.0, 10.0, 50.0]));
    if draw.one_in(4) {
        score.bias = Some(bias(draw, &shape));
        score.bias_element = draw.pick(&Element::ALL);
        score.bias_before_softcap = score.softcap.is_some() && draw.one_in(2);
    }
    let values = |draw: &mut Draw, given: Vec<f32>| match draw.one_in(2) {
        true => (Values::Host(given), None),
        false => (Values::Device, Some(given)),
    };
    match draw.size(0, 5) {
        0 => {
            let mut given = alibi_slopes(shape.q_heads);
            score.slopes_per_batch = draw.one_in(3);
            if score.slopes_per_batch {
                let of =
                    |n: u32| given[(n % shape.q_heads) as usize] / (1 + n / shape.q_heads) as f32;
                given = (0..shape.batch * shape.q_heads).map(of).collect();
            }
            let (slopes, device) = values(draw, given);
            score.slopes = Some(slopes);
            case.values.slopes = device;
        }
        1 => {
            let buckets = t5(draw);
            let numbers = 0..buckets.buckets * shape.q_heads;
            let given = numbers.map(|n| (0.9 * n as f32).sin()).collect();
            let (table, device) = values(draw, given);
            score.t5 = Some(T5Bias::new(buckets, table));
            case.values.t5 = device;
        }
        _ => {}
    }
    if draw.one_in(4) {
        let given = (0..shape.q_heads).map(|_| draw.number(-3.0, 3.0) as f32);
        let given = given.collect();
        let (sinks, device) = values(draw, given);
        score.sinks = Some(sinks);
        case.values.sinks = device;
    }
}

/// Strides of a dense bias, broadcast or not.
fn bias(draw: &mut Draw, shape: &wgpu_attention::Shape) -> Layout {
    let mut layout = Layout::heads_first(shape.q_heads, shape.q_len, shape.kv_len);
    if draw.one_in(3) {
        layout.head = 0;
        layout.batch = u64::from(shape.q_len) * u64::from(shape.kv_len);
    }
    if draw.one_in(3) {
        layout.batch = 0;
    }
    if draw.one_in(4) {
        // A value for each key.
        layout.row = 0;
        layout.head = if layout.head == 0 {
            0
        } else {
            shape.kv_len.into()
        };
        let heads = if layout.head == 0 { 1 } else { shape.q_heads };
        layout.batch = if layout.batch == 0 {
            0
        } else {
            u64::from(heads) * u64::from(shape.kv_len)
        };
    }
    if draw.one_in(4) {
        layout.offset = draw.size(0, 9).into();
    }
    layout
}

fn t5(draw: &mut Draw) -> T5 {
    let mut t5 = T5::causal();
    if draw.one_in(2) {
        t5.buckets = draw.pick(&[8, 16, 32]);
        t5.distance = draw.pick(&[20, 64, 128]);
        t5.bidirectional = draw.one_in(2);
    }
    t5
}
