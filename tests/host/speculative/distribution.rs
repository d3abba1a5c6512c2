//! Whatever the draft, one token and two come out as the target alone would write them.

use rand::{Rng, SeedableRng, rngs::StdRng};
use wgpu_attention::speculative::Draft;

use super::chi_squared::deviations;
use super::verify;

const DRAWS: usize = 100_000;
/// A right rule passes this once in some 300 000 tests; the seeds are fixed.
const LIMIT: f64 = 4.5;

/// A model whose rows depend on the last token.
pub struct Model {
    start: Vec<f32>,
    after: Vec<Vec<f32>>,
}

impl Model {
    pub fn new(vocabulary: usize, row: impl Fn(usize) -> Vec<f32>) -> Self {
        let normalised = |seed| {
            let row = row(seed);
            let sum: f32 = row.iter().sum();
            row.into_iter().map(|p| p / sum).collect()
        };
        Self {
            start: normalised(vocabulary),
            after: (0..vocabulary).map(normalised).collect(),
        }
    }

    fn row(&self, last: Option<u32>) -> &[f32] {
        last.map_or(&self.start, |token| &self.after[token as usize])
    }

    fn pairs(&self) -> Vec<f64> {
        let sum: f64 = self.start.iter().map(|&p| f64::from(p)).sum();
        let rows = self.start.iter().zip(&self.after);
        rows.flat_map(|(&first, row)| {
            let own: f64 = row.iter().map(|&p| f64::from(p)).sum();
            row.iter()
                .map(move |&p| f64::from(first) / sum * f64::from(p) / own)
        })
        .collect()
    }
}

pub fn flat(vocabulary: usize) -> Model {
    Model::new(vocabulary, |_| vec![1.0; vocabulary])
}

/// Random rows: the larger the power, the more peaked.
pub fn peaked(vocabulary: usize, power: i32, seed: u64) -> Model {
    Model::new(vocabulary, |row| {
        let mut random = StdRng::seed_from_u64(seed * 1000 + row as u64);
        (0..vocabulary)
            .map(|_| random.random::<f32>().powi(power))
            .collect()
    })
}

/// Rows that have the tokens of one parity only.
fn half(vocabulary: usize, parity: usize) -> Model {
    Model::new(vocabulary, |row| {
        let weight = |token: usize| {
            f32::from(u8::from(token % 2 == parity)) * (1 + (token + row) % 3) as f32
        };
        (0..vocabulary).map(weight).collect()
    })
}

fn one_hot(vocabulary: usize, step: usize) -> Model {
    Model::new(vocabulary, |row| {
        (0..vocabulary)
            .map(|token| f32::from(u8::from(token == (row + step) % vocabulary)))
            .collect()
    })
}

/// Name, target, draft.
fn models() -> Vec<(&'static str, Model, Model)> {
    vec![
        ("two tokens", peaked(2, 2, 1), peaked(2, 2, 2)),
        ("draft = target", peaked(7, 3, 3), peaked(7, 3, 3)),
        ("flat by peaked", flat(5), peaked(5, 8, 4)),
        ("peaked by flat", peaked(5, 8, 5), flat(5)),
        ("disjoint", half(6, 0), half(6, 1)),
        ("half by all", half(6, 1), peaked(6, 2, 6)),
        ("all by half", peaked(6, 2, 7), half(6, 0)),
        ("one-hot draft", peaked(4, 2, 8), one_hot(4, 1)),
        ("one-hot target", one_hot(4, 2), peaked(4, 2, 9)),
        ("fifty tokens", peaked(50, 2, 10), peaked(50, 4, 11)),
        ("fifty by flat", peaked(50, 6, 12), flat(50)),
    ]
}

/// A token of `row` without `taken`, by a way of its own: None where none is left.
pub fn draw(row: &[f32], taken: &[u32], random: &mut StdRng) -> Option<u32> {
    let open = || {
        let tokens = row
            .iter()
            .enumerate()
            .map(|(token, &p)| (token as u32, f64::from(p)));
        tokens.filter(|(token, p)| *p > 0.0 && !taken.contains(token))
    };
    let sum: f64 = open().map(|(_, p)| p).sum();
    let at = random.random::<f64>() * sum;
    let mut passed = 0.0;
    let mut last = None;
    for (token, p) in open() {
        passed += p;
        last = Some(token);
        if passed > at {
            break;
        }
    }
    last
}

/// The likeliest token of `row` without `taken`.
fn best(row: &[f32], taken: &[u32]) -> Option<u32> {
    let open = (0..row.len() as u32).filter(|token| !taken.contains(token));
    open.max_by(|&a, &b| row[a as usize].total_cmp(&row[b as usize]))
}

#[derive(Clone, Copy)]
pub enum Drafting {
    Sampled,
    Likeliest,
    /// The first sibling is the likeliest token, the others are drawn.
    Mixed,
}

#[derive(Default)]
pub struct Drafted<'a> {
    pub parents: Vec<i32>,
    pub tokens: Vec<u32>,
    pub drafts: Vec<Draft<'a>>,
    pub targets: Vec<&'a [f32]>,
}

impl<'a> Drafted<'a> {
    /// Fills a shape with tokens; nodes for which no token is left, and what hangs on them, are not drafted.
    pub fn new(
        shape: &[i32],
        how: Drafting,
        target: &'a Model,
        draft: &'a Model,
        random: &mut StdRng,
    ) -> Self {
        let mut drafted = Self {
            targets: vec![target.row(None)],
            ..Self::default()
        };
        let mut places = Vec::new();
        for &parent in shape {
            let parent = if parent < 0 {
                Some(-1)
            } else {
                places[parent as usize]
            };
            places.push(parent.and_then(|parent| drafted.grow(parent, how, target, draft, random)));
        }
        drafted
    }

