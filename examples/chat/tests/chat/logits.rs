//! The library's attention against the definition on the CPU, token by token and against one full pass.

use chat::attention::Contiguous;
use chat::cache::Cache;
use chat::check::check;
use chat::generate::{PART, Writer};
use chat::model::{Model, Wanted};
use chat::plain::Plain;
use chat::sample::Sampling;

use super::tool::{gpu, open, tiny};

pub const GREEDY: Sampling = Sampling {
    temperature: 0.0,
    top_p: 1.0,
};

/// Of logits of a few units: what rounding leaves of two layers.
const TOLERANCE: f32 = 2e-4;

pub fn prompt(n: usize) -> Vec<u32> {
    (0..n).map(|i| 3 + (i * i * 7 % 256) as u32).collect()
}

pub fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The logits after each token, fed in parts of `n`.
fn in_parts(model: &Model, cache: &mut dyn Cache, text: &[u32], n: usize) -> Vec<f32> {
    let parts = text
        .chunks(n)
        .map(|part| model.forward(part, cache, Wanted::All));
    parts.collect::<Result<Vec<_>, _>>().expect("room").concat()
}

#[test]
fn any_cut_of_a_text_gives_the_logits_of_one_pass() {
    let (_, model) = open(&tiny()).expect("the tiny model");
    let text = prompt(70);
    let whole = in_parts(&model, &mut Plain::new(&model.config), &text, text.len());
    for n in [1, 3, 16, 70] {
        let mut cache = Contiguous::new(gpu(), &model.config, 80).expect("memory");
        let found = far(&in_parts(&model, &mut cache, &text, n), &whole);
        assert!(found < TOLERANCE, "parts of {n}: {found}");
        assert_eq!(cache.len(), 70);
        let found = far(
            &in_parts(&model, &mut Plain::new(&model.config), &text, n),
            &whole,
        );
        assert!(found < TOLERANCE, "the definition in parts of {n}: {found}");
    }
}

/// What was forgotten is as if it had never been read.
#[test]
fn a_truncated_cache_forgets() {
    let (_, model) = open(&tiny()).expect("the tiny model");
    let text = prompt(40);
    let mut straight = Contiguous::new(gpu(), &model.config, 64).expect("memory");
    let wanted = in_parts(&model, &mut straight, &text, 8);
    let mut cache = Contiguous::new(gpu(), &model.config, 64).expect("memory");
    in_parts(&model, &mut cache, &text[..24], 8);
    in_parts(&model, &mut cache, &prompt(9), 3);
    cache.truncate(24).expect("what is held");
    let rest = in_parts(&model, &mut cache, &text[24..], 8);
    assert_eq!(far(&rest, &wanted[24 * model.config.vocabulary..]), 0.0);
}

#[test]
fn a_pass_past_the_end_is_refused_and_changes_nothing() {
    let (_, model) = open(&tiny()).expect("the tiny model");
    let text = prompt(20);
    let mut cache = Contiguous::new(gpu(), &model.config, 20).expect("memory");
    in_parts(&model, &mut cache, &text[..18], 18);
    let refused = model.forward(&text[..3], &mut cache, Wanted::All);
    let message = refused.expect_err("18 + 3 > 20").to_string();
    assert!(message.contains("20 tokens is full"), "{message}");
    assert_eq!(cache.len(), 18);
    in_parts(&model, &mut cache, &text[18..], 2);
}

/// Greedy text with the library's attention is that of the definition, with a prompt of several parts and with drafts.
#[test]
fn greedy_text_is_that_of_the_definition() {
    let (_, model) = open(&tiny()).expect("the tiny model");
    let prompt = prompt(2 * PART + 9);
    let write = |cache: Box<dyn Cache>, drafts| {
        let mut writer = Writer::new(&model, cache, GREEDY)
            .with_drafts(drafts)
            .with_kept_logits(true);
        writer.read(&prompt, |_| ()).expect("room");
        while writer.text().len() < prompt.len() + 64 {
            let left = prompt.len() + 64 - writer.text().len();
            writer.write(left, |_| false).expect("room");
        }
        writer
    };
    let room = prompt.len() + 64;
    let ours = || Box::new(Contiguous::new(gpu(), &model.config, room).expect("memory"));
    let plain = write(Box::new(Plain::new(&model.config)), 0);
    for (writer, drafts) in [(write(ours(), 0), 0), (write(ours(), 4), 4)] {
        assert_eq!(writer.text(), plain.text(), "{drafts} drafts");
        let found = check(&model, &writer).expect("a full pass");
        assert_eq!((found.rows, found.same_likeliest), (64, 64));
        assert!(found.largest < TOLERANCE, "{found:?}");
        assert_eq!(writer.counts.written, 64);
        assert!(
            drafts == 0 || writer.counts.passes < 64,
            "{:?}",
            writer.counts
        );
    }
}
