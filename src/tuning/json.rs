//! A tuning as JSON text, and back.

use serde_json::{Map, Value, json};

use crate::caps::AdapterId;
use crate::error::{Error, Result};
use crate::kernel::Tiling;
use crate::problem::Element;

use super::{Class, KernelFamily, MaskClass, Row, TunedTiles, Tuning};

/// What the text calls itself.
const FORMAT: &str = "wgpu-attention tuning";
/// Raised where older texts would be misread.
const VERSION: u64 = 1;
/// Rows of a text, at most: a model has a few classes.
const MOST_ROWS: usize = 4096;
/// Of widths, tiles and workgroups: no device has more.
const MOST: u64 = 1 << 16;
/// Channels of a row.
const MOST_DIM: u64 = 576;

pub(super) fn write(tuning: &Tuning) -> String {
    let id = &tuning.adapter;
    let rows: Vec<Value> = tuning.rows.iter().map(row).collect();
    let value = json!({
        "format": FORMAT,
        "version": VERSION,
        "library": tuning.library,
        "adapter": {
            "name": id.name,
            "backend": id.backend,
            "driver": id.driver,
            "driver_info": id.driver_info,
        },
        "rows": rows,
    });
    format!("{value:#}\n")
}

fn row(row: &Row) -> Value {
    let Row {
        class,
        tiles,
        table_ns,
        tuned_ns,
    } = row;
    let [q, k, v] = class.elements.map(|element| element.to_string());
    let tiling = &tiles.tiling;
    json!({
        "kernel": class.kernel.to_string(),
        "q": q,
        "k": k,
        "v": v,
        "head_dim": class.head_dim,
        "value_dim": class.value_dim,
        "rows": class.rows,
        "small": class.small,
        "mask": class.mask.to_string(),
        "bias": class.bias,
        "width": tiles.width,
        "key_loop": tiles.key_loop,
        "invocations": tiling.invocations,
        "lanes_per_row": tiling.lanes_per_row,
        "rows_per_invocation": tiling.rows,
        "keys": tiling.keys,
        "tile": tiling.tile,
        "busy": tiles.busy,
        "table_ns": table_ns,
        "tuned_ns": tuned_ns,
    })
}

pub(super) fn read(text: &str) -> Result<Tuning> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| refuse("text", error, "JSON, as Tuning::to_json writes it"))?;
    let whole = Object::of(&value, "")?;
    let format = whole.text("format")?;
    if format != FORMAT {
        return Err(whole.refuse("format", &format!("{FORMAT:?}")));
    }
    if whole.number("version", 0..=u64::MAX)? != VERSION {
        return Err(whole.refuse("version", &VERSION.to_string()));
    }
    let id = Object::of(whole.get("adapter")?, "adapter.")?;
    let adapter = AdapterId {
        name: id.text("name")?.into(),
        backend: id.text("backend")?.into(),
        driver: id.text("driver")?.into(),
        driver_info: id.text("driver_info")?.into(),
    };
    let mut tuning = Tuning {
        adapter,
        library: whole.text("library")?.into(),
        rows: Vec::new(),
    };
    let allowed = format!("a list of at most {MOST_ROWS} rows");
    let rows = whole.get("rows")?.as_array();
    let rows = rows.filter(|rows| rows.len() <= MOST_ROWS);
    for (n, value) in rows
        .ok_or_else(|| whole.refuse("rows", &allowed))?
        .iter()
        .enumerate()
    {
        let row = read_row(&Object::of(value, &format!("rows[{n}]."))?)?;
        if tuning.get(&row.class).is_some() {
            let allowed = "one row for each class of problems";
            return Err(refuse(&format!("rows[{n}]"), row.class, allowed));
        }
        tuning.rows.push(row);
    }
    Ok(tuning)
}

