//! Absolute position schemes: a table's rows written to embeddings, or added onto them, by position.

use crate::caps::Caps;
use crate::error::Result;
use crate::kernel::{Pack, PackRows, Params};
use crate::plan::builder::PlanBuilder;
use crate::plan::{Plan, PlanOptions};
use crate::problem::{Element, Layout, Operand, Positions, Role, tokens};
use crate::task::{Embedding, Task};

use super::pack::pack_words;

pub(in crate::plan) fn plan(
    embedding: &Embedding,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Plan> {
    embedding.validate()?;
    let mut builder = PlanBuilder::new(caps, options);
    if embedding.batch > 0 && embedding.len > 0 {
        let (dim, rows) = (embedding.dim, embedding.rows);
        let table = Operand::new(Element::F32, Layout::heads_first(1, rows, dim));
        let from = builder.input(Role::Table, &table, [1, 1, rows], dim)?;
        let to = builder.output(
            Role::Embeddings,
            &embedding.embeddings,
            embedding.sizes(),
            dim,
        )?;
        let mut params = Params::default().with(|p| {
            p.sizes.batch = embedding.batch;
            p.sizes.q_heads = 1;
            p.sizes.q_len = embedding.len;
            p.range.q_end = embedding.len;
            p.packing.table_start = embedding.start;
            p.packing.table_rows = rows;
        });
        params.positions.q_at = match &embedding.positions {
            Positions::Index => Ok(0),
            Positions::Host(p) => builder.push_aux(p.iter().map(|&p| p as u32)),
            Positions::Device => {
                builder.copy_aux(Role::QPositions, tokens(embedding.batch, embedding.len))
            }
        }?;
        let positions = embedding.positions != Positions::Index;
        let rows = PackRows::Table {
            add: embedding.add,
            positions,
        };
        let key = Pack {
            output: embedding.embeddings.element,
            rows,
        };
        pack_words(
            &mut builder,
            (&params, dim),
            key,
            from.whole().binding,
            &to.whole(),
        )?;
    }
    Ok(builder.finish(Task::Embedding(Box::new(embedding.clone()))))
}
