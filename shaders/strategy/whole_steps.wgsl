// Strategies whose invocations have the scores of all of a step's columns.

fn own_columns(j: u32) -> u32 { return j; }
fn columns_max(x: f32) -> f32 { return x; }
fn columns_sum(x: f32) -> f32 { return x; }
fn columns_marks(x: u32) -> u32 { return x; }
