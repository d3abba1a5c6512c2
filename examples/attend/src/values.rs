//! How the values of options are read. What cannot be one is told in words of the option, not of a parser.

use wgpu_attention::Shape;
use wgpu_attention::problem::Window;

/// `L,R`
pub fn window(text: &str) -> Result<Window, String> {
    let wanted =
        "give L,R: the keys before a query's own and after it, a number from 0 or inf each";
    let (left, right) = text.split_once(',').ok_or(wanted)?;
    Ok(Window {
        left: reach(left)?,
        right: reach(right)?,
    })
}

fn reach(text: &str) -> Result<Option<u32>, String> {
    match text.trim() {
        "inf" => Ok(None),
        "-1" => Err("a side of -1 is not one; give inf where it has no end".into()),
        number => number.parse().map(Some).map_err(|_| {
            format!("a side of {number:?} is not one; give a whole number from 0, or inf")
        }),
    }
}

/// `B,Hq,Hkv,Nq,Nk,D[,Dv]`
pub fn shape(text: &str) -> Result<Shape, String> {
    let sizes = text.split(',').map(|x| count(x.trim()));
    let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
    let (&[batch, q_heads, kv_heads, q_len, kv_len, head_dim], value_dim) = sizes
        .split_first_chunk::<6>()
        .ok_or("give six or seven sizes")?;
    let value_dim = match *value_dim {
        [] => head_dim,
        [value_dim] => value_dim,
        _ => return Err("give six or seven sizes".into()),
    };
    Ok(Shape {
        batch,
        q_heads,
        kv_heads,
        q_len,
        kv_len,
        head_dim,
        value_dim,
    })
}

pub fn count(text: &str) -> Result<u32, String> {
    let most = u32::MAX;
    let wanted = || format!("{text:?} is not one; give a whole number from 0 to {most}");
    text.parse().map_err(|_| wanted())
}

pub fn positive(text: &str) -> Result<u32, String> {
    let most = u32::MAX;
    let found = text.parse().ok().filter(|n| *n > 0);
    found.ok_or_else(|| format!("{text:?} is not one; give a whole number from 1 to {most}"))
}

pub fn number(text: &str) -> Result<f32, String> {
    let wanted = || format!("{text:?} is not one; give a number such as 0.125 or 1e-3");
    text.parse().map_err(|_| wanted())
}

pub fn seed(text: &str) -> Result<u64, String> {
    let wanted = || format!("{text:?} is not one; give a whole number from 0");
    text.parse().map_err(|_| wanted())
}

pub fn runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(runs) if runs > 0 => Ok(runs),
        _ => Err("give a number of runs, 1 or more".into()),
    }
}
