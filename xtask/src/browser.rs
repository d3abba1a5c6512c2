//! The suite in a browser: `tests/browser` as a page, opened in Chromium without a window, or kept up for a person.

mod build;
mod chromium;
mod serve;

use std::net::TcpListener;
use std::sync::mpsc::channel;

use anyhow::{Context, Result, bail};

use crate::stages::Stages;

/// In CI: every experiment. Where nothing can build the page or open it, that is said.
pub fn run(stages: &mut Stages) -> Result<()> {
    let name = "a browser: Chromium's own front end against the reference";
    if let Some(why) = missing() {
        println!("\n=== not run: {name}: {why}");
        return Ok(());
    }
    stages.report(name, || headless(""))
}

/// `cargo xtask browser [--only TEXT] [--serve]`
pub fn command(args: &[&str]) -> Result<()> {
    match args {
        [] => headless("").map(drop),
        ["--only", text] => headless(text).map(drop),
        ["--serve"] => serve(),
        _ => bail!(
            "cargo xtask browser takes --only TEXT (experiments whose name holds it) or --serve"
        ),
    }
}

/// What neither this machine nor apt has.
fn missing() -> Option<String> {
    build::missing().or_else(chromium::missing)
}

fn headless(only: &str) -> Result<Vec<String>> {
    let program = chromium::ensure()?;
    let pages = build::page()?;
    let listener = listen()?;
    let url = format!("{}/?report&only={}", url(&listener)?, escaped(only));
    let mut browser = chromium::open(&program, &url)?;
    let told = serve::report(listener, pages, &mut browser);
    browser.close();
    told
}

fn serve() -> Result<()> {
    let pages = build::page()?;
    let listener = listen()?;
    println!(
        "open {}/ in a browser with WebGPU; Ctrl-C ends this",
        url(&listener)?
    );
    serve::forever(&listener, &pages, &channel().0)
}

/// Loopback counts as secure, which WebGPU asks for.
fn listen() -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 0)).context("no port on 127.0.0.1")
}

fn url(listener: &TcpListener) -> Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

/// `text` inside a query.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
