//! The size of a head, and where in it the rotary channels lie.

use super::fields::Fields;
use crate::error::{Error, Result};

const HIDDEN: &[&str] = &["hidden_size", "n_embd", "d_model"];
const HEADS: &[&str] = &["num_attention_heads", "n_head", "n_heads"];
const HEAD: &[&str] = &["head_dim", "kv_channels"];

/// A head's channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// D
    pub dim: u32,
    /// Where the rotary channels are the last ones (multi-head latent attention): the first of them, and how many.
    pub tail: Option<(u32, u32)>,
}

/// Whether a config states any size of its own, which tells it from one that only holds a text model's.
pub fn states_sizes(top: Fields) -> bool {
    let names = HIDDEN.iter().chain(HEADS).chain(HEAD);
    names.into_iter().any(|name| top.get(name).is_some())
}

pub fn head(top: Fields) -> Result<Head> {
    match latent(top)? {
        Some((still, rotary)) => {
            let dim = still + rotary;
            check_latent(top, dim, rotary)?;
            let tail = Some((still, rotary));
            Ok(Head { dim, tail })
        }
        None => Ok(Head {
            dim: whole(top)?,
            tail: None,
        }),
    }
}

/// `qk_nope_head_dim` and `qk_rope_head_dim` (DeepSeek): a row is channels that do not rotate, then those that do.
fn latent(top: Fields) -> Result<Option<(u32, u32)>> {
    let Some(rotary) = top.size("qk_rope_head_dim")?.filter(|n| *n > 0) else {
        return Ok(None);
    };
    let meaning = "the channels of a head before those that rotate";
    let still = top.size("qk_nope_head_dim")?;
    let still = still.ok_or_else(|| top.missing("qk_nope_head_dim", meaning))?;
    // Sizes beyond any head's are refused by the rotation's own check.
    Ok(Some((still.min(1 << 30), rotary.min(1 << 30))))
}

/// Newer files say in `head_dim` how many channels rotate.
fn check_latent(top: Fields, dim: u32, rotary: u32) -> Result<()> {
    match (top.count("head_dim")?, top.get("head_dim")) {
        (Some(stated), Some(value)) if stated != dim && stated != rotary => {
            let allowed = format!(
                "qk_nope_head_dim + qk_rope_head_dim = {dim}, or qk_rope_head_dim = {rotary}"
            );
            Err(top.refuse("head_dim", value, &allowed))
        }
        _ => Ok(()),
    }
}

fn whole(top: Fields) -> Result<u32> {
    let candidates = HEAD.iter().map(|name| (top, *name));
    if let Some(dim) = super::agreed(candidates, Fields::count)? {
        return Ok(dim);
    }
    let meaning = "the head size with hidden_size / num_attention_heads, unless head_dim does";
    let part = |names: &[&'static str]| {
        let stated = super::agreed(names.iter().map(|name| (top, *name)), Fields::count)?;
        stated.ok_or_else(|| top.missing(names[0], meaning))
    };
    let (hidden, heads) = (part(HIDDEN)?, part(HEADS)?);
    if hidden.is_multiple_of(heads) {
        return Ok(hidden / heads);
    }
    let name = HIDDEN.iter().find(|name| top.get(name).is_some());
    Err(Error::ConfigField {
        field: top.name(name.unwrap_or(&HIDDEN[0])),
        actual: hidden.to_string(),
        allowed: format!("a multiple of the {heads} heads, or state head_dim"),
    })
}