    fn grow(
        &mut self,
        parent: i32,
        how: Drafting,
        target: &'a Model,
        draft: &'a Model,
        random: &mut StdRng,
    ) -> Option<i32> {
        let nodes = 0..self.tokens.len();
        let siblings: Vec<u32> = nodes
            .filter(|&i| self.parents[i] == parent)
            .map(|i| self.tokens[i])
            .collect();
        let row = draft.row((parent >= 0).then(|| self.tokens[parent as usize]));
        let drawn = match how {
            Drafting::Sampled => true,
            Drafting::Likeliest => false,
            Drafting::Mixed => !siblings.is_empty(),
        };
        let (token, from) = if drawn {
            (draw(row, &siblings, random)?, Draft::Row(row))
        } else {
            (best(row, &siblings)?, Draft::Deterministic)
        };
        self.parents.push(parent);
        self.tokens.push(token);
        self.drafts.push(from);
        self.targets.push(target.row(Some(token)));
        Some(self.tokens.len() as i32 - 1)
    }
}

/// What verifies drafts: the nodes that are kept and the next token.
pub type Rule = fn(&Drafted, &mut StdRng) -> (Vec<usize>, u32);

fn library(drafted: &Drafted, random: &mut StdRng) -> (Vec<usize>, u32) {
    let Drafted {
        parents,
        tokens,
        drafts,
        targets,
    } = drafted;
    let accepted = verify(parents, tokens, drafts, targets, || random.random());
    (accepted.nodes, accepted.next)
}

/// How far the first token and the first two are from the target's, in standard deviations of χ².
pub fn measured(
    rule: Rule,
    shape: &[i32],
    how: Drafting,
    target: &Model,
    draft: &Model,
    seed: u64,
) -> [f64; 2] {
    let vocabulary = target.start.len();
    let mut random = StdRng::seed_from_u64(seed);
    let mut singles = vec![0; vocabulary];
    let mut pairs = vec![0; vocabulary * vocabulary];
    for _ in 0..DRAWS {
        let drafted = Drafted::new(shape, how, target, draft, &mut random);
        let (nodes, next) = rule(&drafted, &mut random);
        let mut text: Vec<u32> = nodes.iter().map(|&node| drafted.tokens[node]).collect();
        text.push(next);
        if text.len() < 2 {
            text.push(draw(target.row(Some(next)), &[], &mut random).unwrap());
        }
        singles[text[0] as usize] += 1;
        pairs[text[0] as usize * vocabulary + text[1] as usize] += 1;
    }
    let probabilities = target.pairs();
    let first: Vec<f64> = probabilities
        .chunks(vocabulary)
        .map(|row| row.iter().sum())
        .collect();
    [
        deviations(&singles, &first),
        deviations(&pairs, &probabilities),
    ]
}

fn assert_the_targets(shape: &[i32], how: Drafting) {
    for (index, (name, target, draft)) in models().into_iter().enumerate() {
        let far = measured(library, shape, how, &target, &draft, 100 + index as u64);
        assert!(
            far.iter().all(|&far| far < LIMIT),
            "{name}, {shape:?}: first token and first two are {far:.1?} deviations off"
        );
    }
}

pub const TREE: [i32; 8] = [-1, -1, 0, 0, -1, 1, 1, 4];

#[test]
fn a_draft_changes_no_distribution() {
    assert_the_targets(&[-1], Drafting::Sampled);
}

#[test]
fn a_chain_changes_no_distribution() {
    assert_the_targets(&[-1, 0, 1], Drafting::Sampled);
}

#[test]
fn a_deterministic_chain_changes_no_distribution() {
    assert_the_targets(&[-1, 0], Drafting::Likeliest);
}

#[test]
fn siblings_change_no_distribution() {
    assert_the_targets(&[-1, -1, -1], Drafting::Sampled);
}

#[test]
fn a_tree_changes_no_distribution() {
    assert_the_targets(&TREE, Drafting::Sampled);
}

#[test]
fn a_deterministic_tree_changes_no_distribution() {
    assert_the_targets(&TREE, Drafting::Likeliest);
}

#[test]
fn drawn_siblings_beside_a_deterministic_one_change_no_distribution() {
    assert_the_targets(&TREE, Drafting::Mixed);
}

/// A rule that kept nothing would change no distribution either.
#[test]
fn drafts_are_kept_as_often_as_they_can_be() {
    let (target, draft) = (peaked(6, 2, 20), peaked(6, 2, 21));
    let kept = |shape: &[i32], how| {
        let mut random = StdRng::seed_from_u64(22);
        let draws = (0..DRAWS).filter(|_| {
            let drafted = Drafted::new(shape, how, &target, &draft, &mut random);
            !library(&drafted, &mut random).0.is_empty()
        });
        draws.count() as f64 / DRAWS as f64
    };
    let both = target.start.iter().zip(&draft.start);
    let overlap: f64 = both.map(|(&q, &p)| f64::from(q.min(p))).sum();
    assert_near(kept(&[-1], Drafting::Sampled), overlap);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(best(&draft.start, &tokens).unwrap());
    }
    let covered: f64 = tokens
        .iter()
        .map(|&token| f64::from(target.start[token as usize]))
        .sum();
    assert_near(kept(&[-1, -1, -1], Drafting::Likeliest), covered);
    assert!(kept(&[-1, -1, -1], Drafting::Sampled) > overlap + 0.02);
}

#[track_caller]
fn assert_near(share: f64, want: f64) {
    let deviation = (want * (1.0 - want) / DRAWS as f64).sqrt();
    assert!(
        (share - want).abs() < LIMIT * deviation,
        "{share} is not {want}"
    );
}
