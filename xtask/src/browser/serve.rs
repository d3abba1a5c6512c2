//! The page's files over HTTP, and what the page tells: as little of the protocol as one browser needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::chromium::Browser;

const FILES: [(&str, &str); 4] = [
    ("index.html", "text/html; charset=utf-8"),
    ("page.js", "text/javascript"),
    ("browser.js", "text/javascript"),
    ("browser_bg.wasm", "application/wasm"),
];
/// One experiment takes seconds; a browser that says nothing for so long says nothing more.
const PATIENCE: Duration = Duration::from_secs(180);
/// The longest text that a page may tell.
const LONGEST: usize = 1 << 20;

/// Serves until the process is ended; `hear` takes what pages tell.
pub fn forever(listener: &TcpListener, pages: &Path, hear: &Sender<String>) -> Result<()> {
    for stream in listener.incoming() {
        let (stream, pages, hear) = (stream?, pages.to_path_buf(), hear.clone());
        // A thread each, for browsers open connections that they may use later. One that hangs up is no fault.
        std::thread::spawn(move || answer(stream, &pages, &hear));
    }
    Ok(())
}

/// What has been told so far.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    runs: String,
    faults: usize,
}

/// Serves until the page has told how it ended; answers its summary.
pub fn report(listener: TcpListener, pages: PathBuf, browser: &mut Browser) -> Result<Vec<String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || forever(&listener, &pages, &sender));
    let (mut told, mut last) = (Told::default(), Instant::now());
    loop {
        if let Ok(text) = receiver.recv_timeout(Duration::from_secs(1)) {
            last = Instant::now();
            if let Some(end) = told.hear(&text) {
                return told.end(&end);
            }
        } else if browser.has_ended() || last.elapsed() > PATIENCE {
            let why = if browser.has_ended() {
                "ended by itself"
            } else {
                "says nothing more"
            };
            bail!(
                "the browser {why}; it was at {:?}\n{}",
                told.runs,
                browser.said()
            );
        }
    }
}

impl Told {
    /// Takes in `kind text`; the text of the last one is the end.
    fn hear(&mut self, told: &str) -> Option<String> {
        let (kind, text) = told.split_once(' ').unwrap_or((told, ""));
        match kind {
            "runs" => self.runs = text.to_string(),
            "about" => println!("on {text}"),
            "group" => {
                println!("{text}");
                self.lines.push(text.to_string());
            }
            "fault" => {
                self.faults += 1;
                let name = text.lines().next().unwrap_or_default();
                println!("FAILED {text}");
                // Before the first experiment there is none to repeat.
                if !self.runs.is_empty() {
                    println!("again: cargo xtask browser --only '{name}'");
                }
            }
            "end" => return Some(text.to_string()),
            _ => {}
        }
        None
    }

    /// `passed failed` as the page counted them.
    fn end(self, counts: &str) -> Result<Vec<String>> {
        let (passed, failed) = counts.split_once(' ').context("an end without counts")?;
        let line = format!("browser: {passed} passed, {failed} failed");
        println!("{line}");
        let all = self.faults == 0 && failed == "0" && passed != "0";
        ensure!(
            all,
            "the browser's answers are not those of the reference ({line})"
        );
        Ok([vec![line], self.lines].concat())
    }
}

/// Answers one request; a POST's body is what is told.
fn answer(mut stream: TcpStream, pages: &Path, hear: &Sender<String>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let length = content_length(&mut reader)?;
    let mut words = request.split_whitespace();
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if method == "POST" {
        ensure!(length <= LONGEST, "too long a report");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        // Nobody listens to a page that a person opened.
        let _ = hear.send(String::from_utf8_lossy(&body).into_owned());
        return send(&mut stream, "200 OK", "text/plain", b"");
    }
    let path = target
        .split('?')
        .next()
        .unwrap_or_default()
        .trim_start_matches('/');
    let name = if path.is_empty() { "index.html" } else { path };
    match FILES.iter().find(|(file, _)| *file == name) {
        Some((file, kind)) => send(
            &mut stream,
            "200 OK",
            kind,
            &std::fs::read(pages.join(file))?,
        ),
        None => send(&mut stream, "404 Not Found", "text/plain", b"no such file"),
    }
}

/// Reads the headers, of which only one matters.
fn content_length(reader: &mut impl BufRead) -> Result<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(length);
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
}

fn send(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    Ok(stream.write_all(body)?)
}
