//! The library's attention against the definition on the CPU, token by token and against one full pass.

use chat::attention::{Library, Storage};
use chat::cache::Cache;
use chat::check::check;
use chat::generate::{PART, Writer};
use chat::model::{Model, Wanted};
use chat::plain::{Plain, Stream};
use chat::sample::Sampling;
use wgpu_attention::Element;

use super::tool::{gpu, open, tiny};

const GREEDY: Sampling = Sampling {
    temperature: 0.0,
    top_p: 1.0,
};

/// Of logits of a few tens: what rounding leaves of two layers.
const TOLERANCE: f32 = 2e-4;

fn model() -> Model {
    open(&tiny()).expect("the tiny model").1
}

fn prompt(n: usize) -> Vec<u32> {
    (0..n).map(|i| 3 + (i * i * 7 % 256) as u32).collect()
}

fn library(model: &Model, storage: Storage, passes: &[usize]) -> Library<'static> {
    Library::new(gpu(), &model.config, storage, passes).expect("memory")
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The logits after each token, fed in parts of `n`.
fn in_parts(model: &Model, cache: &mut dyn Cache, text: &[u32], n: usize) -> Vec<f32> {
    let parts = text.chunks(n);
    let parts = parts.map(|part| model.forward(part, cache, Wanted::All));
    parts.collect::<Result<Vec<_>, _>>().expect("room").concat()
}

#[test]
fn any_cut_of_a_text_gives_the_logits_of_one_pass() {
    let model = model();
    let text = prompt(70);
    let whole = in_parts(&model, &mut Plain::new(&model.config), &text, text.len());
    let plain = in_parts(&model, &mut Plain::new(&model.config), &text, 3);
    assert!(far(&plain, &whole) < TOLERANCE, "{}", far(&plain, &whole));
    for (name, storage) in [
        ("contiguous", Storage::contiguous(80)),
        ("pages of 16", Storage::paged(80, 16)),
        ("pages of 1", Storage::paged(80, 1)),
    ] {
        for n in [1, 3, 16, 70] {
            let mut cache = library(&model, storage, &[1, 5, 16, 70]);
            let found = far(&in_parts(&model, &mut cache, &text, n), &whole);
            assert!(found < TOLERANCE, "{name}, parts of {n}: {found}");
            assert_eq!(cache.len(), 70);
        }
    }
}

/// Few bits round keys and values, 4 more than 8, and take less memory, whatever the address.
#[test]
fn fewer_bits_are_near() {
    let model = model();
    let text = prompt(60);
    let whole = in_parts(&model, &mut Plain::new(&model.config), &text, 60);
    let stream = Stream {
        first: 2,
        window: 40,
    };
    let mut plain = Plain::new(&model.config).with_stream(Some(stream));
    let streamed = in_parts(&model, &mut plain, &text, 5);
    for (storage, wanted) in [
        (Storage::contiguous(64), &whole),
        (Storage::paged(64, 16), &whole),
        (Storage::stream(2, 40), &streamed),
    ] {
        let of = |element| {
            let mut cache = library(&model, storage.with_element(element), &[5]);
            let logits = in_parts(&model, &mut cache, &text, 5);
            (rms(&logits, wanted), cache.bytes())
        };
        let [exact, int8, int4] = [Element::F32, Element::Int8, Element::Int4].map(of);
        println!("{storage:?}: {exact:?} {int8:?} {int4:?}");
        assert!(exact.0 < 1e-4 && 1e-4 < int8.0 && int8.0 < int4.0 && int4.0 < 1.0);
        assert!(exact.1 > 2 * int8.1 && int8.1 > int4.1);
    }
}

/// Of the differences.
fn rms(a: &[f32], b: &[f32]) -> f32 {
    let squares: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (squares / a.len() as f32).sqrt()
}

/// A ring of the first tokens and a window is the definition of just these, long after it is full, and never grows.
#[test]
fn a_stream_is_the_definition_of_what_it_keeps() {
    let model = model();
    let text = prompt(300);
    let (first, window) = (3, 24);
    let stream = Some(Stream { first, window });
    for n in [1, 3, 8] {
        let mut plain = Plain::new(&model.config).with_stream(stream);
        let wanted = in_parts(&model, &mut plain, &text, n);
        let storage = Storage::stream(first as u32, window as u32);
        let mut cache = library(&model, storage, &[1, 3, 8]);
        let bytes = cache.bytes();
        let found = far(&in_parts(&model, &mut cache, &text, n), &wanted);
        assert!(found < TOLERANCE, "parts of {n}: {found}");
        assert_eq!((cache.bytes(), cache.capacity()), (bytes, None));
        let whole = in_parts(&model, &mut Plain::new(&model.config), &text, 300);
        assert!(far(&wanted, &whole) > 0.1, "the stream hides nothing");
    }
}

/// What was forgotten is as if it had never been read.
#[test]
fn a_truncated_cache_forgets() {
    let model = model();
    let text = prompt(40);
    for storage in [
        Storage::contiguous(64),
        Storage::paged(64, 8),
        Storage::stream(2, 16),
    ] {
        let mut straight = library(&model, storage, &[8]);
        let wanted = in_parts(&model, &mut straight, &text, 8);
        let mut cache = library(&model, storage, &[8]);
        in_parts(&model, &mut cache, &text[..24], 8);
        in_parts(&model, &mut cache, &prompt(6), 6);
        cache.truncate(24).expect("what is held");
        let rest = in_parts(&model, &mut cache, &text[24..], 8);
        let found = far(&rest, &wanted[24 * model.config.vocabulary..]);
        assert_eq!(found, 0.0, "{storage:?}");
    }
}

#[test]
fn a_pass_past_the_end_is_refused_and_changes_nothing() {
    let model = model();
    let text = prompt(20);
    let mut cache = library(&model, Storage::contiguous(20), &[3, 18]);
    let whole = in_parts(&model, &mut Plain::new(&model.config), &text, 20);
    in_parts(&model, &mut cache, &text[..18], 18);
    for (n, words) in [(3, "20 tokens is full"), (19, "at most 18")] {
        let refused = model.forward(&text[..n], &mut cache, Wanted::All);
        let message = refused.expect_err("18 + 3 > 20").to_string();
        assert!(message.contains(words), "{message}");
        assert_eq!(cache.len(), 18);
    }
    let rest = in_parts(&model, &mut cache, &text[18..], 2);
    assert!(far(&rest, &whole[18 * model.config.vocabulary..]) < TOLERANCE);
}

/// Greedy text with the library's attention is that of the definition, with a prompt of several parts and with drafts.
#[test]
fn greedy_text_is_that_of_the_definition() {
    let model = model();
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
    let plain = write(Box::new(Plain::new(&model.config)), 0);
    for storage in [Storage::contiguous(room), Storage::paged(room, 64)] {
        for drafts in [0, 4] {
            let cache = library(&model, storage, &[1, 1 + drafts, PART]);
            let writer = write(Box::new(cache), drafts);
            assert_eq!(writer.text(), plain.text(), "{drafts} drafts");
            let found = check(&model, &writer).expect("a full pass");
            assert_eq!((found.rows, found.same_likeliest), (64, 64));
            assert!(found.largest < TOLERANCE, "{found:?}");
            let counts = writer.counts;
            assert_eq!(counts.written, 64);
            assert!(drafts == 0 || counts.passes < 64, "{counts:?}");
        }
    }
}
