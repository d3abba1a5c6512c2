//! Typed reading of a JSON object's fields, with errors that name them.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The training length before a stretch.
pub const ORIGINAL: &str = "original_max_position_embeddings";

/// One object of a config; `path` is its name with a trailing dot, empty for the whole file.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    pub path: &'a str,
    pub object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The value of a field, where it is there and not null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        self.read(name, "a number", Value::as_f64)
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.read(name, "true or false", Value::as_bool)
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.read(name, "a string", Value::as_str)
    }

    pub fn list(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let numbers = |value: &'a Value| value.as_array()?.iter().map(Value::as_f64).collect();
        self.read(name, "a list of numbers", numbers)
    }

    /// A count of tokens, heads or channels.
    pub fn count(&self, name: &str) -> Result<Option<u32>> {
        let whole = |value: &Value| {
            let x = value.as_f64()?;
            (x >= 1.0 && x <= f64::from(u32::MAX) && x.fract() == 0.0).then_some(x as u32)
        };
        self.read(name, "a whole number from 1 to 4294967295", whole)
    }

    /// A count that may be 0.
    pub fn size(&self, name: &str) -> Result<Option<u32>> {
        let zero = |value: &Value| value.as_f64() == Some(0.0);
        match self.get(name) {
            Some(value) if zero(value) => Ok(Some(0)),
            _ => self.count(name),
        }
    }

    fn read<T>(
        &self,
        name: &str,
        allowed: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let convert = |value| convert(value).ok_or_else(|| self.refuse(name, value, allowed));
        self.get(name).map(convert).transpose()
    }

    pub fn refuse(&self, name: &str, actual: &Value, allowed: &str) -> Error {
        Error::ConfigField {
            field: self.name(name),
            actual: actual.to_string(),
            allowed: allowed.to_string(),
        }
    }

    /// The error for a field that is not there.
    pub fn missing(&self, name: &str, meaning: &'static str) -> Error {
        Error::ConfigMissing {
            field: self.name(name),
            meaning,
        }
    }

    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// Refuses a field that is none of `known`.
    pub fn check_known(&self, known: &[&str]) -> Result<()> {
        match self
            .object
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            Some(key) => Err(Error::ConfigUnknown {
                field: self.name(key),
                known: known.join(", "),
            }),
            None => Ok(()),
        }
    }
}
