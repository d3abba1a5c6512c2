//! Bindings by name: modules say `@bind var<storage, read> q: …;`, the composer numbers those that conditions leave.

use crate::error::{Error, Result};

use super::line::Line;

/// How a shader uses what is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Uniform,
    Read,
    ReadWrite,
}

/// What a shader binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub name: String,
    pub number: u32,
    pub access: Access,
}

/// Numbers the bindings from 0 on, in the order of the text.
pub(super) fn number(lines: &mut [Line]) -> Result<Vec<Bind>> {
    let mut binds: Vec<Bind> = Vec::new();
    for line in lines.iter_mut().filter(|line| !line.is_foreign()) {
        let Some(rest) = line.text.trim_start().strip_prefix("@bind ") else {
            continue;
        };
        let at = |message: &str| Error::compose(&line.module, line.number, message);
        let (access, name) = parse(rest).ok_or_else(|| at("this is no binding that is known"))?;
        if binds.iter().any(|bind| bind.name == name) {
            return Err(at("a binding of this name stands before"));
        }
        let number = binds.len() as u32;
        binds.push(Bind {
            name: name.to_string(),
            number,
            access,
        });
        line.text = format!("@group(0) @binding({number}) {rest}");
    }
    Ok(binds)
}

/// `var<space> name: type;` → (access, name)
fn parse(text: &str) -> Option<(Access, &str)> {
    let rest = text.strip_prefix("var<")?;
    let (space, rest) = rest.split_once("> ")?;
    let (name, _) = rest.split_once(':')?;
    let access = match space {
        "uniform" => Access::Uniform,
        "storage, read" => Access::Read,
        "storage, read_write" => Access::ReadWrite,
        _ => return None,
    };
    Some((access, name.trim()))
}
