//! Trees of drafts: their words, what they show, how they come of a draft tree, and what is refused.

use wgpu_attention::problem::{Lengths, Mask, Offsets, Tree};
use wgpu_attention::reference::{Tensors, visible};
use wgpu_attention::speculative::{DraftTree, MAX_TREE};
use wgpu_attention::{Caps, Element, Plan, Problem, Role, Shape};

const PARENTS: [i32; 5] = [-1, 0, 0, 1, -1];

fn problem(batch: u32, q_len: u32, kv_len: u32, mask: Mask) -> Problem {
    let shape = Shape {
        q_len,
        kv_len,
        ..Shape::square(batch, 2, 1, 8)
    };
    let mut problem = Problem::new(shape, Element::F32);
    problem.mask = mask;
    problem
}

/// A row of the first batch for each query, an `x` for each key that it sees: the same of parents and of words.
fn drawn(kv_len: u32, mask: Mask) -> Vec<String> {
    let words = Tree::words(5, &PARENTS).expect("a tree");
    let draw = |tree| {
        let p = problem(1, 5, kv_len, mask.clone().with_tree(tree));
        p.validate().expect("a sound problem");
        let tensors = Tensors::new(&[], &[], &[]).with_tree(&words[..]);
        let sees = |i, j| {
            if visible(&p, &tensors, 0, 0, i, j) {
                'x'
            } else {
                '.'
            }
        };
        let row = |i| (0..kv_len).map(|j| sees(i, j)).collect();
        (0..5).map(row).collect::<Vec<String>>()
    };
    let rows = draw(Tree::Host(PARENTS.to_vec()));
    assert_eq!(draw(Tree::Device), rows);
    rows
}

#[test]
fn a_query_sees_the_text_its_ancestors_and_itself() {
    let want = ["xxx....", "xxxx...", "xxx.x..", "xxxx.x.", "xx....x"];
    assert_eq!(drawn(7, Mask::default()), want);
    assert_eq!(drawn(7, Mask::causal()), want);
    // No prefix shows what a tree hides.
    assert_eq!(drawn(7, Mask::causal().with_prefix(7)), want);
    assert_eq!(
        drawn(7, Mask::window(1, 0).with_first(1)),
        ["xxx....", "x.xx...", "x...x..", "x....x.", "x.....x"]
    );
}

/// In a cache with room for more, and where the first queries stand before all keys.
#[test]
fn the_drafts_are_where_the_queries_stand() {
    let at = |offset| Mask::default().with_q_offset(Offsets::Host(vec![offset]));
    let want = ["xx......", "xxx.....", "xx.x....", "xxx.x...", "x....x.."];
    assert_eq!(drawn(8, at(1)), want);
    let lens = Lengths::Host(vec![4]);
    let want = ["xx......", "xxx.....", "xx.x....", "xxx.....", "x......."];
    assert_eq!(drawn(8, at(1).with_kv_lens(lens)), want);
    let want = [".......", ".......", "x......", ".x.....", "..x...."];
    assert_eq!(drawn(7, at(-2)), want);
}

#[test]
fn bit_n_is_query_n() {
    let words = Tree::words(5, &[PARENTS, [-1, 0, 1, 2, 3]].concat()).expect("trees");
    let low: Vec<u32> = words.iter().step_by(4).copied().collect();
    assert_eq!(low, [1, 3, 5, 11, 16, 1, 3, 7, 15, 31]);
    let chain: Vec<i32> = (-1..127).collect();
    let words = Tree::words(128, &chain).expect("128 queries");
    let all = u32::MAX;
    let of = |query: usize| &words[4 * query..4 * query + 4];
    assert_eq!(
        [of(31), of(32), of(64), of(127)],
        [[all, 0, 0, 0], [all, 1, 0, 0], [all, all, 1, 0], [all; 4]]
    );
    assert!(Tree::words(0, &[]).expect("nothing").is_empty());
}

#[test]
fn a_draft_tree_is_verified_with_its_root() {
    let parents = [-1, -1, 0, 2];
    let tree = DraftTree::new(&parents, &[4, 1, 2, 2]).expect("a tree");
    assert_eq!(tree.mask(), Tree::Host(vec![-1, 0, 0, 1, 3]));
    assert_eq!(tree.positions(9), [9, 10, 10, 11, 12]);
    let longest: Vec<i32> = (-1..MAX_TREE as i32 - 1).collect();
    let tokens = vec![0; MAX_TREE];
    let tree = DraftTree::new(&longest, &tokens).expect("as many nodes as may be");
    let p = problem(
        1,
        MAX_TREE as u32 + 1,
        200,
        Mask::default().with_tree(tree.mask()),
    );
    p.validate()
        .expect("with the root as many queries as may be");
}

#[test]
fn what_is_refused() {
    let refused = |batch, q_len, parents: &[i32], want: &str| {
        let tree = Tree::Host(parents.to_vec());
        let p = problem(batch, q_len, 200, Mask::default().with_tree(tree));
        let errors = [p.validate().err(), Tree::words(q_len, parents).err()];
        let errors = errors.map(|error| error.map(|error| error.to_string()));
        assert!(
            errors.iter().flatten().any(|error| error == want),
            "{errors:?}"
        );
        assert!(errors[0].is_some(), "{errors:?}");
    };
    let order = "a query before it: order parents before children";
    let wrong = |at, parent: i32, allowed: &str| {
        let mut parents = [PARENTS, PARENTS].concat();
        parents[at] = parent;
        let want = format!("tree[{at}] is {parent}; allowed is {allowed}");
        refused(2, 5, &parents, &want);
    };
    wrong(3, 3, &format!("-1 or 0 to 2, {order}"));
    wrong(8, 4, &format!("-1 or 0 to 2, {order}"));
    wrong(9, -2, &format!("-1 or 0 to 3, {order}"));
    wrong(5, 0, "-1, for no query stands before it");
    refused(2, 5, &PARENTS, "tree has 5 values; it needs 10");
    refused(1, 4, &PARENTS, "tree has 5 values; it needs 8");
    let most = "q_len beneath a tree is 129; allowed is at most 128; verify smaller trees, or a chain by a causal mask";
    refused(1, 129, &[-1; 129], most);
    let device = problem(1, 129, 200, Mask::default().with_tree(Tree::Device));
    assert_eq!(device.validate().expect_err("too many").to_string(), most);
}

/// Words of the device's are an operand; tiles are those of a causal mask.
#[test]
fn what_a_plan_makes_of_it() {
    let plan = |mask| {
        let p = problem(2, 40, 300, mask);
        Plan::attention(&p, &Caps::BASELINE, &Default::default()).expect("a plan")
    };
    let device = plan(Mask::default().with_tree(Tree::Device));
    let needs = device.requirements().iter();
    let tree: Vec<_> = needs.filter(|need| need.role == Role::Tree).collect();
    assert_eq!(
        tree.iter().map(|need| need.bytes).collect::<Vec<_>>(),
        [2 * 40 * 16]
    );
    let host = plan(Mask::default().with_tree(Tree::Host(vec![-1; 80])));
    assert!(
        host.requirements()
            .iter()
            .all(|need| need.role != Role::Tree)
    );
    let causal = plan(Mask::causal());
    for plan in [device, host] {
        assert_eq!(plan.cost().visited, causal.cost().visited, "{plan}");
        assert!(plan.to_string().contains("the tree is asked"), "{plan}");
    }
}
