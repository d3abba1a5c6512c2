// Which of `count` runs, whose first numbers rise in `aux` from `at` on, number n is of: the last that begins there or
// before, for a run may be empty.
fn run_with(at: u32, count: u32, n: u32) -> u32 {
    var low = 0u;
    var high = count;
    while (high - low > 1u) {
        let middle = (low + high) / 2u;
        if (aux[at + middle] <= n) { low = middle; } else { high = middle; }
    }
    return low;
}
