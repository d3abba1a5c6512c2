//! The problem of a shared prefix, whose rows are the sequences.

use crate::plan::view::View;
use crate::problem::{Element, KvAddress, Layout, Mask, Operand, Problem, Shape};

use crate::plan::source::Source;

use super::part;

/// Where the queries of a sequence go, once sequences are the rows: they are heads of the same KV head, so that a tile
/// packs them with others, or where their distances do not allow that, batches.
#[derive(Clone, Copy)]
pub(super) struct Queries {
    count: u32,
    first: u32,
    are_heads: bool,
}

impl Queries {
    pub fn of(problem: &Problem) -> Self {
        let (q, layout) = (problem.slice().q, problem.q.layout);
        let count = q.end - q.start;
        let even = layout.head == u64::from(count) * layout.row || problem.shape.q_heads == 1;
        Self {
            count,
            first: q.start,
            are_heads: count == 1 || even || is_rotated(problem),
        }
    }

    /// Batches and heads of the prefix's problem.
    fn batches_and_heads(self, heads: u32) -> [u32; 2] {
        match self.are_heads {
            true => [1, heads * self.count],
            false => [self.count, heads],
        }
    }

    /// `layout` from its row `first` on, for that problem.
    fn layout(self, layout: Layout, first: u32) -> Layout {
        let head = match self.are_heads && self.count > 1 {
            true => layout.row,
            false => layout.head,
        };
        Layout {
            offset: layout.offset + u64::from(first) * layout.row,
            batch: if self.are_heads { 0 } else { layout.row },
            head,
            row: layout.batch,
        }
    }

    pub fn operand(self, operand: Operand) -> Operand {
        Operand {
            layout: self.layout(operand.layout, 0),
            ..operand
        }
    }

    /// Rows of queries, of all sequences.
    pub fn view(self, view: View) -> View {
        let ([sequences, heads, _], [_, _, first]) = view.there();
        let [batches, heads] = self.batches_and_heads(heads);
        let layout = self.layout(view.layout(), self.first - first);
        view.laid_out(layout, [batches, heads, sequences])
    }

    pub fn source(self, q: Source) -> Source {
        Source {
            operand: self.operand(q.operand),
            view: self.view(q.view),
            ..q
        }
    }
}

/// The kernels read q from scratch, where it lies without gaps.
fn is_rotated(problem: &Problem) -> bool {
    problem.position.rotation().is_some() || problem.k_hadamard
}

/// The prefix, which all of the sequences' queries see.
pub(super) fn prefix_of(problem: &Problem) -> Problem {
    let (whole, slice, queries) = (&problem.shape, problem.slice(), Queries::of(problem));
    let [batch, q_heads] = queries.batches_and_heads(whole.q_heads);
    let shape = Shape {
        batch,
        q_heads,
        q_len: whole.batch,
        kv_len: problem.shared_prefix,
        ..*whole
    };
    let (rows, dim) = (shape.q_len, shape.value_dim);
    let mut prefix = Problem {
        shape,
        o: Operand::heads_first(Element::F32, q_heads, rows, dim),
        lse: Layout::heads_first(q_heads, rows, 1),
        mask: Mask::default(),
        slice: None,
        ..part(problem, slice)
    };
    prefix.score.sinks = None;
    prefix.q = match is_rotated(problem) {
        true => {
            let (heads, dim) = (whole.q_heads, whole.head_dim);
            queries.operand(Operand::heads_first(
                Element::F32,
                heads,
                queries.count,
                dim,
            ))
        }
        false => Operand {
            layout: queries.layout(problem.q.layout, queries.first),
            ..problem.q
        },
    };
    prefix.k.layout = of_first(prefix.k.layout, problem.kv_address);
    prefix.v.layout = of_first(prefix.v.layout, problem.kv_address);
    prefix
}

/// Rows of the first sequence for all. In a pool they lie where the first row of the page table says.
fn of_first(layout: Layout, address: KvAddress) -> Layout {
    match address {
        KvAddress::Paged(_) => layout,
        KvAddress::Strided | KvAddress::Ring(_) => Layout { batch: 0, ..layout },
    }
}

/// k or v of the first sequence.
pub(super) fn first_keys(problem: &Problem, keys: Source) -> Source {
    let layout = of_first(keys.operand.layout, problem.kv_address);
    let ([sequences, heads, rows], _) = keys.view.there();
    let sizes = match problem.kv_address {
        KvAddress::Paged(_) => [sequences, heads, rows],
        KvAddress::Strided | KvAddress::Ring(_) => [1, heads, rows],
    };
    Source {
        operand: Operand {
            layout,
            ..keys.operand
        },
        view: keys.view.laid_out(layout, sizes),
        ..keys
    }
}
