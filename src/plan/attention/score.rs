//! The parts of a score as a step sees them: which need code, and where their numbers lie.

use crate::error::Result;
use crate::kernel::{NOTHING, Params, ScoreKey};
use crate::plan::Declined;
use crate::plan::builder::PlanBuilder;
use crate::plan::tiles::TileChoice;
use crate::plan::view::View;
use crate::problem::{Element, ModData, Positions, Problem, Role, T5Bias, Tokens};

/// The score of a forward or backward kernel.
pub(in crate::plan) struct ScorePlan {
    /// Of a kernel whose lanes own keys.
    pub key: ScoreKey,
    /// The dense bias.
    pub bias: Option<View>,
}

/// Lays out everything that a score reads beside q and k. `rotates` says that positions matter to a fused rotation.
pub(in crate::plan) fn plan(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
    rotates: bool,
) -> Result<ScorePlan> {
    let (score, shape, position) = (&problem.score, &problem.shape, &problem.position);
    let temperature = position
        .rotary
        .as_ref()
        .and_then(|rotary| rotary.temperature);
    let heads = u64::from(shape.q_heads);
    let mut bias = None;
    if let Some(operand) = score.bias_operand() {
        let sizes = [shape.batch, shape.q_heads, shape.q_len];
        let view = builder.input(Role::Bias, &operand, sizes, shape.kv_len)?;
        params.bias = view.whole().rows;
        bias = Some(view);
    }
    if let Some(slopes) = &score.slopes {
        let words = u64::from(score.slope_batches(shape)) * heads;
        params.score.slopes_at = builder.push_values(Role::Slopes, slopes, words)?;
        params.score.slopes_batch = match score.slopes_per_batch {
            true => shape.q_heads,
            false => 0,
        };
    }
    if let Some(t5) = &score.t5 {
        push_t5(builder, t5, params, heads)?;
    }
    if let Some(temperature) = temperature {
        params.score.temperature_scale = temperature.scale as f32;
        params.score.temperature_floor = temperature.floor;
        params.score.temperature_offset = temperature.offset;
    }
    if let Some(mods) = &problem.mods {
        params.mods.at = push_mods(builder, &mods.data)?;
    }
    let looks = score.uses_positions();
    push_positions(
        builder,
        problem,
        params,
        looks || temperature.is_some(),
        looks,
    )?;
    let given = |positions: &Positions, looks: bool| looks && *positions != Positions::Index;
    let key = ScoreKey {
        softcap: score.softcap.is_some(),
        bias: bias.is_some(),
        bias_element: score.bias_element,
        bias_pairs: false,
        bias_first: score.bias_before_softcap,
        alibi: score.slopes.is_some(),
        t5: score.t5.is_some(),
        q_positions: given(
            &position.q_positions,
            looks || rotates || temperature.is_some(),
        ),
        k_positions: given(&position.k_positions, looks || rotates),
        within_cache: position.within_cache,
        temperature: temperature.is_some(),
        mask_mod: problem
            .mods
            .as_ref()
            .is_some_and(|mods| mods.text.has_mask()),
        score_mod: problem
            .mods
            .as_ref()
            .is_some_and(|mods| mods.text.has_score()),
    };
    Ok(ScorePlan { key, bias })
}

impl ScorePlan {
    /// The key of a kernel whose lanes own rows of the bias: they load it in pairs where the tiles have words of 64 bits
    /// and the bias is f32 and made of whole ones.
    pub fn key_of_rows(&self, tiles: &TileChoice) -> ScoreKey {
        ScoreKey {
            bias_pairs: self.bias_bytes(tiles).is_some() && self.no_pairs(tiles).is_none(),
            ..self.key
        }
    }

