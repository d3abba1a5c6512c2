//! One line of a shader in the making.

/// One line of a composed shader and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub module: String,
    pub number: usize,
}

/// What lines of a user's text are said to come from.
pub const FOREIGN: &str = "the user functions";

impl Line {
    /// True of a user's text, in which nothing is looked for.
    pub fn is_foreign(&self) -> bool {
        self.module == FOREIGN
    }
}

/// Opening less closing braces of a line, comments left out.
pub fn braces(text: &str) -> i64 {
    let code = text.split("//").next().unwrap_or("");
    code.chars()
        .map(|c| match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        })
        .sum()
}
