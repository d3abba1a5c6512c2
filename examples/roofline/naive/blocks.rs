//! Register tiles written out block by block: a driver keeps named matrices in registers, but not an array of them
//! that a loop indexes.

/// Blocks of 4 × 4 along each side of an invocation's tile.
///
/// A GPU thread's 255 registers hold 2 × 2 of them beside the operands. A software adapter spills for little and pays
/// much for each load, so there 4 × 4 are faster.
pub fn side(device: wgpu::DeviceType) -> u32 {
    match device {
        wgpu::DeviceType::Cpu => 4,
        _ => 2,
    }
}

/// Repeats each line with `{r}` for every block row and each with `{c}` for every block column.
pub fn expand(wgsl: &str, side: u32) -> String {
    let mut text = format!("const BLOCKS: u32 = {side};\n");
    for line in wgsl.lines().filter(|line| !line.starts_with("//")) {
        for r in repeats(line, "{r}", side) {
            for c in repeats(line, "{c}", side) {
                let line = line.replace("{r}", &r.to_string());
                text.push_str(&line.replace("{c}", &c.to_string()));
                text.push('\n');
            }
        }
    }
    text
}

fn repeats(line: &str, mark: &str, side: u32) -> std::ops::Range<u32> {
    0..if line.contains(mark) { side } else { 1 }
}
