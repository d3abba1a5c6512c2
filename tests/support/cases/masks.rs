//! Masks, alone and combined.

use wgpu_attention::problem::{Lengths, MAX_LEN, Mask, Offsets, Prefix, Window};

use super::{Case, Setting, Sizes};

pub fn cases(setting: &Setting) -> Vec<Case> {
    [
        causal(setting),
        windows(setting),
        lengths(setting),
        offsets(setting),
        combined(setting),
    ]
    .concat()
}

fn masked(name: &str, setting: &Setting, sizes: Sizes, mask: Mask) -> Case {
    Case::new(name, setting, sizes).with(|p| p.mask = mask)
}

fn causal(setting: &Setting) -> Vec<Case> {
    let case = |name, q, k, mask| masked(name, setting, Sizes::two(2, 1, q, k), mask);
    let prefix = |prefix: u32| Mask::causal().with_prefix(prefix);
    let on_device = Mask::causal().with_prefix(Prefix::Device);
    let mut device = case("prefixes on the device", 40, 45, on_device);
    device.values.prefix = Some(vec![u32::MAX, 17]);
    let per_batch = Mask::causal().with_prefix(Prefix::Host(vec![23, 0]));
    vec![
        device,
        case("a prefix per batch", 50, 40, per_batch),
        case("causal", 40, 40, Mask::causal()),
        case("causal, more keys", 21, 67, Mask::causal()),
        case("causal, fully masked rows", 67, 21, Mask::causal()),
        case("causal with prefix", 45, 45, prefix(11)),
        case(
            "causal with prefix, no fully masked rows",
            50,
            21,
            prefix(3),
        ),
        case("prefix beyond the keys", 20, 30, prefix(99)),
        case(
            "prefix without causal",
            20,
            30,
            Mask::default().with_prefix(7),
        ),
    ]
}

fn windows(setting: &Setting) -> Vec<Case> {
    let case = |name, q, k, mask| masked(name, setting, Sizes::two(2, 2, q, k), mask);
    let sided = |left, right| Mask::default().with_window(Window { left, right });
    let first = |first, mask: Mask| mask.with_first(first);
    vec![
        case("window 5,3", 50, 50, Mask::window(5, 3)),
        case("window 0,0", 33, 33, Mask::window(0, 0)),
        case("window 17,0", 30, 66, Mask::window(17, 0)),
        case("window inf,2", 40, 40, sided(None, Some(2))),
        case("window 4,inf", 40, 40, sided(Some(4), None)),
        case("window inf,inf", 20, 40, sided(None, None)),
        case(
            "window beyond 32 bits",
            20,
            40,
            Mask::window(u32::MAX, u32::MAX),
        ),
        case("window, fully masked rows", 60, 20, Mask::window(3, 3)),
        case("window with first", 65, 65, first(4, Mask::window(6, 0))),
        case(
            "window with first, no fully masked rows",
            60,
            20,
            first(2, Mask::window(3, 3)),
        ),
        case(
            "first beyond the keys",
            20,
            20,
            first(99, Mask::window(1, 1)),
        ),
        case("first without a window", 20, 20, first(5, Mask::causal())),
    ]
}

fn lengths(setting: &Setting) -> Vec<Case> {
    let case = |name, lens, mask| {
        masked(name, setting, Sizes::two(2, 1, 23, 64), mask).with(|p| p.mask.kv_lens = lens)
    };
    let host = |a, b| Lengths::Host(vec![a, b]);
    let mut device = case("lengths on the device", Lengths::Device, Mask::causal());
    device.kv_lens = Some(vec![50, u32::MAX]);
    vec![
        case("lengths 1, 64", host(1, 64), Mask::default()),
        case("lengths 0, 33", host(0, 33), Mask::default()),
        case("lengths 41, 32, causal", host(41, 32), Mask::causal()),
        case("lengths 60, 45, window", host(60, 45), Mask::window(8, 2)),
        device,
    ]
}

fn offsets(setting: &Setting) -> Vec<Case> {
    let case = |name, offsets, mask| {
        masked(name, setting, Sizes::two(2, 1, 35, 50), mask).with(|p| p.mask.q_offset = offsets)
    };
    let host = |a, b| Offsets::Host(vec![a, b]);
    let limit = MAX_LEN as i32;
    let mut device = case("offsets on the device", Offsets::Device, Mask::causal());
    device.q_offset = Some(vec![-7, i32::MAX]);
    vec![
        case("offsets 0, 15, causal", host(0, 15), Mask::causal()),
        case("offsets -20, -35, causal", host(-20, -35), Mask::causal()),
        case("offsets beyond, causal", host(50, 1000), Mask::causal()),
        case("offsets beyond, window", host(40, 60), Mask::window(12, 1)),
        case("offsets -9, 3, window", host(-9, 3), Mask::window(4, 6)),
        case(
            "largest offsets, window",
            host(-limit, limit),
            Mask::window(u32::MAX, 3),
        ),
        device,
    ]
}

fn combined(setting: &Setting) -> Vec<Case> {
    let everything = Mask::window(10, 2)
        .with_causal(true)
        .with_prefix(Prefix::Host(vec![6, 2]))
        .with_first(3)
        .with_kv_lens(Lengths::Host(vec![52, 9]))
        .with_q_offset(Offsets::Host(vec![11, -4]));
    let bottom_right = everything.clone().with_q_offset(Offsets::BottomRight);
    let device = everything
        .clone()
        .with_prefix(Prefix::Device)
        .with_kv_lens(Lengths::Device)
        .with_q_offset(Offsets::Device);
    let case = |name, mask| masked(name, setting, Sizes::two(4, 2, 43, 58), mask);
    let mut on_device = case("everything on the device", device);
    on_device.values.prefix = Some(vec![9, 4]);
    on_device.kv_lens = Some(vec![0, 44]);
    on_device.q_offset = Some(vec![i32::MIN, 5]);
    vec![
        case("everything", everything),
        case("everything, bottom-right", bottom_right),
        on_device,
    ]
}
