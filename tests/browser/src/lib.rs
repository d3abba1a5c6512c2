//! The library in a browser, held against its own f64 reference: what `cargo xtask browser` opens.
//!
//! Rust makes the list of experiments and runs one at a time; `www/page.js` shows them and reports.

mod gpu;
mod run;
mod suite;
#[path = "../../support/mod.rs"]
mod support;

use std::rc::Rc;

use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{future_to_promise, js_sys::Promise};

use crate::gpu::Gpu;
use crate::suite::Experiment;

/// The suite on this browser's device.
#[wasm_bindgen]
pub struct Page {
    gpu: Rc<Gpu>,
    suite: Vec<Experiment>,
}

#[wasm_bindgen]
impl Page {
    /// Asks for an adapter and a device.
    pub async fn open() -> Result<Page, JsError> {
        let gpu = Gpu::open().await?;
        let suite = suite::all(&gpu.attention);
        Ok(Self {
            gpu: Rc::new(gpu),
            suite,
        })
    }

    /// The adapter and what its device may do.
    pub fn about(&self) -> String {
        self.gpu.about()
    }

    /// `[[group, name]]` as JSON.
    pub fn list(&self) -> String {
        let names = self.suite.iter().map(|one| json!([one.group, one.name]));
        json!(names.collect::<Vec<_>>()).to_string()
    }

    /// Runs experiment `n`: `{fault, outputs: [[name, error, allowed]]}` as JSON.
    pub fn run(&self, n: usize) -> Promise {
        let (gpu, work) = (self.gpu.clone(), self.suite[n].work.clone());
        future_to_promise(async move {
            let verdict = work(gpu.clone()).await;
            let verdict = verdict.and_then(|reports| gpu.complaint().map_or(Ok(reports), Err));
            let answer = match verdict {
                Ok(reports) => {
                    let outputs = reports
                        .iter()
                        .map(|(name, r)| json!([name, r.error, r.allowed]));
                    json!({ "outputs": outputs.collect::<Vec<_>>() })
                }
                Err(fault) => json!({ "fault": fault, "outputs": [] }),
            };
            Ok(answer.to_string().into())
        })
    }
}

/// Says on the console where the program broke off; the page shows what the error event tells.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        *PANIC
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = text;
    }));
}

/// What the last panic said.
static PANIC: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

/// For the page, which cannot ask an object of a program that broke off.
#[wasm_bindgen]
pub fn panic() -> String {
    PANIC
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone()
}
