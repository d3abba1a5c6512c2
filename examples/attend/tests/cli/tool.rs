//! Running the tool, and making files for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use wgpu_attention::problem::Element;

use super::support::tensor::{encode, normal};

/// What a process left behind.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The tool, not yet run.
pub fn command<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attend"));
    command
        .args(args)
        // Some drivers complain on stderr where this is not set.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs the tool.
pub fn attend<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Run {
    let output = command(args)
        .output()
        .expect("cargo builds the tool for its tests");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Run {
    /// Panics with all that was printed unless the run succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:?}");
        self
    }

    /// Panics unless the run ended with `status` and one sentence that holds every one of `words`.
    #[track_caller]
    pub fn refused(self, status: i32, words: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "one sentence: {self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(
            words.iter().all(|word| self.stderr.contains(word)),
            "{words:?} in {self:?}"
        );
        assert_eq!(self.stdout, "", "{self:?}");
    }
}

/// An empty directory of a caller's own, whatever other tests call theirs.
pub fn directory(name: &str) -> PathBuf {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("attend")
        .join(format!("{}-{name}", MADE.fetch_add(1, Ordering::Relaxed)));
    // Not there at the first run.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory for the test");
    path
}

/// A tensor to be written.
pub struct Tensor {
    pub name: &'static str,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// Standard normal values.
    pub fn normal(name: &'static str, element: Element, shape: &[usize], seed: u64) -> Self {
        let values = normal(seed, shape.iter().product());
        let bytes = encode(element, &values);
        Self {
            name,
            dtype: dtype(element),
            shape: shape.to_vec(),
            bytes,
        }
    }

    pub fn integers(name: &'static str, values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self {
            name,
            dtype: Dtype::I32,
            shape: vec![values.len()],
            bytes,
        }
    }

    pub fn floats(name: &'static str, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self {
            name,
            dtype: Dtype::F32,
            shape: vec![values.len()],
            bytes,
        }
    }
}

impl Tensor {
    /// The same values in another shape.
    pub fn shaped(mut self, shape: &[usize]) -> Self {
        self.shape = shape.to_vec();
        self
    }

    /// F32 values, −∞ where `hides` says so of their index.
    pub fn hiding(mut self, hides: impl Fn(usize) -> bool) -> Self {
        let hiding = match self.dtype {
            Dtype::F16 => encode(Element::F16, &[f64::NEG_INFINITY]),
            Dtype::BF16 => encode(Element::BF16, &[f64::NEG_INFINITY]),
            _ => encode(Element::F32, &[f64::NEG_INFINITY]),
        };
        for (n, bytes) in self.bytes.chunks_exact_mut(hiding.len()).enumerate() {
            if hides(n) {
                bytes.copy_from_slice(&hiding);
            }
        }
        self
    }
}

pub fn dtype(element: Element) -> Dtype {
    match element {
        Element::F32 => Dtype::F32,
        Element::F16 => Dtype::F16,
        Element::BF16 => Dtype::BF16,
        _ => unreachable!("{element} is no type that stores number by number"),
    }
}

/// q, k and v of shapes `[2, 4, 9, 12]`, `[2, 2, 21, 12]` and `[2, 2, 21, 6]`.
pub fn qkv(element: Element) -> Vec<Tensor> {
    vec![
        Tensor::normal("q", element, &[2, 4, 9, 12], 1),
        Tensor::normal("k", element, &[2, 2, 21, 12], 2),
        Tensor::normal("v", element, &[2, 2, 21, 6], 3),
    ]
}

/// Writes tensors to a file; its path as text.
pub fn write(directory: &Path, name: &str, tensors: &[Tensor]) -> String {
    let path = directory.join(name);
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        (tensor.name, view.expect("bytes that fit the shape"))
    });
    serialize_to_file(views, None, &path).expect("a file for the test");
    text(&path)
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}
