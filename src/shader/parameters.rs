//! The uniform that holds a step's parameters: of all groups those that a shader's text reads (`params.work.begin`).

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::error::{Error, Result};

use super::line::Line;

/// One group of parameters as shaders see it.
#[derive(Debug)]
pub struct Group {
    /// Its name in `params`.
    pub name: &'static str,
    /// What the WGSL structure is called, without `Params` behind it.
    pub kind: &'static str,
    /// Names and WGSL types, of four bytes each.
    pub fields: &'static [(&'static str, &'static str)],
}

/// Bytes that a structure in uniform memory begins at a multiple of.
pub const GROUP_ALIGNMENT: usize = 16;

/// The groups that the lines read, in the order of `all`.
pub(super) fn read_by(lines: &[Line], all: &'static [Group]) -> Result<Vec<&'static Group>> {
    let mut names = BTreeSet::new();
    for line in lines.iter().filter(|line| !line.is_foreign()) {
        for name in members_of_params(code(&line.text)) {
            if !all.iter().any(|group| group.name == name) {
                let message = format!("reads params.{name}, which is no group of parameters");
                return Err(Error::compose(&line.module, line.number, message));
            }
            names.insert(name.to_string());
        }
    }
    Ok(all
        .iter()
        .filter(|group| names.contains(group.name))
        .collect())
}

/// The structures of these groups, and those that the lines name, and `Params`.
pub(super) fn declaration(
    groups: &[&'static Group],
    lines: &[Line],
    all: &'static [Group],
) -> Vec<String> {
    let mut out = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    let named = all.iter().filter(|group| {
        let structure = format!("{}Params", group.kind);
        lines
            .iter()
            .any(|line| code(&line.text).contains(&structure))
    });
    for group in groups.iter().copied().chain(named) {
        if known.contains(&group.kind) {
            continue;
        }
        known.push(group.kind);
        let mut line = format!("struct {}Params {{", group.kind);
        for (name, ty) in group.fields {
            // Writing to a string cannot fail.
            let _ = write!(line, " {name}: {ty},");
        }
        out.push(line + " }");
    }
    if !groups.is_empty() {
        let member = |group: &&Group| {
            format!(
                "    @align({GROUP_ALIGNMENT}) {}: {}Params,",
                group.name, group.kind
            )
        };
        out.push("struct Params {".into());
        out.extend(groups.iter().map(member));
        out.push("}".into());
    }
    out
}

fn code(text: &str) -> &str {
    text.split("//").next().unwrap_or("")
}

/// The x of each `params.x`.
fn members_of_params(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("params.").filter_map(|(at, word)| {
        let before = text[..at].chars().next_back();
        let is_part = before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let rest = &text[at + word.len()..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        (!is_part).then_some(&rest[..end])
    })
}