fn read_row(row: &Object<'_>) -> Result<Row> {
    let element = |name| {
        let all = Element::ALL.into_iter().chain(Element::QUANTIZED);
        row.one_of(name, all)
    };
    let class = Class {
        kernel: row.one_of("kernel", KernelFamily::ALL.into_iter())?,
        elements: [element("q")?, element("k")?, element("v")?],
        head_dim: row.small("head_dim", MOST_DIM)?,
        value_dim: row.small("value_dim", MOST_DIM)?,
        rows: row.small("rows", Class::MOST_ROWS.into())?,
        small: row.flag("small")?,
        mask: row.one_of("mask", MaskClass::ALL.into_iter())?,
        bias: row.flag("bias")?,
    };
    let tiles = TunedTiles {
        width: row.optional("width")?,
        key_loop: row.flag("key_loop")?,
        tiling: Tiling {
            invocations: row.small("invocations", MOST)?,
            lanes_per_row: row.small("lanes_per_row", MOST)?,
            rows: row.small("rows_per_invocation", MOST)?,
            keys: row.small("keys", MOST)?,
            tile: row.small("tile", MOST)?,
        },
        busy: row.optional("busy")?,
    };
    if tiles.key_loop && !tiles.strategy().uses_subgroups() {
        let allowed = "false where width is null: only lanes of subgroups loop over keys";
        return Err(row.refuse("key_loop", allowed));
    }
    Ok(Row {
        class,
        tiles,
        table_ns: row.number("table_ns", 0..=u64::MAX)?,
        tuned_ns: row.number("tuned_ns", 0..=u64::MAX)?,
    })
}

fn refuse(field: &str, actual: impl ToString, allowed: &str) -> Error {
    Error::Tuning {
        field: field.into(),
        actual: actual.to_string(),
        allowed: allowed.into(),
    }
}

/// An object of the text; `path` is its name with a point behind, empty for the whole.
struct Object<'a> {
    path: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    fn of(value: &'a Value, path: &str) -> Result<Self> {
        match value.as_object() {
            Some(fields) => Ok(Self {
                path: path.into(),
                fields,
            }),
            None => {
                let name = path.trim_end_matches('.');
                let name = if name.is_empty() { "text" } else { name };
                Err(refuse(name, shortened(value), "an object"))
            }
        }
    }

    fn get(&self, name: &str) -> Result<&'a Value> {
        let field = format!("{}{name}", self.path);
        let value = self.fields.get(name);
        value.ok_or_else(|| refuse(&field, "missing", "what Tuning::to_json writes there"))
    }

    fn refuse(&self, name: &str, allowed: &str) -> Error {
        let actual = self.fields.get(name).map_or("missing".into(), shortened);
        refuse(&format!("{}{name}", self.path), actual, allowed)
    }

    fn text(&self, name: &str) -> Result<&'a str> {
        let text = self.get(name)?.as_str();
        text.ok_or_else(|| self.refuse(name, "a string"))
    }

    fn flag(&self, name: &str) -> Result<bool> {
        let flag = self.get(name)?.as_bool();
        flag.ok_or_else(|| self.refuse(name, "true or false"))
    }

    fn number(&self, name: &str, allowed: std::ops::RangeInclusive<u64>) -> Result<u64> {
        let number = self.get(name)?.as_u64();
        number.filter(|n| allowed.contains(n)).ok_or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            self.refuse(name, &format!("a whole number from {least} to {most}"))
        })
    }

    fn small(&self, name: &str, most: u64) -> Result<u32> {
        Ok(self.number(name, 1..=most)? as u32)
    }

    fn optional(&self, name: &str) -> Result<Option<u32>> {
        match self.get(name)?.is_null() {
            true => Ok(None),
            false => self.small(name, MOST).map(Some),
        }
    }

    /// The one whose name stands there.
    fn one_of<T: ToString>(&self, name: &str, all: impl Iterator<Item = T> + Clone) -> Result<T> {
        let text = self.text(name)?;
        all.clone().find(|x| x.to_string() == text).ok_or_else(|| {
            let names: Vec<_> = all.map(|x| x.to_string()).collect();
            self.refuse(name, &format!("one of {}", names.join(", ")))
        })
    }
}

/// A value as text of a length that a message holds.
fn shortened(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
