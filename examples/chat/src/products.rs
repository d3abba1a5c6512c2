//! Products of f32 matrices on the CPU, by the crate `gemm`.

use std::num::NonZero;

use anyhow::Result;
use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;
use rayon::prelude::*;

use crate::gguf::Gguf;

/// Fewer rows than this are not worth a thread.
const LEAST_ROWS: usize = 64;

/// `[rows, columns]`, a row after the other.
pub struct Matrix {
    rows: usize,
    columns: usize,
    numbers: Vec<f32>,
}

impl Matrix {
    /// A tensor of a file.
    pub fn of(file: &Gguf, name: &str, rows: usize, columns: usize) -> Result<Self> {
        let numbers = file.tensor(name, &[rows, columns])?;
        Ok(Self {
            rows,
            columns,
            numbers,
        })
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.columns..][..self.columns]
    }

    /// x·Wᵀ: from `[n, columns]` to `[n, rows]`.
    pub fn times(&self, x: &[f32]) -> Vec<f32> {
        let n = x.len() / self.columns;
        let mut y = vec![0.0; n * self.rows];
        if n == 1 {
            // A single row waits for memory, so that threads share the matrix and not the row.
            let rows = self.rows.div_ceil(threads()).max(LEAST_ROWS);
            let parts = self.numbers.par_chunks(rows * self.columns);
            let parts = parts.zip(y.par_chunks_mut(rows));
            parts.for_each(|(matrix, y)| product(matrix, x, y, self.columns, Parallelism::None));
        } else {
            product(
                &self.numbers,
                x,
                &mut y,
                self.columns,
                Parallelism::Rayon(0),
            );
        }
        y
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// y `[n, rows]` = x `[n, columns]` · matrixᵀ `[columns, rows]`.
fn product(matrix: &[f32], x: &[f32], y: &mut [f32], columns: usize, threads: Parallelism) {
    let (rows, n) = (matrix.len() / columns, x.len() / columns);
    assert_eq!(matrix.len(), rows * columns);
    assert_eq!((x.len(), y.len()), (n * columns, n * rows));
    // As gemm would have it, y's columns are tokens: yᵀ = matrix · xᵀ.
    let (y_column, x_column, matrix_row) = (rows as isize, columns as isize, columns as isize);
    // SAFETY: the strides reach the elements of the three slices and no others, as was asserted, and y is borrowed by
    // nobody else.
    unsafe {
        get_gemm_fn()(
            rows,
            n,
            columns,
            y.as_mut_ptr(),
            y_column,
            1,
            false,
            matrix.as_ptr(),
            1,
            matrix_row,
            x.as_ptr(),
            x_column,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}