    /// Says so where a bias is loaded number by number that could have been in pairs.
    pub fn decline_pairs(&self, tiles: &TileChoice, builder: &mut PlanBuilder<'_>) {
        if let Some(reason) = self.no_pairs(tiles) {
            builder.decline(Declined {
                path: "a bias in pairs",
                reason: format!("a load of 64 bits takes two numbers, and the bias {reason}"),
            });
        }
    }

    /// Why a bias that could be loaded in pairs is not.
    fn no_pairs(&self, tiles: &TileChoice) -> Option<String> {
        let bytes = self.bias_bytes(tiles)?;
        match self.key.bias_element {
            Element::F32 if bytes.is_multiple_of(8) => None,
            Element::F32 => Some("has an odd number of them".into()),
            element => Some(format!("is {element}, of which a word holds two")),
        }
    }

    /// Of the bias, where there is one and the tiles load pairs.
    fn bias_bytes(&self, tiles: &TileChoice) -> Option<u64> {
        // Whose lanes lie across channels has one key at a time.
        let pairs = tiles.vec8 && tiles.strategy.owns_keys() && tiles.tiling.keys.is_multiple_of(2);
        let bytes = self.bias.filter(|_| pairs)?.bytes();
        (bytes > 0).then_some(bytes)
    }
}

/// Sinks join where all keys are together: in a call over all of them, else in the merge.
pub(in crate::plan) fn push_sinks(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<()> {
    let whole = problem.slice().k == (0..problem.shape.kv_len);
    params.sinks.at = match &problem.score.sinks {
        Some(sinks) if whole => {
            builder.push_values(Role::Sinks, sinks, problem.shape.q_heads.into())?
        }
        Some(_) => {
            builder.note("the call covers a part of the keys: sinks are left to the merge".into());
            NOTHING
        }
        None => NOTHING,
    };
    Ok(())
}

/// The count of the user's numbers and the numbers; 0 stands for none.
pub(in crate::plan) fn push_mods(builder: &mut PlanBuilder<'_>, data: &ModData) -> Result<u32> {
    let len = match data {
        ModData::Host(numbers) => numbers.len() as u64,
        ModData::Device { len } => u64::from(*len),
    };
    builder.check_binding("mod_data", len * 4)?;
    let at = builder.push_aux([len.max(1) as u32])?;
    match data {
        ModData::Host(numbers) if !numbers.is_empty() => {
            builder.push_aux(numbers.iter().map(|x| x.to_bits()))?;
        }
        ModData::Device { len } if *len > 0 => {
            builder.copy_aux(Role::ModData, (*len).into())?;
        }
        _ => {
            builder.push_aux([0])?;
        }
    }
    Ok(at)
}

fn push_t5(
    builder: &mut PlanBuilder<'_>,
    t5: &T5Bias,
    params: &mut Params,
    heads: u64,
) -> Result<()> {
    let (thresholds, m) = (t5.buckets.thresholds()?, i64::from(t5.buckets.distance));
    let numbers = u64::from(t5.buckets.buckets).saturating_mul(heads);
    params.score.t5_at = builder.push_values(Role::T5, &t5.table, numbers)?;
    params.score.t5_distance = t5.buckets.distance;
    params.score.t5_buckets_at =
        builder.push_aux((-m..=m).map(|r| t5.buckets.bucket(r, &thresholds)))?;
    Ok(())
}

/// Positions that are given a token, where the score or a temperature looks at them.
fn push_positions(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
    queries: bool,
    keys: bool,
) -> Result<()> {
    let position = &problem.position;
    let mut push = |role, positions: &Positions, side: Tokens<'_>| match positions {
        Positions::Index => Ok(0),
        Positions::Host(p) => builder.push_aux(p.iter().map(|&p| p as u32)),
        Positions::Device => builder.copy_aux(role, side.count()),
    };
    if queries {
        params.positions.q_at = push(Role::QPositions, &position.q_positions, problem.queries())?;
    }
    if keys {
        params.positions.k_at = push(Role::KPositions, &position.k_positions, problem.keys())?;
    }
    Ok(())
}
