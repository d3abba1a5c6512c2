//! Register tiles written out block by block: a driver keeps named matrices in registers, but not an array of them
//! that a loop indexes.

/// Blocks of 4 × 4 in an invocation's tile.
#[derive(Clone, Copy)]
pub struct Blocks {
    pub rows: u32,
    pub columns: u32,
}

impl Blocks {
    /// A GPU thread's 255 registers hold 2 × 2 of them beside the operands. A software adapter spills for little and
    /// pays much for each load, so there 4 × 4 are faster; 8 × 4 take three times as long to compile for nothing.
    pub fn of(device: wgpu::DeviceType) -> Self {
        let (rows, columns) = match device {
            wgpu::DeviceType::Cpu => (4, 4),
            _ => (2, 2),
        };
        Self { rows, columns }
    }

    /// Repeats each line with `{r}` for every block row and each with `{c}` for every block column.
    pub fn expand(self, wgsl: &str) -> String {
        let Self { rows, columns } = self;
        let mut text = format!("const ROWS: u32 = {rows};\nconst COLUMNS: u32 = {columns};\n");
        for line in wgsl.lines().filter(|line| !line.starts_with("//")) {
            for r in repeats(line, "{r}", rows) {
                for c in repeats(line, "{c}", columns) {
                    let line = line.replace("{r}", &r.to_string());
                    text.push_str(&line.replace("{c}", &c.to_string()));
                    text.push('\n');
                }
            }
        }
        text
    }
}

fn repeats(line: &str, mark: &str, times: u32) -> std::ops::Range<u32> {
    0..if line.contains(mark) { times } else { 1 }
}
