//! Reading a record: comments, a line of column names, rows.

use anyhow::{Context, Result};

use crate::shell;

/// The rows of one file.
pub struct Record {
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// One row, by column.
pub struct Row<'a> {
    record: &'a Record,
    cells: &'a [String],
}

impl Record {
    /// Reads `benches/records/NAME.csv`.
    pub fn read(name: &str) -> Result<Self> {
        let path = shell::root().join(format!("benches/records/{name}.csv"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let columns = lines
            .next()
            .with_context(|| format!("{name} has no columns"))?;
        Ok(Self {
            name: name.into(),
            columns: cells(columns),
            rows: lines.map(cells).collect(),
        })
    }

    /// The first row whose columns hold these texts.
    pub fn find(&self, wanted: &[(&str, &str)]) -> Result<Row<'_>> {
        let rows = self.rows.iter().map(|cells| Row {
            record: self,
            cells,
        });
        let mut rows = rows.filter(|row| wanted.iter().all(|(c, text)| row.cell(c) == Some(text)));
        rows.next()
            .with_context(|| format!("{} has no row with {wanted:?}", self.name))
    }
}

impl Row<'_> {
    fn cell(&self, column: &str) -> Option<&str> {
        let at = self.record.columns.iter().position(|name| name == column)?;
        self.cells.get(at).map(String::as_str)
    }

    pub fn number(&self, column: &str) -> Result<f64> {
        let text = self.cell(column).unwrap_or_default();
        text.parse()
            .with_context(|| format!("{}: column {column} says {text:?}", self.record.name))
    }
}

/// Cells between commas that are not in quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().into_iter().for_each(|cell| cell.push(c)),
        }
    }
    cells
}
