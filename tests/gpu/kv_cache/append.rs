//! New rows written into caches that the caller holds.

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{KvAddress, Lengths, Offsets, Ring, Shape};
use wgpu_attention::{Call, Element, Error, KvAppend, Operands, Role};

use super::harness::encoder;
use crate::device::gpu;
use crate::run::{buffer, read};
use crate::support::tensor::{decode, encode, poisoned};

const DIM: u32 = 4;

/// One head of one sequence in f32, all numbers of row i being i.
fn append(address: KvAddress, (new, room): (u32, u32), at: i32) -> KvAppend {
    let mut shape = Shape::square(1, 1, room, DIM);
    shape.q_len = new;
    KvAppend::new(shape, address, Element::F32)
        .with_kv_lens(Lengths::Host(vec![(at + new as i32) as u32]))
        .with_q_offset(Offsets::Host(vec![at]))
}

fn numbered(rows: u32) -> wgpu::Buffer {
    let values: Vec<f64> = (0..rows * DIM).map(|n| f64::from(n / DIM)).collect();
    buffer(&gpu().device, &encode(Element::F32, &values))
}

fn prepare(append: &KvAppend, new: &wgpu::Buffer, cache: &wgpu::Buffer) -> Result<Call, Error> {
    let plan = gpu().attention.plan_append(append).expect("a plan");
    let other = buffer(&gpu().device, &vec![0; cache.size() as usize]);
    let operands = Operands::default()
        .with(Role::K, new)
        .with(Role::V, new)
        .with(Role::KCache, cache)
        .with(Role::VCache, &other);
    pollster::block_on(gpu().attention.prepare(&plan, &operands))
}

/// The first number of every row of a cache.
fn rows(cache: &wgpu::Buffer) -> Vec<f64> {
    let [bytes] = read(gpu(), [cache]);
    decode(Element::F32, &bytes)
        .into_iter()
        .step_by(DIM as usize)
        .collect()
}

fn submit(call: &Call) {
    let mut encoder = encoder(gpu());
    call.encode(&mut encoder);
    gpu().queue.submit([encoder.finish()]);
}

/// A ring shorter than the new rows keeps the first and the latest, as if they had come one by one.
#[test]
fn a_ring_keeps_the_latest_of_more_rows_than_it_has() {
    for (first, len, new) in [(2, 7, 40), (0, 5, 11), (4, 3, 9), (0, 1024, 10_000)] {
        let address = KvAddress::Ring(Ring::new(first, len));
        for at in [0, 3] {
            let cache = buffer(&gpu().device, &poisoned(u64::from((first + len) * DIM) * 4));
            let append = append(address, (new, 20_000), at);
            submit(&prepare(&append, &numbered(new), &cache).expect("an append"));
            let end = at as u32 + new;
            for (row, got) in rows(&cache).into_iter().enumerate() {
                let row = row as u32;
                // The latest token whose row it is.
                let token = match row {
                    row if row < first => row,
                    row => (0..end)
                        .rev()
                        .find(|j| *j >= first && (j - first) % len == row - first)
                        .expect("a row"),
                };
                match token.checked_sub(at as u32) {
                    Some(token) => assert_eq!(got, f64::from(token), "row {row} of {address:?}"),
                    None => assert!(got.is_nan(), "row {row} of {address:?}"),
                }
            }
        }
    }
}

/// Rows whose place later ones have by the stated length are not written at all, in whatever order invocations run.
#[test]
fn what_a_ring_has_no_room_for_is_not_written() {
    let address = KvAddress::Ring(Ring::new(1, 5));
    let cache = buffer(&gpu().device, &poisoned(u64::from(6 * DIM) * 4));
    // Of 9 tokens the ring keeps 0 and 4 to 8; new are 2, 3 and 4.
    let append = append(address, (3, 20), 2).with_kv_lens(Lengths::Host(vec![9]));
    submit(&prepare(&append, &numbered(3), &cache).expect("an append"));
    let got = rows(&cache);
    let place = 4; // of token 4: the fourth of the ring, behind the first row
    assert_eq!(got[place], 2.0);
    let others = got.iter().enumerate().filter(|(n, _)| *n != place);
    assert!(others.into_iter().all(|(_, x)| x.is_nan()), "{got:?}");
}

/// Lengths and offsets that the host holds, as of attention calls.
#[test]
fn lengths_and_offsets_are_set_anew() {
    let cache = buffer(&gpu().device, &poisoned(u64::from(9 * DIM) * 4));
    let append = append(KvAddress::Strided, (3, 9), 0);
    let mut call = prepare(&append, &numbered(3), &cache).expect("an append");
    call.set_q_offset(&[5]).expect("anywhere");
    call.set_kv_lens(&[7]).expect("room for it");
    submit(&call);
    let got = rows(&cache);
    assert_eq!(got[5..7], [0.0, 1.0]);
    assert!(got[..5].iter().chain(&got[7..]).all(|x| x.is_nan()));
    let refused = call.set_kv_lens(&[10]).unwrap_err().to_string();
    assert!(
        refused.contains("kv_lens[0] is 10; allowed is 0 to kv_len = 9"),
        "{refused}"
    );
    let refused = call.set_q_offset(&[1, 2]).unwrap_err();
    assert!(matches!(refused, Error::Count { .. }));

    // Keys that the plan's table rotates stay where it has rows.
    let rotary = Rotary::new(DIM);
    let rotated = append.clone().with_rotary(rotary.clone());
    let mut call = prepare(&rotated, &numbered(3), &cache).expect("an append");
    assert!(matches!(
        call.set_q_offset(&[5]),
        Err(Error::Element { .. })
    ));
    call.set_q_offset(&[0]).expect("the plan's");
    let rotated = rotated.with_range(0..=8);
    let mut call = prepare(&rotated, &numbered(3), &cache).expect("an append");
    call.set_q_offset(&[6]).expect("inside of the range");
    assert!(matches!(
        call.set_q_offset(&[7]),
        Err(Error::Element { .. })
    ));

    let device = append.with_kv_lens(Lengths::Device);
    let plan = gpu().attention.plan_append(&device).expect("a plan");
    let lens = buffer(&gpu().device, &[0; 4]);
    let (new, v) = (
        numbered(3),
        buffer(&gpu().device, &vec![0; cache.size() as usize]),
    );
    let operands = Operands::default()
        .with(Role::K, &new)
        .with(Role::V, &new)
        .with(Role::KCache, &cache)
        .with(Role::VCache, &v)
        .with(Role::KvLens, &lens);
    let mut call = pollster::block_on(gpu().attention.prepare(&plan, &operands)).expect("a call");
    assert_eq!(
        call.set_kv_lens(&[3]),
        Err(Error::NotHostHeld { what: "kv_lens" })
    );
}

/// A step may not read what it writes; what lies in one buffer apart from that may.
#[test]
fn new_rows_in_the_buffer_of_their_cache_are_refused() {
    let one = buffer(&gpu().device, &vec![0; 4096]);
    let append = append(KvAddress::Strided, (3, 9), 0);
    let refused = prepare(&append, &one, &one).map(|_| ()).unwrap_err();
    assert_eq!(
        refused,
        Error::SharedBuffer {
            what: "k",
            other: "k_cache"
        }
    );
    // Keys that are rotated, or values beside keys, are read before anything is written there.
    let rotated = append.clone().with_rotary(Rotary::new(DIM));
    prepare(&rotated, &one, &one).expect("k goes through scratch");
}
