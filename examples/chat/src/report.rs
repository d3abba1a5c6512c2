//! Progress, and what an answer took.

use std::time::Duration;

use anyhow::Result;
use chat::check::Difference;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::speak::Speaker;

/// Shows a bar on a terminal while `work` runs, which tells how much is done and of how much.
pub fn with_bar<T>(
    what: &'static str,
    work: impl FnOnce(Box<dyn FnMut(usize, usize) + '_>) -> Result<T>,
) -> Result<T> {
    let bar = ProgressBar::no_length().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    let result = work(Box::new(|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }));
    bar.finish_and_clear();
    result
}

/// Measures, after the text or around it.
pub fn print(
    json: bool,
    speaker: &Speaker<'_>,
    adapter: Option<&str>,
    difference: Option<Difference>,
) -> Result<()> {
    if json {
        println!("{}", object(speaker, adapter, difference));
        return Ok(());
    }
    let (counts, cache) = (speaker.writer.counts, speaker.writer.cache());
    let where_ = adapter.unwrap_or("the CPU, by its definition");
    eprintln!();
    eprintln!("read     {}", speed(counts.read, counts.reading));
    eprintln!("written  {}", speed(counts.written, counts.writing));
    if counts.drafted > 0 {
        let (kept, drafted, passes) = (counts.drafts_kept, counts.drafted, counts.passes);
        eprintln!("drafts   {kept} of {drafted} kept, {passes} passes");
    }
    let whole = (counts.reading + counts.writing).as_secs_f64();
    let share = 100.0 * cache.spent().as_secs_f64() / whole.max(1e-9);
    eprintln!("attention {share:.0} % of the time, on {where_}");
    eprintln!(
        "cache    {} bytes, {} tokens held",
        cache.bytes(),
        cache.len()
    );
    if let Some(found) = difference {
        eprintln!(
            "check    {} rows of logits differ from one full pass by at most {:.1e} (the largest is {:.1}); {} have the same likeliest token",
            found.rows, found.largest, found.of, found.same_likeliest
        );
    }
    Ok(())
}

fn speed(tokens: usize, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let speed = tokens as f64 / seconds.max(1e-9);
    format!("{tokens} tokens in {seconds:.2} s, {speed:.1} tokens/s")
}

fn object(
    speaker: &Speaker<'_>,
    adapter: Option<&str>,
    difference: Option<Difference>,
) -> serde_json::Value {
    let (counts, cache) = (speaker.writer.counts, speaker.writer.cache());
    json!({
        "text": speaker.said,
        "tokens": speaker.tokens,
        "adapter": adapter,
        "read": { "tokens": counts.read, "seconds": counts.reading.as_secs_f64() },
        "written": { "tokens": counts.written, "seconds": counts.writing.as_secs_f64(), "passes": counts.passes },
        "drafts": { "tried": counts.drafted, "kept": counts.drafts_kept },
        "attention_seconds": cache.spent().as_secs_f64(),
        "cache": { "bytes": cache.bytes(), "tokens": cache.len() },
        "check": difference.map(|found| json!({
            "rows": found.rows,
            "largest_difference": found.largest,
            "largest_logit": found.of,
            "same_likeliest": found.same_likeliest,
        })),
    })
}
